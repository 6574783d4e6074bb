//! Deadlines, cheap enough to move several times per request.
//!
//! Every connection has one [`Deadline`]: a cell in a slab that its owner sets and clears with a
//! plain store. While tasks run, one task per worker ([`Timers::run`]) walks the slab when the
//! earliest deadline may have expired, at most once each [`TICK`] and at least once each [`LOOK`],
//! and wakes the owners of expired ones. While none runs it waits for the earliest deadline or for
//! a task to run. Deadlines are therefore coarse (late by up to one tick) and cost no allocation,
//! no system call and no insertion into a timer wheel on the request path.
//!
//! The clock is read when a task is woken ([`Timers::read`]) and not at each deadline that it sets:
//! a deadline counts from there, so it is early by what its owner has worked since.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use super::monotonic;

/// How late a deadline may expire.
pub const TICK: Duration = Duration::from_millis(20);

/// How long the task that looks at the deadlines sleeps at most while tasks run, which is also how
/// late a step of the system's clock may show.
const LOOK: Duration = Duration::from_secs(5);

/// `Cell` value of a deadline that is not set.
const UNSET: u64 = u64::MAX;

struct Slot {
    /// Nanoseconds of the worker's clock, or [`UNSET`]. A coarser unit would wake owners before
    /// their time.
    at: Cell<u64>,
    wait: Cell<WaitKind>,
    waker: RefCell<Option<Waker>>,
}

/// What an owner waits for, which decides whether a shutdown ends the wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WaitKind {
    /// The next request.
    NextRequest,
    /// A step of the current request.
    Progress,
    /// The peer, which takes what is being sent.
    Sending,
}

/// The deadlines of one worker.
pub struct Timers {
    /// The zero of the clock, on [`monotonic`].
    origin: u64,
    /// The time of the last look at the clock.
    recent: Cell<u64>,
    /// What the time of day was at `origin`, in nanoseconds since 1970, as of the last look.
    unix_origin: Cell<u64>,
    slots: RefCell<Vec<Option<Rc<Slot>>>>,
    free: RefCell<Vec<usize>>,
    /// What `recent` was behind the last look, or when tasks began to run again after a rest.
    looked: Cell<u64>,
    /// Wakes the task that looks while it waits.
    watcher: RefCell<Option<Waker>>,
    /// When it will look. A deadline before that wakes it. 0 while it does not wait for one.
    next_look: Cell<u64>,
    /// Whether it waits for any task to run.
    is_resting: Cell<bool>,
}

impl Timers {
    /// `origin` is the zero of the clock.
    pub fn new(origin: Instant) -> Rc<Timers> {
        let now = monotonic::now();
        Rc::new(Timers {
            origin: now.wrapping_sub(nanos(origin.elapsed())),
            recent: Cell::new(0),
            unix_origin: Cell::new(0),
            slots: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            looked: Cell::new(0),
            watcher: RefCell::new(None),
            next_look: Cell::new(0),
            is_resting: Cell::new(false),
        })
    }

    /// Reads the clock: nanoseconds since its origin.
    pub fn read(&self) -> u64 {
        self.recent.set(self.now());
        if self.is_resting.get() {
            self.resume();
        }
        self.recent.get()
    }

    /// Reads the clock for what is no work of a connection, so that the deadlines' task may rest.
    pub(super) fn now(&self) -> u64 {
        monotonic::now().wrapping_sub(self.origin)
    }

    /// Ends the rest of the task that looks, since a task has something to do.
    #[cold]
    fn resume(&self) {
        self.is_resting.set(false);
        // There was no look for long.
        self.read_time_of_day();
        self.wake_watcher();
    }

    /// Makes the task that looks determine its next wake-up again, since a deadline is earlier.
    #[cold]
    fn wake_earlier(&self) {
        if self.next_look.get() > self.looked.get().saturating_add(nanos(TICK)) {
            self.next_look.set(0);
            self.wake_watcher();
        }
    }

    fn wake_watcher(&self) {
        if let Some(waker) = self.watcher.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Returns what the last [`Timers::read`] returned. Every wake-up of a connection's task reads
    /// the clock, so this is when the running task was woken, or later.
    pub fn recent(&self) -> u64 {
        self.recent.get()
    }

    /// Returns the nanoseconds since 1970 at `recent`. A step of the system's clock shows with the
    /// next look.
    #[inline]
    pub fn unix_ns(&self) -> u64 {
        self.unix_origin.get().saturating_add(self.recent.get())
    }

    /// Returns the microseconds since 1970 at `recent`, as [`Timers::unix_ns`] does.
    pub fn unix_us(&self) -> u64 {
        self.unix_ns() / 1000
    }

    /// Returns the whole seconds since 1970 at `recent`, as [`Timers::unix_us`] does.
    pub fn unix_s(&self) -> i64 {
        (self.unix_us() / 1_000_000) as i64
    }

    fn read_time_of_day(&self) {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, nanos);
        self.unix_origin.set(unix.saturating_sub(self.now()));
    }

    /// Makes a deadline, which is not set yet.
    pub fn deadline(self: &Rc<Timers>) -> Deadline {
        // Its task may not have read the clock, which may have rested for long.
        self.read();
        let slot =
            Rc::new(Slot { at: Cell::new(UNSET), wait: Cell::new(WaitKind::Progress), waker: RefCell::new(None) });
        let index = match self.free.borrow_mut().pop() {
            Some(index) => index,
            None => {
                self.slots.borrow_mut().push(None);
                self.slots.borrow().len() - 1
            }
        };
        self.slots.borrow_mut()[index] = Some(slot.clone());
        Deadline { timers: self.clone(), slot, index }
    }

    /// Wakes the owners of expired deadlines, for ever. One task per worker.
    pub async fn run(self: Rc<Timers>) {
        loop {
            if self.rest().await {
                // Nothing was due until then.
                self.looked.set(self.recent.get());
                self.sleep().await;
            }
            self.fire();
        }
    }

    /// Returns the earliest deadline, or [`UNSET`].
    fn earliest(&self) -> u64 {
        self.slots.borrow().iter().flatten().map(|slot| slot.at.get()).min().unwrap_or(UNSET)
    }

    /// Waits until it is time to look, while tasks run and set deadlines.
    async fn sleep(&self) {
        loop {
            let looked = self.looked.get();
            let at = self.earliest().clamp(looked.saturating_add(nanos(TICK)), looked.saturating_add(nanos(LOOK)));
            self.next_look.set(at);
            if self.wait(Some(at), || self.next_look.get() == 0).await {
                self.next_look.set(0);
                return;
            }
        }
    }

    /// Waits until the earliest deadline, or until a task runs. Returns true in the second case.
    async fn rest(&self) -> bool {
        let earliest = self.earliest();
        let at = earliest.max(self.recent.get().saturating_add(nanos(TICK)));
        self.is_resting.set(true);
        let is_due = self.wait((earliest != UNSET).then_some(at), || !self.is_resting.get()).await;
        self.is_resting.set(false);
        !is_due
    }

    /// Waits until `at`, and returns true; or until the condition holds, of which whoever makes it
    /// hold tells by [`Timers::wake_watcher`], and returns false.
    async fn wait(&self, at: Option<u64>, is_over: impl Fn() -> bool) -> bool {
        let left = |at: u64| Duration::from_nanos(at.saturating_sub(self.now()));
        let mut sleep = pin!(at.map(|at| monoio::time::sleep(left(at))));
        poll_fn(|cx| {
            if is_over() {
                return Poll::Ready(false);
            }
            if let Some(sleep) = sleep.as_mut().as_pin_mut()
                && sleep.poll(cx).is_ready()
            {
                return Poll::Ready(true);
            }
            *self.watcher.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Makes deadlines expire now, for a shutdown: those of idle owners, or all but those of owners
    /// that are sending.
    pub fn expire(&self, idle_only: bool) {
        for slot in self.slots.borrow().iter().flatten() {
            let is_affected = match slot.wait.get() {
                WaitKind::NextRequest => true,
                WaitKind::Progress => !idle_only,
                WaitKind::Sending => false,
            };
            if is_affected && slot.at.get() != UNSET {
                slot.at.set(0);
            }
        }
        self.fire();
    }

    fn fire(&self) {
        self.read_time_of_day();
        let now = self.read();
        self.looked.set(now);
        for slot in self.slots.borrow().iter().flatten() {
            if slot.at.get() <= now
                && let Some(waker) = slot.waker.borrow_mut().take()
            {
                waker.wake();
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(UNSET)
}

/// A point in time at which its owner is woken. Frees its slot when dropped.
pub struct Deadline {
    timers: Rc<Timers>,
    slot: Rc<Slot>,
    index: usize,
}

impl Deadline {
    /// Sets the deadline of a request. Replaces an earlier one.
    pub fn set(&self, after: Duration) {
        self.put(after, WaitKind::Progress);
    }

    /// Sets the deadline of an owner that waits for the next request.
    pub fn set_idle(&self, after: Duration) {
        self.put(after, WaitKind::NextRequest);
    }

    /// Sets the deadline of an owner that is sending.
    pub fn set_sending(&self, after: Duration) {
        self.put(after, WaitKind::Sending);
    }

    fn put(&self, after: Duration, wait: WaitKind) {
        self.slot.wait.set(wait);
        let at = self.timers.recent().saturating_add(nanos(after));
        self.slot.at.set(at);
        if at < self.timers.next_look.get() {
            self.timers.wake_earlier();
        }
    }

    /// Sets the deadline to `after` from now. `None` clears it.
    pub fn set_opt(&self, after: Option<Duration>) {
        match after {
            Some(after) => self.set(after),
            None => self.clear(),
        }
    }

    /// Removes the deadline.
    pub fn clear(&self) {
        self.slot.at.set(UNSET);
    }

    /// Is ready when the deadline has expired. Registers the task's waker otherwise.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.slot.at.get();
        if at == UNSET {
            return Poll::Pending;
        }
        if at <= self.timers.recent() {
            return Poll::Ready(());
        }
        let mut waker = self.slot.waker.borrow_mut();
        match &*waker {
            Some(old) if old.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Awaits `future`. Returns `None` if the deadline expires first: the future is dropped then,
    /// so what it reads or writes must be closed afterwards.
    pub async fn limit<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = std::pin::pin!(future);
        poll_fn(|cx| match Pin::as_mut(&mut future).poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => self.poll_expired(cx).map(|()| None),
        })
        .await
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.timers.slots.borrow_mut()[self.index] = None;
        self.timers.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::runtime::{Choice, Driver, Worker};

    #[test]
    fn never_before_its_time() {
        let timers = Timers::new(Instant::now());
        let deadline = timers.deadline();
        let mut cx = Context::from_waker(Waker::noop());
        // At any point within a millisecond, and for lengths that are not whole ones.
        for after in (0..40).map(|n| Duration::from_micros(700 + 37 * n)) {
            let before = timers.read();
            deadline.set(after);
            while deadline.poll_expired(&mut cx).is_pending() {
                timers.read();
            }
            assert!(timers.read() >= before + nanos(after), "{after:?}");
        }
        deadline.set(Duration::ZERO);
        assert!(deadline.poll_expired(&mut cx).is_ready());
    }

    #[test]
    fn a_stop_ends_waits() {
        const LONG: Duration = Duration::from_secs(1000);
        let timers = Timers::new(Instant::now());
        let [idle, waiting, sending, unset] = [(); 4].map(|()| timers.deadline());
        let mut cx = Context::from_waker(Waker::noop());
        let mut passed =
            || [&idle, &waiting, &sending, &unset].map(|deadline| deadline.poll_expired(&mut cx).is_ready());
        idle.set_idle(LONG);
        waiting.set(LONG);
        sending.set_sending(LONG);
        assert_eq!(passed(), [false; 4]);
        timers.expire(true);
        assert_eq!(passed(), [true, false, false, false]);
        timers.expire(false);
        assert_eq!(passed(), [true, true, false, false]);
    }

    /// Runs `test` beside the task that looks, on each driver that this machine has.
    fn on_each_driver<F: Future<Output = ()>>(test: impl Fn(Rc<Timers>) -> F) {
        for driver in [Driver::Epoll, Driver::IoUring] {
            let Ok(mut worker) = Worker::build(Choice::Only(driver)) else { continue };
            worker.block_on(async {
                let timers = Timers::new(Instant::now());
                monoio::spawn(timers.clone().run());
                test(timers).await;
            });
        }
    }

    #[test]
    fn far_deadlines_are_looked_at_seldom() {
        on_each_driver(|timers| async move {
            let far = timers.deadline();
            far.set(Duration::from_secs(1000));
            let (began, mut looks, mut last) = (timers.read(), 0, 0);
            // A task that runs all the time.
            while timers.read() < began + nanos(10 * TICK) {
                looks += u64::from(timers.looked.get() != last);
                last = timers.looked.get();
                monoio::time::sleep(Duration::from_millis(1)).await;
            }
            let most = 2 + (timers.read() - began) / nanos(LOOK);
            assert!(looks <= most, "{looks} looks, {most} at most");
        });
    }

    #[test]
    fn a_near_deadline_wake_earliers_the_look() {
        on_each_driver(|timers| async move {
            let (far, near) = (timers.deadline(), timers.deadline());
            far.set(Duration::from_secs(1000));
            for after in [40, 30, 3] {
                // Until the task that looks sleeps for long.
                while timers.next_look.get() <= timers.looked.get() + nanos(TICK) {
                    timers.read();
                    monoio::time::sleep(Duration::from_millis(1)).await;
                }
                let began = timers.read();
                near.set(Duration::from_millis(after));
                assert_eq!(timers.next_look.get(), 0);
                poll_fn(|cx| {
                    timers.read();
                    near.poll_expired(cx)
                })
                .await;
                let waited = Duration::from_nanos(timers.read() - began);
                assert!(waited >= Duration::from_millis(after), "{waited:?}");
                near.clear();
            }
        });
    }
}

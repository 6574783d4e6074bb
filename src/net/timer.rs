//! Deadlines, cheap enough to move several times per request.
//!
//! Every connection has one [`Deadline`]: a cell in a slab that its owner sets and clears with a
//! plain store. One task per worker ([`Timers::run`]) walks the slab every [`TICK`] and wakes the
//! owners of expired deadlines. Deadlines are therefore coarse (late by up to one tick) and cost no
//! allocation, no system call and no insertion into a timer wheel on the request path. Behind a tick
//! in which no task has run, the task rests until the earliest deadline, or until a task runs again.
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

/// `Cell` value of a deadline that is not set.
const UNSET: u64 = u64::MAX;

struct Slot {
    /// Nanoseconds of the worker's clock, or [`UNSET`]. A coarser unit would wake owners before their
    /// time.
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
    /// What the time of day was at `origin`, in nanoseconds since 1970, as of the last tick.
    unix_origin: Cell<u64>,
    slots: RefCell<Vec<Option<Rc<Slot>>>>,
    free: RefCell<Vec<usize>>,
    /// What `recent` was behind the last tick.
    ticked: Cell<u64>,
    /// Wakes the ticking task while it rests.
    ticker: RefCell<Option<Waker>>,
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
            ticked: Cell::new(0),
            ticker: RefCell::new(None),
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

    fn now(&self) -> u64 {
        monotonic::now().wrapping_sub(self.origin)
    }

    /// Ends the rest of the ticking task, since a task has something to do.
    #[cold]
    fn resume(&self) {
        self.is_resting.set(false);
        // There were no ticks.
        self.read_time_of_day();
        if let Some(waker) = self.ticker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Returns what the last [`Timers::read`] returned. Every wake-up of a connection's task reads
    /// the clock, so this is when the running task was woken, or later.
    pub fn recent(&self) -> u64 {
        self.recent.get()
    }

    /// Returns the microseconds since 1970 at `recent`. A step of the system's clock shows with the
    /// next tick.
    pub fn unix_us(&self) -> u64 {
        self.unix_origin.get().saturating_add(self.recent.get()) / 1000
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
            if self.recent.get() == self.ticked.get() {
                self.rest().await;
            } else {
                monoio::time::sleep(TICK).await;
            }
            self.fire();
        }
    }

    /// Waits until the earliest deadline, or until a task runs.
    async fn rest(&self) {
        let earliest = self.slots.borrow().iter().flatten().map(|slot| slot.at.get()).min().unwrap_or(UNSET);
        self.is_resting.set(true);
        let left = Duration::from_nanos(earliest.saturating_sub(self.recent.get()));
        let mut sleep = pin!((earliest != UNSET).then(|| monoio::time::sleep(left.max(TICK))));
        poll_fn(|cx| {
            if !self.is_resting.get() {
                return Poll::Ready(());
            }
            if let Some(sleep) = sleep.as_mut().as_pin_mut()
                && sleep.poll(cx).is_ready()
            {
                return Poll::Ready(());
            }
            *self.ticker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.is_resting.set(false);
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
        self.ticked.set(now);
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
        self.slot.at.set(self.timers.recent().saturating_add(nanos(after)));
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

    /// Awaits `future`. Returns `None` if the deadline expires first: the future is dropped then, so
    /// what it reads or writes must be closed afterwards.
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
}

//! Deadlines, cheap enough to move several times per request.
//!
//! Every connection has one [`Deadline`]: a cell in a slab that its owner sets and clears with a
//! plain store. One task per worker ([`Timers::run`]) walks the slab every [`TICK`] and wakes those
//! whose time has come. Deadlines are therefore coarse (late by up to one tick, never early) and
//! cost no allocation, no system call and no timer-wheel insertion on the request path. With no
//! connection open the task does not tick at all.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// How late a deadline may fire.
pub const TICK: Duration = Duration::from_millis(20);

/// `Cell` value of a deadline that is not set.
const UNSET: u64 = u64::MAX;

struct Slot {
    /// Nanoseconds of the worker's clock, or [`UNSET`]. Nothing coarser: who is woken early finds
    /// that nothing is due yet.
    at: Cell<u64>,
    awaits: Cell<Awaits>,
    waker: RefCell<Option<Waker>>,
}

/// What an owner waits for: whom a stop ends, and whom it lets go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    /// Nothing but the next request.
    Request,
    /// Something of the request that it serves.
    Progress,
    /// That the peer takes what is being sent.
    Taking,
}

/// The deadlines of one worker.
pub struct Timers {
    origin: Instant,
    /// What the clock said when it was read last.
    recent: Cell<u64>,
    slots: RefCell<Vec<Option<Rc<Slot>>>>,
    free: RefCell<Vec<usize>>,
    live: Cell<usize>,
    /// Woken when the first deadline of an empty slab is made.
    ticker: RefCell<Option<Waker>>,
}

impl Timers {
    pub fn new() -> Rc<Timers> {
        Rc::new(Timers {
            origin: Instant::now(),
            recent: Cell::new(0),
            slots: RefCell::new(Vec::new()),
            free: RefCell::new(Vec::new()),
            live: Cell::new(0),
            ticker: RefCell::new(None),
        })
    }

    /// Nanoseconds since this worker started.
    fn now(&self) -> u64 {
        self.recent.set(nanos(self.origin.elapsed()));
        self.recent.get()
    }

    /// Time since this worker started, as old as the last deadline that was set or that last tick:
    /// for what counts in seconds.
    pub fn recent(&self) -> Duration {
        Duration::from_nanos(self.recent.get())
    }

    /// A deadline that is not set.
    pub fn deadline(self: &Rc<Timers>) -> Deadline {
        let slot =
            Rc::new(Slot { at: Cell::new(UNSET), awaits: Cell::new(Awaits::Progress), waker: RefCell::new(None) });
        let index = match self.free.borrow_mut().pop() {
            Some(index) => index,
            None => {
                self.slots.borrow_mut().push(None);
                self.slots.borrow().len() - 1
            }
        };
        self.slots.borrow_mut()[index] = Some(slot.clone());
        self.live.set(self.live.get() + 1);
        if let Some(waker) = self.ticker.borrow_mut().take() {
            waker.wake();
        }
        Deadline { timers: self.clone(), slot, index }
    }

    /// Wakes what is due, for ever. One task per worker.
    pub async fn run(self: Rc<Timers>) {
        loop {
            poll_fn(|cx| {
                if self.live.get() > 0 {
                    return Poll::Ready(());
                }
                *self.ticker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            })
            .await;
            monoio::time::sleep(TICK).await;
            self.fire();
        }
    }

    /// Makes deadlines pass now: those of idle owners, or of all but those who are just sending.
    /// For shutting down.
    pub fn expire(&self, idle_only: bool) {
        for slot in self.slots.borrow().iter().flatten() {
            let meant = match slot.awaits.get() {
                Awaits::Request => true,
                Awaits::Progress => !idle_only,
                Awaits::Taking => false,
            };
            if meant && slot.at.get() != UNSET {
                slot.at.set(0);
            }
        }
        self.fire();
    }

    fn fire(&self) {
        let now = self.now();
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

/// A point in time at which its owner wants to be woken. Gives its slot back when dropped.
pub struct Deadline {
    timers: Rc<Timers>,
    slot: Rc<Slot>,
    index: usize,
}

impl Deadline {
    /// Replaces whatever was set.
    pub fn set(&self, after: Duration) {
        self.put(after, Awaits::Progress);
    }

    /// [`Deadline::set`] for an owner that waits for nothing but the next request.
    pub fn set_idle(&self, after: Duration) {
        self.put(after, Awaits::Request);
    }

    /// [`Deadline::set`] for an owner that is sending.
    pub fn set_sending(&self, after: Duration) {
        self.put(after, Awaits::Taking);
    }

    fn put(&self, after: Duration, awaits: Awaits) {
        self.slot.awaits.set(awaits);
        self.slot.at.set(self.timers.now().saturating_add(nanos(after)));
    }

    pub fn set_opt(&self, after: Option<Duration>) {
        match after {
            Some(after) => self.set(after),
            None => self.clear(),
        }
    }

    pub fn clear(&self) {
        self.slot.at.set(UNSET);
    }

    /// Ready once the time has come. Registers the task's waker otherwise.
    pub fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.slot.at.get();
        if at == UNSET {
            return Poll::Pending;
        }
        if at <= self.timers.now() {
            return Poll::Ready(());
        }
        let mut waker = self.slot.waker.borrow_mut();
        match &*waker {
            Some(old) if old.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// `future`, or `None` if the deadline passes first; the future is dropped then, so what it
    /// reads or writes must be closed after.
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
        self.timers.live.set(self.timers.live.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_early() {
        let timers = Timers::new();
        let deadline = timers.deadline();
        let mut cx = Context::from_waker(Waker::noop());
        // At any point within a millisecond, and for lengths that are not whole ones.
        for after in (0..40).map(|n| Duration::from_micros(700 + 37 * n)) {
            let before = timers.now();
            deadline.set(after);
            while deadline.poll_expired(&mut cx).is_pending() {}
            assert!(timers.now() >= before + nanos(after), "{after:?}");
        }
        deadline.set(Duration::ZERO);
        assert!(deadline.poll_expired(&mut cx).is_ready());
    }

    #[test]
    fn a_stop_ends_waits() {
        const LONG: Duration = Duration::from_secs(1000);
        let timers = Timers::new();
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

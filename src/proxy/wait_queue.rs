//! Requests of one worker that wait for room: at a provider with limits of its own, or in the
//! process.
//!
//! A task per worker, which runs only while somebody waits, looks every few milliseconds whether
//! there is room, and gives it to whoever is first: by level, then by the order in which they came.
//! So a slot that another worker gave back is seen as well, and no lock is needed.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::limit::provider::{ProviderLimits, Waiter};
use crate::limit::{Hold, Need, Running, Slot};
use crate::net;
use crate::net::timer::Timers;

/// How often the task looks.
const LOOK: Duration = Duration::from_millis(5);

/// What a request waits for.
pub enum Wanted {
    /// Room in the process, which has this many requests at most.
    Process(Arc<Running>, u32),
    /// Room at a provider.
    Provider { limits: Arc<ProviderLimits>, need: Need, waiter: Waiter },
}

/// The room that was given.
pub enum Grant {
    Process(Slot),
    /// At the provider with this place in what was wanted.
    Provider(usize, Hold),
}

/// The requests of one worker that wait for a provider.
#[derive(Default)]
pub struct WaitQueue {
    /// In the order in which they are served.
    entries: RefCell<Vec<Entry>>,
    next: Cell<u64>,
    /// Whether the task runs.
    is_served: Cell<bool>,
}

struct Entry {
    level: usize,
    number: u64,
    wanted: Vec<Wanted>,
    place: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    grant: Option<Grant>,
    waker: Option<Waker>,
}

/// A place in the queue, which is left when this is dropped.
pub struct Place {
    queue: Rc<WaitQueue>,
    number: u64,
    state: Rc<RefCell<State>>,
}

impl WaitQueue {
    /// Returns whether somebody of this level or a higher one waits for room in the process.
    pub fn has_ahead(&self, level: usize) -> bool {
        let entries = self.entries.borrow();
        entries.iter().any(|entry| entry.level <= level && matches!(entry.wanted.first(), Some(Wanted::Process(..))))
    }

    /// Gives room to those who are first.
    fn serve(&self, now: u64) {
        let mut entries = self.entries.borrow_mut();
        entries.retain_mut(|entry| {
            let Some(grant) = find_room(entry, now) else { return true };
            let mut state = entry.place.borrow_mut();
            state.grant = Some(grant);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
            false
        });
    }
}

fn find_room(entry: &Entry, now: u64) -> Option<Grant> {
    entry.wanted.iter().enumerate().find_map(|(at, wanted)| match wanted {
        Wanted::Process(running, most) => Running::enter(running, *most).map(Grant::Process),
        // Others on another worker may go first.
        Wanted::Provider { limits, .. } if limits.before(entry.level) > 0 => None,
        Wanted::Provider { limits, need, .. } => limits.admit(now, *need).ok().map(|hold| Grant::Provider(at, hold)),
    })
}

/// Joins the queue of this worker, whose clock is that of `timers`.
pub fn join(queue: &Rc<WaitQueue>, timers: &Rc<Timers>, level: usize, wanted: Vec<Wanted>) -> Place {
    let number = queue.next.get();
    queue.next.set(number + 1);
    let state = Rc::<RefCell<State>>::default();
    let mut entries = queue.entries.borrow_mut();
    let at = entries.partition_point(|entry| entry.level <= level);
    entries.insert(at, Entry { level, number, wanted, place: state.clone() });
    if !queue.is_served.replace(true) {
        net::spawn(run(queue.clone(), timers.clone()));
    }
    Place { queue: queue.clone(), number, state }
}

/// Looks for room until nobody waits.
async fn run(queue: Rc<WaitQueue>, timers: Rc<Timers>) {
    while !queue.entries.borrow().is_empty() {
        net::sleep(LOOK).await;
        queue.serve(timers.read());
    }
    queue.is_served.set(false);
}

impl Place {
    /// Is ready when there is room.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Grant> {
        let mut state = self.state.borrow_mut();
        match state.grant.take() {
            Some(grant) => Poll::Ready(grant),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.entries.borrow_mut().retain(|entry| entry.number != self.number);
    }
}

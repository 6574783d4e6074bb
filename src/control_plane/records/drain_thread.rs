//! The thread that drains the rings: it has less weight than the workers and works in short slices,
//! so that a worker on the same CPU need not wait for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::drain::Drain;
use crate::shared::ProcessState;

/// How long records gather in the rings, of which each holds some 100 ms at full load.
const GATHER: Duration = Duration::from_millis(50);
/// How long the thread sleeps while no request ends. A worker wakes it.
const IDLE: Duration = Duration::from_secs(5);
/// Added to the niceness: a third of the weight of a worker. Less would let the rings overflow at
/// full load.
const NICE: i32 = 5;

/// The thread of the records.
pub(crate) struct DrainThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Drain>,
}

impl DrainThread {
    /// Starts the thread. The error says that the system gives none.
    pub(crate) fn start(shared: Arc<ProcessState>, drain: Drain) -> Result<DrainThread, String> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::Builder::new()
            .name("records".to_owned())
            .spawn(move || run(&shared, drain, &stopped))
            .map_err(|error| format!("the thread of the records can't be started: {error}"))?;
        Ok(DrainThread { stop, thread })
    }

    /// Ends the thread, and returns what drains the last records. `None` after a panic.
    pub(crate) fn stop(self) -> Option<Drain> {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        self.thread.join().ok()
    }
}

fn run(shared: &ProcessState, mut drain: Drain, stop: &AtomicBool) -> Drain {
    // On Linux this is the thread's own.
    let _ = rustix::process::nice(NICE);
    shared.drain_waker.set_sleeper(thread::current());
    while !stop.load(Ordering::Acquire) {
        let any = drain.run();
        if any || drain.is_waiting() {
            thread::park_timeout(GATHER);
        } else {
            let was_woken = shared.drain_waker.sleep(|| shared.rings.iter().all(|ring| ring.is_empty()), IDLE);
            // The record that woke the thread is the first of many.
            if was_woken && !stop.load(Ordering::Acquire) {
                thread::park_timeout(GATHER);
            }
        }
    }
    drain
}

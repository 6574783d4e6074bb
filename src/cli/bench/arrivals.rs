//! When requests begin: at a constant rate, or whenever a connection is free.
//!
//! At a constant rate, a request's latency counts from the moment at which it was due, whether or
//! not a connection was free then. A tool that counts from the moment of sending leaves out what
//! waited behind a slow response (coordinated omission).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// A constant rate of arrivals from `start` on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    pub(super) start: Instant,
    /// Requests a second.
    pub(super) rate: f64,
}

impl Schedule {
    /// Returns when the `n`th request is due, from 0.
    pub(super) fn due(&self, n: u64) -> Instant {
        self.start + Duration::from_secs_f64(n as f64 / self.rate)
    }

    /// Returns how many requests are due at `now`.
    pub(super) fn count_due(&self, now: Instant) -> u64 {
        let Some(since) = now.checked_duration_since(self.start) else { return 0 };
        // `due` rounds to a nanosecond.
        ((since.as_secs_f64() + 1e-9) * self.rate).floor() as u64 + 1
    }

    /// Returns how many requests are due before `time` has passed.
    pub(super) fn count_within(&self, time: Duration) -> u64 {
        (time.as_secs_f64() * self.rate - 1e-6).ceil().max(1.0) as u64
    }
}

/// Requests that are due and not begun. A target that is so far behind gets no more of them.
const MAX_DUE: usize = 1_000_000;

/// What becomes of a request that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Added {
    /// A free connection takes it.
    Taken,
    /// It waits for a connection.
    Waits,
    /// It is left out, since [`MAX_DUE`] wait.
    Dropped,
}

/// The requests that are due, and the connections that wait for one.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    due: RefCell<VecDeque<Instant>>,
    /// Connections that are free, the one that has waited longest first.
    free: RefCell<VecDeque<Waker>>,
}

impl Arrivals {
    pub(super) fn add(&self, due: Instant) -> Added {
        let mut waiting = self.due.borrow_mut();
        if waiting.len() >= MAX_DUE {
            return Added::Dropped;
        }
        waiting.push_back(due);
        match self.free.borrow_mut().pop_front() {
            Some(connection) => {
                connection.wake();
                Added::Taken
            }
            None => Added::Waits,
        }
    }

    /// Waits for the next request.
    pub(super) async fn next(&self) -> Instant {
        poll_fn(|context| match self.due.borrow_mut().pop_front() {
            Some(due) => Poll::Ready(due),
            None => {
                self.free.borrow_mut().push_back(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// A thread that counts the requests of a schedule as they become due. A thread of its own sleeps
/// to some microseconds, the runtime's timers to a millisecond.
pub(super) struct Pacer {
    released: Arc<AtomicU64>,
    wake: Arc<Notify>,
}

impl Pacer {
    /// Starts the thread, which ends behind `count` requests.
    pub(super) fn start(schedule: Schedule, count: u64) -> std::io::Result<Pacer> {
        // A sleep may be this much longer. Where it can't be set it stays at 50 microseconds.
        let _ = std::fs::write("/proc/self/timerslack_ns", "1000");
        let pacer = Pacer { released: Arc::default(), wake: Arc::default() };
        let (released, wake) = (pacer.released.clone(), pacer.wake.clone());
        thread::Builder::new().name("pacer".to_owned()).spawn(move || {
            loop {
                let now = Instant::now();
                let due = schedule.count_due(now).min(count);
                if due > released.swap(due, Ordering::Release) {
                    wake.notify_one();
                }
                // The runtime is gone when it alone holds these no more.
                if due == count || Arc::strong_count(&wake) == 1 {
                    return;
                }
                thread::sleep(schedule.due(due).saturating_duration_since(now));
            }
        })?;
        Ok(pacer)
    }

    /// Waits until more than `taken` requests are due, and returns how many are.
    pub(super) async fn more_than(&self, taken: u64) -> u64 {
        loop {
            let released = self.released.load(Ordering::Acquire);
            if released > taken {
                return released;
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_due_at_its_own_time() {
        let start = Instant::now();
        for rate in [0.5, 3.0, 1000.0, 7_777.0, 40_000.0] {
            let schedule = Schedule { start, rate };
            for n in [0, 1, 2, 10, 999, 100_000] {
                let due = schedule.due(n);
                assert_eq!(schedule.count_due(due), n + 1, "{rate} {n}");
                assert_eq!(schedule.count_due(due + Duration::from_secs_f64(0.5 / rate)), n + 1, "{rate} {n}");
            }
            assert_eq!(schedule.count_due(start), 1);
        }
        let schedule = Schedule { start: start + Duration::from_secs(1), rate: 10.0 };
        assert_eq!(schedule.count_due(start), 0);
        let count = |rate, millis| Schedule { start, rate }.count_within(Duration::from_millis(millis));
        assert_eq!([count(10.0, 1000), count(10.0, 1050), count(0.1, 1000), count(3.0, 1000)], [10, 11, 1, 3]);
    }

    /// One connection, a response of 100 ms in the middle of fast ones, ten requests each 10 ms:
    /// what waited behind it counts its wait.
    #[test]
    fn latency_counts_from_when_a_request_was_due() {
        let millis = Duration::from_millis;
        let schedule = Schedule { start: Instant::now(), rate: 100.0 };
        let mut free = schedule.start;
        let latencies: Vec<u128> = (0..20)
            .map(|n| {
                let begin = free.max(schedule.due(n));
                free = begin + if n == 5 { millis(100) } else { millis(1) };
                (free - schedule.due(n)).as_millis()
            })
            .collect();
        assert_eq!(latencies[..5], [1; 5]);
        assert_eq!(latencies[5..16], [100, 91, 82, 73, 64, 55, 46, 37, 28, 19, 10]);
        assert_eq!(latencies[16..], [1; 4]);
    }
}

//! The bounded queue of records from one worker to the control plane. A record that finds it full
//! is dropped and counted; the worker never waits.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, Thread};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use crate::telemetry::record::Record;

/// Records that a ring holds. At about 600 bytes each a full ring takes some 2.5 MiB, plus the
/// details; an empty one takes none of it.
pub const CAPACITY: usize = 4096;

/// The finished requests of one worker that the control plane has not taken yet.
#[derive(Debug)]
pub struct Ring {
    /// Records are pointers here: a block of the queue has 31 places, which are zeroed when it is
    /// made.
    queue: SegQueue<Box<Record>>,
    /// Records in the queue.
    count: AtomicUsize,
    dropped: AtomicU64,
    /// Bytes of the details in the queue.
    bytes: AtomicUsize,
    max_bytes: usize,
    details_dropped: AtomicU64,
}

impl Ring {
    /// Makes a ring. `max_bytes` bounds the details: a record that exceeds it loses its detail.
    pub fn new(max_bytes: usize) -> Arc<Ring> {
        Arc::new(Ring {
            queue: SegQueue::new(),
            count: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            max_bytes,
            details_dropped: AtomicU64::new(0),
        })
    }

    /// Queues a record. Never blocks: a record without room is dropped and counted.
    pub fn push(&self, record: impl Into<Box<Record>>) {
        let mut record = record.into();
        let mut size = record.detail_size();
        if size > 0 && self.bytes.load(Ordering::Relaxed) + size > self.max_bytes {
            record.detail = None;
            size = 0;
            self.details_dropped.fetch_add(1, Ordering::Relaxed);
        }
        // Only the worker adds, so that the bound holds. Before the push, so that a pop never
        // subtracts what was not added yet.
        if self.count.load(Ordering::Relaxed) >= CAPACITY {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        if size > 0 {
            self.bytes.fetch_add(size, Ordering::Relaxed);
        }
        self.queue.push(record);
    }

    /// Takes the oldest record. The thread that drains makes it a shared one, not the worker.
    pub fn pop(&self) -> Option<Arc<Record>> {
        let record = self.queue.pop()?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        match record.detail_size() {
            0 => {}
            size => _ = self.bytes.fetch_sub(size, Ordering::Relaxed),
        }
        Some(record.into())
    }

    /// Returns whether no record waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Returns how many records were dropped.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns how many records have lost their detail.
    pub fn details_dropped(&self) -> u64 {
        self.details_dropped.load(Ordering::Relaxed)
    }
}

/// Wakes the thread that drains the rings when a record comes while it sleeps.
#[derive(Debug, Default)]
pub struct DrainWaker {
    is_sleeping: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl DrainWaker {
    /// Sets the thread that sleeps. Only the first call has an effect.
    pub fn set_sleeper(&self, thread: Thread) {
        let _ = self.sleeper.set(thread);
    }

    /// Wakes the thread after a push. Costs one load while it is awake. A call that coincides with
    /// its last check of the rings may be lost, so it sleeps for a bounded time.
    pub fn wake(&self) {
        if self.is_sleeping.load(Ordering::Relaxed)
            && self.is_sleeping.swap(false, Ordering::AcqRel)
            && let Some(sleeper) = self.sleeper.get()
        {
            sleeper.unpark();
        }
    }

    /// Sleeps until [`wake`](Self::wake) is called, for `longest` at most, unless `is_idle` returns
    /// false. Returns whether it was woken. Only the thread that sleeps may call this.
    pub fn sleep(&self, is_idle: impl FnOnce() -> bool, longest: Duration) -> bool {
        self.is_sleeping.store(true, Ordering::SeqCst);
        if is_idle() {
            thread::park_timeout(longest);
        }
        !self.is_sleeping.swap(false, Ordering::AcqRel)
    }
}

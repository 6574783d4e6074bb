//! The bounded queue from one worker to the background thread. Full means a counted drop, never a wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use super::entry::Record;

/// Records a ring holds. At about 400 bytes each, a ring is some 1.6 MiB.
pub const CAPACITY: usize = 4096;

#[derive(Debug)]
pub struct Ring {
    queue: ArrayQueue<Record>,
    dropped: AtomicU64,
}

impl Ring {
    pub fn new() -> Arc<Ring> {
        Arc::new(Ring { queue: ArrayQueue::new(CAPACITY), dropped: AtomicU64::new(0) })
    }

    /// Never blocks. A record that finds no room is counted and gone.
    pub fn push(&self, record: Record) {
        if self.queue.push(record).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn pop(&self) -> Option<Record> {
        self.queue.pop()
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

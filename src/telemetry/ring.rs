//! The bounded queue from one worker to the background thread. Full means a counted drop, never a
//! wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::telemetry::record::Record;

/// Records a ring holds. At about 700 bytes each, a ring is some 3 MiB, and the details come on
/// top.
pub const CAPACITY: usize = 4096;

#[derive(Debug)]
pub struct Ring {
    queue: ArrayQueue<Record>,
    dropped: AtomicU64,
    /// Bytes of the details that lie here, and how many may.
    bytes: AtomicUsize,
    max_bytes: usize,
    details_dropped: AtomicU64,
}

impl Ring {
    /// `max_bytes` bounds the details. A record without room for its detail goes without it.
    pub fn new(max_bytes: usize) -> Arc<Ring> {
        Arc::new(Ring {
            queue: ArrayQueue::new(CAPACITY),
            dropped: AtomicU64::new(0),
            bytes: AtomicUsize::new(0),
            max_bytes,
            details_dropped: AtomicU64::new(0),
        })
    }

    /// Never blocks. A record that finds no room is counted and gone.
    pub fn push(&self, mut record: Record) {
        let mut size = record.detail_size();
        if size > 0 && self.bytes.load(Ordering::Relaxed) + size > self.max_bytes {
            record.detail = None;
            size = 0;
            self.details_dropped.fetch_add(1, Ordering::Relaxed);
        }
        // Before the push, so that who pops never takes off what is not there yet.
        self.bytes.fetch_add(size, Ordering::Relaxed);
        if self.queue.push(record).is_err() {
            self.bytes.fetch_sub(size, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn pop(&self) -> Option<Record> {
        let record = self.queue.pop()?;
        self.bytes.fetch_sub(record.detail_size(), Ordering::Relaxed);
        Some(record)
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Records that went on without their detail.
    pub fn details_dropped(&self) -> u64 {
        self.details_dropped.load(Ordering::Relaxed)
    }
}

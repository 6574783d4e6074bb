//! The counters of one core: written by it alone, read by whoever scrapes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::names::Counter;

/// Aligned so that two cores never share a cache line.
#[derive(Debug)]
#[repr(align(128))]
pub struct Shard {
    counters: Vec<AtomicU64>,
}

impl Shard {
    pub fn new() -> Arc<Shard> {
        Arc::new(Shard { counters: Counter::ALL.iter().map(|_| AtomicU64::new(0)).collect() })
    }

    /// One writer: a load and a store, no locked instruction.
    pub fn add(&self, counter: Counter, n: u64) {
        let cell = &self.counters[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Ordering::Relaxed)
    }
}

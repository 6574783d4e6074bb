//! How many requests of a credential run at once: a counter, and a guard that counts down on every
//! way out.
//!
//! This file is also compiled by `tests/loom`, with that crate's atomics as `super::word`.

use super::word::{Arc, AtomicU64, Ordering};

/// Requests that run now. Outlives reloads, whatever becomes of the limit.
#[derive(Debug, Default)]
pub struct Running(AtomicU64);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Slot(Arc<Running>);

impl Running {
    /// `None` when `most` run already.
    pub fn enter(running: &Arc<Running>, most: u32) -> Option<Slot> {
        let count = &running.0;
        let mut seen = count.load(Ordering::Relaxed);
        loop {
            if seen >= u64::from(most) {
                return None;
            }
            match count.compare_exchange_weak(seen, seen + 1, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(Slot(running.clone())),
                Err(other) => seen = other,
            }
        }
    }

    /// Returns how many requests run now.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

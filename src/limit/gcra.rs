//! The algorithm of a bucket: one atomic word, compare-exchange, no lock (GCRA, the generic cell
//! rate algorithm).
//!
//! The word is the moment at which the bucket will be full again, in nanoseconds of the process
//! clock. Taking `n` units moves it `n` intervals on and is allowed if it then lies no more than
//! the bucket's depth in the future. Giving back moves it back; a moment that has passed counts as
//! now, so nothing ever exceeds the capacity.
//!
//! Over any readings of the clock from `a` to `b` at most `capacity + rate * (b - a)` units are
//! taken, less what was given back, for any number of threads in any order: each taking is one
//! successful exchange of the one word, which moves it at least `n` intervals on and leaves it at
//! most one depth after the taker's own reading.
//!
//! This file is also compiled by `tests/loom`, with that crate's atomics as `super::word`.

use super::word::{AtomicU64, Ordering};

/// The longest time that a debt keeps a bucket closed, in nanoseconds. A provider that reports
/// absurd numbers must not close it for good.
const LONGEST_DEBT: u64 = 3600 * 1_000_000_000;

/// The state of one bucket.
#[derive(Debug)]
pub struct Gcra {
    /// Nanoseconds per unit, rounded up: the rate is never exceeded, and undershot by less than a
    /// nanosecond in each interval.
    interval: u64,
    /// The capacity, as nanoseconds.
    depth: u64,
    full_at: AtomicU64,
}

impl Gcra {
    /// `burst` units, of which `rate` come back in each `period` nanoseconds. Neither may be 0.
    pub fn new(rate: u32, burst: u32, period: u64) -> Gcra {
        let interval = period.div_ceil(u64::from(rate.max(1))).max(1);
        Gcra { interval, depth: interval.saturating_mul(u64::from(burst)), full_at: AtomicU64::new(0) }
    }

    /// Takes `n` units at `now`, a reading of the clock that all callers share. Gives the whole
    /// units that are left, or for how many nanoseconds there are too few. More than the capacity
    /// is never there: the caller sees to that.
    pub fn take(&self, now: u64, n: u64) -> Result<u64, u64> {
        let cost = n.saturating_mul(self.interval);
        let latest = now.saturating_add(self.depth);
        // The word guards nothing but itself, so no ordering is asked for.
        let mut seen = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = seen.max(now).saturating_add(cost);
            if next > latest {
                return Err(next - latest);
            }
            match self.full_at.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok((latest - next) / self.interval),
                Err(other) => seen = other,
            }
        }
    }

    /// Gives back what was taken and not used. What the bucket has regained meanwhile is lost: it
    /// holds no more than its capacity.
    pub fn give_back(&self, n: u64) {
        let cost = n.saturating_mul(self.interval);
        self.change(|full_at| full_at.saturating_sub(cost));
    }

    /// Takes `n` units that are used up already, whether they are there or not. What is missing is
    /// a debt that takings wait for.
    pub fn charge(&self, now: u64, n: u64) {
        let cost = n.saturating_mul(self.interval);
        let most = now.saturating_add(self.depth).saturating_add(LONGEST_DEBT);
        self.change(|full_at| full_at.max(now).saturating_add(cost).min(most.max(full_at)));
    }

    fn change(&self, to: impl Fn(u64) -> u64) {
        let mut seen = self.full_at.load(Ordering::Relaxed);
        while let Err(other) = self.full_at.compare_exchange_weak(seen, to(seen), Ordering::Relaxed, Ordering::Relaxed)
        {
            seen = other;
        }
    }

    /// Nanoseconds until the bucket is full.
    pub fn until_full(&self, now: u64) -> u64 {
        self.full_at.load(Ordering::Relaxed).saturating_sub(now)
    }

    /// Whole units that could be taken now.
    pub fn left(&self, now: u64) -> u64 {
        self.depth.saturating_sub(self.until_full(now)) / self.interval
    }

    /// Nanoseconds in which `n` units come back.
    pub fn time_for(&self, n: u64) -> u64 {
        n.saturating_mul(self.interval)
    }
}

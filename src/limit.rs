//! Token buckets: one atomic word each, shared by all cores, no lock.
//!
//! GCRA: the word is the theoretical arrival time of the next request, in nanoseconds of the process clock. A request is admitted if
//! that time lies no more than the bucket's depth in the future; admission moves it one interval on by compare-exchange. Over any
//! window of `t` seconds at most `burst + rate * t` requests are admitted, however many threads take part: every admission is one
//! successful exchange of the one word.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a bucket says to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Admitted; `remaining` whole requests could follow at once.
    Admitted { remaining: u32 },
    /// Refused; the next request is admitted after `retry_ms`. `None` when the limit is zero: never.
    Refused { retry_ms: Option<u64> },
}

/// A bucket of `burst` requests, refilled at `rate` per second.
#[derive(Debug)]
pub struct Bucket {
    rate: u32,
    burst: u32,
    /// Nanoseconds between two requests at the full rate.
    interval: u64,
    /// The theoretical arrival time, on the caller's monotonic clock.
    arrival: AtomicU64,
}

impl Bucket {
    /// `rate` 0 admits nothing. `burst` 0 means `rate`.
    pub fn new(rate: u32, burst: u32) -> Bucket {
        let burst = if burst == 0 { rate } else { burst };
        let interval = if rate == 0 { 0 } else { (1_000_000_000 / u64::from(rate)).max(1) };
        Bucket { rate, burst, interval, arrival: AtomicU64::new(0) }
    }

    pub fn rate(&self) -> u32 {
        self.rate
    }

    pub fn burst(&self) -> u32 {
        self.burst
    }

    /// Takes one request at `now`, nanoseconds of any monotonic clock that all callers share.
    pub fn take(&self, now: u64) -> Verdict {
        if self.rate == 0 {
            return Verdict::Refused { retry_ms: None };
        }
        let depth = self.interval * u64::from(self.burst);
        let mut arrival = self.arrival.load(Ordering::Relaxed);
        loop {
            let next = arrival.max(now) + self.interval;
            if next > now + depth {
                let wait = next - depth - now;
                return Verdict::Refused { retry_ms: Some(wait.div_ceil(1_000_000)) };
            }
            match self.arrival.compare_exchange_weak(arrival, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    let remaining = (now + depth - next) / self.interval;
                    return Verdict::Admitted { remaining: u32::try_from(remaining).unwrap_or(u32::MAX) };
                }
                Err(seen) => arrival = seen,
            }
        }
    }

    /// Milliseconds until the bucket is full again.
    pub fn reset_ms(&self, now: u64) -> u64 {
        self.arrival.load(Ordering::Relaxed).saturating_sub(now).div_ceil(1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn admitted(bucket: &Bucket, now: u64) -> bool {
        matches!(bucket.take(now), Verdict::Admitted { .. })
    }

    #[test]
    fn zero_blocks_everything() {
        let bucket = Bucket::new(0, 0);
        assert_eq!(bucket.take(SECOND), Verdict::Refused { retry_ms: None });
    }

    #[test]
    fn one_per_second_admits_one_then_waits() {
        let bucket = Bucket::new(1, 0);
        assert_eq!(bucket.take(SECOND), Verdict::Admitted { remaining: 0 });
        assert_eq!(bucket.take(SECOND + SECOND / 2), Verdict::Refused { retry_ms: Some(500) });
        assert!(admitted(&bucket, 2 * SECOND));
    }

    #[test]
    fn burst_is_the_capacity_and_refills_at_the_rate() {
        let bucket = Bucket::new(10, 3);
        let first: Vec<bool> = (0..4).map(|_| admitted(&bucket, SECOND)).collect();
        assert_eq!(first, [true, true, true, false]);
        assert!(!admitted(&bucket, SECOND + 99_000_000));
        assert!(admitted(&bucket, SECOND + 100_000_000));
    }

    #[test]
    fn four_threads_never_admit_more_than_burst_plus_rate_times_time() {
        let bucket = Bucket::new(1000, 50);
        let clock = AtomicU64::new(SECOND);
        let count = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let now = clock.fetch_add(10_000, Ordering::Relaxed);
                        if admitted(&bucket, now) {
                            count.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        // 80,000 steps of 10 microseconds are 0.8 s.
        let count = count.load(Ordering::Relaxed);
        assert!(count <= 50 + 800 + 1, "{count} admitted");
        assert!(count >= 800, "{count} admitted");
    }
}

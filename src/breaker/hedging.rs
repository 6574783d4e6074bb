//! When a second attempt runs beside a slow one, and how often: the times to an answer of a
//! provider's model, and the budget that keeps the extra load within a share of the traffic. Both
//! belong to one worker.

/// Hundredths of a percent of one request.
const TOKEN: u64 = 10_000;

/// What a budget saves up at most: after a quiet time so many hedges may follow one another.
const MOST: u64 = 4 * TOKEN;

/// The budget of hedges: each request adds its share of one, and a hedge takes a whole one. The
/// first hedge of a worker is free, so that an installation with little traffic has one too.
#[derive(Debug, Clone, Copy)]
pub struct HedgeBudget {
    parts: u64,
}

impl Default for HedgeBudget {
    fn default() -> HedgeBudget {
        HedgeBudget { parts: TOKEN }
    }
}

impl HedgeBudget {
    /// Counts a request that may be hedged. `share` is in hundredths of a percent.
    pub fn deposit(&mut self, share: u32) {
        self.parts = self.parts.saturating_add(u64::from(share)).min(MOST);
    }

    /// Takes one hedge. Returns false if there is none.
    pub fn withdraw(&mut self) -> bool {
        let left = self.parts.checked_sub(TOKEN);
        self.parts = left.unwrap_or(self.parts);
        left.is_some()
    }
}

/// The buckets of a quarter of a power of two each: from a millisecond to some four minutes.
const BUCKETS: usize = 72;

/// Fewer times say nothing of their 95th percentile.
const LEAST: u32 = 20;

/// At this number of times all counts are halved, so that the latest ones count most.
const HALVED_AT: u32 = 512;

/// The times to the first content, or to whole answers, of one model at one provider, as a
/// histogram that forgets.
#[derive(Debug, Clone)]
pub struct AnswerTimes {
    counts: [u16; BUCKETS],
    total: u32,
}

impl Default for AnswerTimes {
    fn default() -> AnswerTimes {
        AnswerTimes { counts: [0; BUCKETS], total: 0 }
    }
}

impl AnswerTimes {
    /// Records a time, in microseconds. Of an attempt that was given up, the time until then
    /// counts.
    pub fn record(&mut self, us: u64) {
        if self.total >= HALVED_AT {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().map(|count| u32::from(*count)).sum();
        }
        self.counts[bucket(us)] += 1;
        self.total += 1;
    }

    /// Returns the 95th percentile in microseconds, not below the true one and at most 19 % above
    /// it. `None` while too little is known.
    pub fn p95(&self) -> Option<u64> {
        if self.total < LEAST {
            return None;
        }
        let rank = (self.total * 95).div_ceil(100);
        let mut seen = 0;
        let at = self.counts.iter().position(|count| {
            seen += u32::from(*count);
            seen >= rank
        })?;
        Some(upper_bound(at))
    }
}

/// Returns the bucket of a time: the first whose bound is not below it.
fn bucket(us: u64) -> usize {
    (0..BUCKETS - 1).find(|at| us <= upper_bound(*at)).unwrap_or(BUCKETS - 1)
}

/// Returns the longest time of a bucket, in microseconds.
fn upper_bound(bucket: usize) -> u64 {
    /// A quarter, a half and three quarters of a power of two, in thousandths.
    const STEPS: [u64; 4] = [1000, 1189, 1414, 1682];
    (STEPS[bucket % 4] << (bucket / 4)).max(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whenever requests come and hedges are wanted, there are never more hedges than the share
        /// of the requests so far, and the first.
        #[test]
        fn hedges_are_a_share_of_the_traffic(share in 1u32..2_000, steps in prop::collection::vec(any::<bool>(), 1..3000)) {
            let mut budget = HedgeBudget::default();
            let (mut requests, mut hedges) = (0u64, 0u64);
            for is_request in steps {
                match is_request {
                    true => { budget.deposit(share); requests += 1; }
                    false => hedges += u64::from(budget.withdraw()),
                }
                prop_assert!(hedges * TOKEN <= TOKEN + requests * u64::from(share));
            }
        }

        /// An hour in simulated time, a request each second, of which a part is slow: those that
        /// are hedged are at most 2 %, and the first.
        #[test]
        fn slow_requests_are_hedged_within_the_share(slow_percent in 0u64..40, seed in any::<u64>()) {
            let (mut budget, mut times) = (HedgeBudget::default(), AnswerTimes::default());
            let mut random = seed | 1;
            let (mut requests, mut hedged) = (0u64, 0u64);
            for _ in 0..3600 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let is_slow = random % 100 < slow_percent;
                let us = if is_slow { 8_000_000 } else { 200_000 + random % 100_000 };
                budget.deposit(200);
                requests += 1;
                if times.p95().is_some_and(|limit| us > limit) && budget.withdraw() {
                    hedged += 1;
                }
                times.record(us);
            }
            prop_assert!(hedged * 100 <= requests * 2 + 100);
        }

        #[test]
        fn the_percentile_is_near_the_true_one(times in prop::collection::vec(1_000u64..100_000_000, 20..500)) {
            let mut found = AnswerTimes::default();
            times.iter().for_each(|us| found.record(*us));
            let mut sorted = times.clone();
            sorted.sort_unstable();
            let exact = sorted[(sorted.len() * 95).div_ceil(100) - 1];
            let p95 = found.p95().unwrap();
            prop_assert!(p95 >= exact && p95 as f64 <= exact as f64 * 1.2, "{p95} for {exact}");
        }
    }

    #[test]
    fn times_are_forgotten() {
        let mut times = AnswerTimes::default();
        assert_eq!(times.p95(), None);
        (0..2000).for_each(|_| times.record(10_000_000));
        (0..2000).for_each(|_| times.record(100_000));
        assert!(times.p95().unwrap() < 150_000);
    }

    #[test]
    fn a_first_hedge_is_free() {
        let mut budget = HedgeBudget::default();
        assert!(budget.withdraw());
        assert!(!budget.withdraw());
        (0..49).for_each(|_| budget.deposit(200));
        assert!(!budget.withdraw());
        budget.deposit(200);
        assert!(budget.withdraw());
    }
}

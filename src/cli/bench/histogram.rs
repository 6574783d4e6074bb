//! Durations in a bounded number of counters, and their percentiles.

use std::time::Duration;

/// Counters for each power of two: what a percentile returns is at most 1/128 above the exact
/// value.
const STEPS: u64 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Exact values up to `STEPS`, and as many counters for each power of two behind it.
const COUNTERS: usize = (STEPS as usize) * (64 - STEP_BITS as usize + 1);

/// A distribution of durations in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    counters: Vec<u64>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counters: vec![0; COUNTERS], count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    pub(super) fn record(&mut self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counters[counter_of(nanos)] += 1;
        self.count += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
    }

    pub(super) fn add(&mut self, other: &Histogram) {
        for (into, from) in self.counters.iter_mut().zip(&other.counters) {
            *into += from;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    pub(super) fn mean(&self) -> Duration {
        let mean = self.sum.checked_div(u128::from(self.count)).unwrap_or_default();
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }

    /// Returns the duration that the share `percent` of all does not exceed: the nearest rank, so
    /// that p99 of 100 durations is the 99th. Zero if there are none.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        let rank = (percent / 100.0 * self.count as f64 - 1e-9).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (counter, n) in self.counters.iter().enumerate() {
            seen += n;
            if seen >= rank && *n > 0 {
                return Duration::from_nanos(highest_of(counter).min(self.max));
            }
        }
        self.max()
    }
}

/// Returns the counter of a value: itself up to `STEPS`, then its highest `STEP_BITS` + 1 bits.
fn counter_of(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEP_BITS;
    (u64::from(shift + 1) * STEPS + (nanos >> shift) - STEPS) as usize
}

/// Returns the highest value of a counter.
fn highest_of(counter: usize) -> u64 {
    let counter = counter as u64;
    if counter < STEPS {
        return counter;
    }
    let shift = counter / STEPS - 1;
    let low = u128::from(counter % STEPS + STEPS) << shift;
    u64::try_from(low + (1 << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(nanos: impl IntoIterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::default();
        nanos.into_iter().for_each(|n| histogram.record(Duration::from_nanos(n)));
        histogram
    }

    #[test]
    fn every_value_has_a_counter_whose_highest_value_is_close() {
        let values = (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + power / 3, power + (power - 1)]
        });
        for value in values.chain([u64::MAX]) {
            let counter = counter_of(value);
            assert!(counter < COUNTERS, "{value}");
            let highest = highest_of(counter);
            assert!(highest >= value && highest - value <= value / STEPS, "{value} {highest}");
            assert_eq!(counter_of(highest), counter, "{value}");
        }
        let counters: Vec<usize> = (0..100_000).map(counter_of).collect();
        assert!(counters.windows(2).all(|pair| pair[1] == pair[0] || pair[1] == pair[0] + 1));
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let hundred = of(1..=100);
        let at = |percent| hundred.percentile(percent).as_nanos();
        assert_eq!([at(0.0), at(1.0), at(50.0), at(90.0), at(99.0), at(99.9), at(100.0)], [1, 1, 50, 90, 99, 100, 100]);
        let thousand = of((1..=1000).map(|n| n % 100 + 1));
        assert_eq!(
            (thousand.percentile(99.9), thousand.percentile(50.0)),
            (Duration::from_nanos(100), Duration::from_nanos(50))
        );
        assert_eq!(of([]).percentile(99.0), Duration::ZERO);
        assert_eq!(of([5_000_000_001]).percentile(50.0).as_nanos(), 5_000_000_001, "never above the highest");
    }

    #[test]
    fn sums() {
        let mut all = of([1, 2, 3]);
        all.add(&of([1_000_000, 10]));
        assert_eq!((all.count(), all.max().as_nanos(), all.mean().as_nanos()), (5, 1_000_000, 200_003));
        assert_eq!(all.percentile(60.0).as_nanos(), 3);
        assert_eq!(of([]).mean(), Duration::ZERO);
    }
}

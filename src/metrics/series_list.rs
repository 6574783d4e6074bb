//! The series of one family and one writer: a list that only grows and is read while it is written,
//! without a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use crate::metrics::names::{Family, Shape};

/// Series in one chunk.
const CHUNK: usize = 256;
/// Chunks of a list.
const CHUNKS: usize = 64;
/// Series of one family that one writer may have. More are counted together, as `other`.
pub const MAX_SERIES: usize = CHUNK * CHUNKS - 1;

/// Labels and the values under them. One thread writes them, scrapes read them.
#[derive(Debug)]
pub struct Series {
    pub labels: Box<[Box<str>]>,
    family: Family,
    cells: Box<[AtomicU64]>,
    /// The buckets of a histogram, which together have every value.
    buckets: &'static [Bucket],
    /// The bucket of the last value: most values are like the one before.
    last: AtomicUsize,
}

/// The values from one to another, in the unit of the cells.
#[derive(Debug)]
struct Bucket {
    from: u64,
    /// The last value less the first.
    span: u64,
}

impl Bucket {
    /// Returns the buckets of a family, which has none if it is no histogram.
    fn of(family: Family) -> &'static [Bucket] {
        static BUCKETS: LazyLock<Vec<Box<[Bucket]>>> = LazyLock::new(|| {
            let buckets = |family: &Family| match family.row().shape {
                Shape::Histogram(bounds) => {
                    Bucket::up_to(bounds.iter().map(|bound| (bound / family.row().scale).round() as u64))
                }
                Shape::Counter | Shape::Gauge => Box::default(),
            };
            Family::ALL.iter().map(buckets).collect()
        });
        &BUCKETS[family as usize]
    }

    /// Returns the buckets up to each bound, and the one behind all of them.
    fn up_to(bounds: impl Iterator<Item = u64>) -> Box<[Bucket]> {
        let mut from = 0;
        let bucket = |bound: u64| {
            debug_assert!(from <= bound, "the bounds of a histogram grow");
            let bucket = Bucket { from, span: bound - from };
            from = bound.saturating_add(1);
            bucket
        };
        bounds.chain([u64::MAX]).map(bucket).collect()
    }

    fn has(&self, value: u64) -> bool {
        value.wrapping_sub(self.from) <= self.span
    }
}

impl Series {
    pub(super) fn new(family: Family, labels: &[&str]) -> Series {
        let row = family.row();
        debug_assert_eq!(labels.len(), row.labels.len(), "{}", row.name);
        Series {
            labels: labels.iter().map(|label| (*label).into()).collect(),
            family,
            cells: (0..row.shape.cells()).map(|_| AtomicU64::new(0)).collect(),
            buckets: Bucket::of(family),
            last: AtomicUsize::new(0),
        }
    }

    /// Adds to a counter or a gauge. A negative value of a gauge wraps, here and in the sum.
    pub fn add(&self, n: u64) {
        add(&self.cells[0], n);
    }

    /// Adds one to a counter or a gauge.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Takes one from a gauge.
    pub fn dec(&self) {
        self.add(u64::MAX);
    }

    /// Sets a gauge that one thread alone writes.
    pub fn set(&self, value: u64) {
        self.cells[0].store(value, Ordering::Relaxed);
    }

    /// Adds a value to a histogram, in the unit of its cells.
    pub fn observe(&self, value: u64) {
        debug_assert!(!self.buckets.is_empty(), "{} is no histogram", self.family.row().name);
        let last = self.last.load(Ordering::Relaxed);
        let at = match self.buckets.get(last) {
            Some(bucket) if bucket.has(value) => last,
            _ => self.find_bucket(value),
        };
        add(&self.cells[at], 1);
        add(&self.cells[self.cells.len() - 1], value);
    }

    fn find_bucket(&self, value: u64) -> usize {
        // The last one has all that is behind the bounds.
        let at = self.buckets.iter().position(|bucket| bucket.has(value)).unwrap_or(self.buckets.len() - 1);
        self.last.store(at, Ordering::Relaxed);
        at
    }

    /// Adds the values to `sums`, which has as many cells.
    pub fn add_to(&self, sums: &mut [u64]) {
        for (sum, cell) in sums.iter_mut().zip(&self.cells) {
            *sum = sum.wrapping_add(cell.load(Ordering::Relaxed));
        }
    }

    /// Returns the family that the series belongs to.
    pub fn family(&self) -> Family {
        self.family
    }
}

/// Adds without a locked instruction, since there is one writer.
fn add(cell: &AtomicU64, n: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

type Chunk = Box<[OnceLock<Arc<Series>>]>;

/// A list of series: see the module.
#[derive(Debug)]
pub struct SeriesList {
    chunks: Box<[OnceLock<Chunk>]>,
    len: AtomicUsize,
}

impl Default for SeriesList {
    fn default() -> SeriesList {
        SeriesList { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect(), len: AtomicUsize::new(0) }
    }
}

impl SeriesList {
    /// Appends a series, for the one writer. The last place is for the series of all that found no
    /// room.
    pub fn push(&self, family: Family, labels: &[&str]) -> Option<Arc<Series>> {
        let at = self.len.load(Ordering::Relaxed);
        let chunk = self.chunks.get(at / CHUNK)?;
        let series = Arc::new(Series::new(family, labels));
        let chunk = chunk.get_or_init(|| (0..CHUNK).map(|_| OnceLock::new()).collect());
        chunk[at % CHUNK].set(series.clone()).ok()?;
        self.len.store(at + 1, Ordering::Release);
        Some(series)
    }

    /// Returns how many series there are.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Returns whether there is no series yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the series in the order in which they were made.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Series>> {
        (0..self.len()).filter_map(|at| self.chunks[at / CHUNK].get()?[at % CHUNK].get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_list_is_bounded_and_readable_while_written() {
        let list = SeriesList::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0.. {
                    match list.push(Family::Active, &[&n.to_string()]) {
                        Some(series) => series.inc(),
                        None => break,
                    }
                }
            });
            let mut seen = 0;
            while seen < MAX_SERIES {
                let now = list.iter().count();
                assert!(now >= seen);
                assert!(list.iter().enumerate().all(|(n, series)| *series.labels[0] == *n.to_string()));
                seen = now;
            }
        });
        assert_eq!(list.len(), MAX_SERIES + 1);
    }

    #[test]
    fn values_fall_into_their_buckets() {
        let list = SeriesList::default();
        let series = list.push(Family::Ttft, &["provider", "m", "p"]).unwrap();
        for us in [1, 50_000, 50_001, 10_000_000, 10_000_001] {
            series.observe(us);
        }
        let mut sums = vec![0; Family::Ttft.row().shape.cells()];
        series.add_to(&mut sums);
        assert_eq!(sums, [2, 1, 0, 0, 0, 0, 0, 1, 1, 20_100_003]);
    }

    /// The bucket of the value before is tried first, so each value is observed behind each other one.
    #[test]
    fn each_bound_of_each_histogram_belongs_to_its_bucket() {
        for family in Family::ALL.iter().filter(|family| matches!(family.row().shape, Shape::Histogram(_))) {
            let Shape::Histogram(bounds) = family.row().shape else { continue };
            let bounds: Vec<u64> = bounds.iter().map(|bound| (bound / family.row().scale).round() as u64).collect();
            let labels = vec!["x"; family.row().labels.len()];
            let values: Vec<u64> = bounds.iter().flat_map(|bound| [*bound, bound + 1]).chain([0, u64::MAX]).collect();
            for before in &values {
                for value in &values {
                    let series = Series::new(*family, &labels);
                    series.observe(*before);
                    series.observe(*value);
                    let mut expected = vec![0; bounds.len() + 2];
                    for value in [before, value] {
                        expected[bounds.iter().position(|bound| value <= bound).unwrap_or(bounds.len())] += 1;
                    }
                    expected[bounds.len() + 1] = before.wrapping_add(*value);
                    let mut sums = vec![0; expected.len()];
                    series.add_to(&mut sums);
                    assert_eq!(sums, expected, "{family:?}: {value} behind {before}");
                }
            }
        }
    }

    #[test]
    fn a_gauge_goes_up_and_down_over_threads() {
        let (up, down) = (SeriesList::default(), SeriesList::default());
        let (a, b) = (up.push(Family::Active, &["x"]).unwrap(), down.push(Family::Active, &["x"]).unwrap());
        a.inc();
        a.inc();
        b.dec();
        let mut sums = [0];
        a.add_to(&mut sums);
        b.add_to(&mut sums);
        assert_eq!(sums, [1]);
    }
}

//! Finds the series of one thread by their labels, and makes those that are missing.
//!
//! Code that counts often keeps the series itself; the look-up here is for the first time. Label
//! values come from bounded sets: a name that a client chose must not become one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::metrics::names::Family;
use crate::metrics::series_list::{MAX_SERIES, Series};
use crate::metrics::shard::Shard;

/// The label value that stands for many.
pub const OTHER: &str = "other";
/// The label value of something absent.
pub const NONE: &str = "none";

type Known = HashMap<Box<[Box<str>]>, Arc<Series>, ahash::RandomState>;

/// The index of one shard, and the only writer of its series.
#[derive(Debug)]
pub struct SeriesIndex {
    shard: Arc<Shard>,
    known: Vec<Known>,
    /// The series of all that found no room, for each family that is full.
    overflow: Vec<Option<Arc<Series>>>,
}

impl SeriesIndex {
    /// Makes an index of the series of a shard. The caller is the one writer of that shard.
    pub fn new(shard: Arc<Shard>) -> SeriesIndex {
        let known = Family::ALL.iter().map(|_| Known::default()).collect();
        SeriesIndex { shard, known, overflow: vec![None; Family::ALL.len()] }
    }

    /// Returns the series of these labels, which are in the order of the family's row.
    pub fn series(&mut self, family: Family, labels: &[&str]) -> Arc<Series> {
        // The look-up allocates its key, so it is not for every request.
        let key: Box<[Box<str>]> = labels.iter().map(|label| (*label).into()).collect();
        let known = &mut self.known[family as usize];
        if let Some(series) = known.get(&key) {
            return series.clone();
        }
        let list = self.shard.series(family);
        if list.len() < MAX_SERIES
            && let Some(series) = list.push(family, labels)
        {
            known.insert(key, series.clone());
            return series;
        }
        let overflow = &mut self.overflow[family as usize];
        let others = vec![OTHER; labels.len()];
        match overflow.clone().or_else(|| list.push(family, &others)) {
            Some(series) => {
                *overflow = Some(series.clone());
                series
            }
            // The list has a place for it, and this is its only writer.
            None => unreachable_series(family, &others),
        }
    }
}

/// Returns a series that no scrape reads, instead of a panic.
fn unreachable_series(family: Family, labels: &[&str]) -> Arc<Series> {
    debug_assert!(false, "the list of {family:?} has no place for the overflow series");
    Arc::new(Series::new(family, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lead_to_one_series_and_too_many_to_another() {
        let shard = Shard::new();
        let mut index = SeriesIndex::new(shard.clone());
        let first = index.series(Family::Active, &["a"]);
        assert!(Arc::ptr_eq(&first, &index.series(Family::Active, &["a"])));
        for n in 0..MAX_SERIES + 100 {
            index.series(Family::Active, &[&n.to_string()]).inc();
        }
        assert_eq!(shard.series(Family::Active).len(), MAX_SERIES + 1);
        let last = shard.series(Family::Active).iter().last().unwrap();
        let mut sums = [0];
        last.add_to(&mut sums);
        assert_eq!((&*last.labels[0], sums), (OTHER, [101]));
    }
}

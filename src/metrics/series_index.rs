//! Where one thread finds its series by their labels, and makes those that are missing.
//!
//! What counts often keeps the series itself; a look-up here is for the first time. The texts of
//! labels come from bounded sets: a name that a client chose must not become one.

use std::collections::HashMap;
use std::sync::Arc;

use crate::metrics::names::Family;
use crate::metrics::series_list::{MAX_SERIES, Series};
use crate::metrics::shard::Shard;

/// The label of what stands for many.
pub const OTHER: &str = "other";
/// The label of what is not there.
pub const NONE: &str = "none";

type Known = HashMap<Box<[Box<str>]>, Arc<Series>, ahash::RandomState>;

/// See the module. One for each shard, and the only writer of its series.
#[derive(Debug)]
pub struct SeriesIndex {
    shard: Arc<Shard>,
    known: Vec<Known>,
    /// Of each family, once it is full.
    overflow: Vec<Option<Arc<Series>>>,
}

impl SeriesIndex {
    pub fn new(shard: Arc<Shard>) -> SeriesIndex {
        let known = Family::ALL.iter().map(|_| Known::default()).collect();
        SeriesIndex { shard, known, overflow: vec![None; Family::ALL.len()] }
    }

    /// The series of these labels, in the order of the family's row.
    pub fn series(&mut self, family: Family, labels: &[&str]) -> Arc<Series> {
        // A key is made for the look-up; this is not for every request.
        let key: Box<[Box<str>]> = labels.iter().map(|label| (*label).into()).collect();
        let known = &mut self.known[family as usize];
        if let Some(series) = known.get(&key) {
            return series.clone();
        }
        let shelf = self.shard.shelf(family);
        if shelf.len() < MAX_SERIES
            && let Some(series) = shelf.push(family, labels)
        {
            known.insert(key, series.clone());
            return series;
        }
        let overflow = &mut self.overflow[family as usize];
        let others = vec![OTHER; labels.len()];
        match overflow.clone().or_else(|| shelf.push(family, &others)) {
            Some(series) => {
                *overflow = Some(series.clone());
                series
            }
            // There is a place for it, and this is its only writer.
            None => unreachable_series(family, &others),
        }
    }
}

/// A series that nobody reads: better than a panic in what should not happen.
fn unreachable_series(family: Family, labels: &[&str]) -> Arc<Series> {
    debug_assert!(false, "the shelf of {family:?} has no place for what has no place");
    Arc::new(Series::new(family, labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_lead_to_one_series_and_too_many_to_another() {
        let shard = Shard::new();
        let mut book = SeriesIndex::new(shard.clone());
        let first = book.series(Family::Active, &["a"]);
        assert!(Arc::ptr_eq(&first, &book.series(Family::Active, &["a"])));
        for n in 0..MAX_SERIES + 100 {
            book.series(Family::Active, &[&n.to_string()]).inc();
        }
        assert_eq!(shard.shelf(Family::Active).len(), MAX_SERIES + 1);
        let last = shard.shelf(Family::Active).iter().last().unwrap();
        let mut sums = [0];
        last.add_to(&mut sums);
        assert_eq!((&*last.labels[0], sums), (OTHER, [101]));
    }
}

//! What the background thread itself counts by labels: its sinks, its checks of providers, the way
//! of a change into force.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::names::Family;
use crate::metrics::series_index::SeriesIndex;
use crate::metrics::series_list::Series;
use crate::shared::ProcessState;

/// One for the process: its shard has one writer at a time. Tasks share it.
#[derive(Debug)]
pub struct ControlPlaneMetrics(Mutex<SeriesIndex>);

impl ControlPlaneMetrics {
    pub(crate) fn new(shared: &ProcessState) -> Arc<ControlPlaneMetrics> {
        Arc::new(ControlPlaneMetrics(Mutex::new(SeriesIndex::new(shared.background.clone()))))
    }

    fn book(&self) -> MutexGuard<'_, SeriesIndex> {
        // A panic of a task while it counted takes nothing from the others.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Under the lock, so that there is one writer.
    pub fn with(&self, family: Family, labels: &[&str], count: impl FnOnce(&Series)) {
        let mut book = self.book();
        count(&book.series(family, labels));
    }

    /// A sink has passed on so many records.
    pub fn passed(&self, sink: &str, n: u64) {
        self.with(Family::SinkRecords, &[sink], |series| series.add(n));
    }

    /// A sink has lost so many; `reason` is a word of its own.
    pub fn lost(&self, sink: &str, reason: &str, n: u64) {
        self.with(Family::SinkDropped, &[sink, reason], |series| series.add(n));
    }
}

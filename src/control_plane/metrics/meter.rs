//! Labelled metrics of the control plane itself: its sinks, its health checks of providers, the
//! publication of changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::metrics::names::Family;
use crate::metrics::series_index::SeriesIndex;
use crate::metrics::series_list::Series;
use crate::shared::ProcessState;

/// The metrics of the control plane. Tasks share them, so a lock makes them one writer.
#[derive(Debug)]
pub(crate) struct ControlPlaneMetrics(Mutex<SeriesIndex>);

impl ControlPlaneMetrics {
    /// Makes the writer of the control plane's shard. There must be one for each process.
    pub(crate) fn new(shared: &ProcessState) -> Arc<ControlPlaneMetrics> {
        Arc::new(ControlPlaneMetrics(Mutex::new(SeriesIndex::new(shared.background.clone()))))
    }

    fn index(&self) -> MutexGuard<'_, SeriesIndex> {
        // A task that panicked while it counted does not stop the others.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts in a series, under the lock.
    pub(crate) fn with(&self, family: Family, labels: &[&str], count: impl FnOnce(&Series)) {
        let mut index = self.index();
        count(&index.series(family, labels));
    }

    /// Counts records that a sink has passed on.
    pub(crate) fn passed(&self, sink: &str, n: u64) {
        self.with(Family::SinkRecords, &[sink], |series| series.add(n));
    }

    /// Counts records that a sink has lost. `reason` is a label value.
    pub(crate) fn lost(&self, sink: &str, reason: &str, n: u64) {
        self.with(Family::SinkDropped, &[sink, reason], |series| series.add(n));
    }
}

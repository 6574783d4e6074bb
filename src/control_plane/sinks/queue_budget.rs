//! The bound of a sink's queue in bytes, and the counter of its losses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::records::drain::Directory;
use crate::telemetry::record::Record;

/// How many losses cause one warning.
const WARN_EVERY: u64 = 100;

/// A record in the queue, with the directory of its ids.
pub(crate) struct Job {
    pub record: Arc<Record>,
    pub directory: Directory,
    _reservation: Reservation,
}

/// The budget for bytes of details in the queue.
pub(crate) struct QueueBudget {
    used: Arc<AtomicUsize>,
    most: usize,
}

/// A part of the budget, returned when dropped.
struct Reservation {
    used: Arc<AtomicUsize>,
    size: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.used.fetch_sub(self.size, Ordering::Relaxed);
    }
}

impl QueueBudget {
    /// Makes a budget of `most` bytes.
    pub(crate) fn new(most: usize) -> QueueBudget {
        QueueBudget { used: Arc::default(), most }
    }

    /// Takes a record. `None` if there is no room. A record that finds an empty queue always fits.
    pub(crate) fn job(&self, record: &Arc<Record>, directory: &Directory) -> Option<Job> {
        let size = size_of::<Record>() + record.detail_size();
        let before = self.used.fetch_add(size, Ordering::Relaxed);
        let reservation = Reservation { used: self.used.clone(), size };
        let fits = before == 0 || before + size <= self.most;
        fits.then(|| Job { record: record.clone(), directory: directory.clone(), _reservation: reservation })
    }
}

/// Counts what one sink passes on and loses.
#[derive(Clone)]
pub(crate) struct Losses {
    sink: &'static str,
    meter: Arc<ControlPlaneMetrics>,
    so_far: u64,
}

impl Losses {
    /// Makes the counters of the sink of this name.
    pub(crate) fn new(sink: &'static str, meter: Arc<ControlPlaneMetrics>) -> Losses {
        Losses { sink, meter, so_far: 0 }
    }

    /// Counts records that the sink has passed on.
    pub(crate) fn passed(&self, n: u64) {
        self.meter.passed(self.sink, n);
    }

    /// Counts losses. Warns of the first, and of each hundredth after it.
    pub(crate) fn lost(&mut self, reason: &str, n: u64) {
        if n == 0 {
            return;
        }
        self.meter.lost(self.sink, reason, n);
        let due = self.so_far.next_multiple_of(WARN_EVERY);
        self.so_far += n;
        if self.so_far > due {
            tracing::warn!(sink = self.sink, reason, lost = self.so_far, "gateway: records are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::records::drain::tests::record;

    #[test]
    fn full_is_full_until_something_has_left() {
        let (record, directory) = (Arc::new(record("id")), Directory::default());
        let one = size_of::<Record>();
        let budget = QueueBudget::new(2 * one);
        let (first, second) = (budget.job(&record, &directory), budget.job(&record, &directory));
        assert!(first.is_some() && second.is_some());
        assert!(budget.job(&record, &directory).is_none());
        drop(first);
        assert!(budget.job(&record, &directory).is_some());

        let small = QueueBudget::new(1);
        let alone = small.job(&record, &directory);
        assert!(alone.is_some() && small.job(&record, &directory).is_none());
    }
}

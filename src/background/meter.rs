//! What the background thread itself counts by labels: its sinks, its checks of providers, the way of a change into force.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::control::Shared;
use crate::metrics::book::Book;
use crate::metrics::names::Family;
use crate::metrics::shelf::Series;

/// One for the process: its shard has one writer at a time. Tasks share it.
#[derive(Debug)]
pub struct Meter(Mutex<Book>);

impl Meter {
    pub(super) fn new(shared: &Shared) -> Arc<Meter> {
        Arc::new(Meter(Mutex::new(Book::new(shared.background.clone()))))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
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

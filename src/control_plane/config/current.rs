//! The configuration in force, as other parts of the control plane see it and wait for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use crate::config::rows::Rows;
use crate::config::snapshot::Problem;

/// The longest wait for a complete read to be published.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(15);

/// The configuration as other parts of this thread see it.
#[derive(Debug)]
pub(crate) struct Current {
    read: Mutex<Read>,
    pub(super) in_force: watch::Sender<InForce>,
    /// Signals that the store was written and must be read.
    pub(super) written: Notify,
    /// Requests a complete read.
    pub(super) whole: AtomicBool,
}

/// What all workers use.
#[derive(Debug, Clone, Copy)]
pub(super) struct InForce {
    /// `config_version`.
    pub(super) version: i64,
    /// The number of complete reads so far.
    pub(super) whole: u64,
}

/// The last read, which need not be published yet.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// Shared with the disk cache.
    pub rows: Arc<Rows>,
    pub problems: Vec<Problem>,
}

impl Current {
    pub(super) fn new() -> Current {
        let (in_force, _) = watch::channel(InForce { version: -1, whole: 0 });
        Current { read: Mutex::default(), in_force, written: Notify::new(), whole: AtomicBool::new(false) }
    }

    /// Locks the rows. The guard must not be held across an await.
    pub(crate) fn read(&self) -> MutexGuard<'_, Read> {
        // After a panic elsewhere the rows are still complete.
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until all workers use `version` or a later one.
    pub(crate) async fn reach(&self, version: i64) {
        let mut in_force = self.in_force.subscribe();
        // Most callers change nothing, and must not cause a read of the store.
        if in_force.borrow().version >= version {
            return;
        }
        self.written.notify_one();
        // The sender lives as long as `self`.
        let _ = in_force.wait_for(|now| now.version >= version).await;
    }

    /// Requests that everything is read again, whatever is known of it.
    pub(crate) fn request_reload(&self) {
        self.whole.store(true, Ordering::Relaxed);
        self.written.notify_one();
    }

    /// Reads everything again, and returns when that is in force on all cores.
    pub(crate) async fn reload(&self) -> Result<(), String> {
        let mut in_force = self.in_force.subscribe();
        let before = in_force.borrow_and_update().whole;
        self.request_reload();
        match timeout(RELOAD_TIMEOUT, in_force.wait_for(|now| now.whole > before)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(format!(
                "the store could not be read within {} s; the configuration in force stays",
                RELOAD_TIMEOUT.as_secs()
            )),
        }
    }
}

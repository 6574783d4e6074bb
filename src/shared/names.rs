//! Addresses of host names: a table that the control plane keeps fresh and workers read.
//!
//! A worker never resolves a name. If a name is not in the table it requests it and looks again,
//! which happens only in the first moments after a provider was added. From then on the control
//! plane resolves each name again when its time to live ends, and keeps the last addresses when that
//! fails.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

/// Names that may be requested at once. More are dropped, and requested again by the next look.
const CAPACITY: usize = 1024;

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Addresses in the order of preference. Never empty.
    Addresses(Arc<[IpAddr]>),
    /// The last try failed with this reason, and no older addresses are known.
    Failed(Arc<str>),
}

/// The addresses of host names, and the names that workers wait for.
#[derive(Debug)]
pub struct Table {
    entries: ArcSwap<HashMap<String, Resolved>>,
    requested: ArrayQueue<String>,
    /// Wakes the control plane.
    waker: OnceLock<Waker>,
}

impl Default for Table {
    fn default() -> Table {
        Table { entries: ArcSwap::default(), requested: ArrayQueue::new(CAPACITY), waker: OnceLock::new() }
    }
}

impl Table {
    /// Replaces the table, for the control plane.
    pub fn publish(&self, entries: HashMap<String, Resolved>) {
        self.entries.store(Arc::new(entries));
    }

    /// Sets what each request wakes. The control plane calls it once.
    pub fn set_waker(&self, waker: Waker) {
        // A second waker would be that of a second control plane, and a process has one.
        let _ = self.waker.set(waker);
    }

    /// Takes the next requested name, for the control plane.
    pub fn next_requested(&self) -> Option<String> {
        self.requested.pop()
    }

    /// Looks a name up, for workers. `None` if it is not known yet: see [`Table::request`].
    pub fn get(&self, host: &str) -> Option<Resolved> {
        self.entries.load().get(host).cloned()
    }

    /// Requests a name, for workers. Returns false if too many are requested already.
    pub fn request(&self, host: &str) -> bool {
        let is_queued = self.requested.push(host.to_string()).is_ok();
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        is_queued
    }
}

//! Addresses of host names: a table that the control plane keeps fresh and workers read.
//!
//! A worker never resolves a name. If a name is not in the table it requests it and looks again,
//! which happens only in the first moments after a provider was added. From then on the control
//! plane resolves each name again when its time to live ends, and keeps the last addresses when
//! that fails. A worker whose connections are all refused has the name resolved at once, for the
//! same request; one whose connections are not answered, for the next.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

/// Names that may be requested at once. More are dropped, and requested again by the next look.
const CAPACITY: usize = 1024;

/// How long an answer counts as new: until then the name is not resolved again for a worker.
pub const NEW_FOR: Duration = Duration::from_secs(1);

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// Addresses in the order of preference. Never empty.
    Addresses(Arc<[IpAddr]>),
    /// The last try failed with this reason, and no older addresses are known.
    Failed(Arc<str>),
}

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    pub resolved: Resolved,
    /// When the resolver answered last.
    pub resolved_at: Instant,
}

/// The addresses of host names, and the names that workers wait for.
#[derive(Debug)]
pub struct Table {
    entries: ArcSwap<HashMap<String, Known>>,
    requested: ArrayQueue<String>,
    outdated: ArrayQueue<String>,
    /// Wakes the control plane.
    waker: OnceLock<Waker>,
}

impl Default for Table {
    fn default() -> Table {
        let (requested, outdated) = (ArrayQueue::new(CAPACITY), ArrayQueue::new(CAPACITY));
        Table { entries: ArcSwap::default(), requested, outdated, waker: OnceLock::new() }
    }
}

impl Table {
    /// Replaces the table, for the control plane.
    pub fn publish(&self, entries: HashMap<String, Known>) {
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
        self.entries.load().get(host).map(|known| known.resolved.clone())
    }

    /// Returns when the resolver answered for a name, for workers.
    pub fn resolved_at(&self, host: &str) -> Option<Instant> {
        self.entries.load().get(host).map(|known| known.resolved_at)
    }

    /// Requests a name, for workers. Returns false if too many are requested already.
    pub fn request(&self, host: &str) -> bool {
        self.queue(&self.requested, host)
    }

    /// Takes the next name of which a worker has found the addresses outdated, for the control
    /// plane.
    pub fn next_outdated(&self) -> Option<String> {
        self.outdated.pop()
    }

    /// Has a name resolved at once, for workers that can connect to none of its addresses. Returns
    /// false if the answer is new, or too many names are requested already.
    pub fn renew(&self, host: &str) -> bool {
        let is_old = self.resolved_at(host).is_some_and(|at| at.elapsed() >= NEW_FOR);
        is_old && self.queue(&self.outdated, host)
    }

    fn queue(&self, names: &ArrayQueue<String>, host: &str) -> bool {
        let is_queued = names.push(host.to_string()).is_ok();
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        is_queued
    }
}

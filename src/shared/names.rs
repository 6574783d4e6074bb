//! Names to addresses: a table that the background thread keeps fresh and workers read.
//!
//! A worker never resolves. If a name is not in the table it asks for it and looks again; that
//! happens only in the first moments after a provider was added. From then on the background thread
//! renews each name when its time to live ends, and keeps the last good answer when renewal fails.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use arc_swap::ArcSwap;
use crossbeam_queue::ArrayQueue;

/// Names that can be asked for at once. More are dropped, and asked for again by the next look.
const WANTED: usize = 1024;

/// What is known of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolved {
    /// In the order of preference. Never empty.
    Addresses(Arc<[IpAddr]>),
    /// The last try failed and nothing older is known: why.
    Failed(Arc<str>),
}

#[derive(Debug)]
pub struct Table {
    entries: ArcSwap<HashMap<String, Resolved>>,
    wanted: ArrayQueue<String>,
    /// Wakes who answers.
    bell: OnceLock<Waker>,
}

impl Default for Table {
    fn default() -> Table {
        Table { entries: ArcSwap::default(), wanted: ArrayQueue::new(WANTED), bell: OnceLock::new() }
    }
}

impl Table {
    /// For the background thread: replaces the table.
    pub fn publish(&self, entries: HashMap<String, Resolved>) {
        self.entries.store(Arc::new(entries));
    }

    /// For the background thread, once: `bell` is woken whenever a name is wanted.
    pub fn answer(&self, bell: Waker) {
        // A second one would be a second background thread, which there is not.
        let _ = self.bell.set(bell);
    }

    /// For the background thread: a name that a worker asked for.
    pub fn next_wanted(&self) -> Option<String> {
        self.wanted.pop()
    }

    /// For workers. `None`: not known yet; ask with [`Table::want`].
    pub fn get(&self, host: &str) -> Option<Resolved> {
        self.entries.load().get(host).cloned()
    }

    /// False if too many are wanted already.
    pub fn want(&self, host: &str) -> bool {
        let taken = self.wanted.push(host.to_string()).is_ok();
        if let Some(bell) = self.bell.get() {
            bell.wake_by_ref();
        }
        taken
    }
}

//! The models that a provider itself lists. The listings show them for a provider without a
//! mapping, and routing prefers such a provider for them. The control plane fetches them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

/// Sorted names of models by provider id. A provider without an entry was not asked yet, or has no
/// list.
pub type Lists = HashMap<i64, Arc<[String]>>;

/// The model lists that are current.
#[derive(Debug, Default)]
pub struct Catalog {
    lists: ArcSwap<Lists>,
    /// Incremented after each change.
    generation: AtomicU64,
}

impl Catalog {
    /// Replaces all lists. Equal lists change nothing.
    pub fn publish(&self, lists: Lists) {
        if **self.lists.load() == lists {
            return;
        }
        self.lists.store(Arc::new(lists));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Returns the number of changes so far. Lists that are loaded after it are at least as new.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the current lists.
    pub fn load(&self) -> Arc<Lists> {
        self.lists.load_full()
    }
}

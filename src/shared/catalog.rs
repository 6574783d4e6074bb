//! The models that a provider itself lists: what the listings show for a provider whose mapping is
//! empty, and what tells for which models it comes first. Fetched by the background thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

/// By provider id; sorted. A provider that is not here was not asked yet, or does not say.
pub type Lists = HashMap<i64, Arc<[String]>>;

#[derive(Debug, Default)]
pub struct Catalog {
    lists: ArcSwap<Lists>,
    /// Grows with each change, after it.
    generation: AtomicU64,
}

impl Catalog {
    pub fn publish(&self, lists: Lists) {
        if **self.lists.load() == lists {
            return;
        }
        self.lists.store(Arc::new(lists));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Whoever reads it before the lists sees lists that are at least as new.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn load(&self) -> Arc<Lists> {
        self.lists.load_full()
    }
}

//! The models that a provider itself lists: what the listings show for a provider whose mapping is
//! empty. Fetched by the background thread.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// By provider id. A provider that is not here was not asked yet, or does not say.
pub type Lists = HashMap<i64, Arc<[String]>>;

#[derive(Debug, Default)]
pub struct Catalog {
    lists: ArcSwap<Lists>,
}

impl Catalog {
    pub fn publish(&self, lists: Lists) {
        self.lists.store(Arc::new(lists));
    }

    pub fn load(&self) -> Arc<Lists> {
        self.lists.load_full()
    }
}

//! Hands a new snapshot to every core: one store by the writer, one generation compare per request by each reader.
//!
//! The store itself is the moment of effect: a request that begins after `publish` returned sees the new snapshot, on any core,
//! since readers compare the generation before they use their copy. No acknowledgement is needed and no reader ever waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;

#[derive(Debug, Default)]
pub struct Publisher {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
}

impl Publisher {
    /// Makes `snapshot` current and returns its generation.
    ///
    /// One writer only (the background thread): two at once could publish out of order.
    pub fn publish(&self, mut snapshot: Snapshot) -> u64 {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        snapshot.generation = generation;
        self.current.store(Arc::new(snapshot));
        self.generation.store(generation, Ordering::Release);
        generation
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

//! Hands a new snapshot to every core: one store by the writer, one generation compare per request
//! by each reader.
//!
//! The store itself is the moment of effect: a request that begins after `publish` returned sees
//! the new snapshot, on any core, since readers compare the generation before they use their copy.
//! No acknowledgement is needed and no reader ever waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use super::snapshot::Snapshot;

/// Holds the current snapshot, from which workers take their view.
#[derive(Debug, Default)]
pub struct Publisher {
    current: ArcSwap<Snapshot>,
    generation: AtomicU64,
    /// Milliseconds since 1970, of the last publish.
    published_ms: AtomicU64,
}

impl Publisher {
    /// Makes `snapshot` current and returns its generation.
    ///
    /// One writer only (the background thread): two at once could publish out of order.
    pub fn publish(&self, mut snapshot: Snapshot) -> u64 {
        let generation = self.generation.load(Ordering::Relaxed) + 1;
        snapshot.generation = generation;
        self.current.store(Arc::new(snapshot));
        self.published_ms.store(unix_ms(), Ordering::Relaxed);
        self.generation.store(generation, Ordering::Release);
        generation
    }

    /// Time since the last publish.
    pub fn age(&self) -> Duration {
        Duration::from_millis(unix_ms().saturating_sub(self.published_ms.load(Ordering::Relaxed)))
    }

    /// Returns the generation of the current snapshot.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the current snapshot.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

//! What a worker remembers of opaque reasoning, for Chat clients that do not send it back
//! ([`llm_wire::reasoning::cache`]).
//!
//! Bounded in bytes and in time; the oldest entries go first. The memory is this process's own:
//! with several gateways behind one address a conversation may come to one that has none of it, and
//! goes on without.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::metrics::names::Counter;
use crate::shared::ProcessState;
use crate::shared::reasoning_cache::SealedReasoning;
use llm_wire::reasoning::cache::{Captured, Envelopes, Memory};

/// Seconds after which an entry expires. A tool loop that pauses for longer has ended.
const TTL: u64 = 30 * 60;
/// A turn with more bytes of opaque reasoning than this is not remembered.
const MAX_ENTRY: usize = 256 << 10;
/// What an entry costs beside its bytes.
const ENTRY_OVERHEAD: usize = 128;

/// The cache of one worker.
pub struct ReasoningCache {
    shared: Arc<ProcessState>,
    worker: usize,
    entries: RefCell<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<u64, Arc<SealedReasoning>, ahash::RandomState>,
    /// In order of arrival. A key that was written again is there twice, and the older place is
    /// skipped.
    order: VecDeque<Arc<SealedReasoning>>,
    bytes: usize,
}

impl Entries {
    fn put(&mut self, entry: Arc<SealedReasoning>, max_bytes: usize) {
        self.bytes += size(&entry);
        self.by_key.insert(entry.key, entry.clone());
        self.order.push_back(entry);
        while self.bytes > max_bytes {
            self.remove_oldest();
        }
    }

    fn expire(&mut self, now: u64) {
        while self.order.front().is_some_and(|entry| entry.stored_at + TTL < now) {
            self.remove_oldest();
        }
    }

    fn remove_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        self.bytes -= size(&oldest);
        if self.by_key.get(&oldest.key).is_some_and(|entry| Arc::ptr_eq(entry, &oldest)) {
            self.by_key.remove(&oldest.key);
        }
    }
}

fn size(entry: &SealedReasoning) -> usize {
    ENTRY_OVERHEAD + entry.envelopes.iter().map(|envelope| envelope.len()).sum::<usize>()
}

/// Returns the key of a turn. It is the same on every worker, since each looks for what another has
/// stored.
fn key(credential: i64, call_id: &str) -> u64 {
    const HASH: ahash::RandomState = ahash::RandomState::with_seeds(1, 2, 3, 4);
    HASH.hash_one((credential, call_id))
}

impl ReasoningCache {
    /// Makes the empty cache of one worker.
    pub fn new(shared: Arc<ProcessState>, worker: usize) -> ReasoningCache {
        ReasoningCache { shared, worker, entries: RefCell::default() }
    }

    /// Stores the reasoning of a turn, here and on the other workers.
    pub fn put(&self, credential: i64, captured: Captured) {
        let max_bytes = self.shared.boot.reasoning_cache_bytes;
        let bytes: usize = captured.envelopes.iter().map(|envelope| envelope.len()).sum();
        if max_bytes == 0 || bytes > MAX_ENTRY.min(max_bytes / 2) {
            return;
        }
        // A turn is found by its first call.
        let Some(call) = captured.calls.first() else { return };
        let (key, stored_at) = (key(credential, call), self.now());
        let entry = Arc::new(SealedReasoning { key, envelopes: captured.envelopes.into(), stored_at });
        let dropped = self.shared.reasoning.send(self.worker, &entry);
        self.shared.shards[self.worker].add(Counter::ReplayDropped, dropped as u64);
        self.entries.borrow_mut().put(entry, max_bytes);
    }

    fn find(&self, credential: i64, call_id: &str) -> Option<Arc<Envelopes>> {
        let mut entries = self.entries.borrow_mut();
        while let Some(entry) = self.shared.reasoning.receive(self.worker) {
            entries.put(entry, self.shared.boot.reasoning_cache_bytes);
        }
        entries.expire(self.now());
        entries.by_key.get(&key(credential, call_id)).map(|entry| entry.envelopes.clone())
    }

    /// Returns the seconds on the process's clock.
    fn now(&self) -> u64 {
        self.shared.origin.elapsed().as_secs()
    }
}

/// What the conversations of one client may get back.
pub(super) struct CredentialMemory<'c> {
    pub cache: &'c ReasoningCache,
    /// Part of the key, so that a client learns nothing of another's conversations even if it
    /// guesses an id.
    pub credential: i64,
}

impl Memory for CredentialMemory<'_> {
    fn find(&self, call_id: &str) -> Option<Arc<Envelopes>> {
        self.cache.find(self.credential, call_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: u64, bytes: usize, stored_at: u64) -> Arc<SealedReasoning> {
        Arc::new(SealedReasoning { key, envelopes: Arc::from([vec![0; bytes].into_boxed_slice()]), stored_at })
    }

    #[test]
    fn the_oldest_go_first() {
        let mut entries = Entries::default();
        let max = 3 * (ENTRY_OVERHEAD + 100);
        for n in 0..4 {
            entries.put(entry(n, 100, n), max);
        }
        assert_eq!(entries.by_key.len(), 3);
        assert!(!entries.by_key.contains_key(&0) && entries.bytes <= max);
        // Written again, it is as young as its last writing.
        entries.put(entry(1, 100, 5), max);
        entries.put(entry(9, 100, 6), max);
        assert!(entries.by_key.contains_key(&1) && !entries.by_key.contains_key(&2));
        entries.expire(TTL + 6);
        assert_eq!(entries.by_key.keys().collect::<Vec<_>>(), [&9]);
        entries.expire(TTL + 7);
        assert!(entries.by_key.is_empty() && entries.order.is_empty() && entries.bytes == 0);
    }

    #[test]
    fn keys_tell_owners_apart() {
        assert_eq!(key(1, "call_1"), key(1, "call_1"));
        assert_ne!(key(1, "call_1"), key(2, "call_1"));
    }
}

//! What a core remembers of sealed reasoning, for Chat clients that do not send it back
//! ([`wire::replay`](llm_wire::reasoning::cache)).
//!
//! Bounded in bytes and in time; the oldest go first. Memory is this process's own: with several
//! gateways behind one address a conversation may come to one that knows nothing of it, and goes on
//! without.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::metrics::names::Counter;
use crate::proxy::core::Core;
use crate::shared::reasoning_cache::SealedReasoning;
use llm_wire::reasoning::cache::{Captured, Envelopes, Memory};

/// Seconds after which a turn is forgotten: a tool loop that pauses for longer is no loop.
const LIFE: u64 = 30 * 60;
/// A turn with more sealed bytes than this is not remembered.
const LARGEST: usize = 256 << 10;
/// What an entry costs beside its bytes.
const OVERHEAD: usize = 128;

#[derive(Debug, Default)]
pub struct Replay {
    inner: RefCell<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_key: HashMap<u64, Arc<SealedReasoning>, ahash::RandomState>,
    /// In order of arrival. A key that was written again stands twice; the older place is skipped.
    order: VecDeque<Arc<SealedReasoning>>,
    bytes: usize,
}

impl Inner {
    fn put(&mut self, letter: Arc<SealedReasoning>, most: usize) {
        self.bytes += size(&letter);
        self.by_key.insert(letter.key, letter.clone());
        self.order.push_back(letter);
        while self.bytes > most {
            self.drop_oldest();
        }
    }

    fn expire(&mut self, now: u64) {
        while self.order.front().is_some_and(|letter| letter.at + LIFE < now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.order.pop_front() else { return };
        self.bytes -= size(&oldest);
        if self.by_key.get(&oldest.key).is_some_and(|letter| Arc::ptr_eq(letter, &oldest)) {
            self.by_key.remove(&oldest.key);
        }
    }
}

fn size(letter: &SealedReasoning) -> usize {
    OVERHEAD + letter.envelopes.iter().map(|envelope| envelope.len()).sum::<usize>()
}

/// The same on every core, since each looks for what another has put.
fn key(credential: i64, call_id: &str) -> u64 {
    const HASH: ahash::RandomState = ahash::RandomState::with_seeds(1, 2, 3, 4);
    HASH.hash_one((credential, call_id))
}

impl Replay {
    /// Remembers a turn, here and on the other cores.
    pub fn put(&self, core: &Core, credential: i64, captured: Captured) {
        let most = core.boot().replay_cache_bytes;
        let bytes: usize = captured.envelopes.iter().map(|envelope| envelope.len()).sum();
        if most == 0 || bytes > LARGEST.min(most / 2) {
            return;
        }
        // A turn is looked for by its first call.
        let Some(call) = captured.calls.first() else { return };
        let (key, at) = (key(credential, call), seconds(core));
        let letter = Arc::new(SealedReasoning { key, envelopes: captured.envelopes.into(), at });
        let lost = core.shared.replay.send(core.index, &letter);
        core.metrics.add(Counter::ReplayDropped, lost as u64);
        self.inner.borrow_mut().put(letter, most);
    }

    fn find(&self, core: &Core, credential: i64, call_id: &str) -> Option<Arc<Envelopes>> {
        let mut inner = self.inner.borrow_mut();
        while let Some(letter) = core.shared.replay.take(core.index) {
            inner.put(letter, core.boot().replay_cache_bytes);
        }
        inner.expire(seconds(core));
        inner.by_key.get(&key(credential, call_id)).map(|letter| letter.envelopes.clone())
    }
}

fn seconds(core: &Core) -> u64 {
    core.now_ns() / 1_000_000_000
}

/// What one client's conversations may be given back.
pub struct Remembered<'c> {
    pub core: &'c Core,
    /// Of another's conversations nobody learns anything, even if he guesses an id.
    pub credential: i64,
}

impl Memory for Remembered<'_> {
    fn find(&self, call_id: &str) -> Option<Arc<Envelopes>> {
        self.core.replay.find(self.core, self.credential, call_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(key: u64, bytes: usize, at: u64) -> Arc<SealedReasoning> {
        Arc::new(SealedReasoning { key, envelopes: Arc::from([vec![0; bytes].into_boxed_slice()]), at })
    }

    #[test]
    fn the_oldest_go_first() {
        let mut inner = Inner::default();
        let most = 3 * (OVERHEAD + 100);
        for n in 0..4 {
            inner.put(letter(n, 100, n), most);
        }
        assert_eq!(inner.by_key.len(), 3);
        assert!(!inner.by_key.contains_key(&0) && inner.bytes <= most);
        // Written again, it is as young as its last writing.
        inner.put(letter(1, 100, 5), most);
        inner.put(letter(9, 100, 6), most);
        assert!(inner.by_key.contains_key(&1) && !inner.by_key.contains_key(&2));
        inner.expire(LIFE + 6);
        assert_eq!(inner.by_key.keys().collect::<Vec<_>>(), [&9]);
        inner.expire(LIFE + 7);
        assert!(inner.by_key.is_empty() && inner.order.is_empty() && inner.bytes == 0);
    }

    #[test]
    fn keys_tell_owners_apart() {
        assert_eq!(key(1, "call_1"), key(1, "call_1"));
        assert_ne!(key(1, "call_1"), key(2, "call_1"));
    }
}

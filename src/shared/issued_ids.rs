//! The table of the accounts that have issued stored responses or have files, for all workers.
//!
//! A fixed table of atomics without locks. Several words make an entry, and a check that is the
//! exclusive or of them and the hash of the id ties them together: a reader that meets half a write
//! finds no entry, which means no more than that the issuer is not known. Each bucket forgets its
//! oldest entry for a new one.
//!
//! This file is also compiled by `tests/loom`, with that crate's atomics as `super::word`.

use super::word::{AtomicU64, Ordering};

/// Entries of a bucket.
const WAYS: usize = 4;

/// The owner of an id that was not issued while this process ran: every credential may name it, as
/// it might without an entry.
pub const ANY_OWNER: u64 = u64::MAX;

/// Who has issued an id, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Issued {
    /// The id of the provider's row.
    pub provider: i64,
    /// The credential or its group, or [`ANY_OWNER`].
    pub owner: u64,
}

/// An id, hashed with the key of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdHash(pub(super) u64);

/// An entry of the table, which any thread may read and write.
#[derive(Debug)]
pub(super) struct Entry {
    check: AtomicU64,
    provider: AtomicU64,
    owner: AtomicU64,
}

impl Default for Entry {
    fn default() -> Entry {
        Entry { check: AtomicU64::new(0), provider: AtomicU64::new(0), owner: AtomicU64::new(0) }
    }
}

impl Entry {
    /// Returns what the entry holds; of half a write a hash that no id has.
    pub(super) fn read(&self) -> (IdHash, Issued) {
        let (provider, owner) = (self.provider.load(Ordering::Relaxed), self.owner.load(Ordering::Relaxed));
        let hash = self.check.load(Ordering::Relaxed) ^ mix(provider, owner);
        (IdHash(hash), Issued { provider: provider as i64, owner })
    }

    pub(super) fn write(&self, hash: IdHash, issued: Issued) {
        let provider = issued.provider as u64;
        self.provider.store(provider, Ordering::Relaxed);
        self.owner.store(issued.owner, Ordering::Relaxed);
        self.check.store(hash.0 ^ mix(provider, issued.owner), Ordering::Relaxed);
    }
}

/// Spreads small numbers over all bits, so that no half of a write passes for a whole one.
fn mix(provider: u64, owner: u64) -> u64 {
    let spread = |word: u64| (word ^ (word >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    spread(spread(provider).wrapping_add(owner.rotate_left(32)))
}

/// The table.
#[derive(Debug)]
pub struct IssuedIds {
    /// Buckets of [`WAYS`] entries, the latest first. Empty if nothing is to be remembered.
    entries: Box<[Entry]>,
    hasher: ahash::RandomState,
}

impl IssuedIds {
    /// Makes a table for at least `most` ids; 0 remembers none.
    pub fn new(most: usize) -> IssuedIds {
        let buckets = if most == 0 { 0 } else { most.div_ceil(WAYS).next_power_of_two() };
        let entries = (0..buckets * WAYS).map(|_| Entry::default()).collect();
        IssuedIds { entries, hasher: ahash::RandomState::new() }
    }

    /// Returns the hash under which an id is remembered.
    pub fn hash(&self, id: &[u8]) -> IdHash {
        // Zero is the hash of an entry that was never written.
        IdHash(self.hasher.hash_one(id) | 1 << 63)
    }

    /// Returns the hash under which an id is remembered that means something to one owner alone.
    pub fn hash_for(&self, owner: u64, id: &[u8]) -> IdHash {
        IdHash(self.hasher.hash_one((owner, id)) | 1 << 63)
    }

    fn bucket(&self, hash: IdHash) -> &[Entry] {
        let Some(mask) = (self.entries.len() / WAYS).checked_sub(1) else { return &[] };
        let at = (hash.0 as usize & mask) * WAYS;
        self.entries.get(at..at + WAYS).unwrap_or_default()
    }

    /// Returns who has issued an id. `None` if it is not known, or no longer.
    pub fn find(&self, hash: IdHash) -> Option<Issued> {
        self.bucket(hash).iter().map(Entry::read).find(|(found, _)| *found == hash).map(|(_, issued)| issued)
    }

    /// Remembers who has issued an id.
    pub fn remember(&self, hash: IdHash, issued: Issued) {
        let bucket = self.bucket(hash);
        let known = bucket.iter().position(|entry| entry.read().0 == hash);
        for at in (1..=known.unwrap_or(WAYS - 1).min(bucket.len().saturating_sub(1))).rev() {
            let (hash, issued) = bucket[at - 1].read();
            bucket[at].write(hash, issued);
        }
        if let Some(first) = bucket.first() {
            first.write(hash, issued);
        }
    }
}

//! What a node may spend of a bucket that several nodes share: a slice that the background thread
//! leases from the shared store.
//!
//! One atomic word holds the balance, in units. Requests take from it and never ask the store; the
//! background thread brings it back to a full slice, and returns what lies above (units that a
//! request had reserved and did not use).
//!
//! A slice alone would make a small bucket of a large one: of ten requests at once that an unused
//! limit of ten allows, one would pass. So requests may go below zero by half of what the store
//! last reported as left (half, so that two nodes which do so at one time stay within it), and a
//! request that needs more than a slice may if a full slice is there, else it could never pass.
//! What is owed is leased before anything else passes.
//!
//! So the nodes together exceed the bucket by no more than a slice and half the capacity each, for
//! one burst, which they pay back.
//!
//! This file is also compiled by `tests/loom`, with that crate's atomics as `super::word`.

use super::word::{AtomicU64, Ordering};

/// No balance is kept: there is no store, or it does not answer, and the node's own limits are the
/// only ones.
const UNSHARED: i64 = i64::MIN;

/// The units that this node may take of a shared bucket without asking the shared store.
#[derive(Debug)]
pub struct Lease {
    /// What the balance is brought back to.
    slice: i64,
    /// An `i64`.
    balance: AtomicU64,
}

/// How units were taken; to be handed back with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Leased,
    /// The balance was not kept then, and must not gain by it now.
    Local,
}

impl Lease {
    /// For a bucket that holds `burst` units. An eighth of it is large enough to be renewed in
    /// time, and small enough that idle nodes leave most of it to the others.
    pub fn new(burst: u32) -> Lease {
        Lease { slice: i64::from(burst / 8).max(1), balance: AtomicU64::new(UNSHARED as u64) }
    }

    /// Returns the balance, in units, that a renewal restores.
    pub fn slice(&self) -> u64 {
        self.slice.unsigned_abs()
    }

    /// Takes `n` units, or returns how many are missing. `spare` is what the store has left for all
    /// nodes, as far as is known.
    pub fn take(&self, n: u64, spare: u64) -> Result<Source, u64> {
        let n = signed(n);
        let needed = n.min(self.slice).min(n.saturating_sub(signed(spare / 2)));
        let taken = self.change(|balance| (balance >= needed).then(|| balance.saturating_sub(n)));
        match taken {
            Ok(_) => Ok(Source::Leased),
            Err(UNSHARED) => Ok(Source::Local),
            Err(balance) => Err(needed.saturating_sub(balance).unsigned_abs()),
        }
    }

    /// Adds to the balance what was not used, or what was leased.
    pub fn give(&self, n: u64) {
        let _ = self.change(|balance| Some(balance.saturating_add(signed(n))));
    }

    /// Takes from the balance what was used without having been taken.
    pub fn charge(&self, n: u64) {
        let _ = self.change(|balance| Some(balance.saturating_sub(signed(n)).max(UNSHARED + 1)));
    }

    /// Begins to keep a balance, with a full slice in advance, which is to be reported to the
    /// store. False if it is kept already.
    pub fn begin(&self) -> bool {
        self.balance.compare_exchange(UNSHARED as u64, self.slice as u64, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Stops to keep a balance.
    pub fn end(&self) {
        self.balance.swap(UNSHARED as u64, Ordering::Relaxed);
    }

    /// Returns how many units are missing for a full slice.
    pub fn missing(&self) -> u64 {
        match self.balance.load(Ordering::Relaxed) as i64 {
            UNSHARED => 0,
            balance => self.slice.saturating_sub(balance).max(0).unsigned_abs(),
        }
    }

    /// Takes out what lies above a full slice, for the store.
    pub fn take_surplus(&self) -> u64 {
        match self.change(|balance| (balance > self.slice).then_some(self.slice)) {
            Ok(before) => (before - self.slice).unsigned_abs(),
            Err(_) => 0,
        }
    }

    /// Below zero is a debt; `None` where no balance is kept.
    pub fn balance(&self) -> Option<i64> {
        match self.balance.load(Ordering::Relaxed) as i64 {
            UNSHARED => None,
            balance => Some(balance),
        }
    }

    /// Changes the balance, if one is kept and `to` gives a new one. The balance before that is the
    /// result either way.
    fn change(&self, to: impl Fn(i64) -> Option<i64>) -> Result<i64, i64> {
        let mut seen = self.balance.load(Ordering::Relaxed);
        loop {
            let before = seen as i64;
            if before == UNSHARED {
                return Err(UNSHARED);
            }
            let Some(after) = to(before) else { return Err(before) };
            match self.balance.compare_exchange_weak(seen, after as u64, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(before),
                Err(other) => seen = other,
            }
        }
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

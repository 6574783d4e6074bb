//! A bound on all attempts to guess the admin key, whatever their address: an attacker may have
//! many. Each worker slows single addresses down by itself.

use std::hash::{BuildHasher, Hash};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Failures in a row that have no consequence.
const FREE: u64 = 60;
/// How long a failure counts, in nanoseconds: from then on, ten a second.
const FAILURE_TTL: u64 = 100_000_000;
/// Addresses that are remembered for having had the key.
const REMEMBERED: usize = 64;

/// The wrong admin keys of the last time, of all addresses together.
#[derive(Debug)]
pub struct AdminFailures {
    /// When all failures no longer count, in nanoseconds of the process's clock.
    expiry: AtomicU64,
    /// Hashes of addresses that had the right key: an attack does not keep them out.
    trusted: [AtomicU64; REMEMBERED],
    hasher: ahash::RandomState,
}

impl Default for AdminFailures {
    fn default() -> AdminFailures {
        AdminFailures {
            expiry: AtomicU64::new(0),
            trusted: [const { AtomicU64::new(0) }; REMEMBERED],
            hasher: ahash::RandomState::new(),
        }
    }
}

impl AdminFailures {
    /// Returns whether this address may try a key now.
    pub fn allows(&self, peer: IpAddr, now: u64) -> bool {
        let hash = self.hash(peer);
        self.expiry.load(Ordering::Relaxed) <= now + (FREE - 1) * FAILURE_TTL
            || self.trusted[Self::place(hash)].load(Ordering::Relaxed) == hash
    }

    /// Records a wrong key. `now` is in nanoseconds of the process's clock.
    pub fn record_failure(&self, now: u64) {
        let later = |expiry: u64| Some(expiry.max(now) + FAILURE_TTL);
        // It never fails, since the function always gives a value.
        let _ = self.expiry.fetch_update(Ordering::Relaxed, Ordering::Relaxed, later);
    }

    /// Records that `peer` has used the right key.
    pub fn record_success(&self, peer: IpAddr) {
        let hash = self.hash(peer);
        self.trusted[Self::place(hash)].store(hash, Ordering::Relaxed);
    }

    fn hash(&self, peer: IpAddr) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        peer.hash(&mut hasher);
        // 0 is an empty place.
        std::hash::Hasher::finish(&hasher) | 1
    }

    fn place(hash: u64) -> usize {
        (hash >> 32) as usize % REMEMBERED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_addresses_together_are_bounded() {
        let (failures, known) = (AdminFailures::default(), IpAddr::from([10, 0, 0, 1]));
        let peer = |n: u64| IpAddr::from([10, 1, (n >> 8) as u8, n as u8]);
        failures.record_success(known);
        for n in 0..FREE {
            assert!(failures.allows(peer(n), 7), "{n}");
            failures.record_failure(7);
        }
        assert!(!failures.allows(peer(FREE), 7));
        assert!(failures.allows(known, 7), "who had the key is not kept out");
        assert!(failures.allows(peer(FREE), 7 + FAILURE_TTL), "one more each tenth of a second");
    }
}

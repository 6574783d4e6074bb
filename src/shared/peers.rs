//! How many connections each address has, over all workers (`MAX_CONNECTIONS_PER_PEER`).
//!
//! The counts are a table of atomic words, in which an address has its place by a hash that nobody
//! outside knows. Two addresses may share a place, and then share the limit: with 1,000 addresses,
//! one in 65 does.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};

/// Places of the table: 256 KiB.
const PLACES: usize = 1 << 16;

/// The connections of each address. Without a limit nothing is counted.
#[derive(Debug)]
pub struct Peers {
    counts: Box<[AtomicU32]>,
    limit: u32,
    hasher: ahash::RandomState,
}

/// The place in which a connection was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// Of a connection that is not counted.
    pub const NONE: Place = Place(u32::MAX);
}

impl Peers {
    /// A `limit` of 0 is none.
    pub fn new(limit: usize) -> Peers {
        let places = if limit == 0 { 0 } else { PLACES };
        let counts = (0..places).map(|_| AtomicU32::new(0)).collect();
        Peers { counts, limit: u32::try_from(limit).unwrap_or(u32::MAX), hasher: ahash::RandomState::new() }
    }

    /// Counts a connection of `peer`. `None` if it has as many as it may have.
    pub fn enter(&self, peer: IpAddr) -> Option<Place> {
        if self.counts.is_empty() {
            return Some(Place::NONE);
        }
        let place = self.hasher.hash_one(network(peer)) as usize % PLACES;
        let below = |count: u32| (count < self.limit).then_some(count + 1);
        self.counts[place].fetch_update(Ordering::Relaxed, Ordering::Relaxed, below).ok()?;
        Some(Place(place as u32))
    }

    /// A connection has ended.
    pub fn leave(&self, place: Place) {
        if let Some(count) = self.counts.get(place.0 as usize) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Returns the network of an address. Whoever has an IPv6 address usually has all 2^64 of its
/// network.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_network() {
        let peers = Peers::new(2);
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = peers.enter(address("2001:db8::1")).unwrap();
        assert_eq!(peers.enter(address("2001:db8::2")), Some(first));
        assert_eq!(peers.enter(address("2001:db8::3")), None);
        peers.leave(first);
        assert_eq!(peers.enter(address("2001:db8::3")), Some(first));
        assert_eq!(Peers::new(0).enter(address("10.0.0.1")), Some(Place::NONE));
        peers.leave(Place::NONE);
    }
}

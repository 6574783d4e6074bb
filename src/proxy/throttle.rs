//! Slows down who guesses the admin key: each address has a few tries, and then one every few
//! seconds.
//!
//! A table of each core's own, so that no core waits for another; an address has its tries on every
//! core.

use std::collections::HashMap;
use std::net::IpAddr;

/// Failures that cost nothing.
const FREE: u64 = 5;
/// How long a failure counts.
const FORGIVEN: u64 = 5_000_000_000;
/// Addresses that are remembered. Who has more of them than this can't be told from many people.
const MOST: usize = 1024;

#[derive(Debug, Default)]
pub struct Guard {
    /// When all failures of an address are forgiven, in nanoseconds of the caller's clock.
    forgiven: HashMap<IpAddr, u64>,
}

impl Guard {
    /// Seconds until this address may try again; `None` if it may now.
    pub fn wait(&self, peer: IpAddr, now: u64) -> Option<u64> {
        let forgiven = self.forgiven.get(&network(peer))?;
        let next = forgiven.saturating_sub((FREE - 1) * FORGIVEN);
        (next > now).then(|| (next - now).div_ceil(1_000_000_000))
    }

    pub fn failed(&mut self, peer: IpAddr, now: u64) {
        let peer = network(peer);
        if self.forgiven.len() >= MOST && !self.forgiven.contains_key(&peer) {
            self.forgiven.retain(|_, forgiven| *forgiven > now);
            // Who has the least to be forgiven makes room.
            let least = self.forgiven.iter().min_by_key(|(_, forgiven)| **forgiven).map(|(peer, _)| *peer);
            if let Some(least) = least.filter(|_| self.forgiven.len() >= MOST) {
                self.forgiven.remove(&least);
            }
        }
        let forgiven = self.forgiven.entry(peer).or_insert(now);
        *forgiven = (*forgiven).max(now) + FORGIVEN;
    }
}

/// One who has an IPv6 address usually has the 2^64 beside it.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_few_tries_are_free_and_then_one_every_few_seconds() {
        let (mut guard, peer) = (Guard::default(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..FREE {
            assert_eq!(guard.wait(peer, 7), None);
            guard.failed(peer, 7);
        }
        assert_eq!(guard.wait(peer, 7), Some(5));
        assert_eq!(guard.wait(IpAddr::from([10, 0, 0, 2]), 7), None, "somebody else");
        assert_eq!(guard.wait(peer, 7 + 5 * SECOND), None);
        guard.failed(peer, 7 + 5 * SECOND);
        assert_eq!(guard.wait(peer, 8 + 5 * SECOND), Some(5));
        assert_eq!(guard.wait(peer, 100 * SECOND), None);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let mut guard = Guard::default();
        let worst = IpAddr::from([10, 0, 0, 1]);
        (0..FREE).for_each(|_| guard.failed(worst, 1));
        for n in 0..10_000u32 {
            guard.failed(IpAddr::from(n.to_be_bytes()), 1);
        }
        assert_eq!(guard.forgiven.len(), MOST);
        assert!(guard.wait(worst, 1).is_some());
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let mut guard = Guard::default();
        for n in 0..FREE {
            guard.failed(format!("2001:db8::{n:x}").parse().unwrap(), 1);
        }
        assert!(guard.wait("2001:db8::ffff".parse().unwrap(), 1).is_some());
        assert!(guard.wait("2001:db8:0:1::1".parse().unwrap(), 1).is_none());
    }
}

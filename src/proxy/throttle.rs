//! Slows down attempts to guess the admin key: each address has a few tries, and then one every few
//! seconds.
//!
//! Each worker has a table of its own, so that none waits for another. An address has its tries on
//! every worker.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::shared::peers::network;

/// Failures that have no consequence.
const FREE: u64 = 5;
/// How long a failure counts, in nanoseconds.
const FAILURE_TTL: u64 = 5_000_000_000;
/// Addresses that are remembered. An attacker with more of them can't be distinguished from many
/// clients.
const MAX_ADDRESSES: usize = 1024;

/// The wrong admin keys of single addresses at one worker.
#[derive(Debug, Default)]
pub struct AdminThrottle {
    /// When the failures of an address no longer count, in nanoseconds of the caller's clock.
    expiry: HashMap<IpAddr, u64>,
}

impl AdminThrottle {
    /// Returns the seconds until this address may try again. `None` if it may now.
    pub fn retry_after(&self, peer: IpAddr, now: u64) -> Option<u64> {
        let expiry = self.expiry.get(&network(peer))?;
        let next = expiry.saturating_sub((FREE - 1) * FAILURE_TTL);
        (next > now).then(|| (next - now).div_ceil(1_000_000_000))
    }

    /// Counts a failure of this address.
    pub fn record_failure(&mut self, peer: IpAddr, now: u64) {
        let peer = network(peer);
        if self.expiry.len() >= MAX_ADDRESSES && !self.expiry.contains_key(&peer) {
            self.expiry.retain(|_, expiry| *expiry > now);
            // The address with the fewest failures makes room.
            let least = self.expiry.iter().min_by_key(|(_, expiry)| **expiry).map(|(peer, _)| *peer);
            if let Some(least) = least.filter(|_| self.expiry.len() >= MAX_ADDRESSES) {
                self.expiry.remove(&least);
            }
        }
        let expiry = self.expiry.entry(peer).or_insert(now);
        *expiry = (*expiry).max(now) + FAILURE_TTL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_few_tries_are_free_and_then_one_every_few_seconds() {
        let (mut throttle, peer) = (AdminThrottle::default(), IpAddr::from([10, 0, 0, 1]));
        for _ in 0..FREE {
            assert_eq!(throttle.retry_after(peer, 7), None);
            throttle.record_failure(peer, 7);
        }
        assert_eq!(throttle.retry_after(peer, 7), Some(5));
        assert_eq!(throttle.retry_after(IpAddr::from([10, 0, 0, 2]), 7), None, "somebody else");
        assert_eq!(throttle.retry_after(peer, 7 + 5 * SECOND), None);
        throttle.record_failure(peer, 7 + 5 * SECOND);
        assert_eq!(throttle.retry_after(peer, 8 + 5 * SECOND), Some(5));
        assert_eq!(throttle.retry_after(peer, 100 * SECOND), None);
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_worst() {
        let mut throttle = AdminThrottle::default();
        let worst = IpAddr::from([10, 0, 0, 1]);
        (0..FREE).for_each(|_| throttle.record_failure(worst, 1));
        for n in 0..10_000u32 {
            throttle.record_failure(IpAddr::from(n.to_be_bytes()), 1);
        }
        assert_eq!(throttle.expiry.len(), MAX_ADDRESSES);
        assert!(throttle.retry_after(worst, 1).is_some());
    }

    #[test]
    fn addresses_of_one_network_are_one() {
        let mut throttle = AdminThrottle::default();
        for n in 0..FREE {
            throttle.record_failure(format!("2001:db8::{n:x}").parse().unwrap(), 1);
        }
        assert!(throttle.retry_after("2001:db8::ffff".parse().unwrap(), 1).is_some());
        assert!(throttle.retry_after("2001:db8:0:1::1".parse().unwrap(), 1).is_none());
    }
}

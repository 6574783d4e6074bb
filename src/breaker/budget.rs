//! A budget for retries, so that an outage is not multiplied: a token bucket that traffic fills.
//!
//! One for each provider on each worker; the sum over the workers has the same share.

/// Parts of a token.
const TOKEN: u64 = 1000;
/// Tokens of a full bucket: an installation with little traffic can retry too.
const CAPACITY: u64 = 10 * TOKEN;
/// Parts of a token that come back each second without traffic.
const PER_SECOND: u64 = TOKEN / 10;

/// The tokens for retries of one provider on one worker. A retry takes one.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    parts: u64,
    /// Milliseconds of the last refill.
    refilled: u64,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { parts: CAPACITY, refilled: 0 }
    }
}

impl Budget {
    /// Counts a request that is no retry. `percent` of them may be retried.
    pub fn deposit(&mut self, percent: u32) {
        if self.parts < CAPACITY {
            self.parts = (self.parts + u64::from(percent) * TOKEN / 100).min(CAPACITY);
        }
    }

    /// Takes a token for a retry. `now` is in milliseconds.
    pub fn withdraw(&mut self, percent: u32, now: u64) -> bool {
        let back = now.saturating_sub(self.refilled) * PER_SECOND / 1000;
        if back > 0 {
            self.refilled = now;
            self.parts = (self.parts + back).min(CAPACITY);
        }
        if percent == 0 || self.parts < TOKEN {
            return false;
        }
        self.parts -= TOKEN;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Retries are never more than the share of the traffic, a full bucket, and what time
        /// gives.
        #[test]
        fn retries_are_bounded(steps in proptest::collection::vec((any::<bool>(), 0u64..400), 1..2000)) {
            let (mut budget, mut now) = (Budget::default(), 0);
            let (mut requests, mut retries) = (0u64, 0u64);
            for (is_request, pause) in steps {
                now += pause;
                match is_request {
                    true => { budget.deposit(20); requests += 1; }
                    false => retries += u64::from(budget.withdraw(20, now)),
                }
                prop_assert!(retries * TOKEN <= CAPACITY + requests * 200 + now * PER_SECOND / 1000);
            }
        }
    }

    #[test]
    fn an_outage_is_not_multiplied() {
        let mut budget = Budget::default();
        let mut retries = 0;
        for n in 0..1000 {
            budget.deposit(20);
            retries += u32::from(budget.withdraw(20, n));
            retries += u32::from(budget.withdraw(20, n));
        }
        assert!((200..=211).contains(&retries), "{retries}");
        assert!(!Budget::default().withdraw(0, 0), "without a share there is none");
    }
}

//! How long to wait before the same provider is tried again.

use std::time::Duration;

/// The longest first wait. It doubles with each try.
const BASE: Duration = Duration::from_millis(200);

/// Returns the wait before try `retry` (1 is the first one again): full jitter, so that clients
/// that failed together do not come back together. `random` is any number.
pub fn full_jitter(retry: u32, most: Duration, random: u64) -> Duration {
    let ceiling = BASE.saturating_mul(1 << retry.saturating_sub(1).min(10)).min(most);
    let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(((u128::from(nanos) * u128::from(random)) >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn within_its_ceiling(retry in 1u32..100, random: u64, most in 0u64..20_000) {
            let most = Duration::from_millis(most);
            prop_assert!(full_jitter(retry, most, random) <= most);
            prop_assert!(full_jitter(1, most, random) <= BASE);
        }
    }

    #[test]
    fn the_ceiling_doubles() {
        let most = Duration::from_secs(5);
        let longest: Vec<_> = (1..7).map(|retry| full_jitter(retry, most, u64::MAX).as_millis() + 1).collect();
        assert_eq!(longest, [200, 400, 800, 1600, 3200, 5000]);
        assert_eq!(full_jitter(3, most, 0), Duration::ZERO);
    }
}

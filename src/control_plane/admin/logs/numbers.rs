//! Numbers as the routes of logs give them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::store::logs::hours::DURATION_BOUNDS;

/// Returns dollars of billionths.
pub(in crate::control_plane::admin) fn dollars(billionths: i64) -> f64 {
    billionths as f64 / 1e9
}

/// Milliseconds that so many percent of the requests stayed below
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(in crate::control_plane::admin) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
}

impl Percentiles {
    /// Returns the percentiles of classes, each with its upper bound and the number of requests in
    /// it.
    pub(super) fn of(classes: &[(i64, i64)]) -> Option<Percentiles> {
        let total: i64 = classes.iter().map(|(_, count)| count).sum();
        let at = |share: f64| {
            let target = share * total as f64;
            let mut below = 0.0;
            for (bound, count) in classes {
                let count = *count as f64;
                // The first class begins at 0, and the last has no end.
                let low = DURATION_BOUNDS.iter().rev().find(|low| *low < bound).map_or(0.0, |low| *low as f64);
                let high = if *bound == i64::MAX { low } else { *bound as f64 };
                if below + count >= target {
                    return (low + (high - low) * (target - below) / count).round();
                }
                below += count;
            }
            0.0
        };
        (total > 0).then(|| Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        assert_eq!(Percentiles::of(&[]), None);
        let all = Percentiles::of(&[(10, 50), (100, 49), (i64::MAX, 1)]).unwrap();
        assert_eq!((all.p50, all.p99), (10.0, 100.0));
        assert!(all.p90 > 80.0 && all.p90 < 100.0, "{all:?}");
        let quick = Percentiles::of(&[(5, 10)]).unwrap();
        assert_eq!((quick.p50, quick.p99), (3.0, 5.0));
        let slow = Percentiles::of(&[(327_680, 1), (655_360, 1)]).unwrap();
        assert_eq!((slow.p50, slow.p90), (327_680.0, 589_824.0));
    }
}

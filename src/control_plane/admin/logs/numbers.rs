//! Numbers as the routes of logs give them.

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::store::logs::hours::DURATION_BOUNDS;

/// Returns dollars of billionths.
pub(in crate::control_plane::admin) fn dollars(billionths: i64) -> f64 {
    billionths as f64 / 1e9
}

/// Milliseconds that so many per cent of the requests took at most
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
                let before = DURATION_BOUNDS.iter().rev().find(|before| *before < bound);
                let low = before.map_or(0.0, |before| *before as f64 + 1.0);
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
        assert!(all.p90 > 81.0 && all.p90 < 100.0, "{all:?}");
        let slow = Percentiles::of(&[(327_680, 1), (i64::MAX, 1)]).unwrap();
        assert_eq!((slow.p50, slow.p90), (327_680.0, 655_361.0));
    }

    #[test]
    fn a_duration_is_known_within_a_fifth() {
        for ms in (0..3000).chain((3000..655_360).step_by(97)) {
            let class = *DURATION_BOUNDS.iter().find(|bound| ms <= **bound).unwrap();
            let Percentiles { p50, p90, p99 } = Percentiles::of(&[(class, 1000)]).unwrap();
            let ms = ms as f64;
            assert!((p50 - ms).abs() <= (ms * 0.21).max(if ms <= 3.0 { 0.0 } else { 1.0 }), "{p50} of {ms}");
            assert!(p50 <= p90 && p90 <= p99 && p99 <= class as f64);
        }
    }
}

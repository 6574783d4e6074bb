//! Points in time and lengths of time of keys, in seconds.

use std::time::{SystemTime, UNIX_EPOCH};

pub(super) const DAY: i64 = 86_400;

/// Returns seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

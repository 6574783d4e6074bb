//! Points in time and lengths of time of rows, in seconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Sums of windows that began longer ago than this, in seconds, are removed.
pub(crate) const SUMS_KEPT_SECS: i64 = 400 * 86_400;

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

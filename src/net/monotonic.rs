//! The monotonic clock as a number.
//!
//! `Instant` keeps seconds and nanoseconds apart and checks each difference, which costs three
//! times what the reading does. A request reads the clock a dozen times. libc is asked and not
//! rustix, which looks for the kernel's function by itself: callgrind, which counts what a request
//! takes, hides that function and ends with a fault then.

/// Returns nanoseconds of the clock that `Instant` shows, from a point in the past that does not
/// change while the process runs.
pub(super) fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec` to `time`. The clock always exists, so the call does
    // not fail.
    #[allow(unsafe_code)]
    unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time);
    }
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn it_shows_what_instant_shows() {
        let (outer, began) = (Instant::now(), now());
        let inner = Instant::now();
        while inner.elapsed() < Duration::from_millis(2) {}
        let (least, shown) = (inner.elapsed(), Duration::from_nanos(now() - began));
        assert!(least <= shown && shown <= outer.elapsed(), "{least:?} {shown:?}");
    }
}

//! The monotonic clock as a number.
//!
//! `Instant` keeps seconds and nanoseconds apart and checks each difference, which costs three times
//! what the reading does. A request reads the clock a dozen times.

/// Returns nanoseconds of the clock that `Instant` shows, from a point in the past that does not
/// change while the process runs.
pub(super) fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
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

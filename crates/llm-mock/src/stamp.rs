//! Time stamps in the text of an answer, by which a client on the same machine measures how long an
//! event was under way.
//!
//! A stamp is [`MARK`] and [`DIGITS`] decimal digits: microseconds since 1970 at which the mock
//! began to write it. Only the first stamp of a write is filled in; the others stay [`BLANK`], so
//! that an answer that repeats its text tells no times twice.

use std::time::{SystemTime, UNIX_EPOCH};

use memchr::memmem;

/// What a stamp begins with.
pub const MARK: u8 = b'@';
/// How many digits follow. They last until the year 2286.
pub const DIGITS: usize = 16;
/// A stamp that was not filled in, as one token of a text.
pub const BLANK: &str = " @0000000000000000";

/// Returns the time of a stamp that is written now.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Fills the first blank stamp of `bytes` with `micros`.
pub(crate) fn fill(bytes: &mut [u8], mut micros: u64) {
    let Some(at) = memmem::find(bytes, BLANK.as_bytes()) else { return };
    for digit in bytes[at..at + BLANK.len()].iter_mut().rev().take(DIGITS) {
        *digit = b'0' + (micros % 10) as u8;
        micros /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_blank_is_filled() {
        let mut bytes = format!("a{BLANK}b{BLANK}").into_bytes();
        fill(&mut bytes, 1_764_498_000_000_001);
        assert_eq!(bytes, format!("a @1764498000000001b{BLANK}").as_bytes());
        fill(&mut bytes, 7);
        assert_eq!(bytes, b"a @1764498000000001b @0000000000000007");
        fill(&mut bytes, 8);
        assert!(bytes.ends_with(b"7"), "no blank is left");
        assert_eq!(now().to_string().len(), DIGITS);
        assert_eq!(BLANK.len(), 2 + DIGITS);
    }
}

//! What is known of a request when it has ended. Written by a worker, read by the background thread.
//!
//! A record owns no text: names are looked up in the snapshot of its generation by id, and what a client may choose (request id,
//! model) is copied into a fixed space and cut there. So a record costs a copy and no allocation.

use std::fmt;

use crate::error::Kind;
use crate::wire::Format;

/// Up to `N` bytes of text, cut at a character boundary.
#[derive(Clone, Copy)]
pub struct Short<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Short<N> {
    pub const EMPTY: Short<N> = Short { len: 0, bytes: [0; N] };

    pub fn new(text: &str) -> Short<N> {
        const { assert!(N <= 255) }
        let mut end = text.len().min(N);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; N];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        Short { len: end as u8, bytes }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The answer went out whole, whatever its status.
    Complete,
    /// The client left before the end.
    ClientGone,
    /// Refused or failed with this kind before anything of an answer was sent.
    Failed(Kind),
    /// The answer broke off after its head was sent.
    Truncated(Kind),
}

/// Token counts that the provider reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub reasoning: u64,
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub struct Record {
    pub request_id: Short<64>,
    /// Route template, such as `/v1/chat/completions`.
    pub endpoint: &'static str,
    pub method: &'static str,
    /// The client's format; `None` on paths of no format.
    pub client_format: Option<Format>,
    pub provider_format: Option<Format>,
    /// As the client wrote it, cut.
    pub model: Short<96>,
    /// 0 is none.
    pub credential: i64,
    /// 0 is none. The last one tried.
    pub provider: i64,
    /// Snapshot in force, for looking up names.
    pub generation: u64,
    pub status: u16,
    pub stream: bool,
    pub attempts: u8,
    pub outcome: Outcome,
    pub tokens: Option<Tokens>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// Microseconds since 1970 when the head was complete.
    pub started_us: u64,
    /// Microseconds from the head to the last byte written.
    pub total_us: u64,
    /// Microseconds from the head to the first byte of the upstream's answer; 0 when there was none.
    pub first_byte_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_is_cut_at_a_character() {
        assert_eq!(Short::<4>::new("abc").as_str(), "abc");
        assert_eq!(Short::<4>::new("abcé").as_str(), "abc");
        assert_eq!(Short::<4>::new("").as_str(), "");
    }
}

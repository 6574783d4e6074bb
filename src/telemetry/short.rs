//! Text in a fixed space.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A text of up to `N` bytes, cut at a character boundary.
#[derive(Clone, Copy)]
pub struct Short<const N: usize> {
    len: u8,
    bytes: [u8; N],
}

impl<const N: usize> Short<N> {
    /// The empty text.
    pub const EMPTY: Short<N> = Short { len: 0, bytes: [0; N] };

    /// Copies `text`, cut at the last character that fits into `N` bytes.
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

    /// Takes a text of ASCII characters as it is.
    pub fn ascii<const LEN: usize>(text: [u8; LEN]) -> Short<N> {
        const { assert!(LEN <= N && N <= 255) }
        debug_assert!(text.is_ascii());
        let mut bytes = [0; N];
        bytes[..LEN].copy_from_slice(&text);
        Short { len: LEN as u8, bytes }
    }

    /// Returns whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the bytes of the text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl<const N: usize> PartialEq for Short<N> {
    fn eq(&self, other: &Short<N>) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for Short<N> {}

impl<const N: usize> Hash for Short<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl<const N: usize> fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

//! Texts that must not appear where values are printed for debugging, and whose memory is
//! overwritten when they are dropped.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroize;

/// A text that reads like a `str` and prints as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Complete header lines, of which some may carry a key.
#[derive(Default, PartialEq, Eq)]
pub struct HeaderLines(Vec<u8>);

impl From<Vec<u8>> for HeaderLines {
    fn from(lines: Vec<u8>) -> HeaderLines {
        HeaderLines(lines)
    }
}

impl Deref for HeaderLines {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl HeaderLines {
    /// Overwrites the keys of these lines with `*` wherever `text` has them: providers quote the key
    /// that they refuse. The text keeps its length.
    pub fn hide_in(&self, text: &mut [u8]) {
        for line in self.0.split(|byte| *byte == b'\n') {
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            let key = value.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            if !carries_key(name) || key.len() < SHORTEST_KEY {
                continue;
            }
            let mut from = 0;
            while let Some(at) = memchr::memmem::find(&text[from..], key) {
                text[from + at..from + at + key.len()].fill(b'*');
                from += at + key.len();
            }
        }
    }
}

/// A shorter value is a word that may stand in any text.
const SHORTEST_KEY: usize = 8;

/// Returns whether a header of this name carries a key, and not a remark of the operator's.
fn carries_key(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    [&b"auth"[..], b"key", b"token", b"secret", b"cookie"]
        .iter()
        .any(|part| memchr::memmem::find(&name, part).is_some())
}

impl Drop for HeaderLines {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for HeaderLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderLines({} bytes)", self.0.len())
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

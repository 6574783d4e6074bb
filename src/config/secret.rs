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

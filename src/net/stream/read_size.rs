//! How many bytes the next read of a connection asks for.

use crate::net::buffers;

/// The bytes of a read up to which the next one is small. An event with one word has some 250.
const QUIET_READ: usize = buffers::SMALL / 3;
/// The bytes of a read up to which the next one may be tiny.
const TINY_READ: usize = buffers::TINY * 3 / 4;
/// So many such reads one after the other make the next one tiny: a stream that comes word by word,
/// and so goes on for a while.
const TINY_READS: u8 = 4;
/// The most of them that are wanted where tiny reads were too small before.
const MAX_TINY_READS: u8 = 64;

/// The size of the next read, and what it is judged by.
#[derive(Debug)]
pub(super) struct ReadSize {
    bytes: usize,
    /// How many of the last reads got at most [`TINY_READ`], up to `wanted`.
    tiny_reads: u8,
    /// How many of them make the next read tiny.
    wanted: u8,
    /// Whether what the socket gave last took the whole buffer, so that there may be more. With TLS
    /// that is ciphertext, of which the plaintext may be short.
    was_full: bool,
}

impl ReadSize {
    pub(super) fn new() -> ReadSize {
        ReadSize { bytes: buffers::SMALL, tiny_reads: 0, wanted: TINY_READS, was_full: false }
    }

    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sets the size, and forgets what the last reads have got.
    #[inline]
    pub(super) fn set(&mut self, bytes: usize) {
        *self = ReadSize { bytes, ..ReadSize::new() };
    }

    /// Notes what the socket gave.
    #[inline]
    pub(super) fn note_received(&mut self, buf: &Vec<u8>) {
        self.was_full = buf.len() == buf.capacity();
    }

    /// Returns whether the reads are tiny: little comes at a time.
    #[inline]
    pub(super) fn is_tiny(&self) -> bool {
        self.bytes == buffers::TINY
    }

    /// Sets the size by what the last read has brought.
    pub(super) fn fit(&mut self, bytes: usize) {
        if self.was_full {
            self.tiny_reads = 0;
            if self.is_tiny() {
                self.wanted = (self.wanted * 2).min(MAX_TINY_READS);
                self.bytes = buffers::SMALL;
            } else {
                self.bytes = buffers::LARGE;
            }
            return;
        }
        self.tiny_reads = if bytes <= TINY_READ { (self.tiny_reads + 1).min(self.wanted) } else { 0 };
        match bytes {
            _ if self.tiny_reads == self.wanted => self.bytes = buffers::TINY,
            0..=QUIET_READ => self.bytes = buffers::SMALL,
            buffers::SMALL.. => self.bytes = buffers::LARGE,
            _ => self.bytes = self.bytes.max(buffers::SMALL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::buffers::{LARGE, SMALL, TINY};

    /// Each read brings so many bytes at most as it asks for; the sizes of the reads behind them.
    fn sizes(arriving: &[usize]) -> Vec<usize> {
        let mut size = ReadSize::new();
        let next = |bytes: &usize| {
            let mut buf = Vec::with_capacity(size.bytes());
            buf.resize((*bytes).min(size.bytes()), 0);
            size.note_received(&buf);
            size.fit(buf.len());
            size.bytes()
        };
        arriving.iter().map(next).collect()
    }

    #[test]
    fn reads_follow_what_comes() {
        let (small, large) = (SMALL, LARGE);
        assert_eq!(sizes(&[250; 5]), [small, small, small, TINY, TINY]);
        assert_eq!(sizes(&[400; 5]), [small; 5]);
        assert_eq!(sizes(&[large, large, 600, 500]), [large, large, large, small]);
        // A full read of any size leads to a larger one.
        assert_eq!(sizes(&[250, 250, 250, 250, large, large])[3..], [TINY, small, large]);
    }

    #[test]
    fn tiny_reads_that_were_too_small_are_rarer() {
        let round = [&[250; 4][..], &[1000]].concat();
        let tiny = sizes(&round.repeat(40)).iter().filter(|size| **size == TINY).count();
        assert!(tiny <= 2, "{tiny}");
        // As before once a stream is quiet for long.
        assert_eq!(sizes(&[round.repeat(40), vec![250; 64]].concat()).last(), Some(&TINY));
    }

    /// With TLS a full read may bring little.
    #[test]
    fn a_full_read_of_little_text_is_not_tiny() {
        let mut size = ReadSize::new();
        (0..4).for_each(|_| size.fit(100));
        assert!(size.is_tiny());
        let full = vec![0; TINY];
        size.note_received(&full);
        size.fit(300);
        assert_eq!(size.bytes(), SMALL);
    }
}

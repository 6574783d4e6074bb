//! What the generator looks for in the body of a stream: the mock's time stamps, and the event that
//! ends it.

use llm_mock::stamp::{DIGITS, MARK};
use memchr::{memchr, memmem};

/// Finds the mock's stamps, whatever pieces a body comes in.
///
/// A stamp counts once: a later event that repeats the text of earlier ones tells nothing new, and
/// the stamps of a stream only grow.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    /// Digits of a stamp that goes on in the next piece, and its value so far.
    open: Option<(usize, u64)>,
    last: u64,
}

impl Stamps {
    /// Calls `found` with each new stamp of `piece`.
    pub(super) fn scan(&mut self, mut piece: &[u8], mut found: impl FnMut(u64)) {
        while !piece.is_empty() {
            let Some((mut digits, mut value)) = self.open.take() else {
                let Some(at) = memchr(MARK, piece) else { return };
                piece = &piece[at + 1..];
                self.open = Some((0, 0));
                continue;
            };
            while let Some((&byte, rest)) = piece.split_first().filter(|(byte, _)| byte.is_ascii_digit()) {
                (digits, value, piece) = (digits + 1, value * 10 + u64::from(byte - b'0'), rest);
                if digits == DIGITS {
                    break;
                }
            }
            if digits < DIGITS {
                // Another byte than a digit ends it.
                self.open = piece.is_empty().then_some((digits, value));
            } else if value > self.last {
                self.last = value;
                found(value);
            }
        }
    }
}

/// Finds a text in a body, whatever pieces it comes in.
#[derive(Debug)]
pub(super) struct Search {
    text: memmem::Finder<'static>,
    /// The end of what has passed, shorter than the text.
    tail: Vec<u8>,
    found: bool,
}

impl Search {
    pub(super) fn new(text: &'static str) -> Search {
        Search { text: memmem::Finder::new(text), tail: Vec::new(), found: false }
    }

    pub(super) fn scan(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        let keep = self.text.needle().len() - 1;
        let seam = self.tail.len();
        self.tail.extend_from_slice(&piece[..piece.len().min(keep)]);
        self.found = self.text.find(piece).is_some() || (seam > 0 && self.text.find(&self.tail).is_some());
        if piece.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - keep..]);
        } else {
            self.tail.drain(..self.tail.len().saturating_sub(keep));
        }
    }

    pub(super) fn is_found(&self) -> bool {
        self.found
    }

    /// Begins another body.
    pub(super) fn reset(&mut self) {
        self.tail.clear();
        self.found = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cut of `text` into two pieces, and into single bytes.
    fn cuts(text: &[u8]) -> Vec<Vec<&[u8]>> {
        let mut all: Vec<Vec<&[u8]>> = (0..=text.len()).map(|at| vec![&text[..at], &text[at..]]).collect();
        all.push(text.chunks(1).collect());
        all
    }

    #[test]
    fn stamps_are_found_however_a_body_is_cut() {
        let check = |text: &str, expected: &[u64]| {
            for pieces in cuts(text.as_bytes()) {
                let (mut stamps, mut found) = (Stamps::default(), Vec::new());
                pieces.iter().for_each(|piece| stamps.scan(piece, |stamp| found.push(stamp)));
                assert_eq!(found, expected, "{text}: {pieces:?}");
            }
        };
        check(
            r#"{"a":" @1764498000000001"}{"a":" @1764498000000002"}"#,
            &[1_764_498_000_000_001, 1_764_498_000_000_002],
        );
        check("@1764498000000001@1764498000000002@1764498000000001", &[1_764_498_000_000_001, 1_764_498_000_000_002]);
        check("@17644@1764498000000001", &[1_764_498_000_000_001]);
        check("@@1764498000000001x", &[1_764_498_000_000_001]);
        check("me@example.org @0000000000000000 @12", &[]);
    }

    #[test]
    fn a_text_is_found_however_a_body_is_cut() {
        let check = |body: &str, expected: bool| {
            for pieces in cuts(body.as_bytes()) {
                let mut search = Search::new("[DONE]");
                pieces.iter().for_each(|piece| search.scan(piece));
                assert_eq!(search.is_found(), expected, "{body}: {pieces:?}");
            }
        };
        check("data: {}\n\ndata: [DONE]\n\n", true);
        check("[DONE]", true);
        check("[DO[DONE]", true);
        check("data: [DONE\n]", false);
        check("[DON", false);
        let mut search = Search::new("[DONE]");
        search.scan(b"[DONE]");
        search.reset();
        assert!(!search.is_found());
        search.scan(b"E]");
        assert!(!search.is_found(), "the end of another body is no part of this one");
    }
}

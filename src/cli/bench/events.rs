//! What the generator looks for in a response: the mock's time stamps, the event that ends a
//! stream, and the number of its request.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use llm_mock::stamp::{DIGITS, MARK};
use memchr::{memchr, memmem};

/// Finds the numbers of [`DIGITS`] digits that a [`MARK`] stands before, whatever pieces a body
/// comes in.
#[derive(Debug, Default)]
pub(super) struct MarkedNumbers {
    /// Digits of a number that goes on in the next piece, and its value so far.
    open: Option<(usize, u64)>,
}

impl MarkedNumbers {
    /// Calls `found` with each number of `piece`.
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
            } else {
                found(value);
            }
        }
    }
}

/// Finds the mock's stamps.
///
/// A stamp counts once: a later event that repeats the text of earlier ones tells nothing new, and
/// the stamps of a stream only grow.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    numbers: MarkedNumbers,
    last: u64,
}

impl Stamps {
    /// Calls `found` with each new stamp of `piece`.
    pub(super) fn scan(&mut self, piece: &[u8], mut found: impl FnMut(u64)) {
        let last = &mut self.last;
        self.numbers.scan(piece, |value| {
            if value > *last {
                *last = value;
                found(value);
            }
        });
    }
}

/// The number in a request that its response must repeat, and none but that.
#[derive(Debug)]
pub(super) struct Nonce {
    /// Where its digits begin in the request.
    pos: usize,
    value: u64,
    numbers: MarkedNumbers,
    echo: Echo,
}

/// What a response has repeated so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    Nothing,
    Own,
    /// The number of another request.
    Foreign,
}

impl Nonce {
    /// What stands in a prompt until the digits of a request replace these.
    pub(super) const TEXT: &str = "@0000000000000000";

    /// Returns the nonce of a request that [`Nonce::TEXT`] stands in, if it does.
    pub(super) fn find(request: &[u8]) -> Option<Nonce> {
        let pos = memmem::rfind(request, Nonce::TEXT.as_bytes())? + 1;
        // Requests of another generator, and of other connections, have other numbers.
        let random = RandomState::new().hash_one(pos);
        Some(Nonce { pos, value: random % MODULUS, numbers: MarkedNumbers::default(), echo: Echo::Nothing })
    }

    /// Writes the number of the next request into it.
    pub(super) fn renew(&mut self, request: &mut [u8]) {
        self.value = (self.value + 1) % MODULUS;
        let digits = format!("{:0width$}", self.value, width = DIGITS);
        request[self.pos..self.pos + DIGITS].copy_from_slice(digits.as_bytes());
        (self.numbers, self.echo) = (MarkedNumbers::default(), Echo::Nothing);
    }

    /// Looks at a piece of the response.
    pub(super) fn scan(&mut self, piece: &[u8]) {
        let (own, echo) = (self.value, &mut self.echo);
        self.numbers.scan(piece, |value| {
            *echo = if value == own && *echo != Echo::Foreign { Echo::Own } else { Echo::Foreign };
        });
    }

    pub(super) fn echo(&self) -> Echo {
        self.echo
    }
}

/// The numbers of nonces are smaller than this.
const MODULUS: u64 = 10u64.pow(DIGITS as u32);

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

    /// Returns every cut of `text` into two pieces, and into single bytes.
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
    fn a_nonce_is_its_own_or_foreign_however_a_body_is_cut() {
        let mut request = format!("POST / HTTP/1.1\r\n\r\n{{\"a\":\"{} b\"}}", Nonce::TEXT).into_bytes();
        let mut nonce = Nonce::find(&request).unwrap();
        let mut last = request.clone();
        let mut check = |body: &dyn Fn(&str) -> String, expected: Echo| {
            nonce.renew(&mut request);
            assert_ne!(last, request, "each request has a number of its own");
            last = request.clone();
            let digits = String::from_utf8(request[nonce.pos..nonce.pos + DIGITS].to_vec()).unwrap();
            for pieces in cuts(body(&digits).as_bytes()) {
                (nonce.numbers, nonce.echo) = (MarkedNumbers::default(), Echo::Nothing);
                pieces.iter().for_each(|piece| nonce.scan(piece));
                assert_eq!(nonce.echo(), expected, "{pieces:?}");
            }
        };
        check(&|own| format!("{{\"text\":\"@{own} b @{own}\"}}"), Echo::Own);
        check(&|own| own.to_owned(), Echo::Nothing);
        check(&|_| "@0000000000000000".to_owned(), Echo::Foreign);
        check(&|own| format!("@0000000000000000 @{own}"), Echo::Foreign);
        check(&|own| format!("@{own} @0000000000000000"), Echo::Foreign);
        assert!(Nonce::find(b"{}").is_none());
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

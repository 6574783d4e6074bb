//! The last head of a connection, since most clients send the same head with each request.
//!
//! A parsed head is a function of its bytes alone, so a head of the same bytes is the same head.
//! The number in `content-length` differs with the body: a head that differs in its digits alone is
//! the same head with another length. Any other is parsed.

use std::ops::Range;
use std::rc::Rc;

use super::field::Fields;
use super::framing::Framing;
use super::head::{HeadScan, Limits, Refusal};
use super::request::{RequestHead, parse_request};

/// Longer heads are not kept, in bytes. Tens of thousands of connections may be idle.
const MAX_KEPT: usize = 1536;

/// Longer lengths are parsed, in digits. Each number of so many fits the parser's bound.
const MAX_DIGITS: usize = 18;

/// A head with its bytes.
#[derive(Debug)]
pub struct KeptHead {
    bytes: Box<[u8]>,
    head: RequestHead,
    /// Where the digits of its `content-length` stand, if it has one that is not 0.
    length: Option<Range<usize>>,
}

impl KeptHead {
    fn new(head: &RequestHead, bytes: &[u8]) -> KeptHead {
        KeptHead { bytes: bytes.into(), head: head.clone(), length: request_length(head, bytes) }
    }

    /// Returns the bytes before and behind the digits of the length, and how many digits there are.
    /// A head that has the same is the same but for the length of its body.
    pub fn parts(&self) -> (&[u8], &[u8], usize) {
        let Range { start, end } = self.length.clone().unwrap_or(self.bytes.len()..self.bytes.len());
        (&self.bytes[..start], &self.bytes[end..], end - start)
    }

    /// Returns the head at the start of `buf` if it is this one, of whatever length.
    fn repeated(&self, buf: &[u8]) -> Option<RequestHead> {
        let Some(at) = self.length.clone() else { return buf.starts_with(&self.bytes).then(|| self.head.clone()) };
        let behind = buf.get(at.end..self.bytes.len())?;
        if buf[..at.start] != self.bytes[..at.start] || behind != &self.bytes[at.end..] {
            return None;
        }
        let framing = Framing::Length(number(&buf[at])?);
        let mut head = self.head.clone();
        head.framing = framing;
        Some(head)
    }
}

/// Parses the heads of one connection, each with the same limits.
#[derive(Debug, Default)]
pub struct HeadCache {
    kept: Option<Rc<KeptHead>>,
    is_repeated: bool,
}

impl HeadCache {
    /// Does what [`parse_request`] does.
    pub fn parse(&mut self, buf: &[u8], scan: &mut HeadScan, limits: &Limits) -> Result<Option<RequestHead>, Refusal> {
        if let Some(head) = self.kept.as_ref().and_then(|kept| kept.repeated(buf)) {
            *scan = HeadScan::default();
            self.is_repeated = true;
            return Ok(Some(head));
        }
        let parsed = parse_request(buf, scan, limits)?;
        if let Some(head) = &parsed {
            self.is_repeated = false;
            let keep = head.len <= MAX_KEPT;
            self.kept = keep.then(|| Rc::new(KeptHead::new(head, &buf[..head.len])));
        }
        Ok(parsed)
    }

    /// Returns whether the last head is that of the one before, save the length of the body.
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }

    /// Returns the last head, if it is kept for the next one.
    pub fn kept(&self) -> Option<&Rc<KeptHead>> {
        self.kept.as_ref()
    }

    /// Keeps `other` in the place of the last head, if it is the same but for the length of its
    /// body, so that connections which send the same head share its memory.
    pub fn share(&mut self, other: &Rc<KeptHead>) {
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.parts() == other.parts()) {
            *kept = other.clone();
        }
    }
}

/// Returns where the digits of a request's length stand. `None` where the length decides more than
/// how long the body is: 0 is no body.
fn request_length(head: &RequestHead, bytes: &[u8]) -> Option<Range<usize>> {
    length_digits(&head.fields, head.framing, bytes).filter(|_| head.framing != Framing::Length(0))
}

/// Returns the range of the digits of `content-length`, if the head has exactly one such field and
/// the framing is of that length.
pub(super) fn length_digits(fields: &Fields, framing: Framing, bytes: &[u8]) -> Option<Range<usize>> {
    let mut values = fields.get_all(bytes, "content-length");
    let value = values.next()?;
    if values.next().is_some() || Framing::Length(number(value)?) != framing {
        return None;
    }
    let start = (value.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    Some(start..start + value.len())
}

/// Reads digits of which the first is not 0.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if !(1..=MAX_DIGITS).contains(&digits.len()) || digits[0] == b'0' || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |n, digit| n * 10 + u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADS: &[&str] = &[
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nauthorization: k\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nexpect: 100-continue\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\nexpect: 100-continue\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length:  123456789012345678 \r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length:  023456789012345678 \r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 9923456789012345678\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 1123456789012345678\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-content-length: 1\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx-content-length: 2\r\n\r\n",
        "\r\nGET /?q HTTP/1.0\r\n\r\n",
        "GET /?q HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever came before, a head is parsed as if nothing had, also when it arrives in parts.
        #[test]
        fn a_kept_head_is_the_parsed_one(
            requests in prop::collection::vec((0..HEADS.len(), "[a-z ]{0,6}", 0usize..80), 1..12),
        ) {
            let mut cache = HeadCache::default();
            let limits = Limits::default();
            for (head, body, first) in requests {
                let bytes = [HEADS[head].as_bytes(), body.as_bytes()].concat();
                let (mut scan, mut fresh) = (HeadScan::default(), HeadScan::default());
                for end in [first.min(bytes.len()), bytes.len()] {
                    let kept = cache.parse(&bytes[..end], &mut scan, &limits);
                    let parsed = parse_request(&bytes[..end], &mut fresh, &limits);
                    prop_assert_eq!(&kept, &parsed);
                    prop_assert_eq!(scan, fresh);
                    if !matches!(parsed, Ok(None)) {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn equal_heads_are_shared() {
        let parsed = |head: &str| {
            let mut cache = HeadCache::default();
            cache.parse(head.as_bytes(), &mut HeadScan::default(), &Limits::default()).unwrap().unwrap();
            cache
        };
        let (mut first, second, other) = (parsed(HEADS[0]), parsed(HEADS[1]), parsed(HEADS[2]));
        first.share(second.kept().unwrap());
        assert!(Rc::ptr_eq(first.kept().unwrap(), second.kept().unwrap()), "they differ in their length");
        first.share(other.kept().unwrap());
        assert!(Rc::ptr_eq(first.kept().unwrap(), second.kept().unwrap()), "it has another field");
        let longer = parsed(&HEADS[0].replace(": 5", ": 55"));
        first.share(longer.kept().unwrap());
        assert!(!Rc::ptr_eq(first.kept().unwrap(), longer.kept().unwrap()), "it has another digit");
    }

    #[test]
    fn only_equal_bytes_are_repeated_save_the_length() {
        let (mut cache, limits) = (HeadCache::default(), Limits::default());
        let rows =
            [(0, false), (0, true), (1, true), (0, true), (2, false), (2, true), (3, false), (4, false), (11, false)];
        for (head, is_repeated) in rows {
            cache.parse(HEADS[head].as_bytes(), &mut HeadScan::default(), &limits).unwrap().unwrap();
            assert_eq!(cache.is_repeated(), is_repeated);
        }
        let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(MAX_KEPT));
        for _ in 0..2 {
            cache.parse(long.as_bytes(), &mut HeadScan::default(), &limits).unwrap().unwrap();
            assert!(!cache.is_repeated());
        }
    }
}

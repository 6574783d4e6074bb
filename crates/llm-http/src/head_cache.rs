//! The last head of a connection, since most clients send the same head with each request.
//!
//! A parsed head is a function of its bytes alone, so a head of the same bytes is the same head.
//! Only that is a hit: a head that differs in one byte is parsed.

use super::{HeadScan, Limits, Refusal, RequestHead, parse_request};

/// Longer heads are not kept, in bytes. Tens of thousands of connections may be idle.
const MAX_KEPT: usize = 1536;

/// Parses the heads of one connection, each with the same limits.
#[derive(Debug, Default)]
pub struct HeadCache {
    /// The bytes of `head`. Empty if there is none.
    bytes: Vec<u8>,
    head: Option<RequestHead>,
    is_repeated: bool,
}

impl HeadCache {
    /// Does what [`parse_request`] does.
    pub fn parse(&mut self, buf: &[u8], scan: &mut HeadScan, limits: &Limits) -> Result<Option<RequestHead>, Refusal> {
        if let Some(head) = self.head.as_ref().filter(|_| buf.starts_with(&self.bytes)) {
            *scan = HeadScan::default();
            self.is_repeated = true;
            return Ok(Some(head.clone()));
        }
        let parsed = parse_request(buf, scan, limits)?;
        if let Some(head) = &parsed {
            self.is_repeated = false;
            self.bytes.clear();
            self.head = None;
            if head.len <= MAX_KEPT {
                self.bytes.extend_from_slice(&buf[..head.len]);
                self.head = Some(head.clone());
            }
        }
        Ok(parsed)
    }

    /// Returns whether the last head has the bytes of the one before.
    pub fn is_repeated(&self) -> bool {
        self.is_repeated
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADS: &[&str] = &[
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\n",
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\nauthorization: k\r\n\r\n",
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
    fn only_equal_bytes_are_repeated() {
        let (mut cache, limits) = (HeadCache::default(), Limits::default());
        let rows = [(0, false), (0, true), (1, false), (0, false), (0, true), (2, false), (2, true)];
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

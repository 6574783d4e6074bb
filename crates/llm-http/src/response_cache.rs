//! The last response head of a connection, since a provider sends the same fields with each
//! response.
//!
//! The next head has other values in `date`, in ids and in counters, so bytes are compared between
//! the values alone. A head that has the same bytes there, and values of plain text, has the same
//! status, the same fields and the same framing. The fields that decide the framing must be equal,
//! save the digits of `content-length`. Any other head is parsed.

use super::field::{Field, Fields, Span};
use super::framing::Framing;
use super::head::{HeadScan, Limits, Method, Refusal};
use super::head_cache::{length_digits, number};
use super::response::{ResponseHead, next_final_response};

/// Longer heads are not kept, in bytes. Providers send some 2 KiB.
const MAX_KEPT: usize = 4096;

/// A head with its bytes.
#[derive(Debug)]
struct KeptResponse {
    bytes: Box<[u8]>,
    head: ResponseHead,
    /// The method of the request that it answers.
    request: Method,
    /// What may differ in the value of each field.
    values: Box<[Value]>,
}

/// How the value of a field may differ from that of the kept head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// Not at all: it decides the framing or whether the connection persists.
    Fixed,
    /// In its digits: it is the length of the body.
    Length,
    Any,
}

impl KeptResponse {
    /// Makes the kept form of a head. Returns `None` for a head that is longer than [`MAX_KEPT`],
    /// that does not stand at the start of its buffer, or that has an empty value, since an empty
    /// range does not say where in the head it stands.
    fn new(head: &ResponseHead, bytes: &[u8], request: Method) -> Option<KeptResponse> {
        let is_empty = |field: &Field| field.value.len() == 0;
        if bytes.len() > MAX_KEPT || !bytes.starts_with(b"HTTP/") || head.fields.as_slice().iter().any(is_empty) {
            return None;
        }
        let length = length_digits(&head.fields, head.framing, bytes).map(|digits| digits.start);
        let value = |field: &Field| match field.name.of(bytes) {
            _ if Some(field.value.range().start) == length => Value::Length,
            name if is_framing(name) => Value::Fixed,
            _ => Value::Any,
        };
        let values = head.fields.as_slice().iter().map(value).collect();
        Some(KeptResponse { bytes: bytes.into(), head: head.clone(), request, values })
    }

    /// Returns the head at the start of `buf` if it is this one with other values.
    fn repeated(&self, buf: &[u8], request: Method) -> Option<ResponseHead> {
        if request != self.request {
            return None;
        }
        if buf.starts_with(&self.bytes) {
            return Some(self.head.clone());
        }
        let mut head = self.head.clone();
        let mut moved: Vec<Field> = Vec::new();
        // Up to where both heads were compared.
        let (mut at, mut kept_at) = (0, 0);
        let fields = self.head.fields.as_slice();
        for (index, (field, value)) in fields.iter().zip(&self.values).enumerate() {
            let kept = field.value.range();
            at = matching(buf, at, &self.bytes[kept_at..kept.start])?;
            let (start, old) = (at, &self.bytes[kept.clone()]);
            let end = match value {
                Value::Fixed => matching(buf, start, old)?,
                Value::Length | Value::Any => start + memchr::memchr(b'\r', &buf[start..])?,
            };
            let new = &buf[start..end];
            match value {
                Value::Fixed => {}
                Value::Length => head.framing = Framing::Length(number(new)?),
                Value::Any if is_plain(new) => {}
                Value::Any => return None,
            }
            if moved.is_empty() && (start, end) != (kept.start, kept.end) {
                moved.extend_from_slice(&fields[..index]);
            }
            if !moved.is_empty() || (start, end) != (kept.start, kept.end) {
                let name = field.name.range();
                let name = Span::new(start - (kept.start - name.start), start - (kept.start - name.end));
                moved.push(Field { name, value: Span::new(start, end) });
            }
            (at, kept_at) = (end, kept.end);
        }
        head.len = matching(buf, at, &self.bytes[kept_at..])?;
        if !moved.is_empty() {
            head.fields = Fields::new(moved);
        }
        Some(head)
    }
}

/// Returns whether a field of this name decides how a message ends, or the connection.
fn is_framing(name: &[u8]) -> bool {
    let known: &[u8] = match name.len() {
        10 => b"connection",
        14 => b"content-length",
        17 => b"transfer-encoding",
        _ => return false,
    };
    name.eq_ignore_ascii_case(known)
}

/// Returns the offset behind `expected` if `buf` has it at `at`.
fn matching(buf: &[u8], at: usize, expected: &[u8]) -> Option<usize> {
    buf.get(at..).is_some_and(|rest| rest.starts_with(expected)).then_some(at + expected.len())
}

/// Returns whether `value` is a whole field value: not empty, without a control character (a tab
/// neither), and without a space at its ends, which would not belong to it.
fn is_plain(value: &[u8]) -> bool {
    let is_control = |found: bool, byte: &u8| found | (*byte < b' ') | (*byte == 0x7f);
    let [first, .., last] = value else { return matches!(value, [b'!'..=b'~']) };
    *first != b' ' && *last != b' ' && !value.iter().fold(false, is_control)
}

/// Parses the heads of the responses of one connection, each with the same limits.
#[derive(Debug, Default)]
pub struct ResponseHeadCache {
    kept: Option<KeptResponse>,
}

impl ResponseHeadCache {
    /// Does what [`next_final_response`] does.
    pub fn parse(
        &mut self,
        buf: &[u8],
        scan: &mut HeadScan,
        limits: &Limits,
        request: Method,
    ) -> Result<Option<ResponseHead>, Refusal> {
        let window = &buf[..buf.len().min(limits.head_bytes as usize)];
        if let Some(head) = self.kept.as_ref().and_then(|kept| kept.repeated(window, request)) {
            *scan = HeadScan::default();
            return Ok(Some(head));
        }
        let parsed = next_final_response(buf, scan, limits, request)?;
        if let Some(head) = &parsed {
            self.kept = KeptResponse::new(head, &buf[..head.len], request);
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINES: &[&str] = &[
        "HTTP/1.1 200 OK",
        "HTTP/1.1 429 Too Many Requests",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1 200",
    ];

    const NAMES: &[&str] = &[
        "content-length",
        "Content-Length",
        "transfer-encoding",
        "connection",
        "date",
        "x-request-id",
        "x-request-id",
        "x-content-length",
        "content-length",
        "date ",
    ];

    const VALUES: &[&str] = &[
        " 5",
        " 6",
        " 55",
        " 05",
        " 0",
        " chunked",
        " close",
        " keep-alive",
        " Mon, 30 Nov 2026 10:00:00 GMT",
        " Mon, 30 Nov 2026 10:00:01 GMT",
        " a",
        "a",
        " a ",
        " a\tb",
        "",
        " \u{e9}",
        " a\u{1}",
        " a\nb: c",
        " a\r\nb: c",
        " a\r\n\r\n",
        " 5\r\ncontent-length: 6",
    ];

    /// Heads that differ from one another in few places: a status line, and the values of fields.
    fn heads() -> impl Strategy<Value = Vec<String>> {
        let fields = prop::collection::vec(0..NAMES.len(), 0..5);
        let value = prop_oneof![4 => 0..12usize, 1 => 0..VALUES.len()];
        let values = prop::collection::vec(
            (prop_oneof![9 => Just(0usize), 1 => 0..LINES.len()], prop::collection::vec(value, 5)),
            1..8,
        );
        (fields, values).prop_map(|(fields, heads)| {
            let head = |(line, values): (usize, Vec<usize>)| {
                let mut head = format!("{}\r\n", LINES[line]);
                for (name, value) in fields.iter().zip(values) {
                    head += &format!("{}:{}\r\n", NAMES[*name], VALUES[value]);
                }
                head + "\r\nbody\r\n"
            };
            heads.into_iter().map(head).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever came before, a head is parsed as if nothing had, also when it arrives in parts.
        #[test]
        fn a_kept_head_is_the_parsed_one(heads in heads(), first in 0usize..120, limit in 40u32..200) {
            let mut cache = ResponseHeadCache::default();
            let limits = Limits { head_bytes: limit };
            for head in heads {
                let bytes = head.as_bytes();
                let (mut scan, mut fresh) = (HeadScan::default(), HeadScan::default());
                for end in [first.min(bytes.len()), bytes.len()] {
                    let kept = cache.parse(&bytes[..end], &mut scan, &limits, Method::Post);
                    let parsed = next_final_response(&bytes[..end], &mut fresh, &limits, Method::Post);
                    prop_assert_eq!(&kept, &parsed, "{:?}", head);
                    prop_assert_eq!(scan, fresh);
                    if !matches!(parsed, Ok(None)) {
                        break;
                    }
                }
            }
        }
    }

    #[test]
    fn heads_with_other_values_are_repeated() {
        const DAY: &str =
            "HTTP/1.1 200 OK\r\ndate: Mon, 30 Nov 2026 10:00:00 GMT\r\nContent-Length: 5\r\nx-ms: 17\r\n\r\n";
        let known = |next: &str| {
            let (mut cache, mut scan) = (ResponseHeadCache::default(), HeadScan::default());
            cache.parse(DAY.as_bytes(), &mut scan, &Limits::default(), Method::Post).unwrap().unwrap();
            let kept = cache.kept.as_ref().unwrap();
            let head = kept.repeated(next.as_bytes(), Method::Post);
            let parsed = next_final_response(next.as_bytes(), &mut scan, &Limits::default(), Method::Post);
            assert!(head.is_none() || Ok(&head) == parsed.as_ref(), "{next:?}");
            head.is_some()
        };
        for (from, to) in
            [("", ""), ("00 GMT", "01 GMT"), (": 5", ": 1234"), ("17", "1734"), ("17", "1"), ("17", "a b")]
        {
            assert!(known(&DAY.replacen(from, to, 1)), "{to}");
        }
        let other = [
            ("200", "201"),
            ("x-ms", "x-us"),
            (": 5", ": 0"),
            (": 5", ": 05"),
            (": 5", ": 5, 5"),
            ("17", ""),
            ("17", " 17"),
            ("17", "17 "),
            ("17", "1\t7"),
            ("17", "1\u{1}7"),
            ("17", "17\r\nx: y"),
            ("Length: 5", "Length: 5\r\nContent-Length: 5"),
        ];
        for (from, to) in other {
            assert!(!known(&DAY.replacen(from, to, 1)), "{to}");
        }
        for end in 0..DAY.len() {
            assert!(!known(&DAY[..end]), "{end}");
        }
    }

    #[test]
    fn what_decides_the_framing_is_equal() {
        let rows = [
            ("transfer-encoding: chunked", "transfer-encoding: chunkee", false),
            ("connection: keep-alive", "connection: keep-alivf", false),
            ("connection: keep-alive", "connection: close", false),
            ("x-connection: a", "x-connection: b", true),
        ];
        for (first, second, is_known) in rows {
            let head = |line: &str| format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n");
            let (mut cache, mut scan) = (ResponseHeadCache::default(), HeadScan::default());
            cache.parse(head(first).as_bytes(), &mut scan, &Limits::default(), Method::Post).unwrap().unwrap();
            let kept = cache.kept.as_ref().unwrap();
            assert_eq!(kept.repeated(head(second).as_bytes(), Method::Post).is_some(), is_known, "{second}");
            assert!(kept.repeated(head(first).as_bytes(), Method::Head).is_none());
        }
    }

    #[test]
    fn long_heads_and_those_behind_an_interim_one_are_parsed() {
        let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(MAX_KEPT));
        let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx: y\r\n\r\n".to_owned();
        for head in [long, interim] {
            let mut cache = ResponseHeadCache::default();
            for _ in 0..2 {
                let mut scan = HeadScan::default();
                let parsed = cache.parse(head.as_bytes(), &mut scan, &Limits::default(), Method::Post);
                assert_eq!(parsed.unwrap().unwrap().status, 200);
            }
        }
    }
}

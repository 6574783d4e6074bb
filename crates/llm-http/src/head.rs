//! What requests and responses share: limits, refusals, and the search for the end of a head.

use memchr::memchr_iter;

/// More fields than this in the head of a request are refused (431). hyper's and nginx's bound of
/// the same purpose is 100 too.
pub const MAX_FIELDS: usize = 100;

/// The same for responses: a provider behind several proxies, each with its own fields, is not
/// hostile.
pub const MAX_RESPONSE_FIELDS: usize = 512;

/// Bounds on what a peer may send before it is cut off.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a head from its first byte to the empty line, leading empty lines and interim
    /// responses included.
    pub head_bytes: u32,
}

impl Default for Limits {
    /// 64 KiB: twice what the largest common servers take, so no honest client meets it.
    fn default() -> Limits {
        Limits { head_bytes: 64 * 1024 }
    }
}

/// Why a message was not accepted. The connection must be closed: where the next message begins is
/// unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status for the client. A faulty response of an upstream is always 502.
    pub status: u16,
    /// For people; lower case, without a full stop.
    pub reason: &'static str,
}

impl Refusal {
    pub(super) const fn new(status: u16, reason: &'static str) -> Refusal {
        Refusal { status, reason }
    }

    pub(super) const fn bad_request(reason: &'static str) -> Refusal {
        Refusal::new(400, reason)
    }

    pub(super) const fn bad_response(reason: &'static str) -> Refusal {
        Refusal::new(502, reason)
    }

    /// The same fault, found in a response: the upstream's, whatever the status was for a client.
    pub(super) fn of_response(self) -> Refusal {
        Refusal { status: 502, ..self }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.reason)
    }
}

impl std::error::Error for Refusal {}

/// The minor version of HTTP/1. Every other version is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    pub(super) fn of(minor: Option<u8>) -> Version {
        if minor == Some(0) { Version::Http10 } else { Version::Http11 }
    }
}

/// The methods this gateway distinguishes. Methods are case-sensitive (RFC 9110 9.1): `get` is
/// [`Method::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// Any other token; its text is [`RequestHead::method_text`](super::RequestHead::method_text).
    Other,
}

impl Method {
    pub(super) fn of(text: &[u8]) -> Method {
        match text {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"POST" => Method::Post,
            b"PUT" => Method::Put,
            b"PATCH" => Method::Patch,
            b"DELETE" => Method::Delete,
            b"OPTIONS" => Method::Options,
            _ => Method::Other,
        }
    }
}

/// How far the search for the end of a head has come; kept by the caller between reads, one for
/// each direction of a connection.
///
/// It makes a head that drips in byte by byte cost linear time. It is valid for one buffer start:
/// between two calls the buffer may grow or move as a whole, but must not lose bytes at its front.
/// A completed or refused head resets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadScan {
    /// Where the head begins: behind leading empty lines (requests) or interim responses.
    pub(super) start: usize,
    /// No end of the head lies before this.
    seen: usize,
}

impl HeadScan {
    /// A head that begins at `start`.
    pub(super) fn from(start: usize) -> HeadScan {
        HeadScan { start, seen: start }
    }

    /// Skips the empty lines that some clients send after a body (RFC 9112 2.2).
    pub(super) fn skip_empty_lines(&mut self, buf: &[u8]) {
        while buf.get(self.start..self.start + 2) == Some(b"\r\n") {
            *self = HeadScan::from(self.start + 2);
        }
    }

    /// The offset behind the empty line that ends the head, `None` if it has not arrived.
    ///
    /// A bare LF is refused although RFC 9112 2.2 lets a recipient take it for a line end: a proxy
    /// before or behind us may not, and then one head of ours is two of theirs.
    pub(super) fn end(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let limit = limits.head_bytes as usize;
        let window = &buf[..buf.len().min(limit)];
        let from = self.seen.max(self.start).min(window.len());
        for found in memchr_iter(b'\n', &window[from..]) {
            let lf = from + found;
            if lf == self.start || window[lf - 1] != b'\r' {
                return Err(Refusal::bad_request("a line of the head ends in a bare LF; lines must end in CRLF"));
            }
            // Every LF so far follows a CR, so LF CR LF is an empty line.
            if lf >= self.start + 3 && window[lf - 2] == b'\n' {
                return Ok(Some(lf + 1));
            }
        }
        self.seen = window.len();
        if buf.len() >= limit {
            return Err(Refusal::new(
                431,
                "the head is larger than this server accepts; send fewer or shorter header fields",
            ));
        }
        Ok(None)
    }
}

/// Returns whether a byte is one of a token (RFC 9110 5.6.2): methods and field names.
pub(super) fn is_token(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Returns whether a byte is one of a field value (RFC 9110 5.5): tab, space, visible ASCII, and
/// opaque bytes above it.
pub(super) fn is_value(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(buf: &str, limit: u32) -> Result<Option<usize>, u16> {
        let limits = Limits { head_bytes: limit };
        let whole = HeadScan::default().end(buf.as_bytes(), &limits).map_err(|refusal| refusal.status);
        let mut kept = HeadScan::default();
        let dripped = (1..=buf.len())
            .map(|len| kept.end(&buf.as_bytes()[..len], &limits))
            .find(|result| !matches!(result, Ok(None)))
            .unwrap_or(Ok(None))
            .map_err(|refusal| refusal.status);
        assert_eq!(whole, dripped, "{buf:?}");
        whole
    }

    #[test]
    fn finds_the_end_of_a_head() {
        let rows: &[(&str, Result<Option<usize>, u16>)] = &[
            ("GET / HTTP/1.1\r\n\r\n", Ok(Some(18))),
            ("GET / HTTP/1.1\r\na: b\r\n\r\nrest", Ok(Some(24))),
            ("GET / HTTP/1.1\r\na: b\r\n", Ok(None)),
            ("GET / HTTP/1.1\r\n\r", Ok(None)),
            ("\nGET", Err(400)),
            ("GET / HTTP/1.1\n\n", Err(400)),
            ("GET / HTTP/1.1\r\n\n", Err(400)),
            ("GET /aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", Err(431)),
        ];
        for (buf, expected) in rows {
            assert_eq!(scan(buf, 64), *expected, "{buf:?}");
        }
    }

    #[test]
    fn a_head_may_be_as_long_as_the_limit_and_no_longer() {
        let head = "GET / HTTP/1.1\r\n\r\n";
        assert_eq!(scan(head, head.len() as u32), Ok(Some(head.len())));
        assert_eq!(scan(head, head.len() as u32 - 1), Err(431));
    }

    #[test]
    fn byte_classes_are_those_of_httparse() {
        for byte in 0..=u8::MAX {
            let accepts = |head: &[u8]| {
                let mut slots = [httparse::EMPTY_HEADER; 1];
                httparse::parse_headers(head, &mut slots).is_ok()
            };
            assert_eq!(
                is_token(byte),
                accepts(&[b'a', byte, b'a', b':', b'\r', b'\n', b'\r', b'\n']) && byte != b':',
                "{byte}"
            );
            let line_end = matches!(byte, b'\r' | b'\n');
            assert_eq!(
                is_value(byte),
                !line_end && accepts(&[b'a', b':', b'a', byte, b'a', b'\r', b'\n', b'\r', b'\n']),
                "{byte}"
            );
        }
    }
}

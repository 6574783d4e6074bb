//! Heads of responses.

use std::mem::MaybeUninit;

use super::connection::Connection;
use super::field::{Fields, Span};
use super::framing::{Declared, Framing};
use super::head::{HeadScan, Limits, MAX_RESPONSE_FIELDS, Method, Refusal, Version};

/// The head of one response. Offsets refer to the buffer given to the parser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100 to 599.
    pub status: u16,
    /// The version that the upstream speaks.
    pub version: Version,
    /// All header fields, in their order.
    pub fields: Fields,
    /// Bytes of the buffer up to the body, skipped interim responses included.
    pub len: usize,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the connection may carry another request once the body has ended.
    pub keep_alive: bool,
    reason: Span,
    /// The places of the first `content-type` and the first `content-encoding` among the fields.
    content: [Option<u16>; 2],
}

impl ResponseHead {
    /// Returns the reason phrase; empty if absent or not ASCII.
    pub fn reason<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        self.reason.of(buf)
    }

    /// Returns the value of the first field `content-type`, without a search.
    pub fn content_type<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.value_at(self.content[0]?, buf)
    }

    /// Returns the value of the first field `content-encoding`, without a search.
    pub fn content_encoding<'b>(&self, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.value_at(self.content[1]?, buf)
    }

    /// Removes every field `content-encoding`: the coding of the body was undone.
    pub fn remove_coding(&mut self, buf: &[u8]) {
        self.fields.remove(buf, "content-encoding");
        let is_type = |(name, _): (&[u8], &[u8])| name.eq_ignore_ascii_case(b"content-type");
        let place = self.fields.iter(buf).position(is_type);
        self.content = [place.and_then(|place| u16::try_from(place).ok()), None];
    }

    fn value_at<'b>(&self, at: u16, buf: &'b [u8]) -> Option<&'b [u8]> {
        self.fields.as_slice().get(usize::from(at)).map(|field| field.value.of(buf))
    }

    /// Returns the value of the first field of this name, without regard to case.
    pub fn get<'b>(&'b self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        self.fields.get(buf, name)
    }

    /// Names and values of all fields, in the order sent.
    pub fn fields<'b>(&'b self, buf: &'b [u8]) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + Clone {
        self.fields.iter(buf)
    }

    /// 100, 102, 103 ...: another head follows. 101 is not one of them: after it the connection
    /// speaks another protocol.
    pub fn is_interim(&self) -> bool {
        matches!(self.status, 100..=199) && self.status != 101
    }
}

/// The final response at the start of `buf`, past every interim one; `None` if more bytes are
/// needed.
///
/// An interim response that is taken for the final one leaves the true response in the buffer, to
/// be given to whoever sends the next request on that connection; hence this, and not
/// [`parse_response`], is what a client calls.
pub fn next_final_response(
    buf: &[u8],
    scan: &mut HeadScan,
    limits: &Limits,
    request: Method,
) -> Result<Option<ResponseHead>, Refusal> {
    while let Some(head) = parse_response(buf, scan, limits, request)? {
        if !head.is_interim() {
            return Ok(Some(head));
        }
        *scan = HeadScan::from(head.len);
    }
    Ok(None)
}

/// Returns the next response head in `buf`, interim ones included. `request` is the method of the
/// request that it answers.
pub fn parse_response(
    buf: &[u8],
    scan: &mut HeadScan,
    limits: &Limits,
    request: Method,
) -> Result<Option<ResponseHead>, Refusal> {
    check_first_bytes(buf.get(scan.start..).unwrap_or_default())?;
    let Some(end) = scan.end(buf, limits).map_err(Refusal::of_response)? else { return Ok(None) };
    let start = std::mem::take(scan).start;
    parse_whole(buf, start, end, request).map(Some)
}

/// Tells a peer of another protocol before its silence would be waited for. No leading empty line
/// here: RFC 9112 2.2 grants it to requests alone, and in a response it means that an earlier body
/// was longer than declared.
fn check_first_bytes(head: &[u8]) -> Result<(), Refusal> {
    let expected = b"HTTP/1.";
    let len = head.len().min(expected.len());
    if head[..len] == expected[..len] {
        Ok(())
    } else {
        Err(Refusal::bad_response("the response does not begin with HTTP/1"))
    }
}

fn parse_whole(buf: &[u8], start: usize, end: usize, request: Method) -> Result<ResponseHead, Refusal> {
    let head = &buf[start..end];
    let mut slots = [const { MaybeUninit::uninit() }; MAX_RESPONSE_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let complete = config.parse_response_with_uninit_headers(&mut parsed, head, &mut slots).map_err(refusal)?;
    if complete != httparse::Status::Complete(head.len()) {
        return Err(Refusal::bad_response("the head ends before its last field"));
    }
    let status = parsed.code.unwrap_or_default();
    if !matches!(status, 100..=599) {
        return Err(Refusal::bad_response("the status is not between 100 and 599"));
    }
    let version = Version::of(parsed.version);
    let (mut declared, mut connection) = (Declared::default(), Connection::default());
    let mut content = [None; 2];
    for (at, header) in (0..).zip(parsed.headers.iter()) {
        let is = |known: &str| header.name.eq_ignore_ascii_case(known);
        match header.name.len() {
            12 if is("content-type") => _ = content[0].get_or_insert(at),
            16 if is("content-encoding") => _ = content[1].get_or_insert(at),
            10 if is("connection") => connection.note(header.value),
            14 if is("content-length") => declared.length(header.value),
            17 if is("transfer-encoding") => declared.coding(header.value),
            _ => {}
        }
    }
    let framing = declared.response(version, status, request)?;
    Ok(ResponseHead {
        status,
        version,
        fields: Fields::locate(parsed.headers, buf),
        len: end,
        framing,
        keep_alive: connection.persists(version) && framing != Framing::Close && status != 101,
        reason: Span::locate(parsed.reason.unwrap_or_default().as_bytes(), buf),
        content,
    })
}

fn refusal(error: httparse::Error) -> Refusal {
    Refusal::bad_response(match error {
        httparse::Error::TooManyHeaders => "the head has more than 512 fields",
        httparse::Error::Version => "the response is neither HTTP/1.1 nor HTTP/1.0",
        httparse::Error::Status | httparse::Error::Token => "the status line is malformed",
        httparse::Error::HeaderName => "a field name is malformed",
        httparse::Error::HeaderValue => "a field value holds a control character",
        httparse::Error::NewLine => "a line of the head does not end in CRLF",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Option<ResponseHead>, Refusal> {
        next_final_response(head.as_bytes(), &mut HeadScan::default(), &Limits::default(), Method::Post)
    }

    #[test]
    fn reads_a_common_response() {
        let text = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let head = parse(text).unwrap().unwrap();
        assert_eq!((head.status, head.reason(text.as_bytes())), (200, &b"OK"[..]));
        assert_eq!((head.framing, head.keep_alive), (Framing::Chunked, true));
        assert_eq!(head.get(text.as_bytes(), "content-type"), Some(&b"text/event-stream"[..]));
        assert_eq!(head.content_type(text.as_bytes()), Some(&b"text/event-stream"[..]));
        assert_eq!(head.content_encoding(text.as_bytes()), None);
        let twice = "HTTP/1.1 200 OK\r\nContent-Encoding: a\r\nContent-Type: x\r\ncontent-encoding: b\r\ncontent-type: y\r\n\r\n";
        let (second, bytes) = (parse(twice).unwrap().unwrap(), twice.as_bytes());
        let found = (second.content_type(bytes), second.content_encoding(bytes));
        assert_eq!(found, (Some(&b"x"[..]), Some(&b"a"[..])));
        assert_eq!(&text[head.len..], "0\r\n\r\n");
        let mut plain = second.clone();
        plain.remove_coding(bytes);
        assert_eq!((plain.content_type(bytes), plain.content_encoding(bytes)), (Some(&b"x"[..]), None));
        assert_eq!(plain.fields(bytes).count(), 2);
    }

    #[test]
    fn interim_responses_are_skipped_however_they_arrive() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: a\r\ncontent-length: 7\r\n\r\nHTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 2\r\n\r\nhi";
        let whole = parse(text).unwrap().unwrap();
        assert_eq!((whole.status, &text[whole.len..]), (200, "hi"));
        assert_eq!(whole.get(text.as_bytes(), "x"), Some(&b"y"[..]));
        let mut scan = HeadScan::default();
        for len in 0..whole.len {
            let part = &text.as_bytes()[..len];
            assert_eq!(next_final_response(part, &mut scan, &Limits::default(), Method::Get), Ok(None), "{len}");
        }
        let dripped = next_final_response(text.as_bytes(), &mut scan, &Limits::default(), Method::Get);
        assert_eq!(dripped, Ok(Some(whole)));
    }

    #[test]
    fn a_flood_of_interim_responses_ends_at_the_limit() {
        let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(10_000);
        assert_eq!(parse(&flood).map_err(|refusal| refusal.status), Err(502));
    }

    #[test]
    fn statuses_and_persistence() {
        type Row = (&'static str, Result<(u16, Framing, bool), u16>);
        let rows: &[Row] = &[
            ("HTTP/1.1 200 OK\r\n\r\n", Ok((200, Framing::Close, false))),
            ("HTTP/1.1 200\r\ncontent-length: 1\r\n\r\n", Ok((200, Framing::Length(1), true))),
            ("HTTP/1.1 204 No Content\r\ncontent-length: 1\r\n\r\n", Ok((204, Framing::None, true))),
            ("HTTP/1.1 200 \r\ncontent-length: 1\r\nconnection: close\r\n\r\n", Ok((200, Framing::Length(1), false))),
            ("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n", Ok((200, Framing::Length(1), false))),
            (
                "HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\n\r\n",
                Ok((200, Framing::Length(1), true)),
            ),
            ("HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n", Ok((101, Framing::None, false))),
            ("HTTP/1.1 529 \u{e9}\r\ncontent-length: 0\r\n\r\n", Ok((529, Framing::Length(0), true))),
            ("HTTP/1.1 099 OK\r\n\r\n", Err(502)),
            ("HTTP/1.1 600 OK\r\n\r\n", Err(502)),
            ("HTTP/1.1 20 OK\r\n\r\n", Err(502)),
            ("HTTP/1.1 200OK\r\n\r\n", Err(502)),
            ("HTTP/1.9 200 OK\r\n\r\n", Err(502)),
            ("HTTP/2", Err(502)),
            ("SSH-2.0-x", Err(502)),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", Err(502)),
            ("HTTP/1.1 200 OK\r\na : b\r\n\r\n", Err(502)),
            ("HTTP/1.1 200 OK\na: b\n\n", Err(502)),
        ];
        for (head, expected) in rows {
            let found = parse(head).map(|head| head.map(|head| (head.status, head.framing, head.keep_alive)));
            assert_eq!(found.map_err(|refusal| refusal.status), expected.map(Some), "{head:?}");
        }
    }
}

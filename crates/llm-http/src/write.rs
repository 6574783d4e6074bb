//! Heads and chunks, appended to the caller's write buffer.
//!
//! A head is a first line, fields, and [`end_head`]. Names and values written here in the source
//! are `&'static str` and taken as they are; what comes from configuration or a peer goes through
//! [`header`], which refuses bytes that would end the line early.

use std::fmt;

/// A value that may not stand in a head, since it would be read as more than one field. Nothing was
/// written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadValue;

impl fmt::Display for BadValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value for the head of a message holds a control character")
    }
}

impl std::error::Error for BadValue {}

/// What a client that sent `Expect: 100-continue` waits for.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes `POST /path HTTP/1.1`. The target is in origin form.
pub fn request_line(out: &mut Vec<u8>, method: &str, target: &[u8]) -> Result<(), BadValue> {
    let plain = |text: &[u8]| !text.is_empty() && text.iter().all(|&byte| byte > b' ' && byte != 0x7f);
    if !plain(method.as_bytes()) || !plain(target) {
        return Err(BadValue);
    }
    for part in [method.as_bytes(), b" ", target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    Ok(())
}

/// Writes `HTTP/1.1 200 OK`.
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    if status == 200 {
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
        return;
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A field whose value is not known when this is compiled.
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), BadValue> {
    let token = !name.is_empty() && name.bytes().all(super::head::is_token);
    if !token || !is_valid(value) {
        return Err(BadValue);
    }
    line(out, name, value);
    Ok(())
}

/// A field whose name is a constant.
pub fn named_header(out: &mut Vec<u8>, name: &'static str, value: &[u8]) -> Result<(), BadValue> {
    debug_assert!(name.bytes().all(super::head::is_token));
    if !is_valid(value) {
        return Err(BadValue);
    }
    line(out, name, value);
    Ok(())
}

/// A field whose name is a constant and whose value is known to be valid.
pub fn known_header(out: &mut Vec<u8>, name: &'static str, value: &[u8]) {
    debug_assert!(name.bytes().all(super::head::is_token) && is_valid(value));
    line(out, name, value);
}

/// Whether a value can't be read as more than one field. Looks at all of it, which compilers turn
/// into vector instructions.
fn is_valid(value: &[u8]) -> bool {
    value.iter().fold(true, |valid, &byte| valid & super::head::is_value(byte))
}

/// A field whose name and value are constants.
pub fn static_header(out: &mut Vec<u8>, name: &'static str, value: &'static str) {
    debug_assert!(name.bytes().all(super::head::is_token) && value.bytes().all(super::head::is_value));
    line(out, name, value.as_bytes());
}

/// Writes the field `content-length`.
pub fn content_length(out: &mut Vec<u8>, length: u64) {
    /// The two digits of each number below 100.
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[0; 2]; 100];
        let mut n = 0;
        while n < pairs.len() {
            pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
            n += 1;
        }
        pairs
    };
    let number @ 0..10_000 = length else {
        return line(out, "content-length", itoa::Buffer::new().format(length).as_bytes());
    };
    // Nearly all. A number of bytes that is known here is copied without a call: leading zeros are
    // shifted out, and what is too much is taken back. It takes 47 instructions less than the way
    // above (callgrind, both alone, lengths of 300 to 2,299); each message has such a line.
    let ([a, b], [c, d]) = (PAIRS[number as usize / 100], PAIRS[number as usize % 100]);
    let zeros = usize::from(number < 1000) + usize::from(number < 100) + usize::from(number < 10);
    let text = u64::from_le_bytes([a, b, c, d, b'\r', b'\n', 0, 0]) >> (8 * zeros);
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(&text.to_le_bytes());
    out.truncate(out.len() - 2 - zeros);
}

/// Writes the field `transfer-encoding: chunked`.
pub fn transfer_chunked(out: &mut Vec<u8>) {
    static_header(out, "transfer-encoding", "chunked");
}

/// Writes the empty line behind the fields.
pub fn end_head(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

#[inline]
fn line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Writes one chunk. Empty data writes nothing: a chunk of size 0 would end the body.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    let open = chunk_begin(out);
    out.extend_from_slice(data);
    chunk_finish(out, open);
}

/// A chunk whose size is not known yet.
#[derive(Debug)]
#[must_use = "a chunk that is not finished has no size"]
pub struct OpenChunk {
    start: usize,
}

/// Room for the size: eight digits, leading zeros are allowed (RFC 9112 7.1).
const SIZE_LINE: &[u8; 10] = b"00000000\r\n";

/// Begins a chunk: whatever is appended to `out` until [`chunk_finish`] is its data, written once
/// and never moved.
pub fn chunk_begin(out: &mut Vec<u8>) -> OpenChunk {
    let start = out.len();
    out.extend_from_slice(SIZE_LINE);
    OpenChunk { start }
}

/// Ends a chunk. If nothing was appended, it is taken back: a chunk of size 0 would end the body.
pub fn chunk_finish(out: &mut Vec<u8>, chunk: OpenChunk) {
    let data = chunk.start + SIZE_LINE.len();
    let size = out.len().saturating_sub(data);
    if size == 0 {
        out.truncate(chunk.start);
        return;
    }
    debug_assert!(u32::try_from(size).is_ok(), "write buffers are bounded far below this");
    let digits = &mut out[chunk.start..chunk.start + 8];
    let mut left = size;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the end of a chunked body.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

/// The reason phrase of a status; empty for one that is not registered, which RFC 9112 4 allows.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        499 => "Client Closed Request",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        529 => "Site Is Overloaded",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let mut out = Vec::new();
        request_line(&mut out, "POST", b"/v1/x?y").unwrap();
        header(&mut out, "host", b"example").unwrap();
        static_header(&mut out, "accept", "*/*");
        content_length(&mut out, 7);
        end_head(&mut out);
        assert_eq!(out, b"POST /v1/x?y HTTP/1.1\r\nhost: example\r\naccept: */*\r\ncontent-length: 7\r\n\r\n");
    }

    #[test]
    fn lengths() {
        for length in (0..=10_001).chain([65_536, u64::MAX]) {
            let mut out = Vec::new();
            content_length(&mut out, length);
            assert_eq!(out, format!("content-length: {length}\r\n").into_bytes());
        }
    }

    #[test]
    fn status_lines() {
        for (status, expected) in [(200, "200 OK"), (429, "429 Too Many Requests"), (599, "599 ")] {
            let mut out = Vec::new();
            status_line(&mut out, status);
            assert_eq!(out, format!("HTTP/1.1 {expected}\r\n").into_bytes());
        }
    }

    #[test]
    fn values_that_would_split_a_head_are_refused() {
        let mut out = Vec::new();
        for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\x7f"] {
            assert_eq!(header(&mut out, "x", value.as_bytes()), Err(BadValue), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\r\n"] {
            assert_eq!(header(&mut out, name, b"v"), Err(BadValue), "{name:?}");
        }
        for target in ["", "/a b", "/a\r\nx: y", "/\0"] {
            assert_eq!(request_line(&mut out, "GET", target.as_bytes()), Err(BadValue), "{target:?}");
        }
        assert!(out.is_empty());
        header(&mut out, "x", "caf\u{e9}\t".as_bytes()).unwrap();
    }

    #[test]
    fn several_pieces_become_one_chunk() {
        let mut out = b"before".to_vec();
        let open = chunk_begin(&mut out);
        for piece in [&b"data: "[..], b"{}", b"\n\n"] {
            out.extend_from_slice(piece);
        }
        chunk_finish(&mut out, open);
        last_chunk(&mut out);
        assert_eq!(out, b"before0000000a\r\ndata: {}\n\n\r\n0\r\n\r\n");
    }

    #[test]
    fn an_empty_chunk_is_not_the_last_one() {
        let mut out = b"before".to_vec();
        chunk(&mut out, b"");
        assert_eq!(out, b"before");
    }
}

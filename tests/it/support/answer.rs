//! Answers of a provider, as bytes.

/// An answer with a body of known length.
pub fn typed(status: u16, content_type: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    with(status, &[("content-type", content_type)], body)
}

pub fn json(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    typed(status, "application/json", body)
}

pub fn with(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("content-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The head of a chunked stream of events.
pub const SSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// The head of a chunked JSON answer.
pub const JSON: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

pub const LAST_CHUNK: &str = "0\r\n\r\n";

pub fn chunk(data: impl AsRef<[u8]>) -> Vec<u8> {
    let data = data.as_ref();
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// A whole stream in one go, one chunk an event.
pub fn sse<E: AsRef<[u8]>>(events: &[E]) -> Vec<u8> {
    let chunks: Vec<_> = events.iter().map(chunk).collect();
    [SSE.as_bytes(), &chunks.concat(), LAST_CHUNK.as_bytes()].concat()
}

//! One end of a connection, plain or TLS, with what was read and not used yet. Speaks bytes, heads
//! and bodies of HTTP/1.1.
//!
//! Written for tests: whatever does not come within [`HANG`], or is not HTTP, panics.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use super::HANG;

pub trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

pub struct Link {
    stream: Box<dyn Stream>,
    /// The same socket, for what only a socket can do.
    socket: TcpStream,
    buf: Vec<u8>,
}

/// How something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As its framing says; for a body to the end of the connection, by a close.
    Whole,
    /// The connection ended first.
    Truncated,
}

impl Link {
    pub fn plain(socket: TcpStream) -> Link {
        let stream = Box::new(socket.try_clone().unwrap());
        Link::over(socket, stream)
    }

    pub fn over(socket: TcpStream, stream: Box<dyn Stream>) -> Link {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        socket.set_write_timeout(Some(HANG)).unwrap();
        Link { stream, socket, buf: Vec::new() }
    }

    /// The socket's own buffers; small ones make a slow reader felt soon.
    pub fn socket(&self) -> socket2::SockRef<'_> {
        socket2::SockRef::from(&self.socket)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// For a peer that may have closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads once. `Truncated` when nothing more will come.
    fn fill(&mut self) -> End {
        let mut piece = [0; 64 << 10];
        match self.stream.read(&mut piece) {
            Ok(0) => End::Truncated,
            Ok(n) => {
                self.buf.extend_from_slice(&piece[..n]);
                End::Whole
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    panic!("nothing came within {HANG:?}; read and not used: {:?}", String::from_utf8_lossy(&self.buf))
                }
                // A TLS stream that ends without its close_notify is a cut as well.
                _ => End::Truncated,
            },
        }
    }

    /// Takes everything up to and with `needle`.
    pub fn until(&mut self, needle: &[u8]) -> Result<Vec<u8>, Vec<u8>> {
        let mut from = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.buf[from..], needle) {
                let rest = self.buf.split_off(from + at + needle.len());
                return Ok(std::mem::replace(&mut self.buf, rest));
            }
            from = self.buf.len().saturating_sub(needle.len());
            if self.fill() == End::Truncated {
                return Err(std::mem::take(&mut self.buf));
            }
        }
    }

    /// Takes at least one byte and at most `most`; empty at the end.
    pub fn some(&mut self, most: usize) -> Vec<u8> {
        if self.buf.is_empty() && self.fill() == End::Truncated {
            return Vec::new();
        }
        let rest = self.buf.split_off(most.min(self.buf.len()));
        std::mem::replace(&mut self.buf, rest)
    }

    /// Takes all until the peer closes or resets.
    pub fn until_end(&mut self) -> Vec<u8> {
        while self.fill() == End::Whole {}
        std::mem::take(&mut self.buf)
    }

    /// The peer closes or resets, and sends nothing before it does.
    pub fn expect_closed(&mut self) {
        let rest = self.until_end();
        assert!(rest.is_empty(), "sent before the close: {:?}", String::from_utf8_lossy(&rest));
    }

    /// Whether the peer has sent something, or closed, by now.
    pub fn is_quiet(&mut self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let mut piece = [0; 1];
        let peeked = self.socket.peek(&mut piece);
        self.socket.set_nonblocking(false).unwrap();
        self.buf.is_empty() && peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub fn finish_writing(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        self.socket().set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Takes a head: its first line and its fields. `None` when the peer has closed instead.
    pub fn head(&mut self) -> Option<(String, Headers)> {
        let bytes = match self.until(b"\r\n\r\n") {
            Ok(bytes) => bytes,
            Err(rest) if rest.is_empty() => return None,
            Err(rest) => panic!("closed within a head: {:?}", String::from_utf8_lossy(&rest)),
        };
        let text = String::from_utf8(bytes).expect("a head of ASCII");
        let mut lines = text.trim_end().split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("a field without a colon: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        });
        Some((first, Headers(fields.collect())))
    }
}

/// Fields in the order and spelling in which they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The value of the first field of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// What is left of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Length(usize),
    Chunked,
    /// To the end of the connection.
    Close,
}

impl Body {
    /// By the rules for an answer; a request without either field has no body.
    pub fn of(headers: &Headers, without: Body) -> Body {
        match (headers.get("transfer-encoding"), headers.get("content-length")) {
            (Some("chunked"), None) => Body::Chunked,
            (None, Some(length)) => Body::Length(length.parse().unwrap()),
            (None, None) => without,
            both => panic!("a framing that nobody should send: {both:?}"),
        }
    }

    /// The next piece of the body's bytes; `Err` at its end.
    pub fn piece(&mut self, link: &mut Link) -> Result<Vec<u8>, End> {
        match self {
            Body::Length(0) => Err(End::Whole),
            Body::Length(left) => {
                let piece = link.some(*left);
                *left -= piece.len();
                if piece.is_empty() { Err(End::Truncated) } else { Ok(piece) }
            }
            Body::Close => {
                let piece = link.some(usize::MAX);
                if piece.is_empty() { Err(End::Whole) } else { Ok(piece) }
            }
            Body::Chunked => {
                let line = link.until(b"\r\n").map_err(|_| End::Truncated)?;
                let text = std::str::from_utf8(&line).unwrap().trim_end();
                let size = usize::from_str_radix(text, 16).unwrap_or_else(|_| panic!("not a chunk size: {text:?}"));
                let mut chunk = Vec::new();
                while chunk.len() < size {
                    let piece = link.some(size - chunk.len());
                    if piece.is_empty() {
                        return Err(End::Truncated);
                    }
                    chunk.extend(piece);
                }
                assert_eq!(link.until(b"\r\n").map_err(|_| End::Truncated)?, b"\r\n", "a chunk longer than its size");
                if size == 0 {
                    *self = Body::Length(0);
                    return Err(End::Whole);
                }
                Ok(chunk)
            }
        }
    }

    pub fn rest(&mut self, link: &mut Link) -> (Vec<u8>, End) {
        let mut all = Vec::new();
        loop {
            match self.piece(link) {
                Ok(piece) => all.extend(piece),
                Err(end) => return (all, end),
            }
        }
    }
}

//! A client on a bare socket.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use super::gateway::KEY;
use super::link::{Body, End, Headers, Link};

/// A request to send. Has the test's key and a JSON content type unless a header of that name is
/// given.
#[derive(Debug, Clone)]
pub struct Outgoing {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

pub fn post(path: &str) -> Outgoing {
    Outgoing { method: "POST".into(), path: path.into(), headers: Vec::new(), body: None }
}

pub fn get(path: &str) -> Outgoing {
    Outgoing { method: "GET".into(), ..post(path) }
}

impl Outgoing {
    pub fn method(mut self, method: &str) -> Outgoing {
        self.method = method.into();
        self
    }

    /// An empty value leaves the default of that name out.
    pub fn header(mut self, name: &str, value: &str) -> Outgoing {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn key(self, key: &str) -> Outgoing {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Outgoing {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut headers = self.headers.clone();
        let mut default = |name: &str, value: String| {
            if !headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
                headers.push((name.into(), value));
            }
        };
        default("host", "gateway".into());
        default("authorization", format!("Bearer {KEY}"));
        if let Some(body) = &self.body {
            default("content-type", "application/json".into());
            default("content-length", body.len().to_string());
        }
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            text += &format!("{name}: {value}\r\n");
        }
        [text.as_bytes(), b"\r\n", self.body.as_deref().unwrap_or_default()].concat()
    }
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    /// Without its framing.
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }
}

pub struct Client {
    pub link: Link,
    /// Of the answer that is being read.
    body: Body,
    /// Bytes of that body that were read and not taken.
    ahead: Vec<u8>,
}

impl Client {
    pub fn connect(addr: SocketAddr) -> Client {
        Client::on(Link::plain(std::net::TcpStream::connect(addr).unwrap()))
    }

    /// On a connection that was made.
    pub fn of(socket: std::net::TcpStream) -> Client {
        Client::on(Link::plain(socket))
    }

    /// Over TLS, to a server of the name `localhost`.
    pub fn connect_tls(addr: SocketAddr, config: Arc<rustls::ClientConfig>) -> Client {
        let socket = std::net::TcpStream::connect(addr).unwrap();
        let session = rustls::ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        let stream = rustls::StreamOwned::new(session, socket.try_clone().unwrap());
        Client::on(Link::over(socket, Box::new(stream)))
    }

    fn on(link: Link) -> Client {
        Client { link, body: Body::Length(0), ahead: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.link.send(bytes.as_ref());
    }

    pub fn ask(&mut self, request: &Outgoing) {
        self.send(request.bytes());
    }

    /// Sends a JSON body and reads the whole answer.
    pub fn call(&mut self, path: &str, body: impl AsRef<[u8]>) -> Response {
        self.ask(&post(path).body(body));
        self.response()
    }

    /// The head of the next answer, without reading on. Its body is then read by [`Client::event`]
    /// and [`Client::rest`].
    pub fn head(&mut self) -> Response {
        let (first, headers) = self.link.head().expect("an answer, not a close");
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {first:?}"));
        let bodiless = status < 200 || status == 204 || status == 304;
        self.body = if bodiless { Body::Length(0) } else { Body::of(&headers, Body::Close) };
        self.ahead.clear();
        Response { status, headers, body: Vec::new() }
    }

    /// The answer to a HEAD request, whose fields tell of a body that does not come.
    pub fn bodiless(&mut self) -> Response {
        let head = self.head();
        self.body = Body::Length(0);
        head
    }

    /// The next answer; a body that is cut short panics.
    pub fn response(&mut self) -> Response {
        let head = self.head();
        match self.rest() {
            (body, End::Whole) => Response { body, ..head },
            (body, End::Truncated) => panic!("{} cut after {:?}", head.status, String::from_utf8_lossy(&body)),
        }
    }

    /// What is left of the body, and how it ended.
    pub fn rest(&mut self) -> (Vec<u8>, End) {
        let mut all = std::mem::take(&mut self.ahead);
        let (rest, end) = self.body.rest(&mut self.link);
        all.extend(rest);
        (all, end)
    }

    /// What is left of the body of a stream, as text.
    pub fn rest_text(&mut self) -> (String, End) {
        let (bytes, end) = self.rest();
        (String::from_utf8(bytes).unwrap(), end)
    }

    /// At most `most` bytes of the body, as a slow reader takes them; empty at its end.
    pub fn some(&mut self, most: usize) -> Vec<u8> {
        if self.ahead.is_empty() {
            match self.body.piece(&mut self.link) {
                Ok(piece) => self.ahead = piece,
                Err(End::Whole) => return Vec::new(),
                Err(End::Truncated) => panic!("the body was cut"),
            }
        }
        let rest = self.ahead.split_off(most.min(self.ahead.len()));
        std::mem::replace(&mut self.ahead, rest)
    }

    /// The body up to and with `text`.
    pub fn read_until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = memchr::memmem::find(&self.ahead, text.as_bytes()) {
                let rest = self.ahead.split_off(at + text.len());
                return String::from_utf8(std::mem::replace(&mut self.ahead, rest)).unwrap();
            }
            match self.body.piece(&mut self.link) {
                Ok(piece) => self.ahead.extend(piece),
                Err(end) => panic!("{end:?} before {text:?}, after {:?}", String::from_utf8_lossy(&self.ahead)),
            }
        }
    }

    /// The next event of a stream, with the blank line that ends it.
    pub fn event(&mut self) -> String {
        self.read_until("\n\n")
    }

    /// The gateway closes, and sends nothing before it does.
    pub fn expect_closed(&mut self) {
        self.link.expect_closed();
    }

    /// Leaves with a reset; dropping leaves with a close.
    pub fn reset(self) {
        self.link.reset();
    }
}

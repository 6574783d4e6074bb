//! A provider that does what the test says, byte for byte.
//!
//! [`Fake::start`] leaves every connection to the test: [`Fake::accept`] gives the next one,
//! [`Conn::request`] reads what the gateway sent, [`Conn::send`] answers with any bytes.
//! [`Fake::answering`] serves by itself and keeps the requests.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::HANG;
use super::cert::Cert;
use super::link::{Body, End, Headers, Link};

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// As `HTTP/1.1`.
    pub version: String,
    pub headers: Headers,
    /// Without its framing.
    pub body: Vec<u8>,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl Request {
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

/// A connection that the gateway made.
pub struct Conn {
    pub link: Link,
    /// From 0, in the order of accepting.
    pub number: usize,
}

impl Conn {
    /// The next request, with its body.
    pub fn request(&mut self) -> Request {
        self.next_request().expect("a request, not a close")
    }

    /// `None` when the gateway has closed instead.
    pub fn next_request(&mut self) -> Option<Request> {
        let (first, headers) = self.link.head()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, target, version) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let (body, end) = Body::of(&headers, Body::Length(0)).rest(&mut self.link);
        if end == End::Truncated {
            return None;
        }
        Some(Request { method, target, version, headers, body, connection: self.number })
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.link.send(bytes.as_ref());
    }

    /// The gateway closes this connection, and sends nothing before it does.
    pub fn expect_closed(&mut self) {
        self.link.expect_closed();
    }

    pub fn close(self) {}

    pub fn reset(self) {
        self.link.reset();
    }
}

type Handler = dyn Fn(&Request) -> Vec<u8> + Send + Sync;

pub struct Fake {
    pub addr: SocketAddr,
    tls: bool,
    accepted: Mutex<Receiver<Conn>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    /// Connections are the test's: see [`Fake::accept`].
    pub fn start() -> Fake {
        Fake::listen(None, None)
    }

    pub fn start_tls(cert: &Cert) -> Fake {
        Fake::listen(None, Some(cert.server()))
    }

    /// Answers each request with the bytes that `answer` gives; see [`super::answer`] for the usual
    /// ones.
    pub fn answering(answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Fake {
        Fake::listen(Some(Arc::new(answer)), None)
    }

    pub fn answering_tls(cert: &Cert, answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static) -> Fake {
        Fake::listen(Some(Arc::new(answer)), Some(cert.server()))
    }

    /// Serves TLS with these settings.
    pub fn answering_with(
        tls: Arc<rustls::ServerConfig>,
        answer: impl Fn(&Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Fake {
        Fake::listen(Some(Arc::new(answer)), Some(tls))
    }

    fn listen(handler: Option<Arc<Handler>>, tls: Option<Arc<rustls::ServerConfig>>) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, accepted) = mpsc::channel();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let fake = Fake { addr, tls: tls.is_some(), accepted: Mutex::new(accepted), seen: seen.clone() };
        // Ends with the process: an unused listener does no harm.
        thread::spawn(move || {
            for (number, socket) in listener.incoming().flatten().enumerate() {
                let (handler, tls, seen, sender) = (handler.clone(), tls.clone(), seen.clone(), sender.clone());
                thread::spawn(move || {
                    let conn = Conn { link: link(socket, tls), number };
                    match handler {
                        Some(handler) => serve(conn, &*handler, &seen),
                        None => hand_over(conn, &sender),
                    }
                });
            }
        });
        fake
    }

    /// Gives each connection that is made from now on to `serve`, in a thread of its own.
    pub fn serve_each(&self, serve: impl Fn(Conn) + Send + Sync + 'static) {
        let (_, none) = mpsc::channel();
        let accepted = std::mem::replace(&mut *self.accepted.lock().unwrap(), none);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for conn in accepted {
                let serve = serve.clone();
                // A gateway may keep a connection idle for longer than a test waits.
                conn.link.socket().set_read_timeout(None).unwrap();
                thread::spawn(move || serve(conn));
            }
        });
    }

    /// With the path that a provider's base has, such as `/v1`.
    pub fn url(&self, path: &str) -> String {
        // A name, so that certificates and name resolution are part of the test.
        let (scheme, host) = if self.tls { ("https", "localhost") } else { ("http", "127.0.0.1") };
        format!("{scheme}://{host}:{}{path}", self.addr.port())
    }

    /// The next connection that the gateway makes.
    pub fn accept(&self) -> Conn {
        match self.accepted.lock().unwrap().recv_timeout(HANG) {
            Ok(conn) => conn,
            Err(RecvTimeoutError::Timeout) => panic!("no connection within {HANG:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("this provider serves by itself"),
        }
    }

    /// A connection that was made and not accepted yet.
    pub fn try_accept(&self) -> Option<Conn> {
        self.accepted.lock().unwrap().recv_timeout(Duration::ZERO).ok()
    }

    /// The requests that [`Fake::answering`] has answered, or is about to.
    pub fn requests(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

fn link(socket: TcpStream, tls: Option<Arc<rustls::ServerConfig>>) -> Link {
    match tls {
        None => Link::plain(socket),
        Some(config) => {
            let session = rustls::ServerConnection::new(config).unwrap();
            let stream = rustls::StreamOwned::new(session, socket.try_clone().unwrap());
            Link::over(socket, Box::new(stream))
        }
    }
}

fn hand_over(conn: Conn, sender: &Sender<Conn>) {
    // Fails when the test is over.
    let _ = sender.send(conn);
}

fn serve(mut conn: Conn, handler: &Handler, seen: &Mutex<Vec<Request>>) {
    // A gateway may keep a connection idle for longer than a test waits.
    conn.link.socket().set_read_timeout(None).unwrap();
    while let Some(request) = conn.next_request() {
        seen.lock().unwrap().push(request.clone());
        let answer = handler(&request);
        // The body behind a head without a length, or with `connection: close`, ends with its
        // connection.
        let head = memchr::memmem::find(&answer, b"\r\n\r\n").map_or(&answer[..], |end| &answer[..end]);
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let last = head.contains("connection: close");
        if conn.link.try_send(&answer).is_err() || last {
            return;
        }
    }
}

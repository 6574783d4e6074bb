//! Connections to upstreams, pooled per worker and origin.
//!
//! An idle connection is watched, on the ring by a read in flight, so a connection that its server
//! has closed is noticed at the next checkout and not used. If the close crosses a request on the
//! wire, the caller replaces the connection: once, and only if the peer has acknowledged nothing of
//! the request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use monoio::net::TcpStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::dial;
use super::resolve;
use super::stream::{self, LARGE_READ, Reader, Writer};
use super::timer::Timers;
use crate::config::tunnel::{Proxy, Refusal};
use crate::shared::ProcessState;
use crate::tls::ClientTls;
use llm_http::ResponseHeadCache;

/// Idle connections per origin on one worker. More are closed.
const MAX_IDLE: usize = 512;
/// How long an idle connection is kept. Common servers close theirs after 60 to 75 s.
const IDLE_FOR_NS: u64 = 50_000_000_000;

/// A connection that was idle for longer is compared with what the kernel knows of it: the event
/// loop may not have seen its close yet. Servers close idle connections after seconds.
const UNTESTED_FOR_NS: u64 = 10_000_000;

/// The address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// A hash of all the rest: it is looked up twice a request.
    hash: u64,
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Where a tunnel to it is opened, if it is not reached directly.
    pub proxy: Option<Arc<Proxy>>,
    /// Its own certificates and trust, if it has them.
    pub trust: Option<Arc<ClientTls>>,
}

impl Origin {
    /// Makes an origin. Two of them are equal if their connections can serve each other's requests.
    pub fn new(
        (tls, host, port): (bool, String, u16),
        proxy: Option<Arc<Proxy>>,
        trust: Option<Arc<ClientTls>>,
    ) -> Origin {
        let mut hasher = DefaultHasher::new();
        (tls, &host, port, &proxy, &trust).hash(&mut hasher);
        Origin { hash: hasher.finish(), tls, host, port, proxy, trust }
    }
}

impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Takes the hash that an [`Origin`] has.
#[derive(Default)]
struct OriginHasher(u64);

impl Hasher for OriginHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        debug_assert!(false, "an origin writes one number");
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A connection to an upstream. It is boxed once, since it changes hands several times a request.
pub struct Connection {
    pub reader: Reader,
    pub writer: Writer,
    /// Parses the heads of its responses, and knows whether one repeats.
    pub heads: ResponseHeadCache,
    /// Whether it has served a request before. Only then may a failure without a response be that
    /// of a stale connection.
    pub reused: bool,
}

/// Why a connection could not be opened. The text names the step that failed.
#[derive(Debug)]
pub enum ConnectError {
    /// The connection was not open within the time allowed.
    TimedOut(String),
    Failed(ConnectFailure),
}

/// What kept a connection from being made.
#[derive(Debug)]
pub struct ConnectFailure {
    /// For the client: what kind of failure it was, without names and addresses.
    pub reason: &'static str,
    /// For the log.
    pub detail: String,
}

impl ConnectFailure {
    fn new(reason: &'static str, detail: impl Into<String>) -> ConnectFailure {
        ConnectFailure { reason, detail: detail.into() }
    }

    fn of_connect(error: &io::Error, detail: String) -> ConnectFailure {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "the connection was refused",
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => "its host cannot be reached",
            io::ErrorKind::ConnectionReset => "the connection was reset",
            _ => "the connection failed",
        };
        ConnectFailure { reason, detail }
    }

    fn of_tls(error: &io::Error, detail: String) -> ConnectFailure {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let reason = match inner {
            Some(rustls::Error::InvalidCertificate(
                rustls::CertificateError::Expired | rustls::CertificateError::ExpiredContext { .. },
            )) => "its TLS certificate has expired",
            Some(rustls::Error::InvalidCertificate(_)) => "its TLS certificate is not valid for it",
            _ => "the TLS handshake failed",
        };
        ConnectFailure { reason, detail }
    }
}

struct Idle {
    connection: Box<Connection>,
    /// When it became idle, in nanoseconds on the clock of the timers.
    since: u64,
}

/// The connections of one worker.
pub struct Pool {
    idle: RefCell<HashMap<Rc<Origin>, Vec<Idle>, BuildHasherDefault<OriginHasher>>>,
    /// Waits for an idle connection.
    sweeper: RefCell<Option<Waker>>,
    tls: Arc<ClientConfig>,
    shared: Arc<ProcessState>,
    timers: Rc<Timers>,
    connect_timeout: Duration,
}

impl Pool {
    /// Makes the empty pool of one worker.
    pub fn new(
        tls: Arc<ClientConfig>,
        shared: Arc<ProcessState>,
        timers: Rc<Timers>,
        connect_timeout: Duration,
    ) -> Pool {
        Pool { idle: RefCell::default(), sweeper: RefCell::default(), tls, shared, timers, connect_timeout }
    }

    /// Takes an idle connection to `origin` that is not known to be closed.
    pub fn checkout(&self, origin: &Rc<Origin>) -> Option<Box<Connection>> {
        let mut idle = self.idle.borrow_mut();
        let list = idle.get_mut(origin)?;
        let now = self.timers.recent();
        while let Some(mut entry) = list.pop() {
            let idle_ns = now.saturating_sub(entry.since);
            let is_closed = || idle_ns >= UNTESTED_FOR_NS && entry.connection.writer.is_closed();
            if idle_ns < IDLE_FOR_NS && !is_closed() && !entry.connection.reader.is_stale() {
                return Some(entry.connection);
            }
        }
        None
    }

    /// Takes back a connection whose last response was read to its end.
    pub fn give_back(&self, origin: &Rc<Origin>, mut connection: Box<Connection>) {
        connection.reused = true;
        // Bytes that come unrequested make the connection unusable.
        if !connection.reader.begin_idle() {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let list = match idle.get_mut(origin) {
            Some(list) => list,
            None => idle.entry(origin.clone()).or_default(),
        };
        if list.len() < MAX_IDLE {
            list.push(Idle { connection, since: self.timers.recent() });
        }
        if let Some(sweeper) = self.sweeper.borrow_mut().take() {
            sweeper.wake();
        }
    }

    /// Closes the connections that are too old or were closed by their servers.
    pub fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        let now = self.timers.now();
        for list in idle.values_mut() {
            list.retain_mut(|entry| {
                now.saturating_sub(entry.since) < IDLE_FOR_NS && !entry.connection.reader.is_stale()
            });
        }
        idle.retain(|_, list| !list.is_empty());
    }

    /// Waits until there is an idle connection. One task at a time may wait.
    pub async fn wait_for_idle(&self) {
        poll_fn(|cx| match self.idle_count() {
            0 => {
                *self.sweeper.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Returns how many connections are idle.
    pub fn idle_count(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }

    /// Opens a connection. All addresses are tried in turn within `limit`, which is
    /// CONNECT_TIMEOUT_SECS if `None`.
    pub async fn connect(&self, origin: &Rc<Origin>, limit: Option<Duration>) -> Result<Box<Connection>, ConnectError> {
        let limit = limit.unwrap_or(self.connect_timeout);
        let deadline = self.timers.deadline();
        deadline.set(limit);
        let seconds = limit.as_secs_f32();
        let target = format!("{}:{}", origin.host, origin.port);
        let attempt = async { self.secure(origin, self.reach(origin).await?).await };
        match deadline.limit(attempt).await {
            Some(Ok(connection)) => Ok(connection),
            Some(Err(reason)) => Err(ConnectError::Failed(reason)),
            None => {
                // Its address may be that of another machine now, or of none.
                self.shared.names.renew(origin.proxy.as_ref().map_or(&origin.host, |proxy| &proxy.host));
                Err(ConnectError::TimedOut(format!("connect to {target}: no connection within {seconds} s")))
            }
        }
    }

    /// Connects to an origin, or to its proxy, which opens a tunnel to it.
    async fn reach(&self, origin: &Origin) -> Result<TcpStream, ConnectFailure> {
        let target = format!("{}:{}", origin.host, origin.port);
        let Some(proxy) = &origin.proxy else { return self.dial(&origin.host, origin.port, &target).await };
        let hosts = match proxy.resolves_names() {
            true => vec![origin.host.clone()],
            false => {
                let addresses = self.look_up(&origin.host, origin.port).await?;
                addresses.iter().map(|address| address.ip().to_string()).collect()
            }
        };
        let mut failure = ConnectFailure::new("its host name was not found", "it has no address");
        for host in hosts {
            let mut stream = self.dial(&proxy.host, proxy.port, &target).await?;
            let refusal = match dial::tunnel(&mut stream, proxy, &host, origin.port).await {
                Ok(()) => return Ok(stream),
                Err(refusal) => refusal,
            };
            let is_final = matches!(refusal, Refusal::OfProxy(_));
            failure = ConnectFailure::new("the proxy did not connect to it", refusal.into_text());
            if is_final {
                break;
            }
        }
        Err(failure)
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectFailure> {
        let found = resolve::look_up(&self.shared.names, host, port).await;
        found.map_err(|why| ConnectFailure::new("its host name was not found", why))
    }

    /// Connects to `host` on the way to `target`.
    async fn dial(&self, host: &str, port: u16, target: &str) -> Result<TcpStream, ConnectFailure> {
        let addresses = self.look_up(host, port).await?;
        let mut connected = dial::connect(addresses.clone()).await;
        if connected.is_err()
            && let Some(others) = resolve::look_up_again(&self.shared.names, host, port, &addresses).await
        {
            connected = dial::connect(others).await;
        }
        connected.map_err(|(address, error)| {
            let address = address.map_or_else(|| "no address".to_owned(), |address| address.to_string());
            ConnectFailure::of_connect(&error, format!("connect to {target} ({address}): {error}"))
        })
    }

    fn tls_of(&self, origin: &Origin) -> Arc<ClientConfig> {
        origin.trust.as_ref().map_or_else(|| self.tls.clone(), |trust| trust.config.clone())
    }

    async fn secure(&self, origin: &Origin, stream: TcpStream) -> Result<Box<Connection>, ConnectFailure> {
        let (mut reader, writer) = if origin.tls {
            let name = ServerName::try_from(origin.host.clone())
                .map_err(|_| format!("`{}` is not a name that a certificate can hold", origin.host))
                .map_err(|why| ConnectFailure::new("the TLS handshake failed", why))?;
            let session = rustls::ClientConnection::new(self.tls_of(origin), name)
                .map_err(|error| ConnectFailure::new("the TLS handshake failed", error.to_string()))?;
            stream::handshake(stream, session.into()).await.map_err(|error| {
                let detail = format!("tls handshake with {}:{}: {error}", origin.host, origin.port);
                ConnectFailure::of_tls(&error, detail)
            })?
        } else {
            stream::split(stream, None)
        };
        reader.read_size(LARGE_READ);
        Ok(Box::new(Connection { reader, writer, heads: ResponseHeadCache::default(), reused: false }))
    }
}

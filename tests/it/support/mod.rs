//! The basis of tests against the real binary ([`Setup`], [`Gateway`]): a client on a bare socket
//! ([`Client`]) and a provider that does exactly what the test says ([`Fake`]).
//!
//! ```ignore
//! let provider = Fake::start();
//! let gateway = Setup::new().provider(chat(&provider)).start();
//! let mut client = gateway.client();
//! client.ask(&post("/v1/chat/completions").body(r#"{"model":"m","messages":[]}"#));
//! let mut conn = provider.accept();
//! assert_eq!(conn.request().target, "/v1/chat/completions");
//! conn.send(&answer::json(200, r#"{"id":"x"}"#));
//! assert_eq!(client.response().text(), r#"{"id":"x"}"#);
//! ```
//!
//! A test is one thread that speaks for both ends in turn: sockets hold what the other end has not
//! read yet. Nothing waits longer than [`HANG`], and nothing waits for time to pass.
//!
//! `TEST_DRIVER=epoll` or `TEST_DRIVER=io_uring` runs the gateways on that driver.

// Not every test file uses every helper.
#![allow(dead_code, unused_imports)]

pub mod answer;
pub mod cert;
pub mod crossed;
pub mod demands;
pub mod fake;
pub mod gateway;
pub mod http;
pub mod link;
pub mod output;
pub mod postgres;
pub mod redis;
pub mod removals;
pub mod sample;
pub mod socks;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use fake::{Conn, Fake, Request};
pub use gateway::{Ended, Gateway, KEY, Setup, anthropic, chat, credential, every_format, provider, responses};
pub use http::{Client, Outgoing, Response, get, post};
pub use link::End;
pub use removals::Removals;

/// Longest wait for anything. Whoever waits that long has found a hang.
pub const HANG: Duration = Duration::from_secs(45);

/// A line on stderr, past the harness, which shows nothing of tests that pass.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Waits for the next hour of UTC if this one is about to end, so that what a test counts by the
/// hour, the day or the month falls into one window.
pub fn keep_the_hour() {
    let left = || 3600 - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % 3600;
    while left() <= HANG.as_secs() {
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// A port that the kernel gives to nobody by itself, since it lies below the range for sockets that
/// take any. A server of a test can have it later, and again after a stop.
pub fn reserved_port() -> u16 {
    static TRIES: AtomicU32 = AtomicU32::new(0);
    const PORTS: std::ops::Range<u32> = 20_000..32_000;
    loop {
        // Processes that run beside this one begin elsewhere.
        let n = std::process::id().wrapping_mul(97).wrapping_add(TRIES.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(PORTS.start + n % (PORTS.end - PORTS.start)).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// An address that refuses connections for as long as this is kept: a socket has it and does not
/// listen.
pub struct Nobody(socket2::Socket);

impl Nobody {
    pub fn new() -> Nobody {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        Nobody(socket)
    }

    pub fn addr(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    /// With the path that a provider's base has, such as `/v1`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }
}

/// Asks until the answer is yes. For facts that only show by looking, such as a gateway's memory.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < HANG, "{what}: not so after {HANG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

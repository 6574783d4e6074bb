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
use std::time::{Duration, Instant};

pub use fake::{Conn, Fake, Request};
pub use gateway::{Ended, Gateway, KEY, Setup, anthropic, chat, credential, every_format, provider, responses};
pub use http::{Client, Outgoing, Response, get, post};
pub use link::End;
pub use removals::Removals;

/// Longest wait for anything. Whoever waits that long has found a hang.
pub const HANG: Duration = Duration::from_secs(30);

/// A line on stderr, past the harness, which shows nothing of tests that pass.
pub fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Asks until the answer is yes. For facts that only show by looking, such as a gateway's memory.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < HANG, "{what}: not so after {HANG:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

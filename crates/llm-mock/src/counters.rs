//! What happened to the mock: counts, and the last request as it came.
//!
//! Shared by the workers and read by tests, over HTTP or through [`MockHandle`](super::MockHandle).
//! The counts are single atomics, and the last request is behind a lock: the mock's workers are
//! not the gateway's, and they hold the lock for one small copy.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::kind::Kind;

/// What this process has served, counted by all workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: [AtomicU64; Kind::ALL.len()],
    streams: AtomicU64,
    turns: AtomicU32,
    accepted: AtomicU64,
    closed: AtomicU64,
    closed_early: AtomicU64,
    last: Mutex<Option<Last>>,
}

/// The counts at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    requests: [u64; Kind::ALL.len()],
    /// Answers that were streams of events.
    pub streams: u64,
    /// Connections since the start.
    pub accepted: u64,
    /// Connections now; one that asks for `/__count` counts itself.
    pub open: u64,
    /// Connections that the other side closed between its request and the end of the answer,
    /// silence included.
    pub closed_early: u64,
}

impl Counts {
    /// Returns the number of requests of one kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.requests[kind as usize]
    }

    /// Requests of every kind; `/__count` and `/__last` are none.
    pub fn requests(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// For `/__count`.
    pub fn to_json(&self) -> Vec<u8> {
        let requests: serde_json::Map<String, serde_json::Value> =
            Kind::ALL.iter().map(|kind| (kind.name().to_owned(), self.of(*kind).into())).collect();
        let body = json!({
            "requests": requests,
            "streams": self.streams,
            "connections": {"accepted": self.accepted, "open": self.open},
            "client_closed_early": self.closed_early,
        });
        body.to_string().into_bytes()
    }
}

impl Counters {
    /// Counts a connection that was accepted.
    pub(crate) fn accept(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that has ended.
    pub(crate) fn close(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that the client closed before the end of its answer.
    pub(crate) fn close_early(&self) {
        self.closed_early.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of the request that begins, from 0. Those without a body have none.
    pub(crate) fn turn(&self) -> u32 {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts a request, and whether its answer is a stream.
    pub(crate) fn request(&self, kind: Kind, stream: bool) {
        self.requests[kind as usize].fetch_add(1, Ordering::Relaxed);
        self.streams.fetch_add(u64::from(stream), Ordering::Relaxed);
    }

    /// Returns the counts of this moment.
    pub(crate) fn counts(&self) -> Counts {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // In this order, or a connection that comes and goes meanwhile would make the difference
        // negative.
        let closed = get(&self.closed);
        let accepted = get(&self.accepted);
        Counts {
            requests: std::array::from_fn(|i| get(&self.requests[i])),
            streams: get(&self.streams),
            accepted,
            open: accepted.saturating_sub(closed),
            closed_early: get(&self.closed_early),
        }
    }

    /// Keeps a request. Its body is swapped with an older one's, not copied.
    pub(crate) fn keep_last(&self, head: &[u8], body: &mut Vec<u8>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let last = last.get_or_insert_default();
        last.head.clear();
        last.head.extend_from_slice(head);
        std::mem::swap(&mut last.body, body);
    }

    /// Returns the last request that had a body.
    pub(crate) fn last(&self) -> Option<Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A request as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Last {
    head: Vec<u8>,
    /// Freed of its framing.
    pub body: Vec<u8>,
}

impl Last {
    fn lines(&self) -> impl Iterator<Item = String> {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let lines: Vec<String> = head.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        lines.into_iter()
    }

    /// Returns the method of the request line.
    pub fn method(&self) -> String {
        self.lines().next().and_then(|line| line.split(' ').next().map(str::to_owned)).unwrap_or_default()
    }

    /// Returns the target as sent, query included.
    pub fn path(&self) -> String {
        self.lines().next().and_then(|line| line.split(' ').nth(1).map(str::to_owned)).unwrap_or_default()
    }

    /// Names and values, in the order and letters sent.
    pub fn headers(&self) -> Vec<(String, String)> {
        let split = |line: String| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        self.lines().skip(1).filter_map(split).collect()
    }

    /// Returns the value of the first header of this name, without regard to case.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers().into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// For `/__last`. The body is a JSON string, so that its bytes can be compared; what is not
    /// UTF-8 becomes U+FFFD.
    pub fn to_json(&self) -> Vec<u8> {
        let body = json!({
            "method": self.method(),
            "path": self.path(),
            "headers": self.headers(),
            "body": String::from_utf8_lossy(&self.body),
        });
        body.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_last() {
        let counters = Counters::default();
        assert_eq!(counters.last(), None);
        counters.accept();
        counters.accept();
        counters.close();
        counters.close_early();
        counters.request(Kind::Chat, true);
        counters.request(Kind::Models, false);
        let counts = counters.counts();
        assert_eq!((counts.of(Kind::Chat), counts.requests(), counts.streams), (1, 2, 1));
        let json: serde_json::Value = serde_json::from_slice(&counts.to_json()).unwrap();
        assert_eq!(json["connections"], json!({"accepted": 2, "open": 1}));
        assert_eq!(json["requests"]["models"], 1);

        let mut body = b"{\"a\":\"\xff\"}".to_vec();
        counters.keep_last(b"POST /v1/x?y=1 HTTP/1.1\r\nHost: h\r\nX-A:  b:c \r\n\r\n", &mut body);
        assert!(body.is_empty(), "the body was moved");
        let last = counters.last().unwrap();
        assert_eq!((last.method().as_str(), last.path().as_str()), ("POST", "/v1/x?y=1"));
        assert_eq!(last.header("x-a").as_deref(), Some("b:c"));
        let json: serde_json::Value = serde_json::from_slice(&last.to_json()).unwrap();
        assert_eq!(json["headers"], json!([["Host", "h"], ["X-A", "b:c"]]));
        assert_eq!(json["body"], "{\"a\":\"\u{fffd}\"}");
    }
}

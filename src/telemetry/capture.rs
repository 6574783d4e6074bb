//! What a record holds beside its numbers, for sinks that want it: heads, attempts, and bodies as
//! far as a limit lets them in.
//!
//! Gathered on the worker by copying, never by parsing: masking and reading is for the background
//! thread. Nobody wants it, no detail is made.

use llm_wire::Format;
use llm_wire::error::Kind;

use crate::telemetry::record::Short;
use crate::telemetry::trace::Context;

/// Attempts of one request that are told one by one.
const MAX_ATTEMPTS: usize = 16;
/// Bytes of a request's head that are kept.
const MAX_HEAD: usize = 16 << 10;

/// What the sinks of this process want, fixed at its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Heads and attempts.
    pub detail: bool,
    /// Bytes of each body; 0 is none.
    pub body_bytes: usize,
    /// So many requests of one core in a second are told in detail, and all that fail: who wants it
    /// keeps no more. `None` is every request.
    pub per_second: Option<usize>,
}

/// The first bytes of something, and how many there were in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CappedBytes {
    pub bytes: Vec<u8>,
    pub total: u64,
}

impl CappedBytes {
    fn of(bytes: &[u8], limit: usize) -> CappedBytes {
        CappedBytes { bytes: bytes[..bytes.len().min(limit)].to_vec(), total: bytes.len() as u64 }
    }

    fn push(&mut self, bytes: &[u8], limit: usize) {
        self.total += bytes.len() as u64;
        let room = limit.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    pub fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.total
    }
}

/// An answer as it came or went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    pub cut: CappedBytes,
    /// Of a stream: where each event ends in `cut.bytes`. An event that did not fit whole is not
    /// among them.
    pub ends: Vec<u32>,
    pub stream: bool,
}

impl Body {
    /// A piece of a whole body, or one event of a stream.
    fn push(&mut self, piece: &[u8], limit: usize) {
        if !self.stream {
            return self.cut.push(piece, limit);
        }
        let is_open = self.cut.is_whole();
        if is_open && self.cut.bytes.len() + piece.len() <= limit {
            self.cut.push(piece, limit);
            self.ends.push(self.cut.bytes.len() as u32);
        } else {
            self.cut.total += piece.len() as u64;
        }
    }

    /// The events of a stream.
    pub fn events(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.cut.bytes[start as usize..*end as usize])
    }
}

/// Bytes that may be another's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SharedOrOwned<T> {
    /// Nothing was sent, or nobody wants to know.
    #[default]
    Absent,
    /// The very bytes that the other side sent.
    Same,
    Own(T),
}

/// One try at one provider.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub provider: i64,
    pub format: Format,
    pub model: Short<96>,
    /// Path at the provider, without its base.
    pub path: &'static str,
    /// Microseconds since the request's start.
    pub began_us: u64,
    /// The same; 0 if no answer came.
    pub first_byte_us: u64,
    pub ended_us: u64,
    /// 0 if no answer came.
    pub status: u16,
    /// What it failed by, if it failed, and what was said of it.
    pub failure: Option<(Kind, Box<str>)>,
    /// Against the client's body.
    pub request: SharedOrOwned<CappedBytes>,
    pub response: Option<Body>,
    /// The model that the provider says has answered; empty where that is not known.
    pub answered_by: Short<96>,
}

impl Attempt {
    pub fn new(provider: i64, format: Format, model: Short<96>, path: &'static str, began_us: u64) -> Attempt {
        Attempt {
            provider,
            format,
            model,
            path,
            began_us,
            first_byte_us: 0,
            ended_us: 0,
            status: 0,
            failure: None,
            request: SharedOrOwned::Absent,
            response: None,
            answered_by: Short::EMPTY,
        }
    }
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    limit: usize,
    /// `None` where nobody traces.
    pub trace: Option<Context>,
    /// The request's head as received, secrets and all. Sinks mask it.
    pub head: Vec<u8>,
    pub body: Option<CappedBytes>,
    pub attempts: Vec<Attempt>,
    /// What the client got, against the last attempt's response.
    pub response: SharedOrOwned<Body>,
    /// What the client was told of a failure.
    pub error: Option<Box<str>>,
}

impl Detail {
    /// `None` if nobody wants any.
    pub fn new(wants: CaptureConfig, head: &[u8]) -> Option<Box<Detail>> {
        let head = &head[..head.len().min(MAX_HEAD)];
        wants.detail.then(|| Box::new(Detail { limit: wants.body_bytes, head: head.to_vec(), ..Detail::default() }))
    }

    /// The client's body, decoded.
    pub fn body(&mut self, body: &[u8]) {
        if self.limit > 0 {
            self.body = Some(CappedBytes::of(body, self.limit));
        }
    }

    /// What an attempt before it had prepared for the client never went out.
    pub fn attempt(&mut self, attempt: Attempt) {
        self.response = SharedOrOwned::Absent;
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.push(attempt);
        }
    }

    pub fn last(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut()
    }

    /// What goes to the provider; `None` is the client's body as it is.
    pub fn sent(&mut self, body: Option<&[u8]>) {
        let limit = self.limit;
        if let Some(attempt) = self.attempts.last_mut().filter(|_| limit > 0) {
            attempt.request = body.map_or(SharedOrOwned::Same, |body| SharedOrOwned::Own(CappedBytes::of(body, limit)));
        }
    }

    /// A piece of the provider's answer: of a stream, an event.
    pub fn received(&mut self, piece: &[u8], stream: bool) {
        let limit = self.limit;
        if let Some(attempt) = self.attempts.last_mut().filter(|_| limit > 0) {
            let body = attempt.response.get_or_insert_with(|| Body { stream, ..Body::default() });
            body.push(piece, limit);
        }
    }

    /// The attempt that runs has ended. False if there is none: it failed before anything was
    /// asked.
    pub fn ended(&mut self, now_us: u64, failure: Option<(Kind, Box<str>)>) -> bool {
        let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.ended_us == 0) else { return false };
        attempt.ended_us = now_us.max(1);
        attempt.failure = failure;
        true
    }

    /// The client gets an answer of the gateway's own, and nothing else.
    pub fn replies(&mut self, body: &[u8]) {
        if self.limit > 0 {
            self.response = SharedOrOwned::Own(Body { cut: CappedBytes::of(body, self.limit), ..Body::default() });
        }
    }

    /// The client gets what the provider sends.
    pub fn passes(&mut self) {
        if self.limit > 0 {
            self.response = SharedOrOwned::Same;
        }
    }

    /// A piece of what the client gets, where it is not the provider's: of a stream, some events.
    pub fn answered(&mut self, piece: &[u8], stream: bool) {
        if self.limit == 0 || piece.is_empty() {
            return;
        }
        if !matches!(self.response, SharedOrOwned::Own(_)) {
            let passed = match self.response {
                SharedOrOwned::Same => self.attempts.last().and_then(|attempt| attempt.response.clone()),
                _ => None,
            };
            self.response = SharedOrOwned::Own(passed.unwrap_or_else(|| Body { stream, ..Body::default() }));
        }
        if let SharedOrOwned::Own(body) = &mut self.response {
            body.push(piece, self.limit);
        }
    }

    /// What it takes of a ring's room.
    pub fn size(&self) -> usize {
        let body = |body: &Body| body.cut.bytes.len() + 4 * body.ends.len();
        let attempts = self.attempts.iter().map(|attempt| {
            let request = if let SharedOrOwned::Own(cut) = &attempt.request { cut.bytes.len() } else { 0 };
            size_of::<Attempt>() + request + attempt.response.as_ref().map_or(0, body)
        });
        let response = if let SharedOrOwned::Own(own) = &self.response { body(own) } else { 0 };
        let own = self.body.as_ref().map_or(0, |cut| cut.bytes.len());
        size_of::<Detail>() + self.head.len() + own + response + attempts.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail(body_bytes: usize) -> Box<Detail> {
        let mut detail =
            Detail::new(CaptureConfig { detail: true, body_bytes, per_second: None }, b"POST / HTTP/1.1\r\n\r\n")
                .unwrap();
        detail.attempt(Attempt::new(1, Format::Chat, Short::EMPTY, "/chat/completions", 0));
        detail
    }

    #[test]
    fn unwanted_sinks_capture_nothing() {
        assert!(Detail::new(CaptureConfig::default(), b"x").is_none());
        let mut plain = detail(0);
        plain.body(b"secret");
        plain.sent(None);
        plain.received(b"secret", true);
        plain.passes();
        plain.answered(b"secret", true);
        assert_eq!((&plain.body, &plain.response), (&None, &SharedOrOwned::Absent));
        assert_eq!((&plain.attempts[0].request, &plain.attempts[0].response), (&SharedOrOwned::Absent, &None));
    }

    #[test]
    fn events_are_kept_whole_or_not_at_all() {
        let mut detail = detail(10);
        for event in [&b"aaaa"[..], b"bbbb", b"cccc", b"d"] {
            detail.received(event, true);
        }
        let body = detail.attempts[0].response.clone().unwrap();
        assert_eq!(body.events().collect::<Vec<_>>(), [b"aaaa", b"bbbb"]);
        assert_eq!((body.cut.total, body.cut.is_whole()), (13, false));
    }

    #[test]
    fn shared_capture_becomes_separate_when_the_sides_differ() {
        let mut detail = detail(100);
        detail.received(b"event 1", true);
        detail.passes();
        assert_eq!(detail.response, SharedOrOwned::Same);
        detail.answered(b"an error", true);
        let SharedOrOwned::Own(body) = &detail.response else { panic!("{:?}", detail.response) };
        assert_eq!(body.events().collect::<Vec<_>>(), [&b"event 1"[..], b"an error"]);
        assert!(detail.size() > 30);
    }

    #[test]
    fn failed_attempt_leaves_no_captured_response() {
        let mut detail = detail(100);
        detail.received(b"event of the first", true);
        detail.passes();
        assert!(detail.ended(5, Some((Kind::UpstreamFault, "it broke".into()))));
        assert!(!detail.ended(6, None));
        assert_eq!(detail.attempts[0].ended_us, 5);

        detail.attempt(Attempt::new(2, Format::Messages, Short::EMPTY, "/messages", 6));
        detail.received(b"event of the second", true);
        detail.answered(b"translated", true);
        let SharedOrOwned::Own(body) = &detail.response else { panic!("{:?}", detail.response) };
        assert_eq!(body.events().collect::<Vec<_>>(), [b"translated"]);

        detail.replies(b"{}");
        let SharedOrOwned::Own(body) = &detail.response else { panic!("{:?}", detail.response) };
        assert_eq!((&*body.cut.bytes, body.stream), (&b"{}"[..], false));
    }

    #[test]
    fn bodies_are_cut() {
        let mut detail = detail(4);
        detail.body(b"123456");
        assert_eq!(detail.body, Some(CappedBytes { bytes: b"1234".to_vec(), total: 6 }));
        detail.sent(Some(b"12"));
        assert_eq!(detail.attempts[0].request, SharedOrOwned::Own(CappedBytes { bytes: b"12".to_vec(), total: 2 }));
        detail.received(b"123", false);
        detail.received(b"456", false);
        assert_eq!(
            detail.attempts[0].response.as_ref().unwrap().cut,
            CappedBytes { bytes: b"1234".to_vec(), total: 6 }
        );
    }
}

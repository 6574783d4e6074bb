//! What a record holds beside its numbers, for sinks that need it: heads, attempts, and bodies up
//! to a limit.
//!
//! The worker gathers it by copying, never by parsing: masking and reading is for the control
//! plane. Without a sink that needs it nothing is gathered.

use llm_wire::Format;
use llm_wire::error::Kind;

use crate::telemetry::short::Short;
use crate::telemetry::trace::Context;

/// Attempts of one request that are captured.
const MAX_ATTEMPTS: usize = 16;
/// Bytes of a request's head that are captured.
const MAX_HEAD: usize = 16 << 10;

/// What the sinks of this process need, fixed at its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptureConfig {
    /// Heads and attempts.
    pub detail: bool,
    /// Bytes of each body; 0 is none.
    pub body_bytes: usize,
    /// How many requests of one worker in a second are captured, beside all that fail. No sink
    /// keeps more. `None` is every request.
    pub per_second: Option<usize>,
}

/// The first bytes of a text, and its length.
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

    /// Returns whether all bytes were kept.
    pub fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.total
    }
}

/// A response as it came or went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Body {
    pub cut: CappedBytes,
    /// Where each piece of a stream ends in `cut.bytes`: one or more events. An event that did not
    /// fit whole is not among them.
    pub ends: Vec<u32>,
    pub stream: bool,
}

impl Body {
    /// Appends a part of a whole body, or one or more events of a stream.
    fn push(&mut self, piece: &[u8], limit: usize) {
        if !self.stream {
            return self.cut.push(piece, limit);
        }
        if self.cut.is_whole() {
            let fitting = whole_events(piece, limit.saturating_sub(self.cut.bytes.len()));
            if !fitting.is_empty() {
                // With room for the few events that follow a run.
                self.cut.bytes.reserve(fitting.len() + fitting.len() / 4);
                self.cut.bytes.extend_from_slice(fitting);
                self.ends.push(self.cut.bytes.len() as u32);
            }
        }
        self.cut.total += piece.len() as u64;
    }

    /// Returns the pieces of a stream, each of one or more events.
    pub fn events(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.cut.bytes[start as usize..*end as usize])
    }
}

/// Returns the events at the start of `piece`, which is one or more, that fit into `room` bytes.
pub fn whole_events(piece: &[u8], room: usize) -> &[u8] {
    if piece.len() <= room {
        return piece;
    }
    // Lines that end with CR are those of events that come one by one.
    let end = memchr::memmem::rfind(&piece[..room], b"\n\n").map_or(0, |at| at + 2);
    &piece[..end]
}

/// What one side sent, which may be what another side sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SharedOrOwned<T> {
    /// Nothing was sent, or no sink needs it.
    #[default]
    Absent,
    /// The bytes that the other side sent.
    Same,
    Own(T),
}

/// One attempt at one provider.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub provider: i64,
    pub format: Format,
    pub model: Short<96>,
    /// The path at the provider, without its base.
    pub path: &'static str,
    /// Microseconds since the request's start.
    pub began_us: u64,
    /// Microseconds since the request's start; 0 without a response.
    pub first_byte_us: u64,
    pub ended_us: u64,
    /// 0 without a response.
    pub status: u16,
    /// The kind and the text of its error, if it failed.
    pub failure: Option<(Kind, Box<str>)>,
    /// The provider's own message in an error response that was forwarded, without keys.
    pub provider_message: Option<Box<str>>,
    /// `Same` is the client's body.
    pub request: SharedOrOwned<CappedBytes>,
    pub response: Option<Body>,
    /// The model that responded, by the provider's own name. Empty if it is unknown.
    pub answered_by: Short<96>,
}

impl Attempt {
    /// Makes the record of an attempt that begins now. `began_us` is in microseconds since 1970.
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
            provider_message: None,
            request: SharedOrOwned::Absent,
            response: None,
            answered_by: Short::EMPTY,
        }
    }
}

/// A piece of a body.
#[derive(Debug, Clone, Copy)]
pub enum Piece<'a> {
    /// A part of a whole body.
    Part(&'a [u8]),
    /// One or more events of a stream.
    Event(&'a [u8]),
}

impl<'a> Piece<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Piece::Part(bytes) | Piece::Event(bytes) => bytes,
        }
    }

    /// Returns an empty body that such pieces can be appended to.
    fn empty_body(self) -> Body {
        Body { stream: matches!(self, Piece::Event(_)), ..Body::default() }
    }
}

/// What was captured of one request: see the module.
#[derive(Debug, Clone, Default)]
pub struct Detail {
    /// Bytes of each body; 0 is none.
    limit: usize,
    /// `None` without a trace.
    pub trace: Option<Context>,
    /// The request's head as received, with its secrets. Sinks mask them.
    pub head: Vec<u8>,
    /// The client's body, decoded.
    pub body: Option<CappedBytes>,
    pub attempts: Vec<Attempt>,
    /// What the client got. `Same` is the response of the last attempt.
    pub response: SharedOrOwned<Body>,
    /// The error that the client got.
    pub error: Option<Box<str>>,
    /// What the translation left out or changed, and what it repaired, as the response's head says.
    pub dropped: Option<Box<str>>,
    pub repaired: Option<Box<str>>,
}

impl Detail {
    /// Begins with the head of a request. `None` if no sink needs it.
    pub fn new(config: CaptureConfig, head: &[u8]) -> Option<Box<Detail>> {
        let head = &head[..head.len().min(MAX_HEAD)];
        config.detail.then(|| Box::new(Detail { limit: config.body_bytes, head: head.to_vec(), ..Detail::default() }))
    }

    /// Sets the client's body, decoded.
    pub fn set_request_body(&mut self, body: &[u8]) {
        if self.limit > 0 {
            self.body = Some(CappedBytes::of(body, self.limit));
        }
    }

    /// Begins an attempt. What an earlier one had prepared for the client was never sent.
    pub fn begin_attempt(&mut self, attempt: Attempt) {
        self.response = SharedOrOwned::Absent;
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.push(attempt);
        }
    }

    /// Adds an attempt that ran beside the last one.
    pub fn insert_before_last(&mut self, attempt: Attempt) {
        if self.attempts.len() < MAX_ATTEMPTS {
            self.attempts.insert(self.attempts.len().saturating_sub(1), attempt);
        }
    }

    /// Calls `hide` with what the last attempt and the client got, and with their errors. It keeps
    /// the length of each, and that it is text. Its second argument says whether the end of the
    /// text is missing.
    pub fn overwrite(&mut self, hide: impl Fn(&mut [u8], bool)) {
        let hide_text = |text: &mut Option<Box<str>>| {
            *text = text.take().map(|text| {
                let mut bytes = text.into_string().into_bytes();
                hide(&mut bytes, false);
                String::from_utf8_lossy(&bytes).into()
            });
        };
        hide_text(&mut self.error);
        let hide_body = |Body { cut, .. }: &mut Body| {
            let is_cut = !cut.is_whole();
            hide(&mut cut.bytes, is_cut);
        };
        if let SharedOrOwned::Own(body) = &mut self.response {
            hide_body(body);
        }
        let Some(attempt) = self.attempts.last_mut() else { return };
        hide_text(&mut attempt.provider_message);
        if let Some(body) = &mut attempt.response {
            hide_body(body);
        }
        if let Some((kind, text)) = attempt.failure.take() {
            let mut text = Some(text);
            hide_text(&mut text);
            attempt.failure = text.map(|text| (kind, text));
        }
    }

    /// Returns the attempt that was begun last.
    pub fn last_attempt(&mut self) -> Option<&mut Attempt> {
        self.attempts.last_mut()
    }

    /// Sets the body that goes to the provider. `None` is the client's body.
    pub fn set_upstream_body(&mut self, body: Option<&[u8]>) {
        let limit = self.limit;
        if let Some(attempt) = self.attempts.last_mut().filter(|_| limit > 0) {
            attempt.request = body.map_or(SharedOrOwned::Same, |body| SharedOrOwned::Own(CappedBytes::of(body, limit)));
        }
    }

    /// Appends a piece of the provider's response.
    pub fn push_upstream(&mut self, piece: Piece<'_>) {
        let limit = self.limit;
        if let Some(attempt) = self.attempts.last_mut().filter(|_| limit > 0) {
            attempt.response.get_or_insert_with(|| piece.empty_body()).push(piece.bytes(), limit);
        }
    }

    /// Ends the attempt that runs. Returns false if there is none: it failed before its request was
    /// prepared.
    pub fn end_attempt(&mut self, now_us: u64, failure: Option<(Kind, Box<str>)>) -> bool {
        let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.ended_us == 0) else { return false };
        attempt.ended_us = now_us.max(1);
        attempt.failure = failure;
        true
    }

    /// Sets a response of the gateway's own, which is all that the client gets.
    pub fn set_reply(&mut self, body: &[u8]) {
        if self.limit > 0 {
            self.response = SharedOrOwned::Own(Body { cut: CappedBytes::of(body, self.limit), ..Body::default() });
        }
    }

    /// Notes that the client gets what the provider sends.
    pub fn mark_passthrough(&mut self) {
        if self.limit > 0 {
            self.response = SharedOrOwned::Same;
        }
    }

    /// Appends a piece of what the client gets, where it is not what the provider sent.
    pub fn push_response(&mut self, piece: Piece<'_>) {
        if self.limit == 0 || piece.bytes().is_empty() {
            return;
        }
        if !matches!(self.response, SharedOrOwned::Own(_)) {
            let passed = match self.response {
                SharedOrOwned::Same => self.attempts.last().and_then(|attempt| attempt.response.clone()),
                _ => None,
            };
            self.response = SharedOrOwned::Own(passed.unwrap_or_else(|| piece.empty_body()));
        }
        if let SharedOrOwned::Own(body) = &mut self.response {
            body.push(piece.bytes(), self.limit);
        }
    }

    /// Returns the bytes that it takes of a ring's memory.
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
        detail.begin_attempt(Attempt::new(1, Format::Chat, Short::EMPTY, "/chat/completions", 0));
        detail
    }

    #[test]
    fn unwanted_sinks_capture_nothing() {
        assert!(Detail::new(CaptureConfig::default(), b"x").is_none());
        let mut plain = detail(0);
        plain.set_request_body(b"secret");
        plain.set_upstream_body(None);
        plain.push_upstream(Piece::Event(b"secret"));
        plain.mark_passthrough();
        plain.push_response(Piece::Event(b"secret"));
        assert_eq!((&plain.body, &plain.response), (&None, &SharedOrOwned::Absent));
        assert_eq!((&plain.attempts[0].request, &plain.attempts[0].response), (&SharedOrOwned::Absent, &None));
    }

    #[test]
    fn events_are_kept_whole_or_not_at_all() {
        let mut detail = detail(10);
        for event in [&b"aaaa"[..], b"bbbb", b"cccc", b"d"] {
            detail.push_upstream(Piece::Event(event));
        }
        let body = detail.attempts[0].response.clone().unwrap();
        assert_eq!(body.events().collect::<Vec<_>>(), [b"aaaa", b"bbbb"]);
        assert_eq!((body.cut.total, body.cut.is_whole()), (13, false));
        // Of several together, those that fit.
        for (limit, kept) in
            [(13, "1\n\n2\n\n3\n\n4\n\n"), (12, "1\n\n2\n\n3\n\n4\n\n"), (11, "1\n\n2\n\n3\n\n"), (2, "")]
        {
            let mut detail = self::detail(limit);
            detail.push_upstream(Piece::Event(b"1\n\n2\n\n3\n\n4\n\n"));
            detail.push_upstream(Piece::Event(b"5\n\n"));
            let body = detail.attempts[0].response.clone().unwrap();
            assert_eq!(body.events().collect::<Vec<_>>().concat(), kept.as_bytes(), "{limit}");
            assert_eq!((body.cut.total, body.cut.is_whole()), (15, false));
        }
    }

    #[test]
    fn shared_capture_becomes_separate_when_the_sides_differ() {
        let mut detail = detail(100);
        detail.push_upstream(Piece::Event(b"event 1"));
        detail.mark_passthrough();
        assert_eq!(detail.response, SharedOrOwned::Same);
        detail.push_response(Piece::Event(b"an error"));
        let SharedOrOwned::Own(body) = &detail.response else { panic!("{:?}", detail.response) };
        assert_eq!(body.events().collect::<Vec<_>>(), [&b"event 1"[..], b"an error"]);
        assert!(detail.size() > 30);
    }

    #[test]
    fn failed_attempt_leaves_no_captured_response() {
        let mut detail = detail(100);
        detail.push_upstream(Piece::Event(b"event of the first"));
        detail.mark_passthrough();
        assert!(detail.end_attempt(5, Some((Kind::UpstreamFault, "it broke".into()))));
        assert!(!detail.end_attempt(6, None));
        assert_eq!(detail.attempts[0].ended_us, 5);

        detail.begin_attempt(Attempt::new(2, Format::Messages, Short::EMPTY, "/messages", 6));
        detail.push_upstream(Piece::Event(b"event of the second"));
        detail.push_response(Piece::Event(b"translated"));
        let SharedOrOwned::Own(body) = &detail.response else { panic!("{:?}", detail.response) };
        assert_eq!(body.events().collect::<Vec<_>>(), [b"translated"]);

        detail.set_reply(b"{}");
        let SharedOrOwned::Own(body) = &detail.response else { panic!("{:?}", detail.response) };
        assert_eq!((&*body.cut.bytes, body.stream), (&b"{}"[..], false));
    }

    #[test]
    fn bodies_are_capped() {
        let mut detail = detail(4);
        detail.set_request_body(b"123456");
        assert_eq!(detail.body, Some(CappedBytes { bytes: b"1234".to_vec(), total: 6 }));
        detail.set_upstream_body(Some(b"12"));
        assert_eq!(detail.attempts[0].request, SharedOrOwned::Own(CappedBytes { bytes: b"12".to_vec(), total: 2 }));
        detail.push_upstream(Piece::Part(b"123"));
        detail.push_upstream(Piece::Part(b"456"));
        assert_eq!(
            detail.attempts[0].response.as_ref().unwrap().cut,
            CappedBytes { bytes: b"1234".to_vec(), total: 6 }
        );
    }
}

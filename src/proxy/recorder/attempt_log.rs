//! The attempts of one request: what the current one is doing, for the record, the capture and the
//! metrics.

use super::payload_capture::PayloadCapture;
use crate::telemetry::capture::Attempt;
use crate::telemetry::record::{Outcome, Record, Short};
use llm_wire::Format;
use llm_wire::error::Error;

/// What goes to the provider in an attempt.
pub struct UpstreamRequest<'a> {
    pub format: Format,
    /// The upstream model.
    pub model: &'a str,
    /// The path at the provider.
    pub path: &'static str,
    /// `None` is the client's body.
    pub body: Option<&'a [u8]>,
}

/// An attempt that ran beside another one, which was the answer.
pub struct LostAttempt<'a> {
    /// The id and the name of the provider.
    pub provider: i64,
    pub name: &'a str,
    pub format: Format,
    /// The upstream model.
    pub model: &'a str,
    /// Microseconds since the request's start.
    pub began_us: u64,
}

/// The attempt that runs, or ran last. Times are microseconds since the request's start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AttemptLog {
    pub(super) began_us: u64,
    /// 0 without a response.
    first_byte_us: u64,
    /// 0 without a response.
    status: u16,
    /// The path at the provider. `None` before the request is prepared.
    path: Option<&'static str>,
    /// Whether the provider has got the request.
    is_sent: bool,
    /// The bytes of the response's body that have come.
    received: u64,
    /// Whether the response is a stream of events, whatever the client gets.
    is_event_stream: bool,
}

impl AttemptLog {
    /// Begins an attempt at a provider.
    pub(super) fn begin(record: &mut Record, provider: i64, began_us: u64) -> AttemptLog {
        record.attempts = record.attempts.saturating_add(1);
        record.provider = provider;
        AttemptLog { began_us, ..AttemptLog::default() }
    }

    /// Notes the request that goes to the provider.
    pub(super) fn set_request(
        &mut self,
        record: &mut Record,
        capture: &mut PayloadCapture,
        request: &UpstreamRequest<'_>,
    ) {
        record.provider_format = Some(request.format);
        record.sent_model = Short::new(request.model);
        self.path = Some(request.path);
        capture.begin_attempt(|| {
            Attempt::new(record.provider, request.format, record.sent_model, request.path, self.began_us)
        });
        capture.gateway_sent(request.body);
    }

    /// Notes the head of a response. The first one of the request is the record's.
    pub(super) fn set_first_byte(&mut self, record: &mut Record, capture: &mut PayloadCapture, us: u64, status: u16) {
        if record.first_byte_us == 0 {
            record.first_byte_us = us;
        }
        self.first_byte_us = us;
        self.status = status;
        capture.set_first_byte(us, status);
    }

    /// Notes that the provider has got the request.
    pub(super) fn set_sent(&mut self) {
        self.is_sent = true;
    }

    /// Returns whether the provider has got the request.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent || self.status > 0
    }

    /// Sets whether the response is a stream of events, which it may be for a client that gets the
    /// answer whole, and how many bytes of its body have come with its head.
    pub(super) fn set_body(&mut self, is_event_stream: bool, with_head: usize) {
        (self.is_event_stream, self.received) = (is_event_stream, with_head as u64);
    }

    /// Returns whether the response is a stream of events.
    pub(super) fn is_event_stream(&self) -> bool {
        self.is_event_stream
    }

    /// Adds bytes of the response's body.
    pub(super) fn add_received(&mut self, count: usize) {
        self.received += count as u64;
    }

    /// Returns how many bytes of the response's body have come.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Captures the attempt that runs, for a capture that began after it.
    pub(super) fn capture(&self, record: &Record, capture: &mut PayloadCapture) {
        let AttemptLog { began_us, first_byte_us, status, path, .. } = *self;
        if let (Some(path), Some(format)) = (path, record.provider_format) {
            let attempt = || Attempt::new(record.provider, format, record.sent_model, path, began_us);
            capture.begin_attempt(|| Attempt { first_byte_us, status, ..attempt() });
        }
    }

    /// Ends the attempt. Returns its outcome, a metric label.
    pub(super) fn end(
        &self,
        record: &Record,
        capture: &mut PayloadCapture,
        now_us: impl FnOnce() -> u64,
        failure: Option<&Error>,
    ) -> &'static str {
        if capture.is_on() {
            let failure = failure.map(|error| (error.kind, Box::from(error.to_string())));
            // An attempt that failed before its request was prepared is captured all the same.
            let format = record.provider_format.filter(|_| failure.is_some());
            let unsent = || Some(Attempt::new(record.provider, format?, Short::EMPTY, "", self.began_us));
            capture.end_attempt(now_us(), failure, unsent);
        }
        match (failure, record.outcome) {
            (Some(error), _) => error.kind.row().label,
            (None, Outcome::Truncated(kind)) => kind.row().label,
            (None, Outcome::ClientDisconnected) => "client_gone",
            (None, Outcome::Complete | Outcome::Failed(_)) => "ok",
        }
    }

    /// Returns the microseconds to the first byte of the response, or 0 without one.
    pub(super) fn latency_us(&self) -> u64 {
        self.first_byte_us.saturating_sub(self.began_us)
    }
}

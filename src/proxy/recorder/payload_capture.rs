//! Copies of heads and bodies, for the sinks that need them. Without such a sink every method does
//! nothing.

use std::borrow::Cow;

use crate::config::snapshot::Provider;
use crate::telemetry::capture::{Attempt, CaptureConfig, Detail, Piece};
use crate::telemetry::record::{Record, Short};
use crate::telemetry::trace::Context;
use llm_wire::Format;
use llm_wire::error::{Error, Kind, classify};
use llm_wire::formats::errors;

/// The heads and bodies of one request that a sink needs.
#[derive(Default)]
pub struct PayloadCapture {
    detail: Option<Box<Detail>>,
    sampled_out: bool,
}

impl PayloadCapture {
    /// Begins with the head of a request. `is_sampled` says whether this one is captured, where not
    /// all need be.
    pub(super) fn start(config: CaptureConfig, head: &[u8], is_sampled: bool) -> PayloadCapture {
        let detail = if is_sampled { Detail::new(config, head) } else { None };
        PayloadCapture { detail, sampled_out: !is_sampled }
    }

    /// Begins after all, if the request was sampled out. Returns whether it has begun now.
    pub(super) fn start_after_all(&mut self, config: CaptureConfig, head: &[u8]) -> bool {
        if !std::mem::take(&mut self.sampled_out) {
            return false;
        }
        self.detail = Detail::new(config, head);
        true
    }

    /// Returns whether anything is captured.
    pub fn is_on(&self) -> bool {
        self.detail.is_some()
    }

    /// Captures the client's body, decoded.
    pub fn client_sent(&mut self, body: &[u8]) {
        if let Some(detail) = &mut self.detail {
            detail.set_request_body(body);
        }
    }

    /// Captures the body that goes to the provider. `None` is the client's body.
    pub(super) fn gateway_sent(&mut self, body: Option<&[u8]>) {
        if let Some(detail) = &mut self.detail {
            detail.set_upstream_body(body);
        }
    }

    /// Notes what the translation left out and what it repaired, as the response's head says.
    pub fn set_losses(&mut self, dropped: Option<&str>, repaired: Option<&str>) {
        if let Some(detail) = &mut self.detail {
            detail.dropped = dropped.map(Box::from);
            detail.repaired = repaired.map(Box::from);
        }
    }

    /// Captures a piece of the provider's response.
    pub fn upstream_sent(&mut self, piece: Piece<'_>) {
        if let Some(detail) = &mut self.detail {
            detail.push_upstream(piece);
        }
    }

    /// Notes the provider's own message in an error response that is forwarded. A message that
    /// refuses an API key may quote it and is left out.
    pub fn set_provider_message(&mut self, format: Format, status: u16, body: &[u8]) {
        let Some(attempt) = self.detail.as_mut().and_then(|detail| detail.last_attempt()) else { return };
        let Some(read) = errors::read_refusal(format, body) else { return };
        let error = classify::error(Some(status), &read);
        if error.kind != Kind::UpstreamAuth {
            attempt.provider_message = Some(error.note.into());
        }
    }

    /// Notes that the client gets what the provider sends.
    pub fn mark_passthrough(&mut self) {
        if let Some(detail) = &mut self.detail {
            detail.mark_passthrough();
        }
    }

    /// Captures a piece of what the client gets, where it is not what the provider sent.
    pub fn client_got(&mut self, piece: Piece<'_>) {
        if let Some(detail) = &mut self.detail {
            detail.push_response(piece);
        }
    }

    /// Captures the body of a response of the gateway's own, which replaces any other.
    pub fn set_reply(&mut self, body: &[u8]) {
        if let Some(detail) = &mut self.detail {
            detail.set_reply(body);
        }
    }

    /// Does the same with a complete response, head and body.
    pub fn set_reply_of(&mut self, response: &[u8]) {
        if let Some(detail) = &mut self.detail
            && let Some(end) = memchr::memmem::find(response, b"\r\n\r\n")
        {
            detail.set_reply(&response[end + 4..]);
        }
    }

    /// Overwrites the keys of the provider that was asked last in what it has sent.
    pub fn hide_keys(&mut self, provider: &Provider) {
        if let Some(detail) = &mut self.detail {
            detail.overwrite(|text, is_cut| match is_cut {
                true => provider.hide_keys_of_cut(text),
                false => provider.hide_keys(text),
            });
        }
    }

    /// Notes the error that the client gets.
    pub(super) fn set_error(&mut self, error: &Error) {
        if let Some(detail) = &mut self.detail {
            detail.error = Some(error.to_string().into());
        }
    }

    pub(super) fn begin_attempt(&mut self, attempt: impl FnOnce() -> Attempt) {
        if let Some(detail) = &mut self.detail {
            detail.begin_attempt(attempt());
        }
    }

    /// Captures an attempt that ran beside the last one. The last one stays the last.
    pub(super) fn insert_before_last(&mut self, attempt: impl FnOnce() -> Attempt) {
        if let Some(detail) = &mut self.detail {
            detail.insert_before_last(attempt());
        }
    }

    pub(super) fn set_first_byte(&mut self, us: u64, status: u16) {
        if let Some(attempt) = self.detail.as_mut().and_then(|detail| detail.last_attempt()) {
            attempt.first_byte_us = us;
            attempt.status = status;
        }
    }

    /// Returns whether it is to be captured which model responds, and is not known yet.
    pub fn awaits_model(&self) -> bool {
        let attempt = self.detail.as_ref().and_then(|detail| detail.attempts.last());
        attempt.is_some_and(|attempt| attempt.answered_by == Short::EMPTY)
    }

    /// Captures which model responds, as `name` finds out. The first call with a name counts.
    pub(super) fn set_responding_model<'n>(&mut self, name: impl FnOnce() -> Option<Cow<'n, str>>) {
        let attempt = self.detail.as_mut().and_then(|detail| detail.last_attempt());
        if let Some(attempt) = attempt.filter(|attempt| attempt.answered_by == Short::EMPTY) {
            attempt.answered_by = name().map_or(Short::EMPTY, |name| Short::new(&name));
        }
    }

    /// Ends the attempt that runs. If there is none, `unsent` makes the one that has failed.
    pub(super) fn end_attempt(
        &mut self,
        now_us: u64,
        failure: Option<(Kind, Box<str>)>,
        unsent: impl FnOnce() -> Option<Attempt>,
    ) {
        let Some(detail) = &mut self.detail else { return };
        if !detail.end_attempt(now_us, failure.clone())
            && let Some(attempt) = unsent()
        {
            detail.begin_attempt(attempt);
            detail.end_attempt(now_us, failure);
        }
    }

    /// Sets the place of the request in its trace. `context` makes it if something is captured.
    pub(super) fn set_trace(&mut self, context: impl FnOnce() -> Context) {
        if let Some(detail) = &mut self.detail {
            detail.trace = Some(context());
        }
    }

    /// Returns the trace, and the number that the span of the next attempt will have in it.
    pub(super) fn trace(&self) -> Option<(Context, u64)> {
        let detail = self.detail.as_ref()?;
        Some((detail.trace?, detail.attempts.len() as u64 + 1))
    }

    /// Moves what was captured to the record.
    pub(super) fn finish(&mut self, record: &mut Record) {
        record.detail = self.detail.take();
        record.sampled_out = self.sampled_out;
    }
}

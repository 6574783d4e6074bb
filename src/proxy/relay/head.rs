//! The head of a response: one writer for all relays.

use super::super::headers::{self, Disposition};
use super::super::reply;
use super::super::request_context::RequestContext;
use super::super::retry_hint::{self, RetryHint};
use llm_http::{ResponseHead, Version, write};
use llm_wire::canonical::loss::{Ledger, Loss, LossKind};

/// How the body reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    Length(u64),
    /// A status that has neither body nor length (204, 304).
    Empty,
    Chunked,
    /// To the end of the connection, for clients of HTTP/1.0.
    Close,
}

impl BodyFraming {
    /// Returns the framing of a body whose length is not known yet.
    pub(super) fn of_unknown_length(version: Version) -> BodyFraming {
        match version {
            Version::Http11 => BodyFraming::Chunked,
            Version::Http10 => BodyFraming::Close,
        }
    }
}

/// What the head of a response is made from.
pub(super) struct HeadParts<'a> {
    pub status: u16,
    pub framing: BodyFraming,
    pub upstream: &'a ResponseHead,
    /// The bytes that the offsets of `upstream` refer to.
    pub upstream_bytes: &'a [u8],
    pub transfer: HeadTransfer<'a>,
}

/// Which fields of the upstream's head hold for the client.
#[derive(Debug, Clone, Copy)]
pub(super) enum HeadTransfer<'a> {
    /// The body is the provider's: [`headers::to_client`].
    Passthrough,
    /// The same, but the caller writes the content type: the provider's is wrong, or its coding was
    /// undone.
    Corrected,
    /// The body was written here: [`headers::to_translated_client`]. The ledger names what the
    /// request lost on its way to the provider.
    Translated(Option<&'a Ledger>),
}

/// Begins the head of a response: the gateway's own fields, and those of the upstream that may
/// pass. The caller adds its own and calls [`end`].
pub(super) fn begin(out: &mut Vec<u8>, req: &mut RequestContext<'_>, parts: &HeadParts<'_>) {
    // The gateway may have begun to drain since the request arrived.
    req.meta.keep_alive &= parts.framing != BodyFraming::Close && !req.core.shared.is_leaving();
    let second = req.core.timers.unix_us() / 1_000_000;
    reply::begin_at(out, parts.status, &req.meta, req.recorder.request_id_bytes(), second);
    if let HeadTransfer::Translated(Some(ledger)) = parts.transfer {
        let (dropped, repaired) = (ledger.dropped_header(), ledger.repaired_header());
        for (name, value) in [("x-llm-proxy-dropped", &dropped), ("x-llm-proxy-repaired", &repaired)] {
            let _ = value.as_ref().map(|value| write::header(out, name, value.as_bytes()));
        }
        req.recorder.capture.set_losses(dropped.as_deref(), repaired.as_deref());
    }
    if req.effort_none_added {
        let value = format!("{};{}", Loss::ReasoningEffort.label(), LossKind::Approx.label());
        let _ = write::header(out, "x-llm-proxy-dropped", value.as_bytes());
    }
    // The limits of one account mislead where several serve the model, or where the client's
    // credential has limits of its own.
    let shows_limits = !req.pooled && req.meta.budget.is_none();
    let mut has_id = false;
    // What an error response says about another try is written anew where it is no time.
    let is_error = parts.upstream.status >= 400;
    let mut has_wait = false;
    for (name, value) in parts.upstream.fields(parts.upstream_bytes) {
        let disposition = match parts.transfer {
            HeadTransfer::Passthrough => headers::to_client(name),
            HeadTransfer::Corrected if headers::describes_body(name) => Disposition::Drop,
            HeadTransfer::Corrected => headers::to_client(name),
            HeadTransfer::Translated(_) => headers::to_translated_client(name),
        };
        match (disposition, parts.transfer) {
            (Disposition::Forward, _) if is_error && retry_hint::is_wait(name) => {
                if retry_hint::is_valid_wait(name, value) {
                    has_wait = true;
                    write_field(out, name, value);
                }
            }
            (Disposition::Forward, _) => write_field(out, name, value),
            (Disposition::RateLimit, HeadTransfer::Passthrough | HeadTransfer::Corrected) if shows_limits => {
                write_field(out, name, value)
            }
            (Disposition::RateLimit, HeadTransfer::Translated(_)) if shows_limits => {
                headers::rate_limit(out, req.route.format, name, value);
            }
            (Disposition::UpstreamId, _) if !has_id => {
                has_id = true;
                write_field(out, b"x-llm-proxy-upstream-request-id", value);
            }
            (Disposition::RateLimit | Disposition::UpstreamId | Disposition::Drop, _) => {}
        }
    }
    if is_error
        && !has_wait
        && let Some(seconds) = RetryHint::of(parts.upstream, parts.upstream_bytes).seconds()
    {
        let _ = write::header(out, "retry-after", itoa::Buffer::new().format(seconds).as_bytes());
    }
}

/// Writes a field that passed the response parser, which refuses what would split a head.
fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Ends the head with the framing of the body.
pub(super) fn end(out: &mut Vec<u8>, framing: BodyFraming) {
    match framing {
        BodyFraming::Empty | BodyFraming::Close => {}
        BodyFraming::Length(n) => write::content_length(out, n),
        BodyFraming::Chunked => write::transfer_chunked(out),
    }
    write::end_head(out);
}

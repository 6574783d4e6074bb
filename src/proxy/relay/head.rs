//! The head of a response: one writer for all relays.

use super::super::headers::{self, Fate};
use super::super::reply;
use super::super::request_context::RequestContext;
use crate::telemetry::stages::Stage;
use llm_http::{ResponseHead, Version, write};

/// How the body reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    Length(u64),
    /// A status that has no body and no length (204, 304).
    Empty,
    Chunked,
    /// To the end of the connection, for clients of HTTP/1.0.
    Close,
}

impl Framed {
    /// For a body whose length is not known yet.
    pub fn unknown(version: Version) -> Framed {
        match version {
            Version::Http11 => Framed::Chunked,
            Version::Http10 => Framed::Close,
        }
    }
}

/// Opens the head of the answer: ours, and what the tables let pass of the upstream's. The caller
/// ends it with [`end_head`].
pub fn begin(
    out: &mut Vec<u8>,
    req: &mut RequestContext<'_>,
    head: &ResponseHead,
    bytes: &[u8],
    pooled: bool,
    framed: Framed,
) {
    // The stop may have been called since the request came.
    req.meta.keep_alive &= framed != Framed::Close && !req.core.shared.leaving();
    reply::begin(out, head.status, &req.meta, req.recorder.request_id());
    let limits = !pooled && req.meta.budget.is_none();
    let mut id = false;
    for (name, value) in head.fields(bytes) {
        match headers::to_client(name) {
            Fate::Forward => {}
            Fate::RateLimit if limits => {}
            Fate::UpstreamId if !id => {
                id = true;
                line(out, b"x-llm-proxy-upstream-request-id", value);
                continue;
            }
            Fate::RateLimit | Fate::UpstreamId | Fate::Drop => continue,
        }
        line(out, name, value);
    }
}

/// Where the time went so far, in milliseconds (W3C Server Timing, 2025-04). For whole answers: a
/// stream's head is sent before there is much to tell.
pub fn timing(out: &mut Vec<u8>, req: &RequestContext<'_>) {
    let Some(stages) = req.recorder.stages() else { return };
    out.extend_from_slice(b"server-timing: ");
    let mut separator = "";
    let mut digits = itoa::Buffer::new();
    for stage in Stage::ALL.into_iter().filter(|stage| stages.get(*stage) > 0) {
        let us = stages.get(stage) / 1000;
        for part in [separator, stage.label(), ";dur=", digits.format(us / 1000), "."] {
            out.extend_from_slice(part.as_bytes());
        }
        // Three digits, which a 1 before them makes sure of.
        out.extend_from_slice(&digits.format(1000 + us % 1000).as_bytes()[1..]);
        separator = ", ";
    }
    out.extend_from_slice(b"\r\n");
}

/// A field that passed the response parser, which refuses what would split a head.
pub fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Ends the head with the framing of the body.
pub fn end_head(out: &mut Vec<u8>, framed: Framed) {
    match framed {
        Framed::Empty | Framed::Close => {}
        Framed::Length(n) => write::content_length(out, n),
        Framed::Chunked => write::transfer_chunked(out),
    }
    write::end_head(out);
}

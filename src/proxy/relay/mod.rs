//! Moves an upstream's answer to the client: [`whole`] answers and [`stream`]s of the same format
//! byte for byte, those of another format [`translated`].

mod outlet;
mod pace;
pub mod stream;
pub mod translated;
pub mod whole;

use super::attempt::{End, Upstream};
use super::headers::{self, Fate};
use super::prepare::Bypass;
use super::reply;
use super::request::RequestContext;
use crate::telemetry::record::{Source, Tokens};
use crate::telemetry::stages::Stage;
use llm_http::{ResponseHead, Version, write};
use llm_wire::canonical::usage::Usage;

/// What the relay has to mind.
pub struct Plan<'a> {
    pub bypass: Bypass,
    /// Several accounts stand behind the model: what one of them says of its limits would mislead.
    pub pooled: bool,
    pub provider: &'a str,
}

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
    fn unknown(version: Version) -> Framed {
        match version {
            Version::Http11 => Framed::Chunked,
            Version::Http10 => Framed::Close,
        }
    }
}

pub async fn run(req: &mut RequestContext<'_>, upstream: Upstream, plan: &Plan<'_>) -> End {
    let is_stream = is_stream(&upstream);
    let encoded = upstream
        .head
        .get(&upstream.bytes, "content-encoding")
        .is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    // An encoded body can't be looked into: it was asked for as identity, and passes as it is.
    if is_stream && upstream.head.status == 200 && !encoded {
        stream::run(req, upstream, plan).await
    } else {
        whole::run(req, upstream, plan, encoded).await
    }
}

fn is_stream(upstream: &Upstream) -> bool {
    let content_type = upstream.head.get(&upstream.bytes, "content-type").unwrap_or_default();
    content_type.get(..17).is_some_and(|t| t.eq_ignore_ascii_case(b"text/event-stream"))
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
    req.meta.keep_alive &= framed != Framed::Close && !req.core.shared.draining();
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
fn timing(out: &mut Vec<u8>, req: &RequestContext<'_>) {
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
fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
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

fn tokens(usage: &Usage) -> Tokens {
    Tokens {
        input: usage.input_total,
        output: usage.output_total,
        cache_read: usage.cache_read,
        cache_write_5m: usage.cache_write_5m,
        cache_write_1h: usage.cache_write_1h,
        reasoning: usage.reasoning,
        server_tools: usage.server_tools,
        source: Source::Provider,
    }
}

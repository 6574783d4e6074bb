//! Relays an answer that is not a stream.
//!
//! The bytes pass through as they come, so a large answer and a slow client cost one buffer. On the
//! way a scanner over the top level of the JSON takes note of `usage`, and puts the model's name
//! back where the upstream knows it by another.

use super::super::client::Waited;
use super::super::endpoint::Operation;
use super::super::request_context::Next;
use super::super::request_context::RequestContext;
use super::super::upstream::{End, Failure, Upstream};
use super::Plan;
use super::head::{Framed, begin, end_head, timing};
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::record::Tokens;
use llm_http::{BodyDecoder, Framing, Step, write};
use llm_wire::Format;
use llm_wire::canonical::event::Reason;
use llm_wire::error::{Error, Kind};
use llm_wire::json::stream::Document;
use llm_wire::json::{RawStr, RawValue, scan};
use llm_wire::passthrough::finish;
use llm_wire::passthrough::tap;

/// Bytes of each member that is kept to be read, without its long texts: usage, which has a few
/// hundred, and what tells why the answer ended, which in Chat and Responses stands beside what was
/// said. Of an answer with more than that beside its texts it is not known.
const CAPTURED_BYTES: usize = 64 << 10;

/// The body on its way.
struct Body {
    decoder: BodyDecoder,
    document: Document,
    renamed: bool,
    /// Not JSON that can be looked into.
    opaque: bool,
}

impl Body {
    /// Appends to `out` what `input` holds for the client. True at the end of the body.
    fn digest(&mut self, recorder: &mut RequestRecorder, input: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        let mut pos = 0;
        loop {
            match self.decoder.next(input, &mut pos) {
                Ok(Step::Data(range)) => self.pass(recorder, &input[range], out),
                Ok(Step::More) => return Ok(false),
                Ok(Step::End) => return Ok(self.finish(recorder, out)),
                Err(error) => return Err(Error::upstream(Kind::UpstreamFault, error.to_string())),
            }
        }
    }

    fn pass(&mut self, recorder: &mut RequestRecorder, data: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        if let Some(detail) = recorder.detail() {
            detail.received(data, false);
        }
        if self.opaque {
            out.extend_from_slice(data);
        } else if self.renamed {
            self.document.feed(data, out);
        } else {
            self.document.observe(data);
            out.extend_from_slice(data);
        }
        self.answered(recorder, &out[from..]);
    }

    fn finish(&mut self, recorder: &mut RequestRecorder, out: &mut Vec<u8>) -> bool {
        if self.renamed && !self.opaque {
            let from = out.len();
            self.document.finish(out);
            self.answered(recorder, &out[from..]);
        }
        true
    }

    /// What the client gets, where it is not what the provider sent.
    fn answered(&self, recorder: &mut RequestRecorder, piece: &[u8]) {
        if let Some(detail) = recorder.detail().filter(|_| self.renamed) {
            detail.answered(piece, false);
        }
    }
}

pub async fn run(req: &mut RequestContext<'_>, mut upstream: Upstream, plan: &Plan<'_>, encoded: bool) -> End {
    let status = upstream.head.status;
    let json = upstream
        .head
        .get(&upstream.bytes, "content-type")
        .is_some_and(|t| t.windows(4).any(|w| w.eq_ignore_ascii_case(b"json")));
    let came = upstream.bytes.len() - upstream.head.len;
    if upstream.head.framing == Framing::Length(came as u64) && !plan.bypass.renamed {
        return at_once(req, upstream, plan, json && !encoded).await;
    }
    let mut document = Document::new(finish::members(req.route.format), CAPTURED_BYTES);
    if plan.bypass.renamed {
        document = document.replace_model(&req.model.asked);
    }
    if req.recorder.detail().is_some() {
        document = document.capture("model");
    }
    let opaque = encoded || !json;
    let mut body =
        Body { decoder: BodyDecoder::new(upstream.head.framing), document, renamed: plan.bypass.renamed, opaque };

    let mut payload = Vec::with_capacity(upstream.bytes.len());
    if let Some(detail) = req.recorder.detail().filter(|_| !plan.bypass.renamed) {
        detail.passes();
    }
    let first = body.digest(&mut req.recorder, &upstream.bytes[upstream.head.len..], &mut payload);
    let mut ended = match first {
        Ok(ended) => ended,
        Err(error) => return End::Failed(Failure::of(broken(plan, &error))),
    };
    let framed = match upstream.head.framing {
        _ if matches!(status, 204 | 304) => Framed::Empty,
        _ if ended => Framed::Length(payload.len() as u64),
        Framing::Length(n) if !plan.bypass.renamed || opaque => Framed::Length(n),
        _ => Framed::unknown(req.meta.version),
    };
    let mut out = Vec::with_capacity(payload.len() + 768);
    begin(&mut out, req, &upstream.head, &upstream.bytes, plan.pooled, framed);
    timing(&mut out, req);
    end_head(&mut out, framed);
    append(&mut out, &payload, framed, ended);
    req.recorder.set_complete(status);
    let mut input = std::mem::take(&mut upstream.bytes);
    loop {
        if ended {
            upstream.bytes = input;
            settle(req, &body, upstream);
            return match req.send(out).await {
                Ok(_) => End::Answered(req.next()),
                Err(_) => End::ClientGone,
            };
        }
        out = match req.send(out).await {
            Ok(out) => out,
            Err(_) => return End::ClientGone,
        };
        input.clear();
        let limit = req.silence_limit();
        // An upstream that never pauses lets no deadline pass.
        if limit.is_zero() || req.core.stopping() {
            return cut(req, plan, "was given no more time");
        }
        req.client.deadline.set(limit);
        payload.clear();
        ended = match req.client.wait(upstream.connection.reader.read(&mut input)).await {
            Waited::Gone => return End::ClientGone,
            Waited::Expired => return cut(req, plan, "stopped sending"),
            Waited::Done(Err(_)) => return cut(req, plan, "broke the connection"),
            Waited::Done(Ok(0)) => match body.decoder.eof() {
                Ok(()) => body.finish(&mut req.recorder, &mut payload),
                Err(_) => return cut(req, plan, "closed the connection"),
            },
            Waited::Done(Ok(_)) => {
                req.recorder.on_upstream_bytes();
                match body.digest(&mut req.recorder, &input, &mut payload) {
                    Ok(ended) => ended,
                    Err(_) => return cut(req, plan, "sent a malformed body"),
                }
            }
        };
        append(&mut out, &payload, framed, ended);
    }
}

/// The answer came together with its head, and goes on as it is: the most common case, and one copy
/// of the bytes.
async fn at_once(req: &mut RequestContext<'_>, upstream: Upstream, plan: &Plan<'_>, readable: bool) -> End {
    let Upstream { head, bytes, .. } = &upstream;
    let body = &bytes[head.len..];
    if let Some(detail) = req.recorder.detail() {
        detail.passes();
        detail.received(body, false);
    }
    let framed = match head.status {
        204 | 304 => Framed::Empty,
        _ => Framed::Length(body.len() as u64),
    };
    let mut out = Vec::with_capacity(body.len() + 768);
    begin(&mut out, req, head, bytes, plan.pooled, framed);
    timing(&mut out, req);
    end_head(&mut out, framed);
    append(&mut out, body, framed, true);
    req.recorder.set_complete(head.status);
    if readable {
        let members = members(req.route.format, body);
        told(req, |name| members.iter().find(|(known, _)| *known == name)?.1);
    }
    let mut decoder = BodyDecoder::new(head.framing);
    let mut pos = 0;
    while let Ok(Step::Data(_)) = decoder.next(body, &mut pos) {}
    upstream.settle(req, &decoder);
    match req.send(out).await {
        Ok(_) => End::Answered(req.next()),
        Err(_) => End::ClientGone,
    }
}

fn append(out: &mut Vec<u8>, payload: &[u8], framed: Framed, ended: bool) {
    match framed {
        Framed::Chunked => {
            write::chunk(out, payload);
            if ended {
                write::last_chunk(out);
            }
        }
        Framed::Empty => {}
        Framed::Length(_) | Framed::Close => out.extend_from_slice(payload),
    }
}

/// The answer was read to its end: what it tells goes to the record, its connection to the pool.
fn settle(req: &mut RequestContext<'_>, body: &Body, upstream: Upstream) {
    if !body.opaque {
        told(req, |name| body.document.captured(name));
    }
    upstream.settle(req, &body.decoder);
}

/// The members that [`told`] reads, by one walk.
fn members(format: Format, body: &[u8]) -> [(&'static str, Option<RawValue<'_>>); 5] {
    let mut found = [("", None); 5];
    for (place, name) in found.iter_mut().zip(finish::members(format).iter().chain(&["model"])) {
        place.0 = name;
    }
    for (key, value, _) in scan::members(body) {
        if let Some((_, place)) = found.iter_mut().find(|(name, _)| key.eq_str(name)) {
            *place = Some(value);
        }
    }
    found
}

/// What an answer tells of itself at its top level.
fn told<'a>(req: &mut RequestContext<'_>, member: impl Fn(&str) -> Option<RawValue<'a>>) {
    if let Some(raw) = member("usage") {
        req.recorder.record_mut().tokens = Some(Tokens::reported(&tap::usage(req.route.format, raw)));
    }
    if req.route.operation == Operation::Generate {
        req.recorder.record_mut().finish = finish::of_answer(req.route.format, &member).map(Reason::label);
        req.recorder.set_answering_model(|| member("model")?.as_str().map(RawStr::unescape));
    }
}

/// The body broke off after its head was sent. The client sees it by the framing: fewer bytes than
/// announced, or no last chunk.
fn cut(req: &mut RequestContext<'_>, plan: &Plan<'_>, how: &str) -> End {
    tracing::warn!(
        request_id = req.recorder.request_id(),
        "upstream: provider `{}` {how} before the end of its answer",
        plan.provider
    );
    req.recorder.set_cut(Kind::UpstreamTruncated);
    End::Answered(Next::Close)
}

fn broken(plan: &Plan<'_>, error: &Error) -> Error {
    let note = format!("provider `{}` sent a malformed answer", plan.provider);
    Error::upstream(Kind::UpstreamFault, note).detail(&error.note)
}

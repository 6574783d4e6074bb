//! Relays an answer that is not a stream.
//!
//! The bytes pass through as they come, so a large answer and a slow client cost one buffer. On the way a scanner over the top level of the
//! JSON takes note of `usage`, and puts the model's name back where the upstream knows it by another.

use super::super::attempt::{End, Failure, Upstream};
use super::super::client::Waited;
use super::super::conn::Next;
use super::super::endpoint::Operation;
use super::super::request::Exchange;
use super::super::ticket::Ticket;
use super::{Framed, Plan, begin, end_head, timing, tokens};
use crate::error::{Error, Kind};
use crate::json::stream::Document;
use crate::json::{RawStr, RawValue, scan};
use crate::net::http::{BodyDecoder, Framing, Step, write};
use crate::wire::event::Reason;
use crate::wire::finish;
use crate::wire::{self, Format};

/// Bytes of each member that is kept to be read, without its long texts: usage, which has a few hundred, and what tells why the answer
/// ended, which in Chat and Responses stands beside what was said. Of an answer with more than that beside its texts it is not known.
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
    fn digest(&mut self, ticket: &mut Ticket, input: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        let mut pos = 0;
        loop {
            match self.decoder.next(input, &mut pos) {
                Ok(Step::Data(range)) => self.pass(ticket, &input[range], out),
                Ok(Step::More) => return Ok(false),
                Ok(Step::End) => return Ok(self.finish(ticket, out)),
                Err(error) => return Err(Error::upstream(Kind::UpstreamFault, error.to_string())),
            }
        }
    }

    fn pass(&mut self, ticket: &mut Ticket, data: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        if let Some(detail) = ticket.detail() {
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
        self.answered(ticket, &out[from..]);
    }

    fn finish(&mut self, ticket: &mut Ticket, out: &mut Vec<u8>) -> bool {
        if self.renamed && !self.opaque {
            let from = out.len();
            self.document.finish(out);
            self.answered(ticket, &out[from..]);
        }
        true
    }

    /// What the client gets, where it is not what the provider sent.
    fn answered(&self, ticket: &mut Ticket, piece: &[u8]) {
        if let Some(detail) = ticket.detail().filter(|_| self.renamed) {
            detail.answered(piece, false);
        }
    }
}

pub async fn run(x: &mut Exchange<'_>, mut upstream: Upstream, plan: &Plan<'_>, encoded: bool) -> End {
    let status = upstream.head.status;
    let json = upstream
        .head
        .get(&upstream.bytes, "content-type")
        .is_some_and(|t| t.windows(4).any(|w| w.eq_ignore_ascii_case(b"json")));
    let came = upstream.bytes.len() - upstream.head.len;
    if upstream.head.framing == Framing::Length(came as u64) && !plan.bypass.renamed {
        return at_once(x, upstream, plan, json && !encoded).await;
    }
    let mut document = Document::new(finish::members(x.relay.format), CAPTURED_BYTES);
    if plan.bypass.renamed {
        document = document.replace_model(&x.model.asked);
    }
    if x.ticket.detail().is_some() {
        document = document.capture("model");
    }
    let opaque = encoded || !json;
    let mut body =
        Body { decoder: BodyDecoder::new(upstream.head.framing), document, renamed: plan.bypass.renamed, opaque };

    let mut payload = Vec::with_capacity(upstream.bytes.len());
    if let Some(detail) = x.ticket.detail().filter(|_| !plan.bypass.renamed) {
        detail.passes();
    }
    let first = body.digest(&mut x.ticket, &upstream.bytes[upstream.head.len..], &mut payload);
    let mut ended = match first {
        Ok(ended) => ended,
        Err(error) => return End::Failed(Failure::of(broken(plan, &error))),
    };
    let framed = match upstream.head.framing {
        _ if matches!(status, 204 | 304) => Framed::Empty,
        _ if ended => Framed::Length(payload.len() as u64),
        Framing::Length(n) if !plan.bypass.renamed || opaque => Framed::Length(n),
        _ => Framed::unknown(x.terms.version),
    };
    let mut out = Vec::with_capacity(payload.len() + 768);
    begin(&mut out, x, &upstream.head, &upstream.bytes, plan.pooled, framed);
    timing(&mut out, x);
    end_head(&mut out, framed);
    append(&mut out, &payload, framed, ended);
    x.ticket.complete(status);
    let mut input = std::mem::take(&mut upstream.bytes);
    loop {
        if ended {
            upstream.bytes = input;
            settle(x, &body, upstream);
            return match x.send(out).await {
                Ok(_) => End::Answered(x.next()),
                Err(_) => End::ClientGone,
            };
        }
        out = match x.send(out).await {
            Ok(out) => out,
            Err(_) => return End::ClientGone,
        };
        input.clear();
        let limit = x.silence_limit();
        // An upstream that never pauses lets no deadline pass.
        if limit.is_zero() || x.core.stopping() {
            return cut(x, plan, "was given no more time");
        }
        x.client.deadline.set(limit);
        payload.clear();
        ended = match x.client.wait(upstream.connection.reader.read(&mut input)).await {
            Waited::Gone => return End::ClientGone,
            Waited::Expired => return cut(x, plan, "stopped sending"),
            Waited::Done(Err(_)) => return cut(x, plan, "broke the connection"),
            Waited::Done(Ok(0)) => match body.decoder.eof() {
                Ok(()) => body.finish(&mut x.ticket, &mut payload),
                Err(_) => return cut(x, plan, "closed the connection"),
            },
            Waited::Done(Ok(_)) => {
                x.ticket.reads();
                match body.digest(&mut x.ticket, &input, &mut payload) {
                    Ok(ended) => ended,
                    Err(_) => return cut(x, plan, "sent a malformed body"),
                }
            }
        };
        append(&mut out, &payload, framed, ended);
    }
}

/// The answer came together with its head, and goes on as it is: the most common case, and one copy of the bytes.
async fn at_once(x: &mut Exchange<'_>, upstream: Upstream, plan: &Plan<'_>, readable: bool) -> End {
    let Upstream { head, bytes, .. } = &upstream;
    let body = &bytes[head.len..];
    if let Some(detail) = x.ticket.detail() {
        detail.passes();
        detail.received(body, false);
    }
    let framed = match head.status {
        204 | 304 => Framed::Empty,
        _ => Framed::Length(body.len() as u64),
    };
    let mut out = Vec::with_capacity(body.len() + 768);
    begin(&mut out, x, head, bytes, plan.pooled, framed);
    timing(&mut out, x);
    end_head(&mut out, framed);
    append(&mut out, body, framed, true);
    x.ticket.complete(head.status);
    if readable {
        let members = members(x.relay.format, body);
        told(x, |name| members.iter().find(|(known, _)| *known == name)?.1);
    }
    let mut decoder = BodyDecoder::new(head.framing);
    let mut pos = 0;
    while let Ok(Step::Data(_)) = decoder.next(body, &mut pos) {}
    upstream.settle(x, &decoder);
    match x.send(out).await {
        Ok(_) => End::Answered(x.next()),
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
fn settle(x: &mut Exchange<'_>, body: &Body, upstream: Upstream) {
    if !body.opaque {
        told(x, |name| body.document.captured(name));
    }
    upstream.settle(x, &body.decoder);
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
fn told<'a>(x: &mut Exchange<'_>, member: impl Fn(&str) -> Option<RawValue<'a>>) {
    if let Some(raw) = member("usage") {
        x.ticket.edit().tokens = Some(tokens(&wire::tap::usage(x.relay.format, raw)));
    }
    if x.relay.operation == Operation::Generate {
        x.ticket.edit().finish = finish::of_answer(x.relay.format, &member).map(Reason::label);
        x.ticket.answered_by(|| member("model")?.as_str().map(RawStr::unescape));
    }
}

/// The body broke off after its head was sent. The client sees it by the framing: fewer bytes than announced, or no last chunk.
fn cut(x: &mut Exchange<'_>, plan: &Plan<'_>, how: &str) -> End {
    tracing::warn!(
        request_id = x.ticket.request_id(),
        "upstream: provider `{}` {how} before the end of its answer",
        plan.provider
    );
    x.ticket.cut(Kind::UpstreamTruncated);
    End::Answered(Next::Close)
}

fn broken(plan: &Plan<'_>, error: &Error) -> Error {
    let note = format!("provider `{}` sent a malformed answer", plan.provider);
    Error::upstream(Kind::UpstreamFault, note).detail(&error.note)
}

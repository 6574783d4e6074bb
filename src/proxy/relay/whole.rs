//! Relays an answer that is not a stream.
//!
//! The bytes pass through as they come, so a large answer and a slow client cost one buffer. On the way a scanner over the top level of the
//! JSON takes note of `usage`, and puts the model's name back where the upstream knows it by another.

use super::super::attempt::{End, Failure, Upstream};
use super::super::client::Waited;
use super::super::conn::Next;
use super::super::request::Exchange;
use super::{Framed, Plan, begin, end_head, tokens};
use crate::error::{Error, Kind};
use crate::json::stream::Document;
use crate::net::http::{BodyDecoder, Framing, Step, write};
use crate::wire;

/// Bytes of a `usage` object that are kept to be read. Real ones have a few hundred.
const USAGE_BYTES: usize = 16 << 10;

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
    fn digest(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        let mut pos = 0;
        loop {
            match self.decoder.next(input, &mut pos) {
                Ok(Step::Data(range)) => self.pass(&input[range], out),
                Ok(Step::More) => return Ok(false),
                Ok(Step::End) => return Ok(self.finish(out)),
                Err(error) => return Err(Error::upstream(Kind::UpstreamFault, error.to_string())),
            }
        }
    }

    fn pass(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if self.opaque {
            out.extend_from_slice(data);
        } else if self.renamed {
            self.document.feed(data, out);
        } else {
            self.document.observe(data);
            out.extend_from_slice(data);
        }
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> bool {
        if self.renamed && !self.opaque {
            self.document.finish(out);
        }
        true
    }
}

pub async fn run(x: &mut Exchange<'_>, mut upstream: Upstream, plan: &Plan<'_>, encoded: bool) -> End {
    let status = upstream.head.status;
    let json = upstream
        .head
        .get(&upstream.bytes, "content-type")
        .is_some_and(|t| t.windows(4).any(|w| w.eq_ignore_ascii_case(b"json")));
    let mut document = Document::new(&["usage"], USAGE_BYTES);
    if plan.bypass.renamed {
        document = document.replace_model(&x.model.asked);
    }
    let opaque = encoded || !json;
    let mut body =
        Body { decoder: BodyDecoder::new(upstream.head.framing), document, renamed: plan.bypass.renamed, opaque };

    let mut payload = Vec::with_capacity(upstream.bytes.len());
    let first = body.digest(&upstream.bytes[upstream.head.len..], &mut payload);
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
    end_head(&mut out, framed);
    append(&mut out, &payload, framed, ended);
    x.ticket.complete(status);
    let mut input = std::mem::take(&mut upstream.bytes);
    loop {
        x.ticket.sent(out.len());
        if ended {
            settle(x, &body, upstream);
            return match x.client.send(out).await {
                Ok(_) => End::Answered(x.next()),
                Err(_) => End::ClientGone,
            };
        }
        out = match x.client.send(out).await {
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
                Ok(()) => body.finish(&mut payload),
                Err(_) => return cut(x, plan, "closed the connection"),
            },
            Waited::Done(Ok(_)) => match body.digest(&input, &mut payload) {
                Ok(ended) => ended,
                Err(_) => return cut(x, plan, "sent a malformed body"),
            },
        };
        append(&mut out, &payload, framed, ended);
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

/// The answer was read to its end: its usage goes to the record, its connection to the pool.
fn settle(x: &mut Exchange<'_>, body: &Body, upstream: Upstream) {
    if !body.opaque
        && let Some(raw) = body.document.captured("usage")
    {
        x.ticket.edit().tokens = Some(tokens(&wire::tap::usage(x.relay.format, raw)));
    }
    upstream.settle(x, &body.decoder);
}

/// The body broke off after its head was sent. The client sees it by the framing: fewer bytes than announced, or no last chunk.
fn cut(x: &mut Exchange<'_>, plan: &Plan<'_>, how: &str) -> End {
    tracing::warn!(
        request_id = x.ticket.request_id(),
        "upstream: provider `{}` {how} before the end of its answer",
        plan.provider
    );
    x.ticket.truncated(Kind::UpstreamTruncated);
    End::Answered(Next::Close)
}

fn broken(plan: &Plan<'_>, error: &Error) -> Error {
    let note = format!("provider `{}` sent a malformed answer", plan.provider);
    Error::upstream(Kind::UpstreamFault, note).detail(&error.note)
}

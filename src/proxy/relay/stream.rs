//! Relays a stream of server-sent events of the client's own format.
//!
//! | phase | until | a failure meanwhile |
//! |---|---|---|
//! | `Held` | content, then `Flowing`; too much held or COMMIT_AFTER_SECS, then `Committed` | another provider may be asked |
//! | `Committed` | content, then `Flowing` | an error event, never a clean end |
//! | `Flowing` | the end of the answer | an error event, never a clean end |
//!
//! While it is held, the head and the first events wait in `out`: they carry no text, so the client loses nothing, and an upstream that fails
//! before its first content can still be replaced. Events pass as they came, byte for byte; the only things ever added are comment lines in a
//! long silence and the error event that ends a stream which broke off.

use std::ops::Range;

use super::super::attempt::{End, Failure, Upstream};
use super::super::client::Waited;
use super::super::conn::Next;
use super::super::endpoint::Operation;
use super::super::request::Exchange;
use super::super::ticket::Ticket;
use super::outlet::Outlet;
use super::pace::{self, Pace};
use super::{Framed, Plan, begin, tokens};
use crate::error::{Error, Kind};
use crate::json::scan;
use crate::metrics::names::Counter;
use crate::net::http::{BodyDecoder, Framing, Step, write};
use crate::sse::{self, Framer};
use crate::wire;
use crate::wire::Format;
use crate::wire::event::Reason;
use crate::wire::splice::{self, Splice};
use crate::wire::tap::{self, AnyTap, Moment};

/// More than this is not held back for the first content.
const MAX_HELD: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was sent.
    Held,
    /// The head was sent, and content is still awaited.
    Committed,
    Flowing,
}

/// Why a stream ended before its end.
enum Broken {
    /// The upstream said so, in an event.
    Event(Error),
    Cut(&'static str),
    Silent,
    Malformed(String),
}

struct Relay<'p> {
    decoder: BodyDecoder,
    framer: Framer,
    tap: AnyTap,
    format: Format,
    /// The stream is an answer of a model.
    generates: bool,
    phase: Phase,
    outlet: Outlet,
    plan: &'p Plan<'p>,
    /// The model's name as the client knows it, JSON-quoted, if it must be put back.
    put_back: Option<String>,
}

pub async fn run(x: &mut Exchange<'_>, mut upstream: Upstream, plan: &Plan<'_>) -> End {
    let mut relay = Relay::new(x, &upstream, plan);
    let mut input = upstream.bytes.split_off(upstream.head.len);
    loop {
        let progress = relay.digest(&mut x.ticket, &input);
        input.clear();
        let ended = match progress {
            Ok(ended) => ended,
            Err(broken) => return Box::pin(relay.broken(x, broken)).await,
        };
        if ended {
            return Box::pin(relay.end(x, upstream, None)).await;
        }
        if relay.phase == Phase::Held && relay.outlet.buf.len() > MAX_HELD {
            x.core.metrics.inc(Counter::HeldOverflow);
            relay.phase = Phase::Committed;
        }
        if relay.phase != Phase::Held
            && let Err(end) = relay.flush(x).await
        {
            return end;
        }
        match relay.read(x, &mut upstream, &mut input).await {
            Read::More => {}
            Read::Ended => return Box::pin(relay.end(x, upstream, None)).await,
            Read::Broken(broken) => return Box::pin(relay.end(x, upstream, Some(broken))).await,
            Read::ClientGone => {
                relay.settle(x);
                return End::ClientGone;
            }
        }
    }
}

/// What came of waiting for the upstream.
enum Read {
    More,
    /// The close of the connection was the end of the body.
    Ended,
    Broken(Broken),
    ClientGone,
}

impl<'p> Relay<'p> {
    fn new(x: &mut Exchange<'_>, upstream: &Upstream, plan: &'p Plan<'p>) -> Relay<'p> {
        let framed = Framed::unknown(x.terms.version);
        let generates = x.relay.operation == Operation::Generate;
        let mut out = Vec::with_capacity(upstream.bytes.len() + 1024);
        begin(&mut out, x, &upstream.head, &upstream.bytes, plan.pooled, framed);
        if let Some(detail) = x.ticket.detail().filter(|_| !plan.bypass.edits()) {
            detail.passes();
        }
        write::static_header(&mut out, "cache-control", "no-cache");
        write::static_header(&mut out, "x-accel-buffering", "no");
        Relay {
            decoder: BodyDecoder::new(upstream.head.framing),
            framer: Framer::default(),
            tap: AnyTap::new(x.relay.format),
            format: x.relay.format,
            generates,
            // Only of answers of a model is it known which events carry text.
            phase: if generates { Phase::Held } else { Phase::Flowing },
            outlet: Outlet::new(out, framed),
            plan,
            put_back: plan.bypass.renamed.then(|| x.model.asked.clone()),
        }
    }

    /// Takes in what the upstream sent. True at the end of the body.
    fn digest(&mut self, ticket: &mut Ticket, input: &[u8]) -> Result<bool, Broken> {
        let mut pos = 0;
        loop {
            match self.decoder.next(input, &mut pos) {
                Ok(Step::Data(range)) => self.events(ticket, &input[range])?,
                Ok(Step::More) => return Ok(self.decoder.is_ended()),
                Ok(Step::End) => return Ok(true),
                Err(error) => return Err(Broken::Malformed(error.to_string())),
            }
        }
    }

    fn events(&mut self, ticket: &mut Ticket, mut data: &[u8]) -> Result<(), Broken> {
        // Taken out for the while, since its blocks borrow it.
        let mut framer = std::mem::take(&mut self.framer);
        while let Some(block) = framer.next(&mut data).map_err(|error| Broken::Malformed(error.to_string()))? {
            self.block(ticket, &block)?;
        }
        self.framer = framer;
        Ok(())
    }

    fn block(&mut self, ticket: &mut Ticket, block: &sse::Block<'_>) -> Result<(), Broken> {
        if let Some(detail) = ticket.detail() {
            detail.received(block.raw, true);
        }
        let from = self.outlet.buf.len();
        let taken = self.take(ticket, block);
        if self.plan.bypass.edits()
            && let Some(detail) = ticket.detail()
        {
            detail.answered(&self.outlet.buf[from..], true);
        }
        taken
    }

    fn take(&mut self, ticket: &mut Ticket, block: &sse::Block<'_>) -> Result<(), Broken> {
        let Some(frame) = &block.frame else {
            self.outlet.buf.extend_from_slice(block.raw);
            return Ok(());
        };
        if self.phase == Phase::Held {
            ticket.answered_by(|| tap::model(self.format, frame.data));
        }
        match self.tap.frame(frame) {
            Moment::Error if self.phase == Phase::Held => return Err(Broken::Event(told(self.format, frame.data))),
            // Not in the vendor's reference, and strict readers fail on it; a comment does what it was meant for.
            Moment::KeepAlive => {
                sse::write::comment(&mut self.outlet.buf, "keep-alive");
                return Ok(());
            }
            Moment::Usage if self.plan.bypass.hide_usage => return Ok(()),
            Moment::Content | Moment::Finish | Moment::End => {
                if self.generates {
                    ticket.first_content();
                }
                self.phase = Phase::Flowing;
            }
            _ => {}
        }
        match self.put_back.as_deref().and_then(|name| Some((name, tap::model_range(self.format, frame.data)?))) {
            None => self.outlet.buf.extend_from_slice(block.raw),
            Some((name, at)) => renamed(&mut self.outlet.buf, block, frame, at, name),
        }
        Ok(())
    }

    /// What stands behind the last blank line. Many hosts forget that line; but half an event is never passed on: `false` then. `proper` says
    /// whether the body was ended as HTTP demands.
    fn tail(&mut self, ticket: &mut Ticket, proper: bool) -> Result<bool, Broken> {
        let mut framer = std::mem::take(&mut self.framer);
        let Some(block) = framer.finish() else { return Ok(true) };
        let is_whole = match &block.frame {
            Some(frame) => is_complete(frame.data),
            // A comment or a field without meaning, or the first letters of `data`.
            None => self.is_over(),
        };
        if self.generates && !is_whole {
            return Ok(false);
        }
        self.block(ticket, &block)?;
        if self.generates && !self.is_over() && !proper {
            // An error event will follow, and must not become a part of this one.
            self.outlet.buf.extend_from_slice(b"\n\n");
        }
        Ok(true)
    }

    async fn flush(&mut self, x: &mut Exchange<'_>) -> Result<(), End> {
        self.outlet.flush(x).await.map_err(|_| {
            self.settle(x);
            End::ClientGone
        })
    }

    fn pace(&self) -> Pace {
        match self.phase {
            Phase::Held => Pace::Held,
            Phase::Committed => Pace::Committed,
            Phase::Flowing => Pace::Flowing,
        }
    }

    /// Waits for the upstream; keeps the client's connection alive meanwhile.
    async fn read(&mut self, x: &mut Exchange<'_>, upstream: &mut Upstream, input: &mut Vec<u8>) -> Read {
        let silent_at = pace::silent_at(x);
        // An upstream that never pauses lets no deadline pass.
        if self.pace().is_overdue(x, silent_at) {
            return Read::Broken(Broken::Silent);
        }
        loop {
            x.client.deadline.set(self.pace().patience(x, silent_at));
            match x.client.wait(upstream.connection.reader.read(input)).await {
                Waited::Done(Ok(n)) if n > 0 => {
                    x.ticket.reads();
                    return Read::More;
                }
                Waited::Done(Ok(_)) if self.decoder.eof().is_ok() => return Read::Ended,
                Waited::Done(Ok(_)) => return Read::Broken(Broken::Cut("closed the connection")),
                Waited::Done(Err(_)) => return Read::Broken(Broken::Cut("broke the connection")),
                Waited::Gone => return Read::ClientGone,
                Waited::Expired => {}
            }
            if self.pace().is_overdue(x, silent_at) {
                return Read::Broken(Broken::Silent);
            }
            if self.phase == Phase::Held && !pace::must_commit(x) {
                continue;
            }
            // Between two events: incomplete ones are never passed on.
            match self.phase {
                Phase::Held => self.phase = Phase::Committed,
                Phase::Committed | Phase::Flowing => sse::write::comment(&mut self.outlet.buf, "keep-alive"),
            }
            if self.flush(x).await.is_err() {
                return Read::ClientGone;
            }
        }
    }

    /// Nothing more comes: the body has ended as HTTP bodies end, or `broken` says how it broke off.
    ///
    /// If the answer had come to its own end, a connection that ends badly takes nothing from it. If not, a body that was ended as HTTP
    /// demands is what the provider meant to send: it passes as it is, and only the record calls it cut. The close of a connection is no
    /// such end, and a stream that said nothing is no answer.
    async fn end(mut self, x: &mut Exchange<'_>, upstream: Upstream, broken: Option<Broken>) -> End {
        let proper = broken.is_none() && (upstream.head.framing != Framing::Close || !self.generates);
        let meant = match self.tail(&mut x.ticket, proper) {
            Ok(whole) => proper && whole,
            Err(broken) => return self.broken(x, broken).await,
        };
        let is_over = self.is_over();
        if !is_over && (!meant || self.phase != Phase::Flowing) {
            return self.broken(x, broken.unwrap_or(Broken::Cut("ended its stream"))).await;
        }
        self.settle(x);
        x.ticket.complete(200);
        if self.tap.seen().failed {
            x.ticket.cut(Kind::UpstreamFault);
        } else if self.generates && !is_over {
            x.ticket.cut(Kind::UpstreamTruncated);
        }
        upstream.settle(x, &self.decoder);
        End::Answered(x.finish(self.outlet.finish()).await)
    }

    /// The stream broke. Before anything was sent this is a failed attempt; after that the client is told in its own format.
    async fn broken(mut self, x: &mut Exchange<'_>, broken: Broken) -> End {
        self.settle(x);
        let error = explain(x, self.plan.provider, broken);
        if self.phase == Phase::Held {
            return End::Failed(Failure::of(error));
        }
        tracing::warn!(request_id = x.ticket.request_id(), kind = error.kind.row().label, "{}", error.logged());
        // Only whole events were passed on, so the stream stands between two.
        let from = self.outlet.buf.len();
        wire::error::event(x.relay.format, &mut self.outlet.buf, &error, x.ticket.request_id());
        if let Some(detail) = x.ticket.detail() {
            detail.answered(&self.outlet.buf[from..], true);
        }
        if self.flush(x).await.is_err() {
            return End::ClientGone;
        }
        x.truncated(&error);
        // No last chunk: a client that does not read error events sees a broken answer.
        End::Answered(Next::Close)
    }

    /// What the stream told of usage goes to the record.
    fn settle(&self, x: &mut Exchange<'_>) {
        let seen = self.tap.seen();
        if let Some(usage) = &seen.usage {
            x.ticket.edit().tokens = Some(tokens(usage));
        }
        x.ticket.edit().finish = seen.reason.map(Reason::label);
        x.core.metrics.add(Counter::TapErrors, u64::from(seen.parse_errors));
    }

    /// Whether the answer of a model has come to its own end, or to an error that the provider itself reported.
    fn is_over(&self) -> bool {
        let seen = self.tap.seen();
        seen.failed
            || match self.format {
                Format::Chat => seen.finished || seen.ended,
                Format::Messages | Format::Responses => seen.ended,
            }
    }
}

/// Whether the data of an event that nobody ended is all there.
fn is_complete(data: &[u8]) -> bool {
    data.trim_ascii() == b"[DONE]" || scan::validate(data).is_ok()
}

/// The event with the model's name put back; `at` is the name's place in its data.
fn renamed(out: &mut Vec<u8>, block: &sse::Block<'_>, frame: &sse::Frame<'_>, at: Range<usize>, name: &str) {
    let mut splice = Splice::new();
    // Data on one line lies in the event's own bytes, and all of those stay as they are.
    let offset = (frame.data.as_ptr() as usize).wrapping_sub(block.raw.as_ptr() as usize);
    if offset < block.raw.len() {
        splice.replace(at.start + offset..at.end + offset, splice::quoted(name));
        return splice.apply(block.raw, out);
    }
    let mut data = Vec::with_capacity(frame.data.len() + name.len());
    splice.replace(at, splice::quoted(name));
    splice.apply(frame.data, &mut data);
    let event = frame.event.and_then(|event| std::str::from_utf8(event).ok());
    sse::write::event(out, event, &data);
}

/// What an error event says, as an error of ours.
fn told(format: Format, data: &[u8]) -> Error {
    match wire::error::read(format, data) {
        Some(said) => wire::fault::error(None, &said),
        None => Error::upstream(Kind::UpstreamFault, "the provider sent an error event"),
    }
}

fn explain(x: &Exchange<'_>, provider: &str, broken: Broken) -> Error {
    match broken {
        Broken::Event(error) => error,
        _ if x.core.stopping() => Error::stopping(),
        Broken::Cut(how) => {
            let note = format!("provider `{provider}` {how} before the end of its answer");
            Error::upstream(Kind::UpstreamTruncated, note)
        }
        Broken::Silent => {
            let note = format!("provider `{provider}` stopped sending; no event came within the time allowed");
            Error::upstream(Kind::UpstreamTimeout, note)
        }
        Broken::Malformed(why) => {
            let note = format!("provider `{provider}` sent a malformed stream");
            Error::upstream(Kind::UpstreamFault, note).detail(why)
        }
    }
}

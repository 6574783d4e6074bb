//! Relays a stream of server-sent events of the client's own format.
//!
//! | phase | until | a failure meanwhile |
//! |---|---|---|
//! | `Held` | content, then `Flowing`; too much held or COMMIT_AFTER_SECS, then `Committed` | another provider may be asked |
//! | `Committed` | content, then `Flowing` | an error event, never a clean end |
//! | `Flowing` | the end of the answer | an error event, never a clean end |
//!
//! While it is held, the head and the first events wait in `out`: they carry no text, so the client
//! loses nothing, and an upstream that fails before its first content can still be replaced. Events
//! pass as they came, byte for byte; the only things ever added are comment lines in a long silence
//! and the error event that ends a stream which broke off.

use std::ops::Range;

use super::super::client::Waited;
use super::super::endpoint::Operation;
use super::super::request_context::Next;
use super::super::request_context::RequestContext;
use super::super::upstream::{End, Failure, Upstream};
use super::Plan;
use super::head::{Framed, begin};
use super::outlet::Outlet;
use super::pace::{self, Pace};
use crate::metrics::names::Counter;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::record::Tokens;
use llm_http::{BodyDecoder, Framing, Step, write};
use llm_wire::Format;
use llm_wire::canonical::event::Reason;
use llm_wire::error::{Error, Kind};
use llm_wire::error::{classify, foreign, shape};
use llm_wire::json::{RawValue, scan};
use llm_wire::passthrough::splice;
use llm_wire::passthrough::splice::Splice;
use llm_wire::passthrough::tap;
use llm_wire::passthrough::tap::{AnyTap, FrameKind};
use llm_wire::sse::{self, Framer};

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
    CappedBytes(&'static str),
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

pub async fn run(req: &mut RequestContext<'_>, mut upstream: Upstream, plan: &Plan<'_>) -> End {
    let mut relay = Relay::new(req, &upstream, plan);
    let mut input = upstream.bytes.split_off(upstream.head.len);
    loop {
        let progress = relay.digest(&mut req.recorder, &input);
        input.clear();
        let ended = match progress {
            Ok(ended) => ended,
            Err(broken) => return Box::pin(relay.broken(req, broken)).await,
        };
        if ended {
            return Box::pin(relay.end(req, upstream, None)).await;
        }
        if relay.phase == Phase::Held && relay.outlet.buf.len() > MAX_HELD {
            req.core.metrics.inc(Counter::HeldOverflow);
            relay.phase = Phase::Committed;
        }
        if relay.phase != Phase::Held
            && let Err(end) = relay.flush(req).await
        {
            return end;
        }
        match relay.read(req, &mut upstream, &mut input).await {
            Read::More => {}
            Read::Ended => return Box::pin(relay.end(req, upstream, None)).await,
            Read::Broken(broken) => return Box::pin(relay.end(req, upstream, Some(broken))).await,
            Read::ClientGone => {
                relay.settle(req);
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
    fn new(req: &mut RequestContext<'_>, upstream: &Upstream, plan: &'p Plan<'p>) -> Relay<'p> {
        let framed = Framed::unknown(req.meta.version);
        let generates = req.route.operation == Operation::Generate;
        let mut out = Vec::with_capacity(upstream.bytes.len() + 1024);
        begin(&mut out, req, &upstream.head, &upstream.bytes, plan.pooled, framed);
        if let Some(detail) = req.recorder.detail().filter(|_| !plan.bypass.edits()) {
            detail.passes();
        }
        write::static_header(&mut out, "cache-control", "no-cache");
        write::static_header(&mut out, "x-accel-buffering", "no");
        Relay {
            decoder: BodyDecoder::new(upstream.head.framing),
            framer: Framer::default(),
            tap: AnyTap::new(req.route.format),
            format: req.route.format,
            generates,
            // Only of answers of a model is it known which events carry text.
            phase: if generates { Phase::Held } else { Phase::Flowing },
            outlet: Outlet::new(out, framed),
            plan,
            put_back: plan.bypass.renamed.then(|| req.model.asked.clone()),
        }
    }

    /// Takes in what the upstream sent. True at the end of the body.
    fn digest(&mut self, recorder: &mut RequestRecorder, input: &[u8]) -> Result<bool, Broken> {
        let mut pos = 0;
        loop {
            match self.decoder.next(input, &mut pos) {
                Ok(Step::Data(range)) => self.events(recorder, &input[range])?,
                Ok(Step::More) => return Ok(self.decoder.is_ended()),
                Ok(Step::End) => return Ok(true),
                Err(error) => return Err(Broken::Malformed(error.to_string())),
            }
        }
    }

    fn events(&mut self, recorder: &mut RequestRecorder, mut data: &[u8]) -> Result<(), Broken> {
        // Taken out for the while, since its blocks borrow it.
        let mut framer = std::mem::take(&mut self.framer);
        while let Some(block) = framer.next(&mut data).map_err(|error| Broken::Malformed(error.to_string()))? {
            self.block(recorder, &block)?;
        }
        self.framer = framer;
        Ok(())
    }

    fn block(&mut self, recorder: &mut RequestRecorder, block: &sse::Block<'_>) -> Result<(), Broken> {
        if let Some(detail) = recorder.detail() {
            detail.received(block.raw, true);
        }
        let from = self.outlet.buf.len();
        let taken = self.take(recorder, block);
        if self.plan.bypass.edits()
            && let Some(detail) = recorder.detail()
        {
            detail.answered(&self.outlet.buf[from..], true);
        }
        taken
    }

    fn take(&mut self, recorder: &mut RequestRecorder, block: &sse::Block<'_>) -> Result<(), Broken> {
        let Some(frame) = &block.frame else {
            self.outlet.buf.extend_from_slice(block.raw);
            return Ok(());
        };
        if self.phase == Phase::Held {
            recorder.set_answering_model(|| tap::model(self.format, frame.data));
        }
        match self.tap.frame(frame) {
            FrameKind::Error if self.phase == Phase::Held => return Err(Broken::Event(told(self.format, frame.data))),
            // Not in the vendor's reference, and strict readers fail on it; a comment does what it
            // was meant for.
            FrameKind::KeepAlive => {
                sse::write::comment(&mut self.outlet.buf, "keep-alive");
                return Ok(());
            }
            FrameKind::Usage if self.plan.bypass.hide_usage => return Ok(()),
            FrameKind::Content | FrameKind::Finish | FrameKind::End => {
                if self.generates {
                    recorder.first_content();
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

    /// What stands behind the last blank line. Many hosts forget that line; but half an event is
    /// never passed on: `false` then. `proper` says whether the body was ended as HTTP demands.
    fn tail(&mut self, recorder: &mut RequestRecorder, proper: bool) -> Result<bool, Broken> {
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
        self.block(recorder, &block)?;
        if self.generates && !self.is_over() && !proper {
            // An error event will follow, and must not become a part of this one.
            self.outlet.buf.extend_from_slice(b"\n\n");
        }
        Ok(true)
    }

    async fn flush(&mut self, req: &mut RequestContext<'_>) -> Result<(), End> {
        self.outlet.flush(req).await.map_err(|_| {
            self.settle(req);
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
    async fn read(&mut self, req: &mut RequestContext<'_>, upstream: &mut Upstream, input: &mut Vec<u8>) -> Read {
        let silent_at = pace::silent_at(req);
        // An upstream that never pauses lets no deadline pass.
        if self.pace().is_overdue(req, silent_at) {
            return Read::Broken(Broken::Silent);
        }
        loop {
            req.client.deadline.set(self.pace().patience(req, silent_at));
            match req.client.wait(upstream.connection.reader.read(input)).await {
                Waited::Done(Ok(n)) if n > 0 => {
                    req.recorder.on_upstream_bytes();
                    return Read::More;
                }
                Waited::Done(Ok(_)) if self.decoder.eof().is_ok() => return Read::Ended,
                Waited::Done(Ok(_)) => return Read::Broken(Broken::CappedBytes("closed the connection")),
                Waited::Done(Err(_)) => return Read::Broken(Broken::CappedBytes("broke the connection")),
                Waited::Gone => return Read::ClientGone,
                Waited::Expired => {}
            }
            if self.pace().is_overdue(req, silent_at) {
                return Read::Broken(Broken::Silent);
            }
            if self.phase == Phase::Held && !pace::must_commit(req) {
                continue;
            }
            // Between two events: incomplete ones are never passed on.
            match self.phase {
                Phase::Held => self.phase = Phase::Committed,
                Phase::Committed | Phase::Flowing => sse::write::comment(&mut self.outlet.buf, "keep-alive"),
            }
            if self.flush(req).await.is_err() {
                return Read::ClientGone;
            }
        }
    }

    /// Nothing more comes: the body has ended as HTTP bodies end, or `broken` says how it broke
    /// off.
    ///
    /// If the answer had come to its own end, a connection that ends badly takes nothing from it.
    /// If not, a body that was ended as HTTP demands is what the provider meant to send: it passes
    /// as it is, and only the record calls it cut. The close of a connection is no such end, and a
    /// stream that said nothing is no answer.
    async fn end(mut self, req: &mut RequestContext<'_>, upstream: Upstream, broken: Option<Broken>) -> End {
        let proper = broken.is_none() && (upstream.head.framing != Framing::Close || !self.generates);
        let meant = match self.tail(&mut req.recorder, proper) {
            Ok(whole) => proper && whole,
            Err(broken) => return self.broken(req, broken).await,
        };
        let is_over = self.is_over();
        if !is_over && (!meant || self.phase != Phase::Flowing) {
            return self.broken(req, broken.unwrap_or(Broken::CappedBytes("ended its stream"))).await;
        }
        self.settle(req);
        req.recorder.set_complete(200);
        if self.tap.seen().failed {
            req.recorder.set_cut(Kind::UpstreamFault);
        } else if self.generates && !is_over {
            req.recorder.set_cut(Kind::UpstreamTruncated);
        }
        upstream.settle(req, &self.decoder);
        End::Answered(req.finish(self.outlet.finish()).await)
    }

    /// The stream broke. Before anything was sent this is a failed attempt; after that the client
    /// is told in its own format.
    async fn broken(mut self, req: &mut RequestContext<'_>, broken: Broken) -> End {
        self.settle(req);
        let error = explain(req, self.plan.provider, broken);
        if self.phase == Phase::Held {
            return End::Failed(Failure::of(error));
        }
        tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
        // Only whole events were passed on, so the stream stands between two.
        let from = self.outlet.buf.len();
        shape::event(req.route.format, &mut self.outlet.buf, &error, req.recorder.request_id());
        if let Some(detail) = req.recorder.detail() {
            detail.answered(&self.outlet.buf[from..], true);
        }
        if self.flush(req).await.is_err() {
            return End::ClientGone;
        }
        req.truncated(&error);
        // No last chunk: a client that does not read error events sees a broken answer.
        End::Answered(Next::Close)
    }

    /// What the stream told of usage goes to the record.
    fn settle(&self, req: &mut RequestContext<'_>) {
        let seen = self.tap.seen();
        if let Some(usage) = &seen.usage {
            req.recorder.record_mut().tokens = Some(Tokens::reported(usage));
        }
        req.recorder.record_mut().finish = seen.reason.map(Reason::label);
        req.core.metrics.add(Counter::TapErrors, u64::from(seen.parse_errors));
    }

    /// Whether the answer of a model has come to its own end, or to an error that the provider
    /// itself reported.
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
    match RawValue::parse(data) {
        Ok(event) => match foreign::recognize(format, event).or_else(|| foreign::any_shape(event)) {
            Some(said) => classify::error(None, &said),
            None => Error::upstream(Kind::UpstreamFault, "the provider sent an error event"),
        },
        Err(_) => classify::plain(data),
    }
}

fn explain(req: &RequestContext<'_>, provider: &str, broken: Broken) -> Error {
    match broken {
        Broken::Event(error) => error,
        _ if req.core.stopping() => Error::stopping(),
        Broken::CappedBytes(how) => {
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

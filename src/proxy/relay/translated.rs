//! Relays an answer of another format, translated on the way.
//!
//! Either side may be a stream or whole: a provider that answers whole to a client that streams is
//! told as a stream, and the other way round. [`Translator`] knows how far the answer is; this file
//! moves bytes and minds the time.
//!
//! | the client has | a failure meanwhile |
//! |---|---|
//! | nothing ([`Phase::Waiting`]) | another provider may be asked |
//! | a part of a stream ([`Phase::Committed`]) | an error event, never a clean end |

use std::time::Duration;

use super::super::client::Waited;
use super::super::headers::{self, Fate};
use super::super::prepare::Translated;
use super::super::reply;
use super::super::request_context::Next;
use super::super::request_context::RequestContext;
use super::super::upstream::{Answer, End, Failure, Upstream};
use super::head::{Framed, end_head, line, timing};
use super::outlet::Outlet;
use super::pace::{self, Pace};
use crate::metrics::names::{Counter, Grid};
use crate::proxy::ids::CoreStamps;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::record::{Source as Provenance, Tokens};
use llm_http::{BodyDecoder, ResponseHead, Step, write};
use llm_wire::canonical::event::{Note, Reason};
use llm_wire::canonical::loss::Ledger;
use llm_wire::error::shape;
use llm_wire::error::{Error, Kind};
use llm_wire::json::scan;
use llm_wire::sse::{Block, Framer};
use llm_wire::target::plan::Reply;
use llm_wire::translate::{Phase, Translator};

/// Bytes of a whole answer that are held, of either side. Answers with images have some ten MiB.
const MAX_WHOLE: usize = 64 << 20;
/// How long the last bytes of an upstream's body are waited for, so that its connection can be used
/// again, when the client has all of its own.
const DRAIN: Duration = Duration::from_millis(250);
/// How long usage and the end mark are waited for once the provider has said why its answer ended.
/// Some hosts send neither, and keep the connection open.
const TAIL: Duration = Duration::from_secs(5);

/// How long content is waited for behind the reason of an end. Some hosts give one for each tool
/// call, or with each chunk, and go on.
const HOLD: Duration = Duration::from_secs(2);

/// What the relay has to mind.
pub struct Plan<'a> {
    /// Several accounts stand behind the model: what one of them says of its limits would mislead.
    pub pooled: bool,
    pub provider: &'a str,
}

/// What the upstream sends.
enum Source {
    Events(Framer),
    Whole(Vec<u8>),
}

/// What the client gets.
enum To {
    Stream(Outlet),
    /// The body, sent when it is complete.
    Whole(Vec<u8>),
}

impl To {
    fn buf(&mut self) -> &mut Vec<u8> {
        match self {
            To::Stream(outlet) => &mut outlet.buf,
            To::Whole(body) => body,
        }
    }
}

struct Relay<'p> {
    decoder: BodyDecoder,
    source: Source,
    translator: Translator,
    plan: &'p Plan<'p>,
    ledger: Ledger,
    outlet: To,
    /// Bytes of a whole answer so far.
    size: usize,
    /// Microseconds on the request's clock at which [`TAIL`] is over.
    tail_ends: Option<u64>,
}

pub async fn run(
    req: &mut RequestContext<'_>,
    mut upstream: Upstream,
    translated: Box<Translated>,
    plan: &Plan<'_>,
) -> End {
    count(req, &translated);
    let mut relay = Relay::new(req, &upstream, *translated, plan);
    let mut input = upstream.bytes.split_off(upstream.head.len);
    loop {
        let progress = relay.digest(&mut req.recorder, &input);
        input.clear();
        let over = match progress
            .and_then(|ended| if ended { relay.end(&mut req.recorder).map(|()| true) } else { Ok(false) })
        {
            Ok(over) => over,
            Err(error) => return relay.failed(req, error),
        };
        if over || relay.translator.phase() == Phase::Over {
            return Box::pin(relay.finish(req, upstream)).await;
        }
        if relay.translator.phase() == Phase::Committed
            && let Err(end) = relay.flush(req).await
        {
            return end;
        }
        match relay.read(req, &mut upstream, &mut input).await {
            Ok(Read::More) => {}
            Ok(Read::Ended) => {
                let ended = relay.end(&mut req.recorder);
                return match ended {
                    Ok(()) => Box::pin(relay.finish(req, upstream)).await,
                    Err(error) => relay.failed(req, error),
                };
            }
            Ok(Read::Broken) => return Box::pin(relay.finish(req, upstream)).await,
            Ok(Read::ClientGone) => {
                relay.settle(req);
                return End::ClientGone;
            }
            Err(error) => return relay.failed(req, error),
        }
    }
}

/// What came of waiting for the upstream.
enum Read {
    More,
    /// Nothing more will come: the close of the connection was the end of the body, or the answer
    /// is complete and only its end mark is missing.
    Ended,
    /// The stream that the client has was ended with an error.
    Broken,
    ClientGone,
}

impl<'p> Relay<'p> {
    fn new(req: &mut RequestContext<'_>, upstream: &Upstream, translated: Translated, plan: &'p Plan<'p>) -> Relay<'p> {
        let Translated { plan: left, ledger, input_estimate, .. } = translated;
        let streams = left.stream;
        let stamps = Box::new(CoreStamps(req.core.clone()));
        let mut reply = Reply::new(left, stamps, req.recorder.request_id());
        reply.input_estimate = Some(input_estimate);
        let source = match upstream.is_event_stream() {
            true => Source::Events(Framer::default()),
            false => Source::Whole(Vec::new()),
        };
        let outlet = match streams {
            true => To::Stream(open_stream(req, upstream, plan, &ledger)),
            false => To::Whole(Vec::new()),
        };
        let (decoder, translator) = (BodyDecoder::new(upstream.head.framing), Translator::new(reply));
        Relay { decoder, source, translator, plan, ledger, outlet, size: 0, tail_ends: None }
    }

    fn streams(&self) -> bool {
        matches!(self.outlet, To::Stream(_))
    }

    /// Takes in what the upstream sent. True at the end of the body. An error is one that the
    /// client has not been told of. What comes behind the end of the answer is read for the end of
    /// the body alone; the translator is deaf to it.
    fn digest(&mut self, recorder: &mut RequestRecorder, input: &[u8]) -> Result<bool, Error> {
        let mut pos = 0;
        loop {
            match self.decoder.next(input, &mut pos) {
                Ok(Step::Data(range)) => self.data(recorder, &input[range])?,
                Ok(Step::More) => return Ok(self.decoder.is_ended()),
                Ok(Step::End) => return Ok(true),
                Err(error) => {
                    self.fail(recorder, malformed(self.plan.provider, &error))?;
                    return Ok(false);
                }
            }
        }
    }

    fn data(&mut self, recorder: &mut RequestRecorder, data: &[u8]) -> Result<(), Error> {
        if !self.streams() || matches!(self.source, Source::Whole(_)) {
            self.size += data.len();
            if self.size > MAX_WHOLE {
                let note = format!("provider `{}` sent an answer of more than {MAX_WHOLE} bytes", self.plan.provider);
                return self.fail(recorder, Error::upstream(Kind::UpstreamFault, note).code(TOO_LARGE));
            }
        }
        match &mut self.source {
            Source::Events(_) => self.events(recorder, data),
            Source::Whole(body) => {
                if let Some(detail) = recorder.detail() {
                    detail.received(data, false);
                }
                body.extend_from_slice(data);
                Ok(())
            }
        }
    }

    fn events(&mut self, recorder: &mut RequestRecorder, mut data: &[u8]) -> Result<(), Error> {
        let Source::Events(framer) = &mut self.source else { return Ok(()) };
        loop {
            let block = match framer.next(&mut data) {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let error = malformed(self.plan.provider, &error);
                    return self.fail(recorder, error);
                }
            };
            if let Some(detail) = recorder.detail() {
                detail.received(block.raw, true);
            }
            if let Some(frame) = block.frame {
                let from = self.outlet.buf().len();
                self.translator.frame(frame, self.outlet.buf())?;
                answered(recorder, &mut self.outlet, from);
            }
        }
    }

    /// The body has ended. What stands behind the last blank line counts if it is whole; half an
    /// event is none.
    fn end(&mut self, recorder: &mut RequestRecorder) -> Result<(), Error> {
        let from = self.outlet.buf().len();
        match &mut self.source {
            Source::Whole(body) => {
                self.translator.body(body, self.outlet.buf())?;
            }
            Source::Events(framer) => {
                if let Some(Block { frame: Some(frame), .. }) = framer.finish()
                    && (frame.data.trim_ascii() == b"[DONE]" || scan::validate(frame.data).is_ok())
                {
                    self.translator.frame(frame, self.outlet.buf())?;
                }
            }
        }
        self.translator.end(self.outlet.buf())?;
        answered(recorder, &mut self.outlet, from);
        Ok(())
    }

    /// The exchange failed below the format.
    fn fail(&mut self, recorder: &mut RequestRecorder, error: Error) -> Result<(), Error> {
        let from = self.outlet.buf().len();
        self.translator.fail(error, self.outlet.buf())?;
        answered(recorder, &mut self.outlet, from);
        Ok(())
    }

    fn pace(&self) -> Pace {
        match (self.streams(), self.translator.phase()) {
            (false, _) => Pace::Whole,
            (true, Phase::Waiting) => Pace::Held,
            (true, Phase::Committed | Phase::Over) => Pace::Flowing,
        }
    }

    /// When the upstream has been silent for too long: sooner behind a complete answer, whatever
    /// else it says meanwhile.
    fn silent_at(&mut self, req: &RequestContext<'_>) -> u64 {
        let silent_at = pace::silent_at(req);
        if self.translator.holds_finish() {
            return silent_at.min(req.recorder.elapsed_us() + HOLD.as_micros() as u64);
        }
        if !self.translator.is_finished() {
            return silent_at;
        }
        let tail = req.recorder.elapsed_us() + TAIL.as_micros() as u64;
        silent_at.min(*self.tail_ends.get_or_insert(tail))
    }

    /// Waits for the upstream; keeps the client's connection alive meanwhile. An error is one that
    /// the client has not been told of.
    async fn read(
        &mut self,
        req: &mut RequestContext<'_>,
        upstream: &mut Upstream,
        input: &mut Vec<u8>,
    ) -> Result<Read, Error> {
        let silent_at = self.silent_at(req);
        let provider = self.plan.provider;
        // An upstream that never pauses lets no deadline pass.
        while !self.pace().is_overdue(req, silent_at) {
            req.client.deadline.set(self.pace().patience(req, silent_at));
            let how = match req.client.wait(upstream.connection.reader.read(input)).await {
                Waited::Done(Ok(n)) if n > 0 => {
                    req.recorder.on_upstream_bytes();
                    return Ok(Read::More);
                }
                Waited::Done(Ok(_)) if self.decoder.eof().is_ok() => return Ok(Read::Ended),
                Waited::Gone => return Ok(Read::ClientGone),
                Waited::Done(Ok(_)) => Some("closed the connection"),
                Waited::Done(Err(_)) => Some("broke the connection"),
                Waited::Expired => None,
            };
            if let Some(how) = how {
                if self.translator.is_finished() {
                    return Ok(Read::Ended);
                }
                let note = format!("provider `{provider}` {how} before the end of its answer");
                return self
                    .fail(&mut req.recorder, Error::upstream(Kind::UpstreamTruncated, note))
                    .map(|()| Read::Broken);
            }
            let due = match self.pace() {
                Pace::Held => pace::must_commit(req),
                Pace::Committed | Pace::Flowing => !self.pace().is_overdue(req, silent_at),
                Pace::Whole => false,
            };
            if due && self.translator.wait(self.outlet.buf()) && self.flush(req).await.is_err() {
                return Ok(Read::ClientGone);
            }
        }
        if self.translator.holds_finish() && !req.core.stopping() {
            let from = self.outlet.buf().len();
            self.translator.flush_finish(self.outlet.buf())?;
            answered(&mut req.recorder, &mut self.outlet, from);
            return Ok(Read::More);
        }
        if self.translator.is_finished() {
            return Ok(Read::Ended);
        }
        let error = match req.core.stopping() {
            true => Error::stopping(),
            false => {
                let note = format!("provider `{provider}` stopped sending; nothing came within the time allowed");
                Error::upstream(Kind::UpstreamTimeout, note)
            }
        };
        self.fail(&mut req.recorder, error).map(|()| Read::Broken)
    }

    /// Sends what is ready of a stream.
    async fn flush(&mut self, req: &mut RequestContext<'_>) -> Result<(), End> {
        let To::Stream(outlet) = &mut self.outlet else { return Ok(()) };
        if self.translator.has_content() {
            req.recorder.first_content();
        }
        let sent = outlet.flush(req).await;
        sent.map_err(|_| {
            self.settle(req);
            End::ClientGone
        })
    }

    /// Nothing was sent: a failed attempt.
    fn failed(&mut self, req: &mut RequestContext<'_>, error: Error) -> End {
        self.settle(req);
        if error.code == Some(TOO_LARGE) {
            req.core.metrics.inc(Counter::AnswerOverflow);
        }
        End::Failed(Failure::of(error))
    }

    /// The answer is over, well or not, and all of it is in `out`.
    async fn finish(mut self, req: &mut RequestContext<'_>, upstream: Upstream) -> End {
        self.settle(req);
        if self.translator.stopped_early() {
            req.core.metrics.inc(Counter::EarlyStops);
        }
        if let Some(error) = self.translator.failure() {
            tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
            req.truncated(error);
            let truncated = req.recorder.record_mut().outcome;
            if self.flush(req).await.is_err() {
                return End::ClientGone;
            }
            req.recorder.record_mut().outcome = truncated;
            // No last chunk: a client that does not read error events sees a broken answer.
            return End::Answered(Next::Close);
        }
        if let Some(captured) = self.translator.captured() {
            req.core.replay.put(req.core, req.recorder.credential(), captured);
        }
        req.recorder.set_complete(200);
        let out = match std::mem::replace(&mut self.outlet, To::Whole(Vec::new())) {
            To::Stream(outlet) => {
                req.recorder.first_content();
                outlet.finish()
            }
            To::Whole(body) => self.whole(req, &upstream, &body),
        };
        if req.send(out).await.is_err() {
            return End::ClientGone;
        }
        let next = req.next();
        self.drain(req, upstream).await;
        End::Answered(next)
    }

    fn whole(&self, req: &mut RequestContext<'_>, upstream: &Upstream, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 1024);
        let framed = Framed::Length(body.len() as u64);
        begin(&mut out, req, (200, framed), (&upstream.head, &upstream.bytes), self.plan.pooled, Some(&self.ledger));
        write::static_header(&mut out, "content-type", "application/json");
        timing(&mut out, req);
        end_head(&mut out, framed);
        out.extend_from_slice(body);
        if let Some(detail) = req.recorder.detail() {
            detail.answered(body, false);
        }
        out
    }

    /// Reads what is left of the upstream's body behind its end mark. An answer that the gateway
    /// ended itself is cancelled instead.
    async fn drain(mut self, req: &mut RequestContext<'_>, mut upstream: Upstream) {
        if self.translator.stopped_early() {
            return;
        }
        let mut input = Vec::new();
        req.client.deadline.set(DRAIN);
        while !self.decoder.is_ended() {
            input.clear();
            match req.client.wait(upstream.connection.reader.read(&mut input)).await {
                Waited::Done(Ok(n)) if n > 0 => {}
                _ => return,
            }
            let mut pos = 0;
            loop {
                match self.decoder.next(&input, &mut pos) {
                    Ok(Step::Data(_)) => {}
                    Ok(Step::More | Step::End) => break,
                    Err(_) => return,
                }
            }
        }
        upstream.settle(req, &self.decoder);
    }

    /// What the answer told of usage goes to the record.
    fn settle(&self, req: &mut RequestContext<'_>) {
        if let Some(usage) = self.translator.usage() {
            let counted = self.translator.notes().all(|(note, _)| note != Note::EstimatedUsage);
            let source = if counted { Provenance::Provider } else { Provenance::Estimate };
            req.recorder.record_mut().tokens = Some(Tokens { source, ..Tokens::reported(&usage) });
        }
        req.recorder.record_mut().finish = self.translator.reason().map(Reason::label);
        if let Some(model) = self.translator.model() {
            req.recorder.set_answering_model(|| Some(model.into()));
        }
        for (_, n) in self.translator.notes() {
            req.core.metrics.add(Counter::TranslationOddities, u64::from(n));
        }
    }
}

/// Tells what has been written for the client since `from`, if it goes out as a stream; a whole
/// answer is told when it is complete.
fn answered(recorder: &mut RequestRecorder, to: &mut To, from: usize) {
    if let (To::Stream(outlet), Some(detail)) = (to, recorder.detail()) {
        detail.answered(&outlet.buf[from..], true);
    }
}

fn open_stream(req: &mut RequestContext<'_>, upstream: &Upstream, plan: &Plan<'_>, ledger: &Ledger) -> Outlet {
    let framed = Framed::unknown(req.meta.version);
    let mut head = Vec::with_capacity(upstream.bytes.len() + 1024);
    begin(&mut head, req, (200, framed), (&upstream.head, &upstream.bytes), plan.pooled, Some(ledger));
    write::static_header(&mut head, "content-type", "text/event-stream; charset=utf-8");
    write::static_header(&mut head, "cache-control", "no-cache");
    write::static_header(&mut head, "x-accel-buffering", "no");
    Outlet::new(head, framed)
}

/// Marks the error of [`MAX_WHOLE`].
const TOO_LARGE: &str = "upstream_answer_too_large";

fn malformed(provider: &str, why: &dyn std::fmt::Display) -> Error {
    Error::upstream(Kind::UpstreamFault, format!("provider `{provider}` sent a malformed answer")).detail(why)
}

fn count(req: &RequestContext<'_>, translated: &Translated) {
    let metrics = &req.core.metrics;
    metrics.inc(Counter::Translated);
    let sides = (translated.plan.client as usize, translated.plan.provider as usize);
    for (loss, _) in translated.ledger.losses() {
        metrics.add_to(Grid::Dropped, loss as usize, sides, 1);
    }
    for (repair, n) in translated.ledger.repairs() {
        metrics.add_to(Grid::Repaired, repair as usize, sides, u64::from(n));
    }
}

/// Opens the head of a translated answer: ours, what was lost and mended on the way there, and what
/// of the upstream's holds for any client.
fn begin(
    out: &mut Vec<u8>,
    req: &mut RequestContext<'_>,
    (status, framed): (u16, Framed),
    (head, bytes): (&ResponseHead, &[u8]),
    pooled: bool,
    ledger: Option<&Ledger>,
) {
    // The stop may have been called since the request came.
    req.meta.keep_alive &= framed != Framed::Close && !req.core.shared.leaving();
    reply::begin(out, status, &req.meta, req.recorder.request_id());
    if let Some(ledger) = ledger {
        let named =
            [("x-llm-proxy-dropped", ledger.dropped_header()), ("x-llm-proxy-repaired", ledger.repaired_header())];
        for (name, value) in named {
            let _ = value.map(|value| write::header(out, name, value.as_bytes()));
        }
    }
    let limits = !pooled && req.meta.budget.is_none();
    let mut id = false;
    for (name, value) in head.fields(bytes) {
        match headers::to_foreign_client(name) {
            Fate::Forward => line(out, name, value),
            Fate::RateLimit if limits => headers::rate_limit(out, req.route.format, name, value),
            Fate::UpstreamId if !id => {
                id = true;
                line(out, b"x-llm-proxy-upstream-request-id", value);
            }
            Fate::RateLimit | Fate::UpstreamId | Fate::Drop => {}
        }
    }
}

/// No provider is left: the client gets the last one's error in its own words.
pub async fn give_up(req: &mut RequestContext<'_>, error: &Error, answer: &Answer) -> Next {
    let format = req.route.format;
    // A provider's own 500 stays one; what is ours says 502.
    let status = match (answer.head.status, error.kind) {
        (500, Kind::UpstreamFault) => 500,
        _ => shape::status(format, error.kind),
    };
    let mut body = Vec::with_capacity(512);
    shape::body(format, &mut body, error, req.recorder.request_id());
    let framed = Framed::Length(body.len() as u64);
    let mut out = Vec::with_capacity(1024 + body.len());
    begin(&mut out, req, (status, framed), (&answer.head, &answer.bytes), answer.pooled, None);
    write::static_header(&mut out, "content-type", "application/json");
    end_head(&mut out, framed);
    out.extend_from_slice(&body);
    if let Some(detail) = req.recorder.detail() {
        detail.replies(&body);
    }
    req.log(error, status);
    req.recorder.set_failed(status, error);
    req.finish(out).await
}

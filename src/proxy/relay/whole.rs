//! Forwards a response that is not a stream, in the client's own format.
//!
//! A model's answer is held until it is whole, up to HOLD_ANSWER_BYTES and while MAX_BUFFERED_BYTES
//! has room: one that turns out to be cut, empty, a page or an error fails the attempt, and another
//! provider is tried. What is larger, and everything else, passes through as it comes, so a large
//! body and a slow client cost one buffer.
//! On the way a scanner over the top level of the JSON notes `usage`, and puts the client's name of
//! the model back where the provider uses another.

use std::borrow::Cow;

use super::super::endpoint::Operation;
use super::super::files;
use super::super::interrupt::{BufferedResponse, Failure, Interrupt};
use super::super::issuer;
use super::super::prepare::Bypass;
use super::super::refusal;
use super::super::request_context::{Next, RequestContext};
use super::super::upstream::UpstreamResponse;
use super::answer::{self, NoAnswer};
use super::form::{Form, FormReader};
use super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use super::pace::Pace;
use super::relayed::Relayed;
use super::server_timing;
use super::source::{BodyEvent, Cut, UpstreamBody};
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::net::buffers;
use crate::proxy::recorder::RequestRecorder;
use crate::shared::body_memory::HeldMemory;
use crate::telemetry::capture::Piece;
use crate::telemetry::record::Tokens;
use llm_http::{Framing, ResponseHead, write};
use llm_wire::canonical::event::Reason;
use llm_wire::error::Kind;
use llm_wire::json::stream::Document;
use llm_wire::json::{RawStr, Tape};
use llm_wire::passthrough::answer_templates::AnswerFacts;
use llm_wire::passthrough::finish;
use llm_wire::passthrough::tap;

/// Bytes of each member that the scanner keeps, without its long texts: usage, which has a few
/// hundred, and what says why the response ended, which in Chat and Responses stands beside the
/// content. Of a response with more than that beside its texts the finish reason is unknown.
const CAPTURED_BYTES: usize = 64 << 10;

/// Room for a response head, in bytes.
const HEAD_ROOM: usize = 768;

/// A larger buffer is not kept for the next piece.
const KEPT_BUFFER: usize = 64 << 10;

/// How the body is read on its way.
enum Mode {
    /// It can't be inspected: it is encoded, or not JSON.
    Raw,
    /// Its bytes are forwarded, and the scanner reads along.
    Observed(Document),
    /// The scanner writes it, with the client's name of the model.
    Rewritten(Document),
}

/// What the client has of the head.
enum Head {
    Pending,
    Written(BodyFraming),
}

/// What is known of a response from its head.
struct Reading {
    /// Whether the body is JSON that can be read.
    is_readable: bool,
    transfer: HeadTransfer<'static>,
    /// Whether the client's name of the model is put back.
    rewrites: bool,
}

impl Reading {
    fn of(response: &UpstreamResponse, bypass: Bypass, is_answer: bool) -> Reading {
        let is_labelled = response.is_json && !response.is_encoded;
        // The answer of a model is JSON, whatever the label says.
        let is_readable = is_labelled || is_answer;
        let transfer = match is_answer && !is_labelled {
            true => HeadTransfer::Corrected,
            false => HeadTransfer::Passthrough,
        };
        Reading { is_readable, transfer, rewrites: bypass.renamed && is_readable }
    }
}

struct Relay<'p> {
    mode: Mode,
    head: Head,
    provider: &'p Provider,
    transfer: HeadTransfer<'static>,
    /// The most bytes of a model's answer that are held. `None` where nothing is held.
    holds: Option<usize>,
    /// What the held bytes take of the memory for bodies.
    held: HeldMemory,
    /// Whether the end alone may be missing of what is held, so that the wait is short.
    awaits_end: bool,
    /// The body since the last write, as it came while it is held.
    payload: Vec<u8>,
    /// What the next write sends.
    out: Vec<u8>,
}

pub(super) async fn run(
    req: &mut RequestContext<'_>,
    body: UpstreamBody,
    bypass: Bypass,
    provider: &Provider,
    is_answer: bool,
) -> Result<Relayed, Interrupt> {
    if is_answer && let Some(Form::Events) = body.peek().and_then(|piece| FormReader::default().read(piece)) {
        return Ok(Relayed::Other(Box::new(body), Form::Events));
    }
    let response = body.response();
    let Reading { is_readable, transfer, rewrites } = Reading::of(response, bypass, is_answer);
    if !rewrites {
        req.recorder.capture.mark_passthrough();
    }
    if let Some(relay) = Complete::of(response, bypass, provider, is_answer) {
        return relay.forward(req, body).await.map(Relayed::Done);
    }
    let holds = is_answer.then_some(req.core.boot().hold_answer_bytes);
    let mode = match (is_readable, rewrites) {
        (false, _) => Mode::Raw,
        (true, false) => Mode::Observed(scanner(req)),
        (true, true) => Mode::Rewritten(scanner(req).replace_model(&req.model.requested)),
    };
    let payload = Vec::with_capacity(response.bytes.len());
    let held = req.core.shared.body_memory.hold();
    let (head, awaits_end, out) = (Head::Pending, false, Vec::new());
    let relay = Relay { mode, head, provider, transfer, holds, held, awaits_end, payload, out };
    Box::pin(forward_parts(req, body, relay, is_answer)).await
}

/// Forwards a body that has not arrived as a whole, or that is written anew.
async fn forward_parts(
    req: &mut RequestContext<'_>,
    mut body: UpstreamBody,
    mut relay: Relay<'_>,
    is_answer: bool,
) -> Result<Relayed, Interrupt> {
    // What is written behind a wait for more of the body.
    if relay.holds.is_some() || body.head().status >= 400 {
        body.keep_head();
    }
    let mut has_form = !is_answer;
    let mut form_reader = FormReader::default();
    loop {
        if !has_form && let Some(form) = body.peek().and_then(|piece| form_reader.read(piece)) {
            has_form = true;
            if form == Form::Events {
                return Ok(Relayed::Other(Box::new(body), form));
            }
        }
        match body.next(req, Pace::Whole).await? {
            BodyEvent::Arrived => {}
            BodyEvent::Data(data) => relay.on_data(req, data),
            BodyEvent::Drained => relay.on_drained(req, &mut body).await?,
            BodyEvent::Idle => {}
            BodyEvent::End => return relay.on_end(req, body).await.map(Relayed::Done),
            BodyEvent::Cut(_) if relay.holds_whole() => return relay.on_end(req, body).await.map(Relayed::Done),
            BodyEvent::Cut(Cut::TimedOut) if relay.awaits_end && !req.core.stopping() => {
                relay.awaits_end = false;
                body.rearm();
            }
            BodyEvent::Cut(cut) => return relay.on_cut(req, cut).map(Relayed::Done),
        }
    }
}

fn scanner(req: &RequestContext<'_>) -> Document {
    let document = Document::new(finish::members(req.route.format), CAPTURED_BYTES);
    if req.recorder.capture.is_on() { document.capture("model") } else { document }
}

impl Relay<'_> {
    fn on_data(&mut self, req: &mut RequestContext<'_>, data: &[u8]) {
        req.recorder.capture.upstream_sent(Piece::Part(data));
        if let Some(most) = self.holds {
            if self.held.reserve(&mut self.payload, data.len(), most).is_ok() {
                return self.payload.extend_from_slice(data);
            }
            self.end_hold(req);
        }
        self.read(&mut req.recorder, data);
    }

    /// Takes a piece of the body in, as the mode demands.
    fn read(&mut self, recorder: &mut RequestRecorder, data: &[u8]) {
        let from = self.payload.len();
        match &mut self.mode {
            Mode::Raw => self.payload.extend_from_slice(data),
            Mode::Observed(document) => {
                document.observe(data);
                self.payload.extend_from_slice(data);
            }
            Mode::Rewritten(document) => {
                document.feed(data, &mut self.payload);
                recorder.capture.client_got(Piece::Part(&self.payload[from..]));
            }
        }
    }

    /// Forwards the body before it is whole: it is too large, or there is no room to hold it.
    fn end_hold(&mut self, req: &mut RequestContext<'_>) {
        if self.holds.is_some() {
            req.core.metrics.inc(Counter::AnswersNotHeld);
        }
        self.read_held(&mut req.recorder);
    }

    /// Takes in what was held.
    fn read_held(&mut self, recorder: &mut RequestRecorder) {
        if self.holds.take().is_some() {
            let held = std::mem::take(&mut self.payload);
            self.read(recorder, &held);
        }
    }

    /// Returns whether an answer is held that is complete, although its body has not ended.
    fn holds_whole(&self) -> bool {
        self.holds.is_some() && answer::is_whole(&self.payload)
    }

    async fn on_drained(&mut self, req: &mut RequestContext<'_>, body: &mut UpstreamBody) -> Result<(), Interrupt> {
        if self.holds.is_some_and(|most| self.payload.len() <= most) {
            self.awaits_end = answer::may_be_whole(&self.payload);
            if self.awaits_end {
                body.limit_wait(req, answer::END_GRACE);
            }
            return Ok(());
        }
        let mut begun_key = Vec::new();
        if body.head().status >= 400 {
            // An error is read as a whole, and what is too large for that piece by piece.
            if self.payload.len() <= KEPT_BUFFER {
                return Ok(());
            }
            self.provider.hide_keys(&mut self.payload);
            begun_key = self.payload.split_off(self.provider.key_begins_at(&self.payload));
        }
        self.end_hold(req);
        self.write(req, body, false);
        self.payload.append(&mut begun_key);
        self.out = req.send(std::mem::take(&mut self.out)).await?;
        Ok(())
    }

    async fn on_end(&mut self, req: &mut RequestContext<'_>, body: UpstreamBody) -> Result<Next, Interrupt> {
        if self.holds.is_some() {
            let mut known = req.core.templates.answers(req.route.format).borrow_mut();
            let mut tape = Tape::default();
            let checked = answer::check(req.route.format, &self.payload, (&mut known, &mut tape), &self.provider.key);
            drop(known);
            let has_error = match checked {
                Ok(facts) => facts.has_error,
                Err(no_answer) => {
                    let (failure, is_response) = fail(req, *no_answer);
                    return Err(match is_response {
                        true => self.keep_failed(req, &body, failure),
                        false => failure,
                    }
                    .into());
                }
            };
            note_issuer(req, &self.payload);
            if has_error {
                self.provider.hide_keys(&mut self.payload);
                req.recorder.capture.hide_keys(self.provider);
            }
            self.end_hold(req);
        }
        if let Mode::Rewritten(document) = &mut self.mode {
            let from = self.payload.len();
            document.finish(&mut self.payload);
            req.recorder.capture.client_got(Piece::Part(&self.payload[from..]));
        }
        if body.head().status >= 400 {
            self.provider.hide_keys(&mut self.payload);
            if let Head::Pending = self.head {
                note_message(req, body.head().status, &self.payload);
            }
        }
        self.write(req, &body, true);
        if let Mode::Observed(document) | Mode::Rewritten(document) = &self.mode {
            let facts = answer::facts(req.route.format, |name| document.captured(name));
            record_facts(req, &facts);
        }
        body.release(req);
        Ok(req.finish(std::mem::take(&mut self.out)).await?)
    }

    /// Keeps the held body, which is a response that says that it failed, with the client's name of
    /// the model.
    fn keep_failed(&mut self, req: &mut RequestContext<'_>, body: &UpstreamBody, failure: Failure) -> Failure {
        self.read_held(&mut req.recorder);
        if let Mode::Rewritten(document) = &mut self.mode {
            document.finish(&mut self.payload);
        }
        keep_response(failure, (body.head(), body.head_bytes()), std::mem::take(&mut self.payload))
    }

    /// Ends a response whose body broke off. Behind its head the client sees that by the framing:
    /// fewer bytes than announced, or no last chunk.
    fn on_cut(&self, req: &mut RequestContext<'_>, cut: Cut) -> Result<Next, Interrupt> {
        let error = cut.error(req, &self.provider.key);
        if let Head::Pending = self.head {
            return Err(error.into());
        }
        tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
        req.recorder.set_cut(Kind::UpstreamTruncated);
        Ok(Next::Close)
    }

    /// Moves the payload to `out`, behind the head where that is still to be written. `is_last`
    /// says that no more will follow.
    fn write(&mut self, req: &mut RequestContext<'_>, body: &UpstreamBody, is_last: bool) {
        let framing = match self.head {
            Head::Written(framing) => framing,
            Head::Pending => {
                let framing = self.framing(req, body.head(), is_last);
                self.out = Vec::with_capacity(self.payload.len() + HEAD_ROOM);
                write_head(&mut self.out, req, (body.head(), body.head_bytes()), framing, self.transfer);
                self.head = Head::Written(framing);
                framing
            }
        };
        append(&mut self.out, &self.payload, framing);
        if is_last && framing == BodyFraming::Chunked {
            write::last_chunk(&mut self.out);
        }
        self.payload.clear();
        self.payload.shrink_to(KEPT_BUFFER);
    }

    fn framing(&self, req: &RequestContext<'_>, head: &ResponseHead, is_last: bool) -> BodyFraming {
        match head.framing {
            _ if matches!(head.status, 204 | 304) => BodyFraming::Empty,
            _ if is_last => BodyFraming::Length(self.payload.len() as u64),
            Framing::Length(n) if !matches!(self.mode, Mode::Rewritten(_)) => BodyFraming::Length(n),
            _ => BodyFraming::of_unknown_length(req.meta.version),
        }
    }
}

/// A body that arrived together with its head: the most common case, and one copy of the bytes.
pub(super) struct Complete<'p> {
    provider: &'p Provider,
    transfer: HeadTransfer<'static>,
    is_readable: bool,
    is_answer: bool,
}

impl<'p> Complete<'p> {
    /// Returns how a response is forwarded that has arrived as a whole and is sent as it is. `None`
    /// for any other.
    fn of(
        response: &UpstreamResponse,
        bypass: Bypass,
        provider: &'p Provider,
        is_answer: bool,
    ) -> Option<Complete<'p>> {
        let Reading { is_readable, transfer, rewrites } = Reading::of(response, bypass, is_answer);
        let is_whole = response.head.framing == Framing::Length(response.body().len() as u64);
        (is_whole && !rewrites).then_some(Complete { provider, transfer, is_readable, is_answer })
    }

    /// Does the same for a response of which nothing was looked at. `None` also for a stream of
    /// events in the place of an answer.
    pub(super) fn at_once(
        response: &UpstreamResponse,
        bypass: Bypass,
        provider: &'p Provider,
        is_answer: bool,
    ) -> Option<Complete<'p>> {
        let relay = Complete::of(response, bypass, provider, is_answer)?;
        let is_stream = || FormReader::default().read(response.body()) == Some(Form::Events);
        (!is_answer || !is_stream()).then_some(relay)
    }

    /// Writes what [`run`] sends of such a response.
    pub(super) fn write_at_once(
        &self,
        req: &mut RequestContext<'_>,
        response: &UpstreamResponse,
    ) -> Result<Vec<u8>, Interrupt> {
        req.recorder.note_tier(response.body());
        req.recorder.capture.mark_passthrough();
        self.write(req, &response.head, &response.bytes)
    }

    async fn forward(&self, req: &mut RequestContext<'_>, mut source: UpstreamBody) -> Result<Next, Interrupt> {
        let out = self.write(req, source.head(), source.head_bytes())?;
        // It is complete: it has no error that matters any more.
        let _ = source.skip_arrived();
        source.release(req);
        Ok(req.finish(out).await?)
    }

    /// Writes the response, whose head and body are `bytes`. Borrows the worker's tape, so it waits
    /// for nothing.
    fn write(&self, req: &mut RequestContext<'_>, head: &ResponseHead, bytes: &[u8]) -> Result<Vec<u8>, Interrupt> {
        let mut body = Cow::Borrowed(&bytes[head.len..]);
        if head.status >= 400 {
            self.provider.hide_keys(body.to_mut());
        }
        let body = &*body;
        req.recorder.capture.upstream_sent(Piece::Part(body));
        if head.status >= 400 {
            note_message(req, head.status, body);
        }
        let core = req.core;
        let mut tape = core.tape.borrow_mut();
        let facts = match (self.is_answer, self.is_readable) {
            (true, _) => {
                let mut known = core.templates.answers(req.route.format).borrow_mut();
                match answer::check(req.route.format, body, (&mut known, &mut tape), &self.provider.key) {
                    Ok(facts) => Some(facts),
                    Err(no_answer) => {
                        let (failure, is_response) = fail(req, *no_answer);
                        return Err(match is_response {
                            true => keep_response(failure, (head, bytes), body.to_vec()),
                            false => failure,
                        }
                        .into());
                    }
                }
            }
            (false, true) => Some(answer::read(req.route.format, body)),
            (false, false) => None,
        };
        let framing = match head.status {
            204 | 304 => BodyFraming::Empty,
            _ => BodyFraming::Length(body.len() as u64),
        };
        let mut out = buffers::take(body.len() + HEAD_ROOM);
        write_head(&mut out, req, (head, bytes), framing, self.transfer);
        let from = out.len();
        append(&mut out, body, framing);
        if let Some(facts) = facts {
            if facts.has_error {
                self.provider.hide_keys(&mut out[from..]);
                req.recorder.capture.hide_keys(self.provider);
            }
            record_facts(req, &facts);
            if self.is_answer {
                note_issuer(req, body);
            }
        }
        Ok(out)
    }
}

/// Returns the failure of a body in the place of an answer, and whether it is a response that says
/// that it failed. Usage that it reports is recorded: the provider bills for it.
fn fail(req: &mut RequestContext<'_>, no_answer: NoAnswer<'_>) -> (Failure, bool) {
    record_facts(req, &no_answer.facts);
    (no_answer.error.into(), no_answer.is_response)
}

/// Keeps the provider's response for the client, who gets it if no other candidate is left.
fn keep_response(failure: Failure, (head, bytes): (&ResponseHead, &[u8]), body: Vec<u8>) -> Failure {
    let (head, head_bytes) = (head.clone(), bytes[..head.len].to_vec());
    let response = BufferedResponse { head, head_bytes, body, is_translated: false };
    Failure { response: refusal::for_client(Some(response), &failure.error), ..failure }
}

fn write_head(
    out: &mut Vec<u8>,
    req: &mut RequestContext<'_>,
    (upstream, upstream_bytes): (&ResponseHead, &[u8]),
    framing: BodyFraming,
    transfer: HeadTransfer<'static>,
) {
    // The race is over: the other attempt is given up now.
    req.client.beside = None;
    let status = upstream.status;
    head::begin(out, req, &HeadParts { status, framing, upstream, upstream_bytes, transfer });
    if let HeadTransfer::Corrected = transfer {
        write::static_header(out, "content-type", "application/json");
    }
    server_timing::write(out, req);
    head::end(out, framing);
    req.recorder.set_complete(status);
}

/// Records the provider's own message of an error response that is forwarded.
fn note_message(req: &mut RequestContext<'_>, status: u16, body: &[u8]) {
    req.capture_after_all();
    req.recorder.capture.set_provider_message(req.route.format, status, body);
}

fn append(out: &mut Vec<u8>, payload: &[u8], framing: BodyFraming) {
    match framing {
        BodyFraming::Chunked => write::chunk(out, payload),
        BodyFraming::Empty => {}
        BodyFraming::Length(_) | BodyFraming::Close => out.extend_from_slice(payload),
    }
}

/// Remembers who has issued a whole response that its provider keeps, and the files that it names.
fn note_issuer(req: &RequestContext<'_>, body: &[u8]) {
    if req.pooled {
        files::learn_from_answer(req.core, req.owner, req.recorder.provider(), body);
    }
    if issuer::issues_ids(req)
        && let Some(id) = tap::body_response_id(body)
    {
        issuer::remember(req.core, id, req.recorder.provider(), req.owner);
    }
}

/// Records what a response says of itself at its top level: usage, finish reason, model.
fn record_facts(req: &mut RequestContext<'_>, facts: &AnswerFacts<'_>) {
    if let Some(raw) = facts.usage {
        let usage = facts.counted.unwrap_or_else(|| tap::usage(req.route.format, raw));
        req.recorder.record_mut().tokens = Some(Tokens::reported(&usage));
    }
    if req.route.operation == Operation::Generate {
        req.recorder.record_mut().finish = facts.reason.map(Reason::label);
        req.recorder.set_responding_model(|| facts.model?.as_str().map(RawStr::unescape));
    }
}

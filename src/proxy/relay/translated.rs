//! Translates a response of another format on its way to the client.
//!
//! Either side may be a stream or whole: a provider that responds whole to a client that streams
//! gets its response turned into a stream, and the other way round. [`Translator`] knows how far
//! the response is; this file moves bytes and watches the time.
//!
//! | the client has | a failure meanwhile |
//! |---|---|
//! | nothing ([`Phase::Waiting`]) | the next candidate may be tried |
//! | a part of a stream ([`Phase::Committed`]) | an error event, never a clean end |

use std::time::Duration;

use super::super::body::exhausted;
use super::super::core::Core;
use super::super::interrupt::{self, Interrupt};
use super::super::pinned::pinned;
use super::super::prepare::Translated;
use super::super::request_context::{Next, RequestContext};
use super::super::stream_rest::StreamRest;
use super::answer;
use super::defect;
use super::form::{Form, FormReader};
use super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use super::pace::{self, Pace};
use super::rescue;
use super::server_timing;
use super::source::{BodyEvent, Cut, UpstreamBody, malformed};
use super::translated_output::{Output, capture_output, open_stream};
use super::translation_record;
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::net::buffers;
use crate::proxy::ids::WorkerIds;
use crate::proxy::recorder::RequestRecorder;
use crate::shared::body_memory::HeldMemory;
use crate::telemetry::capture::Piece;
use llm_http::{ResponseHead, write};
use llm_wire::canonical::loss::Ledger;
use llm_wire::error::{Error, Kind};
use llm_wire::json::scan;
use llm_wire::sse::{Block, Framer};
use llm_wire::target::plan::Reply;
use llm_wire::translate::{Phase, Translator};

/// Bytes of a whole response that are held, of either side. Responses with images have some ten
/// MiB.
const MAX_WHOLE: usize = 64 << 20;
/// How long the last bytes of an upstream's body are awaited, so that its connection can be used
/// again, when the client has all of its response.
const DRAIN: Duration = Duration::from_millis(250);
/// How long usage and the end mark are awaited once the provider has sent the finish reason. Some
/// hosts send neither, and keep the connection open.
const TAIL: Duration = Duration::from_secs(5);

/// How long content is awaited behind a finish reason. Some hosts send one for each tool call, or
/// with each chunk, and go on.
const HOLD: Duration = Duration::from_secs(2);

/// The first bytes of a whole response, which don't count in MAX_BUFFERED_BYTES: most have no more,
/// and the number of connections bounds them.
const UNCOUNTED: usize = 16 << 10;
/// A whole response is held as it came, and as the client gets it.
const COPIES: usize = 2;

/// Marks the error of [`MAX_WHOLE`].
const TOO_LARGE: &str = "upstream_answer_too_large";

/// What the upstream sends.
enum Input {
    Events(Framer),
    Whole(Vec<u8>),
}

struct Relay<'p> {
    /// By the content type, until the first bytes have come.
    input: Input,
    /// What the body is, once they have.
    form: Option<Form>,
    form_reader: FormReader,
    /// Whether the end alone may be missing of a whole answer, so that the wait is short.
    awaits_end: bool,
    translator: Translator,
    /// Whether the stream broke off where another provider may go on.
    is_broken: bool,
    output: Output,
    provider: &'p Provider,
    ledger: Ledger,
    /// The upstream's head, kept for the response of a client that gets it whole. Empty for a
    /// stream, whose head is written at once.
    upstream_bytes: Vec<u8>,
    /// Bytes of a whole response so far.
    size: usize,
    /// What a whole response takes of the memory for bodies, beyond the first bytes.
    held: HeldMemory,
}

pub(super) async fn run(
    req: &mut RequestContext<'_>,
    body: UpstreamBody,
    translated: Box<Translated>,
    provider: &Provider,
) -> Result<Next, Interrupt> {
    let mut relay = Relay::new(req, &body, *translated, provider)?;
    let mut result = relay.forward(req, body).await;
    translation_record::record_summary(req, &relay.translator);
    if let Err(Interrupt::Failed(failure)) = &mut result
        && relay.is_broken
    {
        failure.rest = Some(StreamRest::Translated(Box::new(relay.translator)));
    }
    result
}

impl<'p> Relay<'p> {
    fn new(
        req: &mut RequestContext<'_>,
        body: &UpstreamBody,
        translated: Translated,
        provider: &'p Provider,
    ) -> Result<Relay<'p>, Error> {
        let response = body.response();
        let Translated { plan, ledger, .. } = translated;
        let streams = plan.stream;
        let ids = WorkerIds { core: req.core.clone(), request: req.received.share() };
        let reply = Reply::new(plan, Box::new(ids), req.recorder.request_id());
        let input = match response.is_event_stream {
            true => Input::Events(Framer::default()),
            false => Input::Whole(Vec::new()),
        };
        let (mut output, upstream_bytes) = match streams {
            true => (Output::Stream(open_stream(req, body, &ledger)), Vec::new()),
            false => (Output::Whole(Vec::new()), response.bytes[..response.head.len].to_vec()),
        };
        let out = match &mut output {
            Output::Stream(stream_writer) => Some(stream_writer.buf()),
            Output::Whole(_) => None,
        };
        let translator = rescue::translator(req, reply, out, &provider.key)?;
        Ok(Relay {
            input,
            form: None,
            form_reader: FormReader::default(),
            awaits_end: false,
            translator,
            is_broken: false,
            output,
            provider,
            ledger,
            upstream_bytes,
            size: 0,
            held: req.core.shared.body_memory.hold(),
        })
    }

    async fn forward(&mut self, req: &mut RequestContext<'_>, mut body: UpstreamBody) -> Result<Next, Interrupt> {
        loop {
            if self.form.is_none() {
                self.read_form(&body);
            }
            // Until then pieces come one by one, since a later one may show the form.
            if self.form.is_some() && body.has_arrived() {
                self.translate_arrived(req, &mut body)?;
            }
            match body.next(req, self.pace()).await? {
                BodyEvent::Arrived => {}
                BodyEvent::Data(data) => self.on_data(req, data)?,
                BodyEvent::Drained if self.translator.phase() == Phase::Over => break,
                BodyEvent::Drained => self.on_drained(req, &mut body).await?,
                BodyEvent::Idle => self.on_idle(req).await?,
                BodyEvent::End => {
                    self.on_end(req.core, &mut req.recorder)?;
                    break;
                }
                BodyEvent::Cut(Cut::TimedOut) if self.translator.holds_finish() && !req.core.stopping() => {
                    self.on_finish_confirmed(&mut req.recorder)?;
                    body.rearm();
                    self.on_drained(req, &mut body).await?;
                }
                // The answer is complete, although its body has not ended.
                BodyEvent::Cut(_) if matches!(&self.input, Input::Whole(held) if answer::is_whole(held)) => {
                    self.on_end(req.core, &mut req.recorder)?;
                    break;
                }
                BodyEvent::Cut(Cut::TimedOut) if self.awaits_end && !req.core.stopping() => {
                    self.awaits_end = false;
                    body.rearm();
                }
                BodyEvent::Cut(cut) => {
                    self.on_cut(req, cut)?;
                    break;
                }
            }
        }
        pinned(|| self.finish(req, body)).await
    }

    /// Takes the body for what its first bytes are.
    fn read_form(&mut self, body: &UpstreamBody) {
        let Some(piece) = body.peek() else { return };
        let Some(form) = self.form_reader.read(piece) else { return };
        self.form = Some(form);
        let comments = self.form_reader.take_comments(piece.len());
        match (form, &self.input) {
            (Form::Events, Input::Whole(_)) => self.input = Input::Events(Framer::default()),
            (Form::Document | Form::Markup, Input::Events(_)) => self.input = Input::Whole(comments),
            _ => {}
        }
    }

    fn pace(&self) -> Pace {
        match (&self.output, self.translator.phase()) {
            (Output::Whole(_), _) => Pace::Whole,
            (Output::Stream(_), Phase::Waiting) => Pace::Held,
            (Output::Stream(_), Phase::Committed) if self.translator.awaits_rest() => Pace::Held,
            (Output::Stream(_), Phase::Committed | Phase::Over) => Pace::Flowing,
        }
    }

    /// Takes in the chunks of a stream that have arrived as a whole. A chunk that is one known
    /// event, as most are, is looked at by itself; other chunks are put together up to the end of
    /// an event.
    fn translate_arrived(&mut self, req: &mut RequestContext<'_>, body: &mut UpstreamBody) -> Result<(), Error> {
        loop {
            let Input::Events(framer) = &self.input else { return Ok(()) };
            if framer.is_between_events()
                && let Output::Stream(stream_writer) = &mut self.output
            {
                let (out, capture) = (stream_writer.buf(), &mut req.recorder.capture);
                let (is_captured, from) = (capture.is_on(), out.len());
                body.whole_chunks(|chunk| {
                    let is_known = self.translator.known_event(chunk, out);
                    if is_known && is_captured {
                        capture.upstream_sent(Piece::Event(chunk));
                    }
                    is_known
                });
                if is_captured {
                    capture.client_got(Piece::Event(&out[from..]));
                }
                if self.translate_whole_event(&mut req.recorder, body)? {
                    continue;
                }
            }
            // Of the worker, since most of its life a stream waits.
            let mut arrived = buffers::take(buffers::LARGE);
            body.event_chunks(&mut arrived);
            let result = match arrived.is_empty() {
                true => None,
                false => Some(self.on_data(req, &arrived)),
            };
            buffers::give(arrived);
            match result {
                None => return Ok(()),
                Some(result) => result?,
            }
        }
    }

    /// Takes in the next chunk of a stream that is translated to one, if it has arrived and is one
    /// event in its usual form. Returns whether it is.
    fn translate_whole_event(
        &mut self,
        recorder: &mut RequestRecorder,
        body: &mut UpstreamBody,
    ) -> Result<bool, Error> {
        let Input::Events(framer) = &mut self.input else { return Ok(false) };
        let mut result = Ok(());
        let is_taken = body.whole_chunk(|chunk| {
            let Some(frame) = framer.whole(chunk) else { return false };
            recorder.capture.upstream_sent(Piece::Event(chunk));
            let from = self.output.buf().len();
            result = self.translator.frame(frame, self.output.buf());
            if result.is_ok() {
                capture_output(recorder, &mut self.output, from);
            }
            true
        });
        result.map(|()| is_taken)
    }

    /// Takes in what the upstream sent. An error is one that the client does not know of. What
    /// comes behind the end of the response is read for the end of the body alone: the translator
    /// ignores it.
    fn on_data(&mut self, req: &mut RequestContext<'_>, data: &[u8]) -> Result<(), Error> {
        let is_stream = matches!((&self.input, &self.output), (Input::Events(_), Output::Stream(_)));
        if !is_stream {
            self.size += data.len();
            if self.size > MAX_WHOLE {
                req.core.metrics.inc(Counter::AnswerOverflow);
                let note = format!("provider `{}` sent a response of more than {MAX_WHOLE} bytes", self.provider.key);
                return self.fail(&mut req.recorder, Error::upstream(Kind::UpstreamFault, note).code(TOO_LARGE));
            }
            if self.size > UNCOUNTED
                && let Err(error) = self.held.grow_to(self.size.next_power_of_two() * COPIES)
            {
                let error = exhausted(req.core, error);
                return self.fail(&mut req.recorder, error);
            }
        }
        match &mut self.input {
            Input::Events(_) => self.translate_events(&mut req.recorder, data),
            Input::Whole(body) => {
                req.recorder.capture.upstream_sent(Piece::Part(data));
                body.extend_from_slice(data);
                Ok(())
            }
        }
    }

    fn translate_events(&mut self, recorder: &mut RequestRecorder, mut data: &[u8]) -> Result<(), Error> {
        let Input::Events(framer) = &mut self.input else { return Ok(()) };
        loop {
            if framer.is_between_events() && !recorder.capture.is_on() {
                data = &data[self.translator.known_events(data, self.output.buf())?..];
            }
            let block = match framer.next(&mut data) {
                Ok(Some(block)) => block,
                Ok(None) => return Ok(()),
                Err(error) => {
                    let error = malformed(&self.provider.key, error);
                    return self.fail(recorder, error);
                }
            };
            recorder.capture.upstream_sent(Piece::Event(block.raw));
            if let Some(frame) = block.frame {
                let from = self.output.buf().len();
                self.translator.frame(frame, self.output.buf())?;
                capture_output(recorder, &mut self.output, from);
            }
        }
    }

    async fn on_drained(&mut self, req: &mut RequestContext<'_>, body: &mut UpstreamBody) -> Result<(), Interrupt> {
        if self.translator.holds_finish() {
            body.limit_wait(req, HOLD);
        } else if self.translator.is_finished() {
            body.limit_rest(req, TAIL);
        } else if let Input::Whole(held) = &self.input {
            self.awaits_end = answer::may_be_whole(held);
            if self.awaits_end {
                body.limit_wait(req, answer::END_GRACE);
            }
        }
        if self.translator.phase() == Phase::Committed && !self.translator.awaits_rest() {
            self.flush(req).await?;
        }
        Ok(())
    }

    /// Shows the client that its request is being served.
    async fn on_idle(&mut self, req: &mut RequestContext<'_>) -> Result<(), Interrupt> {
        match (self.pace(), &mut self.output) {
            (Pace::Held, Output::Stream(stream_writer)) if pace::is_keep_alive_due(req) => {
                return Ok(stream_writer.send_keep_alive(req).await?);
            }
            (Pace::Held | Pace::Whole, _) => return Ok(()),
            (Pace::Committed | Pace::Flowing, _) => {}
        }
        if self.translator.wait(self.output.buf()) {
            self.flush(req).await?;
        }
        Ok(())
    }

    /// Passes on the finish reason that was held back: nothing came behind it.
    fn on_finish_confirmed(&mut self, recorder: &mut RequestRecorder) -> Result<(), Error> {
        let from = self.output.buf().len();
        self.translator.flush_finish(self.output.buf())?;
        capture_output(recorder, &mut self.output, from);
        Ok(())
    }

    /// Ends the translation with the body. What stands behind the last blank line counts if it is
    /// complete; half an event is none.
    fn on_end(&mut self, core: &Core, recorder: &mut RequestRecorder) -> Result<(), Error> {
        let from = self.output.buf().len();
        let is_stream = matches!(self.input, Input::Events(_)) && !self.translator.is_finished();
        if is_stream && self.form != Some(Form::Events) {
            return self.fail(recorder, defect::of_early_end(self.form, &self.provider.key));
        }
        match &mut self.input {
            Input::Whole(body) => {
                let out = self.output.buf();
                // It becomes about as much again: to grow in steps would copy it each time.
                out.reserve(body.len() + body.len() / 4 + 256);
                self.translator.whole_body(&mut core.templates.translated_answers.borrow_mut(), body, out)?;
            }
            Input::Events(framer) => {
                if let Some(Block { frame: Some(frame), .. }) = framer.finish()
                    && (frame.data.trim_ascii() == b"[DONE]" || scan::validate(frame.data).is_ok())
                {
                    self.translator.frame(frame, self.output.buf())?;
                }
            }
        }
        self.translator.end(self.output.buf())?;
        capture_output(recorder, &mut self.output, from);
        Ok(())
    }

    /// Ends the translation of a body that broke off. A response that has its finish reason is
    /// complete: only its end mark is missing.
    fn on_cut(&mut self, req: &mut RequestContext<'_>, cut: Cut) -> Result<(), Error> {
        if self.translator.is_finished() && !matches!(cut, Cut::Malformed(_)) {
            return self.on_end(req.core, &mut req.recorder);
        }
        let error = cut.error(req, &self.provider.key);
        self.fail(&mut req.recorder, error)
    }

    /// Ends the translation with an error, which a stream that has begun gets as an event. Returns
    /// the error if the client has got nothing.
    fn fail(&mut self, recorder: &mut RequestRecorder, error: Error) -> Result<(), Error> {
        let from = self.output.buf().len();
        self.translator.fail(error, self.output.buf())?;
        capture_output(recorder, &mut self.output, from);
        Ok(())
    }

    /// Sends what is ready of a stream.
    async fn flush(&mut self, req: &mut RequestContext<'_>) -> Result<(), Interrupt> {
        let Output::Stream(stream_writer) = &mut self.output else { return Ok(()) };
        if self.translator.has_content() {
            req.recorder.first_content();
        }
        if self.translator.failure().is_some() {
            self.provider.hide_keys(stream_writer.buf());
        }
        Ok(stream_writer.flush(req).await?)
    }

    /// Sends the rest of the response, which is over, well or not.
    async fn finish(&mut self, req: &mut RequestContext<'_>, body: UpstreamBody) -> Result<Next, Interrupt> {
        if let Some(error) = self.translator.take_broken() {
            self.is_broken = true;
            self.flush(req).await?;
            req.head_sent = true;
            return Err(error.into());
        }
        if self.translator.stopped_early() {
            req.core.metrics.inc(Counter::EarlyStops);
        }
        if self.translator.failure().is_some() {
            return self.finish_truncated(req).await;
        }
        if let Some(captured) = self.translator.captured() {
            req.core.reasoning_cache.put(req.recorder.credential(), captured);
        }
        req.recorder.set_complete(200);
        let out = match &mut self.output {
            Output::Stream(stream_writer) => {
                req.recorder.first_content();
                stream_writer.finish()
            }
            Output::Whole(content) => {
                let content = std::mem::take(content);
                // The race is over: the other attempt is given up now.
                req.client.beside = None;
                self.whole_response(req, body.head(), &content)
            }
        };
        // Before the response is sent, so that bytes that come behind it are noticed.
        if body.is_ended() {
            body.release(req);
            return Ok(req.finish(out).await?);
        }
        req.send(out).await?;
        let next = req.next();
        // A response that the gateway ended itself is cancelled.
        if !self.translator.stopped_early() {
            body.discard_rest(req, DRAIN).await;
        }
        Ok(next)
    }

    /// Sends the error event of a stream that broke. No last chunk follows: a client that does not
    /// read error events sees a broken response.
    async fn finish_truncated(&mut self, req: &mut RequestContext<'_>) -> Result<Next, Interrupt> {
        self.flush(req).await?;
        if let Some(error) = self.translator.failure_mut() {
            interrupt::hide_keys(error, self.provider);
            tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
            req.set_truncated(error);
        }
        Ok(Next::Close)
    }

    /// The response's head names what the response lost. A stream's head is sent before that is
    /// known.
    fn whole_response(&mut self, req: &mut RequestContext<'_>, upstream: &ResponseHead, content: &[u8]) -> Vec<u8> {
        let framing = BodyFraming::Length(content.len() as u64);
        for (note, _) in self.translator.notes() {
            let _ = note.loss().map(|loss| self.ledger.record_response_loss(loss));
        }
        let parts = HeadParts {
            status: 200,
            framing,
            upstream,
            upstream_bytes: &self.upstream_bytes,
            transfer: HeadTransfer::Translated(Some(&self.ledger)),
        };
        let mut out = Vec::with_capacity(content.len() + 1024);
        head::begin(&mut out, req, &parts);
        write::static_header(&mut out, "content-type", "application/json");
        server_timing::write(&mut out, req);
        head::end(&mut out, framing);
        out.extend_from_slice(content);
        req.recorder.capture.client_got(Piece::Part(content));
        out
    }
}

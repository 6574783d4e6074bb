//! Forwards a stream of server-sent events in the client's own format.
//!
//! | pace | until | a failure meanwhile |
//! |---|---|---|
//! | `Held` | content, then `Flowing`; too much held, then `Committed` | the next candidate may be tried |
//! | `Committed` | content, then `Flowing` | an error event, never a clean end |
//! | `Flowing` | the end of the response | an error event, never a clean end |
//!
//! While the stream is held, the head and the first events wait in the outlet. They carry no text,
//! so the client loses nothing, and a provider that fails before its first content can still be
//! replaced. After COMMIT_AFTER_SECS the client gets the head and comments, while the events go on
//! waiting. Events pass as they came, byte for byte. The only things ever added are comment lines
//! in a long silence, and the error event that ends a stream which broke off.

mod ending;
mod known;

use std::time::Duration;

use super::super::core::Core;
use super::super::endpoint::Operation;
use super::super::interrupt::Interrupt;
use super::super::issuer::IdWatch;
use super::super::prepare::Bypass;
use super::super::request_context::RequestContext;
use super::event_bytes::{error_of_event, write_renamed};
use super::form::{Form, FormReader};
use super::known_events::{KnownEvents, Rename};
use super::pace::{self, Pace};
use super::relayed::Relayed;
use super::rescue::{self, Rescue};
use super::source::{BodyEvent, Cut, UpstreamBody, malformed};
use super::stream_writer::StreamWriter;
use crate::metrics::names::Counter;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::capture::Piece;
use crate::telemetry::record::Tokens;
use llm_wire::Format;
use llm_wire::canonical::event::Reason;
use llm_wire::error::Error;
use llm_wire::passthrough::splice;
use llm_wire::passthrough::tap;
use llm_wire::passthrough::tap::{AnyTap, FrameKind};
use llm_wire::sse::{self, Framer};

/// Bytes that are held back for the first content at most.
const MAX_HELD: usize = 256 << 10;

struct Relay<'p> {
    framer: Framer,
    tap: AnyTap,
    known: KnownEvents,
    format: Format,
    /// The stream is a model's response. Only of those it is known which events carry text, and how
    /// they end.
    generates: bool,
    pace: Pace,
    ids: IdWatch,
    rescue: Rescue,
    /// Whether the content type says that this is a stream.
    is_labelled: bool,
    /// What the body is, once its first bytes have come.
    form: Option<Form>,
    form_reader: FormReader,
    stream_writer: StreamWriter,
    bypass: Bypass,
    provider: &'p str,
    /// The client's name of the model, if the provider uses another.
    model: Option<String>,
}

pub(super) async fn run(
    req: &mut RequestContext<'_>,
    body: UpstreamBody,
    bypass: Bypass,
    provider: &str,
) -> Result<Relayed, Interrupt> {
    let mut relay = Relay::new(req, &body, bypass, provider);
    let result = relay.forward(req, body).await;
    relay.record_summary(req);
    result
}

/// How long usage and the end mark are awaited behind the finish reason. Some hosts send neither,
/// and keep the connection open.
const TAIL: Duration = Duration::from_secs(5);
impl<'p> Relay<'p> {
    fn new(req: &mut RequestContext<'_>, body: &UpstreamBody, bypass: Bypass, provider: &'p str) -> Relay<'p> {
        let response = body.response();
        let is_labelled = response.is_event_stream && !response.is_encoded;
        let generates = req.route.operation == Operation::Generate;
        if !bypass.edits() {
            req.recorder.capture.mark_passthrough();
        }
        let mut stream_writer = StreamWriter::begin(req, response, is_labelled);
        let rescue = Rescue::begin(req);
        rescue.announce(req, &mut stream_writer.buf, provider);
        let model = bypass.renamed.then(|| req.model.requested.clone());
        let rename = |model: &String| Rename { format: req.route.format, quoted: splice::quoted(model) };
        let rename = model.as_ref().map(rename);
        Relay {
            framer: Framer::default(),
            tap: AnyTap::new(req.route.format),
            known: KnownEvents::new(rename),
            format: req.route.format,
            generates,
            ids: IdWatch::begin(req),
            rescue,
            pace: if generates { Pace::Held } else { Pace::Flowing },
            stream_writer,
            is_labelled,
            form: None,
            form_reader: FormReader::default(),
            bypass,
            provider,
            model,
        }
    }

    async fn forward(&mut self, req: &mut RequestContext<'_>, mut body: UpstreamBody) -> Result<Relayed, Interrupt> {
        loop {
            if self.form.is_none() && self.generates {
                self.form = body.peek().and_then(|piece| self.form_reader.read(piece));
                if let Some(form) = self.form.filter(|form| !self.takes(*form)) {
                    return Ok(Relayed::Other(Box::new(body), form));
                }
            }
            let core = req.core;
            if let Err(error) = self.forward_arrived(core, &mut req.recorder, &mut body) {
                return Box::pin(self.on_failure(req, error)).await.map(Relayed::Done);
            }
            match body.next(req, self.pace).await? {
                BodyEvent::Arrived => {}
                BodyEvent::Data(data) => {
                    if let Err(error) = self.on_data(core, &mut req.recorder, data) {
                        return Box::pin(self.on_failure(req, error)).await.map(Relayed::Done);
                    }
                }
                BodyEvent::Drained if self.has_end_mark() => {
                    return Box::pin(self.on_end_mark(req, body)).await.map(Relayed::Done);
                }
                BodyEvent::Drained => {
                    if self.is_over() {
                        body.limit_rest(req, TAIL);
                    }
                    self.on_drained(req).await?;
                }
                BodyEvent::Idle => self.on_idle(req).await?,
                BodyEvent::End => return Box::pin(self.on_end(req, body, None)).await.map(Relayed::Done),
                BodyEvent::Cut(cut @ Cut::Malformed(_)) => {
                    let error = cut.error(req, self.provider);
                    return Box::pin(self.on_failure(req, error)).await.map(Relayed::Done);
                }
                BodyEvent::Cut(cut) => {
                    return Box::pin(self.on_end(req, body, Some(cut))).await.map(Relayed::Done);
                }
            }
        }
    }

    /// Returns whether a body of this form is forwarded as a stream. What is labelled as one is,
    /// unless it is plainly something else.
    fn takes(&self, form: Form) -> bool {
        form == Form::Events || (form == Form::Text && self.is_labelled)
    }

    fn on_data(&mut self, core: &Core, recorder: &mut RequestRecorder, data: &[u8]) -> Result<(), Error> {
        // A read ends in the middle of an event, which no structure matches.
        let data = match self.framer.is_between_events() && has_event_end(data) {
            true => self.forward_known(core, recorder, data),
            false => data,
        };
        self.on_unknown(core, recorder, data)
    }

    /// Takes in data that begins with no event whose structure is known.
    fn on_unknown(&mut self, core: &Core, recorder: &mut RequestRecorder, data: &[u8]) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        // The framer is taken out meanwhile, since its blocks borrow it.
        let mut framer = std::mem::take(&mut self.framer);
        let result = self.forward_blocks(core, recorder, &mut framer, data);
        self.framer = framer;
        result
    }

    fn forward_blocks(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        framer: &mut Framer,
        mut data: &[u8],
    ) -> Result<(), Error> {
        // An event that a read has cut was not looked at as a whole.
        let mut was_cut = !framer.is_between_events();
        while let Some(block) = framer.next(&mut data).map_err(|error| malformed(self.provider, error))? {
            let is_known = std::mem::take(&mut was_cut) && self.forward_known(core, recorder, block.raw).is_empty();
            if !is_known {
                self.ids.note_event(core, recorder.provider(), &block);
                self.forward_block(recorder, &block)?;
            }
            if let Some(frame) = block.frame.as_ref().filter(|_| !is_known) {
                self.known.learn(&mut core.templates.events(self.format).borrow_mut(), &self.tap, block.raw, frame);
            }
            if framer.is_between_events() {
                data = self.forward_known(core, recorder, data);
            }
        }
        Ok(())
    }

    fn forward_block(&mut self, recorder: &mut RequestRecorder, block: &sse::Block<'_>) -> Result<(), Error> {
        recorder.capture.upstream_sent(Piece::Event(block.raw));
        let from = self.stream_writer.buf.len();
        let result = self.write_block(recorder, block);
        if self.bypass.edits() {
            recorder.capture.client_got(Piece::Event(&self.stream_writer.buf[from..]));
        }
        result
    }

    /// Appends a block to the outlet, unless it is not for the client. Fails on an error event
    /// while the stream is held.
    fn write_block(&mut self, recorder: &mut RequestRecorder, block: &sse::Block<'_>) -> Result<(), Error> {
        let Some(frame) = &block.frame else {
            self.stream_writer.buf.extend_from_slice(block.raw);
            return Ok(());
        };
        if self.pace == Pace::Held {
            recorder.set_responding_model(|| tap::model(self.format, frame.data));
        }
        let kind = self.tap.frame(frame);
        match kind {
            FrameKind::Error if self.pace == Pace::Held || self.rescue.can_go_on() => {
                return Err(error_of_event(self.format, frame.data));
            }
            // It is not in the vendor's reference, and strict readers fail on it. A comment does
            // what it is for.
            FrameKind::KeepAlive => {
                sse::write::comment(&mut self.stream_writer.buf, "keep-alive");
                return Ok(());
            }
            FrameKind::Usage if self.bypass.hide_usage => return Ok(()),
            kind => self.note_kind(recorder, kind),
        }
        let Some(edits) = self.rescue.note(frame, kind, &mut self.stream_writer.buf) else { return Ok(()) };
        let renamed = self.model.as_deref().and_then(|model| Some((model, tap::model_range(self.format, frame.data)?)));
        if let Some(mut edits) = edits {
            if let Some((model, range)) = renamed {
                edits.replace(range, splice::quoted(model));
            }
            rescue::write_edited(&mut self.stream_writer.buf, frame, &edits);
            return Ok(());
        }
        match renamed {
            None => self.stream_writer.buf.extend_from_slice(block.raw),
            Some((model, range)) => write_renamed(&mut self.stream_writer.buf, block, frame, range, model),
        }
        Ok(())
    }

    /// Notes that an event of this kind goes to the client.
    fn note_kind(&mut self, recorder: &mut RequestRecorder, kind: FrameKind) {
        if matches!(kind, FrameKind::Content | FrameKind::Finish | FrameKind::End) {
            if self.generates {
                recorder.first_content();
            }
            self.pace = Pace::Flowing;
            self.ids.end_wait();
        }
    }

    async fn on_drained(&mut self, req: &mut RequestContext<'_>) -> Result<(), Interrupt> {
        if self.pace == Pace::Held && self.stream_writer.held() > MAX_HELD {
            req.core.metrics.inc(Counter::HeldOverflow);
            self.pace = Pace::Committed;
        }
        if self.pace != Pace::Held {
            self.stream_writer.flush(req).await?;
        }
        Ok(())
    }

    /// Shows the client that its request is being served. The stream stands between two events:
    /// partial ones are never forwarded.
    async fn on_idle(&mut self, req: &mut RequestContext<'_>) -> Result<(), Interrupt> {
        match self.pace {
            Pace::Held if !pace::is_keep_alive_due(req) => return Ok(()),
            Pace::Held => return Ok(self.stream_writer.send_keep_alive(req).await?),
            Pace::Committed | Pace::Flowing | Pace::Whole => {
                sse::write::comment(&mut self.stream_writer.buf, "keep-alive");
            }
        }
        Ok(self.stream_writer.flush(req).await?)
    }

    /// Records usage and finish reason, as far as the stream had them.
    fn record_summary(&self, req: &mut RequestContext<'_>) {
        let seen = self.tap.seen();
        if let Some(usage) = &seen.usage {
            req.recorder.record_mut().tokens = Some(Tokens::reported(usage));
        }
        req.recorder.record_mut().finish = seen.reason.map(Reason::label);
        req.core.metrics.add(Counter::TapErrors, u64::from(seen.parse_errors));
    }

    /// Returns whether the model's response has come to its own end, or to an error that the
    /// provider itself reported.
    fn is_over(&self) -> bool {
        let seen = self.tap.seen();
        seen.failed || seen.ended || (seen.finished && self.format.profile().response.is_whole_at_finish)
    }
}

/// Returns whether an event of lines that end with LF ends in `data`.
fn has_event_end(data: &[u8]) -> bool {
    data.ends_with(b"\n\n") || memchr::memchr_iter(b'\n', data).any(|at| data.get(at + 1) == Some(&b'\n'))
}

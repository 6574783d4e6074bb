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

use std::time::Duration;

use super::super::core::Core;
use super::super::endpoint::Operation;
use super::super::interrupt::{Failure, Interrupt};
use super::super::issuer::IdWatch;
use super::super::prepare::Bypass;
use super::super::request_context::{Next, RequestContext};
use super::defect;
use super::event_bytes::{error_of_event, is_complete, write_renamed};
use super::form::{Form, FormReader};
use super::known_events::{KnownEvents, KnownLen, Rename};
use super::pace::{self, Pace};
use super::relayed::Relayed;
use super::rescue::{self, Rescue};
use super::source::{BodyEvent, Cut, UpstreamBody, malformed, truncated};
use super::stream_writer::StreamWriter;
use crate::metrics::names::Counter;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::capture::Piece;
use crate::telemetry::record::Tokens;
use llm_http::Framing;
use llm_wire::Format;
use llm_wire::canonical::event::Reason;
use llm_wire::error::{Error, Kind};
use llm_wire::formats::errors;
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

/// What stood behind the last blank line of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// Nothing, or an event that is complete save its blank line.
    Complete,
    /// Half an event, which is never forwarded.
    Partial,
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
/// How long the end of the body is awaited behind the end mark, so that its connection can be used
/// again.
const DRAIN: Duration = Duration::from_millis(250);

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

    /// Forwards the chunks that have arrived as a whole, where their events may be known. A chunk
    /// that is one known event of content, as most are, is looked at and written by itself; other
    /// chunks are put together up to the end of an event.
    fn forward_arrived(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        body: &mut UpstreamBody,
    ) -> Result<(), Error> {
        let is_known_form = self.form.is_some() || !self.generates;
        // An event of content changes nothing but what these keep.
        if !is_known_form || self.ids.awaits_id() || self.rescue.is_on() {
            return Ok(());
        }
        while self.framer.is_between_events() {
            if self.pace == Pace::Flowing {
                self.known.forward_chunks(body, &mut self.stream_writer.buf, recorder, self.bypass.edits());
            }
            if !self.may_know(recorder) {
                break;
            }
            let from = self.stream_writer.buf.len();
            body.event_chunks(&mut self.stream_writer.buf);
            if self.stream_writer.buf.len() == from {
                break;
            }
            self.forward_written(core, recorder, from)?;
        }
        Ok(())
    }

    /// Looks at the bytes that were written to the outlet behind `from`, which begin an event. What
    /// is not known is taken out again, and goes the long way.
    fn forward_written(&mut self, core: &Core, recorder: &mut RequestRecorder, from: usize) -> Result<(), Error> {
        let mut written = std::mem::take(&mut self.stream_writer.buf);
        // What is kept moves up to the place of what was dropped, each byte once.
        let (mut read, mut end) = (from, from);
        loop {
            let known = self.match_known(core, recorder, &written[read..]);
            if read > end {
                written.copy_within(read..read + known.kept, end);
            }
            end += known.kept;
            read += known.kept + known.dropped;
            if known.dropped == 0 {
                break;
            }
        }
        let rest = (read < written.len()).then(|| written.split_off(read));
        written.truncate(end);
        self.stream_writer.buf = written;
        match rest {
            Some(rest) => self.on_unknown(core, recorder, &rest),
            None => Ok(()),
        }
    }

    /// Returns whether an event whose structure is known is forwarded as it is, whatever it is:
    /// while no model name is replaced, nobody captures or keeps events, and no id is awaited.
    fn may_know(&self, recorder: &RequestRecorder) -> bool {
        self.model.is_none() && !self.ids.awaits_id() && !self.rescue.is_on() && !recorder.capture.is_on()
    }

    /// Forwards the events at the start of `data`, which begins one, whose structure is known, and
    /// returns the rest.
    fn forward_known<'d>(&mut self, core: &Core, recorder: &mut RequestRecorder, mut data: &'d [u8]) -> &'d [u8] {
        if !self.may_know(recorder) {
            return data;
        }
        loop {
            let known = self.match_known(core, recorder, data);
            self.stream_writer.buf.extend_from_slice(&data[..known.kept]);
            data = &data[known.kept + known.dropped..];
            if known.dropped == 0 {
                return data;
            }
        }
    }

    /// Finds the events at the start of `data` whose structure is known, up to the first that is
    /// not for the client, and does with them what is done with events that are read.
    fn match_known(&mut self, core: &Core, recorder: &mut RequestRecorder, data: &[u8]) -> KnownLen {
        let mut templates = core.templates.events(self.format).borrow_mut();
        let mut kept = 0;
        loop {
            if self.pace == Pace::Flowing {
                kept += self.known.flowing(&data[kept..]);
            }
            if kept == data.len() {
                return KnownLen { kept, dropped: 0 };
            }
            let Some(event) = self.known.next(&mut templates, &data[kept..]) else {
                return KnownLen { kept, dropped: 0 };
            };
            self.tap.repeat(event.effect, event.usage);
            if event.effect.kind == FrameKind::Usage && self.bypass.hide_usage {
                return KnownLen { kept, dropped: event.len };
            }
            kept += event.len;
            self.note_kind(recorder, event.effect.kind);
        }
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

    /// Ends the response when nothing more comes: the body has ended, or was cut.
    ///
    /// If the response had come to its own end, a connection that ends badly takes nothing from it.
    /// If not, a body that was ended as HTTP demands is what the provider meant to send: it passes
    /// as it is, and only the record calls it truncated. The close of a connection is no such end,
    /// and a stream without content is no response.
    async fn on_end(
        &mut self,
        req: &mut RequestContext<'_>,
        body: UpstreamBody,
        cut: Option<Cut>,
    ) -> Result<Next, Interrupt> {
        let is_proper = cut.is_none() && (body.head().framing != Framing::Close || !self.generates);
        let tail = match self.forward_tail(&mut req.recorder, is_proper) {
            Ok(tail) => tail,
            Err(error) => return self.on_failure(req, error).await,
        };
        let is_intended = is_proper && tail == Tail::Complete && self.pace == Pace::Flowing;
        let is_over = self.is_over();
        if !is_over && !is_intended {
            let error = match cut {
                Some(cut) => cut.error(req, self.provider),
                None if req.core.stopping() => Error::stopping(),
                None if self.generates && self.pace != Pace::Flowing => defect::of_early_end(self.form, self.provider),
                None => truncated(self.provider, "ended its stream"),
            };
            return self.on_failure(req, error).await;
        }
        req.recorder.set_complete(200);
        if self.tap.seen().failed {
            req.recorder.set_cut(Kind::UpstreamFault);
        } else if self.generates && !is_over {
            req.recorder.set_cut(Kind::UpstreamTruncated);
        }
        req.recorder.record_mut().stream_defect = defect::of_stream(self.tap.seen(), self.generates);
        body.release(req);
        Ok(req.finish(self.stream_writer.finish()).await?)
    }

    /// Ends a response that has its end mark. The provider may keep the connection open for long.
    async fn on_end_mark(&mut self, req: &mut RequestContext<'_>, body: UpstreamBody) -> Result<Next, Interrupt> {
        if self.pace == Pace::Held {
            let error = truncated(self.provider, "ended its stream");
            return self.on_failure(req, error).await;
        }
        req.recorder.set_complete(200);
        if self.tap.seen().failed {
            req.recorder.set_cut(Kind::UpstreamFault);
        }
        req.recorder.record_mut().stream_defect = defect::of_stream(self.tap.seen(), self.generates);
        req.send(self.stream_writer.finish()).await?;
        body.discard_rest(req, DRAIN).await;
        Ok(req.next())
    }

    /// Returns whether the format's last event has come, and no part of another.
    fn has_end_mark(&self) -> bool {
        self.generates && self.tap.seen().ended && self.framer.is_between_events()
    }

    /// Forwards what stands behind the last blank line, which many hosts forget. `is_proper` says
    /// whether the body was ended as HTTP demands.
    fn forward_tail(&mut self, recorder: &mut RequestRecorder, is_proper: bool) -> Result<Tail, Error> {
        let mut framer = std::mem::take(&mut self.framer);
        let Some(block) = framer.finish() else { return Ok(Tail::Complete) };
        let is_whole = match &block.frame {
            Some(frame) => is_complete(frame.data),
            // A comment or a field without meaning, or the first letters of `data`.
            None => self.is_over(),
        };
        if self.generates && !is_whole {
            return Ok(Tail::Partial);
        }
        self.forward_block(recorder, &block)?;
        if self.generates && !self.is_over() && !is_proper {
            // An error event will follow, and must not become a part of this one.
            self.stream_writer.buf.extend_from_slice(b"\n\n");
        }
        Ok(Tail::Complete)
    }

    /// Ends a stream that broke. Before anything was sent the attempt fails; after that the client
    /// gets the error as an event of its own format.
    async fn on_failure(&mut self, req: &mut RequestContext<'_>, error: Error) -> Result<Next, Interrupt> {
        if self.pace == Pace::Held {
            return Err(error.into());
        }
        if let Some(rest) = self.rescue.rest().filter(|_| !req.core.stopping()) {
            self.stream_writer.flush(req).await?;
            req.head_sent = true;
            return Err(Failure { rest: Some(rest), ..Failure::from(error) }.into());
        }
        tracing::warn!(request_id = req.recorder.request_id(), kind = error.kind.row().label, "{}", error.logged());
        // Only complete events were forwarded, so the stream stands between two.
        let from = self.stream_writer.buf.len();
        errors::event(req.route.format, &mut self.stream_writer.buf, &error, req.recorder.request_id());
        req.recorder.capture.client_got(Piece::Event(&self.stream_writer.buf[from..]));
        self.stream_writer.flush(req).await?;
        req.set_truncated(&error);
        // No last chunk: a client that does not read error events sees a broken response.
        Ok(Next::Close)
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

//! The events of a stream that passes: which of them the client gets, and as what.
//!
//! Nothing here waits. What has arrived is taken in, and what goes to the client is appended to its
//! buffer, whole events alone. Events of a known structure are not read ([`KnownEvents`]); the
//! others are framed and shown to the tap.

use std::rc::Rc;

use super::super::core::Core;
use super::super::endpoint::Operation;
use super::super::issuer::IdWatch;
use super::super::prepare::Bypass;
use super::super::request_context::RequestContext;
use super::event_bytes::{error_of_event, is_complete, write_renamed};
use super::known_events::{KnownEvents, KnownLen, Rename};
use super::pace::Pace;
use super::rescue::{self, Rescue};
use super::source::{UpstreamBody, malformed};
use crate::config::snapshot::Provider;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::capture::Piece;
use llm_wire::Format;
use llm_wire::error::Error;
use llm_wire::passthrough::event_templates::KnownEvent;
use llm_wire::passthrough::splice;
use llm_wire::passthrough::tap;
use llm_wire::passthrough::tap::{AnyTap, FrameKind, Observed};
use llm_wire::sse::{self, Framer};

pub(super) struct StreamEvents<'p> {
    framer: Framer,
    tap: AnyTap,
    known: KnownEvents,
    format: Format,
    /// The stream is a model's response. Only of those it is known which events carry text, and how
    /// they end.
    pub generates: bool,
    /// How far the stream is.
    pub pace: Pace,
    /// A chunk has come, even if it has no content.
    has_chunk: bool,
    ids: IdWatch,
    pub rescue: Rescue,
    bypass: Bypass,
    provider: &'p Provider,
    /// The error that the provider has sent as an event, and that the client got as it is.
    pub failure: Option<Box<Error>>,
    /// The client's name of the model, if the provider uses another.
    model: Option<Rc<str>>,
}

/// Why chunks are not forwarded one by one any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The next chunk is one event, which was compared with all structures that are known.
    Unknown,
    /// No chunk has arrived as a whole, it is not one event, or nothing may be forwarded unread.
    Other,
}

/// What stood behind the last blank line of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing, or an event that is complete save its blank line.
    Complete,
    /// Half an event, which is never forwarded.
    Partial,
}

impl<'p> StreamEvents<'p> {
    /// Begins with a stream of `provider`, of which nothing has come.
    pub(super) fn begin(req: &mut RequestContext<'_>, bypass: Bypass, provider: &'p Provider) -> StreamEvents<'p> {
        let format = req.route.format;
        let generates = req.route.operation == Operation::Generate;
        let model = bypass.renamed.then(|| req.model.requested.clone());
        let rename = model.as_ref().map(|model| Rename { format, quoted: splice::quoted(model) });
        StreamEvents {
            framer: Framer::default(),
            tap: AnyTap::new(format),
            known: KnownEvents::new(rename),
            format,
            generates,
            pace: if generates { Pace::Held } else { Pace::Flowing },
            has_chunk: false,
            ids: IdWatch::begin(req),
            rescue: Rescue::begin(req),
            bypass,
            provider,
            failure: None,
            model,
        }
    }

    /// Returns what was observed so far.
    pub(super) fn seen(&self) -> &Observed {
        self.tap.seen()
    }

    /// Forwards the chunks that have arrived as a whole, where their events may be known. A chunk
    /// that is one known event, as most are, is looked at and written by itself; other chunks are
    /// put together up to the end of an event.
    pub(super) fn forward_arrived(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        body: &mut UpstreamBody,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        // An event of content changes nothing but what these keep.
        if self.ids.awaits_id() || self.rescue.is_on() {
            return Ok(());
        }
        while self.framer.is_between_events() {
            if self.forward_known_chunks(core, recorder, body, out) == Stop::Unknown {
                let mut result = Ok(());
                body.whole_chunk(|chunk| {
                    result = self.on_unknown(core, recorder, chunk, out);
                    true
                });
                result?;
                continue;
            }
            if !self.may_keep(recorder) {
                break;
            }
            let from = out.len();
            body.event_chunks(out);
            if out.len() == from {
                break;
            }
            self.forward_written(core, recorder, out, from)?;
        }
        Ok(())
    }

    /// Forwards the chunks of which each is one event whose structure is known.
    fn forward_known_chunks(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        body: &mut UpstreamBody,
        out: &mut Vec<u8>,
    ) -> Stop {
        loop {
            if self.pace == Pace::Flowing {
                self.known.forward_chunks(body, out, recorder, self.bypass.edits());
            }
            // What is no content behind other content, as few events are.
            let mut stop = Stop::Other;
            let is_known = self.may_know()
                && body.whole_chunk(|chunk| {
                    let is_known = self.forward_known_chunk(core, recorder, chunk, out);
                    if !is_known && is_one_event(chunk) {
                        stop = Stop::Unknown;
                    }
                    is_known
                });
            if !is_known {
                return stop;
            }
        }
    }

    /// Forwards an event of a known structure, content or another. Returns false, having done
    /// nothing, for any other.
    fn forward_known_event(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        event: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        if !self.may_know() {
            return false;
        }
        let flows = self.pace == Pace::Flowing;
        flows && self.known.forward_event(event, out, recorder, self.bypass.edits())
            || self.forward_known_chunk(core, recorder, event, out)
    }

    /// Forwards a chunk that is one event of a known structure, with the client's name of the
    /// model. Returns false, having done nothing, for any other.
    fn forward_known_chunk(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        chunk: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        let awaits_model = self.pace == Pace::Held && recorder.capture.awaits_model();
        let frame = match self.model.is_some() || awaits_model {
            false => None,
            // The name is looked for in its data.
            true => match self.framer.whole(chunk) {
                None => return false,
                frame => frame,
            },
        };
        let data = frame.map(|frame| frame.data).filter(|_| self.model.is_some());
        let known = self.known.event(&mut core.templates.events(self.format).borrow_mut(), chunk, data);
        let Some(event) = known else { return false };
        recorder.capture.upstream_sent(Piece::Event(chunk));
        if let Some(frame) = frame.filter(|_| awaits_model) {
            recorder.set_responding_model(|| tap::model(self.format, frame.data));
        }
        if !self.repeat(recorder, &event) {
            return true;
        }
        let from = out.len();
        let name = self.model.as_deref().zip(frame);
        match name.and_then(|(model, frame)| Some((model, frame, tap::model_range(self.format, frame.data)?))) {
            None => out.extend_from_slice(chunk),
            Some((model, frame, range)) => {
                let block = sse::Block { raw: chunk, frame: Some(frame) };
                write_renamed(out, &block, &frame, range, model);
            }
        }
        if self.bypass.edits() {
            recorder.capture.client_got(Piece::Event(&out[from..]));
        }
        true
    }

    /// Looks at the bytes that were written to `out` behind `from`, which begin an event. What is
    /// not known is taken out again, and goes the long way.
    fn forward_written(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        out: &mut Vec<u8>,
        from: usize,
    ) -> Result<(), Error> {
        // What is kept moves up to the place of what was dropped, each byte once.
        let (mut read, mut end) = (from, from);
        loop {
            let known = self.match_known(core, recorder, &out[read..]);
            if read > end {
                out.copy_within(read..read + known.kept, end);
            }
            end += known.kept;
            read += known.kept + known.dropped;
            if known.dropped == 0 {
                break;
            }
        }
        let rest = (read < out.len()).then(|| out.split_off(read));
        out.truncate(end);
        match rest {
            Some(rest) => self.on_unknown(core, recorder, &rest, out),
            None => Ok(()),
        }
    }

    /// Returns whether an event whose structure is known is forwarded unread, whatever it is: while
    /// nobody keeps events, and no id is awaited.
    fn may_know(&self) -> bool {
        !self.ids.awaits_id() && !self.rescue.is_on()
    }

    /// Returns whether it is forwarded as it is, too: no name of a model is replaced in it, and
    /// nobody captures it.
    fn may_keep(&self, recorder: &RequestRecorder) -> bool {
        self.model.is_none() && !recorder.capture.is_on() && self.may_know()
    }

    /// Forwards the events at the start of `data`, which begins one, whose structure is known, and
    /// returns the rest.
    fn forward_known<'d>(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        mut data: &'d [u8],
        out: &mut Vec<u8>,
    ) -> &'d [u8] {
        if data.is_empty() || !self.may_keep(recorder) {
            return data;
        }
        loop {
            let known = self.match_known(core, recorder, data);
            out.extend_from_slice(&data[..known.kept]);
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
            if !self.repeat(recorder, &event) {
                return KnownLen { kept, dropped: event.len };
            }
            kept += event.len;
        }
    }

    /// Does with a known event what is done with one that is read. Returns whether it is for the
    /// client.
    fn repeat(&mut self, recorder: &mut RequestRecorder, event: &KnownEvent<'_>) -> bool {
        self.tap.repeat(event.effect, event.usage);
        let is_hidden = event.effect.kind == FrameKind::Usage && self.bypass.hide_usage;
        if is_hidden {
            self.has_chunk = true;
        } else {
            self.note_kind(recorder, event.effect.kind);
        }
        !is_hidden
    }

    /// Takes a piece of the body in, wherever it begins and ends.
    pub(super) fn on_data(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        // A read ends in the middle of an event, which no structure matches.
        let data = match self.framer.is_between_events() && has_event_end(data) {
            true => self.forward_known(core, recorder, data, out),
            false => data,
        };
        self.on_unknown(core, recorder, data, out)
    }

    /// Takes in data that begins with no event whose structure is known.
    fn on_unknown(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        if data.is_empty() {
            return Ok(());
        }
        // The framer is taken out meanwhile, since its blocks borrow it.
        let mut framer = std::mem::take(&mut self.framer);
        let result = self.forward_blocks(core, recorder, &mut framer, data, out);
        self.framer = framer;
        result
    }

    fn forward_blocks(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        framer: &mut Framer,
        mut data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        // An event that a read has cut was not looked at as a whole yet.
        let mut was_cut = !framer.is_between_events();
        while let Some(block) = framer.next(&mut data).map_err(|error| malformed(&self.provider.key, error))? {
            // All others were looked at where they may be kept as they are.
            let is_looked_at = !std::mem::take(&mut was_cut) && self.may_keep(recorder);
            let is_known = !is_looked_at && self.forward_known_event(core, recorder, block.raw, out);
            if !is_known {
                self.ids.note_event(core, recorder.provider(), &block);
                self.forward_block(recorder, &block, out)?;
            }
            if let Some(frame) = block.frame.as_ref().filter(|_| !is_known) {
                self.known.learn(&mut core.templates.events(self.format).borrow_mut(), &self.tap, block.raw, frame);
            }
            if framer.is_between_events() {
                data = self.forward_known(core, recorder, data, out);
            }
        }
        Ok(())
    }

    fn forward_block(
        &mut self,
        recorder: &mut RequestRecorder,
        block: &sse::Block<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        recorder.capture.upstream_sent(Piece::Event(block.raw));
        let from = out.len();
        let result = self.write_block(recorder, block, out);
        if self.failure.is_some() {
            self.provider.hide_keys(&mut out[from..]);
        }
        if self.bypass.edits() {
            recorder.capture.client_got(Piece::Event(&out[from..]));
        }
        result
    }

    /// Appends a block to `out`, unless it is not for the client. Fails on an error event
    /// while the stream is held.
    fn write_block(
        &mut self,
        recorder: &mut RequestRecorder,
        block: &sse::Block<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(frame) = &block.frame else {
            out.extend_from_slice(block.raw);
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
            FrameKind::Error => self.failure = Some(Box::new(error_of_event(self.format, frame.data))),
            // It is not in the vendor's reference, and strict readers fail on it. A comment does
            // what it is for.
            FrameKind::KeepAlive => {
                sse::write::comment(out, "keep-alive");
                return Ok(());
            }
            FrameKind::Usage if self.bypass.hide_usage => {
                self.has_chunk = true;
                return Ok(());
            }
            kind => self.note_kind(recorder, kind),
        }
        let Some(edits) = self.rescue.note(frame, kind, out) else { return Ok(()) };
        let renamed = self.model.as_deref().and_then(|model| Some((model, tap::model_range(self.format, frame.data)?)));
        if let Some(mut edits) = edits {
            if let Some((model, range)) = renamed {
                edits.replace(range, splice::quoted(model));
            }
            rescue::write_edited(out, frame, &edits);
            return Ok(());
        }
        match renamed {
            None => out.extend_from_slice(block.raw),
            Some((model, range)) => write_renamed(out, block, frame, range, model),
        }
        Ok(())
    }

    /// Notes that an event of this kind goes to the client.
    fn note_kind(&mut self, recorder: &mut RequestRecorder, kind: FrameKind) {
        let is_bare = kind == FrameKind::End && self.pace == Pace::Held && !self.has_chunk;
        if is_bare && self.format.profile().response.has_bare_end_mark {
            return;
        }
        self.has_chunk |= matches!(kind, FrameKind::Preamble | FrameKind::Usage);
        if matches!(kind, FrameKind::Content | FrameKind::Finish | FrameKind::End) {
            if self.generates {
                recorder.first_content();
            }
            self.pace = Pace::Flowing;
            self.ids.end_wait();
        }
    }

    /// Returns whether the format's last event has come, and no part of another.
    pub(super) fn has_end_mark(&self) -> bool {
        self.generates && self.tap.seen().ended && self.framer.is_between_events()
    }

    /// Forwards what stands behind the last blank line, which many hosts forget. `is_proper` says
    /// whether the body was ended as HTTP demands.
    pub(super) fn forward_tail(
        &mut self,
        recorder: &mut RequestRecorder,
        is_proper: bool,
        out: &mut Vec<u8>,
    ) -> Result<Tail, Error> {
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
        self.forward_block(recorder, &block, out)?;
        if self.generates && !self.is_over() && !is_proper {
            // An error event will follow, and must not become a part of this one.
            out.extend_from_slice(b"\n\n");
        }
        Ok(Tail::Complete)
    }

    /// Returns whether the model's response has come to its own end, or to an error that the
    /// provider itself reported.
    pub(super) fn is_over(&self) -> bool {
        let seen = self.tap.seen();
        seen.failed || seen.ended || (seen.finished && self.format.profile().response.is_whole_at_finish)
    }
}

/// Returns whether all of `chunk`, which begins an event, is one event of lines that end with LF.
fn is_one_event(chunk: &[u8]) -> bool {
    memchr::memmem::find(chunk, b"\n\n").is_some_and(|at| at + 2 == chunk.len())
}

/// Returns whether an event of lines that end with LF ends in `data`.
fn has_event_end(data: &[u8]) -> bool {
    data.ends_with(b"\n\n") || memchr::memchr_iter(b'\n', data).any(|at| data.get(at + 1) == Some(&b'\n'))
}

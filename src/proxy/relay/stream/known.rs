//! The shortcut for events whose structure is known: they are looked at and written where they lie.

use super::super::known_events::KnownLen;
use super::super::pace::Pace;
use super::super::source::UpstreamBody;
use super::Relay;
use crate::proxy::core::Core;
use crate::proxy::recorder::RequestRecorder;
use llm_wire::error::Error;
use llm_wire::passthrough::tap::FrameKind;

impl Relay<'_> {
    /// Forwards the chunks that have arrived as a whole, where their events may be known. A chunk that
    /// is one known event of content, as most are, is looked at and written by itself; other chunks
    /// are put together up to the end of an event.
    pub(super) fn forward_arrived(
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

    /// Looks at the bytes that were written to the outlet behind `from`, which begin an event. What is
    /// not known is taken out again, and goes the long way.
    fn forward_written(&mut self, core: &Core, recorder: &mut RequestRecorder, mut from: usize) -> Result<(), Error> {
        let mut written = std::mem::take(&mut self.stream_writer.buf);
        loop {
            let known = self.match_known(core, recorder, &written[from..]);
            from += known.kept;
            if known.dropped == 0 {
                break;
            }
            written.drain(from..from + known.dropped);
        }
        self.stream_writer.buf = written;
        if from == self.stream_writer.buf.len() {
            return Ok(());
        }
        let rest = self.stream_writer.buf.split_off(from);
        self.on_unknown(core, recorder, &rest)
    }

    /// Returns whether an event whose structure is known is forwarded as it is, whatever it is:
    /// while no model name is replaced, nobody captures or keeps events, and no id is awaited.
    fn may_know(&self, recorder: &RequestRecorder) -> bool {
        self.model.is_none() && !self.ids.awaits_id() && !self.rescue.is_on() && !recorder.capture.is_on()
    }

    /// Forwards the events at the start of `data`, which begins one, whose structure is known, and
    /// returns the rest.
    pub(super) fn forward_known<'d>(
        &mut self,
        core: &Core,
        recorder: &mut RequestRecorder,
        mut data: &'d [u8],
    ) -> &'d [u8] {
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

    /// Finds the events at the start of `data` whose structure is known, up to the first that is not
    /// for the client, and does with them what is done with events that are read.
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
}

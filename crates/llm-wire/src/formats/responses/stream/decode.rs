//! A provider's stream as events. Whole answers are read by the same code: each item of one is an
//! `output_item.done` that nothing preceded ([`Decoder::response`]).
//!
//! | phase | frame | goes to |
//! |---|---|---|
//! | `Before` | `response.created`, `.in_progress`, `.queued`, or anything else | `Live` |
//! | `Live` | items, parts, deltas | `Over` at the terminal event, an error, or where the bytes end |
//! | `Over` | nothing | |
//!
//! Within an item ([`SlotContent`]) the order is: added, deltas, `done` of its parts, `done`.
//! Whatever comes of these suffices, in any order: an item begins with the first of them, a delta
//! behind its end begins it anew, and what the terminal event has beyond all that was passed on is
//! taken from there.

use crate::canonical::codec::{Decode, Sink};
use crate::canonical::event::{Event, Finish, Note, Reason, Status};
use crate::canonical::request::ReasoningKind;
use crate::error::classify;
use crate::error::foreign;
use crate::error::{Error, Kind as ErrorKind};
use crate::formats::responses::error;
use crate::formats::responses::stream::fields::Fields;
use crate::formats::responses::stream::slot::{Progress, Slot, SlotContent};
use crate::formats::responses::stream::whole::string;
use crate::formats::responses::stream::words::{incomplete, is_noise};
use crate::formats::responses::tap;
use crate::json::{RawStr, RawValue, Tape};
use crate::sse::Frame;
use crate::target::quirks::Quirks;

/// Most items of one answer, those included that cannot be shown.
pub(super) const ITEMS_MAX: usize = 4096;

/// Items that are output of the response, not the record of a tool that ran at the vendor.
pub(super) const UNSHOWABLE: &[&str] = &[
    "image_generation_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_approval_request",
];

/// Most bytes of input held for calls whose name has not come.
pub(super) const HELD_MAX: usize = 8 << 20;

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    phase: Phase,
    /// In order of appearance. One as a rule.
    pub(super) open: Vec<Slot>,
    /// Items that have ended, in the order of their ends.
    pub(super) closed: Vec<Slot>,
    pub(super) progress: Progress,
    /// Bytes of input held for calls whose name has not come.
    pub(super) held: usize,
    /// Input came for a call that had ended: the call is not whole.
    pub(super) lost: bool,
    /// There is output that no other format shows.
    pub(super) foreign: bool,
    /// There is a picture among it, or something that the client would have to act on.
    pub(super) has_hidden_output: bool,
    tape: Tape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Before,
    Live,
    Over,
}

impl Decoder {
    /// No host of this format needs a quirk here so far.
    pub fn new(_quirks: Quirks) -> Decoder {
        Decoder::default()
    }

    /// Reads a whole answer: the object of a terminal event, or a body.
    pub fn response(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        self.start(response, sink);
        self.late_items(response, sink);
        self.late_text(response, sink);
        if self.phase != Phase::Over {
            if let Some(tier) = string(response, "service_tier").filter(|tier| !tier.is_empty()) {
                sink(Event::Tier(tier));
            }
            self.count(response, sink);
        }
        let is_nameless = |slot: &Slot| match &slot.content {
            SlotContent::Undeclared { name, input, .. } => name.is_empty() && !input.is_empty(),
            _ => false,
        };
        if self.lost || self.open.iter().any(is_nameless) {
            let note = "the upstream sent a tool's input that belongs to no call which can be made; it was dropped";
            self.fail(Error::upstream(ErrorKind::UpstreamFault, note), sink);
        }
        let is_whole = string(response, "status").is_none_or(|status| status.eq_str("completed"));
        if (self.has_hidden_output || (self.foreign && is_whole)) && self.shows_nothing() {
            self.fail(classify::no_visible_output(), sink);
        }
        if self.phase == Phase::Over {
            return;
        }
        let status = string(response, "status").unwrap_or_default();
        let finish = match status.as_bytes() {
            b"completed" => Finish::of(Reason::End),
            b"incomplete" => incomplete(response, sink),
            b"failed" | b"cancelled" => return self.fail_with(response, sink),
            b"queued" | b"in_progress" => {
                let note = "the upstream answered before its answer was finished";
                return self.fail(Error::upstream(ErrorKind::UpstreamFault, note), sink);
            }
            _ => {
                sink(Event::Note(Note::MissingFinish));
                Finish::of(Reason::End)
            }
        };
        let cut = matches!(finish.reason, Reason::Length | Reason::Refusal);
        let status = if cut { Status::Incomplete } else { Status::Complete };
        for slot in std::mem::take(&mut self.open) {
            self.close(slot, status, sink);
        }
        sink(Event::Finish(finish));
        sink(Event::End);
        self.phase = Phase::Over;
    }

    /// Returns whether nothing was shown but thoughts.
    fn shows_nothing(&self) -> bool {
        let is_call = |slot: &Slot| matches!(slot.content, SlotContent::Tool { .. });
        self.progress.text.is_empty() && !self.open.iter().chain(&self.closed).any(is_call)
    }

    fn start(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        if self.phase == Phase::Before {
            self.phase = Phase::Live;
            let text = |key| string(response, key).unwrap_or_default();
            sink(Event::Start { id: text("id"), model: text("model") });
        }
    }

    fn count(&self, response: RawValue<'_>, sink: Sink<'_>) {
        if let Some(usage) = response.find("usage").filter(|usage| usage.is_object()) {
            sink(Event::Usage(tap::usage(usage)));
        }
    }

    /// Ends the answer with an error, unless it has ended.
    pub(super) fn fail(&mut self, error: Error, sink: Sink<'_>) {
        if self.phase != Phase::Over {
            self.phase = Phase::Over;
            sink(Event::Fail(error));
        }
    }

    /// A response that failed, with the error in it.
    fn fail_with(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        let error = match error::of(response) {
            Some(read) => classify::error(None, &read),
            None => Error::upstream(ErrorKind::UpstreamFault, "the upstream gave the answer up without saying why"),
        };
        self.fail(error, sink);
    }

    /// A frame's data. `name` is what the frame calls itself.
    fn document(&mut self, event: RawValue<'_>, name: Option<&[u8]>, sink: Sink<'_>) {
        let fields = Fields::of(event);
        // `message` is what readers of events call those without a name.
        let name = name.filter(|name| *name != b"message");
        match fields.kind.map(RawStr::as_bytes).or(name).unwrap_or_default() {
            kind @ (b"error" | b"response.error" | b"response.failed" | b"") => {
                if let Some(response) = fields.response {
                    self.count(response, sink);
                }
                // An event that names its kind may be one of tomorrow's.
                let is_error = !kind.is_empty() || name == Some(b"error");
                let is_response = event.find("object").is_some_and(|object| object.eq_str("response"));
                let any_shape = || match name {
                    _ if is_response => None,
                    Some(b"error") => foreign::error_event(event),
                    _ => foreign::any_shape(event),
                };
                let own = error::of(event);
                match own.filter(|read| !read.message.is_empty()).or_else(any_shape).or(own) {
                    Some(read) => self.fail(classify::error(None, &read), sink),
                    // A host that was asked for a stream and answers with the whole in one event.
                    None if is_response => self.response(event, sink),
                    None if !is_error => sink(Event::Note(Note::UnknownEvent)),
                    None => self.fail_with(event, sink),
                }
            }
            kind if !kind.starts_with(b"response.") && foreign::names_error(kind) => {
                match error::of(event).or_else(|| foreign::any_shape(event)) {
                    Some(read) => self.fail(classify::error(None, &read), sink),
                    None => sink(Event::Note(Note::UnknownEvent)),
                }
            }
            kind => self.event(kind, &fields, sink),
        }
    }

    fn event(&mut self, kind: &[u8], fields: &Fields<'_>, sink: Sink<'_>) {
        let null = RawValue::new(b"null");
        let response = fields.response.unwrap_or(null);
        match kind.strip_prefix(b"response.").unwrap_or(kind) {
            b"output_text.delta" => self.text(fields, false, false, sink),
            b"function_call_arguments.delta" | b"custom_tool_call_input.delta" => self.input(fields, false, sink),
            b"reasoning_summary_text.delta" | b"reasoning_summary.delta" => {
                self.reason(fields, ReasoningKind::Summary, false, sink);
            }
            b"reasoning_text.delta" | b"reasoning.delta" => self.reason(fields, ReasoningKind::Full, false, sink),
            b"refusal.delta" => self.text(fields, true, false, sink),
            b"output_item.added" => {
                let item = fields.item.unwrap_or(null);
                if self.item_added(fields.output_index, item, sink) {
                    self.announced(item, sink);
                }
            }
            b"content_part.added" => self.part(fields, false, sink),
            b"content_part.done" => self.part(fields, true, sink),
            b"output_text.done" => self.text(fields, false, true, sink),
            b"refusal.done" => self.text(fields, true, true, sink),
            b"reasoning_summary_text.done" => self.reason(fields, ReasoningKind::Summary, true, sink),
            b"reasoning_text.done" => self.reason(fields, ReasoningKind::Full, true, sink),
            b"function_call_arguments.done" | b"custom_tool_call_input.done" => self.input(fields, true, sink),
            b"output_text.annotation.added" => self.cite(fields, sink),
            b"output_item.done" => self.item_done(fields.output_index, fields.item.unwrap_or(null), sink),
            b"created" | b"in_progress" | b"queued" => self.start(response, sink),
            b"completed" | b"incomplete" | b"done" => self.response(response, sink),
            b"cancelled" => self.fail_with(response, sink),
            kind if is_noise(kind) => {}
            _ => sink(Event::Note(Note::UnknownEvent)),
        }
    }
}

impl Decode for Decoder {
    fn frame(&mut self, frame: Frame<'_>, sink: Sink<'_>) -> Result<(), Error> {
        let data = frame.data.trim_ascii();
        if self.phase == Phase::Over || data.is_empty() || data == b"[DONE]" {
            return Ok(());
        }
        // Taken out, since the event borrows from it.
        let mut tape = std::mem::take(&mut self.tape);
        let result = match tape.read_spelled_out(data) {
            Ok(event) => {
                self.document(event, frame.event, sink);
                Ok(())
            }
            Err(_) if frame.event == Some(b"error") => {
                self.fail(classify::plain(data), sink);
                Ok(())
            }
            Err(fault) => Err(classify::unreadable_event(fault, data)),
        };
        self.tape = tape;
        result
    }

    fn end(&mut self, sink: Sink<'_>) {
        // Only the terminal event is an end.
        let note = "the upstream closed the stream before its end";
        self.fail(Error::upstream(ErrorKind::UpstreamTruncated, note), sink);
    }
}

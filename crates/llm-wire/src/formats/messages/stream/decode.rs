//! A provider's stream as events. Whole answers are read by the same code: each block of one is a
//! start and a stop ([`Decoder::message`]).
//!
//! | phase | frame | goes to |
//! |---|---|---|
//! | `Live` | blocks; `message_delta` with a stop reason | `Holding` at the latter |
//! | `Holding` | usage; blocks that begin or go on | `Live` at content, else `Over` |
//! | `Finished` | usage; content is a fault | `Over` at `message_stop` or where the bytes end |
//! | `Over` | nothing | |
//!
//! The stop reason is held until `message_stop`, the end of the bytes, or a silence, since hosts
//! that imitate the format send deltas behind it.

use crate::canonical::codec::{Decode, Sink};
use crate::canonical::event::{Event, Note, Reason, Status};
use crate::error::classify;
use crate::error::foreign;
use crate::error::{Error, Kind};
use crate::formats::messages::error;
use crate::formats::messages::reason;
use crate::formats::messages::reason::Stop;
use crate::formats::messages::tap::Counts;
use crate::json::{RawKind, RawStr, RawValue, Tape};
use crate::response::whole::Ended;
use crate::sse::Frame;
use crate::target::quirks::Quirks;

/// Most bytes held back until their block ends: signatures, and inputs that came with a block's
/// start.
pub(super) const HELD_MAX: usize = 16 << 20;

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    pub(super) phase: Phase,
    /// Blocks that have not stopped, in order of appearance. One as a rule.
    pub(super) open: Vec<(u64, Open)>,
    pub(super) next: u32,
    pub(super) held: usize,
    /// The stop reason that was given last.
    stop: Option<Ended>,
    /// Input of a tool came for no block that is open: the call that it belongs to is not whole.
    pub(super) lost: bool,
    /// A document came that is neither an event of the format nor an error.
    unknown: bool,
    /// There were blocks that no other format shows.
    pub(super) foreign: bool,
    /// There was text, or a call.
    pub(super) has_text: bool,
    /// The content of `message_start`, which has none at Anthropic. It counts where no block
    /// follows.
    early: Vec<u8>,
    counts: Counts,
    tape: Tape,
}

/// How far the stream is: see the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Live,
    /// The stop reason is held: content may follow.
    Holding,
    Finished,
    Over,
}

/// An open block.
#[derive(Debug)]
pub(super) enum Open {
    Text {
        ix: u32,
    },
    /// The signature is held until the block stops: it comes whole, and last.
    Thinking {
        ix: u32,
        signature: Vec<u8>,
    },
    /// The input of the start is held, quoted, until a delta takes its place or the block stops.
    Tool {
        ix: u32,
        input: Vec<u8>,
    },
    /// What no other format can show.
    Foreign,
}

/// The members of an event that this code reads.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<RawStr<'a>>,
    index: Option<u64>,
    delta: Option<RawValue<'a>>,
    block: Option<RawValue<'a>>,
    message: Option<RawValue<'a>>,
    usage: Option<RawValue<'a>>,
}

impl<'a> Fields<'a> {
    fn of(event: RawValue<'a>) -> Fields<'a> {
        let mut fields = Fields::default();
        for (key, value, _) in event.members() {
            match key.as_bytes() {
                b"type" => fields.kind = value.as_str(),
                b"index" => fields.index = value.as_u64(),
                b"delta" => fields.delta = Some(value),
                b"content_block" => fields.block = Some(value),
                b"message" => fields.message = Some(value),
                b"usage" => fields.usage = Some(value),
                _ => {}
            }
        }
        fields
    }
}

impl Decoder {
    /// No host of this format needs a quirk here so far.
    pub fn new(_quirks: Quirks) -> Decoder {
        Decoder::default()
    }

    /// Reads a whole answer, which must have its `content`.
    pub fn message(&mut self, message: RawValue<'_>, sink: Sink<'_>) {
        self.start(message, sink);
        let content = message.find("content");
        let blocks = content.into_iter().flat_map(RawValue::elements).map(|(block, _)| block);
        // Some hosts write a text or a single block in place of the list of blocks.
        let single = content.filter(|content| matches!(content.kind(), RawKind::String | RawKind::Object));
        for (n, block) in (0u64..).zip(blocks.chain(single)) {
            match block.as_str() {
                Some(text) => self.text_block(text, sink),
                None => {
                    self.block_start(n, block, sink);
                    self.block_stop(n, sink);
                }
            }
        }
        match message.find("stop_reason").and_then(RawValue::as_str) {
            Some(word) => self.finish(word, message, sink),
            None if self.phase == Phase::Live => {
                sink(Event::Note(Note::MissingFinish));
                self.stop = Some(Ended::of(Reason::End));
            }
            None => {}
        }
        self.over(sink);
    }

    /// `message_start`, or the head of a whole answer.
    fn start(&mut self, message: RawValue<'_>, sink: Sink<'_>) {
        let text = |key| message.find(key).and_then(RawValue::as_str).unwrap_or_default();
        sink(Event::Start { id: text("id"), model: text("model") });
        if let Some(usage) = message.find("usage") {
            self.count(usage, sink);
        }
    }

    fn count(&mut self, usage: RawValue<'_>, sink: Sink<'_>) {
        if !usage.is_object() {
            return;
        }
        self.counts.merge(usage);
        sink(Event::Usage(self.counts.usage()));
        if let Some(tier) = usage.find("service_tier").and_then(RawValue::as_str).filter(|tier| !tier.is_empty()) {
            sink(Event::Tier(tier));
        }
    }

    /// Ends the answer with an error.
    pub(super) fn fail(&mut self, error: Error, sink: Sink<'_>) {
        self.phase = Phase::Over;
        sink(Event::Fail(error));
    }

    /// Holds a stop reason. `object` has `stop_reason` and its explanation.
    fn finish(&mut self, word: RawStr<'_>, object: RawValue<'_>, sink: Sink<'_>) {
        if !matches!(self.phase, Phase::Live | Phase::Holding) {
            return;
        }
        let (reason, known) = match reason::stop(word) {
            Stop::Finish(reason, known) => (reason, known),
            Stop::Failed => {
                return self.fail(Error::upstream(Kind::UpstreamFault, "the upstream's model failed"), sink);
            }
        };
        let finish = reason::finish(reason, object);
        // Several stop reasons may follow one another without content. The first one other than
        // `end_turn` is kept.
        if self.phase == Phase::Holding && !Ended::says_more(self.stop.as_ref(), &finish) {
            return;
        }
        if !known {
            sink(Event::Note(Note::UnknownFinish));
        }
        self.stop = Some(Ended::from(&finish));
        self.phase = Phase::Holding;
    }

    /// Reads the content that `message_start` had, if no block has followed it.
    fn early_content(&mut self, sink: Sink<'_>) {
        let content = std::mem::take(&mut self.early);
        if self.next > 0 {
            return;
        }
        for (n, (block, _)) in (0u64..).zip(RawValue::new(&content).elements()) {
            self.block_start(n, block, sink);
            self.block_stop(n, sink);
        }
    }

    /// Pushes the stop reason that is held. What is open ends with it.
    fn release(&mut self, sink: Sink<'_>) {
        let Some(stop) = self.stop.take() else { return };
        self.early_content(sink);
        if self.foreign && !self.has_text && stop.reason == Reason::End {
            return self.fail(classify::no_visible_output(), sink);
        }
        let cut = matches!(stop.reason, Reason::Length | Reason::ContextWindow | Reason::Refusal);
        let status = if cut { Status::Incomplete } else { Status::Complete };
        for (_, open) in std::mem::take(&mut self.open) {
            self.close(open, status, sink);
        }
        self.phase = Phase::Finished;
        sink(Event::Finish(stop.as_finish()));
    }

    /// The answer is over, by its end mark or by the end of the bytes behind its stop reason.
    fn over(&mut self, sink: Sink<'_>) {
        if self.phase == Phase::Over {
            return;
        }
        if self.lost {
            let note = "the upstream sent a tool's input behind the end of the tool's block; it was dropped";
            return self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
        }
        if self.unknown && self.phase == Phase::Live && self.stop.is_none() {
            let note = "the upstream's stream holds an object that is no part of an answer, and no stop reason";
            return self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
        }
        self.release(sink);
        if self.phase == Phase::Over {
            return;
        }
        self.early_content(sink);
        // Without a stop reason too: this event itself is the end.
        for (_, open) in std::mem::take(&mut self.open) {
            self.close(open, Status::Complete, sink);
        }
        self.phase = Phase::Over;
        sink(Event::End);
    }

    /// Content behind the stop reason: the answer goes on, unless the client has its end.
    /// `false` if it cannot.
    fn reopen(&mut self, sink: Sink<'_>) -> bool {
        match self.phase {
            Phase::Live => true,
            Phase::Holding => {
                self.phase = Phase::Live;
                true
            }
            Phase::Finished => {
                let note = "the upstream sent content after it had ended its answer; the content was dropped";
                self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
                false
            }
            Phase::Over => false,
        }
    }

    /// A frame's data. `name` is what the frame calls itself.
    fn document(&mut self, event: RawValue<'_>, name: Option<&[u8]>, sink: Sink<'_>) {
        let fields = Fields::of(event);
        let kind = fields.kind.map(RawStr::as_bytes).or(name).unwrap_or_default();
        // A host that was asked for a stream and answers with the whole in one event.
        if kind == b"message" {
            self.message(event, sink);
        } else if !self.event(kind, &fields, sink) {
            // An event that names its kind may be one of tomorrow's.
            let shapeless = kind.is_empty() || foreign::names_error(kind) || name == Some(b"error");
            let any_shape = || match (shapeless, name) {
                (_, Some(b"error")) => foreign::error_event(event),
                (true, _) => foreign::any_shape(event),
                _ => None,
            };
            let own = error::of(event);
            // Without a message its code or type is what there is.
            let named = own.filter(|read| read.code.is_some() || read.r#type.is_some_and(|kind| !kind.eq_str("error")));
            let read = own.filter(|read| !read.message.is_empty()).or_else(any_shape).or(named);
            match read {
                Some(read) => self.fail(classify::error(None, &read), sink),
                None if foreign::names_error(kind) || name == Some(b"error") => {
                    let note = "the upstream reported an error without a message";
                    self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
                }
                None => {
                    self.unknown |= kind.is_empty();
                    sink(Event::Note(Note::UnknownEvent));
                }
            }
        }
    }

    /// `false` for an event that is not known.
    fn event(&mut self, kind: &[u8], fields: &Fields<'_>, sink: Sink<'_>) -> bool {
        let null = RawValue::new(b"null");
        match kind {
            b"content_block_delta" => {
                let delta = fields.delta.unwrap_or(null);
                if !has_content(delta) || self.reopen(sink) {
                    self.delta(fields.index, delta, sink);
                }
            }
            b"content_block_start" if !self.reopen(sink) => {}
            b"content_block_start" => {
                let index = fields.index.unwrap_or(u64::from(self.next));
                self.block_start(index, fields.block.unwrap_or(null), sink);
            }
            b"content_block_stop" => {
                let last = self.open.last().map(|(index, _)| *index);
                if let Some(index) = fields.index.or(last) {
                    self.block_stop(index, sink);
                }
            }
            b"message_start" => {
                let message = fields.message.unwrap_or(null);
                self.start(message, sink);
                let content = message.find("content").filter(|content| content.elements().next().is_some());
                self.early = content.map_or(Vec::new(), |content| content.bytes().to_vec());
            }
            b"message_delta" => {
                if let Some(usage) = fields.usage {
                    self.count(usage, sink);
                }
                let delta = fields.delta.unwrap_or(null);
                if let Some(word) = delta.find("stop_reason").and_then(RawValue::as_str) {
                    self.finish(word, delta, sink);
                }
            }
            b"message_stop" => self.over(sink),
            b"ping" => {}
            _ => return false,
        }
        true
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
            Err(e) => {
                self.phase = Phase::Over;
                Err(classify::unreadable_event(e, data))
            }
        };
        self.tape = tape;
        result
    }

    fn holds_finish(&self) -> bool {
        self.phase == Phase::Holding
    }

    fn flush_finish(&mut self, sink: Sink<'_>) {
        if self.phase == Phase::Holding {
            self.release(sink);
        }
    }

    fn end(&mut self, sink: Sink<'_>) {
        match self.phase {
            Phase::Over => {}
            Phase::Holding | Phase::Finished => self.over(sink),
            Phase::Live => {
                let note = "the upstream closed the stream before its end";
                sink(Event::Fail(Error::upstream(Kind::UpstreamTruncated, note)));
            }
        }
        self.phase = Phase::Over;
    }
}

/// Returns whether a delta has anything in it. Some hosts send empty ones behind the end.
fn has_content(delta: RawValue<'_>) -> bool {
    delta.members().any(|(key, value, _)| key.as_bytes() != b"type" && !matches!(value.bytes(), b"\"\"" | b"null"))
}

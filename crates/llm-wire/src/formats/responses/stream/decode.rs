//! A provider's stream as events. Whole answers are read by the same code: each item of one is an
//! `output_item.done` that nothing preceded ([`Decoder::response`]).
//!
//! | phase | frame | goes to |
//! |---|---|---|
//! | `Before` | `response.created`, `.in_progress`, `.queued`, or anything else | `Live` |
//! | `Live` | items, parts, deltas | `Over` at the terminal event, an error, or where the bytes end |
//! | `Over` | nothing | |
//!
//! Within an item ([`SlotContent`]) the order is: added, deltas, `done` of its parts, `done`. Whatever
//! comes of these suffices, in any order: an item begins with the first of them, a delta behind its
//! end begins it anew, and what the terminal event has beyond all that was passed on is taken from
//! there.

use crate::canonical::codec::{Decode, Sink};
use crate::canonical::event::{Block, Event, Finish, Note, Reason, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::error::classify;
use crate::error::foreign;
use crate::error::{Error, Kind as ErrorKind};
use crate::formats::responses::error;
use crate::formats::responses::stream::fields::Fields;
use crate::formats::responses::stream::slot::{Ahead, Kind, Progress, Sent, Slot, SlotContent, closed_at, open_at};
use crate::formats::responses::stream::whole::{
    cite, is_refusal, kind_of, part_of, parts_of, push_input, rest_of, string, text_of, whole_input, whole_part,
    whole_reasoning,
};
use crate::formats::responses::stream::words::{incomplete, is_noise};
use crate::formats::responses::tap;
use crate::json::{RawStr, RawValue, Tape};
use crate::reasoning::envelope::Seal;
use crate::sse::Frame;
use crate::target::quirks::Quirks;

/// Most items of one answer, those included that cannot be shown.
const ITEMS_MAX: usize = 4096;

/// Items that are output of the response, not the record of a tool that ran at the vendor.
const UNSHOWABLE: &[&str] = &[
    "image_generation_call",
    "computer_call",
    "local_shell_call",
    "shell_call",
    "apply_patch_call",
    "mcp_approval_request",
];

/// Most bytes of input held for calls whose name has not come.
const HELD_MAX: usize = 8 << 20;

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
    held: usize,
    /// Input came for a call that had ended: the call is not whole.
    pub(super) lost: bool,
    /// There is output that no other format shows.
    foreign: bool,
    /// There is a picture among it, or something that the client would have to act on.
    has_hidden_output: bool,
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
        if self.lost {
            let note = "the upstream sent a tool's input behind the end of the tool call; it was dropped";
            self.fail(Error::upstream(ErrorKind::UpstreamFault, note), sink);
        }
        let is_whole = string(response, "status").is_none_or(|status| status.eq_str("completed"));
        if (self.has_hidden_output || (self.foreign && is_whole)) && self.shows_nothing() {
            self.fail(classify::no_visible_output(), sink);
        }
        if self.phase == Phase::Over {
            return;
        }
        if let Some(tier) = string(response, "service_tier").filter(|tier| !tier.is_empty()) {
            sink(Event::Tier(tier));
        }
        self.count(response, sink);
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

    /// Whether nothing was shown but thoughts.
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

    fn fail(&mut self, error: Error, sink: Sink<'_>) {
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

    /// Begins an item. `false` if it began before with something of its own.
    pub(super) fn item_added(&mut self, index: Option<u64>, item: RawValue<'_>, sink: Sink<'_>) -> bool {
        let id = string(item, "id").unwrap_or_default();
        let kind = kind_of(item);
        let index = index.unwrap_or((self.open.len() + self.closed.len()) as u64);
        // Deltas came before it.
        if let Some(at) = open_at(&self.open, Some(index), id, kind).filter(|at| self.open[*at].implicit) {
            self.open[at].implicit = false;
            self.open[at].id = id.as_bytes().to_vec();
            self.name(at, item, sink);
            return false;
        }
        if let Some(at) = self.open.iter().position(|slot| slot.index == index) {
            // A host that does not count, or that forgot to end the item before.
            let slot = self.open.remove(at);
            sink(Event::Note(Note::Disorder));
            self.close(slot, Status::Complete, sink);
        }
        let content = match kind {
            Kind::Message => SlotContent::Message(Vec::new()),
            Kind::Reasoning => self.reasoning(id, sink),
            Kind::Tool => SlotContent::Undeclared { name: Vec::new(), input: Vec::new(), whole: false },
            Kind::Foreign => {
                self.foreign = true;
                self.has_hidden_output |=
                    item.find("type").is_some_and(|kind| UNSHOWABLE.iter().any(|name| kind.eq_str(name)));
                sink(Event::Note(Note::DroppedOutput));
                SlotContent::Foreign
            }
        };
        let slot = Slot { index, id: id.as_bytes().to_vec(), content, implicit: false, input: Vec::new() };
        let added = self.add(slot, sink);
        if added {
            self.name(self.open.len() - 1, item, sink);
        }
        added
    }

    /// Takes the content that an item has when it is announced. OpenAI's items have none yet.
    fn announced(&mut self, item: RawValue<'_>, sink: Sink<'_>) {
        let Some(slot) = self.open.last_mut() else { return };
        match &mut slot.content {
            SlotContent::Message(parts) => {
                for (n, part) in (0u64..).zip(parts_of(item)).filter(|(_, part)| is_refusal(*part).is_some()) {
                    whole_part(parts, n, part, &mut self.progress, sink);
                }
            }
            SlotContent::Tool { .. } => {
                let input = string(item, "arguments").or_else(|| string(item, "input")).unwrap_or_default();
                if self.held + input.len() <= HELD_MAX {
                    self.held += input.len();
                    slot.input = input.as_bytes().to_vec();
                }
            }
            _ => {}
        }
    }

    /// `false` if there are too many.
    fn add(&mut self, slot: Slot, sink: Sink<'_>) -> bool {
        if self.open.len() + self.closed.len() >= ITEMS_MAX {
            let note = format!("the upstream's answer has more than {ITEMS_MAX} items");
            self.fail(Error::upstream(ErrorKind::UpstreamFault, note), sink);
            return false;
        }
        self.open.push(slot);
        true
    }

    fn reasoning(&mut self, id: RawStr<'_>, sink: Sink<'_>) -> SlotContent {
        let ix = self.progress.take_number();
        sink(Event::Open { ix, block: Block::Reasoning { id } });
        SlotContent::Reasoning { ix, part: None, number: 0, sent: Sent::default() }
    }

    /// Opens a call whose name the item has, with the input that came before.
    fn name(&mut self, at: usize, item: RawValue<'_>, sink: Sink<'_>) {
        let text = |key| string(item, key).unwrap_or_default();
        let Some(Slot { content: SlotContent::Undeclared { name, input, whole }, .. }) = self.open.get_mut(at) else {
            return;
        };
        let (held_name, input, whole) = (std::mem::take(name), std::mem::take(input), *whole);
        let name = if text("name").is_empty() { RawStr::new(&held_name) } else { text("name") };
        if name.is_empty() {
            self.open[at].content = SlotContent::Undeclared { name: held_name, input, whole };
            return;
        }
        self.held = self.held.saturating_sub(input.len());
        let custom = text("type").eq_str("custom_tool_call");
        let kind = if custom { CallKind::Custom } else { CallKind::Function };
        let own = self.open[at].id.clone();
        let id = [text("call_id"), text("id"), RawStr::new(&own)].into_iter().find(|id| !id.is_empty());
        let id = id.unwrap_or_default();
        let ix = self.progress.take_number();
        sink(Event::Open { ix, block: Block::Tool { kind, id, name, namespace: None } });
        let mut sent = Sent::default();
        push_input(ix, &mut sent, RawStr::new(&input), sink);
        self.open[at].content = SlotContent::Tool { ix, sent, call_id: id.as_bytes().to_vec() };
    }

    /// The open item that a delta, or the `done` event of a part, belongs to: one that was open,
    /// one that had ended and goes on, or a new one.
    fn slot(&mut self, fields: &Fields<'_>, kind: Kind, sink: Sink<'_>) -> Option<&mut Slot> {
        if let Some(at) = open_at(&self.open, fields.output_index, fields.item_id, kind) {
            return self.open.get_mut(at);
        }
        if let Some(at) = closed_at(&self.closed, fields.output_index, fields.item_id, kind) {
            let mut slot = self.closed.remove(at);
            if let SlotContent::Reasoning { ix, number, .. } = &mut slot.content {
                (*ix, *number) = (self.progress.take_number(), 0);
                sink(Event::Open { ix: *ix, block: Block::Reasoning { id: RawStr::new(&slot.id) } });
            }
            sink(Event::Note(Note::Disorder));
            self.open.push(slot);
            return self.open.last_mut();
        }
        let content = match kind {
            Kind::Reasoning => self.reasoning(fields.item_id, sink),
            Kind::Tool => SlotContent::Undeclared { name: Vec::new(), input: Vec::new(), whole: false },
            Kind::Message | Kind::Foreign => SlotContent::Message(Vec::new()),
        };
        let index = fields.output_index.unwrap_or((self.open.len() + self.closed.len()) as u64);
        let id = fields.item_id.as_bytes().to_vec();
        let slot = Slot { index, id, content, implicit: true, input: Vec::new() };
        if self.add(slot, sink) { self.open.last_mut() } else { None }
    }

    /// The item as a whole: passes on what is new, and ends it.
    pub(super) fn item_done(&mut self, index: Option<u64>, item: RawValue<'_>, sink: Sink<'_>) {
        let id = string(item, "id").unwrap_or_default();
        let kind = kind_of(item);
        let at = match open_at(&self.open, index, id, kind) {
            Some(at) => {
                self.name(at, item, sink);
                Some(at)
            }
            None => match closed_at(&self.closed, index, id, kind) {
                Some(at) if kind == Kind::Message => {
                    let slot = self.closed.remove(at);
                    self.open.push(slot);
                    self.open.len().checked_sub(1)
                }
                Some(_) => {
                    if kind == Kind::Tool {
                        self.again(index.unwrap_or(u64::MAX), item, sink);
                    }
                    return;
                }
                None => {
                    self.item_added(index, item, sink);
                    self.open.len().checked_sub(1)
                }
            },
        };
        if let Some(at) = at {
            self.finish_item(at, item, sink);
        }
    }

    pub(super) fn finish_item(&mut self, at: usize, item: RawValue<'_>, sink: Sink<'_>) {
        let mut slot = self.open.remove(at);
        match &mut slot.content {
            SlotContent::Message(parts) => {
                // Some hosts count parts over all items.
                let first = parts.first().map_or(0, |part| part.index);
                let first = if first >= parts_of(item).count() as u64 { first } else { 0 };
                for (n, part) in (first..).zip(parts_of(item)) {
                    whole_part(parts, n, part, &mut self.progress, sink);
                }
            }
            SlotContent::Reasoning { ix, part, number, sent } => {
                whole_reasoning(*ix, item, (*part, *number, *sent), sink);
                let state = string(item, "encrypted_content").filter(|state| !state.is_empty());
                if let Some(raw) = state {
                    sink(Event::Opaque { ix: *ix, seal: Seal::Encrypted, raw });
                }
            }
            SlotContent::Tool { ix, sent, .. } => whole_input(*ix, sent, item, sink),
            SlotContent::Undeclared { .. } | SlotContent::Foreign => {}
        }
        let cut = item.find("status").is_some_and(|status| status.eq_str("incomplete"));
        self.close(slot, if cut { Status::Incomplete } else { Status::Complete }, sink);
    }

    fn close(&mut self, mut slot: Slot, status: Status, sink: Sink<'_>) {
        if let SlotContent::Undeclared { name, .. } = &slot.content {
            if name.is_empty() {
                // A call that never had a name cannot be made.
                sink(Event::Note(Note::DroppedOutput));
            } else {
                self.open.push(slot);
                self.name(self.open.len() - 1, RawValue::new(b"null"), sink);
                let Some(named) = self.open.pop() else { return };
                slot = named;
            }
        }
        let input = std::mem::take(&mut slot.input);
        self.held = self.held.saturating_sub(input.len());
        match &mut slot.content {
            SlotContent::Tool { ix, sent, .. } if sent.is_empty() => push_input(*ix, sent, RawStr::new(&input), sink),
            _ => {}
        }
        match &mut slot.content {
            SlotContent::Message(parts) => {
                for part in parts.iter_mut().filter(|part| !part.closed) {
                    part.closed = true;
                    sink(Event::Close { ix: part.ix, status });
                }
            }
            SlotContent::Reasoning { ix, .. } | SlotContent::Tool { ix, .. } => sink(Event::Close { ix: *ix, status }),
            SlotContent::Undeclared { .. } | SlotContent::Foreign => {}
        }
        self.closed.push(slot);
    }

    /// A delta of a text or refusal, or the rest of one that was repeated whole.
    fn text(&mut self, fields: &Fields<'_>, refusal: bool, whole: bool, sink: Sink<'_>) {
        let closed = || closed_at(&self.closed, fields.output_index, fields.item_id, Kind::Message);
        let is_open = open_at(&self.open, fields.output_index, fields.item_id, Kind::Message).is_some();
        // Told again behind the end of its item, as a rule.
        if whole
            && !is_open
            && let Some(Slot { content: SlotContent::Message(parts), .. }) = closed().and_then(|at| self.closed.get(at))
            && rest_of(parts, fields.part_index, fields.whole, sink).is_none()
        {
            return;
        }
        let delta = if whole { RawStr::default() } else { self.new_text(fields) };
        if !whole && delta.is_empty() {
            return;
        }
        let mut progress = std::mem::take(&mut self.progress);
        if let Some(Slot { content: SlotContent::Message(parts), .. }) = self.slot(fields, Kind::Message, sink) {
            let raw = match whole {
                true => rest_of(parts, fields.part_index, fields.whole, sink),
                false => Some(delta),
            };
            if let Some(raw) = raw
                && let Some(part) = part_of(parts, fields.part_index, refusal, &mut progress, sink)
            {
                if whole {
                    part.push_ahead(raw, &mut progress, sink);
                } else {
                    part.push(raw, &mut progress, sink);
                }
                if !whole && let Some(logprobs) = fields.logprobs {
                    part.logprobs(logprobs, sink);
                }
            }
        }
        self.progress = progress;
    }

    /// Returns what a delta of a message adds to the text that a whole copy had in advance.
    fn new_text<'a>(&mut self, fields: &Fields<'a>) -> RawStr<'a> {
        let (index, id) = (fields.output_index, fields.item_id);
        let slot = match open_at(&self.open, index, id, Kind::Message) {
            Some(at) => self.open.get(at),
            None => closed_at(&self.closed, index, id, Kind::Message).and_then(|at| self.closed.get(at)),
        };
        match slot.map(|slot| &slot.content) {
            Some(SlotContent::Message(parts)) => match parts.iter().find(|part| part.index == fields.part_index) {
                Some(part) => self.progress.ahead.rest(part.ix, fields.delta),
                None => fields.delta,
            },
            _ => fields.delta,
        }
    }

    /// A delta of reasoning, or the rest of a part that was repeated whole.
    fn reason(&mut self, fields: &Fields<'_>, kind: ReasoningKind, whole: bool, sink: Sink<'_>) {
        let text = if whole { fields.whole } else { fields.delta };
        let is_open = open_at(&self.open, fields.output_index, fields.item_id, Kind::Reasoning).is_some();
        let ended = closed_at(&self.closed, fields.output_index, fields.item_id, Kind::Reasoning).is_some();
        if text.is_empty() || (whole && !is_open && ended) {
            return;
        }
        let mut ahead = std::mem::take(&mut self.progress.ahead);
        if let Some(Slot { content: SlotContent::Reasoning { ix, part, number, sent }, .. }) =
            self.slot(fields, Kind::Reasoning, sink)
        {
            let here = (kind, fields.part_index);
            if *part != Some(here) {
                *number += u32::from(part.is_some());
                (*part, *sent) = (Some(here), Sent::default());
                ahead = Ahead::default();
            }
            let raw = if whole { sent.rest(fields.whole, sink) } else { ahead.rest(*ix, fields.delta) };
            if whole && !raw.is_empty() {
                ahead.set(*ix, raw);
            }
            if !raw.is_empty() {
                sent.add(raw);
                sink(Event::Reason { ix: *ix, part: *number, kind, raw });
            }
        }
        self.progress.ahead = ahead;
    }

    /// A delta of a tool's input, or the rest of one that was repeated whole.
    fn input(&mut self, fields: &Fields<'_>, whole: bool, sink: Sink<'_>) {
        let is_open = open_at(&self.open, fields.output_index, fields.item_id, Kind::Tool).is_some();
        let ended = closed_at(&self.closed, fields.output_index, fields.item_id, Kind::Tool);
        if let Some(Slot { content: SlotContent::Tool { ix, sent, .. }, .. }) = ended.and_then(|at| self.closed.get(at))
            && !is_open
        {
            let raw = if whole { sent.rest(fields.whole, sink) } else { self.progress.ahead.rest(*ix, fields.delta) };
            if !raw.is_empty() {
                sink(Event::Note(Note::Disorder));
                self.lost = true;
            }
            return;
        }
        let held = self.held;
        let mut grown = 0;
        let mut ahead = std::mem::take(&mut self.progress.ahead);
        match self.slot(fields, Kind::Tool, sink).map(|slot| &mut slot.content) {
            Some(SlotContent::Tool { ix, sent, .. }) => {
                let raw = if whole { sent.rest(fields.whole, sink) } else { ahead.rest(*ix, fields.delta) };
                if whole && !raw.is_empty() {
                    ahead.set(*ix, raw);
                }
                push_input(*ix, sent, raw, sink);
            }
            Some(SlotContent::Undeclared { name, input, whole: is_whole }) if whole || !*is_whole => {
                if !fields.name.is_empty() {
                    *name = fields.name.as_bytes().to_vec();
                }
                let raw = if whole { fields.whole } else { fields.delta };
                if held + raw.len() <= HELD_MAX {
                    if whole && !raw.is_empty() {
                        input.clear();
                        *is_whole = true;
                    }
                    input.extend_from_slice(raw.as_bytes());
                }
                grown = raw.len();
            }
            _ => {}
        }
        self.progress.ahead = ahead;
        self.held += grown;
        if self.held > HELD_MAX {
            let note = "the upstream's answer holds more tool input before a tool's name than can be held";
            self.fail(Error::upstream(ErrorKind::UpstreamFault, note), sink);
        }
    }

    fn cite(&mut self, fields: &Fields<'_>, sink: Sink<'_>) {
        let Some(annotation) = fields.annotation else { return };
        let mut progress = std::mem::take(&mut self.progress);
        if let Some(Slot { content: SlotContent::Message(parts), .. }) = self.slot(fields, Kind::Message, sink)
            && let Some(part) = part_of(parts, fields.part_index, false, &mut progress, sink)
        {
            part.cited = true;
            cite(part.ix, annotation, sink);
        }
        self.progress = progress;
    }

    /// A part that begins or ends, with the text that it has by then.
    fn part(&mut self, fields: &Fields<'_>, done: bool, sink: Sink<'_>) {
        let Some((part, refusal)) = fields.part.and_then(|part| is_refusal(part).map(|refusal| (part, refusal))) else {
            return;
        };
        let whole = text_of(part, refusal);
        if !whole.is_empty() {
            return self.text(&Fields { whole, ..*fields }, refusal, true, sink);
        }
        let at = open_at(&self.open, fields.output_index, fields.item_id, Kind::Message);
        let Some(Slot { content: SlotContent::Message(parts), .. }) = at.and_then(|at| self.open.get_mut(at)) else {
            return;
        };
        if !done {
            part_of(parts, fields.part_index, refusal, &mut self.progress, sink);
        }
    }

    /// A frame's data. `name` is what the frame calls itself.
    fn document(&mut self, event: RawValue<'_>, name: Option<&[u8]>, sink: Sink<'_>) {
        let fields = Fields::of(event);
        // `message` is what readers of events call those without a name.
        let name = name.filter(|name| *name != b"message");
        match fields.kind.map(RawStr::as_bytes).or(name).unwrap_or_default() {
            kind @ (b"error" | b"response.failed" | b"") => {
                if let Some(response) = fields.response {
                    self.count(response, sink);
                }
                // An event that names its kind may be one of tomorrow's.
                let is_error = !kind.is_empty() || name == Some(b"error");
                let is_response = event.find("object").is_some_and(|object| object.eq_str("response"));
                let any_shape = || if is_response { None } else { foreign::any_shape(event) };
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
        let result = match tape.read(data) {
            Ok(event) => {
                self.document(event, frame.event, sink);
                Ok(())
            }
            Err(_) if frame.event == Some(b"error") => {
                self.fail(classify::plain(data), sink);
                Ok(())
            }
            Err(fault) => Err(classify::not_json(fault)),
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

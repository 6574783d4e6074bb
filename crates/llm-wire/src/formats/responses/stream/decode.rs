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

use crate::canonical::event::{Block, Decode, Event, Finish, Note, Reason, Sink, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::error::classify;
use crate::error::foreign;
use crate::error::{Error, Kind as ErrorKind};
use crate::formats::responses::error;
use crate::formats::responses::stream::slot::{Kind, Part, Progress, Sent, Slot, SlotContent, closed_at, open_at};
use crate::formats::responses::stream::whole::{
    cite, is_refusal, kind_of, part_of, push_input, rest_of, string, text_of, texts, whole_input, whole_part,
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

/// Most bytes of input held for calls whose name has not come.
const HELD_MAX: usize = 8 << 20;

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    phase: Phase,
    /// In order of appearance. One as a rule.
    open: Vec<Slot>,
    /// Items that have ended, in the order of their ends.
    closed: Vec<Slot>,
    progress: Progress,
    /// Bytes of input held for calls whose name has not come.
    held: usize,
    /// Input came for a call that had ended: the call is not whole.
    lost: bool,
    /// There is a picture, which no other format shows.
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

/// The members of an event that this code reads.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<RawStr<'a>>,
    output_index: Option<u64>,
    item_id: RawStr<'a>,
    /// Of a call, in newer `arguments.done` events.
    name: RawStr<'a>,
    /// `content_index` or `summary_index`.
    part_index: u64,
    delta: RawStr<'a>,
    /// The whole text of the deltas: `text`, `refusal`, `arguments` or `input`.
    whole: RawStr<'a>,
    item: Option<RawValue<'a>>,
    part: Option<RawValue<'a>>,
    response: Option<RawValue<'a>>,
    annotation: Option<RawValue<'a>>,
    logprobs: Option<RawValue<'a>>,
}

impl<'a> Fields<'a> {
    fn of(event: RawValue<'a>) -> Fields<'a> {
        let mut fields = Fields::default();
        for (key, value, _) in event.members() {
            let text = || value.as_str().unwrap_or_default();
            match key.as_bytes() {
                b"type" => fields.kind = value.as_str(),
                b"output_index" => fields.output_index = value.as_u64(),
                b"item_id" => fields.item_id = text(),
                b"name" => fields.name = text(),
                b"content_index" | b"summary_index" => fields.part_index = value.as_u64().unwrap_or(0),
                b"delta" => fields.delta = text(),
                b"text" | b"refusal" | b"arguments" | b"input" => fields.whole = text(),
                b"item" => fields.item = Some(value),
                b"part" => fields.part = Some(value),
                b"response" => fields.response = Some(value),
                b"annotation" => fields.annotation = Some(value),
                b"logprobs" => fields.logprobs = Some(value),
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

    /// Reads a whole answer: the object of a terminal event, or a body.
    pub fn response(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        self.start(response, sink);
        self.late_items(response, sink);
        if self.lost {
            let note = "the upstream sent a tool's input behind the end of the tool call; it was dropped";
            self.fail(Error::upstream(ErrorKind::UpstreamFault, note), sink);
        }
        if self.has_hidden_output && self.progress.next == 0 {
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

    /// What only the last event contains. Some backends leave the list empty, and others number all
    /// items alike or change their ids: what was seen before is the truth, and adds up to a
    /// beginning of what is in the list.
    fn late_items(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        let items = || (0u64..).zip(response.find("output").into_iter().flat_map(RawValue::elements));
        for (n, (item, _)) in items() {
            let id = string(item, "id").unwrap_or_default();
            if open_at(&self.open, Some(n), id, kind_of(item)).is_some() {
                self.item_done(Some(n), item, sink);
            }
        }
        let nothing = self.open.is_empty() && self.closed.is_empty();
        let mut text = self.missed_text(response, sink);
        let count = |slots: &[Slot], kind| slots.iter().filter(|slot| slot.content.kind() == kind).count();
        let mut missing = [Kind::Message, Kind::Reasoning, Kind::Tool, Kind::Foreign].map(|kind| {
            let total = items().filter(|(_, (item, _))| kind_of(*item) == kind).count();
            total.saturating_sub(count(&self.open, kind) + count(&self.closed, kind))
        });
        for (n, (item, _)) in items() {
            let kind = kind_of(item);
            let known = self.is_closed(n, item);
            match (kind, &mut text) {
                // xAI gives one id to several items of reasoning.
                (Kind::Reasoning, _) if nothing => self.item_missed(n, item, sink),
                _ if nothing => self.item_done(Some(n), item, sink),
                (Kind::Message, Missed::From(skip)) => self.late_texts(item, skip, sink),
                // Its parts are compared one by one.
                (Kind::Message, _) if known => self.item_done(Some(n), item, sink),
                (Kind::Tool, _) if known => self.again(n, item, sink),
                _ if known || missing[kind as usize] == 0 => {}
                _ => {
                    missing[kind as usize] -= 1;
                    self.item_missed(n, item, sink);
                }
            }
        }
    }

    /// An item of the list that no event announced.
    fn item_missed(&mut self, n: u64, item: RawValue<'_>, sink: Sink<'_>) {
        let fresh = (self.open.len() + self.closed.len()) as u64;
        self.item_added(Some(fresh.max(n)), item, sink);
        let last = self.open.len().checked_sub(1);
        last.into_iter().for_each(|at| self.finish_item(at, item, sink));
    }

    /// Where the texts of the list go beyond what was passed on.
    fn missed_text(&self, response: RawValue<'_>, sink: Sink<'_>) -> Missed {
        let items = response.find("output").into_iter().flat_map(RawValue::elements);
        let texts = items.filter(|(item, _)| kind_of(*item) == Kind::Message).flat_map(|(item, _)| texts(item));
        let sent = self.progress.text;
        let mut seen = Sent::default();
        let mut any = false;
        for (raw, _) in texts {
            any |= !raw.is_empty();
            let part = &raw.as_bytes()[..raw.len().min(sent.len() - seen.len())];
            seen.add(RawStr::new(part));
        }
        if seen.is_same(&sent) {
            return Missed::From(sent.len());
        }
        if any {
            sink(Event::Note(Note::Disorder));
        }
        Missed::Unclear
    }

    /// The texts of a message, without the first `skip` bytes.
    fn late_texts(&mut self, item: RawValue<'_>, skip: &mut usize, sink: Sink<'_>) {
        let parts = item.find("content").into_iter().flat_map(RawValue::elements);
        for (n, (part, _)) in (0u64..).zip(parts) {
            let Some(refusal) = is_refusal(part) else { continue };
            let raw = text_of(part, refusal);
            let from = raw.len().min(*skip);
            *skip -= from;
            if from == raw.len() {
                continue;
            }
            if from == 0 {
                let mut parts = Vec::new();
                whole_part(&mut parts, n, part, &mut self.progress, sink);
                parts.iter().for_each(|part: &Part| sink(Event::Close { ix: part.ix, status: Status::Complete }));
                continue;
            }
            let ix = self.progress.take_number();
            let rest = RawStr::new(&raw.as_bytes()[from..]);
            sink(Event::Open { ix, block: if refusal { Block::Refusal } else { Block::Text } });
            sink(if refusal { Event::Refusal { ix, raw: rest } } else { Event::Text { ix, raw: rest } });
            sink(Event::Close { ix, status: Status::Complete });
        }
    }

    /// Whether an item of the terminal list was seen, and has ended.
    fn is_closed(&self, n: u64, item: RawValue<'_>) -> bool {
        let call_id = string(item, "call_id").unwrap_or_default();
        let id = string(item, "id").unwrap_or_default();
        let kind = kind_of(item);
        let same_call = |slot: &Slot| match &slot.content {
            SlotContent::Tool { call_id: own, .. } => own == call_id.as_bytes(),
            _ => false,
        };
        match kind {
            Kind::Tool if !call_id.is_empty() => self.closed.iter().any(same_call),
            kind => closed_at(&self.closed, Some(n), id, kind).is_some(),
        }
    }

    /// A call that has ended, repeated: it must have been passed on whole.
    fn again(&mut self, n: u64, item: RawValue<'_>, sink: Sink<'_>) {
        let call_id = string(item, "call_id").unwrap_or_default();
        let id = string(item, "id").unwrap_or_default();
        let by_call =
            |slot: &Slot| matches!(&slot.content, SlotContent::Tool { call_id: own, .. } if own == call_id.as_bytes());
        let at = self.closed.iter().rposition(by_call).or(closed_at(&self.closed, Some(n), id, Kind::Tool));
        if let Some(Slot { content: SlotContent::Tool { sent, .. }, .. }) = at.and_then(|at| self.closed.get(at))
            && let Some(arguments) = item.find("arguments").or_else(|| item.find("input")).and_then(RawValue::as_str)
        {
            self.lost |= !sent.rest(arguments, sink).is_empty();
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

    fn item_added(&mut self, index: Option<u64>, item: RawValue<'_>, sink: Sink<'_>) {
        let id = string(item, "id").unwrap_or_default();
        let kind = kind_of(item);
        let index = index.unwrap_or((self.open.len() + self.closed.len()) as u64);
        // Deltas came before it.
        if let Some(at) = open_at(&self.open, Some(index), id, kind).filter(|at| self.open[*at].implicit) {
            self.open[at].implicit = false;
            self.open[at].id = id.as_bytes().to_vec();
            return self.name(at, item, sink);
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
            Kind::Tool => SlotContent::Undeclared { name: Vec::new(), input: Vec::new() },
            Kind::Foreign => {
                self.has_hidden_output |= item.find("type").is_some_and(|kind| kind.eq_str("image_generation_call"));
                sink(Event::Note(Note::DroppedOutput));
                SlotContent::Foreign
            }
        };
        if self.add(Slot { index, id: id.as_bytes().to_vec(), content, implicit: false }, sink) {
            self.name(self.open.len() - 1, item, sink);
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
        let Some(Slot { content: SlotContent::Undeclared { name, input }, .. }) = self.open.get_mut(at) else { return };
        let (held_name, input) = (std::mem::take(name), std::mem::take(input));
        let name = if text("name").is_empty() { RawStr::new(&held_name) } else { text("name") };
        if name.is_empty() {
            self.open[at].content = SlotContent::Undeclared { name: held_name, input };
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
            Kind::Tool => SlotContent::Undeclared { name: Vec::new(), input: Vec::new() },
            Kind::Message | Kind::Foreign => SlotContent::Message(Vec::new()),
        };
        let index = fields.output_index.unwrap_or((self.open.len() + self.closed.len()) as u64);
        let slot = Slot { index, id: fields.item_id.as_bytes().to_vec(), content, implicit: true };
        if self.add(slot, sink) { self.open.last_mut() } else { None }
    }

    /// The item as a whole: passes on what is new, and ends it.
    fn item_done(&mut self, index: Option<u64>, item: RawValue<'_>, sink: Sink<'_>) {
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

    fn finish_item(&mut self, at: usize, item: RawValue<'_>, sink: Sink<'_>) {
        let mut slot = self.open.remove(at);
        match &mut slot.content {
            SlotContent::Message(parts) => {
                let list = || item.find("content").into_iter().flat_map(RawValue::elements);
                // Some hosts count parts over all items.
                let first = parts.first().map_or(0, |part| part.index);
                let first = if first >= list().count() as u64 { first } else { 0 };
                for (n, (part, _)) in (first..).zip(list()) {
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
        if !whole && fields.delta.is_empty() {
            return;
        }
        let mut progress = std::mem::take(&mut self.progress);
        if let Some(Slot { content: SlotContent::Message(parts), .. }) = self.slot(fields, Kind::Message, sink) {
            let raw = match whole {
                true => rest_of(parts, fields.part_index, fields.whole, sink),
                false => Some(fields.delta),
            };
            if let Some(raw) = raw
                && let Some(part) = part_of(parts, fields.part_index, refusal, &mut progress, sink)
            {
                part.push(raw, &mut progress, sink);
                if !whole && let Some(logprobs) = fields.logprobs {
                    part.logprobs(logprobs, sink);
                }
            }
        }
        self.progress = progress;
    }

    /// A delta of reasoning, or the rest of a part that was repeated whole.
    fn reason(&mut self, fields: &Fields<'_>, kind: ReasoningKind, whole: bool, sink: Sink<'_>) {
        let text = if whole { fields.whole } else { fields.delta };
        let is_open = open_at(&self.open, fields.output_index, fields.item_id, Kind::Reasoning).is_some();
        let ended = closed_at(&self.closed, fields.output_index, fields.item_id, Kind::Reasoning).is_some();
        if text.is_empty() || (whole && !is_open && ended) {
            return;
        }
        let Some(Slot { content: SlotContent::Reasoning { ix, part, number, sent }, .. }) =
            self.slot(fields, Kind::Reasoning, sink)
        else {
            return;
        };
        let here = (kind, fields.part_index);
        if *part != Some(here) {
            *number += u32::from(part.is_some());
            (*part, *sent) = (Some(here), Sent::default());
        }
        let raw = if whole { sent.rest(fields.whole, sink) } else { fields.delta };
        if !raw.is_empty() {
            sent.add(raw);
            sink(Event::Reason { ix: *ix, part: *number, kind, raw });
        }
    }

    /// A delta of a tool's input, or the rest of one that was repeated whole.
    fn input(&mut self, fields: &Fields<'_>, whole: bool, sink: Sink<'_>) {
        let is_open = open_at(&self.open, fields.output_index, fields.item_id, Kind::Tool).is_some();
        let ended = closed_at(&self.closed, fields.output_index, fields.item_id, Kind::Tool);
        if let Some(Slot { content: SlotContent::Tool { sent, .. }, .. }) = ended.and_then(|at| self.closed.get(at))
            && !is_open
        {
            let raw = if whole { sent.rest(fields.whole, sink) } else { fields.delta };
            if !raw.is_empty() {
                sink(Event::Note(Note::Disorder));
                self.lost = true;
            }
            return;
        }
        let held = self.held;
        let mut grown = 0;
        match self.slot(fields, Kind::Tool, sink).map(|slot| &mut slot.content) {
            Some(SlotContent::Tool { ix, sent, .. }) => {
                let raw = if whole { sent.rest(fields.whole, sink) } else { fields.delta };
                push_input(*ix, sent, raw, sink);
            }
            Some(SlotContent::Undeclared { name, input }) => {
                if !fields.name.is_empty() {
                    *name = fields.name.as_bytes().to_vec();
                }
                let raw = if whole { fields.whole } else { fields.delta };
                if held + raw.len() <= HELD_MAX {
                    if whole && !raw.is_empty() {
                        input.clear();
                    }
                    input.extend_from_slice(raw.as_bytes());
                }
                grown = raw.len();
            }
            _ => {}
        }
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

    fn part_added(&mut self, fields: &Fields<'_>, sink: Sink<'_>) {
        let Some(refusal) = fields.part.and_then(is_refusal) else { return };
        let at = open_at(&self.open, fields.output_index, fields.item_id, Kind::Message);
        let Some(Slot { content: SlotContent::Message(parts), .. }) = at.and_then(|at| self.open.get_mut(at)) else {
            return;
        };
        part_of(parts, fields.part_index, refusal, &mut self.progress, sink);
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
                match error::of(event).or_else(|| (!is_response).then(|| foreign::any_shape(event)).flatten()) {
                    Some(read) => self.fail(classify::error(None, &read), sink),
                    // A host that was asked for a stream and answers with the whole in one event.
                    None if is_response => self.response(event, sink),
                    None if !is_error => sink(Event::Note(Note::UnknownEvent)),
                    None => self.fail_with(event, sink),
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
            b"output_item.added" => self.item_added(fields.output_index, fields.item.unwrap_or(null), sink),
            b"content_part.added" => self.part_added(fields, sink),
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

/// What the terminal event adds to the texts that were passed on.
enum Missed {
    /// What was passed on is the beginning: so many bytes of the list's texts are to be skipped.
    From(usize),
    /// The list has another text, so that items can be compared one by one only.
    Unclear,
}

//! Deltas of a message, of reasoning and of a tool's input, and the copies of them that come whole.

use super::decode::{Decoder, HELD_MAX};
use crate::canonical::codec::Sink;
use crate::canonical::event::{Block, Event, Note};
use crate::canonical::request::ReasoningKind;
use crate::error::{Error, Kind as ErrorKind};
use crate::formats::responses::stream::fields::Fields;
use crate::formats::responses::stream::slot::{Ahead, Kind, Sent, Slot, SlotContent, closed_at, open_at};
use crate::formats::responses::stream::whole::{cite, is_refusal, part_of, push_input, rest_of, text_of};
use crate::json::RawStr;

impl Decoder {
    /// Returns the open item that a delta, or the `done` event of a part, belongs to: one that was
    /// open, one that had ended and goes on, or a new one.
    pub(super) fn slot(&mut self, fields: &Fields<'_>, kind: Kind, sink: Sink<'_>) -> Option<&mut Slot> {
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

    /// A delta of a text or refusal, or the rest of one that was repeated whole.
    pub(super) fn text(&mut self, fields: &Fields<'_>, refusal: bool, whole: bool, sink: Sink<'_>) {
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
    pub(super) fn new_text<'a>(&mut self, fields: &Fields<'a>) -> RawStr<'a> {
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
    pub(super) fn reason(&mut self, fields: &Fields<'_>, kind: ReasoningKind, whole: bool, sink: Sink<'_>) {
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
    pub(super) fn input(&mut self, fields: &Fields<'_>, whole: bool, sink: Sink<'_>) {
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

    /// Passes on an annotation of a text.
    pub(super) fn cite(&mut self, fields: &Fields<'_>, sink: Sink<'_>) {
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
    pub(super) fn part(&mut self, fields: &Fields<'_>, done: bool, sink: Sink<'_>) {
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
}

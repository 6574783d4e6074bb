//! What the terminal event of a stream has beyond all that was passed on: items and texts that no
//! event before it brought.

use std::collections::HashMap;

use crate::canonical::codec::Sink;
use crate::canonical::event::{Block, Event, Note, Status};
use crate::formats::responses::stream::decode::{Decoder, ITEMS_MAX};
use crate::formats::responses::stream::slot::{Kind, Part, Sent, Slot, SlotContent, closed_at, open_at};
use crate::formats::responses::stream::whole::{
    is_refusal, kind_of, part_of, parts_of, string, text_of, texts, whole_part,
};
use crate::json::RawValue;

impl Decoder {
    /// Passes on what only the last event contains. Some backends leave the list empty, and others
    /// number all items alike or change their ids: what was seen before is the truth, and adds up
    /// to a beginning of what is in the list.
    pub(super) fn late_items(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        let items = || (0u64..).zip(response.find("output").into_iter().flat_map(RawValue::elements));
        for (n, (item, _)) in items() {
            let id = string(item, "id").unwrap_or_default();
            if open_at(&self.open, Some(n), id, kind_of(item)).is_some() {
                self.item_done(Some(n), item, sink);
            }
        }
        // Each item is compared with those that have ended, of which there are no more either.
        if items().nth(ITEMS_MAX).is_some() {
            return self.fail_for_items(sink);
        }
        let nothing = self.open.is_empty() && self.closed.is_empty();
        let sent = self.progress.text;
        let mut text = self.missed_text(response, sink);
        let count = |slots: &[Slot], kind| slots.iter().filter(|slot| slot.content.kind() == kind).count();
        let mut missing = [Kind::Message, Kind::Reasoning, Kind::Tool, Kind::Foreign].map(|kind| {
            let total = items().filter(|(_, (item, _))| kind_of(*item) == kind).count();
            total.saturating_sub(count(&self.open, kind) + count(&self.closed, kind))
        });
        let mut call_ids: HashMap<&[u8], usize> = HashMap::new();
        for (n, (item, _)) in items() {
            let kind = kind_of(item);
            // Of several calls with one id the n-th is the n-th that was seen.
            let call_id = string(item, "call_id").unwrap_or_default();
            let nth = match call_id.is_empty() {
                true => 0,
                false => {
                    let seen = call_ids.entry(call_id.as_bytes()).or_default();
                    *seen += 1;
                    *seen - 1
                }
            };
            let known = self.is_closed(n, nth, item);
            match (kind, &mut text) {
                // Each is an item of its own: xAI gives one id to several items of reasoning,
                // others to all calls.
                _ if nothing => self.item_missed(n, item, sink),
                (Kind::Message, Missed::From(skipped)) => self.late_texts(item, skipped, &sent, sink),
                // Its parts are compared one by one.
                (Kind::Message, _) if known => self.item_done(Some(n), item, sink),
                (Kind::Tool, _) if known => self.again(n, Some(nth), item, sink),
                _ if known || missing[kind as usize] == 0 => {}
                _ => {
                    missing[kind as usize] -= 1;
                    self.item_missed(n, item, sink);
                }
            }
        }
    }

    /// Emits `output_text` as text where the items of a response have none. OpenAI's SDKs compute
    /// this member on the client; some hosts send it in place of items.
    pub(super) fn late_text(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        let text = string(response, "output_text").unwrap_or_default();
        if text.is_empty() || !self.progress.text.is_empty() {
            return;
        }
        let mut parts = Vec::new();
        if let Some(part) = part_of(&mut parts, 0, false, &mut self.progress, sink) {
            part.push(text, &mut self.progress, sink);
            sink(Event::Close { ix: part.ix, status: Status::Complete });
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
            seen.add_within(raw, &sent);
        }
        if seen.is_same(&sent) {
            return Missed::From(Sent::default());
        }
        if any {
            sink(Event::Note(Note::Disorder));
        }
        Missed::Unclear
    }

    /// The texts of a message, without what was passed on. `skipped` counts that over all items.
    fn late_texts(&mut self, item: RawValue<'_>, skipped: &mut Sent, sent: &Sent, sink: Sink<'_>) {
        for (n, part) in (0u64..).zip(parts_of(item)) {
            let Some(refusal) = is_refusal(part) else { continue };
            let raw = text_of(part, refusal);
            let rest = skipped.add_within(raw, sent);
            if rest.is_empty() {
                continue;
            }
            if rest.len() == raw.len() {
                let mut parts = Vec::new();
                whole_part(&mut parts, n, part, &mut self.progress, sink);
                parts.iter().for_each(|part: &Part| sink(Event::Close { ix: part.ix, status: Status::Complete }));
                continue;
            }
            let ix = self.progress.take_number();
            sink(Event::Open { ix, block: if refusal { Block::Refusal } else { Block::Text } });
            sink(if refusal { Event::Refusal { ix, raw: rest } } else { Event::Text { ix, raw: rest } });
            sink(Event::Close { ix, status: Status::Complete });
        }
    }

    /// Returns whether an item of the terminal list was seen, and has ended. `nth` counts the calls
    /// of its id.
    fn is_closed(&self, n: u64, nth: usize, item: RawValue<'_>) -> bool {
        let call_id = string(item, "call_id").unwrap_or_default();
        let id = string(item, "id").unwrap_or_default();
        let kind = kind_of(item);
        let same_call = |slot: &Slot| match &slot.content {
            SlotContent::Tool { call_id: own, .. } => own == call_id.as_bytes(),
            _ => false,
        };
        match kind {
            Kind::Tool if !call_id.is_empty() => self.closed.iter().filter(|slot| same_call(slot)).nth(nth).is_some(),
            kind => closed_at(&self.closed, Some(n), id, kind).is_some(),
        }
    }

    /// A call that has ended, repeated: it must have been passed on whole. `nth` counts the calls
    /// of its id; `None` is the last of them.
    pub(super) fn again(&mut self, n: u64, nth: Option<usize>, item: RawValue<'_>, sink: Sink<'_>) {
        let call_id = string(item, "call_id").unwrap_or_default();
        let id = string(item, "id").unwrap_or_default();
        let by_call =
            |slot: &Slot| matches!(&slot.content, SlotContent::Tool { call_id: own, .. } if own == call_id.as_bytes());
        let same = self.closed.iter().enumerate().filter(|(_, slot)| by_call(slot)).map(|(at, _)| at);
        let at = same.take(nth.map_or(usize::MAX, |nth| nth + 1)).last().or(closed_at(
            &self.closed,
            Some(n),
            id,
            Kind::Tool,
        ));
        if let Some(Slot { content: SlotContent::Tool { sent, .. }, .. }) = at.and_then(|at| self.closed.get(at))
            && let Some(arguments) = item.find("arguments").or_else(|| item.find("input")).and_then(RawValue::as_str)
        {
            self.lost |= !sent.rest(arguments, sink).is_empty();
        }
    }
}

/// How the texts of the terminal event stand to those that were passed on.
enum Missed {
    /// What was passed on is the beginning of them, and is skipped. Holds how much was skipped so
    /// far.
    From(Sent),
    /// The list has another text, so that items can be compared one by one only.
    Unclear,
}

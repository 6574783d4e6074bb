//! The items of an answer: their starts, names and ends.

use super::decode::{Decoder, HELD_MAX, ITEMS_MAX, UNSHOWABLE};
use crate::canonical::codec::Sink;
use crate::canonical::event::{Block, Event, Note, Status};
use crate::canonical::request::CallKind;
use crate::error::{Error, Kind as ErrorKind};
use crate::formats::responses::stream::slot::{Kind, Sent, Slot, SlotContent, closed_at, open_at};
use crate::formats::responses::stream::whole::{
    is_refusal, kind_of, parts_of, push_input, string, whole_input, whole_part, whole_reasoning,
};
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::Seal;

impl Decoder {
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
    pub(super) fn announced(&mut self, item: RawValue<'_>, sink: Sink<'_>) {
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
    pub(super) fn add(&mut self, slot: Slot, sink: Sink<'_>) -> bool {
        if self.open.len() + self.closed.len() >= ITEMS_MAX {
            self.fail_for_items(sink);
            return false;
        }
        self.open.push(slot);
        true
    }

    /// Fails the answer for too many items.
    pub(super) fn fail_for_items(&mut self, sink: Sink<'_>) {
        let note = format!("the upstream's answer has more than {ITEMS_MAX} items");
        self.fail(Error::upstream(ErrorKind::UpstreamFault, note), sink);
    }

    /// Begins a reasoning item.
    pub(super) fn reasoning(&mut self, id: RawStr<'_>, sink: Sink<'_>) -> SlotContent {
        let ix = self.progress.take_number();
        sink(Event::Open { ix, block: Block::Reasoning { id } });
        SlotContent::Reasoning { ix, part: None, number: 0, sent: Sent::default() }
    }

    /// Opens a call whose name the item has, with the input that came before.
    pub(super) fn name(&mut self, at: usize, item: RawValue<'_>, sink: Sink<'_>) {
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
                        self.again(index.unwrap_or(u64::MAX), None, item, sink);
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

    /// Passes on what the whole item has beyond its deltas, and ends it.
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
            // Without its name the input belongs to no call that can be made.
            SlotContent::Undeclared { name, input, .. } => {
                self.lost |= name.is_empty() && (!input.is_empty() || has_input(item));
            }
            SlotContent::Foreign => {}
        }
        let cut = item.find("status").is_some_and(|status| status.eq_str("incomplete"));
        self.close(slot, if cut { Status::Incomplete } else { Status::Complete }, sink);
    }

    /// Ends an item and its parts.
    pub(super) fn close(&mut self, mut slot: Slot, status: Status, sink: Sink<'_>) {
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
}

/// Returns whether an item is a call with an input that is not empty.
fn has_input(item: RawValue<'_>) -> bool {
    let inputs = ["arguments", "input"].into_iter().filter_map(|key| item.find(key));
    let mut texts = inputs.map(|value| value.as_str().map_or(value.bytes(), RawStr::as_bytes));
    texts.any(|text| !matches!(text.trim_ascii(), b"" | b"{}" | b"null"))
}

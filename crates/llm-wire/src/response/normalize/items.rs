//! The items of an answer: each is opened, grows, and is closed, and what goes out is what the
//! client knows it as.

use crate::canonical::event::{Block, Event, Note, Status};
use crate::canonical::request::CallKind;
use crate::canonical::text::{Text, is_blank};
use crate::error::{Error, Kind};
use crate::json::RawStr;
use crate::reasoning::envelope;
use crate::reasoning::envelope::Envelope;
use crate::response::custom_tools::ShimInput;
use crate::response::normalize::state::{Item, Normalizer, Out, Phase};
use crate::response::stop::{StopScan, Watch};
use crate::target::plan::Reply;
use crate::target::tool_names::Shape as ToolShape;

/// Most items in one answer. Each costs memory, and no honest answer has so many.
const ITEMS_MAX: usize = 4096;

impl Normalizer {
    /// Passes an event of a text or refusal item on, if that is open.
    pub(super) fn pass(&mut self, event: Event<'_>, reply: &mut Reply, out: Out<'_>) {
        match event.ix().and_then(|ix| self.items.get(ix as usize)) {
            Some(Item::Text(_) | Item::Refusal) => out(event, reply),
            _ => reply.note(Note::Disorder),
        }
    }

    /// Begins an item.
    pub(super) fn open(&mut self, ix: u32, block: Block<'_>, reply: &mut Reply, out: Out<'_>) {
        if ix as usize != self.items.len() {
            reply.note(Note::Disorder);
            return;
        }
        if self.items.len() == ITEMS_MAX {
            let note = format!("the upstream's answer has more than {ITEMS_MAX} items");
            self.phase = Phase::Over;
            out(Event::Fail(Error::upstream(Kind::UpstreamFault, note)), reply);
            return;
        }
        let item = match block {
            Block::Text => Item::Text(StopScan::default()),
            Block::Refusal => Item::Refusal,
            Block::Reasoning { id } => Item::Reasoning { id: Text::from(id).into_owned(), text: Vec::new(), part: 0 },
            Block::Tool { kind, id, name, .. } => {
                let item = self.open_tool(ix, kind, id, name, reply, out);
                self.items.push(item);
                return;
            }
        };
        self.items.push(item);
        out(Event::Open { ix, block }, reply);
    }

    /// A tool under the client's own name.
    fn open_tool(
        &mut self,
        ix: u32,
        kind: CallKind,
        id: RawStr<'_>,
        name: RawStr<'_>,
        reply: &mut Reply,
        out: Out<'_>,
    ) -> Item {
        let entry = reply.plan.tools.find_raw(name).cloned();
        let shape = match (&entry, kind) {
            (Some(entry), _) => entry.shape,
            (None, CallKind::Function) => ToolShape::Function,
            (None, CallKind::Custom) => ToolShape::Custom,
        };
        let (kind, item) = match shape {
            ToolShape::Function => (CallKind::Function, Item::Function { any: false }),
            ToolShape::Custom => (CallKind::Custom, Item::Custom),
            ToolShape::ShimmedCustom => (CallKind::Custom, Item::Shimmed(ShimInput::default())),
            ToolShape::Answer => {
                out(Event::Open { ix, block: Block::Text }, reply);
                return Item::Answer;
            }
        };
        let id = self.call_id(id, reply);
        let (name, namespace) = match &entry {
            Some(entry) => (entry.name.raw(), entry.namespace.as_ref().map(Text::raw)),
            None => (name, None),
        };
        out(Event::Open { ix, block: Block::Tool { kind, id: id.raw(), name, namespace } }, reply);
        item
    }

    /// Returns the provider's id, a fresh one if it gave none, with a suffix if it was given out
    /// before. The suffixes of an id count on, so that many calls with one id cost no more than
    /// others.
    fn call_id(&mut self, id: RawStr<'_>, reply: &mut Reply) -> Text<'static> {
        let first = if id.is_empty() { Text::plain(&reply.fresh("call_")) } else { Text::from(id).into_owned() };
        let Some(tried) = self.ids.get(&first).copied() else {
            self.ids.insert(first.clone(), 1);
            return first;
        };
        reply.note(Note::DuplicateCallId);
        let with_suffix = |n: u64| Text::join(&[first.clone(), Text::plain(&format!("_{n}"))], "");
        let mut n = tried + 1;
        let mut id = with_suffix(n);
        while self.ids.contains_key(&id) {
            n += 1;
            id = with_suffix(n);
        }
        self.ids.insert(first.clone(), n);
        self.ids.insert(id.clone(), 1);
        id
    }

    /// Passes on a delta of text, up to a stop sequence.
    pub(super) fn text(&mut self, ix: u32, raw: RawStr<'_>, reply: &mut Reply, out: Out<'_>) {
        let Some(Item::Text(scan)) = self.items.get_mut(ix as usize) else {
            return reply.note(Note::Disorder);
        };
        if raw.is_empty() {
            return;
        }
        if reply.plan.stops.is_empty() {
            self.sent += raw.len() as u64;
            return out(Event::Text { ix, raw }, reply);
        }
        self.scratch.clear();
        let watch = scan.push(&reply.plan.stops, raw, &mut self.scratch);
        self.sent += self.scratch.len() as u64;
        if !self.scratch.is_empty() {
            out(Event::Text { ix, raw: RawStr::new(&self.scratch) }, reply);
        }
        if let Watch::Hit(stop) = watch {
            self.stop(ix, stop, reply, out);
        }
    }

    /// Passes on a piece of a tool's input.
    pub(super) fn args(&mut self, ix: u32, raw: RawStr<'_>, reply: &mut Reply, out: Out<'_>) {
        if raw.is_empty() {
            return;
        }
        let item = self.items.get_mut(ix as usize);
        if matches!(item, Some(Item::Function { .. } | Item::Custom | Item::Answer | Item::Shimmed(_))) {
            self.sent += raw.len() as u64;
        }
        match item {
            Some(Item::Function { any }) => {
                *any = *any || !is_blank(raw);
                out(Event::Args { ix, raw }, reply);
            }
            Some(Item::Custom) => out(Event::Args { ix, raw }, reply),
            // Arguments are JSON text in a string body, and so is the answer's text.
            Some(Item::Answer) => out(Event::Text { ix, raw }, reply),
            Some(Item::Shimmed(shim)) => {
                self.scratch.clear();
                if shim.push(raw, &mut self.scratch).is_err() {
                    let note = "the upstream's tool arguments cannot be understood and are too large to hold";
                    self.phase = Phase::Over;
                    return out(Event::Fail(Error::upstream(Kind::UpstreamFault, note)), reply);
                }
                if !self.scratch.is_empty() {
                    out(Event::Args { ix, raw: RawStr::new(&self.scratch) }, reply);
                }
            }
            _ => reply.note(Note::Disorder),
        }
    }

    /// Passes on a delta of reasoning.
    pub(super) fn reason(&mut self, ix: u32, event: Event<'_>, reply: &mut Reply, out: Out<'_>) {
        let Event::Reason { part, raw, .. } = event else { return };
        let Some(Item::Reasoning { text, part: last, .. }) = self.items.get_mut(ix as usize) else {
            return reply.note(Note::Disorder);
        };
        if *last != part && !text.is_empty() {
            text.extend_from_slice(br"\n\n");
        }
        *last = part;
        // Beyond the size of an envelope the text cannot be sealed, so it need not be kept.
        if text.len() <= envelope::MAX {
            text.extend_from_slice(raw.as_bytes());
        }
        self.sent += raw.len() as u64;
        out(event, reply);
    }

    /// Passes on opaque reasoning in an envelope, which names the vendor that can read it.
    pub(super) fn seal(&mut self, ix: u32, seal: envelope::Seal, raw: RawStr<'_>, reply: &mut Reply, out: Out<'_>) {
        let Some(Item::Reasoning { id, text, .. }) = self.items.get(ix as usize) else {
            return reply.note(Note::Disorder);
        };
        let envelope = Envelope {
            family: reply.plan.family,
            scope: reply.plan.scope,
            seal,
            id: Text::from(id.raw()),
            text: Text::from(RawStr::new(text)),
            sealed: raw.into(),
        };
        self.scratch.clear();
        envelope.write(&mut self.scratch);
        if self.scratch.len() > envelope::MAX {
            return reply.note(Note::DroppedOutput);
        }
        out(Event::Opaque { ix, seal, raw: RawStr::new(&self.scratch) }, reply);
    }

    /// Ends an item.
    pub(super) fn close(&mut self, ix: u32, status: Status, reply: &mut Reply, out: Out<'_>) {
        let Some(slot) = self.items.get_mut(ix as usize) else { return reply.note(Note::Disorder) };
        self.scratch.clear();
        match std::mem::replace(slot, Item::Closed) {
            Item::Closed => return reply.note(Note::Disorder),
            Item::Text(mut scan) => {
                scan.finish(&mut self.scratch);
                if !self.scratch.is_empty() {
                    self.sent += self.scratch.len() as u64;
                    out(Event::Text { ix, raw: RawStr::new(&self.scratch) }, reply);
                }
            }
            Item::Function { any: false } => out(Event::Args { ix, raw: RawStr::new(b"{}") }, reply),
            Item::Shimmed(mut shim) => {
                shim.finish(&mut self.scratch);
                if !self.scratch.is_empty() {
                    out(Event::Args { ix, raw: RawStr::new(&self.scratch) }, reply);
                }
            }
            Item::Function { any: true } | Item::Custom | Item::Answer | Item::Refusal | Item::Reasoning { .. } => {}
        }
        out(Event::Close { ix, status }, reply);
    }
}

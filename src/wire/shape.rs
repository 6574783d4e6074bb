//! Between decoder and encoder: from the provider's answer to the client's, whatever the two formats are.
//!
//! Everything that both sides would otherwise have to know stands here once: tool names and ids, custom tools behind a shim, the
//! tool that stands for structured output, stop sequences, envelopes around opaque reasoning, the finish override, and the order
//! of events. Decoders push what the provider said; encoders write what they get.
//!
//! | phase | events taken | goes to |
//! |---|---|---|
//! | `Before` | `Start` | `Live`; anything else starts the answer too |
//! | `Live` | items and deltas | `Finished` at `Finish`, or at a stop sequence `Over` |
//! | `Finished` | `Usage`, `Tier` | `Over` at `End` |
//! | `Over` | nothing | |

use super::envelope::{self, Envelope};
use super::event::{Block, Event, Finish, Note, Reason, Status};
use super::item::CallKind;
use super::names::Shape as ToolShape;
use super::plan::Reply;
use super::shim::ShimInput;
use super::stop::{StopScan, Watch};
use super::text::Text;
use super::usage::Usage;
use crate::error::{Error, Kind};
use crate::json::RawStr;

/// Where shaped events go: an encoder or a fold.
pub type Out<'s> = &'s mut dyn FnMut(Event<'_>, &mut Reply);

/// Most items in one answer. Each costs memory, and no honest answer has so many.
const ITEMS_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Before,
    Live,
    Finished,
    Over,
}

/// One open or closed item.
#[derive(Debug)]
enum Item {
    Text(StopScan),
    Refusal,
    Reasoning {
        id: Text<'static>,
        /// Its visible text, for the envelope.
        text: Vec<u8>,
        part: u32,
    },
    Function {
        any: bool,
    },
    Custom,
    Shimmed(ShimInput),
    /// The input of the answer tool is the text of the answer.
    Answer,
    Closed,
}

/// The state of one answer.
#[derive(Debug, Default)]
pub struct Shape {
    phase: Phase,
    items: Vec<Item>,
    /// Ids of calls given out so far, escaped.
    ids: Vec<Text<'static>>,
    usage: Option<Usage>,
    /// Escaped bytes of text, reasoning and arguments that went out: the base of an estimate.
    sent: u64,
    scratch: Vec<u8>,
    /// A stop sequence ended the answer; the upstream call is of no more use.
    stopped: bool,
}

impl Shape {
    /// No event will come out any more.
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    /// The gateway itself ended the answer: cancel the upstream call.
    pub fn stopped_early(&self) -> bool {
        self.stopped
    }

    /// The last usage that came, or the estimate that took its place.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Takes one event of a decoder and passes on zero to many.
    pub fn event(&mut self, event: Event<'_>, reply: &mut Reply, out: Out<'_>) {
        match (self.phase, event) {
            (Phase::Over, _) => {}
            (_, Event::Note(note)) => reply.note(note),
            (_, Event::Fail(error)) => {
                self.phase = Phase::Over;
                out(Event::Fail(error), reply);
            }
            (_, Event::Usage(usage)) => {
                if usage.repaired {
                    reply.note(Note::OddUsage);
                }
                self.usage = Some(usage);
                out(Event::Usage(usage), reply);
            }
            (_, Event::Tier(tier)) => out(Event::Tier(tier), reply),
            (Phase::Before, Event::Start { id, model }) => {
                self.phase = Phase::Live;
                out(Event::Start { id, model }, reply);
            }
            (_, Event::Start { .. }) => reply.note(Note::Disorder),
            (Phase::Before, event) => {
                self.phase = Phase::Live;
                out(Event::Start { id: RawStr::default(), model: RawStr::default() }, reply);
                self.live(event, reply, out);
            }
            (Phase::Live, event) => self.live(event, reply, out),
            (Phase::Finished, Event::End) => self.end(reply, out),
            (Phase::Finished, _) => reply.note(Note::Disorder),
        }
    }

    fn live(&mut self, event: Event<'_>, reply: &mut Reply, out: Out<'_>) {
        match event {
            Event::Open { ix, block } => self.open(ix, block, reply, out),
            Event::Text { ix, raw } => self.text(ix, raw, reply, out),
            Event::Args { ix, raw } => self.args(ix, raw, reply, out),
            Event::Reason { ix, part, kind, raw } if !raw.is_empty() => {
                if let Some(Item::Reasoning { text, part: last, .. }) = self.items.get_mut(ix as usize) {
                    if *last != part && !text.is_empty() {
                        text.extend_from_slice(br"\n\n");
                    }
                    *last = part;
                    // Beyond the size of an envelope the text cannot be sealed, so it need not be kept.
                    if text.len() <= envelope::MAX {
                        text.extend_from_slice(raw.as_bytes());
                    }
                    self.sent += raw.len() as u64;
                    out(Event::Reason { ix, part, kind, raw }, reply);
                } else {
                    reply.note(Note::Disorder);
                }
            }
            Event::Opaque { ix, seal, raw } if !raw.is_empty() => self.seal(ix, seal, raw, reply, out),
            Event::Refusal { raw, .. } if !raw.is_empty() => {
                self.sent += raw.len() as u64;
                self.pass(event, reply, out);
            }
            Event::Cite { .. } | Event::Logprobs { .. } => self.pass(event, reply, out),
            Event::Close { ix, status } => self.close(ix, status, reply, out),
            Event::Finish(finish) => self.finish(finish, reply, out),
            // An end without a finish: a whole answer that did not say why it ended.
            Event::End => {
                reply.note(Note::MissingFinish);
                self.finish(Finish::of(Reason::End), reply, out);
                self.end(reply, out);
            }
            // What is left: empty deltas.
            _ => {}
        }
    }

    /// Passes an event of a text or refusal item on, if that is open.
    fn pass(&mut self, event: Event<'_>, reply: &mut Reply, out: Out<'_>) {
        match event.ix().and_then(|ix| self.items.get(ix as usize)) {
            Some(Item::Text(_) | Item::Refusal) => out(event, reply),
            _ => reply.note(Note::Disorder),
        }
    }

    fn open(&mut self, ix: u32, block: Block<'_>, reply: &mut Reply, out: Out<'_>) {
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

    /// The provider's id, a fresh one if it gave none, with a suffix if it was given out before.
    fn call_id(&mut self, id: RawStr<'_>, reply: &mut Reply) -> Text<'static> {
        let first = if id.is_empty() { Text::plain(&reply.fresh("call_")) } else { Text::from(id).into_owned() };
        let mut id = first.clone();
        let mut n = 2;
        while self.ids.contains(&id) {
            if n == 2 {
                reply.note(Note::DuplicateCallId);
            }
            id = Text::join(&[first.clone(), Text::plain(&format!("_{n}"))], "");
            n += 1;
        }
        self.ids.push(id.clone());
        id
    }

    fn text(&mut self, ix: u32, raw: RawStr<'_>, reply: &mut Reply, out: Out<'_>) {
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

    /// A stop sequence came: the answer ends here, whatever the provider goes on to say.
    fn stop(&mut self, ix: u32, stop: usize, reply: &mut Reply, out: Out<'_>) {
        self.items[ix as usize] = Item::Closed;
        out(Event::Close { ix, status: Status::Complete }, reply);
        self.close_all(Status::Complete, reply, out);
        let stop = Text::plain(&reply.plan.stops[stop]);
        let finish = Finish { stop: Some(stop.raw()), ..Finish::of(Reason::StopSequence) };
        out(Event::Finish(finish), reply);
        self.stopped = true;
        self.end(reply, out);
    }

    fn args(&mut self, ix: u32, raw: RawStr<'_>, reply: &mut Reply, out: Out<'_>) {
        if raw.is_empty() {
            return;
        }
        self.sent += raw.len() as u64;
        match self.items.get_mut(ix as usize) {
            Some(Item::Function { any }) => {
                *any = true;
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

    fn seal(&mut self, ix: u32, seal: envelope::Seal, raw: RawStr<'_>, reply: &mut Reply, out: Out<'_>) {
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

    fn close(&mut self, ix: u32, status: Status, reply: &mut Reply, out: Out<'_>) {
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

    fn close_all(&mut self, status: Status, reply: &mut Reply, out: Out<'_>) {
        for ix in 0..self.items.len() {
            if !matches!(self.items[ix], Item::Closed) {
                self.close(ix as u32, status, reply, out);
            }
        }
    }

    fn finish(&mut self, finish: Finish<'_>, reply: &mut Reply, out: Out<'_>) {
        let cut = matches!(finish.reason, Reason::Length | Reason::ContextWindow | Reason::Refusal);
        self.close_all(if cut { Status::Incomplete } else { Status::Complete }, reply, out);
        // Hosts say `stop` beside calls, and `tool_calls` beside none.
        let reason = match (finish.reason, !self.ids.is_empty()) {
            (Reason::End, true) => Reason::ToolCalls,
            (Reason::ToolCalls, false) => Reason::End,
            (reason, _) => reason,
        };
        self.phase = Phase::Finished;
        out(Event::Finish(Finish { reason, ..finish }), reply);
    }

    fn end(&mut self, reply: &mut Reply, out: Out<'_>) {
        let counted = self.usage.is_some_and(|usage| !usage.is_zero() || self.sent == 0);
        if !counted || self.stopped {
            let known = self.usage.filter(|usage| !usage.is_zero());
            let mut usage = known.unwrap_or_default();
            if known.is_none() {
                usage.input_total = reply.input_estimate.unwrap_or(0);
            }
            // Four bytes a token: the first guess of every estimator for text of this kind.
            usage.output_total = usage.output_total.max(self.sent.div_ceil(4));
            reply.note(Note::EstimatedUsage);
            self.usage = Some(usage);
            out(Event::Usage(usage), reply);
        }
        self.phase = Phase::Over;
        out(Event::End, reply);
    }
}

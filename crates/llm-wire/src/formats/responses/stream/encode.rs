//! Events as a client's stream.
//!
//! | phase | event | output, goes to |
//! |---|---|---|
//! | `Init` | the first content, or `wait` | `response.created`, `response.in_progress`; `Live` |
//! | `Live` | items | the events of their items, below |
//! | `Live` | `Finish`, `Usage`, `Tier` | nothing: kept for the end, since usage may come after the finish |
//! | `Live` | `End` | `response.completed` or `.incomplete`; `Over` |
//! | any | `Fail` | `response.failed`, with the items that are done; `Over` |
//!
//! | item | what comes | output, goes to |
//! |---|---|---|
//! | `Silent` | a tool's `Open`; the first text, thought or state of another | `output_item.added`; `Live` |
//! | `Live` | deltas | deltas, each in its part |
//! | `Live` | `Close` | `done` of the part, `output_item.done`; `Done` |
//!
//! Texts that follow one another are parts of one message, as where citations cut a text of
//! Messages into blocks. So the `output_item.done` of a message waits until another item begins, or
//! the end.
//!
//! What an item holds is folded by an [`Answer`], so that `done` events, the terminal event and
//! whole answers are one code.

use crate::canonical::codec::Encode;
use crate::canonical::event::{Block, Event, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::error::Error;
use crate::formats::responses::object;
use crate::formats::responses::object::{Facts, Stage};
use crate::formats::responses::output;
use crate::formats::responses::output::explanation;
use crate::formats::responses::stream::write::{Place, Writer};
use crate::json::{RawStr, write};
use crate::response::whole::{Answer, AnswerKind};
use crate::sse;
use crate::target::plan::Reply;

/// Writes a client's stream. `Default`: its facts come with each call, in the [`Reply`].
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    phase: Phase,
    /// `sequence_number` of the next event.
    pub(super) number: u64,
    pub(super) answer: Box<Answer>,
    /// One for each item of the answer.
    pub(super) slots: Vec<Slot>,
    /// Output items in the order of their `output_index`.
    pub(super) shown: Vec<OutputItem>,
    failure: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Init,
    Live,
    Over,
}

/// An item of the answer on its way out.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) state: State,
    /// Of a text or refusal: `content_index`.
    pub(super) part: u64,
    /// For reasoning: the part that is open.
    pub(super) reasoning: Option<ReasoningPart>,
    /// For reasoning: how many parts of each kind began.
    pub(super) summaries: u64,
    pub(super) contents: u64,
}

/// How far an item is: see the table above.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Silent,
    /// `output_index` is the place in `shown`.
    Live {
        output_index: usize,
    },
    Done,
}

/// The open part of a reasoning item.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReasoningPart {
    /// As the provider counts.
    pub(super) part: u32,
    pub(super) kind: ReasoningKind,
    /// As the answer counts, over both kinds.
    pub(super) nth: u32,
    /// As the format counts, within its kind.
    pub(super) index: u64,
}

/// An output item.
#[derive(Debug)]
pub(super) struct OutputItem {
    /// The items of the answer: the parts of a message, or one.
    pub(super) items: Vec<usize>,
    /// See [`output::done`].
    pub(super) nth: usize,
    pub(super) id: String,
    /// How many parts of a message have not ended.
    pub(super) open: usize,
    pub(super) done: bool,
}

impl OutputItem {
    fn write_done(&self, answer: &Answer, o: &mut write::Object<'_>) {
        output::done(o, &|n| self.items.get(n).map(|ix| &answer.items[*ix]), self.nth, &self.id);
    }
}

impl Encoder {
    /// Goes on with a message that another has begun under the id `item`; `number` is that of the
    /// next event.
    pub(crate) fn follow(&mut self, number: u64, item: Option<String>) {
        self.number = number;
        if let (Some(id), Some(message)) = (item, self.shown.last_mut()) {
            message.id = id;
        }
    }

    fn begin(&mut self, reply: &mut Reply, out: &mut Vec<u8>) {
        if self.phase != Phase::Init {
            return;
        }
        self.phase = Phase::Live;
        for name in [Stage::Begun.event(), "response.in_progress"] {
            self.lifecycle(name, Stage::Begun, reply, out);
        }
    }

    /// An event with the whole response in it.
    fn lifecycle(&mut self, name: &str, stage: Stage<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        let Encoder { answer, shown, number, .. } = self;
        let tier = answer.tier.as_ref().map(|tier| tier.unescape());
        let usage = match stage {
            Stage::Begun => None,
            Stage::Ended(_) => Some(answer.usage.unwrap_or_default()),
            Stage::Failed(_) => answer.usage,
        };
        let facts = Facts { stage, usage, tier: tier.as_deref() };
        Writer { out, number }.event(name, |o| {
            o.object("response", |o| {
                object::write(o, &facts, reply, |a| {
                    for item in shown.iter().filter(|item| item.done) {
                        a.object(|o| item.write_done(answer, o));
                    }
                });
            });
        });
    }

    /// Returns the place of an item in the output, begun now if need be. `None` if it has ended or
    /// never began.
    pub(super) fn live(&mut self, ix: u32, reply: &mut Reply, out: &mut Vec<u8>) -> Option<usize> {
        let slot = self.slots.get(ix as usize)?;
        match slot.state {
            State::Live { output_index } => Some(output_index),
            State::Done => None,
            State::Silent => {
                let joined = self.joined(ix as usize);
                let output_index = joined.unwrap_or_else(|| self.add(ix as usize, 0, reply, out));
                let (slot, item) = (&mut self.slots[ix as usize], &mut self.shown[output_index]);
                slot.state = State::Live { output_index };
                if joined.is_some() {
                    slot.part = item.items.len() as u64;
                    item.items.push(ix as usize);
                }
                if output::is_message(&self.answer.items[ix as usize]) {
                    item.open += 1;
                    self.part("response.content_part.added", ix, output_index, true, out);
                }
                Some(output_index)
            }
        }
    }

    /// Returns the message that an item goes on with: a text directly behind a text.
    fn joined(&self, ix: usize) -> Option<usize> {
        let last = self.shown.last().filter(|last| !last.done)?;
        let before = *last.items.last()?;
        let joins = before < ix && output::go_together(self.answer.items.get(before)?, self.answer.items.get(ix)?);
        joins.then(|| self.shown.len() - 1)
    }

    /// Ends the last item if it is a message whose parts have ended all.
    fn end_message(&mut self, out: &mut Vec<u8>) {
        let is_over = |last: &&OutputItem| {
            let message = last.items.first().and_then(|ix| self.answer.items.get(*ix)).is_some_and(output::is_message);
            message && !last.done && last.open == 0
        };
        if self.shown.last().filter(is_over).is_some() {
            self.done(self.shown.len() - 1, out);
        }
    }

    fn add(&mut self, ix: usize, nth: usize, reply: &mut Reply, out: &mut Vec<u8>) -> usize {
        self.end_message(out);
        let Encoder { answer, shown, number, .. } = self;
        let kind = &answer.items[ix].kind;
        let id = output::id(kind, reply);
        Writer { out, number }.event("response.output_item.added", |o| {
            o.u64("output_index", shown.len() as u64);
            o.object("item", |o| output::begun(o, kind, &id));
        });
        shown.push(OutputItem { items: vec![ix], nth, id, open: 0, done: false });
        shown.len() - 1
    }

    fn done(&mut self, output_index: usize, out: &mut Vec<u8>) {
        let Encoder { answer, shown, number, .. } = self;
        let item = &mut shown[output_index];
        item.done = true;
        Writer { out, number }.event("response.output_item.done", |o| {
            o.u64("output_index", output_index as u64);
            o.object("item", |o| item.write_done(answer, o));
        });
    }

    fn close(&mut self, ix: u32, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(slot) = self.slots.get_mut(ix as usize) else { return };
        let State::Live { output_index } = std::mem::replace(&mut slot.state, State::Done) else { return };
        match &self.answer.items[ix as usize].kind {
            AnswerKind::Text { .. } | AnswerKind::Refusal { .. } => {
                self.text_done(ix, output_index, out);
                self.part("response.content_part.done", ix, output_index, false, out);
                self.shown[output_index].open -= 1;
                // The next text may go on with it.
                if output_index + 1 < self.shown.len() && self.shown[output_index].open == 0 {
                    self.done(output_index, out);
                }
                return;
            }
            AnswerKind::Reasoning { .. } => self.end_reasoning(ix, output_index, out),
            AnswerKind::Tool { .. } => self.input_done(ix, output_index, out),
        }
        self.done(output_index, out);
        for nth in 1..output::count(&self.answer.items[ix as usize]) {
            let output_index = self.add(ix as usize, nth, reply, out);
            self.done(output_index, out);
        }
    }

    fn input_done(&mut self, ix: u32, output_index: usize, out: &mut Vec<u8>) {
        let Encoder { answer, shown, slots, number, .. } = self;
        let AnswerKind::Tool { kind, name, input, .. } = &answer.items[ix as usize].kind else { return };
        let place = Place { part: None, ..content(&shown[output_index], output_index, &slots[ix as usize]) };
        let (event, member) = match kind {
            CallKind::Function => ("response.function_call_arguments.done", "arguments"),
            CallKind::Custom => ("response.custom_tool_call_input.done", "input"),
        };
        Writer { out, number }.event(event, |o| {
            place.write(o);
            if *kind == CallKind::Function {
                o.raw_str("name", name.raw());
            }
            o.raw_str(member, RawStr::new(input));
        });
    }

    fn item(&mut self, event: Event<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        match &event {
            Event::Open { ix, block } if *ix as usize == self.slots.len() => {
                self.slots.push(Slot::default());
                self.answer.take(&event);
                if matches!(block, Block::Tool { .. }) {
                    self.live(*ix, reply, out);
                }
                return;
            }
            _ if event
                .ix()
                .is_some_and(|ix| self.slots.get(ix as usize).is_none_or(|slot| slot.state == State::Done)) =>
            {
                return;
            }
            Event::Text { ix, raw } => self.text(*ix, "response.output_text.delta", *raw, reply, out),
            Event::Refusal { ix, raw } => self.text(*ix, "response.refusal.delta", *raw, reply, out),
            Event::Args { ix, raw } => {
                let custom = self
                    .answer
                    .items
                    .get(*ix as usize)
                    .is_some_and(|item| matches!(item.kind, AnswerKind::Tool { kind: CallKind::Custom, .. }));
                let name = match custom {
                    true => "response.custom_tool_call_input.delta",
                    false => "response.function_call_arguments.delta",
                };
                self.text(*ix, name, *raw, reply, out);
            }
            Event::Reason { ix, part, kind, raw } => return self.reasoning(*ix, *part, *kind, *raw, reply, out),
            Event::Opaque { ix, .. } => {
                self.live(*ix, reply, out);
            }
            Event::Logprobs { ix, raw } => self.logprobs(*ix, *raw, out),
            Event::Close { ix, .. } => {
                self.answer.take(&event);
                return self.close(*ix, reply, out);
            }
            _ => {}
        }
        self.answer.take(&event);
    }

    /// Why the provider refused, as a last message.
    fn explain(&mut self, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(item) = explanation(&self.answer, &self.answer.ended()) else { return };
        let AnswerKind::Refusal { text } = item.kind else { return };
        let ix = self.slots.len() as u32;
        self.item(Event::Open { ix, block: Block::Refusal }, reply, out);
        self.item(Event::Refusal { ix, raw: RawStr::new(&text) }, reply, out);
        self.item(Event::Close { ix, status: Status::Complete }, reply, out);
    }

    fn end(&mut self, reply: &mut Reply, out: &mut Vec<u8>) {
        for ix in 0..self.slots.len() {
            self.close(ix as u32, reply, out);
        }
        self.explain(reply, out);
        self.end_message(out);
        let ended = self.answer.ended();
        let stage = Stage::Ended(&ended);
        self.lifecycle(stage.event(), stage, reply, out);
        self.phase = Phase::Over;
    }

    /// Items that are open stay so: they are not in the answer.
    fn fail(&mut self, error: &Error, reply: &mut Reply, out: &mut Vec<u8>) {
        self.begin(reply, out);
        self.end_message(out);
        let stage = Stage::Failed(error);
        self.lifecycle(stage.event(), stage, reply, out);
        self.phase = Phase::Over;
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        if self.phase == Phase::Over {
            return;
        }
        if event.is_content() {
            self.begin(reply, out);
        }
        match event {
            Event::Fail(error) => return self.fail(&error, reply, out),
            Event::End => return self.end(reply, out),
            Event::Start { .. } | Event::Tier(_) | Event::Usage(_) | Event::Finish(_) => self.answer.take(&event),
            Event::Note(_) => {}
            item => self.item(item, reply, out),
        }
        // The fold is bounded.
        if let Some(error) = self.answer.error.take() {
            self.fail(&error, reply, out);
            self.failure = Some(error);
        }
    }

    fn wait(&mut self, reply: &mut Reply, out: &mut Vec<u8>) {
        match self.phase {
            Phase::Init => self.begin(reply, out),
            Phase::Live => sse::write::comment(out, "keep-alive"),
            Phase::Over => {}
        }
    }

    fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

/// Returns the place of a part of a message.
pub(super) fn content<'s>(item: &'s OutputItem, output_index: usize, slot: &Slot) -> Place<'s> {
    Place { item_id: &item.id, output_index: output_index as u64, part: Some(("content_index", slot.part)) }
}

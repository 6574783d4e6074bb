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
        let item = self.items.get_mut(ix as usize);
        if matches!(item, Some(Item::Function { .. } | Item::Custom | Item::Answer | Item::Shimmed(_))) {
            self.sent += raw.len() as u64;
        }
        match item {
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

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::answer::{Answer, AnswerKind};
    use super::super::caps::Overrides;
    use super::super::item::ReasoningKind;
    use super::super::names::ToolEntry;
    use super::super::plan::{Context, Plan, Target, TestStamps};
    use super::super::quirks::Host;
    use super::*;
    use crate::json::RawValue;

    fn raw(text: &str) -> RawStr<'_> {
        RawStr::new(text.as_bytes())
    }

    fn reply() -> Reply {
        let target = Target::new(Format::Messages, Host::Anthropic, "claude-opus-5", "p", &Overrides::default());
        let mut plan = Plan::new(Format::Chat, RawValue::new(b"{}"), &Context::new(target, "asked"));
        for (sent, name, shape) in [
            ("fs__read", "read", ToolShape::Function),
            ("patch", "patch", ToolShape::ShimmedCustom),
            ("json_response", "json_response", ToolShape::Answer),
        ] {
            let namespace = sent.starts_with("fs__").then(|| Text::plain("fs"));
            let entry = ToolEntry { sent: sent.to_owned(), name: Text::plain(name), namespace, shape };
            assert!(plan.tools.add(entry));
        }
        Reply::new(plan, Box::new(TestStamps::default()), "req_1")
    }

    fn tool<'a>(ix: u32, id: &'a str, name: &'a str) -> Event<'a> {
        let block = Block::Tool { kind: CallKind::Function, id: raw(id), name: raw(name), namespace: None };
        Event::Open { ix, block }
    }

    fn text(ix: u32, text: &str) -> Event<'_> {
        Event::Text { ix, raw: raw(text) }
    }

    fn args(ix: u32, text: &str) -> Event<'_> {
        Event::Args { ix, raw: raw(text) }
    }

    fn close(ix: u32) -> Event<'static> {
        Event::Close { ix, status: Status::Complete }
    }

    fn finish(reason: Reason) -> Event<'static> {
        Event::Finish(Finish::of(reason))
    }

    /// One word for each event that came out.
    fn word(event: &Event<'_>) -> String {
        let plain = |raw: &RawStr<'_>| raw.unescape().into_owned();
        match event {
            Event::Start { .. } => "start".to_owned(),
            Event::Tier(tier) => format!("tier:{}", plain(tier)),
            Event::Open { ix, block } => match block {
                Block::Text => format!("{ix}text"),
                Block::Refusal => format!("{ix}refusal"),
                Block::Reasoning { .. } => format!("{ix}reasoning"),
                Block::Tool { kind, id, name, namespace } => {
                    let space = namespace.as_ref().map(plain).unwrap_or_default();
                    format!("{ix}{kind:?}({},{space}/{})", plain(id), plain(name))
                }
            },
            Event::Text { ix, raw } => format!("{ix}{}", plain(raw)),
            Event::Refusal { ix, raw } => format!("{ix}no:{}", plain(raw)),
            Event::Reason { ix, part, raw, .. } => format!("{ix}.{part}{}", plain(raw)),
            Event::Opaque { ix, raw, .. } => {
                format!("{ix}{}", if envelope::looks_like(*raw) { "sealed" } else { "open" })
            }
            Event::Args { ix, raw } => format!("{ix}{}", raw.unescape()),
            Event::Cite { ix, .. } => format!("{ix}cite"),
            Event::Logprobs { ix, .. } => format!("{ix}logprobs"),
            Event::Close { ix, status: Status::Complete } => format!("{ix}."),
            Event::Close { ix, status: Status::Incomplete } => format!("{ix}!"),
            Event::Usage(usage) => format!("usage:{}/{}", usage.input_total, usage.output_total),
            Event::Finish(finish) => {
                format!("{:?}{}", finish.reason, finish.stop.map(|s| format!(":{}", plain(&s))).unwrap_or_default())
            }
            Event::Fail(error) => format!("fail:{}", error.kind.row().label),
            Event::End => "end".to_owned(),
            Event::Note(note) => note.label().to_owned(),
        }
    }

    fn run_with(reply: &mut Reply, events: Vec<Event<'_>>) -> String {
        let (mut shape, mut words) = (Shape::default(), Vec::new());
        for event in events {
            shape.event(event, reply, &mut |event, _| words.push(word(&event)));
        }
        words.join(" ")
    }

    fn run(events: Vec<Event<'_>>) -> String {
        run_with(&mut reply(), events)
    }

    fn usage(input: u64, output: u64) -> Event<'static> {
        Event::Usage(Usage { input_total: input, output_total: output, ..Usage::default() })
    }

    #[test]
    fn a_plain_answer_passes() {
        let open = Event::Open { ix: 0, block: Block::Text };
        let start = Event::Start { id: raw("x"), model: raw("m") };
        let events = vec![
            start,
            usage(9, 1),
            open,
            text(0, ""),
            text(0, "hi"),
            close(0),
            finish(Reason::End),
            usage(9, 4),
            Event::End,
            text(0, "late"),
        ];
        assert_eq!(run(events), "start usage:9/1 0text 0hi 0. End usage:9/4 end");
    }

    /// Property 42, the override; and names and ids as the client knows them.
    #[test]
    fn tools_are_the_clients_own() {
        let events = vec![
            tool(0, "t1", "fs__read"),
            args(0, r#"{\"a\":1}"#),
            close(0),
            tool(1, "t1", "made_up"),
            close(1),
            tool(2, "", "made_up"),
            finish(Reason::End),
            usage(1, 1),
            Event::End,
        ];
        let id = "call_00000000000000000000000002";
        let expected = format!(
            r#"start 0Function(t1,fs/read) 0{{"a":1}} 0. 1Function(t1_2,/made_up) 1{{}} 1. 2Function({id},/made_up) 2{{}} 2. ToolCalls usage:1/1 end"#
        );
        assert_eq!(run(events), expected);
        assert_eq!(run(vec![finish(Reason::ToolCalls), usage(1, 0), Event::End]), "start End usage:1/0 end");
        let cut = vec![tool(0, "t", "f"), args(0, "{"), finish(Reason::Length), usage(1, 1), Event::End];
        assert_eq!(run(cut), "start 0Function(t,/f) 0{ 0! Length usage:1/1 end");
    }

    #[test]
    fn shims_are_undone() {
        let events = vec![
            tool(0, "t", "patch"),
            args(0, r#"{\"inp"#),
            args(0, r#"ut\":\"a\\nb"#),
            args(0, r#"\"}"#),
            close(0),
            tool(1, "u", "json_response"),
            args(1, r#"{\"x\":1}"#),
            close(1),
            finish(Reason::ToolCalls),
            usage(1, 1),
            Event::End,
        ];
        assert_eq!(run(events), "start 0Custom(t,/patch) 0a\nb 0. 1text 1{\"x\":1} 1. ToolCalls usage:1/1 end");
        let answer = vec![
            tool(0, "u", "json_response"),
            args(0, "{}"),
            close(0),
            finish(Reason::ToolCalls),
            usage(1, 1),
            Event::End,
        ];
        assert_eq!(run(answer), "start 0text 0{} 0. End usage:1/1 end");
    }

    /// Property 59: text is watched, reasoning and arguments are not, and nothing follows the end.
    #[test]
    fn a_stop_sequence_ends_the_answer() {
        let mut reply = reply();
        reply.plan.stops = vec!["STOP".to_owned()];
        let reason = |raw| Event::Reason { ix: 0, part: 0, kind: ReasoningKind::Summary, raw };
        let events = vec![
            usage(7, 1),
            Event::Open { ix: 0, block: Block::Reasoning { id: raw("") } },
            reason(raw("STOP")),
            close(0),
            Event::Open { ix: 1, block: Block::Text },
            tool(2, "t", "f"),
            args(2, "STOP"),
            text(1, "hello ST"),
            text(1, "OP more"),
            text(1, "after"),
            finish(Reason::End),
            Event::End,
        ];
        let expected = "usage:7/1 start 0reasoning 0.0STOP 0. 1text 2Function(t,/f) 2STOP 1hello  1. 2. StopSequence:STOP usage:7/4 end";
        assert_eq!(run_with(&mut reply, events), expected);
        let held = vec![
            Event::Open { ix: 0, block: Block::Text },
            text(0, "ST"),
            close(0),
            finish(Reason::End),
            usage(1, 1),
            Event::End,
        ];
        assert_eq!(run_with(&mut reply, held), "start 0text 0ST 0. End usage:1/1 end");
    }

    #[test]
    fn reasoning_state_is_sealed_with_its_text() {
        let mut reply = reply();
        let (mut shape, mut envelopes) = (Shape::default(), Vec::new());
        let reason = |part, text| Event::Reason { ix: 0, part, kind: ReasoningKind::Summary, raw: raw(text) };
        let events = vec![
            Event::Open { ix: 0, block: Block::Reasoning { id: raw("rs_1") } },
            reason(0, "a"),
            reason(0, "b"),
            reason(1, "c"),
            Event::Opaque { ix: 0, seal: envelope::Seal::Thinking, raw: raw("sig+/=") },
        ];
        for event in events {
            shape.event(event, &mut reply, &mut |event, _| {
                if let Event::Opaque { raw, .. } = event {
                    envelopes.push(envelope::parse(raw).unwrap());
                }
            });
        }
        let [envelope] = &envelopes[..] else { panic!("{envelopes:?}") };
        assert_eq!(envelope.text.unescape(), "ab\n\nc");
        assert!(envelope.sealed.eq_str("sig+/=") && envelope.id.eq_str("rs_1"));
        assert_eq!((envelope.family, envelope.scope), (reply.plan.family, reply.plan.scope));
    }

    #[test]
    fn disorder_does_no_harm() {
        let open = |ix| Event::Open { ix, block: Block::Text };
        let events = vec![
            text(3, "x"),
            open(1),
            open(0),
            close(0),
            close(0),
            text(0, "x"),
            args(0, "x"),
            finish(Reason::End),
            open(1),
            Event::End,
        ];
        let mut reply = reply();
        reply.input_estimate = Some(5);
        assert_eq!(run_with(&mut reply, events), "start 0text 0. End usage:5/0 end");
        assert_eq!(reply.notes[Note::Disorder as usize], 6);
        let fail = Event::Fail(Error::upstream(Kind::UpstreamTruncated, "cut"));
        assert_eq!(run(vec![open(0), text(0, "x"), fail, Event::End]), "start 0text 0x fail:upstream_truncated");
        assert_eq!(run(vec![open(0), Event::End]), "start 0text 0. End usage:0/0 end");
    }

    #[test]
    fn a_host_that_does_not_count_is_estimated() {
        let mut reply = reply();
        reply.input_estimate = Some(100);
        let open = || Event::Open { ix: 0, block: Block::Text };
        let events = vec![open(), text(0, "twelve bytes"), finish(Reason::End), usage(0, 0), Event::End];
        assert_eq!(run_with(&mut reply, events), "start 0text 0twelve bytes 0. End usage:0/0 usage:100/3 end");
        assert_eq!(reply.notes[Note::EstimatedUsage as usize], 1);
    }

    /// The fold reads what an encoder reads.
    #[test]
    fn a_fold_of_shaped_events() {
        let (mut shape, mut reply, mut answer) = (Shape::default(), reply(), Answer::default());
        for event in [
            tool(0, "t", "patch"),
            args(0, r#"{\"input\":\"x\"}"#),
            close(0),
            finish(Reason::End),
            usage(1, 2),
            Event::End,
        ] {
            shape.event(event, &mut reply, &mut |event, _| answer.take(&event));
        }
        assert_eq!(answer.ended().reason, Reason::ToolCalls);
        let AnswerKind::Tool { kind, input, .. } = &answer.items[0].kind else { panic!() };
        assert_eq!((*kind, input.as_slice()), (CallKind::Custom, &b"x"[..]));
    }
}

//! A provider's stream as events. Whole answers are read by the same code: each item of one is an
//! `output_item.done` that nothing preceded ([`Decoder::response`]).
//!
//! | phase | frame | goes to |
//! |---|---|---|
//! | `Before` | `response.created`, `.in_progress`, `.queued`, or anything else | `Live` |
//! | `Live` | items, parts, deltas | `Over` at the terminal event, an error, or where the bytes end |
//! | `Over` | nothing | |
//!
//! Within an item ([`What`]) the order is: added, deltas, `done` of its parts, `done`. Whatever
//! comes of these suffices.

use crate::canonical::event::{Block, Decode, Event, Finish, Note, Reason, Sink, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::error::classify;
use crate::error::{Error, Kind};
use crate::formats::responses::error;
use crate::formats::responses::stream::slot::{Sent, Slot, What, locate, position};
use crate::formats::responses::stream::whole::{
    cite, is_refusal, part_of, push_input, string, whole_input, whole_part, whole_reasoning,
};
use crate::formats::responses::tap;
use crate::json::{RawStr, RawValue, Tape};
use crate::reasoning::envelope::Seal;
use crate::sse::Frame;
use crate::target::quirks::Quirks;

/// Most items of one answer, those included that cannot be shown.
const ITEMS_MAX: usize = 4096;

/// Reads a provider's stream.
#[derive(Debug, Default)]
pub struct Decoder {
    phase: Phase,
    /// In order of appearance. One as a rule.
    open: Vec<Slot>,
    /// `output_index` of all items that were seen.
    seen: Vec<u64>,
    /// The next number in canonical form.
    next: u32,
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
    /// `content_index` or `summary_index`.
    part_index: u64,
    delta: RawStr<'a>,
    /// The whole of what deltas told: `text`, `refusal`, `arguments` or `input`.
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
                return self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
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

    /// Items that only the end tells of. Some backends leave the list empty, and others number all
    /// items alike: what was seen before is the truth.
    fn late_items(&mut self, response: RawValue<'_>, sink: Sink<'_>) {
        let items = || response.find("output").into_iter().flat_map(RawValue::elements);
        if items().count() <= self.seen.len() {
            return;
        }
        for (n, (item, _)) in (0u64..).zip(items()) {
            if !self.seen.contains(&n) {
                self.item_done(Some(n), item, sink);
            }
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
            None => Error::upstream(Kind::UpstreamFault, "the upstream gave the answer up without saying why"),
        };
        self.fail(error, sink);
    }

    fn item_added(&mut self, index: Option<u64>, item: RawValue<'_>, sink: Sink<'_>) {
        let index = index.unwrap_or(self.seen.len() as u64);
        if let Some(at) = self.open.iter().position(|slot| slot.index == index) {
            // A host that does not count, or that forgot to end the item before.
            let slot = self.open.remove(at);
            sink(Event::Note(Note::Disorder));
            self.close(slot, Status::Complete, sink);
        }
        if self.seen.len() >= ITEMS_MAX {
            let note = format!("the upstream's answer has more than {ITEMS_MAX} items");
            return self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
        }
        self.seen.push(index);
        let what = match string(item, "type").unwrap_or_default().as_bytes() {
            b"message" => What::Message(Vec::new()),
            b"reasoning" => {
                let ix = self.take_number();
                sink(Event::Open { ix, block: Block::Reasoning { id: string(item, "id").unwrap_or_default() } });
                What::Reasoning { ix, part: None, number: 0, sent: Sent::default() }
            }
            b"function_call" => self.tool(CallKind::Function, item, sink),
            b"custom_tool_call" => self.tool(CallKind::Custom, item, sink),
            _ => {
                sink(Event::Note(Note::DroppedOutput));
                What::Foreign
            }
        };
        let id = string(item, "id").unwrap_or_default().as_bytes().to_vec();
        self.open.push(Slot { index, id, what });
    }

    fn take_number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    fn tool(&mut self, kind: CallKind, item: RawValue<'_>, sink: Sink<'_>) -> What {
        let text = |key| string(item, key).unwrap_or_default();
        let (id, name) = (text("call_id"), text("name"));
        if name.is_empty() {
            return What::Late;
        }
        let id = if id.is_empty() { text("id") } else { id };
        let ix = self.take_number();
        sink(Event::Open { ix, block: Block::Tool { kind, id, name, namespace: None } });
        What::Tool { ix, sent: Sent::default() }
    }

    /// The item as a whole: says what was not said before, and ends it.
    fn item_done(&mut self, index: Option<u64>, item: RawValue<'_>, sink: Sink<'_>) {
        let id = string(item, "id").unwrap_or_default();
        let at = match position(&self.open, index, id) {
            Some(at) if matches!(self.open[at].what, What::Late) => {
                let late = self.open.remove(at);
                self.seen.retain(|n| *n != late.index);
                self.item_added(Some(late.index), item, sink);
                self.open.len().checked_sub(1)
            }
            Some(at) => Some(at),
            None => {
                self.item_added(index, item, sink);
                self.open.len().checked_sub(1)
            }
        };
        let Some(at) = at else { return };
        let mut slot = self.open.remove(at);
        match &mut slot.what {
            What::Message(parts) => {
                let list = || item.find("content").into_iter().flat_map(RawValue::elements);
                // Some hosts count parts over all items.
                let first = parts.first().map_or(0, |part| part.index);
                let first = if first >= list().count() as u64 { first } else { 0 };
                for (n, (part, _)) in (first..).zip(list()) {
                    whole_part(parts, n, part, &mut self.next, sink);
                }
            }
            What::Reasoning { ix, part, number, sent } => {
                whole_reasoning(*ix, item, (*part, *number, *sent), sink);
                let state = string(item, "encrypted_content").filter(|state| !state.is_empty());
                if let Some(raw) = state {
                    sink(Event::Opaque { ix: *ix, seal: Seal::Encrypted, raw });
                }
            }
            What::Tool { ix, sent } => whole_input(*ix, sent, item, sink),
            What::Late | What::Foreign => {}
        }
        let cut = item.find("status").is_some_and(|status| status.eq_str("incomplete"));
        self.close(slot, if cut { Status::Incomplete } else { Status::Complete }, sink);
    }

    fn close(&mut self, slot: Slot, status: Status, sink: Sink<'_>) {
        match slot.what {
            What::Message(parts) => {
                for part in parts.iter().filter(|part| !part.closed) {
                    sink(Event::Close { ix: part.ix, status });
                }
            }
            What::Reasoning { ix, .. } | What::Tool { ix, .. } => sink(Event::Close { ix, status }),
            // A call that never had a name cannot be made.
            What::Late => sink(Event::Note(Note::DroppedOutput)),
            What::Foreign => {}
        }
    }

    /// A delta of a text or refusal, or the rest of one that was told whole.
    fn text(&mut self, fields: &Fields<'_>, refusal: bool, whole: bool, sink: Sink<'_>) {
        let Decoder { open, next, .. } = self;
        let Some(slot) = locate(open, fields.output_index, fields.item_id) else {
            return sink(Event::Note(Note::Disorder));
        };
        let What::Message(parts) = &mut slot.what else { return sink(Event::Note(Note::Disorder)) };
        let Some(part) = part_of(parts, fields.part_index, refusal, next, sink) else { return };
        let raw = if whole { part.sent.rest(fields.whole, sink) } else { fields.delta };
        part.push(raw, sink);
        if !whole && let Some(logprobs) = fields.logprobs {
            part.logprobs(logprobs, sink);
        }
    }

    /// A delta of reasoning, or the rest of a part that was told whole.
    fn reason(&mut self, fields: &Fields<'_>, kind: ReasoningKind, whole: bool, sink: Sink<'_>) {
        let Some(slot) = locate(&mut self.open, fields.output_index, fields.item_id) else {
            return sink(Event::Note(Note::Disorder));
        };
        let What::Reasoning { ix, part, number, sent } = &mut slot.what else {
            return sink(Event::Note(Note::Disorder));
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

    /// A delta of a tool's input, or the rest of one that was told whole.
    fn input(&mut self, fields: &Fields<'_>, whole: bool, sink: Sink<'_>) {
        let Some(slot) = locate(&mut self.open, fields.output_index, fields.item_id) else {
            return sink(Event::Note(Note::Disorder));
        };
        let What::Tool { ix, sent } = &mut slot.what else {
            // Told again at the end of the item.
            return;
        };
        let raw = if whole { sent.rest(fields.whole, sink) } else { fields.delta };
        push_input(*ix, sent, raw, sink);
    }

    fn cite(&mut self, fields: &Fields<'_>, sink: Sink<'_>) {
        let Decoder { open, next, .. } = self;
        let Some(annotation) = fields.annotation else { return };
        let Some(Slot { what: What::Message(parts), .. }) = locate(open, fields.output_index, fields.item_id) else {
            return sink(Event::Note(Note::Disorder));
        };
        if let Some(part) = part_of(parts, fields.part_index, false, next, sink) {
            part.cited = true;
            cite(part.ix, annotation, sink);
        }
    }

    fn part_added(&mut self, fields: &Fields<'_>, sink: Sink<'_>) {
        let Decoder { open, next, .. } = self;
        let Some(part) = fields.part else { return };
        let Some(Slot { what: What::Message(parts), .. }) = locate(open, fields.output_index, fields.item_id) else {
            return;
        };
        if let Some(refusal) = is_refusal(part) {
            part_of(parts, fields.part_index, refusal, next, sink);
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
                match error::of(event) {
                    Some(read) => self.fail(classify::error(None, &read), sink),
                    // A host that was asked for a stream and answers with the whole in one event.
                    None if event.find("object").is_some_and(|object| object.eq_str("response")) => {
                        self.response(event, sink);
                    }
                    None if kind.is_empty() => sink(Event::Note(Note::UnknownEvent)),
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
        let result = tape.read(data).map(|event| self.document(event, frame.event, sink)).map_err(classify::not_json);
        self.tape = tape;
        result
    }

    fn end(&mut self, sink: Sink<'_>) {
        // Only the terminal event is an end.
        let note = "the upstream closed the stream before its end";
        self.fail(Error::upstream(Kind::UpstreamTruncated, note), sink);
    }
}

fn incomplete(response: RawValue<'_>, sink: Sink<'_>) -> Finish<'static> {
    let reason = response.path(&["incomplete_details", "reason"]).and_then(RawValue::as_str).unwrap_or_default();
    Finish::of(match reason.as_bytes() {
        b"max_output_tokens" | b"max_tokens" => Reason::Length,
        b"content_filter" => Reason::Refusal,
        _ => {
            sink(Event::Note(Note::UnknownFinish));
            // Whatever the reason: the provider says that the answer was cut.
            Reason::Length
        }
    })
}

/// Events that say nothing which another does not say: progress, the ends of parts, and what tools
/// of the vendor do.
fn is_noise(kind: &[u8]) -> bool {
    const ENDS: &[&[u8]] = &[b"_part.added", b"_part.done", b".in_progress", b".searching", b".completed", b".failed"];
    const TOOLS: &[&[u8]] =
        &[b"code_interpreter", b"image_generation", b"mcp_", b"web_search", b"file_search", b"shell_", b"apply_patch"];
    kind == b"keepalive"
        || ENDS.iter().any(|end| kind.ends_with(end))
        || TOOLS.iter().any(|tool| kind.starts_with(tool))
}

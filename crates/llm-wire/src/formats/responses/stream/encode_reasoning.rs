//! The events of a reasoning item and its parts.

use super::encode::{Encoder, OutputItem, ReasoningPart};
use crate::canonical::event::Event;
use crate::canonical::request::ReasoningKind;
use crate::formats::responses::output;
use crate::formats::responses::stream::write::{Place, Writer};
use crate::json::RawStr;
use crate::response::whole::AnswerKind;
use crate::target::plan::Reply;

impl Encoder {
    /// Writes reasoning text. Parts follow one another, so that a new one ends the one before.
    pub(super) fn reasoning(
        &mut self,
        ix: u32,
        part: u32,
        kind: ReasoningKind,
        raw: RawStr<'_>,
        reply: &mut Reply,
        out: &mut Vec<u8>,
    ) {
        let Some(output_index) = self.live(ix, reply, out) else { return };
        let slot = &mut self.slots[ix as usize];
        let flowing = slot.reasoning.filter(|reasoning| (reasoning.part, reasoning.kind) == (part, kind));
        let reasoning = match flowing {
            Some(reasoning) => reasoning,
            None => {
                let nth = slot.reasoning.map_or(0, |before| before.nth + 1);
                let count = if kind == ReasoningKind::Summary { &mut slot.summaries } else { &mut slot.contents };
                let index = std::mem::replace(count, *count + 1);
                self.end_reasoning(ix, output_index, out);
                let reasoning = ReasoningPart { part, kind, nth, index };
                self.slots[ix as usize].reasoning = Some(reasoning);
                self.reasoning_event(reasoning, output_index, ReasoningEvent::Added, out);
                reasoning
            }
        };
        let item = &self.shown[output_index];
        let (_, delta, ..) = names(kind);
        Writer { out, number: &mut self.number }.delta(delta, reasoning.place(item, output_index), raw, b"");
        self.answer.take(&Event::Reason { ix, part: reasoning.nth, kind, raw });
    }

    /// Ends the part of reasoning that is open, if there is one.
    pub(super) fn end_reasoning(&mut self, ix: u32, output_index: usize, out: &mut Vec<u8>) {
        if let Some(reasoning) = self.slots[ix as usize].reasoning {
            self.reasoning_event(reasoning, output_index, ReasoningEvent::TextDone, out);
            self.reasoning_event(reasoning, output_index, ReasoningEvent::Done, out);
        }
    }

    fn reasoning_event(
        &mut self,
        reasoning: ReasoningPart,
        output_index: usize,
        event: ReasoningEvent,
        out: &mut Vec<u8>,
    ) {
        let Encoder { answer, shown, number, .. } = self;
        let item = &shown[output_index];
        let Some(ix) = item.items.first() else { return };
        let AnswerKind::Reasoning { parts, .. } = &answer.items[*ix].kind else { return };
        let text = parts.iter().find(|part| part.part == reasoning.nth).map(|part| part.text.as_slice());
        let text = text.unwrap_or_default();
        let (added, _, text_done, done) = names(reasoning.kind);
        let name = match event {
            ReasoningEvent::Added => added,
            ReasoningEvent::TextDone => text_done,
            ReasoningEvent::Done => done,
        };
        Writer { out, number }.event(name, |o| {
            reasoning.place(item, output_index).write(o);
            match event {
                ReasoningEvent::TextDone => o.raw_str("text", RawStr::new(text)),
                _ => o.object("part", |o| output::reasoning_part(o, reasoning.kind, text)),
            }
        });
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReasoningEvent {
    Added,
    TextDone,
    Done,
}

impl ReasoningPart {
    fn place<'s>(&self, item: &'s OutputItem, output_index: usize) -> Place<'s> {
        let name = match self.kind {
            ReasoningKind::Summary => "summary_index",
            ReasoningKind::Full => "content_index",
        };
        Place { item_id: &item.id, output_index: output_index as u64, part: Some((name, self.index)) }
    }
}

/// Returns the names of the events of a reasoning part: its start, a delta, the end of its text,
/// its end.
fn names(kind: ReasoningKind) -> (&'static str, &'static str, &'static str, &'static str) {
    match kind {
        ReasoningKind::Summary => (
            "response.reasoning_summary_part.added",
            "response.reasoning_summary_text.delta",
            "response.reasoning_summary_text.done",
            "response.reasoning_summary_part.done",
        ),
        ReasoningKind::Full => (
            "response.content_part.added",
            "response.reasoning_text.delta",
            "response.reasoning_text.done",
            "response.content_part.done",
        ),
    }
}

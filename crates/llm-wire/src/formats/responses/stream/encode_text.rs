//! The events of the parts of a message.

use super::encode::{Encoder, Slot, State, content};
use crate::formats::responses::output;
use crate::formats::responses::stream::write::{Place, Writer};
use crate::json::{RawStr, RawValue};
use crate::response::whole::AnswerKind;
use crate::target::plan::Reply;

/// The members after a delta of text.
const NO_LOGPROBS: &[u8] = b",\"logprobs\":[]";

impl Encoder {
    /// An event of the part of a message, with the part in it.
    pub(super) fn part(&mut self, name: &str, ix: u32, output_index: usize, empty: bool, out: &mut Vec<u8>) {
        let Encoder { answer, shown, slots, number, .. } = self;
        let kind = &answer.items[ix as usize].kind;
        let nothing = match kind {
            AnswerKind::Refusal { .. } => AnswerKind::Refusal { text: Vec::new() },
            _ => AnswerKind::Text { text: Vec::new(), cites: Vec::new(), logprobs: Vec::new() },
        };
        let place = content(&shown[output_index], output_index, &slots[ix as usize]);
        Writer { out, number }.event(name, |o| {
            place.write(o);
            o.object("part", |o| output::part(o, if empty { &nothing } else { kind }));
        });
    }

    /// Writes a delta of a text, a refusal or a tool's input. `name` is that of the event.
    pub(super) fn text(&mut self, ix: u32, name: &str, raw: RawStr<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        let Some(output_index) = self.live(ix, reply, out) else { return };
        let is_call = matches!(self.answer.items[ix as usize].kind, AnswerKind::Tool { .. });
        let place = content(&self.shown[output_index], output_index, &self.slots[ix as usize]);
        let place = Place { part: place.part.filter(|_| !is_call), ..place };
        let tail = if name == "response.output_text.delta" { NO_LOGPROBS } else { b"" };
        Writer { out, number: &mut self.number }.delta(name, place, raw, tail);
    }

    /// Log probabilities come behind their text: a delta of nothing else.
    pub(super) fn logprobs(&mut self, ix: u32, raw: RawValue<'_>, out: &mut Vec<u8>) {
        let Some(slot @ Slot { state: State::Live { output_index }, .. }) = self.slots.get(ix as usize) else { return };
        let place = content(&self.shown[*output_index], *output_index, slot);
        let mut tail = b",\"logprobs\":".to_vec();
        tail.extend_from_slice(&output::logprobs(raw));
        Writer { out, number: &mut self.number }.delta("response.output_text.delta", place, RawStr::default(), &tail);
    }

    /// The links of a text, whose range may be all of it, and the text as a whole.
    pub(super) fn text_done(&mut self, ix: u32, output_index: usize, out: &mut Vec<u8>) {
        let Encoder { answer, shown, slots, number, .. } = self;
        let place = content(&shown[output_index], output_index, &slots[ix as usize]);
        let mut writer = Writer { out, number };
        match &answer.items[ix as usize].kind {
            AnswerKind::Text { text, cites, logprobs } => {
                for (n, cite) in (0u64..).zip(cites) {
                    writer.event("response.output_text.annotation.added", |o| {
                        place.write(o);
                        o.u64("annotation_index", n);
                        o.object("annotation", |o| output::annotation(o, cite, text));
                    });
                }
                writer.event("response.output_text.done", |o| {
                    place.write(o);
                    o.raw_str("text", RawStr::new(text));
                    output::write_logprobs(o, logprobs);
                });
            }
            AnswerKind::Refusal { text } => writer.event("response.refusal.done", |o| {
                place.write(o);
                o.raw_str("refusal", RawStr::new(text));
            }),
            _ => {}
        }
    }
}

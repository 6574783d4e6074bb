//! Reads whole answers, of those that repeat a structure without a walk.

use crate::canonical::event::Reason;
use crate::canonical::usage::{MAX_DIGITS, NumberNames, Usage};
use crate::format::Format;
use crate::json::RawValue;
use crate::json::template::{Spot, Value, number_before};
use crate::passthrough::document_templates::DocumentTemplates;
use crate::passthrough::tap;

/// The structures of the answers of one format that a worker has read.
#[derive(Debug, Default)]
pub struct AnswerTemplates(DocumentTemplates<Members>);

/// What records need of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerFacts<'a> {
    /// The member `usage`.
    pub usage: Option<RawValue<'a>>,
    /// What it says, where the structure of the answer shows that without reading it.
    pub counted: Option<Usage>,
    /// The member `model`.
    pub model: Option<RawValue<'a>>,
    /// Why the answer ended.
    pub reason: Option<Reason>,
    /// Whether its member `error` is another than null.
    pub has_error: bool,
}

#[derive(Debug)]
struct Members {
    usage: Option<Spot>,
    /// The names of the numbers in it, each of which is a hole.
    numbers: Option<NumberNames>,
    model: Option<Spot>,
    reason: Option<Reason>,
}

/// Returns whether a value may be another in the next answer of the same structure: not one of the
/// words by which an answer is judged and its end explained.
fn is_hole(value: &Value<'_>) -> bool {
    !matches!(
        value.key,
        b"type" | b"object" | b"status" | b"finish_reason" | b"stop_reason" | b"reason" | b"role" | b"error" | b"model"
    )
}

impl AnswerTemplates {
    /// Returns the facts of an answer whose structure is that of one that was learned.
    pub fn find<'b>(&mut self, body: &'b [u8]) -> Option<AnswerFacts<'b>> {
        let (members, places) = self.0.find(body)?;
        let value = |spot: Option<Spot>| spot.map(|spot| RawValue::new(&body[spot.in_match(places)]));
        let counted = members.usage.zip(members.numbers.as_ref()).and_then(|(spot, names)| {
            let numbers = spot.holes().map(|hole| number_before(body, places[hole + 1], MAX_DIGITS));
            Usage::from_numbers(names, numbers)
        });
        let (usage, model) = (value(members.usage), value(members.model));
        Some(AnswerFacts { usage, counted, model, reason: members.reason, has_error: false })
    }

    /// Learns from an answer that was not found, and that is whole and no error. The facts are
    /// parts of it.
    pub fn learn(&mut self, format: Format, body: &[u8], facts: &AnswerFacts<'_>) {
        self.0.learn(body, is_hole, |spot| {
            let place = |value: Option<RawValue<'_>>| match value {
                None => Some(None),
                Some(value) => {
                    let start = (value.bytes().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
                    spot(start..start + value.bytes().len()).map(Some)
                }
            };
            let usage = place(facts.usage)?;
            let is_all = |names: &NumberNames| usage.is_some_and(|spot| spot.holes().len() == names.numbers());
            let numbers = facts.usage.and_then(|raw| tap::number_names(format, raw)).filter(is_all);
            Some(Members { usage, numbers, model: place(facts.model)?, reason: facts.reason })
        });
    }
}

//! Reads whole answers, of those that repeat a structure without a walk.

use crate::canonical::event::Reason;
use crate::json::RawValue;
use crate::json::template::{Spot, Value};
use crate::passthrough::document_templates::DocumentTemplates;

/// The structures of the answers of one format that a worker has read.
#[derive(Debug, Default)]
pub struct AnswerTemplates(DocumentTemplates<Members>);

/// What records need of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerFacts<'a> {
    /// The member `usage`.
    pub usage: Option<RawValue<'a>>,
    /// The member `model`.
    pub model: Option<RawValue<'a>>,
    /// Why the answer ended.
    pub reason: Option<Reason>,
}

#[derive(Debug)]
struct Members {
    usage: Option<Spot>,
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
        Some(AnswerFacts { usage: value(members.usage), model: value(members.model), reason: members.reason })
    }

    /// Learns from an answer that was not found, and that is whole and no error. The facts are parts
    /// of it.
    pub fn learn(&mut self, body: &[u8], facts: &AnswerFacts<'_>) {
        self.0.learn(body, is_hole, |spot| {
            let place = |value: Option<RawValue<'_>>| match value {
                None => Some(None),
                Some(value) => {
                    let start = (value.bytes().as_ptr() as usize).checked_sub(body.as_ptr() as usize)?;
                    spot(start..start + value.bytes().len()).map(Some)
                }
            };
            Some(Members { usage: place(facts.usage)?, model: place(facts.model)?, reason: facts.reason })
        });
    }
}

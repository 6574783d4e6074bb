//! The open items of a provider's stream, and what of each was passed on.
//!
//! A provider says everything two or three times: in deltas, in the `done` event of the part, and
//! in the item as a whole. [`Sent`] tells what a later telling adds.

use crate::canonical::event::{Event, Note, Sink};
use crate::canonical::request::ReasoningKind;
use crate::json::RawStr;

/// What was passed on of one text: its length and a hash, so that nothing has to be kept.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    len: usize,
    hash: u64,
}

impl Sent {
    pub fn add(&mut self, raw: RawStr<'_>) {
        self.len += raw.len();
        self.hash = hash(self.hash, raw.as_bytes());
    }

    /// What a whole text has beyond what was sent. A text that begins otherwise adds nothing: bytes
    /// cannot be taken back.
    pub fn rest<'a>(&self, whole: RawStr<'a>, sink: Sink<'_>) -> RawStr<'a> {
        let bytes = whole.as_bytes();
        match bytes.split_at_checked(self.len) {
            Some((sent, rest)) if hash(0, sent) == self.hash => RawStr::new(rest),
            // A host that leaves its `done` texts empty contradicts nothing.
            _ if bytes.is_empty() => RawStr::default(),
            _ => {
                sink(Event::Note(Note::Disorder));
                RawStr::default()
            }
        }
    }
}

/// FNV-1a from a state. Equal for equal bytes however they were cut; nobody gains by a collision.
fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |hash, byte| (hash ^ u64::from(*byte) ^ 0x5bd1).wrapping_mul(0x0100_0000_01b3))
}

/// An item that has not ended.
#[derive(Debug)]
pub(super) struct Slot {
    /// `output_index`.
    pub index: u64,
    /// The item's id, escaped.
    pub id: Vec<u8>,
    pub what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// Each part of a message is an item of its own in the canonical form.
    Message(Vec<Part>),
    Reasoning {
        ix: u32,
        /// The part that flows: kind and index, and its number among all parts.
        part: Option<(ReasoningKind, u64)>,
        number: u32,
        sent: Sent,
    },
    Tool {
        ix: u32,
        sent: Sent,
    },
    /// Known by its end alone: its name has not come yet.
    Late,
    /// What no other format can show.
    Foreign,
}

/// A content part of a message.
#[derive(Debug)]
pub(super) struct Part {
    /// `content_index`.
    pub index: u64,
    pub ix: u32,
    pub refusal: bool,
    pub sent: Sent,
    pub cited: bool,
    pub logprobs: bool,
    pub closed: bool,
}

/// The open item that an event means. Some hosts change the ids from event to event, others leave
/// the index out.
pub(super) fn position(open: &[Slot], index: Option<u64>, id: RawStr<'_>) -> Option<usize> {
    match index {
        Some(index) => open.iter().rposition(|slot| slot.index == index),
        None if !id.is_empty() => open.iter().rposition(|slot| slot.id == id.as_bytes()),
        None => open.len().checked_sub(1),
    }
}

pub(super) fn locate<'o>(open: &'o mut [Slot], index: Option<u64>, id: RawStr<'_>) -> Option<&'o mut Slot> {
    let at = position(open, index, id)?;
    open.get_mut(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_tellings_add_what_is_new() {
        let raw = |text: &'static str| RawStr::new(text.as_bytes());
        let rows: &[(&[&str], &str, &str, bool)] = &[
            (&[], "", "", false),
            (&[], "all", "all", false),
            (&["al", "l"], "all", "", false),
            (&["a"], "all", "ll", false),
            (&["a", "l"], "", "", false),
            (&["b"], "all", "", true),
            (&["all", "of"], "all", "", true),
        ];
        for (deltas, whole, rest, odd) in rows {
            let (mut sent, mut notes) = (Sent::default(), 0);
            deltas.iter().for_each(|delta| sent.add(raw(delta)));
            assert_eq!(sent.rest(raw(whole), &mut |_| notes += 1).as_bytes(), rest.as_bytes(), "{deltas:?} {whole}");
            assert_eq!(notes == 1, *odd, "{deltas:?} {whole}");
        }
    }
}

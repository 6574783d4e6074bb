//! The open items of a provider's stream, and what of each was passed on.
//!
//! A provider sends everything two or three times: in deltas, in the `done` event of the part, and
//! in the item as a whole. [`Sent`] returns what a later copy adds.

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
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn is_same(&self, other: &Sent) -> bool {
        self.len == other.len && self.hash == other.hash
    }

    pub(super) fn add(&mut self, raw: RawStr<'_>) {
        self.len += raw.len();
        self.hash = hash(self.hash, raw.as_bytes());
    }

    /// What a whole text has beyond what was sent. A text that begins otherwise adds nothing: bytes
    /// cannot be taken back.
    pub(super) fn rest<'a>(&self, whole: RawStr<'a>, sink: Sink<'_>) -> RawStr<'a> {
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

/// An item, open or ended.
#[derive(Debug)]
pub(super) struct Slot {
    /// `output_index`.
    pub index: u64,
    /// The item's id, escaped. Empty where it is not known.
    pub id: Vec<u8>,
    pub content: SlotContent,
    /// No `output_item.added` has announced it so far: it began with something of its own.
    pub implicit: bool,
}

impl Slot {
    /// Whether the slot may be the item of this id: hosts leave ids out.
    fn may_be(&self, id: RawStr<'_>) -> bool {
        self.id.is_empty() || id.is_empty() || self.id == id.as_bytes()
    }

    fn is(&self, id: RawStr<'_>) -> bool {
        !id.is_empty() && self.id == id.as_bytes()
    }
}

#[derive(Debug)]
pub(super) enum SlotContent {
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
        /// `call_id`, escaped.
        call_id: Vec<u8>,
    },
    /// A call whose name has not come: its name from an `arguments.done`, and its input so far,
    /// escaped.
    Undeclared { name: Vec<u8>, input: Vec<u8> },
    /// What no other format can show.
    Foreign,
}

/// The kinds of items that are distinguished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Message,
    Reasoning,
    Tool,
    Foreign,
}

impl SlotContent {
    pub(super) fn kind(&self) -> Kind {
        match self {
            SlotContent::Message(_) => Kind::Message,
            SlotContent::Reasoning { .. } => Kind::Reasoning,
            SlotContent::Tool { .. } | SlotContent::Undeclared { .. } => Kind::Tool,
            SlotContent::Foreign => Kind::Foreign,
        }
    }
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

/// The open item of this kind that an event means. Some hosts change the ids from event to event,
/// others leave the index out, or give the same to all.
pub(super) fn open_at(open: &[Slot], index: Option<u64>, id: RawStr<'_>, kind: Kind) -> Option<usize> {
    let of_kind = |slot: &Slot| slot.content.kind() == kind;
    let by_id = open.iter().rposition(|slot| of_kind(slot) && slot.is(id));
    by_id.or_else(|| match index {
        Some(index) => open.iter().rposition(|slot| of_kind(slot) && slot.index == index),
        None if id.is_empty() => open.iter().rposition(of_kind),
        None => None,
    })
}

/// The ended item of this kind that an event means.
pub(super) fn closed_at(closed: &[Slot], index: Option<u64>, id: RawStr<'_>, kind: Kind) -> Option<usize> {
    let of_kind = |slot: &Slot| slot.content.kind() == kind;
    let by_id = closed.iter().rposition(|slot| of_kind(slot) && slot.is(id));
    let same = |slot: &Slot| of_kind(slot) && Some(slot.index) == index && slot.may_be(id);
    by_id.or_else(|| closed.iter().rposition(same))
}

/// How far an answer has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// The next item's number in canonical form.
    pub next: u32,
    /// All text and refusals that were passed on, whatever their items: what the terminal event is
    /// compared with.
    pub text: Sent,
}

impl Progress {
    pub(super) fn take_number(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_items_add_only_what_is_new() {
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

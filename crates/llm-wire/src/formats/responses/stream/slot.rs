//! The open items of a provider's stream, and what of each was passed on.
//!
//! A provider sends everything two or three times: in deltas, in the `done` event of the part, and
//! in the item as a whole. [`Sent`] returns what a later copy adds.

use crate::canonical::codec::Sink;
use crate::canonical::event::{Event, Note};
use crate::canonical::request::ReasoningKind;
use crate::json::RawStr;

/// How much was passed on of one text: its length in UTF-16 units and a hash of them, so that
/// nothing has to be kept. Units, since a text may be escaped in one way in its deltas and in
/// another where it is repeated, and a surrogate pair may be split over two deltas.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sent {
    len: usize,
    hash: u64,
}

impl Sent {
    /// Returns whether nothing was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns whether the same was sent.
    pub(super) fn is_same(&self, other: &Sent) -> bool {
        self.len == other.len && self.hash == other.hash
    }

    /// Adds text that was sent.
    pub(super) fn add(&mut self, raw: RawStr<'_>) {
        Units(raw.as_bytes()).for_each(|unit| self.push(unit));
    }

    /// Adds the beginning of a text, until as much was added as `whole` has. Returns the rest.
    pub(super) fn add_within<'a>(&mut self, raw: RawStr<'a>, whole: &Sent) -> RawStr<'a> {
        let mut units = Units(raw.as_bytes());
        while self.len < whole.len
            && let Some(unit) = units.next()
        {
            self.push(unit);
        }
        RawStr::new(units.0)
    }

    /// Returns what a whole text has beyond what was sent. A text that begins otherwise adds
    /// nothing: bytes cannot be taken back.
    pub(super) fn rest<'a>(&self, whole: RawStr<'a>, sink: Sink<'_>) -> RawStr<'a> {
        let mut begin = Sent::default();
        let rest = begin.add_within(whole, self);
        // A host that leaves its `done` texts empty contradicts nothing.
        if begin.is_same(self) || whole.is_empty() {
            return rest;
        }
        sink(Event::Note(Note::Disorder));
        RawStr::default()
    }

    /// FNV-1a. Equal for equal texts however they were cut; nobody gains by a collision.
    fn push(&mut self, unit: [u16; 2]) {
        for unit in unit.into_iter().filter(|unit| *unit != NO_UNIT) {
            self.len += 1;
            self.hash = (self.hash ^ u64::from(unit) ^ 0x5bd1).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A unit that no text has: a character outside of the first plane has two units, others have one.
const NO_UNIT: u16 = 0xffff;

/// The characters of an escaped body as UTF-16 units. What is left is `.0`.
struct Units<'a>(&'a [u8]);

impl Iterator for Units<'_> {
    type Item = [u16; 2];

    fn next(&mut self) -> Option<[u16; 2]> {
        let (unit, len) = match *self.0 {
            [] => return None,
            [byte, ..] if byte < 0x80 && byte != b'\\' => (u16::from(byte), 1),
            [b'\\', b'u', a, b, c, d, ..] => {
                let digits = [a, b, c, d].map(|digit| char::from(digit).to_digit(16).unwrap_or(0) as u16);
                (digits.into_iter().fold(0, |unit, digit| unit << 4 | digit), 6)
            }
            [b'\\', escape, ..] => {
                let unit = match escape {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'b' => 8,
                    b'f' => 12,
                    plain => plain,
                };
                (u16::from(unit), 2)
            }
            [byte, ..] if byte < 0x80 => (u16::from(byte), 1),
            [byte, ..] => {
                let len = if byte >= 0xf0 {
                    4
                } else if byte >= 0xe0 {
                    3
                } else {
                    2
                };
                let bytes = self.0.get(..len).unwrap_or(self.0);
                self.0 = &self.0[bytes.len()..];
                let char = std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next());
                let mut units = [NO_UNIT; 2];
                char.unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf16(&mut units);
                return Some(units);
            }
        };
        self.0 = &self.0[len..];
        Some([unit, NO_UNIT])
    }
}

/// Text that a whole copy had in advance of the deltas: some hosts send `done` before the last of
/// them, or begin an item with its text. The deltas that bring it again add nothing.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// The item in canonical form.
    ix: u32,
    raw: Vec<u8>,
}

/// Most bytes that are compared with later deltas.
const AHEAD_MAX: usize = 1 << 20;

impl Ahead {
    /// Remembers what a whole copy added. Of several items the last counts.
    pub(super) fn set(&mut self, ix: u32, raw: RawStr<'_>) {
        self.raw.clear();
        if raw.len() <= AHEAD_MAX {
            self.ix = ix;
            self.raw.extend_from_slice(raw.as_bytes());
        }
    }

    /// Returns what a delta adds. A delta that goes on otherwise is new text.
    pub(super) fn rest<'a>(&mut self, ix: u32, delta: RawStr<'a>) -> RawStr<'a> {
        if self.raw.is_empty() || self.ix != ix {
            return delta;
        }
        let bytes = delta.as_bytes();
        let both = bytes.len().min(self.raw.len());
        if bytes[..both] != self.raw[..both] {
            self.raw.clear();
            return delta;
        }
        self.raw.drain(..both);
        RawStr::new(&bytes[both..])
    }
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
    /// The input that came with the announcement of a call, escaped. It counts where no other
    /// comes: some hosts begin every call with `{}`.
    pub input: Vec<u8>,
}

impl Slot {
    /// Returns whether the slot may be the item of this id: hosts leave ids out.
    fn may_be(&self, id: RawStr<'_>) -> bool {
        self.id.is_empty() || id.is_empty() || self.id == id.as_bytes()
    }

    fn is(&self, id: RawStr<'_>) -> bool {
        !id.is_empty() && self.id == id.as_bytes()
    }
}

/// What an item is, and how much of it was passed on.
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
    /// escaped. `whole` if the input came as a whole, so that deltas add nothing.
    Undeclared { name: Vec<u8>, input: Vec<u8>, whole: bool },
    /// An item that no other format can show.
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
    /// Returns the kind of the item.
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

/// Returns the open item of this kind that an event means. Some hosts change the ids from event to
/// event, others leave the index out, or give the same to all.
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
    pub ahead: Ahead,
}

impl Progress {
    /// Returns the number of the next canonical item.
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
            (&["\\u0061", "\\/"], "a/l", "l", false),
            (&["a\u{e9}"], "\\u0061\\u00E9\\n", "\\n", false),
            (&["\\ud83d", "\\ude00"], "\u{1f600}!", "!", false),
            (&["\u{1f600}"], "\\uD83D\\uDE00", "", false),
            (&["\\ud83d"], "\u{1f600}!", "", true),
        ];
        for (deltas, whole, rest, odd) in rows {
            let (mut sent, mut notes) = (Sent::default(), 0);
            deltas.iter().for_each(|delta| sent.add(raw(delta)));
            assert_eq!(sent.rest(raw(whole), &mut |_| notes += 1).as_bytes(), rest.as_bytes(), "{deltas:?} {whole}");
            assert_eq!(notes == 1, *odd, "{deltas:?} {whole}");
        }
    }

    #[test]
    fn deltas_of_what_is_known_add_nothing() {
        let raw = |text: &'static str| RawStr::new(text.as_bytes());
        let rows: &[(&str, &[&str], &str)] = &[
            ("", &["a", "b"], "ab"),
            ("ello", &["ello"], ""),
            ("ello", &["el", "lo", "!"], "!"),
            ("ello", &["ello!"], "!"),
            ("ello", &["el", "x", "lo"], "xlo"),
            ("Hel", &["lo"], "lo"),
        ];
        for (known, deltas, added) in rows {
            let mut ahead = Ahead::default();
            ahead.set(3, raw(known));
            let new: Vec<&[u8]> = deltas.iter().map(|delta| ahead.rest(3, raw(delta)).as_bytes()).collect();
            assert_eq!(new.concat(), added.as_bytes(), "{known} {deltas:?}");
        }
        let mut ahead = Ahead::default();
        ahead.set(3, raw("ello"));
        assert_eq!(ahead.rest(4, raw("ello")).as_bytes(), b"ello", "another item");
    }
}

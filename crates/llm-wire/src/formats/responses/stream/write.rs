//! The events of a stream, byte for byte. One line of data each, since escaped text holds no line
//! end.

use crate::json::{RawStr, write};

/// Where events go, each with its number.
pub(super) struct Writer<'w> {
    pub out: &'w mut Vec<u8>,
    /// `sequence_number` of the next event.
    pub number: &'w mut u64,
}

/// The place of a delta: in an item, and there in a part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'p> {
    pub item_id: &'p str,
    pub output_index: u64,
    /// Name and value of the part's index; inputs of tools have none.
    pub part: Option<(&'static str, u64)>,
}

impl Place<'_> {
    /// Writes the members that name the place.
    pub(super) fn write(&self, o: &mut write::Object<'_>) {
        o.str("item_id", self.item_id);
        o.u64("output_index", self.output_index);
        if let Some((name, index)) = self.part {
            o.u64(name, index);
        }
    }
}

impl Writer<'_> {
    /// An event whose other members `fill` writes.
    pub(super) fn event(&mut self, name: &str, fill: impl FnOnce(&mut write::Object<'_>)) {
        self.begin(name);
        let number = std::mem::replace(self.number, *self.number + 1);
        write::object(self.out, |o| {
            o.str("type", name);
            o.u64("sequence_number", number);
            fill(o);
        });
        self.out.extend_from_slice(b"\n\n");
    }

    /// A delta. `tail` is what follows it in the object, from its comma on.
    pub(super) fn delta(&mut self, name: &str, place: Place<'_>, raw: RawStr<'_>, tail: &[u8]) {
        self.begin(name);
        self.out.extend_from_slice(b"{\"type\":\"");
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\",\"sequence_number\":");
        write::u64(self.out, std::mem::replace(self.number, *self.number + 1));
        self.out.extend_from_slice(b",\"item_id\":\"");
        self.out.extend_from_slice(place.item_id.as_bytes());
        self.out.extend_from_slice(b"\",\"output_index\":");
        write::u64(self.out, place.output_index);
        if let Some((name, index)) = place.part {
            self.out.extend_from_slice(b",\"");
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"\":");
            write::u64(self.out, index);
        }
        self.out.extend_from_slice(b",\"delta\":\"");
        self.out.extend_from_slice(raw.as_bytes());
        self.out.push(b'"');
        self.out.extend_from_slice(tail);
        self.out.extend_from_slice(b"}\n\n");
    }

    fn begin(&mut self, name: &str) {
        for word in ["event: ", name, "\ndata: "] {
            self.out.extend_from_slice(word.as_bytes());
        }
    }
}

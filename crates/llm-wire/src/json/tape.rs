//! What one pass over a document found, so that nothing in it is scanned again.
//!
//! [`Tape::read`] checks a document as [`RawValue::parse`] does and notes, in the order in which
//! they stand, where each value begins and ends, and how many values stand inside it. The
//! [`RawValue`] that it returns, and every value found in that, walks these notes: a member is
//! passed over by adding a number, however long it is. Without a tape each level of a document is
//! scanned once for itself and once more for each level around it.
//!
//! ```
//! use llm_wire::json::Tape;
//! let mut tape = Tape::default();
//! let body = tape.read(br#" {"messages":[{"role":"user"}]} "#).unwrap();
//! let (message, _) = body.find("messages").unwrap().elements().next().unwrap();
//! assert!(message.find("role").unwrap().eq_str("user"));
//! ```
//!
//! # Bounds
//!
//! `[1,1,1]` would make notes ten times its own size. A document with more values than
//! [`most_nodes`] allows keeps none of them: its values are scanned at each walk, as those of
//! [`RawValue::new`] are. So does one that is longer than positions in `u32` reach.

use super::fault::ScanError;
use super::node::Node;
use super::raw::{RawStr, RawValue};
use super::scan::{self, Visit};

/// A tape grown beyond this many nodes by one large document is given back at the next.
const KEEP_NODES: usize = 4096;

/// Room for a document with names spelled out beyond this is given back at the next.
const KEEP_BYTES: usize = 64 << 10;

/// Returns how many values a document of `len` bytes may have and still be noted: two and a half
/// bytes of notes for each of its own. What is said in words, or has names, stays far below.
fn most_nodes(len: usize) -> usize {
    match u32::try_from(len) {
        Ok(_) => len / 8 + 1024,
        Err(_) => 0,
    }
}

/// Room for the notes on one document at a time, to be used again for the next.
#[derive(Debug, Default)]
pub struct Tape {
    nodes: Vec<Node>,
    /// The last document with names spelled out: see [`Tape::read_spelled_out`].
    spelled_out: Vec<u8>,
}

impl Tape {
    /// Checks a whole document and takes it, less the white space around it. Finds the faults that
    /// [`scan::validate`] finds.
    pub fn read<'a>(&'a mut self, document: &'a [u8]) -> Result<RawValue<'a>, ScanError> {
        self.read_within(most_nodes(document.len()), document)
    }

    /// Does the same, for who compares the names of members as bytes: a name with letters that are
    /// escaped without need (`con\u0074ent`) is found as the name that it is. Where there are such,
    /// the value lies in the tape and not in the document.
    pub fn read_spelled_out<'a>(&'a mut self, document: &'a [u8]) -> Result<RawValue<'a>, ScanError> {
        let found = note(&mut self.nodes, most_nodes(document.len()), document)?;
        if found.has_escaped_key && spell_out(document, &mut self.spelled_out) {
            return self.read_own();
        }
        Ok(found.root(&self.nodes, document))
    }

    #[cold]
    fn read_own(&mut self) -> Result<RawValue<'_>, ScanError> {
        let found = note(&mut self.nodes, most_nodes(self.spelled_out.len()), &self.spelled_out)?;
        Ok(found.root(&self.nodes, &self.spelled_out))
    }

    /// Returns how many values of the last document are noted, or were before there were too many.
    #[cfg(any(test, fuzzing, feature = "testing"))]
    pub(super) fn noted(&self) -> usize {
        self.nodes.len()
    }

    /// [`Tape::read`] with another bound.
    pub(super) fn read_within<'a>(&'a mut self, most: usize, document: &'a [u8]) -> Result<RawValue<'a>, ScanError> {
        let found = note(&mut self.nodes, most, document)?;
        Ok(found.root(&self.nodes, document))
    }
}

/// What a reading has found beside the nodes.
struct Found {
    /// Every value is noted.
    is_whole: bool,
    has_escaped_key: bool,
}

impl Found {
    /// Returns the value of the document, less the white space around it, which is at the position
    /// of the first node.
    #[inline]
    fn root<'a>(&self, nodes: &'a [Node], document: &'a [u8]) -> RawValue<'a> {
        match nodes.split_first() {
            Some((root, inside)) if self.is_whole => RawValue::noted(&document[root.range()], inside),
            _ => RawValue::new(document.trim_ascii()),
        }
    }
}

/// Checks a whole document and notes what is in it.
#[inline]
fn note(nodes: &mut Vec<Node>, most: usize, document: &[u8]) -> Result<Found, ScanError> {
    nodes.clear();
    if nodes.capacity() > KEEP_NODES {
        *nodes = Vec::new();
    }
    let room = nodes.capacity().min(most);
    let mut notes = Notes { nodes, room, most, open: 0, base: 0, full: false, has_escaped_key: false };
    scan::validate_noting(document, &mut notes)?;
    Ok(Found { is_whole: !notes.full, has_escaped_key: notes.has_escaped_key })
}

/// Writes a document that is valid with all names spelled out that are words of ASCII. Returns
/// false if there are none that are escaped.
fn spell_out(document: &[u8], out: &mut Vec<u8>) -> bool {
    let mut keys = EscapedKeys::default();
    if scan::validate_noting(document, &mut keys).is_err() {
        return false;
    }
    if out.capacity() > KEEP_BYTES {
        *out = Vec::new();
    }
    out.clear();
    let mut from = 0;
    for (start, end) in keys.places {
        let key = RawStr::new(&document[start + 1..end - 1]);
        let name = key.unescape();
        let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
        if is_word {
            out.extend_from_slice(&document[from..start + 1]);
            out.extend_from_slice(name.as_bytes());
            from = end - 1;
        }
    }
    out.extend_from_slice(&document[from..]);
    from > 0
}

/// Gathers where the keys that have an escape begin and end.
#[derive(Default)]
struct EscapedKeys {
    places: Vec<(usize, usize)>,
    is_escaped: bool,
}

impl EscapedKeys {
    fn add(&mut self, key: (usize, usize)) {
        if std::mem::take(&mut self.is_escaped) {
            self.places.push(key);
        }
    }
}

impl Visit for EscapedKeys {
    fn scalar(&mut self, key: (usize, usize), _: usize, _: usize) {
        self.add(key);
    }

    fn open(&mut self, key: (usize, usize), _: usize) {
        self.add(key);
    }

    fn close(&mut self, _: usize) {}

    fn escaped_key(&mut self) {
        self.is_escaped = true;
    }
}

/// Writes nodes while the scanner goes over a document.
struct Notes<'t> {
    nodes: &'t mut Vec<Node>,
    /// How many nodes there may be until the next look at the bound, and how many at most.
    room: usize,
    most: usize,
    /// The number of the innermost open node, and where its value begins in the document.
    open: u32,
    base: usize,
    /// There were more values than may be noted. Nothing is noted any more.
    full: bool,
    has_escaped_key: bool,
}

impl Notes<'_> {
    /// Makes room for at least one node, never for more than the bound.
    #[cold]
    fn grow(&mut self) {
        let len = self.nodes.len();
        self.full |= len >= self.most;
        if !self.full {
            self.nodes.reserve_exact(len.max(64).min(self.most - len));
            self.room = self.nodes.capacity().min(self.most);
        }
    }

    /// `false` once there is no room.
    #[inline]
    fn has_room(&mut self) -> bool {
        if self.nodes.len() >= self.room {
            self.grow();
        }
        !self.full
    }

    /// Positions fit, since the document does.
    #[inline]
    fn node(&self, (key, key_end): (usize, usize), (at, end): (usize, usize), inside: u32) -> Node {
        let place = |pos: usize| pos.wrapping_sub(self.base) as u32;
        let key = if key == key_end { (0, 0) } else { (place(key), place(key_end)) };
        Node { key, value: (place(at), place(end)), inside }
    }
}

impl Visit for Notes<'_> {
    #[inline]
    fn scalar(&mut self, key: (usize, usize), at: usize, end: usize) {
        if self.has_room() {
            let node = self.node(key, (at, end), 0);
            self.nodes.push(node);
        }
    }

    #[inline]
    fn open(&mut self, key: (usize, usize), at: usize) {
        if self.has_room() {
            let node = self.node(key, (at, at), self.open);
            (self.open, self.base) = (self.nodes.len() as u32, at);
            self.nodes.push(node);
        }
    }

    #[inline]
    fn close(&mut self, end: usize) {
        let count = self.nodes.len() as u32;
        if self.full {
            return;
        }
        let Some(node) = self.nodes.get_mut(self.open as usize) else { return };
        let (base, number) = (self.base - node.value.0 as usize, self.open);
        node.value.1 = (end - base) as u32;
        self.open = std::mem::replace(&mut node.inside, count - number - 1);
        self.base = base;
    }

    #[cold]
    fn escaped_key(&mut self) {
        self.has_escaped_key = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{property, sample};
    use proptest::prelude::*;

    #[test]
    fn a_value_found_along_a_tape_knows_what_is_in_it() {
        let document = br#" { "a" : [ 1 , {"b":"\"]"} , [ ] ] , "\u0061":{"c":{"d":null}}, "e":[], "c":2 } "#;
        let mut tape = Tape::default();
        let root = tape.read(document).unwrap();
        assert_eq!(root.noted_inside(), 10);
        assert_eq!(root.members().map(|(_, value, _)| value.noted_inside()).collect::<Vec<_>>(), [4, 2, 0, 0]);
        assert_eq!(root.find("a").unwrap().bytes(), br#"{"c":{"d":null}}"#, "of two the last");
        assert_eq!(root.path(&["a", "c", "d"]).unwrap().bytes(), b"null");
        assert_eq!(root.elements().count() + root.find("e").unwrap().elements().count(), 0);
        property::tape_is_scan(document, 12);
    }

    #[test]
    fn faults_are_those_of_a_scan() {
        let mut tape = Tape::default();
        for document in [&b""[..], b"{\"a\":[1,2}", b"[1] x", b"\"\xff\"", b"[[1]", &[b'['; 1 << 10]] {
            assert_eq!(tape.read(document).map(drop), scan::validate(document));
        }
        assert_eq!(tape.read(b" 7 ").unwrap().bytes(), b"7");
    }

    /// A document that is nothing but values costs no more than in proportion to its length, and
    /// can still be read.
    #[test]
    fn a_tape_is_bounded_and_given_back() {
        let ones = [&b"["[..], &b"1,".repeat(1 << 20), b"1]"].concat();
        let mut tape = Tape::default();
        let root = tape.read(&ones).unwrap();
        assert_eq!((root.noted_inside(), root.elements().count()), (0, (1 << 20) + 1));
        assert!(tape.nodes.capacity() <= most_nodes(ones.len()));
        let words = [&b"["[..], &b"\"some\\nwords\",".repeat(1 << 16), b"1]"].concat();
        assert_eq!(tape.read(&words).unwrap().noted_inside(), (1 << 16) + 1);
        assert!(tape.nodes.capacity() <= most_nodes(words.len()));
        tape.read(b"[1]").unwrap();
        assert!(tape.nodes.capacity() <= KEEP_NODES);
        assert_eq!(most_nodes(1 << 32), 0);
    }

    #[test]
    fn names_are_spelled_out_and_nothing_else() {
        let rows = [
            (
                r#"{"con\u0074ent":"\u0074","a":{"\u0062":[{"c\u005fd":1}]}}"#,
                r#"{"content":"\u0074","a":{"b":[{"c_d":1}]}}"#,
            ),
            (r#" {"caf\u00e9":1,"a\"b":2,"x\ny":3,"\ud83d":4} "#, r#"{"caf\u00e9":1,"a\"b":2,"x\ny":3,"\ud83d":4}"#),
            (r#"{"\u0061":1,"a":2}"#, r#"{"a":1,"a":2}"#),
            (r#"{"a":"\u0062"}"#, r#"{"a":"\u0062"}"#),
            ("[]", "[]"),
        ];
        let mut tape = Tape::default();
        for (document, expected) in rows {
            let read = tape.read_spelled_out(document.as_bytes()).unwrap();
            assert_eq!(read, RawValue::new(expected.as_bytes()), "{document}");
            property::tape_is_scan(read.bytes(), 100);
        }
        assert!(tape.read_spelled_out(br#"{"\u006":1}"#).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_document_spelled_out_is_the_same_tree(document in sample::document()) {
            let mut tape = Tape::default();
            let read = tape.read_spelled_out(&document).map(|read| serde_json::from_slice::<serde_json::Value>(read.bytes()));
            let plain = Tape::default().read(&document).map(|read| serde_json::from_slice::<serde_json::Value>(read.bytes()));
            match (read, plain) {
                (Ok(Ok(read)), Ok(Ok(plain))) => prop_assert_eq!(read, plain),
                (read, plain) => prop_assert_eq!(read.map(|tree| tree.is_ok()), plain.map(|tree| tree.is_ok())),
            }
        }

        #[test]
        fn along_a_tape_as_by_a_scan(document in sample::document(), most in 0usize..12) {
            property::tape_is_scan(&document, most);
        }

        #[test]
        fn along_a_tape_as_by_a_scan_for_any_bytes(inside in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\u0e \xff"[..]), 0..40), most in 0usize..6) {
            property::tape_is_scan(&inside, most);
            property::tape_is_scan(&[b"{\"a\":", inside.as_slice()].concat(), most);
            property::tape_is_scan(&[b"[", inside.as_slice(), b"]"].concat(), most);
        }
    }
}

//! Walks over one level of an object or array: along a tape where a value has one, else by
//! scanning.

use std::ops::Range;

use super::fault::{Fault, ScanError, fault};
use super::nest::{Nest, Open};
use super::node::{Node, split_first};
use super::raw::{RawStr, RawValue};
use super::scan::{byte, skip_flat, skip_key, skip_space, skip_value_within};

/// Walks the members of an object.
///
/// A broken object ends the walk early; [`Members::fault`] then returns why. Values were skipped by
/// the strict scanner, so each one that comes out is valid JSON.
pub fn members(obj: &[u8]) -> Members<'_> {
    Members(Steps::Scan(Walk::new(obj, Open::Object)))
}

/// Walks the elements of an array. As [`members`].
pub fn elements(arr: &[u8]) -> Elements<'_> {
    Elements(Steps::Scan(Walk::new(arr, Open::Array)))
}

/// Returns the value of `key` in an object; of several the last, as other readers do. `None` also
/// where the object is broken before it.
pub fn find<'a>(obj: &'a [u8], key: &str) -> Option<RawValue<'a>> {
    RawValue::new(obj).find(key)
}

/// [`find`] along several keys.
pub fn path<'a>(obj: &'a [u8], keys: &[&str]) -> Option<RawValue<'a>> {
    RawValue::new(obj).path(keys)
}

impl Node {
    /// Returns the key of a member of `object`.
    fn key(self, object: &[u8]) -> RawStr<'_> {
        RawStr::new(&object[self.key.0 as usize + 1..self.key.1 as usize - 1])
    }
}

impl<'a> RawValue<'a> {
    /// Walks an object; nothing if this is something else.
    pub fn members(self) -> Members<'a> {
        Members::of(self.bytes(), self.nodes)
    }

    /// Walks an array; nothing if this is something else.
    pub fn elements(self) -> Elements<'a> {
        Elements::of(self.bytes(), self.nodes)
    }

    /// Returns the value of `key` in this object; of several the last, as other readers do.
    pub fn find(self, key: &str) -> Option<RawValue<'a>> {
        self.members().last_named(key)
    }

    /// [`RawValue::find`] along several keys.
    pub fn path(self, keys: &[&str]) -> Option<RawValue<'a>> {
        keys.iter().try_fold(self, |value, key| value.find(key))
    }
}

/// Key, value, and the position of the value in the bytes given to [`members`].
pub struct Members<'a>(Steps<'a>);

impl<'a> Members<'a> {
    /// Over `bytes`, of which `nodes` say what is inside if they say anything.
    #[inline]
    pub(super) fn of(bytes: &'a [u8], nodes: &'a [Node]) -> Members<'a> {
        match bytes.first() {
            Some(b'{') if !nodes.is_empty() => Members(Steps::Tape(Taped { bytes, nodes, pos: 0 })),
            _ => members(bytes),
        }
    }

    /// Walks on to the end for the last member of that name.
    pub(super) fn last_named(self, name: &str) -> Option<RawValue<'a>> {
        match self.0 {
            Steps::Tape(mut tape) => tape.last_named(name),
            Steps::Scan(_) => self.filter(|(key, ..)| key.eq_str(name)).last().map(|(_, value, _)| value),
        }
    }

    /// Why the walk ended before the closing bracket, if it did.
    pub fn fault(&self) -> Option<ScanError> {
        self.0.fault()
    }

    /// Returns the position of the walk; after the last member, the position behind the closing
    /// bracket.
    pub fn position(&self) -> usize {
        self.0.position()
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (RawStr<'a>, RawValue<'a>, Range<usize>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Steps::Tape(tape) => {
                let (node, value, at) = tape.next()?;
                Some((node.key(tape.bytes), value, at))
            }
            Steps::Scan(walk) => walk.member(),
        }
    }
}

/// Value, and its position in the bytes given to [`elements`].
pub struct Elements<'a>(Steps<'a>);

impl<'a> Elements<'a> {
    /// As [`Members::of`].
    #[inline]
    pub(super) fn of(bytes: &'a [u8], nodes: &'a [Node]) -> Elements<'a> {
        match bytes.first() {
            Some(b'[') if !nodes.is_empty() => Elements(Steps::Tape(Taped { bytes, nodes, pos: 0 })),
            _ => elements(bytes),
        }
    }

    /// Why the walk ended before the closing bracket, if it did.
    pub fn fault(&self) -> Option<ScanError> {
        self.0.fault()
    }

    /// Returns the position of the walk; after the last element, the position behind the closing
    /// bracket.
    pub fn position(&self) -> usize {
        self.0.position()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = (RawValue<'a>, Range<usize>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Steps::Tape(tape) => tape.next().map(|(_, value, at)| (value, at)),
            Steps::Scan(walk) => walk.element(),
        }
    }
}

/// The two ways over one level: along a tape, where there is one, or by scanning.
enum Steps<'a> {
    Tape(Taped<'a>),
    Scan(Walk<'a>),
}

impl Steps<'_> {
    /// What is on a tape was found to be whole.
    fn fault(&self) -> Option<ScanError> {
        match self {
            Steps::Tape(_) => None,
            Steps::Scan(walk) => walk.fault,
        }
    }

    fn position(&self) -> usize {
        match self {
            Steps::Tape(tape) => tape.pos,
            Steps::Scan(walk) => walk.pos,
        }
    }
}

struct Taped<'a> {
    bytes: &'a [u8],
    nodes: &'a [Node],
    pos: usize,
}

impl<'a> Taped<'a> {
    /// As [`Members::last_named`]: makes a value of one node alone.
    fn last_named(&mut self, name: &str) -> Option<RawValue<'a>> {
        let (mut next, mut found) = (0, None);
        while let Some(node) = self.nodes.get(next) {
            if node.may_be_named(name, self.bytes) && node.key(self.bytes).eq_str(name) {
                found = Some(next);
            }
            next += 1 + node.inside as usize;
        }
        let (node, inside) = split_first(&mut &self.nodes[found?..])?;
        Some(RawValue::noted(&self.bytes[node.range()], inside))
    }

    #[inline]
    fn next(&mut self) -> Option<(Node, RawValue<'a>, Range<usize>)> {
        let Some((node, inside)) = split_first(&mut self.nodes) else {
            self.pos = self.bytes.len();
            return None;
        };
        let at = node.range();
        self.pos = at.end;
        Some((node, RawValue::noted(&self.bytes[at.clone()], inside), at))
    }
}

/// One level of an array or object.
struct Walk<'a> {
    buf: &'a [u8],
    pos: usize,
    open: Open,
    state: WalkState,
    fault: Option<ScanError>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WalkState {
    /// Before the opening bracket.
    Before,
    /// Behind a value.
    After,
    Ended,
}

impl<'a> Walk<'a> {
    fn new(buf: &'a [u8], open: Open) -> Walk<'a> {
        Walk { buf, pos: 0, open, state: WalkState::Before, fault: None }
    }

    fn check<T>(&mut self, step: Result<T, ScanError>) -> Option<T> {
        step.map_err(|e| {
            self.fault = Some(e);
            self.state = WalkState::Ended;
        })
        .ok()
    }

    /// Where the next key or element begins; `None` behind the closing bracket.
    fn next_at(&mut self) -> Option<usize> {
        let step = self.step();
        self.check(step)?
    }

    fn step(&mut self) -> Result<Option<usize>, ScanError> {
        let (left, right, other) = match self.open {
            Open::Object => (b'{', b'}', Fault::NotObject),
            Open::Array => (b'[', b']', Fault::NotArray),
        };
        let pos = skip_space(self.buf, self.pos);
        match self.state {
            WalkState::Ended => return Ok(None),
            WalkState::Before if byte(self.buf, pos)? != left => return fault(pos, other),
            WalkState::Before => {
                self.state = WalkState::After;
                let pos = skip_space(self.buf, pos + 1);
                if byte(self.buf, pos)? != right {
                    return Ok(Some(pos));
                }
                self.pos = pos + 1;
            }
            WalkState::After => match byte(self.buf, pos)? {
                b',' => return Ok(Some(skip_space(self.buf, pos + 1))),
                b if b == right => self.pos = pos + 1,
                _ => return fault(pos, Fault::Comma),
            },
        }
        self.state = WalkState::Ended;
        Ok(None)
    }

    fn member(&mut self) -> Option<(RawStr<'a>, RawValue<'a>, Range<usize>)> {
        let at = self.next_at()?;
        let (key_end, value) = self.check(skip_key(self.buf, at, || ()))?;
        let range = self.value(value)?;
        Some((RawStr::new(&self.buf[at + 1..key_end - 1]), RawValue::new(&self.buf[range.clone()]), range))
    }

    fn element(&mut self) -> Option<(RawValue<'a>, Range<usize>)> {
        let at = self.next_at()?;
        let range = self.value(at)?;
        Some((RawValue::new(&self.buf[range.clone()]), range))
    }

    #[inline]
    fn value(&mut self, at: usize) -> Option<Range<usize>> {
        if let Some(b'"' | b'-' | b'0'..=b'9') = self.buf.get(at) {
            let end = self.check(skip_flat(self.buf, at))?;
            self.pos = end;
            return Some(at..end);
        }
        // The bracket around the walk counts, so that a walk finds exactly the faults that
        // `validate` finds.
        let mut nest = Nest::default();
        let end = self
            .check(nest.push(self.open).or_else(|what| fault(at, what)))
            .and_then(|()| self.check(skip_value_within(nest, self.buf, at)))?;
        self.pos = end;
        Some(at..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{property, sample};
    use proptest::prelude::*;

    #[test]
    fn walking() {
        let obj = br#" { "a" : 1 , "b\"" :[ ] ,"c":{"d":"e"},"a":2 } tail"#;
        let mut walk = members(obj);
        let seen: Vec<_> = walk.by_ref().map(|(k, v, at)| (k.as_bytes(), v.bytes(), &obj[at])).collect();
        let expected: &[(&[u8], &[u8])] = &[(b"a", b"1"), (b"b\\\"", b"[ ]"), (b"c", b"{\"d\":\"e\"}"), (b"a", b"2")];
        assert_eq!(seen, expected.iter().map(|&(k, v)| (k, v, v)).collect::<Vec<_>>());
        assert_eq!((walk.fault(), &obj[walk.position()..]), (None, &b" tail"[..]));
        assert_eq!(find(obj, "a"), Some(RawValue::new(b"2")));
        assert_eq!(find(obj, "b\""), Some(RawValue::new(b"[ ]")));
        assert_eq!(path(obj, &["c", "d"]), Some(RawValue::new(b"\"e\"")));
        assert_eq!(path(obj, &["a", "d"]), None);

        let arr = b"[ 1,\"x\" , {} ]";
        assert_eq!(elements(arr).map(|(v, _)| v.bytes()).collect::<Vec<_>>(), [&b"1"[..], b"\"x\"", b"{}"]);
        assert_eq!(elements(b"[]").count() + members(b"{ }").count(), 0);
    }

    #[test]
    fn a_walk_ends_at_a_fault_and_names_it() {
        let rows: &[(&[u8], usize, Fault)] = &[
            (b"[1]", 0, Fault::NotObject),
            (b"", 0, Fault::Eof),
            (b"{\"a\":1", 1, Fault::Eof),
            (b"{\"a\":1 \"b\":2}", 1, Fault::Comma),
            (b"{\"a\":1,\"b\":x}", 1, Fault::Value),
            (b"{\"a\":1,}", 1, Fault::Key),
        ];
        for &(obj, count, what) in rows {
            let mut walk = members(obj);
            assert_eq!(walk.by_ref().count(), count, "{}", String::from_utf8_lossy(obj));
            assert_eq!(walk.fault().map(|e| e.what), Some(what), "{}", String::from_utf8_lossy(obj));
            assert!(walk.next().is_none());
        }
        let mut walk = elements(b"{}");
        assert!(walk.next().is_none() && walk.fault().is_some_and(|e| e.what == Fault::NotArray));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// What a walk finds is what a tree holds.
        #[test]
        fn members_agree_with_serde_json(document in sample::document()) {
            let Ok(tree) = serde_json::from_slice::<serde_json::Value>(&document) else { return Ok(()) };
            if let Some(map) = tree.as_object() {
                for (key, value) in map {
                    let found = find(&document, key).map(|v| serde_json::from_slice::<serde_json::Value>(v.bytes()).unwrap());
                    prop_assert_eq!(found.as_ref(), Some(value));
                }
            }
            if let Some(array) = tree.as_array() {
                let found: Vec<serde_json::Value> =
                    elements(&document).map(|(v, _)| serde_json::from_slice(v.bytes()).unwrap()).collect();
                prop_assert_eq!(&found, array);
            }
            if let Some(text) = tree.as_str() {
                let raw = RawValue::new(document.trim_ascii()).as_str().unwrap();
                prop_assert_eq!(raw.unescape(), text);
                prop_assert!(raw.eq_str(text));
            }
        }


        #[test]
        fn walks_agree_with_validate(inside in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\u0e \xff"[..]), 0..40)) {
            property::walk_is_validate(&inside);
            property::walk_is_validate(&[b"{", inside.as_slice()].concat());
            property::walk_is_validate(&[b"[", inside.as_slice()].concat());
        }

        #[test]
        fn walks_agree_with_validate_on_documents(document in sample::document()) {
            property::walk_is_validate(&document);
        }
    }
}

//! Where JSON values begin and end.
//!
//! The grammar is RFC 8259, strictly: no comments, no trailing commas, no control characters in strings, no `NaN`, no `01`.
//! What it accepts beyond other readers: half a surrogate pair (`"\ud83d"`), since streams cut pairs in two; duplicate keys, of
//! which [`find`] takes the last; numbers of any size, since nothing here computes with them.
//!
//! Only [`validate`] looks at UTF-8; the others work on bytes that were checked, or whose reader will check.

use std::fmt;
use std::ops::Range;

use super::raw::{RawStr, RawValue};

/// Arrays and objects may stand this deep inside one another.
pub const MAX_DEPTH: u32 = u128::BITS;

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside a value.
    Eof,
    /// A value should begin here.
    Value,
    /// A key in quotes should begin here.
    Key,
    Colon,
    /// A comma or the closing bracket should stand here.
    Comma,
    Number,
    Escape,
    /// A byte below 0x20 inside a string.
    Control,
    Utf8,
    TooDeep,
    /// Something follows the value.
    Trailing,
    /// The value is of another kind than the walk needs.
    NotObject,
    NotArray,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Eof => "the document ends inside a value",
            Fault::Value => "a value was expected",
            Fault::Key => "a key in double quotes was expected",
            Fault::Colon => "a colon was expected",
            Fault::Comma => "a comma or a closing bracket was expected",
            Fault::Number => "malformed number",
            Fault::Escape => "malformed escape in a string",
            Fault::Control => "control character in a string",
            Fault::Utf8 => "invalid UTF-8",
            Fault::TooDeep => "nested deeper than 128 levels",
            Fault::Trailing => "something follows the end of the document",
            Fault::NotObject => "an object was expected",
            Fault::NotArray => "an array was expected",
        })
    }
}

/// A fault and where it stands, in bytes from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanError {
    pub at: usize,
    pub what: Fault,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for ScanError {}

fn fault<T>(at: usize, what: Fault) -> Result<T, ScanError> {
    Err(ScanError { at, what })
}

/// What is open around a position: one bit for each level, set for an object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Nest {
    objects: u128,
    depth: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Open {
    Array,
    Object,
}

impl Nest {
    pub(super) fn push(&mut self, open: Open) -> Result<(), Fault> {
        if self.depth == MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(open == Open::Object);
        Ok(())
    }

    pub(super) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.objects >>= 1;
    }

    pub(super) fn top(&self) -> Option<Open> {
        match self.depth {
            0 => None,
            _ if self.objects & 1 == 1 => Some(Open::Object),
            _ => Some(Open::Array),
        }
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }
}

/// Skips the value that begins at or after `pos` (white space may precede it) and returns the position behind it.
pub fn skip_value(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    skip_value_within(Nest::default(), buf, pos)
}

/// [`skip_value`] where `nest` is open around the value.
fn skip_value_within(mut nest: Nest, buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    let outside = nest.depth();
    let mut pos = skip_space(buf, pos);
    loop {
        // Here a value must begin.
        pos = match byte(buf, pos)? {
            b'"' => skip_string(buf, pos)?,
            b'{' => {
                nest.push(Open::Object).or_else(|what| fault(pos, what))?;
                pos = skip_space(buf, pos + 1);
                if byte(buf, pos)? != b'}' {
                    pos = skip_key(buf, pos)?;
                    continue;
                }
                nest.pop();
                pos + 1
            }
            b'[' => {
                nest.push(Open::Array).or_else(|what| fault(pos, what))?;
                pos = skip_space(buf, pos + 1);
                if byte(buf, pos)? != b']' {
                    continue;
                }
                nest.pop();
                pos + 1
            }
            _ => skip_scalar(buf, pos)?,
        };
        // Here one has ended: close what ends with it, or go on to the next.
        loop {
            let Some(open) = nest.top().filter(|_| nest.depth() > outside) else { return Ok(pos) };
            pos = skip_space(buf, pos);
            match (byte(buf, pos)?, open) {
                (b'}', Open::Object) | (b']', Open::Array) => {
                    nest.pop();
                    pos += 1;
                }
                (b',', Open::Object) => {
                    pos = skip_key(buf, skip_space(buf, pos + 1))?;
                    break;
                }
                (b',', Open::Array) => {
                    pos = skip_space(buf, pos + 1);
                    break;
                }
                _ => return fault(pos, Fault::Comma),
            }
        }
    }
}

/// Checks a whole document: UTF-8, one value, nothing but white space around it.
pub fn validate(buf: &[u8]) -> Result<(), ScanError> {
    if let Err(e) = std::str::from_utf8(buf) {
        return fault(e.valid_up_to(), Fault::Utf8);
    }
    let end = skip_space(buf, skip_value(buf, 0)?);
    if end < buf.len() { fault(end, Fault::Trailing) } else { Ok(()) }
}

/// Checks that `body` could stand between the quotes of a string.
pub fn string_body(body: &[u8]) -> Result<RawStr<'_>, ScanError> {
    let mut pos = 0;
    loop {
        pos = plain_run(body, pos);
        match body.get(pos) {
            None => return Ok(RawStr::new(body)),
            Some(b'\\') => pos = skip_escape(body, pos)?,
            Some(b'"') => return fault(pos, Fault::Trailing),
            Some(_) => return fault(pos, Fault::Control),
        }
    }
}

/// Walks the members of an object.
///
/// A broken object ends the walk early; [`Members::fault`] then says why. Values were skipped by the strict scanner, so each one
/// that comes out is valid JSON.
pub fn members(obj: &[u8]) -> Members<'_> {
    Members(Walk::new(obj, Open::Object))
}

/// Walks the elements of an array. As [`members`].
pub fn elements(arr: &[u8]) -> Elements<'_> {
    Elements(Walk::new(arr, Open::Array))
}

/// The value of `key` in an object; of several the last, as other readers do. `None` also where the object is broken before it.
pub fn find<'a>(obj: &'a [u8], key: &str) -> Option<RawValue<'a>> {
    members(obj).filter(|(name, ..)| name.eq_str(key)).last().map(|(_, value, _)| value)
}

/// [`find`] along several keys.
pub fn path<'a>(obj: &'a [u8], keys: &[&str]) -> Option<RawValue<'a>> {
    keys.iter().try_fold(RawValue::new(obj), |value, key| value.find(key))
}

/// Key, value, and where the value stands in the bytes given to [`members`].
pub struct Members<'a>(Walk<'a>);

impl<'a> Iterator for Members<'a> {
    type Item = (RawStr<'a>, RawValue<'a>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let walk = &mut self.0;
        let at = walk.next_at()?;
        let colon = walk.check(skip_key(walk.buf, at))?;
        // The colon and the space around it follow the closing quote, which is the last quote before the value.
        let close = memchr::memrchr(b'"', &walk.buf[..colon])?;
        let range = walk.value(colon)?;
        Some((RawStr::new(&walk.buf[at + 1..close]), RawValue::new(&walk.buf[range.clone()]), range))
    }
}

impl Members<'_> {
    /// Why the walk ended before the closing bracket, if it did.
    pub fn fault(&self) -> Option<ScanError> {
        self.0.fault
    }

    /// Where the walk stands; after the last member, the position behind the closing bracket.
    pub fn position(&self) -> usize {
        self.0.pos
    }
}

/// Value, and where it stands in the bytes given to [`elements`].
pub struct Elements<'a>(Walk<'a>);

impl<'a> Iterator for Elements<'a> {
    type Item = (RawValue<'a>, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.0.next_at()?;
        let range = self.0.value(at)?;
        Some((RawValue::new(&self.0.buf[range.clone()]), range))
    }
}

impl Elements<'_> {
    /// Why the walk ended before the closing bracket, if it did.
    pub fn fault(&self) -> Option<ScanError> {
        self.0.fault
    }

    /// Where the walk stands; after the last element, the position behind the closing bracket.
    pub fn position(&self) -> usize {
        self.0.pos
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

    fn value(&mut self, at: usize) -> Option<Range<usize>> {
        // The bracket around the walk counts, so that a walk finds exactly the faults that `validate` finds.
        let mut nest = Nest::default();
        let end = self
            .check(nest.push(self.open).or_else(|what| fault(at, what)))
            .and_then(|()| self.check(skip_value_within(nest, self.buf, at)))?;
        self.pos = end;
        Some(at..end)
    }
}

fn byte(buf: &[u8], pos: usize) -> Result<u8, ScanError> {
    buf.get(pos).copied().ok_or(ScanError { at: buf.len(), what: Fault::Eof })
}

#[inline]
pub(super) fn skip_space(buf: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = buf.get(pos) {
        pos += 1;
    }
    pos
}

/// Skips a key, its colon and the space after it.
fn skip_key(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    if byte(buf, pos)? != b'"' {
        return fault(pos, Fault::Key);
    }
    let pos = skip_space(buf, skip_string(buf, pos)?);
    if byte(buf, pos)? != b':' {
        return fault(pos, Fault::Colon);
    }
    Ok(skip_space(buf, pos + 1))
}

/// Skips the string whose opening quote stands at `pos`.
fn skip_string(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    let mut pos = pos + 1;
    loop {
        pos = plain_run(buf, pos);
        match byte(buf, pos)? {
            b'"' => return Ok(pos + 1),
            b'\\' => pos = skip_escape(buf, pos)?,
            _ => return fault(pos, Fault::Control),
        }
    }
}

/// Skips the escape whose backslash stands at `pos`.
fn skip_escape(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    match byte(buf, pos + 1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(pos + 2),
        b'u' => match buf.get(pos + 2..pos + 6) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => Ok(pos + 6),
            Some(_) => fault(pos, Fault::Escape),
            None => fault(buf.len(), Fault::Eof),
        },
        _ => fault(pos, Fault::Escape),
    }
}

fn skip_scalar(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    let literal = |word: &[u8]| match buf[pos..].starts_with(word) {
        true => Ok(pos + word.len()),
        false => fault(pos, Fault::Value),
    };
    match byte(buf, pos)? {
        b't' => literal(b"true"),
        b'f' => literal(b"false"),
        b'n' => literal(b"null"),
        b'-' | b'0'..=b'9' => skip_number(buf, pos),
        _ => fault(pos, Fault::Value),
    }
}

fn skip_number(buf: &[u8], start: usize) -> Result<usize, ScanError> {
    let digits = |from: usize| {
        let end = buf[from..].iter().position(|b| !b.is_ascii_digit()).map_or(buf.len(), |n| from + n);
        if end == from { fault(start, Fault::Number) } else { Ok(end) }
    };
    let mut pos = start + usize::from(buf[start] == b'-');
    pos = match buf.get(pos) {
        Some(b'0') => pos + 1,
        _ => digits(pos)?,
    };
    if buf.get(pos) == Some(&b'.') {
        pos = digits(pos + 1)?;
    }
    if let Some(b'e' | b'E') = buf.get(pos) {
        let sign = matches!(buf.get(pos + 1), Some(b'+' | b'-'));
        pos = digits(pos + 1 + usize::from(sign))?;
    }
    // `01` and `1x` are caught by whoever looks for a comma behind the number.
    Ok(pos)
}

/// The position of the first quote, backslash or control character at or after `pos`, or the length of `buf`.
///
/// Most bytes of a body stand inside strings, so this loop is the speed of everything above. The first loop asks a yes-or-no
/// question of 32 bytes at once, in a form that compilers turn into vector instructions; the second finds the byte.
#[inline]
pub(super) fn plain_run(buf: &[u8], mut pos: usize) -> usize {
    let special = |b: u8| (b < 0x20) | (b == b'"') | (b == b'\\');
    let Some(rest) = buf.get(pos..) else { return buf.len() };
    let (blocks, _) = rest.as_chunks::<32>();
    for block in blocks {
        if block.iter().fold(false, |any, &b| any | special(b)) {
            break;
        }
        pos += 32;
    }
    while pos < buf.len() && !special(buf[pos]) {
        pos += 1;
    }
    pos
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn faults_say_what_and_where() {
        let rows: &[(&[u8], Fault, usize)] = &[
            (b"", Fault::Eof, 0),
            (b"  ", Fault::Eof, 2),
            (b"{\"a\":[1,2", Fault::Eof, 9),
            (b"\"abc", Fault::Eof, 4),
            (b"\"\\u00", Fault::Eof, 5),
            (b"{\"a\":}", Fault::Value, 5),
            (b"[1,]", Fault::Value, 3),
            (b"nul", Fault::Value, 0),
            (b"NaN", Fault::Value, 0),
            (b"[+1]", Fault::Value, 1),
            (b"{,}", Fault::Key, 1),
            (b"{\"a\":1,}", Fault::Key, 7),
            (b"{a:1}", Fault::Key, 1),
            (b"{\"a\" 1}", Fault::Colon, 5),
            (b"[1 2]", Fault::Comma, 3),
            (b"[1}", Fault::Comma, 2),
            (b"[01]", Fault::Comma, 2),
            (b"[1.]", Fault::Number, 1),
            (b"-", Fault::Number, 0),
            (b"1e+", Fault::Number, 0),
            (b"\"a\\x\"", Fault::Escape, 2),
            (b"\"\\u12g4\"", Fault::Escape, 1),
            (b"\"a\nb\"", Fault::Control, 2),
            (b"\"\xff\"", Fault::Utf8, 1),
            (b"{} x", Fault::Trailing, 3),
            (b"01", Fault::Trailing, 1),
        ];
        for &(document, what, at) in rows {
            assert_eq!(validate(document), Err(ScanError { at, what }), "{}", String::from_utf8_lossy(document));
        }
    }

    #[test]
    fn depth_is_limited_and_costs_no_stack() {
        for (depth, result) in [(128, Ok(())), (129, Err(ScanError { at: 128, what: Fault::TooDeep }))] {
            assert_eq!(validate(&[vec![b'['; depth], vec![b']'; depth]].concat()), result);
        }
        let mixed = format!("{}1{}", "[{\"a\":".repeat(64), "}]".repeat(64));
        assert_eq!(validate(mixed.as_bytes()), Ok(()));
        assert_eq!(validate(&vec![b'['; 1 << 20]), Err(ScanError { at: 128, what: Fault::TooDeep }));
    }

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

    #[test]
    fn string_bodies() {
        for (body, ok) in
            [("", true), (r"a\n\u0041", true), ("a\"", false), ("a\\", false), (r"\q", false), ("\n", false)]
        {
            assert_eq!(string_body(body.as_bytes()).is_ok(), ok, "{body}");
        }
    }

    #[test]
    fn plain_run_stops_at_the_first_special_byte_of_any_alignment() {
        for len in 0..100 {
            let mut text = vec![b'x'; len + 1];
            assert_eq!(plain_run(&text, 0), len + 1);
            for special in [b'"', b'\\', 0, 0x1f] {
                text[len] = special;
                for from in 0..=len {
                    assert_eq!(plain_run(&text, from), len);
                }
            }
            text[len] = 0xff;
            assert_eq!(plain_run(&text, 0), len + 1);
        }
    }

    /// Documents, some of them then broken by a change of one byte or a cut.
    fn document() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
            r#""([ -!#-\[\]-~éあ😀]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,40}""#,
        ];
        let tree = leaf.prop_recursive(6, 64, 5, |inner| {
            let space = "[ \n\r\t]{0,2}";
            let member =
                (space, "[a-c]{0,2}", space, inner.clone()).prop_map(|(a, k, b, v)| format!("{a}\"{k}\"{b}:{v}"));
            prop_oneof![
                (prop::collection::vec(inner, 0..5), space).prop_map(|(v, s)| format!("[{s}{}{s}]", v.join(","))),
                prop::collection::vec(member, 0..5).prop_map(|m| format!("{{{}}}", m.join(" , "))),
            ]
        });
        let broken = (
            any::<prop::sample::Index>(),
            prop::option::of(any::<u8>()),
            prop_oneof![2 => Just(false), 3 => Just(true)],
        );
        (tree, broken).prop_map(|(text, (at, byte, breaks))| {
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            match byte {
                Some(byte) if breaks => bytes[at] = b"{}[]\",:\\0e-tn \n\x01\xff"[usize::from(byte) % 17],
                None if breaks => bytes.truncate(at),
                _ => {}
            }
            bytes
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Below the depth limit, with a reader that neither pairs surrogates nor bounds numbers, there is no difference.
        #[test]
        fn validity_agrees_with_serde_json(document in document()) {
            let theirs = std::str::from_utf8(&document).ok()
                .is_some_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
            prop_assert_eq!(validate(&document).is_ok(), theirs, "{}", String::from_utf8_lossy(&document));
        }

        /// What a walk finds is what a tree holds.
        #[test]
        fn members_agree_with_serde_json(document in document()) {
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

        /// Arbitrary bytes: no panic, and a walk finds exactly the faults that validation finds.
        #[test]
        fn walks_agree_with_validate(inside in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\u0e \xff"[..]), 0..40)) {
            let document = [b"{", inside.as_slice()].concat();
            let mut walk = members(&document);
            walk.by_ref().for_each(drop);
            let theirs = validate(&document[..if walk.fault().is_none() { walk.position() } else { document.len() }]);
            prop_assert!(walk.fault() == theirs.err() || theirs.is_err_and(|e| e.what == Fault::Utf8));
        }
    }
}

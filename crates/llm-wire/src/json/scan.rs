//! Where JSON values begin and end.
//!
//! The grammar is RFC 8259, strictly: no comments, no trailing commas, no control characters in
//! strings, no `NaN`, no `01`. What it accepts beyond other readers: half a surrogate pair
//! (`"\ud83d"`), since streams cut pairs in two; duplicate keys, of which [`find`](super::walk::find) takes the last;
//! numbers of any size, since nothing here computes with them.
//!
//! Only [`validate`] looks at UTF-8; the others work on bytes that were checked, or whose reader
//! will check. The walks over members and elements stand in `walk.rs`.

use std::fmt;

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
    /// A colon should follow the key.
    Colon,
    /// A comma or the closing bracket should stand here.
    Comma,
    /// A number is malformed (`01`, `1.`, `NaN`).
    Number,
    /// An escape sequence in a string is malformed.
    Escape,
    /// A byte below 0x20 inside a string.
    Control,
    /// The bytes are not UTF-8.
    Utf8,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    TooDeep,
    /// Something follows the value.
    Trailing,
    /// The value is of another kind than the walk needs.
    NotObject,
    /// The value is not an array, which the walk needs.
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

/// A fault and its position, in bytes from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanError {
    /// The position of the fault, in bytes from the start of the document.
    pub at: usize,
    /// What is wrong there.
    pub what: Fault,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

impl std::error::Error for ScanError {}

pub(super) fn fault<T>(at: usize, what: Fault) -> Result<T, ScanError> {
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

    /// Whether the innermost is an object. Not so where nothing is open.
    #[inline]
    pub(super) fn is_object(&self) -> bool {
        self.objects & 1 == 1
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

/// Receives every value that the scanner goes over, in document order. A key is
/// where it begins and ends, quotes included; both are 0 for what has none.
pub(super) trait Visit {
    /// A string, number or word from `at` to `end`.
    fn scalar(&mut self, key: (usize, usize), at: usize, end: usize);
    /// An array or object begins.
    fn open(&mut self, key: (usize, usize), at: usize);
    /// The one that began last and has not ended, ends.
    fn close(&mut self, end: usize);
}

/// A visitor that ignores everything.
impl Visit for () {
    fn scalar(&mut self, _: (usize, usize), _: usize, _: usize) {}
    fn open(&mut self, _: (usize, usize), _: usize) {}
    fn close(&mut self, _: usize) {}
}

/// Skips the value that begins at or after `pos` (white space may precede it) and returns the
/// position behind it.
#[cfg(any(test, fuzzing, feature = "testing"))]
pub(super) fn skip_value(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    skip_value_within(Nest::default(), buf, pos)
}

/// [`skip_value`] where `nest` is open around the value.
pub(super) fn skip_value_within(nest: Nest, buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    visit_value(nest, buf, pos, &mut ())
}

/// Skips a string or a number: what begins at `pos` is no array, object or word.
pub(super) fn skip_flat(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    if byte(buf, pos)? == b'"' { skip_string(buf, pos) } else { skip_scalar(buf, pos) }
}

fn visit_value<V: Visit>(mut nest: Nest, buf: &[u8], pos: usize, visit: &mut V) -> Result<usize, ScanError> {
    let outside = nest.depth();
    let mut key = (0, 0);
    let mut pos = skip_space(buf, pos);
    loop {
        // Here a value must begin.
        let at = pos;
        let mut ended = true;
        match byte(buf, at)? {
            b'"' => {
                pos = skip_string(buf, at)?;
                visit.scalar(key, at, pos);
            }
            left @ (b'{' | b'[') => {
                let (open, right) = if left == b'{' { (Open::Object, b'}') } else { (Open::Array, b']') };
                nest.push(open).or_else(|what| fault(at, what))?;
                visit.open(key, at);
                pos = skip_space(buf, at + 1);
                ended = byte(buf, pos)? == right;
                if ended {
                    nest.pop();
                    pos += 1;
                    visit.close(pos);
                }
            }
            _ => {
                pos = skip_scalar(buf, at)?;
                visit.scalar(key, at, pos);
            }
        }
        // Where one has ended: close what ends with it, or go on to the next.
        while ended {
            if nest.depth() == outside {
                return Ok(pos);
            }
            pos = skip_space(buf, pos);
            match (byte(buf, pos)?, nest.is_object()) {
                (b',', _) => {
                    pos = skip_space(buf, pos + 1);
                    ended = false;
                }
                (b'}', true) | (b']', false) => {
                    nest.pop();
                    pos += 1;
                    visit.close(pos);
                }
                _ => return fault(pos, Fault::Comma),
            }
        }
        key = (0, 0);
        if nest.is_object() {
            let (end, value) = skip_key(buf, pos)?;
            key = (pos, end);
            pos = value;
        }
    }
}

/// Checks a whole document: UTF-8, one value, nothing but white space around it.
pub fn validate(buf: &[u8]) -> Result<(), ScanError> {
    validate_noting(buf, &mut ())
}

/// [`validate`], telling what is there.
pub(super) fn validate_noting<V: Visit>(buf: &[u8], visit: &mut V) -> Result<(), ScanError> {
    if !is_ascii(buf)
        && let Err(e) = std::str::from_utf8(buf)
    {
        return fault(e.valid_up_to(), Fault::Utf8);
    }
    let end = skip_space(buf, visit_value(Nest::default(), buf, 0, visit)?);
    if end < buf.len() { fault(end, Fault::Trailing) } else { Ok(()) }
}

/// Checks that `body` could stand between the quotes of a string.
pub(super) fn check_string_body(body: &[u8]) -> Result<(), ScanError> {
    let mut pos = 0;
    loop {
        pos = plain_run(body, pos);
        match body.get(pos) {
            None => return Ok(()),
            Some(b'\\') => pos = skip_escape(body, pos)?,
            Some(b'"') => return fault(pos, Fault::Trailing),
            Some(_) => return fault(pos, Fault::Control),
        }
    }
}

/// Whether all bytes are ASCII, a word at a time.
#[inline]
pub(crate) fn is_ascii(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let any = words.iter().fold(0, |any, word| any | u64::from_le_bytes(*word));
    let last = rest.iter().fold(0, |any, byte| any | byte);
    any & 0x8080_8080_8080_8080 == 0 && last < 0x80
}

/// Whether all bytes are ASCII and none is a backslash: each is a character of its own then. Asks
/// about 16 bytes at once, in a form that compilers turn into vector instructions; the last 16 may be
/// asked about twice.
#[inline]
pub(crate) fn is_ascii_without_escapes(bytes: &[u8]) -> bool {
    let is_other = |byte: u8| byte >= 0x80 || byte == b'\\';
    let is_clean = |block: &[u8; 16]| !block.iter().fold(false, |any, &byte| any | is_other(byte));
    match bytes.last_chunk::<16>() {
        Some(last) => bytes.as_chunks::<16>().0.iter().all(is_clean) && is_clean(last),
        None => !bytes.iter().any(|&byte| is_other(byte)),
    }
}

/// Whether a text is a string's body as it is: it has nothing that must be escaped.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let marks = |word: &[u8; 8]| special_marks(u64::from_le_bytes(*word));
    match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
        (Some(first), Some(last)) if text.len() <= 16 => marks(first) | marks(last) == 0,
        (Some(_), _) => plain_run(text, 0) == text.len(),
        (None, _) => !text.iter().any(|&byte| is_special(byte)),
    }
}

/// Where the string ends whose inside begins at `pos`: the position of its closing quote. `None` if
/// it is malformed, or if its end has not come yet.
pub(crate) fn string_end(buf: &[u8], mut pos: usize) -> Option<usize> {
    loop {
        pos = plain_run(buf, pos);
        match buf.get(pos)? {
            b'"' => return Some(pos),
            b'\\' => pos = skip_escape(buf, pos).ok()?,
            _ => return None,
        }
    }
}

#[inline]
pub(super) fn byte(buf: &[u8], pos: usize) -> Result<u8, ScanError> {
    buf.get(pos).copied().ok_or(ScanError { at: buf.len(), what: Fault::Eof })
}

/// Most white space has no length at all: one comparison decides.
#[inline]
pub fn skip_space(buf: &[u8], pos: usize) -> usize {
    match buf.get(pos) {
        Some(b) if *b > b' ' => pos,
        _ => skip_spaces(buf, pos),
    }
}

fn skip_spaces(buf: &[u8], mut pos: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = buf.get(pos) {
        pos += 1;
    }
    pos
}

/// Skips a key, its colon and the space after it. Returns where the key ends, quote included, and
/// where the value begins.
#[inline(always)]
pub(super) fn skip_key(buf: &[u8], pos: usize) -> Result<(usize, usize), ScanError> {
    if byte(buf, pos)? != b'"' {
        return fault(pos, Fault::Key);
    }
    let end = skip_string(buf, pos)?;
    let colon = skip_space(buf, end);
    if byte(buf, colon)? != b':' {
        return fault(colon, Fault::Colon);
    }
    Ok((end, skip_space(buf, colon + 1)))
}

/// Skips the string whose opening quote is at `pos`.
#[inline(always)]
fn skip_string(buf: &[u8], pos: usize) -> Result<usize, ScanError> {
    let end = plain_run(buf, pos + 1);
    if buf.get(end) == Some(&b'"') { Ok(end + 1) } else { skip_rest_of_string(buf, end) }
}

/// Skips what is left of a string from `pos` on, which is where its first escape is, or its
/// fault.
#[inline(never)]
fn skip_rest_of_string(buf: &[u8], mut pos: usize) -> Result<usize, ScanError> {
    loop {
        pos = plain_run(buf, pos);
        match byte(buf, pos)? {
            b'"' => return Ok(pos + 1),
            b'\\' => pos = skip_escape(buf, pos)?,
            _ => return fault(pos, Fault::Control),
        }
    }
}

/// Skips the escape whose backslash is at `pos`.
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

/// The position of the first quote, backslash or control character at or after `pos`, or the length
/// of `buf`.
///
/// Most bytes of a body stand inside strings, so this is the speed of everything above. Most
/// strings are short, keys above all, and runs between escapes are too: the first 8 bytes are
/// looked at as a word, with arithmetic that finds the position. Longer runs: a yes-or-no question
/// about 32 bytes at once, in a form that compilers turn into vector instructions, and then word by
/// word.
#[inline]
pub(crate) fn plain_run(buf: &[u8], pos: usize) -> usize {
    let Some(rest) = buf.get(pos..) else { return buf.len() };
    match rest.first_chunk::<8>() {
        Some(word) => match special_marks(u64::from_le_bytes(*word)) {
            0 => long_run(buf, pos + 8),
            marks => pos + marks.trailing_zeros() as usize / 8,
        },
        None => rest.iter().position(|&b| is_special(b)).map_or(buf.len(), |n| pos + n),
    }
}

/// Does the same from the start of `buf`, for texts that are a word or two.
#[inline]
pub(crate) fn short_run(buf: &[u8]) -> usize {
    let ([first, second, ..], _) = buf.as_chunks::<8>() else { return plain_run(buf, 0) };
    match special_marks(u64::from_le_bytes(*first)) {
        0 => match special_marks(u64::from_le_bytes(*second)) {
            0 => long_run(buf, 16),
            marks => 8 + marks.trailing_zeros() as usize / 8,
        },
        marks => marks.trailing_zeros() as usize / 8,
    }
}

/// Not inlined: it would make the short way longer everywhere.
#[inline(never)]
fn long_run(buf: &[u8], mut pos: usize) -> usize {
    for block in buf[pos..].as_chunks::<32>().0 {
        if block.iter().fold(false, |any, &b| any | is_special(b)) {
            break;
        }
        pos += 32;
    }
    for word in buf[pos..].as_chunks::<8>().0 {
        let marks = special_marks(u64::from_le_bytes(*word));
        if marks != 0 {
            return pos + marks.trailing_zeros() as usize / 8;
        }
        pos += 8;
    }
    let left = buf.len() - pos;
    match buf.last_chunk::<8>() {
        _ if left == 0 => pos,
        // The bytes before `pos` are shifted out, and zeros, which are control characters, come in
        // behind the last one.
        Some(last) => {
            let marks = special_marks(u64::from_le_bytes(*last) >> (8 * (8 - left)));
            pos + marks.trailing_zeros() as usize / 8
        }
        None => buf[pos..].iter().position(|&b| is_special(b)).map_or(buf.len(), |n| pos + n),
    }
}

#[inline]
fn is_special(b: u8) -> bool {
    // The flipped bit makes a quote the neighbour of the control characters, so that one comparison
    // finds both.
    (b ^ 2 < 0x21) | (b == b'\\')
}

/// The top bit of each byte of `word` that [`is_special`]. Exact up to the lowest one: what a
/// subtraction borrows makes false marks in higher bytes alone (Mycroft's test for a zero byte).
#[inline]
fn special_marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let flipped = word ^ (ONES * 2);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quotes_and_controls = flipped.wrapping_sub(ONES * 0x21) & !flipped;
    let backslashes = backslash.wrapping_sub(ONES) & !backslash;
    (quotes_and_controls | backslashes) & (ONES << 7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::sample;
    use proptest::prelude::*;

    #[test]
    fn faults_have_a_kind_and_a_position() {
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
    fn string_bodies() {
        for (body, ok) in
            [("", true), (r"a\n\u0041", true), ("a\"", false), ("a\\", false), (r"\q", false), ("\n", false)]
        {
            assert_eq!(check_string_body(body.as_bytes()).is_ok(), ok, "{body}");
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

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        /// Below the depth limit, with a reader that neither pairs surrogates nor bounds numbers,
        /// there is no difference.
        #[test]
        fn validity_agrees_with_serde_json(document in sample::document()) {
            let theirs = std::str::from_utf8(&document).ok()
                .is_some_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
            prop_assert_eq!(validate(&document).is_ok(), theirs, "{}", String::from_utf8_lossy(&document));
        }
    }

    /// Every way in which [`validate`] and a reader that builds a tree differ.
    #[test]
    fn known_differences_to_serde_json() {
        let deep = [vec![b'['; 128], vec![b']'; 128]].concat();
        for document in [&br#""\ud83d""#[..], br#""\ude00\ud83d""#, b"1e999", b"-1e999", &deep] {
            assert!(validate(document).is_ok());
            assert!(serde_json::from_slice::<serde_json::Value>(document).is_err());
        }
    }
}

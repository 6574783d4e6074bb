//! Names for JSON that was found and not decoded.
//!
//! [`RawStr`] is the bytes between the quotes of a string, escapes and all; [`RawValue`] is one
//! whole value. Both are a borrowed slice and `Copy`. They are made by [`super::scan`], which has
//! checked the grammar; given other bytes they answer something harmless (`None`, U+FFFD) and never
//! panic.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use super::node::Node;
use super::scan;

/// The bytes between the quotes of a JSON string, still escaped.
///
/// Two `RawStr` are equal when their bytes are; compare text with [`RawStr::eq_str`], which sees
/// through escapes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct RawStr<'a>(&'a [u8]);

impl<'a> RawStr<'a> {
    /// Takes the bytes between the quotes, which should be a valid body of a JSON string.
    /// [`RawStr::parse`] checks that.
    pub fn new(body: &'a [u8]) -> RawStr<'a> {
        RawStr(body)
    }

    /// Takes bytes that could stand between the quotes of a string.
    ///
    /// # Errors
    /// The first byte that could not.
    pub fn parse(body: &'a [u8]) -> Result<RawStr<'a>, scan::ScanError> {
        scan::check_string_body(body).map(|()| RawStr(body))
    }

    /// Returns the escaped bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns whether the text is empty.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Length of the escaped bytes, which is at least the length of the text.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Returns whether the bytes contain an escape sequence. Without one they are the text itself.
    pub fn has_escapes(self) -> bool {
        match self.0.len() {
            // Names and words, for which the start of a vector search costs more than they do.
            0..16 => self.0.contains(&b'\\'),
            _ => memchr::memchr(b'\\', self.0).is_some(),
        }
    }

    /// Returns whether the text is `text`, decoding escapes only where they stand.
    #[inline]
    pub fn eq_str(self, text: &str) -> bool {
        match self.0.len().cmp(&text.len()) {
            // An escape is longer than what it stands for, so only a longer body needs decoding.
            Ordering::Less => false,
            Ordering::Equal => self.0 == text.as_bytes() && !self.has_escapes(),
            // Nearly all names differ in their first byte, and what is equal has an escape there
            // then.
            Ordering::Greater => match (self.0, text.as_bytes()) {
                ([first, ..], [wanted, ..]) if first == wanted || *first == b'\\' => self.eq_shorter(text),
                _ => false,
            },
        }
    }

    /// [`RawStr::eq_str`] for a text that is shorter than the body. What is equal has an escape
    /// where the two first differ, if not before.
    fn eq_shorter(self, text: &str) -> bool {
        let alike = self.0.iter().zip(text.as_bytes()).take_while(|(a, b)| a == b).count();
        self.0[..=alike].contains(&b'\\') && self.eq_decoded(text)
    }

    fn eq_decoded(self, text: &str) -> bool {
        let mut rest = text.as_bytes();
        let mut utf8 = [0; 4];
        for piece in Pieces(self.0) {
            let piece = match piece {
                Piece::Plain(bytes) => bytes,
                Piece::Escaped(c) => c.encode_utf8(&mut utf8).as_bytes(),
            };
            match rest.strip_prefix(piece) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty()
    }

    /// Returns the text. Half a surrogate pair, a broken escape and invalid UTF-8 become U+FFFD;
    /// borrowed if there is nothing to decode.
    pub fn unescape(self) -> Cow<'a, str> {
        if !self.has_escapes() {
            return std::str::from_utf8(self.0).map_or_else(|_| String::from_utf8_lossy(self.0), Cow::Borrowed);
        }
        let mut out = Vec::with_capacity(self.0.len());
        self.unescape_into(&mut out);
        match String::from_utf8(out) {
            Ok(text) => Cow::Owned(text),
            Err(e) => Cow::Owned(String::from_utf8_lossy(e.as_bytes()).into_owned()),
        }
    }

    /// Appends the text. As [`RawStr::unescape`], but bytes that are not UTF-8 are copied as they
    /// are.
    pub fn unescape_into(self, out: &mut Vec<u8>) {
        let mut utf8 = [0; 4];
        for piece in Pieces(self.0) {
            match piece {
                Piece::Plain(bytes) => out.extend_from_slice(bytes),
                Piece::Escaped(c) => out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes()),
            }
        }
    }
}

impl fmt::Debug for RawStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawStr(\"{}\")", String::from_utf8_lossy(self.0))
    }
}

enum Piece<'a> {
    Plain(&'a [u8]),
    Escaped(char),
}

/// Cuts a string body into runs of plain bytes and decoded escapes.
struct Pieces<'a>(&'a [u8]);

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let (&first, rest) = self.0.split_first()?;
        if first != b'\\' {
            let end = memchr::memchr(b'\\', self.0).unwrap_or(self.0.len());
            let (plain, rest) = self.0.split_at(end);
            self.0 = rest;
            return Some(Piece::Plain(plain));
        }
        let (&kind, rest) = rest.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        Some(Piece::Escaped(match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => self.unicode(),
            _ => char::REPLACEMENT_CHARACTER,
        }))
    }
}

impl Pieces<'_> {
    /// Decodes what follows `\u`: four digits, and the second half of a pair if the first is one.
    fn unicode(&mut self) -> char {
        let Some(unit) = hex4(self.0) else { return char::REPLACEMENT_CHARACTER };
        self.0 = &self.0[4..];
        if let Some(c) = char::from_u32(unit) {
            return c;
        }
        let low = self.0.strip_prefix(b"\\u").and_then(hex4).filter(|low| (0xdc00..0xe000).contains(low));
        match low {
            Some(low) if unit < 0xdc00 => {
                self.0 = &self.0[6..];
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => char::REPLACEMENT_CHARACTER,
        }
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.get(..4)?.iter().try_fold(0, |code, &d| Some(code << 4 | char::from(d).to_digit(16)?))
}

/// What a [`RawValue`] is, decided by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawKind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number of any size.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl RawKind {
    /// Returns the word for error messages: "`stream` must be a boolean, not a string".
    pub fn name(self) -> &'static str {
        match self {
            RawKind::Null => "null",
            RawKind::Bool => "a boolean",
            RawKind::Number => "a number",
            RawKind::String => "a string",
            RawKind::Array => "an array",
            RawKind::Object => "an object",
        }
    }
}

/// The bytes of one JSON value, without white space around it.
///
/// Equality and hash are those of the bytes.
///
/// ```
/// use llm_wire::json::RawValue;
///
/// let body = RawValue::parse(br#"{"model":"m\u002d1","stop":["a","b"],"n":2}"#)?;
/// assert_eq!(body.find("n").and_then(RawValue::as_u64), Some(2));
/// assert!(body.find("model").is_some_and(|model| model.eq_str("m-1")));
/// assert_eq!(body.path(&["stop"]).map(|stop| stop.elements().count()), Some(2));
/// # Ok::<(), llm_wire::json::scan::ScanError>(())
/// ```
#[derive(Clone, Copy)]
pub struct RawValue<'a> {
    bytes: &'a [u8],
    /// The notes of a [`super::Tape`] about the values inside. Empty where there are none, and
    /// where there is no tape.
    pub(super) nodes: &'a [Node],
}

impl PartialEq for RawValue<'_> {
    fn eq(&self, other: &RawValue<'_>) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for RawValue<'_> {}

impl Hash for RawValue<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl<'a> RawValue<'a> {
    /// The largest integer that every JSON reader keeps exact.
    const MAX_EXACT: u64 = 1 << 53;

    /// Takes bytes that are known to be one JSON value. For bytes from outside use
    /// [`super::Tape::read`], or [`RawValue::parse`].
    pub fn new(bytes: &'a [u8]) -> RawValue<'a> {
        RawValue { bytes, nodes: &[] }
    }

    /// Takes a value whose inside a tape has noted.
    #[inline]
    pub(super) fn noted(bytes: &'a [u8], nodes: &'a [Node]) -> RawValue<'a> {
        RawValue { bytes, nodes }
    }

    /// Checks a whole document and takes it, less the white space around it. What is in it is
    /// scanned again when it is looked for.
    pub fn parse(document: &'a [u8]) -> Result<RawValue<'a>, scan::ScanError> {
        scan::validate(document)?;
        Ok(RawValue::new(document.trim_ascii()))
    }

    /// Returns how many values inside a tape knows of.
    #[cfg(any(test, fuzzing, feature = "testing"))]
    pub(super) fn noted_inside(self) -> usize {
        self.nodes.len()
    }

    /// Returns the bytes of the whole value, without white space around it.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Returns the kind of the value, which its first byte decides.
    pub fn kind(self) -> RawKind {
        match self.bytes.first() {
            Some(b'"') => RawKind::String,
            Some(b'{') => RawKind::Object,
            Some(b'[') => RawKind::Array,
            Some(b't' | b'f') => RawKind::Bool,
            Some(b'-' | b'0'..=b'9') => RawKind::Number,
            _ => RawKind::Null,
        }
    }

    /// Returns whether the value is `null`.
    pub fn is_null(self) -> bool {
        self.bytes == b"null"
    }

    /// Returns whether the value is an object.
    pub fn is_object(self) -> bool {
        self.kind() == RawKind::Object
    }

    /// Returns the inside of a string; `None` for any other kind.
    pub fn as_str(self) -> Option<RawStr<'a>> {
        Some(RawStr(self.bytes.strip_prefix(b"\"")?.strip_suffix(b"\"")?))
    }

    /// Returns whether this is a string with that text.
    pub fn eq_str(self, text: &str) -> bool {
        self.as_str().is_some_and(|s| s.eq_str(text))
    }

    /// Returns the value of `true` and `false`; `None` for any other kind.
    pub fn as_bool(self) -> Option<bool> {
        match self.bytes {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// Returns a count. Also from `12.0` and `"12"`, since some hosts write them so; negative,
    /// broken or above 2^53 is `None`.
    pub fn as_u64(self) -> Option<u64> {
        let digits = match self.as_str() {
            Some(text) => text.as_bytes(),
            None => self.bytes,
        };
        if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
            let append = |n: u64, digit: &u8| n.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
            return digits.iter().try_fold(0, append).filter(|n| *n <= Self::MAX_EXACT);
        }
        if self.kind() != RawKind::Number {
            return None;
        }
        let float: f64 = std::str::from_utf8(self.bytes).ok()?.parse().ok()?;
        (float >= 0.0 && float.fract() == 0.0 && float <= Self::MAX_EXACT as f64).then_some(float as u64)
    }
}

impl fmt::Debug for RawValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawValue({})", String::from_utf8_lossy(self.bytes))
    }
}

#[cfg(test)]
mod tests;

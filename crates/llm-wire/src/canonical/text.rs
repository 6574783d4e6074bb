//! Text as the canonical form keeps it: the body of a JSON string, still escaped.
//!
//! [`Text`] is a [`RawStr`] that may also own its bytes, since repairs and joins make text that
//! is in no body. [`Unescape`] reads through escapes one byte at a time, for scanners that must
//! go on over the cut between two deltas.

use std::borrow::Cow;
use std::fmt;

use crate::json::{RawStr, write};

/// An escaped string body; borrowed from the request, or made here. Equal when the escaped bytes
/// are.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Text<'a>(Cow<'a, [u8]>);

impl<'a> From<RawStr<'a>> for Text<'a> {
    fn from(raw: RawStr<'a>) -> Text<'a> {
        Text(Cow::Borrowed(raw.as_bytes()))
    }
}

impl<'a> Text<'a> {
    /// The empty text.
    pub const EMPTY: Text<'static> = Text(Cow::Borrowed(b""));

    /// From plain text, which is escaped.
    pub fn plain(text: &str) -> Text<'static> {
        let mut out = Vec::with_capacity(text.len());
        write::escaped(&mut out, text);
        Text(Cow::Owned(out))
    }

    /// From bytes that are escaped already.
    pub fn escaped(bytes: Vec<u8>) -> Text<'static> {
        Text(Cow::Owned(bytes))
    }

    /// Returns the text as it is escaped.
    pub fn raw(&self) -> RawStr<'_> {
        RawStr::new(&self.0)
    }

    /// Returns the bytes of the escaped text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the plain text. Half a surrogate pair becomes U+FFFD.
    pub fn unescape(&self) -> Cow<'_, str> {
        self.raw().unescape()
    }

    /// Returns whether the plain text is `text`.
    pub fn eq_str(&self, text: &str) -> bool {
        self.raw().eq_str(text)
    }

    /// Empty or white space only. Messages refuses such text blocks.
    pub fn is_blank(&self) -> bool {
        is_blank(self.raw())
    }

    /// Without white space at the end (spaces and the short escapes of line ends and tabs).
    pub fn trim_end(mut self) -> Text<'a> {
        let keep = trimmed_len(&self.0);
        match &mut self.0 {
            Cow::Borrowed(bytes) => *bytes = &bytes[..keep],
            Cow::Owned(bytes) => bytes.truncate(keep),
        }
        self
    }

    /// Without `prefix`, which must hold no character that JSON escapes; `None` if the text does
    /// not begin so.
    pub fn strip_prefix(&self, prefix: &str) -> Option<Text<'_>> {
        self.0.strip_prefix(prefix.as_bytes()).map(|rest| Text(Cow::Borrowed(rest)))
    }

    /// Returns `parts` with `gap` (plain text) between them. Borrowed if there is one part.
    pub fn join(parts: &[Text<'a>], gap: &str) -> Text<'a> {
        if let [one] = parts {
            return one.clone();
        }
        let mut out = Vec::new();
        for (n, part) in parts.iter().enumerate() {
            if n > 0 {
                write::escaped(&mut out, gap);
            }
            out.extend_from_slice(&part.0);
        }
        Text(Cow::Owned(out))
    }

    /// Copies the text, so that it borrows nothing.
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text(\"{}\")", String::from_utf8_lossy(&self.0))
    }
}

/// [`Text::is_blank`] for a borrowed body. Looks at the first visible character only.
pub(crate) fn is_blank(raw: RawStr<'_>) -> bool {
    let mut rest = raw.as_bytes();
    loop {
        rest = match rest {
            [] => return true,
            [b' ', rest @ ..] | [b'\\', b'n' | b'r' | b't' | b'f', rest @ ..] => rest,
            [b'\\', b'u', ..] | [0x80..=0xff, ..] => return RawStr::new(rest).unescape().trim().is_empty(),
            _ => return false,
        };
    }
}

fn trimmed_len(bytes: &[u8]) -> usize {
    let mut end = bytes.len();
    loop {
        match &bytes[..end] {
            [.., b' '] => end -= 1,
            [before @ .., b'\\', b'n' | b'r' | b't'] => {
                // An even run of backslashes before this one: it is an escape and no escaped
                // backslash.
                let run = before.iter().rev().take_while(|b| **b == b'\\').count();
                if run % 2 == 1 {
                    return end;
                }
                end -= 2;
            }
            _ => return end,
        }
    }
}

/// One step of reading through escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// An ASCII character, or one byte of a longer one that is unescaped.
    Byte(u8),
    /// A UTF-16 unit at or above U+0080, from `\uXXXX`; maybe half a pair.
    Code(u16),
}

/// Reads an escaped body byte by byte; keeps its place between two deltas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Unescape {
    #[default]
    Plain,
    Backslash,
    Hex {
        digits: u8,
        code: u16,
    },
}

impl Unescape {
    /// Takes one byte; `None` while an escape is open. A broken escape, which no checked body
    /// holds, gives its last byte.
    pub(crate) fn push(&mut self, byte: u8) -> Option<Unit> {
        match *self {
            Unescape::Plain if byte == b'\\' => {
                *self = Unescape::Backslash;
                None
            }
            Unescape::Plain => Some(Unit::Byte(byte)),
            Unescape::Backslash if byte == b'u' => {
                *self = Unescape::Hex { digits: 0, code: 0 };
                None
            }
            Unescape::Backslash => {
                *self = Unescape::Plain;
                Some(Unit::Byte(match byte {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                }))
            }
            Unescape::Hex { digits, code } => {
                let Some(digit) = char::from(byte).to_digit(16) else {
                    *self = Unescape::Plain;
                    return Some(Unit::Byte(byte));
                };
                let code = code << 4 | digit as u16;
                if digits < 3 {
                    *self = Unescape::Hex { digits: digits + 1, code };
                    return None;
                }
                *self = Unescape::Plain;
                Some(if code < 0x80 { Unit::Byte(code as u8) } else { Unit::Code(code) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &str) -> Text<'_> {
        RawStr::new(raw.as_bytes()).into()
    }

    #[test]
    fn blank_text() {
        let rows = [
            ("", true),
            (r" \n\t ", true),
            (r"\u0020\u00a0", true),
            ("\u{2003}", true),
            (r"\\n", false),
            (r"\u0041", false),
            ("é", false),
            (" x", false),
        ];
        for (raw, blank) in rows {
            assert_eq!(text(raw).is_blank(), blank, "{raw}");
        }
    }

    #[test]
    fn white_space_at_the_end() {
        for (raw, kept) in [("a \\n\\t ", "a"), (r"a\\n", r"a\\n"), (r"a\\\n", r"a\\"), ("", ""), (r"\n", "")] {
            assert_eq!(text(raw).trim_end(), text(kept), "{raw}");
        }
    }

    #[test]
    fn joins_and_prefixes() {
        assert_eq!(Text::join(&[text("a"), text(r"b\n")], "\n\n"), text(r"a\n\nb\n"));
        assert_eq!(text("[tool_error] x").strip_prefix("[tool_error] "), Some(text("x")));
        assert_eq!(Text::plain("a\"b\n"), text(r#"a\"b\n"#));
    }

    #[test]
    fn units_are_the_text() {
        let raw = r#"a\n\"\\\u0041\u00e9\ud83dé"#;
        let mut reader = Unescape::default();
        let units: Vec<Unit> = raw.bytes().filter_map(|b| reader.push(b)).collect();
        let mut expected: Vec<Unit> = b"a\n\"\\A".iter().map(|b| Unit::Byte(*b)).collect();
        expected.extend([Unit::Code(0xe9), Unit::Code(0xd83d), Unit::Byte(0xc3), Unit::Byte(0xa9)]);
        assert_eq!(units, expected);
        assert_eq!(reader, Unescape::Plain);
    }
}

//! Texts that must not appear where values are printed for debugging, and whose memory is
//! overwritten when they are dropped.

use std::fmt;
use std::ops::Deref;

use zeroize::Zeroize;

/// A text that reads like a `str` and prints as `***`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Complete header lines, of which some may carry a key.
#[derive(Default, PartialEq, Eq)]
pub struct HeaderLines(Vec<u8>);

impl From<Vec<u8>> for HeaderLines {
    fn from(lines: Vec<u8>) -> HeaderLines {
        HeaderLines(lines)
    }
}

impl Deref for HeaderLines {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl HeaderLines {
    /// Returns the keys of these lines that have at least `shortest` bytes.
    pub fn keys(&self, shortest: usize) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'\n').filter_map(move |line| {
            let (name, value) = line.split_at(memchr::memchr(b':', line)?);
            let key = value[1..].trim_ascii().rsplit(|byte| *byte == b' ').next().unwrap_or_default();
            (carries_key(name) && key.len() >= shortest).then_some(key)
        })
    }
}

/// Returns whether a header of this name carries a key, and not a remark of the operator's.
fn carries_key(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    [&b"auth"[..], b"key", b"token", b"secret", b"cookie"]
        .iter()
        .any(|part| memchr::memmem::find(&name, part).is_some())
}

/// Overwrites `key` with `*` wherever `text` has it, plain or with the escapes of JSON. The text
/// keeps its length, and stays JSON if it was.
pub fn hide(key: &[u8], text: &mut [u8]) {
    let whole = find(key, text).filter_map(|(at, found)| match found {
        Found::Whole(len) => Some(at..at + len),
        Found::Begun => None,
    });
    for place in whole.collect::<Vec<_>>() {
        text[place].fill(b'*');
    }
}

/// Returns where the end of `text` begins `key`, of which the rest may follow: the length of
/// `text` if it does nowhere.
pub fn begins_at(key: &[u8], text: &[u8]) -> usize {
    let begun = find(key, text).find(|(_, found)| matches!(found, Found::Begun));
    begun.map_or(text.len(), |(at, _)| at)
}

/// How much of a key stands in a text.
#[derive(Clone, Copy)]
enum Found {
    /// All of it, in so many bytes.
    Whole(usize),
    /// Its beginning, at the end of the text.
    Begun,
}

/// Finds the places where `text` has `key`, or where its end begins it.
fn find<'t>(key: &'t [u8], text: &'t [u8]) -> impl Iterator<Item = (usize, Found)> + 't {
    let first = key.first().copied().unwrap_or(b'\\');
    // The backslash that began the last escape: one behind it begins none.
    let (mut escape_at, mut read) = (None, 0);
    memchr::memchr2_iter(first, b'\\', text).filter_map(move |at| {
        if at < read || key.is_empty() {
            return None;
        }
        if text[at] == b'\\' {
            if at.checked_sub(1).is_some_and(|before| escape_at == Some(before)) {
                return None;
            }
            escape_at = Some(at);
        }
        let found = compare(key, &text[at..])?;
        if let Found::Whole(len) = found {
            read = at + len;
        }
        Some((at, found))
    })
}

/// Compares the beginning of `text` with `key`.
fn compare(key: &[u8], text: &[u8]) -> Option<Found> {
    let mut at = 0;
    for byte in key {
        at += match &text[at..] {
            [] => return Some(Found::Begun),
            [plain, ..] if plain == byte => 1,
            [b'\\', b'u', digits @ ..] if digits.len() >= 4 => {
                let digits = std::str::from_utf8(&digits[..4]).ok()?;
                (u16::from_str_radix(digits, 16) == Ok(u16::from(*byte))).then_some(6)?
            }
            [b'\\'] | [b'\\', b'u', ..] => return Some(Found::Begun),
            [b'\\', escaped, ..] if escaped == byte => 2,
            _ => return None,
        };
    }
    Some(Found::Whole(at))
}

impl Drop for HeaderLines {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for HeaderLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderLines({} bytes)", self.0.len())
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Secret {
        Secret(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "***" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(key: &str, text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        hide(key.as_bytes(), &mut bytes);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn keys_of_lines() {
        let lines = HeaderLines::from(
            b"authorization: Bearer sk-12345678\r\nx-note: of the operator\r\nx-token-kind: opaque\r\n".to_vec(),
        );
        assert_eq!(lines.keys(8).collect::<Vec<_>>(), [&b"sk-12345678"[..]]);
        assert_eq!(lines.keys(1).count(), 2);
    }

    #[test]
    fn keys_are_overwritten_in_any_spelling() {
        let rows = [
            ("no sk/a+b= here, and sk/a+b=.", "no ******* here, and *******."),
            (r"PHP writes sk\/a+b=", "PHP writes ********"),
            (r"others sk/a\u002bb\u003D", "others *****************"),
            (r"all of it \u0073\u006b\u002f\u0061\u002b\u0062\u003d", &format!("all of it {}", "*".repeat(42))),
            ("sksk/a+b=", "sk*******"),
            ("another sk/a+b, sk/a", "another sk/a+b, sk/a"),
            (r"no escape: sk\u00", r"no escape: sk\u00"),
            (r"escaped: \\sk/a+b=", r"escaped: \\*******"),
            (r"no escape: \\u0073k/a+b=", r"no escape: \\u0073k/a+b="),
            ("", ""),
        ];
        for (text, expected) in rows {
            assert_eq!(hidden("sk/a+b=", text), expected, "{text}");
        }
        assert_eq!(hidden("", "any"), "any");
    }

    /// Wherever a text is cut, both parts together show nothing of the key.
    #[test]
    fn a_key_that_is_cut_is_found() {
        for whole in [r#"{"m":"key sk/a+b= refused"}"#, r#"{"m":"key sk\/a\u002bb= refused"}"#, "sssk/a+b=s"] {
            for cut in 0..=whole.len() {
                let key = b"sk/a+b=";
                let at = begins_at(key, &whole.as_bytes()[..cut]);
                let mut first = whole.as_bytes()[..at].to_vec();
                let mut rest = whole.as_bytes()[at..].to_vec();
                hide(key, &mut first);
                hide(key, &mut rest);
                assert_eq!([first, rest].concat(), hidden("sk/a+b=", whole).into_bytes(), "{whole} {cut}");
            }
        }
    }
}

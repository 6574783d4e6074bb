//! Removes what must not or need not leave the process in a log: values of fields that hold
//! secrets, and the bytes of images, sounds and files.
//!
//! It works on text that is JSON, a stream's events, or the beginning of either: it reads tokens
//! and builds no tree. Whatever it does not recognise is copied byte for byte.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem;
use sha2::{Digest, Sha256};

/// Fields whose text is a secret, in lower case with `_` for `-`.
const SECRET: &[&[u8]] = &[
    b"access_token",
    b"api_key",
    b"apikey",
    b"authorization",
    b"authorization_token",
    b"aws_secret_access_key",
    b"client_secret",
    b"cookie",
    b"id_token",
    b"passwd",
    b"password",
    b"private_key",
    b"proxy_authorization",
    b"refresh_token",
    b"secret",
    b"secret_access_key",
    b"secret_key",
    b"set_cookie",
    b"x_api_key",
    b"x_goog_api_key",
];
/// More than the length of the longest name in [`SECRET`].
const LONGEST: usize = 24;
/// Objects whose `data` is base64.
const HOLDERS: &[&[u8]] = &[b"source", b"input_audio", b"inline_data", b"inlineData", b"audio"];
/// Fields that are base64 in any object.
const PAYLOADS: &[&[u8]] = &[b"b64_json", b"partial_image_b64"];
/// The mark between a data URL's type and its payload.
const MARK: &[u8] = b";base64,";
/// Looks for the mark. To build it takes longer than to search an event.
static FIND_MARK: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(MARK));
/// How many bytes before the mark are searched for `data:`.
const TYPE: usize = 128;

const MASK: &[u8] = b"***";

/// Reads base64 with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// What to do with white space between tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whitespace {
    /// It is removed: `text` is complete JSON, and the result is one line.
    Drop,
    Keep,
}

/// Appends `text` to `out`, redacted.
pub(super) fn redact(out: &mut Vec<u8>, text: &[u8], whitespace: Whitespace) {
    let text = without_urls(text);
    let mut walk = Walk { text: &text, at: 0, field: Field::Other, around: Vec::new() };
    walk.run(out, whitespace);
}

/// Returns whether a text without marks of data URLs is written as it is under this key, whatever
/// it is.
pub(super) fn is_harmless(key: &[u8]) -> bool {
    Field::of(key) == Field::Other
}

/// Returns whether the mark of a data URL is in a text.
pub(super) fn has_mark(text: &[u8]) -> bool {
    FIND_MARK.find(text).is_some()
}

/// Returns whether the mark of a data URL may begin in a text, or be in it.
pub(super) fn may_begin_url(text: &[u8]) -> bool {
    memchr::memchr(MARK[0], text).is_some()
}

/// The kind of a field, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Other,
    Secret,
    /// An object whose `data` is a payload.
    Holder,
    Data,
    Payload,
}

/// The lengths of the names in [`SECRET`], [`HOLDERS`] and [`PAYLOADS`] and of `data`, as bits, by
/// the first letter: most keys have none of them and need no comparison.
const LENGTHS: [u32; 26] = {
    let mut lengths = [0; 26];
    let lists: [&[&[u8]]; 4] = [SECRET, HOLDERS, PAYLOADS, &[b"data"]];
    let mut list = 0;
    while list < lists.len() {
        let mut at = 0;
        while at < lists[list].len() {
            let name = lists[list][at];
            lengths[(name[0] - b'a') as usize] |= 1 << name.len();
            at += 1;
        }
        list += 1;
    }
    lengths
};

impl Field {
    fn of(key: &[u8]) -> Field {
        let first = key.first().map_or(0, |byte| byte.to_ascii_lowercase().wrapping_sub(b'a'));
        let lengths = LENGTHS.get(usize::from(first)).copied().unwrap_or(0);
        match key.len() < 32 && lengths & (1 << key.len()) != 0 {
            true => Field::of_candidate(key),
            false => Field::Other,
        }
    }

    /// Returns the kind of a key that has the length and the first letter of a name.
    fn of_candidate(key: &[u8]) -> Field {
        if key == b"data" {
            return Field::Data;
        }
        if HOLDERS.contains(&key) {
            return Field::Holder;
        }
        if PAYLOADS.contains(&key) {
            return Field::Payload;
        }
        let mut lower = [0; LONGEST];
        let Some(name) = lower.get_mut(..key.len()) else { return Field::Other };
        for (to, from) in name.iter_mut().zip(key) {
            *to = if *from == b'-' { b'_' } else { from.to_ascii_lowercase() };
        }
        if SECRET.contains(&&*name) { Field::Secret } else { Field::Other }
    }
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    /// The kind of the next value.
    field: Field,
    /// The kinds of the objects around it.
    around: Vec<Field>,
}

impl Walk<'_> {
    fn run(&mut self, out: &mut Vec<u8>, whitespace: Whitespace) {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'"' => {
                    self.string(out);
                    continue;
                }
                b'{' => {
                    self.around.push(self.field);
                    self.field = Field::Other;
                }
                b'}' => {
                    self.around.pop();
                }
                b' ' | b'\t' | b'\n' | b'\r' if whitespace == Whitespace::Drop => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    let rest = &self.text[self.at..];
                    let length = 1 + rest[1..].iter().take_while(|byte| !is_special(**byte)).count();
                    out.extend_from_slice(&rest[..length]);
                    self.at += length;
                    continue;
                }
            }
            out.push(*byte);
            self.at += 1;
        }
    }

    /// Reads a string, which may be cut by the end of the text.
    fn string(&mut self, out: &mut Vec<u8>) {
        let start = self.at + 1;
        let end = end_of_string(self.text, start);
        let body = &self.text[start..end];
        let closed = self.text.get(end) == Some(&b'"');
        self.at = if closed { end + 1 } else { end };
        out.push(b'"');
        if closed && self.text[self.at..].trim_ascii_start().first() == Some(&b':') {
            self.field = Field::of(body);
            out.extend_from_slice(body);
        } else {
            let holder = self.around.last() == Some(&Field::Holder);
            match self.field {
                Field::Secret if !body.is_empty() => out.extend_from_slice(MASK),
                Field::Payload => payload(out, body, closed),
                Field::Data if holder => payload(out, body, closed),
                _ => out.extend_from_slice(body),
            }
        }
        if closed {
            out.push(b'"');
        }
    }
}

/// Returns whether a byte between strings is more than copied, in some mode.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'"' | b'{' | b'}' | b' ' | b'\t' | b'\n' | b'\r')
}

/// Returns where a string ends that began before `at`: at its quote, at the end of the line, which
/// no JSON string contains, or of the text.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    loop {
        match memchr::memchr3(b'"', b'\\', b'\n', &text[at..]) {
            None => return text.len(),
            Some(n) if text[at + n] == b'\\' => at = (at + n + 2).min(text.len()),
            Some(n) => return at + n,
        }
    }
}

/// Returns what replaces `base64`: its length and the beginning of its SHA-256, by which the same
/// file can be recognised.
fn payload(out: &mut Vec<u8>, base64: &[u8], whole: bool) {
    let mut plain: Vec<u8> = base64.iter().copied().filter(|byte| *byte != b'\\').collect();
    if plain.is_empty() || !plain.iter().all(|byte| is_base64(*byte)) {
        return out.extend_from_slice(base64);
    }
    for byte in &mut plain {
        *byte = match *byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
    }
    let note = match BASE64.decode(&plain) {
        Ok(bytes) if whole => format!("[{} bytes, sha256 {}]", bytes.len(), &hex::encode(Sha256::digest(&bytes))[..16]),
        _ if whole => {
            format!("[{} characters, sha256 {}]", plain.len(), &hex::encode(Sha256::digest(&plain))[..16])
        }
        _ => format!("[more than {} bytes]", plain.len() / 4 * 3),
    };
    out.extend_from_slice(note.as_bytes());
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_')
}

/// Returns `text` without the payloads of its data URLs, wherever they are: in a field of their
/// own, within a text, in JSON within JSON.
fn without_urls(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out = Vec::new();
    let mut done = 0;
    for mark in FIND_MARK.find_iter(text) {
        let start = mark + MARK.len();
        // A mark within a payload that was removed.
        if mark < done || !is_url(&text[mark.saturating_sub(TYPE).max(done)..mark]) {
            continue;
        }
        let mut end = start;
        while text.get(end).is_some_and(|byte| is_base64(*byte))
            || (text.get(end) == Some(&b'\\') && text.get(end + 1) == Some(&b'/'))
        {
            end += 1;
        }
        out.extend_from_slice(&text[done..start]);
        payload(&mut out, &text[start..end], end < text.len());
        done = end;
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[done..]);
    Cow::Owned(out)
}

/// Returns whether `before` ends with `data:` and a type.
fn is_url(before: &[u8]) -> bool {
    let Some(at) = memmem::rfind(before, b"data:") else { return false };
    before[at..].iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'<' | b'>' | b'(' | b')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(text: &str, whitespace: Whitespace) -> String {
        let mut out = Vec::new();
        redact(&mut out, text.as_bytes(), whitespace);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_are_redacted_by_name_and_form() {
        // `hello` is aGVsbG8=, and its SHA-256 begins with 2cf24dba5fb0a30e.
        let rows = [
            (r#"{"model":"m","n":1.50,"x":[true,null]}"#, r#"{"model":"m","n":1.50,"x":[true,null]}"#),
            (r#"{"api_key":"sk-1","API-Key":"sk-2"}"#, r#"{"api_key":"***","API-Key":"***"}"#),
            (
                r#"{"headers":{"Authorization":"Bearer x","X-Api-Key":"y","accept":"z"}}"#,
                r#"{"headers":{"Authorization":"***","X-Api-Key":"***","accept":"z"}}"#,
            ),
            (r#"{"cookie":["a=b","c\"d"],"password":""}"#, r#"{"cookie":["***","***"],"password":""}"#),
            // A schema declares a password field and does not contain the password.
            (r#"{"password":{"type":"string"},"token":"t"}"#, r#"{"password":{"type":"string"},"token":"t"}"#),
            (r#"{"text":"api_key","a":"\"api_key\":\"b\""}"#, r#"{"text":"api_key","a":"\"api_key\":\"b\""}"#),
            (
                r#"{"url":"data:image/png;base64,aGVsbG8="}"#,
                r#"{"url":"data:image/png;base64,[5 bytes, sha256 2cf24dba5fb0a30e]"}"#,
            ),
            (
                r#"{"url":"data:image\/png;charset=x;base64,aGVsbG8"}"#,
                r#"{"url":"data:image\/png;charset=x;base64,[5 bytes, sha256 2cf24dba5fb0a30e]"}"#,
            ),
            (
                r#"{"a":"see ![x](data:image/png;base64,aGVsbG8=) and data:;base64,aGVsbG8=!"}"#,
                r#"{"a":"see ![x](data:image/png;base64,[5 bytes, sha256 2cf24dba5fb0a30e]) and data:;base64,[5 bytes, sha256 2cf24dba5fb0a30e]!"}"#,
            ),
            (r#"{"a":"some data: no;base64,aGVsbG8="}"#, r#"{"a":"some data: no;base64,aGVsbG8="}"#),
            (
                r#"{"arguments":"{\"u\":\"data:a/b;base64,aGVsbG8=\"}"}"#,
                r#"{"arguments":"{\"u\":\"data:a/b;base64,[5 bytes, sha256 2cf24dba5fb0a30e]\"}"}"#,
            ),
            (
                r#"{"source":{"data":"aGVsbG8=","type":"base64"}}"#,
                r#"{"source":{"data":"[5 bytes, sha256 2cf24dba5fb0a30e]","type":"base64"}}"#,
            ),
            (
                r#"{"input_audio":{"format":"wav","data":"aGVsbG8="},"data":"aGVsbG8="}"#,
                r#"{"input_audio":{"format":"wav","data":"[5 bytes, sha256 2cf24dba5fb0a30e]"},"data":"aGVsbG8="}"#,
            ),
            (
                r#"{"source":{"type":"text","data":"plain words"}}"#,
                r#"{"source":{"type":"text","data":"plain words"}}"#,
            ),
            (r#"{"b64_json":"aGVsbG8A"}"#, r#"{"b64_json":"[6 bytes, sha256 f3aefe62965a9190]"}"#),
        ];
        for (text, expected) in rows {
            assert_eq!(redacted(text, Whitespace::Keep), expected, "{text}");
        }
    }

    #[test]
    fn one_line() {
        let text = "{\n \"a\" : \"b c\",\r\n\t\"password\" :\n\"x\", \"n\": [ 1 ] }\n";
        assert_eq!(redacted(text, Whitespace::Drop), r#"{"a":"b c","password":"***","n":[1]}"#);
        let expected = "{\n \"a\" : \"b c\",\r\n\t\"password\" :\n\"***\", \"n\": [ 1 ] }\n";
        assert_eq!(redacted(text, Whitespace::Keep), expected);
    }

    #[test]
    fn every_name_is_found_by_its_first_letter_and_length() {
        for name in SECRET {
            let name = str::from_utf8(name).unwrap();
            for name in [name.to_owned(), name.replace('_', "-"), name.to_uppercase()] {
                assert_eq!(Field::of(name.as_bytes()), Field::Secret, "{name}");
                assert_eq!(Field::of(format!("{name}x").as_bytes()), Field::Other);
            }
        }
        assert!(HOLDERS.iter().all(|name| Field::of(name) == Field::Holder));
        assert!(PAYLOADS.iter().all(|name| Field::of(name) == Field::Payload));
        assert_eq!(Field::of(b"data"), Field::Data);
        for other in [&b""[..], b"choices", b"0", b"\xff", &[b'a'; 32], &[b'a'; 100]] {
            assert_eq!(Field::of(other), Field::Other);
        }
    }

    /// However it is cut, nothing of a secret or a payload is written.
    #[test]
    fn a_beginning() {
        let text = r#"{"k":"v","api_key":"QQQQQQ","i":"data:image/png;base64,WWWWWWWW","source":{"data":"ZZZZZZZZ"}}"#;
        for end in 0..=text.len() {
            let masked = redacted(&text[..end], Whitespace::Keep);
            assert!(!masked.contains('Q') && !masked.contains('W') && !masked.contains('Z'), "{masked}");
        }
        let cut = &text[..text.find("WWW").unwrap() + 5];
        assert!(redacted(cut, Whitespace::Keep).ends_with(";base64,[more than 3 bytes]"));
    }

    /// A quote too many in one line of a stream has no effect on the next.
    #[test]
    fn streams() {
        let text = "event: a\ndata: {\"x\":\"y\"}\n\n: it's \"\ndata: {\"secret\":\"x\"}\n\n";
        assert_eq!(redacted(text, Whitespace::Keep), text.replace("\"secret\":\"x\"", "\"secret\":\"***\""));
    }

    #[test]
    fn arbitrary_text_is_copied() {
        for text in ["", "\"", "\\", "\"\\", "}}}{{{\"a\":", "Bad Gateway", "\u{e9}\"\u{e9}"] {
            assert_eq!(redacted(text, Whitespace::Keep), text);
        }
    }
}

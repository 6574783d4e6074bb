//! Tool arguments: a JSON text in a string at OpenAI, an object at Anthropic
//! (`docs/internals/translation/responses.md`, "Tool calls in a response").
//!
//! Models write arguments, so they may be anything. Messages takes objects only, hence what is no
//! object is wrapped as `{"_raw_arguments": "<the exact text>"}` and unwrapped on the way back. A
//! response never fails over its arguments.

use std::borrow::Cow;

use crate::canonical::text::{Text, Unescape, Unit, is_blank};
use crate::json::{RawKind, RawStr, RawValue, write};

/// The key that holds arguments which are no JSON object.
pub(crate) const RAW_ARGUMENTS: &str = "_raw_arguments";

/// The input of a tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArgText<'a> {
    /// JSON text inside a string body (`arguments` of C and R). Maybe empty, maybe invalid.
    Quoted(Text<'a>),
    /// An object as it is (`input` of M).
    Object(RawValue<'a>),
    /// The free text of a custom tool.
    Free(Text<'a>),
}

impl<'a> ArgText<'a> {
    /// From `input` of M. What is no object is what the SDKs make of arguments that were none: a
    /// string is their text, and any other value was written so.
    pub fn of_input(input: RawValue<'a>) -> ArgText<'a> {
        match (input.kind(), input.as_str()) {
            (RawKind::Object, _) => ArgText::Object(input),
            (_, Some(text)) => ArgText::Quoted(text.into()),
            _ => {
                let mut quoted = Vec::with_capacity(input.bytes().len());
                write::escaped(&mut quoted, &String::from_utf8_lossy(input.bytes()));
                ArgText::Quoted(Text::escaped(quoted))
            }
        }
    }
}

impl ArgText<'_> {
    /// As an object, for `input` of M. Free text is shimmed to `{"input": …}`. `true` if the text
    /// had to be wrapped.
    pub fn write_object(&self, out: &mut Vec<u8>) -> bool {
        match self {
            ArgText::Quoted(text) => write_object(text.raw(), out),
            ArgText::Object(object) => {
                out.extend_from_slice(object.bytes());
                false
            }
            ArgText::Free(text) => {
                write::object(out, |o| o.raw_str("input", text.raw()));
                false
            }
        }
    }

    /// As the body of a string, without the quotes, for `arguments` of C and R. Free text is
    /// shimmed to `{"input": …}`.
    pub fn write_quoted(&self, out: &mut Vec<u8>) {
        match self {
            ArgText::Quoted(text) => out.extend_from_slice(text.as_bytes()),
            ArgText::Object(object) => write_quoted(*object, out),
            ArgText::Free(text) => {
                let mut object = Vec::with_capacity(text.as_bytes().len() + 16);
                write::object(&mut object, |o| o.raw_str("input", text.raw()));
                write_quoted(RawValue::new(&object), out);
            }
        }
    }

    /// As free text, for a custom tool that the target knows. The inverse of the shim where the
    /// text was shimmed.
    pub fn write_free(&self, out: &mut Vec<u8>) {
        match self {
            ArgText::Free(text) => out.extend_from_slice(text.as_bytes()),
            ArgText::Quoted(text) => crate::response::custom_tools::unshim(text.raw(), out),
            ArgText::Object(object) => {
                let mut quoted = Vec::with_capacity(object.bytes().len());
                write_quoted(*object, &mut quoted);
                crate::response::custom_tools::unshim(RawStr::new(&quoted), out);
            }
        }
    }
}

/// Writes arguments (a string body with JSON text in it) as an object. Nothing becomes `{}`; what
/// is no object is wrapped, and then the answer is `true`.
pub(crate) fn write_object(arguments: RawStr<'_>, out: &mut Vec<u8>) -> bool {
    let text: Cow<'_, [u8]> = if arguments.has_escapes() {
        let mut plain = Vec::with_capacity(arguments.len());
        arguments.unescape_into(&mut plain);
        Cow::Owned(plain)
    } else {
        Cow::Borrowed(arguments.as_bytes())
    };
    if text.trim_ascii().is_empty() {
        out.extend_from_slice(b"{}");
        return false;
    }
    match RawValue::parse(&text) {
        Ok(value) if value.is_object() => {
            out.extend_from_slice(value.bytes());
            false
        }
        _ => {
            write::object(out, |o| o.raw_str(RAW_ARGUMENTS, arguments));
            true
        }
    }
}

/// Returns whether arguments (a string body with JSON text in it) are nothing, an empty object or
/// `null`: what a host sends for a call that it has not made.
pub(crate) fn is_placeholder(arguments: RawStr<'_>) -> bool {
    is_blank(arguments) || matches!(arguments.unescape().trim(), "{}" | "null")
}

/// Writes an object as a string body, byte for byte; `{"_raw_arguments": …}` gives back the text it
/// wraps.
pub(crate) fn write_quoted(object: RawValue<'_>, out: &mut Vec<u8>) {
    match wrapped(object) {
        Some(text) => out.extend_from_slice(text.as_bytes()),
        None => write::escaped(out, &String::from_utf8_lossy(object.bytes())),
    }
}

/// Returns the text in `{"_raw_arguments": …}`, if the object is exactly that.
pub(crate) fn wrapped(object: RawValue<'_>) -> Option<RawStr<'_>> {
    let mut members = object.members();
    let (key, value, _) = members.next()?;
    let text = value.as_str().filter(|_| key.eq_str(RAW_ARGUMENTS))?;
    members.next().is_none().then_some(text)
}

/// Follows arguments as they stream and detects when they are one complete JSON object, by depth
/// and strings alone.
///
/// The encoder of Messages may have one block open at a time; this decides whether a tool's block
/// can be closed before its `Close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct ObjectScan {
    reader: Unescape,
    state: Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Scan {
    #[default]
    Before,
    Inside {
        depth: u32,
    },
    Text {
        depth: u32,
    },
    TextEscape {
        depth: u32,
    },
    Complete,
    /// No object, or something behind it.
    Other,
}

impl ObjectScan {
    /// Takes the next delta of arguments.
    pub(crate) fn feed(&mut self, delta: RawStr<'_>) {
        for byte in delta.as_bytes() {
            match self.reader.push(*byte) {
                Some(Unit::Byte(byte)) => self.state = self.state.next(byte),
                // Beyond ASCII: content of a string, or garbage outside.
                Some(Unit::Code(_)) => self.state = self.state.next(0xff),
                None => {}
            }
        }
    }

    /// One object has ended and only white space followed.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == Scan::Complete
    }

    /// An object has begun and not ended.
    pub(crate) fn is_cut(&self) -> bool {
        matches!(self.state, Scan::Inside { .. } | Scan::Text { .. } | Scan::TextEscape { .. })
    }
}

impl Scan {
    fn next(self, byte: u8) -> Scan {
        let space = byte.is_ascii_whitespace();
        match (self, byte) {
            (Scan::Before, b'{') => Scan::Inside { depth: 1 },
            (Scan::Before | Scan::Complete, _) if space => self,
            (Scan::Before | Scan::Complete | Scan::Other, _) => Scan::Other,
            (Scan::Inside { depth }, b'"') => Scan::Text { depth },
            (Scan::Inside { depth }, b'{' | b'[') => Scan::Inside { depth: depth.saturating_add(1) },
            (Scan::Inside { depth: 1 }, b'}' | b']') => Scan::Complete,
            (Scan::Inside { depth }, b'}' | b']') => Scan::Inside { depth: depth - 1 },
            (Scan::Inside { .. }, _) => self,
            (Scan::Text { depth }, b'"') => Scan::Inside { depth },
            (Scan::Text { depth }, b'\\') => Scan::TextEscape { depth },
            (Scan::Text { .. }, _) => self,
            (Scan::TextEscape { depth }, _) => Scan::Text { depth },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quote(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        write::escaped(&mut out, text);
        out
    }

    /// The input of M is always an object, and the exact text comes back.
    #[test]
    fn arguments_become_objects_and_come_back() {
        let big = format!("{{\"x\":\"{}\"}}", "y".repeat(1 << 20));
        let rows = [
            ("", "{}", false),
            ("  \n", "{}", false),
            ("{}", "{}", false),
            (" {\"a\": 1.0}\n", "{\"a\": 1.0}", false),
            ("{\"a\":1,\"a\":\"\\u00e9\"}", "{\"a\":1,\"a\":\"\\u00e9\"}", false),
            (&big, &big, false),
            ("{\"a\":", "{\"_raw_arguments\":\"{\\\"a\\\":\"}", true),
            ("[1]", "{\"_raw_arguments\":\"[1]\"}", true),
            ("{} x", "{\"_raw_arguments\":\"{} x\"}", true),
            ("rm -rf\n", "{\"_raw_arguments\":\"rm -rf\\n\"}", true),
        ];
        for (text, object, repaired) in rows {
            let mut out = Vec::new();
            assert_eq!(write_object(RawStr::new(&quote(text)), &mut out), repaired, "{text}");
            assert_eq!(String::from_utf8_lossy(&out), *object);
            let mut back = Vec::new();
            write_quoted(RawValue::new(&out), &mut back);
            if repaired {
                assert_eq!(back, quote(text), "{text}");
            }
        }
        assert_eq!(wrapped(RawValue::new(b"{\"_raw_arguments\":\"x\",\"y\":1}")), None);
    }

    #[test]
    fn completeness() {
        let rows = [
            ("", false),
            ("{", false),
            ("{}", true),
            (" {\"a\":[{}]} ", true),
            ("{\"a\":\"}", false),
            ("{\"a\":\"\\\"}\"}", true),
            ("{} {", false),
            ("[]", false),
            ("\"{}\"", false),
        ];
        for (text, complete) in rows {
            let quoted = quote(text);
            for cut in 0..=quoted.len() {
                let mut scan = ObjectScan::default();
                scan.feed(RawStr::new(&quoted[..cut]));
                scan.feed(RawStr::new(&quoted[cut..]));
                assert_eq!(scan.is_complete(), complete, "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn every_form_in_every_dress() {
        let object = ArgText::Object(RawValue::new(br#"{"input":"a\nb"}"#));
        let quoted = ArgText::Quoted(Text::plain("{\"input\":\"a\\nb\"}"));
        let free = ArgText::Free(Text::plain("a\nb"));
        for args in [&object, &quoted, &free] {
            let (mut as_object, mut as_quoted, mut as_free) = (Vec::new(), Vec::new(), Vec::new());
            assert!(!args.write_object(&mut as_object));
            args.write_quoted(&mut as_quoted);
            args.write_free(&mut as_free);
            assert_eq!(as_object, br#"{"input":"a\nb"}"#);
            assert_eq!(as_quoted, br#"{\"input\":\"a\\nb\"}"#);
            assert_eq!(as_free, br"a\nb");
        }
    }
}

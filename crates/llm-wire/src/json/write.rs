//! Appending JSON to a `Vec<u8>`.
//!
//! The single-value functions write exactly their value; [`object`] and [`array()`] keep the
//! commas, so that code reads like the JSON that it writes:
//!
//! ```
//! use llm_wire::json::write;
//! let mut out = Vec::new();
//! write::object(&mut out, |o| {
//!     o.str("type", "error");
//!     o.object("error", |o| {
//!         o.str("message", "no such model");
//!         o.null("param");
//!     });
//! });
//! assert_eq!(out, br#"{"type":"error","error":{"message":"no such model","param":null}}"#);
//! ```

use super::raw::{RawStr, RawValue};
use super::scan;

/// Writes a string, escaped as needed.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// The body of a string, without the quotes: to write one string in pieces.
pub fn escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let to = scan::plain_run(bytes, from);
        out.extend_from_slice(&bytes[from..to]);
        match bytes.get(to) {
            None => return,
            Some(b'"') => out.extend_from_slice(b"\\\""),
            Some(b'\\') => out.extend_from_slice(b"\\\\"),
            Some(b'\n') => out.extend_from_slice(b"\\n"),
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(b'\t') => out.extend_from_slice(b"\\t"),
            Some(&control) => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]]);
            }
        }
        from = to + 1;
    }
}

/// A string whose body is escaped already.
pub fn raw_string(out: &mut Vec<u8>, body: RawStr<'_>) {
    out.push(b'"');
    out.extend_from_slice(body.as_bytes());
    out.push(b'"');
}

/// Writes a key and its colon.
#[inline]
pub fn key(out: &mut Vec<u8>, name: &str) {
    if !scan::is_plain(name.as_bytes()) {
        string(out, name);
        return out.push(b':');
    }
    // Nearly all: keys are names.
    out.reserve(name.len() + 3);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Writes a number.
pub fn u64(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// Writes `true` or `false`.
pub fn bool(out: &mut Vec<u8>, b: bool) {
    out.extend_from_slice(if b { b"true" } else { b"false" });
}

/// An object whose members `fill` writes.
pub fn object(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    out.push(b'{');
    fill(&mut Object { out, empty: true });
    out.push(b'}');
}

/// The members of an object that `fill` writes, without the braces.
pub(crate) fn members(out: &mut Vec<u8>, fill: impl FnOnce(&mut Object<'_>)) {
    fill(&mut Object { out, empty: true });
}

/// An array whose elements `fill` writes.
pub fn array(out: &mut Vec<u8>, fill: impl FnOnce(&mut Array<'_>)) {
    out.push(b'[');
    fill(&mut Array { out, empty: true });
    out.push(b']');
}

/// Writes the members of one object.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl Object<'_> {
    /// Begins a member and returns the buffer, for a value that no other method writes.
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
        /// The longest name that is put together before it is appended, in bytes.
        const MAX_SHORT: usize = 28;
        let is_first = std::mem::take(&mut self.empty);
        let len = name.len();
        if len <= MAX_SHORT && scan::is_plain(name.as_bytes()) {
            let mut text = [0; MAX_SHORT + 4];
            (text[0], text[1]) = (b',', b'"');
            text[2..2 + len].copy_from_slice(name.as_bytes());
            (text[2 + len], text[3 + len]) = (b'"', b':');
            self.out.extend_from_slice(&text[usize::from(is_first)..4 + len]);
            return self.out;
        }
        if !is_first {
            self.out.push(b',');
        }
        key(self.out, name);
        self.out
    }

    /// Writes a string member. `text` is escaped.
    pub fn str(&mut self, name: &str, text: &str) {
        string(self.key(name), text);
    }

    /// `null` for `None`.
    pub fn opt_str(&mut self, name: &str, text: Option<&str>) {
        match text {
            Some(text) => self.str(name, text),
            None => self.null(name),
        }
    }

    /// Writes a string member that is escaped already.
    pub fn raw_str(&mut self, name: &str, body: RawStr<'_>) {
        raw_string(self.key(name), body);
    }

    /// Writes a member whose value is copied as it is.
    pub fn value(&mut self, name: &str, value: RawValue<'_>) {
        self.key(name).extend_from_slice(value.bytes());
    }

    /// Writes a number member.
    pub fn u64(&mut self, name: &str, n: u64) {
        u64(self.key(name), n);
    }

    /// Writes a `true` or `false` member.
    pub fn bool(&mut self, name: &str, b: bool) {
        bool(self.key(name), b);
    }

    /// Writes a `null` member.
    pub fn null(&mut self, name: &str) {
        self.key(name).extend_from_slice(b"null");
    }

    /// Writes an object member, whose members `fill` writes.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        object(self.key(name), fill);
    }

    /// Writes an array member, whose elements `fill` writes.
    pub fn array(&mut self, name: &str, fill: impl FnOnce(&mut Array<'_>)) {
        array(self.key(name), fill);
    }
}

/// Writes the elements of one array.
pub struct Array<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl Array<'_> {
    /// Begins an element and returns the buffer, for a value that no other method writes.
    pub fn element(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out
    }

    /// Writes a string element. `text` is escaped.
    pub fn str(&mut self, text: &str) {
        string(self.element(), text);
    }

    /// Writes a string element that is escaped already.
    pub fn raw_str(&mut self, body: RawStr<'_>) {
        raw_string(self.element(), body);
    }

    /// Writes an element that is copied as it is.
    pub fn value(&mut self, value: RawValue<'_>) {
        self.element().extend_from_slice(value.bytes());
    }

    /// Writes a number element.
    pub fn u64(&mut self, n: u64) {
        u64(self.element(), n);
    }

    /// Writes an object element, whose members `fill` writes.
    pub fn object(&mut self, fill: impl FnOnce(&mut Object<'_>)) {
        object(self.element(), fill);
    }

    /// Writes an array element, whose elements `fill` writes.
    pub fn array(&mut self, fill: impl FnOnce(&mut Array<'_>)) {
        array(self.element(), fill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_members_and_elements() {
        let mut out = Vec::new();
        object(&mut out, |o| {
            o.object("none", |_| {});
            o.array("list", |a| {
                a.u64(0);
                a.str("x");
                a.raw_str(RawStr::new(br"\ud83d"));
                a.array(|_| {});
                a.object(|o| o.bool("yes", true));
                a.object(|o| {
                    o.null("a \"quote\"");
                    o.null("name_of_twenty_eight_letters");
                    o.null("name_of_twenty_nine_letters_x");
                });
                a.value(RawValue::new(b"1.0"));
            });
            o.opt_str("some", Some("y"));
            o.opt_str("nothing", None);
            o.u64("n", u64::MAX);
            o.raw_str("raw", RawStr::new(br"a\n"));
            o.value("number", RawValue::new(b"1e400"));
        });
        let expected = br#"{"none":{},"list":[0,"x","\ud83d",[],{"yes":true},{"a \"quote\"":null,"name_of_twenty_eight_letters":null,"name_of_twenty_nine_letters_x":null},1.0],"some":"y","nothing":null,"n":18446744073709551615,"raw":"a\n","number":1e400}"#;
        assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
        scan::validate(&out).unwrap();
    }

    #[test]
    fn strings_come_back_from_another_reader() {
        let every_char: String = (0..0x250).filter_map(char::from_u32).chain("\u{2028}\u{1f600}".chars()).collect();
        let mut out = Vec::new();
        string(&mut out, &every_char);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), every_char);
        assert_eq!(RawValue::parse(&out).unwrap().as_str().unwrap().unescape(), every_char);
    }
}

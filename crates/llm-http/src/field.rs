//! Header fields as offsets into the caller's buffer.

use std::ops::Range;
use std::sync::Arc;

/// A range of the buffer that a head was parsed from. Offsets stay right as long as the bytes
/// before them stay in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` lies in `buf`. An empty `part` may point anywhere (httparse returns constants
    /// for absent texts), hence `0..0`.
    pub(super) fn locate(part: &[u8], buf: &[u8]) -> Span {
        let start = (part.as_ptr() as usize).wrapping_sub(buf.as_ptr() as usize);
        if part.is_empty() || start.saturating_add(part.len()) > buf.len() {
            debug_assert!(part.is_empty(), "a part that is not of this buffer");
            return Span::default();
        }
        Span::new(start, start + part.len())
    }

    /// Heads are bounded by [`Limits::head_bytes`](super::Limits), a `u32`, so the casts keep every
    /// bit.
    pub(super) fn new(start: usize, end: usize) -> Span {
        Span { start: start as u32, end: end as u32 }
    }

    pub(super) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The bytes, given the buffer that was parsed. Empty if `buf` is too short to be that buffer.
    pub fn of(self, buf: &[u8]) -> &[u8] {
        let bytes = buf.get(self.start as usize..self.end as usize);
        debug_assert!(bytes.is_some(), "a span of another buffer");
        bytes.unwrap_or_default()
    }
}

/// One header field: name as sent, value without the whitespace around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The position of the name in the buffer.
    pub name: Span,
    /// The position of the value in the buffer.
    pub value: Span,
}

/// The fields of one head, in the order sent. At most [`MAX_FIELDS`](super::head::MAX_FIELDS). A
/// clone shares them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields(Arc<[Field]>);

impl Fields {
    pub(super) fn locate(parsed: &[httparse::Header<'_>], buf: &[u8]) -> Fields {
        let field = |header: &httparse::Header<'_>| Field {
            name: Span::locate(header.name.as_bytes(), buf),
            value: Span::locate(header.value, buf),
        };
        Fields(parsed.iter().map(field).collect())
    }

    pub(super) fn new(fields: Vec<Field>) -> Fields {
        Fields(fields.into())
    }

    pub(super) fn as_slice(&self) -> &[Field] {
        &self.0
    }

    /// Returns the number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, in the order sent.
    pub fn iter<'b>(&'b self, buf: &'b [u8]) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + Clone {
        self.0.iter().map(move |field| (field.name.of(buf), field.value.of(buf)))
    }

    /// Returns the value of the first field of this name; names compare without regard to ASCII
    /// case.
    pub fn get<'b>(&'b self, buf: &'b [u8], name: &str) -> Option<&'b [u8]> {
        // By length first: most fields are of no interest, and none of their bytes is looked at.
        let mut fields = self.0.iter().filter(|field| field.name.len() == name.len());
        let field = fields.find(|field| field.name.of(buf).eq_ignore_ascii_case(name.as_bytes()))?;
        Some(field.value.of(buf))
    }

    /// Removes all fields of this name.
    pub fn remove(&mut self, buf: &[u8], name: &str) {
        let is_other = |field: &&Field| !field.name.of(buf).eq_ignore_ascii_case(name.as_bytes());
        self.0 = self.0.iter().filter(is_other).copied().collect();
    }

    /// Returns the values of all fields of this name.
    pub fn get_all<'b>(&'b self, buf: &'b [u8], name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.iter(buf).filter(move |(sent, _)| sent.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }
}

/// Returns the elements of a comma-separated list (RFC 9110 5.6.1), without the whitespace around
/// them. Empty elements are kept: what they mean is for the caller to say.
pub fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_find_their_bytes_again() {
        let buf = b"host: example".to_vec();
        let name = Span::locate(&buf[..4], &buf);
        let value = Span::locate(&buf[6..], &buf);
        let moved = buf.clone();
        assert_eq!((name.of(&moved), value.of(&moved)), (&b"host"[..], &b"example"[..]));
        assert_eq!(Span::locate(b"", &buf).of(&buf), b"");
    }

    #[test]
    fn lists_keep_empty_elements() {
        let split = |value: &'static str| list(value.as_bytes()).collect::<Vec<_>>();
        assert_eq!(split("a, b\t,c"), [b"a", b"b", b"c"]);
        assert_eq!(split(", a"), [&b""[..], b"a"]);
        assert_eq!(split(""), [b""]);
    }
}

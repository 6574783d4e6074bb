//! Writes bodies as values of JSON: as they are where they are complete JSON, else as text with a
//! note of what is missing.

use crate::control_plane::sinks::redact::{Whitespace, redact};
use crate::telemetry::capture::{Body, CappedBytes};
use llm_wire::json::{scan, write};
use llm_wire::sse::Framer;

/// A part of a body, and the size of the whole.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub bytes: &'a [u8],
    total: u64,
}

impl<'a> Part<'a> {
    /// Takes at most `most` bytes of a capture, which may have more for another sink.
    pub(crate) fn of(cut: &'a CappedBytes, most: usize) -> Part<'a> {
        Part { bytes: &cut.bytes[..cut.bytes.len().min(most)], total: cut.total }
    }

    /// Returns whether nothing was cut.
    pub(crate) fn is_whole(&self) -> bool {
        self.bytes.len() as u64 == self.total
    }

    /// Returns the body if it is complete and JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.is_whole() && scan::validate(self.bytes).is_ok()
    }

    /// Writes the body as one value.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if self.is_json() {
            return redact(out, self.bytes, Whitespace::Drop);
        }
        let mut text = text(self.bytes, !self.is_whole());
        if !self.is_whole() {
            text.push_str(&truncated(self.total));
        }
        write::string(out, &text);
    }
}

/// Writes the note about the missing bytes.
pub(crate) fn truncated(total: u64) -> String {
    format!("... [truncated, {total} bytes total]")
}

/// Returns the text without secrets. A character that was cut is left out.
pub(crate) fn text(bytes: &[u8], cut: bool) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    redact(&mut plain, bytes, Whitespace::Keep);
    if cut
        && let Err(error) = std::str::from_utf8(&plain)
        && error.error_len().is_none()
    {
        plain.truncate(error.valid_up_to());
    }
    String::from_utf8(plain).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Calls `f` with each event of a stream. One captured piece may hold several.
pub(crate) fn events(body: &Body, most: usize, mut each: impl FnMut(llm_wire::sse::Block<'_>)) {
    let mut framer = Framer::new(most.max(1 << 20));
    let mut left = most;
    for mut piece in body.events() {
        if piece.len() > left {
            return;
        }
        left -= piece.len();
        while let Ok(Some(block)) = framer.next(&mut piece) {
            each(block);
        }
    }
    if let Some(block) = framer.finish() {
        each(block);
    }
}

/// Writes the events of a stream as an array of texts, as they came.
pub(crate) fn chunks(out: &mut Vec<u8>, body: &Body, most: usize) {
    write::array(out, |array| {
        let (mut written, mut plain) = (0, Vec::new());
        events(body, most, |block| {
            written += block.raw.len() as u64;
            plain.clear();
            redact(&mut plain, block.raw, Whitespace::Keep);
            match str::from_utf8(&plain) {
                Ok(text) => array.str(text),
                Err(_) => array.str(&String::from_utf8_lossy(&plain)),
            }
        });
        if written < body.cut.total {
            array.str(&truncated(body.cut.total));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8], total: u64, most: usize) -> String {
        let mut out = Vec::new();
        Part::of(&CappedBytes { bytes: bytes.to_vec(), total }, most).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values() {
        let rows: [(&[u8], u64, usize, &str); 8] = [
            (b"{\"a\": 1e3}\n", 11, 99, r#"{"a":1e3}"#),
            (b" \"text\" ", 8, 99, r#""text""#),
            (b"{\"a\":", 5, 99, r#""{\"a\":""#),
            (b"{\"a\":1}", 9, 99, r#""{\"a\":1}... [truncated, 9 bytes total]""#),
            (b"{\"a\":1}", 7, 3, r#""{\"a... [truncated, 7 bytes total]""#),
            ("\u{e9}\u{e9}".as_bytes(), 4, 3, "\"\u{e9}... [truncated, 4 bytes total]\""),
            (b"Bad\r\nGateway\xff", 12, 99, "\"Bad\\r\\nGateway\u{fffd}... [truncated, 12 bytes total]\""),
            (b"", 0, 0, r#""""#),
        ];
        for (bytes, total, most, expected) in rows {
            assert_eq!(written(bytes, total, most), expected);
        }
    }

    #[test]
    fn streams() {
        let cut = CappedBytes { bytes: b"data: 1\n\n: x\n\ndata: {\"secret\":\"s\"}\n\n".to_vec(), total: 36 };
        let whole = Body { ends: vec![14, 36], cut, stream: true };
        let shown = |body: &Body, most| {
            let mut out = Vec::new();
            chunks(&mut out, body, most);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&whole, 99), r#"["data: 1\n\n",": x\n","\n","data: {\"secret\":\"***\"}\n\n"]"#);
        assert_eq!(shown(&whole, 20), r#"["data: 1\n\n",": x\n","\n","... [truncated, 36 bytes total]"]"#);
        let mut long = whole;
        long.cut.total = 50;
        assert!(shown(&long, 99).ends_with(r#","... [truncated, 50 bytes total]"]"#));
    }
}

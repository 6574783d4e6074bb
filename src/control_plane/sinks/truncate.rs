//! Writes bodies as values of JSON: as they are where they are complete JSON, else as text with a
//! note of what is missing.

use crate::control_plane::sinks::redact::{self, Whitespace, redact};
use crate::telemetry::capture::{Body, CappedBytes, whole_events};
use llm_wire::json::{scan, write};
use llm_wire::passthrough::event_strings::EventStrings;
use llm_wire::passthrough::plain_documents::PlainDocuments;
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

    /// Does what [`Part::write`] does. A body like one before is copied unread.
    pub(crate) fn write_by(&self, out: &mut Vec<u8>, known: &mut PlainDocuments) {
        if !self.is_whole() {
            return self.write(out);
        }
        // What is hidden depends on keys, on the order of values and on marks.
        if known.is_known(self.bytes) && !redact::has_mark(self.bytes) {
            return out.extend_from_slice(self.bytes);
        }
        let from = out.len();
        self.write(out);
        match out[from..] == *self.bytes && !redact::has_mark(self.bytes) && self.is_json() {
            true => known.learn(self.bytes, redact::is_harmless),
            false => known.skip(),
        }
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
    for piece in body.events() {
        let mut events = whole_events(piece, left);
        left -= events.len();
        let is_cut = events.len() < piece.len();
        while let Ok(Some(block)) = framer.next(&mut events) {
            each(block);
        }
        if is_cut {
            return;
        }
    }
    if let Some(block) = framer.finish() {
        each(block);
    }
}

/// Writes the events of a stream as an array of texts, as they came. Events that differ in little
/// from those before are written by `strings`.
pub(crate) fn chunks(out: &mut Vec<u8>, body: &Body, most: usize, strings: &mut EventStrings) {
    write::array(out, |array| {
        let mut writer = ChunkWriter { array, strings, plain: Vec::new(), begin: [0; ALIKE], learned: 0 };
        let mut framer = Framer::new(most.max(1 << 20));
        let (mut written, mut left) = (0, most);
        for piece in body.events() {
            let mut events = whole_events(piece, left);
            left -= events.len();
            let is_cut = events.len() < piece.len();
            loop {
                if framer.is_between_events() {
                    let known = writer.known(events);
                    written += known as u64;
                    events = &events[known..];
                }
                let Ok(Some(block)) = framer.next(&mut events) else { break };
                written += block.raw.len() as u64;
                writer.event(block.raw);
            }
            if is_cut {
                break;
            }
        }
        if let Some(block) = framer.finish() {
            written += block.raw.len() as u64;
            writer.event(block.raw);
        }
        if written < body.cut.total {
            array.str(&truncated(body.cut.total));
        }
    });
}

/// Bytes at the start of two events that are equal where the events are of one kind.
const ALIKE: usize = 40;
/// Events of one body from which is learned. One of the usual kind has two or three kinds that
/// repeat.
const MAX_LEARNED: u32 = 16;

/// Writes events as texts, without secrets.
struct ChunkWriter<'a, 'o> {
    array: &'a mut write::Array<'o>,
    strings: &'a mut EventStrings,
    /// The last event, without secrets.
    plain: Vec<u8>,
    /// How the last event began.
    begin: [u8; ALIKE],
    learned: u32,
}

impl ChunkWriter<'_, '_> {
    /// Writes the events at the start of `events` that are known, and returns their length.
    fn known(&mut self, events: &[u8]) -> usize {
        let mut len = 0;
        while let Some(known) = self.strings.find(&events[len..], is_clean) {
            self.strings.write(self.array.element(), &events[len..], &known);
            len += known.len;
        }
        len
    }

    fn event(&mut self, event: &[u8]) {
        self.plain.clear();
        redact(&mut self.plain, event, Whitespace::Keep);
        match str::from_utf8(&self.plain) {
            Ok(text) => self.array.str(text),
            Err(_) => self.array.str(&String::from_utf8_lossy(&self.plain)),
        }
        let Some(begin) = event.first_chunk() else { return };
        let is_alike = std::mem::replace(&mut self.begin, *begin) == *begin;
        // What is redacted depends on keys and on the order of values, so it is the same for events
        // of one structure: nothing.
        if is_alike && self.learned < MAX_LEARNED && self.plain == event && !redact::may_begin_url(event) {
            self.learned += 1;
            self.strings.learn(event);
        }
    }
}

/// Returns whether a text within an event can't be a part of what is redacted by its form.
fn is_clean(text: &[u8]) -> bool {
    !redact::may_begin_url(text)
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
            chunks(&mut out, body, most, &mut EventStrings::default());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(shown(&whole, 99), r#"["data: 1\n\n",": x\n","\n","data: {\"secret\":\"***\"}\n\n"]"#);
        assert_eq!(shown(&whole, 20), r#"["data: 1\n\n",": x\n","\n","... [truncated, 36 bytes total]"]"#);
        // A piece of several events is cut behind one of them.
        assert_eq!(shown(&whole, 10), r#"["data: 1\n\n","... [truncated, 36 bytes total]"]"#);
        let mut long = whole;
        long.cut.total = 50;
        assert!(shown(&long, 99).ends_with(r#","... [truncated, 50 bytes total]"]"#));
    }

    /// Of documents in any order, each is written as by itself.
    #[test]
    fn known_documents_are_written_as_others() {
        let shapes = [
            r#"{"model":"TEXT","messages":[{"role":"user","content":"TEXT"}],"n":NUMBER}"#,
            r#"{"secret":"","content":"TEXT"}"#,
            r#"{"secret":"TEXT","content":"TEXT"}"#,
            r#"{"source":{"type":"base64","data":"TEXT"},"data":"TEXT"}"#,
            r#"{"source":["TEXT",{"data":"TEXT"},"TEXT"]}"#,
            r#"{"cookie":[{"a":"TEXT"},"TEXT",["TEXT"]]}"#,
            r#"{"b64_json":"TEXT"} "#,
            r#"["TEXT","TEXT"#,
        ];
        let mut known = PlainDocuments::default();
        let mut unread = 0;
        for n in 0..4000 {
            // Each shape for a while, with texts that change from one document to the next.
            let text = TEXTS[n / 3 % TEXTS.len()];
            let document = shapes[n / 40 % shapes.len()].replace("TEXT", text).replace("NUMBER", &n.to_string());
            let cut = CappedBytes { total: document.len() as u64, bytes: document.into_bytes() };
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            Part::of(&cut, 1 << 20).write(&mut expected);
            unread += u32::from(known.is_known(&cut.bytes));
            Part::of(&cut, 1 << 20).write_by(&mut out, &mut known);
            assert_eq!(String::from_utf8(out).unwrap(), String::from_utf8(expected).unwrap());
        }
        assert!(unread > 50, "{unread}");
    }

    const EVENTS: &[&str] = &[
        "data: {\"id\":\"chatcmpl-0123456789\",\"choices\":[{\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}]}\n\n",
        "data: {\"id\":\"chatcmpl-0123456789\",\"choices\":[{\"secret\":\"TEXT\",\"content\":\"TEXT\",\"text\":\"\"}]}\n\n",
        "event: response.output_text.delta\ndata: {\"type\":\"x\",\"sequence_number\":12,\"delta\":\"TEXT\",\"o\":[\"TEXT\"]}\n\n",
        "event: response.output_text.delta\ndata: {\"source\":{\"delta\":\"TEXT\",\"data\":\"aGVsbG8=\"}}\n\n",
        "event: response.output_text.delta\ndata: {\"source\":{\"content\":[\"TEXT\",{\"data\":\"TEXT\"},\"TEXT\"]}}\n\n",
        "event: response.output_text.delta\r\ndata: {\"delta\":\"TEXT\"}\r\n\r\n",
        "event: response.output_text.delta \"TEXT\ndata: {\"delta\":\"TEXT\"}\n\n",
        ": a comment that is as long as the begin of an event, with TEXT\n\n",
        "data: [DONE]\n\n",
    ];
    const TEXTS: &[&str] = &[
        "a",
        "",
        " some words; with é",
        r#"\"quoted\" \\ \n"#,
        "data:image/png;base64,aGVsbG8=",
        "data:image/png;base64",
        ";",
        r#"{\"secret\":\"x\"}"#,
    ];

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// However events are grouped to pieces, each is written as redacted and escaped by itself.
        #[test]
        fn known_events_are_written_as_others(
            steps in proptest::collection::vec((0usize..9, 0usize..8, 0u8..3, proptest::bool::ANY), 0..60),
            odd in 0usize..400,
        ) {
            let (mut body, mut total) = (Body { stream: true, ..Body::default() }, 0);
            let mut last = 0;
            for (event, text, repeats, ends) in steps {
                // Runs of one kind, as they are in streams.
                last = if repeats == 0 { event } else { last };
                let event = EVENTS[last].replace("TEXT", TEXTS[text]);
                total += event.len();
                body.cut.bytes.extend_from_slice(event.as_bytes());
                if ends {
                    body.ends.push(total as u32);
                }
            }
            body.ends.push(total as u32);
            body.cut.total = total as u64;
            if let Some(byte) = body.cut.bytes.get_mut(odd) {
                // Text that is no UTF-8.
                *byte = if *byte == b'a' { 0xff } else { *byte };
            }
            let (mut out, mut expected) = (Vec::new(), Vec::new());
            chunks(&mut out, &body, total, &mut EventStrings::default());
            write::array(&mut expected, |array| {
                events(&body, total, |block| {
                    let mut plain = Vec::new();
                    redact(&mut plain, block.raw, Whitespace::Keep);
                    array.str(&String::from_utf8_lossy(&plain));
                });
            });
            proptest::prop_assert_eq!(String::from_utf8(out).unwrap(), String::from_utf8(expected).unwrap());
        }
    }
}

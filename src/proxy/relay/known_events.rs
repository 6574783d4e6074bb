//! The events of a stream that need no tap: their structure is that of events which were read.

use super::source::UpstreamBody;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::capture::Piece;
use llm_wire::Format;
use llm_wire::passthrough::event_template::EventTemplate;
use llm_wire::passthrough::event_templates::{Cursor, EventTemplates, KnownEvent};
use llm_wire::passthrough::tap;
use llm_wire::passthrough::tap::{AnyTap, FrameKind};
use llm_wire::sse::Frame;

/// The templates of one stream are fixed so often at most: where more changes than the text, it
/// gains nothing.
const MAX_FIXES: u32 = 4;

/// The client's name of the model, where the provider uses another.
pub(super) struct Rename {
    pub format: Format,
    /// In quotes.
    pub quoted: Vec<u8>,
}

/// What is known of the events of one stream.
#[derive(Default)]
pub(super) struct KnownEvents {
    rename: Option<Rename>,
    /// The structure of its content so far.
    content: EventTemplate,
    /// What content is written with before and behind its text, if the model is renamed. `None` also
    /// where content can't be written so.
    renamed: Option<[Vec<u8>; 2]>,
    /// The place in the worker's templates.
    cursor: Cursor,
    fixes: u32,
}

/// How much at the start of some bytes is events whose structure is known.
pub(super) struct KnownLen {
    /// Bytes for the client.
    pub kept: usize,
    /// Bytes of the event behind them that is not for the client.
    pub dropped: usize,
}

impl KnownEvents {
    pub(super) fn new(rename: Option<Rename>) -> KnownEvents {
        KnownEvents { rename, ..KnownEvents::default() }
    }

    /// Returns the length of the events at the start of `data` that are content behind other content.
    pub(super) fn flowing(&self, data: &[u8]) -> usize {
        self.content.match_events(data)
    }

    /// Writes `chunk` for the client, if it is one event that is content behind other content.
    #[inline]
    fn forward(&self, chunk: &[u8], out: &mut Vec<u8>) -> bool {
        if self.rename.is_none() {
            let is_known = self.content.is_event(chunk);
            if is_known {
                out.extend_from_slice(chunk);
            }
            return is_known;
        }
        let (Some([head, tail]), Some((before, behind))) = (&self.renamed, self.content.surroundings()) else {
            return false;
        };
        let is_known = self.content.is_event(chunk);
        if is_known {
            let text = &chunk[before.len()..chunk.len() - behind.len()];
            [head, text, tail].into_iter().for_each(|piece| out.extend_from_slice(piece));
        }
        is_known
    }

    /// Forwards the chunks of which each is one event that is content behind other content. `edits` says
    /// whether the client may get other bytes than the provider sent.
    pub(super) fn forward_chunks(
        &self,
        body: &mut UpstreamBody,
        out: &mut Vec<u8>,
        recorder: &mut RequestRecorder,
        edits: bool,
    ) {
        let capture = &mut recorder.capture;
        if !capture.is_on() {
            return body.whole_chunks(|chunk| self.forward(chunk, out));
        }
        body.whole_chunks(|chunk| {
            let from = out.len();
            let is_known = self.forward(chunk, out);
            if is_known {
                capture.upstream_sent(Piece::Event(chunk));
            }
            if is_known && edits {
                capture.client_got(Piece::Event(&out[from..]));
            }
            is_known
        });
    }

    /// Returns the event at the start of `data`, if it is known. Content behind other content, which
    /// does nothing to a tap, is [`KnownEvents::flowing`].
    pub(super) fn next<'e>(&mut self, templates: &mut EventTemplates, data: &'e [u8]) -> Option<KnownEvent<'e>> {
        let known = templates.match_event(data, &mut self.cursor)?;
        if known.effect.kind == FrameKind::Content && known.usage.is_none() && self.fixes < MAX_FIXES {
            self.fixes += 1;
            if let Some(content) = templates.fixed(&data[..known.len], self.cursor) {
                self.content = content;
            }
        }
        Some(known)
    }

    /// Learns from an event that `tap` was shown last, which has `frame` in it.
    pub(super) fn learn(&mut self, templates: &mut EventTemplates, tap: &AnyTap, event: &[u8], frame: &Frame<'_>) {
        let offset = (frame.data.as_ptr() as usize).wrapping_sub(event.as_ptr() as usize);
        if tap.passed_unread() {
            if !self.content.learn(event) {
                return;
            }
            // Data on one line lies in the event's own bytes.
            self.renamed = if offset < event.len() { self.rename_in(event, offset, frame.data) } else { None };
            return;
        }
        let Some(effect) = tap.effect() else { return };
        match tap.usage_at() {
            None => templates.learn(event, effect, None),
            Some(at) if offset < event.len() => {
                templates.learn(event, effect, Some(at.start + offset..at.end + offset));
            }
            Some(_) => {}
        }
    }

    /// Returns the surroundings of the text of `event`, from which content was learned, with the client's
    /// name of the model. `data` is at `offset` in it.
    fn rename_in(&self, event: &[u8], offset: usize, data: &[u8]) -> Option<[Vec<u8>; 2]> {
        let rename = self.rename.as_ref()?;
        let (before, behind) = self.content.surroundings()?;
        let mut parts = [before.to_vec(), behind.to_vec()];
        let Some(range) = tap::model_range(rename.format, data) else { return Some(parts) };
        let (start, end) = (range.start + offset, range.end + offset);
        let behind_at = event.len().checked_sub(behind.len())?;
        let (n, from) = if start >= behind_at { (1, behind_at) } else { (0, 0) };
        if n == 0 && end > before.len() {
            return None;
        }
        parts[n].splice(start - from..end - from, rename.quoted.iter().copied());
        Some(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm_wire::passthrough::splice;
    use llm_wire::sse::Framer;

    fn learned(events: &[&str], model: Option<&str>) -> KnownEvents {
        let rename = model.map(|model| Rename { format: Format::Chat, quoted: splice::quoted(model) });
        let mut known = KnownEvents::new(rename);
        let (mut tap, mut templates) = (AnyTap::new(Format::Chat), EventTemplates::default());
        for event in events {
            let (mut framer, mut rest) = (Framer::default(), event.as_bytes());
            let frame = framer.next(&mut rest).unwrap().unwrap().frame.unwrap();
            tap.frame(&frame);
            known.learn(&mut templates, &tap, event.as_bytes(), &frame);
        }
        known
    }

    /// Wherever the model's name is, and where there is none.
    #[test]
    fn content_with_the_name_of_the_client() {
        const SHAPES: [&str; 3] = [
            r#"data: {"model":"theirs","choices":[{"delta":{"content":"TEXT"}}]}"#,
            r#"data: {"choices":[{"delta":{"content":"TEXT"}}], "model" : "theirs" }"#,
            r#"data: {"choices":[{"delta":{"content":"TEXT"}}]}"#,
        ];
        for shape in SHAPES {
            let event = |text: &str| shape.replace("TEXT", text) + "\n\n";
            let events = [event("a"), event("model"), event("b")];
            let known = learned(&[&events[0], &events[1], &events[2]], Some("o\"urs"));
            for text in ["x", "", r#"\"model\":\"theirs\""#] {
                let mut out = b"before".to_vec();
                assert!(known.forward(event(text).as_bytes(), &mut out), "{shape} {text}");
                let expected = format!("before{}", event(text).replacen(r#""theirs""#, r#""o\"urs""#, 1));
                assert_eq!(String::from_utf8(out).unwrap(), expected);
            }
            let mut out = Vec::new();
            assert!(
                !known
                    .forward(event("a").replace("theirs", "another").replace("choices", "choice").as_bytes(), &mut out)
            );
            assert!(out.is_empty());
        }
    }

    /// An event that is not learned leaves the name where the events before it had theirs.
    #[test]
    fn an_event_too_long_to_be_learned_changes_no_name() {
        let event = |text: &str| {
            format!("data: {{\"model\":\"theirs\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        };
        let long = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n", "x".repeat(5000));
        let known = learned(&[&event("a"), &event("b"), &long], Some("ours"));
        let mut out = Vec::new();
        assert!(known.forward(event("c").as_bytes(), &mut out));
        assert_eq!(String::from_utf8(out).unwrap(), event("c").replace("theirs", "ours"));
    }

    /// With two values that differ, it is not known where the name is.
    #[test]
    fn content_that_has_to_be_read() {
        let event = |text: &str, model: &str| {
            format!("data: {{\"model\":\"{model}\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        };
        let events = [event("a", "one"), event("b", "two"), event("c", "three")];
        let events = [&*events[0], &events[1], &events[2]];
        let mut out = Vec::new();
        assert!(!learned(&events, Some("ours")).forward(event("d", "four").as_bytes(), &mut out));
        assert!(learned(&events, None).forward(event("d", "four").as_bytes(), &mut out));
        assert_eq!(out, event("d", "four").as_bytes());
    }
}

//! The events of a stream that need no tap: their structure is that of events which were read.

use super::source::UpstreamBody;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::capture::Piece;
use llm_http::BodyDecoder;
use llm_wire::Format;
use llm_wire::json::vectors::{Lanes, Room, Vectorized, vectorized};
use llm_wire::passthrough::event_template::{EventTemplate, Matcher};
use llm_wire::passthrough::event_templates::{Cursor, EventTemplates, KnownEvent};
use llm_wire::passthrough::tap;
use llm_wire::passthrough::tap::{AnyTap, FrameKind};
use llm_wire::sse::Frame;

/// The template of one stream's content is taken from the worker's so often at most: where the
/// structure changes more often, it gains nothing.
const MAX_FIXES: u32 = 4;

/// The client's name of the model, where the provider uses another.
pub(super) struct Rename {
    pub format: Format,
    /// In quotes.
    pub quoted: Vec<u8>,
}

/// How content is written with the client's name of the model.
#[derive(Default)]
enum Renaming {
    /// The place of the name is not known.
    #[default]
    Unknown,
    /// As it is: it does not name the model.
    Nowhere,
    /// With these bytes before and behind its text.
    Around([Vec<u8>; 2]),
}

/// What is known of the events of one stream.
#[derive(Default)]
pub(super) struct KnownEvents {
    rename: Option<Rename>,
    /// The structure of its content so far.
    content: EventTemplate,
    /// How content is written, if the model is renamed.
    renaming: Renaming,
    /// The place in the worker's templates.
    cursor: Cursor,
    /// The structure of which `content` was taken last.
    fixed: Option<Cursor>,
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

    /// Returns the length of the events at the start of `data` that are content behind other
    /// content.
    pub(super) fn flowing(&self, data: &[u8]) -> usize {
        self.content.match_events(data)
    }

    /// Writes `chunk` for the client, if it is one event that is content behind other content.
    #[inline]
    fn forward(&self, chunk: &[u8], out: &mut Vec<u8>) -> bool {
        if !self.content.is_event(chunk) {
            return false;
        }
        match (&self.rename, &self.renaming, self.content.surroundings()) {
            (None, ..) | (_, Renaming::Nowhere, _) => out.extend_from_slice(chunk),
            (_, Renaming::Around([head, tail]), Some((before, behind))) => {
                let text = &chunk[before.len()..chunk.len() - behind.len()];
                [&head[..], text, tail].into_iter().for_each(|piece| out.extend_from_slice(piece));
            }
            (_, Renaming::Unknown | Renaming::Around(_), _) => return false,
        }
        true
    }

    /// Forwards the chunks of which each is one event that is content behind other content. `edits`
    /// says whether the client may get other bytes than the provider sent.
    pub(super) fn forward_chunks(
        &self,
        body: &mut UpstreamBody,
        out: &mut Vec<u8>,
        recorder: &mut RequestRecorder,
        edits: bool,
    ) {
        if self.rename.is_none() {
            let capture = &mut recorder.capture;
            let from = out.len();
            vectorized(ContentRun { content: self.content.matcher(), body, out });
            // All of it at once: sinks tell the events apart in threads of their own.
            let run = Piece::Event(&out[from..]);
            if capture.is_on() && out.len() > from {
                capture.upstream_sent(run);
                if edits {
                    capture.client_got(run);
                }
            }
            return;
        }
        body.whole_chunks(|chunk| self.forward_event(chunk, out, recorder, edits));
    }

    /// Does the same with `event`, if all of it is one event that is content behind other content.
    /// Returns false, having done nothing, for any other.
    pub(super) fn forward_event(
        &self,
        event: &[u8],
        out: &mut Vec<u8>,
        recorder: &mut RequestRecorder,
        edits: bool,
    ) -> bool {
        let (capture, from) = (&mut recorder.capture, out.len());
        let is_known = self.forward(event, out);
        if is_known && capture.is_on() {
            capture.upstream_sent(Piece::Event(event));
            if edits {
                capture.client_got(Piece::Event(&out[from..]));
            }
        }
        is_known
    }

    /// Returns the event at the start of `data`, if it is known. Content behind other content,
    /// which does nothing to a tap, is [`KnownEvents::flowing`].
    pub(super) fn next<'e>(&mut self, templates: &mut EventTemplates, data: &'e [u8]) -> Option<KnownEvent<'e>> {
        let known = templates.match_event(data, &mut self.cursor)?;
        self.take_content(templates, &data[..known.len], &known, None);
        Some(known)
    }

    /// Returns what is known of `event`, if all of it is one event of a known structure. `data` is
    /// that of the event, where the name of the model is put back.
    pub(super) fn event<'e>(
        &mut self,
        templates: &mut EventTemplates,
        event: &'e [u8],
        data: Option<&[u8]>,
    ) -> Option<KnownEvent<'e>> {
        let known = templates.match_whole(event, &mut self.cursor)?;
        self.take_content(templates, event, &known, data);
        Some(known)
    }

    /// Takes the template of the content from that of `event`, which has matched last, if that is
    /// content which repeats.
    fn take_content(&mut self, templates: &EventTemplates, event: &[u8], known: &KnownEvent<'_>, data: Option<&[u8]>) {
        let flows = known.effect.kind == FrameKind::Content && known.usage.is_none() && known.repeats;
        if flows && self.fixes < MAX_FIXES {
            self.fixes += 1;
            // Where a second event of one structure has to be looked at, more differs than the
            // text: an id of each event, say.
            let content = match self.fixed == Some(self.cursor) {
                false => templates.fixed(event, self.cursor),
                true => templates.open(self.cursor),
            };
            self.fixed = Some(self.cursor);
            if let Some(content) = content {
                self.content = content;
                self.renaming = data.map_or(Renaming::Unknown, |data| self.rename_in(event, offset(data, event), data));
            }
        }
    }

    /// Learns from an event that `tap` was shown last, which has `frame` in it.
    pub(super) fn learn(&mut self, templates: &mut EventTemplates, tap: &AnyTap, event: &[u8], frame: &Frame<'_>) {
        let offset = offset(frame.data, event);
        if tap.passed_unread() {
            if !self.content.learn(event) {
                return;
            }
            if self.rename.is_some() {
                self.renaming = self.rename_in(event, offset, frame.data);
            }
            return;
        }
        let Some(effect) = tap.effect() else { return };
        // Of each event that names a file it is learned who has that, for its own client.
        if memchr::memmem::find(event, b"\"file_id").is_some() {
            return;
        }
        match tap.usage_at() {
            None => templates.learn(event, effect, None),
            Some(at) if offset < event.len() => {
                templates.learn(event, effect, Some(at.start + offset..at.end + offset));
            }
            Some(_) => {}
        }
    }

    /// Returns how events of the structure of `event`, from which content was learned, get the
    /// client's name of the model. `data` is at `offset` in it.
    fn rename_in(&self, event: &[u8], offset: usize, data: &[u8]) -> Renaming {
        let Some(rename) = &self.rename else { return Renaming::Unknown };
        let Some(range) = tap::model_range(rename.format, data) else {
            // A name that is empty here is none, and may be one in the next event.
            return if names_model(event) { Renaming::Unknown } else { Renaming::Nowhere };
        };
        // Data on one line lies in the event's own bytes.
        let surroundings = self.content.surroundings().filter(|_| offset < event.len());
        let Some((before, behind)) = surroundings else { return Renaming::Unknown };
        let mut parts = [before.to_vec(), behind.to_vec()];
        let (start, end) = (range.start + offset, range.end + offset);
        let Some(behind_at) = event.len().checked_sub(behind.len()) else { return Renaming::Unknown };
        let (n, from) = if start >= behind_at { (1, behind_at) } else { (0, 0) };
        if n == 0 && end > before.len() {
            return Renaming::Unknown;
        }
        parts[n].splice(start - from..end - from, rename.quoted.iter().copied());
        Renaming::Around(parts)
    }
}

/// The chunks that have arrived of which each is one event of content, to be copied.
struct ContentRun<'a> {
    content: Matcher<'a>,
    body: &'a mut UpstreamBody,
    out: &'a mut Vec<u8>,
}

impl Vectorized for ContentRun<'_> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let Some(mut rest) = self.body.arrived_chunks() else { return };
        let mut room = Room::of(self.out, 0);
        // No closure: it would be a function of its own.
        while let Some((chunk, behind)) = BodyDecoder::split_chunk(rest) {
            if !self.content.is_event(lanes, chunk) {
                break;
            }
            lanes.append(&mut room, chunk);
            rest = behind;
        }
        drop(room);
        let left = rest.len();
        self.body.pass(left);
    }
}

/// Returns where `data` lies in its event. Behind its end, if it has several lines.
fn offset(data: &[u8], event: &[u8]) -> usize {
    (data.as_ptr() as usize).wrapping_sub(event.as_ptr() as usize)
}

/// Returns whether a key of the event, or a text of it, is the word `model`.
fn names_model(event: &[u8]) -> bool {
    memchr::memmem::find(event, b"\"model\"").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use llm_wire::passthrough::splice;
    use llm_wire::sse::Framer;

    fn learned(events: &[&str], model: Option<&str>) -> KnownEvents {
        learned_of(Format::Chat, events, model)
    }

    fn learned_of(format: Format, events: &[&str], model: Option<&str>) -> KnownEvents {
        let rename = model.map(|model| Rename { format, quoted: splice::quoted(model) });
        let mut known = KnownEvents::new(rename);
        let (mut tap, mut templates) = (AnyTap::new(format), EventTemplates::default());
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

    /// Whatever else differs, where no event names the model.
    #[test]
    fn content_without_a_name() {
        let event = |number: u32, text: &str| {
            format!(
                "data: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\"delta\":\"{text}\"}}\n\n"
            )
        };
        let events = [event(7, "a"), event(8, "b"), event(9, "c")];
        let known = learned_of(Format::Responses, &[&events[0], &events[1], &events[2]], Some("ours"));
        let mut out = Vec::new();
        for (number, text) in [(10, "d"), (11, ""), (1234, r#"\"model\""#)] {
            out.clear();
            assert!(known.forward(event(number, text).as_bytes(), &mut out));
            assert_eq!(String::from_utf8(out.clone()).unwrap(), event(number, text));
        }
        // A name that is empty is none, and may be one in the next event.
        let event = |text: &str, model: &str| {
            format!("data: {{\"model\":\"{model}\",\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
        };
        let events = [event("a", "theirs"), event("b", "other"), event("c", "")];
        let known = learned(&[&events[0], &events[1], &events[2]], Some("ours"));
        assert!(!known.forward(event("d", "theirs").as_bytes(), &mut out));
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

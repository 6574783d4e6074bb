//! A shortcut for streams whose frames differ from one another in one string alone.
//!
//! Most frames of an answer are a delta of text: the same bytes before the text, the same bytes
//! behind it. Reading the JSON of each anew costs more than all else that is done with it. So the
//! bytes around the string are remembered; a frame with the same surroundings is the same event
//! with another text, and the decoder is not called.
//!
//! | state | a frame that the decoder read as one delta | any other frame |
//! |---|---|---|
//! | `Empty` | `Known` | |
//! | `Known` | (the decoder is not called where the surroundings match) `Known` | `Empty` |
//!
//! The decoder has read one such frame before the first that it is not called for, since the first
//! delta of an item may change its state. Which deltas change nothing from the second on is for
//! each decoder to say: [`DeltaTemplate::new`] lists them.

use crate::canonical::event::Event;
use crate::canonical::request::ReasoningKind;
use crate::format::Format;
use crate::json::{RawStr, scan};
use crate::sse::Frame;
use crate::target::quirks::{Quirk, Quirks};

/// Streams whose surroundings change with each frame (a sequence number, padding) are not followed
/// any further after so many changes.
const MAX_CHANGES: u32 = 16;

/// Surroundings larger than this are not remembered, in bytes.
const MAX_SURROUNDINGS: usize = 4 << 10;

/// The kind of delta, with all of the event but its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Delta {
    Text { ix: u32 },
    Reason { ix: u32, part: u32, kind: ReasoningKind },
    Args { ix: u32 },
}

impl Delta {
    fn of<'a>(event: &Event<'a>) -> Option<(Delta, RawStr<'a>)> {
        match *event {
            Event::Text { ix, raw } => Some((Delta::Text { ix }, raw)),
            Event::Reason { ix, part, kind, raw } => Some((Delta::Reason { ix, part, kind }, raw)),
            Event::Args { ix, raw } => Some((Delta::Args { ix }, raw)),
            _ => None,
        }
    }

    fn with(self, raw: RawStr<'_>) -> Event<'_> {
        match self {
            Delta::Text { ix } => Event::Text { ix, raw },
            Delta::Reason { ix, part, kind } => Event::Reason { ix, part, kind, raw },
            Delta::Args { ix } => Event::Args { ix, raw },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Empty,
    Known(Delta),
    /// The stream has no such frames.
    Off,
}

/// The surroundings of the last delta of one stream.
#[derive(Debug)]
pub(crate) struct DeltaTemplate {
    state: State,
    /// Whether [`Event::Args`] may be followed.
    args: bool,
    changes: u32,
    /// The frame's `event` field, empty for none.
    name: Vec<u8>,
    /// The frame's data up to the text, its opening quote included.
    before: Vec<u8>,
    /// The frame's data behind the text, its closing quote included.
    after: Vec<u8>,
    /// The event that a framer makes such a frame of, up to the text and behind it. Empty where it
    /// would be more than one line of data.
    event_before: Vec<u8>,
    event_after: Vec<u8>,
}

/// What a decoder made of one frame, gathered while it pushes its events.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    events: u32,
    delta: Option<(Delta, usize, usize)>,
}

impl Observed {
    /// Takes one event that the decoder pushed for a frame with `data`.
    pub(crate) fn event(&mut self, event: &Event<'_>, data: &[u8]) {
        self.events += 1;
        if self.events > 1 {
            self.delta = None;
            return;
        }
        // The position of the text in the frame. A text that the decoder made itself lies
        // elsewhere.
        self.delta = Delta::of(event).and_then(|(delta, raw)| {
            let start = (raw.as_bytes().as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
            let end = start.checked_add(raw.len())?;
            let quoted = start > 0 && data.get(start - 1) == Some(&b'"') && data.get(end) == Some(&b'"');
            quoted.then_some((delta, start, end))
        });
    }
}

impl DeltaTemplate {
    /// For the stream of one provider.
    ///
    /// Chat: text and reasoning leave the decoder as they found it, once their item is open, unless
    /// the host puts reasoning in tags, which may be split between frames; arguments are assembled.
    /// Messages: all three kinds do. Responses: the decoder keeps what has come of each item, to
    /// compare it with the `done` events, so nothing is followed.
    pub(crate) fn new(provider: Format, quirks: Quirks) -> DeltaTemplate {
        let (state, args) = match provider {
            Format::Chat if quirks.has(Quirk::ThinkTags) => (State::Off, false),
            Format::Chat => (State::Empty, false),
            Format::Messages => (State::Empty, true),
            Format::Responses => (State::Off, false),
        };
        let [name, before, after, event_before, event_after] = Default::default();
        DeltaTemplate { state, args, changes: 0, name, before, after, event_before, event_after }
    }

    /// Follows nothing, to compare with.
    #[cfg(test)]
    pub(crate) fn off() -> DeltaTemplate {
        DeltaTemplate { state: State::Off, ..DeltaTemplate::new(Format::Messages, Quirks::default()) }
    }

    /// Returns the event of a frame, if it differs from the one before in its text alone.
    pub(crate) fn read<'a>(&self, frame: &Frame<'a>) -> Option<Event<'a>> {
        let State::Known(delta) = self.state else { return None };
        let text = frame.data.strip_prefix(&self.before[..])?.strip_suffix(&self.after[..])?;
        if text.is_empty() || frame.event.unwrap_or_default() != self.name {
            return None;
        }
        if !scan::is_ascii(text) {
            std::str::from_utf8(text).ok()?;
        }
        Some(delta.with(RawStr::parse(text).ok()?))
    }

    /// Returns the event at the start of `input`, and its length, blank line included, if it is one
    /// whose frame [`DeltaTemplate::read`] knows, written in the usual way: a line with its name if
    /// it has one, a line with its data, LF at the end of each. `input` begins an event.
    pub(crate) fn read_event<'a>(&self, input: &'a [u8]) -> Option<(Event<'a>, usize)> {
        let State::Known(delta) = self.state else { return None };
        if self.event_after.is_empty() {
            return None;
        }
        let start = self.event_before.len();
        if !input.starts_with(&self.event_before) {
            return None;
        }
        let end = scan::string_end(input, start)?;
        let (text, behind) = (&input[start..end], &input[end..]);
        if text.is_empty() || !behind.starts_with(&self.event_after) {
            return None;
        }
        if !scan::is_ascii(text) {
            std::str::from_utf8(text).ok()?;
        }
        Some((delta.with(RawStr::new(text)), end + self.event_after.len()))
    }

    /// The event that `input` is as a whole, blank line included, and whether its text is plain:
    /// ASCII without escapes. It must be one that [`DeltaTemplate::read_event`] would find there.
    /// Its end being known, that of its text is, too.
    #[inline]
    pub(crate) fn read_whole_event<'a>(&self, input: &'a [u8]) -> Option<(Event<'a>, bool)> {
        let State::Known(delta) = self.state else { return None };
        if self.event_after.is_empty() {
            return None;
        }
        let rest = input.strip_prefix(&self.event_before[..])?;
        let text = rest.strip_suffix(&self.event_after[..])?;
        if text.is_empty() {
            return None;
        }
        if scan::is_plain_ascii(rest, text.len()) {
            return Some((delta.with(RawStr::new(text)), true));
        }
        std::str::from_utf8(text).ok()?;
        Some((delta.with(RawStr::parse(text).ok()?), false))
    }

    /// Puts the event around such a frame together.
    fn put_event_together(&mut self) {
        self.event_before.clear();
        self.event_after.clear();
        if [&self.name, &self.before, &self.after].into_iter().any(|part| memchr::memchr2(b'\n', b'\r', part).is_some())
        {
            return;
        }
        if !self.name.is_empty() {
            for part in [b"event: ", &self.name[..], b"\n"] {
                self.event_before.extend_from_slice(part);
            }
        }
        self.event_before.extend_from_slice(b"data: ");
        self.event_before.extend_from_slice(&self.before);
        self.event_after.extend_from_slice(&self.after);
        self.event_after.extend_from_slice(b"\n\n");
    }

    /// Remembers a frame that the decoder has read.
    pub(crate) fn learn(&mut self, frame: &Frame<'_>, observed: &Observed) {
        if self.state == State::Off {
            return;
        }
        let Some((delta, start, end)) = observed.delta.filter(|(delta, ..)| self.follows(*delta)) else {
            self.state = State::Empty;
            return;
        };
        let (before, after) = (&frame.data[..start], &frame.data[end..]);
        let name = frame.event.unwrap_or_default();
        self.state = State::Known(delta);
        if (name, before, after) == (&self.name[..], &self.before[..], &self.after[..]) {
            return;
        }
        self.changes += 1;
        if self.changes > MAX_CHANGES || before.len() + after.len() > MAX_SURROUNDINGS {
            self.state = State::Off;
            return;
        }
        for (kept, new) in [(&mut self.name, name), (&mut self.before, before), (&mut self.after, after)] {
            kept.clear();
            kept.extend_from_slice(new);
        }
        self.put_event_together();
    }

    fn follows(&self, delta: Delta) -> bool {
        self.args || !matches!(delta, Delta::Args { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(data: &str) -> Frame<'_> {
        Frame { event: None, data: data.as_bytes() }
    }

    /// Shows a frame as a decoder would that pushes the string `text` of it.
    fn learn(template: &mut DeltaTemplate, data: &str, text: &str) {
        let at = data.find(text).unwrap();
        let raw = RawStr::new(&data.as_bytes()[at..at + text.len()]);
        let mut observed = Observed::default();
        observed.event(&Event::Text { ix: 0, raw }, data.as_bytes());
        template.learn(&frame(data), &observed);
    }

    fn text(event: Option<Event<'_>>) -> Option<String> {
        match event? {
            Event::Text { raw, .. } => Some(raw.unescape().into_owned()),
            event => panic!("{event:?}"),
        }
    }

    #[test]
    fn one_frame_is_enough() {
        let mut template = DeltaTemplate::new(Format::Messages, Quirks::default());
        assert!(template.read(&frame(r#"{"t":"one"}"#)).is_none());
        learn(&mut template, r#"{"t":"one"}"#, "one");
        assert_eq!(text(template.read(&frame(r#"{"t":"a\nb"}"#))).as_deref(), Some("a\nb"));
        for other in [r#"{"t":"a","u":"b"}"#, r#"{"t":""}"#, r#"{"t":"\"}"#, r#"{"t":"\x"}"#, r#"{"u":"a"}"#, "{"] {
            assert!(template.read(&frame(other)).is_none(), "{other}");
        }
        let named = Frame { event: Some(b"error"), data: br#"{"t":"a"}"# };
        assert!(template.read(&named).is_none());
        let torn = [br#"{"t":""#, &b"\xff"[..], br#""}"#].concat();
        assert!(template.read(&Frame { event: None, data: &torn }).is_none());
    }

    /// What is taken as an event is what a framer makes of the bytes.
    #[test]
    fn whole_events() {
        let mut template = DeltaTemplate::new(Format::Messages, Quirks::default());
        assert!(template.read_event(b"event: n\ndata: {\"t\":\"a\"}\n\n").is_none());
        let data = br#"{"t":"one"}"#;
        let mut observed = Observed::default();
        observed.event(&Event::Text { ix: 0, raw: RawStr::new(&data[6..9]) }, data);
        template.learn(&Frame { event: Some(b"n"), data }, &observed);
        let event = "event: n\ndata: {\"t\":\"a\\n\u{e9}\"}\n\n";
        for behind in ["", "x", "event: n\n"] {
            let input = format!("{event}{behind}");
            let (read, len) = template.read_event(input.as_bytes()).unwrap();
            assert_eq!((text(Some(read)).as_deref(), len), (Some("a\n\u{e9}"), event.len()));
            let whole =
                template.read_whole_event(input.as_bytes()).map(|(event, is_plain)| (text(Some(event)), is_plain));
            let expected = behind.is_empty().then(|| (Some("a\n\u{e9}".to_owned()), false));
            assert_eq!(whole, expected, "{behind}");
            let (mut framer, mut rest) = (crate::sse::Framer::default(), input.as_bytes());
            let frame = framer.next(&mut rest).unwrap().unwrap().frame.unwrap();
            assert_eq!(text(template.read(&frame)).as_deref(), Some("a\n\u{e9}"));
        }
        for end in 0..event.len() {
            assert!(template.read_event(&event.as_bytes()[..end]).is_none());
        }
        for other in [
            event.replace("event: n", "event: m"),
            event.replace("event: n\n", ""),
            event.replace("\n\n", "\ndata: x\n\n"),
            event.replace('a', "\\x"),
            event.replace("a\\n\u{e9}", ""),
        ] {
            assert!(template.read_event(other.as_bytes()).is_none(), "{other}");
            assert!(template.read_whole_event(other.as_bytes()).is_none(), "{other}");
        }
        for plain in ["a", "plain ASCII text of some length"] {
            let event = event.replace("a\\n\u{e9}", plain);
            let (read, is_plain) = template.read_whole_event(event.as_bytes()).unwrap();
            assert_eq!((text(Some(read)).as_deref(), is_plain), (Some(plain), true));
        }
    }

    #[test]
    fn any_other_frame_resets_the_template() {
        let mut template = DeltaTemplate::new(Format::Messages, Quirks::default());
        learn(&mut template, r#"{"t":"one"}"#, "one");
        template.learn(&frame("{}"), &Observed::default());
        assert!(template.read(&frame(r#"{"t":"two"}"#)).is_none());
        learn(&mut template, r#"{"t":"two"}"#, "two");
        assert!(template.read(&frame(r#"{"t":"three"}"#)).is_some());
    }

    #[test]
    fn a_stream_that_always_differs_is_given_up() {
        let mut template = DeltaTemplate::new(Format::Messages, Quirks::default());
        for n in 0..=MAX_CHANGES {
            learn(&mut template, &format!(r#"{{"n":{n},"t":"text"}}"#), "text");
        }
        assert_eq!(template.state, State::Off);
    }
}

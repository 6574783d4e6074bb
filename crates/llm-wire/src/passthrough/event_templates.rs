//! Recognises events that have the structure of events of earlier streams.
//!
//! The streams of one provider are alike: an event with the role, many with text, one with the
//! reason of the end, the end mark. What a tap concludes from each of these follows from its
//! structure ([`Effect`]), so it is remembered for the whole worker, and the next stream needs no
//! tap for it. [`EventTemplate`] does the same within one stream, where more stays equal.
//!
//! An empty string is another structure than one with text: it is what tells the events before the
//! content from the content. Padding (`obfuscation`) is matched whether it is empty or not.

use std::ops::Range;

use crate::json::template::{NOWHERE, Spot, Template, Value, Values, changed_values, is_padding, varies};
use crate::json::{RawValue, scan};
use crate::passthrough::event_template::EventTemplate;
use crate::passthrough::observation::Effect;

/// Structures that are kept. A stream of Responses with reasoning, a call and a text has 18.
const MAX_TEMPLATES: usize = 24;

/// Events longer than this are not learned, in bytes.
const MAX_EVENT: usize = 4 << 10;

/// While all places are taken, one is given away after so many events that were not known.
const UNKNOWN_PER_CHANGE: u32 = 64;

/// The structures of the events of one format that a worker has seen.
#[derive(Debug, Default)]
pub struct EventTemplates {
    known: Vec<Known>,
    /// Counts matches.
    clock: u32,
    /// Events that were not known, since one was learned.
    unknown: u32,
}

#[derive(Debug)]
struct Known {
    example: Vec<u8>,
    /// Bit n is set if the n-th value of `example` is a hole.
    holes: u64,
    template: Template,
    effect: Effect,
    /// Where its usage is, if it has one.
    usage: Option<Spot>,
    /// Which other structure followed this one last.
    next: usize,
    /// Whether it has followed itself.
    repeats: bool,
    used: u32,
}

/// An event whose structure is known.
#[derive(Debug, Clone, Copy)]
pub struct KnownEvent<'e> {
    /// Its length, blank line included.
    pub len: usize,
    /// What it does to a tap.
    pub effect: Effect,
    /// Its usage, if it has one.
    pub usage: Option<RawValue<'e>>,
    /// Whether events of this structure have followed one another.
    pub repeats: bool,
}

/// The structure of the last event of one stream: the first to be tried for the next one. The
/// default is that of no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor(usize);

impl Default for Cursor {
    fn default() -> Cursor {
        Cursor(usize::MAX)
    }
}

/// Returns whether values of this key decide what an event is.
fn is_word(key: &[u8]) -> bool {
    matches!(
        key,
        b"type"
            | b"object"
            | b"event"
            | b"status"
            | b"finish_reason"
            | b"stop_reason"
            | b"reason"
            | b"role"
            | b"file_id"
    )
}

fn decides(one: &Value<'_>, other: &Value<'_>) -> bool {
    let is_other_form = (one.start == one.end) != (other.start == other.end);
    is_word(one.key) || is_other_form && !is_padding(one.key)
}

impl EventTemplates {
    /// Returns the event at the start of `buf`, if its structure is known. `None` also for an event
    /// whose end has not come.
    pub fn match_event<'e>(&mut self, buf: &'e [u8], cursor: &mut Cursor) -> Option<KnownEvent<'e>> {
        self.find(buf, cursor, Template::match_start)
    }

    /// Returns what is known of `event`, if all of it is one event of a known structure.
    pub fn match_whole<'e>(&mut self, event: &'e [u8], cursor: &mut Cursor) -> Option<KnownEvent<'e>> {
        self.find(event, cursor, |template, event| template.is_match(event).then_some(event.len()))
    }

    fn find<'e>(
        &mut self,
        buf: &'e [u8],
        cursor: &mut Cursor,
        len_of: impl Fn(&Template, &[u8]) -> Option<usize>,
    ) -> Option<KnownEvent<'e>> {
        let (last, count) = (cursor.0, self.known.len());
        let next = self.known.get(last).map_or(0, |known| known.next);
        let others = (0..count).filter(|n| *n != last && *n != next);
        // While one structure repeats, the relay has a template of its own, so the next one is
        // another.
        let first = [next, last].into_iter().take(if last == next { 1 } else { 2 });
        let (n, len) = first.chain(others).find_map(|n| Some((n, len_of(&self.known.get(n)?.template, buf)?)))?;
        let usage = match self.known[n].usage {
            None => None,
            Some(spot) => Some(self.known[n].usage(&buf[..len], spot)?),
        };
        match self.known.get_mut(last) {
            Some(known) if n == last => known.repeats = true,
            Some(known) => known.next = n,
            None => {}
        }
        self.clock = self.clock.wrapping_add(1);
        let known = &mut self.known[n];
        known.used = self.clock;
        cursor.0 = n;
        Some(KnownEvent { len, effect: known.effect, usage, repeats: known.repeats })
    }

    /// Returns a template of the last event that matched, `event`, in which its text and its number
    /// alone may differ. It is for content behind other content, where an empty text is content too.
    pub fn fixed(&self, event: &[u8], cursor: Cursor) -> Option<EventTemplate> {
        let known = self.known.get(cursor.0)?;
        known.template.fixed(event).map(EventTemplate::of)
    }

    /// Returns a template of the last event that matched, in which all may differ that differs from
    /// one stream to the next. It is for content behind other content, too.
    pub fn open(&self, cursor: Cursor) -> Option<EventTemplate> {
        Some(EventTemplate::of(self.known.get(cursor.0)?.template.with_empty_texts()))
    }

    /// Learns from an event, blank line included, that did `effect` to a tap, and that has its
    /// usage at `usage`.
    pub fn learn(&mut self, event: &[u8], effect: Effect, usage: Option<Range<usize>>) {
        if event.len() > MAX_EVENT || !event.ends_with(b"\n\n") || event.contains(&b'\r') {
            return;
        }
        self.unknown = self.unknown.saturating_add(1);
        let alike = self.known.iter().position(|known| changed_values(&known.example, event, decides).is_some());
        match alike {
            // Then its structure is not all that counts, which no tap should do.
            Some(n) if self.known[n].effect != effect => drop(self.known.swap_remove(n)),
            Some(n) => self.known[n].widen(event, usage),
            None if self.known.len() < MAX_TEMPLATES => self.known.extend(Known::new(event, effect, usage)),
            None if self.unknown >= UNKNOWN_PER_CHANGE => {
                self.unknown = 0;
                let clock = self.clock;
                let oldest = self.known.iter_mut().max_by_key(|known| clock.wrapping_sub(known.used));
                if let (Some(place), Some(new)) = (oldest, Known::new(event, effect, usage)) {
                    *place = new;
                }
            }
            None => {}
        }
    }
}

impl Known {
    fn new(event: &[u8], effect: Effect, usage: Option<Range<usize>>) -> Option<Known> {
        // The number of the event too: of each stream the first event of its content alone is read,
        // which has the same number in all of them.
        let holes = Values::of(event).filter(|value| varies(value) && value.number < u64::BITS);
        let holes = holes.fold(0, |holes, value| holes | 1 << value.number);
        let (template, usage) = cut_with(event, holes, usage)?;
        Some(Known { example: event.to_vec(), holes, template, effect, usage, next: 0, repeats: false, used: 0 })
    }

    /// Makes holes of the values in which `event`, which has the same structure, differs.
    fn widen(&mut self, event: &[u8], usage: Option<Range<usize>>) {
        let holes = self.holes | changed_values(&self.example, event, decides).unwrap_or(0);
        if let Some((template, usage)) = cut_with(event, holes, usage) {
            self.holes = holes;
            self.template = template;
            self.usage = usage;
            self.example = event.to_vec();
        }
    }

    /// Returns the usage of an event that matches. `None` if it is not UTF-8: taps differ in what
    /// they do with it.
    fn usage<'e>(&self, event: &'e [u8], spot: Spot) -> Option<RawValue<'e>> {
        let mut places = NOWHERE;
        let is_whole = self.template.match_whole(event, &mut places);
        let is_text = scan::is_ascii(event) || std::str::from_utf8(event).is_ok();
        (is_whole && is_text).then(|| RawValue::new(&event[spot.in_match(&places)]))
    }
}

/// Cuts an event and finds its usage in the template.
fn cut_with(event: &[u8], holes: u64, usage: Option<Range<usize>>) -> Option<(Template, Option<Spot>)> {
    let template = cut(event, holes)?;
    let usage = match usage {
        None => None,
        Some(range) => Some(template.spot(range)?),
    };
    Some((template, usage))
}

fn cut(event: &[u8], holes: u64) -> Option<Template> {
    Template::cut(event, false, |value| value.number < u64::BITS && holes & (1 << value.number) != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::Format;
    use crate::passthrough::observation::{FrameKind, offset_in};
    use crate::passthrough::tap::AnyTap;
    use crate::sse::Framer;

    /// The events of streams. `TEXT` and `NUMBER` stand for something else each time.
    const EVENTS: &[(Format, &[&str])] = &[
        (
            Format::Chat,
            &[
                r#"data: {"id":"ID","choices":[{"delta":{"role":"assistant","content":"TEXT"},"finish_reason":null}]}"#,
                r#"data: {"id":"ID","choices":[{"delta":{"content":"TEXT"},"finish_reason":null}],"usage":null}"#,
                r#"data: {"id":"ID","choices":[{"delta":{},"finish_reason":"TEXT"}]}"#,
                r#"data: {"id":"ID","choices":[],"usage":{"prompt_tokens":NUMBER,"completion_tokens":2}}"#,
                r#"data: {"id":"ID","choices":[{"delta":{"content":"TEXT"}}],"error":{"code":NUMBER}}"#,
                r#"data: {"id":"ID","choices":[{"delta":{"content":"TEXT"}}],"object":"TEXT"}"#,
                r#"data: {"own":"TEXT","n":NUMBER}"#,
                r#"data: {"choices":[{"delta":{"content":"","obfuscation":"TEXT"}}],"obfuscation":"TEXT"}"#,
                "event: error\ndata: {\"choices\":[{\"delta\":{\"content\":\"TEXT\"}}]}",
                "data: [DONE]",
                "data: {TEXT}",
            ],
        ),
        (
            Format::Messages,
            &[
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"ID\",\"usage\":{\"input_tokens\":NUMBER}}}",
                "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":NUMBER,\"content_block\":{\"type\":\"text\",\"text\":\"TEXT\"}}",
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":NUMBER,\"delta\":{\"type\":\"text_delta\",\"text\":\"TEXT\"}}",
                r#"data: {"type":"TEXT","index":NUMBER,"delta":{"type":"TEXT","text":"ID"}}"#,
                "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":NUMBER}",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"TEXT\"},\"usage\":{\"output_tokens\":NUMBER}}",
                "event: message_stop\ndata: {\"type\":\"message_stop\"}",
                "event: ping\ndata: {\"n\":NUMBER}",
            ],
        ),
        (
            Format::Responses,
            &[
                r#"data: {"type":"response.created","response":{"id":"ID","usage":{"input_tokens":NUMBER}}}"#,
                r#"data: {"type":"response.output_item.added","item":{"id":"ID","type":"message","content":[]}}"#,
                r#"data: {"type":"response.content_part.added","part":{"type":"output_text","text":"TEXT"}}"#,
                r#"data: {"type":"response.output_text.delta","sequence_number":NUMBER,"delta":"TEXT"}"#,
                r#"data: {"type":"TEXT","sequence_number":NUMBER,"delta":"ID"}"#,
                r#"data: {"type":"response.output_text.delta","sequence_number":NUMBER,"delta":"ID","obfuscation":"TEXT"}"#,
                r#"data: {"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":NUMBER}}}"#,
                r#"data: {"type":"keepalive","sequence_number":NUMBER}"#,
                r#"data: {"type":"error","message":"TEXT"}"#,
            ],
        ),
    ];

    const TEXTS: &[&str] = &[
        "a",
        "some words",
        "",
        "stop",
        "length",
        "error",
        "usage",
        r#"\"error\":1"#,
        "text_delta",
        "response.failed",
        "response.output_text.delta",
        "message_stop",
    ];

    /// Shows one event to a tap, and learns from it as the relay does.
    fn show(tap: &mut AnyTap, templates: &mut EventTemplates, event: &str) -> FrameKind {
        let (mut framer, mut rest) = (Framer::default(), event.as_bytes());
        let frame = framer.next(&mut rest).unwrap().unwrap().frame.unwrap();
        let kind = tap.frame(&frame);
        if let Some(effect) = tap.effect() {
            let offset = offset_in(frame.data, event.as_bytes()).unwrap().start;
            let usage = tap.usage_at().map(|at| at.start + offset..at.end + offset);
            templates.learn(event.as_bytes(), effect, usage);
        }
        kind
    }

    /// From the fourth stream on, a tap reads nothing.
    #[test]
    fn streams_of_one_provider_are_known() {
        let chunk = |id: u32, choices: &str, usage: &str| {
            format!("data: {{\"id\":\"c{id}\",\"created\":{},\"choices\":{choices},\"usage\":{usage}}}\n\n", 100 + id)
        };
        let delta = |delta: &str, finish: &str| {
            format!(r#"[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]"#)
        };
        let mut templates = EventTemplates::default();
        for id in 0..5 {
            let mut events = vec![chunk(id, &delta(r#"{"role":"assistant","content":""}"#, "null"), "null")];
            events.extend((0..5).map(|n| chunk(id, &delta(&format!(r#"{{"content":" token{n}"}}"#), "null"), "null")));
            events.push(chunk(id, &delta("{}", r#""stop""#), "null"));
            let usage = format!(r#"{{"prompt_tokens":{},"completion_tokens":64}}"#, 180 + id);
            events.push(chunk(id, "[]", &usage));
            events.push("data: [DONE]\n\n".to_owned());
            let (mut tap, mut cursor, mut read) = (AnyTap::new(Format::Chat), Cursor::default(), Vec::new());
            for event in &events {
                match templates.match_event(event.as_bytes(), &mut cursor) {
                    Some(known) => {
                        assert_eq!(known.len, event.len());
                        tap.repeat(known.effect, known.usage);
                    }
                    None => {
                        show(&mut tap, &mut templates, event);
                        read.push(event.clone());
                    }
                }
            }
            assert_eq!(tap.seen().usage.map(|usage| usage.input_total), Some(180 + u64::from(id)));
            assert!(id < 3 || read.is_empty(), "{id}: {read:?} {:?}", templates.known);
        }
    }

    /// Events of which each has its number: the content of the second stream is known from its
    /// first event on, although every stream has the same number there.
    #[test]
    fn numbered_content_is_known_in_the_second_stream() {
        let delta = |number: u32, padding: usize| {
            format!(
                "data: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\"item_id\":\"m\",\
                 \"delta\":\" token\",\"obfuscation\":\"{}\"}}\n\n",
                "x".repeat(padding)
            )
        };
        let mut templates = EventTemplates::default();
        for stream in 0..2 {
            let (mut tap, mut cursor) = (AnyTap::new(Format::Responses), Cursor::default());
            for n in 0..9 {
                let event = delta(3 + n, n as usize);
                match templates.match_whole(event.as_bytes(), &mut cursor) {
                    Some(known) => {
                        tap.repeat(known.effect, known.usage);
                        assert_eq!(known.repeats, stream > 0 || n > 1, "{stream} {n}");
                        let content = templates.fixed(event.as_bytes(), cursor).unwrap();
                        assert!(content.is_event(delta(1234, 0).as_bytes()));
                    }
                    None => {
                        assert_eq!((stream, n), (0, 0));
                        show(&mut tap, &mut templates, &event);
                    }
                }
            }
        }
    }

    /// The last event of a response is known as the others are, with its usage and its reason.
    #[test]
    fn the_end_of_a_response_is_known() {
        let completed = |id: u32, status: &str| {
            format!(
                "event: response.completed\ndata: {{\"type\":\"response.completed\",\"sequence_number\":{id},\
                 \"response\":{{\"id\":\"r{id}\",\"status\":\"{status}\",\"output\":[{{\"type\":\"function_call\",\
                 \"call_id\":\"c{id}\"}}],\"usage\":{{\"input_tokens\":{id},\"output_tokens\":7}}}}}}\n\n"
            )
        };
        let mut templates = EventTemplates::default();
        for id in 10..14 {
            let event = completed(id, "completed");
            let (mut tap, mut reference) = (AnyTap::new(Format::Responses), AnyTap::new(Format::Responses));
            show(&mut reference, &mut EventTemplates::default(), &event);
            match templates.match_whole(event.as_bytes(), &mut Cursor::default()) {
                Some(known) => tap.repeat(known.effect, known.usage),
                None => assert_eq!((show(&mut tap, &mut templates, &event), id < 12), (FrameKind::End, true)),
            }
            assert_eq!(tap.seen(), reference.seen());
            assert_eq!(tap.seen().usage.map(|usage| usage.input_total), Some(u64::from(id)));
            assert_eq!(tap.seen().reason, Some(crate::canonical::event::Reason::ToolCalls));
        }
        for other in
            [completed(1, "other"), completed(1, "completed").replace("call_id", "id"), completed(1, "completed") + "x"]
        {
            assert!(templates.match_whole(other.as_bytes(), &mut Cursor::default()).is_none(), "{other}");
        }
    }

    /// Behind content, an event of its structure without text is content, too.
    #[test]
    fn content_may_be_empty_behind_content() {
        let delta = |number: u32, text: &str, padding: &str| {
            format!(
                "data: {{\"type\":\"response.output_text.delta\",\"sequence_number\":{number},\"item_id\":\"m\",\
                 \"delta\":\"{text}\",\"obfuscation\":\"{padding}\"}}\n\n"
            )
        };
        let (mut templates, mut cursor) = (EventTemplates::default(), Cursor::default());
        for event in [delta(6, "a", ""), delta(7, "b", "xx")] {
            show(&mut AnyTap::new(Format::Responses), &mut templates, &event);
        }
        assert_eq!(templates.known.len(), 1, "padding is no structure");
        let event = delta(8, "c", "x");
        assert!(templates.match_event(event.as_bytes(), &mut cursor).is_some());
        for content in [templates.fixed(event.as_bytes(), cursor).unwrap(), templates.open(cursor).unwrap()] {
            for event in [delta(8, "b", ""), delta(9, "", "x"), delta(1234, "", "")] {
                assert!(content.is_event(event.as_bytes()), "{event}");
                assert_eq!(content.match_event(event.as_bytes()), Some(event.len()));
            }
            assert!(!content.is_event(delta(8, "b", "").replace("item_id", "part_id").as_bytes()));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

        /// Streams that go by the templates where these know an event end as those of which a tap
        /// reads every event, and the relay learns the same of each event meanwhile.
        #[test]
        fn known_events_are_what_a_tap_makes_of_them(
            streams in prop::collection::vec(prop::collection::vec((0usize..11, 0usize..12, 0u32..120), 1..16), 1..8),
        ) {
            for (format, events) in EVENTS {
                let mut templates = EventTemplates::default();
                for (id, stream) in streams.iter().enumerate() {
                    let (mut tap, mut reference) = (AnyTap::new(*format), AnyTap::new(*format));
                    let (mut cursor, mut flows) = (Cursor::default(), false);
                    let mut content = EventTemplate::default();
                    for (event, text, number) in stream {
                        let event = events[event % events.len()]
                            .replace("TEXT", TEXTS[*text])
                            .replace("NUMBER", &number.to_string())
                            .replace("ID", &format!("id{id}"));
                        let event = event + "\n\n";
                        let (mut framer, mut rest) = (Framer::default(), event.as_bytes());
                        let frame = framer.next(&mut rest).unwrap().unwrap().frame.unwrap();
                        let expected = reference.frame(&frame);
                        let is_content = flows && content.is_event(event.as_bytes());
                        let got = match templates.match_event(event.as_bytes(), &mut cursor) {
                            _ if is_content => FrameKind::Content,
                            Some(known) => {
                                prop_assert_eq!(known.len, event.len());
                                tap.repeat(known.effect, known.usage);
                                if known.effect.kind == FrameKind::Content && known.usage.is_none() {
                                    content = match number % 2 {
                                        0 => templates.open(cursor).unwrap(),
                                        _ => templates.fixed(event.as_bytes(), cursor).unwrap_or_default(),
                                    };
                                }
                                known.effect.kind
                            }
                            None => show(&mut tap, &mut templates, &event),
                        };
                        // Once content flows, a tap calls content what it does not look at.
                        flows |= expected == FrameKind::Content;
                        let unread = [FrameKind::Content, FrameKind::Preamble, FrameKind::Other];
                        let is_same = got == expected || flows && unread.contains(&got) && unread.contains(&expected);
                        prop_assert!(is_same, "{got:?} {expected:?} {event}");
                        prop_assert_eq!(tap.seen(), reference.seen(), "{}", event);
                    }
                }
            }
        }
    }
}

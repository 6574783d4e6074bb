//! Recognises events of a stream that differ from those before in the values of some strings and
//! numbers alone, without reading them.
//!
//! Nearly all events of an answer have one structure: the same keys in the same order around
//! another text, another sequence number, other padding. What a tap concludes from such an event
//! follows from its structure, so it is known already. A template is the event's bytes with holes
//! where values changed; matching costs one comparison for each run of bytes between holes, finds
//! the end of the event on the way, and is exact: whatever does not match goes to the framer and
//! the tap.
//!
//! A template is learned from events that a tap has passed unread
//! ([`AnyTap::passed_unread`](crate::passthrough::tap::AnyTap::passed_unread)), which change
//! nothing that it keeps. A value under a key of `is_name` is never a hole, since taps decide by
//! them.

use crate::json::template::{OnlyText, Template, Value, Values, changed_values, varies};
use crate::json::vectors::Lanes;

/// Returns whether values of this key say what an event is.
fn is_name(key: &[u8]) -> bool {
    matches!(key, b"type" | b"object" | b"event" | b"status" | b"file_id")
}

/// Events longer than this are not learned, in bytes.
const MAX_EVENT: usize = 4 << 10;

/// A stream whose structure changes more often is not followed any further: a template costs
/// more than to frame it.
const MAX_CHANGES: u32 = 16;

/// The structure of the last events of one stream.
#[derive(Debug, Default)]
pub struct EventTemplate {
    /// The last event that was learned, blank line included.
    example: Vec<u8>,
    /// Bit n is set if the n-th value of `example` is a hole.
    holes: u64,
    /// Matches nothing while no structure is known.
    template: Template,
    changes: u32,
}

impl EventTemplate {
    /// Takes a structure that is known otherwise.
    pub(crate) fn of(template: Template) -> EventTemplate {
        EventTemplate { template, ..EventTemplate::default() }
    }

    /// The length of the event at the start of `buf`, its blank line included, if it has the
    /// structure of those before. `None` also for an event whose end has not come yet.
    pub fn match_event(&self, buf: &[u8]) -> Option<usize> {
        self.template.match_start(buf)
    }

    /// Whether `event` is one event as a whole, its blank line included, with the structure of
    /// those before.
    #[inline]
    pub fn is_event(&self, event: &[u8]) -> bool {
        self.template.is_match(event)
    }

    /// Returns [`EventTemplate::is_event`] prepared once for many events.
    #[inline]
    pub fn matcher(&self) -> Matcher<'_> {
        Matcher { only: self.template.only_text(), template: &self.template }
    }

    /// The bytes before and behind the only value that may differ. `None` if there are more, or if
    /// no structure is known.
    pub fn surroundings(&self) -> Option<(&[u8], &[u8])> {
        self.template.surroundings()
    }

    /// The length of the events at the start of `buf` that have the structure of those before.
    pub fn match_events(&self, buf: &[u8]) -> usize {
        let mut pos = 0;
        while let Some(len) = self.match_event(&buf[pos..]) {
            pos += len;
        }
        pos
    }

    /// Learns from an event, blank line included, that a tap passed unread. Returns false for an
    /// event that is not learned, so that the template is still that of an earlier one.
    pub fn learn(&mut self, event: &[u8]) -> bool {
        if self.changes > MAX_CHANGES || event.len() > MAX_EVENT || !event.ends_with(b"\n\n") || event.contains(&b'\r')
        {
            return false;
        }
        match changed_values(&self.example, event, |value, _| is_name(value.key)) {
            Some(changed) => self.holes |= changed,
            None => {
                // A structure that was seen once has holes for its texts and the number of the
                // event; the next event shows which others it has.
                let holes = Values::of(event).filter(|value| varies(value) && value.number < u64::BITS);
                self.holes = holes.fold(0, |holes, value| holes | 1 << value.number);
                self.changes += 1;
            }
        }
        self.example.clear();
        self.example.extend_from_slice(event);
        let holes = self.holes;
        let is_hole = |value: &Value<'_>| value.number < u64::BITS && holes & (1 << value.number) != 0;
        self.template = match holes {
            0 => Template::default(),
            _ => Template::cut(event, true, is_hole).unwrap_or_default(),
        };
        true
    }
}

/// The structure of the last events of one stream, prepared for many.
#[derive(Debug, Clone, Copy)]
pub struct Matcher<'t> {
    only: Option<OnlyText<'t>>,
    template: &'t Template,
}

impl Matcher<'_> {
    /// Does what [`EventTemplate::is_event`] does. It is inlined, for work that is
    /// [`Vectorized`](crate::json::vectors::Vectorized).
    #[inline(always)]
    pub fn is_event(&self, lanes: impl Lanes, event: &[u8]) -> bool {
        match self.only {
            Some(only) => only.is_match(lanes, event),
            None => self.template.match_inlined(lanes, event) == Some(event.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::Format;
    use crate::json::vectors::{Common, Vectorized, vectorized};
    use crate::passthrough::observation::FrameKind;
    use crate::passthrough::tap::AnyTap;
    use crate::sse::Framer;

    fn chat(content: &str, padding: &str) -> String {
        format!(
            "data: {{\"id\":\"c1\",\"created\":17,\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{content}\"}},\
             \"finish_reason\":null}}],\"obfuscation\":\"{padding}\"}}\n\n"
        )
    }

    fn learned(events: &[String]) -> EventTemplate {
        let mut template = EventTemplate::default();
        events.iter().for_each(|event| _ = template.learn(event.as_bytes()));
        template
    }

    #[test]
    fn values_may_differ_and_nothing_else() {
        let template = learned(&[chat("a", "xy"), chat("b", "z")]);
        for event in [chat("", ""), chat(r#" \"quoted\" \\"#, "é"), chat("a", "xy")] {
            assert_eq!(template.match_event(event.as_bytes()), Some(event.len()), "{event}");
            assert_eq!(template.match_event(format!("{event}{event}x").as_bytes()), Some(event.len()));
            for end in 0..event.len() {
                assert_eq!(template.match_event(&event.as_bytes()[..end]), None);
            }
        }
        for other in [
            chat("a", "b").replace("null", "\"stop\""),
            chat("a", "b").replace("c1", "c2"),
            chat("a", "b").replace("content", "refusal"),
            chat("a", "b").replace("}\n", ",\"error\":{}}\n"),
            chat("a\n", "b"),
            "data: [DONE]\n\n".to_owned(),
            ": comment\n\n".to_owned(),
        ] {
            assert_eq!(template.match_event(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn numbers_are_values_and_names_are_not() {
        let event = |kind: &str, n: u32, delta: &str| {
            format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":{n},\"delta\":\"{delta}\"}}\n\n")
        };
        let template = learned(&[event("x.delta", 9, "a"), event("x.delta", 10, "b")]);
        let next = event("x.delta", 1234, "c");
        assert_eq!(template.match_events(format!("{next}{next}data: {{}}\n\n").as_bytes()), 2 * next.len());
        assert_eq!(template.match_event(event("x.delta", 1, "c").replace(":1,", ":-1,").as_bytes()), None);
        let nothing = learned(&[event("x.delta", 1, "a"), event("y.delta", 1, "a")]);
        assert_eq!(nothing.match_event(event("z.delta", 1, "a").as_bytes()), None);
    }

    #[test]
    fn holes_are_kept_while_the_structure_stays() {
        let template = learned(&[chat("a", "x"), chat("b", "x"), chat("b", "y")]);
        assert!(template.match_event(chat("c", "z").as_bytes()).is_some());
    }

    #[test]
    fn a_stream_of_ever_new_structure_is_given_up() {
        let mut template = EventTemplate::default();
        for n in 0..200 {
            assert_eq!(template.match_event(b"data: {}\n\n"), None);
            template.learn(format!("data: {{\"k{n}\":\"\"}}\n\n").as_bytes());
        }
        assert_eq!(template.changes, MAX_CHANGES + 1);
    }

    const EVENTS: &[(Format, &[&str])] = &[
        (
            Format::Chat,
            &[
                "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}],\"usage\":null}\n\n",
                "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":\"TEXT\"}],\"usage\":null}\n\n",
                "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}],\"usage\":{\"total_tokens\":NUMBER}}\n\n",
                "data: {\"error\":\"TEXT\"}\n\n",
                "data: {\"object\":\"TEXT\",\"choices\":[{\"delta\":{\"content\":\"\"}}]}\n\n",
                "event: error\ndata: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}],\"usage\":null}\n\n",
                "data: [DONE]\n\n",
                ": TEXT\n\n",
            ],
        ),
        (
            Format::Messages,
            &[
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"TEXT\"}}\n\n",
                "data: {\"type\":\"TEXT\",\"delta\":{\"text\":\"TEXT\"}}\n\n",
                "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"TEXT\"}}\n\n",
                "event: TEXT\ndata: {\"type\":\"TEXT\"}\n\n",
            ],
        ),
        (
            Format::Responses,
            &[
                "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":7,\"delta\":\"TEXT\"}\n\n",
                "data: {\"type\":\"TEXT\",\"sequence_number\":7,\"delta\":\"TEXT\"}\n\n",
                "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"TEXT\",\"usage\":{}}}\n\n",
                "event: keepalive\ndata: {\"type\":\"keepalive\",\"sequence_number\":7}\n\n",
            ],
        ),
    ];

    const TEXTS: &[&str] = &[
        "a",
        "",
        "usage",
        r#"\"error\":1"#,
        "error",
        "content_block_delta",
        "message_stop",
        "response.failed",
        "stop",
        "response.output_text.delta",
        "\u{e9}",
    ];

    struct Match<'t>(Matcher<'t>, &'t [u8]);

    impl Vectorized for Match<'_> {
        type Output = bool;

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> bool {
            self.0.is_event(lanes, self.1)
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// An event that matches is one that the tap calls content and that changes nothing that
        /// the tap keeps.
        #[test]
        fn what_matches_is_content(
            steps in prop::collection::vec((0usize..8, 0usize..11, prop::bool::ANY), 0..40),
        ) {
            for (format, events) in EVENTS {
                let (mut tap, mut template) = (AnyTap::new(*format), EventTemplate::default());
                for (event, text, often) in &steps {
                    let event = events[if *often { 0 } else { event % events.len() }].replace("TEXT", TEXTS[*text]).replace("NUMBER", &text.to_string());
                    let matched = template.match_event(event.as_bytes());
                    let (matcher, is_whole) = (template.matcher(), matched == Some(event.len()));
                    prop_assert_eq!(matcher.is_event(Common, event.as_bytes()), is_whole, "{}", event);
                    prop_assert_eq!(vectorized(Match(matcher, event.as_bytes())), is_whole, "{}", event);
                    let before = tap.seen().clone();
                    let (mut framer, mut rest) = (Framer::default(), event.as_bytes());
                    let block = framer.next(&mut rest).unwrap().unwrap();
                    let kind = block.frame.map(|frame| tap.frame(&frame));
                    if let Some(len) = matched {
                        prop_assert_eq!((len, kind), (event.len(), Some(FrameKind::Content)), "{}", event);
                        prop_assert_eq!(&before, tap.seen(), "{}", event);
                    } else if tap.passed_unread() {
                        _ = template.learn(event.as_bytes());
                    }
                }
            }
        }
    }
}

//! Writes events of a stream as strings of JSON, as logs do.
//!
//! Nearly all events of an answer differ from the one before in their text and their number alone.
//! What is around these is escaped once, and copied from then on.

use crate::json::template::{NOWHERE, Places, Template, is_plain_text, varies};
use crate::json::vectors::{Lanes, Vectorized, vectorized};
use crate::json::{scan, write};
use crate::sse::Framer;

/// Events longer than this are not learned, in bytes.
const MAX_EVENT: usize = 4 << 10;

/// The structure of an event, and the same escaped. The default is that of no event.
#[derive(Debug, Default)]
pub struct EventStrings {
    template: Template,
    /// What stands before, between and behind the holes of the template.
    escaped: Vec<Vec<u8>>,
}

/// An event at the start of a text that has the structure, and that can be written.
#[derive(Debug)]
pub struct KnownString {
    /// Its length, blank line included.
    pub len: usize,
    places: Places,
}

impl EventStrings {
    /// Takes the structure of `event`, blank line included, in which values of the fields that hold
    /// an answer's text and the number of an event may differ. Takes none that is not JSON on one
    /// line, or that has nothing that may differ.
    pub fn learn(&mut self, event: &[u8]) {
        *self = EventStrings::of(event).unwrap_or_default();
    }

    fn of(event: &[u8]) -> Option<EventStrings> {
        if event.len() > MAX_EVENT {
            return None;
        }
        let frame = Framer::default().whole(event)?;
        scan::validate(frame.data).ok()?;
        let begin = str::from_utf8(event).ok()?.strip_suffix("\n\n")?.strip_suffix(str::from_utf8(frame.data).ok()?)?;
        // A quote there would begin a string for who looks for one.
        if begin.contains('"') {
            return None;
        }
        let template = Template::cut(event, true, varies).filter(|template| template.literals().count() > 1)?;
        let escaped = template.literals().map(|literal| {
            let mut out = Vec::new();
            write::escaped(&mut out, str::from_utf8(literal).ok()?);
            Some(out)
        });
        let escaped = escaped.collect::<Option<Vec<_>>>()?;
        Some(EventStrings { template, escaped })
    }

    /// Returns the event at the start of `events`, if it has the structure and `is_plain` finds
    /// nothing in the texts in which it differs that has to be written otherwise.
    pub fn find(&self, events: &[u8], is_plain: impl Fn(&[u8]) -> bool) -> Option<KnownString> {
        let mut places = NOWHERE;
        let len = vectorized(Find { template: &self.template, events, places: &mut places })?;
        let known = KnownString { len, places };
        let is_known = self.template.holes(&known.places).all(|(start, end)| {
            let text = &events[start..end];
            is_plain(text) && (is_plain_text(text) || str::from_utf8(text).is_ok())
        });
        is_known.then_some(known)
    }

    /// Writes the event that was found at the start of `events`.
    pub fn write(&self, out: &mut Vec<u8>, events: &[u8], known: &KnownString) {
        let mut holes = self.template.holes(&known.places);
        out.push(b'"');
        for literal in &self.escaped {
            out.extend_from_slice(literal);
            let Some((start, end)) = holes.next() else { break };
            let text = &events[start..end];
            match is_plain_text(text) {
                true => out.extend_from_slice(text),
                // `find` has asked.
                false => write::escaped(out, str::from_utf8(text).unwrap_or_default()),
            }
        }
        out.push(b'"');
    }
}

struct Find<'a> {
    template: &'a Template,
    events: &'a [u8],
    places: &'a mut Places,
}

impl Vectorized for Find<'_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Option<usize> {
        self.template.match_places(lanes, self.events, self.places)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: &[&str] = &[
        "data: {\"id\":\"c1\",\"choices\":[{\"delta\":{\"content\":\"TEXT\"},\"finish_reason\":null}]}\n\n",
        "event: x.delta\ndata: {\"type\":\"x.delta\",\"sequence_number\":NUMBER,\"delta\":\"TEXT\",\"obfuscation\":\"TEXT\"}\n\n",
        "data: {\"id\":\"é\",\"text\":\"TEXT\",\"secret\":\"TEXT\"}\n\n",
        "event: \"x\"\ndata: {\"text\":\"TEXT\"}\n\n",
        "data: {\"text\":\"TEXT\"\n\n",
        "data: {}\n\n",
        "data: [DONE]\n\n",
        ": \"TEXT\"\n\n",
    ];

    const TEXTS: &[&str] = &["a", "", "words of some length, é and 日本", r#"\"quoted\" \\ \n"#, "\u{1}", "\\x", "<"];

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// What is written is the event, escaped, and the events behind it are not looked at.
        #[test]
        fn what_is_known_is_written_as_it_is(
            steps in prop::collection::vec((0usize..8, 0usize..7, 0u32..2000, any::<bool>(), any::<bool>()), 0..40),
        ) {
            let mut strings = EventStrings::default();
            for (event, text, number, is_cut, learns) in steps {
                let event = EVENTS[event].replace("TEXT", TEXTS[text]).replace("NUMBER", &number.to_string());
                let mut events = [event.as_bytes(), b"data: more"].concat();
                if is_cut {
                    events.truncate(event.len() - 1);
                }
                let known = strings.find(&events, |text| !text.contains(&b'<'));
                if let Some(known) = &known {
                    prop_assert_eq!(known.len, event.len());
                    let (mut out, mut expected) = (b"[".to_vec(), b"[".to_vec());
                    strings.write(&mut out, &events, known);
                    write::string(&mut expected, &event);
                    prop_assert_eq!(out, expected);
                }
                if learns {
                    strings.learn(event.as_bytes());
                    let is_known = strings.find(event.as_bytes(), |_| true).is_some();
                    prop_assert_eq!(is_known, !strings.escaped.is_empty(), "{}", event);
                }
            }
        }
    }

    #[test]
    fn other_texts_are_known() {
        let event = |number: u32, text: &str| {
            format!("event: x.delta\ndata: {{\"sequence_number\":{number},\"delta\":\"{text}\"}}\n\n")
        };
        let mut strings = EventStrings::default();
        assert!(strings.find(event(1, "a").as_bytes(), |_| true).is_none());
        strings.learn(event(1, "a").as_bytes());
        for text in ["", "b", r#"\"c\\"#, "é"] {
            assert!(strings.find(event(22, text).as_bytes(), |_| true).is_some(), "{text}");
        }
        assert!(strings.find(event(2, "a<").as_bytes(), |text| !text.contains(&b'<')).is_none());
        let broken = [event(3, "").trim_end_matches("\"}\n\n").as_bytes(), b"\xff\"}\n\n"].concat();
        assert!(strings.find(&broken, |_| true).is_none());
        strings.learn(b"data: {}\n\n");
        assert!(strings.find(event(1, "a").as_bytes(), |_| true).is_none());
    }
}

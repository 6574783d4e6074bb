//! The events of a stream that need no tap: their structure is that of events which were read.

use llm_wire::passthrough::event_template::EventTemplate;
use llm_wire::passthrough::event_templates::{Cursor, EventTemplates};
use llm_wire::passthrough::tap::{AnyTap, Effect, FrameKind};

/// The templates of one stream are fixed so often at most: where more changes than the text, it
/// gains nothing.
const MAX_FIXES: u32 = 4;

/// What is known of the events of one stream.
#[derive(Default)]
pub(super) struct KnownEvents {
    /// The structure of its content so far.
    content: EventTemplate,
    /// The place in the worker's templates.
    cursor: Cursor,
    fixes: u32,
}

impl KnownEvents {
    /// Returns the length of the events at the start of `data` that are content behind other content.
    pub(super) fn flowing(&self, data: &[u8]) -> usize {
        self.content.match_events(data)
    }

    /// Returns the length of the event at the start of `data`, if it is known, and what it does to
    /// the tap. Content behind other content, which does nothing, is [`KnownEvents::flowing`].
    pub(super) fn next(&mut self, templates: &mut EventTemplates, data: &[u8]) -> Option<(usize, Effect)> {
        let (len, effect) = templates.match_event(data, &mut self.cursor)?;
        if effect.kind == FrameKind::Content && self.fixes < MAX_FIXES {
            self.fixes += 1;
            if let Some(content) = templates.fixed(&data[..len], self.cursor) {
                self.content = content;
            }
        }
        Some((len, effect))
    }

    /// Learns from an event that `tap` was shown last.
    pub(super) fn learn(&mut self, templates: &mut EventTemplates, tap: &AnyTap, event: &[u8]) {
        match tap.effect() {
            _ if tap.passed_unread() => self.content.learn(event),
            Some(effect) => templates.learn(event, effect),
            None => {}
        }
    }
}

//! A translated stream that broke off goes on with the stream of another provider, whatever the
//! format of that is: the encoder and what it knows stay, and a new decoder feeds them.
//!
//! | state | what comes | goes to |
//! |---|---|---|
//! | `Recording` | the failure of a stream that has text alone | broken off; `Resumed` by `Translator::resume` |
//! | `Resumed`, no content yet | a failure | broken off again |
//! | `Resumed` | content | the stream is the client's: a failure is an event |
//!
//! The items of the second stream are put behind those of the first, and its first text goes on
//! with a text that is open.

use crate::canonical::event::{Block, Event, Status};
use crate::error::{Error, Side};
use crate::passthrough::continuation::MAX_TEXT;
use crate::response::normalize::Normalizer;
use crate::target::plan::Reply;

/// What a translator keeps of a stream that may be continued.
#[derive(Debug, Default)]
pub(super) struct Rescue {
    state: State,
    /// The visible text so far, escaped.
    pub(super) text: Vec<u8>,
    /// How the stream broke off.
    pub(super) broken: Option<Error>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Recording,
    Resumed {
        /// What is added to the indices of items.
        base: u32,
        /// Whether the first item may go on with a text that is open.
        joins: bool,
        has_content: bool,
    },
}

impl Rescue {
    /// Begins behind a text that the client has.
    pub(super) fn behind(text: &[u8]) -> Rescue {
        Rescue { text: text.to_vec(), ..Rescue::default() }
    }

    /// Goes on with a second stream, whose items come behind `base` others; the first may go on
    /// with the one before if it `joins`.
    pub(super) fn resumed(text: Vec<u8>, base: u32, joins: bool) -> Rescue {
        Rescue { state: State::Resumed { base, joins, has_content: false }, text, broken: None }
    }

    /// Returns whether a second stream goes on, and nothing of it has come.
    pub(super) fn awaits_rest(&self) -> bool {
        matches!(self.state, State::Resumed { has_content: false, .. })
    }

    /// Returns an event of a decoder at its place behind the items of the first stream, and an
    /// event that goes before it.
    pub(super) fn place<'e>(&mut self, event: Event<'e>) -> [Option<Event<'e>>; 2] {
        let State::Resumed { base, joins, .. } = &mut self.state else { return [None, Some(event)] };
        let mut before = None;
        match &event {
            Event::Start { .. } => return [None, None],
            Event::Open { ix: 0, block: Block::Text } if *joins => {
                *joins = false;
                return [None, None];
            }
            Event::Open { .. } if *joins => {
                *joins = false;
                before = Some(Event::Close { ix: *base, status: Status::Complete });
                *base += 1;
            }
            _ => {}
        }
        [before, Some(moved(event, *base))]
    }

    /// Notes an event that goes to the client.
    pub(super) fn note(&mut self, event: &Event<'_>) {
        match (&mut self.state, event) {
            (State::Recording, Event::Text { raw, .. }) if self.text.len() <= MAX_TEXT => {
                self.text.extend_from_slice(raw.as_bytes());
            }
            (State::Resumed { has_content, .. }, event) => *has_content |= event.is_content(),
            _ => {}
        }
    }

    /// Returns whether a failure is a break that another provider may go on from: the client has
    /// text and nothing else, or nothing of a stream that goes on already.
    pub(super) fn is_resumable(&self, error: &Error, shape: &Normalizer, reply: &Reply) -> bool {
        let is_fit = match self.state {
            State::Recording => !self.text.is_empty() && self.text.len() <= MAX_TEXT && shape.has_text_alone(),
            State::Resumed { has_content, .. } => !has_content,
        };
        // What may begin a stop sequence is held back, and would be lost.
        is_fit && error.side == Side::Upstream && reply.plan.stops.is_empty()
    }
}

fn moved(event: Event<'_>, base: u32) -> Event<'_> {
    let mut event = event;
    if let Event::Open { ix, .. }
    | Event::Text { ix, .. }
    | Event::Refusal { ix, .. }
    | Event::Reason { ix, .. }
    | Event::Opaque { ix, .. }
    | Event::Args { ix, .. }
    | Event::Cite { ix, .. }
    | Event::Logprobs { ix, .. }
    | Event::Close { ix, .. } = &mut event
    {
        *ix = ix.saturating_add(base);
    }
    event
}

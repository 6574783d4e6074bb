//! What a translator writes: the events of one answer, for an encoder or a fold.

use crate::canonical::codec::Encode;
use crate::canonical::event::Event;
use crate::error::Error;
use crate::format::Format;
use crate::formats::{chat, messages, responses};
use crate::reasoning::cache::Captured;
use crate::response::whole;
use crate::response::whole::Answer;
use crate::target::plan::Reply;
use crate::translate::any::AnyEncoder;
use crate::translate::rescue::Rescue;

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Nothing was written: a failure can still be a status, or be tried elsewhere.
    Waiting,
    /// The client has bytes of the answer. Failures go into the stream.
    Committed,
    /// The answer has ended, well or not.
    Over,
}

/// Where the answer goes.
pub(super) enum Output {
    Stream(Box<AnyEncoder>),
    Whole(Box<Answer>),
}

/// Where shaped events go.
pub(super) struct Writing<'t> {
    pub(super) output: &'t mut Output,
    pub(super) phase: &'t mut Phase,
    pub(super) failure: &'t mut Option<Error>,
    pub(super) captured: &'t mut Option<Captured>,
    pub(super) content: &'t mut bool,
    /// The failure of a response of which nothing was written.
    pub(super) early: Option<Error>,
    pub(super) out: &'t mut Vec<u8>,
}

impl Writing<'_> {
    /// Writes one event.
    pub(super) fn event(&mut self, event: Event<'_>, reply: &mut Reply, rescue: Option<&mut Rescue>) {
        if *self.phase == Phase::Over {
            return;
        }
        *self.content |= event.is_content();
        if let Some(captured) = self.captured {
            captured.take(&event);
        }
        if let Some(rescue) = rescue {
            rescue.note(&event);
        }
        deliver(event, reply, self.output, self.phase, (&mut self.early, &mut *self.failure), self.out);
    }
}

/// Hands one shaped event to the encoder or the fold, and keeps the phase.
fn deliver(
    event: Event<'_>,
    reply: &mut Reply,
    output: &mut Output,
    phase: &mut Phase,
    (early, failure): (&mut Option<Error>, &mut Option<Error>),
    out: &mut Vec<u8>,
) {
    let ends = matches!(event, Event::End | Event::Fail(_));
    match output {
        Output::Stream(encoder) => {
            if let Event::Fail(error) = &event {
                if *phase == Phase::Waiting {
                    *early = Some(whole::copy(error));
                    *phase = Phase::Over;
                    return;
                }
                *failure = Some(whole::copy(error));
            }
            if event.is_content() {
                *phase = Phase::Committed;
            }
            encoder.event(event, reply, out);
            if let Some(error) = encoder.take_failure() {
                *failure = Some(error);
                *phase = Phase::Over;
            }
        }
        Output::Whole(answer) => {
            answer.take(&event);
            if let Some(error) = answer.error.take() {
                *early = Some(error);
                *phase = Phase::Over;
            } else if ends {
                let written = match reply.plan.client {
                    Format::Chat => chat::response::encode(answer, reply, out),
                    Format::Messages => messages::response::encode(answer, reply, out),
                    Format::Responses => responses::response::encode(answer, reply, out),
                };
                *early = written.err();
            }
        }
    }
    if ends {
        *phase = Phase::Over;
    }
}

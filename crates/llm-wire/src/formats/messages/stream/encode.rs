//! Events as a client's stream.
//!
//! | phase | event | output, goes to |
//! |---|---|---|
//! | `Init` | the first content, or `wait` | `message_start`; `Live` |
//! | `Live` | items | blocks, by [`Blocks`] |
//! | `Live` | `Finish`, `Usage`, `Tier` | nothing: kept for the end, since usage may come after the finish |
//! | `Live` | `End` | `message_delta`, `message_stop`; `Over` |
//! | any | `Fail` | `error`, and no end: a block that is open stays open; `Over` |

use crate::canonical::codec::Encode;
use crate::canonical::event::{Event, Note, Reason};
use crate::canonical::usage::Usage;
use crate::error::Error;
use crate::formats::messages::stream::head::Blocks;
use crate::formats::messages::stream::write;
use crate::formats::messages::{error, usage};
use crate::response::whole::Ended;
use crate::target::plan::Reply;

/// A refusal longer than this is not completed as the explanation; its text goes out whole.
const REFUSED_MAX: usize = 16 << 10;

/// Writes a client's stream. `Default`: its facts come with each call, in the [`Reply`].
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    phase: Phase,
    blocks: Blocks,
    usage: Option<Usage>,
    tier: Option<&'static str>,
    finish: Option<Box<Ended>>,
    /// The text of a refusal, escaped.
    refused: Vec<u8>,
    failure: Option<Error>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Init,
    Live,
    Over,
}

impl Encoder {
    fn begin(&mut self, reply: &Reply, out: &mut Vec<u8>) {
        if self.phase == Phase::Init {
            self.phase = Phase::Live;
            self.blocks.omitted = reply.plan.display_omitted;
            write::message_start(out, self.usage, self.tier, reply);
        }
    }

    fn item(&mut self, event: Event<'_>, reply: &mut Reply, out: &mut Vec<u8>) -> Result<(), Error> {
        match event {
            Event::Open { block, .. } => {
                self.blocks.open(&block, out);
                Ok(())
            }
            Event::Text { ix, raw } | Event::Args { ix, raw } => self.blocks.bytes(ix, raw, out),
            Event::Refusal { ix, raw } => {
                if self.refused.len() <= REFUSED_MAX {
                    self.refused.extend_from_slice(raw.as_bytes());
                }
                self.blocks.bytes(ix, raw, out)
            }
            Event::Reason { ix, part, kind, raw } => self.blocks.reasoning(ix, (part, kind), raw, out),
            Event::Opaque { ix, raw, .. } => self.blocks.state(ix, raw),
            Event::Close { ix, .. } => {
                self.blocks.close(ix, out);
                Ok(())
            }
            // Citations of this format quote their source; a link alone cannot be expressed.
            Event::Cite { .. } => {
                reply.note(Note::DroppedCitation);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn fail(&mut self, error: &Error, reply: &Reply, out: &mut Vec<u8>) {
        self.phase = Phase::Over;
        error::event(out, error, &reply.request_id);
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.blocks.close_all(out);
        let ended = self.finish.take().unwrap_or_else(|| Ended::of(Reason::End).into());
        write::message_end(out, &ended, &self.refused, &self.usage.unwrap_or_default(), self.tier);
        self.phase = Phase::Over;
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, reply: &mut Reply, out: &mut Vec<u8>) {
        if self.phase == Phase::Over {
            return;
        }
        if event.is_content() {
            self.begin(reply, out);
        }
        match event {
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Tier(word) => self.tier = usage::tier(&word.unescape()),
            Event::Finish(finish) => self.finish = Some(Box::new((&finish).into())),
            Event::End => self.end(out),
            Event::Fail(error) => self.fail(&error, reply, out),
            Event::Start { .. } | Event::Note(_) => {}
            item => {
                if let Err(error) = self.item(item, reply, out) {
                    reply.note(Note::Disorder);
                    self.fail(&error, reply, out);
                    self.failure = Some(error);
                }
            }
        }
    }

    fn wait(&mut self, reply: &mut Reply, out: &mut Vec<u8>) {
        if self.phase != Phase::Over {
            self.begin(reply, out);
            write::ping(out);
        }
    }

    fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

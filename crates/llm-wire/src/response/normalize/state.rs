//! The state of one answer between decoder and encoder.

use std::collections::HashMap;

use crate::canonical::event::{Event, Reason};
use crate::canonical::text::Text;
use crate::canonical::usage::Usage;
use crate::response::custom_tools::ShimInput;
use crate::response::stop::StopScan;
use crate::target::plan::Reply;

/// Where shaped events go: an encoder or a fold.
pub(crate) type Out<'s> = &'s mut dyn FnMut(Event<'_>, &mut Reply);

/// How far the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    #[default]
    Before,
    Live,
    Finished,
    Over,
}

/// The state of one answer.
#[derive(Debug, Default)]
pub(crate) struct Normalizer {
    pub(super) phase: Phase,
    pub(super) items: Vec<Item>,
    /// Ids of calls given out so far, escaped, each with the last suffix that was tried for it.
    pub(super) ids: HashMap<Text<'static>, u64>,
    pub(super) usage: Option<Usage>,
    /// Escaped bytes of text, reasoning and arguments that went out: the base of an estimate.
    pub(super) sent: u64,
    pub(super) scratch: Vec<u8>,
    /// Why the answer ended.
    pub(super) reason: Option<Reason>,
    /// A stop sequence ended the answer; the upstream call is of no more use.
    pub(super) stopped: bool,
}

/// One open or closed item.
#[derive(Debug)]
pub(super) enum Item {
    Text(StopScan),
    Refusal,
    Reasoning {
        id: Text<'static>,
        /// Its visible text, for the envelope.
        text: Vec<u8>,
        part: u32,
    },
    Function {
        any: bool,
    },
    Custom,
    Shimmed(ShimInput),
    /// The input of the answer tool is the text of the answer.
    Answer,
    Closed,
}

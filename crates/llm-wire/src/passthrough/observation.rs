//! What a tap reports: of one frame, and of the stream so far.

use std::ops::Range;

use crate::canonical::event::Reason;
use crate::canonical::usage::Usage;
use crate::json::walk;
use crate::json::{RawKind, RawValue};

/// What a frame is to a relay.
///
/// The answer begins for the client at the first `Content`, `Finish`, `End` or `Error`; until then
/// everything may be held, and another provider tried. After the first `Content` frames are only
/// looked at where they can matter, so a frame without any text may also be called `Content`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// Says nothing yet: role, empty deltas, `message_start`, `ping`, `response.created`, an empty
    /// block or part.
    Preamble,
    /// Text, reasoning, a tool call, or something new that is not empty.
    Content,
    /// The chat chunk with usage and no choices. Left out for a client that did not ask for it.
    Usage,
    /// Holds the reason why the answer ended; the end mark and usage may follow.
    Finish,
    /// The end mark: `[DONE]`, `message_stop`, `response.completed`, `response.incomplete`.
    End,
    /// The provider reports that the answer failed.
    Error,
    /// `keepalive` of the responses format: not in the vendor's reference, and strict readers fail
    /// on it. To be left out.
    KeepAlive,
    /// Nothing of the above, or not understood.
    Other,
}

/// What was seen of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// The last usage; numbers are cumulative, so nothing is summed. `None` where no frame had any.
    pub usage: Option<Usage>,
    /// A finish reason was seen. Some hosts send none before the end mark, and some no end mark
    /// after it: either one makes an answer of the chat format whole. Of the others it is the end
    /// mark that counts.
    pub finished: bool,
    /// Why the answer ended, as far as it is known.
    pub reason: Option<Reason>,
    /// The end mark was seen.
    pub ended: bool,
    /// An error event was seen.
    pub failed: bool,
    /// Frames that should have been understood and were not.
    pub parse_errors: u32,
}

impl Observed {
    /// Counts a frame that is not JSON.
    pub(crate) fn misread(&mut self) -> FrameKind {
        self.parse_errors = self.parse_errors.saturating_add(1);
        FrameKind::Other
    }

    /// Notes that the stream has reported an error.
    pub(crate) fn error(&mut self) -> FrameKind {
        self.failed = true;
        FrameKind::Error
    }

    /// Notes the end mark.
    pub(crate) fn end(&mut self) -> FrameKind {
        self.ended = true;
        FrameKind::End
    }

    /// Notes the finish reason.
    pub(crate) fn finish(&mut self) -> FrameKind {
        self.finished = true;
        FrameKind::Finish
    }
}

/// What a frame did to a tap, where that follows from its structure: from its keys, from the words
/// that say what it is, and from which of its values are empty. A frame of the same structure does
/// the same to every tap of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effect {
    /// What the frame is to a relay.
    pub kind: FrameKind,
    /// The reason that it holds.
    pub(crate) reason: Option<Reason>,
}

impl Effect {
    /// Returns the effect of an event of this kind without a finish reason.
    pub(crate) fn of(kind: FrameKind) -> Effect {
        Effect { kind, reason: None }
    }
}

/// How closely a tap looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// No content yet: every frame is read, since the relay waits for the first that has some.
    #[default]
    Opening,
    /// Frames are read where they can matter.
    Flowing,
}

/// Returns where `part` lies in `whole`. `None` if it is no part of it.
pub(crate) fn offset_in(part: &[u8], whole: &[u8]) -> Option<Range<usize>> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let range = start..start.checked_add(part.len())?;
    (range.end <= whole.len()).then_some(range)
}

/// The `model` of an object that begins at `start`.
pub(crate) fn model_in(object: RawValue<'_>, start: usize) -> Option<Range<usize>> {
    let (_, model, at) = object.members().find(|(key, ..)| key.eq_str("model"))?;
    model.as_str().filter(|name| !name.is_empty())?;
    Some(start + at.start..start + at.end)
}

/// The `model` of the object under the top-level key `outer`.
pub(crate) fn model_under(data: &[u8], outer: &str) -> Option<Range<usize>> {
    let (_, object, at) = walk::members(data).find(|(key, ..)| key.eq_str(outer))?;
    model_in(object, at.start)
}

/// Whether a value has content: not null, `""`, `[]` or `{}`.
pub(crate) fn is_filled(value: RawValue<'_>) -> bool {
    match value.kind() {
        RawKind::Null => false,
        RawKind::String => value.bytes() != b"\"\"",
        RawKind::Array => value.elements().next().is_some(),
        RawKind::Object => value.members().next().is_some(),
        RawKind::Bool | RawKind::Number => true,
    }
}

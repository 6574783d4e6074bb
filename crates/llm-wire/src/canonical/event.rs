//! The canonical events of an answer, and the two traits of a format's stream code
//! (`docs/internals/translation/streams.md`, "Canonical events").
//!
//! A decoder reads a provider and pushes events; `response::normalize` turns the provider's names,
//! ids and reasoning state into the client's; an encoder writes the client's stream, or
//! `response::whole` folds the same events for a whole answer. Text, reasoning and arguments are
//! escaped bytes from the read buffer all the way to the write buffer.
//!
//! | event | promise of decoders, checked by `Normalizer` |
//! |---|---|
//! | `Start` | first, once; whole answers too |
//! | `Open` | before any delta of its `ix`; `ix` is dense, in order of first appearance |
//! | `Text` … `Cite` | never empty |
//! | `Close` | once for each `ix` |
//! | `Usage` | any time before `End`; each replaces the one before, so decoders merge partial counts |
//! | `Finish` | once, after every `Close` |
//! | `End` | last, once; or `Fail` in its place |

use crate::canonical::loss::Loss;
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::canonical::usage::Usage;
use crate::error::Error;
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::Seal;

/// One step of an answer.
#[derive(Debug)]
pub enum Event<'a> {
    /// The provider's own id and model name, for the log. Empty where it gave none.
    Start {
        /// The provider's id of the response, escaped.
        id: RawStr<'a>,
        /// The provider's name of the model, escaped.
        model: RawStr<'a>,
    },
    /// The tier that served the request, in the provider's words.
    Tier(RawStr<'a>),
    /// An item begins.
    Open {
        /// The index of the item, which all events of the item repeat.
        ix: u32,
        /// The kind of the item, with what is known of it at its start.
        block: Block<'a>,
    },
    /// A piece of visible text.
    Text {
        /// The index of the item.
        ix: u32,
        /// The text, escaped, never empty.
        raw: RawStr<'a>,
    },
    /// A piece of text in which the model declines to answer.
    Refusal {
        /// The index of the item.
        ix: u32,
        /// The text, escaped, never empty.
        raw: RawStr<'a>,
    },
    /// Reasoning that may be shown. `part` counts the parts of the item from 0 (R `summary_index`);
    /// M and C have one.
    Reason {
        /// The index of the item.
        ix: u32,
        /// The part of the item, counted from 0.
        part: u32,
        /// Whether the text is a summary or the reasoning itself.
        kind: ReasoningKind,
        /// The text, escaped, never empty.
        raw: RawStr<'a>,
    },
    /// Opaque state of a reasoning item, whole, after the last `Reason` of its item. From decoders
    /// the provider's own bytes; to encoders an envelope, to be placed as it is.
    Opaque {
        /// The index of the item.
        ix: u32,
        /// What kind of opaque state it is.
        seal: Seal,
        /// The state, escaped.
        raw: RawStr<'a>,
    },
    /// A piece of a tool's input: JSON text of a function, free text of a custom tool.
    Args {
        /// The index of the item.
        ix: u32,
        /// The piece, escaped, never empty. It may end inside an escape sequence of the tool's
        /// JSON.
        raw: RawStr<'a>,
    },
    /// A link to a source. Other citations are dropped by decoders with [`Note::DroppedCitation`].
    Cite {
        /// The index of the item.
        ix: u32,
        /// The source.
        cite: Cite<'a>,
    },
    /// Log probabilities: a non-empty array of `{token, logprob, bytes, top_logprobs}`, equal in C
    /// and R.
    Logprobs {
        /// The index of the item.
        ix: u32,
        /// The array, as the provider wrote it.
        raw: RawValue<'a>,
    },
    /// The item has ended: no further event has its index.
    Close {
        /// The index of the item.
        ix: u32,
        /// Whether the item is whole.
        status: Status,
    },
    /// The token counts so far. Each replaces the one before.
    Usage(Usage),
    /// The reason why the response ended.
    Finish(Finish<'a>),
    /// The response has failed. Nothing follows.
    Fail(Error),
    /// The provider's end mark, or the end of its bytes where that is a clean end.
    End,
    /// For counters; never reaches an encoder.
    /// An oddity.
    Note(Note),
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block<'a> {
    /// Visible text.
    Text,
    /// Text in which the model declines to answer.
    Refusal,
    /// The provider's item id; empty where it gave none.
    /// Reasoning, shown or opaque.
    Reasoning {
        /// The provider's item id, escaped.
        id: RawStr<'a>,
    },
    /// From decoders: id and name as the provider gave them, the id maybe empty; never a namespace.
    /// To encoders: the client's name and namespace, and an id that is never empty.
    /// A call of a tool.
    Tool {
        /// Whether the tool takes JSON or free text.
        kind: CallKind,
        /// The id of the call, escaped.
        id: RawStr<'a>,
        /// The name of the tool, escaped.
        name: RawStr<'a>,
        /// The namespace of the tool, as Responses clients declare it.
        namespace: Option<RawStr<'a>>,
    },
}

/// A URL citation of R and C; M web search results are expressed so too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cite<'a> {
    /// The address of the source, escaped.
    pub url: RawStr<'a>,
    /// The title of the source, escaped. Empty where the provider gave none.
    pub title: RawStr<'a>,
    /// First character and the one behind the last, in the text of the item. `None`: all of the
    /// item's text.
    pub range: Option<(u64, u64)>,
}

/// How an item ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Status {
    /// The item ended by itself.
    #[default]
    Complete,
    /// Cut by a limit or a filter.
    Incomplete,
}

/// Why an answer ended (`docs/internals/translation/responses.md`, "Finish reasons").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The model had nothing to add.
    End,
    /// One of the request's stop sequences matched.
    StopSequence,
    /// The model calls tools and waits for their results.
    ToolCalls,
    /// The limit of output tokens was reached.
    Length,
    /// The model's context window is full.
    ContextWindow,
    /// The model or a filter of its vendor declined.
    Refusal,
    /// The vendor paused a long turn of server tools; the client may send it back to go on (M).
    Pause,
    /// The vendor compacted the conversation and stopped there (M).
    Compaction,
}

impl Reason {
    /// One vocabulary for records and spans, whatever the format: OpenAI's words where it has one.
    pub fn label(self) -> &'static str {
        match self {
            Reason::End => "stop",
            Reason::StopSequence => "stop_sequence",
            Reason::ToolCalls => "tool_calls",
            Reason::Length => "length",
            Reason::ContextWindow => "context_window",
            Reason::Refusal => "content_filter",
            Reason::Pause => "pause",
            Reason::Compaction => "compaction",
        }
    }
}

/// The end of a response, as the provider reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish<'a> {
    /// The reason in canonical form.
    pub reason: Reason,
    /// The stop sequence that matched, if it is known.
    pub stop: Option<RawStr<'a>>,
    /// Of a refusal: M `stop_details.category` and `explanation`.
    pub category: Option<RawStr<'a>>,
    /// The vendor's explanation of a refusal, escaped.
    pub explanation: Option<RawStr<'a>>,
}

impl Finish<'_> {
    /// Makes a finish that has a reason and nothing else.
    pub fn of(reason: Reason) -> Finish<'static> {
        Finish { reason, stop: None, category: None, explanation: None }
    }
}

/// Oddities of answers, for counters alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Note {
    /// A block or item that the client's format cannot show.
    DroppedOutput,
    /// Audio, of which the client gets the transcript.
    DroppedAudio,
    /// A citation other than a link.
    DroppedCitation,
    /// A further choice of a Chat answer.
    DroppedChoice,
    /// A finish reason not known here, taken as the neutral one.
    UnknownFinish,
    /// A whole answer without a finish reason.
    MissingFinish,
    /// An event not known here.
    UnknownEvent,
    /// Arguments that are no JSON object.
    InvalidArguments,
    /// Two calls of one id.
    DuplicateCallId,
    /// An event out of order, or a `done` text that differs from its deltas.
    Disorder,
    /// Usage that contradicted itself.
    OddUsage,
    /// The host did not count; the numbers are estimates.
    EstimatedUsage,
}

impl Note {
    /// Returns what part of the response was lost, if the note means a loss.
    pub fn loss(self) -> Option<Loss> {
        match self {
            Note::DroppedOutput => Some(Loss::ResponseOutput),
            Note::DroppedAudio => Some(Loss::ResponseAudio),
            Note::DroppedCitation => Some(Loss::ResponseCitations),
            Note::DroppedChoice => Some(Loss::ResponseChoices),
            _ => None,
        }
    }

    /// All notes, in the order of their counters.
    pub const ALL: [Note; 12] = [
        Note::DroppedOutput,
        Note::DroppedAudio,
        Note::DroppedCitation,
        Note::DroppedChoice,
        Note::UnknownFinish,
        Note::MissingFinish,
        Note::UnknownEvent,
        Note::InvalidArguments,
        Note::DuplicateCallId,
        Note::Disorder,
        Note::OddUsage,
        Note::EstimatedUsage,
    ];

    /// Returns the value of a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Note::DroppedOutput => "dropped_output",
            Note::DroppedAudio => "dropped_audio",
            Note::DroppedCitation => "dropped_citation",
            Note::DroppedChoice => "dropped_choice",
            Note::UnknownFinish => "unknown_finish",
            Note::MissingFinish => "missing_finish",
            Note::UnknownEvent => "unknown_event",
            Note::InvalidArguments => "tool_args_invalid",
            Note::DuplicateCallId => "duplicate_call_id",
            Note::Disorder => "disorder",
            Note::OddUsage => "odd_usage",
            Note::EstimatedUsage => "estimated_usage",
        }
    }
}

impl Event<'_> {
    /// Returns whether the answer has truly begun: text, reasoning or a tool call, or its end.
    /// Decides the commit barrier.
    pub fn is_content(&self) -> bool {
        match self {
            Event::Text { .. }
            | Event::Refusal { .. }
            | Event::Reason { .. }
            | Event::Opaque { .. }
            | Event::Args { .. }
            | Event::Cite { .. }
            | Event::Logprobs { .. }
            | Event::Finish(_)
            | Event::End => true,
            Event::Open { block, .. } => matches!(block, Block::Tool { .. }),
            _ => false,
        }
    }

    /// Returns the item that the event belongs to.
    pub fn ix(&self) -> Option<u32> {
        match self {
            Event::Open { ix, .. }
            | Event::Text { ix, .. }
            | Event::Refusal { ix, .. }
            | Event::Reason { ix, .. }
            | Event::Opaque { ix, .. }
            | Event::Args { ix, .. }
            | Event::Cite { ix, .. }
            | Event::Logprobs { ix, .. }
            | Event::Close { ix, .. } => Some(*ix),
            _ => None,
        }
    }
}

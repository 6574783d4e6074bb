//! The fold: a whole answer, made of the same events as a stream
//! (`docs/internals/translation/responses.md`).
//!
//! A whole answer of a provider is decoded into events, a stream is folded for a client that wants
//! none; either way encoders of whole answers read an [`Answer`]. Buffers are owned; text is still
//! escaped.

use crate::canonical::args::ObjectScan;
use crate::canonical::event::{Block, Event, Finish, Reason, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::canonical::text::Text;
use crate::canonical::usage::Usage;
use crate::error::{Error, Kind};
use crate::json::RawStr;
use crate::reasoning::envelope::Seal;

/// Most bytes that a folded answer may hold. A provider that sends more is at fault.
pub(crate) const MAX: usize = 64 << 20;

/// A folded answer.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// The provider's id and model, escaped.
    pub id: Text<'static>,
    pub model: Text<'static>,
    pub tier: Option<Text<'static>>,
    /// In order of first appearance; `ix` is the index.
    pub items: Vec<AnswerItem>,
    pub usage: Option<Usage>,
    pub finish: Option<Ended>,
    /// The provider failed; nothing of the answer may be shown as whole.
    pub error: Option<Error>,
    held: usize,
}

/// Why it ended; owned form of [`Finish`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub reason: Reason,
    pub stop: Option<Text<'static>>,
    pub category: Option<Text<'static>>,
    pub explanation: Option<Text<'static>>,
}

impl Ended {
    /// Returns this reason without anything that explains it.
    pub(crate) fn of(reason: Reason) -> Ended {
        Ended { reason, stop: None, category: None, explanation: None }
    }

    /// Returns whether a later reason says more than the one that is held, if there is one: hosts
    /// write `stop` where they mean nothing by it.
    pub(crate) fn says_more(held: Option<&Ended>, later: &Finish<'_>) -> bool {
        held.is_none_or(|held| held.reason == Reason::End) && later.reason != Reason::End
    }

    /// Returns the borrowed form, for an event.
    pub(crate) fn as_finish(&self) -> Finish<'_> {
        Finish {
            reason: self.reason,
            stop: self.stop.as_ref().map(Text::raw),
            category: self.category.as_ref().map(Text::raw),
            explanation: self.explanation.as_ref().map(Text::raw),
        }
    }
}

impl From<&Finish<'_>> for Ended {
    fn from(finish: &Finish<'_>) -> Ended {
        let own = |raw: Option<RawStr<'_>>| raw.map(|raw| Text::from(raw).into_owned());
        Ended {
            reason: finish.reason,
            stop: own(finish.stop),
            category: own(finish.category),
            explanation: own(finish.explanation),
        }
    }
}

/// One item of an answer.
#[derive(Debug)]
pub(crate) struct AnswerItem {
    pub kind: AnswerKind,
    pub status: Status,
}

impl AnswerItem {
    /// Returns whether it is a call of which the arguments break off.
    fn is_cut(&self) -> bool {
        let AnswerKind::Tool { kind: CallKind::Function, input, .. } = &self.kind else { return false };
        let mut scan = ObjectScan::default();
        scan.feed(RawStr::new(input));
        scan.is_cut()
    }
}

/// All bytes are escaped string bodies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    Text {
        text: Vec<u8>,
        cites: Vec<AnswerCite>,
        /// The elements of an array, joined by commas, without its brackets. Empty: none came.
        logprobs: Vec<u8>,
    },
    Refusal {
        text: Vec<u8>,
    },
    Reasoning {
        id: Text<'static>,
        /// In the order of their first delta. One for each `part` of the events.
        parts: Vec<AnswerReasoning>,
        /// Envelopes, with what they hold.
        opaque: Vec<(Seal, Vec<u8>)>,
    },
    Tool {
        kind: CallKind,
        id: Text<'static>,
        name: Text<'static>,
        namespace: Option<Text<'static>>,
        input: Vec<u8>,
    },
}

/// A piece of reasoning of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerReasoning {
    pub part: u32,
    pub kind: ReasoningKind,
    pub text: Vec<u8>,
}

/// A link of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AnswerCite {
    pub url: Text<'static>,
    pub title: Text<'static>,
    pub range: Option<(u64, u64)>,
}

impl Answer {
    /// Takes the next event. Events of items that were not opened are ignored;
    /// [`Normalizer`](crate::response::normalize::Normalizer) lets none through.
    pub(crate) fn take(&mut self, event: &Event<'_>) {
        if self.error.is_some() {
            return;
        }
        match event {
            Event::Start { id, model } => {
                (self.id, self.model) = (Text::from(*id).into_owned(), Text::from(*model).into_owned());
            }
            Event::Tier(tier) => self.tier = Some(Text::from(*tier).into_owned()),
            Event::Open { ix, block } if *ix as usize == self.items.len() => {
                self.items.push(AnswerItem { kind: kind_of(block), status: Status::Complete });
            }
            Event::Close { ix, status } => {
                if let Some(item) = self.items.get_mut(*ix as usize) {
                    // A Messages provider closes the block of a tool call before it reports that the
                    // output limit was reached.
                    item.status = if item.is_cut() { Status::Incomplete } else { *status };
                }
            }
            Event::Usage(usage) => self.usage = Some(*usage),
            Event::Finish(finish) => self.finish = Some(finish.into()),
            Event::Fail(error) => self.error = Some(copy(error)),
            Event::Open { .. } | Event::End | Event::Note(_) => {}
            _ => self.content(event),
        }
    }

    fn content(&mut self, event: &Event<'_>) {
        let Some(item) = event.ix().and_then(|ix| self.items.get_mut(ix as usize)) else { return };
        let added = match (&mut item.kind, event) {
            (AnswerKind::Text { text, .. }, Event::Text { raw, .. })
            | (AnswerKind::Refusal { text }, Event::Refusal { raw, .. })
            | (AnswerKind::Tool { input: text, .. }, Event::Args { raw, .. }) => {
                text.extend_from_slice(raw.as_bytes());
                raw.len()
            }
            (AnswerKind::Reasoning { parts, .. }, Event::Reason { part, kind, raw, .. }) => {
                match parts.iter_mut().find(|p| p.part == *part && p.kind == *kind) {
                    Some(open) => open.text.extend_from_slice(raw.as_bytes()),
                    None => parts.push(AnswerReasoning { part: *part, kind: *kind, text: raw.as_bytes().to_vec() }),
                }
                raw.len()
            }
            (AnswerKind::Reasoning { opaque, .. }, Event::Opaque { seal, raw, .. }) => {
                opaque.push((*seal, raw.as_bytes().to_vec()));
                raw.len()
            }
            (AnswerKind::Text { cites, .. }, Event::Cite { cite, .. }) => {
                let own = |raw: RawStr<'_>| Text::from(raw).into_owned();
                cites.push(AnswerCite { url: own(cite.url), title: own(cite.title), range: cite.range });
                cite.url.len() + cite.title.len()
            }
            (AnswerKind::Text { logprobs, .. }, Event::Logprobs { raw, .. }) => {
                let inner = raw.bytes().strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or_default();
                if !logprobs.is_empty() {
                    logprobs.push(b',');
                }
                logprobs.extend_from_slice(inner);
                inner.len()
            }
            _ => 0,
        };
        self.held += added;
        if self.held > MAX {
            let note = format!("the upstream's answer is larger than {MAX} bytes");
            self.error = Some(Error::upstream(Kind::UpstreamFault, note));
        }
    }

    /// Returns why the answer ended; the neutral reason if there was none.
    pub(crate) fn ended(&self) -> Ended {
        self.finish.clone().unwrap_or_else(|| Ended::of(Reason::End))
    }

    /// Returns whether the client has a tool to run.
    pub(crate) fn has_calls(&self) -> bool {
        self.items.iter().any(|item| matches!(item.kind, AnswerKind::Tool { .. }))
    }
}

fn kind_of(block: &Block<'_>) -> AnswerKind {
    let own = |raw: &RawStr<'_>| Text::from(*raw).into_owned();
    match block {
        Block::Text => AnswerKind::Text { text: Vec::new(), cites: Vec::new(), logprobs: Vec::new() },
        Block::Refusal => AnswerKind::Refusal { text: Vec::new() },
        Block::Reasoning { id } => AnswerKind::Reasoning { id: own(id), parts: Vec::new(), opaque: Vec::new() },
        Block::Tool { kind, id, name, namespace } => AnswerKind::Tool {
            kind: *kind,
            id: own(id),
            name: own(name),
            namespace: namespace.as_ref().map(own),
            input: Vec::new(),
        },
    }
}

/// Errors are not `Clone`, since they end one thing; a fold keeps its own.
pub(crate) fn copy(error: &Error) -> Error {
    Error {
        kind: error.kind,
        side: error.side,
        note: error.note.clone(),
        quoted: error.quoted,
        lacks_model: error.lacks_model,
        detail: error.detail.clone(),
        param: error.param.clone(),
        code: error.code,
        retry_after: error.retry_after,
        allow: error.allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::RawValue;

    #[test]
    fn deltas_are_concatenated_as_they_are() {
        let raw = |text: &'static str| RawStr::new(text.as_bytes());
        let mut answer = Answer::default();
        answer.take(&Event::Start { id: raw("id"), model: raw("m") });
        answer.take(&Event::Open { ix: 0, block: Block::Reasoning { id: raw("rs_1") } });
        for (part, text) in [(0, "a"), (0, "b"), (1, "c")] {
            answer.take(&Event::Reason { ix: 0, part, kind: ReasoningKind::Summary, raw: raw(text) });
        }
        answer.take(&Event::Open { ix: 1, block: Block::Text });
        answer.take(&Event::Text { ix: 1, raw: raw(r"\ud83d") });
        answer.take(&Event::Text { ix: 1, raw: raw(r"\ude00") });
        answer.take(&Event::Logprobs { ix: 1, raw: RawValue::new(b"[{}]") });
        answer.take(&Event::Logprobs { ix: 1, raw: RawValue::new(b"[{},{}]") });
        answer.take(&Event::Close { ix: 1, status: Status::Incomplete });
        answer.take(&Event::Text { ix: 9, raw: raw("lost") });
        answer.take(&Event::Finish(Finish::of(Reason::Length)));

        let AnswerKind::Reasoning { parts, .. } = &answer.items[0].kind else { panic!() };
        let texts: Vec<_> = parts.iter().map(|p| (p.part, p.text.as_slice())).collect();
        assert_eq!(texts, [(0, &b"ab"[..]), (1, b"c")]);
        let AnswerKind::Text { text, logprobs, .. } = &answer.items[1].kind else { panic!() };
        assert_eq!((text.as_slice(), logprobs.as_slice()), (&br"\ud83d\ude00"[..], &b"{},{},{}"[..]));
        assert_eq!(answer.items[1].status, Status::Incomplete);
        assert_eq!((answer.ended().reason, answer.has_calls()), (Reason::Length, false));
    }

    #[test]
    fn an_answer_is_bounded() {
        let big = vec![b'x'; 1 << 20];
        let mut answer = Answer::default();
        answer.take(&Event::Open { ix: 0, block: Block::Text });
        for _ in 0..80 {
            answer.take(&Event::Text { ix: 0, raw: RawStr::new(&big) });
        }
        assert!(answer.error.is_some() && answer.held <= MAX + big.len());
    }
}

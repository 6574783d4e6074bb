//! From the fields of a message, or of a delta, to events. The same machine reads streams and whole
//! answers.
//!
//! Of text, reasoning and refusal one is open at a time; calls stay open beside them until the end,
//! since their pieces may come interleaved.
//!
//! | open | reasoning | text | refusal | a call |
//! |---|---|---|---|---|
//! | `Nothing` | opens | opens | opens | opens |
//! | `Reasoning` | goes on | closes it | closes it | closes it |
//! | `Text` | closes it | goes on | closes it | closes it |
//! | `Refusal` | closes it | closes it | goes on | closes it |

mod fields;

use crate::canonical::args;
use crate::canonical::codec::Sink;
use crate::canonical::event::{Block, Cite, Event, Note, Reason, Status};
use crate::canonical::request::ReasoningKind;
use crate::canonical::text::is_blank;
use crate::error::Error;
use crate::formats::chat::reasoning::Entry;
use crate::formats::chat::stream::calls::{Call, CallDelta, CallState, Calls};
use crate::formats::chat::stream::think::Think;
use crate::json::{RawKind, RawStr, RawValue};
use crate::reasoning::envelope::Seal;
use crate::target::quirks::{Quirk, Quirks};
use fields::Fields;

/// Blank text between calls beyond this is passed on.
const BLANK_MAX: usize = 4096;

/// Most citations held before there is text.
const CITES_MAX: usize = 256;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Open {
    #[default]
    Nothing,
    Reasoning {
        ix: u32,
    },
    Text {
        ix: u32,
        /// No text came before it, so that the provider's character offsets count from its
        /// beginning.
        first: bool,
    },
    Refusal {
        ix: u32,
    },
}

/// Whether pieces of one call may come in several elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stream,
    Whole,
}

/// Reads the messages of one answer.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    quirks: Quirks,
    /// The next item's number.
    next: u32,
    open: Open,
    has_text: bool,
    /// There are pictures or sounds, which no other format shows.
    has_hidden_output: bool,
    /// `content` had text: the transcript of a sound beside it repeats that.
    written: bool,
    /// The loss of sound was noted.
    sounded: bool,
    /// Reasoning was shown whose signature has not come.
    unsigned: bool,
    calls: Calls,
    think: Think,
    /// Blank text since a call began: hosts put line ends between calls, and those are no message.
    blank: Vec<u8>,
    /// Citations that came before the text, as they came.
    cites: Vec<Vec<u8>>,
    scratch: Vec<u8>,
}

impl Reader {
    /// Makes a reader for a host with these quirks.
    pub(crate) fn new(quirks: Quirks) -> Reader {
        Reader { quirks, ..Reader::default() }
    }

    /// Takes a message or a delta, and the log probabilities beside it.
    pub(crate) fn message(
        &mut self,
        message: RawValue<'_>,
        logprobs: Option<RawValue<'_>>,
        source: Source,
        sink: Sink<'_>,
    ) -> Result<(), Error> {
        let fields = Fields::read(message);
        self.reasoning(&fields, sink);
        if let Some(content) = fields.content {
            self.content(content, sink);
        }
        if !self.written {
            self.text(fields.transcript, sink);
        }
        if !fields.refusal.is_empty() {
            self.refusal(fields.refusal, sink);
        }
        if let Some(list) = logprobs {
            self.logprobs(list, sink);
        }
        if let Some(list) = fields.annotations {
            self.annotations(list, sink);
        }
        if fields.images {
            self.has_hidden_output = true;
            sink(Event::Note(Note::DroppedOutput));
        }
        if fields.audio && !std::mem::replace(&mut self.sounded, true) {
            self.has_hidden_output = true;
            sink(Event::Note(Note::DroppedAudio));
        }
        if let Some(list) = fields.tool_calls {
            // Some hosts leave the list around a single call out.
            let single = Some(list).filter(|list| list.is_object());
            for (n, element) in single.into_iter().chain(list.elements().map(|(element, _)| element)).enumerate() {
                let mut delta = CallDelta::read(element);
                if source == Source::Whole {
                    // Each element is a call of its own, whatever ids and indexes say.
                    delta.index = Some(n as u64);
                }
                self.call(delta, sink)?;
            }
        }
        match fields.function_call {
            Some(call) => self.call(CallDelta::legacy(call), sink),
            None => Ok(()),
        }
    }

    /// Returns whether a tool call has arguments and never got a name, so that it can't be passed
    /// on. Some hosts send an element without a name and with an empty object where there is no
    /// call; it counts as a call only if the finish reason is `tool_calls`.
    pub(crate) fn has_nameless_call(&self, reason: Reason) -> bool {
        let is_nameless = |call: &Call| match &call.state {
            CallState::Waiting { input } if reason == Reason::ToolCalls => !input.is_empty(),
            CallState::Waiting { input } => !args::is_placeholder(RawStr::new(input)),
            CallState::Open { .. } => false,
        };
        self.calls.iter().any(is_nameless)
    }

    /// Takes text that stands in the place of a message.
    pub(crate) fn bare_text(&mut self, text: RawStr<'_>, sink: Sink<'_>) {
        self.tagged(text, sink);
    }

    /// Returns whether the answer has output, and none of it can be shown but thoughts.
    pub(crate) fn shows_nothing(&self) -> bool {
        self.has_hidden_output && !self.has_text
    }

    /// Closes everything: the answer has ended.
    pub(crate) fn close(&mut self, status: Status, sink: Sink<'_>) {
        let mut think = std::mem::take(&mut self.think);
        think.finish(&mut |is_reasoning, raw| self.piece(is_reasoning, raw, sink));
        self.close_open(status, sink);
        for call in self.calls.iter() {
            match call.state {
                CallState::Open { ix } => sink(Event::Close { ix, status }),
                // A call that never had a name cannot be made.
                CallState::Waiting { .. } => sink(Event::Note(Note::DroppedOutput)),
            }
        }
    }

    fn begin(&mut self, block: Block<'_>, sink: Sink<'_>) -> u32 {
        let ix = self.next;
        self.next += 1;
        sink(Event::Open { ix, block });
        ix
    }

    fn close_open(&mut self, status: Status, sink: Sink<'_>) {
        match std::mem::take(&mut self.open) {
            Open::Nothing => {}
            Open::Reasoning { ix } | Open::Text { ix, .. } | Open::Refusal { ix } => {
                sink(Event::Close { ix, status });
            }
        }
    }

    fn reasoning_ix(&mut self, sink: Sink<'_>) -> u32 {
        if let Open::Reasoning { ix } = self.open {
            return ix;
        }
        self.close_open(Status::Complete, sink);
        let ix = self.begin(Block::Reasoning { id: RawStr::default() }, sink);
        self.open = Open::Reasoning { ix };
        ix
    }

    /// The details where they hold text, else the plain text, which hosts send beside them.
    fn reasoning(&mut self, fields: &Fields<'_>, sink: Sink<'_>) {
        let texts = [fields.long, fields.short, fields.copy];
        let plain = texts.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        let entries = || fields.details.into_iter().flat_map(Entry::list);
        if !plain.is_empty() && entries().all(|entry| entry.text.is_empty()) {
            self.push_reasoning(ReasoningKind::Full, plain, sink);
        }
        for entry in entries() {
            if !entry.text.is_empty() {
                self.push_reasoning(entry.kind, entry.text, sink);
            }
            self.seal(&entry, sink);
        }
    }

    fn push_reasoning(&mut self, kind: ReasoningKind, raw: RawStr<'_>, sink: Sink<'_>) {
        let ix = self.reasoning_ix(sink);
        self.unsigned = true;
        sink(Event::Reason { ix, part: 0, kind, raw });
    }

    /// The state of an entry ends its item: there is one for each.
    fn seal(&mut self, entry: &Entry<'_>, sink: Sink<'_>) {
        let Some((seal, _)) = entry.opaque else { return };
        let open = matches!(self.open, Open::Reasoning { .. });
        if seal == Seal::Thinking && self.unsigned && !open {
            // The signature of text that was closed already; of other text it would be a forgery.
            return sink(Event::Note(Note::DroppedOutput));
        }
        let sealed = entry.sealed();
        self.opaque(seal, RawStr::new(&sealed), sink);
    }

    fn opaque(&mut self, seal: Seal, raw: RawStr<'_>, sink: Sink<'_>) {
        let ix = self.reasoning_ix(sink);
        self.unsigned = false;
        sink(Event::Opaque { ix, seal, raw });
        self.close_open(Status::Complete, sink);
    }

    /// A string, Mistral's list of parts, or one part.
    fn content(&mut self, content: RawValue<'_>, sink: Sink<'_>) {
        if let Some(text) = content.as_str() {
            self.written |= !text.is_empty();
            return self.tagged(text, sink);
        }
        let one = content.is_object().then_some(content);
        for part in one.into_iter().chain(content.elements().map(|(part, _)| part)) {
            if let Some(text) = part.as_str() {
                self.text(text, sink);
                continue;
            }
            let kind = part.find("type").and_then(RawValue::as_str).unwrap_or_default();
            match kind.as_bytes() {
                // The second is of Responses; some hosts leave the type out.
                b"text" | b"output_text" | b"" if part.find("text").is_some() => {
                    self.text(part.find("text").and_then(RawValue::as_str).unwrap_or_default(), sink);
                }
                b"redacted_thinking" => self.seal(&Entry::read(part), sink),
                b"thinking" => {
                    let Some(thinking) = part.find("thinking").or_else(|| part.find("text")) else { continue };
                    let pieces = thinking.elements().filter_map(|(piece, _)| piece.find("text")?.as_str());
                    for text in thinking.as_str().into_iter().chain(pieces).filter(|text| !text.is_empty()) {
                        self.push_reasoning(ReasoningKind::Full, text, sink);
                    }
                    self.seal(&Entry::read(part), sink);
                }
                b"reference" => sink(Event::Note(Note::DroppedCitation)),
                _ => sink(Event::Note(Note::DroppedOutput)),
            }
        }
    }

    fn tagged(&mut self, raw: RawStr<'_>, sink: Sink<'_>) {
        if !self.quirks.has(Quirk::ThinkTags) || raw.is_empty() {
            return self.text(raw, sink);
        }
        let mut think = std::mem::take(&mut self.think);
        think.push(raw, &mut |is_reasoning, raw| self.piece(is_reasoning, raw, sink));
        self.think = think;
    }

    fn piece(&mut self, is_reasoning: bool, raw: RawStr<'_>, sink: Sink<'_>) {
        if is_reasoning { self.push_reasoning(ReasoningKind::Full, raw, sink) } else { self.text(raw, sink) }
    }

    fn text(&mut self, raw: RawStr<'_>, sink: Sink<'_>) {
        if raw.is_empty() {
            return;
        }
        let ix = match self.open {
            Open::Text { ix, .. } => ix,
            _ if !self.calls.is_empty() && self.blank.len() < BLANK_MAX && is_blank(raw) => {
                return self.blank.extend_from_slice(raw.as_bytes());
            }
            _ => {
                self.close_open(Status::Complete, sink);
                let ix = self.begin(Block::Text, sink);
                self.open = Open::Text { ix, first: !std::mem::replace(&mut self.has_text, true) };
                for held in std::mem::take(&mut self.cites) {
                    self.annotation(RawValue::new(&held), sink);
                }
                ix
            }
        };
        if !self.blank.is_empty() {
            sink(Event::Text { ix, raw: RawStr::new(&self.blank) });
            self.blank.clear();
        }
        sink(Event::Text { ix, raw });
    }

    fn refusal(&mut self, raw: RawStr<'_>, sink: Sink<'_>) {
        let ix = match self.open {
            Open::Refusal { ix } => ix,
            _ => {
                self.close_open(Status::Complete, sink);
                self.has_text = true;
                let ix = self.begin(Block::Refusal, sink);
                self.open = Open::Refusal { ix };
                ix
            }
        };
        sink(Event::Refusal { ix, raw });
    }

    fn logprobs(&mut self, list: RawValue<'_>, sink: Sink<'_>) {
        if let Open::Text { ix, .. } = self.open
            && list.elements().next().is_some()
        {
            sink(Event::Logprobs { ix, raw: list });
        }
    }

    fn annotations(&mut self, list: RawValue<'_>, sink: Sink<'_>) {
        list.elements().for_each(|(annotation, _)| self.annotation(annotation, sink));
    }

    fn annotation(&mut self, annotation: RawValue<'_>, sink: Sink<'_>) {
        match (self.open, annotation.find("url_citation").and_then(cite)) {
            (Open::Text { ix, first }, Some(cite)) => {
                let range = cite.range.filter(|_| first);
                sink(Event::Cite { ix, cite: Cite { range, ..cite } });
            }
            // OpenRouter sends its sources first.
            (_, Some(_)) if !self.has_text && self.cites.len() < CITES_MAX => {
                self.cites.push(annotation.bytes().to_vec());
            }
            _ => sink(Event::Note(Note::DroppedCitation)),
        }
    }

    fn call(&mut self, delta: CallDelta<'_>, sink: Sink<'_>) -> Result<(), Error> {
        if delta.is_empty() {
            return Ok(());
        }
        let n = self.calls.place(&delta)?;
        self.blank.clear();
        let mut scratch = std::mem::take(&mut self.scratch);
        let raw = self.calls.input(n, &delta, &mut scratch);
        let result = match self.calls.get(n) {
            Call { state: CallState::Open { ix }, .. } => {
                if !raw.is_empty() {
                    sink(Event::Args { ix: *ix, raw });
                }
                Ok(())
            }
            Call { name, .. } if name.is_empty() => self.calls.hold(n, raw),
            _ => {
                self.open_call(n, delta.signature, sink);
                if let CallState::Open { ix } = self.calls.get(n).state
                    && !raw.is_empty()
                {
                    sink(Event::Args { ix, raw });
                }
                Ok(())
            }
        };
        self.scratch = scratch;
        result
    }

    /// The name is known: whatever else was open ends here, but reasoning that the call's signature
    /// seals.
    fn open_call(&mut self, n: usize, signature: Option<RawStr<'_>>, sink: Sink<'_>) {
        if let Some(signature) = signature {
            self.opaque(Seal::Signature, signature, sink);
        }
        self.close_open(Status::Complete, sink);
        self.has_text = true;
        let ix = self.next;
        self.next += 1;
        let call = self.calls.get(n);
        let state = std::mem::replace(&mut call.state, CallState::Open { ix });
        let block = Block::Tool { kind: call.kind, id: call.id.raw(), name: call.name.raw(), namespace: None };
        sink(Event::Open { ix, block });
        if let CallState::Waiting { input } = state
            && !input.is_empty()
        {
            sink(Event::Args { ix, raw: RawStr::new(&input) });
        }
    }
}

/// Returns a citation with a link.
fn cite(raw: RawValue<'_>) -> Option<Cite<'_>> {
    if raw.kind() != RawKind::Object {
        return None;
    }
    let text = |key| raw.find(key).and_then(RawValue::as_str);
    let count = |key| raw.find(key).and_then(RawValue::as_u64);
    // Hosts that know no place write 0 for both.
    let range = count("start_index").zip(count("end_index")).filter(|(start, end)| start < end);
    Some(Cite { url: text("url").filter(|url| !url.is_empty())?, title: text("title").unwrap_or_default(), range })
}

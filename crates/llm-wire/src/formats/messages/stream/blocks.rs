//! The blocks of an answer: their starts, deltas and stops.

use super::decode::{Decoder, HELD_MAX, Open, Phase};
use crate::canonical::args;
use crate::canonical::codec::Sink;
use crate::canonical::event::{Block, Cite, Event, Note, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::error::{Error, Kind};
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::Seal;

/// The members of a delta that this code reads. What is absent is empty.
struct Delta<'a> {
    kind: RawStr<'a>,
    /// The text, thinking, piece of an input or signature that it adds.
    text: RawStr<'a>,
    citation: Option<RawValue<'a>>,
}

impl<'a> Delta<'a> {
    fn of(delta: RawValue<'a>) -> Delta<'a> {
        let (mut kind, mut text, mut citation) = (RawStr::default(), RawStr::default(), None);
        for (key, value, _) in delta.members() {
            match key.as_bytes() {
                b"type" => kind = value.as_str().unwrap_or_default(),
                b"text" | b"thinking" | b"partial_json" | b"signature" => text = value.as_str().unwrap_or_default(),
                b"citation" => citation = Some(value),
                _ => {}
            }
        }
        Delta { kind, text, citation }
    }
}

impl Decoder {
    /// Begins a block, with what its start has of its content.
    pub(super) fn block_start(&mut self, index: u64, block: RawValue<'_>, sink: Sink<'_>) {
        if self.position(index).is_some() {
            // A host that forgot to stop the block before.
            sink(Event::Note(Note::Disorder));
            self.block_stop(index, sink);
        }
        let text = |key| block.find(key).and_then(RawValue::as_str).unwrap_or_default();
        let ix = self.next;
        let open = match text("type").as_bytes() {
            // Some hosts leave out the type; of the known blocks only this one has a `text`.
            kind if kind == b"text" || kind.is_empty() && !text("text").is_empty() => {
                sink(Event::Open { ix, block: Block::Text });
                self.has_text |= !text("text").is_empty();
                push_text(ix, text("text"), sink);
                let citations = block.find("citations").into_iter().flat_map(RawValue::elements);
                citations.for_each(|(citation, _)| cite(ix, citation, sink));
                Open::Text { ix }
            }
            b"thinking" => {
                sink(Event::Open { ix, block: Block::Reasoning { id: RawStr::default() } });
                push_reason(ix, text("thinking"), sink);
                Open::Thinking { ix, signature: self.hold(text("signature").as_bytes(), sink) }
            }
            b"redacted_thinking" => {
                sink(Event::Open { ix, block: Block::Reasoning { id: RawStr::default() } });
                sink(Event::Opaque { ix, seal: Seal::Redacted, raw: text("data") });
                sink(Event::Close { ix, status: Status::Complete });
                self.next += 1;
                return;
            }
            // A call without a name cannot be made: it is dropped and noted.
            b"tool_use" if !text("name").is_empty() => {
                let tool =
                    Block::Tool { kind: CallKind::Function, id: text("id"), name: text("name"), namespace: None };
                self.has_text = true;
                sink(Event::Open { ix, block: tool });
                Open::Tool { ix, input: self.hold(&input_of(block), sink) }
            }
            kind => {
                self.foreign |= kind != b"tool_use";
                sink(Event::Note(Note::DroppedOutput));
                self.open.push((index, Open::Foreign));
                return;
            }
        };
        self.next += 1;
        self.open.push((index, open));
    }

    /// Pushes a whole block of text, unless it is empty.
    pub(super) fn text_block(&mut self, text: RawStr<'_>, sink: Sink<'_>) {
        if text.is_empty() {
            return;
        }
        let ix = self.next;
        self.next += 1;
        self.has_text = true;
        sink(Event::Open { ix, block: Block::Text });
        push_text(ix, text, sink);
        sink(Event::Close { ix, status: Status::Complete });
    }

    /// Counts bytes that are held, and returns a copy of them. Beyond [`HELD_MAX`] the answer
    /// fails.
    pub(super) fn hold(&mut self, bytes: &[u8], sink: Sink<'_>) -> Vec<u8> {
        self.held += bytes.len();
        if self.held > HELD_MAX && self.phase != Phase::Over {
            let note = format!("the upstream's answer holds more than {HELD_MAX} bytes in signatures and tool inputs");
            self.fail(Error::upstream(Kind::UpstreamFault, note), sink);
        }
        if self.phase == Phase::Over { Vec::new() } else { bytes.to_vec() }
    }

    /// Returns the place of the open block of this index.
    pub(super) fn position(&self, index: u64) -> Option<usize> {
        self.open.iter().rposition(|(open, _)| *open == index)
    }

    /// Passes a delta on to the block that it belongs to.
    pub(super) fn delta(&mut self, index: Option<u64>, delta: RawValue<'_>, sink: Sink<'_>) {
        let Delta { kind, text, citation } = Delta::of(delta);
        // Without an index the block that began last is meant.
        let at = match index {
            Some(index) => self.position(index),
            None => self.open.len().checked_sub(1),
        };
        let Some(at) = at else {
            return self.delta_without_block(index, kind.as_bytes(), delta, sink);
        };
        let mut signed = None;
        match (&mut self.open[at].1, kind.as_bytes()) {
            (Open::Foreign, _) => {}
            (Open::Text { ix }, b"text_delta") => {
                self.has_text |= !text.is_empty();
                push_text(*ix, text, sink);
            }
            (Open::Text { ix }, b"citations_delta") => citation.into_iter().for_each(|c| cite(*ix, c, sink)),
            (Open::Thinking { ix, .. }, b"thinking_delta") => push_reason(*ix, text, sink),
            (Open::Thinking { signature, .. }, b"signature_delta") => signed = Some(std::mem::take(signature)),
            (Open::Tool { ix, input }, b"input_json_delta") => {
                if !text.is_empty() {
                    input.clear();
                    sink(Event::Args { ix: *ix, raw: text });
                }
            }
            (_, b"text_delta" | b"citations_delta" | b"thinking_delta" | b"signature_delta" | b"input_json_delta") => {
                sink(Event::Note(Note::Disorder));
            }
            _ => sink(Event::Note(Note::UnknownEvent)),
        }
        // A later signature replaces an earlier one, as it does in the vendor's SDKs.
        if let Some(old) = signed {
            self.held = self.held.saturating_sub(old.len());
            let new = self.hold(text.as_bytes(), sink);
            if let Open::Thinking { signature, .. } = &mut self.open[at].1 {
                *signature = new;
            }
        }
    }

    /// Begins the block of a delta for which none is open, where its kind says which block that is.
    pub(super) fn delta_without_block(&mut self, index: Option<u64>, kind: &[u8], delta: RawValue<'_>, sink: Sink<'_>) {
        let has_text = !Delta::of(delta).text.is_empty();
        let block: &[u8] = match kind {
            b"text_delta" if has_text => br#"{"type":"text"}"#,
            b"thinking_delta" if has_text => br#"{"type":"thinking"}"#,
            _ => {
                self.lost |= kind == b"input_json_delta" && has_text;
                return sink(Event::Note(Note::Disorder));
            }
        };
        let index = index.unwrap_or(u64::from(self.next));
        self.block_start(index, RawValue::new(block), sink);
        self.delta(Some(index), delta, sink);
    }

    /// Ends the block of this index, if it is open.
    pub(super) fn block_stop(&mut self, index: u64, sink: Sink<'_>) {
        if let Some(at) = self.position(index) {
            let (_, open) = self.open.remove(at);
            self.close(open, Status::Complete, sink);
        }
    }

    /// Ends a block, with what was held of it.
    pub(super) fn close(&mut self, open: Open, status: Status, sink: Sink<'_>) {
        let ix = match open {
            Open::Foreign => return,
            Open::Text { ix } => ix,
            Open::Thinking { ix, signature } => {
                self.held = self.held.saturating_sub(signature.len());
                if !signature.is_empty() {
                    sink(Event::Opaque { ix, seal: Seal::Thinking, raw: RawStr::new(&signature) });
                }
                ix
            }
            Open::Tool { ix, input } => {
                self.held = self.held.saturating_sub(input.len());
                if !input.is_empty() {
                    sink(Event::Args { ix, raw: RawStr::new(&input) });
                }
                ix
            }
        };
        sink(Event::Close { ix, status });
    }
}

fn push_text(ix: u32, raw: RawStr<'_>, sink: Sink<'_>) {
    if !raw.is_empty() {
        sink(Event::Text { ix, raw });
    }
}

fn push_reason(ix: u32, raw: RawStr<'_>, sink: Sink<'_>) {
    if !raw.is_empty() {
        // What newer models show is a summary of what they thought.
        sink(Event::Reason { ix, part: 0, kind: ReasoningKind::Summary, raw });
    }
}

/// Returns the input that came with the start of a block, as a string body. Empty if there is none
/// yet.
fn input_of(block: RawValue<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match block.find("input") {
        Some(input) if input.members().next().is_some() => args::write_quoted(input, &mut out),
        // Arguments in a string, as some imitators write them.
        Some(input) => out.extend_from_slice(input.as_str().unwrap_or_default().as_bytes()),
        None => {}
    }
    out
}

/// Only results of a web search are links that other formats can show.
fn cite(ix: u32, citation: RawValue<'_>, sink: Sink<'_>) {
    let text = |key| citation.find(key).and_then(RawValue::as_str).unwrap_or_default();
    let url = text("url");
    if text("type").eq_str("web_search_result_location") && !url.is_empty() {
        sink(Event::Cite { ix, cite: Cite { url, title: text("title"), range: None } });
    } else {
        sink(Event::Note(Note::DroppedCitation));
    }
}

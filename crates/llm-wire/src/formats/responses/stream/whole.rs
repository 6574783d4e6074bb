//! Parts and items that a provider repeats as a whole: what is new in them is passed on.

use crate::canonical::args;
use crate::canonical::codec::Sink;
use crate::canonical::event::{Block, Cite, Event, Note, Status};
use crate::canonical::request::ReasoningKind;
use crate::formats::responses::stream::slot::{Kind, Part, Progress, Sent};
use crate::json::{RawKind, RawStr, RawValue};

/// Most parts of one message.
const PARTS_MAX: usize = 4096;

impl Part {
    /// Passes on a delta of the part.
    pub(super) fn push(&mut self, raw: RawStr<'_>, progress: &mut Progress, sink: Sink<'_>) {
        if raw.is_empty() || self.closed {
            return;
        }
        self.sent.add(raw);
        progress.text.add(raw);
        sink(if self.refusal { Event::Refusal { ix: self.ix, raw } } else { Event::Text { ix: self.ix, raw } });
    }

    /// Text of a whole copy, which deltas may bring again.
    pub(super) fn push_ahead(&mut self, raw: RawStr<'_>, progress: &mut Progress, sink: Sink<'_>) {
        if !raw.is_empty() {
            progress.ahead.set(self.ix, raw);
        }
        self.push(raw, progress, sink);
    }

    /// Passes on log probabilities of the part.
    pub(super) fn logprobs(&mut self, raw: RawValue<'_>, sink: Sink<'_>) {
        if raw.elements().next().is_some() && !self.refusal && !self.closed {
            self.logprobs = true;
            sink(Event::Logprobs { ix: self.ix, raw });
        }
    }
}

/// Returns the kind of an item.
pub(super) fn kind_of(item: RawValue<'_>) -> Kind {
    match string(item, "type").unwrap_or_default().as_bytes() {
        b"message" => Kind::Message,
        b"reasoning" => Kind::Reasoning,
        b"function_call" | b"custom_tool_call" => Kind::Tool,
        _ => Kind::Foreign,
    }
}

/// Returns the string under `key`.
pub(super) fn string<'a>(object: RawValue<'a>, key: &str) -> Option<RawStr<'a>> {
    object.find(key).and_then(RawValue::as_str)
}

/// Returns the part of that index, opened now if need be: a part that was reported as done goes on
/// as a new item. The one before it has ended then.
pub(super) fn part_of<'p>(
    parts: &'p mut Vec<Part>,
    index: u64,
    refusal: bool,
    progress: &mut Progress,
    sink: Sink<'_>,
) -> Option<&'p mut Part> {
    let at = parts.iter().position(|part| part.index == index);
    match at {
        Some(at) if parts[at].refusal != refusal => {
            sink(Event::Note(Note::Disorder));
            return None;
        }
        Some(at) if !parts[at].closed => return parts.get_mut(at),
        None if parts.len() >= PARTS_MAX => return None,
        _ => {}
    }
    for part in parts.iter_mut().filter(|part| !part.closed) {
        part.closed = true;
        sink(Event::Close { ix: part.ix, status: Status::Complete });
    }
    let ix = progress.take_number();
    sink(Event::Open { ix, block: if refusal { Block::Refusal } else { Block::Text } });
    match at {
        Some(at) => {
            (parts[at].ix, parts[at].closed) = (ix, false);
            parts.get_mut(at)
        }
        None => {
            let sent = Sent::default();
            parts.push(Part { index, ix, refusal, sent, cited: false, logprobs: false, closed: false });
            parts.last_mut()
        }
    }
}

/// Returns what a whole text has beyond what was passed on of its part. `None` if the part was
/// passed on whole already, and nothing is new.
pub(super) fn rest_of<'a>(parts: &[Part], index: u64, whole: RawStr<'a>, sink: Sink<'_>) -> Option<RawStr<'a>> {
    match parts.iter().find(|part| part.index == index) {
        None => Some(whole),
        Some(part) => {
            let rest = part.sent.rest(whole, sink);
            (!part.closed || !rest.is_empty()).then_some(rest)
        }
    }
}

/// Returns the parts of a message. Some hosts write its text in their place.
pub(super) fn parts_of(item: RawValue<'_>) -> impl Iterator<Item = RawValue<'_>> {
    let content = item.find("content");
    let text = content.filter(|content| content.kind() == RawKind::String);
    text.into_iter().chain(content.into_iter().flat_map(RawValue::elements).map(|(part, _)| part))
}

/// `None` for a part that is neither text nor refusal.
pub(super) fn is_refusal(part: RawValue<'_>) -> Option<bool> {
    if part.kind() == RawKind::String {
        return Some(false);
    }
    match string(part, "type").unwrap_or_default().as_bytes() {
        b"output_text" | b"text" => Some(false),
        b"refusal" => Some(true),
        _ => None,
    }
}

/// A part inside an item that is done.
pub(super) fn whole_part(
    parts: &mut Vec<Part>,
    index: u64,
    part: RawValue<'_>,
    progress: &mut Progress,
    sink: Sink<'_>,
) {
    let Some(refusal) = is_refusal(part) else { return sink(Event::Note(Note::DroppedOutput)) };
    let Some(rest) = rest_of(parts, index, text_of(part, refusal), sink) else { return };
    let Some(open) = part_of(parts, index, refusal, progress, sink) else { return };
    open.push_ahead(rest, progress, sink);
    if let Some(logprobs) = part.find("logprobs").filter(|_| !open.logprobs) {
        open.logprobs(logprobs, sink);
    }
    if !open.cited {
        let annotations = part.find("annotations").into_iter().flat_map(RawValue::elements);
        annotations.for_each(|(annotation, _)| {
            open.cited = true;
            cite(open.ix, annotation, sink);
        });
    }
}

/// Returns the text of a part.
pub(super) fn text_of(part: RawValue<'_>, refusal: bool) -> RawStr<'_> {
    if let Some(text) = part.as_str() {
        return text;
    }
    string(part, if refusal { "refusal" } else { "text" }).unwrap_or_default()
}

/// Returns the texts and refusals of a message, in order.
pub(super) fn texts(item: RawValue<'_>) -> impl Iterator<Item = (RawStr<'_>, bool)> {
    parts_of(item).filter_map(|part| is_refusal(part).map(|refusal| (text_of(part, refusal), refusal)))
}

/// The parts of a thought from the one on that flowed last.
pub(super) fn whole_reasoning(
    ix: u32,
    item: RawValue<'_>,
    (last, mut number, sent): (Option<(ReasoningKind, u64)>, u32, Sent),
    sink: Sink<'_>,
) {
    let parts = [("summary", ReasoningKind::Summary), ("content", ReasoningKind::Full)];
    let parts = parts.into_iter().flat_map(|(key, kind)| {
        let list = item.find(key).into_iter().flat_map(RawValue::elements);
        (0u64..).zip(list).map(move |(n, (part, _))| ((kind, n), string(part, "text").unwrap_or_default()))
    });
    let mut begun = last.is_none();
    let mut any = last.is_some();
    for (place, text) in parts {
        let raw = if last == Some(place) {
            begun = true;
            sent.rest(text, sink)
        } else {
            number += u32::from(begun && any);
            text
        };
        if begun && !raw.is_empty() {
            sink(Event::Reason { ix, part: number, kind: place.0, raw });
            any = true;
        }
    }
}

/// Passes on what the whole input of a tool has beyond its deltas.
pub(super) fn whole_input(ix: u32, sent: &mut Sent, item: RawValue<'_>, sink: Sink<'_>) {
    match item.find("arguments").or_else(|| item.find("input")) {
        // Arguments as an object, as some imitators write them.
        Some(object) if object.is_object() => {
            let mut quoted = Vec::new();
            args::write_quoted(object, &mut quoted);
            let rest = sent.rest(RawStr::new(&quoted), sink);
            push_input(ix, sent, rest, sink);
        }
        Some(text) => {
            let rest = sent.rest(text.as_str().unwrap_or_default(), sink);
            push_input(ix, sent, rest, sink);
        }
        None => {}
    }
}

/// Passes on a piece of a tool's input.
pub(super) fn push_input(ix: u32, sent: &mut Sent, raw: RawStr<'_>, sink: Sink<'_>) {
    if !raw.is_empty() {
        sent.add(raw);
        sink(Event::Args { ix, raw });
    }
}

/// Only links can be expressed in other formats.
pub(super) fn cite(ix: u32, annotation: RawValue<'_>, sink: Sink<'_>) {
    let text = |key| string(annotation, key).unwrap_or_default();
    let url = text("url");
    if !text("type").eq_str("url_citation") || url.is_empty() {
        return sink(Event::Note(Note::DroppedCitation));
    }
    let count = |key| annotation.find(key).and_then(RawValue::as_u64);
    let range = count("start_index").zip(count("end_index"));
    sink(Event::Cite { ix, cite: Cite { url, title: text("title"), range } });
}

//! Output items as this format writes them, in the events of a stream and in whole answers alike.
//!
//! One canonical item is one output item, but for three cases: a text or a thought of which nothing
//! came is none, texts that follow one another are parts of one message, and of a thought with
//! several states each state after the first is an item of its own.

use std::borrow::Cow;

use crate::canonical::event::{Reason, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::json::{RawKind, RawStr, RawValue, write};
use crate::response::whole::{Answer, AnswerCite, AnswerItem, AnswerKind, AnswerReasoning, Ended};
use crate::target::plan::Reply;

/// Returns how many output items a canonical item is.
pub(super) fn count(item: &AnswerItem) -> usize {
    match &item.kind {
        AnswerKind::Text { text, .. } | AnswerKind::Refusal { text } => usize::from(!text.is_empty()),
        AnswerKind::Reasoning { parts, opaque, .. } => opaque.len().max(usize::from(!parts.is_empty())),
        AnswerKind::Tool { .. } => 1,
    }
}

/// Returns whether an item is a message, or a part of one.
pub(super) fn is_message(item: &AnswerItem) -> bool {
    matches!(item.kind, AnswerKind::Text { .. } | AnswerKind::Refusal { .. })
}

/// Returns whether two items that follow one another are parts of one message.
pub(super) fn go_together(first: &AnswerItem, second: &AnswerItem) -> bool {
    matches!((&first.kind, &second.kind), (AnswerKind::Text { .. }, AnswerKind::Text { .. }))
}

/// Returns a fresh id for an item of this kind.
pub(super) fn id(kind: &AnswerKind, reply: &mut Reply) -> String {
    reply.fresh(match kind {
        AnswerKind::Text { .. } | AnswerKind::Refusal { .. } => "msg_",
        AnswerKind::Reasoning { .. } => "rs_",
        AnswerKind::Tool { kind: CallKind::Function, .. } => "fc_",
        AnswerKind::Tool { kind: CallKind::Custom, .. } => "ctc_",
    })
}

/// Returns the word for a status.
pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Complete => "completed",
        Status::Incomplete => "incomplete",
    }
}

/// The item as it begins: nothing in it yet.
pub(super) fn begun(o: &mut write::Object<'_>, kind: &AnswerKind, id: &str) {
    o.str("id", id);
    match kind {
        AnswerKind::Text { .. } | AnswerKind::Refusal { .. } => {
            message_head(o, "in_progress");
            o.array("content", |_| {});
        }
        AnswerKind::Reasoning { .. } => {
            o.str("type", "reasoning");
            o.array("summary", |_| {});
        }
        AnswerKind::Tool { .. } => call(o, kind, "in_progress", b""),
    }
}

/// Returns the item as it ended. `nth` counts the output items of one canonical item, `items` gives
/// the parts of a message, or the one item.
pub(super) fn done<'i>(
    o: &mut write::Object<'_>,
    items: &dyn Fn(usize) -> Option<&'i AnswerItem>,
    nth: usize,
    id: &str,
) {
    let all = || (0..).map_while(items);
    let (Some(item), cut) = (items(0), all().any(|item| item.status == Status::Incomplete)) else { return };
    let status = status(if cut { Status::Incomplete } else { Status::Complete });
    o.str("id", id);
    match &item.kind {
        AnswerKind::Text { .. } | AnswerKind::Refusal { .. } => {
            message_head(o, status);
            o.array("content", |a| all().for_each(|item| a.object(|o| part(o, &item.kind))));
        }
        AnswerKind::Reasoning { parts, opaque, .. } => {
            let parts = if nth == 0 { parts.as_slice() } else { &[] };
            reasoning(o, parts, opaque.get(nth).map(|(_, state)| state.as_slice()));
        }
        AnswerKind::Tool { input, .. } => call(o, &item.kind, status, input),
    }
}

fn message_head(o: &mut write::Object<'_>, status: &str) {
    o.str("type", "message");
    o.str("status", status);
    o.str("role", "assistant");
}

fn call(o: &mut write::Object<'_>, kind: &AnswerKind, status: &str, input: &[u8]) {
    let AnswerKind::Tool { kind, id, name, namespace, .. } = kind else { return };
    let (word, member) = match kind {
        CallKind::Function => ("function_call", "arguments"),
        CallKind::Custom => ("custom_tool_call", "input"),
    };
    o.str("type", word);
    o.str("status", status);
    o.raw_str("call_id", id.raw());
    if let Some(namespace) = namespace {
        o.raw_str("namespace", namespace.raw());
    }
    o.raw_str("name", name.raw());
    o.raw_str(member, RawStr::new(input));
}

fn reasoning(o: &mut write::Object<'_>, parts: &[AnswerReasoning], state: Option<&[u8]>) {
    let of = |kind| parts.iter().filter(move |part| part.kind == kind);
    o.str("type", "reasoning");
    o.array("summary", |a| {
        of(ReasoningKind::Summary).for_each(|part| a.object(|o| reasoning_part(o, part.kind, &part.text)));
    });
    if of(ReasoningKind::Full).next().is_some() {
        o.array("content", |a| {
            of(ReasoningKind::Full).for_each(|part| a.object(|o| reasoning_part(o, part.kind, &part.text)));
        });
    }
    if let Some(state) = state {
        o.raw_str("encrypted_content", RawStr::new(state));
    }
}

/// Writes the members of a part of a thought.
pub(super) fn reasoning_part(o: &mut write::Object<'_>, kind: ReasoningKind, text: &[u8]) {
    o.str("type", if kind == ReasoningKind::Summary { "summary_text" } else { "reasoning_text" });
    o.raw_str("text", RawStr::new(text));
}

/// Writes the members of the one part of a message.
pub(super) fn part(o: &mut write::Object<'_>, kind: &AnswerKind) {
    match kind {
        AnswerKind::Text { text, cites, logprobs } => {
            o.str("type", "output_text");
            o.raw_str("text", RawStr::new(text));
            o.array("annotations", |a| cites.iter().for_each(|cite| a.object(|o| annotation(o, cite, text))));
            write_logprobs(o, logprobs);
        }
        AnswerKind::Refusal { text } => {
            o.str("type", "refusal");
            o.raw_str("refusal", RawStr::new(text));
        }
        AnswerKind::Reasoning { .. } | AnswerKind::Tool { .. } => {}
    }
}

/// `elements` are those of an array, without its brackets.
pub(super) fn write_logprobs(o: &mut write::Object<'_>, elements: &[u8]) {
    let list = [b"[", elements, b"]"].concat();
    o.value("logprobs", RawValue::new(&logprobs(RawValue::new(&list))));
}

/// Log probabilities as this format has them: `bytes` and `top_logprobs` are lists always, where
/// Chat may say `null` and its imitators nothing (OpenAI API reference, `LogProb` and
/// `ChatCompletionTokenLogprob`).
pub(super) fn logprobs(list: RawValue<'_>) -> Cow<'_, [u8]> {
    filled(list, &["bytes", "top_logprobs"])
}

/// Returns the list, in which each object has these members, as lists.
fn filled<'a>(list: RawValue<'a>, needed: &[&str]) -> Cow<'a, [u8]> {
    let has = |token: RawValue<'_>, key: &str| token.find(key).is_some_and(|value| value.kind() == RawKind::Array);
    let is_full = |token: RawValue<'_>| {
        let tops = token.find("top_logprobs").into_iter().flat_map(RawValue::elements);
        needed.iter().all(|key| has(token, key)) && tops.into_iter().all(|(top, _)| has(top, "bytes"))
    };
    if list.elements().all(|(token, _)| !token.is_object() || is_full(token)) {
        return Cow::Borrowed(list.bytes());
    }
    let mut out = Vec::with_capacity(list.bytes().len());
    write::array(&mut out, |a| {
        for (token, _) in list.elements() {
            if !token.is_object() {
                a.value(token);
                continue;
            }
            a.object(|o| {
                for (key, value, _) in token.members() {
                    match key.as_bytes() {
                        b"bytes" if value.kind() != RawKind::Array => {}
                        b"top_logprobs" if value.kind() != RawKind::Array => {}
                        b"top_logprobs" => o.value("top_logprobs", RawValue::new(&filled(value, &["bytes"]))),
                        _ => o.value(&key.unescape(), value),
                    }
                }
                needed.iter().filter(|key| !has(token, key)).for_each(|key| o.array(key, |_| {}));
            });
        }
    });
    Cow::Owned(out)
}

/// Writes a link. One without a range belongs to all of the text.
pub(super) fn annotation(o: &mut write::Object<'_>, cite: &AnswerCite, text: &[u8]) {
    let (start, end) = cite.range.unwrap_or_else(|| (0, RawStr::new(text).unescape().chars().count() as u64));
    o.str("type", "url_citation");
    o.u64("start_index", start);
    o.u64("end_index", end);
    o.raw_str("url", cite.url.raw());
    o.raw_str("title", cite.title.raw());
}

/// Returns the provider's reason for a refusal as a message of its own, since the format has no
/// other place for it.
pub(super) fn explanation(answer: &Answer, ended: &Ended) -> Option<AnswerItem> {
    let text = ended.explanation.as_ref().filter(|text| ended.reason == Reason::Refusal && !text.is_empty())?;
    let is_refused = answer.items.iter().any(|item| matches!(item.kind, AnswerKind::Refusal { .. }));
    let kind = AnswerKind::Refusal { text: text.as_bytes().to_vec() };
    (!is_refused).then_some(AnswerItem { kind, status: Status::Complete })
}

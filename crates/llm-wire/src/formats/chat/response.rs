//! Whole answers of the Chat Completions format: decode a provider's, encode one for a client.

use crate::canonical::codec::Sink;
use crate::canonical::event::{Event, Finish, Note, Reason};
use crate::canonical::request::ReasoningKind;
use crate::error::classify;
use crate::error::{Error, Kind};
use crate::formats::chat::stream::decode::{Chunk, Finished, status_of};
use crate::formats::chat::stream::message::{Reader, Source};
use crate::formats::chat::{tap, words};
use crate::json::{RawStr, RawValue, write};
use crate::reasoning::envelope::Seal;
use crate::response::whole::{Answer, AnswerKind};
use crate::target::plan::Reply;
use crate::target::quirks::Quirks;

/// Reads a provider's whole answer as the events that a stream of the same answer would have given.
///
/// - `body` is valid JSON, and no error body. Anything but an answer of this format is an `Err` of
///   kind `UpstreamFault`.
/// - Pushes `Start`, for each item `Open`, deltas (each text as one), `Close`; then `Usage`,
///   `Finish`, `End`. No empty deltas.
/// - Tool input that stands as an object is pushed as an escaped string body
///   ([`args::write_quoted`](crate::canonical::args::write_quoted)).
/// - An answer without a finish reason:
///   [`Note::MissingFinish`](crate::canonical::event::Note::MissingFinish) and `Reason::End`.
pub(crate) fn decode(body: RawValue<'_>, quirks: Quirks, sink: Sink<'_>) -> Result<(), Error> {
    let chunk = Chunk::of(body);
    let no_answer = || Error::upstream(Kind::UpstreamFault, "the upstream's answer is no chat completion");
    let choice = chunk.choice.ok_or_else(no_answer)?;
    sink(Event::Start { id: chunk.id, model: chunk.model });
    if let Some(tier) = chunk.tier {
        sink(Event::Tier(tier));
    }
    if chunk.other_choices {
        sink(Event::Note(Note::DroppedChoice));
    }
    let mut reader = Reader::new(quirks);
    match choice.message(Source::Whole) {
        Some(message) => reader.message(message, choice.logprobs, Source::Whole, sink)?,
        None => reader.bare_text(choice.text, sink),
    }
    let has_message = choice.message(Source::Whole).is_some() || !choice.text.is_empty();
    let finish = match choice.finish() {
        Some(Finished::Failed(error)) => {
            fail(chunk.usage, error, sink);
            return Ok(());
        }
        Some(Finished::Reason { finish, known }) => {
            if !known {
                sink(Event::Note(Note::UnknownFinish));
            }
            finish
        }
        None => {
            sink(Event::Note(Note::MissingFinish));
            Finish::of(Reason::End)
        }
    };
    // Azure leaves the message out of an answer that its filter has taken, other hosts where the
    // limit left no room for one.
    let may_be_empty = matches!(finish.reason, Reason::Refusal | Reason::Length | Reason::ContextWindow);
    let failure = match () {
        () if !has_message && !may_be_empty => {
            Some(Error::upstream(Kind::UpstreamFault, "the upstream's answer has no message"))
        }
        () if reader.shows_nothing() => Some(classify::no_visible_output()),
        () if reader.has_nameless_call(finish.reason) => Some(classify::nameless_call()),
        () => None,
    };
    if let Some(error) = failure {
        fail(chunk.usage, error, sink);
        return Ok(());
    }
    reader.close(status_of(finish.reason), sink);
    if let Some(usage) = chunk.usage {
        sink(Event::Usage(tap::usage(usage)));
    }
    sink(Event::Finish(finish));
    sink(Event::End);
    Ok(())
}

/// Ends an answer that cannot be shown. What was counted for it has been used all the same.
fn fail(usage: Option<RawValue<'_>>, error: Error, sink: Sink<'_>) {
    if let Some(usage) = usage {
        sink(Event::Usage(tap::usage(usage)));
    }
    sink(Event::Fail(error));
}

/// Writes a whole answer for a client of this format.
///
/// Invariant: what it writes equals the fold of what `stream::Encoder` writes for the same events,
/// but for ids and times, blank text, and arguments that are no JSON object. Names, ids, finish and
/// usage are final in `answer`; opaque state is an envelope already. The id is `reply.answer_id()`,
/// the model `reply.plan.model`, the time `reply.created`. `Err` only for a broken invariant.
pub(crate) fn encode(answer: &Answer, reply: &mut Reply, out: &mut Vec<u8>) -> Result<(), Error> {
    let ended = answer.ended();
    write::object(out, |o| {
        o.str("id", &reply.answer_id());
        o.str("object", "chat.completion");
        o.u64("created", reply.created);
        o.str("model", &reply.plan.model);
        o.array("choices", |list| {
            list.object(|o| {
                o.u64("index", 0);
                o.object("message", |o| write_message(answer, reply, o));
                write_logprobs(answer, o);
                o.str("finish_reason", words::finish(ended.reason, &reply.plan));
            });
        });
        o.object("usage", |o| words::write_usage(&answer.usage.unwrap_or_default(), o));
        if let Some(tier) = &answer.tier {
            words::write_tier(tier.raw(), o);
        }
    });
    Ok(())
}

fn write_message(answer: &Answer, reply: &mut Reply, o: &mut write::Object<'_>) {
    o.str("role", "assistant");
    let texts: Vec<&[u8]> = collect(answer, |kind| match kind {
        AnswerKind::Text { text, .. } => Some(text.as_slice()),
        _ => None,
    });
    let mut refusals: Vec<&[u8]> = collect(answer, |kind| match kind {
        AnswerKind::Refusal { text } => Some(text.as_slice()),
        _ => None,
    });
    let ended = answer.ended();
    if let Some(explanation) = &ended.explanation
        && ended.reason == Reason::Refusal
        && refusals.is_empty()
    {
        refusals.push(explanation.as_bytes());
    }
    let something_else = answer.has_calls() || !refusals.is_empty();
    write_joined("content", &texts, if something_else { None } else { Some("") }, o);
    write_joined("refusal", &refusals, None, o);
    write_reasoning(answer, reply, o);
    write_cites(answer, o);
    if reply.plan.legacy_functions {
        write_function_call(answer, reply, o);
    } else if answer.has_calls() {
        o.array("tool_calls", |list| write_calls(answer, list));
    }
}

/// The deprecated form, in which there is room for one call.
fn write_function_call(answer: &Answer, reply: &mut Reply, o: &mut write::Object<'_>) {
    let mut calls = answer.items.iter().filter_map(|item| match &item.kind {
        AnswerKind::Tool { name, input, .. } => Some((name, input)),
        _ => None,
    });
    if let Some((name, input)) = calls.next() {
        o.object("function_call", |o| {
            o.raw_str("name", name.raw());
            o.raw_str("arguments", RawStr::new(input));
        });
    }
    calls.for_each(|_| reply.note(Note::DroppedOutput));
}

/// Returns the bodies that are not empty.
fn collect<'a>(answer: &'a Answer, body: impl Fn(&'a AnswerKind) -> Option<&'a [u8]>) -> Vec<&'a [u8]> {
    answer.items.iter().filter_map(|item| body(&item.kind)).filter(|body| !body.is_empty()).collect()
}

/// One string of all bodies; if there are none, `otherwise`, or `null`.
fn write_joined(name: &str, bodies: &[&[u8]], otherwise: Option<&str>, o: &mut write::Object<'_>) {
    if bodies.is_empty() {
        return o.opt_str(name, otherwise);
    }
    let out = o.key(name);
    out.push(b'"');
    bodies.iter().for_each(|body| out.extend_from_slice(body));
    out.push(b'"');
}

fn write_reasoning(answer: &Answer, reply: &Reply, o: &mut write::Object<'_>) {
    let mut plain: Vec<&[u8]> = Vec::new();
    let mut any = false;
    for item in &answer.items {
        let AnswerKind::Reasoning { parts, opaque, .. } = &item.kind else { continue };
        any |= !parts.is_empty() || !opaque.is_empty();
        for part in parts {
            if !plain.is_empty() {
                plain.push(br"\n\n");
            }
            plain.push(&part.text);
        }
    }
    if !plain.is_empty() {
        write_joined("reasoning_content", &plain, None, o);
    }
    if any && reply.plan.reasoning_details {
        o.array("reasoning_details", |list| write_details(answer, reply, list));
    }
}

/// For each item its text and its envelopes; a signature in the entry of its text.
fn write_details(answer: &Answer, reply: &Reply, list: &mut write::Array<'_>) {
    let reasonings = answer.items.iter().filter_map(|item| match &item.kind {
        AnswerKind::Reasoning { id, parts, opaque } => Some((id, parts, opaque)),
        _ => None,
    });
    for (index, (id, parts, opaque)) in (0u32..).zip(reasonings) {
        let summary = words::is_summary(reply.plan.provider, parts.first().map_or(ReasoningKind::Full, |p| p.kind));
        if !parts.is_empty() {
            let signature = opaque.iter().find(|(seal, _)| *seal == Seal::Thinking).filter(|_| !summary);
            words::write_shown(summary, index, signature.map(|(_, raw)| RawStr::new(raw)), list, |out| {
                for (n, part) in parts.iter().enumerate() {
                    out.extend_from_slice(if n > 0 { br"\n\n" } else { b"" });
                    out.extend_from_slice(&part.text);
                }
            });
        }
        for (seal, raw) in opaque.iter().filter(|(seal, _)| *seal != Seal::Thinking || parts.is_empty() || summary) {
            words::write_sealed(*seal, RawStr::new(raw), id.raw(), index, list);
        }
    }
}

fn write_cites(answer: &Answer, o: &mut write::Object<'_>) {
    o.array("annotations", |list| {
        let mut start = 0;
        for item in &answer.items {
            let AnswerKind::Text { text, cites, .. } = &item.kind else { continue };
            let end = start + words::chars(text);
            for cite in cites {
                let range = cite
                    .range
                    .map_or((start, end), |(from, to)| (start.saturating_add(from), start.saturating_add(to)));
                words::write_cite(None, (cite.url.raw(), cite.title.raw()), range, list);
            }
            start = end;
        }
    });
}

fn write_calls(answer: &Answer, list: &mut write::Array<'_>) {
    let mut signature: &[u8] = b"";
    for item in &answer.items {
        match &item.kind {
            AnswerKind::Reasoning { opaque, .. } => {
                let seal = opaque.iter().rfind(|(seal, _)| *seal == Seal::Signature);
                signature = seal.map_or(signature, |(_, raw)| raw);
            }
            AnswerKind::Tool { kind, id, name, input, .. } => list.object(|o| {
                words::write_call(*kind, id.raw(), name.raw(), RawStr::new(input), o);
                words::write_signature(RawStr::new(std::mem::take(&mut signature)), o);
            }),
            AnswerKind::Text { .. } | AnswerKind::Refusal { .. } => {}
        }
    }
}

fn write_logprobs(answer: &Answer, o: &mut write::Object<'_>) {
    let lists = collect(answer, |kind| match kind {
        AnswerKind::Text { logprobs, .. } => Some(logprobs.as_slice()),
        _ => None,
    });
    if lists.is_empty() {
        return o.null("logprobs");
    }
    o.object("logprobs", |o| {
        o.array("content", |list| lists.iter().for_each(|inner| list.element().extend_from_slice(inner)));
        o.null("refusal");
    });
}

#[cfg(test)]
mod tests;

//! Whole answers of the Messages format: decode a provider's, encode one for a client.

use crate::canonical::args;
use crate::canonical::codec::Sink;
use crate::canonical::event::Note;
use crate::canonical::request::CallKind;
use crate::canonical::text;
use crate::error::{Error, Kind};
use crate::formats::messages::stream;
use crate::formats::messages::stream::Decoder;
use crate::formats::messages::{reason, usage};
use crate::json::{RawKind, RawStr, RawValue, write};
use crate::reasoning::envelope::Seal;
use crate::response::whole::{Answer, AnswerKind, AnswerReasoning};
use crate::target::plan::Reply;
use crate::target::quirks::Quirks;

/// Reads a provider's whole answer as the events that a stream of the same answer would have given.
///
/// `body` is valid JSON, and no error body. Anything but an answer of this format is an `Err` of
/// kind `UpstreamFault`. An answer without a stop reason ends with [`Note::MissingFinish`] and the
/// neutral reason.
pub(crate) fn decode(body: RawValue<'_>, quirks: Quirks, sink: Sink<'_>) -> Result<(), Error> {
    let is_message = || body.find("type").is_some_and(|kind| kind.eq_str("message"));
    let has_content = match body.find("content").map(RawValue::kind) {
        Some(RawKind::Array) => true,
        // Some hosts write a text, a single block or null in place of the list of blocks. Objects that
        // are no answer may have such a `content` too, so the type must say that it is one.
        Some(RawKind::String | RawKind::Object | RawKind::Null) => is_message(),
        _ => false,
    };
    if !has_content {
        let note = "the upstream's answer is not one of the Messages format: it has no `content`";
        return Err(Error::upstream(Kind::UpstreamFault, note));
    }
    Decoder::new(quirks).message(body, sink);
    Ok(())
}

/// Writes a whole answer for a client of this format.
///
/// Invariant: what it writes equals the fold of what
/// [`Encoder`](crate::formats::messages::stream::Encoder) writes for the same events, but for ids
/// and times, blank text, and arguments that are no JSON object. Names, ids, finish and usage are
/// final in `answer`; opaque state is an envelope already. The id is `reply.answer_id()`, the model
/// `reply.plan.model`. Never `Err`.
pub(crate) fn encode(answer: &Answer, reply: &mut Reply, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut refused = Vec::new();
    write::object(out, |o| {
        o.str("id", &reply.answer_id());
        o.str("type", "message");
        o.str("role", "assistant");
        o.str("model", &reply.plan.model);
        o.array("content", |a| {
            for item in &answer.items {
                match &item.kind {
                    AnswerKind::Text { text, cites, .. } => {
                        cites.iter().for_each(|_| reply.note(Note::DroppedCitation));
                        text_block(text, a);
                    }
                    AnswerKind::Refusal { text } => {
                        refused.extend_from_slice(text);
                        text_block(text, a);
                    }
                    AnswerKind::Reasoning { parts, opaque, .. } => reasoning(parts, opaque, reply, a),
                    AnswerKind::Tool { kind, id, name, input, .. } => a.object(|o| {
                        o.str("type", "tool_use");
                        o.raw_str("id", id.raw());
                        o.raw_str("name", name.raw());
                        tool_input(*kind, input, reply, o.key("input"));
                        stream::write_caller(o);
                    }),
                }
            }
        });
        reason::write(o, &answer.ended(), &refused);
        let tier = answer.tier.as_ref().and_then(|tier| usage::tier(&tier.unescape()));
        usage::write(o, &answer.usage.unwrap_or_default(), tier);
    });
    Ok(())
}

/// Blank text is no block.
fn text_block(text: &[u8], a: &mut write::Array<'_>) {
    let raw = RawStr::new(text);
    if !text::is_blank(raw) {
        a.object(|o| {
            o.str("type", "text");
            o.raw_str("text", raw);
            o.null("citations");
        });
    }
}

/// One thinking block with the first state as its signature. A state that has no text to go with is
/// a redacted block, unless the client asked not to be shown the text.
fn reasoning(parts: &[AnswerReasoning], opaque: &[(Seal, Vec<u8>)], reply: &Reply, a: &mut write::Array<'_>) {
    let mut text = Vec::new();
    for part in parts {
        if !text.is_empty() {
            text.extend_from_slice(br"\n\n");
        }
        text.extend_from_slice(&part.text);
    }
    let mut states = opaque.iter().map(|(_, state)| RawStr::new(state));
    if !text.is_empty() || (reply.plan.display_omitted && !opaque.is_empty()) {
        a.object(|o| {
            o.str("type", "thinking");
            o.raw_str("thinking", RawStr::new(&text));
            o.raw_str("signature", states.next().unwrap_or_default());
        });
    }
    for state in states {
        a.object(|o| {
            o.str("type", "redacted_thinking");
            o.raw_str("data", state);
        });
    }
}

fn tool_input(kind: CallKind, input: &[u8], reply: &mut Reply, out: &mut Vec<u8>) {
    let input = RawStr::new(input);
    if kind == CallKind::Custom {
        // No client of this format has custom tools; the input is written as the shim would.
        write::object(out, |o| o.raw_str("input", input));
    } else if args::write_object(input, out) {
        reply.note(Note::InvalidArguments);
    }
}

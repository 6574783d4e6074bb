//! What stream and whole answer say in the same words to a client.

use crate::canonical::event::Reason;
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::canonical::usage::Usage;
use crate::format::Format;
use crate::json::{RawStr, scan, write};
use crate::reasoning::envelope::Seal;
use crate::target::plan::Plan;

/// Returns `finish_reason` (`docs/internals/translation/responses.md`, "Finish reasons"), for this
/// client.
pub(super) fn finish(reason: Reason, plan: &Plan) -> &'static str {
    match reason {
        Reason::End | Reason::StopSequence | Reason::Pause | Reason::Compaction => "stop",
        Reason::ToolCalls if plan.legacy_functions => "function_call",
        Reason::ToolCalls => "tool_calls",
        Reason::Length | Reason::ContextWindow => "length",
        Reason::Refusal => "content_filter",
    }
}

/// Writes `service_tier`, from the provider's word.
pub(super) fn write_tier(tier: RawStr<'_>, o: &mut write::Object<'_>) {
    if tier.eq_str("standard") {
        o.str("service_tier", "default");
    } else {
        o.raw_str("service_tier", tier);
    }
}

/// Writes the members of a `usage` object.
pub(crate) fn write_usage(usage: &Usage, o: &mut write::Object<'_>) {
    o.u64("prompt_tokens", usage.input_total);
    o.u64("completion_tokens", usage.output_total);
    o.u64("total_tokens", usage.total());
    o.object("prompt_tokens_details", |o| {
        o.u64("cached_tokens", usage.cache_read);
        o.u64("cache_write_tokens", usage.cache_write());
    });
    o.object("completion_tokens_details", |o| o.u64("reasoning_tokens", usage.reasoning));
}

/// One `url_citation`; the range is in characters of the whole `content`. In streams it is
/// numbered: the accumulator of OpenAI's SDK refuses a second entry of a list without `index`
/// (openai-python 3.54, `accumulate_delta`).
pub(super) fn write_cite(
    index: Option<u64>,
    (url, title): (RawStr<'_>, RawStr<'_>),
    (start, end): (u64, u64),
    list: &mut write::Array<'_>,
) {
    list.object(|o| {
        if let Some(index) = index {
            o.u64("index", index);
        }
        o.str("type", "url_citation");
        o.object("url_citation", |o| {
            o.u64("start_index", start);
            o.u64("end_index", end);
            o.raw_str("title", title);
            o.raw_str("url", url);
        });
    });
}

/// Characters of an escaped body; a surrogate pair is one, also when it was cut in two.
pub(super) fn chars(raw: &[u8]) -> u64 {
    if scan::is_ascii_without_escapes(raw) {
        return raw.len() as u64;
    }
    let (mut n, mut at) = (0, 0);
    while let Some(byte) = raw.get(at) {
        let (len, counts) = match byte {
            b'\\' if raw.get(at + 1) == Some(&b'u') => {
                let low = matches!(raw.get(at + 2..at + 4), Some([b'd' | b'D', b'c'..=b'f' | b'C'..=b'F']));
                (6, !low)
            }
            b'\\' => (2, true),
            0x80..=0xbf => (1, false),
            _ => (1, true),
        };
        n += u64::from(counts);
        at += len;
    }
    n
}

/// Returns whether a provider's visible reasoning is called a summary in `reasoning_details`. Of
/// the thinking of Claude and of hosts that show their reasoning in full it is the text that a
/// signature seals.
pub(super) fn is_summary(provider: Format, kind: ReasoningKind) -> bool {
    provider == Format::Responses && kind == ReasoningKind::Summary
}

/// An entry of `reasoning_details` with visible text, and with the envelope that seals it if that
/// is known by now.
pub(super) fn write_shown(
    summary: bool,
    index: u32,
    signature: Option<RawStr<'_>>,
    list: &mut write::Array<'_>,
    text: impl FnOnce(&mut Vec<u8>),
) {
    list.object(|o| {
        o.str("type", if summary { "reasoning.summary" } else { "reasoning.text" });
        let out = o.key(if summary { "summary" } else { "text" });
        out.push(b'"');
        text(out);
        out.push(b'"');
        if let Some(signature) = signature {
            o.raw_str("signature", signature);
        }
        o.u64("index", u64::from(index));
    });
}

/// An entry of `reasoning_details` with an envelope alone.
pub(super) fn write_sealed(seal: Seal, envelope: RawStr<'_>, id: RawStr<'_>, index: u32, list: &mut write::Array<'_>) {
    list.object(|o| {
        match seal {
            Seal::Thinking => {
                o.str("type", "reasoning.text");
                o.raw_str("signature", envelope);
            }
            Seal::Redacted | Seal::Encrypted | Seal::Signature => {
                o.str("type", "reasoning.encrypted");
                o.raw_str("data", envelope);
            }
        }
        if !id.is_empty() {
            o.raw_str("id", id);
        }
        o.u64("index", u64::from(index));
    });
}

/// Writes the members of a call that name it, with its input.
pub(super) fn write_call(
    kind: CallKind,
    id: RawStr<'_>,
    name: RawStr<'_>,
    input: RawStr<'_>,
    o: &mut write::Object<'_>,
) {
    let (word, field) = match kind {
        CallKind::Function => ("function", "arguments"),
        CallKind::Custom => ("custom", "input"),
    };
    o.raw_str("id", id);
    o.str("type", word);
    o.object(word, |o| {
        o.raw_str("name", name);
        o.raw_str(field, input);
    });
}

/// Google's signature on a call, in its envelope. Nothing for an empty one.
pub(super) fn write_signature(envelope: RawStr<'_>, o: &mut write::Object<'_>) {
    if !envelope.is_empty() {
        o.object("extra_content", |o| o.object("google", |o| o.raw_str("thought_signature", envelope)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_through_escapes() {
        for text in ["", "abc", "a\"\n\\é", "\u{1f600}x", "日本"] {
            let mut raw = Vec::new();
            write::escaped(&mut raw, text);
            assert_eq!(chars(&raw), text.chars().count() as u64, "{text}");
        }
        assert_eq!(chars(br"\u00e9\ud83d\ude00\u0041"), 3);
        assert_eq!(chars(br"\ud83d") + chars(br"\uDE00"), 1);
        assert_eq!(chars(br"\u"), 1);
    }
}

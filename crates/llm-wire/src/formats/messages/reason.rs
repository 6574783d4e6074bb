//! Why an answer ended, in the words of this format (`docs/internals/translation/responses.md`,
//! "Finish reasons").

use crate::canonical::event::{Finish, Reason};
use crate::canonical::text::Text;
use crate::json::{RawStr, RawValue, write};
use crate::response::whole::Ended;

/// A provider's fields about the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// `Reason`, and whether the word was known.
    Finish(Reason, bool),
    /// The model failed; the answer is no answer.
    Failed,
}

/// Returns what a `stop_reason` means.
pub(super) fn stop(word: RawStr<'_>) -> Stop {
    let reason = match word.as_bytes() {
        b"end_turn" => Reason::End,
        b"stop_sequence" => Reason::StopSequence,
        b"tool_use" => Reason::ToolCalls,
        b"max_tokens" => Reason::Length,
        b"model_context_window_exceeded" => Reason::ContextWindow,
        b"refusal" => Reason::Refusal,
        b"pause_turn" => Reason::Pause,
        b"compaction" => Reason::Compaction,
        b"api_error" => return Stop::Failed,
        _ => return Stop::Finish(Reason::End, false),
    };
    Stop::Finish(reason, true)
}

/// Returns the finish behind `stop_reason` and its companions, which stand side by side in a
/// message and in a `message_delta`.
pub(super) fn finish(reason: Reason, object: RawValue<'_>) -> Finish<'_> {
    let details = |key| object.path(&["stop_details", key]).and_then(RawValue::as_str);
    Finish {
        reason,
        stop: object.find("stop_sequence").and_then(RawValue::as_str),
        category: details("category"),
        explanation: details("explanation"),
    }
}

fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::End => "end_turn",
        Reason::StopSequence => "stop_sequence",
        Reason::ToolCalls => "tool_use",
        Reason::Length => "max_tokens",
        Reason::ContextWindow => "model_context_window_exceeded",
        Reason::Refusal => "refusal",
        Reason::Pause => "pause_turn",
        Reason::Compaction => "compaction",
    }
}

/// Writes `stop_reason` and the fields beside it, with `null` where there is none. `refused` is the
/// text of a refusal that is in the answer: other formats end such an answer like any other.
pub(super) fn write(o: &mut write::Object<'_>, ended: &Ended, refused: &[u8]) {
    let refuses = ended.reason == Reason::Refusal || (ended.reason == Reason::End && !refused.is_empty());
    o.str("stop_reason", name(if refuses { Reason::Refusal } else { ended.reason }));
    raw_or_null(o, "stop_sequence", ended.stop.as_ref().filter(|_| ended.reason == Reason::StopSequence));
    if refuses {
        let refused = Text::from(RawStr::new(refused));
        let explanation = ended.explanation.as_ref().or(Some(&refused)).filter(|text| !text.is_empty());
        o.object("stop_details", |o| {
            o.str("type", "refusal");
            raw_or_null(o, "category", ended.category.as_ref());
            raw_or_null(o, "explanation", explanation);
        });
    } else {
        o.null("stop_details");
    }
    // Containers are Anthropic's.
    o.null("container");
}

fn raw_or_null(o: &mut write::Object<'_>, name: &str, text: Option<&Text<'_>>) {
    match text {
        Some(text) => o.raw_str(name, text.raw()),
        None => o.null(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Reason; 8] = [
        Reason::End,
        Reason::StopSequence,
        Reason::ToolCalls,
        Reason::Length,
        Reason::ContextWindow,
        Reason::Refusal,
        Reason::Pause,
        Reason::Compaction,
    ];

    /// The table, both ways.
    #[test]
    fn reasons_come_back() {
        for reason in ALL {
            assert_eq!(stop(RawStr::new(name(reason).as_bytes())), Stop::Finish(reason, true));
        }
        assert_eq!(stop(RawStr::new(b"tired")), Stop::Finish(Reason::End, false));
        assert_eq!(stop(RawStr::new(b"api_error")), Stop::Failed);
    }

    #[test]
    fn refusals_are_explained() {
        let written = |ended: &Ended, refused: &[u8]| {
            let mut out = Vec::new();
            write::object(&mut out, |o| write(o, ended, refused));
            String::from_utf8(out).unwrap()
        };
        let refusal = |category: &str, explanation: &str| {
            format!(
                r#"{{"stop_reason":"refusal","stop_sequence":null,"stop_details":{{"type":"refusal","category":{category},"explanation":{explanation}}},"container":null}}"#
            )
        };
        let mut ended = Ended::of(Reason::Refusal);
        assert_eq!(written(&ended, b""), refusal("null", "null"));
        assert_eq!(written(&Ended::of(Reason::End), br"I can\u2019t"), refusal("null", r#""I can\u2019t""#));
        (ended.category, ended.explanation) = (Some(Text::plain("cyber")), Some(Text::plain("because")));
        assert_eq!(written(&ended, b"no"), refusal(r#""cyber""#, r#""because""#));
        let calls = r#"{"stop_reason":"tool_use","stop_sequence":null,"stop_details":null,"container":null}"#;
        assert_eq!(written(&Ended::of(Reason::ToolCalls), b"no"), calls);
        let stop = Ended { stop: Some(Text::plain("\n")), ..Ended::of(Reason::StopSequence) };
        assert_eq!(
            written(&stop, b""),
            r#"{"stop_reason":"stop_sequence","stop_sequence":"\n","stop_details":null,"container":null}"#
        );
    }
}

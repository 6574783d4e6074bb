//! Why an answer that passes unchanged ended: the provider's words, read for records alone. What a
//! translation makes of them is with the formats' decoders.

use crate::canonical::event::Reason;
use crate::format::Format;
use crate::formats::chat::finish::FinishWord;
use crate::json::{RawStr, RawValue};

/// The top-level members of a whole answer that tell it, beside `usage`.
pub fn members(format: Format) -> &'static [&'static str] {
    match format {
        Format::Chat => &["usage", "choices"],
        Format::Messages => &["usage", "stop_reason"],
        Format::Responses => &["usage", "status", "incomplete_details", "output"],
    }
}

/// From those members, as far as they are there.
pub fn of_answer<'a>(format: Format, member: impl Fn(&str) -> Option<RawValue<'a>>) -> Option<Reason> {
    match format {
        Format::Chat => of_choices(member("choices")?),
        Format::Messages => of_stop_reason(member("stop_reason")?.as_str()?),
        Format::Responses => of_response(member),
    }
}

/// Of the first choice of a whole answer that has one.
fn of_choices(choices: RawValue<'_>) -> Option<Reason> {
    let word = |choice: RawValue<'_>| of_finish_reason(choice.find("finish_reason")?.as_str()?);
    choices.elements().find_map(|(choice, _)| word(choice))
}

/// Returns the reason that a `finish_reason` of Chat Completions gives. `None` for an empty one,
/// and for one that says that the answer was given up.
pub(crate) fn of_finish_reason(word: RawStr<'_>) -> Option<Reason> {
    match FinishWord::read(word)? {
        FinishWord::Reason(reason) => Some(reason),
        FinishWord::Failed(..) => None,
        FinishWord::Unknown => Some(Reason::End),
    }
}

/// Returns the reason that a `stop_reason` of Messages gives. `None` for an empty one.
pub(crate) fn of_stop_reason(word: RawStr<'_>) -> Option<Reason> {
    Some(match word.as_bytes() {
        b"" => return None,
        b"stop_sequence" => Reason::StopSequence,
        b"tool_use" => Reason::ToolCalls,
        b"max_tokens" => Reason::Length,
        b"model_context_window_exceeded" => Reason::ContextWindow,
        b"refusal" => Reason::Refusal,
        b"pause_turn" => Reason::Pause,
        b"compaction" => Reason::Compaction,
        _ => Reason::End,
    })
}

/// Of a response object: that it ended with calls shows in its output alone.
pub(crate) fn of_response<'a>(member: impl Fn(&str) -> Option<RawValue<'a>>) -> Option<Reason> {
    let status = member("status")?.as_str()?;
    if status.eq_str("incomplete") {
        let why = member("incomplete_details").and_then(|details| details.find("reason"));
        let filtered = why.is_some_and(|reason| reason.eq_str("content_filter"));
        return Some(if filtered { Reason::Refusal } else { Reason::Length });
    }
    let is_call = |item: RawValue<'_>| {
        item.find("type").and_then(RawValue::as_str).is_some_and(|kind| kind.as_bytes().ends_with(b"_call"))
            && item.find("call_id").is_some()
    };
    let calls = member("output").is_some_and(|output| output.elements().any(|(item, _)| is_call(item)));
    status.eq_str("completed").then_some(if calls { Reason::ToolCalls } else { Reason::End })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_answers() {
        let rows = [
            (Format::Chat, r#"{"choices":[{"finish_reason":"stop"}]}"#, Some(Reason::End)),
            (
                Format::Chat,
                r#"{"choices":[{"finish_reason":null},{"finish_reason":"tool_calls"}]}"#,
                Some(Reason::ToolCalls),
            ),
            (Format::Chat, r#"{"choices":[{"finish_reason":"content_filter: x"}]}"#, Some(Reason::Refusal)),
            (Format::Chat, r#"{"choices":[]}"#, None),
            (Format::Messages, r#"{"stop_reason":"max_tokens"}"#, Some(Reason::Length)),
            (Format::Messages, r#"{"stop_reason":null}"#, None),
            (Format::Responses, r#"{"status":"completed","output":[{"type":"message"}]}"#, Some(Reason::End)),
            (
                Format::Responses,
                r#"{"status":"completed","output":[{"type":"web_search_call"},{"type":"custom_tool_call","call_id":"c"}]}"#,
                Some(Reason::ToolCalls),
            ),
            (
                Format::Responses,
                r#"{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}}"#,
                Some(Reason::Length),
            ),
            (
                Format::Responses,
                r#"{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}"#,
                Some(Reason::Refusal),
            ),
            (Format::Responses, r#"{"status":"failed"}"#, None),
        ];
        for (format, body, expected) in rows {
            let body = RawValue::new(body.as_bytes());
            assert_eq!(of_answer(format, |name| body.find(name)), expected, "{body:?}");
        }
    }
}

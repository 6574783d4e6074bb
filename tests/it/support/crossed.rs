//! The response that a client of another format must get: the rules of translation as a reader of
//! the vendors' manuals would write them down, apart from the code under test.

use serde_json::{Value, json};

use llm_wire::Format;

use super::output::{Call, Output};

/// `output` by a provider of format `from`, as a client of format `to` should get it.
pub fn crossed(from: Format, to: Format, output: &Output) -> Output {
    let mut out = output.clone();
    let why = FinishReason::of(from, to, output);
    // Chat and Responses have a place of its own for a refusal; in Messages it is text, marked by
    // the stop reason.
    if to == Format::Messages && from != Format::Messages {
        out.text += &output.refusal;
        out.explanation = std::mem::take(&mut out.refusal);
        // Blank text is refused when it comes back, so it is never sent.
        if out.text.trim().is_empty() {
            out.text.clear();
        }
    }
    if from == Format::Messages && to != Format::Messages {
        out.refusal = std::mem::take(&mut out.explanation);
    }
    // A stop sequence has a name in Messages alone.
    if to != Format::Messages {
        out.stop_sequence = None;
    }
    out.finish = why.word(to).to_owned();
    for call in &mut out.calls {
        arguments(to, call);
    }
    out
}

/// Messages takes objects alone, and knows no free text.
fn arguments(to: Format, call: &mut Call) {
    if to == Format::Messages {
        let args = std::mem::take(&mut call.args);
        call.args = match args {
            Value::Object(_) => args,
            Value::String(free) if call.custom => json!({ "input": free }),
            Value::String(broken) => json!({ "_raw_arguments": broken }),
            other => json!({ "_raw_arguments": other.to_string() }),
        };
        call.custom = false;
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FinishReason {
    End,
    StopSequence,
    Tools,
    Length,
    Window,
    Refusal,
    Pause,
    Compaction,
}

impl FinishReason {
    fn of(from: Format, to: Format, output: &Output) -> FinishReason {
        let finish = match (from, output.finish.as_str()) {
            (_, "tool_calls" | "function_call" | "tool_use") => FinishReason::Tools,
            (_, "length" | "max_tokens" | "incomplete:max_output_tokens") => FinishReason::Length,
            (_, "content_filter" | "refusal" | "incomplete:content_filter") => FinishReason::Refusal,
            (_, "stop_sequence") => FinishReason::StopSequence,
            (_, "model_context_window_exceeded") => FinishReason::Window,
            (_, "pause_turn") => FinishReason::Pause,
            (_, "compaction") => FinishReason::Compaction,
            _ if from != Format::Messages && to == Format::Messages && !output.refusal.is_empty() => {
                FinishReason::Refusal
            }
            _ => FinishReason::End,
        };
        match (finish, output.calls.is_empty()) {
            // Hosts say `stop` beside calls, and `tool_calls` beside none.
            (FinishReason::End, false) => FinishReason::Tools,
            (FinishReason::Tools, true) => FinishReason::End,
            (finish, _) => finish,
        }
    }

    fn word(self, to: Format) -> &'static str {
        match (to, self) {
            (
                Format::Chat,
                FinishReason::End | FinishReason::StopSequence | FinishReason::Pause | FinishReason::Compaction,
            ) => "stop",
            (Format::Chat, FinishReason::Tools) => "tool_calls",
            (Format::Chat, FinishReason::Length | FinishReason::Window) => "length",
            (Format::Chat, FinishReason::Refusal) => "content_filter",
            (Format::Messages, FinishReason::End) => "end_turn",
            (Format::Messages, FinishReason::StopSequence) => "stop_sequence",
            (Format::Messages, FinishReason::Tools) => "tool_use",
            (Format::Messages, FinishReason::Length) => "max_tokens",
            (Format::Messages, FinishReason::Window) => "model_context_window_exceeded",
            (Format::Messages, FinishReason::Refusal) => "refusal",
            (Format::Messages, FinishReason::Pause) => "pause_turn",
            (Format::Messages, FinishReason::Compaction) => "compaction",
            (Format::Responses, FinishReason::Length | FinishReason::Window) => "incomplete:max_output_tokens",
            (Format::Responses, FinishReason::Refusal) => "incomplete:content_filter",
            (Format::Responses, _) => "completed",
        }
    }
}

/// Where `got` is not what was `expected`. A call without an id has got one; usage that nobody
/// counted is an estimate.
pub fn differences(expected: &Output, got: &Output) -> Vec<String> {
    let mut out = Vec::new();
    let mut differ = |what: &str, expected: &dyn std::fmt::Debug, got: &dyn std::fmt::Debug| {
        let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
        if expected != got {
            out.push(format!("{what}: {got}, expected {expected}"));
        }
    };
    differ("text", &expected.text, &got.text);
    differ("refusal", &expected.refusal, &got.refusal);
    differ("explanation", &expected.explanation, &got.explanation);
    differ("reasoning", &expected.reasoning, &got.reasoning);
    differ("sealed states", &expected.sealed.len(), &got.sealed.len());
    differ("finish", &expected.finish, &got.finish);
    differ("stop sequence", &expected.stop_sequence, &got.stop_sequence);
    differ("calls", &expected.calls.len(), &got.calls.len());
    for (expected, got) in expected.calls.iter().zip(&got.calls) {
        if expected.id.is_empty() {
            differ("a call without an id", &false, &got.id.is_empty());
        } else {
            differ("call id", &expected.id, &got.id);
        }
        differ("call name", &expected.name, &got.name);
        differ("call arguments", &expected.args, &got.args);
        differ("custom call", &expected.custom, &got.custom);
    }
    match (&expected.usage, &got.usage) {
        (Some(expected), Some(got)) => differ("usage", expected, got),
        (Some(_), None) => differ("usage", &"some", &"none"),
        (None, _) => {}
    }
    out
}

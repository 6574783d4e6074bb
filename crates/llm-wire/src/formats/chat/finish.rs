//! The words of `finish_reason`: OpenAI's, and those of hosts that imitate its format.
//!
//! A word that means an end before the answer was whole must not pass for `stop`: a client would
//! take half of an answer for all of it.

use crate::canonical::event::Reason;
use crate::error::Kind;
use crate::json::RawStr;

/// The meaning of a `finish_reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FinishWord {
    /// The answer ended for this reason.
    Reason(Reason),
    /// The answer was given up. The text is the message of the error.
    Failed(Kind, &'static str),
    /// A word that is not known here.
    Unknown,
}

/// Each word in lower case, and what it means. OpenAI's own come first (API reference of 2026-08).
/// Cohere and Gemini write their native words in capitals, and gateways in front of them pass those
/// on.
const WORDS: &[(&str, FinishWord)] = &[
    ("stop", FinishWord::Reason(Reason::End)),
    ("tool_calls", FinishWord::Reason(Reason::ToolCalls)),
    ("function_call", FinishWord::Reason(Reason::ToolCalls)),
    ("length", FinishWord::Reason(Reason::Length)),
    ("content_filter", FinishWord::Reason(Reason::Refusal)),
    // Together, Text Generation Inference, Cohere, and Messages behind a gateway.
    ("eos", FinishWord::Reason(Reason::End)),
    ("eos_token", FinishWord::Reason(Reason::End)),
    ("complete", FinishWord::Reason(Reason::End)),
    ("end_turn", FinishWord::Reason(Reason::End)),
    ("stop_sequence", FinishWord::Reason(Reason::StopSequence)),
    ("tool_use", FinishWord::Reason(Reason::ToolCalls)),
    ("tool_call", FinishWord::Reason(Reason::ToolCalls)),
    // Mistral, then Gemini, Cohere and Messages.
    ("model_length", FinishWord::Reason(Reason::Length)),
    ("max_tokens", FinishWord::Reason(Reason::Length)),
    ("max_output_tokens", FinishWord::Reason(Reason::Length)),
    ("model_context_window_exceeded", FinishWord::Reason(Reason::ContextWindow)),
    // GLM, Gemini, Cohere, Bedrock, Messages.
    ("sensitive", FinishWord::Reason(Reason::Refusal)),
    ("safety", FinishWord::Reason(Reason::Refusal)),
    ("recitation", FinishWord::Reason(Reason::Refusal)),
    ("blocklist", FinishWord::Reason(Reason::Refusal)),
    ("prohibited_content", FinishWord::Reason(Reason::Refusal)),
    ("spii", FinishWord::Reason(Reason::Refusal)),
    // Gemini: an unsupported language, and "all other reasons".
    ("language", FinishWord::Reason(Reason::Refusal)),
    ("other", FinishWord::Reason(Reason::Refusal)),
    ("error_toxic", FinishWord::Reason(Reason::Refusal)),
    ("error_limit", FinishWord::Reason(Reason::ContextWindow)),
    ("content_filtered", FinishWord::Reason(Reason::Refusal)),
    ("guardrail_intervened", FinishWord::Reason(Reason::Refusal)),
    ("refusal", FinishWord::Reason(Reason::Refusal)),
    // OpenRouter and Mistral, DeepSeek, GLM, vLLM and SGLang, Gemini.
    ("error", FinishWord::Failed(Kind::UpstreamFault, "the upstream ended its answer with the reason `error`")),
    (
        "insufficient_system_resource",
        FinishWord::Failed(Kind::Overloaded, "the upstream stopped for want of resources"),
    ),
    (
        "network_error",
        FinishWord::Failed(Kind::UpstreamFault, "the upstream ended its answer with the reason `network_error`"),
    ),
    ("abort", FinishWord::Failed(Kind::UpstreamFault, "the upstream ended its answer with the reason `abort`")),
    (
        "malformed_function_call",
        FinishWord::Failed(Kind::UpstreamFault, "the upstream could not write a valid tool call"),
    ),
];

/// Words behind which hosts write a reason of their own, after a colon.
const BEGINNINGS: &[(&str, FinishWord)] = &[
    ("content_filter", FinishWord::Reason(Reason::Refusal)),
    ("function_call_filter", FinishWord::Failed(Kind::UpstreamFault, "the upstream could not write a valid tool call")),
];

impl FinishWord {
    /// Reads a `finish_reason`. `None` for an empty one: the answer goes on.
    pub(crate) fn read(word: RawStr<'_>) -> Option<FinishWord> {
        let word = word.as_bytes();
        if word.is_empty() {
            return None;
        }
        let is = |known: &str| word.eq_ignore_ascii_case(known.as_bytes());
        let begins =
            |known: &str| word.get(..known.len()).is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()));
        let found = WORDS.iter().find(|(known, _)| is(known));
        let found = found.or_else(|| BEGINNINGS.iter().find(|(known, _)| begins(known)));
        Some(found.map_or(FinishWord::Unknown, |(_, meaning)| *meaning))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_hosts() {
        let read = |word: &'static str| FinishWord::read(RawStr::new(word.as_bytes()));
        let rows = [
            ("stop", Reason::End),
            ("STOP", Reason::End),
            ("COMPLETE", Reason::End),
            ("stop_sequence", Reason::StopSequence),
            ("tool_use", Reason::ToolCalls),
            ("TOOL_CALL", Reason::ToolCalls),
            ("MAX_TOKENS", Reason::Length),
            ("max_tokens", Reason::Length),
            ("model_context_window_exceeded", Reason::ContextWindow),
            ("SAFETY", Reason::Refusal),
            ("sensitive", Reason::Refusal),
            ("LANGUAGE", Reason::Refusal),
            ("OTHER", Reason::Refusal),
            ("ERROR_TOXIC", Reason::Refusal),
            ("ERROR_LIMIT", Reason::ContextWindow),
            ("content_filter: PROHIBITED_CONTENT", Reason::Refusal),
            ("CONTENT_FILTER: SPII", Reason::Refusal),
        ];
        for (word, reason) in rows {
            assert_eq!(read(word), Some(FinishWord::Reason(reason)), "{word}");
        }
        for word in ["error", "ERROR", "abort", "network_error", "function_call_filter: MALFORMED_FUNCTION_CALL"] {
            assert!(matches!(read(word), Some(FinishWord::Failed(Kind::UpstreamFault, _))), "{word}");
        }
        let busy = read("insufficient_system_resource");
        assert!(matches!(busy, Some(FinishWord::Failed(Kind::Overloaded, _))));
        assert_eq!(read("tomorrow"), Some(FinishWord::Unknown));
        assert_eq!(read(""), None);
    }
}

//! The `response` object: what whole answers are, and what the lifecycle events of a stream hold.
//!
//! Strict readers need every field, so the client's own values are repeated
//! ([`Echo`](crate::target::echo::Echo)), and what this gateway never has (`previous_response_id`,
//! `store`) is written too.

use crate::canonical::event::Reason;
use crate::canonical::usage::Usage;
use crate::error::{Error, Kind};
use crate::json::write;
use crate::response::whole::Ended;
use crate::target::plan::Reply;

/// How far the answer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage<'e> {
    Begun,
    Ended(&'e Ended),
    Failed(&'e Error),
}

impl Stage<'_> {
    fn status(self) -> &'static str {
        match self {
            Stage::Begun => "in_progress",
            Stage::Ended(ended) if cut(ended.reason).is_some() => "incomplete",
            Stage::Ended(_) => "completed",
            Stage::Failed(_) => "failed",
        }
    }

    /// The name of the event that announces it.
    pub(super) fn event(self) -> &'static str {
        match self {
            Stage::Begun => "response.created",
            Stage::Ended(ended) if cut(ended.reason).is_some() => "response.incomplete",
            Stage::Ended(_) => "response.completed",
            Stage::Failed(_) => "response.failed",
        }
    }
}

/// Returns why an answer is incomplete, if it is.
fn cut(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Length | Reason::ContextWindow => Some("max_output_tokens"),
        Reason::Refusal => Some("content_filter"),
        Reason::End | Reason::StopSequence | Reason::ToolCalls | Reason::Pause | Reason::Compaction => None,
    }
}

/// Returns the code of a failed answer. The SDK's type is a closed list, and Codex acts on these.
fn code(kind: Kind) -> &'static str {
    match kind {
        Kind::ContextTooLong | Kind::Billing | Kind::RateLimit | Kind::Overloaded => {
            kind.row().openai_code.unwrap_or("server_error")
        }
        Kind::InvalidRequest | Kind::ContentFilter => "invalid_prompt",
        _ => "server_error",
    }
}

/// What the object holds beside what the reply knows.
pub(super) struct Facts<'f> {
    pub stage: Stage<'f>,
    pub usage: Option<Usage>,
    /// In the provider's words.
    pub tier: Option<&'f str>,
}

/// Writes the members of the object. `output` writes the items.
pub(super) fn write(
    o: &mut write::Object<'_>,
    facts: &Facts<'_>,
    reply: &mut Reply,
    output: impl FnOnce(&mut write::Array<'_>),
) {
    o.str("id", &reply.answer_id());
    o.str("object", "response");
    o.u64("created_at", reply.created);
    o.str("status", facts.stage.status());
    match facts.stage {
        Stage::Ended(ended) if cut(ended.reason).is_none() => o.u64("completed_at", reply.stamps.now()),
        _ => o.null("completed_at"),
    }
    match facts.stage {
        Stage::Failed(error) => o.object("error", |o| {
            o.str("code", code(error.kind));
            o.str("message", &error.note);
        }),
        _ => o.null("error"),
    }
    match facts.stage {
        Stage::Ended(ended) => match cut(ended.reason) {
            Some(reason) => o.object("incomplete_details", |o| o.str("reason", reason)),
            None => o.null("incomplete_details"),
        },
        _ => o.null("incomplete_details"),
    }
    o.str("model", &reply.plan.model);
    o.array("output", output);
    o.null("previous_response_id");
    o.bool("store", false);
    reply.plan.echo.write(o);
    o.str("service_tier", facts.tier.filter(|tier| *tier != "standard").unwrap_or("default"));
    match facts.usage {
        Some(usage) => o.object("usage", |o| write_usage(o, &usage)),
        None => o.null("usage"),
    }
}

/// Token counts as this format writes them: cached tokens inside `input_tokens`
/// (`docs/internals/translation/responses.md`, "Usage arithmetic").
fn write_usage(o: &mut write::Object<'_>, usage: &Usage) {
    o.u64("input_tokens", usage.input_total);
    o.object("input_tokens_details", |o| {
        o.u64("cached_tokens", usage.cache_read);
        o.u64("cache_write_tokens", usage.cache_write());
    });
    o.u64("output_tokens", usage.output_total);
    o.object("output_tokens_details", |o| o.u64("reasoning_tokens", usage.reasoning));
    o.u64("total_tokens", usage.total());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::responses::tap;
    use crate::json::RawValue;
    use proptest::prelude::*;

    proptest! {
        /// What is written is read back equal, whatever the numbers.
        #[test]
        fn counts_come_back(numbers in prop::array::uniform5(0u64..1 << 48)) {
            let [fresh, read, written, output, reasoning] = numbers;
            let usage = Usage {
                input_total: fresh + read + written,
                cache_read: read,
                cache_write_5m: written,
                output_total: output.max(reasoning),
                reasoning,
                ..Usage::default()
            };
            let mut out = Vec::new();
            crate::json::write::object(&mut out, |o| write_usage(o, &usage));
            prop_assert_eq!(tap::usage(RawValue::parse(&out).unwrap()), usage);
        }
    }
}

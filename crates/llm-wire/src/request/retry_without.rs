//! What is left out of a request when a provider refused it for something that can be left out
//! (`docs/internals/translation.md`, "Retry without a refused field").
//!
//! Once for each request, and only for requests that this gateway wrote: what a client wrote itself
//! is the client's to mend.

use crate::canonical::effort::{Mode, Reasoning};
use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{ItemKind, Request};
use crate::canonical::tools::ToolChoice;
use crate::error::Error;
use crate::error::ReadError;
use crate::format::Format;
use crate::target::caps::{Caps, Disable};

/// One thing to leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RetryWithout {
    /// Nothing is left out.
    #[default]
    Nothing,
    /// All reasoning of the history, and thinking with it: a signature was refused.
    Reasoning,
    /// The effort: its level is not one of this model's.
    Effort,
    /// Summaries of reasoning: the provider's account may not have them.
    Summary,
    /// Thinking beside a tool that must be called; or, where the model always thinks, the
    /// obligation to call it.
    ForcedTool,
}

impl RetryWithout {
    /// Reads a refusal (status 400) of a provider of `format`. `None` if it is not about something
    /// that the gateway added or may leave out.
    pub fn of(format: Format, refusal: &ReadError<'_>) -> Option<RetryWithout> {
        let message = refusal.message.unescape().to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().all(|word| message.contains(word));
        let param = refusal.param.map(|param| param.unescape().into_owned()).unwrap_or_default();
        if has(&["invalid", "signature", "thinking"]) || has(&["invalid", "thought", "signature"]) {
            return Some(RetryWithout::Reasoning);
        }
        match format {
            Format::Responses if param == "reasoning.summary" || has(&["reasoning summar"]) => {
                Some(RetryWithout::Summary)
            }
            Format::Responses if param == "reasoning.effort" => Some(RetryWithout::Effort),
            Format::Chat if param == "reasoning_effort" => Some(RetryWithout::Effort),
            Format::Messages if has(&["output_config.effort"]) => Some(RetryWithout::Effort),
            Format::Messages if has(&["thinking", "tool_choice"]) => Some(RetryWithout::ForcedTool),
            _ => None,
        }
    }

    /// Leaves it out. What the client sent itself is entered in the ledger; its `Err` (strict mode)
    /// is passed on.
    pub(crate) fn apply(self, request: &mut Request<'_>, caps: &Caps, ledger: &mut Ledger) -> Result<(), Error> {
        match self {
            // Summaries are asked for by policy, not by the request: see `Policy::summaries`.
            RetryWithout::Nothing | RetryWithout::Summary => {}
            RetryWithout::ForcedTool if caps.disable == Disable::Never => {
                ledger.approx(Loss::ToolChoice)?;
                request.tool_choice = Some(ToolChoice::Auto);
            }
            RetryWithout::ForcedTool => {
                ledger.drop(Loss::Thinking)?;
                request.reasoning = Reasoning { mode: Mode::Off, ..request.reasoning };
            }
            RetryWithout::Reasoning => {
                request.items.retain(|item| !matches!(item.kind, ItemKind::Reasoning(_)));
                request.reasoning = Reasoning { mode: Mode::Off, ..Reasoning::default() };
            }
            RetryWithout::Effort => {
                request.reasoning.effort = None;
                request.reasoning.mode = match request.reasoning.mode {
                    Mode::Manual { .. } if caps.messages => Mode::Adaptive,
                    // OpenAI's formats say how to think by the effort alone.
                    Mode::Manual { .. } | Mode::Adaptive if !caps.messages => Mode::Unset,
                    mode => mode,
                };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::errors::read_refusal;
    use crate::json::RawValue;
    use crate::target::overrides::Overrides;
    use crate::target::plan::{Context, Target};
    use crate::target::quirks::Host;
    use crate::translate;

    #[test]
    fn refusals() {
        use Format::{Chat, Messages, Responses};
        #[rustfmt::skip]
        let rows = [
            (Messages, r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"}}"#, Some(RetryWithout::Reasoning)),
            (Messages, r#"{"type":"error","error":{"type":"invalid_request_error","message":"output_config.effort: Input should be 'low', 'medium' or 'high'"}}"#, Some(RetryWithout::Effort)),
            (Messages, r#"{"type":"error","error":{"type":"invalid_request_error","message":"Thinking may not be enabled when tool_choice forces tool use."}}"#, Some(RetryWithout::ForcedTool)),
            (Messages, r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"}}"#, None),
            (Responses, r#"{"error":{"message":"Your organization must be verified to generate reasoning summaries.","type":"invalid_request_error","param":"reasoning.summary","code":"unsupported_value"}}"#, Some(RetryWithout::Summary)),
            (Responses, r#"{"error":{"message":"Unsupported value: 'xhigh'","type":"invalid_request_error","param":"reasoning.effort","code":"unsupported_value"}}"#, Some(RetryWithout::Effort)),
            (Chat, r#"{"error":{"message":"Unsupported value","type":"invalid_request_error","param":"reasoning_effort","code":"unsupported_value"}}"#, Some(RetryWithout::Effort)),
            (Chat, r#"[{"error":{"code":400,"message":"Invalid thought signature.","status":"INVALID_ARGUMENT"}}]"#, Some(RetryWithout::Reasoning)),
            (Chat, r#"{"error":{"message":"bad","type":"invalid_request_error","param":"temperature"}}"#, None),
        ];
        for (format, body, without) in rows {
            assert_eq!(RetryWithout::of(format, &read_refusal(format, body.as_bytes()).unwrap()), without, "{body}");
        }
    }
    /// A forced tool beside thinking: the thinking goes, and where it cannot, the force.
    #[test]
    fn a_forced_tool_beside_thinking() {
        let body = br#"{"model":"m","reasoning_effort":"high","tool_choice":"required","messages":[{"role":"user","content":"a"}],
            "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}]}"#;
        let rows = [
            ("claude-opus-5", r#"{"type":"disabled"}"#, "any", "thinking;dropped"),
            ("claude-fable-5", r#"{"type":"adaptive","display":"summarized"}"#, "auto", "tool_choice;approx"),
        ];
        for (model, thinking, choice, header) in rows {
            let target = Target::new(Format::Messages, Host::Anthropic, model, "p", &Overrides::default());
            let cx = Context { without: RetryWithout::ForcedTool, ..Context::new(target, "m") };
            let sent = translate::request(Format::Chat, body, &cx).unwrap();
            let raw = RawValue::parse(&sent.body).unwrap();
            assert_eq!(raw.find("thinking").unwrap().bytes(), thinking.as_bytes(), "{model}");
            assert!(raw.path(&["tool_choice", "type"]).unwrap().eq_str(choice), "{model}");
            assert_eq!(sent.ledger.dropped_header().as_deref(), Some(header), "{model}");
        }
    }
}

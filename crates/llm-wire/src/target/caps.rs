//! What one model can do behind one endpoint: the capabilities that encoders consult before they
//! write a field.
//!
//! They come from data: the rules of [`facts`](crate::target::facts), then the rules of a file of
//! the operator, then the `capabilities` of the provider.

use serde::Deserialize;

use crate::canonical::effort::{Effort, Levels};
use crate::format::Format;
use crate::target::tool_names::{IdRule, NameRule};

/// The number that stands for "no limit".
pub const UNLIMITED: u64 = u32::MAX as u64;

/// How a request asks a model to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thinking {
    /// Not at all.
    None,
    /// By an effort (OpenAI).
    Effort,
    /// By a budget; `adaptive` is a 400 (Claude 4.5 and older).
    Manual,
    /// Adaptive only; a budget is a 400 (Claude 4.7 and newer).
    Adaptive,
    /// Adaptive, and a budget still works (Claude 4.6).
    AdaptiveOrManual,
}

/// Whether thinking can be switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disable {
    /// Thinking can be switched off in every request.
    Always,
    /// Only together with an effort up to this level.
    UpTo(Effort),
    /// The model always thinks.
    Never,
}

/// Which sampling parameters are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SamplingRule {
    /// All sampling parameters are accepted.
    Ok,
    /// temperature, top_p, top_k and the rest are refused.
    None,
    /// Accepted only with effort `none` (gpt-5.1 and newer).
    #[serde(rename = "only_when_effort_none")]
    OnlyEffortNone,
}

/// What the host does with structured output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structured {
    /// The host ignores or refuses `response_format`.
    None,
    /// Free JSON only.
    JsonObject,
    /// JSON by a schema, and free JSON.
    JsonSchema,
}

/// The capability table of one (endpoint format, host, upstream model). `Copy`: it is looked up
/// once for each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Formats in which the model can be reached.
    pub chat: bool,
    /// Whether the model can be reached in the Messages format.
    pub messages: bool,
    /// Whether the model can be reached in the Responses format.
    pub responses: bool,
    /// Largest `max_tokens`, in tokens.
    pub max_output: u64,
    /// What stands for an absent `max_tokens` towards Messages.
    pub default_output: u64,
    /// In tokens.
    pub context_window: u64,
    /// A request that overflows the window ends with `model_context_window_exceeded` instead of a
    /// 400 (Claude 4.5 and newer).
    pub window_stop: bool,
    /// How thinking is switched on.
    pub thinking: Thinking,
    /// Effort levels; empty where there is no such field.
    pub levels: Levels,
    /// Whether the model thinks when a request does not mention thinking.
    pub thinks_by_default: bool,
    /// Whether thinking can be switched off.
    pub disable: Disable,
    /// Thinking blocks are bound to what precedes them (`docs/internals/translation/reasoning.md`,
    /// "Bound thinking").
    pub thinking_binding: bool,
    /// Thinking between tool calls needs the beta `interleaved-thinking-2025-05-14`.
    pub interleaved_beta: bool,
    /// Which sampling parameters are accepted.
    pub sampling: SamplingRule,
    /// The highest accepted `temperature`.
    pub temperature_max: u64,
    /// Whether `temperature` and `top_p` may stand in one request.
    pub temp_and_top_p_together: bool,
    /// Whether a conversation may end with a message of the assistant, which the model continues.
    pub prefill: bool,
    /// System messages between turns.
    pub mid_system: bool,
    /// The role `developer` instead of `system` (Chat only).
    pub developer: bool,
    /// Which forms of structured output are accepted.
    pub structured: Structured,
    /// Whether tools may be declared `strict`.
    pub strict_tools: bool,
    /// Custom (freeform) tools.
    pub custom_tools: bool,
    /// Whether tool results may contain images.
    pub images_in_tool_result: bool,
    /// Whether images may be given by URL. Otherwise they must be inline data.
    pub url_images: bool,
    /// Whether PDF documents are accepted.
    pub pdf: bool,
    /// Whether audio is accepted as input.
    pub audio_in: bool,
    /// The model answers with `encrypted_content` when asked to include it.
    pub encrypted_reasoning: bool,
    /// Whether `n` may be greater than 1 (Chat only).
    pub n: bool,
    /// Native stop sequences; 0 means that the gateway emulates all of them.
    pub stop_max: u64,
    /// Whether `top_k` is accepted.
    pub top_k: bool,
    /// Whether log probabilities can be requested.
    pub logprobs: bool,
    /// Whether `stream_options.include_usage` is accepted (Chat only).
    pub stream_usage: bool,
    /// Which ids of tool calls are accepted.
    pub tool_ids: IdRule,
    /// Which names of tools are accepted.
    pub tool_names: NameRule,
    /// `max_completion_tokens` instead of `max_tokens` (Chat only).
    pub max_completion_tokens: bool,
    /// Function tools together with an effort on Chat; `false` sends such requests to Responses.
    pub tools_with_effort_on_chat: bool,
    /// Whether the vendor's own web search is available.
    pub web_search: bool,
    /// Explicit cache breakpoints (gpt-5.6 and newer; every Claude).
    pub cache_points: bool,
}

impl Caps {
    /// What the first rule of the embedded facts overwrites whole.
    pub(crate) const MINIMAL: Caps = Caps {
        chat: false,
        messages: false,
        responses: false,
        max_output: UNLIMITED,
        default_output: 0,
        context_window: 0,
        window_stop: false,
        thinking: Thinking::None,
        levels: Levels::EMPTY,
        thinks_by_default: false,
        disable: Disable::Always,
        thinking_binding: false,
        interleaved_beta: false,
        sampling: SamplingRule::Ok,
        temperature_max: 0,
        temp_and_top_p_together: false,
        prefill: false,
        mid_system: false,
        developer: false,
        structured: Structured::None,
        strict_tools: false,
        custom_tools: false,
        images_in_tool_result: false,
        url_images: false,
        pdf: false,
        audio_in: false,
        encrypted_reasoning: false,
        n: false,
        stop_max: 0,
        top_k: false,
        logprobs: false,
        stream_usage: false,
        tool_ids: IdRule::OpenAi,
        tool_names: NameRule::OpenAi,
        max_completion_tokens: false,
        tools_with_effort_on_chat: false,
        web_search: false,
        cache_points: false,
    };

    /// Returns whether a Chat request for this model has to go to the vendor's Responses endpoint:
    /// it has function tools and would think. With an absent effort that is so for models that
    /// think by default.
    pub fn needs_responses(&self, has_tools: bool, effort: Option<Effort>) -> bool {
        let thinks = effort.map_or(self.thinks_by_default, |effort| effort != Effort::None);
        !self.chat || (has_tools && thinks && !self.tools_with_effort_on_chat)
    }

    /// Returns whether the model can be reached in this format.
    pub fn supports(&self, format: Format) -> bool {
        match format {
            Format::Chat => self.chat,
            Format::Messages => self.messages,
            Format::Responses => self.responses,
        }
    }
}

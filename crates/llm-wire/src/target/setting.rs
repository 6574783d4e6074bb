//! One setting of a model's capabilities, as files and providers write it.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::canonical::effort::{Effort, Levels};
use crate::format::Format;
use crate::target::caps::{Caps, Disable, SamplingRule, Structured, Thinking, UNLIMITED};
use crate::target::tool_names::{IdRule, NameRule};

/// One capability and its value, as a member of a JSON object: `{"max_output": 32768}`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Setting {
    /// The formats in which the model can be reached.
    #[serde(deserialize_with = "families")]
    Families(Families),
    MaxOutput(Limit),
    DefaultOutput(Limit),
    ContextWindow(Limit),
    TemperatureMax(u64),
    Stop(Limit),
    Reasoning(Reasoning),
    #[serde(deserialize_with = "effort_levels")]
    EffortLevels(Levels),
    #[serde(deserialize_with = "can_disable")]
    CanDisableReasoning(Disable),
    SamplingParams(SamplingRule),
    #[serde(deserialize_with = "structured_output")]
    StructuredOutput(Structured),
    #[serde(deserialize_with = "tool_id_rule")]
    ToolIdRule(IdRule),
    #[serde(deserialize_with = "tool_name_rule")]
    ToolNameRule(NameRule),
    SystemRole(SystemRole),
    MaxTokensField(MaxTokensField),
    WindowStop(bool),
    ThinksByDefault(bool),
    ThinkingBinding(bool),
    InterleavedBeta(bool),
    TempAndTopPTogether(bool),
    Prefill(bool),
    MidSystem(bool),
    StrictTools(bool),
    CustomTools(bool),
    ImagesInToolResult(bool),
    UrlImages(bool),
    Pdf(bool),
    AudioIn(bool),
    EncryptedReasoning(bool),
    N(bool),
    TopK(bool),
    Logprobs(bool),
    StreamUsage(bool),
    ToolsWithEffortOnChat(bool),
    WebSearch(bool),
    CachePoints(bool),
}

/// The formats in which a model can be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Families {
    chat: bool,
    messages: bool,
    responses: bool,
}

/// A number, or `"unlimited"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit(u64);

/// How a model is told how much to think.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reasoning {
    None,
    Effort,
    #[serde(alias = "manual")]
    Budget,
    Adaptive,
    AdaptiveOrManual,
    /// The model reasons whatever is asked.
    AlwaysOn,
}

/// The role of instructions in Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SystemRole {
    System,
    Developer,
}

/// The name of the bound on a response's tokens in Chat Completions.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MaxTokensField {
    MaxTokens,
    MaxCompletionTokens,
}

impl Setting {
    /// Reads a member of `capabilities`. The error names what is expected.
    pub(crate) fn parse(name: &str, value: &Value) -> Result<Setting, serde_json::Error> {
        serde_json::from_value(Value::Object(Map::from_iter([(name.to_owned(), value.clone())])))
    }

    /// Sets the capability that this names.
    pub(crate) fn apply(self, caps: &mut Caps) {
        match self {
            Setting::Families(formats) => {
                (caps.chat, caps.messages, caps.responses) = (formats.chat, formats.messages, formats.responses);
            }
            Setting::MaxOutput(Limit(n)) => caps.max_output = n,
            Setting::DefaultOutput(Limit(n)) => caps.default_output = n,
            Setting::ContextWindow(Limit(n)) => caps.context_window = n,
            Setting::TemperatureMax(n) => caps.temperature_max = n,
            Setting::Stop(Limit(n)) => caps.stop_max = n,
            Setting::Reasoning(reasoning) => reasoning.apply(caps),
            Setting::EffortLevels(levels) => caps.levels = levels,
            Setting::CanDisableReasoning(disable) => caps.disable = disable,
            Setting::SamplingParams(rule) => caps.sampling = rule,
            Setting::StructuredOutput(structured) => caps.structured = structured,
            Setting::ToolIdRule(rule) => caps.tool_ids = rule,
            Setting::ToolNameRule(rule) => caps.tool_names = rule,
            Setting::SystemRole(role) => caps.developer = role == SystemRole::Developer,
            Setting::MaxTokensField(field) => {
                caps.max_completion_tokens = field == MaxTokensField::MaxCompletionTokens;
            }
            Setting::WindowStop(on) => caps.window_stop = on,
            Setting::ThinksByDefault(on) => caps.thinks_by_default = on,
            Setting::ThinkingBinding(on) => caps.thinking_binding = on,
            Setting::InterleavedBeta(on) => caps.interleaved_beta = on,
            Setting::TempAndTopPTogether(on) => caps.temp_and_top_p_together = on,
            Setting::Prefill(on) => caps.prefill = on,
            Setting::MidSystem(on) => caps.mid_system = on,
            Setting::StrictTools(on) => caps.strict_tools = on,
            Setting::CustomTools(on) => caps.custom_tools = on,
            Setting::ImagesInToolResult(on) => caps.images_in_tool_result = on,
            Setting::UrlImages(on) => caps.url_images = on,
            Setting::Pdf(on) => caps.pdf = on,
            Setting::AudioIn(on) => caps.audio_in = on,
            Setting::EncryptedReasoning(on) => caps.encrypted_reasoning = on,
            Setting::N(on) => caps.n = on,
            Setting::TopK(on) => caps.top_k = on,
            Setting::Logprobs(on) => caps.logprobs = on,
            Setting::StreamUsage(on) => caps.stream_usage = on,
            Setting::ToolsWithEffortOnChat(on) => caps.tools_with_effort_on_chat = on,
            Setting::WebSearch(on) => caps.web_search = on,
            Setting::CachePoints(on) => caps.cache_points = on,
        }
    }
}

impl Reasoning {
    fn apply(self, caps: &mut Caps) {
        match self {
            Reasoning::None => (caps.thinking, caps.levels) = (Thinking::None, Levels::EMPTY),
            Reasoning::Effort => caps.thinking = Thinking::Effort,
            Reasoning::Budget => caps.thinking = Thinking::Manual,
            Reasoning::Adaptive => caps.thinking = Thinking::Adaptive,
            Reasoning::AdaptiveOrManual => caps.thinking = Thinking::AdaptiveOrManual,
            Reasoning::AlwaysOn => (caps.disable, caps.thinks_by_default) = (Disable::Never, true),
        }
    }
}

/// Reads the members of a JSON object that are capabilities.
pub(crate) fn settings<'v>(
    members: impl Iterator<Item = (&'v String, &'v Value)>,
    place: &str,
    problems: &mut Vec<String>,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (name, value) in members {
        match Setting::parse(name, value) {
            Ok(setting) => settings.push(setting),
            Err(error) => problems.push(format!("{place}.{name} is `{value}`: {error}")),
        }
    }
    settings
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a number or \"unlimited\"")]
        enum Form {
            Number(u64),
            Word(Unlimited),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Unlimited {
            Unlimited,
        }
        Ok(match Form::deserialize(deserializer)? {
            Form::Number(n) => Limit(n),
            Form::Word(Unlimited::Unlimited) => Limit(UNLIMITED),
        })
    }
}

fn words<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let parse = |word: &String| parse(word).ok_or_else(|| invalid(word, expected));
    words.iter().map(parse).collect()
}

fn word<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let word = String::deserialize(deserializer)?;
    parse(&word).ok_or_else(|| invalid(&word, expected))
}

fn invalid<E: Error>(word: &str, expected: &str) -> E {
    E::invalid_value(Unexpected::Str(word), &expected)
}

fn families<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Families, D::Error> {
    let formats = words(deserializer, "chat, messages or responses", |word| word.parse().ok())?;
    let has = |format| formats.contains(&format);
    Ok(Families { chat: has(Format::Chat), messages: has(Format::Messages), responses: has(Format::Responses) })
}

fn effort_levels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Levels, D::Error> {
    let expected = "none, minimal, low, medium, high, xhigh or max";
    Ok(Levels::of(&words(deserializer, expected, Effort::parse)?))
}

fn can_disable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Disable, D::Error> {
    let expected = "true, false, or \"up_to_\" before a level of effort";
    let up_to = |word: &str| word.strip_prefix("up_to_").and_then(Effort::parse).map(Disable::UpTo);
    match Value::deserialize(deserializer)? {
        Value::Bool(true) => Ok(Disable::Always),
        Value::Bool(false) => Ok(Disable::Never),
        Value::String(word) => up_to(&word).ok_or_else(|| invalid(&word, expected)),
        _ => Err(D::Error::custom(format_args!("expected {expected}"))),
    }
}

fn structured_output<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Structured, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(true) => Ok(Structured::JsonSchema),
        Value::Bool(false) => Ok(Structured::None),
        Value::String(word) if word == "json_object" => Ok(Structured::JsonObject),
        _ => Err(D::Error::custom("expected true, false or \"json_object\"")),
    }
}

fn tool_id_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IdRule, D::Error> {
    word(deserializer, "openai, messages or mistral", IdRule::named)
}

fn tool_name_rule<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NameRule, D::Error> {
    word(deserializer, "openai or messages", NameRule::named)
}

//! What one model can do behind one endpoint: the facts that encoders ask before they write a
//! field.
//!
//! Built-in patterns ([`models`](crate::target::models)) give the start; the JSON object
//! `provider_params.capabilities` overrides any of them, for every model of the row or, under
//! `models`, by name:
//!
//! ```json
//! {"url_images": false, "models": {"qwen3-*": {"max_output": 32768, "effort_levels": ["low", "high"]}}}
//! ```
//!
//! A name the patterns do not know falls into the newest class of its vendor: a model released
//! after this file was written is more likely to refuse what is old than to need it.

use serde_json::Value;

use crate::Format;
use crate::canonical::effort::{Effort, Levels};
use crate::target::models;
use crate::target::quirks::Host;
use crate::target::tool_names::{IdRule, NameRule};

/// How a model is told to think.
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
    Always,
    /// Only together with an effort up to this level.
    UpTo(Effort),
    /// The model always thinks.
    Never,
}

/// Which sampling parameters are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplingRule {
    Ok,
    /// temperature, top_p, top_k and the rest are refused.
    None,
    /// Taken only with effort `none` (gpt-5.1 and newer).
    OnlyEffortNone,
}

/// What the host does with structured output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Structured {
    None,
    /// Free JSON only.
    JsonObject,
    JsonSchema,
}

/// The capability table of one (endpoint format, host, upstream model). `Copy`: it is looked up
/// once for each attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Formats in which the model can be reached.
    pub chat: bool,
    pub messages: bool,
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
    pub thinking: Thinking,
    /// Effort levels; empty where there is no such field.
    pub levels: Levels,
    pub thinks_by_default: bool,
    pub disable: Disable,
    /// Thinking blocks are bound to what precedes them (`docs/internals/translation/reasoning.md`,
    /// "Bound thinking").
    pub thinking_binding: bool,
    /// Thinking between tool calls needs the beta `interleaved-thinking-2025-05-14`.
    pub interleaved_beta: bool,
    pub sampling: SamplingRule,
    pub temperature_max: u64,
    pub temp_and_top_p_together: bool,
    pub prefill: bool,
    /// System messages between turns.
    pub mid_system: bool,
    /// The role `developer` instead of `system` (Chat only).
    pub developer: bool,
    pub structured: Structured,
    pub strict_tools: bool,
    /// Custom (freeform) tools.
    pub custom_tools: bool,
    pub images_in_tool_result: bool,
    pub url_images: bool,
    pub pdf: bool,
    pub audio_in: bool,
    /// The model answers with `encrypted_content` when asked to include it.
    pub encrypted_reasoning: bool,
    pub n: bool,
    /// Native stop sequences; 0 means that the gateway emulates all of them.
    pub stop_max: u64,
    pub top_k: bool,
    pub logprobs: bool,
    pub stream_usage: bool,
    pub tool_ids: IdRule,
    pub tool_names: NameRule,
    /// `max_completion_tokens` instead of `max_tokens` (Chat only).
    pub max_completion_tokens: bool,
    /// Function tools together with an effort on Chat; `false` sends such requests to Responses.
    pub tools_with_effort_on_chat: bool,
    pub web_search: bool,
    /// Explicit cache breakpoints (gpt-5.6 and newer; every Claude).
    pub cache_points: bool,
}

impl Caps {
    /// The table for `model` (the name sent upstream) behind an endpoint of format `to` at `host`.
    pub fn for_model(to: Format, host: Host, model: &str, overrides: &Overrides) -> Caps {
        let mut caps = models::built_in(to, host, model);
        overrides.apply(model, &mut caps);
        caps
    }

    /// Whether a Chat request for this model has to go to the vendor's Responses endpoint: it has
    /// function tools and would think. With an absent effort that is so for models that think by
    /// default.
    pub fn needs_responses(&self, has_tools: bool, effort: Option<Effort>) -> bool {
        let thinks = effort.map_or(self.thinks_by_default, |effort| effort != Effort::None);
        !self.chat || (has_tools && thinks && !self.tools_with_effort_on_chat)
    }

    /// Whether the model can be reached in this format.
    pub fn speaks(&self, format: Format) -> bool {
        match format {
            Format::Chat => self.chat,
            Format::Messages => self.messages,
            Format::Responses => self.responses,
        }
    }
}

/// One parsed override.
#[derive(Debug, Clone, Copy)]
enum Set {
    Families(bool, bool, bool),
    Thinking(Thinking),
    Levels(Levels),
    Disable(bool),
    Sampling(SamplingRule),
    Structured(Structured),
    Ids(IdRule),
    Names(NameRule),
    Number(Number, u64),
    Flag(Flag, bool),
}

type Number = fn(&mut Caps) -> &mut u64;
type Flag = fn(&mut Caps) -> &mut bool;

const NUMBERS: &[(&str, Number)] = &[
    ("max_output", |c| &mut c.max_output),
    ("default_output", |c| &mut c.default_output),
    ("context_window", |c| &mut c.context_window),
    ("temperature_max", |c| &mut c.temperature_max),
    ("stop", |c| &mut c.stop_max),
];

const FLAGS: &[(&str, Flag)] = &[
    ("window_stop", |c| &mut c.window_stop),
    ("thinks_by_default", |c| &mut c.thinks_by_default),
    ("thinking_binding", |c| &mut c.thinking_binding),
    ("temp_and_top_p_together", |c| &mut c.temp_and_top_p_together),
    ("prefill", |c| &mut c.prefill),
    ("mid_system", |c| &mut c.mid_system),
    ("strict_tools", |c| &mut c.strict_tools),
    ("custom_tools", |c| &mut c.custom_tools),
    ("images_in_tool_result", |c| &mut c.images_in_tool_result),
    ("url_images", |c| &mut c.url_images),
    ("pdf", |c| &mut c.pdf),
    ("audio_in", |c| &mut c.audio_in),
    ("encrypted_reasoning", |c| &mut c.encrypted_reasoning),
    ("n", |c| &mut c.n),
    ("top_k", |c| &mut c.top_k),
    ("logprobs", |c| &mut c.logprobs),
    ("stream_usage", |c| &mut c.stream_usage),
    ("tools_with_effort_on_chat", |c| &mut c.tools_with_effort_on_chat),
    ("web_search", |c| &mut c.web_search),
    ("cache_points", |c| &mut c.cache_points),
];

/// `provider_params.capabilities`, parsed once when the configuration is compiled.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `(pattern, settings)` in stored order; the pattern `*` holds what stands outside `models`.
    /// Later ones win.
    rules: Vec<(String, Vec<Set>)>,
}

impl Overrides {
    /// Reads the object. Bad entries are left out and named in the second value, in words for the
    /// person who wrote the row.
    pub fn parse(object: &Value) -> (Overrides, Vec<String>) {
        let mut problems = Vec::new();
        let mut out = Overrides::default();
        let Some(members) = object.as_object() else {
            if !object.is_null() {
                problems.push("capabilities must be an object".to_owned());
            }
            return (out, problems);
        };
        let general = members.iter().filter(|(name, _)| *name != "models");
        out.rules.push(("*".to_owned(), read(general, &mut problems)));
        for (pattern, settings) in members.get("models").and_then(Value::as_object).into_iter().flatten() {
            match settings.as_object() {
                Some(settings) => out.rules.push((pattern.to_ascii_lowercase(), read(settings.iter(), &mut problems))),
                None => problems.push(format!("capabilities.models.`{pattern}` must be an object")),
            }
        }
        (out, problems)
    }

    fn apply(&self, model: &str, caps: &mut Caps) {
        let model = model.to_ascii_lowercase();
        for (_, settings) in self.rules.iter().filter(|(pattern, _)| glob(pattern, &model)) {
            settings.iter().for_each(|set| set.apply(caps));
        }
    }
}

impl Set {
    fn apply(self, caps: &mut Caps) {
        match self {
            Set::Families(chat, messages, responses) => {
                (caps.chat, caps.messages, caps.responses) = (chat, messages, responses);
            }
            Set::Thinking(thinking) => caps.thinking = thinking,
            Set::Levels(levels) => caps.levels = levels,
            Set::Disable(can) => caps.disable = if can { Disable::Always } else { Disable::Never },
            Set::Sampling(rule) => caps.sampling = rule,
            Set::Structured(structured) => caps.structured = structured,
            Set::Ids(rule) => caps.tool_ids = rule,
            Set::Names(rule) => caps.tool_names = rule,
            Set::Number(field, n) => *field(caps) = n,
            Set::Flag(field, on) => *field(caps) = on,
        }
    }
}

fn read<'v>(members: impl Iterator<Item = (&'v String, &'v Value)>, problems: &mut Vec<String>) -> Vec<Set> {
    let mut sets = Vec::new();
    for (name, value) in members {
        match setting(name, value) {
            Some(more) => sets.extend(more),
            None => problems.push(format!("capabilities.{name} has no meaning or not the value `{value}`")),
        }
    }
    sets
}

/// One member; `None` if the name or the value means nothing.
fn setting(name: &str, value: &Value) -> Option<Vec<Set>> {
    let words = || value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
    let one = |set| Some(vec![set]);
    if let Some((_, field)) = NUMBERS.iter().find(|(key, _)| *key == name) {
        return one(Set::Number(*field, value.as_u64()?));
    }
    if let Some((_, field)) = FLAGS.iter().find(|(key, _)| *key == name) {
        return one(Set::Flag(*field, value.as_bool()?));
    }
    match name {
        "families" => {
            let words = words()?;
            let has = |format: Format| words.contains(&format.name());
            one(Set::Families(has(Format::Chat), has(Format::Messages), has(Format::Responses)))
        }
        "reasoning" => {
            let thinking = match value.as_str()? {
                "none" => Thinking::None,
                "effort" => Thinking::Effort,
                "budget" | "manual" => Thinking::Manual,
                "adaptive" => Thinking::Adaptive,
                "adaptive_or_manual" => Thinking::AdaptiveOrManual,
                "always_on" => return Some(vec![Set::Disable(false), Set::Flag(|c| &mut c.thinks_by_default, true)]),
                _ => return None,
            };
            let clear = (thinking == Thinking::None).then_some(Set::Levels(Levels::EMPTY));
            Some(std::iter::once(Set::Thinking(thinking)).chain(clear).collect())
        }
        "effort_levels" => {
            let levels = words()?.into_iter().map(Effort::parse).collect::<Option<Vec<_>>>()?;
            one(Set::Levels(Levels::of(&levels)))
        }
        "can_disable_reasoning" => one(Set::Disable(value.as_bool()?)),
        "sampling_params" => one(Set::Sampling(match value.as_str()? {
            "ok" => SamplingRule::Ok,
            "none" => SamplingRule::None,
            "only_when_effort_none" => SamplingRule::OnlyEffortNone,
            _ => return None,
        })),
        "structured_output" => one(Set::Structured(match value {
            Value::Bool(true) => Structured::JsonSchema,
            Value::Bool(false) => Structured::None,
            Value::String(word) if word == "json_object" => Structured::JsonObject,
            _ => return None,
        })),
        "tool_id_rule" => one(Set::Ids(IdRule::named(value.as_str()?)?)),
        "tool_name_rule" => one(Set::Names(NameRule::named(value.as_str()?)?)),
        "system_role" => one(Set::Flag(|c| &mut c.developer, word(value, "system", "developer")?)),
        "max_tokens_field" => {
            one(Set::Flag(|c| &mut c.max_completion_tokens, word(value, "max_tokens", "max_completion_tokens")?))
        }
        _ => None,
    }
}

/// `Some(true)` for the second word.
fn word(value: &Value, no: &str, yes: &str) -> Option<bool> {
    match value.as_str()? {
        w if w == yes => Some(true),
        w if w == no => Some(false),
        _ => None,
    }
}

/// `*` stands for any run of characters.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let Some(last) = parts.pop() else { return true };
    for part in parts {
        match name.find(part) {
            Some(at) => name = &name[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn globs() {
        let rows = [
            ("*", "x", true),
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5.1", false),
            ("gpt-5*", "gpt-5.1", true),
            ("*/qwen*-32b", "acme/qwen3-32b", true),
            ("*/qwen*-32b", "acme/qwen3-8b", false),
            ("a*b*c", "abc", true),
            ("ab*b", "ab", false),
        ];
        for (pattern, name, hit) in rows {
            assert_eq!(glob(pattern, name), hit, "{pattern} {name}");
        }
    }

    #[test]
    fn a_row_overrides_the_pattern_and_a_model_the_row() {
        let (overrides, problems) = Overrides::parse(&json!({
            "url_images": false, "max_output": 9, "families": ["chat", "responses"], "system_role": "developer",
            "models": {"Qwen3-*": {"max_output": 32768, "effort_levels": ["low", "high"], "reasoning": "effort"}},
        }));
        assert!(problems.is_empty(), "{problems:?}");
        let other = Caps::for_model(Format::Chat, Host::Unknown, "llama", &overrides);
        assert!((other.max_output, other.url_images, other.developer, other.responses) == (9, false, true, true));
        let qwen = Caps::for_model(Format::Chat, Host::Unknown, "qwen3-32B", &overrides);
        assert_eq!((qwen.max_output, qwen.thinking), (32768, Thinking::Effort));
        assert!(qwen.levels.has(Effort::High) && !qwen.levels.has(Effort::Medium));
    }

    #[test]
    fn invalid_settings_are_named_and_the_rest_applies() {
        let (overrides, problems) = Overrides::parse(
            &json!({"pdf": "yes", "colour": 1, "n": true, "effort_levels": ["lots"], "models": {"x": 1}}),
        );
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(Caps::for_model(Format::Chat, Host::Unknown, "x", &overrides).n);
        assert_eq!(Overrides::parse(&json!([])).1.len(), 1);
        assert!(Overrides::parse(&json!(null)).1.is_empty());
    }
}

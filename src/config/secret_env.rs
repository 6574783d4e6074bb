//! Variables of the environment that a provider's key may be taken from (`env:NAME`).
//!
//! Who may write such a name also chooses the address that the value is sent to. So the admin
//! interface accepts names of the usual forms only, and no provider gets this program's own
//! secrets.

use super::boot::table::VARIABLES;
use super::env::Env;
use super::setting_value;

/// The beginnings of names that end in `_KEY` and hold providers' keys.
const VENDORS: &[&str] = &[
    "AI21",
    "ALIBABA",
    "ANTHROPIC",
    "ANYSCALE",
    "AZURE",
    "BASETEN",
    "BEDROCK",
    "CEREBRAS",
    "CLAUDE",
    "COHERE",
    "DASHSCOPE",
    "DEEPINFRA",
    "DEEPSEEK",
    "FIREWORKS",
    "GEMINI",
    "GOOGLE",
    "GROQ",
    "HF",
    "HUGGINGFACE",
    "HYPERBOLIC",
    "LITELLM",
    "MINIMAX",
    "MISTRAL",
    "MOONSHOT",
    "NEBIUS",
    "NOVITA",
    "NVIDIA",
    "OLLAMA",
    "OPENAI",
    "OPENROUTER",
    "PERPLEXITY",
    "QWEN",
    "REPLICATE",
    "SAMBANOVA",
    "SILICONFLOW",
    "TOGETHER",
    "VLLM",
    "VOYAGE",
    "XAI",
    "ZAI",
    "ZHIPU",
];

/// The forms of names that the admin interface takes, for messages.
pub const FORMS: &str =
    "*_API_KEY, a vendor's *_KEY such as OPENAI_KEY, LLM_PROXY_SECRET_*, and what SECRET_ENV_ALLOW lists";

/// The class of a variable, by which it may or may not hold a provider's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariableClass {
    /// A secret of this program, which no provider gets.
    OwnSecret,
    /// Of a form that keys of providers have, or listed by the operator.
    ProviderKey,
    /// Anything else of the environment.
    Other,
}

/// Returns the class of a variable. `env` has SECRET_ENV_ALLOW.
pub fn class_of(name: &str, env: &Env<'_>) -> VariableClass {
    let name = name.trim();
    if VARIABLES.iter().any(|variable| variable.secret && variable.name == name) {
        return VariableClass::OwnSecret;
    }
    let of_vendor = || {
        let stem = name.strip_suffix("_KEY").unwrap_or_default();
        VENDORS
            .iter()
            .any(|vendor| stem.strip_prefix(vendor).is_some_and(|rest| rest.is_empty() || rest.starts_with('_')))
    };
    let is_listed =
        || env("SECRET_ENV_ALLOW").is_some_and(|list| setting_value::list(&list).iter().any(|one| one == name));
    let has_form = |prefix: &str, suffix: &str| {
        name.len() > prefix.len() + suffix.len() && name.starts_with(prefix) && name.ends_with(suffix)
    };
    match has_form("", "_API_KEY") || has_form("LLM_PROXY_SECRET_", "") || of_vendor() || is_listed() {
        true => VariableClass::ProviderKey,
        false => VariableClass::Other,
    }
}

/// Returns whether `value` is a secret of this program, wherever it was read from: no provider gets
/// it.
pub fn is_own_secret(value: &str, env: &Env<'_>) -> bool {
    let mut own = VARIABLES.iter().filter(|variable| variable.secret).filter_map(|variable| env(variable.name));
    own.any(|own| own.trim() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let env = |name: &str| (name == "SECRET_ENV_ALLOW").then(|| "TEAM_TOKEN, ADMIN_KEY".to_owned());
        let rows = [
            (VariableClass::OwnSecret, "ADMIN_KEY"),
            (VariableClass::OwnSecret, " SECRET_KEY "),
            (VariableClass::OwnSecret, "SECRET_KEY_PREVIOUS"),
            (VariableClass::OwnSecret, "DB_URL"),
            (VariableClass::OwnSecret, "LIMITS_URL"),
            (VariableClass::OwnSecret, "LANGFUSE_SECRET_KEY"),
            (VariableClass::OwnSecret, "OTEL_EXPORTER_OTLP_HEADERS"),
            (VariableClass::ProviderKey, "OPENAI_API_KEY"),
            (VariableClass::ProviderKey, "OUR_MAIN_3_API_KEY"),
            (VariableClass::ProviderKey, "OPENAI_KEY"),
            (VariableClass::ProviderKey, "AZURE_OPENAI_EAST_KEY"),
            (VariableClass::ProviderKey, "LLM_PROXY_SECRET_A"),
            (VariableClass::ProviderKey, "TEAM_TOKEN"),
            (VariableClass::Other, "_API_KEY"),
            (VariableClass::Other, "LLM_PROXY_SECRET_"),
            (VariableClass::Other, "OPENAINOT_KEY"),
            (VariableClass::Other, "STRIPE_KEY"),
            (VariableClass::Other, "HOME"),
            (VariableClass::Other, "AWS_SECRET_ACCESS_KEY"),
            (VariableClass::Other, "PGPASSWORD"),
        ];
        for (standing, name) in rows {
            assert_eq!(super::class_of(name, &env), standing, "{name}");
        }
    }
}

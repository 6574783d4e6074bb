//! How likely a provider has a model: its mapping names the model, or it serves every name and
//! something else suggests it.
//!
//! A provider with an empty mapping (a catch-all) serves every model that no other mapping names.
//! Two of them, one of OpenAI and one of Anthropic, must not share the requests for `gpt-4o`: each
//! one's own list of models decides, then the names that its vendor gives its models.

use crate::config::models::Named;
use crate::config::snapshot::{Provider, Snapshot};
use crate::shared::catalog::Lists;
use llm_wire::target::quirks::Host;

/// Why a provider is a candidate for a model, the best reason first. Weights share requests within
/// a rank; lower ranks are failover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Its mapping has this name.
    Exact,
    /// A pattern of its mapping matches.
    Pattern,
    /// It serves every name, and its own list has this one.
    Listed,
    /// It serves every name, and its vendor gives its models such names.
    Vendor,
    /// It serves every name, and it is unknown whether it has this one.
    Unknown,
}

impl Rank {
    /// Returns the rank of a provider for `model`. `None` if it does not serve it.
    pub fn of(provider: &Provider, model: &str, lists: &Lists) -> Option<Rank> {
        Some(match provider.models.named(model)? {
            Named::Exactly => Rank::Exact,
            Named::ByPattern => Rank::Pattern,
            Named::AsEvery if lists.get(&provider.id).is_some_and(|list| lists_model(list, model)) => Rank::Listed,
            Named::AsEvery if is_vendor_name(provider, model) => Rank::Vendor,
            Named::AsEvery => Rank::Unknown,
        })
    }

    /// Returns its name in explanations.
    pub fn name(self) -> &'static str {
        match self {
            Rank::Exact => "exact",
            Rank::Pattern => "pattern",
            Rank::Listed => "listed",
            Rank::Vendor => "vendor",
            Rank::Unknown => "unknown",
        }
    }

    /// Returns whether the provider is a candidate only because it serves every name.
    pub fn is_catch_all(self) -> bool {
        matches!(self, Rank::Listed | Rank::Vendor | Rank::Unknown)
    }
}

/// Returns whether a sorted list has a model. Google's has resource names, and its API takes the
/// bare names too.
fn lists_model(list: &[String], model: &str) -> bool {
    let find = |name: &str| list.binary_search_by(|listed| listed.as_str().cmp(name)).is_ok();
    find(model) || find(&format!("models/{model}"))
}

const OPENAI: &[&str] = &[
    "gpt-",
    "chatgpt-",
    "o1",
    "o3",
    "o4",
    "codex-",
    "computer-use-",
    "text-embedding-3-",
    "text-embedding-ada-",
    "omni-moderation-",
    "text-moderation-",
    "dall-e-",
    "whisper-",
    "tts-",
    "sora-",
    "ft:",
];

/// How the names of a vendor's models begin, in lower case (the vendors' lists of models, 2026-11).
const NAMES: &[(Host, &[&str])] = &[
    (Host::OpenAi, OPENAI),
    (Host::Azure, OPENAI),
    (Host::Anthropic, &["claude-"]),
    (Host::Bedrock, &["anthropic.", "amazon.", "us.", "eu.", "apac.", "global."]),
    (Host::Vertex, &["claude-", "gemini-", "google/", "publishers/"]),
    (Host::GeminiCompat, &["gemini-", "gemma-", "models/", "learnlm-", "imagen-", "veo-"]),
    (Host::DeepSeek, &["deepseek-"]),
    (Host::Qwen, &["qwen", "qwq-", "qvq-", "text-embedding-v"]),
    (
        Host::Mistral,
        &["mistral-", "ministral-", "magistral-", "codestral-", "devstral-", "pixtral-", "voxtral-", "open-mi"],
    ),
    (Host::Xai, &["grok-"]),
    (Host::Kimi, &["kimi-", "moonshot-"]),
    (Host::Glm, &["glm-", "cogview-", "cogvideox-"]),
    (Host::MiniMax, &["minimax-", "abab"]),
    (Host::Fireworks, &["accounts/fireworks/"]),
    (
        Host::OpenRouter,
        &[
            "openrouter/",
            "openai/",
            "anthropic/",
            "google/",
            "meta-llama/",
            "mistralai/",
            "deepseek/",
            "x-ai/",
            "qwen/",
        ],
    ),
];

/// Returns whether the provider's vendor gives its models such names.
fn is_vendor_name(provider: &Provider, model: &str) -> bool {
    names(provider).iter().any(|start| model.get(..start.len()).is_some_and(|have| have.eq_ignore_ascii_case(start)))
}

/// Returns how the names of the provider's own models begin. Empty if that is unknown. An unknown
/// host that speaks Messages serves Anthropic's models.
pub fn names(provider: &Provider) -> &'static [&'static str] {
    let host = match (provider.dialect.host, provider.formats.first().map(|format| format.profile().vendor)) {
        (Host::Unknown, Some(Host::Anthropic)) => Host::Anthropic,
        (host, _) => host,
    };
    NAMES.iter().find(|(known, _)| *known == host).map_or(&[], |(_, names)| names)
}

/// Returns a warning about providers that serve every name and that only their own lists of models
/// distinguish: one of them is of no known vendor, or two are of the same. `None` without such.
pub fn overlap(snapshot: &Snapshot) -> Option<String> {
    let every: Vec<&Provider> = snapshot
        .providers
        .iter()
        .map(|provider| &**provider)
        .filter(|provider| provider.models.is_catch_all())
        .collect();
    let overlaps = |a: &Provider, b: &Provider| {
        let (a, b) = (names(a), names(b));
        a.is_empty() || b.is_empty() || a == b
    };
    let is_one = |provider: &&&Provider| every.iter().any(|other| other.id != provider.id && overlaps(provider, other));
    let found: Vec<_> = every.iter().filter(is_one).map(|provider| format!("`{}`", provider.key)).collect();
    (!found.is_empty()).then(|| {
        format!(
            "the providers {} serve every model name, and share by weight the requests for a model that none of them \
             lists, or several do; if they serve different models, name these (`llm-proxy provider set NAME --map \
             'gpt-*=gpt-*'`, or `model_mapping`)",
            found.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::target_format::tests::{mapped, provider};
    use std::sync::Arc;

    #[test]
    fn ranks() {
        let openai = provider("openai", "https://api.openai.com/v1", "{}");
        let claude = provider("anthropic", "http://127.0.0.1:9000", "{}");
        let local = provider("openai", "http://127.0.0.1:8000/v1", "{}");
        let map = |mapping| mapped("openai", "http://127.0.0.1:8000/v1", "{}", mapping);
        let exact = map(r#"{"gpt-*":"x","gpt-4o":"gpt-4o"}"#);
        let star = map(r#"{"*":"*"}"#);
        let renamed = map(r#"{"*":"m"}"#);
        let rows = [
            (&openai, "gpt-4o", Some(Rank::Vendor)),
            (&openai, "GPT-4o", Some(Rank::Vendor)),
            (&openai, "o3", Some(Rank::Vendor)),
            (&openai, "claude-opus-4", Some(Rank::Unknown)),
            (&openai, "é", Some(Rank::Unknown)),
            (&claude, "claude-opus-4", Some(Rank::Vendor)),
            (&claude, "gpt-4o", Some(Rank::Unknown)),
            (&local, "gpt-4o", Some(Rank::Unknown)),
            (&exact, "gpt-4o", Some(Rank::Exact)),
            (&exact, "gpt-5", Some(Rank::Pattern)),
            (&exact, "claude-opus-4", None),
            (&star, "gpt-4o", Some(Rank::Unknown)),
            (&renamed, "gpt-4o", Some(Rank::Pattern)),
        ];
        for (provider, model, rank) in rows {
            assert_eq!(Rank::of(provider, model, &Lists::default()), rank, "{model}");
        }
        let lists = Lists::from([(1, Arc::from(["llama-3".to_owned(), "models/gemma".to_owned()]))]);
        for (provider, model, rank) in [
            (&local, "llama-3", Rank::Listed),
            (&local, "gemma", Rank::Listed),
            (&local, "gpt-4o", Rank::Unknown),
            (&star, "llama-3", Rank::Listed),
            (&openai, "llama-3", Rank::Listed),
            (&openai, "gpt-4o", Rank::Vendor),
            (&exact, "gpt-4o", Rank::Exact),
        ] {
            assert_eq!(Rank::of(provider, model, &lists), Some(rank), "{model}");
        }
    }

    #[test]
    fn providers_that_overlap() {
        let openai = || mapped("openai", "https://api.openai.com/v1", "{}", "{}");
        let claude = || provider("anthropic", "https://api.anthropic.com", "{}");
        let local = || mapped("openai", "http://127.0.0.1:8000/v1", "{}", r#"{"*":"*"}"#);
        let named = || mapped("openai", "http://127.0.0.1:8000/v1", "{}", r#"{"gpt-*":"*"}"#);
        let rows = [
            (vec![openai(), claude(), named()], 0),
            (vec![openai()], 0),
            (vec![openai(), openai(), claude()], 2),
            (vec![openai(), claude(), local()], 3),
        ];
        for (providers, expected) in rows {
            let providers =
                (1..).zip(providers).map(|(id, provider)| Arc::new(Provider { id, ..provider })).collect::<Vec<_>>();
            let sentence = overlap(&Snapshot { providers, ..Snapshot::default() });
            assert_eq!(sentence.map_or(0, |sentence| sentence.matches("`p`").count()), expected);
        }
    }
}

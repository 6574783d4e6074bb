//! Vendors whose providers `llm-proxy init` can set up by their name. One row each; what is not
//! here is `other`.

/// A vendor's API.
#[derive(Debug)]
pub struct Vendor {
    /// As it is typed, and the name of the provider.
    pub name: &'static str,
    /// `provider_type`.
    pub kind: &'static str,
    /// `api_base`. Empty: it belongs to whoever has an account, and is asked for.
    pub base: &'static str,
    /// The variable that its own SDK or documents take the key from. Empty: it needs none.
    pub variable: &'static str,
    /// A model for the first request, taken if the vendor lists it or has no list.
    pub model: &'static str,
}

const fn vendor(
    name: &'static str,
    kind: &'static str,
    base: &'static str,
    variable: &'static str,
    model: &'static str,
) -> Vendor {
    Vendor { name, kind, base, variable, model }
}

/// From the vendors' documentation (2026-11).
pub const VENDORS: &[Vendor] = &[
    vendor("openai", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-4o-mini"),
    vendor("anthropic", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "claude-haiku-4-5"),
    vendor("azure", "azure", "", "AZURE_OPENAI_API_KEY", "gpt-4o-mini"),
    vendor("openrouter", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", "openai/gpt-4o-mini"),
    vendor(
        "gemini",
        "openai",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "GEMINI_API_KEY",
        "gemini-2.5-flash",
    ),
    vendor("mistral", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY", "mistral-small-latest"),
    vendor("groq", "openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY", "llama-3.1-8b-instant"),
    vendor("deepseek", "openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "deepseek-chat"),
    vendor("xai", "openai", "https://api.x.ai/v1", "XAI_API_KEY", "grok-3-mini"),
    vendor("together", "openai", "https://api.together.xyz/v1", "TOGETHER_API_KEY", ""),
    vendor("fireworks", "openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY", ""),
    vendor("ollama", "openai", "http://127.0.0.1:11434/v1", "", ""),
    vendor("vllm", "openai", "http://127.0.0.1:8000/v1", "", ""),
    vendor("other", "openai", "", "", ""),
];

/// Returns the names, for a person.
pub fn names() -> String {
    VENDORS.iter().map(|vendor| vendor.name).collect::<Vec<_>>().join(", ")
}

/// Returns the vendor of this name.
pub fn find(name: &str) -> Result<&'static Vendor, String> {
    let found = VENDORS.iter().find(|vendor| vendor.name.eq_ignore_ascii_case(name.trim()));
    found.ok_or_else(|| format!("`{}` is not a vendor that is known here; known are {}", name.trim(), names()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::snapshot::BaseUrl;

    #[test]
    fn each_base_is_valid() {
        for vendor in VENDORS.iter().filter(|vendor| !vendor.base.is_empty()) {
            let mut base = BaseUrl::parse(vendor.base).unwrap();
            assert_eq!(base.correct(vendor.kind == "anthropic"), None, "{}", vendor.name);
        }
    }
}

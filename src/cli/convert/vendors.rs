//! Names that other gateways have for vendors, and where each is reached.

/// A vendor under the name that another gateway has for it.
#[derive(Debug)]
pub(super) struct Vendor {
    pub name: &'static str,
    /// `provider_type`.
    pub kind: &'static str,
    /// Empty: it is in the configuration.
    pub base: &'static str,
    /// Where its key is looked for if none is given.
    pub variable: &'static str,
}

const fn vendor(name: &'static str, kind: &'static str, base: &'static str, variable: &'static str) -> Vendor {
    Vendor { name, kind, base, variable }
}

/// From docs.litellm.ai/docs/providers and docs.getbifrost.ai/providers (2026-11), with the
/// vendors' own documents for the addresses.
pub(super) const VENDORS: &[Vendor] = &[
    vendor("openai", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    vendor("text-completion-openai", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    vendor("anthropic", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    vendor("azure", "azure", "", "AZURE_API_KEY"),
    vendor("azure_ai", "openai", "", "AZURE_AI_API_KEY"),
    vendor("openrouter", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    vendor("gemini", "openai", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    vendor("mistral", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    vendor("groq", "openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    vendor("deepseek", "openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    vendor("xai", "openai", "https://api.x.ai/v1", "XAI_API_KEY"),
    vendor("together_ai", "openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    vendor("fireworks_ai", "openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    vendor("fireworks", "openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    vendor("perplexity", "openai", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    vendor("deepinfra", "openai", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    vendor("nvidia_nim", "openai", "https://integrate.api.nvidia.com/v1", "NVIDIA_NIM_API_KEY"),
    vendor("cerebras", "openai", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    vendor("sambanova", "openai", "https://api.sambanova.ai/v1", "SAMBANOVA_API_KEY"),
    vendor("moonshot", "openai", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    vendor("nebius", "openai", "https://api.studio.nebius.ai/v1", "NEBIUS_API_KEY"),
    vendor("parasail", "openai", "https://api.parasail.io/v1", "PARASAIL_API_KEY"),
    vendor("huggingface", "openai", "https://router.huggingface.co/v1", "HF_TOKEN"),
    vendor("ollama", "openai", "http://127.0.0.1:11434/v1", ""),
    vendor("ollama_chat", "openai", "http://127.0.0.1:11434/v1", ""),
    vendor("lm_studio", "openai", "http://127.0.0.1:1234/v1", ""),
    vendor("hosted_vllm", "openai", "", ""),
    vendor("vllm", "openai", "", ""),
    vendor("sgl", "openai", "", ""),
    vendor("openai_like", "openai", "", ""),
    vendor("custom_openai", "openai", "", ""),
    vendor("litellm_proxy", "openai", "", ""),
];

pub(super) fn find(name: &str) -> Option<&'static Vendor> {
    VENDORS.iter().find(|vendor| vendor.name == name)
}

//! In which of its formats a provider is asked for a model (`docs/internals/translation.md`,
//! "Choice of the provider's format").
//!
//! The client's own format comes first: its bytes pass as they are. If the provider does not offer
//! it, or not for this model, the format follows that keeps most of what such a client says. What a
//! row does not offer is never chosen.

use crate::config::snapshot::Provider;
use llm_wire::Format;
use llm_wire::target::caps::Caps;
use llm_wire::target::quirks::Host;

/// The way to one model at one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetFormat {
    pub format: Format,
    /// What the model can do in this format.
    pub caps: Caps,
    pub thinking_tools: ThinkingTools,
}

/// What becomes of a Chat request that has function tools and lets the model think. The newest
/// models of OpenAI refuse that on Chat Completions (`docs/internals/translation/reasoning.md`,
/// "Tools and thinking on Chat Completions").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingTools {
    /// It is sent as it is.
    Taken,
    /// It goes to the vendor's Responses endpoint.
    OnResponses,
    /// There is no such endpoint: a model that was told no effort is told `none`.
    Unthinking,
}

/// Formats after a client's own, best first.
fn others(client: Format) -> [Format; 2] {
    match client {
        Format::Chat => [Format::Responses, Format::Messages],
        // Responses keeps images in tool results, sealed reasoning and custom tools; Chat has none
        // of them.
        Format::Messages => [Format::Responses, Format::Chat],
        Format::Responses => [Format::Messages, Format::Chat],
    }
}

/// The way to `model` (the upstream's name) for a client of `client`; `None` if there is none.
/// Without `translate` only the client's own format will do.
pub fn reach(client: Format, translate: bool, provider: &Provider, model: &str) -> Option<TargetFormat> {
    let offers = |format: &Format| provider.formats.contains(format);
    if !translate {
        return offers(&client).then(|| TargetFormat::plain(client, provider, model));
    }
    let [second, third] = others(client);
    let offered = || [client, second, third].into_iter().filter(offers);
    // A model that is in none of the formats is asked all the same: the provider knows better.
    let format = offered().find(|format| serves(provider, *format, model)).or_else(|| offered().next())?;
    let mut reach = TargetFormat::plain(format, provider, model);
    if format == Format::Chat && client == Format::Chat && !reach.caps.tools_with_effort_on_chat {
        reach.thinking_tools = match offers(&Format::Responses) {
            true => ThinkingTools::OnResponses,
            false => ThinkingTools::Unthinking,
        };
    }
    Some(reach)
}

impl TargetFormat {
    pub fn plain(format: Format, provider: &Provider, model: &str) -> TargetFormat {
        TargetFormat { format, caps: caps(provider, format, model), thinking_tools: ThinkingTools::Taken }
    }
}

fn caps(provider: &Provider, format: Format, model: &str) -> Caps {
    Caps::for_model(format, provider.dialect.host, model, &provider.dialect.capabilities)
}

/// Whether the provider has the model in this format.
fn serves(provider: &Provider, format: Format, model: &str) -> bool {
    let has = caps(provider, format, model).speaks(format);
    // Asked for its table in one format, a vendor's model says that it has this format. What else
    // it has it says of its main one.
    match (format, provider.dialect.host) {
        (Format::Chat, Host::OpenAi | Host::Azure) => has && caps(provider, Format::Responses, model).chat,
        _ => has,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::compile::compile;
    use crate::config::rows::{ProviderRow, Rows};

    pub fn provider(kind: &str, base: &str, params: &str) -> Provider {
        mapped(kind, base, params, "{}")
    }

    pub fn mapped(kind: &str, base: &str, params: &str, mapping: &str) -> Provider {
        let row = ProviderRow {
            id: 1,
            provider_key: "p".into(),
            provider_type: kind.into(),
            api_base: base.into(),
            api_key: "k".into(),
            model_mapping: mapping.into(),
            weight: 1,
            provider_params: params.into(),
            is_enabled: true,
            ..ProviderRow::default()
        };
        let rows = Rows { version: 1, providers: vec![row], credentials: Vec::new() };
        let (mut snapshot, problems) = compile(&rows, None, &|_| None);
        assert_eq!(problems, [], "{params}");
        std::sync::Arc::into_inner(snapshot.providers.remove(0)).unwrap()
    }

    #[test]
    fn the_table() {
        use Format::{Chat, Messages, Responses};
        let openai = provider("openai", "https://api.openai.com/v1", "{}");
        let compat = provider("openai", "http://localhost:8000/v1", "{}");
        let both = provider("openai", "http://localhost:8000/v1", r#"{"formats":["chat","messages"]}"#);
        let trusted = provider("openai", "http://localhost:8000/v1", r#"{"formats":["chat","responses"]}"#);
        let anthropic = provider("anthropic", "https://api.anthropic.com", "{}");
        let only = provider(
            "openai",
            "http://h/v1",
            r#"{"capabilities":{"families":["chat"]},"formats":["responses","chat"]}"#,
        );
        #[rustfmt::skip]
        let rows = [
            // provider, model, and the format for clients of Chat, Messages, Responses
            (&openai, "gpt-4o", [Chat, Responses, Responses]),
            (&openai, "gpt-5-pro", [Responses, Responses, Responses]),
            (&openai, "gpt-5.2-codex", [Responses, Responses, Responses]),
            (&compat, "qwen3", [Chat, Chat, Chat]),
            (&both, "qwen3", [Chat, Messages, Messages]),
            (&trusted, "qwen3", [Chat, Responses, Responses]),
            (&anthropic, "claude-opus-5", [Messages, Messages, Messages]),
            (&only, "m", [Chat, Chat, Chat]),
        ];
        for (provider, model, expected) in rows {
            for (client, format) in Format::ALL.into_iter().zip(expected) {
                let found = reach(client, true, provider, model).unwrap();
                assert_eq!(found.format, format, "{client} client, {model} of {:?}", provider.formats);
                assert_eq!(found.thinking_tools, ThinkingTools::Taken);
                let own = reach(client, false, provider, model).map(|reach| reach.format);
                assert_eq!(
                    own,
                    provider.formats.contains(&client).then_some(client),
                    "{client}, {model}, untranslated"
                );
            }
        }
    }

    #[test]
    fn tools_with_an_effort_go_where_they_are_taken() {
        let openai = provider("openai", "https://api.openai.com/v1", "{}");
        let chat_only = provider("openai", "https://api.openai.com/v1", r#"{"formats":["chat"]}"#);
        let found = |provider, client, model| reach(client, true, provider, model).unwrap().thinking_tools;
        assert_eq!(found(&openai, Format::Chat, "gpt-5.6"), ThinkingTools::OnResponses);
        assert_eq!(found(&chat_only, Format::Chat, "gpt-5.6"), ThinkingTools::Unthinking);
        assert_eq!(found(&openai, Format::Chat, "gpt-5.1"), ThinkingTools::Taken);
        // A translated request is for its encoder to settle.
        assert_eq!(found(&chat_only, Format::Messages, "gpt-5.6"), ThinkingTools::Taken);
    }
}

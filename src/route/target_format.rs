//! Chooses the format in which a provider gets a request (`docs/internals/translation.md`, "Choice
//! of the provider's format").
//!
//! The client's own format comes first: its bytes pass as they are. If the provider does not offer
//! it, or not for this model, the format follows that keeps most of what such a client sends. A
//! format that the provider's row does not offer is never chosen.

use crate::config::snapshot::Provider;
use llm_wire::Format;
use llm_wire::target::caps::Caps;
use llm_wire::target::quirks::Host;

/// The format for one model at one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetFormat {
    pub format: Format,
    /// The capabilities of the model in this format.
    pub caps: Caps,
    pub thinking_tools: ThinkingTools,
}

/// How a Chat request with function tools and reasoning is sent. The newest models of OpenAI refuse
/// the two together on Chat Completions (`docs/internals/translation/reasoning.md`,
/// "Tools and thinking on Chat Completions").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThinkingTools {
    /// It is sent as it is.
    Accepted,
    /// It is sent to the vendor's Responses endpoint.
    ViaResponses,
    /// There is no such endpoint: without an effort the request gets the effort `none`.
    WithoutReasoning,
}

/// Returns the format of `model` (the upstream model) for a client of format `client`. `None` if
/// there is none; without `translate` only the client's own format will do.
pub fn choose(client: Format, translate: bool, provider: &Provider, model: &str) -> Option<TargetFormat> {
    let offers = |format: &Format| provider.formats.contains(format);
    if !translate {
        return offers(&client).then(|| TargetFormat::plain(client, provider, model));
    }
    let [second, third] = client.profile().fallbacks;
    let offered = || [client, second, third].into_iter().filter(offers);
    // A model that is known in none of the formats is sent all the same: the provider knows better.
    let format = offered().find(|format| serves(provider, *format, model)).or_else(|| offered().next())?;
    let mut target = TargetFormat::plain(format, provider, model);
    let settles = !target.caps.tools_with_effort_on_chat && !provider.dialect.passes_thinking_tools;
    if let Some(other) = format.profile().request.thinking_tools_format.filter(|_| format == client && settles) {
        target.thinking_tools = match offers(&other) {
            true => ThinkingTools::ViaResponses,
            false => ThinkingTools::WithoutReasoning,
        };
    }
    Some(target)
}

impl TargetFormat {
    /// Returns `format` as it is, without a look at the tools of the request.
    pub fn plain(format: Format, provider: &Provider, model: &str) -> TargetFormat {
        TargetFormat { format, caps: caps(provider, format, model), thinking_tools: ThinkingTools::Accepted }
    }
}

fn caps(provider: &Provider, format: Format, model: &str) -> Caps {
    Caps::for_model(format, provider.dialect.host, model, &provider.dialect.capabilities)
}

/// Returns whether the provider serves the model in this format.
fn serves(provider: &Provider, format: Format, model: &str) -> bool {
    let has = caps(provider, format, model).supports(format);
    // The capabilities of a vendor's model in one format include this format. Which other formats
    // it has is in those of its main one.
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

    pub(crate) fn provider(kind: &str, base: &str, params: &str) -> Provider {
        mapped(kind, base, params, "{}")
    }

    pub(crate) fn mapped(kind: &str, base: &str, params: &str, mapping: &str) -> Provider {
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
        let rows = Rows { version: 1, providers: vec![row], ..Rows::default() };
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
                let found = choose(client, true, provider, model).unwrap();
                assert_eq!(found.format, format, "{client} client, {model} of {:?}", provider.formats);
                assert_eq!(found.thinking_tools, ThinkingTools::Accepted);
                let own = choose(client, false, provider, model).map(|target| target.format);
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
        let found = |provider, client, model| choose(client, true, provider, model).unwrap().thinking_tools;
        assert_eq!(found(&openai, Format::Chat, "gpt-5.6"), ThinkingTools::ViaResponses);
        assert_eq!(found(&chat_only, Format::Chat, "gpt-5.6"), ThinkingTools::WithoutReasoning);
        assert_eq!(found(&openai, Format::Chat, "gpt-5.1"), ThinkingTools::Accepted);
        let pass = provider("openai", "https://api.openai.com/v1", r#"{"translation":{"thinking_tools":"pass"}}"#);
        assert_eq!(found(&pass, Format::Chat, "gpt-5.6"), ThinkingTools::Accepted);
        // A translated request is for its encoder to settle.
        assert_eq!(found(&chat_only, Format::Messages, "gpt-5.6"), ThinkingTools::Accepted);
    }
}

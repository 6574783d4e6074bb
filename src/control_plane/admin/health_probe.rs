//! The request of a health check, its model, and the error that it shows.

use serde_json::{Value, json as value};

use crate::config::snapshot::Provider;
use crate::control_plane::http::provider;
use crate::shared::catalog::Lists;
use llm_wire::Format;
use llm_wire::target::caps::Caps;

/// The most characters of a provider's error that are shown.
const MAX_ERROR_CHARS: usize = 500;

/// Returns the models to check: the names of the mapping. For a provider that serves every model it
/// is one of its own list, and where that is not known a common one of its type.
pub(super) fn models_to_check(provider: &Provider, lists: &Lists) -> Vec<String> {
    if !provider.models.serves_all() {
        return provider.models.names().map(str::to_owned).collect();
    }
    if let Some(model) = lists.get(&provider.id).and_then(|list| first_chat_model(list)) {
        return vec![model.to_owned()];
    }
    let kind = provider.provider_type.to_ascii_lowercase();
    let model = match (provider::format(provider), kind.as_str()) {
        (Format::Messages, _) => "claude-3-haiku-20240307",
        (_, "azure") => "gpt-35-turbo",
        _ => "gpt-3.5-turbo",
    };
    vec![model.to_owned()]
}

/// Chooses a model that generates text, from a list that may have models for embeddings, images and
/// audio.
fn first_chat_model(list: &[String]) -> Option<&str> {
    const NOT_CHAT: &[&str] = &[
        "embed",
        "moderation",
        "whisper",
        "tts",
        "dall-e",
        "image",
        "audio",
        "realtime",
        "rerank",
        "transcribe",
        "sora",
        "davinci",
        "babbage",
        "guard",
        "instruct",
        "codex",
        "-pro",
        "deep-research",
        "computer-use",
        "search",
    ];
    let is_not_chat = |model: &&String| NOT_CHAT.iter().any(|other| model.to_ascii_lowercase().contains(other));
    let is_chat = |model: &&String| !is_not_chat(model);
    let small = |model: &&String| ["mini", "haiku", "flash", "small", "lite"].iter().any(|word| model.contains(word));
    let of_those = || list.iter().filter(is_chat);
    of_those().find(small).or_else(|| of_those().next()).or(list.first()).map(String::as_str)
}

/// Makes the shortest request to `model`: its address and headers, and its body.
pub(crate) fn probe_request(provider: &Provider, model: &str) -> Result<(provider::Target, Vec<u8>), String> {
    let name = provider.models.resolve(model).unwrap_or(model.into());
    let messages = || value!([{ "role": "user", "content": "Hi" }]);
    let (path, body) = match provider::format(provider) {
        // At OpenAI, where models that reason refuse the older name, and need room for a thought.
        Format::Chat => {
            let dialect = &provider.dialect;
            let caps = Caps::for_model(Format::Chat, dialect.host, &name, &dialect.capabilities);
            let (limit, most) =
                if caps.max_completion_tokens { ("max_completion_tokens", 16) } else { ("max_tokens", 5) };
            ("/chat/completions", value!({ "model": name, "messages": messages(), limit: most, "stream": false }))
        }
        Format::Messages => {
            ("/messages", value!({ "model": name, "messages": messages(), "max_tokens": 5, "stream": false }))
        }
        // 16 is the least that OpenAI takes (platform.openai.com, "Create a model response",
        // 2026-11).
        Format::Responses => {
            ("/responses", value!({ "model": name, "input": messages(), "max_output_tokens": 16, "stream": false }))
        }
    };
    Ok((provider::target(provider, path, Some(&name), "")?, body.to_string().into_bytes()))
}

/// Returns the provider's own message. One about its key is left out, since it may quote the key.
pub(crate) fn failure_message(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let message = body.pointer("/error/message").or_else(|| body.get("error")).or_else(|| body.get("message"));
    let Some(message) = message.and_then(Value::as_str) else { return format!("HTTP {status}") };
    let lower = message.to_lowercase();
    if lower.contains("api") && lower.contains("key") {
        return "Authentication error".to_owned();
    }
    format!("HTTP {status} - {}", message.chars().take(MAX_ERROR_CHARS).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_errors_are_shortened_and_hide_keys() {
        let rows = [
            (400, r#"{"error":{"message":"no such model"}}"#, "HTTP 400 - no such model"),
            (401, r#"{"error":{"message":"Incorrect API key provided: sk-1"}}"#, "Authentication error"),
            (500, r#"{"error":"broken"}"#, "HTTP 500 - broken"),
            (502, "<html>", "HTTP 502"),
            (503, "{}", "HTTP 503"),
        ];
        for (status, body, expected) in rows {
            assert_eq!(failure_message(status, body.as_bytes()), expected);
        }
    }
}

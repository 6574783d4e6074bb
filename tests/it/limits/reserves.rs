//! What a budget reserves is the most that a request may cost, also where its price depends on what
//! the request does at the provider.

use llm_proxy::config::rows::ProviderRow;
use serde_json::{Value, json};

use super::budgets::{DOLLAR, answer_using, budget};
use super::*;

/// A provider whose only dear thing is the one that `price` names.
fn dear(kind: &str, fake: &Fake, price: &Value) -> ProviderRow {
    let mut mapping = json!({ "mapped_model": "m", "input_cost_per_token": 1e-9, "output_cost_per_token": 1e-9 });
    mapping.as_object_mut().unwrap().extend(price.as_object().unwrap().clone());
    let base = if kind == "openai" { fake.url("/v1") } else { fake.url("") };
    ProviderRow { model_mapping: json!({ "m": mapping }).to_string(), ..provider("p", kind, &base) }
}

fn messages_answer() -> String {
    let usage = json!({ "input_tokens": 3, "output_tokens": 1 });
    let content = json!([{ "type": "text", "text": "hi" }]);
    let body = json!({ "id": "m", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "end_turn", "stop_sequence": null, "usage": usage });
    body.to_string()
}

#[test]
fn what_the_provider_may_do_by_itself_is_reserved() {
    let chat = |more: Value| {
        let mut body = json!({ "model": "m", "max_tokens": 5, "messages": [{ "role": "user", "content": "hello" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let search = |kind: &str, uses: Value| {
        let tool = json!({ "type": kind, "name": "web_search", "max_uses": uses });
        chat(json!({ "tools": [tool] }))
    };
    let write = json!({ "cache_creation_input_token_cost": 1.0 });
    let hour = json!({ "cache_creation_input_token_cost_above_1hr": 1.0 });
    let fee = json!({ "search_context_cost_per_query": { "search_context_size_low": 0.25 } });
    let marked = json!([{ "role": "user", "content": [
        { "type": "text", "text": "hello", "cache_control": { "type": "ephemeral", "ttl": "1h" } }
    ] }]);
    let (openai, anthropic) = ("openai", "anthropic");
    let rows = [
        // The gateway marks the prompt for a Chat client, and a provider may cache by itself.
        (sample::CHAT.path, anthropic, &write, chat(json!({})), 402),
        (sample::CHAT.path, openai, &write, chat(json!({})), 402),
        (sample::MESSAGES.path, anthropic, &write, chat(json!({})), 402),
        (sample::CHAT.path, anthropic, &json!({}), chat(json!({})), 200),
        // Nobody but the client has it written for an hour.
        (sample::MESSAGES.path, anthropic, &hour, chat(json!({})), 200),
        (sample::MESSAGES.path, anthropic, &hour, chat(json!({ "messages": marked })), 402),
        // As many searches as the request allows, or ten.
        (sample::MESSAGES.path, anthropic, &fee, search("web_search_20250305", json!(3)), 200),
        (sample::MESSAGES.path, anthropic, &fee, search("web_search_20250305", json!(5)), 402),
        (sample::MESSAGES.path, anthropic, &fee, search("web_search_20250305", Value::Null), 402),
        (sample::CHAT.path, openai, &fee, chat(json!({ "web_search_options": {} })), 402),
        (sample::CHAT.path, openai, &fee, chat(json!({})), 200),
    ];
    for (path, kind, price, body, expected) in rows {
        let answer = if kind == "openai" { answer_using(3, 1) } else { messages_answer() };
        let fake = Fake::answering(move |_| answer::json(200, &answer));
        let gateway = Setup::new().provider(dear(kind, &fake, price)).budget(budget("b", "credential", KEY, DOLLAR));
        let gateway = gateway.start();
        let mut client = gateway.client();
        client.send(post(path).key(KEY).body(body.to_string()).bytes());
        let response = client.response();
        assert_eq!(response.status, expected, "{path} to {kind}, {price}, {body}: {}", response.text());
        assert_eq!(fake.requests().len(), usize::from(expected == 200), "{path} to {kind}, {price}, {body}");
    }
}

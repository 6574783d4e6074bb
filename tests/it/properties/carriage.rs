//! Reasoning that visits a foreign client comes home as it left: a loop of five turns with a tool
//! in each.

use llm_wire::Format;
use llm_wire::json::RawValue;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::{self, Translator};
use serde_json::{Value, json};

use crate::fixtures::directions;

const TURNS: usize = 5;

fn target(provider: Format, account: &str) -> Target<'_> {
    let (host, model) = match provider {
        Format::Messages => (Host::Anthropic, "claude-opus-5"),
        Format::Chat | Format::Responses => (Host::OpenAi, "gpt-5.2"),
    };
    Target::new(provider, host, model, account, &Overrides::default())
}

/// The provider's reasoning of a turn, as it must come back; and its answer with a call.
fn answer(provider: Format, n: usize) -> (Vec<Value>, Value) {
    let thought = format!("Turn {n}:\n\"think\" é\u{1f600} ");
    match provider {
        Format::Messages => {
            let thinking = json!({"type": "thinking", "thinking": thought, "signature": format!("c2ln+/{n}==")});
            let redacted = json!({"type": "redacted_thinking", "data": format!("cmVk{n}")});
            let native = if n.is_multiple_of(2) { vec![thinking, redacted] } else { vec![thinking] };
            let call = json!({"type": "tool_use", "id": format!("toolu_{n}"), "name": "f", "input": {"n": n}});
            let content: Vec<Value> = native.iter().cloned().chain([call]).collect();
            (
                native,
                json!({"id": "msg", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "tool_use", "usage": {"input_tokens": 1, "output_tokens": 1}}),
            )
        }
        Format::Chat | Format::Responses => {
            let summary = json!([{"type": "summary_text", "text": thought}]);
            let native = json!({"type": "reasoning", "summary": summary, "encrypted_content": format!("gAAA+/{n}==")});
            let mut item = native.clone();
            item["id"] = json!(format!("rs_{n}"));
            let call = json!({"type": "function_call", "id": "fc", "status": "completed", "call_id": format!("call_{n}"), "name": "f", "arguments": "{}"});
            (
                vec![native],
                json!({"id": "resp", "object": "response", "status": "completed", "model": "m", "output": [item, call], "usage": {"input_tokens": 1, "output_tokens": 1}}),
            )
        }
    }
}

/// What of the sent request is reasoning.
fn reasoning(provider: Format, sent: &Value) -> Vec<Value> {
    let is_reasoning =
        |value: &&Value| matches!(value["type"].as_str(), Some("thinking" | "redacted_thinking" | "reasoning"));
    let list = match provider {
        Format::Messages => sent["messages"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|message| message["content"].as_array().into_iter().flatten())
            .filter(is_reasoning)
            .cloned()
            .collect(),
        Format::Chat | Format::Responses => {
            sent["input"].as_array().unwrap().iter().filter(is_reasoning).cloned().collect::<Vec<_>>()
        }
    };
    assert!(!sent.to_string().contains("llmp1."), "an envelope went upstream");
    list
}

fn opening(client: Format) -> Value {
    match client {
        Format::Chat => {
            json!({"model": "asked", "reasoning_effort": "high", "messages": [{"role": "user", "content": "Go"}], "tools": [{"type": "function", "function": {"name": "f"}}]})
        }
        Format::Messages => {
            json!({"model": "asked", "max_tokens": 9000, "thinking": {"type": "adaptive"}, "messages": [{"role": "user", "content": "Go"}], "tools": [{"name": "f", "input_schema": {"type": "object"}}]})
        }
        Format::Responses => {
            json!({"model": "asked", "reasoning": {"effort": "high", "summary": "auto"}, "store": false, "include": ["reasoning.encrypted_content"], "input": [{"role": "user", "content": "Go"}], "tools": [{"type": "function", "name": "f", "parameters": null, "strict": false}]})
        }
    }
}

/// What a client does with an answer: it keeps it, and adds the results of the calls.
fn append(client: Format, history: &mut Value, shown: &Value) {
    match client {
        Format::Chat => {
            let message = shown["choices"][0]["message"].clone();
            let id = message["tool_calls"][0]["id"].clone();
            let messages = history["messages"].as_array_mut().unwrap();
            messages.extend([message, json!({"role": "tool", "tool_call_id": id, "content": "done"})]);
        }
        Format::Messages => {
            let content = shown["content"].clone();
            let id =
                content.as_array().unwrap().iter().find(|block| block["type"] == "tool_use").unwrap()["id"].clone();
            let result =
                json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "done"}]});
            let messages = history["messages"].as_array_mut().unwrap();
            messages.extend([json!({"role": "assistant", "content": content}), result]);
        }
        Format::Responses => {
            let output = shown["output"].as_array().unwrap().clone();
            let id = output.iter().find(|item| item["type"] == "function_call").unwrap()["call_id"].clone();
            let input = history["input"].as_array_mut().unwrap();
            input.extend(output);
            input.push(json!({"type": "function_call_output", "call_id": id, "output": "done"}));
        }
    }
}

fn sent(client: Format, provider: Format, account: &str, history: &Value) -> (Plan, Value, bool) {
    let cx = Context::new(target(provider, account), "asked");
    let encoded = translate::request(client, history.to_string().as_bytes(), &cx).unwrap();
    let body = serde_json::from_slice(&encoded.body).unwrap();
    let repaired = encoded.ledger.repaired_header().is_some();
    (encoded.plan, body, repaired)
}

/// Also the reasoning parts of 12, 15 and 16.
#[test]
fn reasoning_returns_to_the_account_that_made_it() {
    for (client, provider) in directions().filter(|(_, provider)| *provider != Format::Chat) {
        let (mut history, mut native) = (opening(client), Vec::new());
        for n in 0..TURNS {
            let (plan, body, repaired) = sent(client, provider, "p", &history);
            assert_eq!(reasoning(provider, &body), native, "{client} to {provider}, turn {n}");
            assert!(!repaired);
            let (own, answer) = answer(provider, n);
            native.extend(own);
            let mut translator = Translator::new(Reply::new(
                Plan { stream: false, ..plan },
                Box::new(SequentialIds(n as u64 * 100)),
                "r",
            ));
            let mut out = Vec::new();
            translator.body(answer.to_string().as_bytes(), &mut out).unwrap();
            assert!(RawValue::parse(&out).is_ok());
            append(client, &mut history, &serde_json::from_slice(&out).unwrap());
        }
        assert_eq!(reasoning(provider, &sent(client, provider, "p", &history).1), native);
        reasoning_goes_to_no_other_account(client, provider, &history);
    }
}

/// Another account or vendor, or a state that was tampered with: the request goes, without it.
fn reasoning_goes_to_no_other_account(client: Format, provider: Format, history: &Value) {
    let (_, body, repaired) = sent(client, provider, "another account", history);
    assert!(reasoning(provider, &body).is_empty() && repaired, "{client} to {provider}");
    for other in
        Format::ALL.into_iter().filter(|other| *other != client && *other != provider && *other != Format::Chat)
    {
        assert!(reasoning(other, &sent(client, other, "p", history).1).is_empty(), "{client} to {other}");
    }
    let text = history.to_string();
    let at = text.find("llmp1.").unwrap();
    for tampered in [text.replacen("llmp1.", "llmp2.", 1), [&text[..at + 30], &text[at + 40..]].concat()] {
        let Ok(history) = serde_json::from_str::<Value>(&tampered) else { continue };
        let cx = Context::new(target(provider, "p"), "asked");
        let sent = translate::request(client, history.to_string().as_bytes(), &cx).unwrap();
        let sent = String::from_utf8(sent.body).unwrap();
        assert!(!sent.contains("llmp1.") && !sent.contains("llmp2."), "{client} to {provider}: {sent}");
    }
}

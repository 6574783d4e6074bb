//! Requests that a vendor refuses as they are, or whose turns would vanish.

use llm_wire::Format;
use llm_wire::error::Error;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Policy, PrefillPolicy, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::{self, Encoded};
use serde_json::{Value, json};

use crate::support::{PAIRS, request, try_request, vendor, whole};

/// A conversation of these roles and texts.
fn conversation(format: Format, turns: &[(&str, Value)]) -> Value {
    let list: Vec<Value> = turns.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
    let mut body = json!({"model": "m", if format == Format::Responses { "input" } else { "messages" }: list});
    if format == Format::Messages {
        body["max_tokens"] = json!(100);
    }
    body
}

fn with_tool(format: Format, schema: &Value) -> Value {
    let mut body = conversation(format, &[("user", json!("hi"))]);
    body["tools"] = match format {
        Format::Chat => json!([{"type": "function", "function": {"name": "f", "parameters": schema}}]),
        Format::Messages => json!([{"name": "f", "input_schema": schema}]),
        Format::Responses => json!([{"type": "function", "name": "f", "parameters": schema}]),
    };
    body
}

#[test]
fn openai_gets_properties_in_every_schema() {
    let schemas = [
        json!({"type": "object"}),
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}),
        json!({"type": "object", "additionalProperties": false}),
        json!({"type": "object", "required": []}),
        json!({"type": "object", "properties": null}),
        json!({"type": "object", "properties": {}}),
    ];
    for (from, to) in PAIRS.into_iter().filter(|(_, to)| *to != Format::Messages) {
        for schema in &schemas {
            let sent = request(from, to, &with_tool(from, schema));
            let tool = &sent["tools"][0];
            let got = if to == Format::Chat { &tool["function"]["parameters"] } else { &tool["parameters"] };
            let mut expected = schema.clone();
            expected["properties"] = json!({});
            assert_eq!(*got, expected, "{from} to {to}");
        }
    }
    // Roots that no vendor takes.
    let odd = [
        (json!({"type": ["object", "null"]}), json!({"type": "object"})),
        (json!({"type": "object", "properties": []}), json!({"type": "object", "properties": {}})),
        (json!({"type": "object", "properties": null, "required": null}), json!({"type": "object", "properties": {}})),
        (json!({"type": null, "description": "none"}), json!({"type": "object", "description": "none"})),
    ];
    for (from, to) in PAIRS {
        for (schema, expected) in &odd {
            let sent = request(from, to, &with_tool(from, schema));
            let tool = &sent["tools"][0];
            let got = match to {
                Format::Chat => &tool["function"]["parameters"],
                Format::Messages => &tool["input_schema"],
                Format::Responses => &tool["parameters"],
            };
            let mut expected = expected.clone();
            if to != Format::Messages {
                expected["properties"] = json!({});
            }
            assert_eq!(*got, expected, "{from} to {to} {schema}");
        }
    }
    // Strict tools of Messages have a type too.
    let mut strict = with_tool(Format::Chat, &json!({"additionalProperties": false}));
    strict["tools"][0]["function"]["strict"] = json!(true);
    let sent = request(Format::Chat, Format::Messages, &strict);
    assert_eq!(sent["tools"][0]["input_schema"], json!({"type": "object", "additionalProperties": false}));
    // Nothing of a schema that is whole is touched.
    let whole = json!({"type": "object", "properties": {"a": {"type": "object"}}});
    let sent = request(Format::Messages, Format::Chat, &with_tool(Format::Messages, &whole));
    assert_eq!(sent["tools"][0]["function"]["parameters"], whole);
}

/// A choice at the root, which Anthropic and OpenAI refuse.
#[test]
fn a_choice_at_the_root_of_a_schema_is_sent_as_properties() {
    let schema = json!({ "oneOf": [
        { "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] },
        { "type": "object", "properties": { "b": { "type": "number" } }, "required": ["b"] },
    ] });
    let properties = json!({ "a": { "type": "string" }, "b": { "type": "number" } });
    let mut asked = with_tool(Format::Chat, &schema);
    asked["tools"][0]["function"]["strict"] = json!(true);
    let sent = request(Format::Chat, Format::Messages, &asked);
    let tool = &sent["tools"][0];
    assert_eq!((&tool["input_schema"]["properties"], &tool["input_schema"]["type"]), (&properties, &json!("object")));
    assert_eq!((&tool["input_schema"]["oneOf"], &tool["strict"]), (&Value::Null, &json!(false)));
    let shown = tool["input_schema"]["description"].as_str().unwrap();
    assert!(shown.starts_with("(oneOf: [{") && shown.contains(r#""required":["a"]"#), "{shown}");
    let sent = request(Format::Messages, Format::Chat, &with_tool(Format::Messages, &schema));
    let parameters = &sent["tools"][0]["function"]["parameters"];
    assert_eq!((&parameters["properties"], &parameters["oneOf"]), (&properties, &Value::Null));
}

/// The role and the text of the last message.
fn last(format: Format, sent: &Value) -> (String, String) {
    let list = &sent[if format == Format::Responses { "input" } else { "messages" }];
    let last = list.as_array().unwrap().last().unwrap();
    let content = &last["content"];
    let text = content.as_str().or_else(|| content[0]["text"].as_str()).unwrap_or_default();
    (last["role"].as_str().unwrap().to_owned(), text.to_owned())
}

#[test]
fn an_empty_turn_of_the_user_stays_a_turn() {
    for (from, to) in PAIRS {
        let mut empty = vec![json!(""), json!([])];
        if from == Format::Messages {
            empty.push(json!([{"type": "text", "text": " "}]));
        }
        for content in empty {
            let before = [("user", json!("a")), ("assistant", json!("b"))];
            let short: Vec<_> = before.iter().cloned().chain([("user", content.clone())]).collect();
            let encoded = try_request(from, vendor(to), &conversation(from, &short)).unwrap();
            let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
            let (role, text) = last(to, &sent);
            assert_eq!(role, "user", "{from} to {to}: {sent}");
            if to == Format::Messages {
                assert!(!text.trim().is_empty(), "the vendor refuses blank text");
                assert_eq!(encoded.ledger.repaired_header().as_deref().map(|h| h.contains("blank_text")), Some(true));
            }
            // What was sent is the beginning of what is sent next.
            let long: Vec<_> = short.iter().cloned().chain([("assistant", json!("c")), ("user", json!("d"))]).collect();
            let next = request(from, to, &conversation(from, &long));
            let list = |sent: &Value| sent[if to == Format::Responses { "input" } else { "messages" }].clone();
            let (first, next) = (list(&sent), list(&next));
            let n = first.as_array().unwrap().len();
            assert_eq!(next.as_array().unwrap()[..n], first.as_array().unwrap()[..], "{from} to {to}");
        }
    }
}

/// Every message of the user that goes is named, once.
#[test]
fn an_empty_message_of_the_user_is_named() {
    for from in [Format::Chat, Format::Responses] {
        for content in [json!(""), json!(" \n"), json!([])] {
            for turns in [
                vec![("user", json!("a")), ("user", content.clone()), ("user", json!("c"))],
                vec![("user", json!("a")), ("assistant", json!("b")), ("user", content.clone())],
                vec![("user", json!("a")), ("assistant", json!("b")), ("user", content.clone()), ("user", json!("c"))],
            ] {
                let encoded = try_request(from, vendor(Format::Messages), &conversation(from, &turns)).unwrap();
                assert_eq!(encoded.ledger.repaired_header().as_deref(), Some("blank_text=1"), "{from} {turns:?}");
            }
        }
    }
}

#[test]
fn a_conversation_without_messages_is_refused() {
    for (from, to) in PAIRS {
        let error = try_request(from, vendor(to), &conversation(from, &[])).unwrap_err();
        let list = if from == Format::Responses { "input" } else { "messages" };
        assert_eq!((error.kind.row().status, error.param.as_deref()), (400, Some(list)), "{from} to {to}");
    }
    let system = json!({"model": "m", "messages": [{"role": "system", "content": "s"}]});
    assert!(try_request(Format::Chat, vendor(Format::Messages), &system).is_ok(), "a system prompt is a message");
}

fn prefilled(from: Format, target: Target<'_>, prefill: PrefillPolicy) -> Result<Encoded, Error> {
    let body = conversation(from, &[("user", json!("q")), ("assistant", json!("The answer"))]);
    let policy = Policy { prefill, ..Policy::default() };
    translate::request(from, body.to_string().as_bytes(), &Context { policy, ..Context::new(target, "m") })
}

#[test]
fn a_last_message_of_the_assistant_is_passed_on() {
    for (from, to) in PAIRS.into_iter().filter(|(_, to)| *to != Format::Messages) {
        let encoded = prefilled(from, vendor(to), PrefillPolicy::Pass).unwrap();
        let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
        assert_eq!(last(to, &sent), ("assistant".into(), "The answer".into()), "{from} to {to}");
        assert!(encoded.ledger.is_empty(), "{from} to {to}");
        let refused = prefilled(from, vendor(to), PrefillPolicy::Reject).unwrap_err();
        assert_eq!(refused.code, Some("prefill_unsupported"));
        let hint = prefilled(from, vendor(to), PrefillPolicy::Hint).unwrap();
        assert_eq!(last(to, &serde_json::from_slice(&hint.body).unwrap()).0, "user");
    }
    // Known to refuse it: newer Claude models, and Mistral.
    let claude = Target::new(Format::Messages, Host::Anthropic, "claude-opus-4-6", "p", &Overrides::default());
    let mistral = Target::new(Format::Chat, Host::Mistral, "mistral-large", "p", &Overrides::default());
    for (from, target) in [(Format::Chat, claude), (Format::Messages, mistral)] {
        let error = prefilled(from, target, PrefillPolicy::Pass).unwrap_err();
        assert_eq!(error.code, Some("prefill_unsupported"));
        assert!(error.note.contains(target.model) && error.note.contains("hint"), "{}", error.note);
    }
}

/// Clients that serve both APIs of OpenAI mix the names of parts up.
#[test]
fn parts_under_the_names_of_responses_are_read() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "input_text", "text": "What is it?"},
        {"type": "input_image", "image_url": "https://x.test/y.png"}]}]});
    let sent = request(Format::Chat, Format::Messages, &body);
    let parts = &sent["messages"][0]["content"];
    assert_eq!(
        (&parts[0]["text"], &parts[1]["source"]["url"]),
        (&json!("What is it?"), &json!("https://x.test/y.png"))
    );
}

/// A stream shows arguments as they come, also those that are no object, and the clients' SDKs make
/// of them what they are. The next request has them as the model wrote them.
#[test]
fn arguments_that_were_no_object_come_back() {
    let rows = [
        (json!([1, "x"]), r#"[1,"x"]"#),
        (json!("{\"q\": "), r#"{"q": "#),
        (json!(7), "7"),
        (json!({"q": 1}), r#"{"q":1}"#),
    ];
    for (input, expected) in rows {
        let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": input}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "r"}]}]});
        let chat = request(Format::Messages, Format::Chat, &body);
        assert_eq!(chat["messages"][1]["tool_calls"][0]["function"]["arguments"], expected);
        let responses = request(Format::Messages, Format::Responses, &body);
        assert_eq!(responses["input"][1]["arguments"], expected);
    }
}

/// The answer was cut while the model reasoned. OpenAI refuses reasoning that nothing follows.
#[test]
fn reasoning_that_nothing_follows_is_left_out() {
    let cut = json!({
        "id": "resp_1", "object": "response", "status": "incomplete", "model": "m",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ENC"}],
        "usage": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    });
    let seen: Value = serde_json::from_str(&whole(Format::Responses, Format::Chat, &cut).raw).unwrap();
    let cut = &seen["choices"][0]["message"];
    let (user, text) = (json!({"role": "user", "content": "go on"}), json!({"role": "assistant", "content": "a"}));
    let rows = [
        (vec![cut.clone()], false),
        (vec![cut.clone(), user.clone()], false),
        (vec![cut.clone(), json!({"role": "system", "content": "s"}), text.clone()], false),
        (vec![cut.clone(), text.clone()], true),
        (vec![cut.clone(), cut.clone(), text, user], true),
    ];
    for (turns, stays) in rows {
        let turns: Vec<Value> = [json!({"role": "user", "content": "hi"})].into_iter().chain(turns).collect();
        let sent = request(Format::Chat, Format::Responses, &json!({"model": "m", "messages": turns}));
        let kinds: Vec<&str> =
            sent["input"].as_array().unwrap().iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(kinds.contains(&"reasoning"), stays, "{kinds:?}");
        assert_ne!(kinds.last(), Some(&"reasoning"));
    }
}

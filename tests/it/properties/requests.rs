//! Laws of requests: there and back again nothing is lost that both formats can say, and a longer
//! conversation begins with the bytes of the shorter one.

use llm_wire::Format;
use llm_wire::canonical::loss::Repair;
use llm_wire::json::RawValue;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::{self, Encoded};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures::directions;

/// What all three formats can say.
#[derive(Debug, Clone)]
struct Conversation {
    system: Option<String>,
    turns: Vec<Turn>,
    last: Vec<UserPart>,
    temperature: Option<u8>,
    choice: Choice,
    parallel: Option<bool>,
    schema: bool,
    stops: usize,
}

#[derive(Debug, Clone)]
struct Turn {
    user: Vec<UserPart>,
    assistant: Option<String>,
    /// Input and result of each call, and whether the result is an error.
    calls: Vec<(Value, String, bool)>,
}

#[derive(Debug, Clone)]
enum UserPart {
    Text(String),
    ImageUrl(u8),
    ImageData(u8),
}

#[derive(Debug, Clone, Copy)]
enum Choice {
    Auto,
    Required,
    None,
    Named,
}

const TOOL: &str = "get_it";
const SCHEMA: &str = r#"{"type":"object","properties":{"q":{"type":"string"},"n":{"type":"number"}},"required":["q","n"],"additionalProperties":false}"#;
const STOPS: [&str; 4] = ["END", "\nQ:", "é", "\"x\""];

fn conversation() -> impl Strategy<Value = Conversation> {
    let text = "[a-z\"\\\\é\u{1f600}][ -~\n]{0,12}[a-z.]";
    let parts_of_user = prop_oneof![
        4 => text.prop_map(UserPart::Text),
        1 => any::<u8>().prop_map(UserPart::ImageUrl),
        1 => any::<u8>().prop_map(UserPart::ImageData),
    ];
    let input =
        (text, -5i64..1_000_000_000_000).prop_map(|(q, n)| json!({"q": q, "n": n, "deep": [{"a": null, "b": [true]}]}));
    let calls = prop::collection::vec((input, text, any::<bool>()), 0..3);
    let user = prop::collection::vec(parts_of_user, 1..3);
    let turn = (user.clone(), prop::option::of(text), calls).prop_map(|(user, assistant, calls)| {
        // A turn of the assistant says something.
        let assistant = assistant.or_else(|| calls.is_empty().then(|| "Yes.".to_owned()));
        Turn { user, assistant, calls }
    });
    let choice = prop::sample::select(vec![Choice::Auto, Choice::Required, Choice::None, Choice::Named]);
    let settings = (prop::option::of(0u8..=10), choice, prop::option::of(any::<bool>()), any::<bool>(), 0usize..=4);
    (prop::option::of(text), prop::collection::vec(turn, 0..4), user, settings).prop_map(
        |(system, turns, last, (temperature, choice, parallel, schema, stops))| Conversation {
            system,
            turns,
            last,
            temperature,
            choice,
            // Without a choice there is no place for the switch in Messages.
            parallel: parallel.filter(|_| !matches!(choice, Choice::None)),
            schema,
            stops,
        },
    )
}

fn image(n: &u8) -> String {
    format!("https://pictures.example/{n}.png?a=1&b=%20")
}

fn data(n: &u8) -> String {
    format!("iVBORw0KGgo{}=", ["A", "B+", "C/"][usize::from(*n) % 3])
}

/// Numbers the calls of a conversation.
fn call_ids(turns: &[Turn]) -> Vec<Vec<String>> {
    let mut n = 0;
    let mut next = |_| {
        n += 1;
        format!("call_{n}")
    };
    turns.iter().map(|turn| turn.calls.iter().map(&mut next).collect()).collect()
}

impl Conversation {
    fn said_in(&self, format: Format) -> String {
        match format {
            Format::Chat => self.chat(),
            Format::Messages => self.messages(),
            Format::Responses => self.responses(),
        }
        .to_string()
    }

    fn chat(&self) -> Value {
        let part = |parts_of_user: &UserPart| match parts_of_user {
            UserPart::Text(text) => json!({"type": "text", "text": text}),
            UserPart::ImageUrl(n) => json!({"type": "image_url", "image_url": {"url": image(n)}}),
            UserPart::ImageData(n) => {
                json!({"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{}", data(n))}})
            }
        };
        let user = |parts_of_user: &[UserPart]| json!({"role": "user", "content": parts_of_user.iter().map(part).collect::<Vec<_>>()});
        let mut messages: Vec<Value> = self.system.iter().map(|s| json!({"role": "system", "content": s})).collect();
        for (turn, ids) in self.turns.iter().zip(call_ids(&self.turns)) {
            messages.push(user(&turn.user));
            let mut assistant = json!({"role": "assistant", "content": turn.assistant});
            let call = |((input, ..), id): (&(Value, String, bool), &String)| json!({"id": id, "type": "function", "function": {"name": TOOL, "arguments": input.to_string()}});
            if !ids.is_empty() {
                assistant["tool_calls"] = turn.calls.iter().zip(&ids).map(call).collect();
            }
            messages.push(assistant);
            for ((_, result, failed), id) in turn.calls.iter().zip(&ids) {
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": marked(result, *failed)}));
            }
        }
        messages.push(user(&self.last));
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut body = json!({"model": "asked", "messages": messages, "tools": [{"type": "function", "function": {"name": TOOL, "description": "Gets it.", "parameters": schema}}]});
        body["tool_choice"] = match self.choice {
            Choice::Auto => json!("auto"),
            Choice::Required => json!("required"),
            Choice::None => json!("none"),
            Choice::Named => json!({"type": "function", "function": {"name": TOOL}}),
        };
        if self.schema {
            body["response_format"] =
                json!({"type": "json_schema", "json_schema": {"name": "response", "schema": schema, "strict": true}});
        }
        if self.stops > 0 {
            body["stop"] = json!(STOPS[..self.stops]);
        }
        self.settings(&mut body, "parallel_tool_calls");
        body
    }

    fn settings(&self, body: &mut Value, parallel: &str) {
        if let Some(tenths) = self.temperature {
            body["temperature"] = json!(f64::from(tenths) / 10.0);
        }
        if let Some(on) = self.parallel {
            body[parallel] = json!(on);
        }
    }

    fn messages(&self) -> Value {
        let part = |parts_of_user: &UserPart| match parts_of_user {
            UserPart::Text(text) => json!({"type": "text", "text": text}),
            UserPart::ImageUrl(n) => json!({"type": "image", "source": {"type": "url", "url": image(n)}}),
            UserPart::ImageData(n) => {
                json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data(n)}})
            }
        };
        let mut messages: Vec<Value> = Vec::new();
        let mut owed: Vec<Value> = Vec::new();
        for (turn, ids) in self.turns.iter().zip(call_ids(&self.turns)) {
            owed.extend(turn.user.iter().map(part));
            messages.push(json!({"role": "user", "content": std::mem::take(&mut owed)}));
            let text = turn.assistant.iter().map(|text| json!({"type": "text", "text": text}));
            let calls = turn
                .calls
                .iter()
                .zip(&ids)
                .map(|((input, ..), id)| json!({"type": "tool_use", "id": id, "name": TOOL, "input": input}));
            messages.push(json!({"role": "assistant", "content": text.chain(calls).collect::<Vec<_>>()}));
            for ((_, result, failed), id) in turn.calls.iter().zip(&ids) {
                let mut result = json!({"type": "tool_result", "tool_use_id": id, "content": result});
                if *failed {
                    result["is_error"] = json!(true);
                }
                owed.push(result);
            }
        }
        owed.extend(self.last.iter().map(part));
        messages.push(json!({"role": "user", "content": owed}));
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut choice = match self.choice {
            Choice::Auto => json!({"type": "auto"}),
            Choice::Required => json!({"type": "any"}),
            Choice::None => json!({"type": "none"}),
            Choice::Named => json!({"type": "tool", "name": TOOL}),
        };
        if let Some(on) = self.parallel {
            choice["disable_parallel_tool_use"] = json!(!on);
        }
        let mut body = json!({"model": "asked", "max_tokens": 500, "messages": messages, "tool_choice": choice, "tools": [{"name": TOOL, "description": "Gets it.", "input_schema": schema}]});
        if let Some(system) = &self.system {
            body["system"] = json!(system);
        }
        if self.schema {
            body["output_config"] = json!({"format": {"type": "json_schema", "schema": schema}});
        }
        if self.stops > 0 {
            body["stop_sequences"] = json!(STOPS[..self.stops]);
        }
        if let Some(tenths) = self.temperature {
            body["temperature"] = json!(f64::from(tenths) / 10.0);
        }
        body
    }

    fn responses(&self) -> Value {
        let part = |parts_of_user: &UserPart| match parts_of_user {
            UserPart::Text(text) => json!({"type": "input_text", "text": text}),
            UserPart::ImageUrl(n) => json!({"type": "input_image", "image_url": image(n), "detail": "auto"}),
            UserPart::ImageData(n) => {
                json!({"type": "input_image", "image_url": format!("data:image/png;base64,{}", data(n)), "detail": "auto"})
            }
        };
        let user = |parts_of_user: &[UserPart]| json!({"type": "message", "role": "user", "content": parts_of_user.iter().map(part).collect::<Vec<_>>()});
        let mut input: Vec<Value> = Vec::new();
        for (turn, ids) in self.turns.iter().zip(call_ids(&self.turns)) {
            input.push(user(&turn.user));
            input.extend(turn.assistant.iter().map(|text| json!({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]})));
            input.extend(turn.calls.iter().zip(&ids).map(|((call, ..), id)| json!({"type": "function_call", "call_id": id, "name": TOOL, "arguments": call.to_string()})));
            input.extend(turn.calls.iter().zip(&ids).map(|((_, result, failed), id)| json!({"type": "function_call_output", "call_id": id, "output": marked(result, *failed)})));
        }
        input.push(user(&self.last));
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let mut body = json!({"model": "asked", "input": input, "tools": [{"type": "function", "name": TOOL, "description": "Gets it.", "parameters": schema, "strict": false}]});
        if let Some(system) = &self.system {
            body["instructions"] = json!(system);
        }
        body["tool_choice"] = match self.choice {
            Choice::Auto => json!("auto"),
            Choice::Required => json!("required"),
            Choice::None => json!("none"),
            Choice::Named => json!({"type": "function", "name": TOOL}),
        };
        if self.schema {
            body["text"] =
                json!({"format": {"type": "json_schema", "name": "response", "schema": schema, "strict": true}});
        }
        self.settings(&mut body, "parallel_tool_calls");
        body
    }
}

fn marked(result: &str, failed: bool) -> String {
    if failed { format!("[tool_error] {result}") } else { result.to_owned() }
}

fn encoded(client: Format, provider: Format, body: &str) -> Encoded {
    let (host, model) = match provider {
        Format::Messages => (Host::Anthropic, "claude-opus-4-6"),
        Format::Chat | Format::Responses => (Host::OpenAi, "gpt-4o"),
    };
    let target = Target::new(provider, host, model, "p", &Overrides::default());
    let done = translate::request(client, body.as_bytes(), &Context::new(target, "asked"));
    done.unwrap_or_else(|error| panic!("{client} to {provider}: {error:?}\n{body}"))
}

/// Writes the meaning of a body in lines that are the same for all formats.
fn facts(format: Format, body: &str) -> Vec<String> {
    let body: Value = serde_json::from_str(body).unwrap();
    let mut lines = Vec::new();
    match format {
        Format::Chat => chat_facts(&body, &mut lines),
        Format::Messages => messages_facts(&body, &mut lines),
        Format::Responses => responses_facts(&body, &mut lines),
    }
    let schema = [
        &body["response_format"]["json_schema"]["schema"],
        &body["output_config"]["format"]["schema"],
        &body["text"]["format"]["schema"],
    ];
    if let Some(schema) = schema.into_iter().find(|schema| schema.is_object()) {
        let mut schema = schema.clone();
        // The name of the format has no other place in Messages.
        schema.as_object_mut().unwrap().remove("title");
        lines.push(format!("format {schema}"));
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        let tool = if tool["function"].is_object() { &tool["function"] } else { tool };
        let schema = if tool["parameters"].is_object() { &tool["parameters"] } else { &tool["input_schema"] };
        lines.push(format!("tool {} {} {schema}", tool["name"], tool["description"]));
    }
    let choice = &body["tool_choice"];
    let word = choice.as_str().or(choice["type"].as_str()).unwrap_or("auto");
    lines.push(match word {
        "any" | "required" => "choice required".to_owned(),
        "tool" | "function" => format!("choice {TOOL}"),
        word => format!("choice {word}"),
    });
    let one = body["parallel_tool_calls"] == json!(false) || choice["disable_parallel_tool_use"] == json!(true);
    lines.push(format!("one call at a time: {one}"));
    lines.push(format!("temperature {}", body["temperature"]));
    lines
}

fn stops(body: &str) -> Value {
    let body: Value = serde_json::from_str(body).unwrap();
    if body["stop"].is_null() { body["stop_sequences"].clone() } else { body["stop"].clone() }
}

/// Text, images and results of a content, whatever its format.
fn content_facts(role: &str, content: &Value, lines: &mut Vec<String>) {
    if let Some(text) = content.as_str() {
        lines.push(format!("{role} says {text}"));
    }
    for part in content.as_array().into_iter().flatten() {
        let source = &part["source"];
        let url = part["image_url"]["url"].as_str().or(part["image_url"].as_str()).or(source["url"].as_str());
        if let Some(text) = part["text"].as_str() {
            lines.push(format!("{role} says {text}"));
        } else if let Some(url) = url {
            lines.push(format!("{role} shows {url}"));
        } else if source["type"] == "base64" {
            let (media, data) = (source["media_type"].as_str().unwrap(), source["data"].as_str().unwrap());
            lines.push(format!("{role} shows data:{media};base64,{data}"));
        } else if part["type"] == "tool_use" {
            lines.push(format!("call {} {} {}", part["id"], part["name"], part["input"]));
        } else if part["type"] == "tool_result" {
            let text = part["content"].as_str().or(part["content"][0]["text"].as_str()).unwrap();
            lines.push(format!("result {} {}", part["tool_use_id"], marked(text, part["is_error"] == json!(true))));
        }
    }
}

fn arguments(value: &Value) -> Value {
    serde_json::from_str(value.as_str().unwrap()).unwrap()
}

fn chat_facts(body: &Value, lines: &mut Vec<String>) {
    for message in body["messages"].as_array().unwrap() {
        let role = message["role"].as_str().unwrap();
        if role == "tool" {
            lines.push(format!("result {} {}", message["tool_call_id"], message["content"].as_str().unwrap()));
            continue;
        }
        content_facts(role, &message["content"], lines);
        for call in message["tool_calls"].as_array().into_iter().flatten() {
            let function = &call["function"];
            lines.push(format!("call {} {} {}", call["id"], function["name"], arguments(&function["arguments"])));
        }
    }
}

fn messages_facts(body: &Value, lines: &mut Vec<String>) {
    content_facts("system", &body["system"], lines);
    for message in body["messages"].as_array().unwrap() {
        content_facts(message["role"].as_str().unwrap(), &message["content"], lines);
    }
}

fn responses_facts(body: &Value, lines: &mut Vec<String>) {
    content_facts("system", &body["instructions"], lines);
    for item in body["input"].as_array().unwrap() {
        match item["type"].as_str().unwrap_or("message") {
            "function_call" => {
                lines.push(format!("call {} {} {}", item["call_id"], item["name"], arguments(&item["arguments"])))
            }
            "function_call_output" => {
                let text = item["output"].as_str().or(item["output"][0]["text"].as_str()).unwrap();
                lines.push(format!("result {} {text}", item["call_id"]));
            }
            _ => content_facts(item["role"].as_str().unwrap(), &item["content"], lines),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]

    /// Each request is translated into the other formats and back, and means the same in all of
    /// them.
    #[test]
    fn requests_survive_a_round_trip_through_each_format(conversation in conversation()) {
        for (client, middle) in directions() {
            let body = conversation.said_in(client);
            let there = encoded(client, middle, &body);
            let there = String::from_utf8(there.body).unwrap();
            prop_assert_eq!(facts(middle, &there), facts(client, &body), "{} to {}", client, middle);
            let back = String::from_utf8(encoded(middle, client, &there).body).unwrap();
            prop_assert_eq!(facts(client, &back), facts(client, &body), "{} over {}", client, middle);
            // Responses has no stop sequences: the gateway watches for them.
            if client != Format::Responses && middle != Format::Responses {
                prop_assert_eq!(stops(&back), stops(&body));
            }
        }
    }

    /// Equal requests are equal bytes, and a turn that is added changes nothing before it: provider
    /// caches and bound thinking live of it.
    #[test]
    fn encoding_is_deterministic_and_append_only(longer in conversation(), keep in 0usize..4) {
        let mut shorter = longer.clone();
        if keep < shorter.turns.len() {
            shorter.last = shorter.turns[keep].user.clone();
            shorter.turns.truncate(keep);
        }
        for (client, provider) in directions() {
            let (long, short) = (longer.said_in(client), shorter.said_in(client));
            let (long_sent, short_sent) = (encoded(client, provider, &long).body, encoded(client, provider, &short).body);
            prop_assert_eq!(&encoded(client, provider, &long).body, &long_sent);
            let turns = |sent: &[u8]| -> Vec<Vec<u8>> {
                let sent = RawValue::new(sent);
                let list = sent.find("messages").or_else(|| sent.find("input")).unwrap();
                list.elements().map(|(element, _)| element.bytes().to_vec()).collect()
            };
            let (long_turns, short_turns) = (turns(&long_sent), turns(&short_sent));
            prop_assert_eq!(&long_turns[..short_turns.len()], &short_turns[..], "{} to {}", client, provider);
            for key in ["system", "instructions", "tools"] {
                let part = |sent: &[u8]| RawValue::new(sent).find(key).map(|value| value.bytes().to_vec());
                prop_assert_eq!(part(&long_sent), part(&short_sent));
            }
        }
    }
}

/// A billing block of Claude Code differs from call to call, and must not be seen by other vendors'
/// caches.
#[test]
fn billing_block_does_not_change_the_prefix() {
    let body = |cch: &str| {
        format!(
            r#"{{"model":"m","max_tokens":9,"system":[{{"type":"text","text":"x-anthropic-billing-header: cch={cch};"}},{{"type":"text","text":"S"}}],"messages":[{{"role":"user","content":"u"}}]}}"#
        )
    };
    for provider in [Format::Chat, Format::Responses] {
        let sent = |cch| encoded(Format::Messages, provider, &body(cch)).body;
        assert_eq!(sent("a"), sent("b"));
    }
}

#[test]
fn numbers_key_order_and_repeated_keys_survive() {
    let odd = r#"{"type":"object","z":1.0,"properties":{"n":{"maximum":1e400,"minimum":-0.0,"multipleOf":12345678901234567890}},"a":1,"a":2}"#;
    let quoted = odd.replace('"', "\\\"");
    for (client, provider) in directions() {
        let body = match client {
            Format::Chat => format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"u"}},{{"role":"assistant","tool_calls":[{{"id":"c","type":"function","function":{{"name":"f","arguments":"{quoted}"}}}}]}},{{"role":"tool","tool_call_id":"c","content":"r"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{odd}}}}}]}}"#
            ),
            Format::Messages => format!(
                r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"u"}},{{"role":"assistant","content":[{{"type":"tool_use","id":"c","name":"f","input":{odd}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"c","content":"r"}}]}}],"tools":[{{"name":"f","input_schema":{odd}}}]}}"#
            ),
            Format::Responses => format!(
                r#"{{"model":"m","input":[{{"role":"user","content":"u"}},{{"type":"function_call","call_id":"c","name":"f","arguments":"{quoted}"}},{{"type":"function_call_output","call_id":"c","output":"r"}}],"tools":[{{"type":"function","name":"f","parameters":{odd},"strict":false}}]}}"#
            ),
        };
        let sent = String::from_utf8(encoded(client, provider, &body).body).unwrap();
        let (schemas, inputs) = if provider == Format::Messages { (2, 0) } else { (1, 1) };
        assert_eq!(sent.matches(odd).count(), schemas, "{client} to {provider}: {sent}");
        assert_eq!(sent.matches(&quoted).count(), inputs, "{client} to {provider}: {sent}");
    }
}

/// Ids of any length and shape: legal for the target, the pair still a pair, no two ids one.
#[test]
fn call_ids_fit_each_target_and_stay_paired() {
    let ids = ["x".to_owned(), "a".repeat(64), "a".repeat(65), "a".repeat(116), "fc:1|2".to_owned(), "é😀".to_owned()];
    for (client, provider) in directions() {
        let mut seen = std::collections::HashSet::new();
        for id in &ids {
            let body = match client {
                Format::Chat => format!(
                    r#"{{"model":"m","messages":[{{"role":"user","content":"u"}},{{"role":"assistant","tool_calls":[{{"id":"{id}","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"{id}","content":"r"}}],"tools":[{{"type":"function","function":{{"name":"f"}}}}]}}"#
                ),
                Format::Messages => format!(
                    r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"u"}},{{"role":"assistant","content":[{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"{id}","content":"r"}}]}}],"tools":[{{"name":"f","input_schema":{{"type":"object"}}}}]}}"#
                ),
                Format::Responses => format!(
                    r#"{{"model":"m","input":[{{"role":"user","content":"u"}},{{"type":"function_call","call_id":"{id}","name":"f","arguments":"{{}}"}},{{"type":"function_call_output","call_id":"{id}","output":"r"}}],"tools":[{{"type":"function","name":"f","parameters":null,"strict":false}}]}}"#
                ),
            };
            let sent = encoded(client, provider, &body);
            assert!(
                !sent.ledger.repairs().any(|(repair, _)| matches!(repair, Repair::OrphanCall | Repair::OrphanResult))
            );
            let lines = facts(provider, std::str::from_utf8(&sent.body).unwrap());
            let word = |kind: &str| {
                lines
                    .iter()
                    .find(|line| line.starts_with(kind))
                    .unwrap()
                    .split(' ')
                    .nth(1)
                    .unwrap()
                    .trim_matches('"')
                    .to_owned()
            };
            let (call, result) = (word("call "), word("result "));
            assert_eq!(call, result, "{client} to {provider}");
            let legal = |b: u8| b.is_ascii_alphanumeric() || b"_-".contains(&b);
            assert!(call.len() <= 64 || provider == Format::Messages, "{call}");
            assert!(call.bytes().all(legal) || provider != Format::Messages, "{call}");
            assert!(seen.insert(call), "{client} to {provider}: two ids became one");
        }
    }
}

/// What Chat and Responses share beyond the list of 11.
#[test]
fn fields_common_to_both_openai_formats_survive() {
    let body = json!({
        "model": "asked",
        "messages": [
            {"role": "user", "content": "u"},
            {"role": "assistant", "content": null, "refusal": "No."},
            {"role": "user", "content": "Patch it"},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "*** Begin\n\"x\""}}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "done"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}, "additionalProperties": false}, "strict": true}},
            {"type": "custom", "custom": {"name": "patch", "description": "Patches.", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x/"}}}},
        ],
        "tool_choice": {"type": "custom", "custom": {"name": "patch"}},
        "verbosity": "low",
        "reasoning_effort": "medium",
        "metadata": {"run": "7"},
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "flex",
        "store": false,
    });
    let send = |from: Format, to: Format, body: &str| {
        let target = Target::new(to, Host::OpenAi, "gpt-5.2", "p", &Overrides::default());
        let sent = translate::request(from, body.as_bytes(), &Context::new(target, "asked")).unwrap();
        assert_eq!(sent.ledger.losses().count(), 0, "{:?}", sent.ledger.dropped_header());
        String::from_utf8(sent.body).unwrap()
    };
    let there = send(Format::Chat, Format::Responses, &body.to_string());
    let back: Value = serde_json::from_str(&send(Format::Responses, Format::Chat, &there)).unwrap();
    for key in [
        "tools",
        "tool_choice",
        "verbosity",
        "reasoning_effort",
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
    ] {
        assert_eq!(back[key], body[key], "{key}");
    }
    let messages = back["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 5, "{messages:?}");
    assert!(messages[1].to_string().contains(r#""refusal":"No.""#), "{}", messages[1]);
    assert_eq!(messages[3]["tool_calls"], body["messages"][3]["tool_calls"]);
}

/// Namespaces are flattened towards Chat, by one name in tools, history and choice; custom tools
/// are functions where the host has none.
#[test]
fn namespaces_and_custom_tools_are_restored() {
    let body = json!({
        "model": "asked",
        "input": [
            {"role": "user", "content": "u"},
            {"type": "function_call", "call_id": "call_1", "namespace": "fs", "name": "read", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "a\n\"b\""},
            {"type": "function_call_output", "call_id": "call_1", "output": "1"},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "2"},
        ],
        "tools": [
            {"type": "namespace", "name": "fs", "tools": [{"type": "function", "name": "read", "parameters": {"type": "object"}, "strict": false}]},
            {"type": "custom", "name": "patch"},
        ],
    });
    let target = Target::new(Format::Chat, Host::Unknown, "m", "p", &Overrides::default());
    let there =
        translate::request(Format::Responses, body.to_string().as_bytes(), &Context::new(target, "asked")).unwrap();
    let there: Value = serde_json::from_slice(&there.body).unwrap();
    let names = |list: &Value| -> Vec<Value> {
        list.as_array().unwrap().iter().map(|tool| tool["function"]["name"].clone()).collect()
    };
    assert_eq!(names(&there["tools"]), ["fs__read", "patch"]);
    let calls = &there["messages"][1]["tool_calls"];
    assert_eq!(names(calls), ["fs__read", "patch"]);
    assert_eq!(arguments(&calls[1]["function"]["arguments"]), json!({"input": "a\n\"b\""}));
    assert_eq!((&there["messages"][2]["content"], &there["messages"][3]["content"]), (&json!("1"), &json!("2")));
}

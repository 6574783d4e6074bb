//! Streams that break off and are continued, whatever the formats of the client, of the provider
//! that began and of the one that goes on are.

use serde_json::{Value, json};

use super::rescue::{COMMENT, Pair};
use super::*;

const FORMATS: [&sample::Sample; 3] = [&sample::CHAT, &sample::MESSAGES, &sample::RESPONSES];

/// The first text of a sample's stream.
fn first_text(of: &sample::Sample) -> &'static str {
    if of.kind == "responses" { "Hello" } else { "Hel" }
}

/// The data of a stream's events.
fn data(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// Reads a stream as a strict client of its format does: the text, if the stream came to its end.
fn read(client: &sample::Sample, text: &str) -> String {
    match client.kind {
        "openai" => read_chat(text),
        "anthropic" => read_messages(text),
        _ => read_response(text),
    }
}

fn read_chat(text: &str) -> String {
    let chunks = data(text);
    assert!(chunks.iter().all(|chunk| chunk["id"] == chunks[0]["id"]), "one id: {text}");
    let roles = chunks.iter().filter(|chunk| chunk["choices"][0]["delta"]["role"].is_string()).count();
    let finishes = chunks.iter().filter(|chunk| chunk["choices"][0]["finish_reason"] == "stop").count();
    assert_eq!((roles, finishes), (1, 1), "{text}");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect()
}

fn read_messages(text: &str) -> String {
    let (mut open, mut next, mut read) = (None, 0, String::new());
    let events = data(text);
    for event in &events {
        let index = event["index"].as_u64();
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((open, index), (None, Some(next)), "{text}");
                (open, next) = (index, next + 1);
            }
            "content_block_delta" => {
                assert_eq!(open, index, "{text}");
                read += event["delta"]["text"].as_str().unwrap();
            }
            "content_block_stop" => assert_eq!(open.take(), index, "{text}"),
            _ => {}
        }
    }
    assert_eq!((open, events[0]["type"].as_str()), (None, Some("message_start")), "{text}");
    assert_eq!(events.iter().filter(|event| event["type"] == "message_start").count(), 1, "{text}");
    assert_eq!(events.last().unwrap()["type"], "message_stop", "{text}");
    read
}

fn read_response(text: &str) -> String {
    let events = data(text);
    for (n, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], n, "{text}");
    }
    let deltas: Vec<&Value> = events.iter().filter(|event| event["type"] == "response.output_text.delta").collect();
    assert!(deltas.iter().all(|delta| delta["item_id"] == deltas[0]["item_id"]), "{text}");
    let read: String = deltas.iter().filter_map(|delta| delta["delta"].as_str()).collect();
    let completed = &events.last().unwrap()["response"];
    let created = &events[0]["response"];
    assert_eq!((&completed["status"], &completed["id"]), (&json!("completed"), &created["id"]), "{text}");
    let item = &completed["output"][0];
    assert_eq!((&item["id"], &item["content"][0]["text"]), (&deltas[0]["item_id"], &json!(read)), "{text}");
    assert_eq!(completed["output"].as_array().unwrap().len(), 1, "{text}");
    read
}

fn opening(of: &sample::Sample) -> Vec<&'static str> {
    [of.opening, &of.content[..1]].concat()
}

#[test]
fn whatever_the_formats_are() {
    for client in FORMATS {
        for first in FORMATS {
            for second in FORMATS {
                let case = format!("{} <- {}, {}", client.kind, first.kind, second.kind);
                let pair = Pair::of([first, second], "prompt");
                let mut asking = pair.broken_off(client.path, client.ask_stream, &opening(first));
                let mut conn = pair.second.accept();
                let request = conn.request();
                let asked = String::from_utf8_lossy(&request.body).into_owned();
                assert!(asked.contains("Continue it exactly where it ends"), "{case}: {asked}");
                assert!(asked.contains(first_text(first)), "{case}: {asked}");
                conn.send(answer::sse(&second.events()));
                let text = asking.response().text().to_owned();
                assert_eq!(read(client, &text), format!("{}Hello", first_text(first)), "{case}: {text}");
                assert!(text.contains(COMMENT), "{case}: {text}");
                let counted = ["rescues_total", "rescues_failed_total", "attempts_total"]
                    .map(|name| pair.gateway.metric(&format!("llm_proxy_{name}")));
                assert_eq!(counted, [Some(1.0), Some(0.0), Some(2.0)], "{case}");
            }
        }
    }
}

/// What the first provider has reported is not the usage of the whole answer: if the second reports
/// none, it is estimated.
#[test]
fn the_usage_of_the_first_provider_does_not_count() {
    for client in [&sample::CHAT, &sample::MESSAGES] {
        let pair = Pair::of([&sample::MESSAGES, &sample::MESSAGES], "prompt");
        let first: Vec<_> = opening(&sample::MESSAGES)
            .iter()
            .map(|event| event.replace("\"input_tokens\":3", "\"input_tokens\":30000"))
            .collect();
        let first: Vec<&str> = first.iter().map(String::as_str).collect();
        let mut asking = pair.broken_off(client.path, client.ask_stream, &first);
        let mut conn = pair.second.accept();
        conn.request();
        let usage = [",\"usage\":{\"input_tokens\":3,\"output_tokens\":1}", ",\"usage\":{\"output_tokens\":2}"];
        let second: Vec<_> = sample::MESSAGES
            .events()
            .iter()
            .map(|event| usage.iter().fold((*event).to_owned(), |event, usage| event.replace(usage, "")))
            .collect();
        assert!(!second.concat().contains("usage"));
        conn.send(answer::sse(&second));
        assert_eq!(read(client, asking.response().text()), "HelHello");
        let mut prompt = 0.0;
        eventually("the tokens are counted", || {
            let metrics = scrape(&pair.gateway);
            let lines = metrics.lines().filter(|line| line.starts_with("llm_proxy_tokens_total{"));
            let lines = lines.filter(|line| line.contains("token_type=\"prompt\""));
            prompt = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            prompt > 0.0
        });
        assert!(prompt < 1000.0, "{}: {prompt}", client.kind);
    }
}

fn scrape(gateway: &Gateway) -> String {
    let mut client = gateway.client();
    client.ask(&get("/metrics"));
    client.response().text().to_owned()
}

/// A call of a tool that has begun, in each format of a provider.
fn call(of: &sample::Sample) -> Value {
    match of.kind {
        "openai" => json!({ "id": "c1", "choices": [{ "index": 0, "delta": { "tool_calls": [
            { "index": 0, "id": "t1", "type": "function", "function": { "name": "f", "arguments": "{\"a\":" } }
        ] } }] }),
        "anthropic" => json!({ "type": "content_block_start", "index": 0, "content_block":
            { "type": "tool_use", "id": "t1", "name": "f", "input": {} } }),
        _ => json!({ "type": "response.output_item.added", "sequence_number": 9, "output_index": 1, "item":
            { "type": "function_call", "id": "fc_1", "call_id": "t1", "name": "f", "arguments": "" } }),
    }
}

/// Nothing goes on inside a call of a tool: the client gets an honest error, and no second provider
/// is asked.
#[test]
fn calls_of_tools_are_never_continued() {
    for client in FORMATS {
        for first in FORMATS {
            let case = format!("{} <- {}", client.kind, first.kind);
            let pair = Pair::of([first, first], "prompt");
            let call = call(first);
            let call = match call["type"].as_str() {
                Some(kind) => format!("event: {kind}\ndata: {call}\n\n"),
                None => format!("data: {call}\n\n"),
            };
            // Of Messages the call is the first block, so that blocks follow one another.
            let events = match first.kind {
                "anthropic" => [&first.opening[..1], &[&*call]].concat(),
                _ => [opening(first), vec![&*call]].concat(),
            };
            let mut asking = pair.broken_off(client.path, client.ask_stream, &events);
            asking.head();
            let (text, end) = asking.rest_text();
            assert!(text.contains("error") && end == End::Truncated, "{case}: {text}");
            assert!(pair.second.try_accept().is_none(), "{case}");
        }
    }
}

/// A second provider that fails before it has content leaves the stream to a third.
#[test]
fn a_third_provider_may_go_on() {
    for (client, first, second) in [
        (&sample::CHAT, &sample::MESSAGES, &sample::CHAT),
        (&sample::MESSAGES, &sample::CHAT, &sample::MESSAGES),
        (&sample::RESPONSES, &sample::RESPONSES, &sample::RESPONSES),
    ] {
        let pair = Pair::of([first, second], "prompt");
        let mut asking = pair.broken_off(client.path, client.ask_stream, &opening(first));
        let mut conn = pair.second.accept();
        conn.request();
        // A head and what has no content.
        conn.send(answer::SSE);
        conn.send(answer::chunk(second.opening.concat()));
        conn.close();
        let mut conn = pair.third.accept();
        conn.request();
        conn.send(answer::sse(&sample::CHAT.events()));
        let text = asking.response().text().to_owned();
        assert_eq!(read(client, &text), format!("{}Hello", first_text(first)), "{}: {text}", client.kind);
        pair.gateway.expect_metric("llm_proxy_rescues_total", 2.0);
    }
}

/// An error event is a break too, and where nobody can go on the client learns of it.
#[test]
fn a_refusal_of_the_rest_is_an_honest_error() {
    for (client, first, second) in [
        (&sample::MESSAGES, &sample::CHAT, &sample::CHAT),
        (&sample::CHAT, &sample::MESSAGES, &sample::CHAT),
        (&sample::RESPONSES, &sample::RESPONSES, &sample::MESSAGES),
        (&sample::RESPONSES, &sample::CHAT, &sample::RESPONSES),
    ] {
        let pair = Pair::of([first, second], "prefill");
        let broken = [opening(first), vec![first.error]].concat();
        let mut asking = pair.broken_off(client.path, client.ask_stream, &broken);
        for fake in [&pair.second, &pair.third] {
            let mut conn = fake.accept();
            conn.request();
            conn.send(answer::json(400, r#"{"error":{"message":"no prefill here","type":"invalid_request_error"}}"#));
        }
        asking.head();
        let (text, end) = asking.rest_text();
        let case = format!("{} <- {}, {}: {text}", client.kind, first.kind, second.kind);
        assert!(text.contains("it broke") && !text.contains("no prefill") && end == End::Truncated, "{case}");
        pair.gateway.expect_metric("llm_proxy_rescues_failed_total", 1.0);
    }
}

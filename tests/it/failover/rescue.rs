//! A stream that breaks off behind its first content, and that another provider goes on with
//! (`RESCUE_STREAMS`, `rescue`).

use llm_proxy::config::rows::ModelRow;
use serde_json::{Value, json};

use super::*;

/// A provider, two standbys and a setting.
pub(super) struct Pair {
    pub first: Fake,
    pub second: Fake,
    /// Speaks Chat. It is asked where the second can't go on.
    pub third: Fake,
    pub gateway: Gateway,
}

impl Pair {
    fn new(sample: &sample::Sample, rescue: &str) -> Pair {
        Pair::start([sample, sample], rescue, false)
    }

    /// A provider and standbys that may speak other formats.
    pub(super) fn of(samples: [&sample::Sample; 2], rescue: &str) -> Pair {
        Pair::start(samples, rescue, true)
    }

    fn start([of_first, of_second]: [&sample::Sample; 2], rescue: &str, has_third: bool) -> Pair {
        let (first, second, third) = (Fake::start(), Fake::start(), Fake::start());
        let tier = |n: u8, row: ProviderRow| ProviderRow { provider_params: format!(r#"{{"priority":{n}}}"#), ..row };
        let mut setup = Setup::new()
            .env("RESCUE_STREAMS", rescue)
            .provider(of_first.provider("first", &first))
            .provider(tier(1, of_second.provider("second", &second)))
            .model(smart(sample::MODEL, json!({ "rescue": "prefill" })));
        if has_third {
            setup = setup.provider(tier(2, sample::CHAT.provider("third", &third)));
        }
        Pair { first, second, third, gateway: setup.start() }
    }

    /// Asks, and lets the first provider break the connection behind these events.
    pub(super) fn broken_off(&self, path: &str, body: &str, events: &[&str]) -> Client {
        let mut client = self.gateway.client();
        client.ask(&post(path).body(body));
        let mut conn = self.first.accept();
        conn.request();
        conn.send(answer::SSE);
        conn.send(answer::chunk(events.concat()));
        conn.close();
        client
    }
}

fn smart(model: &str, options: Value) -> ModelRow {
    ModelRow {
        name: "smart".into(),
        members: json!([model]).to_string(),
        overrides: "{}".into(),
        options: options.to_string(),
        is_enabled: true,
        ..ModelRow::default()
    }
}

/// The events of a stream, without comments.
fn events(text: &str) -> Vec<String> {
    let is_event = |event: &&str| !event.is_empty() && !event.starts_with(':');
    text.split("\n\n").filter(is_event).map(|event| format!("{event}\n\n")).collect()
}

pub(super) const COMMENT: &str = ": llm-proxy: the stream broke off and is continued by provider second";

#[test]
fn another_provider_goes_on_where_the_text_ends() {
    let pair = Pair::new(&sample::CHAT, "prompt");
    let (opening, content) = (sample::CHAT.opening, sample::CHAT.content);
    let mut client = pair.broken_off(sample::CHAT.path, sample::CHAT.ask_stream, &[opening[0], content[0]]);
    let mut conn = pair.second.accept();
    let request = conn.request().json();
    let messages = request["messages"].as_array().unwrap();
    assert_eq!(
        messages[..2],
        [json!({ "role": "user", "content": "hi" }), json!({ "role": "assistant", "content": "Hel" })]
    );
    assert_eq!(messages[2]["role"], "user");
    assert!(messages[2]["content"].as_str().unwrap().contains("Continue it exactly where it ends"));
    let rest: Vec<String> = [&[opening[0]], &content[1..]].concat().iter().map(|one| one.replace("c1", "c2")).collect();
    conn.send(answer::sse(&rest));
    assert_eq!(client.head().header("x-llm-proxy-provider"), Some("first"));
    let (text, end) = client.rest_text();
    assert_eq!(end, End::Whole);
    // The client can't tell the streams apart but for a comment: one id, one role, one end.
    let expected: Vec<String> = [opening, content].concat().into_iter().map(str::to_owned).collect();
    assert_eq!(events(&text), expected);
    assert!(text.contains(COMMENT), "{text}");
    pair.gateway.expect_metric("llm_proxy_rescues_total", 1.0);
    assert_eq!(pair.gateway.metric("llm_proxy_rescues_failed_total"), Some(0.0));
    pair.gateway.expect_metric("llm_proxy_attempts_total", 2.0);
}

/// A virtual model has a manner of its own, and the client's name of it stays in every event.
#[test]
fn a_virtual_model_may_ask_for_prefill() {
    let pair = Pair::new(&sample::CHAT, "off");
    let (opening, content) = (sample::CHAT.opening, sample::CHAT.content);
    let ask = sample::CHAT.ask_stream.replace(sample::MODEL, "smart");
    let mut client = pair.broken_off(sample::CHAT.path, &ask, &[opening[0], content[0]]);
    let mut conn = pair.second.accept();
    let request = conn.request().json();
    assert_eq!(request["messages"][1], json!({ "role": "assistant", "content": "Hel" }));
    assert_eq!((request["messages"].as_array().unwrap().len(), &request["model"]), (2, &json!(sample::MODEL)));
    conn.send(answer::sse(&[&[opening[0]], &content[1..]].concat()));
    let text = client.response().text().to_owned();
    let named = |event: &&str| event.replace(sample::MODEL, "smart");
    assert_eq!(events(&text), [opening, content].concat().iter().map(named).collect::<Vec<_>>());
}

#[test]
fn a_message_goes_on_in_its_open_block() {
    let pair = Pair::new(&sample::MESSAGES, "prompt");
    let event = |kind: &str, data: Value| {
        let mut data = data;
        data["type"] = json!(kind);
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let delta = |text: &str| {
        event("content_block_delta", json!({ "index": 0, "delta": { "type": "text_delta", "text": text } }))
    };
    let start = event("content_block_start", json!({ "index": 0, "content_block": { "type": "text", "text": "" } }));
    let begin = event("message_start", json!({ "message": { "id": "msg_1", "usage": { "input_tokens": 3 } } }));
    let end = [
        event("content_block_stop", json!({ "index": 0 })),
        event("message_delta", json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 2 } })),
        event("message_stop", json!({})),
    ];
    let first = [&*begin, &*start, &*delta("Hel")].map(str::to_owned);
    let first: Vec<&str> = first.iter().map(String::as_str).collect();
    let mut client = pair.broken_off(sample::MESSAGES.path, sample::MESSAGES.ask_stream, &first);
    let mut conn = pair.second.accept();
    assert_eq!(conn.request().json()["messages"][1], json!({ "role": "assistant", "content": "Hel" }));
    let rest: Vec<String> = [vec![begin.clone(), start.clone(), delta("lo")], end.to_vec()].concat();
    conn.send(answer::sse(&rest));
    let text = client.response().text().to_owned();
    let expected: Vec<String> = [vec![begin.clone(), start.clone(), delta("Hel"), delta("lo")], end.to_vec()].concat();
    assert_eq!(events(&text), expected);
}

/// An error event of the provider is a break too. What the second provider says of the request for
/// the rest is not about the client's request, so the client learns of the first failure.
#[test]
fn a_refusal_of_the_rest_leaves_an_honest_error() {
    let pair = Pair::new(&sample::CHAT, "prefill");
    let (opening, content) = (sample::CHAT.opening, sample::CHAT.content);
    let broken = [opening[0], content[0], sample::CHAT.error];
    let mut client = pair.broken_off(sample::CHAT.path, sample::CHAT.ask_stream, &broken);
    let mut conn = pair.second.accept();
    conn.request();
    conn.send(answer::json(
        400,
        r#"{"error":{"message":"assistant prefill is not supported","type":"invalid_request_error"}}"#,
    ));
    client.head();
    let (text, end) = client.rest_text();
    let events = events(&text);
    assert_eq!((&*events[0], &*events[1], events.len(), end), (opening[0], content[0], 3, End::Truncated));
    assert!(events[2].contains("it broke") && !events[2].contains("prefill"), "{text}");
    pair.gateway.expect_metric("llm_proxy_rescues_failed_total", 1.0);
}

/// A call of a tool is never continued, nor an answer in JSON, nor a stream without the setting,
/// nor one that breaks again.
#[test]
fn what_is_not_continued() {
    let call = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\",\
                \"function\":{\"name\":\"f\",\"arguments\":\"{\"}}]}}]}\n\n";
    let (opening, content) = (sample::CHAT.opening, sample::CHAT.content);
    let text = sample::CHAT.ask_stream;
    // Nobody has asked for it, and the text shows it: a stored prompt or the server has set the
    // form.
    let object = content[0].replace("\"Hel\"", r#""{\"a\": [1,""#);
    let json = text.replacen('{', r#"{"response_format":{"type":"json_object"},"#, 1);
    let rows: [(&str, &str, &[&str]); 4] = [
        ("prompt", text, &[opening[0], content[0], call]),
        ("prompt", &json, &[opening[0], content[0]]),
        ("prefill", text, &[opening[0], &object]),
        ("off", text, &[opening[0], content[0]]),
    ];
    for (rescue, ask, events) in rows {
        let pair = Pair::new(&sample::CHAT, rescue);
        let mut client = pair.broken_off(sample::CHAT.path, ask, events);
        client.head();
        let (text, end) = client.rest_text();
        assert!(text.contains("upstream_stream_truncated") && end == End::Truncated, "{text}");
        assert!(pair.second.try_accept().is_none(), "{rescue}");
    }
    let pair = Pair::new(&sample::CHAT, "prompt");
    let mut client = pair.broken_off(sample::CHAT.path, sample::CHAT.ask_stream, &[opening[0], content[0]]);
    let mut conn = pair.second.accept();
    conn.request();
    conn.send(answer::SSE);
    conn.send(answer::chunk([opening[0], content[1]].concat()));
    conn.close();
    client.head();
    let (text, end) = client.rest_text();
    assert!(text.contains("\"lo\"") && text.contains("upstream_stream_truncated"), "{text}");
    assert_eq!(end, End::Truncated);
}

//! What the lines of a request say, on every path.

use llm_proxy::config::rows::ProviderRow;

use super::*;

const FOUR: [&str; 4] = ["request", "provider_request", "provider_response", "response"];

fn logged(setup: Setup) -> Gateway {
    setup.env("JSONL_LOG_ENABLED", "true").start()
}

/// Every client of every provider, whole and as a stream.
#[test]
fn four_lines_for_every_pair() {
    for served in FORMATS {
        let provider = speaker(served);
        let gateway = logged(Setup::new().provider(served.provider("only", &provider)));
        for asking in FORMATS {
            for (id, ask) in [("whole", asking.ask), ("stream", asking.ask_stream)] {
                let id = format!("{id}{}", asking.path.replace('/', "."));
                let mut client = gateway.client();
                client.ask(&post(asking.path).header("x-request-id", &id).body(ask));
                let got = client.response();
                let sent = provider.requests().last().unwrap().clone();
                let what = format!("{} to {}: {id}", asking.path, served.kind);
                pair(&gateway, &id, asking, served, (ask, &sent, &got), &what);
            }
        }
    }
}

fn pair(
    gateway: &Gateway,
    id: &str,
    asking: &Sample,
    served: &Sample,
    (ask, sent, got): (&str, &Request, &Response),
    what: &str,
) {
    let story = story(&log_of(gateway), id);
    assert_eq!(kinds(&story), FOUR, "{what}");
    let [request, received, answered, response] = &story[..] else { panic!("{story:?}") };
    let stream = ask == asking.ask_stream;
    let body = if stream { "chunk_sequence" } else { "body" };
    assert_eq!(request.names, ["type", "timestamp", "request_id", "endpoint", "provider", "payload"], "{what}");
    let names = ["type", "timestamp", "request_id", "provider", "api_base", "endpoint", "payload"];
    assert_eq!(received.names, names, "{what}");
    assert_eq!(answered.names, ["type", "timestamp", "request_id", "provider", "status_code", body], "{what}");
    assert_eq!(response.names[..5], ["type", "timestamp", "request_id", "status_code", body], "{what}");

    assert_eq!(request.is["endpoint"], asking.path);
    assert_eq!((&request.is["provider"], &received.is["provider"]), (&"only".into(), &"only".into()));
    assert_eq!(request.is["payload"], serde_json::from_str::<Value>(ask).unwrap(), "{what}");
    assert_eq!(received.is["payload"], sent.json(), "{what}");
    let base = received.is["api_base"].as_str().unwrap();
    assert!(base.starts_with("http://127.0.0.1:") && base.ends_with(served.base), "{what}: {base}");
    assert!(served.path.ends_with(received.is["endpoint"].as_str().unwrap()), "{what}");
    if stream {
        assert_eq!(answered.chunks(), served.events().concat(), "{what}");
        assert_eq!(response.chunks(), got.text(), "{what}");
    } else {
        assert_eq!(answered.is["body"], serde_json::from_str::<Value>(served.answer).unwrap(), "{what}");
        assert_eq!(response.is["body"], got.json(), "{what}");
    }
    for line in [answered, response] {
        assert_eq!(line.is["status_code"], 200, "{what}");
    }
    assert_eq!(response.is["usage"]["input_tokens"], 3, "{what}");
    assert_eq!(response.is["usage"]["output_tokens"], 2, "{what}");
    assert_eq!(response.is["finish_reason"], "stop", "{what}: {response:?}");
    assert_eq!(response.is["credential"], KEY, "{what}");
    let ms = |name: &str| response.is[name].as_f64().unwrap_or_else(|| panic!("{what}: no {name}"));
    assert!(0.0 < ms("ttft_ms") && ms("ttft_ms") <= ms("duration_ms"), "{what}: {response:?}");
    let times: Vec<&str> = story.iter().map(|line| line.is["timestamp"].as_str().unwrap()).collect();
    assert!(times.is_sorted() && times.iter().all(|time| time.len() == 24 && time.ends_with('Z')), "{what}: {times:?}");
}

/// Of streams like those before, the lines have each event by itself, and as many as fit; whether
/// events pass as they are, with the model's name put back, or are hidden.
#[test]
fn streams_like_those_before() {
    for served in FORMATS {
        let text = served.content.iter().position(|event| event.contains("Hel")).unwrap();
        let events = move |stream: usize| -> Vec<String> {
            let texts = ["Hel", "é", r#"\"\n\\"#, "", "; words; of a stream that is somewhat longer"];
            let content = (0..60).map(|n| served.content[text].replace("Hel", texts[(n + n / 7 + stream) % 5]));
            let before = served.opening.iter().chain(&served.content[..text]).map(|event| event.to_string());
            before.chain(content).chain(served.content[text + 1..].iter().map(|event| event.to_string())).collect()
        };
        for (mapping, bytes) in
            [(r#"{"m-asked":"m-asked"}"#, 1 << 20), (r#"{"m-asked":"m-sent"}"#, 1 << 20), ("{}", 2000)]
        {
            let provider = Fake::answering(move |request| {
                let stream = request.json()["messages"][0]["content"]
                    .as_str()
                    .or(request.json()["input"].as_str())
                    .map_or(0, str::len);
                answer::sse(&events(stream))
            });
            let row = match mapping {
                "{}" => served.provider("only", &provider),
                mapping => ProviderRow { model_mapping: mapping.into(), ..served.provider("only", &provider) },
            };
            let gateway = logged(Setup::new().provider(row).env("JSONL_LOG_BODY_MAX_BYTES", bytes));
            let ask = |n: usize| {
                let ask = match n % 2 {
                    0 => served.ask_stream.to_owned(),
                    _ => served.ask_stream.replace(r#""stream_options":{"include_usage":true},"#, ""),
                };
                let ask = ask.replace("\"hi\"", &format!("\"{}\"", "x".repeat(n)));
                let mut client = gateway.client();
                client.ask(&post(served.path).header("x-request-id", &format!("stream{n}")).body(ask));
                client.response()
            };
            let answers: Vec<Response> = (0..8).map(ask).collect();
            for (n, got) in answers.iter().enumerate() {
                let what = format!("{} {mapping} {n}", served.path);
                let story = story(&log_of(&gateway), &format!("stream{n}"));
                let sent = events(n).concat();
                for (line, expected) in [(&story[2], &*sent), (&story[3], got.text())] {
                    let chunks = line.is["chunk_sequence"].as_array().unwrap();
                    let mut chunks: Vec<&str> = chunks.iter().map(|chunk| chunk.as_str().unwrap()).collect();
                    let note = chunks.pop_if(|chunk| chunk.contains("[truncated, "));
                    assert_eq!(note.is_some(), expected.len() > bytes, "{what}");
                    let all: Vec<&str> = expected.split_inclusive("\n\n").collect();
                    assert_eq!(chunks, all[..chunks.len()], "{what}");
                    let next = all.get(chunks.len()).map_or(0, |event| event.len());
                    assert_eq!(note.is_some(), next > 0, "{what}");
                    assert!(next == 0 || chunks.concat().len() + next > bytes, "{what}");
                }
            }
        }
    }
}

/// Why an answer ended, and its usage, stand beside megabytes of text; whether it passes as it is
/// or with the model's name put back.
#[test]
fn the_end_of_a_long_answer() {
    for served in FORMATS {
        let mut long: Value = serde_json::from_str(served.answer).unwrap();
        let reported_text = lengthen(&mut long, &"word \\n".repeat(200_000));
        assert_eq!(reported_text, 1, "{}", served.path);
        let text = long.to_string();
        let provider = Fake::answering(move |_| answer::json(200, &text));
        for mapped in [r#"{"m-asked":"m-asked"}"#, r#"{"m-asked":"m-sent"}"#] {
            let row = ProviderRow { model_mapping: mapped.into(), ..served.provider("only", &provider) };
            let gateway = logged(Setup::new().provider(row));
            let mut client = gateway.client();
            client.ask(&post(served.path).header("x-request-id", "long").body(served.ask));
            assert_eq!(client.response().status, 200);
            let story = story(&log_of(&gateway), "long");
            let response = &story.last().unwrap().is;
            assert_eq!(response["finish_reason"], "stop", "{} {mapped}", served.path);
            assert_eq!(response["usage"]["output_tokens"], 2, "{} {mapped}", served.path);
        }
    }
}

/// Puts `text` in the place of the conversation. Returns how often.
fn lengthen(value: &mut Value, text: &str) -> usize {
    match value {
        Value::Array(list) => list.iter_mut().map(|value| lengthen(value, text)).sum(),
        Value::Object(object) => {
            let inner = |(key, value): (&String, &mut Value)| match value {
                Value::String(reported_text) if ["content", "text"].contains(&key.as_str()) => {
                    *reported_text = text.to_owned();
                    1
                }
                value => lengthen(value, text),
            };
            object.iter_mut().map(inner).sum()
        }
        _ => 0,
    }
}

/// The path is the one that the client wrote, without a query, in which some send a key.
#[test]
fn the_path_as_written() {
    let provider = speaker(&sample::CHAT);
    let gateway = logged(Setup::new().provider(chat(&provider)));
    for (id, path) in [("a", "/v2/chat/completions"), ("b", "/chat/completions?key=sk-hidden")] {
        let mut client = gateway.client();
        client.ask(&post(path).header("x-request-id", id).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 200);
        assert_eq!(story(&log_of(&gateway), id)[0].is["endpoint"], path.split('?').next().unwrap());
    }
}

/// A provider's error reaches the client, as it is or translated.
#[test]
fn errors_of_a_provider() {
    let provider = Fake::answering(|_| answer::json(400, r#"{"error":{"message":"no such thing","type":"x"}}"#));
    let gateway = logged(Setup::new().provider(chat(&provider)));
    for (id, sample) in [("bypass", &sample::CHAT), ("translated", &sample::MESSAGES)] {
        let mut client = gateway.client();
        client.ask(&post(sample.path).header("x-request-id", id).body(sample.ask));
        let got = client.response();
        let story = story(&log_of(&gateway), id);
        let own: Vec<&str> = kinds(&story).into_iter().filter(|kind| *kind != "attempt").collect();
        assert_eq!(own, FOUR);
        let (answered, response) = (&story[2], story.last().unwrap());
        assert_eq!(answered.is["status_code"], 400, "{id}");
        assert!(answered.is["error_msg"].as_str().unwrap().contains("no such thing"), "{id}: {answered:?}");
        assert_eq!(answered.is["body"]["error"]["type"], "x");
        assert_eq!(response.is["status_code"], got.status);
        assert!(response.is["error_msg"].as_str().unwrap().contains("no such thing"), "{id}: {response:?}");
        assert_eq!(response.is["body"], got.json(), "{id}");
    }
}

/// The first provider can't be reached, the second fails, the third refuses its key, the fourth
/// answers.
#[test]
fn failover() {
    let gone = Nobody::new();
    let failing = Fake::answering(|_| answer::json(500, r#"{"error":{"message":"it broke"}}"#));
    let refusing = Fake::answering(|_| answer::json(401, r#"{"error":{"message":"pk-upstream is no key"}}"#));
    let good = speaker(&sample::MESSAGES);
    let ordered = |row: ProviderRow, weight| ProviderRow { weight, ..row };
    let setup = Setup::new()
        .provider(ordered(provider("gone", "openai", &gone.url("/v1")), 1_000_000))
        .provider(ordered(provider("failing", "openai", &failing.url("/v1")), 1000))
        .provider(ordered(provider("refusing", "anthropic", &refusing.url("")), 1))
        .provider(ordered(provider("good", "anthropic", &good.url("")), 0));
    let gateway = logged(setup.env("MAX_ATTEMPTS", 4));
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").header("x-request-id", "id").body(sample::CHAT.ask));
    let got = client.response();
    assert_eq!(got.status, 200, "{}", got.text());

    let story = story(&log_of(&gateway), "id");
    let failed: Vec<&Line> = story.iter().filter(|line| line.kind() == "attempt").collect();
    let displayed = |name: &str| -> Vec<Value> { failed.iter().map(|line| line.is[name].clone()).collect() };
    assert_eq!(displayed("provider"), ["gone", "failing", "refusing"]);
    assert_eq!(displayed("status_code"), [Value::Null, 500.into(), 401.into()]);
    assert_eq!(displayed("error_kind"), ["upstream_connect", "upstream_fault", "upstream_auth"]);
    assert_eq!(displayed("attempt"), [1, 2, 3]);
    assert_eq!(displayed("model"), ["m-asked"; 3]);
    let names = [
        "type",
        "timestamp",
        "request_id",
        "attempt",
        "provider",
        "api_base",
        "model",
        "status_code",
        "error_kind",
        "error_msg",
        "started_at",
        "first_byte_ms",
        "duration_ms",
    ];
    assert_eq!(failed[0].names, names);
    assert_eq!((&failed[0].is["first_byte_ms"], failed[1].is["first_byte_ms"].is_number()), (&Value::Null, true));

    let received: Vec<&Value> =
        story.iter().filter(|line| line.kind() == "provider_request").map(|line| &line.is["provider"]).collect();
    assert_eq!(received, ["gone", "failing", "refusing", "good"]);
    let response = story.last().unwrap();
    assert_eq!((&response.is["provider"], &response.is["attempts"]), (&"good".into(), &4.into()));
    assert_eq!(response.is["body"], got.json());
    assert_eq!(story[0].is["provider"], "good");
}

/// The response that a failed attempt had prepared was never sent, and is not logged as sent.
#[test]
fn a_stream_that_failed_before_its_content() {
    let broken = Fake::answering(|_| answer::sse(&[sample::CHAT.opening[0], sample::CHAT.error]));
    let good = speaker(&sample::MESSAGES);
    let standby = ProviderRow { weight: 0, ..anthropic(&good) };
    let gateway = logged(Setup::new().provider(chat(&broken)).provider(standby));
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").header("x-request-id", "id").body(sample::CHAT.ask_stream));
    let got = client.response();
    let story = story(&log_of(&gateway), "id");
    assert_eq!(
        kinds(&story),
        [
            "request",
            "provider_request",
            "provider_response",
            "attempt",
            "provider_request",
            "provider_response",
            "response"
        ]
    );
    assert_eq!(story[2].chunks(), [sample::CHAT.opening[0], sample::CHAT.error].concat());
    assert_eq!(story[5].chunks(), sample::MESSAGES.events().concat());
    assert_eq!(story[6].chunks(), got.text());
}

/// No provider was tried, and the request and its response are logged all the same.
#[test]
fn refused_before_routing() {
    let provider = speaker(&sample::CHAT);
    let row = ProviderRow { model_mapping: r#"{"m-asked":"m-asked"}"#.into(), ..chat(&provider) };
    let gateway = logged(Setup::new().provider(row));
    // id, key, body, status, what the payload is
    let rows: [(&str, &str, &str, u16, Value); 4] = [
        ("key", "sk-wrong", r#"{"model":"m-asked"}"#, 401, Value::Null),
        ("model", KEY, r#"{"model":"other","messages":[]}"#, 404, serde_json::json!({"model":"other","messages":[]})),
        ("json", KEY, r#"{"model":"m-asked""#, 400, r#"{"model":"m-asked""#.into()),
        ("none", KEY, "", 400, "".into()),
    ];
    for (id, key, body, status, payload) in rows {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").header("x-request-id", id).key(key).body(body));
        let got = client.response();
        assert_eq!(got.status, status, "{id}");
        let story = story(&log_of(&gateway), id);
        assert_eq!(kinds(&story), ["request", "response"], "{id}");
        assert_eq!((&story[0].is["provider"], &story[0].is["payload"]), (&Value::Null, &payload), "{id}");
        assert_eq!(story[1].is["status_code"], status);
        assert!(story[1].is["error_msg"].as_str().unwrap().len() > 10);
        assert_eq!(story[1].is["body"], got.json());
    }
    // What is no request to a model leaves no line.
    gateway.metric("llm_proxy_workers");
    gateway.client().call("/admin/v1/providers", "{}");
    assert_eq!(provider.requests().len(), 0);
    assert!(
        lines(&log_of(&gateway)).iter().all(|line| !line.is["endpoint"].as_str().unwrap_or("/v1/").contains("admin"))
    );
}

#[test]
fn a_client_that_leaves() {
    let provider = Fake::start();
    let gateway = logged(Setup::new().provider(chat(&provider)));
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").header("x-request-id", "id").body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    let events = [sample::CHAT.opening, &sample::CHAT.content[..1]].concat();
    events.iter().for_each(|event| conn.send(answer::chunk(event)));
    assert_eq!(client.head().status, 200);
    let got: String = events.iter().map(|_| client.event()).collect();
    drop(client);
    let story = story(&log_of(&gateway), "id");
    assert_eq!(kinds(&story), FOUR);
    assert_eq!((story[3].is["status_code"].clone(), story[3].chunks()), (499.into(), got));
    assert_eq!(story[3].is["error_msg"], "the client left before the end");
    assert_eq!(story[2].is["status_code"], 200);
}

/// No key of either side, and no bytes of an image, whatever is written down.
#[test]
fn secrets_and_payloads() {
    let provider = Fake::answering(|_| {
        answer::json(
            200,
            r#"{"id":"c","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"stop"}],"password":"sk-hidden"}"#,
        )
    });
    let gateway = logged(Setup::new().provider(chat(&provider)));
    let image = "aGVsbG8".repeat(1000);
    let body = format!(
        r#"{{"model":"m","api_key":"sk-hidden","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}},{{"type":"input_audio","input_audio":{{"data":"{image}","format":"wav"}}}}]}}]}}"#
    );
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").header("x-request-id", "id").body(&body));
    assert_eq!(client.response().status, 200);
    assert!(provider.requests()[0].text().contains(&image));
    let story = story(&log_of(&gateway), "id");
    let text = std::fs::read_to_string(log_of(&gateway)).unwrap();
    for hidden in ["sk-hidden", KEY, "pk-upstream", "aGVsbG8"] {
        // The credential's name is its key in these tests.
        let text = text.replace(&format!("\"credential\":\"{KEY}\""), "");
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    let url = &story[0].is["payload"]["messages"][0]["content"][0]["image_url"]["url"];
    assert!(url.as_str().unwrap().starts_with("data:image/png;base64,[5250 bytes, sha256 "), "{url}");
}

#[test]
fn long_bodies_are_cut() {
    let provider = speaker(&sample::CHAT);
    let gateway = logged(Setup::new().provider(chat(&provider)).env("JSONL_LOG_BODY_MAX_BYTES", 40));
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").header("x-request-id", "id").body(sample::CHAT.ask_stream));
    let got = client.response();
    let story = story(&log_of(&gateway), "id");
    let ask = sample::CHAT.ask_stream;
    assert_eq!(story[0].is["payload"], format!("{}... [truncated, {} bytes total]", &ask[..40], ask.len()));
    let note = format!("... [truncated, {} bytes total]", got.body.len());
    assert_eq!(story[3].is["chunk_sequence"], serde_json::json!([note]));
}

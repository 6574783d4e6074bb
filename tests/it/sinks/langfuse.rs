//! The events for Langfuse, checked against the rules of its API.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine;

use super::*;

/// A Langfuse server that keeps the events, and refuses batches that break a rule with status 400.
pub struct Langfuse {
    pub server: Fake,
    faults: Arc<Mutex<Vec<String>>>,
}

impl Langfuse {
    pub fn start() -> Langfuse {
        let faults: Arc<Mutex<Vec<String>>> = Arc::default();
        let found = faults.clone();
        let server = Fake::answering(move |request| {
            let mut new = super::schema::faults(&request.json());
            let key = base64::engine::general_purpose::STANDARD.encode("pk-lf-1:sk-lf-2");
            let head = [
                (request.method.as_str(), "POST"),
                (request.target.as_str(), "/api/public/ingestion"),
                (request.header("authorization").unwrap_or_default(), &format!("Basic {key}")),
                (request.header("content-type").unwrap_or_default(), "application/json"),
            ];
            new.extend(
                head.iter().filter(|(is, should)| is != should).map(|(is, should)| format!("{is}: not {should}")),
            );
            let is_good = new.is_empty();
            found.lock().unwrap().extend(new);
            if is_good { answer::json(207, taken(request)) } else { answer::json(400, "{}") }
        });
        Langfuse { server, faults }
    }

    /// Trace and generation of each request so far, by its id.
    pub fn displayed(&self) -> HashMap<String, [Value; 2]> {
        assert_eq!(*self.faults.lock().unwrap(), [""; 0]);
        let mut displayed = HashMap::new();
        for request in self.server.requests() {
            let body = request.json();
            for pair in body["batch"].as_array().unwrap().chunks(2) {
                let [trace, generation] = [&pair[0], &pair[1]].map(|event| event["body"].clone());
                assert_eq!((&pair[0]["type"], &pair[1]["type"]), (&"trace-create".into(), &"generation-create".into()));
                assert_eq!(trace["id"], generation["traceId"]);
                let id = trace["metadata"]["request_id"].as_str().unwrap().to_owned();
                displayed.insert(id, [trace, generation]);
            }
        }
        displayed
    }

    /// Of one request, when it is there.
    pub fn story(&self, id: &str) -> [Value; 2] {
        let mut found = None;
        eventually("Langfuse has the events", || {
            found = self.displayed().remove(id);
            found.is_some()
        });
        found.unwrap()
    }
}

/// Langfuse's answer when it takes everything.
pub fn taken(request: &Request) -> String {
    let batch = request.json()["batch"].as_array().unwrap().clone();
    let successes: Vec<Value> =
        batch.iter().map(|event| serde_json::json!({"id": event["id"], "status": 201})).collect();
    serde_json::json!({"successes": successes, "errors": []}).to_string()
}

pub fn traced(setup: Setup, langfuse: &Fake) -> Setup {
    setup
        .env("LANGFUSE_ENABLED", "true")
        .env("LANGFUSE_PUBLIC_KEY", "pk-lf-1")
        .env("LANGFUSE_SECRET_KEY", "sk-lf-2")
        .env("LANGFUSE_HOST", langfuse.url(""))
        .env("LANGFUSE_FLUSH_INTERVAL", "1")
}

fn milliseconds(generation: &Value, name: &str) -> u64 {
    let text = generation[name].as_str().unwrap_or_else(|| panic!("no {name}: {generation}"));
    let (whole, ms) = text.trim_end_matches('Z').split_once('.').unwrap();
    llm_proxy::rfc3339::parse(&format!("{whole}Z")).unwrap() as u64 * 1000 + ms.parse::<u64>().unwrap()
}

/// Every client of every provider, whole and as a stream: the words, the counts, the times.
#[test]
fn every_pair() {
    let langfuse = Langfuse::start();
    for served in FORMATS {
        let provider = speaker(served);
        let gateway = traced(Setup::new().provider(served.provider("only", &provider)), &langfuse.server).start();
        let mut ids = Vec::new();
        for asking in FORMATS {
            for (kind, ask) in [("whole", asking.ask), ("stream", asking.ask_stream)] {
                let id = format!("{}-{kind}{}", served.kind, asking.path.replace('/', "."));
                let mut client = gateway.client();
                client.ask(&post(asking.path).header("x-request-id", &id).body(ask));
                assert_eq!(client.response().status, 200);
                ids.push((id, asking, kind == "stream", ask));
            }
        }
        for (id, asking, stream, ask) in ids {
            let [trace, generation] = langfuse.story(&id);
            assert_eq!((&trace["name"], &trace["userId"]), (&"llm-proxy-request".into(), &KEY.into()));
            let tags: Vec<&str> = trace["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
            for tag in [format!("endpoint:{}", asking.path), format!("credential:{KEY}"), "provider:only".into()] {
                assert!(tags.contains(&tag.as_str()), "{id}: no {tag} in {tags:?}");
            }
            assert_eq!(generation["model"], sample::MODEL, "{id}");
            assert_eq!(generation["output"], "Hello", "{id}");
            let ask: Value = serde_json::from_str(ask).unwrap();
            for name in ["messages", "input"] {
                assert_eq!(generation["input"][name], ask[name], "{id}");
            }
            assert_eq!(generation["modelParameters"]["max_tokens"], ask["max_tokens"], "{id}");
            let usage = serde_json::json!({"promptTokens": 3, "completionTokens": 2, "totalTokens": 5});
            assert_eq!(generation["usage"], usage, "{id}");
            assert_eq!(generation["level"], "DEFAULT", "{id}");
            let metadata = &generation["metadata"];
            assert_eq!(
                (&metadata["is_streaming"], &metadata["finish_reason"]),
                (&stream.into(), &"stop".into()),
                "{id}"
            );
            assert_eq!(
                (&metadata["provider_type"], &metadata["mapped_model"]),
                (&served.kind.into(), &"m-asked".into())
            );
            let at = ["startTime", "completionStartTime", "endTime"].map(|name| milliseconds(&generation, name));
            assert!(at.is_sorted() && at[2] - at[0] < 60_000, "{id}: {at:?}");
        }
    }
}

/// Time to the first token is what the client saw of it, not the end.
#[test]
fn times_are_true() {
    let langfuse = Langfuse::start();
    let provider = Fake::start();
    let gateway = traced(Setup::new().provider(chat(&provider)), &langfuse.server).start();
    let mut client = gateway.client();
    client.ask(&post("/v1/chat/completions").header("x-request-id", "id").body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    let (first, rest) = sample::CHAT.content.split_at(1);
    conn.send(answer::chunk(sample::CHAT.opening[0]));
    conn.send(answer::chunk(first[0]));
    client.head();
    client.read_until(first[0]);
    // The time that is measured, which the test itself takes care to let pass.
    std::thread::sleep(std::time::Duration::from_millis(300));
    rest.iter().for_each(|event| conn.send(answer::chunk(event)));
    conn.send(answer::LAST_CHUNK);
    client.rest();
    let [_, generation] = langfuse.story("id");
    let at = ["startTime", "completionStartTime", "endTime"].map(|name| milliseconds(&generation, name));
    assert!(at[2] - at[1] >= 299, "{at:?}");
}

#[test]
fn who_and_where() {
    let langfuse = Langfuse::start();
    let provider = speaker(&sample::MESSAGES);
    let gateway = traced(Setup::new().provider(anthropic(&provider)), &langfuse.server).start();
    let mut client = gateway.client();
    let body = r#"{"model":"m","max_tokens":9,"messages":[],"metadata":{"user_id":"user_u_session_s"}}"#;
    let request = post("/v1/messages").header("x-request-id", "id").header("user-agent", "claude-cli/2 (x)");
    client.ask(&request.header("x-forwarded-for", "10.0.0.1").header("cookie", "c=hidden").body(body));
    client.response();
    let [trace, _] = langfuse.story("id");
    assert_eq!((&trace["userId"], &trace["sessionId"]), (&"user_u".into(), &"s".into()));
    assert_eq!(trace["metadata"]["credential_name"], KEY);
    assert_eq!(trace["metadata"]["user_agent"], "claude-cli/2 (x)");
    assert_eq!(trace["metadata"]["x_forwarded_for"], "10.0.0.1");
    assert!(!trace.to_string().contains("hidden"));
}

/// Errors of providers, of the gateway, of the client; a request with a wrong key is not sent.
#[test]
fn ends_without_success() {
    let langfuse = Langfuse::start();
    let provider = Fake::answering(|request| match request.json()["model"].as_str() {
        Some("cut") => [answer::SSE.as_bytes(), &answer::chunk(sample::CHAT.content[0]), b"connection: close"].concat(),
        _ => answer::json(400, r#"{"error":{"message":"no such thing"}}"#),
    });
    let row = llm_proxy::config::rows::ProviderRow {
        model_mapping: r#"{"cut":"cut","bad":"bad-1"}"#.into(),
        ..chat(&provider)
    };
    let gateway = traced(Setup::new().provider(row), &langfuse.server).start();
    let ask = |id: &str, key: &str, model: &str| {
        let body = format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#);
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").header("x-request-id", id).key(key).body(body));
        client.response().status
    };
    assert_eq!((ask("key", "sk-wrong", "bad"), ask("unknown", KEY, "x"), ask("bad", KEY, "bad")), (401, 404, 400));
    let of = |id: &str| langfuse.story(id)[1].clone();
    let (unknown, bad) = (of("unknown"), of("bad"));
    assert_eq!((&unknown["level"], &bad["level"]), (&"ERROR".into(), &"ERROR".into()));
    assert!(unknown["statusMessage"].as_str().unwrap().contains("no provider serves"), "{unknown}");
    assert!(bad["statusMessage"].as_str().unwrap().contains("no such thing"), "{bad}");
    assert_eq!((&bad["metadata"]["mapped_model"], &bad["model"]), (&"bad-1".into(), &"bad".into()));
    assert!(!langfuse.displayed().contains_key("key"));
}

/// The ids alone decide which half is told.
#[test]
fn a_share() {
    let langfuse = Langfuse::start();
    let provider = speaker(&sample::CHAT);
    let displayed = || {
        let setup = traced(Setup::new().provider(chat(&provider)), &langfuse.server);
        let mut gateway = setup.env("LANGFUSE_SAMPLE_RATE", "0.5").start();
        let mut client = gateway.client();
        for n in 0..60 {
            client.ask(&post("/v1/chat/completions").header("x-request-id", &format!("r{n}")).body(sample::CHAT.ask));
            client.response();
        }
        drop(client);
        gateway.term();
        assert!(gateway.wait().success());
        let mut ids: Vec<String> = langfuse.displayed().into_keys().collect();
        ids.sort();
        ids
    };
    let first = displayed();
    assert!((10..50).contains(&first.len()), "{first:?}");
    assert_eq!(displayed(), first);
}

/// What waits at a stop is sent before the process ends.
#[test]
fn queue_is_sent_at_shutdown() {
    let langfuse = Langfuse::start();
    let provider = speaker(&sample::CHAT);
    let setup = traced(Setup::new().provider(chat(&provider)), &langfuse.server);
    let mut gateway = setup.env("LANGFUSE_FLUSH_INTERVAL", "3600").start();
    for _ in 0..7 {
        gateway.client().call("/v1/chat/completions", sample::CHAT.ask);
    }
    gateway.term();
    assert!(gateway.wait().success());
    assert_eq!(langfuse.displayed().len(), 7);
}

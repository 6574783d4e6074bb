//! Virtual models: names for other models, from the store, the admin interface, the command line
//! and a file, with shares, tiers and fallbacks by reason.

use llm_proxy::config::rows::ModelRow;
use serde_json::{Value, json};

use super::*;

const ADMIN_KEY: &str = "admin-key-of-the-tests";

fn model(name: &str, members: Value) -> ModelRow {
    ModelRow {
        name: name.into(),
        members: members.to_string(),
        overrides: "{}".into(),
        options: "{}".into(),
        is_enabled: true,
        ..ModelRow::default()
    }
}

fn serving(name: &str, fake: &Fake, models: &[&str]) -> ProviderRow {
    let mapping: serde_json::Map<_, _> = models.iter().map(|name| ((*name).to_owned(), json!(name))).collect();
    ProviderRow { model_mapping: Value::from(mapping).to_string(), ..provider(name, "openai", &fake.url("/v1")) }
}

fn too_long() -> Vec<u8> {
    answer::json(400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#)
}

#[test]
fn the_client_sees_the_name_that_it_asked_for() {
    let fake = Fake::answering(|request| {
        let model = request.json()["model"].as_str().unwrap().to_owned();
        match request.json()["stream"] == true {
            true => answer::sse(&[
                format!(
                    "data: {{\"object\":\"chat.completion.chunk\",\"model\":\"{model}\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"x\"}}}}]}}\n\n"
                ),
                "data: [DONE]\n\n".to_owned(),
            ]),
            false => answer::json(200, json!({ "model": model, "choices": [] }).to_string()),
        }
    });
    let gateway = Setup::new()
        .provider(serving("p", &fake, &["real-1"]))
        .model(model("alias", json!(["real-1"])))
        .env("MODEL_PREFIX", "Proxy")
        .start();
    let mut client = gateway.client();
    for name in ["alias", "Proxy/alias"] {
        let response = client.call(PATH, ask(name));
        assert_eq!((response.status, &response.json()["model"]), (200, &json!(name)));
        assert_eq!(response.header("x-llm-proxy-upstream-model"), Some("real-1"));
        let stream = client.call(PATH, json!({ "model": name, "messages": [], "stream": true }).to_string());
        assert!(stream.text().contains(&format!("\"model\":\"{name}\"")), "{}", stream.text());
    }
    assert!(fake.requests().iter().all(|request| request.json()["model"] == "real-1"));
    let series = r#"{virtual_model="alias",model="real-1",provider="p",status_code="200"}"#;
    gateway.expect_metric(&format!("llm_proxy_virtual_model_requests_total{series}"), 4.0);
    eventually("the access log has both names", || {
        gateway
            .log()
            .iter()
            .any(|line| line.contains(r#""model":"alias""#) && line.contains(r#""upstream_model":"real-1""#))
    });
}

#[test]
fn weights_share_among_members_and_among_the_providers_of_each() {
    let fakes = [named("p"), named("q"), named("r")];
    let gateway = Setup::new()
        .provider(serving("p", &fakes[0], &["a"]))
        .provider(serving("q", &fakes[1], &["a"]))
        .provider(serving("r", &fakes[2], &["b"]))
        .model(model("mix", json!([{ "model": "a", "weight": 2 }, "b"])))
        .model(model("one", json!([{ "model": "a", "provider": "q" }])))
        // Half of it is `mix`, the other half is `b`.
        .model(model("outer", json!(["mix", { "model": "b" }])))
        .start();
    let mut client = gateway.client();
    let count = |client: &mut Client, model: &str, requests: usize| {
        let mut counts = [0; 3];
        for _ in 0..requests {
            let by = answered_by(client, model);
            counts[["p", "q", "r"].iter().position(|name| *name == by).unwrap()] += 1;
        }
        counts
    };
    assert_eq!(count(&mut client, "mix", 30), [10, 10, 10]);
    assert_eq!(count(&mut client, "one", 3), [0, 3, 0]);
    assert_eq!(count(&mut client, "outer", 30), [5, 5, 20]);
}

#[test]
fn overload_leads_to_the_next_tier() {
    let down = Fake::answering(|_| answer::json(503, r#"{"error":{"message":"m"}}"#));
    let up = named("up");
    let gateway = Setup::new()
        .provider(serving("down", &down, &["a", "b"]))
        .provider(serving("up", &up, &["c"]))
        .model(model("m", json!(["a", { "model": "b", "weight": 0 }, { "model": "c", "priority": 1 }])))
        .start();
    let mut client = gateway.client();
    let response = client.call(PATH, ask("m"));
    assert_eq!((response.status, response.header("x-llm-proxy-upstream-model")), (200, Some("c")));
    let models: Vec<_> = down.requests().iter().map(|request| request.json()["model"].clone()).collect();
    assert_eq!(models, ["a", "b"], "the standby of the first tier comes before the second tier");
    assert_eq!(response.header("x-llm-proxy-attempts"), Some("3"));
}

#[test]
fn a_request_that_is_too_long_goes_to_a_longer_window() {
    for translated in [false, true] {
        let short = Fake::answering(|_| too_long());
        let long = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
        let member = |model: &str, tokens: u64, priority: u32| json!({ "model": model, "context_window": tokens, "priority": priority });
        let gateway = Setup::new()
            .env("MAX_ATTEMPTS", 5)
            .provider(serving("short", &short, &["s", "shorter", "same"]))
            .provider(serving("long", &long, &["l"]))
            .model(model(
                "m",
                json!([
                    member("s", 8000, 0),
                    member("shorter", 4000, 1),
                    member("same", 8000, 2),
                    member("l", 100_000, 3)
                ]),
            ))
            .model(ModelRow {
                options: r#"{"fallback_on":[]}"#.into(),
                ..model("never", json!(["s", member("l", 100_000, 1)]))
            })
            .start();
        let mut client = gateway.client();
        let sample = if translated { &sample::MESSAGES } else { &sample::CHAT };
        let body = |model: &str| {
            let mut body: Value = serde_json::from_str(sample.ask).unwrap();
            body["model"] = model.into();
            body.to_string()
        };
        let response = client.call(sample.path, body("m"));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-llm-proxy-upstream-model"), Some("l"));
        assert_eq!(short.requests().len(), 1, "neither a shorter window nor one of the same length is tried");
        gateway.expect_metric("llm_proxy_fallbacks_total", 1.0);
        // Whoever does not configure it, and a plain model, get the error.
        for model in ["never", "s"] {
            let response = client.call(sample.path, body(model));
            assert_eq!(response.status, 400, "{model}");
            assert!(response.text().contains(if translated {
                "prompt is too long"
            } else {
                "context_length_exceeded"
            }));
        }
    }
}

/// A client that is told to shorten its prompt does so, although it would fit a minute later.
#[test]
fn what_a_member_with_a_longer_window_says_counts() {
    let error = |status: u16, words: &str, code: &str| {
        let body = json!({ "error": { "message": words, "type": "t", "code": code } }).to_string();
        answer::with(status, &[("content-type", "application/json"), ("retry-after", "99999")], body)
    };
    let too_long = |words: &str| error(400, words, "context_length_exceeded");
    let rows = [
        (error(429, "of the long one", "rate_limit_exceeded"), 429, "of the long one"),
        (error(500, "of the long one", "server_error"), 500, "of the long one"),
        // The same, under status 200.
        (error(200, "of the long one", "server_error"), 502, "of the long one"),
        (too_long("of the long one"), 400, "of the long one"),
        // These don't pass by themselves.
        (error(401, "of the long one", "invalid_api_key"), 400, "of the short one"),
        (error(402, "of the long one", "insufficient_quota"), 400, "of the short one"),
    ];
    for (response, status, words) in rows {
        for is_long_first in [false, true] {
            let of_short = too_long("of the short one");
            let short = Fake::answering(move |_| of_short.clone());
            let response = response.clone();
            let long = Fake::answering(move |_| response.clone());
            let (s, l) =
                (json!({ "model": "s", "context_window": 100 }), json!({ "model": "l", "context_window": 200 }));
            let mut members = [s, l];
            members[usize::from(!is_long_first)]["priority"] = json!(1);
            let gateway = Setup::new()
                .provider(serving("short", &short, &["s"]))
                .provider(serving("long", &long, &["l"]))
                .model(model("m", json!(members)))
                .env("RETRY_BUDGET_PERCENT", 0)
                .start();
            let response = gateway.client().call(PATH, ask("m"));
            let context = format!("{status} {is_long_first}: {}", response.text());
            // A prompt that is too long for the longer window is for the shorter one as well.
            let asks_both = !(is_long_first && status == 400 && words == "of the long one");
            assert_eq!(short.requests().len(), usize::from(asks_both), "{context}");
            assert_eq!(long.requests().len(), 1, "{context}");
            assert_eq!(response.status, status, "{context}");
            assert!(response.text().contains(words), "{context}");
        }
    }
}

/// Whether the other member is longer is not known, so the client learns that its prompt is too
/// long for the first.
#[test]
fn a_window_that_is_not_known_is_not_the_shorter_one() {
    let too_long = json!({ "error": { "message": "of the first", "code": "context_length_exceeded" } }).to_string();
    let first = Fake::answering(move |_| answer::json(400, &too_long));
    let second = Fake::answering(|_| answer::json(503, "{}"));
    let members = json!([{ "model": "f" }, { "model": "s", "context_window": 200, "priority": 1 }]);
    let gateway = Setup::new()
        .provider(serving("first", &first, &["f"]))
        .provider(serving("second", &second, &["s"]))
        .model(model("m", members))
        .env("RETRY_BUDGET_PERCENT", 0)
        .start();
    let response = gateway.client().call(PATH, ask("m"));
    assert_eq!(response.status, 400, "{}", response.text());
    assert!(response.text().contains("of the first"), "{}", response.text());
}

/// Vendors retire models. The client did not name this one, and another is behind its name.
#[test]
fn a_member_that_its_provider_no_longer_has_leads_on() {
    for translated in [false, true] {
        let old = Fake::answering(|request| match request.text().contains("a file") {
            true => answer::json(
                404,
                r#"{"error":{"message":"No such File object","type":"invalid_request_error","code":null}}"#,
            ),
            false => {
                answer::json(404, r#"{"error":{"message":"The model `old` does not exist","code":"model_not_found"}}"#)
            }
        });
        let new = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
        let gateway = Setup::new()
            .provider(serving("old", &old, &["o"]))
            .provider(serving("new", &new, &["n"]))
            .model(model("m", json!(["o", { "model": "n", "priority": 1 }])))
            .start();
        let mut client = gateway.client();
        let sample = if translated { &sample::MESSAGES } else { &sample::CHAT };
        let body = |model: &str, words: &str| sample.ask.replace(sample::MODEL, model).replace("hi", words);
        // What else a provider does not have is the client's own.
        assert_eq!(client.call(sample.path, body("m", "a file")).status, 404, "{translated}");
        let response = client.call(sample.path, body("m", "hi"));
        assert_eq!((response.status, response.header("x-llm-proxy-upstream-model")), (200, Some("n")), "{translated}");
        // So is a model that was named.
        assert_eq!(client.call(sample.path, body("o", "hi")).status, 404, "{translated}");
    }
}

/// Some hosts report that under status 200, whole or as an event.
#[test]
fn a_member_that_is_missing_under_status_200_leads_on() {
    const ERROR: &str = r#"{"error":{"message":"The model `old` does not exist","type":"invalid_request_error","code":"model_not_found"}}"#;
    for sample in [&sample::CHAT, &sample::MESSAGES] {
        let old = Fake::answering(|request| match request.text().contains("\"stream\":true") {
            true => answer::sse(&[&format!("data: {ERROR}\n\n")]),
            false => answer::json(200, ERROR),
        });
        let new = Fake::answering(|request| match request.text().contains("\"stream\":true") {
            true => answer::sse(&sample::CHAT.events()),
            false => answer::json(200, sample::CHAT.answer),
        });
        let gateway = Setup::new()
            .provider(serving("old", &old, &["o"]))
            .provider(serving("new", &new, &["n"]))
            .model(model("m", json!(["o", { "model": "n", "priority": 1 }])))
            .start();
        let mut client = gateway.client();
        for ask in [sample.ask, sample.ask_stream] {
            let response = client.call(sample.path, ask.replace(sample::MODEL, "m"));
            assert_eq!(response.status, 200, "{}: {}", sample.path, response.text());
            assert_eq!(response.header("x-llm-proxy-upstream-model"), Some("n"), "{}", sample.path);
            // A model that was named is the client's own.
            assert_eq!(client.call(sample.path, ask.replace(sample::MODEL, "o")).status, 404, "{}", sample.path);
        }
    }
}

/// What one client's request names must not take the model from every other one.
#[test]
fn a_missing_file_under_status_200_does_not_bench_a_member() {
    const ERROR: &str = r#"{"error":{"message":"File not found: file_1","type":"not_found_error"}}"#;
    let first = Fake::answering(|_| answer::json(200, ERROR));
    let second = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
    let gateway = memory::remembering()
        .provider(serving("first", &first, &["o"]))
        .provider(serving("second", &second, &["n"]))
        .model(model("m", json!(["o", { "model": "n", "priority": 1 }])))
        .start();
    let mut client = gateway.client();
    for sample in [&sample::CHAT, &sample::MESSAGES] {
        let response = client.call(sample.path, sample.ask.replace(sample::MODEL, "m"));
        assert_eq!(response.status, 404, "{}", response.text());
        assert!(response.text().contains("File not found"), "{}", response.text());
    }
    assert_eq!((first.requests().len(), second.requests().len()), (2, 0));
}

/// What is wrong with one request must not take the model from every other one.
#[test]
fn a_refused_request_does_not_bench_a_member() {
    for words in ["Tool choice 'get_model' not found in 'tools'", "the parameter does not exist for this model"] {
        let body = json!({ "error": { "message": words, "type": "invalid_request_error", "code": null } }).to_string();
        let first = Fake::answering(move |_| answer::json(400, body.clone()));
        let second = Fake::answering(|_| answer::json(200, sample::CHAT.answer));
        let gateway = memory::remembering()
            .provider(serving("first", &first, &["o"]))
            .provider(serving("second", &second, &["n"]))
            .model(model("m", json!(["o", { "model": "n", "priority": 1 }])))
            .start();
        let mut client = gateway.client();
        for sample in [&sample::CHAT, &sample::MESSAGES] {
            let response = client.call(sample.path, sample.ask.replace(sample::MODEL, "m"));
            assert_eq!(response.status, 400, "{words}");
            assert!(response.text().contains(words), "{}", response.text());
        }
        assert_eq!(second.requests().len(), 0);
        let circuits = memory::circuits(&gateway);
        let circuits = circuits["circuits"].as_array().unwrap();
        assert!(circuits.iter().all(|circuit| circuit["is_benched"] == false), "{circuits:?}");
    }
}

#[test]
fn content_filters_lead_on_only_if_configured() {
    let strict = Fake::answering(|_| answer::json(400, r#"{"error":{"message":"m","code":"content_filter"}}"#));
    let other = named("other");
    let filter = r#"{"fallback_on":["content_filter"]}"#;
    let gateway = Setup::new()
        .provider(serving("strict", &strict, &["a"]))
        .provider(serving("other", &other, &["b"]))
        .model(model("default", json!(["a", { "model": "b", "priority": 1 }])))
        .model(ModelRow {
            options: filter.into(),
            ..model("configured", json!(["a", { "model": "b", "priority": 1 }]))
        })
        .start();
    let mut client = gateway.client();
    assert_eq!(client.call(PATH, ask("default")).status, 400);
    assert_eq!(answered_by(&mut client, "configured"), "other");
}

/// A virtual model gives no key a model that it could not ask for by name.
#[test]
fn permissions_are_those_of_the_name_and_of_the_member() {
    let (cheap, dear) = (named("cheap"), named("dear"));
    let allowed = |key: &str, models: Value| CredentialRow { allowed_models: models.to_string(), ..credential(key) };
    let gateway = Setup::new()
        .provider(serving("cheap", &cheap, &["mini"]))
        .provider(serving("dear", &dear, &["max"]))
        .model(ModelRow {
            overrides: r#"{"sk-own":["max"]}"#.into(),
            ..model("smart", json!([{ "model": "max", "weight": 3 }, "mini"]))
        })
        // It has the name of a real model and more behind it.
        .model(model("mini", json!(["mini", { "model": "max", "priority": 1 }])))
        .credential(credential(KEY))
        .credential(allowed("sk-mini", json!(["smart", "mini"])))
        .credential(allowed("sk-none", json!(["smart"])))
        .credential(allowed("sk-other", json!(["mini"])))
        .credential(credential("sk-own"))
        .start();
    let mut client = gateway.client();
    let mut call = |key: &str, model: &str| {
        client.ask(&post(PATH).key(key).body(ask(model)));
        let response = client.response();
        let upstream = response.header("x-llm-proxy-upstream-model").unwrap_or_default().to_owned();
        (response.status, upstream, response.text().to_owned())
    };
    for _ in 0..8 {
        assert_eq!(call("sk-mini", "smart").1, "mini");
        assert_eq!(call("sk-own", "smart").1, "max");
    }
    let (status, _, text) = call("sk-none", "smart");
    assert_eq!(status, 403);
    assert!(text.contains("virtual model `smart` has no member that credential `sk-none` may use"), "{text}");
    assert!(text.contains("max, mini"), "{text}");
    let (status, _, text) = call("sk-other", "smart");
    assert_eq!(status, 403);
    assert!(text.contains("model `smart` is not allowed for credential `sk-other`"), "{text}");
    assert_eq!(call("sk-other", "mini").1, "mini");
    let mut own = [0, 0];
    for _ in 0..8 {
        own[usize::from(call(KEY, "smart").1 == "mini")] += 1;
    }
    assert_eq!(own, [6, 2]);

    let mut listed = |key: &str, anthropic: bool, path: &str| {
        let request = get(path).key(key);
        client.ask(&if anthropic { request.header("anthropic-version", "2023-06-01") } else { request });
        client.response().json()
    };
    let ids = |answer: &Value| -> Vec<String> {
        answer["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    for anthropic in [false, true] {
        assert_eq!(ids(&listed(KEY, anthropic, "/v1/models")), ["max", "mini", "smart"]);
        assert_eq!(ids(&listed("sk-mini", anthropic, "/v1/models")), ["mini", "smart"]);
        assert!(ids(&listed("sk-none", anthropic, "/v1/models")).is_empty());
        assert_eq!(listed("sk-mini", anthropic, "/v1/models/smart")["id"], "smart");
        assert!(listed("sk-none", anthropic, "/v1/models/smart")["id"].is_null());
    }
    let info = listed("sk-mini", false, "/v1/model/info?model=smart");
    assert_eq!(info["data"][0]["litellm_params"]["model"], "mini");
    assert_eq!(info["data"].as_array().unwrap().len(), 1);
}

#[test]
fn the_admin_interface_changes_them_while_it_runs() {
    let (a, b) = (named("a"), named("b"));
    let gateway = Setup::new()
        .env("ADMIN_KEY", ADMIN_KEY)
        .provider(serving("a", &a, &["a"]))
        .provider(serving("b", &b, &["b"]))
        .start();
    let mut client = gateway.client();
    let mut admin = |method: &str, path: &str, if_match: Option<&str>, body: &str| {
        let request = post(path).method(method).key(ADMIN_KEY).body(body);
        client.ask(&match if_match {
            Some(tag) => request.header("if-match", tag),
            None => request,
        });
        if method == "DELETE" { client.bodiless() } else { client.response() }
    };
    let made = admin("POST", "/admin/v1/models", None, r#"{"name":"m","members":["a"],"overrides":{"nobody":["b"]}}"#);
    assert_eq!((made.status, made.header("location")), (201, Some("/admin/v1/models/1")), "{}", made.text());
    assert_eq!(made.json()["warnings"], json!(["overrides: there is no credential named `nobody`"]));
    let tag = made.header("etag").unwrap().to_owned();
    assert_eq!(answered_by(&mut gateway.client(), "m"), "a");

    let taken = admin("POST", "/admin/v1/models", None, r#"{"name":"m","members":["b"]}"#);
    assert_eq!(taken.status, 409, "{}", taken.text());
    let wrong = admin("POST", "/admin/v1/models", None, r#"{"name":"n","members":["gpt-*"],"option":{}}"#);
    assert_eq!(wrong.status, 400);
    assert!(wrong.text().contains("did you mean `options`?") && wrong.text().contains("pattern"), "{}", wrong.text());
    let hidden = admin("POST", "/admin/v1/models", None, r#"{"name":"b","members":["a","c"]}"#);
    let warnings = hidden.json()["warnings"].to_string();
    assert!(
        warnings.contains("no provider in use serves `c`") && warnings.contains("hides the model `b`"),
        "{warnings}"
    );

    let changed = admin("PATCH", "/admin/v1/models/1", Some(&tag), r#"{"members":[{"model":"b","provider":"b"}]}"#);
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(answered_by(&mut gateway.client(), "m"), "b");
    assert_eq!(admin("PUT", "/admin/v1/models/1", Some(&tag), r#"{"overrides":null}"#).status, 412);
    assert_eq!(admin("PUT", "/admin/v1/models/1", None, r#"{"overrides":null}"#).status, 200);
    let cycle = admin("PATCH", "/admin/v1/models/2", None, r#"{"members":["m"]}"#);
    assert_eq!(cycle.status, 200, "{}", cycle.text());
    let cycle = admin("PATCH", "/admin/v1/models/1", None, r#"{"members":["b"]}"#);
    assert_eq!(cycle.status, 400, "{}", cycle.text());
    assert!(cycle.text().contains("leads back to a model that it is a member of"), "{}", cycle.text());

    let listed = admin("GET", "/admin/v1/models?search=M", None, "").json();
    assert_eq!((&listed["total_count"], &listed["models"][0]["name"]), (&json!(1), &json!("m")));
    assert_eq!(admin("POST", "/admin/v1/models/1/status", None, r#"{"is_enabled":false}"#).status, 200);
    assert_eq!(gateway.client().call(PATH, ask("m")).status, 404);
    assert_eq!(admin("DELETE", "/admin/v1/models/1", None, "").status, 204);
    assert_eq!(admin("GET", "/admin/v1/models/1", None, "").status, 404);
    let audit = admin("GET", "/admin/v1/audit", None, "").json();
    let actions: Vec<_> = audit["entries"].as_array().unwrap().iter().map(|entry| entry["action"].clone()).collect();
    let expected = ["model.delete", "model.status", "model.update", "model.update", "model.update", "model.create"];
    assert_eq!(actions[..expected.len()], expected.map(Value::from));
}

#[test]
fn the_command_line_changes_them() {
    let (a, b) = (named("a"), named("b"));
    let gateway = Setup::new().provider(serving("a", &a, &["a"])).provider(serving("b", &b, &["b"])).start();
    let run = |args: &[&str]| {
        let output = gateway.cli(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let (ok, out, err) =
        run(&["model", "add", "--name", "m", "--member", "a", "--member", "x,priority=1", "--for", "k=b"]);
    assert!(ok, "{err}");
    assert_eq!(out, "added virtual model m with id 1\n");
    assert!(err.contains("no provider in use serves `x`") && err.contains("no credential named `k`"), "{err}");
    eventually("the change is in use", || gateway.client().call(PATH, ask("m")).status == 200);
    let (ok, _, err) = run(&["model", "set", "m", "--member", "b", "--for-nobody", "--fallback-on", "none"]);
    assert!(ok, "{err}");
    eventually("the change is in use", || answered_by(&mut gateway.client(), "m") == "b");
    let (_, out, _) = run(&["model", "list", "--json"]);
    let row = &serde_json::from_str::<Value>(&out).unwrap()["models"][0];
    assert_eq!(
        (&row["members"], &row["overrides"], &row["options"]),
        (&json!(["b"]), &json!({}), &json!({"fallback_on": []}))
    );
    let (_, out, _) = run(&["model", "list"]);
    assert!(out.starts_with("ID  NAME  MEMBERS  KEYS WITH THEIR OWN  STATUS\n1   m     b"), "{out}");
    let (_, out, _) = run(&["export"]);
    assert!(out.contains("models:\n  - name: m\n    members: [\"b\"]\n    options: {\"fallback_on\": []}"), "{out}");
    std::fs::write(gateway.data_dir().join("f.yaml"), out.replace("[\"b\"]", "[\"a\"]")).unwrap();
    let (ok, out, err) = run(&["import", "f.yaml", "--prune"]);
    assert!(ok && out.starts_with("added 0, changed 1, removed 0"), "{out}{err}");
    eventually("the change is in use", || answered_by(&mut gateway.client(), "m") == "a");
    let (ok, _, err) = run(&["model", "add", "--name", "n", "--member", "m"]);
    assert!(ok, "{err}");
    let (ok, _, err) = run(&["model", "set", "m", "--member", "n"]);
    assert!(!ok && err.contains("leads back"), "{err}");
    assert!(run(&["model", "disable", "m"]).0);
    eventually("the change is in use", || gateway.client().call(PATH, ask("m")).status == 404);
    assert!(run(&["model", "remove", "m"]).0);
    assert!(!run(&["model", "remove", "m"]).0);
}

#[test]
fn a_file_is_judged_with_its_lines() {
    let (a, dir) = (named("a"), tempfile::tempdir().unwrap());
    let file = |models: &str| {
        let text = format!(
            "providers:\n  - {{provider_key: p, api_base: '{}', model_mapping: {{a: a, real: a}}}}\nmodels:\n{models}",
            a.url("/v1")
        );
        let path = dir.path().join("gateway.yaml");
        std::fs::write(&path, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
        let output = command.env_clear().arg("check-config").arg(path).current_dir(dir.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (ok, err) = file("  - name: real\n    members: [a, missing]\n    overrides: {k: [a]}\n");
    assert!(ok, "{err}");
    for warning in [
        "line 4: model real: name hides the model `real` of provider `p`",
        "line 5: model real: members: no provider in use serves `missing`",
        "line 6: model real: overrides: there is no credential named `k`",
    ] {
        assert!(err.contains(warning), "{warning}\n{err}");
    }
    let (ok, err) = file(
        "  - {name: x, members: [y]}\n  - {name: y, members: [x]}\n  - {name: z, members: [{model: a, wieght: 1}]}\n",
    );
    assert!(!ok);
    for problem in
        ["`y` leads back", "`x` leads back", "(x -> y -> x)", "line 6: model z: members: entry 1 has `wieght`"]
    {
        assert!(err.contains(problem), "{problem}\n{err}");
    }
    // A name of its own is the real model.
    let (ok, err) = file("  - {name: real, members: [real, {model: a, priority: 1}]}\n");
    assert!(ok && !err.contains("hides"), "{err}");
}

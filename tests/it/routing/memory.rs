//! What the gateway remembers of providers: retries, cooldowns, circuits and what they steer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;

const ADMIN_KEY: &str = "admin-key-of-the-tests";

/// A provider whose next answers are set by the test. Without any it answers well.
pub(super) struct Scripted {
    pub(super) fake: Fake,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
    served: Arc<AtomicUsize>,
}

impl Scripted {
    pub(super) fn new(name: &'static str) -> Scripted {
        let answers: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let served = Arc::new(AtomicUsize::new(0));
        let (script, count) = (answers.clone(), served.clone());
        let fake = Fake::answering(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            let mut script = script.lock().unwrap();
            if script.is_empty() {
                let body = json!({ "by": name, "asked": request.json()["model"], "choices": [] });
                return answer::json(200, body.to_string());
            }
            script.remove(0)
        });
        Scripted { fake, answers, served }
    }

    pub(super) fn then(&self, answers: impl IntoIterator<Item = Vec<u8>>) {
        self.answers.lock().unwrap().extend(answers);
    }

    pub(super) fn served(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

pub(super) fn status(status: u16) -> Vec<u8> {
    answer::json(status, r#"{"error":{"message":"m"}}"#)
}

/// Settings as they are by default, which the tests of single attempts turn off.
pub(super) fn remembering() -> Setup {
    Setup::new().env("RETRY_MAX_WAIT_SECS", 5).env("ADAPTIVE_ROUTING_ENABLED", true).env("ADMIN_KEY", ADMIN_KEY)
}

pub(super) fn pair(weights: [i64; 2]) -> (Scripted, Scripted, Setup) {
    let (a, b) = (Scripted::new("a"), Scripted::new("b"));
    let row = |name: &str, scripted: &Scripted, weight| ProviderRow {
        weight,
        ..provider(name, "openai", &scripted.fake.url("/v1"))
    };
    let setup = remembering().provider(row("a", &a, weights[0])).provider(row("b", &b, weights[1]));
    (a, b, setup)
}

pub(super) fn circuits(gateway: &Gateway) -> serde_json::Value {
    let mut client = gateway.client();
    client.ask(&get("/admin/v1/circuits").key(ADMIN_KEY));
    client.response().json()
}

#[test]
fn a_single_provider_gets_the_request_again() {
    let a = Scripted::new("a");
    let gateway = remembering().provider(provider("a", "openai", &a.fake.url("/v1"))).start();
    let mut client = gateway.client();
    for fault in [500, 503, 529, 408] {
        a.then([status(fault)]);
        let response = client.call(PATH, ask("m"));
        assert_eq!((response.status, response.header("x-llm-proxy-attempts")), (200, Some("2")), "{fault}");
    }
    // What is the request's own fault is never sent again, and neither is what the provider
    // forbids.
    let before = a.served();
    for fault in [400, 404, 422] {
        a.then([status(fault)]);
        assert_eq!(client.call(PATH, ask("m")).status, fault);
    }
    a.then([answer::with(500, &[("x-should-retry", "false")], "{}")]);
    assert_eq!(client.call(PATH, ask("m")).status, 500);
    assert_eq!(a.served() - before, 4);
    a.then([answer::with(409, &[("x-should-retry", "true")], "{}")]);
    assert_eq!(client.call(PATH, ask("m")).status, 200);
    gateway.expect_metric("llm_proxy_upstream_retries_total", 5.0);
}

#[test]
fn a_short_retry_after_is_honoured() {
    let a = Scripted::new("a");
    let gateway = remembering().provider(provider("a", "openai", &a.fake.url("/v1"))).start();
    let mut client = gateway.client();
    a.then([answer::with(429, &[("retry-after-ms", "300")], "{}")]);
    let started = std::time::Instant::now();
    assert_eq!(client.call(PATH, ask("m")).status, 200);
    assert!(started.elapsed().as_millis() >= 300);
    // Too long: the provider's own 429 with its wait, and one try.
    let before = a.served();
    a.then([answer::with(429, &[("retry-after", "60")], "{}")]);
    let response = client.call(PATH, ask("m"));
    assert_eq!((response.status, response.header("retry-after")), (429, Some("60")));
    assert_eq!(a.served() - before, 1);
    // It rests now. It is the only one, so it is asked all the same, once.
    a.then([status(429)]);
    assert_eq!(client.call(PATH, ask("m")).status, 429);
    assert_eq!(a.served() - before, 2);
    assert_eq!(client.call(PATH, ask("m")).status, 200);
}

#[test]
fn a_throttled_provider_rests_and_the_other_serves() {
    let (a, b, setup) = pair([1, 0]);
    let gateway = setup.start();
    let mut client = gateway.client();
    a.then([answer::with(429, &[("retry-after", "60")], "{}")]);
    for _ in 0..5 {
        assert_eq!(answered_by(&mut client, "m"), "b");
    }
    assert_eq!((a.served(), b.served()), (1, 5), "it was asked once, and not again");
    let circuits = circuits(&gateway);
    let first = &circuits["circuits"][0];
    assert_eq!((&first["provider_key"], &first["reason"]), (&json!("a"), &json!("429")));
    assert_eq!((&first["is_benched"], &first["state"]), (&json!(true), &json!("closed")));
}

#[test]
fn five_errors_open_the_circuit_of_that_model() {
    let (a, b, setup) = pair([1, 0]);
    let gateway = setup.start();
    let mut client = gateway.client();
    a.then((0..5).map(|_| status(500)));
    for _ in 0..20 {
        assert_eq!(answered_by(&mut client, "m"), "b");
    }
    assert_eq!((a.served(), b.served()), (5, 20));
    assert_eq!(answered_by(&mut client, "other"), "a", "another model is served");
}

#[test]
fn a_refused_key_benches_the_provider_until_its_row_changes() {
    let (a, b, setup) = pair([1, 0]);
    let gateway = setup.start();
    let mut client = gateway.client();
    a.then([answer::json(401, r#"{"error":{"message":"m","code":"invalid_api_key"}}"#)]);
    for model in ["m", "other", "m"] {
        assert_eq!(answered_by(&mut client, model), "b");
    }
    assert_eq!((a.served(), b.served()), (1, 3));
    gateway.expect_metric(r#"llm_proxy_provider_circuit_state{provider="a",state="open"}"#, 1.0);
    assert_eq!(gateway.metric(r#"llm_proxy_provider_health{provider="a"}"#), Some(0.0));
    let change = post("/admin/v1/providers/1").method("PUT").key(ADMIN_KEY).body(r#"{"api_key":"new"}"#);
    client.ask(&change);
    assert_eq!(client.response().status, 200);
    assert_eq!(answered_by(&mut client, "m"), "a");
}

#[test]
fn an_administrator_opens_and_closes() {
    let (a, _b, setup) = pair([1, 0]);
    let gateway = setup.start();
    let mut client = gateway.client();
    let set = |client: &mut Client, state: &str| {
        let body = json!({ "state": state }).to_string();
        client.ask(&post("/admin/v1/providers/1/circuit").key(ADMIN_KEY).body(body));
        client.response().json()
    };
    assert_eq!(answered_by(&mut client, "m"), "a");
    let opened = set(&mut client, "open");
    assert_eq!(opened["circuits"][0]["state"], "open");
    assert_eq!(opened["circuits"][0]["reason"], "administrator");
    assert_eq!(opened["circuits"][0]["wait_ms"], json!(null));
    assert_eq!(answered_by(&mut client, "m"), "b");
    assert_eq!(set(&mut client, "closed")["circuits"][0]["state"], "closed");
    assert_eq!(answered_by(&mut client, "m"), "a");
    assert_eq!(a.served(), 2);
}

/// By the fields of OpenAI and of Anthropic, in whichever unit.
#[test]
fn a_limit_that_is_used_up_steers_before_the_429() {
    for (remaining, reset, time) in [
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "1m0s"),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens", "1m0s"),
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset", "2999-01-01T00:00:00Z"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset", "2999-01-01T00:00:00Z"),
        (
            "anthropic-ratelimit-input-tokens-remaining",
            "anthropic-ratelimit-input-tokens-reset",
            "2999-01-01T00:00:00Z",
        ),
        (
            "anthropic-ratelimit-output-tokens-remaining",
            "anthropic-ratelimit-output-tokens-reset",
            "2999-01-01T00:00:00Z",
        ),
    ] {
        let (a, b, setup) = pair([1, 0]);
        let gateway = setup.start();
        let mut client = gateway.client();
        a.then([answer::with(200, &[(remaining, "0"), (reset, time)], r#"{"by":"a"}"#)]);
        assert_eq!(answered_by(&mut client, "m"), "a");
        assert_eq!(answered_by(&mut client, "m"), "b", "{remaining}");
        assert_eq!((a.served(), b.served()), (1, 1), "{remaining}");
    }
}

/// An account that has fewer tokens left than another such request needs is left for as long as it
/// takes to have them again.
#[test]
fn a_limit_that_is_nearly_used_up_steers_too() {
    let (a, b, setup) = pair([1, 0]);
    let gateway = setup.start();
    let mut client = gateway.client();
    let body = json!({ "model": "m", "messages": [], "pad": "x".repeat(8000) }).to_string();
    let left = |tokens: &str| {
        let fields = [
            ("x-ratelimit-limit-tokens", "100000"),
            ("x-ratelimit-remaining-tokens", tokens),
            ("x-ratelimit-reset-tokens", "6h0m0s"),
        ];
        answer::with(200, &fields, r#"{"by":"a"}"#)
    };
    a.then([left("90000"), left("1000")]);
    for by in ["a", "a", "b"] {
        assert_eq!(client.call(PATH, &body).json()["by"], by);
    }
    assert_eq!((a.served(), b.served()), (2, 1));
}

#[test]
fn tiers_follow_one_another() {
    let (a, b, c) = (Scripted::new("a"), Scripted::new("b"), Scripted::new("c"));
    let row = |name: &str, scripted: &Scripted, weight, params: &str| ProviderRow {
        weight,
        provider_params: params.into(),
        ..provider(name, "openai", &scripted.fake.url("/v1"))
    };
    // The second tier has the higher weight, and comes after the standby of the first all the same.
    let gateway = remembering()
        .provider(row("a", &a, 1, "{}"))
        .provider(row("b", &b, 0, "{}"))
        .provider(row("c", &c, 100, r#"{"priority":1}"#))
        .start();
    let mut client = gateway.client();
    assert_eq!(answered_by(&mut client, "m"), "a");
    let rest = || answer::with(429, &[("retry-after", "60")], "{}");
    a.then([rest()]);
    assert_eq!(answered_by(&mut client, "m"), "b");
    b.then([rest()]);
    assert_eq!(answered_by(&mut client, "m"), "c");
    assert_eq!(answered_by(&mut client, "m"), "c");
    assert_eq!((a.served(), b.served(), c.served()), (2, 2, 2));
}

/// What is remembered outlives a reload of something else.
#[test]
fn memory_outlives_a_reload() {
    let (a, _b, setup) = pair([1, 0]);
    let gateway = setup.start();
    let mut client = gateway.client();
    a.then([answer::with(429, &[("retry-after", "60")], "{}")]);
    assert_eq!(answered_by(&mut client, "m"), "b");
    client.ask(&post("/admin/v1/credentials").key(ADMIN_KEY).body(r#"{"name":"n","allowed_models":[]}"#));
    assert_eq!(client.response().status, 201);
    assert_eq!(answered_by(&mut client, "m"), "b");
}

/// A client's own deadline ends its request, and the provider is not blamed for it.
#[test]
fn a_client_bounds_its_request() {
    let silent = Fake::start();
    let gateway = remembering().provider(chat(&silent)).start();
    for (name, value, body) in [
        ("x-llm-proxy-timeout-ms", "300", sample::CHAT.ask),
        ("x-stainless-timeout", "0.3", sample::CHAT.ask),
        ("x-llm-proxy-timeout-ms", "300", sample::CHAT.ask_stream),
    ] {
        let mut client = gateway.client();
        client.ask(&post(PATH).header(name, value).body(body));
        let mut conn = silent.accept();
        conn.request();
        assert_eq!(client.response().status, 504, "{name}");
        conn.expect_closed();
        assert!(silent.try_accept().is_none(), "it is not tried again");
    }
    assert_eq!(circuits(&gateway)["circuits"][0]["share"], json!(1.0));
}

/// A provider has deadlines of its own, and a model of it others.
#[test]
fn a_provider_has_deadlines_of_its_own() {
    let (first, second) = (Fake::start(), named("second"));
    let timeouts = r#"{"timeouts":{"silence":100,"models":{"quick":{"silence":0.3}}}}"#;
    let row = ProviderRow { provider_params: timeouts.into(), ..provider("first", "openai", &first.url("/v1")) };
    let standby = ProviderRow { weight: 0, ..provider("second", "openai", &second.url("/v1")) };
    let gateway = remembering().provider(row).provider(standby).start();
    let mut client = gateway.client();
    client.ask(&post(PATH).body(ask("quick")));
    let mut conn = first.accept();
    conn.request();
    assert_eq!(client.response().json()["by"], "second");
    conn.expect_closed();
}

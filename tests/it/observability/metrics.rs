//! `/metrics` of the real binary: what a request adds, and what it can't.

use llm_proxy::config::rows::ProviderRow;

use crate::support::sample::{CHAT, MESSAGES, RESPONSES, Sample};
use crate::support::*;

/// A gateway before one provider that answers as `sample` says, whole or as a stream.
fn serving(sample: &'static Sample, mapping: &str) -> (Fake, Gateway) {
    let provider = Fake::answering(move |request| match request.json()["stream"].as_bool() {
        Some(true) => answer::sse(&sample.events()),
        _ => answer::json(200, sample.answer),
    });
    let row = ProviderRow { model_mapping: mapping.into(), ..sample.provider("acme", &provider) };
    let gateway = Setup::new().provider(row).start();
    (provider, gateway)
}

fn displayed(gateway: &Gateway, series: &str, expected: f64) {
    eventually(series, || gateway.metric(series) == Some(expected));
}

/// All of `/metrics`.
fn scrape(gateway: &Gateway, accept: &str) -> Response {
    let mut client = gateway.client();
    client.ask(&get("/metrics").header("accept", accept));
    client.response()
}

#[test]
fn a_request_is_counted_by_who_where_and_how() {
    let (_provider, gateway) = serving(&CHAT, r#"{"m-asked":"m-asked"}"#);
    let mut client = gateway.client();
    client.ask(&post(CHAT.path).header("user-agent", "OpenAI/Python 2.1").body(CHAT.ask));
    let response = client.response();
    let timing = response.header("server-timing").unwrap();
    assert!(timing.contains("first_byte;dur=") && timing.contains("auth;dur="), "{timing}");
    client.ask(&post(CHAT.path).header("user-agent", "OpenAI/Python 2.1").body(CHAT.ask_stream));
    assert_eq!(client.response().status, 200);

    let who = r#"method="POST",endpoint="/v1/chat/completions",model="m-asked",provider="acme""#;
    let by = r#"api_key_name="sk-test",client="openai-python""#;
    displayed(&gateway, &format!(r#"llm_proxy_requests_total{{{who},status_code="200",{by}}}"#), 2.0);
    displayed(&gateway, &format!("llm_proxy_request_duration_seconds_count{{{who},{by}}}"), 2.0);
    let model = r#"model="m-asked",provider="acme""#;
    for (kind, n) in [("prompt", 6.0), ("completion", 4.0), ("total", 10.0)] {
        displayed(&gateway, &format!(r#"llm_proxy_tokens_total{{{model},token_type="{kind}",{by}}}"#), n);
    }
    displayed(&gateway, &format!(r#"llm_proxy_ttft_seconds_count{{source="provider",{model}}}"#), 1.0);
    displayed(&gateway, &format!(r#"llm_proxy_tokens_per_second_count{{source="provider",{model}}}"#), 1.0);
    displayed(&gateway, r#"llm_proxy_active_requests{endpoint="/v1/chat/completions"}"#, 0.0);
    let formats = r#"client_protocol="openai",provider_protocol="openai",provider="acme""#;
    displayed(&gateway, &format!("llm_proxy_bypass_requests_total{{{formats}}}"), 2.0);
    displayed(&gateway, r#"llm_proxy_provider_attempts_total{provider="acme",outcome="ok"}"#, 2.0);
    displayed(&gateway, r#"llm_proxy_provider_latency_seconds_count{provider="acme"}"#, 2.0);
    displayed(&gateway, r#"llm_proxy_overhead_seconds_count{way="bypass",phase="before"}"#, 2.0);
    displayed(&gateway, r#"llm_proxy_overhead_seconds_count{way="bypass",phase="after"}"#, 2.0);
    displayed(&gateway, r#"llm_proxy_token_counts_total{provider="acme",source="provider"}"#, 2.0);
    displayed(&gateway, r#"llm_proxy_upstream_connections{state="idle"}"#, 0.0);
}

#[test]
fn every_cell_counts_its_tokens_and_its_way() {
    for upstream in [&CHAT, &MESSAGES, &RESPONSES] {
        let (_provider, gateway) = serving(upstream, r#"{"m-asked":"m-asked"}"#);
        let mut expected = 0.0;
        for received in [&CHAT, &MESSAGES, &RESPONSES] {
            let mut client = gateway.client();
            for body in [received.ask, received.ask_stream] {
                client.ask(&post(received.path).body(body));
                assert_eq!(client.response().status, 200, "{} to {}", received.path, upstream.path);
            }
            expected += 10.0;
            let labels =
                r#"model="m-asked",provider="acme",token_type="total",api_key_name="sk-test",client="unknown""#;
            displayed(&gateway, &format!("llm_proxy_tokens_total{{{labels}}}"), expected);
        }
        let text = scrape(&gateway, "*/*");
        let count = |name: &str| {
            let lines = text.text().lines().filter(|line| line.starts_with(name));
            lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum::<f64>()
        };
        assert_eq!(count("llm_proxy_bypass_requests_total{"), 2.0);
        assert_eq!(count("llm_proxy_cross_protocol_requests_total{"), 4.0);
        assert_eq!(count("llm_proxy_ttft_seconds_count{"), 3.0);
    }
}

#[test]
fn clients_cannot_create_series() {
    let (_provider, gateway) = serving(&CHAT, r#"{"known":"m","gpt-*":"m"}"#);
    let mut client = gateway.client();
    for n in 0..300 {
        client.ask(
            &post(&format!("/v1/chat/completions?n={n}"))
                .header("user-agent", &format!("made-up-{n}/1.0"))
                .body(format!(r#"{{"model":"made-up-{n}","messages":[]}}"#)),
        );
        assert_eq!(client.response().status, 404);
        client.ask(&post("/v1/chat/completions").body(format!(r#"{{"model":"gpt-{n}","messages":[]}}"#)));
        assert_eq!(client.response().status, 200);
    }
    let labels = |model: &str, provider: &str, status: &str, client: &str| {
        format!(
            r#"llm_proxy_requests_total{{method="POST",endpoint="/v1/chat/completions",model="{model}",provider="{provider}",status_code="{status}",api_key_name="sk-test",client="{client}"}}"#
        )
    };
    displayed(&gateway, &labels("other", "none", "404", "other"), 300.0);
    displayed(&gateway, &labels("m", "acme", "200", "unknown"), 300.0);
    let text = scrape(&gateway, "");
    let series = text.text().lines().filter(|line| line.starts_with("llm_proxy_requests_total{")).count();
    assert_eq!(series, 2, "{}", text.text());
    assert!(!text.text().contains("made-up"));
}

/// A pattern is no model: tokens and costs are those of the provider's models, up to a number.
#[test]
fn models_beyond_the_limit_share_a_label() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let row = ProviderRow { model_mapping: r#"{"c-*":"claude-*"}"#.into(), ..CHAT.provider("acme", &provider) };
    let gateway = Setup::new().provider(row).env("METRICS_MAX_MODELS", 2).start();
    let mut client = gateway.client();
    for model in ["c-a", "c-b", "c-c", "c-d", "c-a"] {
        let response = client.call(CHAT.path, format!(r#"{{"model":"{model}","messages":[]}}"#));
        assert_eq!(response.status, 200);
    }
    for (model, n) in [("claude-a", 10.0), ("claude-b", 5.0), ("other", 10.0)] {
        let labels = format!(r#"model="{model}",provider="acme",token_type="total",api_key_name="sk-test""#);
        displayed(&gateway, &format!(r#"llm_proxy_tokens_total{{{labels},client="unknown"}}"#), n);
    }
}

#[test]
fn credentials_beyond_the_limit_share_a_label() {
    let mut setup = Setup::new().env("METRICS_MAX_CREDENTIALS", 2);
    for n in 0..4 {
        setup = setup.credential(credential(&format!("key-{n}")));
    }
    let gateway = setup.start();
    let mut client = gateway.client();
    for n in 0..4 {
        client.ask(&post("/v1/messages").key(&format!("key-{n}")).body(MESSAGES.ask));
        assert_eq!(client.response().status, 404);
    }
    client.ask(&post("/v1/messages").key("nobody").body(MESSAGES.ask));
    assert_eq!(client.response().status, 401);
    let count = |name: &str| {
        gateway.metric(&format!(
            r#"llm_proxy_request_duration_seconds_count{{method="POST",endpoint="/v1/messages",model="other",provider="none",api_key_name="{name}",client="unknown"}}"#
        ))
    };
    eventually("all are counted", || count("key-0").is_some() && count("other") == Some(2.0));
    assert_eq!(count("key-1"), Some(1.0));
    assert_eq!(count("key-2"), None);
}

#[test]
fn failures_and_disconnects_are_recorded() {
    let provider = Fake::start();
    let spare = Fake::start();
    let weight = |row: ProviderRow, weight| ProviderRow { weight, ..row };
    let gateway = Setup::new()
        .provider(weight(CHAT.provider("first", &provider), 1))
        .provider(weight(CHAT.provider("spare", &spare), 0))
        .start();
    let mut client = gateway.client();
    client.ask(&post(CHAT.path).body(CHAT.ask));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::json(503, r#"{"error":{"message":"busy"}}"#));
    let mut other = spare.accept();
    other.request();
    other.send(answer::json(200, CHAT.answer));
    assert_eq!(client.response().status, 200);
    displayed(&gateway, r#"llm_proxy_provider_attempts_total{provider="first",outcome="overloaded"}"#, 1.0);
    displayed(&gateway, r#"llm_proxy_provider_attempts_total{provider="spare",outcome="ok"}"#, 1.0);

    let mut leaver = gateway.client();
    leaver.ask(&post(CHAT.path).body(CHAT.ask_stream));
    conn.request();
    conn.send(answer::SSE);
    for event in CHAT.events().iter().take(2) {
        conn.send(answer::chunk(event));
    }
    leaver.head();
    leaver.read_until("Hel");
    drop(leaver);
    displayed(&gateway, r#"llm_proxy_client_disconnects_total{model="m-asked",provider="first"}"#, 1.0);
    displayed(&gateway, r#"llm_proxy_provider_attempts_total{provider="first",outcome="client_gone"}"#, 1.0);
    // The provider reported no tokens: their number is an estimate, and is marked so.
    displayed(&gateway, r#"llm_proxy_token_counts_total{provider="first",source="estimate"}"#, 1.0);
    displayed(&gateway, r#"llm_proxy_active_requests{endpoint="/v1/chat/completions"}"#, 0.0);
}

#[test]
fn openmetrics_on_request() {
    let (_provider, gateway) = serving(&CHAT, "{}");
    let mut client = gateway.client();
    client.call(CHAT.path, CHAT.ask);
    eventually("counted", || scrape(&gateway, "").text().contains("llm_proxy_requests_total{"));
    let open = scrape(&gateway, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
    assert!(open.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("# TYPE llm_proxy_requests counter\n"));
    let plain = scrape(&gateway, "text/plain");
    assert!(plain.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(plain.text().contains("# TYPE llm_proxy_requests_total counter\n"));
    for line in plain.text().lines() {
        let name = line.trim_start_matches("# HELP ").trim_start_matches("# TYPE ");
        assert!(name.starts_with("llm_proxy_"), "{line}");
    }
    // The provider was asked for it by this name, and has answered.
    assert!(plain.text().contains(r#"model="m-asked",provider="acme""#));
    assert!(plain.text().contains("llm_proxy_process_resident_memory_bytes "));
}

#[test]
fn the_stage_clock_can_be_off() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(chat(&provider)).env("STAGE_CLOCK", "false").start();
    let mut client = gateway.client();
    let response = client.call(CHAT.path, CHAT.ask);
    assert_eq!(response.header("server-timing"), None);
    eventually("counted", || scrape(&gateway, "").text().contains("llm_proxy_requests_total{"));
    assert_eq!(gateway.metric(r#"llm_proxy_stage_seconds_count{stage="auth"}"#), Some(0.0));
}

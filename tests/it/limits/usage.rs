//! `GET /v1/usage`: a client sees its own limits, budgets and spend, and nobody else's.

use llm_proxy::config::rows::{BudgetRow, GroupRow, ProviderRow};
use serde_json::{Value, json};

use super::*;

const DOLLAR: i64 = 1_000_000_000;
const MAPPING: &str = r#"{"m":{"mapped_model":"m","input_cost_per_token":0.001,"output_cost_per_token":0.002}}"#;

fn budget(name: &str, scope: &str, subject: &str, amount: i64) -> BudgetRow {
    BudgetRow {
        name: name.into(),
        scope: scope.into(),
        subject: subject.into(),
        unit: "usd".into(),
        amount,
        period: "month".into(),
        is_hard: true,
        warn_at: "[]".into(),
        is_enabled: true,
        ..BudgetRow::default()
    }
}

fn usage(gateway: &Gateway, key: &str) -> Value {
    let mut client = gateway.client();
    client.ask(&get("/v1/usage").key(key));
    let response = client.response();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

#[test]
fn a_key_sees_its_own() {
    let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}"#;
    let fake = Fake::answering(move |_| answer::json(200, body));
    let group = GroupRow {
        name: "team".into(),
        allowed_models: "[]".into(),
        tokens_per_minute: Some(9000),
        is_enabled: true,
        ..GroupRow::default()
    };
    let member = |key: &str| CredentialRow { group_name: Some("team".into()), ..credential(key) };
    let alice = CredentialRow { rate_limit: Some(50), max_concurrency: Some(7), ..member("sk-alice") };
    let setup = Setup::new()
        .provider(ProviderRow { model_mapping: MAPPING.into(), ..provider("p", "openai", &fake.url("/v1")) })
        .group(group)
        .credential(alice)
        .credential(member("sk-bob"))
        .budget(budget("of-alice", "credential", "sk-alice", DOLLAR))
        .budget(budget("of-bob", "credential", "sk-bob", DOLLAR))
        .budget(budget("of-team", "group", "team", 10 * DOLLAR));
    let gateway = setup.start();
    let ask = |key: &str| {
        let mut client = gateway.client();
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }], "max_tokens": 20 });
        client.send(post(PATH).key(key).body(body.to_string()).bytes());
        assert_eq!(client.response().status, 200);
    };
    ask("sk-alice");
    ask("sk-bob");
    ask("sk-bob");
    let mut seen = Value::Null;
    eventually("what alice has spent is known", || {
        seen = usage(&gateway, "sk-alice");
        seen["spend"]["today"]["requests"] == 1 && seen["budgets"][0]["spent"] == json!(0.05)
    });
    assert_eq!((&seen["object"], &seen["credential"]), (&json!("usage"), &json!("sk-alice")));
    assert_eq!(seen["spend"]["month"]["cost"], json!(0.05));
    assert_eq!(
        (&seen["spend"]["by_model"][0]["group"], &seen["spend"]["by_model"][0]["output_tokens"]),
        (&json!("m"), &json!(20))
    );
    assert!(!seen.to_string().contains("bob"), "{seen}");

    let [own, of_group] = [&seen["limits"][0], &seen["limits"][1]];
    assert_eq!((&own["scope"], &own["requests_per_second"]["limit"]), (&json!("credential"), &json!(50)));
    assert_eq!(own["concurrent_requests"], json!({ "limit": 7, "running": 0 }));
    assert_eq!((&of_group["name"], &of_group["tokens_per_minute"]["limit"]), (&json!("team"), &json!(9000)));
    let [own, of_group] = [&seen["budgets"][0], &seen["budgets"][1]];
    assert_eq!(
        (&own["name"], &own["amount"], &own["left"].as_f64().map(|left| left <= 0.95)),
        (&json!("of-alice"), &json!(1.0), &Some(true))
    );
    assert!(own["renews_at"].as_str().unwrap().ends_with("T00:00:00Z"), "{own}");
    // What others have spent of it is theirs.
    assert_eq!((&of_group["name"], &of_group["spent"]), (&json!("of-team"), &Value::Null));
    assert!(of_group["left"].as_f64().unwrap() < 10.0, "{of_group}");
    eventually("bob's are two", || usage(&gateway, "sk-bob")["spend"]["today"]["requests"] == 2);
}

/// An error has the form of the client's format.
#[test]
fn errors_are_those_of_the_client() {
    let gateway = Setup::new().env("ALLOW_ANONYMOUS", "true").start();
    let mut client = gateway.client();
    client.ask(&get("/v1/usage").key("sk-unknown"));
    let response = client.response();
    assert_eq!((response.status, &response.json()["error"]["code"]), (401, &json!("invalid_api_key")));
    client.ask(&get("/v1/usage").key("sk-unknown").header("anthropic-version", "2023-06-01"));
    let response = client.response();
    assert_eq!((response.status, &response.json()["type"]), (401, &json!("error")));
    assert_eq!(response.json()["error"]["type"], json!("authentication_error"));
    client.ask(&get("/v1/usage").header("authorization", ""));
    let response = client.response();
    assert_eq!(response.status, 401, "{}", response.text());
    assert!(response.text().contains("shows what a key has used"), "{}", response.text());
    client.ask(&post("/v1/usage").key(KEY).body("{}"));
    assert_eq!(client.response().status, 405);
    client.ask(&get("/v2/usage").key(KEY));
    let response = client.response();
    assert_eq!(response.json()["budgets"], json!([]), "{}", response.text());
}

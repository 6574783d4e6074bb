//! WEBHOOK_URL through a receiver: what is reported, how it is signed, and that it is repeated
//! until it is taken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use llm_proxy::config::rows::{BudgetRow, CredentialRow, ProviderRow};
use ring::hmac;
use serde_json::{Value, json};

use crate::support::*;

const SECRET: &str = "a-secret-of-the-webhook-tests";

/// What the receiver got, of this type, once there is any.
fn received(receiver: &Fake, kind: &str) -> Vec<Value> {
    let of_kind = || {
        let bodies = receiver.requests().into_iter().map(|request| request.json());
        bodies.filter(|body| body["type"] == kind).collect::<Vec<_>>()
    };
    eventually(&format!("an event {kind}"), || !of_kind().is_empty());
    of_kind()
}

fn ask(gateway: &Gateway) -> u16 {
    let mut client = gateway.client();
    let body = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":20}"#;
    client.ask(&post("/v1/chat/completions").body(body));
    client.response().status
}

fn budget() -> BudgetRow {
    BudgetRow {
        name: "b".into(),
        scope: "credential".into(),
        subject: KEY.into(),
        unit: "tokens".into(),
        amount: 100,
        period: "day".into(),
        warn_at: "[20,90]".into(),
        is_enabled: true,
        ..BudgetRow::default()
    }
}

fn answering() -> Fake {
    let body = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":20,"total_tokens":30}}"#;
    Fake::answering(move |_| answer::json(200, body))
}

/// The receiver fails twice; then it gets the same event, with a signature that holds.
#[test]
fn a_threshold_is_signed_and_repeated() {
    let tries = AtomicUsize::new(0);
    let receiver = Fake::answering(move |_| match tries.fetch_add(1, Ordering::Relaxed) {
        0 => answer::json(503, "{}"),
        1 => answer::json(429, "{}"),
        _ => answer::json(200, "{}"),
    });
    let upstream = answering();
    let setup = Setup::new().provider(chat(&upstream)).budget(budget());
    let gateway = setup.env("WEBHOOK_URL", receiver.url("/hook")).env("WEBHOOK_SECRET", SECRET).start();
    assert_eq!(ask(&gateway), 200);
    eventually("it is delivered", || gateway.metric("llm_proxy_sink_records_total{sink=\"webhook\"}") == Some(1.0));
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    let id = requests[0].header("webhook-id").unwrap().to_owned();
    for request in &requests {
        assert!(request.text().starts_with("POST /hook") || request.header("webhook-id") == Some(&id));
        let time = request.header("webhook-timestamp").unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let signed = format!("{id}.{time}.{}", request.text());
        let signature = request.header("webhook-signature").unwrap().strip_prefix("v1,").unwrap();
        hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(signature).unwrap()).expect("the signature holds");
    }
    let event = requests[2].json();
    assert_eq!((&event["id"], &event["type"]), (&json!(id), &json!("budget.threshold")));
    let data = &event["data"];
    assert_eq!((&data["budget"], &data["percent"], &data["unit"]), (&json!("b"), &json!(20), &json!("tokens")));
    assert_eq!((&data["spent"], &data["amount"]), (&json!(30.0), &json!(100.0)));
    assert!(event["text"].as_str().unwrap().contains("30 tokens of 100 tokens"), "{event}");
}

#[test]
fn a_key_that_expires_and_a_provider_that_is_down() {
    let receiver = Fake::answering(|_| answer::json(200, "{}"));
    let broken = Fake::answering(|_| answer::json(500, r#"{"error":{"message":"broken"}}"#));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let ends = CredentialRow { expires_at: Some(now + 3 * 86_400), ..credential("sk-ends") };
    let soon = CredentialRow { expires_at: Some(now + 3600), ..credential("sk-soon") };
    let later = CredentialRow { expires_at: Some(now + 30 * 86_400), ..credential("sk-later") };
    let setup = Setup::new().provider(ProviderRow { weight: 1, ..chat(&broken) });
    let setup = [credential(KEY), ends, soon, later].into_iter().fold(setup, Setup::credential);
    let setup = setup.env("ADAPTIVE_ROUTING_ENABLED", true).env("ADAPTIVE_5XX_THRESHOLD", 1);
    let gateway = setup.env("WEBHOOK_URL", receiver.url("/")).start();
    assert!(ask(&gateway) >= 500);
    let down = received(&receiver, "provider.down");
    assert_eq!((down.len(), &down[0]["data"]), (1, &json!({ "provider": "chat", "model": "m", "reason": "5xx" })));
    eventually("two keys are reported", || received(&receiver, "key.expires").len() == 2);
    let mut keys: Vec<_> = received(&receiver, "key.expires").iter().map(|event| event["data"].clone()).collect();
    keys.sort_by_key(|data| data["days"].as_i64());
    let names: Vec<_> = keys.iter().map(|data| (data["credential"].clone(), data["days"].clone())).collect();
    assert_eq!(names, [(json!("sk-soon"), json!(1)), (json!("sk-ends"), json!(7))]);
    assert!(receiver.requests().iter().all(|request| request.header("webhook-signature").is_none()));
}

#[test]
fn a_message_for_slack() {
    let receiver = Fake::answering(|_| answer::json(200, "ok"));
    let upstream = answering();
    let setup = Setup::new().provider(chat(&upstream)).budget(budget());
    let gateway = setup.env("WEBHOOK_URL", receiver.url("/hook")).env("WEBHOOK_FORMAT", "slack").start();
    assert_eq!(ask(&gateway), 200);
    eventually("the message has come", || !receiver.requests().is_empty());
    let text = receiver.requests()[0].json()["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("20 % of budget b of credential sk-test is used: 30 tokens of 100 tokens; it renews"));
}

/// A receiver that refuses for good is not asked again, and what is lost is counted.
#[test]
fn what_is_refused_is_lost_and_counted() {
    let receiver = Fake::answering(|_| answer::json(410, "{}"));
    let upstream = answering();
    let setup = Setup::new().provider(chat(&upstream)).budget(budget());
    let gateway = setup.env("WEBHOOK_URL", receiver.url("/hook")).start();
    assert_eq!(ask(&gateway), 200);
    let lost = "llm_proxy_sink_records_dropped_total{sink=\"webhook\",reason=\"refused\"}";
    eventually("the event is lost", || gateway.metric(lost) == Some(1.0));
    assert_eq!(receiver.requests().len(), 1);
}

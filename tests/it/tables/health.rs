//! Whether the gateway should be asked, and whether its providers are well.

use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::*;

fn health(args: &[&str], env: &[(&str, &str)]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_llm-proxy"));
    command.env_clear().envs(env.iter().copied()).current_dir(dir.path()).arg("health").args(args).output().unwrap()
}

#[test]
fn ready_until_shutdown() {
    let provider = Fake::start();
    let mut gateway = Place(None).with(vec![chat(&provider)]).start();
    let (ready, _) = ask(&gateway, &get("/health/ready"));
    let body = ready.json();
    assert_eq!((ready.status, &body["status"], &body["store"]), (200, &json!("ok"), &json!("ok")));
    assert_eq!((&body["providers_count"], &body["config_version"]), (&json!(1), &json!(2)));
    let url = format!("http://{}", gateway.addr);
    let port = gateway.addr.port().to_string();
    for (args, env) in [(&["--url", &url][..], &[][..]), (&[], &[("PORT", &*port)])] {
        let output = health(args, env);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    // Something that runs, and connections that are accepted but were not used yet.
    let mut running = gateway.client();
    running.ask(&chat_request("m"));
    let mut conn = provider.accept();
    conn.request();
    let (mut one, mut two, mut last) = (gateway.client(), gateway.client(), gateway.client());
    last.ask(&get("/health"));
    assert_eq!(last.response().status, 200);
    gateway.term();
    last.expect_closed();
    one.ask(&get("/health/ready"));
    let answer = one.response();
    assert_eq!((answer.status, &answer.json()["reason"]), (503, &json!("this gateway is shutting down")));
    two.ask(&get("/health/live"));
    assert_eq!(two.response().status, 200);
    conn.send(answer::json(200, ANSWER));
    assert_eq!(running.response().status, 200);
    assert_eq!(gateway.wait().code(), Some(0));
    let output = health(&["--url", &url], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot be reached"));
}

fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    gateway.metric(&format!("{name}{{provider=\"chat\"}}"))
}

#[test]
fn providers_are_checked_at_intervals() {
    let well = Arc::new(AtomicBool::new(true));
    let now = well.clone();
    let upstream = Fake::answering(move |_| match now.load(Ordering::Relaxed) {
        true => answer::json(200, ANSWER),
        false => answer::json(500, r#"{"error":{"message":"broken"}}"#),
    });
    let mapping = r#"{"first":"first","second":"second"}"#;
    let provider = ProviderRow { model_mapping: mapping.into(), ..chat(&upstream) };
    let gateway = Place(None).with(vec![provider]).env("HEALTH_CHECK_INTERVAL_SECS", 1).start();
    eventually("it is well", || metric(&gateway, "llm_proxy_provider_health") == Some(1.0));
    // A provider of which nothing is known is taken for well, so the first check is waited for.
    let checks = || metric(&gateway, "llm_proxy_provider_latency_seconds_count").unwrap_or_default();
    eventually("it was checked", || checks() >= 1.0);
    well.store(false, Ordering::Relaxed);
    eventually("it is not", || metric(&gateway, "llm_proxy_provider_health") == Some(0.0));
    gateway.expect_log(&["the check of its health failed: status 500"]);
    assert!(upstream.requests().iter().all(|request| request.target == "/v1/models"), "it costs no tokens");
    assert_eq!(admin(&gateway, "DELETE", "/providers/1", Value::Null).status, 204);
    assert_eq!(metric(&gateway, "llm_proxy_provider_health"), None, "nobody waits for it any more");
}

#[test]
fn checks_on_demand_are_seen_in_the_metrics() {
    let upstream = scripted();
    let mapping = r#"{"plain":"plain","bad":"bad"}"#;
    let gateway = Place(None).with(vec![ProviderRow { model_mapping: mapping.into(), ..chat(&upstream) }]).start();
    let health = || metric(&gateway, "llm_proxy_provider_health");
    assert_eq!(health(), Some(1.0), "nothing is known against it");
    admin(&gateway, "POST", "/health/check", json!({ "models": ["bad"] }));
    assert_eq!(health(), Some(1.0), "a model that an operator made up says nothing of the provider");
    admin(&gateway, "POST", "/health/check", json!({}));
    assert_eq!(health(), Some(1.0), "one that answers is enough");
}

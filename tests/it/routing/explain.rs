//! `llm-proxy explain` and `POST /admin/v1/explain`: what they say is what happens.

use llm_proxy::config::rows::ModelRow;
use serde_json::{Value, json};

use super::*;

const ADMIN_KEY: &str = "admin-key-of-the-tests";

fn setup(fakes: &[Fake; 3]) -> Setup {
    let row = |name: &str, at: usize, mapping: &str, weight: i64| ProviderRow {
        model_mapping: mapping.into(),
        weight,
        ..provider(name, "openai", &fakes[at].url("/v1"))
    };
    let disabled = ProviderRow { is_enabled: false, ..row("disabled", 2, "{}", 1) };
    let model = ModelRow {
        name: "smart".into(),
        members: json!(["m", { "model": "other", "priority": 1 }, { "model": "secret", "priority": 2 }]).to_string(),
        overrides: "{}".into(),
        options: "{}".into(),
        is_enabled: true,
        ..ModelRow::default()
    };
    Setup::new()
        .env("ADMIN_KEY", ADMIN_KEY)
        .env("RETRY_MAX_WAIT_SECS", 5)
        .env("ADAPTIVE_ROUTING_ENABLED", true)
        .provider(row("exact", 0, r#"{"m":"upstream-m"}"#, 3))
        .provider(row("pattern", 1, r#"{"o*":"o$1","m":"m"}"#, 1))
        .provider(disabled)
        .model(model)
        .credential(credential(KEY))
        .credential(CredentialRow { allowed_models: r#"["smart","m","other"]"#.into(), ..credential("sk-few") })
}

fn explain(gateway: &Gateway, body: Value) -> Value {
    let mut client = gateway.client();
    client.ask(&post("/admin/v1/explain").key(ADMIN_KEY).body(body.to_string()));
    let response = client.response();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn providers(explanation: &Value) -> Vec<&str> {
    let candidates = explanation["candidates"].as_array().unwrap();
    candidates.iter().map(|candidate| candidate["provider"].as_str().unwrap()).collect()
}

#[test]
fn an_explanation_is_what_happens() {
    let fakes = [named("exact"), named("pattern"), named("disabled")];
    let gateway = setup(&fakes).start();
    let explanation = explain(&gateway, json!({ "model": "m", "format": "messages" }));
    assert_eq!(providers(&explanation), ["exact", "pattern"]);
    let first = &explanation["candidates"][0];
    assert_eq!(
        (&first["upstream_model"], &first["format"], &first["rank"]),
        (&json!("upstream-m"), &json!("chat"), &json!("exact"))
    );
    assert_eq!((&first["weight"], &first["share"], &first["state"]), (&json!(3), &json!(0.75), &json!("closed")));
    assert_eq!(explanation["left_out"], json!([{ "provider": "disabled", "member": null, "why": "it is disabled" }]));
    assert!(
        explain(&gateway, json!({ "model": "m", "format": "messages", "translates": false }))["refusal"]
            .as_str()
            .unwrap()
            .contains("other formats alone")
    );

    // The key gets two members of three; the standby tier comes second.
    let explanation = explain(&gateway, json!({ "model": "smart", "credential": "sk-few" }));
    assert_eq!(providers(&explanation), ["exact", "pattern", "pattern"]);
    assert_eq!(explanation["candidates"][2]["tier"], 1);
    let left_out = explanation["left_out"].to_string();
    assert!(left_out.contains("the credential may not use it by its own name"), "{left_out}");
    let refused = explain(&gateway, json!({ "model": "else", "credential": "sk-few" }));
    assert_eq!(refused["refusal"], "the credential may not use model `else`");
    assert!(fakes.iter().all(|fake| fake.requests().is_empty()), "nothing was sent");

    // A provider that is out of service comes last, there and here.
    let mut client = gateway.client();
    client.ask(&post("/admin/v1/providers/1/circuit").key(ADMIN_KEY).body(r#"{"state":"open"}"#));
    assert_eq!(client.response().status, 200);
    let explanation = explain(&gateway, json!({ "model": "m" }));
    assert_eq!(providers(&explanation), ["pattern", "exact"]);
    let last = &explanation["candidates"][1];
    assert_eq!((&last["is_benched"], &last["share"]), (&json!(true), &json!(0.0)));
    assert!(last["why"].as_str().unwrap().contains("out of service (administrator)"), "{last}");
    assert_eq!(answered_by(&mut client, "m"), "pattern");
    client.ask(&post("/admin/v1/explain").key(ADMIN_KEY).body(r#"{"model":"m","credential":"x"}"#));
    assert_eq!(client.response().status, 400);
}

#[test]
fn the_command_line_explains_a_store() {
    let fakes = [named("exact"), named("pattern"), named("disabled")];
    let gateway = setup(&fakes).start();
    let run = |args: &[&str]| {
        let output = gateway.cli(args);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = run(&["explain", "--model", "smart", "--key", "sk-few"]);
    assert!(text.starts_with("virtual model smart, asked for by sk-few in format chat\n#  PROVIDER"), "{text}");
    assert!(text.contains("not asked: member secret: the credential may not use it by its own name"), "{text}");
    let text = run(&["explain", "m", "--format", "responses", "--json"]);
    let explanation: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(providers(&explanation), ["exact", "pattern"]);
    assert_eq!(explanation["format"], "responses");
}

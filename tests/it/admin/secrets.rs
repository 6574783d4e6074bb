//! Providers' keys at rest.

use super::*;

const ONE: &str = "the-first-secret-key-of-these-tests";
const TWO: &str = "the-second-secret-key-of-these-tests";

#[test]
fn keys_are_encrypted_and_used_all_the_same() {
    let upstream = Fake::answering(|_| answer::json(200, "{}"));
    let gateway = empty().credential(credential(KEY)).provider(chat(&upstream)).env("SECRET_KEY", ONE).start();
    let mut admin = Admin::of(&gateway);
    let body = json!({ "provider_key": "p", "api_base": upstream.url("/v1"), "api_key": "sk-plain", "model_mapping": { "m": "m" } });
    let made = admin.expect(201, "POST", "/providers", body);
    assert_eq!(made["provider"]["api_key_kind"], "encrypted");
    let stored = |gateway: &Gateway, at: usize| gateway.store().load().unwrap().providers[at].api_key.to_string();
    assert!(stored(&gateway, 1).starts_with("enc:v1:"));
    assert_eq!(stored(&gateway, 0), "pk-upstream", "what was plain stays so until it is asked for");

    admin.expect(200, "PUT", "/providers/1/status", json!({ "is_enabled": false }));
    admin.0.call("/v1/chat/completions", r#"{"model":"m","messages":[]}"#);
    assert_eq!(upstream.requests().last().unwrap().header("authorization"), Some("Bearer sk-plain"));

    let done = admin.expect(200, "POST", "/config/reencrypt", Value::Null);
    assert_eq!(done["reencrypted"], 0, "the first was sealed by the change above");
    assert!(stored(&gateway, 0).starts_with("enc:v1:"));
}

#[test]
fn a_secret_key_can_be_replaced() {
    let sealed = |secret: &'static str| {
        let env = move |name: &str| (name == "SECRET_KEY").then(|| secret.to_owned());
        llm_proxy::config::vault::seal("sk-plain", &env).unwrap()
    };
    let row = || ProviderRow { api_key: sealed(ONE).into(), ..provider("p", "openai", "http://127.0.0.1:9") };
    let gateway = empty().provider(row()).env("SECRET_KEY", TWO).start();
    let problems = Admin::of(&gateway).get("/config/problems");
    let message = problems["problems"][0]["message"].as_str().unwrap();
    assert!(message.contains("api_key is encrypted with the key") && !message.contains("sk-plain"), "{message}");

    let gateway = empty().provider(row()).env("SECRET_KEY", TWO).env("SECRET_KEY_PREVIOUS", ONE).start();
    let mut admin = Admin::of(&gateway);
    assert_eq!(admin.get("/config/problems")["problems"], json!([]));
    for count in [1, 0] {
        assert_eq!(admin.expect(200, "POST", "/config/reencrypt", Value::Null)["reencrypted"], count);
    }
    let row = gateway.store().load().unwrap().providers.remove(0);
    let env = |name: &str| (name == "SECRET_KEY").then(|| TWO.to_owned());
    assert_eq!(llm_proxy::config::vault::open("api_key", &row.api_key, &env).unwrap(), "sk-plain");
}

#[test]
fn a_secret_key_that_is_no_secret_is_refused_at_the_start() {
    let ended = empty().env("SECRET_KEY", "short").try_start().err().unwrap();
    assert!(ended.stderr.contains("SECRET_KEY") && ended.stderr.contains("at least 32 characters"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("short"));
}

use llm_proxy::config::rows::ProviderRow;

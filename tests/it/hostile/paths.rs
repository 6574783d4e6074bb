//! No client can choose the path of the upstream request.

use llm_proxy::config::rows::ProviderRow;

use super::*;

/// A provider of Azure's first API, which has the model in the path.
fn azure(fake: &Fake) -> ProviderRow {
    provider("azure", "azure", &fake.url("?api-version=2024-10-21"))
}

#[test]
fn a_model_is_one_segment_of_a_path() {
    let fake = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(azure(&fake)).start();
    let rows = [
        ("a/b", "a%2Fb"),
        ("../../x", "..%2F..%2Fx"),
        ("%2e%2e", "%252e%252e"),
        ("..?", "..%3F"),
        ("a?b=c", "a%3Fb%3Dc"),
        ("a#b", "a%23b"),
        ("a\\b", "a%5Cb"),
        ("a b\r\nx: y", "a%20b%0D%0Ax%3A%20y"),
        ("...", "..."),
        ("é", "%C3%A9"),
    ];
    for (model, segment) in rows {
        let body = serde_json::json!({ "model": model }).to_string();
        assert_eq!(gateway.client().call(CHAT.path, body).status, 200, "{model}");
        let target = fake.requests().pop().unwrap().target;
        assert_eq!(target, format!("/openai/deployments/{segment}/chat/completions?api-version=2024-10-21"));
    }
    let seen = fake.requests().len();
    for model in [".", ".."] {
        for sample in [&CHAT, &MESSAGES] {
            let response = gateway.client().call(
                sample.path,
                format!(r#"{{"model":"{model}","max_tokens":1,"messages":[{{"role":"user","content":"x"}}]}}"#),
            );
            assert_eq!(response.status, 400, "{model}: {}", response.text());
            assert!(response.text().contains("cannot stand in the path"), "{}", response.text());
        }
    }
    assert_eq!(fake.requests().len(), seen);
}

/// A pattern may make such a name of one that looks harmless.
#[test]
fn a_mapping_makes_no_path_either() {
    let fake = Fake::answering(|_| answer::json(200, CHAT.answer));
    let row = ProviderRow { model_mapping: r#"{"x":".."}"#.into(), ..azure(&fake) };
    let gateway = Setup::new().provider(row).start();
    assert_eq!(gateway.client().call(CHAT.path, r#"{"model":"x"}"#).status, 400);
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn a_parameter_of_the_base_is_not_overridden() {
    let fake = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(azure(&fake)).start();
    let path = format!("{}?a=1&api-version=2023-01-01&Api%2dVersion=x&b", CHAT.path);
    assert_eq!(gateway.client().call(&path, r#"{"model":"m"}"#).status, 200);
    let target = fake.requests().pop().unwrap().target;
    assert_eq!(target, "/openai/deployments/m/chat/completions?api-version=2024-10-21&a=1&b");
}

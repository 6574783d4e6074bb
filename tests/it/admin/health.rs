//! Checks of providers.

use super::*;

fn fake() -> Fake {
    Fake::answering(|request| match request.json()["model"].as_str() {
        Some("good-upstream" | "gpt-3.5-turbo" | "claude-3-haiku-20240307") => answer::json(200, "{}"),
        Some("slow") => {
            // Far longer than the time that the check gives it.
            std::thread::sleep(std::time::Duration::from_secs(30));
            answer::json(200, "{}")
        }
        Some("refused") => answer::json(401, r#"{"error":{"message":"Incorrect API key provided: sk-1"}}"#),
        _ => answer::json(404, r#"{"error":{"message":"no such model"}}"#),
    })
}

#[test]
fn models_of_a_provider() {
    let upstream = fake();
    let mapping = json!({ "good": "good-upstream", "bad": "bad", "refused": "refused", "gpt-*": "x" });
    let row = ProviderRow { model_mapping: mapping.to_string(), ..chat(&upstream) };
    let gateway = empty().provider(row).start();
    let mut admin = Admin::of(&gateway);
    let seen = admin.expect(200, "POST", "/providers/1/health", json!({ "max_concurrent": 3 }));
    let models = seen["models"].as_array().unwrap();
    let found = |name: &str| models.iter().find(|model| model["model"] == name).unwrap();
    assert_eq!(models.len(), 3, "patterns are no names");
    assert_eq!((&found("good")["status"], &found("good")["error"]), (&json!("healthy"), &Value::Null));
    assert_eq!(found("bad")["error"], "HTTP 404 - no such model");
    assert_eq!(found("refused")["error"], "Authentication error");
    assert_eq!(seen["summary"], json!({ "total_models": 3, "healthy_models": 1, "unhealthy_models": 2 }));
    assert_eq!(
        (&seen["status"], &seen["provider_key"], &seen["provider_id"]),
        (&json!("healthy"), &json!("chat"), &json!(1))
    );
    assert!(seen["avg_response_time_ms"].is_u64() && seen["checked_at"].is_string());
    let received = upstream.requests();
    assert!(received.iter().all(|request| request.target == "/v1/chat/completions"));
    assert_eq!(received[0].header("authorization"), Some("Bearer pk-upstream"));

    let seen = admin.get("/health/providers/1?models=slow,bad&timeout_secs=1");
    assert_eq!(seen["status"], "unhealthy");
    assert_eq!(seen["models"][0]["error"], "Timeout after 1s");
    assert_eq!(seen["models"][0]["response_time_ms"], Value::Null);
    let rows = [
        ("GET", "/health/providers/9", Value::Null, 404),
        ("GET", "/health/providers/1?timeout_secs=121", Value::Null, 400),
        ("POST", "/providers/1/health", json!({ "max_concurrent": 11 }), 400),
        ("POST", "/providers/1/health", json!({ "timeout_secs": 0 }), 400),
        ("POST", "/health/check", json!({ "provider_ids": [9] }), 404),
    ];
    for (method, path, body, status) in rows {
        assert_eq!(admin.call(method, path, body).status, status, "{path}");
    }
}

#[test]
fn the_deployments_of_azure_and_models_that_reason() {
    let upstream = Fake::answering(|_| answer::json(200, "{}"));
    let row = ProviderRow {
        model_mapping: r#"{"plain":"gpt-4o","thinker":"o3"}"#.into(),
        provider_params: r#"{"host":"azure"}"#.into(),
        ..provider("azure", "azure", &upstream.url("?api-version=2024-10-21"))
    };
    let gateway = empty().provider(row).start();
    let seen = Admin::of(&gateway).expect(200, "POST", "/providers/1/health", json!({ "max_concurrent": 1 }));
    assert_eq!(seen["summary"]["healthy_models"], 2, "{seen}");
    let received = upstream.requests();
    for (request, model) in received.iter().zip(["gpt-4o", "o3"]) {
        let target = format!("/openai/deployments/{model}/chat/completions?api-version=2024-10-21");
        assert_eq!(request.target, target);
        // A model that reasons refuses the older name.
        assert_eq!(
            (&request.json()["max_completion_tokens"], &request.json()["max_tokens"]),
            (&json!(16), &Value::Null)
        );
    }
    assert_eq!(received.len(), 2);
}

#[test]
fn several_providers() {
    let upstream = fake();
    let gateway = empty()
        .provider(chat(&upstream))
        .provider(anthropic(&upstream))
        .provider(ProviderRow { is_enabled: false, ..responses(&upstream) })
        .provider(provider("broken", "openai", "nonsense"))
        .provider(provider("away", "openai", "http://127.0.0.1:9"))
        .start();
    let mut admin = Admin::of(&gateway);
    let seen = admin.expect(200, "POST", "/health/check", json!({}));
    let statuses: Vec<_> =
        seen["providers"].as_array().unwrap().iter().map(|p| p["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["healthy", "healthy", "unhealthy", "unhealthy"], "{seen}");
    let counts = [&seen["total_providers"], &seen["healthy_providers"], &seen["unhealthy_providers"]];
    assert_eq!(counts, [&json!(4), &json!(2), &json!(2)]);
    assert!(seen["providers"][2]["error"].as_str().unwrap().contains("/config/problems"));
    let seen = admin.expect(200, "POST", "/health/check", json!({ "provider_ids": [3, 1] }));
    assert_eq!((&seen["providers"][0]["status"], &seen["unhealthy_providers"]), (&json!("disabled"), &json!(0)));

    let detailed = admin.ask(&get("/health/detailed").key(ADMIN_KEY)).json();
    assert_eq!((&detailed["status"], &detailed["total_providers"]), (&json!("degraded"), &json!(4)));
    admin.0.ask(&get("/health/detailed").key("sk-test"));
    assert_eq!(admin.0.response().status, 401, "each call costs money");
    let messages = upstream.requests().into_iter().find(|request| request.target == "/v1/messages").unwrap();
    assert_eq!(messages.header("x-api-key"), Some("pk-upstream"));
}

use llm_proxy::config::rows::ProviderRow;

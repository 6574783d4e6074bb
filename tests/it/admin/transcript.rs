//! The quick start of llm-proxy v1, request by request, against a gateway that has just been
//! started; and its defects there, which must not come back.

use super::*;

fn upstream() -> Fake {
    Fake::answering(|request| {
        let model = request.json()["model"].clone();
        answer::json(200, json!({ "id": "x", "object": "chat.completion", "model": model, "choices": [] }).to_string())
    })
}

fn chat_with(client: &mut Client, key: &str, model: &str) -> u16 {
    let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Hello" }] });
    client.ask(&post("/v1/chat/completions").key(key).body(body.to_string()));
    client.response().status
}

/// All members of `expected`, and maybe others.
fn has(seen: &Value, expected: Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&seen[name], value, "{name}: {seen}");
    }
}

#[test]
fn quick_start() {
    let fake = upstream();
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let mut client = gateway.client();

    // Providers: create (the very first example has an empty mapping), list, read, change, remove.
    let body = json!({
        "provider_key": "openai-main", "provider_type": "openai", "api_base": fake.url("/v1"), "api_key": "sk-xxx",
        "model_mapping": {}, "is_enabled": true,
    });
    let made = admin.expect(201, "POST", "/providers", body);
    let provider = json!({
        "id": 1, "provider_key": "openai-main", "provider_type": "openai", "api_base": fake.url("/v1"), "model_mapping": {},
        "weight": 1, "provider_params": {}, "is_enabled": true,
    });
    assert_eq!(made["version"], 1);
    has(&made["provider"], provider.clone());
    let list = admin.get("/providers");
    assert_eq!((&list["version"], &list["providers"][0]["provider_key"]), (&json!(1), &json!("openai-main")));
    has(&list["providers"][0], provider.clone());
    has(&admin.get("/providers/1"), provider);
    let changed = admin.expect(200, "PUT", "/providers/1", json!({ "is_enabled": false }));
    assert_eq!(changed, json!({ "version": 2, "status": "updated" }));
    admin.expect(200, "PUT", "/providers/1", json!({ "is_enabled": true }));

    // Credentials: with a limit, blocked, unlimited.
    let create = |name: &str, limit: Value| json!({ "key": format!("sk-{name}-key"), "name": name, "allowed_models": ["gpt-4", "gpt-3.5-turbo"], "is_enabled": true, "rate_limit": limit });
    let made = admin.expect(201, "POST", "/credentials", create("limited", json!(100)));
    let credential = json!({
        "id": 1, "name": "limited", "key_preview": "sk-***key", "allowed_models": ["gpt-4", "gpt-3.5-turbo"], "rate_limit": 100,
        "is_enabled": true,
    });
    assert_eq!(made["version"], 4);
    has(&made["credential"], credential);
    admin.expect(201, "POST", "/credentials", create("blocked", json!(0)));
    admin.expect(201, "POST", "/credentials", create("unlimited", Value::Null));
    assert_eq!(chat_with(&mut client, "sk-limited-key", "gpt-4"), 200);
    assert_eq!(chat_with(&mut client, "sk-blocked-key", "gpt-4"), 429);
    assert_eq!(chat_with(&mut client, "sk-unlimited-key", "gpt-4"), 200);
    assert_eq!(chat_with(&mut client, "sk-unlimited-key", "gpt-5"), 403);
    let list = admin.get("/credentials");
    assert_eq!(list["credentials"].as_array().unwrap().len(), 3);
    assert_eq!(list["version"], 6);
    let changed = admin.expect(200, "PUT", "/credentials/1", json!({ "rate_limit": 50 }));
    assert_eq!(changed, json!({ "version": 7, "status": "updated" }));
    assert_eq!(admin.get("/credentials/1")["rate_limit"], 50);
    // Another key than the admin's opens nothing.
    for key in ["sk-unlimited-key", "wrong"] {
        let response = admin.ask(&with_authorization("GET", "/providers", &format!("Bearer {key}")));
        assert_eq!(error(&response), (401, "Invalid admin key".to_owned()));
    }

    // The rest of what a client is shown first.
    for (path, holds) in [("/v1/models", "\"data\""), ("/metrics", "llm_proxy_"), ("/health", "ok"), ("/docs", "<html")]
    {
        client.ask(&get(path).key("sk-limited-key"));
        let response = client.response();
        assert!(response.status == 200 && response.text().contains(holds), "{path}: {}", response.text());
    }
    client.ask(&post("/v1/completions").key("sk-limited-key").body(r#"{"model":"gpt-4","prompt":"Hello"}"#));
    assert_eq!(client.response().status, 200);

    // Versions and reloading.
    let version = admin.get("/config/version");
    assert!(version["version"].is_i64() && version["timestamp"].is_string());
    let reloaded = admin.expect(200, "POST", "/config/reload", Value::Null);
    assert_eq!((&reloaded["providers_count"], &reloaded["credentials_count"]), (&json!(1), &json!(3)));
    assert_eq!(reloaded["version"], version["version"]);

    admin.expect(204, "DELETE", "/credentials/1", Value::Null);
    admin.expect(204, "DELETE", "/providers/1", Value::Null);
    assert_eq!(chat_with(&mut client, "sk-limited-key", "gpt-4"), 401);
    assert_eq!(chat_with(&mut client, "sk-unlimited-key", "gpt-4"), 404);
}

/// In v1 a limit of 0 was no limit, or one per second.
#[test]
fn rate_limit_of_zero_blocks_all_requests() {
    let fake = upstream();
    let gateway = empty().provider(chat(&fake)).start();
    Admin::of(&gateway).expect(201, "POST", "/credentials", json!({ "key": "sk-zero", "name": "z", "rate_limit": 0 }));
    let mut client = gateway.client();
    for _ in 0..12 {
        assert_eq!(chat_with(&mut client, "sk-zero", "m"), 429);
    }
    assert!(fake.requests().is_empty());
}

/// In v1 each request counted twice, so that a limit of 1 never admitted one.
#[test]
fn request_counts_once() {
    let fake = upstream();
    let gateway = empty().provider(chat(&fake)).start();
    let mut admin = Admin::of(&gateway);
    let mut client = gateway.client();
    for n in [1, 3] {
        let key = format!("sk-{n}");
        admin.expect(201, "POST", "/credentials", json!({ "key": key, "name": key, "rate_limit": n }));
        let statuses: Vec<u16> = (0..n).map(|_| chat_with(&mut client, &key, "m")).collect();
        assert!(statuses.iter().all(|status| *status == 200), "{n}: {statuses:?}");
    }
}

/// In v1 `is_enabled: false` was ignored when a row was made.
#[test]
fn rows_can_be_created_disabled() {
    let fake = upstream();
    let gateway = empty().credential(credential(KEY)).start();
    let mut admin = Admin::of(&gateway);
    let body = json!({ "provider_key": "p", "api_base": fake.url("/v1"), "api_key": "k", "is_enabled": false });
    assert_eq!(admin.expect(201, "POST", "/providers", body)["provider"]["is_enabled"], false);
    let body = json!({ "key": "sk-off", "name": "off", "is_enabled": false });
    assert_eq!(admin.expect(201, "POST", "/credentials", body)["credential"]["is_enabled"], false);
    let mut client = gateway.client();
    assert_eq!((chat_with(&mut client, KEY, "m"), chat_with(&mut client, "sk-off", "m")), (404, 401));
}

/// In v1 a provider with an empty mapping, as in the first example, served nothing.
#[test]
fn empty_mapping_serves_every_model() {
    let fake = upstream();
    let gateway = empty().credential(credential(KEY)).start();
    let body = json!({ "provider_key": "p", "api_base": fake.url("/v1"), "api_key": "k", "model_mapping": {} });
    Admin::of(&gateway).expect(201, "POST", "/providers", body);
    assert_eq!(chat_with(&mut gateway.client(), KEY, "whatever"), 200);
}

/// In v1 a limit could be set and never cleared.
#[test]
fn null_removes_a_limit() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/credentials", json!({ "key": "sk-a", "name": "a", "rate_limit": 5 }));
    admin.expect(200, "PUT", "/credentials/1", json!({ "name": "b" }));
    assert_eq!(admin.get("/credentials/1")["rate_limit"], 5, "absent is not null");
    admin.expect(200, "PUT", "/credentials/1", json!({ "rate_limit": null }));
    assert_eq!(admin.get("/credentials/1")["rate_limit"], Value::Null);
}

/// In v1 a request panicked with no provider or one of weight 0; a negative weight was a huge one.
#[test]
fn no_provider_and_odd_weights_do_not_panic() {
    let fake = upstream();
    let gateway = empty().credential(credential(KEY)).start();
    let mut admin = Admin::of(&gateway);
    let mut client = gateway.client();
    assert_eq!(chat_with(&mut client, KEY, "m"), 404);
    let with =
        |weight: i64| json!({ "provider_key": "p", "api_base": fake.url("/v1"), "api_key": "k", "weight": weight });
    admin.expect(400, "POST", "/providers", with(-1));
    admin.expect(201, "POST", "/providers", with(0));
    assert_eq!(chat_with(&mut client, KEY, "m"), 200, "a standby that is alone serves");
    admin.expect(200, "PUT", "/providers/1", json!({ "is_enabled": false }));
    assert_eq!(chat_with(&mut client, KEY, "m"), 404);
    // By hand, past every check.
    let file = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
    file.execute("UPDATE providers SET weight = -5, is_enabled = 1", []).unwrap();
    eventually("it serves as a standby", || chat_with(&mut client, KEY, "m") == 200);
    assert!(admin.get("/config/problems")["problems"][0]["message"].as_str().unwrap().contains("weight -5"));
}

/// In v1 writes took effect only after a reload; a bad row made the reload fail after the
/// version had moved.
#[test]
fn bad_row_affects_nothing_else() {
    let fake = upstream();
    let gateway = empty().credential(credential(KEY)).provider(chat(&fake)).start();
    let mut admin = Admin::of(&gateway);
    let file = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
    file.execute("INSERT INTO credentials (credential_key, name, rate_limit) VALUES ('no hash', 'bad', -1)", [])
        .unwrap();
    let reloaded = admin.expect(200, "POST", "/config/reload", Value::Null);
    assert_eq!((&reloaded["credentials_count"], &reloaded["providers_count"]), (&json!(1), &json!(1)));
    assert_eq!(admin.get("/config/problems")["problems"].as_array().unwrap().len(), 2);
    assert_eq!(chat_with(&mut gateway.client(), KEY, "m"), 200);
}

/// In v1 extended mappings were refused when made, and broke the list when written by hand.
#[test]
fn extended_mappings_are_accepted() {
    let fake = upstream();
    let gateway = empty().credential(credential(KEY)).start();
    let mut admin = Admin::of(&gateway);
    let mapping = json!({ "m": { "mapped_model": "up", "max_tokens": 5, "supports_vision": true } });
    let body = json!({ "provider_key": "p", "api_base": fake.url("/v1"), "api_key": "k", "model_mapping": mapping });
    admin.expect(201, "POST", "/providers", body);
    assert_eq!(admin.get("/providers")["providers"][0]["model_mapping"], mapping);
    assert_eq!(chat_with(&mut gateway.client(), KEY, "m"), 200);
    assert_eq!(fake.requests()[0].json()["model"], "up");
}

/// In v1 a missing header passed for a valid key at `/auth/validate`.
#[test]
fn validate_demands_the_admin_key() {
    let gateway = empty().start();
    let response = Admin::of(&gateway).ask(&with_authorization("POST", "/auth/validate", ""));
    assert_eq!((response.status, &response.json()["valid"]), (401, &json!(false)));
}

//! `/providers`.

use super::*;

#[test]
fn made_changed_and_removed() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let mapping = r#"{"z":"1","a":{"mapped_model":"2","max_tokens":5}}"#;
    let body = format!(
        r#"{{"provider_key":"p","provider_type":"anthropic","api_base":"https://api.anthropic.com","api_key":"sk-secret",
            "model_mapping":{mapping},"weight":3,"provider_params":{{"custom_headers":{{"x-team":"s3cret"}}}}}}"#
    );
    let response = admin.ask(&request("POST", "/providers").body(&body));
    assert_eq!(response.status, 201, "{}", response.text());
    assert!(!response.text().contains("secret") && !response.text().contains("s3cret"), "{}", response.text());
    assert!(response.text().contains(&format!(r#""model_mapping":{mapping}"#)), "as sent: {}", response.text());
    assert_eq!((response.header("etag"), response.header("location")), (Some("\"1\""), Some("/admin/v1/providers/1")));
    let made = response.json();
    assert_eq!(made["version"], 1);
    let provider = &made["provider"];
    for (field, value) in [
        ("id", json!(1)),
        ("provider_key", json!("p")),
        ("provider_type", json!("anthropic")),
        ("api_base", json!("https://api.anthropic.com")),
        ("weight", json!(3)),
        ("provider_params", json!({ "custom_headers": { "x-team": "***" } })),
        ("is_enabled", json!(true)),
        ("api_key_kind", json!("plain")),
    ] {
        assert_eq!(provider[field], value, "{field}");
    }

    // What is absent stays, null clears, and what was masked stays as it was.
    let change = json!({ "weight": 0, "model_mapping": null, "provider_params": provider["provider_params"] });
    let changed = admin.expect(200, "PUT", "/providers/1", change);
    assert_eq!(changed, json!({ "version": 2, "status": "updated" }));
    let row = gateway.store().load().unwrap().providers.remove(0);
    assert_eq!((row.weight, row.model_mapping.as_str(), &*row.api_key), (0, "{}", "sk-secret"));
    assert_eq!(row.provider_params, r#"{"custom_headers":{"x-team":"s3cret"}}"#);

    let status = admin.expect(200, "PATCH", "/providers/1/status", json!({ "is_enabled": false }));
    assert_eq!(
        (&status["version"], &status["status"], &status["provider"]["is_enabled"]),
        (&json!(3), &json!("updated"), &json!(false))
    );
    assert_eq!(admin.get("/providers/1")["is_enabled"], false);
    assert_eq!(admin.call("DELETE", "/providers/1", Value::Null).status, 204);
    assert_eq!(admin.call("GET", "/providers/1", Value::Null).status, 404);
    let list = admin.get("/providers");
    assert_eq!((&list["version"], &list["providers"]), (&json!(4), &json!([])));
}

#[test]
fn reports_all_invalid_fields() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/providers", new_provider("taken"));
    let good = new_provider("new");
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let rows = [
        (json!({}), 400, "provider_key is required; api_base is required"),
        (
            json!({ "provider_key": "", "api_base": 7, "weight": -1 }),
            400,
            "provider_key must be 1 to 255 visible characters",
        ),
        (
            json!({ "provider_key": "x", "api_base": 7, "weight": -1 }),
            400,
            "api_base must be a string; weight must be a whole number",
        ),
        (with("api_base", json!("nonsense")), 400, "api_base"),
        (with("provider_type", json!("gemini")), 400, "type `gemini` is not served by this version"),
        (with("api_key", json!("a\nb")), 400, "api_key holds a character"),
        (with("api_key", json!("env:")), 400, "api_key is `env:` without the name of a variable"),
        (with("model_mapping", json!({ "re:(": "x" })), 400, "model_mapping"),
        (with("model_mapping", json!([])), 400, "model_mapping must be a JSON object"),
        (with("provider_params", json!({ "custom_headers": { "host": "x" } })), 400, "custom_headers"),
        (with("lua_script", json!("x")), 400, "lua_script is not served"),
        (new_provider("taken"), 409, "a provider named `taken` exists"),
    ];
    for (body, status, message) in rows {
        let (seen, reported_text) = error(&admin.call("POST", "/providers", body.clone()));
        assert!(seen == status && reported_text.contains(message), "{body}: {seen} {reported_text}");
    }
    for text in ["{", "[]", "\u{1}", "nonsense"] {
        assert_eq!(admin.ask(&request("POST", "/providers").body(text)).status, 400, "{text}");
    }
    let rows = [
        (json!({}), "No fields to update"),
        (json!({ "provider_key": "other" }), "No fields to update"),
        (json!({ "api_base": null }), "api_base can't be null"),
        (json!({ "weight": "1" }), "weight must be a whole number"),
        (json!({ "api_base": "nonsense", "weight": 2 }), "api_base"),
    ];
    for (body, message) in rows {
        let (status, reported_text) = error(&admin.call("PUT", "/providers/1", body.clone()));
        assert!(status == 400 && reported_text.contains(message), "{body}: {status} {reported_text}");
    }
    let list = admin.get("/providers");
    assert_eq!((&list["version"], list["providers"].as_array().unwrap().len()), (&json!(1), 1), "nothing was changed");
}

#[test]
fn a_row_that_was_broken_before_can_still_be_switched_off() {
    let gateway = empty().provider(provider("broken", "openai", "nonsense")).start();
    let mut admin = Admin::of(&gateway);
    let problems = admin.get("/config/problems");
    assert_eq!(problems["problems"][0]["object"], "provider broken");
    admin.expect(200, "PUT", "/providers/1/status", json!({ "is_enabled": false }));
    assert_eq!(admin.get("/config/problems")["problems"], json!([]));
    admin.expect(200, "PUT", "/providers/1", json!({ "api_base": "http://127.0.0.1:9", "is_enabled": true }));
    assert_eq!(admin.get("/config/problems")["problems"], json!([]));
}

#[test]
fn changes_may_be_conditional_on_a_version() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/providers", new_provider("p"));
    let put = |tag: &str, weight: i64| {
        request("PUT", "/providers/1").header("if-match", tag).body(json!({ "weight": weight }).to_string())
    };
    let changed = admin.ask(&put("\"1\"", 2));
    assert_eq!((changed.status, changed.header("etag")), (200, Some("\"2\"")));
    let (status, message) = error(&admin.ask(&put("\"1\"", 3)));
    assert!(status == 412 && message.contains("has version 2"), "{status} {message}");
    assert_eq!(admin.get("/providers/1")["weight"], 2);
    assert_eq!(admin.ask(&request("DELETE", "/providers/1").header("if-match", "\"1\"")).status, 412);
    assert_eq!(admin.ask(&put("*", 4)).status, 200);
    let tag = admin.call("GET", "/providers/1", Value::Null).header("etag").unwrap().to_owned();
    assert_eq!(admin.ask(&request("DELETE", "/providers/1").header("if-match", &tag)).status, 204);
}

#[test]
fn concurrent_changes_are_all_kept() {
    let gateway = empty().start();
    Admin::of(&gateway).expect(201, "POST", "/providers", new_provider("p"));
    let fields = [
        json!({ "weight": 7 }),
        json!({ "api_key": "sk-other" }),
        json!({ "api_base": "http://127.0.0.1:10/v1" }),
        json!({ "model_mapping": { "a": "b" } }),
    ];
    std::thread::scope(|scope| {
        for body in &fields {
            let mut admin = Admin::of(&gateway);
            scope.spawn(move || admin.expect(200, "PUT", "/providers/1", body.clone()));
        }
    });
    let row = gateway.store().load().unwrap().providers.remove(0);
    let seen = (row.weight, &*row.api_key, row.api_base.as_str(), row.model_mapping.as_str());
    assert_eq!(seen, (7, "sk-other", "http://127.0.0.1:10/v1", r#"{"a":"b"}"#));
}

#[test]
fn a_request_with_a_key_of_its_own_is_done_once() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let post = |key: &str, name: &str| {
        request("POST", "/providers").header("idempotency-key", key).body(new_provider(name).to_string())
    };
    let first = admin.ask(&post("k1", "p"));
    let again = admin.ask(&post("k1", "p"));
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!(first.json(), again.json());
    let (status, message) = error(&admin.ask(&post("k1", "q")));
    assert!(status == 422 && message.contains("Idempotency-Key"), "{status} {message}");
    assert_eq!(admin.ask(&post("k2", "p")).status, 409);
    assert_eq!(admin.get("/providers")["total_count"], 1);
    // The key is one of its path.
    let other = request("POST", "/credentials").header("idempotency-key", "k1").body(r#"{"name":"c"}"#);
    let (first, again) = (admin.ask(&other).json(), admin.ask(&other).json());
    assert!(first["key"].as_str().unwrap().starts_with("sk-") && again.get("key").is_none(), "{again}");
    assert_eq!(first["credential"]["id"], again["credential"]["id"]);
}

#[test]
fn lists_come_in_pages() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    for n in 0..5 {
        admin.expect(201, "POST", "/providers", new_provider(&format!("p{n}")));
    }
    let ids = |list: &Value| -> Vec<i64> {
        list["providers"].as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
    };
    let rows = [
        ("", vec![1, 2, 3, 4, 5], 5, 1),
        ("?size=2", vec![1, 2], 5, 3),
        ("?size=2&page=3", vec![5], 5, 3),
        ("?page=2", vec![], 5, 1),
        ("?search=P3", vec![4], 1, 1),
    ];
    for (query, expected, total, pages) in rows {
        let list = admin.get(&format!("/providers{query}"));
        assert_eq!(ids(&list), expected, "{query}");
        assert_eq!((&list["total_count"], &list["total_pages"]), (&json!(total), &json!(pages)), "{query}");
    }
}

//! `/credentials`.

use super::*;

fn status(client: &mut Client, key: &str) -> u16 {
    client.ask(&get("/v1/models").key(key));
    client.response().status
}

#[test]
fn made_changed_and_removed() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let mut client = gateway.client();
    let body = json!({
        "key": "sk-client-1", "name": "team", "allowed_models": ["gpt-*"], "rate_limit": 5, "burst": 9, "tokens_per_minute": 1000,
        "max_concurrency": 3, "expires_at": "2099-01-01T00:00:00Z", "metadata": { "owner": "me" },
    });
    let response = admin.call("POST", "/credentials", body);
    assert_eq!(response.status, 201, "{}", response.text());
    assert!(!response.text().contains("sk-client-1"), "{}", response.text());
    let made = response.json();
    let credential = &made["credential"];
    for (field, value) in [
        ("id", json!(1)),
        ("name", json!("team")),
        ("key_preview", json!("sk-***t-1")),
        ("allowed_models", json!(["gpt-*"])),
        ("rate_limit", json!(5)),
        ("burst", json!(9)),
        ("tokens_per_minute", json!(1000)),
        ("max_concurrency", json!(3)),
        ("expires_at", json!("2099-01-01T00:00:00Z")),
        ("metadata", json!({ "owner": "me" })),
        ("is_enabled", json!(true)),
    ] {
        assert_eq!(credential[field], value, "{field}");
    }
    assert_eq!(status(&mut client, "sk-client-1"), 200);
    let hash = gateway.store().load().unwrap().credentials.remove(0).credential_key;
    assert_eq!(admin.get("/credentials/1")["key_preview"], format!("{}***{}", &hash[..3], &hash[7..10]));

    let clear = json!({ "rate_limit": null, "tokens_per_minute": null, "max_concurrency": null, "expires_at": null });
    admin.expect(200, "PUT", "/credentials/1", clear);
    let seen = admin.get("/credentials/1");
    for field in ["rate_limit", "burst", "tokens_per_minute", "max_concurrency", "expires_at"] {
        assert_eq!(seen[field], Value::Null, "{field}");
    }
    assert_eq!((&seen["name"], &seen["allowed_models"]), (&json!("team"), &json!(["gpt-*"])));

    admin.expect(200, "PATCH", "/credentials/1", json!({ "expires_at": 1 }));
    assert_eq!(status(&mut client, "sk-client-1"), 401, "it has expired");
    admin.expect(200, "PATCH", "/credentials/1", json!({ "expires_at": null }));
    admin.expect(200, "POST", "/credentials/1/status", json!({ "is_enabled": false }));
    assert_eq!(status(&mut client, "sk-client-1"), 401);
    admin.expect(200, "PUT", "/credentials/1/status", json!({ "is_enabled": true }));
    assert_eq!(status(&mut client, "sk-client-1"), 200);
    admin.expect(200, "PUT", "/credentials/1", json!({ "key": "sk-client-2" }));
    assert_eq!((status(&mut client, "sk-client-1"), status(&mut client, "sk-client-2")), (401, 200));
    assert_eq!(admin.call("DELETE", "/credentials/1", Value::Null).status, 204);
    assert_eq!(status(&mut client, "sk-client-2"), 401);
}

#[test]
fn reports_all_invalid_fields() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/credentials", json!({ "key": "sk-taken", "name": "a" }));
    let rows = [
        (json!({}), 400, "name is required"),
        (
            json!({ "key": "a b", "name": "" }),
            400,
            "key must be 1 to 1024 visible ASCII characters without spaces; name must be",
        ),
        (json!({ "name": "b", "rate_limit": -1 }), 400, "rate_limit must be a whole number from 0"),
        (json!({ "name": "b", "rate_limit": 1.5 }), 400, "rate_limit must be a whole number from 0"),
        (json!({ "name": "b", "burst": 3 }), 400, "burst means nothing without rate_limit"),
        (json!({ "name": "b", "allowed_models": "gpt" }), 400, "allowed_models must be"),
        (json!({ "name": "b", "allowed_models": ["re:("] }), 400, "allowed_models"),
        (json!({ "name": "b", "expires_at": "soon" }), 400, "expires_at must be a time"),
        (json!({ "name": "b", "metadata": [] }), 400, "metadata must be a JSON object"),
        (json!({ "name": "b", "key": "sk-taken" }), 409, "a credential with this key exists"),
    ];
    for (body, status, message) in rows {
        let (seen, reported_text) = error(&admin.call("POST", "/credentials", body.clone()));
        assert!(seen == status && reported_text.contains(message), "{body}: {seen} {reported_text}");
        assert!(!reported_text.contains("sk-taken"));
    }
    assert_eq!(admin.get("/credentials")["total_count"], 1);
}

#[test]
fn a_rotated_key_is_good_for_a_while_beside_the_new_one() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let mut client = gateway.client();
    admin.expect(201, "POST", "/credentials", json!({ "key": "sk-old-key", "name": "team", "rate_limit": 50 }));
    let rotated = admin.expect(200, "POST", "/credentials/1/rotate", json!({ "overlap_secs": 3600 }));
    let new = rotated["key"].as_str().unwrap().to_owned();
    assert!(rotated["credential"]["previous_key_until"].is_string(), "{rotated}");
    assert_eq!((status(&mut client, "sk-old-key"), status(&mut client, &new)), (200, 200));
    // Only one key can be on its way out.
    let rotated = admin.expect(200, "POST", "/credentials/1/rotate", json!({ "key": "sk-third-key" }));
    assert!(rotated.get("key").is_none(), "{rotated}");
    let seen = [status(&mut client, "sk-old-key"), status(&mut client, &new), status(&mut client, "sk-third-key")];
    assert_eq!(seen, [401, 200, 200]);
    // At once, as after a leak.
    admin.expect(200, "POST", "/credentials/1/rotate", json!({ "key": "sk-fourth-key", "overlap_secs": 0 }));
    assert_eq!((status(&mut client, "sk-third-key"), status(&mut client, "sk-fourth-key")), (401, 200));
    let row = gateway.store().load().unwrap().credentials.remove(0);
    assert_eq!((row.previous_key, row.rate_limit), (None, Some(50)));

    // An overlap that is over, without anybody doing anything.
    let past = CredentialRow {
        previous_key: Some(credential("sk-past").credential_key),
        previous_key_until: Some(1),
        ..credential("sk-current")
    };
    gateway.store().create_credential(&past).unwrap();
    eventually("the new credential", || status(&mut client, "sk-current") == 200);
    assert_eq!(status(&mut client, "sk-past"), 401);
}

#[test]
fn removing_the_last_credential_closes_the_gateway() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/credentials", json!({ "key": "sk-a", "name": "a" }));
    admin.expect(204, "DELETE", "/credentials/1", Value::Null);
    let mut client = gateway.client();
    client.ask(&get("/v1/models").header("authorization", ""));
    let response = client.response();
    assert_eq!(response.status, 401);
    assert!(response.text().contains("no credential yet"), "{}", response.text());
}

use llm_proxy::config::rows::CredentialRow;

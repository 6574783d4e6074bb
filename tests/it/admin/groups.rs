//! `/groups`.

use super::*;

#[test]
fn made_changed_and_removed() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let body = json!({
        "name": "company", "allowed_models": ["gpt-*"], "rate_limit": 5, "burst": 9, "tokens_per_minute": 1000,
        "max_concurrency": 3, "metadata": { "owner": "me" },
    });
    let made = admin.expect(201, "POST", "/groups", body.clone());
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&made["group"][field], value, "{field}");
    }
    admin.expect(201, "POST", "/groups", json!({ "name": "team", "parent": "company" }));
    admin.expect(201, "POST", "/credentials", json!({ "name": "k", "key": "sk-client-1", "group_name": "team" }));
    assert_eq!(admin.get("/credentials/1")["group_name"], "team");
    assert_eq!(admin.get("/groups?search=TEA")["groups"][0]["parent"], "company");

    let refused = admin.call("DELETE", "/groups/2", Value::Null);
    assert_eq!(refused.status, 409);
    assert!(refused.text().contains("group `team` has 1 keys and 0 groups"), "{}", refused.text());
    admin.expect(200, "PATCH", "/groups/1", json!({ "rate_limit": null, "allowed_models": null }));
    let seen = admin.get("/groups/1");
    assert_eq!(
        (&seen["rate_limit"], &seen["burst"], &seen["allowed_models"]),
        (&json!(null), &json!(null), &json!([]))
    );
    let off = admin.expect(200, "POST", "/groups/1/status", json!({ "is_enabled": false }));
    assert_eq!(off["group"]["is_enabled"], false);
    let mut client = gateway.client();
    let status = |client: &mut Client| {
        client.ask(&get("/v1/models").key("sk-client-1"));
        client.response().status
    };
    assert_eq!(status(&mut client), 401, "the group above is disabled");
    admin.expect(200, "PATCH", "/credentials/1", json!({ "group_name": null }));
    assert_eq!(status(&mut client), 200);
    admin.expect(204, "DELETE", "/groups/2", Value::Null);
    let actions: Vec<_> = admin.get("/audit")["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} {}", entry["action"].as_str().unwrap(), entry["object"].as_str().unwrap()))
        .collect();
    for action in ["group.create company", "group.update company", "group.status company", "group.delete team"] {
        assert!(actions.contains(&action.to_owned()), "{action}: {actions:?}");
    }
}

#[test]
fn a_group_that_could_not_be_used_is_refused() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/groups", json!({ "name": "a" }));
    admin.expect(201, "POST", "/groups", json!({ "name": "b", "parent": "a" }));
    let rows = [
        ("POST", "/groups", json!({}), 400, "name is required"),
        ("POST", "/groups", json!({ "name": "a" }), 409, "a group named `a` exists"),
        ("POST", "/groups", json!({ "name": "c", "parent": "x" }), 400, "parent names `x`, and there is no such group"),
        ("POST", "/groups", json!({ "name": "c", "parent": "c" }), 400, "so that the groups are a circle"),
        ("POST", "/groups", json!({ "name": "c", "burst": 1 }), 400, "burst means nothing without rate_limit"),
        ("PATCH", "/groups/1", json!({ "parent": "b" }), 400, "so that the groups are a circle"),
        ("PATCH", "/groups/1", json!({ "name": "z" }), 400, "name is not a field here"),
        ("PATCH", "/groups/1", json!({}), 400, "No fields to update"),
        ("PATCH", "/groups/9", json!({ "rate_limit": 1 }), 404, "group"),
        ("POST", "/credentials", json!({ "name": "k", "group_name": "x" }), 400, "group_name names `x`"),
    ];
    for (method, path, body, status, words) in rows {
        let response = admin.call(method, path, body.clone());
        assert_eq!(response.status, status, "{method} {path} {body}: {}", response.text());
        assert!(response.text().contains(words), "{words}: {}", response.text());
    }
}

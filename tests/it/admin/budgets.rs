//! `/budgets`.

use super::*;

#[test]
fn made_changed_topped_up_and_removed() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let body = json!({
        "name": "b", "scope": "credential", "subject": "alice", "unit": "usd", "amount": 12.5, "period": "day",
        "time_zone": "Europe/Berlin", "is_hard": false, "warn_at": [80, 100],
    });
    let made = admin.expect(201, "POST", "/budgets", body.clone());
    for (field, value) in body.as_object().unwrap() {
        assert_eq!(&made["budget"][field], value, "{field}");
    }
    let seen = admin.get("/budgets/1");
    assert_eq!((&seen["state"]["left"], &seen["state"]["spent"]), (&json!(12.5), &json!(0.0)));
    assert!(seen["state"]["renews_at"].is_string(), "{seen}");
    let topped = admin.expect(200, "POST", "/budgets/1/top-up", json!({ "amount": 0.5 }));
    assert_eq!((&topped["state"]["extra"], &topped["state"]["left"]), (&json!(0.5), &json!(13.0)));
    let reset = admin.expect(200, "POST", "/budgets/1/reset", Value::Null);
    assert_eq!(reset["state"]["left"], json!(12.5));
    admin.expect(200, "PATCH", "/budgets/1", json!({ "unit": "tokens", "amount": 1000, "time_zone": null }));
    let seen = admin.get("/budgets?search=B")["budgets"][0].clone();
    assert_eq!((&seen["amount"], &seen["unit"], &seen["time_zone"]), (&json!(1000.0), &json!("tokens"), &json!("")));
    admin.expect(200, "POST", "/budgets/1/status", json!({ "is_enabled": false }));
    assert_eq!(admin.get("/budgets/1")["state"], Value::Null);
    admin.expect(204, "DELETE", "/budgets/1", Value::Null);
    let actions: Vec<_> = admin.get("/audit")["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["action"].as_str().unwrap().to_owned())
        .collect();
    let expected = ["delete", "status", "update", "reset", "top_up", "create"].map(|action| format!("budget.{action}"));
    assert_eq!(actions, expected);
}

#[test]
fn what_cannot_be_enforced_is_refused() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let good = json!({ "name": "b", "scope": "credential", "subject": "a", "amount": 1 });
    admin.expect(201, "POST", "/budgets", good.clone());
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body["name"] = json!("c");
        body[field] = value;
        body
    };
    let rows = [
        (good.clone(), 409, "a budget named `b` exists"),
        (json!({ "name": "c" }), 400, "scope is required; subject is required; amount is required"),
        (with("scope", json!("team")), 400, "scope `team` is none of credential, group, tag, provider"),
        (with("unit", json!("eur")), 400, "unit `eur` is none of usd, tokens"),
        (with("period", json!("year")), 400, "period `year` is none of hour, day, week, month, total"),
        (with("time_zone", json!("Mars")), 400, "time_zone `Mars` is none of"),
        (with("amount", json!(-1)), 400, "amount must be a number from 0 on"),
        (with("amount", json!("much")), 400, "amount must be a number from 0 on"),
        (with("amount", json!(99_999_999_999_i64)), 400, "amount"),
        (with("warn_at", json!([0])), 400, "warn_at"),
        (with("amount", json!(9_300_000)), 400, "amount is not from 0 to 9223372 dollars"),
        (with("amount", json!(9_000_000)), 201, ""),
        (json!({ "name": "e", "scope": "tag", "subject": "a", "amount": 1 }), 201, ""),
    ];
    for (body, status, words) in rows {
        let response = admin.call("POST", "/budgets", body.clone());
        assert_eq!(response.status, status, "{body}: {}", response.text());
        assert!(response.text().contains(words), "{words}: {}", response.text());
    }
    let tokens = json!({ "name": "d", "scope": "tag", "subject": "x", "unit": "tokens", "amount": 0.5 });
    let response = admin.call("POST", "/budgets", tokens);
    assert!(response.status == 400 && response.text().contains("a whole number of tokens"), "{}", response.text());
}

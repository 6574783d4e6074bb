//! A write is in force on every core when its response arrives, whatever other writes there are.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn a_write_is_in_force_when_it_is_answered() {
    let upstream = Fake::answering(|_| answer::json(200, r#"{"id":"x","object":"chat.completion","choices":[]}"#));
    // Several workers: new connections go to any of them.
    let gateway = empty().env("WORKERS", 2).start();
    let mut admin = Admin::of(&gateway);
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    let mut seen = |key: &str| -> Vec<u16> {
        let ask = |client: &mut Client| {
            client.ask(&post("/v1/chat/completions").key(key).body(r#"{"model":"m","messages":[]}"#));
            client.response().status
        };
        clients.iter_mut().map(ask).collect()
    };
    let body = json!({ "provider_key": "p", "api_base": upstream.url("/v1"), "api_key": "k" });
    for round in 0..5 {
        let key = format!("sk-{round}");
        let made = admin.expect(201, "POST", "/credentials", json!({ "key": key, "name": key }));
        assert_eq!(seen(&key), [404; 8], "known, and no provider");
        let provider = admin.expect(201, "POST", "/providers", body.clone());
        assert_eq!(seen(&key), [200; 8]);
        let path = format!("/credentials/{}", made["credential"]["id"]);
        admin.expect(200, "PUT", &path, json!({ "rate_limit": 0 }));
        assert_eq!(seen(&key), [429; 8]);
        admin.expect(200, "PUT", &path, json!({ "rate_limit": null }));
        assert_eq!(seen(&key), [200; 8]);
        admin.expect(204, "DELETE", &path, Value::Null);
        assert_eq!(seen(&key), [401; 8]);
        admin.expect(204, "DELETE", &format!("/providers/{}", provider["provider"]["id"]), Value::Null);
    }
}

#[test]
fn writes_of_others_are_visible_at_once() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    let store = gateway.store();
    for n in 1..=5 {
        let id = store.create_credential(&credential(&format!("sk-{n}"))).unwrap();
        // At once, not when the store is looked at next.
        assert_eq!(admin.get(&format!("/credentials/{id}"))["name"], format!("sk-{n}"));
        assert_eq!(admin.get("/config/version")["version"], n);
    }
    store.revoke_credential(1).unwrap();
    assert_eq!(admin.call("GET", "/credentials/1", Value::Null).status, 404);
}

#[test]
fn admin_reads_do_not_publish() {
    let gateway = empty().credential(credential(KEY)).start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/credentials", json!({ "name": "a", "key": "sk-a" }));
    let before = gateway.metric("llm_proxy_snapshot_generation");
    for _ in 0..10 {
        admin.get("/credentials");
    }
    // One that is published after them all, and that counts one.
    admin.expect(201, "POST", "/credentials", json!({ "name": "b", "key": "sk-b" }));
    assert_eq!(gateway.metric("llm_proxy_snapshot_generation"), before.map(|before| before + 1.0));
}

#[test]
fn everything_can_be_read_again() {
    let gateway = empty().provider(provider("broken", "openai", "nonsense")).credential(credential(KEY)).start();
    let mut admin = Admin::of(&gateway);
    let reloaded = admin.expect(200, "POST", "/config/reload", Value::Null);
    let counts = [&reloaded["providers_count"], &reloaded["credentials_count"], &reloaded["problems_count"]];
    assert_eq!(counts, [&json!(0), &json!(1), &json!(1)]);
    assert_eq!(reloaded["version"], 2);
    assert!(reloaded["timestamp"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn lost_store_is_reported_and_the_snapshot_stays() {
    let gateway = empty().credential(credential(KEY)).start();
    let mut admin = Admin::of(&gateway);
    let file = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
    file.execute_batch("ALTER TABLE credentials RENAME TO lost").unwrap();
    let (status, message) = error(&admin.call("POST", "/credentials", json!({ "name": "a" })));
    assert!(status == 503 && message.contains("llm-proxy.db"), "{status} {message}");
    let mut client = gateway.client();
    client.ask(&get("/v1/models"));
    assert_eq!(client.response().status, 200);
    file.execute_batch("ALTER TABLE lost RENAME TO credentials").unwrap();
    admin.expect(201, "POST", "/credentials", json!({ "name": "a" }));
}

#[test]
fn each_change_is_in_the_audit_table_and_file() {
    let gateway = empty().start();
    let mut admin = Admin::of(&gateway);
    admin.expect(201, "POST", "/providers", new_provider("p"));
    admin.expect(200, "PUT", "/providers/1", json!({ "weight": 9 }));
    admin.expect(409, "POST", "/providers", new_provider("p"));
    admin.expect(201, "POST", "/credentials", json!({ "key": "sk-client", "name": "c" }));
    admin.expect(204, "DELETE", "/providers/1", Value::Null);
    let log = admin.get("/audit");
    let entries = log["entries"].as_array().unwrap();
    let actions: Vec<_> = entries.iter().rev().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["provider.create", "provider.update", "credential.create", "provider.delete"]);
    let update = &entries[2];
    assert_eq!((&update["old"]["weight"], &update["new"]["weight"]), (&json!(1), &json!(9)));
    assert_eq!((&update["object"], &update["object_id"]), (&json!("p"), &json!(1)));
    let fingerprint = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(ADMIN_KEY));
    assert_eq!(update["actor"], format!("admin:{}", &fingerprint[..12]));
    assert_eq!(admin.get("/audit?limit=1")["entries"][0], entries[0]);
    let before = format!("/audit?before={}", entries[1]["id"]);
    assert_eq!(admin.get(&before)["entries"].as_array().unwrap().len(), 2);
    let filters = [
        ("action=provider", 3),
        ("action=provider.update", 1),
        ("action=provid", 0),
        ("object=C", 1),
        ("object=p&action=provider.delete", 1),
        ("actor=admin:", 4),
        ("actor=cli:", 0),
        ("start_time=2020-01-31T00:00:00Z", 4),
        ("end_time=2020-01-31T00:00:00Z", 0),
        ("start_time=2020-01-31&end_time=9999-01-31", 4),
        ("action=provider&limit=2", 2),
        ("object=%25", 0),
    ];
    for (filter, count) in filters {
        assert_eq!(admin.get(&format!("/audit?{filter}"))["entries"].as_array().unwrap().len(), count, "{filter}");
    }
    let (status, message) = error(&admin.call("GET", "/audit?start_time=yesterday", Value::Null));
    assert!(status == 400 && message.contains("start_time"), "{status} {message}");

    let file = std::fs::read_to_string(gateway.data_dir().join("audit.jsonl")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["action"].as_str().unwrap()).collect::<Vec<_>>(), actions);
    assert_eq!(lines[0]["peer"], "127.0.0.1");
    for secret in ["sk-upstream", "sk-client", ADMIN_KEY] {
        assert!(!file.contains(secret) && !log.to_string().contains(secret), "{secret}");
    }
}

/// Many credentials, and a change of one of them: only that one is read.
#[test]
fn a_change_among_many_is_quick() {
    let gateway = empty().start();
    let mut file = rusqlite::Connection::open(gateway.data_dir().join("llm-proxy.db")).unwrap();
    let many = file.transaction().unwrap();
    for n in 0..3000 {
        many.execute(
            "INSERT INTO credentials (credential_key, name) VALUES (?1, ?2)",
            (format!("{n:064x}"), format!("c{n}")),
        )
        .unwrap();
    }
    many.commit().unwrap();
    let mut admin = Admin::of(&gateway);
    assert_eq!(admin.get("/credentials?size=1")["total_count"], 3000);
    let started = Instant::now();
    for n in 0..10 {
        admin.expect(200, "PUT", "/credentials/1500", json!({ "rate_limit": n }));
    }
    // Unoptimised, and beside other tests; it is a few milliseconds each.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

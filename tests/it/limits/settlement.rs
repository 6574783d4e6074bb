//! Budgets are settled on every way out of a request: wherever its client leaves, its provider
//! fails or its gateway ends.

use std::process::Command;

use serde_json::{Value, json};

use super::budgets::{ADMIN, DOLLAR, answer_using, budget, priced, state};
use super::*;
use crate::support::postgres::Db;

/// Ten dollars are reserved for the response: a token of one costs 0.002.
fn request(stream: bool) -> Vec<u8> {
    let messages = json!([{ "role": "user", "content": "hi" }]);
    let body = json!({ "model": "m", "messages": messages, "max_tokens": 5000, "stream": stream });
    post(PATH).key(KEY).body(body.to_string()).bytes()
}

fn event(text: &str) -> String {
    let choice = json!({ "index": 0, "delta": { "content": text } });
    let event = json!({ "id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice] });
    format!("data: {event}\n\n")
}

/// The head and the first event of a stream, of about five hundred bytes.
fn beginning() -> String {
    let text = "one two three four five six seven eight nine ten ".repeat(10);
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{}", event(&text))
}

fn dollars(state: &Value, name: &str) -> f64 {
    state[name].as_f64().unwrap_or_else(|| panic!("{name}: {state}"))
}

/// What a way out must have charged, in dollars.
#[derive(Debug)]
enum Charge {
    Nothing,
    /// The prompt, and perhaps what had come of the response: less than half a dollar.
    Part,
}

/// The phases in which a client leaves and in which a provider fails, one request after the other.
#[test]
fn in_every_phase() {
    // Returns the connection of the provider, which stays open as long.
    type Act = fn(&Fake, Client) -> Option<Conn>;
    let ways: &[(&str, Charge, Act)] = &[
        ("the client leaves before the head of the response", Charge::Part, |fake, mut client| {
            client.send(request(false));
            let mut upstream = fake.accept();
            upstream.request();
            drop(client);
            Some(upstream)
        }),
        ("the client leaves within a stream", Charge::Part, |fake, mut client| {
            client.send(request(true));
            let mut upstream = fake.accept();
            upstream.request();
            upstream.send(beginning());
            assert_eq!(client.head().status, 200);
            client.read_until("ten");
            drop(client);
            Some(upstream)
        }),
        ("the provider closes before the head", Charge::Nothing, |fake, mut client| {
            client.send(request(false));
            let mut upstream = fake.accept();
            upstream.request();
            upstream.reset();
            assert!(client.response().status >= 500);
            None
        }),
        ("the provider fails", Charge::Nothing, |fake, mut client| {
            client.send(request(true));
            let mut upstream = fake.accept();
            upstream.request();
            upstream.send(answer::json(500, "{}"));
            upstream.close();
            assert!(client.response().status >= 500);
            None
        }),
        ("the provider closes before the first event", Charge::Nothing, |fake, mut client| {
            client.send(request(true));
            let mut upstream = fake.accept();
            upstream.request();
            upstream.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n");
            upstream.reset();
            assert!(client.response().status >= 500);
            None
        }),
        ("the provider closes within a stream", Charge::Part, |fake, mut client| {
            client.send(request(true));
            let mut upstream = fake.accept();
            upstream.request();
            upstream.send(beginning());
            assert_eq!(client.head().status, 200);
            client.read_until("ten");
            upstream.reset();
            None
        }),
        ("the provider closes within a whole response", Charge::Nothing, |fake, mut client| {
            client.send(request(false));
            let mut upstream = fake.accept();
            upstream.request();
            upstream.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"id\":");
            upstream.reset();
            assert!(client.response().status >= 500);
            None
        }),
    ];
    let fake = Fake::start();
    let gateway = Setup::new().provider(priced("p", &fake)).budget(budget("b", "credential", KEY, 100 * DOLLAR));
    let gateway = gateway.env("ADMIN_KEY", ADMIN).env("MAX_ATTEMPTS", 1).start();
    let mut before = 0.0;
    for (way, charge, act) in ways {
        let _upstream = act(&fake, gateway.client());
        let active = r#"llm_proxy_active_requests{endpoint="/v1/chat/completions"}"#;
        eventually("the request has ended", || gateway.metric(active) == Some(0.0));
        if matches!(charge, Charge::Part) {
            eventually(way, || dollars(&state(&gateway, "b"), "spent") > before);
        }
        let now = dollars(&state(&gateway, "b"), "spent");
        let charged = now - before;
        before = now;
        match charge {
            Charge::Nothing => assert_eq!(charged, 0.0, "{way}"),
            Charge::Part => assert!((0.001..0.5).contains(&charged), "{way}: {charged}"),
        }
    }
    eventually("nothing is reserved", || dollars(&state(&gateway, "b"), "reserved") == 0.0);
    assert_eq!(dollars(&state(&gateway, "b"), "spent"), before, "what was refused at no cost was charged late");
}

/// A gateway that stops while a stream runs charges what came, and gives back all that it held.
#[test]
fn when_a_gateway_stops() {
    let fake = Fake::start();
    let db = Db::new();
    let store = db.store();
    store.add_provider(&priced("p", &fake)).unwrap();
    store.create_credential(&credential(KEY)).unwrap();
    store.add_budget(&budget("b", "credential", KEY, 100 * DOLLAR)).unwrap();
    let setup = || Setup::new().no_credentials().env("DB_URL", db.url()).env("ADMIN_KEY", ADMIN);
    let mut gateway = setup().env("SHUTDOWN_DELAY_SECS", 0).env("SHUTDOWN_GRACE_SECS", 1).start();
    let mut client = gateway.client();
    client.send(request(true));
    let mut upstream = fake.accept();
    upstream.request();
    upstream.send(beginning());
    assert_eq!(client.head().status, 200);
    client.read_until("ten");
    gateway.term();
    gateway.wait();

    let state = state(&setup().start(), "b");
    assert!((0.001..0.5).contains(&dollars(&state, "spent")), "{state}");
    assert_eq!(dollars(&state, "reserved"), 0.0, "{state}");
}

/// A request that runs while another process takes over is charged in full, for the process that
/// answers it.
#[test]
fn when_a_gateway_is_upgraded() {
    let fake = Fake::start();
    let setup = Setup::new().provider(priced("p", &fake)).env("ADMIN_KEY", ADMIN).env("SHUTDOWN_DELAY_SECS", 0);
    let mut first = setup.budget(budget("b", "credential", KEY, 100 * DOLLAR)).start();
    let lock = first.data_dir().join("gateway.lock");
    let successor = || std::fs::read_to_string(&lock).unwrap_or_default().trim().to_owned();
    let mut client = first.client();
    client.send(request(false));
    let mut upstream = fake.accept();
    upstream.request();
    let upgraded = first.cli(&["upgrade"]);
    assert!(upgraded.status.success(), "{upgraded:?}");
    let pid = successor();
    assert_ne!(pid, first.pid().to_string());
    upstream.send(answer::json(200, answer_using(10, 20)));
    assert_eq!(client.response().status, 200);
    drop(client);
    assert_eq!(first.wait().code(), Some(0));
    eventually("the successor knows what its predecessor has spent", || {
        let state = state(&first, "b");
        (dollars(&state, "spent") - 0.05).abs() < 1e-9 && dollars(&state, "reserved") == 0.0
    });
    let _ = Command::new("kill").args(["-s", "TERM", pid.trim()]).status();
    eventually("the successor ends", || {
        successor().is_empty() || !std::path::Path::new(&format!("/proc/{pid}")).exists()
    });
}

/// A reload changes nothing of what was spent and of what is reserved, also one that changes the
/// amount while a request runs.
#[test]
fn when_the_configuration_changes() {
    let fake = Fake::start();
    let setup = Setup::new().provider(priced("p", &fake)).env("ADMIN_KEY", ADMIN);
    let gateway = setup.budget(budget("b", "credential", KEY, 15 * DOLLAR)).start();
    let mut client = gateway.client();
    client.send(request(false));
    let mut upstream = fake.accept();
    upstream.request();

    let change = post("/admin/v1/budgets/1").method("PATCH").key(ADMIN).body(json!({ "amount": 18 }).to_string());
    let mut admin = gateway.client();
    admin.ask(&change);
    assert_eq!(admin.response().status, 200);
    let refused = || {
        let mut other = gateway.client();
        other.send(request(false));
        let response = other.response();
        assert_eq!(response.status, 402, "ten of eighteen dollars are reserved: {}", response.text());
        response
    };
    eventually("the change is in force", || refused().header("x-llm-proxy-budget-limit") == Some("18.00"));

    upstream.send(answer::json(200, answer_using(10, 20)));
    assert_eq!(client.response().status, 200);
    eventually("what was reserved is free again", || {
        let state = state(&gateway, "b");
        (dollars(&state, "spent") - 0.05).abs() < 1e-9 && dollars(&state, "reserved") == 0.0
    });
    drop(upstream);
    client.send(request(false));
    let mut upstream = fake.accept();
    upstream.request();
    upstream.send(answer::json(200, answer_using(10, 20)));
    assert_eq!(client.response().status, 200);
}

//! What the command line writes comes into force in a running gateway, and takes nothing from what
//! runs.

use std::time::{Duration, Instant};

use super::*;

/// The longest time until a change is in force. The command itself is not counted.
const AT_ONCE: Duration = Duration::from_secs(1);
/// On a machine that is busy with other tests.
const GRACE: Duration = Duration::from_secs(20);

fn run(gateway: &Gateway, args: &[&str]) -> String {
    let output = gateway.cli(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Asks until the status is this one.
fn becomes(client: &mut Client, request: &Outgoing, status: u16) {
    let started = Instant::now();
    loop {
        client.ask(request);
        let response = client.response();
        if response.status == status {
            return;
        }
        let waited = started.elapsed();
        assert!(waited < AT_ONCE + GRACE, "still {} after {waited:?}: {}", response.status, response.text());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn providers_and_keys_come_and_go() {
    let (one, two) = (named("one"), named("two"));
    let gateway = Setup::new().no_credentials().start();
    let mut client = gateway.client();
    let request = |key: &str| post(PATH).body(ask("m")).key(key);
    becomes(&mut client, &request("sk-any"), 401);

    let key = run(&gateway, &["key", "create", "--name", "team"]);
    becomes(&mut client, &request(&key), 404);

    run(&gateway, &["provider", "add", "--key", "one", "--base", &one.url("/v1"), "--api-key", "k1"]);
    becomes(&mut client, &request(&key), 200);
    assert_eq!(one.requests().last().unwrap().header("authorization"), Some("Bearer k1"));

    let base = two.url("/v1");
    run(&gateway, &["provider", "add", "--key", "two", "--base", &base, "--api-key", "k2", "--map", "other=up"]);
    let other = post(PATH).body(ask("other")).key(&key);
    eventually("the second provider has a share", || {
        client.ask(&other);
        client.response().json()["by"] == "two"
    });

    run(&gateway, &["provider", "remove", "one"]);
    becomes(&mut client, &request(&key), 404);
    becomes(&mut client, &other, 200);

    run(&gateway, &["key", "revoke", "team"]);
    becomes(&mut client, &other, 401);
}

#[test]
fn a_stream_that_runs_is_not_touched() {
    let provider = Fake::start();
    let gateway = Setup::new().provider(chat(&provider)).start();
    let mut client = gateway.client();
    client.ask(&post(PATH).body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    conn.send(answer::chunk(sample::CHAT.content[0]));
    client.head();
    assert_eq!(client.event(), sample::CHAT.content[0]);

    // Its key and its provider go.
    run(&gateway, &["key", "revoke", KEY]);
    run(&gateway, &["provider", "remove", "chat"]);
    becomes(&mut gateway.client(), &get("/v1/models"), 401);

    for event in &sample::CHAT.content[1..] {
        conn.send(answer::chunk(event));
        assert_eq!(client.event(), *event);
    }
    conn.send(answer::LAST_CHUNK);
    assert_eq!(client.rest(), (Vec::new(), End::Whole));
}

#[test]
fn a_limit_goes_on_through_changes_of_something_else() {
    let provider = named("p");
    let blocked = CredentialRow { rate_limit: Some(1), ..credential(KEY) };
    let gateway = Setup::new().provider(chat(&provider)).credential(blocked).start();
    let mut client = gateway.client();
    let request = post(PATH).body(ask("m"));
    // Used up; were the bucket made anew with each change, each would let one more pass.
    let started = Instant::now();
    client.ask(&request);
    let mut passed = u32::from(client.response().status == 200);
    for n in 0..5 {
        let name = format!("key-{n}");
        run(&gateway, &["key", "create", "--name", &name]);
        eventually("the change is in force", || {
            gateway.metric("llm_proxy_snapshot_generation") >= Some(f64::from(n + 2))
        });
        client.ask(&request);
        passed += u32::from(client.response().status == 200);
    }
    let allowed = 1 + started.elapsed().as_secs() as u32 + 1;
    assert!(passed <= allowed, "{passed} passed where {allowed} might");
}

#[test]
fn turns_go_on_through_changes_of_something_else() {
    let (one, two) = (named("one"), named("two"));
    let row = |name: &str, fake: &Fake| ProviderRow { provider_key: name.into(), ..chat(fake) };
    let gateway =
        Setup::new().provider(row("one", &one)).provider(row("two", &two)).env("ADMIN_KEY", "admin-key").start();
    let (mut client, mut admin) = (gateway.client(), gateway.client());
    // A change between any two requests: were each the first of its configuration, one provider
    // would get them all.
    for n in 0..6 {
        admin.ask(&post("/admin/v1/credentials").key("admin-key").body(format!(r#"{{"name":"key-{n}"}}"#)));
        assert_eq!(admin.response().status, 201);
        answered_by(&mut client, "m");
    }
    assert_eq!((one.requests().len(), two.requests().len()), (3, 3));
}

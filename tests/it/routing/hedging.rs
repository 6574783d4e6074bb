//! A second attempt beside one that is slow to begin: whoever has content first is the answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use llm_proxy::config::rows::ModelRow;
use serde_json::{Value, json};

use super::*;

/// The client's cancellation of the loser must reach its provider within this time.
pub(super) const CANCELLED_WITHIN: Duration = Duration::from_millis(100);

/// What a loaded machine may add to it.
pub(super) const SLACK: Duration = Duration::from_secs(5);

fn smart(options: Value) -> ModelRow {
    ModelRow {
        name: "smart".into(),
        members: json!([sample::MODEL]).to_string(),
        overrides: "{}".into(),
        options: options.to_string(),
        is_enabled: true,
        ..ModelRow::default()
    }
}

/// A gateway with a provider and a standby, and a virtual model with these options.
fn gateway(first: &Fake, second: &Fake, options: Value) -> Gateway {
    setup(first, second, options).start()
}

pub(super) fn setup(first: &Fake, second: &Fake, options: Value) -> Setup {
    let standby =
        ProviderRow { provider_params: r#"{"priority":1}"#.into(), ..sample::CHAT.provider("second", second) };
    Setup::new().provider(sample::CHAT.provider("first", first)).provider(standby).model(smart(options)).workers(1)
}

fn ask_stream() -> String {
    sample::CHAT.ask_stream.replace(sample::MODEL, "smart")
}

fn begin(client: &mut Client) {
    client.ask(&post(PATH).key(KEY).body(ask_stream()));
}

fn stream() -> Vec<u8> {
    answer::sse(&sample::CHAT.events())
}

/// The text of a whole stream, and who sent it after how many attempts.
fn finish(client: &mut Client) -> (String, String, String) {
    let head = client.head();
    let header = |name: &str| head.header(name).unwrap_or_default().to_owned();
    let (provider, attempts) = (header("x-llm-proxy-provider"), header("x-llm-proxy-attempts"));
    (client.rest_text().0, provider, attempts)
}

/// Sends the head of a stream, and no content.
fn hold_back(conn: &mut fake::Conn) {
    conn.request();
    conn.send(answer::SSE);
    conn.send(answer::chunk(sample::CHAT.opening.concat()));
}

#[test]
fn the_first_content_is_the_answer_and_the_other_attempt_is_cancelled() {
    let (first, second) = (Fake::start(), Fake::start());
    let gateway =
        setup(&first, &second, json!({ "hedge": { "after_ms": 100 } })).env("JSONL_LOG_ENABLED", true).start();
    let mut client = gateway.client();
    begin(&mut client);
    let mut slow = first.accept();
    hold_back(&mut slow);
    let mut quick = second.accept();
    let request = quick.request();
    assert_eq!(request.json()["model"], sample::MODEL);
    quick.send(stream());
    let (text, provider, attempts) = finish(&mut client);
    let finished = Instant::now();
    assert!(text.contains("\"Hel\"") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!((provider.as_str(), attempts.as_str()), ("second", "2"));
    slow.expect_closed();
    assert!(finished.elapsed() < CANCELLED_WITHIN + SLACK, "{:?}", finished.elapsed());
    for (metric, value) in [("hedges_total", 1.0), ("hedges_won_total", 1.0), ("attempts_total", 2.0)] {
        gateway.expect_metric(&format!("llm_proxy_{metric}"), value);
    }
    let lost = r#"llm_proxy_provider_attempts_total{provider="first",outcome="superseded"}"#;
    gateway.expect_metric(lost, 1.0);
    // Nothing is held against a provider that was slower.
    let state = r#"llm_proxy_provider_circuit_state{provider="first",model="m-asked",state="closed"}"#;
    assert!(gateway.metric(state).is_none_or(|value| value == 1.0));
}

#[test]
fn a_first_attempt_that_comes_round_wins_all_the_same() {
    let (first, second) = (Fake::start(), Fake::start());
    let gateway = gateway(&first, &second, json!({ "hedge": { "after_ms": 100 } }));
    let mut client = gateway.client();
    begin(&mut client);
    let mut slow = first.accept();
    hold_back(&mut slow);
    let mut other = second.accept();
    hold_back(&mut other);
    slow.send(answer::chunk(sample::CHAT.content.concat()));
    let sent = Instant::now();
    other.expect_closed();
    assert!(sent.elapsed() < CANCELLED_WITHIN + SLACK, "{:?}", sent.elapsed());
    slow.send(answer::LAST_CHUNK);
    let (text, provider, _) = finish(&mut client);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(provider, "first");
    let lost = r#"llm_proxy_provider_attempts_total{provider="second",outcome="superseded"}"#;
    assert_eq!((gateway.metric(lost), gateway.metric("llm_proxy_hedges_won_total")), (Some(1.0), Some(0.0)));
}

/// Silence before the head, and a connection that is refused while the other attempt runs.
#[test]
fn a_first_attempt_that_fails_leaves_the_second_alone() {
    let (first, second) = (Fake::start(), Fake::start());
    let gateway = gateway(&first, &second, json!({ "hedge": { "after_ms": 100 } }));
    let mut client = gateway.client();
    begin(&mut client);
    let mut broken = first.accept();
    broken.request();
    let mut other = second.accept();
    hold_back(&mut other);
    broken.reset();
    other.send(answer::chunk(sample::CHAT.content.concat()));
    other.send(answer::LAST_CHUNK);
    let (text, provider, attempts) = finish(&mut client);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!((provider.as_str(), attempts.as_str()), ("second", "2"));
}

#[test]
fn a_second_attempt_that_fails_changes_nothing() {
    let first = Fake::start();
    let second = Fake::answering(|_| answer::json(503, r#"{"error":{"message":"busy"}}"#));
    let gateway = gateway(&first, &second, json!({ "hedge": { "after_ms": 50 } }));
    let mut client = gateway.client();
    begin(&mut client);
    let mut slow = first.accept();
    hold_back(&mut slow);
    while second.requests().is_empty() {
        thread::yield_now();
    }
    slow.send(answer::chunk(sample::CHAT.content.concat()));
    slow.send(answer::LAST_CHUNK);
    let (text, provider, _) = finish(&mut client);
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    assert_eq!(provider, "first");
}

#[test]
fn a_client_that_leaves_cancels_both() {
    let (first, second) = (Fake::start(), Fake::start());
    let gateway = gateway(&first, &second, json!({ "hedge": { "after_ms": 50 } }));
    let mut client = gateway.client();
    begin(&mut client);
    let mut one = first.accept();
    hold_back(&mut one);
    let mut other = second.accept();
    other.request();
    drop(client);
    one.expect_closed();
    other.expect_closed();
}

/// Every request is slow, and only the share that is allowed is hedged.
#[test]
fn the_extra_load_is_capped() {
    let slow = |pause: u64| {
        Fake::answering(move |_| {
            thread::sleep(Duration::from_millis(pause));
            stream()
        })
    };
    let (first, second) = (slow(60), slow(0));
    let gateway = gateway(&first, &second, json!({ "hedge": { "after_ms": 1, "percent": 10 } }));
    let mut client = gateway.client();
    for _ in 0..60 {
        begin(&mut client);
        finish(&mut client);
    }
    let hedges = second.requests().len();
    assert!((5..=7).contains(&hedges), "{hedges} of 60");
    gateway.expect_metric("llm_proxy_hedges_total", hedges as f64);
    eventually("the others are denied", || gateway.metric("llm_proxy_hedges_denied_total") > Some(40.0));
}

/// Without a fixed time the second attempt begins when content takes longer than it usually does.
#[test]
fn what_is_slow_is_learned() {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let first = Fake::answering(|_| {
        if COUNT.fetch_add(1, Ordering::Relaxed) == 30 {
            thread::sleep(Duration::from_secs(20));
        }
        stream()
    });
    let second = Fake::answering(|_| stream());
    let gateway = gateway(&first, &second, json!({ "hedge": { "percent": 100 } }));
    let mut client = gateway.client();
    let mut last = String::new();
    for _ in 0..31 {
        begin(&mut client);
        last = finish(&mut client).1;
    }
    assert_eq!(last, "second");
    assert!(gateway.metric("llm_proxy_hedges_won_total") >= Some(1.0));
}

/// A credential may have hedging of its own, for models that are not virtual and in translation
/// too.
#[test]
fn requests_of_a_credential_are_hedged() {
    let (first, second) = (Fake::start(), Fake::start());
    let metadata = r#"{"hedge":{"after_ms":50}}"#;
    let row = CredentialRow { metadata: metadata.into(), ..credential(KEY) };
    let gateway = setup(&first, &second, json!({})).credential(row).start();
    let mut client = gateway.client();
    client.ask(&post(sample::MESSAGES.path).key(KEY).body(sample::MESSAGES.ask_stream));
    let mut slow = first.accept();
    hold_back(&mut slow);
    let mut quick = second.accept();
    quick.request();
    quick.send(stream());
    let (text, provider, _) = finish(&mut client);
    assert!(text.contains("text_delta") && text.contains("message_stop"), "{text}");
    assert_eq!(provider, "second");
    slow.expect_closed();
    // The time of whole answers is another one, and not known yet.
    client.ask(&post(PATH).key(KEY).body(sample::CHAT.ask));
    let mut only = first.accept();
    only.request();
    only.send(answer::json(200, sample::CHAT.answer));
    assert_eq!(client.response().header("x-llm-proxy-attempts"), Some("1"));
    assert!(second.try_accept().is_none());
}

#[test]
fn explanations_and_problems_name_it() {
    let (first, second) = (named("first"), named("second"));
    let gateway = setup(&first, &second, json!({ "hedge": { "percent": 0.5 } })).start();
    let output = gateway.cli(&["explain", "--model", "smart"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let expected = "hedged: a stream without content after the time that 95 of 100 first contents take is sent to the \
                    next candidate too, and so is a request for a whole answer after the time that 95 of 100 whole \
                    answers take, 0.5 % at most";
    assert!(text.contains(expected), "{text}");

    let refused = gateway.cli(&["model", "add", "--name", "x", "--member", "m", "--hedge", "101"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success(), "{error}");
    assert!(error.contains("hedge.percent is no number from 0.01 to 100"), "{error}");
    assert!(gateway.cli(&["model", "set", "smart", "--hedge", "0"]).status.success());
    let output = gateway.cli(&["explain", "--model", "smart"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("hedged"));
}

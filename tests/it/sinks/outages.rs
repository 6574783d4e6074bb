//! Langfuse down, slow, failing, or not Langfuse at all: clients see nothing of it, memory stays
//! bounded, what is lost is counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::langfuse::{taken, traced};
use super::*;

fn send_requests(gateway: &Gateway, count: usize, body: &str) {
    let mut client = gateway.client();
    for _ in 0..count {
        assert_eq!(client.call("/v1/chat/completions", body).status, 200);
    }
}

#[test]
fn unreachable_langfuse_loses_no_request() {
    let provider = speaker(&sample::CHAT);
    let gone = Fake::start();
    let setup = traced(Setup::new().provider(chat(&provider)), &gone);
    let nowhere = Nobody::new();
    let mut gateway = setup.env("LANGFUSE_HOST", nowhere.url("")).start();
    send_requests(&gateway, 20, sample::CHAT.ask);
    eventually("they are lost", || lost(&gateway, "langfuse", "unreachable") == 20.0);
    gateway.expect_log(&["LANGFUSE_HOST does not accept records"]);
    gateway.term();
    assert!(gateway.wait().success());
}

/// A server that takes connections and never answers; more is asked than the queue holds.
#[test]
fn slow_and_too_much() {
    let provider = speaker(&sample::CHAT);
    let silent = Fake::start();
    let gateway = traced(Setup::new().provider(chat(&provider)), &silent).env("RECORD_BUFFER_BYTES", 4 << 20).start();
    let text = "x".repeat(30_000);
    let body = format!(r#"{{"model":"m-asked","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    send_requests(&gateway, 100, &body);
    let before = gateway.rss();
    send_requests(&gateway, 1000, &body);
    eventually("the queue is full", || lost(&gateway, "langfuse", "full") > 100.0);
    let after = gateway.rss();
    assert!(after < before + (24 << 20), "{before} bytes, then {after}");
    assert_eq!(passed(&gateway, "langfuse"), 0.0);
}

/// Fails twice, asks to wait once, and then takes the very same events.
#[test]
fn tried_again() {
    let provider = speaker(&sample::CHAT);
    let count = Arc::new(AtomicUsize::new(0));
    let langfuse = Fake::answering(move |request| match count.fetch_add(1, Ordering::Relaxed) {
        0 => answer::json(500, "it broke"),
        1 => answer::with(429, &[("retry-after", "1")], ""),
        _ => answer::json(207, taken(request)),
    });
    let gateway = traced(Setup::new().provider(chat(&provider)), &langfuse).start();
    send_requests(&gateway, 3, sample::CHAT.ask);
    eventually("they are taken", || passed(&gateway, "langfuse") == 3.0);
    let bodies: Vec<Vec<u8>> = langfuse.requests().into_iter().map(|request| request.body).collect();
    assert!(bodies.len() >= 3 && bodies[0] == bodies[1] && bodies[1] == bodies[2]);
}

/// Answers that say no: each costs its batch, is counted under its reason, and the next batch is
/// sent all the same.
#[test]
fn responses_that_are_not_langfuses() {
    let provider = speaker(&sample::CHAT);
    let next: Arc<Mutex<Vec<u8>>> = Arc::default();
    let response_body = next.clone();
    let langfuse = Fake::answering(move |request| {
        let response_body = response_body.lock().unwrap().clone();
        if response_body.is_empty() { answer::json(207, taken(request)) } else { response_body }
    });
    let gateway = traced(Setup::new().provider(chat(&provider)), &langfuse).start();
    let rows = [
        (answer::typed(200, "text/html", "<html>welcome</html>"), "answer"),
        (answer::json(401, r#"{"message":"sk-lf-2 is wrong"}"#), "refused"),
        (answer::json(207, [b"{\"successes\":[".as_slice(), &[0xff; 100]].concat()), "answer"),
    ];
    let mut sums = std::collections::HashMap::new();
    for (answer, reason) in rows {
        *next.lock().unwrap() = answer;
        send_requests(&gateway, 2, sample::CHAT.ask);
        *sums.entry(reason).or_insert(0.0) += 2.0;
        eventually(reason, || lost(&gateway, "langfuse", reason) == sums[reason]);
    }
    next.lock().unwrap().clear();
    send_requests(&gateway, 2, sample::CHAT.ask);
    eventually("the next are taken", || passed(&gateway, "langfuse") == 2.0);
    gateway.expect_log(&["accepts records again"]);
    assert!(!gateway.log().join("\n").contains("sk-lf-2"), "{:?}", gateway.log());
}

/// Langfuse takes some events of a batch and not others.
#[test]
fn rejected_langfuse_events_are_counted() {
    let provider = speaker(&sample::CHAT);
    let langfuse = Fake::answering(|request| {
        let batch = request.json()["batch"].clone();
        let mut successes = Vec::new();
        let mut errors = Vec::new();
        for event in batch.as_array().unwrap() {
            let id = &event["id"];
            // The generation of every request that came from `bad`.
            if event["type"] == "generation-create" && event["body"]["metadata"]["request_id"] == "bad" {
                errors.push(serde_json::json!({"id": id, "status": 400, "message": "no such model", "error": "x"}));
            } else {
                successes.push(serde_json::json!({"id": id, "status": 201}));
            }
        }
        answer::json(207, serde_json::json!({"successes": successes, "errors": errors}).to_string())
    });
    let gateway = traced(Setup::new().provider(chat(&provider)), &langfuse).start();
    for id in ["good", "bad", "good"] {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").header("x-request-id", id).body(sample::CHAT.ask));
        assert_eq!(client.response().status, 200);
    }
    eventually("both are counted", || {
        passed(&gateway, "langfuse") == 2.0 && lost(&gateway, "langfuse", "rejected") == 1.0
    });
    gateway.expect_log(&["events were rejected", "no such model"]);
}

/// A stop does not wait for a Langfuse that never answers.
#[test]
fn stopped_while_it_hangs() {
    let provider = speaker(&sample::CHAT);
    let silent = Fake::start();
    let mut gateway = traced(Setup::new().provider(chat(&provider)), &silent).start();
    send_requests(&gateway, 3, sample::CHAT.ask);
    gateway.term();
    assert!(gateway.wait().success());
    gateway.expect_log(&["records are lost", "shutdown"]);
}

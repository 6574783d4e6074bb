//! A second attempt beside a whole answer that takes long: the first complete answer wins.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::hedging::{CANCELLED_WITHIN, SLACK, setup};
use super::*;

const AT_ONCE: u64 = 50;

fn gateway(first: &Fake, second: &Fake) -> Gateway {
    setup(first, second, json!({ "hedge": { "whole_after_ms": AT_ONCE, "percent": 100 } })).start()
}

fn begin(client: &mut Client) {
    client.ask(&post(PATH).key(KEY).body(sample::CHAT.ask.replace(sample::MODEL, "smart")));
}

fn whole() -> Vec<u8> {
    answer::json(200, sample::CHAT.answer)
}

/// An answer of more than HOLD_ANSWER_BYTES, which passes as it comes.
fn large() -> Vec<u8> {
    let mut large: Value = serde_json::from_str(sample::CHAT.answer).unwrap();
    large["choices"][0]["message"]["content"] = "x".repeat(3 << 20).into();
    answer::json(200, large.to_string())
}

/// Who answered, after how many attempts.
fn finish(client: &mut Client) -> (String, String) {
    let response = client.response();
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.json()["choices"].is_array() || response.json()["content"].is_array(), "{}", response.text());
    let header = |name: &str| response.header(name).unwrap_or_default().to_owned();
    (header("x-llm-proxy-provider"), header("x-llm-proxy-attempts"))
}

fn assert_cancelled(conn: &mut fake::Conn, since: Instant) {
    conn.expect_closed();
    assert!(since.elapsed() < CANCELLED_WITHIN + SLACK, "{:?}", since.elapsed());
}

/// Nothing, the head, or a part of the body: as long as it is not complete it is no answer.
#[test]
fn the_first_complete_answer_wins() {
    for part in [0, 40, whole().len() - 5] {
        let (first, second) = (Fake::start(), Fake::start());
        let gateway = gateway(&first, &second);
        let mut client = gateway.client();
        begin(&mut client);
        let mut slow = first.accept();
        slow.request();
        slow.send(&whole()[..part]);
        let mut quick = second.accept();
        assert_eq!(quick.request().json()["model"], sample::MODEL);
        quick.send(whole());
        let sent = Instant::now();
        assert_eq!(finish(&mut client), ("second".to_owned(), "2".to_owned()), "{part}");
        assert_cancelled(&mut slow, sent);
        for (metric, value) in [("hedges_total", 1.0), ("hedges_won_total", 1.0), ("attempts_total", 2.0)] {
            gateway.expect_metric(&format!("llm_proxy_{metric}"), value);
        }
        let lost = r#"llm_proxy_provider_attempts_total{provider="first",outcome="superseded"}"#;
        gateway.expect_metric(lost, 1.0);
    }
}

#[test]
fn the_second_attempt_is_cancelled_when_the_first_completes() {
    for chunked in [false, true] {
        let (first, second) = (Fake::start(), Fake::start());
        let gateway = gateway(&first, &second);
        let mut client = gateway.client();
        begin(&mut client);
        let mut slow = first.accept();
        slow.request();
        let mut other = second.accept();
        other.request();
        other.send(&whole()[..whole().len() - 5]);
        let sent = Instant::now();
        match chunked {
            false => slow.send(whole()),
            true => {
                slow.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n");
                slow.send(answer::chunk(sample::CHAT.answer));
                slow.send(answer::LAST_CHUNK);
            }
        }
        assert_eq!(finish(&mut client).0, "first");
        assert_cancelled(&mut other, sent);
        let lost = r#"llm_proxy_provider_attempts_total{provider="second",outcome="superseded"}"#;
        assert_eq!((gateway.metric(lost), gateway.metric("llm_proxy_hedges_won_total")), (Some(1.0), Some(0.0)));
    }
}

/// A second answer that is none does not win, whatever its status is.
#[test]
fn what_is_no_answer_does_not_win() {
    let bodies = [r#"{"error":{"message":"busy"}}"#, "<html></html>", ""];
    for (status, body) in bodies.map(|body| (200, body)).into_iter().chain([(503, "{}")]) {
        let first = Fake::start();
        let second = Fake::answering(move |_| answer::json(status, body));
        let gateway = gateway(&first, &second);
        let mut client = gateway.client();
        begin(&mut client);
        let mut slow = first.accept();
        slow.request();
        eventually("the second attempt has failed", || gateway.metric("llm_proxy_attempts_failed_total") == Some(1.0));
        slow.send(whole());
        assert_eq!(finish(&mut client).0, "first", "{status} {body}");
    }
}

/// A first attempt that fails while the second runs leaves it alone.
#[test]
fn a_first_attempt_may_fail() {
    let (first, second) = (Fake::start(), Fake::start());
    let gateway = gateway(&first, &second);
    let mut client = gateway.client();
    begin(&mut client);
    let mut broken = first.accept();
    broken.request();
    let mut other = second.accept();
    other.request();
    broken.reset();
    other.send(whole());
    assert_eq!(finish(&mut client), ("second".to_owned(), "2".to_owned()));
}

/// What passes before it is complete has decided the race.
#[test]
fn an_answer_that_is_not_held_ends_the_race() {
    let (first, second) = (Fake::start(), Fake::start());
    let gateway = gateway(&first, &second);
    let mut client = gateway.client();
    begin(&mut client);
    let mut slow = first.accept();
    slow.request();
    let mut other = second.accept();
    other.request();
    let large = large();
    let (begun, rest) = large.split_at(large.len() - 9);
    slow.send(begun);
    other.expect_closed();
    slow.send(rest);
    assert_eq!(finish(&mut client).0, "first");
}

/// Providers of another format are asked for a stream where the answer may be long.
#[test]
fn translated_answers_are_hedged() {
    let (first, second) = (Fake::start(), Fake::start());
    let gateway = gateway(&first, &second);
    let mut client = gateway.client();
    client.ask(&post(sample::MESSAGES.path).key(KEY).body(sample::MESSAGES.ask.replace(sample::MODEL, "smart")));
    let mut slow = first.accept();
    slow.request();
    let mut quick = second.accept();
    quick.request();
    quick.send(whole());
    assert_eq!(finish(&mut client), ("second".to_owned(), "2".to_owned()));
    slow.expect_closed();
}

/// Without a fixed time the second attempt begins when an answer takes longer than it usually does.
#[test]
fn the_time_of_whole_answers_is_learned() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    let count = AtomicUsize::new(0);
    let first = Fake::answering(move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == 30 {
            std::thread::sleep(Duration::from_secs(20));
        }
        whole()
    });
    let second = Fake::answering(|_| whole());
    let gateway = setup(&first, &second, json!({ "hedge": { "percent": 100 } })).start();
    let mut client = gateway.client();
    let mut last = String::new();
    for _ in 0..31 {
        begin(&mut client);
        last = finish(&mut client).0;
    }
    assert_eq!(last, "second");
}

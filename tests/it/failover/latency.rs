//! What one of two providers costs while it is out: after its first failures nearly all requests
//! meet the healthy one only. What is asserted is counted by attempts, since times depend on the
//! machine; the ratio of the medians is printed, and their difference bounded loosely.

use std::time::{Duration, Instant};

use super::*;

/// Requests of one run.
const REQUESTS: u64 = 80;

/// Requests until the circuit of the failing provider is open: with equal weights it is first for
/// every second one, and for ever fewer as its share shrinks, and it must fail four or five times.
const LEARNING: u64 = 24;

/// Milliseconds that a median beside a broken provider may be above that of two healthy ones. Both
/// are about one, and an attempt at a silent provider takes 300.
const MOST_MORE: f64 = 150.0;

/// A gateway with two providers of equal weight, of which the first has a fault.
struct Two {
    gateway: Gateway,
    healthy: MockHandle,
    /// Kept while it serves.
    _other: MockHandle,
}

impl Two {
    fn new(fault: &str) -> Two {
        let (other, healthy) = (mock(fault), mock(""));
        let timeouts = r#"{"timeouts":{"connect":0.3,"first_content":0.3,"silence":0.3}}"#;
        let row = |name: &str, mock: &MockHandle, params: &str| ProviderRow {
            provider_params: params.into(),
            ..provider(name, "openai", &format!("{}/v1", mock.url()))
        };
        let gateway = Setup::new()
            .env("RETRY_MAX_WAIT_SECS", 5)
            .env("ADAPTIVE_ROUTING_ENABLED", true)
            .provider(row("other", &other, if fault.is_empty() { "{}" } else { timeouts }))
            .provider(row("healthy", &healthy, "{}"))
            .start();
        Two { gateway, healthy, _other: other }
    }

    /// The time of a request, and what it got.
    fn ask(&self, stream: bool) -> (Duration, Got) {
        let mut client = self.gateway.client();
        let body = format!(r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#);
        let began = Instant::now();
        client.ask(&post("/v1/chat/completions").body(body));
        let got = Got::of(&mut client);
        (began.elapsed(), got)
    }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

fn run(fault: &str, stream: bool) {
    // In turns, so that what the machine does beside slows down both.
    let (broken, whole) = (Two::new(fault), Two::new(""));
    let (mut late, mut times, began) = (0, [Vec::new(), Vec::new()], Instant::now());
    for n in 0..REQUESTS {
        let (time, got) = broken.ask(stream);
        assert_eq!((got.outcome(stream).as_str(), got.provider.as_str()), ("answer", "healthy"), "{fault} {n}");
        let (time_beside_none, beside_none) = whole.ask(stream);
        assert_eq!((beside_none.outcome(stream).as_str(), beside_none.attempts), ("answer", 1));
        if n >= LEARNING {
            late += u64::from(got.attempts > 1);
            times[0].push(time);
            times[1].push(time_beside_none);
        }
    }
    // The circuit is open for 30 s, and probes may fall into a slow run of this test.
    assert!(
        late <= 1 + began.elapsed().as_secs() / 30,
        "{fault}, stream {stream}: {late} of {} requests met the broken one",
        REQUESTS - LEARNING
    );
    assert_eq!(broken.healthy.counts().requests(), REQUESTS);
    let [beside_broken, beside_none] = times.map(median);
    let (ratio, form) = (beside_broken / beside_none, if stream { "stream" } else { "whole" });
    println!("{fault}, {form}: median {beside_broken:.2} ms beside it, {beside_none:.2} ms without, ratio {ratio:.2}");
    assert!(
        beside_broken < beside_none + MOST_MORE,
        "{fault}, {form}: {beside_broken:.2} ms beside it, {beside_none:.2} ms without"
    );
}

#[test]
fn refused() {
    run("refused", false);
    run("refused", true);
}

#[test]
fn a_black_hole() {
    run("black-hole", false);
    run("black-hole", true);
}

#[test]
fn silent() {
    run("silent", false);
    run("silent", true);
    run("silent-body", true);
}

#[test]
fn an_error_each_time() {
    run("500", false);
    run("500", true);
    run("late-500", false);
    run("late-500", true);
}

#[test]
fn throttled_without_a_time() {
    run("no-retry-after", false);
}

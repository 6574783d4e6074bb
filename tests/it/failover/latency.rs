//! What one of two providers costs while it is out: after its first failures nearly all requests
//! meet the healthy one only. Counted by attempts, since times depend on the machine.

use super::*;

/// Requests of one run.
const REQUESTS: u64 = 80;

/// Requests until the circuit of the failing provider is open: with equal weights it is first for
/// every second one, and for ever fewer as its share shrinks, and it must fail four or five times.
const LEARNING: u64 = 24;

fn run(fault: &str, stream: bool) {
    let (broken, healthy) = (mock(fault), mock(""));
    let timeouts = r#"{"timeouts":{"connect":0.3,"first_content":0.3,"silence":0.3}}"#;
    let row = |name: &str, mock: &MockHandle, params: &str| ProviderRow {
        provider_params: params.into(),
        ..provider(name, "openai", &format!("{}/v1", mock.url()))
    };
    let gateway = Setup::new()
        .env("RETRY_MAX_WAIT_SECS", 5)
        .env("ADAPTIVE_ROUTING_ENABLED", true)
        .provider(row("broken", &broken, timeouts))
        .provider(row("healthy", &healthy, "{}"))
        .start();
    let mut late = 0;
    for n in 0..REQUESTS {
        let mut client = gateway.client();
        let body = format!(r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#);
        client.ask(&post("/v1/chat/completions").body(body));
        let got = Got::of(&mut client);
        assert_eq!((got.outcome(stream).as_str(), got.provider.as_str()), ("answer", "healthy"), "{fault} {n}");
        if n >= LEARNING {
            late += u64::from(got.attempts > 1);
        }
    }
    // The circuit is open for 30 s, and one probe may fall into a slow run of this test.
    assert!(late <= 1, "{fault}, stream {stream}: {late} of {} requests met the broken one", REQUESTS - LEARNING);
    assert_eq!(healthy.counts().requests(), REQUESTS);
}

#[test]
fn refused() {
    run("refused", false);
    run("refused", true);
}

#[test]
fn a_black_hole() {
    run("black-hole", false);
}

#[test]
fn silent() {
    run("silent", true);
    run("silent-body", true);
}

#[test]
fn an_error_each_time() {
    run("500", false);
    run("500", true);
}

#[test]
fn throttled_without_a_time() {
    run("no-retry-after", false);
}

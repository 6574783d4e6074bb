//! The sixteen scenarios of the public failover benchmark: a primary and a standby (`priority` 1),
//! settings as they are by default, whole and streamed, and the tries that each provider saw.

use super::*;

const MESSAGE: &str = r#""messages":[{"role":"user","content":"hi"}]"#;

pub(super) struct Bench {
    primary: MockHandle,
    standby: MockHandle,
    gateway: Gateway,
}

impl Bench {
    /// Providers with these faults, under default settings save those in `env`.
    pub(super) fn new(primary: &str, standby: &str, env: &[(&str, &str)]) -> Bench {
        let (primary, standby) = (mock(primary), mock(standby));
        let row = |name: &str, mock: &MockHandle, params: &str| ProviderRow {
            provider_params: params.into(),
            ..provider(name, "openai", &format!("{}/v1", mock.url()))
        };
        let setup = Setup::new().env("RETRY_MAX_WAIT_SECS", 5).env("ADAPTIVE_ROUTING_ENABLED", true);
        let setup = env.iter().fold(setup, |setup, (name, value)| setup.env(name, value));
        let gateway = setup
            .provider(row("primary", &primary, "{}"))
            .provider(row("standby", &standby, r#"{"priority":1}"#))
            .start();
        Bench { primary, standby, gateway }
    }

    pub(super) fn ask(&self, stream: bool) -> Got {
        let mut client = self.gateway.client();
        client.ask(&post("/v1/chat/completions").body(format!(r#"{{"model":"m","stream":{stream},{MESSAGE}}}"#)));
        Got::of(&mut client)
    }

    /// The tries that the primary and the standby have seen.
    pub(super) fn tries(&self) -> (u64, u64) {
        (self.primary.counts().requests(), self.standby.counts().requests())
    }
}

/// One request, whole and as a stream: the outcome, who responded, and the tries of both.
fn check(
    name: &str,
    faults: [&str; 2],
    env: &[(&str, &str)],
    whole: (&str, &str, (u64, u64)),
    streamed: (&str, &str, (u64, u64)),
) {
    for (stream, (outcome, who, tries)) in [(false, whole), (true, streamed)] {
        let bench = Bench::new(faults[0], faults[1], env);
        let got = bench.ask(stream);
        let found = (got.outcome(stream), got.provider.as_str(), bench.tries());
        assert_eq!(
            (found.0.as_str(), found.1, found.2),
            (outcome, who, tries),
            "{name}, stream {stream}: {}",
            got.text
        );
        // The head says how many there were until then.
        assert_eq!(got.attempts, if who == "standby" { tries.0 + tries.1 } else { tries.0 }, "{name}");
    }
}

/// Many requests in a row: all are answered, and the primary sees at most so many.
fn check_long(name: &str, fault: &str, requests: u64, most: u64) {
    for stream in [false, true] {
        let bench = Bench::new(fault, "", &[]);
        for n in 0..requests {
            assert_eq!(bench.ask(stream).outcome(stream), "answer", "{name}, request {n}, stream {stream}");
        }
        let (primary, standby) = bench.tries();
        assert!(primary <= most, "{name}: {primary} tries of the primary");
        assert!(standby >= requests - most, "{name}: {standby} of the standby");
    }
}

const ANSWER: &str = "answer";
const SHORT: [(&str, &str); 2] = [("TTFT_TIMEOUT_SECS", "1"), ("REQUEST_TIMEOUT_SECS", "1")];

#[test]
fn s01_a_429_with_retry_after_and_then_fine() {
    let by_standby = (ANSWER, "standby", (1, 1));
    check("429 once", ["429:1", ""], &[], by_standby, by_standby);
}

#[test]
fn s02_429_for_ever() {
    // Cooldowns of a second, as the provider asks, which the machine may take long enough to see
    // end.
    check_long("429 for ever", "429", 20, 10);
}

#[test]
fn s03_one_500() {
    let by_standby = (ANSWER, "standby", (1, 1));
    check("500 once", ["500:1", ""], &[], by_standby, by_standby);
}

#[test]
fn s04_503_for_ever() {
    check_long("503 for ever", "503", 20, 5);
}

#[test]
fn s05_reset() {
    let by_standby = (ANSWER, "standby", (1, 1));
    for fault in ["reset-head", "reset-body", "half-head"] {
        check(fault, [fault, ""], &[], by_standby, by_standby);
    }
}

#[test]
fn s06_silence() {
    let by_standby = (ANSWER, "standby", (1, 1));
    for fault in ["silent", "silent-body"] {
        check(fault, [fault, ""], &SHORT, by_standby, by_standby);
    }
}

/// The primary is slow to begin. Within the deadline it is waited for, and beyond it left.
#[test]
fn s07_a_late_first_token() {
    for (limit, who, tries) in [("60", "primary", (1, 0)), ("0.5", "standby", (1, 1))] {
        let late = Fake::start();
        let standby = mock("");
        let row = |name: &str, url: String, params: &str| ProviderRow {
            provider_params: params.into(),
            ..provider(name, "openai", &url)
        };
        let gateway = Setup::new()
            .env("RETRY_MAX_WAIT_SECS", 5)
            .env("ADAPTIVE_ROUTING_ENABLED", true)
            .env("TTFT_TIMEOUT_SECS", limit)
            .provider(row("primary", late.url("/v1"), "{}"))
            .provider(row("standby", format!("{}/v1", standby.url()), r#"{"priority":1}"#))
            .start();
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").body(sample::CHAT.ask_stream));
        let mut conn = late.accept();
        conn.request();
        conn.send(answer::SSE);
        conn.send(answer::chunk(": waiting\n\n"));
        if tries.1 == 0 {
            conn.send(answer::chunk(sample::CHAT.events().concat()));
            conn.send(answer::LAST_CHUNK);
        }
        let got = Got::of(&mut client);
        assert_eq!((got.status, got.provider.as_str(), standby.counts().requests()), (200, who, tries.1), "{limit}");
        assert!(got.text.ends_with("data: [DONE]\n\n"), "{}", got.text);
    }
}

/// What the client has cannot be taken back: an honest error, and no second provider. A whole
/// answer is held until it is whole.
#[test]
fn s08_a_stream_cut_in_the_middle() {
    let honest = ("part, error upstream_stream_truncated", "primary", (1, 0));
    check("cut", ["truncate", ""], &[], (ANSWER, "standby", (1, 1)), honest);
    check("reset", ["reset", ""], &[], (ANSWER, "standby", (1, 1)), honest);
}

const RESCUE: (&str, &str) = ("RESCUE_STREAMS", "prompt");

/// With `RESCUE_STREAMS` the standby goes on with what was cut. The head names who began.
#[test]
fn s08_is_rescued() {
    for fault in ["truncate", "reset"] {
        check(fault, [fault, ""], &[RESCUE], (ANSWER, "standby", (1, 1)), (ANSWER, "primary", (1, 1)));
    }
}

#[test]
fn s09_is_rescued() {
    let env = [SHORT[0], SHORT[1], RESCUE];
    check("stall", ["stall", ""], &env, (ANSWER, "standby", (1, 1)), (ANSWER, "primary", (1, 1)));
}

/// The standby refuses to go on: the client learns how the stream broke off, not what the standby
/// says.
#[test]
fn s14_is_an_honest_error() {
    for fault in ["400", "context-length", "503"] {
        let bench = Bench::new("truncate", fault, &[("RESCUE_STREAMS", "prefill")]);
        let got = bench.ask(true);
        assert_eq!(got.outcome(true), "part, error upstream_stream_truncated", "{}", got.text);
        assert_eq!(bench.tries(), (1, 1));
    }
}

#[test]
fn s09_a_stall_in_the_middle() {
    let honest = ("part, error upstream_timeout", "primary", (1, 0));
    check("stall", ["stall", ""], &SHORT, (ANSWER, "standby", (1, 1)), honest);
}

#[test]
fn s10_a_malformed_event() {
    let by_standby = (ANSWER, "standby", (1, 1));
    check("malformed from the start", ["bad-first", ""], &[], by_standby, by_standby);
    // Amid the content it passes in the provider's own format, as every byte does.
    let as_sent = ("answer, one event no JSON", "primary", (1, 0));
    check("one malformed event", ["bad-event", ""], &[], by_standby, as_sent);
}

/// The text is whole, and hosts exist that send no end mark: it passes as it is.
#[test]
fn s11_no_end_mark() {
    check("no end mark", ["no-end-mark", ""], &[], (ANSWER, "primary", (1, 0)), ("no end mark", "primary", (1, 0)));
}

#[test]
fn s12_context_length() {
    let refused = ("400 context_length_exceeded", "primary", (1, 0));
    check("context length", ["context-length", ""], &[], refused, refused);
}

#[test]
fn s13_content_filter() {
    let refused = ("400 content_filter", "primary", (1, 0));
    check("content filter", ["content-filter", ""], &[], refused, refused);
}

/// As 8. A standby that would refuse to continue changes nothing: it is not asked.
#[test]
fn s14_a_stream_cut_and_a_standby_that_refuses_prefill() {
    let honest = ("part, error upstream_stream_truncated", "primary", (1, 0));
    let bench = Bench::new("truncate", "400", &[]);
    let got = bench.ask(true);
    assert_eq!((got.outcome(true).as_str(), got.provider.as_str(), bench.tries()), honest, "{}", got.text);
}

#[test]
fn s15_flapping() {
    check_long("flapping", "flapping", 60, 60);
}

#[test]
fn s16_accounting() {
    let bench = Bench::new("500:1", "", &[]);
    let mut client = bench.gateway.client();
    for (who, attempts) in [("standby", "2"), ("primary", "1")] {
        client.ask(&post("/v1/chat/completions").body(format!(r#"{{"model":"m",{MESSAGE}}}"#)));
        let response = client.response();
        assert_eq!(response.header("x-llm-proxy-provider"), Some(who));
        assert_eq!(response.header("x-llm-proxy-upstream-model"), Some("m"));
        assert_eq!(response.header("x-llm-proxy-attempts"), Some(attempts));
    }
}

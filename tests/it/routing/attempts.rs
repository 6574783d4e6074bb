//! What one request does to the memory of providers, which responses fail an attempt, and which
//! failure the client gets.

use serde_json::json;

use super::memory::{Scripted, circuits, pair, remembering, status};
use super::*;

/// A client of the Chat format, and one that is translated to it.
const CLIENTS: [&sample::Sample; 2] = [&sample::CHAT, &sample::MESSAGES];

fn alone() -> (Scripted, Setup) {
    let a = Scripted::new("a");
    let setup = remembering().provider(provider("a", "openai", &a.fake.url("/v1")));
    (a, setup)
}

/// The tries of one request are one observation: circuits open by requests, not by retries.
#[test]
fn the_tries_of_one_request_count_once() {
    let (a, setup) = alone();
    let gateway = setup.start();
    let mut client = gateway.client();
    a.then((0..3).map(|_| status(429)));
    assert_eq!(client.call(PATH, ask("m")).status, 429);
    let account = |gateway: &Gateway| circuits(gateway)["circuits"][0].clone();
    let first = account(&gateway);
    assert_eq!((a.served(), &first["state"], &first["is_benched"]), (3, &json!("closed"), &json!(true)));
    // It rests, so each of the next requests is one try. The third request opens the circuit.
    for state in ["closed", "open"] {
        a.then([status(429)]);
        assert_eq!(client.call(PATH, ask("m")).status, 429);
        assert_eq!(account(&gateway)["state"], json!(state));
    }
    assert_eq!(a.served(), 5);
    // The same for errors: six of them in two requests are two.
    for _ in 0..2 {
        a.then((0..3).map(|_| status(500)));
        assert_eq!(client.call(PATH, ask("other")).status, 500);
    }
    let circuits = circuits(&gateway);
    let other = circuits["circuits"].as_array().unwrap().iter().find(|circuit| circuit["model"] == "other");
    assert_eq!(other.unwrap()["state"], json!("closed"), "{circuits}");
}

/// A provider, and a model of it, has retries of its own beside those of the process.
#[test]
fn retries_of_a_provider_and_of_a_model() {
    let a = Scripted::new("a");
    let retries = r#"{"retries":{"max_attempts":2,"models":{"once":{"max_attempts":1},"p-*":{"max_wait":0.01}}}}"#;
    let row = ProviderRow { provider_params: retries.into(), ..provider("a", "openai", &a.fake.url("/v1")) };
    let gateway = remembering().provider(row).start();
    let mut client = gateway.client();
    for (model, fields, tries) in [
        ("m", None, 2),
        ("once", None, 1),
        ("p-1", None, 2),
        // What the provider asks for is longer than the model's own limit.
        ("p-2", Some(("retry-after-ms", "200")), 1),
    ] {
        let before = a.served();
        a.then((0..tries).map(|_| answer::with(500, fields.as_slice(), "{}")));
        assert_eq!((client.call(PATH, ask(model)).status, a.served() - before), (500, tries), "{model}");
    }
    // More than the process allows is not made.
    let b = Scripted::new("b");
    let row = ProviderRow {
        provider_params: r#"{"retries":{"max_attempts":9}}"#.into(),
        ..provider("b", "openai", &b.fake.url("/v1"))
    };
    let gateway = remembering().provider(row).start();
    b.then((0..3).map(|_| status(500)));
    assert_eq!((gateway.client().call(PATH, ask("m")).status, b.served()), (500, 3));
    // A value that is none is reported, and that of the process holds.
    let row = ProviderRow { provider_params: r#"{"retries":{"max_attempts":0}}"#.into(), ..chat(&b.fake) };
    let gateway = remembering().provider(row).start();
    let output = gateway.cli(&["check-config"]);
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(text.contains("retries: max_attempts 0 would never ask the provider"), "{text}");
}

/// A wait does not bring a quota back: the provider is left at once, and rests like one that
/// answers 402.
#[test]
fn a_quota_that_is_used_up_is_not_tried_again() {
    let bodies = [
        r#"{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}"#,
        r#"{"error":{"message":"You exceeded your current quota, please check your plan.","type":"t","code":null}}"#,
        r#"{"error":{"message":"Your credit balance is too low to access the API","type":"t"}}"#,
    ];
    for sample in CLIENTS {
        for body in bodies {
            let (a, setup) = alone();
            let gateway = setup.start();
            a.then([answer::json(429, body)]);
            let response = gateway.client().call(sample.path, sample.ask);
            let expected = if sample.kind == "anthropic" { 402 } else { 429 };
            assert_eq!((response.status, a.served()), (expected, 1), "{body}: {}", response.text());
            assert_eq!(circuits(&gateway)["circuits"][0]["is_benched"], json!(true));

            let (a, b, setup) = pair([1, 0]);
            let gateway = setup.start();
            a.then([answer::json(429, body)]);
            b.then([answer::json(200, sample::CHAT.answer)]);
            assert_eq!(gateway.client().call(sample.path, sample.ask).status, 200, "{body}");
            assert_eq!((a.served(), b.served()), (1, 1), "{body}");
        }
    }
}

/// A POST is answered with content. What has none, and what points elsewhere, is no answer.
#[test]
fn a_status_without_content_is_no_answer() {
    let bare = |status: u16| {
        let fields: &[(&str, &str)] = if status == 204 { &[] } else { &[("location", "http://10.0.0.1/v1")] };
        answer::with(status, fields, "")
    };
    for sample in CLIENTS {
        for status in [204, 301, 302, 304, 307, 308] {
            let (a, b, setup) = pair([1, 0]);
            let gateway = setup.start();
            a.then([bare(status)]);
            b.then([answer::json(200, sample::CHAT.answer)]);
            assert_eq!(gateway.client().call(sample.path, sample.ask).status, 200, "{status}");
            assert_eq!((a.served(), b.served()), (1, 1), "{status}");

            let (a, setup) = alone();
            let gateway = setup.start();
            a.then((0..3).map(|_| bare(status)));
            let response = gateway.client().call(sample.path, sample.ask);
            let sentence = format!("provider `a` responded with status {status}");
            assert_eq!(response.status, 502);
            assert!(response.text().contains(&sentence), "{}", response.text());
            assert!(!response.text().contains("10.0.0.1") && response.header("location").is_none());
            // The same redirect would come again.
            assert_eq!(a.served(), if status == 204 { 3 } else { 1 }, "{status}");
        }
    }
}

/// A connection that its server had closed before the request was written is replaced. That is no
/// retry: neither attempts nor the budget know of it.
#[test]
fn a_connection_that_was_closed_costs_no_retry() {
    let provider = Fake::start();
    let gateway = remembering().provider(chat(&provider)).env("MAX_ATTEMPTS", 1).env("RETRY_BUDGET_PERCENT", 0).start();
    let mut client = gateway.client();
    const REQUESTS: usize = 100;
    let mut kept = Vec::new();
    for n in 0..REQUESTS {
        client.ask(&post(PATH).body(ask("m")));
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::json(200, "{}"));
        match n % 3 {
            0 => conn.close(),
            1 => conn.reset(),
            // It takes what comes, and will never answer.
            _ => {
                conn.link.socket().shutdown(std::net::Shutdown::Write).unwrap();
                kept.push(conn);
            }
        }
        assert_eq!(client.response().status, 200, "request {n}");
    }
    gateway.expect_metric("llm_proxy_attempts_total", REQUESTS as f64);
}

/// The `retry-after` that a client gets for a 429 with these fields.
fn displayed(client: &sample::Sample, fields: &[(&str, &str)]) -> Option<String> {
    let (a, setup) = alone();
    let gateway = setup.env("RETRY_MAX_WAIT_SECS", 0).start();
    a.then([answer::with(429, fields, r#"{"error":{"message":"m"}}"#)]);
    let response = gateway.client().call(client.path, client.ask);
    assert_eq!(response.status, 429, "{fields:?}");
    assert!(response.header("retry-after-ms").is_none_or(|ms| ms.parse::<f64>().unwrap() >= 0.0), "{fields:?}");
    response.header("retry-after").map(str::to_owned)
}

#[test]
fn a_429_says_when_to_come_back() {
    let rows: [(&[(&str, &str)], Option<&str>); 12] = [
        (&[], None),
        (&[("retry-after", "7")], Some("7")),
        (&[("x-ratelimit-reset-requests", "1s")], Some("1")),
        (&[("x-ratelimit-reset-requests", "1s"), ("x-ratelimit-reset-tokens", "6m0s")], Some("360")),
        (
            &[
                ("x-ratelimit-remaining-requests", "0"),
                ("x-ratelimit-reset-requests", "1.2s"),
                ("x-ratelimit-remaining-tokens", "900"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ],
            Some("2"),
        ),
        (&[("retry-after", "soon"), ("x-ratelimit-reset-requests", "4s")], Some("4")),
        (&[("retry-after", "-3")], None),
        (&[("retry-after", "NaN")], None),
        (&[("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")], None),
        (&[("retry-after", "inf")], Some("86400")),
        (&[("retry-after", "99999999999999999999999")], Some("86400")),
        (&[("retry-after-ms", "-1"), ("anthropic-ratelimit-tokens-reset", "1970-01-01T00:00:00Z")], None),
    ];
    for client in CLIENTS {
        for (fields, expected) in rows {
            assert_eq!(displayed(client, fields).as_deref(), expected, "{fields:?}");
        }
        let at = in_rfc3339(90);
        let seconds: u64 = displayed(client, &[("anthropic-ratelimit-requests-reset", &at)]).unwrap().parse().unwrap();
        assert!((30..=90).contains(&seconds), "{seconds}");
    }
}

/// The time in `seconds`, in the form of RFC 3339.
fn in_rfc3339(seconds: u64) -> String {
    let at = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
    time::OffsetDateTime::from(at).format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// A provider that asks for a wait without end is not tried again, and its rest has an end.
#[test]
fn a_wait_without_end_is_bounded() {
    for value in ["inf", "1e300", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let (a, setup) = alone();
        let gateway = setup.start();
        a.then([answer::with(429, &[("retry-after", value)], "{}")]);
        assert_eq!((gateway.client().call(PATH, ask("m")).status, a.served()), (429, 1), "{value}");
        let wait = circuits(&gateway)["circuits"][0]["wait_ms"].as_u64().unwrap();
        assert!((1..=300_000).contains(&wait), "{value}: {wait}");
    }
    // A time that is over is none: the provider rests as after any 429.
    for value in ["Thu, 01 Jan 1970 00:00:00 GMT", "0", "-1", "NaN"] {
        let (a, b, setup) = pair([1, 0]);
        let gateway = setup.start();
        a.then([answer::with(429, &[("retry-after", value)], "{}")]);
        let mut client = gateway.client();
        assert_eq!((answered_by(&mut client, "m"), answered_by(&mut client, "m")), ("b".into(), "b".into()));
        assert_eq!((a.served(), b.served()), (1, 2), "{value}");
    }
}

/// The client gets the most useful failure, and the headers name its provider.
#[test]
fn the_most_useful_failure_is_passed_on() {
    let quota = || answer::json(429, r#"{"error":{"message":"m","code":"insufficient_quota"}}"#);
    let limit = || answer::with(429, &[("retry-after", "60")], r#"{"error":{"message":"m"}}"#);
    let too_long = || answer::json(400, r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#);
    type Row = (&'static str, Vec<u8>, Vec<u8>, u16, &'static str);
    let rows: [Row; 6] = [
        ("equals: the first", status(500), status(502), 500, "a"),
        ("a wait before an error", status(503), limit(), 429, "b"),
        ("a wait before an error", limit(), status(503), 429, "a"),
        ("an error before a quota", quota(), status(503), 503, "b"),
        ("an error before silence", status(500), b"nonsense\r\n\r\n".to_vec(), 500, "a"),
        ("the request's own fault", status(500), too_long(), 400, "b"),
    ];
    for (what, first, second, expected, who) in rows {
        let (a, b, setup) = pair([1, 0]);
        let gateway = setup.env("RETRY_MAX_WAIT_SECS", 0).start();
        a.then([first]);
        b.then([second]);
        let response = gateway.client().call(PATH, ask("m"));
        let named = response.header("x-llm-proxy-provider");
        assert_eq!((response.status, named), (expected, Some(who)), "{what}: {}", response.text());
        assert_eq!(response.header("x-llm-proxy-attempts"), Some("2"), "{what}");
    }
    // Nobody can be reached: the first is named, which is the one that the operator prefers.
    let closed = Nobody::new();
    let row = |name: &str, weight| ProviderRow { weight, ..provider(name, "openai", &closed.url("/v1")) };
    let gateway = remembering().env("RETRY_MAX_WAIT_SECS", 0).provider(row("a", 1)).provider(row("b", 0)).start();
    let response = gateway.client().call(PATH, ask("m"));
    assert_eq!(response.status, 502);
    assert!(response.text().contains("no connection to provider `a`"), "{}", response.text());
    assert_eq!(response.header("x-llm-proxy-provider"), Some("a"));
}

/// 529 is Anthropic's own status. In their own format it passes, and clients of OpenAI get 503.
#[test]
fn an_overload_has_the_status_of_the_clients_format() {
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for (sample, expected) in [(&sample::MESSAGES, 529), (&sample::CHAT, 503), (&sample::RESPONSES, 503)] {
        let fake = Fake::answering(move |_| answer::json(529, body));
        let gateway = Setup::new().provider(anthropic(&fake)).start();
        assert_eq!(gateway.client().call(sample.path, sample.ask).status, expected, "{}", sample.path);
    }
}

//! `llm-proxy bench` against the mock. How long things take on this machine proves nothing here:
//! counts do, and waits that the mock makes.

use std::net::SocketAddr;

use llm_mock::{Kind, Knobs, MockHandle, MockOptions};
use serde_json::Value;

use super::Place;
use crate::support::cert::Cert;
use crate::support::{Setup, provider};

fn mock() -> MockHandle {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    llm_mock::start(MockOptions { addr, workers: 1, defaults: Knobs::default() }).unwrap()
}

/// Arguments for few requests and no warm-up.
fn few<'a>(requests: &'a str, targets: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [&["bench", "--warm-up", "0", "--rounds", "2", "--requests", requests], targets, more].concat()
}

fn target(report: &Value, at: usize) -> &Value {
    &report["targets"][at]
}

#[test]
fn a_closed_loop_counts_its_requests() {
    let (place, fast, slow) = (Place::new(), mock(), mock());
    let (a, b) = (format!("fast={}", fast.url()), format!("slow={}/v1#mock-delay-20", slow.url()));
    let more = ["--connections", "3", "--json", "--plot", "plot.svg"];
    let report = place.json(&few("30", &[&a, &b], &more));
    for (at, name) in ["fast", "slow"].into_iter().enumerate() {
        let target = target(&report, at);
        assert_eq!((&target["name"], &target["requests"], &target["failed"]), (&name.into(), &60.into(), &0.into()));
        assert_eq!(target["rounds"].as_array().map(Vec::len), Some(2));
    }
    // One to see that it answers, then two rounds.
    assert_eq!([&fast, &slow].map(|mock| mock.counts().of(Kind::Chat)), [61, 61]);
    let slow = target(&report, 1);
    assert!(slow["latency_us"]["p50"].as_f64().unwrap() >= 20_000.0, "{slow}");
    assert!(slow["requests_per_second"].as_f64().unwrap() <= 150.0, "three at a time, 20 ms each: {slow}");
    assert!(slow["rate_ratio"].as_f64().unwrap() < 1.0, "{slow}");
    assert_eq!(slow["events_under_way_us"], Value::Null);
    let plot = std::fs::read_to_string(place.0.path().join("plot.svg")).unwrap();
    assert!(plot.starts_with("<svg ") && plot.matches("<polyline").count() == 4, "{plot}");
}

/// 40 requests come in 0.4 s and take 2 s on one connection: the last one waits 1.6 s before it is
/// sent, though each takes 50 ms by itself.
#[test]
fn at_a_constant_rate_a_latency_holds_the_wait_for_a_connection() {
    let (place, mock) = (Place::new(), mock());
    let target_of = |more: &[&str]| {
        let url = mock.url();
        let report = place.json(&few("40", &[&url], &[&["--json", "--model", "mock-delay-50"], more].concat()));
        target(&report, 0).clone()
    };
    let queued = target_of(&["--rate", "100", "--connections", "1"]);
    assert_eq!((&queued["requests"], &queued["failed"]), (&80.into(), &0.into()));
    assert!(queued["latency_us"]["max"].as_f64().unwrap() >= 1_550_000.0, "{queued}");
    assert!(queued["latency_us"]["p50"].as_f64().unwrap() >= 750_000.0, "{queued}");
    let free = target_of(&["--rate", "100"]);
    assert_eq!((&free["requests"], &free["failed"]), (&80.into(), &0.into()));
    assert!(free["latency_us"]["p50"].as_f64().unwrap() >= 50_000.0, "{free}");
    assert!(free["requests_per_second"].as_f64().unwrap() <= 105.0, "no faster than asked: {free}");
}

/// Every event of the mock is stamped once, whatever the gateway makes of the stream.
#[test]
fn events_of_streams_are_timed_in_every_format() {
    let (place, mock) = (Place::new(), mock());
    let kinds = [("openai", "/v1"), ("anthropic", ""), ("responses", "/v1")];
    let setup = kinds.iter().fold(Setup::new(), |setup, (kind, path)| {
        let mut row = provider(kind, kind, &format!("{}{path}", mock.url()));
        row.model_mapping = format!(r#"{{"{kind}":"mock-stamp-tokens-5-interval-2"}}"#);
        setup.provider(row)
    });
    let gateway = setup.start();
    let direct = format!("direct=http://{}#mock-stamp-tokens-5-interval-2", mock.addr());
    let through = kinds.map(|(kind, _)| format!("{kind}=http://{}#{kind}", gateway.addr));
    for format in ["chat", "messages", "responses"] {
        let targets = [direct.as_str(), &through[0], &through[1], &through[2]];
        let report = place.json(&few("4", &targets, &["--stream", "--format", format, "--key", "sk-test", "--json"]));
        for at in 0..4 {
            let target = target(&report, at);
            assert_eq!((&target["requests"], &target["failed"]), (&8.into(), &0.into()), "{format}: {target}");
            assert_eq!(target["events_under_way_us"]["count"], 40, "{format}: {target}");
            assert!(target["latency_us"]["p50"].as_f64().unwrap() >= 10_000.0, "five waits of 2 ms: {target}");
        }
    }
}

#[test]
fn failures_are_counted_by_their_reason() {
    let (place, mock) = (Place::new(), mock());
    let url = format!("mock={}", mock.url());
    // Five responses are bad, the next five good, and so on: the first of them are used up here.
    let flapping = few("10", &[&url], &["--connections", "1", "--model", "mock-flapping", "--json"]);
    (0..5).for_each(|_| place.bad(&flapping, 1, "mock gave no good response: status 500"));
    let report = place.json(&flapping);
    let target = target(&report, 0);
    assert_eq!((&target["requests"], &target["failed"]), (&10.into(), &10.into()), "{target}");
    assert_eq!(target["failures"]["status 500"], 10, "{target}");
    let ran = place.run(&flapping[..flapping.len() - 1]);
    assert!(ran.stderr.contains("warning: mock failed: ") && ran.stderr.contains(" x status 500"), "{}", ran.stderr);
    assert_eq!(ran.code, 0, "some were answered");
    let cut = ["--connections", "2", "--timeout", "2", "--stream", "--model"];
    place.bad(&few("2", &[&url], &[&cut[..], &["mock-no-end-mark"]].concat()), 1, "stream without its last event");
    place.bad(&few("2", &[&url], &[&cut[..], &["mock-truncate"]].concat()), 1, "closed before the end");
    place.bad(&few("2", &[&url], &[&cut[..], &["mock-stall"]].concat()), 1, "gave no good response: timeout");
}

#[test]
fn what_cannot_be_measured_is_said_first() {
    let (place, mock) = (Place::new(), mock());
    let gateway = Setup::new().provider(provider("openai", "openai", &format!("{}/v1", mock.url()))).start();
    let (url, through) = (mock.url(), format!("gw=http://{}", gateway.addr));
    place.bad(&few("1", &[&url, &through], &[]), 1, "gw gave no good response: status 401; is --key right?");
    place.bad(&few("1", &["gone=http://127.0.0.1:1"], &[]), 1, "gone gave no good response: no connection");
    place.bad(&few("1", &[&url, &url], &[]), 2, "two targets have the name");
    place.bad(&few("1", &[&url], &["--process", "x=1"]), 2, "no target has the name `x`");
    place.bad(&few("1", &["localhost:1"], &[]), 2, "`localhost:1` is no URL of a target");
    place.bad(&few("1", &[&url], &["--rate", "0"]), 2, "a rate is a number from 0.01 to 1000000");
    assert_eq!(mock.counts().of(Kind::Chat), 1, "nothing was measured");
}

#[test]
fn tables_show_targets_over_tls_and_their_processes() {
    let (place, mock, cert) = (Place::new(), mock(), Cert::new());
    let gateway = Setup::new()
        .provider(provider("openai", "openai", &format!("{}/v1", mock.url())))
        .env("TLS_CERT", cert.file().display())
        .env("TLS_KEY", cert.key_file().display())
        .start();
    let (direct, through) = (format!("direct={}", mock.url()), format!("gw=https://{}", gateway.addr));
    let process = format!("gw={}", gateway.pid());
    let args = few("5", &[&direct, &through], &["--key", "sk-test", "--connections", "2", "--process", &process]);
    place.bad(&args, 1, "gw gave no good response: no connection");
    let table = place.good(&[&args[..], &["--insecure"]].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "requests in a closed loop of 2 connections, 2 rounds of 5");
    assert!(lines[2].starts_with("TARGET") && lines[3].starts_with("direct  10"), "{table}");
    assert!(lines.iter().any(|line| line.starts_with("LATENCY") && line.contains("P99.9")), "{table}");
    let cost = lines.iter().position(|line| line.starts_with("COST")).unwrap();
    assert!(lines[cost + 1].starts_with("gw") && lines[cost + 1].ends_with("MB"), "{table}");
    assert_eq!(lines.len(), cost + 2, "the mock's process is not known: {table}");
}

/// The mock repeats prompts, word by word in streams, and so through translation.
#[test]
fn responses_repeat_the_number_of_their_request() {
    let (place, mock) = (Place::new(), mock());
    let kinds = [("openai", "/v1"), ("anthropic", ""), ("responses", "/v1")];
    let setup = kinds.iter().fold(Setup::new(), |setup, (kind, path)| {
        let mut row = provider(kind, kind, &format!("{}{path}", mock.url()));
        row.model_mapping = format!(r#"{{"{kind}":"mock-echo"}}"#);
        setup.provider(row)
    });
    let gateway = setup.start();
    let targets = kinds.map(|(kind, _)| format!("{kind}=http://{}#{kind}", gateway.addr));
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    for format in ["chat", "messages", "responses"] {
        for stream in [&["--stream"][..], &[]] {
            let more = ["--verify", "--prompt-bytes", "60", "--key", "sk-test", "--json", "--format", format];
            let report = place.json(&few("12", &targets, &[&more[..], stream].concat()));
            for at in 0..targets.len() {
                let target = target(&report, at);
                assert_eq!((&target["requests"], &target["failed"]), (&24.into(), &0.into()), "{format} {target}");
            }
        }
    }
    let url = mock.url();
    place.bad(&few("1", &[&url], &["--verify"]), 1, "response without its request's number");
}

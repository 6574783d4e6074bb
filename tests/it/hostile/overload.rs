//! More work than there is room for: at a provider, in the process, and in file descriptors.

use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use llm_proxy::config::rows::{CredentialRow, ProviderRow};

use super::*;

const MAPPING: &str = r#"{"m-asked":"m-asked"}"#;

fn limited(name: &str, provider: &Fake, limits: &str) -> ProviderRow {
    ProviderRow {
        model_mapping: MAPPING.into(),
        provider_params: format!(r#"{{"limits":{limits}}}"#),
        ..CHAT.provider(name, provider)
    }
}

fn ask(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.ask(&post(CHAT.path).body(CHAT.ask));
    client
}

fn taken(provider: &Fake) -> Conn {
    let mut conn = provider.accept();
    conn.request();
    conn
}

/// A provider that is full is passed over, and a request that waits gets the first place that is
/// free again.
#[test]
fn a_full_provider_is_passed_over_and_then_waited_for() {
    let (first, second) = (Fake::start(), Fake::start());
    let setup = Setup::new()
        .provider(ProviderRow { weight: 1000, ..limited("first", &first, r#"{"max_concurrency":1}"#) })
        .provider(ProviderRow { weight: 0, ..limited("second", &second, r#"{"max_concurrency":1}"#) });
    let gateway = setup.env("QUEUE_MAX_WAIT_SECS", 60).start();
    let running = |name: &str| gateway.metric(&format!("llm_proxy_provider_running_requests{{provider=\"{name}\"}}"));
    let (mut one, mut two) = (ask(&gateway), taken(&first));
    let mut other = ask(&gateway);
    let mut conn = taken(&second);
    assert_eq!((running("first"), running("second")), (Some(1.0), Some(1.0)));
    // Both are full.
    let mut waiting = ask(&gateway);
    eventually("it waits", || gateway.metric("llm_proxy_queue_requests") == Some(1.0));
    conn.send(answer::json(200, CHAT.answer));
    assert_eq!(other.response().header("x-llm-proxy-provider"), Some("second"));
    // On the connection that is kept.
    conn.request();
    conn.send(answer::json(200, CHAT.answer));
    assert_eq!(waiting.response().status, 200);
    two.send(answer::json(200, CHAT.answer));
    assert_eq!(one.response().header("x-llm-proxy-provider"), Some("first"));
    eventually("all places are free", || (running("first"), running("second")) == (Some(0.0), Some(0.0)));
    assert_eq!(gateway.metric("llm_proxy_queue_requests"), Some(0.0));
    gateway.expect_metric("llm_proxy_queued_requests_total", 1.0);
}

/// Of those that wait, keys with a high priority go first and those with a low one last.
#[test]
fn priorities_decide_who_waits() {
    let provider = Fake::start();
    let (permit, permits) = mpsc::channel::<()>();
    let (permits, order) = (Mutex::new(permits), Arc::new(Mutex::new(Vec::new())));
    let seen = order.clone();
    provider.serve_each(move |mut conn| {
        while let Some(request) = conn.next_request() {
            seen.lock().unwrap().push(request.json()["user"].as_str().unwrap().to_owned());
            if permits.lock().unwrap().recv().is_err() {
                return;
            }
            conn.send(answer::json(200, CHAT.answer));
        }
    });
    let key = |name: &str, metadata: &str| CredentialRow { metadata: metadata.into(), ..credential(name) };
    let gateway = Setup::new()
        .provider(limited("p", &provider, r#"{"max_concurrency":1}"#))
        .credential(key("low", r#"{"priority":"low"}"#))
        .credential(key("normal", r#"{"owner":"me"}"#))
        .credential(key("high", r#"{"priority":"high"}"#))
        .env("QUEUE_MAX_WAIT_SECS", 60)
        .start();
    let ask = |name: &str| {
        let mut client = gateway.client();
        let body = CHAT.ask.replacen('{', &format!("{{\"user\":\"{name}\","), 1);
        client.ask(&post(CHAT.path).key(name).body(body));
        client
    };
    let mut clients = vec![ask("normal")];
    eventually("one runs", || order.lock().unwrap().len() == 1);
    for (n, name) in ["low", "normal", "high", "low", "high"].into_iter().enumerate() {
        clients.push(ask(name));
        eventually("it waits", || gateway.metric("llm_proxy_queue_requests") == Some(n as f64 + 1.0));
    }
    (0..6).for_each(|_| permit.send(()).unwrap());
    clients.iter_mut().for_each(|client| assert_eq!(client.response().status, 200));
    assert_eq!(*order.lock().unwrap(), ["normal", "high", "high", "normal", "low", "low"]);
}

/// A request that waits in vain gets an error with `retry-after` in its own format.
#[test]
fn a_wait_in_vain_ends_with_the_time_to_come_again() {
    for (sample, status) in [(&CHAT, 503), (&MESSAGES, 529), (&RESPONSES, 503)] {
        let provider = Fake::start();
        let row = ProviderRow {
            model_mapping: MAPPING.into(),
            provider_params: r#"{"limits":{"max_concurrency":1}}"#.into(),
            ..sample.provider("p", &provider)
        };
        let gateway = Setup::new().provider(row).env("QUEUE_MAX_WAIT_SECS", 0.2).start();
        let mut first = gateway.client();
        first.ask(&post(sample.path).body(sample.ask));
        let mut conn = taken(&provider);
        let began = Instant::now();
        let refused = gateway.client().call(sample.path, sample.ask);
        assert!(began.elapsed() >= Duration::from_millis(200));
        assert_eq!((refused.status, refused.header("retry-after")), (status, Some("1")), "{}", refused.text());
        assert!(refused.text().contains("at a limit of requests at once"), "{}", refused.text());
        gateway.expect_metric("llm_proxy_queue_timeouts_total", 1.0);
        // The client that leaves takes its place in the queue with it.
        conn.send(answer::json(200, sample.answer));
        assert_eq!(first.response().status, 200);
    }
}

/// Requests and tokens of a minute: what can't be there in time is refused at once, with the true
/// wait.
#[test]
fn rates_of_a_provider() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(limited("p", &provider, r#"{"requests_per_minute":2}"#)).start();
    let mut client = gateway.client();
    assert_eq!([client.call(CHAT.path, CHAT.ask).status, client.call(CHAT.path, CHAT.ask).status], [200, 200]);
    let refused = client.call(CHAT.path, CHAT.ask);
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((20..=30).contains(&wait), "{wait}");
    assert!(refused.text().contains("requests or tokens per minute"), "{}", refused.text());
    assert_eq!(provider.requests().len(), 2);
    // Reported usage counts: 5 tokens each. A prompt that is larger than the limit never fits.
    let gateway = Setup::new().provider(limited("p", &provider, r#"{"tokens_per_minute":60}"#)).start();
    let mut client = gateway.client();
    let small = r#"{"model":"m-asked","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
    for _ in 0..4 {
        assert_eq!(client.call(CHAT.path, small).status, 200);
    }
    let large = small.replace("hi", &"word ".repeat(500));
    let refused = client.call(CHAT.path, large);
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("shorten the request"), "{}", refused.text());
}

/// A limit survives a change of the configuration, with what it has counted.
#[test]
fn a_change_of_the_row_keeps_the_count() {
    let provider = Fake::start();
    let gateway = Setup::new()
        .provider(limited("p", &provider, r#"{"max_concurrency":1}"#))
        .env("QUEUE_MAX_WAIT_SECS", 0)
        .start();
    let mut first = ask(&gateway);
    let mut conn = taken(&provider);
    let changed = gateway.cli(&["provider", "set", "p", "--weight", "7"]);
    assert!(changed.status.success(), "{changed:?}");
    eventually("the change is in force", || {
        gateway.metric("llm_proxy_provider_effective_weight{provider=\"p\"}") == Some(7.0)
    });
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 503);
    conn.send(answer::json(200, CHAT.answer));
    assert_eq!(first.response().status, 200);
}

/// `MAX_CONCURRENT_REQUESTS` is for all workers together.
#[test]
fn requests_of_the_process_are_bounded() {
    let provider = Fake::start();
    let (permit, permits) = mpsc::channel::<()>();
    let permits = Mutex::new(permits);
    provider.serve_each(move |mut conn| {
        while conn.next_request().is_some() && permits.lock().unwrap().recv().is_ok() {
            conn.send(answer::json(200, CHAT.answer));
        }
    });
    let setup = Setup::new().provider(chat(&provider)).workers(2).env("MAX_CONCURRENT_REQUESTS", 3);
    let gateway = setup.env("QUEUE_MAX_WAIT_SECS", 60).env("QUEUE_MAX_REQUESTS", 2).start();
    let value = |name: &str| gateway.metric(name);
    let mut clients: Vec<_> = (0..3).map(|_| ask(&gateway)).collect();
    eventually("three run", || value("llm_proxy_limited_requests") == Some(3.0));
    clients.extend([ask(&gateway), ask(&gateway)]);
    eventually("two wait", || value("llm_proxy_queue_requests") == Some(2.0));
    let waiting = Instant::now();
    // The queue is bounded, too.
    let refused = gateway.client().call(CHAT.path, CHAT.ask);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert!(refused.text().contains("MAX_CONCURRENT_REQUESTS"), "{}", refused.text());
    assert_eq!(value("llm_proxy_queue_refused_total"), Some(1.0));
    // One that waits may leave, and makes room for another.
    drop(clients.pop());
    eventually("one waits", || value("llm_proxy_queue_requests") == Some(1.0));
    clients.push(ask(&gateway));
    eventually("two wait again", || value("llm_proxy_queue_requests") == Some(2.0));
    let waited = waiting.elapsed().as_secs_f64() * 1e3;
    (0..5).for_each(|_| permit.send(()).unwrap());
    for (at, client) in clients.iter_mut().enumerate() {
        let response = client.response();
        assert_eq!(response.status, 200);
        // The wait of one that waited all the time is part of no other stage.
        if at == 3 {
            let timing = response.header("server-timing").unwrap();
            let limit = timing.split(", ").find_map(|stage| stage.strip_prefix("limit;dur="));
            assert!(limit.is_some_and(|ms| ms.parse::<f64>().unwrap() >= waited), "{waited} ms of {timing}");
        }
    }
    eventually("all places are free", || value("llm_proxy_limited_requests") == Some(0.0));
}

/// With few descriptors connections wait, so that those that are there reach their provider.
#[test]
fn connections_leave_descriptors_for_providers() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let few = ["/bin/sh", "-c", "ulimit -n 200; exec \"$@\"", "sh"];
    let gateway = Setup::new().provider(chat(&provider)).through(&few).start();
    let mut first = gateway.client();
    first.ask(&get("/health"));
    assert_eq!(first.response().status, 200);
    let held: Vec<_> = (0..300).map(|_| gateway.client()).collect();
    eventually("it takes no more", || gateway.descriptors() >= 60 + 10);
    for _ in 0..20 {
        assert_eq!(first.call(CHAT.path, CHAT.ask).status, 200);
    }
    assert!(gateway.descriptors() < 200 - 40, "{}", gateway.descriptors());
    drop(held);
    // Those that waited are served.
    assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
    assert!(gateway.metric("llm_proxy_accept_pauses_total") > Some(0.0));
}

/// A client that takes nothing of its answer is not waited for.
#[test]
fn slow_readers_are_bounded() {
    let provider = Fake::start();
    let gateway = Setup::new().provider(chat(&provider)).env("WRITE_TIMEOUT_SECS", 0.3).start();
    let mut client = gateway.client();
    client.ask(&post(CHAT.path).body(CHAT.ask_stream));
    let mut conn = taken(&provider);
    conn.send(answer::SSE);
    let event = CHAT.content[0].replace("Hel", &"x".repeat(8 << 10));
    // Until the gateway has closed the connection to the provider, since its client takes nothing.
    let began = Instant::now();
    while conn.link.try_send(answer::chunk(&event).as_slice()).is_ok() {
        assert!(began.elapsed() < HANG, "the client is still waited for");
    }
    eventually("it counts as gone", || gateway.metric("llm_proxy_clients_gone_total") == Some(1.0));
}

//! The start and the end of the process.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use llm_proxy::config::rows::ProviderRow;
use serde_json::Value;

use super::support::sample::{CHAT, MESSAGES, RESPONSES, Sample};
use super::support::*;

const FORMATS: [&Sample; 3] = [&CHAT, &MESSAGES, &RESPONSES];

/// A provider of the sample's format that is the test's to speak for.
fn serving(sample: &Sample, setup: Setup) -> (Fake, Gateway) {
    let provider = Fake::start();
    let gateway = setup.provider(sample.provider("p", &provider)).start();
    (provider, gateway)
}

/// A stream of which the client has the first event with content.
fn flowing(provider: &Fake, gateway: &Gateway, sample: &Sample) -> (Client, Conn) {
    let mut client = gateway.client();
    client.ask(&post(sample.path).body(sample.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    sample.opening.iter().chain(&sample.content[..1]).for_each(|event| conn.send(answer::chunk(event)));
    assert_eq!(client.head().status, 200);
    client.read_until(sample.content[0]);
    (client, conn)
}

/// A client whose connection waits for its next request.
fn idle(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.ask(&get("/health"));
    assert_eq!(client.response().status, 200);
    client
}

fn refuses_connections(gateway: &Gateway) -> bool {
    TcpStream::connect(gateway.addr).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn running_requests_finish_at_shutdown() {
    for signal in ["TERM", "INT"] {
        let (provider, mut gateway) = serving(&CHAT, Setup::new());
        let (mut streaming, mut conn) = flowing(&provider, &gateway, &CHAT);
        let mut waiting = gateway.client();
        waiting.ask(&post(CHAT.path).body(CHAT.ask));
        let mut received = provider.accept();
        received.request();
        let (mut first, mut second) = (idle(&gateway), idle(&gateway));

        gateway.signal(signal);
        // Who only waits is let go at once, while others still run.
        first.expect_closed();
        second.expect_closed();
        eventually("no new connections", || refuses_connections(&gateway));
        assert!(gateway.is_running());

        // A response that begins now is marked as the last on its connection.
        received.send(answer::json(200, CHAT.answer));
        let response = waiting.response();
        assert_eq!((response.text(), response.header("connection")), (CHAT.answer, Some("close")));
        waiting.expect_closed();

        // One that had begun is not cut.
        CHAT.content[1..].iter().for_each(|event| conn.send(answer::chunk(event)));
        conn.send(answer::LAST_CHUNK);
        assert_eq!(streaming.rest_text(), (CHAT.content[1..].concat(), End::Whole));
        streaming.expect_closed();
        assert_eq!(gateway.wait().code(), Some(0), "{signal}");
    }
}

/// A connection may be older than the signal, and its first request younger.
#[test]
fn a_request_that_comes_after_the_signal() {
    let (provider, mut gateway) = serving(&CHAT, Setup::new());
    let (streaming, conn) = flowing(&provider, &gateway, &CHAT);
    let mut fresh = gateway.client();
    // Connections are accepted in their order, so the fresh one was.
    let mut last = idle(&gateway);
    gateway.term();
    last.expect_closed();
    fresh.ask(&post("/nothing"));
    let response = fresh.response();
    assert_eq!((response.status, response.header("connection")), (404, Some("close")));
    fresh.expect_closed();
    drop((streaming, conn));
    assert_eq!(gateway.wait().code(), Some(0));
}

/// Load balancers see that the gateway is about to go before it refuses a connection.
#[test]
fn readiness_falls_before_the_listener_closes() {
    let (_provider, mut gateway) = serving(&CHAT, Setup::new().env("SHUTDOWN_DELAY_SECS", 600));
    let mut kept = idle(&gateway);
    gateway.term();
    eventually("not ready", || {
        let mut client = gateway.client();
        client.ask(&get("/health/ready"));
        let response = client.response();
        response.status == 503 && response.header("connection") == Some("close")
    });
    // A connection that was kept is served once more, and its response is marked as the last.
    kept.ask(&get("/health"));
    let response = kept.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    kept.expect_closed();
    // A second signal does not wait. One that comes at once is the first, sent twice.
    eventually("a second signal ends it", || {
        gateway.term();
        !gateway.is_running()
    });
    assert_eq!(gateway.wait().code(), Some(1));
}

#[test]
fn reload_signals_do_not_stop_the_process() {
    let (provider, mut gateway) = serving(&CHAT, Setup::new());
    for signal in ["HUP", "USR1", "HUP"] {
        gateway.signal(signal);
        let mut client = gateway.client();
        client.ask(&post(CHAT.path).body(CHAT.ask));
        let mut received = provider.accept();
        received.request();
        received.send(answer::json(200, CHAT.answer));
        assert_eq!(client.response().status, 200, "{signal}");
    }
    gateway.term();
    assert_eq!(gateway.wait().code(), Some(0));
}

/// A stream may be longer than the delay. Its head said that another request may follow, so one
/// may.
#[test]
fn a_connection_behind_a_long_stream_serves_one_more_request() {
    let (provider, mut gateway) = serving(&CHAT, Setup::new());
    let (mut client, mut conn) = flowing(&provider, &gateway, &CHAT);
    let (mut silent, mut other) = flowing(&provider, &gateway, &CHAT);
    gateway.term();
    eventually("no new connections", || refuses_connections(&gateway));
    for conn in [&mut conn, &mut other] {
        CHAT.content[1..].iter().for_each(|event| conn.send(answer::chunk(event)));
        conn.send(answer::LAST_CHUNK);
    }
    for client in [&mut client, &mut silent] {
        assert_eq!(client.rest_text(), (CHAT.content[1..].concat(), End::Whole));
    }
    client.ask(&get("/health"));
    let response = client.response();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    client.expect_closed();
    // Who sends none is not waited for.
    silent.expect_closed();
    assert_eq!(gateway.wait().code(), Some(0));
}

fn impatient() -> Setup {
    Setup::new().env("SHUTDOWN_GRACE_SECS", 0.2)
}

const STOPPING: &str = "this gateway is shutting down; try again";

/// The error event of each format, `ID` for the request's id.
fn last_event(sample: &Sample) -> String {
    let error =
        format!(r#"{{"message":"{STOPPING}","type":"server_error","param":null,"code":"server_is_overloaded"}}"#);
    match sample.kind {
        "openai" => format!("data: {{\"error\":{error}}}\n\n"),
        "anthropic" => format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"{STOPPING}\"}},\
             \"request_id\":\"ID\"}}\n\n"
        ),
        _ => format!(
            "event: error\ndata: {{\"type\":\"error\",\"sequence_number\":0,\"code\":\"server_is_overloaded\",\
             \"message\":\"{STOPPING}\",\"param\":null,\"error\":{error}}}\n\n"
        ),
    }
}

#[test]
fn a_stream_that_goes_on_beyond_the_grace() {
    for sample in FORMATS {
        let (provider, mut gateway) = serving(sample, Setup::new().env("SHUTDOWN_GRACE_SECS", 0.5));
        let mut client = gateway.client();
        client.ask(&post(sample.path).header("x-request-id", "ID").body(sample.ask_stream));
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::SSE);
        sample.opening.iter().chain(&sample.content[..1]).for_each(|event| conn.send(answer::chunk(event)));
        client.head();
        client.read_until(sample.content[0]);
        let started = Instant::now();
        gateway.term();
        // Never a clean end.
        assert_eq!(client.rest_text(), (last_event(sample), End::Truncated), "{}", sample.path);
        assert!(started.elapsed() >= Duration::from_millis(500));
        conn.expect_closed();
        drop(client);
        assert_eq!(gateway.wait().code(), Some(0), "{}", sample.path);
    }
}

/// Nothing was sent yet: the client gets a status, and no other provider is asked any more.
#[test]
fn request_beyond_the_grace_period_is_ended() {
    for (sample, status) in [(&CHAT, 503), (&MESSAGES, 529), (&RESPONSES, 503)] {
        for begun in [false, true] {
            let (provider, spare) = (Fake::start(), Fake::start());
            let setup = impatient()
                .provider(sample.provider("first", &provider))
                .provider(ProviderRow { weight: 0, ..sample.provider("spare", &spare) });
            let mut gateway = setup.start();
            let mut client = gateway.client();
            client.ask(&post(sample.path).body(sample.ask_stream));
            let mut conn = provider.accept();
            conn.request();
            if begun {
                // The head alone, and events that say nothing: still held.
                conn.send(answer::SSE);
                sample.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
            }
            gateway.term();
            let response = client.response();
            assert_eq!((response.status, response.header("retry-after")), (status, Some("1")));
            assert_eq!(response.json()["error"]["message"], STOPPING);
            assert_eq!(response.header("connection"), Some("close"));
            conn.link.until_end();
            drop(client);
            assert_eq!(gateway.wait().code(), Some(0));
            assert!(spare.try_accept().is_none());
        }
    }
}

/// Clients that have sent a part of a request.
#[test]
fn half_a_request_beyond_the_grace() {
    let (_provider, mut gateway) = serving(&CHAT, impatient());
    let whole = post(CHAT.path).body(CHAT.ask).bytes();
    let (mut in_head, mut in_body, mut silent) = (gateway.client(), gateway.client(), gateway.client());
    in_head.send(&whole[..20]);
    in_body.send(&whole[..whole.len() - 1]);
    idle(&gateway);
    gateway.term();
    let response = in_body.response();
    assert_eq!((response.status, &response.json()["error"]["message"]), (503, &STOPPING.into()));
    in_head.expect_closed();
    silent.expect_closed();
    drop(in_body);
    assert_eq!(gateway.wait().code(), Some(0));
}

/// What a gateway says that can't have its port.
fn refused(addr: SocketAddr) -> String {
    // Nothing but the reason why it ends.
    let setup = Setup::new().at(addr).env("LOG_LEVEL", "off");
    match setup.try_start() {
        Ok(_) => panic!("two processes on {addr}"),
        Err(Ended { code, stderr }) => {
            assert_eq!(code, Some(1));
            stderr
        }
    }
}

fn taken(addr: SocketAddr, owner: &str) -> String {
    format!(
        "error: port {} of {} is in use by {owner}; stop that one, or choose another port with --port or PORT",
        addr.port(),
        addr.ip()
    )
}

#[test]
fn a_port_that_is_taken() {
    // By a gateway, whose own workers do share the port.
    let gateway = Setup::new().start();
    for host in [[127, 0, 0, 1], [0, 0, 0, 0]] {
        let addr = SocketAddr::from((host, gateway.addr.port()));
        assert_eq!(refused(addr), taken(addr, "another gateway"));
    }
    idle(&gateway);
    // By anything else, also if it would share.
    for shared in [false, true] {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_reuse_port(shared).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(8).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(refused(addr), taken(addr, "another process"), "shared: {shared}");
    }
}

/// A port is free for the next process as soon as its last has ended, whatever the kernel still
/// remembers of connections.
#[test]
fn a_port_that_was_taken() {
    // An address that no other test connects from or to.
    let mut gateway = Setup::new().at(SocketAddr::from(([127, 0, 0, 77], 0))).start();
    let mut client = idle(&gateway);
    gateway.term();
    client.expect_closed();
    assert_eq!(gateway.wait().code(), Some(0));
    let again = Setup::new().at(gateway.addr).start();
    assert_eq!(again.addr, gateway.addr);
    idle(&again);
}

/// The messages of the log, level first.
fn messages(gateway: &Gateway) -> Vec<String> {
    let lines = gateway.log();
    let lines = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = lines.filter(|line| line["target"].as_str().unwrap().starts_with("llm_proxy::cli"));
    own.map(|line| format!("{} {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap())).collect()
}

#[test]
fn startup_log_names_store_listener_and_workers() {
    let (_provider, mut gateway) = serving(&CHAT, Setup::new());
    let (addr, store) = (gateway.addr, gateway.data_dir().join("llm-proxy.db").display().to_string());
    gateway.term();
    assert!(gateway.wait().success());
    let workers = messages(&gateway).into_iter().find(|line| line.contains("workers")).unwrap();
    assert!(["INFO workers: 1 (io_uring)", "INFO workers: 1 (epoll)"].contains(&workers.as_str()), "{workers}");
    let expected = [
        &format!("INFO llm-proxy {}", env!("CARGO_PKG_VERSION")),
        &format!("INFO store: embedded, {store}"),
        &workers,
        "INFO providers: 1",
        "INFO credentials: 1",
        "INFO records: request log in the store",
        &format!("INFO listening: http://{addr}"),
        "INFO stopping: no new connections; waiting for what runs (SHUTDOWN_GRACE_SECS)",
        "INFO stopped",
    ];
    // The last lines may still be on their way through the pipe.
    eventually("all lines have come", || messages(&gateway).len() >= expected.len());
    assert_eq!(messages(&gateway), expected);

    let bare = Setup::new().no_credentials().start();
    let hints: Vec<_> = messages(&bare).into_iter().filter(|line| line.starts_with("WARN")).collect();
    assert_eq!(hints.len(), 2, "{hints:?}");
    assert!(hints[0].contains("llm-proxy provider add") && hints[1].contains("llm-proxy key create"), "{hints:?}");
    let open = Setup::new().no_credentials().env("ALLOW_ANONYMOUS", true).start();
    let warned = messages(&open).into_iter().any(|line| line.starts_with("WARN ALLOW_ANONYMOUS is set"));
    assert!(warned);
}

#[test]
fn the_limit_of_open_files_is_raised() {
    let gateway = Setup::new().through(&["/bin/sh", "-c", "ulimit -Sn 256; exec \"$@\"", "sh"]).start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    let (soft, hard) = (words[3], words[4]);
    assert_eq!(soft, hard);
    assert_ne!(soft, "256");
}

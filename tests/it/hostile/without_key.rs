//! Callers without a key cost neither memory nor decompression.

use super::*;

const EVENTS: &str = "/api/event_logging/batch";

fn without_key(path: &str) -> http::Outgoing {
    post(path).header("authorization", "")
}

/// Bodies are discarded as they arrive: 16 of 7 MB at once need no memory for them.
#[test]
fn telemetry_is_discarded_as_it_arrives() {
    const SIZE: usize = 7 << 20;
    let gateway = Setup::new().start();
    let mut clients: Vec<_> = (0..16).map(|_| gateway.client()).collect();
    let before = gateway.rss();
    let piece = vec![b'x'; 1 << 20];
    for client in &mut clients {
        client.send(without_key(EVENTS).header("content-length", &SIZE.to_string()).bytes());
    }
    for _ in 0..6 {
        clients.iter_mut().for_each(|client| client.send(&piece));
    }
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes for 16 bodies of which 6 MB each were sent");
    for client in &mut clients {
        client.send(&piece);
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, r#"{"status":"ok"}"#));
        // The body was read to its end, so the connection goes on.
        client.ask(&get("/health"));
        assert_eq!(client.response().status, 200);
    }
}

/// 64 KB that stand for 64 MB are not decompressed, and so not found to be too large.
#[test]
fn telemetry_is_not_decompressed() {
    let gateway = Setup::new().env("MAX_BODY_BYTES", 1 << 20).start();
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let mut client = gateway.client();
    for body in [&bomb[..], b"not gzip at all"] {
        client.ask(&without_key(EVENTS).header("content-encoding", "gzip").body(body));
        assert_eq!(client.response().status, 200);
    }
    let mut chunked = without_key(EVENTS).header("transfer-encoding", "chunked").bytes();
    chunked.extend_from_slice(&answer::chunk(&bomb));
    chunked.extend_from_slice(answer::LAST_CHUNK.as_bytes());
    client.send(chunked);
    assert_eq!(client.response().status, 200);
}

#[test]
fn telemetry_is_bounded() {
    let gateway = Setup::new().start();
    let mut client = gateway.client();
    client.send(without_key(EVENTS).header("content-length", "99999999").bytes());
    assert_eq!(client.response().status, 413);
    client.expect_closed();

    let mut client = gateway.client();
    client.send(without_key(EVENTS).header("transfer-encoding", "chunked").bytes());
    let piece = answer::chunk(vec![b'x'; 1 << 20]);
    (0..9).for_each(|_| client.send(&piece));
    assert_eq!(client.response().status, 413);

    // A client that waits for `100 Continue` gets the final response instead.
    let mut client = gateway.client();
    client.send(without_key(EVENTS).header("expect", "100-continue").header("content-length", "100").bytes());
    assert_eq!(client.response().status, 200);
    client.expect_closed();
}

/// Every path that answers without a key leaves the body unread, and the answer arrives all the
/// same.
#[test]
fn no_path_reads_the_body_of_a_caller_without_a_key() {
    const SIZE: usize = 32 << 20;
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(chat(&provider)).env("ADMIN_KEY", "a-long-admin-key").start();
    let before = gateway.rss();
    let rows = [
        ("POST", CHAT.path, 401),
        ("POST", MESSAGES.path, 401),
        ("POST", "/v1/files", 404),
        ("POST", "/admin/v1/providers", 401),
        ("POST", "/", 405),
        ("GET", "/health", 200),
        ("GET", "/health/ready", 200),
        ("GET", "/metrics", 200),
        ("GET", "/docs", 200),
        ("GET", "/v1/models", 401),
        ("OPTIONS", CHAT.path, 204),
        ("POST", "/nothing", 404),
    ];
    for (method, path, status) in rows {
        let mut client = gateway.client();
        let length = SIZE.to_string();
        client.send(without_key(path).method(method).header("content-length", &length).bytes());
        // Most of it arrives behind the answer.
        let piece = vec![b'x'; 1 << 20];
        let sent = (0..SIZE >> 20).all(|_| client.link.try_send(&piece).is_ok());
        assert!(sent, "{method} {path}: the connection was reset");
        let response = client.head();
        assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{method} {path}");
    }
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown} bytes");
    assert_eq!(provider.requests().len(), 0);
}

/// Scrapes without a key do not lock administrators out.
#[test]
fn scrapes_leave_room_for_the_admin_interface() {
    let gateway = Setup::new().env("ADMIN_KEY", "a-long-admin-key").start();
    let request = get("/metrics").bytes();
    let mut scrapers: Vec<_> = (0..600).map(|_| gateway.client()).collect();
    scrapers.iter_mut().for_each(|client| client.send(&request));
    for _ in 0..20 {
        let mut client = gateway.client();
        client.ask(&get("/admin/v1/providers").key("a-long-admin-key"));
        assert_eq!(client.response().status, 200);
    }
    for client in &mut scrapers {
        assert!([200, 503].contains(&client.response().status));
    }
}

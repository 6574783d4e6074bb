//! What the gateway holds: memory for each idle connection, and nothing for those that are over.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::support::sample::CHAT;
use super::support::*;

/// What an idle keep-alive connection may cost, in bytes of the gateway's own memory. On epoll the runtime keeps more for each descriptor.
fn allowed() -> usize {
    if std::env::var("TEST_DRIVER").is_ok_and(|driver| driver == "epoll") { 5 << 10 } else { 4 << 10 }
}

/// Records that a ring holds; the first of them make it touch its memory, which is no connection's cost.
const RING: usize = 4096;

/// A connection that was answered one request and stays open.
fn idle(gateway: &Gateway, request: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.addr).unwrap();
    socket.set_read_timeout(Some(HANG)).unwrap();
    socket.write_all(request).unwrap();
    let mut seen = Vec::new();
    let mut piece = [0; 4096];
    while !seen.ends_with(CHAT.answer.as_bytes()) {
        let n = socket.read(&mut piece).unwrap();
        assert!(n > 0, "closed after {:?}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..n]);
    }
    socket
}

/// How many connections this process may have at a time, up to `wanted`; other tests run beside this one.
fn connections(wanted: usize) -> usize {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    wanted.min(usize::try_from(limit).unwrap().saturating_sub(1000))
}

#[test]
fn idle_connections_are_small_and_closed_ones_are_let_go() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().env("RUST_LOG", "warn,llm_proxy::cli=info").provider(chat(&provider)).start();
    let request = post(CHAT.path).body(CHAT.ask).bytes();
    let count = connections(5000);
    let open = |count: usize| -> Vec<TcpStream> { (0..count).map(|_| idle(&gateway, &request)).collect() };
    let mut client = gateway.client();
    for _ in 0..RING + 100 {
        client.ask(&get("/health"));
        client.response();
    }
    drop(open(100));
    let descriptors = gateway.descriptors();
    let before = gateway.rss();
    let held = open(count);
    let each = gateway.rss().saturating_sub(before) / count;
    assert!(each < allowed(), "{each} bytes for each of {count} idle connections");
    drop(held);
    eventually("closed connections are let go", || gateway.descriptors() <= descriptors + 10);
    idle(&gateway, &request);
}

//! Memory while many slow clients are connected at a time: it is that of `MAX_BUFFERED_BYTES` and
//! of [`EACH`] connection, with keys and without.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;

/// Bytes of memory that a connection may cost beside its body: its task, its buffer of 1.5 KiB for
/// a request's head, one more while a request runs, and what the allocator rounds up to.
const EACH: usize = 12 << 10;
/// What the process may grow by itself meanwhile: buffers that are kept, counters, the allocator's
/// pages.
const SLACK: usize = 24 << 20;
const BUFFERED: usize = 64 << 20;

/// How many clients there are: as many as are wanted, or as the limit of descriptors allows, which
/// binds this process and the gateway, and of which a gateway gives its clients half.
fn crowd(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    let count = wanted.min((most / 2).saturating_sub(500));
    if count < wanted {
        say(&format!("{count} clients, and not {wanted}: the hard limit of open files is {most}"));
    }
    count
}

fn setup() -> Setup {
    let setup = Setup::new().env("LOG_LEVEL", "info").env("MAX_BUFFERED_BYTES", BUFFERED);
    setup.env("MAX_BODY_BYTES", 8 << 20)
}

fn connect(gateway: &Gateway, first: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(gateway.addr).unwrap();
    socket.write_all(first).unwrap();
    socket
}

/// Half of a head from each client, and half of a body from each client with a key. Others are
/// served meanwhile.
#[test]
fn ten_thousand_slow_clients() {
    let count = crowd(10_000);
    let half_a_head = format!("POST {} HTTP/1.1\r\nhost: x\r\nx-padding: ", CHAT.path).into_bytes();
    let half_a_body = [post(CHAT.path).header("content-length", "1000000").bytes(), b"{".repeat(500)].concat();
    for (name, first, buffered) in [("heads", half_a_head, 0), ("bodies", half_a_body, BUFFERED)] {
        let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
        let setup = setup().provider(chat(&provider)).workers(2).env("MIN_BODY_RATE", 0);
        let gateway = setup.env("HEADER_READ_TIMEOUT_SECS", 600).env("BODY_READ_TIMEOUT_SECS", 600).start();
        assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
        let before = gateway.rss();
        let clients: Vec<_> = (0..count).map(|_| connect(&gateway, &first)).collect();
        let mut legitimate = gateway.client();
        let open = |gateway: &Gateway| gateway.descriptors();
        // Bodies beyond MAX_BUFFERED_BYTES are refused, and their connections closed after a while.
        let refused = || gateway.metric("llm_proxy_body_memory_exhausted_total").unwrap_or_default() as usize;
        eventually("all are accepted", || open(&gateway) + refused() >= count);
        let ask = || post(CHAT.path).body(CHAT.ask);
        legitimate.ask(&ask());
        assert_eq!(legitimate.response().status, 200, "{name}");
        let grown = gateway.rss().saturating_sub(before);
        say(&format!("{name} of {count} clients: {grown} bytes, {} each", grown / count));
        assert!(grown < buffered + count * EACH + SLACK, "{name}: {grown} bytes for {count} clients");
        drop(clients);
        eventually("all are let go", || open(&gateway) < 100);
        assert!(gateway.rss() < before + buffered + count * EACH + SLACK);
        assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200, "{name}");
    }
}

/// A byte now and then from each of a thousand clients, until each was answered: no such connection
/// lasts, and none costs more than another.
#[test]
fn a_thousand_clients_that_send_byte_by_byte() {
    let count = crowd(1000);
    let with_key = post(CHAT.path).header("content-length", "1000000").bytes();
    let without_key = post(CHAT.path).header("authorization", "").header("content-length", "1000000").bytes();
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\nx-padding: ", CHAT.path).into_bytes();
    for (name, first, status, buffered) in
        [("a body", with_key, 408, BUFFERED), ("a body without a key", without_key, 401, 0), ("a head", head, 408, 0)]
    {
        let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
        let setup = setup().provider(chat(&provider)).env("HEADER_READ_TIMEOUT_SECS", 2);
        let gateway = setup.env("BODY_READ_TIMEOUT_SECS", 2).start();
        assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200);
        let before = gateway.rss();
        let mut clients: Vec<_> = (0..count).map(|_| connect(&gateway, &first)).collect();
        let mut most = 0;
        let mut answered = 0;
        eventually("all were answered", || {
            most = most.max(gateway.rss());
            clients.retain_mut(|client| {
                // A gateway that has closed takes no more.
                let _ = client.write_all(b"x");
                let answer = answer_of(client);
                answered += usize::from(answer == Some(status));
                assert!(answer.is_none_or(|answer| [status, 503].contains(&answer)), "{name}: {answer:?}");
                answer.is_none()
            });
            clients.is_empty()
        });
        let grown = most.saturating_sub(before);
        say(&format!("{name}, byte by byte, of {count} clients: {grown} bytes, {answered} answered with {status}"));
        assert!(answered > 0, "{name}");
        assert!(grown < buffered + count * EACH + SLACK, "{name}: {grown} bytes for {count} clients");
        assert_eq!(gateway.client().call(CHAT.path, CHAT.ask).status, 200, "{name}");
    }
}

/// The status of the answer, if it has come.
fn answer_of(client: &mut TcpStream) -> Option<u16> {
    let mut bytes = [0; 64];
    client.set_nonblocking(true).unwrap();
    let read = client.read(&mut bytes);
    client.set_nonblocking(false).unwrap();
    match read {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        // What was sent behind the answer may have reset the connection before it was read.
        Err(_) => Some(503),
        Ok(length) => {
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            Some(text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default())
        }
    }
}

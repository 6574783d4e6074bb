//! Clients that take their time: each wait has an end.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use super::*;

const LIMIT: Duration = Duration::from_millis(300);

/// Only the limit in question is short.
fn bench(name: &str) -> Bench {
    Bench::with(Setup::new().env(name, LIMIT.as_secs_f64()))
}

/// Sends `bytes` one at a time, again and again, until an answer comes.
fn drip(client: &mut Client, bytes: &[u8]) {
    for byte in bytes.iter().cycle() {
        // Fails when the gateway has closed.
        let _ = client.link.try_send(&[*byte]);
        if answered(client, Duration::from_millis(5)) {
            return;
        }
    }
}

/// Waits for an answer for a while.
fn answered(client: &mut Client, patience: Duration) -> bool {
    let socket = client.link.socket();
    socket.set_read_timeout(Some(patience)).unwrap();
    let peeked = socket.peek(&mut [std::mem::MaybeUninit::uninit()]);
    socket.set_read_timeout(Some(HANG)).unwrap();
    !matches!(peeked, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

const SLOW_HEAD: &str = "the request head did not arrive within HEADER_READ_TIMEOUT_SECS";
const SLOW_BODY: &str = "the request body stopped arriving for longer than BODY_READ_TIMEOUT_SECS";

#[test]
fn a_head_that_drips() {
    let mut bench = bench("HEADER_READ_TIMEOUT_SECS");
    let starts = [
        ("GET / HTTP/1.1\r\n", Shape::OpenAi),
        ("POST /v1/messages HTTP/1.1\r\n", Shape::Messages),
        ("POST ", Shape::OpenAi),
    ];
    for (start, shape) in starts {
        // The first on its connection, and one that follows another.
        for follows in [false, true] {
            // The time of the first head counts from the connection.
            let mut started = Instant::now();
            let mut client = bench.gateway.client();
            if follows {
                bench.good += 1;
                assert_eq!(client.call(CHAT.path, CHAT.ask).status, 200);
                started = Instant::now();
            }
            client.send(start);
            drip(&mut client, b"a: b\r\n");
            assert!(started.elapsed() >= LIMIT, "{:?}", started.elapsed());
            let response = client.response();
            bench.compare(start, &response, shape, &too_late(SLOW_HEAD), Then::Closed);
            bench.serves(bench.gateway.client());
        }
    }
    bench.finish();
}

/// A client that has sent nothing gets no response.
#[test]
fn a_connection_without_a_request() {
    let bench = bench("HEADER_READ_TIMEOUT_SECS");
    let started = Instant::now();
    let mut silent = bench.gateway.client();
    silent.expect_closed();
    assert!(started.elapsed() >= LIMIT);
}

#[test]
fn a_body_that_stops() {
    let mut bench = bench("BODY_READ_TIMEOUT_SECS");
    for sample in FORMATS {
        let half = &sample.ask[..10];
        let chunked = post(sample.path).header("transfer-encoding", "chunked").bytes();
        let rows = [
            asking(sample, sample.ask)[..].split_at(asking(sample, sample.ask).len() - 1).0.to_vec(),
            [&chunked[..], b"40\r\n", half.as_bytes()].concat(),
            [&chunked[..], b"4"].concat(),
            post(sample.path).header("content-length", "10").bytes(),
        ];
        for request in rows {
            let started = Instant::now();
            bench.refused(sample.path, &request, sample.shape(), &too_late(SLOW_BODY), Then::Closed);
            assert!(started.elapsed() >= LIMIT);
        }
    }
    bench.finish();
}

/// A body that comes in pieces, each in time, may take as long as it likes.
#[test]
fn a_body_that_goes_on() {
    // Far more than a busy machine adds to the time of a piece.
    const PATIENCE: Duration = Duration::from_secs(2);
    let bench = Bench::with(Setup::new().env("BODY_READ_TIMEOUT_SECS", PATIENCE.as_secs_f64()));
    let body = format!("{}{}", CHAT.ask, " ".repeat(60));
    let request = asking(&CHAT, &body);
    let mut client = bench.gateway.client();
    let (head, slow) = request.split_at(request.len() - 60);
    let started = Instant::now();
    client.send(head);
    for byte in slow {
        client.send([*byte]);
        assert!(!answered(&mut client, Duration::from_millis(40)) || byte == slow.last().unwrap());
    }
    assert_eq!(client.response().status, 200);
    assert!(started.elapsed() > PATIENCE);
}

#[test]
fn an_idle_connection() {
    let mut bench = bench("KEEPALIVE_TIMEOUT_SECS");
    let mut client = bench.gateway.client();
    let mut started = Instant::now();
    for _ in 0..2 {
        bench.good += 1;
        started = Instant::now();
        assert_eq!(client.call(CHAT.path, CHAT.ask).status, 200);
    }
    client.expect_closed();
    assert!(started.elapsed() >= LIMIT, "{:?}", started.elapsed());
    bench.serves(bench.gateway.client());
    bench.finish();
}

//! The mock over real sockets. What its answers say is tested beside its code; here is what only a
//! connection shows.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use llm_mock::{Kind, Knobs, MockHandle, MockOptions};
use serde_json::Value;

const CHAT: &str = "/v1/chat/completions";
/// Longer than anything here takes, shorter than a person waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(20);

fn start(workers: usize) -> MockHandle {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    llm_mock::start(MockOptions { addr, workers, defaults: Knobs::default() }).unwrap()
}

fn connect(mock: &MockHandle) -> TcpStream {
    let stream = TcpStream::connect(mock.addr()).unwrap();
    stream.set_read_timeout(Some(FLUSH_TIMEOUT)).unwrap();
    stream
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: mock\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn chat(model: &str, rest: &str) -> String {
    request("POST", CHAT, "", &format!(r#"{{"model":"{model}","messages":[]{rest}}}"#))
}

/// Sends `request` on a connection of its own.
fn open(mock: &MockHandle, request: &str) -> TcpStream {
    let mut stream = connect(mock);
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut got = Vec::new();
    while !got.ends_with(end) {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&got));
        got.push(byte[0]);
    }
    got
}

/// One answer of a connection that stays open: its status and its body, chunks joined.
fn read_answer(stream: &mut TcpStream) -> (u16, Vec<u8>) {
    let head = String::from_utf8(read_until(stream, b"\r\n\r\n")).unwrap();
    let status = head[9..12].parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = Vec::new();
    let mut take = |stream: &mut TcpStream, size: usize| {
        let mut part = vec![0; size];
        stream.read_exact(&mut part).unwrap();
        body.extend_from_slice(&part);
    };
    match length {
        Some(length) => take(stream, length.parse().unwrap()),
        None => loop {
            let line = String::from_utf8(read_until(stream, b"\r\n")).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap();
            take(stream, size);
            read_until(stream, b"\r\n");
            if size == 0 {
                break;
            }
        },
    }
    (status, body)
}

fn get(mock: &MockHandle, path: &str) -> Value {
    let (status, body) = read_answer(&mut open(mock, &request("GET", path, "", "")));
    assert_eq!(status, 200, "{path}");
    serde_json::from_slice(&body).unwrap()
}

/// Waits until `holds`, which another thread brings about.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < FLUSH_TIMEOUT, "never: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn requests_of_one_connection_are_answered_in_order() {
    let mock = start(1);
    let messages = request("POST", "/v1/messages", "", r#"{"model":"m","max_tokens":9,"messages":[],"stream":true}"#);
    let requests = [chat("m", ""), messages, request("GET", "/v1/models", "", ""), chat("mock-404", "")];
    let alone: Vec<_> = requests.iter().map(|request| read_answer(&mut open(&mock, request))).collect();
    assert_eq!(alone.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [200, 200, 200, 404]);

    let mut pipelined = open(&mock, &requests.concat());
    for expected in &alone {
        assert_eq!(read_answer(&mut pipelined), *expected);
    }
    let mut dripping = connect(&mock);
    dripping.set_nodelay(true).unwrap();
    for byte in requests.concat().bytes() {
        dripping.write_all(&[byte]).unwrap();
    }
    for expected in &alone {
        assert_eq!(read_answer(&mut dripping), *expected);
    }
    assert_eq!(mock.counts().of(Kind::Chat), 6);
}

#[test]
fn bodies_may_come_in_chunks_and_on_request() {
    let mock = start(1);
    let head =
        format!("POST {CHAT} HTTP/1.1\r\nHost: mock\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    let mut stream = open(&mock, &head);
    assert_eq!(read_until(&mut stream, b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"9\r\n{\"model\":\r\n12\r\n\"mock\",\"messages\":\r\n3\r\n[]}\r\n0\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut stream).0, 200);
    assert_eq!(mock.last().unwrap().body, br#"{"model":"mock","messages":[]}"#);
}

#[test]
fn the_last_request_can_be_seen() {
    let mock = start(2);
    assert_eq!(get(&mock, "/__last"), Value::Null);
    let body = r#"{"model":"m","messages":[],"x":"\u00e9"}"#;
    read_answer(&mut open(&mock, &request("POST", "/v1/chat/completions?a=b", "X-Thing: 1\r\n", body)));
    let last = get(&mock, "/__last");
    assert_eq!(
        (&last["method"], &last["path"], &last["body"]),
        (&"POST".into(), &"/v1/chat/completions?a=b".into(), &body.into())
    );
    assert!(last["headers"].as_array().unwrap().contains(&serde_json::json!(["X-Thing", "1"])));
    assert_eq!(mock.last().unwrap().header("x-thing").as_deref(), Some("1"));
    let counts = get(&mock, "/__count");
    assert_eq!((&counts["requests"]["chat"], &counts["streams"]), (&1.into(), &0.into()));
    assert_eq!(counts["connections"]["accepted"], 4);
}

#[test]
fn events_come_one_by_one() {
    let mock = start(1);
    // The rest of this stream is hours away.
    let mut stream = open(&mock, &chat("mock-interval-10000000", r#","stream":true"#));
    assert!(read_until(&mut stream, b"\n\n").ends_with(b"\"obfuscation\":\"dDINu\"}\n\n"));
    drop(stream);
    eventually("the client is seen to leave", || mock.counts().closed_early == 1);

    let begin = Instant::now();
    let mut stream = open(&mock, &chat("mock-tokens-3-interval-40", r#","stream":true"#));
    assert_eq!(read_answer(&mut stream).0, 200);
    assert!(begin.elapsed() >= Duration::from_millis(120));
    // The connection lives on, and what was sent during an answer is not lost.
    stream.write_all(chat("mock-delay-50", "").as_bytes()).unwrap();
    stream.write_all(chat("m", "").as_bytes()).unwrap();
    assert_eq!((read_answer(&mut stream).0, read_answer(&mut stream).0), (200, 200));
    assert_eq!(mock.counts().closed_early, 1);
}

#[test]
fn the_head_can_be_slow() {
    let mock = start(1);
    let begin = Instant::now();
    assert_eq!(read_answer(&mut open(&mock, &chat("mock-interval-10-slow-headers", ""))).0, 200);
    assert!(begin.elapsed() >= Duration::from_millis(80));
}

#[test]
fn a_client_that_leaves_is_counted() {
    let mock = start(1);
    let check = |model: &str, stream: bool| {
        let before = mock.counts();
        let mut client = open(&mock, &chat(model, if stream { r#","stream":true"# } else { "" }));
        eventually("the request is seen", || mock.counts().requests() > before.requests());
        if stream {
            read_until(&mut client, b"\n\n");
        }
        assert_eq!(mock.counts().closed_early, before.closed_early);
        drop(client);
        eventually(model, || mock.counts().closed_early == before.closed_early + 1);
        eventually("the connection is closed", || mock.counts().open == 0);
    };
    check("mock-tokens-1000-interval-50", true);
    check("mock-delay-60000", false);
    check("mock-delay-60000", false);
    check("mock-stall", false);
    check("mock-stall", true);
}

#[test]
fn a_client_that_leaves_after_its_answer_is_not_counted() {
    let mock = start(1);
    read_answer(&mut open(&mock, &chat("m", r#","stream":true"#)));
    eventually("the connection is closed", || mock.counts().open == 0);
    assert_eq!(mock.counts().closed_early, 0);
}

#[test]
fn broken_answers() {
    let mock = start(1);
    let read_all = |model: &str, rest: &str| {
        let mut got = Vec::new();
        let end = open(&mock, &chat(model, rest)).read_to_end(&mut got).map_err(|error| error.kind());
        (String::from_utf8(got).unwrap(), end.map(|_| ()))
    };
    let stream = r#","stream":true"#;
    assert_eq!(read_all("mock-reset", ""), (String::new(), Err(ErrorKind::ConnectionReset)));
    let (got, end) = read_all("mock-reset", stream);
    assert!(got.contains(" each") && !got.contains(" tell"), "{got}");
    assert_eq!(end, Err(ErrorKind::ConnectionReset));

    let (got, end) = read_all("mock-truncate", "");
    let (head, body) = got.split_once("\r\n\r\n").unwrap();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    assert!(body.len() < length && end.is_ok(), "{got}");
    let (got, end) = read_all("mock-truncate", stream);
    assert!(got.contains(" each") && !got.ends_with("\n\n") && end.is_ok(), "{got}");

    let (got, end) = read_all("mock-garbage", stream);
    assert!(got.ends_with("this is not a chunk\r\n") && end.is_ok(), "{got}");
    assert_eq!(read_all("mock-bad-head", ""), ("this is not HTTP\r\n\r\n".to_owned(), Ok(())));
    let (got, end) = read_all("mock-until-close", stream);
    assert!(got.ends_with("data: [DONE]\n\n") && end.is_ok(), "{got}");
    assert_eq!(mock.counts().closed_early, 0);
}

#[test]
fn what_is_no_request_is_refused() {
    let mock = start(1);
    let check = |request: &str, status: &str| {
        let mut got = String::new();
        open(&mock, request).read_to_string(&mut got).unwrap();
        assert!(got.starts_with(status), "{request:?}: {got}");
    };
    check("\x16\x03\x01\x02", "HTTP/1.1 400");
    check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 400");
    check("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "HTTP/1.1 400");
    check(&format!("GET /{} HTTP/1.1\r\n", "x".repeat(70_000)), "HTTP/1.1 4");
}

#[test]
fn stopping_closes_everything() {
    let mock = start(2);
    let addr = mock.addr();
    let mut idle: Vec<TcpStream> = (0..8).map(|_| open(&mock, &chat("m", ""))).collect();
    idle.iter_mut().for_each(|stream| drop(read_answer(stream)));
    let mut busy: Vec<TcpStream> = (0..8).map(|_| open(&mock, &chat("mock-stall", r#","stream":true"#))).collect();
    busy.iter_mut().for_each(|stream| drop(read_until(stream, b"\n\n")));
    mock.stop();
    for mut stream in idle.into_iter().chain(busy) {
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
    assert_eq!(TcpStream::connect(addr).map(drop).map_err(|error| error.kind()), Err(ErrorKind::ConnectionRefused));
}

#[test]
fn the_workers_share_a_port() {
    let mock = start(3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(read_answer(&mut open(&mock, &chat("m", ""))).0, 200);
                }
            });
        }
    });
    let counts = mock.counts();
    assert_eq!((counts.of(Kind::Chat), counts.accepted), (100, 100));
}

#[test]
fn a_taken_port_is_an_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap();
    let error = llm_mock::start(MockOptions { addr, workers: 1, defaults: Knobs::default() }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

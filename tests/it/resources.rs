//! What the gateway holds: memory for each idle connection and for a slow reader, and descriptors
//! of what is over.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use llm_proxy::config::rows::ProviderRow;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::sample::{CHAT, MESSAGES};
use super::support::*;

/// A gateway that writes one line for each request and no more.
fn setup() -> Setup {
    Setup::new().env("LOG_LEVEL", "info")
}

/// A connection that was answered one request and stays open. One descriptor here, as in the
/// gateway.
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

fn open(gateway: &Gateway, request: &[u8], count: usize) -> Vec<TcpStream> {
    const THREADS: usize = 4;
    thread::scope(|scope| {
        let part = || (0..count / THREADS).map(|_| idle(gateway, request)).collect::<Vec<_>>();
        let parts: Vec<_> = (0..THREADS).map(|_| scope.spawn(part)).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// How many connections this process may have at a time, up to `wanted`.
fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    // Other tests run beside this one.
    wanted.min(most.saturating_sub(1000))
}

/// Bytes of user memory that an idle connection may cost: 3 KiB, and 1 KiB more behind a request,
/// whose head is kept for the next one. Where the kernel rounds all memory up to huge pages, nobody
/// can tell so exactly.
fn most_for_one(has_asked: bool) -> usize {
    let huge = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let most = if has_asked { 4 << 10 } else { 3 << 10 };
    // Pages of the allocator that are not full.
    let rest = 64;
    if huge.contains("[always]") { most + (2 << 10) } else { most + rest }
}

/// Bytes of user memory that an open stream may cost, which passes through.
const PASSED_STREAM: usize = 15 << 10;
/// The same of one that is translated.
const TRANSLATED_STREAM: usize = 22 << 10;

/// Waits until so many open connections cost no more than that each, since memory was at `before`:
/// records of their requests may still wait for the log, and the allocator gives memory back when
/// it is used.
fn costs_at_most(gateway: &Gateway, before: usize, count: usize, most: usize) {
    let mut each = 0;
    let fits = || {
        gateway.metric("llm_proxy_workers");
        each = gateway.rss().saturating_sub(before) / count;
        each < most
    };
    eventually(&format!("each of {count} connections costs less than {most} bytes"), fits);
    say(&format!("{each} bytes for each of {count} connections, less than {most}"));
}

/// The allocator's memory of a gateway that has just started, on one worker. Without what the start
/// has freed, and without the memory of queues that are empty, it is 6 to 9 MB; it was 15.
#[test]
fn an_idle_gateway_is_small() {
    const MOST: usize = 11 << 20;
    let gateway = setup().start();
    eventually("what the start has used is given back", || gateway.rss() < MOST);
}

/// What answers a request maps pages of code. They are given back once no request is sent to a
/// provider for some seconds.
#[test]
fn an_idle_gateway_gives_its_code_back() {
    let gateway = setup().start();
    let mut client = gateway.client();
    client.ask(&get("/v1/models"));
    assert_eq!(client.response().status, 200);
    let before = gateway.resident("RssFile:");
    eventually("pages of code are given back", || gateway.resident("RssFile:") < before - before / 4);
    client.ask(&get("/v1/models"));
    assert_eq!(client.response().status, 200);
}

#[test]
fn connections_without_a_request_cost_less() {
    let gateway = setup().env("HEADER_READ_TIMEOUT_SECS", 300).start();
    let count = connections(5000);
    let connect = |count| (0..count).map(|_| TcpStream::connect(gateway.addr).unwrap()).collect::<Vec<_>>();
    let open = |count: usize| {
        let before = gateway.sockets();
        let held = connect(count);
        eventually("all are accepted", || gateway.sockets() >= before + count);
        held
    };
    let warm = open(100);
    let before = gateway.rss();
    let held = open(count);
    costs_at_most(&gateway, before, count, most_for_one(false));
    drop((warm, held));
}

#[test]
fn idle_connections_cost_little_and_leave_nothing() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = setup().provider(chat(&provider)).start();
    let request = post(CHAT.path).body(CHAT.ask).bytes();
    let count = connections(5000);
    drop(open(&gateway, &request, 100));
    let (before, descriptors) = (gateway.rss(), gateway.descriptors());
    // What a round leaves would be the cost of the next ones.
    for _ in 0..3 {
        let held = open(&gateway, &request, count);
        costs_at_most(&gateway, before, count, most_for_one(true));
        drop(held);
        // The pool may have grown, as several were answered at a time.
        eventually("closed connections are let go", || gateway.descriptors() <= descriptors + 8);
        idle(&gateway, &request);
    }
}

/// The user memory of a stream that goes on, an event at a time, and of both its connections: most
/// of it is the futures and records of its request.
#[test]
fn open_streams_cost_little() {
    for (sample, most) in [(&CHAT, PASSED_STREAM), (&MESSAGES, TRANSLATED_STREAM)] {
        let provider = Fake::start();
        let gateway = setup().provider(chat(&provider)).start();
        let count = connections(4000) / 4;
        let open = |count: usize| -> Vec<_> {
            let open = || {
                let mut client = gateway.client();
                client.ask(&post(sample.path).body(sample.ask_stream));
                let mut conn = provider.accept();
                conn.request();
                conn.send(answer::SSE);
                conn.send(CHAT.opening.iter().flat_map(answer::chunk).collect::<Vec<_>>());
                conn.send(answer::chunk(CHAT.content[0]));
                assert_eq!(client.head().status, 200);
                client.read_until("Hel");
                // One by one, until the gateway takes it for a stream that goes on.
                for _ in 0..8 {
                    conn.send(answer::chunk(CHAT.content[1]));
                    client.read_until("lo");
                }
                (client, conn)
            };
            (0..count).map(|_| open()).collect()
        };
        let warm = open(20);
        let before = gateway.rss();
        let held = open(count);
        costs_at_most(&gateway, before, count, most);
        drop((warm, held));
    }
}

/// Two workers and an open connection made 140 wake-ups a second once.
#[test]
fn an_idle_gateway_sleeps() {
    const WINDOW: Duration = Duration::from_secs(5);
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = setup().workers(2).provider(chat(&provider)).start();
    let request = post(CHAT.path).body(CHAT.ask).bytes();
    let held: Vec<_> = (0..4).map(|_| idle(&gateway, &request)).collect();
    // At first the record of a request is written, and the pool looks after the idle connections.
    let mut counts = Vec::new();
    let is_quiet = |counts: &mut Vec<u64>| {
        let before = gateway.waits();
        thread::sleep(WINDOW);
        counts.push(gateway.waits() - before);
        counts.last().is_some_and(|count| *count <= 2 * WINDOW.as_secs())
    };
    assert!((0..6).any(|_| is_quiet(&mut counts)), "wake-ups in {WINDOW:?}: {counts:?}");
    drop(held);
}

/// What a client has not taken waits at the provider, not in the gateway.
#[test]
fn a_slow_reader_costs_no_memory() {
    const SIZE: usize = 64 << 20;
    const TEXT: usize = 64 << 10;
    let text = "0123456789abcdef".repeat(TEXT / 16);
    let whole = move |text: &str| {
        let start = r#"{"id":"c1","object":"chat.completion","choices":[{"message":{"content":""#;
        let end = r#""}}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#;
        let length = start.len() + SIZE + end.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        (head + start, text.to_owned(), end.to_owned())
    };
    let events = |text: &str| {
        let event = CHAT.content[0].replace("Hel", text);
        let end = CHAT.content[1..].iter().flat_map(answer::chunk).chain(answer::LAST_CHUNK.bytes()).collect();
        (answer::SSE.to_owned(), String::from_utf8(answer::chunk(event)).unwrap(), String::from_utf8(end).unwrap())
    };
    for (ask, (start, middle, end)) in [(CHAT.ask, whole(&text)), (CHAT.ask_stream, events(&text))] {
        let provider = Fake::start();
        let gateway = setup().provider(chat(&provider)).start();
        let mut client = gateway.client();
        client.ask(&post(CHAT.path).body(ask));
        let mut conn = provider.accept();
        conn.request();
        thread::scope(|scope| {
            scope.spawn(move || {
                conn.send(start);
                (0..SIZE / TEXT).for_each(|_| conn.send(&middle));
                conn.send(end);
            });
            client.head();
            let (mut most, mut seen, before) = (0, 0, gateway.rss());
            loop {
                let piece = client.some(128 << 10);
                if piece.is_empty() {
                    break;
                }
                seen += piece.len();
                most = most.max(gateway.rss());
            }
            assert!(seen >= SIZE);
            assert!(most < before + (8 << 20), "grew from {before} to {most} bytes");
        });
    }
}

/// What was forwarded of a stream is not kept, where each read ends with an event and no log is
/// kept.
#[test]
fn a_long_stream_costs_no_memory() {
    const SIZE: usize = 8 << 20;
    let text = "0123456789abcdef".repeat(32);
    let event = CHAT.content[0].replace("Hel", &text);
    for sample in [&CHAT, &MESSAGES] {
        let provider = Fake::start();
        let setup = setup().env("REQUEST_LOG_ENABLED", false);
        let gateway = setup.provider(CHAT.provider("p", &provider)).start();
        let mut client = gateway.client();
        client.ask(&post(sample.path).body(sample.ask_stream));
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::SSE);
        (0..4).for_each(|_| conn.send(answer::chunk(&event)));
        assert_eq!(client.head().status, 200);
        client.read_until(&text);
        let before = gateway.rss();
        for _ in 0..SIZE / event.len() {
            conn.send(answer::chunk(&event));
            client.read_until(&text);
        }
        let after = gateway.rss();
        assert!(after < before + (4 << 20), "grew from {before} to {after} bytes");
    }
}

/// A gateway with a provider for each way in which a request may end. Models are named for what
/// becomes of them.
struct RequestEnds {
    gateway: Gateway,
    /// Of the model `waiting`: the test's to speak for.
    provider: Fake,
}

impl RequestEnds {
    fn new() -> RequestEnds {
        let row = |model: &str, base: String| ProviderRow {
            model_mapping: format!(r#"{{"{model}":"{model}"}}"#),
            ..provider(model, "openai", &base)
        };
        let answered = Fake::answering(|_| answer::json(200, CHAT.answer));
        let untrusted = Fake::answering_tls(&cert::Cert::new(), |_| answer::json(200, CHAT.answer));
        let waiting = Fake::start();
        let gateway = setup()
            .provider(row("answered", answered.url("/v1")))
            .provider(row("untrusted", untrusted.url("/v1")))
            .provider(row("waiting", waiting.url("/v1")))
            // A port that nobody listens on.
            .provider(row("refused", "http://127.0.0.1:1/v1".into()))
            .start();
        RequestEnds { gateway, provider: waiting }
    }

    fn ask(&self, model: &str) -> Client {
        let mut client = self.gateway.client();
        client.ask(&post(CHAT.path).body(format!(r#"{{"model":"{model}","stream":true}}"#)));
        client
    }

    /// Both ends of a request that the provider has.
    fn asked(&self) -> (Client, Conn) {
        let client = self.ask("waiting");
        let mut conn = self.provider.accept();
        conn.request();
        (client, conn)
    }

    /// Both ends of a stream that has begun.
    fn flowing(&self) -> (Client, Conn) {
        let (mut client, mut conn) = self.asked();
        conn.send(answer::SSE);
        conn.send(answer::chunk(CHAT.content[0]));
        assert_eq!(client.head().status, 200);
        (client, conn)
    }
}

/// One request, to its end.
type RequestEnd = fn(&RequestEnds);

const REQUEST_ENDS: &[(&str, RequestEnd)] = &[
    ("answered", |ends| assert_eq!(ends.ask("answered").response().status, 200)),
    ("connection refused", |ends| assert_eq!(ends.ask("refused").response().status, 502)),
    ("no handshake", |ends| assert_eq!(ends.ask("untrusted").response().status, 502)),
    ("provider resets", |ends| {
        let (mut client, conn) = ends.asked();
        conn.reset();
        assert_eq!(client.response().status, 502);
    }),
    ("provider leaves a stream", |ends| {
        let (mut client, conn) = ends.flowing();
        conn.close();
        assert_eq!(client.rest().1, End::Truncated);
    }),
    ("client leaves", |ends| {
        let (client, mut conn) = ends.asked();
        drop(client);
        conn.expect_closed();
    }),
    ("client leaves a stream", |ends| {
        let (client, mut conn) = ends.flowing();
        client.reset();
        conn.expect_closed();
    }),
    ("client leaves while it sends", |ends| {
        ends.gateway.client().send(post(CHAT.path).header("content-length", "100").bytes());
    }),
    ("no request", |ends| {
        let mut client = ends.gateway.client();
        client.send("nonsense\r\n\r\n");
        assert_eq!(client.response().status, 400);
    }),
];

#[test]
fn what_is_over_keeps_no_descriptor() {
    const EACH: usize = 200;
    /// Connections of the pool, and those that are being closed just now.
    const SLACK: usize = 16;
    let ends = RequestEnds::new();
    // Once each, for what is opened at its first use.
    REQUEST_ENDS.iter().for_each(|(_, meet)| meet(&ends));
    let before = ends.gateway.descriptors();
    for (name, meet) in REQUEST_ENDS {
        (0..EACH).for_each(|_| meet(&ends));
        eventually(name, || ends.gateway.descriptors() <= before + SLACK);
    }
}

/// A program that is started while a connection is open must not keep it open.
#[test]
fn sockets_are_closed_on_exec() {
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let ends = RequestEnds::new();
    let (_client, _conn) = ends.flowing();
    let process = std::path::PathBuf::from(format!("/proc/{}", ends.gateway.pid()));
    let sockets = std::fs::read_dir(process.join("fd")).unwrap().filter_map(|entry| {
        let entry = entry.ok()?;
        let target = std::fs::read_link(entry.path()).ok()?;
        target.to_string_lossy().starts_with("socket:").then(|| entry.file_name())
    });
    let closed = sockets.filter_map(|number| {
        let info = std::fs::read_to_string(process.join("fdinfo").join(number)).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
        Some(u32::from_str_radix(flags.trim(), 8).unwrap() & CLOSE_ON_EXEC != 0)
    });
    let closed: Vec<bool> = closed.collect();
    // Those of the client, of the provider, and the listener at least.
    assert!(closed.len() >= 3 && closed.iter().all(|closed| *closed), "{closed:?}");
}

//! Bodies that are made to cost: in memory, in time, in decompression.

use std::time::{Duration, Instant};

use llm_proxy::config::rows::ProviderRow;

use super::*;

/// `MAX_BUFFERED_BYTES` bounds all bodies together; requests beyond it get a 503 with
/// `retry-after`.
#[test]
fn the_memory_for_bodies_is_bounded() {
    const SIZE: usize = 4 << 20;
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let setup = Setup::new().provider(chat(&provider)).workers(2);
    let gateway = setup.env("MAX_BODY_BYTES", SIZE).env("MAX_BUFFERED_BYTES", 3 * SIZE).start();
    let mut body = CHAT.ask.as_bytes().to_vec();
    body.resize(SIZE, b' ');
    let request = post(CHAT.path).body(&body).bytes();
    let before = gateway.rss();
    let mut clients: Vec<_> = (0..12).map(|_| gateway.client()).collect();
    // Each holds back its last byte.
    for client in &mut clients {
        let _ = client.link.try_send(&request[..request.len() - 1]);
    }
    let refused = "llm_proxy_body_memory_exhausted_total";
    eventually("most are refused", || gateway.metric(refused) == Some(9.0));
    let grown = gateway.rss().saturating_sub(before);
    assert!(grown < 3 * SIZE + (24 << 20), "{grown} bytes");
    let mut statuses = Vec::new();
    for client in &mut clients {
        let _ = client.link.try_send(&request[request.len() - 1..]);
        let response = client.response();
        if response.status == 503 {
            assert_eq!(response.header("retry-after"), Some("1"));
            assert!(response.text().contains("MAX_BUFFERED_BYTES"), "{}", response.text());
        }
        statuses.push(response.status);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 3].as_slice(), &[503; 9]].concat());
    eventually("all of it is returned", || gateway.metric("llm_proxy_body_memory_bytes") == Some(0.0));
    for _ in 0..4 {
        let mut client = gateway.client();
        client.send(&request);
        assert_eq!(client.response().status, 200);
    }
}

/// A compressed body counts as what it becomes.
#[test]
fn decompressed_bodies_count() {
    const SIZE: usize = 4 << 20;
    let provider = Fake::start();
    let setup = Setup::new().provider(chat(&provider));
    // With room for the compressed one, which is held meanwhile.
    let gateway = setup.env("MAX_BODY_BYTES", SIZE).env("MAX_BUFFERED_BYTES", SIZE + (64 << 10)).start();
    let mut body = CHAT.ask.as_bytes().to_vec();
    body.resize(SIZE - 1, b' ');
    let request = post(CHAT.path).header("content-encoding", "gzip").body(gzip(&body));
    let mut first = gateway.client();
    first.ask(&request);
    let mut conn = provider.accept();
    conn.request();
    let mut second = gateway.client();
    second.ask(&request);
    assert_eq!(second.response().status, 503);
    conn.send(answer::json(200, CHAT.answer));
    assert_eq!(first.response().status, 200);
}

/// A byte before each timeout is no progress.
#[test]
fn a_body_has_a_least_rate() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let setup = Setup::new().provider(chat(&provider)).env("BODY_READ_TIMEOUT_SECS", 2);
    let gateway = setup.start();
    let mut client = gateway.client();
    client.send(post(CHAT.path).header("content-length", "1000000").bytes());
    let started = Instant::now();
    let socket = client.link.socket();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut byte = [std::mem::MaybeUninit::uninit()];
    // Peeks until the answer is there, and sends a byte each time.
    while client.link.socket().peek(&mut byte).is_err() {
        let _ = client.link.try_send(b" ");
        assert!(started.elapsed() < HANG, "still reading");
    }
    client.link.socket().set_read_timeout(Some(HANG)).unwrap();
    let response = client.response();
    assert_eq!(response.status, 408);
    assert!(response.text().contains("MIN_BODY_RATE"), "{}", response.text());
}

/// The answer arrives although the client sends all before it looks for one.
#[test]
fn a_refused_body_is_read_on_for_a_while() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(chat(&provider)).env("MAX_BODY_BYTES", 1 << 20).start();
    let piece = vec![b'x'; 1 << 20];
    for (name, value) in [("content-length", (64 << 20).to_string()), ("transfer-encoding", "chunked".to_owned())] {
        let mut client = gateway.client();
        client.send(post(CHAT.path).header(name, &value).bytes());
        let chunk = answer::chunk(&piece);
        let piece = if name == "content-length" { &piece } else { &chunk };
        for sent in 0..64 {
            client.link.try_send(piece).unwrap_or_else(|error| panic!("{name}: {error} behind {sent} MB"));
        }
        let response = client.response();
        assert_eq!(response.status, 413, "{name}");
        client.expect_closed();
    }
}

/// While bodies that unfold to 24 MB are decoded, others have their turn.
#[test]
fn decompression_lets_others_have_their_turn() {
    let provider = Fake::answering(|_| answer::json(200, CHAT.answer));
    let gateway = Setup::new().provider(chat(&provider)).start();
    let request = post(CHAT.path).header("content-encoding", "gzip").body(gzip(&vec![b' '; 24 << 20])).bytes();
    let mut bombs: Vec<_> = (0..6).map(|_| gateway.client()).collect();
    bombs.iter_mut().for_each(|client| client.send(&request));
    // The last of the bombs was answered after all of these: its worker has one thread.
    let mut client = gateway.client();
    for _ in 0..5 {
        assert_eq!(client.call(CHAT.path, CHAT.ask).status, 200);
    }
    assert!(bombs.iter_mut().any(|bomb| bomb.link.is_quiet()), "all were decoded before the others had their turn");
    bombs.iter_mut().for_each(|bomb| assert_eq!(bomb.response().status, 400));
}

/// Answers that are held until they are whole share that memory. Where it has no room, an answer is
/// forwarded as it comes; where it must be held, the request fails.
#[test]
fn held_answers_count() {
    const ROOM: usize = 1 << 20;
    let provider = Fake::start();
    let anthropic = ProviderRow { model_mapping: r#"{"claude":"c"}"#.into(), ..anthropic(&provider) };
    let setup = Setup::new().provider(ProviderRow { model_mapping: r#"{"m":"m"}"#.into(), ..chat(&provider) });
    let setup = setup.provider(anthropic).env("MAX_BODY_BYTES", 1024).env("MAX_BUFFERED_BYTES", ROOM);
    let gateway = setup.env("HOLD_ANSWER_BYTES", ROOM).start();
    let ask = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    let text = "x".repeat(ROOM / 2 + (64 << 10));
    let answer = CHAT.answer.replace("Hello", &text);
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len());
    let (most, last) = answer.split_at(answer.len() - 1);
    let begin = || {
        let mut client = gateway.client();
        client.ask(&post(CHAT.path).body(ask));
        let mut conn = provider.accept();
        conn.request();
        conn.send(&head);
        conn.send(most);
        (client, conn)
    };
    let (mut held, mut first) = begin();
    let used = "llm_proxy_body_memory_bytes";
    eventually("it is held", || gateway.metric(used).unwrap() > ROOM as f64 / 2.0);
    let not_held = "llm_proxy_answers_not_held_total";
    assert_eq!(gateway.metric(not_held), Some(0.0));
    // There is no room for a second one.
    let (mut forwarded, mut second) = begin();
    assert_eq!(forwarded.head().status, 200);
    gateway.expect_metric(not_held, 1.0);
    assert!(held.link.is_quiet());
    // One that is translated can't be forwarded before it is whole.
    let mut translated = gateway.client();
    translated.ask(&post(CHAT.path).body(ask.replace("\"m\"", "\"claude\"")));
    let mut third = provider.accept();
    third.request();
    let answer = MESSAGES.answer.replace("Hello", &text);
    third.send(answer::json(200, &answer));
    let failed = translated.response();
    assert_eq!(failed.status, 503, "{}", failed.text());
    assert!(failed.text().contains("MAX_BUFFERED_BYTES"), "{}", failed.text());
    first.send(last);
    second.send(last);
    assert_eq!(held.response().status, 200);
    assert_eq!(forwarded.rest().1, End::Whole);
    eventually("all of it is returned", || gateway.metric(used) == Some(0.0));
}

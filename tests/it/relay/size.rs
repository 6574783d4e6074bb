//! Large bodies, and readers that take their time.

use super::*;

#[test]
fn a_large_answer_to_a_slow_reader_costs_no_memory() {
    const PIECE: usize = 1 << 20;
    const PIECES: usize = 64;
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    client.ask(&post("/v1/audio/speech").body(r#"{"model":"m","input":"x","voice":"v"}"#));
    let mut conn = provider.accept();
    conn.request();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: audio/wav\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES);
    conn.send(head);
    client.head();
    let before = gateway.rss();
    let piece: Vec<u8> = (0..PIECE).map(|n| (n % 251) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..PIECES).for_each(|_| conn.send(&piece)));
        let mut most = 0;
        let mut seen = 0;
        // One read at a time, with a look at the gateway in between: it has more to send all the
        // while.
        while seen < PIECE * PIECES {
            let at = seen % PIECE;
            let bytes = client.some((128 << 10).min(PIECE - at));
            assert!(bytes == piece[at..at + bytes.len()], "at {seen}");
            seen += bytes.len();
            most = most.max(gateway.rss());
        }
        assert!(most < before + (16 << 20), "grew from {before} to {most} bytes");
    });
    assert_eq!(client.rest(), (Vec::new(), End::Whole));
}

#[test]
fn a_request_of_twenty_megabytes() {
    let provider = Fake::answering(|request| answer::json(200, format!(r#"{{"n":{}}}"#, request.body.len())));
    let mapping = r#"{"m-asked":"m-upstream"}"#.into();
    let plain = Setup::new().provider(chat(&provider)).start();
    let renaming = Setup::new().provider(ProviderRow { model_mapping: mapping, ..chat(&provider) }).start();
    let body = format!(r#"{{"messages":[{{"content":"{}"}}],"model":"m-asked"}}"#, "é".repeat(10 << 20));
    for gateway in [plain, renaming] {
        let mut client = gateway.client();
        // Unoptimised, and beside other tests, so much is read for seconds.
        client.link.socket().set_read_timeout(Some(4 * HANG)).unwrap();
        assert_eq!(client.call(sample::CHAT.path, &body).status, 200);
    }
    let seen = provider.requests();
    assert!(seen[0].body == body.as_bytes());
    assert!(seen[1].body == body.replace("m-asked", "m-upstream").as_bytes());
}

/// The client has its response with the last event. What it sends next is read whole, also where
/// the provider is slow to end its body.
#[test]
fn a_large_request_behind_a_stream_whose_body_has_not_ended() {
    let translated = (&sample::CHAT, &sample::MESSAGES);
    for (asked, provided) in sample::ALL.iter().map(|sample| (*sample, *sample)).chain([translated]) {
        let (provider, setup) = (Fake::start(), unheld());
        let gateway = setup.provider(provided.provider("p", &provider)).start();
        let mut client = gateway.client();
        client.ask(&post(asked.path).body(asked.ask_stream));
        let mut unended = provider.accept();
        unended.request();
        unended.send(answer::SSE);
        provided.events().iter().for_each(|event| unended.send(answer::chunk(event)));
        assert_eq!(client.response().status, 200, "{}", asked.path);

        let text = "x".repeat(1 << 20);
        client.ask(&post(asked.path).body(asked.ask.replacen("hi", &text, 1)));
        let mut conn = provider.accept();
        assert!(conn.request().text().contains(&text));
        conn.send(answer::json(200, provided.answer));
        assert_eq!(client.response().status, 200, "{}", asked.path);
    }
}

#[test]
fn a_body_larger_than_allowed_is_refused() {
    let provider = Fake::start();
    let gateway = Setup::new().provider(chat(&provider)).env("MAX_BODY_BYTES", 2000).start();
    let body = |size: usize| format!(r#"{{"model":"m","pad":"{}"}}"#, "x".repeat(size - 22));
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(body(2000)));
    let mut conn = provider.accept();
    assert_eq!(conn.request().body.len(), 2000);
    conn.send(answer::json(200, "{}"));
    assert_eq!(client.response().status, 200);

    client.ask(&post(sample::CHAT.path).body(body(2001)));
    let response = client.response();
    assert_eq!((response.status, &response.json()["error"]["code"]), (413, &"request_too_large".into()));

    // Of unknown length, found out on the way.
    let mut client = gateway.client();
    client.send(post(sample::CHAT.path).header("transfer-encoding", "chunked").bytes());
    client.send(answer::chunk(body(1500)));
    client.send(answer::chunk(body(1500)));
    assert_eq!(client.response().status, 413);
}

#[test]
fn a_provider_that_refuses_a_large_body_before_it_has_it() {
    let (provider, gateway) = serving(&sample::CHAT);
    let body = format!(r#"{{"model":"m","pad":"{}"}}"#, "x".repeat(8 << 20));
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(body));
    let mut conn = provider.accept();
    conn.link.head();
    conn.send(answer::json(413, r#"{"error":{"message":"too much"}}"#));
    // Closed with most of the body unread, which resets the connection.
    conn.close();
    let response = client.response();
    assert_eq!((response.status, response.text()), (413, r#"{"error":{"message":"too much"}}"#));
}

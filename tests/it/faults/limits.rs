//! Times that an operator sets.

use super::*;

#[test]
fn a_provider_that_does_not_begin_to_answer() {
    for variable in ["REQUEST_TIMEOUT_SECS", "TOTAL_TIMEOUT_SECS"] {
        let (provider, setup) = alone(&sample::CHAT);
        let gateway = setup.env(variable, 0.3).start();
        let mut client = gateway.client();
        client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
        let mut silent = provider.accept();
        silent.request();
        let response = client.response();
        assert_eq!((response.status, error_of(&sample::CHAT, response.text())[2].as_str()), (504, "upstream_timeout"));
        silent.expect_closed();
    }
}

#[test]
fn the_whole_time_of_an_answer_counts_the_connecting_too() {
    let full = Full::new();
    let row = provider("full", "openai", &full.base());
    let gateway = Setup::new().provider(row).env("TOTAL_TIMEOUT_SECS", 0.3).env("CONNECT_TIMEOUT_SECS", 300).start();
    let response = gateway.client().call(sample::CHAT.path, sample::CHAT.ask);
    assert_eq!((response.status, error_of(&sample::CHAT, response.text())[2].as_str()), (504, "upstream_timeout"));
}

#[test]
fn the_whole_time_of_an_answer_ends_a_stream_that_flows() {
    let sample = &sample::MESSAGES;
    let (provider, setup) = alone(sample);
    let gateway = setup.env("TOTAL_TIMEOUT_SECS", 2).start();
    let mut client = ask_stream(&gateway, sample);
    let mut conn = opened(&provider, sample);
    // As fast as the client takes them; the gateway is the one to end it.
    let flood = std::thread::spawn(move || while conn.link.try_send(&answer::chunk(sample.content[0])).is_ok() {});
    client.head();
    let (text, end) = client.rest_text();
    assert_eq!(end, End::Truncated);
    let at = text.rfind("event: error").unwrap();
    assert_eq!(error_event(sample, &text[at..])[1], "timeout_error");
    flood.join().unwrap();
}

#[test]
fn a_client_that_is_slow_with_its_head_or_body() {
    let (_provider, setup) = alone(&sample::CHAT);
    let gateway = setup.env("HEADER_READ_TIMEOUT_SECS", 0.3).env("BODY_READ_TIMEOUT_SECS", 0.3).start();
    let request = post(sample::CHAT.path).body(sample::CHAT.ask).bytes();
    for most in [20, request.len() - 5] {
        let mut client = gateway.client();
        client.send(&request[..most]);
        let response = client.response();
        assert_eq!((response.status, response.header("connection")), (408, Some("close")));
        client.expect_closed();
    }
    // Who says nothing at all gets no answer to it.
    gateway.client().expect_closed();
}

#[test]
fn an_idle_client_connection_is_closed() {
    let (_provider, setup) = alone(&sample::CHAT);
    let gateway = setup.env("KEEPALIVE_TIMEOUT_SECS", 0.3).start();
    let mut client = gateway.client();
    client.ask(&get("/health"));
    assert_eq!(client.response().status, 200);
    client.expect_closed();
}

#[test]
fn a_client_that_does_not_read_is_disconnected() {
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.env("REQUEST_TIMEOUT_SECS", 2).start();
    let mut client = gateway.client();
    client.ask(&post("/v1/audio/speech").body(r#"{"model":"m","input":"x","voice":"v"}"#));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::JSON);
    let piece = answer::chunk(vec![b'x'; 64 << 10]);
    // Until the gateway closes: the client's buffers are full and nobody empties them.
    while conn.link.try_send(&piece).is_ok() {}
    client.head();
    assert_eq!(client.rest().1, End::Truncated);
}

#[test]
fn connections_beyond_the_limit_are_closed() {
    let (_provider, setup) = alone(&sample::CHAT);
    let gateway = setup.env("MAX_CONNECTIONS", 2).start();
    let mut kept: Vec<_> = (0..2).map(|_| gateway.client()).collect();
    for client in &mut kept {
        client.ask(&get("/health"));
        assert_eq!(client.response().status, 200);
    }
    gateway.client().expect_closed();
    for client in &mut kept {
        client.ask(&get("/health"));
        assert_eq!(client.response().status, 200);
    }
    kept.pop();
    // The place is free once the gateway has seen the close.
    eventually("a connection is served again", || {
        let mut client = gateway.client();
        let sent = client.link.try_send(&get("/health").bytes());
        sent.is_ok() && client.link.head().is_some()
    });
}

#[test]
fn a_long_silence_is_filled_with_comments_between_events() {
    let (provider, setup) = alone(&sample::CHAT);
    let responses = Fake::start();
    let gateway = setup.provider(sample::RESPONSES.provider("r", &responses)).start();
    let mut clients = Vec::new();
    for (sample, provider) in [(&sample::CHAT, &provider), (&sample::RESPONSES, &responses)] {
        let mut client = ask_stream(&gateway, sample);
        let mut conn = opened(provider, sample);
        conn.send(answer::chunk(sample.content[0]));
        // Half of the next one: a comment must not stand within it.
        let (half, rest) = sample.content[1].split_at(20);
        conn.send(answer::chunk(half));
        client.head();
        client.read_until(sample.content[0]);
        clients.push((client, conn, half, rest));
    }
    for (client, conn, half, rest) in &mut clients {
        assert_eq!(client.event(), ": keep-alive\n\n");
        conn.send(answer::chunk(*rest));
        assert_eq!(client.event(), [*half, *rest].concat());
    }
}

//! A request hidden behind another: no way of framing makes the provider see it.

use super::*;

/// What must never be served as a request of its own.
fn hidden() -> String {
    String::from_utf8(asking(&CHAT, r#"{"model":"m-asked","hidden":true}"#)).unwrap()
}

/// Ways to make a front server and this one disagree on where the first request ends. All of them
/// end the connection.
#[test]
fn that_is_refused() {
    let hidden = hidden();
    let empty = "0\r\n\r\n";
    let rows = [
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{empty}", empty.len() + hidden.len()),
        format!("content-length: {}\r\ntransfer-encoding: chunked\r\n\r\n{empty}", empty.len()),
        format!("content-length: 0\r\ncontent-length: {}\r\n\r\n", hidden.len()),
        "content-length: 0\r\ntransfer-encoding: xchunked\r\n\r\n".into(),
        "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n".into(),
        format!("transfer-encoding : chunked\r\n\r\n{empty}"),
        format!("transfer-encoding\t: chunked\r\ncontent-length: {}\r\n\r\n{empty}", empty.len()),
        format!("x: y\r\n transfer-encoding: chunked\r\n\r\n{empty}"),
        format!("x: y\rtransfer-encoding: chunked\r\n\r\n{empty}"),
        format!("x: y\ntransfer-encoding: chunked\r\n\r\n{empty}"),
        format!("content-length: +{}\r\n\r\n", hidden.len()),
        format!("content-length: {}, 0\r\n\r\n", hidden.len()),
        "content-length: 0_0\r\n\r\n".into(),
        format!("transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{empty}"),
        format!("transfer-encoding: chunked\r\n\r\n0\n\n{empty}"),
        format!("transfer-encoding: chunked\r\n\r\n0 \r\n\r\n{empty}"),
        format!("transfer-encoding: chunked\r\n\r\n1\r\nxx\r\n{empty}"),
        format!("transfer-encoding: chunked\r\n\r\n0;\n{empty}"),
        format!("transfer-encoding: chunked\r\n\r\n0\r\nx\r\n{empty}"),
    ];
    let mut bench = Bench::new();
    for row in rows {
        let mut client = bench.gateway.client();
        let start = format!("POST {} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n", CHAT.path);
        client.send(format!("{start}{row}{hidden}"));
        let status = client.response().status;
        assert!(status == 400 || status == 501, "{status}: {row:?}");
        client.expect_closed();
        bench.serves(bench.gateway.client());
    }
    bench.finish();
}

/// A request within the body of another is text.
#[test]
fn bytes_of_a_body_are_never_a_request() {
    let bench = Bench::new();
    let body = json!({ "model": MODEL, "messages": [hidden()] }).to_string();
    let chunks = format!("{:x};{}\r\n{body}\r\n0\r\nx: {}\r\n\r\n", body.len(), "GET / HTTP/1.1", "POST / HTTP/1.1");
    let chunked = [post(CHAT.path).header("transfer-encoding", "chunked").bytes(), chunks.into()].concat();
    for request in [asking(&CHAT, &body), chunked] {
        let mut client = bench.gateway.client();
        client.send(request);
        assert_eq!(client.response().status, 200);
        assert!(client.link.is_quiet());
    }
    let seen = bench.provider.requests();
    assert_eq!(seen.iter().map(Request::text).collect::<Vec<_>>(), [&body, &body]);
}

/// A refused request takes what follows it on the connection with it, unless it is known where that
/// begins.
#[test]
fn bytes_behind_a_refused_request_are_never_a_request() {
    let hidden = hidden();
    let mut bench = Bench::with(Setup::new().env("MAX_BODY_BYTES", 2000));
    // Known: it is a request as any other.
    let mut client = bench.gateway.client();
    client.send([&post("/nothing").body("{}").bytes(), hidden.as_bytes()].concat());
    assert_eq!(client.response().status, 404);
    assert_eq!(client.response().status, 200);
    assert_eq!(bench.provider.requests().len(), 1);
    // Not known, since the body was not read.
    let rows = [
        post("/nothing").header("transfer-encoding", "chunked").bytes(),
        post(CHAT.path).header("authorization", "").header("transfer-encoding", "chunked").bytes(),
        post(CHAT.path).header("content-length", "2001").bytes(),
        post("/nothing").header("content-length", "100000").bytes(),
    ];
    for row in rows {
        let mut client = bench.gateway.client();
        client.send([&row, hidden.as_bytes()].concat());
        let response = client.response();
        assert_eq!(response.header("connection"), Some("close"), "{}", response.text());
        client.expect_closed();
        bench.serves(bench.gateway.client());
    }
    assert_eq!(bench.provider.requests().len(), 1 + bench.good);
}

/// What a client sends that ends in a head of the gateway's: nothing of it becomes a line there.
#[test]
fn client_values_add_no_header_lines() {
    let mut bench = Bench::new();
    let long = "i".repeat(65);
    for id in ["a b", "a\tb", "é", "\"", "a;b", "a,b", "<x>", &long] {
        let mut client = bench.gateway.client();
        client.ask(&post("/nothing").header("x-request-id", id));
        let response = client.response();
        let own = response.header("x-request-id").unwrap();
        assert_ne!(own, id);
        assert_eq!(own.len(), 36, "an id of the gateway's own");
        bench.serves(client);
    }
    let mut client = bench.gateway.client();
    client.ask(&post("/nothing").header("x-request-id", "trace.1:a_b-C"));
    assert_eq!(client.response().header("x-request-id"), Some("trace.1:a_b-C"));
}

//! Streams of responses: ours against hyper's client.

use llm_http::Method;

use super::hyper_oracle::{self, Row, agrees, differs};

#[test]
fn responses_that_leave_the_connection_open() {
    check(&kept(), Method::Get, false);
}

#[test]
fn responses_that_end_with_the_connection() {
    check(&closed(), Method::Get, true);
}

#[test]
fn responses_to_head() {
    let rows = vec![
        agrees("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", "200 []; idle"),
        agrees("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "200 []; idle"),
        agrees("HTTP/1.1 200 OK\r\n\r\n", "200 []; idle"),
        agrees("HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\nconnection: close\r\n\r\n", "404 []; close"),
    ];
    check(&rows, Method::Head, false);
}

/// A pooled connection: what one response leaves behind must not become the next one.
#[test]
fn responses_one_after_the_other() {
    let responses: [(Method, &[u8]); 5] = [
        (Method::Get, b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na"),
        (Method::Head, b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
        (Method::Get, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
        (Method::Get, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;x\r\nb\r\n0\r\ny: z\r\n\r\n"),
        (Method::Get, b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"),
    ];
    let expected = "200 [a]; 200 []; 304 []; 200 [b]; 429 []; idle";
    let (methods, parts): (Vec<_>, Vec<_>) = responses.into_iter().unzip();
    assert_eq!(hyper_oracle::our_client(&parts.concat(), &methods), expected);
    assert_eq!(hyper_oracle::client(&responses, false), expected);
}

fn check(rows: &[Row], method: Method, closes: bool) {
    let ours = |stream: &[u8]| hyper_oracle::our_client(stream, &[method]);
    hyper_oracle::check(rows, ours, |stream| hyper_oracle::client(&[(method, stream)], closes));
}

fn kept() -> Vec<Row> {
    let with = |fields: &str, rest: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{rest}");
    vec![
        agrees(with("content-length: 5\r\n", "hello"), "200 [hello]; idle"),
        agrees(with("content-length: 0\r\n", ""), "200 []; idle"),
        agrees(with("content-length: 2\r\ncontent-length: 2\r\n", "ab"), "200 [ab]; idle"),
        agrees(with("content-length: 2\r\nconnection: close\r\n", "ab"), "200 [ab]; close"),
        agrees(with("transfer-encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"), "200 [ab]; idle"),
        agrees(with("transfer-encoding: chunked\r\n", "2;x=y\r\nab\r\n0\r\nt: u\r\n\r\n"), "200 [ab]; idle"),
        agrees("HTTP/1.1 204 No Content\r\n\r\n", "204 []; idle"),
        agrees("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", "204 []; idle"),
        agrees("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", "304 []; idle"),
        agrees("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", "304 []; idle"),
        agrees("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", "200 [a]; idle"),
        agrees(
            "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na",
            "200 [a]; idle",
        ),
        agrees(
            "HTTP/1.1 102 Processing\r\ncontent-length: 9\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 x\r\ncontent-length: 1\r\n\r\na",
            "500 [a]; idle",
        ),
        agrees("HTTP/1.1 200\r\ncontent-length: 1\r\n\r\na", "200 [a]; idle"),
        agrees("HTTP/1.1 529 Overloaded \u{e9}\r\ncontent-length: 1\r\n\r\na", "529 [a]; idle"),
        agrees("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na", "200 [a]; close"),
        agrees("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\na", "200 [a]; idle"),
    ]
}

fn closed() -> Vec<Row> {
    let with = |fields: &str, rest: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{rest}");
    let fields = |count: usize| with(&"x: y\r\n".repeat(count), "");
    vec![
        agrees(with("", "until the close"), "200 [until the close]; close"),
        agrees(with("", ""), "200 []; close"),
        agrees("HTTP/1.0 200 OK\r\n\r\nabc", "200 [abc]; close"),
        agrees(with("content-length: 5\r\n", "hel"), "200 [hel]; body cut"),
        agrees(with("transfer-encoding: chunked\r\n", "5\r\nhel"), "200 [hel]; body cut"),
        agrees(with("transfer-encoding: chunked\r\n", "3\r\nhel\r\n"), "200 [hel]; body cut"),
        agrees(with("transfer-encoding: chunked\r\n", "3\r\nhelX"), "200 [hel]; body faulty"),
        agrees(with("transfer-encoding: chunked\r\n", "3\nhel\n0\n\n"), "200 []; body faulty"),
        agrees("HTTP/1.1 200 OK\r\ncontent-le", "cut"),
        agrees("HTTP/1.1 103 Early Hints\r\n\r\n", "cut"),
        differs(
            with("content-length: 2\r\ntransfer-encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
            "refused 502",
            "200 [ab]; close",
            "RFC 9112 6.3: such a response ought to be handled as an error; the pool must not keep who sent it",
        ),
        agrees(with("content-length: 2\r\ncontent-length: 3\r\n", "ab"), "refused 502"),
        agrees(with("content-length: +2\r\n", "ab"), "refused 502"),
        differs(
            with("content-length: 2, 2\r\n", "ab"),
            "refused 502",
            "200 [ab]; close",
            "one rule for both directions; no provider sends a list",
        ),
        agrees("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "refused 502"),
        differs(
            with("transfer-encoding: gzip\r\n", "ab"),
            "refused 502",
            "200 [ab]; close",
            "hyper hands on the coded bytes as if they were the body",
        ),
        differs(
            with("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            "refused 502",
            "200 []; close",
            "hyper hands on the coded bytes as if they were the body",
        ),
        agrees(fields(100), "200 []; close"),
        differs(
            fields(512),
            "200 []; close",
            "refused 502",
            "a provider behind several proxies is not hostile; hyper's bound is 100 unless it is told otherwise",
        ),
        agrees(fields(513), "refused 502"),
        agrees(with(&format!("x: {}\r\n", "y".repeat(1 << 20)), ""), "refused 502"),
        agrees("HTTP/1.1 2000 OK\r\n\r\n", "refused 502"),
        differs(
            "HTTP/1.1 600 OK\r\ncontent-length: 0\r\n\r\n",
            "refused 502",
            "600 []; close",
            "RFC 9110 15: a status above 599 is invalid and counts as a 5xx, which is what 502 is",
        ),
        agrees("HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n", "refused 502"),
        agrees("HTTP/2 200\r\n\r\n", "refused 502"),
        agrees("SSH-2.0-OpenSSH\r\n", "refused 502"),
        agrees("HTTP/1.1 200 OK\r\nx : y\r\n\r\n", "refused 502"),
        agrees("HTTP/1.1 200 OK\r\nx: y\r\n folded\r\n\r\n", "refused 502"),
        differs(
            "HTTP/1.1 200 OK\ncontent-length: 0\n\n",
            "refused 502",
            "200 []; close",
            "one rule for both directions; no provider sends bare LF",
        ),
        differs(
            "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "refused 502",
            "200 []; close",
            "RFC 9112 2.2 allows empty lines before requests alone; here an earlier body was longer than declared",
        ),
        agrees("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\nxyz", "101 []; close"),
    ]
}

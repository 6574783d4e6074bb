//! Answers that are not HTTP, or that two readers would read in two ways.

use super::*;

#[test]
fn malformed_answers_are_502_and_end_their_connection() {
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "a".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(20_000));
    let rows: &[(&str, &str)] = &[
        (
            "length and chunked",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        ),
        ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}}"),
        ("a length that is none", "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}"),
        ("another coding", "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}"),
        (
            "a chunk that is none",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        ),
        ("a chunk longer than it says", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n"),
        ("garbage", "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n"),
        ("another protocol", "SSH-2.0-OpenSSH_9.9\r\n"),
        ("another version", "HTTP/2.0 200 OK\r\n\r\n"),
        ("no status", "HTTP/1.1 OK\r\n\r\n"),
        ("a field over two lines", "HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n"),
        ("space before a colon", "HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\n{}"),
        ("a line break in a field", "HTTP/1.1 200 OK\r\na: b\rc: d\r\n\r\n"),
        (
            "an upgrade that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        ),
        ("a head without end", &long),
        ("fields without end", &many),
        ("interim answers without end", &"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40_000)),
    ];
    for sample in [&sample::CHAT, &sample::MESSAGES] {
        let (provider, setup) = alone(sample);
        let gateway = setup.start();
        let mut client = gateway.client();
        for (what, bytes) in rows {
            client.ask(&post(sample.path).body(sample.ask));
            let mut conn = provider.accept();
            conn.request();
            // The gateway need not read all of it.
            let _ = conn.link.try_send(bytes.as_bytes());
            let response = client.response();
            assert_eq!(response.status, 502, "{what}");
            assert!(error_of(sample, response.text())[0].contains("provider `first`"), "{what}: {}", response.text());
            conn.expect_closed();
        }
    }
}

#[test]
fn a_close_within_a_head() {
    for bytes in
        ["", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n"]
    {
        let (provider, setup) = alone(&sample::CHAT);
        let gateway = setup.start();
        let mut client = gateway.client();
        client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
        let mut conn = provider.accept();
        conn.request();
        conn.send(bytes);
        conn.close();
        let response = client.response();
        assert_eq!(response.status, 502, "{bytes:?}");
        let expected = "provider `first` sent no valid response: it closed the connection";
        assert_eq!(error_of(&sample::CHAT, response.text())[0], expected);
        assert!(provider.try_accept().is_none(), "a new connection that fails is not tried twice");
    }
}

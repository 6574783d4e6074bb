use super::*;

fn parse(head: &str) -> Result<Option<RequestHead>, Refusal> {
    parse_request(head.as_bytes(), &mut HeadScan::default(), &Limits::default())
}

fn accepted(head: &str) -> RequestHead {
    parse(head)
        .unwrap_or_else(|refusal| panic!("{head:?}: {refusal}"))
        .unwrap_or_else(|| panic!("{head:?}: incomplete"))
}

#[test]
fn reads_a_common_request() {
    let text = "POST /v1/messages?beta=true HTTP/1.1\r\nHost: a:8080\r\nContent-Type:  application/json \r\nX-Empty:\r\nContent-Length: 2\r\n\r\n{}";
    let (head, buf) = (accepted(text), text.as_bytes());
    assert_eq!((head.method, head.version), (Method::Post, Version::Http11));
    assert_eq!((head.path(buf), head.query(buf)), (&b"/v1/messages"[..], Some(&b"beta=true"[..])));
    assert_eq!(head.get(buf, "content-type"), Some(&b"application/json"[..]));
    assert_eq!(head.get(buf, "x-empty"), Some(&b""[..]));
    assert_eq!(head.get(buf, "accept"), None);
    assert_eq!(&buf[head.len..], b"{}");
    assert_eq!((head.framing, head.keep_alive, head.expect_continue), (Framing::Length(2), true, false));
    assert_eq!(head.fields(buf).count(), 4);
}

#[test]
fn refuses_what_could_be_read_in_two_ways() {
    let rows = [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n host: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\x7fb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.1\nhost: a\n\n", 400),
        ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET\r\n\r\n", 400),
        ("GET / HTTX/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / http/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nhost: a\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET /\u{e9} HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /#x HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET /<x> HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET http:///a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET http://:80/a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET http://u@b/a HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n", 501),
        ("\x16\x03\x01\x02", 400),
        ("\x00", 400),
        (" GET", 400),
        ("\rGET / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ];
    for (head, status) in rows {
        assert_eq!(parse(head).map_err(|refusal| refusal.status), Err(status), "{head:?}");
    }
}

#[test]
fn targets() {
    let rows = [
        ("GET / ", "/", None),
        ("GET /? ", "/", Some("")),
        ("GET /a?b?c ", "/a", Some("b?c")),
        ("GET /[a]?{b|c}^\\ ", "/[a]", Some("{b|c}^\\")),
        ("GET //a ", "//a", None),
        ("GET /%0d%0a ", "/%0d%0a", None),
        ("GET http://a ", "/", None),
        ("GET http://a?b ", "/", Some("b")),
        ("GET HTTPS://a:1/b?c=http://d ", "/b", Some("c=http://d")),
        ("OPTIONS * ", "*", None),
    ];
    for (line, path, query) in rows {
        let text = format!("{line}HTTP/1.1\r\nhost:\r\n\r\n");
        let head = accepted(&text);
        let found = (head.path(text.as_bytes()), head.query(text.as_bytes()));
        assert_eq!(found, (path.as_bytes(), query.map(str::as_bytes)), "{line:?}");
    }
}

#[test]
fn authorities() {
    for text in ["a", "a.b-c_d", "a:80", "a:", "127.0.0.1:8000", "[::1]", "[2001:db8::1]:443", "", ":80"] {
        assert!(is_authority(text.as_bytes()), "{text:?}");
    }
    for text in [
        "a/b", "u@a", "a?b", "a#b", "a b", "a,b", "a:b", "a:80:80", "[::1", "::1", "[::1]x", "[::1]:x", "[g]", "\u{e9}",
    ] {
        assert!(!is_authority(text.as_bytes()), "{text:?}");
    }
}

#[test]
fn leading_empty_lines_are_skipped_and_counted() {
    let text = "\r\n\r\nGET /x HTTP/1.1\r\nhost: a\r\n\r\n";
    let head = accepted(text);
    assert_eq!((head.len, head.path(text.as_bytes())), (text.len(), &b"/x"[..]));
    let flood = "\r\n".repeat(40_000);
    assert_eq!(parse(&flood).map_err(|refusal| refusal.status), Err(431));
}

#[test]
fn field_count_is_bounded() {
    let head = |fields: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "a: b\r\n".repeat(fields - 1));
    assert_eq!(accepted(&head(100)).fields.len(), 100);
    assert_eq!(parse(&head(101)).map_err(|refusal| refusal.status), Err(431));
}

#[test]
fn wishes_of_the_client() {
    let with = |line: &str, fields: &str| {
        let head = accepted(&format!("{line}\r\nhost: a\r\n{fields}\r\n"));
        (head.keep_alive, head.expect_continue, head.upgrade_websocket)
    };
    assert_eq!(with("GET / HTTP/1.1", ""), (true, false, false));
    assert_eq!(with("GET / HTTP/1.1", "connection: close\r\n"), (false, false, false));
    assert_eq!(with("GET / HTTP/1.0", ""), (false, false, false));
    assert_eq!(with("GET / HTTP/1.0", "connection: keep-alive\r\n"), (true, false, false));
    assert_eq!(with("POST / HTTP/1.1", "expect: 100-Continue\r\ncontent-length: 1\r\n"), (true, true, false));
    assert_eq!(with("POST / HTTP/1.1", "expect: 100-continue\r\ncontent-length: 0\r\n"), (true, false, false));
    assert_eq!(with("POST / HTTP/1.0", "expect: 100-continue\r\ncontent-length: 1\r\n"), (false, false, false));
    let upgrade = "connection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\n";
    assert_eq!(with("GET / HTTP/1.1", upgrade), (true, false, true));
    assert_eq!(with("POST / HTTP/1.1", upgrade), (true, false, false));
    assert_eq!(with("GET / HTTP/1.1", "upgrade: websocket\r\n"), (true, false, false));
}

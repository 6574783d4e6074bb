//! Heads: what could be read in two ways, what is no HTTP/1.1, what is too much.

use super::*;

const NAME: &str = "a field name is empty, folded, followed by whitespace, or holds a character that names may not";
const VALUE: &str = "a field value holds a control character";
const LINE: &str = "the request line is not `METHOD target HTTP/1.1`";
const BARE_LF: &str = "a line of the head ends in a bare LF; lines must end in CRLF";
const NO_CRLF: &str = "a line of the head does not end in CRLF";
const NO_VERSION: &str = "the request line does not end in an HTTP version";
const TARGET_BYTE: &str = "the target holds a byte that must be percent-encoded";
const TARGET_START: &str = "the target must begin with `/` or be an http URL";
const TARGET_HOST: &str = "the target is a URL without a proper host";
const NO_METHOD: &str = "a request must begin with a method";
const NO_HOST: &str = "an HTTP/1.1 request must have a host field";
const TWO_HOSTS: &str = "more than one host field is given";
const BAD_HOST: &str = "the host field is not `host` or `host:port`";

fn old() -> ExpectedError {
    expected_error("this port speaks HTTP/1.1 and HTTP/1.0").status(505).code("http_version_not_supported")
}

/// Heads whose path is `/` or unknown.
#[test]
fn heads_that_are_not_http_are_refused() {
    let rows: &[(&str, &str, ExpectedError)] = &[
        ("bare LF everywhere", "GET / HTTP/1.1\nhost: a\n\n", expected_error(BARE_LF)),
        ("bare LF in one line", "GET / HTTP/1.1\r\nhost: a\nx: b\r\n\r\n", expected_error(BARE_LF)),
        ("bare LF at the end", "GET / HTTP/1.1\r\nhost: a\r\n\n", expected_error(BARE_LF)),
        ("LF before the request", "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(BARE_LF)),
        ("bare CR in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n", expected_error(VALUE)),
        ("CR before the request", "\rGET / HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(NO_CRLF)),
        ("NUL first", "\0", expected_error(NO_METHOD)),
        ("NUL in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n", expected_error(VALUE)),
        ("NUL in a name", "GET / HTTP/1.1\r\nhost: a\r\nx\0: b\r\n\r\n", expected_error(NAME)),
        ("NUL in the target", "GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(LINE)),
        ("DEL in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: \x7f\r\n\r\n", expected_error(VALUE)),
        ("escape in a value", "GET / HTTP/1.1\r\nhost: a\r\nx: \x1b[2J\r\n\r\n", expected_error(VALUE)),
        ("folded value", "GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n folded\r\n\r\n", expected_error(NAME)),
        ("folded with a tab", "GET / HTTP/1.1\r\nhost: a\r\nx: b\r\n\tfolded\r\n\r\n", expected_error(NAME)),
        ("folded first field", "GET / HTTP/1.1\r\n host: a\r\n\r\n", expected_error(NAME)),
        ("space before the colon", "GET / HTTP/1.1\r\nhost : a\r\n\r\n", expected_error(NAME)),
        ("empty name", "GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n", expected_error(NAME)),
        ("field without a colon", "GET / HTTP/1.1\r\nhost: a\r\nnothing\r\n\r\n", expected_error(NAME)),
        ("name with a space", "GET / HTTP/1.1\r\nhost: a\r\na b: c\r\n\r\n", expected_error(NAME)),
        ("name beyond ASCII", "GET / HTTP/1.1\r\nhost: a\r\né: c\r\n\r\n", expected_error(NAME)),
        ("no host", "GET / HTTP/1.1\r\n\r\n", expected_error(NO_HOST)),
        ("two hosts", "GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", expected_error(TWO_HOSTS)),
        ("the same host twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", expected_error(TWO_HOSTS)),
        ("two hosts in HTTP/1.0", "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", expected_error(TWO_HOSTS)),
        ("host with a path", "GET / HTTP/1.1\r\nhost: a/b\r\n\r\n", expected_error(BAD_HOST)),
        ("host with a user", "GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", expected_error(BAD_HOST)),
        ("list of hosts", "GET / HTTP/1.1\r\nhost: a, b\r\n\r\n", expected_error(BAD_HOST)),
        ("HTTP/1.2", "GET / HTTP/1.2\r\nhost: a\r\n\r\n", old()),
        ("HTTP/3.0", "GET / HTTP/3.0\r\nhost: a\r\n\r\n", old()),
        ("preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", old()),
        ("HTTP/0.9", "GET /\r\n\r\n", expected_error(LINE)),
        ("no target", "GET\r\n\r\n", expected_error(LINE)),
        ("version of two digits", "GET / HTTP/1.10\r\nhost: a\r\n\r\n", expected_error(NO_CRLF)),
        ("version in lower case", "GET / http/1.1\r\nhost: a\r\n\r\n", expected_error(NO_VERSION)),
        ("another protocol", "GET / ICY/1.1\r\nhost: a\r\n\r\n", expected_error(NO_VERSION)),
        ("space before the method", " GET / HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(NO_METHOD)),
        ("two spaces", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(LINE)),
        ("tabs for spaces", "GET\t/\tHTTP/1.1\r\nhost: a\r\n\r\n", expected_error(LINE)),
        ("space in the target", "GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(NO_VERSION)),
        ("target beyond ASCII", "GET /é HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_BYTE)),
        ("fragment", "GET /#x HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_BYTE)),
        ("markup in the target", "GET /<script> HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_BYTE)),
        ("quote in the target", "GET /\" HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_BYTE)),
        ("asterisk", "GET * HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_START)),
        ("target without a slash", "GET v1/models HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_START)),
        ("query alone", "GET ?a=b HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_START)),
        ("another scheme", "GET ftp://a/ HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_START)),
        ("URL without a host", "GET http:///v1 HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_HOST)),
        ("URL with a user", "GET http://u:p@a/ HTTP/1.1\r\nhost: a\r\n\r\n", expected_error(TARGET_HOST)),
        (
            "tunnel",
            "CONNECT a:443 HTTP/1.1\r\nhost: a\r\n\r\n",
            not_implemented("this server opens no tunnels; CONNECT is not implemented"),
        ),
        ("another server's greeting", "SSH-2.0-OpenSSH_9.2\r\n\r\n", expected_error(LINE)),
        (
            "a load balancer's greeting",
            "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n\r\n",
            expected_error(NO_VERSION),
        ),
    ];
    let mut bench = Bench::new();
    for (name, head, expected_error) in rows {
        bench.refused(name, head.as_bytes(), Shape::OpenAi, expected_error, Then::Closed);
    }
    bench.refused("no text at all", b"\xff\xfe\x00\x01", Shape::OpenAi, &expected_error(NO_METHOD), Then::Closed);
    let tls = expected_error("this port speaks plain HTTP and was sent a TLS handshake");
    bench.refused("TLS", &client_hello(), Shape::OpenAi, &tls, Then::Closed);
    bench.finish();
}

/// What a client sends first that takes the port for https.
fn client_hello() -> Vec<u8> {
    let config = cert::Cert::new().client();
    let mut session = rustls::ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    session.write_tls(&mut hello).unwrap();
    hello
}

/// A refused head of a known path is answered in the shape of that path.
#[test]
fn malformed_heads_are_refused_in_each_format() {
    let mut bench = Bench::new();
    for sample in FORMATS {
        let line = format!("POST {} HTTP/1.1\r\n", sample.path);
        let rows: &[(&str, String, ExpectedError)] = &[
            ("no host", format!("{line}\r\n"), expected_error(NO_HOST)),
            ("space before the colon", format!("{line}host: a\r\nx : b\r\n\r\n"), expected_error(NAME)),
            ("another version", line.replace("1.1", "1.3") + "\r\n", old()),
            ("bare LF", line.replace('\r', "") + "\n", expected_error(BARE_LF)),
            ("with a query", line.replace(" HTTP", "?beta=true HTTP") + "\r\n", expected_error(NO_HOST)),
            ("absolute", line.replace(" /", " http://u@a/") + "host: a\r\n\r\n", expected_error(TARGET_HOST)),
        ];
        for (name, head, expected_error) in rows {
            let shape = if *name == "absolute" { Shape::OpenAi } else { sample.shape() };
            bench.refused(&format!("{name}: {}", sample.path), head.as_bytes(), shape, expected_error, Then::Closed);
        }
    }
    bench.finish();
}

#[test]
fn heads_over_the_limit_are_refused() {
    const LARGE: &str = "the head is larger than this server accepts; send fewer or shorter header fields";
    let line = "GET / HTTP/1.1\r\nhost: a\r\n";
    let many = |count: usize| (1..count).map(|n| format!("x{n}: {n}\r\n")).collect::<String>();
    let rows: &[(&str, String, ExpectedError)] = &[
        ("101 fields", format!("{line}{}\r\n", many(101)), head_too_large("the head has more than 100 fields")),
        ("a long value", format!("{line}x: {}\r\n\r\n", "a".repeat(64 << 10)), head_too_large(LARGE)),
        ("a long name", format!("{line}{}: b\r\n\r\n", "a".repeat(64 << 10)), head_too_large(LARGE)),
        ("a long key", format!("{line}authorization: Bearer {}\r\n\r\n", "k".repeat(100_000)), head_too_large(LARGE)),
        ("a long target", format!("GET /{} HTTP/1.1\r\n", "a".repeat(64 << 10)), head_too_large(LARGE)),
        ("a long method", "A".repeat(64 << 10), head_too_large(LARGE)),
        ("empty lines without end", "\r\n".repeat(32 << 10), head_too_large(LARGE)),
        ("a head without end", format!("{line}{}", "x: y\r\n".repeat(11_000)), head_too_large(LARGE)),
    ];
    let mut bench = Bench::new();
    for (name, head, expected_error) in rows {
        bench.refused(name, head.as_bytes(), Shape::OpenAi, expected_error, Then::Closed);
    }
    // As many, and as much, as is allowed.
    let start = format!("{line}{}", many(99));
    let head = format!("{start}x: {}\r\n\r\n", "a".repeat((64 << 10) - start.len() - 7));
    assert_eq!(head.len(), 64 << 10);
    let mut client = bench.gateway.client();
    client.send(head);
    assert_eq!(client.response().status, 200);
    bench.serves(client);
    bench.finish();
}

/// What looks odd and is right.
#[test]
fn unusual_valid_heads_are_accepted() {
    let mut bench = Bench::new();
    let good = asking(&CHAT, CHAT.ask);
    let text = String::from_utf8(good).unwrap();
    let rows = [
        ("absolute target", text.replacen(" /", " http://elsewhere:99/", 1)),
        ("upper-case scheme", text.replacen(" /", " HTTPS://elsewhere/", 1)),
        ("empty lines before", format!("\r\n\r\n{text}")),
        ("names in upper case", text.replacen("host:", "HOST:", 1).replacen("content-length:", "CONTENT-LENGTH:", 1)),
        ("values padded", text.replacen("content-length: ", "content-length: \t  ", 1)),
        ("bytes beyond ASCII in a value", text.replacen("\r\n", "\r\nx-note: caf\u{e9}\r\n", 1)),
        ("length twice", text.replacen("\r\n", &format!("\r\ncontent-length: {}\r\n", CHAT.ask.len()), 1)),
        ("empty host", text.replacen("host: gateway", "host:", 1)),
        ("HTTP/1.0", text.replacen("HTTP/1.1", "HTTP/1.0", 1).replacen("\r\n", "\r\nconnection: keep-alive\r\n", 1)),
    ];
    for (name, request) in rows {
        let mut client = bench.gateway.client();
        client.send(request);
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, CHAT.answer), "{name}");
        bench.good += 1;
        bench.serves(client);
    }
    bench.finish();
}

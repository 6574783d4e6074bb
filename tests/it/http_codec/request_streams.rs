//! Streams of requests: ours against hyper's server.

use super::hyper_oracle::{self, Row, agrees, differs};

const TWO_HEADS: &str = "a proxy that does not take a bare LF for a line end sees another message";
const STRICT_HOST: &str = "RFC 9112 3.2 demands 400; hyper leaves it to the service";
const BOTH: &str = "RFC 9112 6.1 allows to refuse both; hyper takes the coding and closes afterwards";

#[test]
fn requests_are_read_as_hyper_reads_them() {
    let rows = [plain(), odd_targets(), persistence(), framing(), chunks(), malformed(), sizes()].concat_rows();
    assert!(rows.len() >= 40);
    hyper_oracle::check(&rows, hyper_oracle::our_server, hyper_oracle::server);
}

trait ConcatRows {
    fn concat_rows(self) -> Vec<Row>;
}

impl<const N: usize> ConcatRows for [Vec<Row>; N] {
    fn concat_rows(self) -> Vec<Row> {
        self.into_iter().flatten().collect()
    }
}

fn plain() -> Vec<Row> {
    vec![
        agrees("", "idle"),
        agrees("GET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("GET /a/b?c=d&e HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n", "GET /a/b?c=d&e []; idle"),
        agrees(
            "POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
            "POST /v1/messages [hello]; idle",
        ),
        agrees("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", "POST / []; idle"),
        agrees("POST / HTTP/1.1\r\nhost: a\r\n\r\n", "POST / []; idle"),
        agrees("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc", "GET / [abc]; idle"),
        agrees("DELETE /x HTTP/1.1\r\nhost: a\r\n\r\n", "DELETE /x []; idle"),
        agrees("BREW /pot HTTP/1.1\r\nhost: a\r\n\r\n", "BREW /pot []; idle"),
        agrees("get / HTTP/1.1\r\nhost: a\r\n\r\n", "get / []; idle"),
        agrees("GET / HTTP/1.1\r\nhost: a\r\nx:\r\ny: \t \r\nz:1\r\n\r\n", "GET / []; idle"),
        agrees("GET / HTTP/1.1\r\nhost: a\r\nx: caf\u{e9}\r\n\r\n", "GET / []; idle"),
        agrees("\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("\r\n\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees(
            "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nxGET /2 HTTP/1.1\r\nhost: a\r\n\r\nGET /3 HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /1 [x]; GET /2 []; GET /3 []; idle",
        ),
        agrees(
            "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST /1 [x]; GET /2 []; idle",
        ),
        agrees("GET / HTTP/1.1\r\nhost: a\r\n", "cut"),
        agrees("GET", "cut"),
        agrees("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhel", "POST / [hel]; body cut"),
    ]
}

fn odd_targets() -> Vec<Row> {
    vec![
        agrees("GET http://b/x?y HTTP/1.1\r\nhost: a\r\n\r\n", "GET /x?y []; idle"),
        agrees("GET http://b HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("GET http://b:80/ HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("GET http://b:/ HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("GET http://b_c:999999/ HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("GET http://[::1]/ HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("GET http://[]/ HTTP/1.1\r\nhost: a\r\n\r\n", "GET / []; idle"),
        agrees("GET http:///x HTTP/1.1\r\nhost: a\r\n\r\n", "refused 400"),
        agrees("GET http://@/x HTTP/1.1\r\nhost: a\r\n\r\n", "refused 400"),
        differs(
            "GET http://u:p@b/x HTTP/1.1\r\nhost: a\r\n\r\n",
            "refused 400",
            "GET /x []; idle",
            "RFC 9110 4.2.4: userinfo from an untrusted source is an error",
        ),
        agrees("GET http://b?x HTTP/1.1\r\nhost: a\r\n\r\n", "GET /?x []; idle"),
        agrees("GET /<x> HTTP/1.1\r\nhost: a\r\n\r\n", "refused 400"),
        agrees("GET /[x]?{y|z}^\\ HTTP/1.1\r\nhost: a\r\n\r\n", "GET /[x]?{y|z}^\\ []; idle"),
        agrees("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", "OPTIONS * []; idle"),
        agrees("GET //x HTTP/1.1\r\nhost: a\r\n\r\n", "GET //x []; idle"),
        agrees("GET /%2e%2e/%00 HTTP/1.1\r\nhost: a\r\n\r\n", "GET /%2e%2e/%00 []; idle"),
        differs(
            "GET * HTTP/1.1\r\nhost: a\r\n\r\n",
            "refused 400",
            "GET * []; idle",
            "RFC 9112 3.2.4 has `*` for OPTIONS alone",
        ),
        differs(
            "GET /a#b HTTP/1.1\r\nhost: a\r\n\r\n",
            "refused 400",
            "GET /a []; idle",
            "a target has no fragment; who forwards it forwards another target",
        ),
        differs(
            "GET a HTTP/1.1\r\nhost: a\r\n\r\n",
            "refused 400",
            "GET  []; idle",
            "an authority is a target of CONNECT alone",
        ),
        differs(
            "GET ftp://b/ HTTP/1.1\r\nhost: a\r\n\r\n",
            "refused 400",
            "GET / []; idle",
            "this server has no resources of other schemes",
        ),
        differs(
            "CONNECT b:1 HTTP/1.1\r\nhost: a\r\n\r\n",
            "refused 501",
            "CONNECT  []; idle",
            "a gateway for model APIs opens no tunnels",
        ),
        differs(
            "GET /caf\u{e9} HTTP/1.1\r\nhost: a\r\n\r\n",
            "refused 400",
            "GET /caf\u{e9} []; idle",
            "a URI is ASCII (RFC 3986 2); it is percent-encoded or refused",
        ),
    ]
}

fn persistence() -> Vec<Row> {
    let then = "GET /2 HTTP/1.1\r\nhost: a\r\n\r\n";
    let with = |first: &str| format!("{first}\r\n{then}");
    vec![
        agrees(with("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"), "GET / []; close"),
        agrees(with("GET / HTTP/1.1\r\nhost: a\r\nConnection: foo, CLOSE\r\n"), "GET / []; close"),
        agrees(with("GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive\r\n"), "GET / []; GET /2 []; idle"),
        agrees(with("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nconnection: keep-alive\r\n"), "GET / []; close"),
        agrees(with("GET / HTTP/1.0\r\n"), "GET / []; close"),
        agrees(with("GET / HTTP/1.0\r\nhost: a\r\nconnection: Keep-Alive\r\n"), "GET / []; GET /2 []; idle"),
        agrees("POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\nab", "POST / [ab]; close"),
        agrees(
            "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\nab",
            "POST / [ab]; idle",
        ),
    ]
}

fn framing() -> Vec<Row> {
    let post = |fields: &str, rest: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n{rest}");
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    let behind = |body: &str| format!("{body}{smuggled}");
    vec![
        differs(
            post("content-length: 3\r\ntransfer-encoding: chunked\r\n", &behind("1\r\nx\r\n0\r\n\r\n")),
            "refused 400",
            "POST / [x]; close",
            BOTH,
        ),
        differs(
            post("transfer-encoding: chunked\r\ncontent-length: 3\r\n", &behind("1\r\nx\r\n0\r\n\r\n")),
            "refused 400",
            "POST / [x]; close",
            BOTH,
        ),
        agrees(post("content-length: 3\r\ncontent-length: 5\r\n", &behind("abc")), "refused 400"),
        agrees(post("content-length: 3\r\ncontent-length: 3\r\n", "abc"), "POST / [abc]; idle"),
        agrees(post("content-length: 3, 3\r\n", "abc"), "refused 400"),
        agrees(post("content-length: +3\r\n", "abc"), "refused 400"),
        agrees(post("content-length: -3\r\n", "abc"), "refused 400"),
        agrees(post("content-length: 3 3\r\n", "abc"), "refused 400"),
        agrees(post("content-length: 0x3\r\n", "abc"), "refused 400"),
        agrees(post("content-length:\r\n", "abc"), "refused 400"),
        agrees(post("content-length: 18446744073709551616\r\n", "abc"), "refused 400"),
        differs(
            post("content-length: 9223372036854775808\r\n", "abc"),
            "refused 400",
            "POST / [abc]; body cut",
            "no sum with such a length may overflow, here or in an intermediary with signed lengths",
        ),
        differs(
            post(
                "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n",
                &behind("0\r\n\r\n"),
            ),
            "refused 400",
            "POST / []; close",
            BOTH,
        ),
        differs(
            post("transfer-encoding: identity, chunked\r\n", "0\r\n\r\n"),
            "refused 400",
            "POST / []; idle",
            "identity is no coding since RFC 7230; a reader who stops at it sees another body",
        ),
        differs(
            post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"),
            "refused 501",
            "POST / []; idle",
            "RFC 9112 6.1: a coding that is not implemented is answered 501; hyper hands on the coded body",
        ),
        differs(
            post("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", "0\r\n\r\n"),
            "refused 400",
            "POST / []; idle",
            "RFC 9112 6.1: chunked must not be applied more than once",
        ),
        agrees(post("transfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"), "refused 400"),
        agrees(post("transfer-encoding: gzip\r\n", "abc"), "refused 400"),
        agrees(post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"), "refused 400"),
        agrees(post("transfer-encoding: chunked;a=b\r\n", "0\r\n\r\n"), "refused 400"),
        agrees(post("transfer-encoding:\r\n", "0\r\n\r\n"), "refused 400"),
        agrees(post("transfer-encoding : chunked\r\n", "0\r\n\r\n"), "refused 400"),
        agrees(post("transfer-encoding:\x0bchunked\r\n", "0\r\n\r\n"), "refused 400"),
        agrees("POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "refused 400"),
    ]
}

fn chunks() -> Vec<Row> {
    let chunked = |body: &str| format!("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{body}");
    let next = "GET /2 HTTP/1.1\r\nhost: a\r\n\r\n";
    vec![
        agrees(
            chunked(&format!("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n{next}")),
            "POST / [abc0123456789]; GET /2 []; idle",
        ),
        agrees(chunked("0\r\n\r\n"), "POST / []; idle"),
        agrees(chunked("1;a=b;c\r\nx\r\n0;d\r\n\r\n"), "POST / [x]; idle"),
        agrees(chunked("1 ;a\r\nx\r\n0\r\n\r\n"), "POST / [x]; idle"),
        agrees(chunked(&format!("1\r\nx\r\n0\r\nA: b\r\nc: d\r\n\r\n{next}")), "POST / [x]; GET /2 []; idle"),
        agrees(chunked("00000003\r\nabc\r\n0\r\n\r\n"), "POST / [abc]; idle"),
        agrees(chunked("3\r\nab"), "POST / [ab]; body cut"),
        agrees(chunked("3\r\nabc\r\n"), "POST / [abc]; body cut"),
        agrees(chunked("3\r\nabc\r\n0\r\n"), "POST / [abc]; body cut"),
        agrees(chunked("x\r\n"), "POST / []; body faulty"),
        agrees(chunked("\r\n"), "POST / []; body faulty"),
        agrees(chunked("-1\r\nx\r\n0\r\n\r\n"), "POST / []; body faulty"),
        agrees(chunked("11111111111111111\r\nx"), "POST / []; body faulty"),
        agrees(chunked("1\nx\n0\n\n"), "POST / []; body faulty"),
        agrees(chunked("1\r\nxy\r\n0\r\n\r\n"), "POST / [x]; body faulty"),
        agrees(chunked("1\r\nx0\r\n\r\n"), "POST / [x]; body faulty"),
        agrees(chunked("1;a\nx\r\n0\r\n\r\n"), "POST / []; body faulty"),
        agrees(chunked("0\r\nGET /smuggled HTTP/1.1\r\n\r\n"), "POST / []; body faulty"),
        differs(
            chunked("1 \r\nx\r\n0\r\n\r\n"),
            "POST / []; body faulty",
            "POST / [x]; idle",
            "RFC 9112 7.1.1 has whitespace before an extension alone; readers disagree",
        ),
        agrees(chunked(&format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(20_000))), "POST / []; body faulty"),
    ]
}

fn malformed() -> Vec<Row> {
    let get = |fields: &str| format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n");
    vec![
        differs("GET / HTTP/1.1\r\n\r\n", "refused 400", "GET / []; idle", STRICT_HOST),
        differs("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", "refused 400", "GET / []; idle", STRICT_HOST),
        differs("GET / HTTP/1.1\r\nhost: a@b\r\n\r\n", "refused 400", "GET / []; idle", STRICT_HOST),
        differs("GET / HTTP/1.1\nhost: a\n\n", "refused 400", "GET / []; idle", TWO_HEADS),
        differs(get("x: y\nz: w\r\n"), "refused 400", "GET / []; idle", TWO_HEADS),
        differs("\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", "refused 400", "GET / []; idle", TWO_HEADS),
        agrees(get("x: y\r\n folded\r\n"), "refused 400"),
        agrees(get(" x: y\r\n"), "refused 400"),
        agrees(get("x : y\r\n"), "refused 400"),
        agrees(get("x y: z\r\n"), "refused 400"),
        agrees(get(": y\r\n"), "refused 400"),
        agrees(get("no colon\r\n"), "refused 400"),
        agrees(get("x: a\0b\r\n"), "refused 400"),
        agrees(get("x: a\x07b\r\n"), "refused 400"),
        agrees(get("x: a\x7fb\r\n"), "refused 400"),
        agrees(get("x: a\rb\r\n"), "refused 400"),
        agrees("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", "refused 400"),
        agrees("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n", "refused 400"),
        agrees("GET / HTTP/1.1 \r\nhost: a\r\n\r\n", "refused 400"),
        agrees("GET /\r\n\r\n", "refused 400"),
        agrees("G@T / HTTP/1.1\r\nhost: a\r\n\r\n", "refused 400"),
        agrees("GET / HTTX/1.1\r\nhost: a\r\n\r\n", "refused 400"),
        differs("GET / HTTP/1.2\r\nhost: a\r\n\r\n", "refused 505", "refused 400", "505 names the reason"),
        differs("GET / HTTP/3.0\r\nhost: a\r\n\r\n", "refused 505", "refused 400", "505 names the reason"),
        agrees("\x16\x03\x01\x02\x00\x01", "refused 400"),
    ]
}

fn sizes() -> Vec<Row> {
    let fields = |count: usize| format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    vec![
        agrees(fields(100), "GET / []; idle"),
        agrees(fields(101), "refused 431"),
        agrees(format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)), "refused 431"),
        differs(
            format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "y".repeat(70_000)),
            "refused 431",
            "refused 414",
            "one limit for the whole head, one status for exceeding it",
        ),
    ]
}

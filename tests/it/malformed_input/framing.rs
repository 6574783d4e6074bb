//! Framing: the end of a body must be declared once and in one way, else another server on the way
//! may see another request behind it.

use super::*;

const LIMIT: usize = 65536;

fn bench() -> Bench {
    Bench::with(Setup::new().env("MAX_BODY_BYTES", LIMIT))
}

/// A request of the sample's format with these fields, and this in the place of its body.
fn framed(sample: &Sample, fields: &str, rest: &str) -> Vec<u8> {
    let path = sample.path;
    format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n{fields}\r\n{rest}").into_bytes()
}

#[test]
fn conflicting_framing_in_heads_is_refused() {
    let both = expected_error("both content-length and transfer-encoding are given");
    let twice = expected_error("content-length is given twice with different values");
    let number = expected_error("content-length is not a plain decimal number");
    let chunked = expected_error("transfer-encoding must be chunked, once and last");
    let foreign = not_implemented("the only transfer-encoding this server implements is chunked");
    let rows: &[(&str, &ExpectedError)] = &[
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n", &both),
        ("transfer-encoding: chunked\r\ncontent-length: 0\r\n", &both),
        ("content-length: 5\r\ntransfer-encoding: gzip\r\n", &both),
        ("content-length: 5\r\ntransfer-encoding: identity\r\n", &both),
        ("content-length: 5\r\ntransfer-encoding:\r\n", &both),
        ("content-length: 5\r\ncontent-length: 6\r\n", &twice),
        ("content-length: 0\r\ncontent-length: 5\r\ncontent-length: 0\r\n", &twice),
        ("content-length: 5, 5\r\n", &number),
        ("content-length: -1\r\n", &number),
        ("content-length: +5\r\n", &number),
        ("content-length: 0x5\r\n", &number),
        ("content-length: 5.0\r\n", &number),
        ("content-length: five\r\n", &number),
        ("content-length: 5 5\r\n", &number),
        ("content-length:\r\n", &number),
        ("content-length: 9223372036854775808\r\n", &number),
        ("content-length: 99999999999999999999999999\r\n", &number),
        ("content-length: 5\r\ncontent-length: x\r\n", &number),
        ("transfer-encoding: identity\r\n", &chunked),
        ("transfer-encoding: identity, chunked\r\n", &chunked),
        ("transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n", &chunked),
        ("transfer-encoding: chunked, identity\r\n", &chunked),
        ("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n", &chunked),
        ("transfer-encoding: chunked, chunked\r\n", &chunked),
        ("transfer-encoding: chunked, gzip\r\n", &chunked),
        ("transfer-encoding: xchunked\r\n", &chunked),
        ("transfer-encoding: chunked;q=1\r\n", &chunked),
        ("transfer-encoding: \"chunked\"\r\n", &chunked),
        ("transfer-encoding: \x0bchunked\r\n", &expected_error("a field value holds a control character")),
        ("transfer-encoding: , chunked\r\n", &chunked),
        ("transfer-encoding:\r\n", &chunked),
        ("transfer-encoding: gzip, chunked\r\n", &foreign),
        ("transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n", &foreign),
    ];
    let mut bench = bench();
    for (fields, expected_error) in rows {
        for sample in FORMATS {
            let request = framed(sample, fields, "5\r\nhello\r\n0\r\n\r\n");
            bench.refused(fields, &request, sample.shape(), expected_error, Then::Closed);
        }
    }
    let old = expected_error("transfer-encoding is not known to HTTP/1.0");
    let request = framed(&CHAT, "transfer-encoding: chunked\r\n", "0\r\n\r\n");
    let request = String::from_utf8(request).unwrap().replacen("HTTP/1.1", "HTTP/1.0", 1);
    bench.refused("HTTP/1.0", request.as_bytes(), Shape::OpenAi, &old, Then::Closed);
    bench.finish();
}

#[test]
fn malformed_chunks_are_refused() {
    let size = expected_error("a chunk size of the body is not a hexadecimal number of at most 16 digits");
    let end = expected_error("a chunk of the body does not end in CRLF");
    let trailer = expected_error("a trailer field is malformed");
    let rows: &[(&str, String, ExpectedError)] = &[
        ("no size", "\r\nhello\r\n".into(), size.clone()),
        ("no digit", "z\r\nhello\r\n0\r\n\r\n".into(), size.clone()),
        ("a negative size", "-5\r\nhello\r\n0\r\n\r\n".into(), size.clone()),
        ("a prefix", "0x5\r\nhello\r\n0\r\n\r\n".into(), size.clone()),
        ("space before the size", " 5\r\nhello\r\n0\r\n\r\n".into(), size.clone()),
        ("space behind the size", "5 \r\nhello\r\n0\r\n\r\n".into(), size.clone()),
        ("a size beyond 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n".into(), size.clone()),
        ("a size of many zeros", format!("{}5\r\nhello\r\n0\r\n\r\n", "0".repeat(16)), size.clone()),
        ("bare LF behind the size", "5\nhello\r\n0\r\n\r\n".into(), size.clone()),
        ("bare CR behind the size", "5\rhello\r\n0\r\n\r\n".into(), end.clone()),
        ("data longer than its size", "5\r\nhello!\r\n0\r\n\r\n".into(), end.clone()),
        ("bare LF behind the data", "5\r\nhello\n0\r\n\r\n".into(), end.clone()),
        ("no end behind the data", "5\r\nhello0\r\n\r\n".into(), end),
        (
            "LF in an extension",
            "5;a\nb\r\nhello\r\n0\r\n\r\n".into(),
            expected_error("a chunk extension holds a control character"),
        ),
        (
            "a long extension",
            format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(17 << 10)),
            expected_error("the chunk extensions of the body exceed 16 KiB"),
        ),
        (
            "many extensions",
            "1;abcdefgh\r\nx\r\n".repeat(3000),
            expected_error("the chunk extensions of the body exceed 16 KiB"),
        ),
        ("a trailer without a colon", "0\r\nnothing\r\n\r\n".into(), trailer.clone()),
        ("a folded trailer", "0\r\na: b\r\n c\r\n\r\n".into(), trailer.clone()),
        ("bare LF in a trailer", "0\r\na: b\n\r\n".into(), trailer),
        (
            "a long trailer",
            format!("0\r\na: {}\r\n\r\n", "b".repeat(9 << 10)),
            expected_error("the trailer section exceeds 8 KiB"),
        ),
    ];
    let mut bench = bench();
    for (name, body, expected_error) in rows {
        for sample in FORMATS {
            let request = framed(sample, "transfer-encoding: chunked\r\n", body);
            bench.refused(name, &request, sample.shape(), expected_error, Then::Closed);
        }
    }
    bench.finish();
}

#[test]
fn bodies_over_the_limit_are_refused() {
    let chunks = "400\r\n".to_owned() + &"x".repeat(0x400) + "\r\n";
    let rows: &[(&str, String, String)] = &[
        ("one byte more", format!("content-length: {}\r\n", LIMIT + 1), "x".repeat(LIMIT + 1)),
        ("announced alone", format!("content-length: {}\r\n", LIMIT + 1), String::new()),
        ("announced, the largest there is", "content-length: 9223372036854775807\r\n".into(), String::new()),
        ("to be asked for", format!("content-length: {}\r\nexpect: 100-continue\r\n", LIMIT + 1), String::new()),
        ("in chunks", "transfer-encoding: chunked\r\n".into(), chunks.repeat(LIMIT / 0x400 + 1)),
        (
            "in a chunk of any size",
            "transfer-encoding: chunked\r\n".into(),
            "ffffffffffffffff\r\n".to_owned() + &"x".repeat(LIMIT + 1),
        ),
    ];
    let mut bench = bench();
    for (name, fields, body) in rows {
        for sample in FORMATS {
            let request = framed(sample, fields, body);
            bench.refused(name, &request, sample.shape(), &too_large(LIMIT), Then::Closed);
        }
    }
    bench.finish();
}

/// What looks odd and is right.
#[test]
fn valid_framing_is_accepted() {
    let mut bench = bench();
    let size = format!("{:x}", CHAT.ask.len());
    let upper = size.to_uppercase();
    let (first, second) = CHAT.ask.split_at(7);
    let rows = [
        format!("{size}\r\n{}\r\n0\r\n\r\n", CHAT.ask),
        format!("000{upper};name=\"value\" ;other\r\n{}\r\n00;last\r\n\r\n", CHAT.ask),
        format!("7\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\nx-check: 1\r\n\r\n", second.len()),
    ];
    for body in rows {
        let mut client = bench.gateway.client();
        client.send(framed(&CHAT, "transfer-encoding: Chunked\r\n", &body));
        assert_eq!(client.response().status, 200, "{body}");
        bench.good += 1;
        bench.serves(client);
    }
    bench.finish();
}

//! Messages and connections of HTTP/1.1, on both sides.

use std::io::Write;

use super::*;

const PATH: &str = sample::CHAT.path;
const ASK: &str = sample::CHAT.ask;

fn ask() -> Outgoing {
    post(PATH).body(ASK)
}

#[test]
fn a_client_that_expects_a_continue_gets_one() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    let request = ask().header("Expect", "100-continue").bytes();
    let (head, body) = request.split_at(request.len() - ASK.len());
    client.send(head);
    assert_eq!(client.head().status, 100);
    client.send(body);
    let mut conn = provider.accept();
    let request = conn.request();
    assert_eq!((request.text(), request.header("expect")), (ASK, None));
    conn.send(answer::json(200, "{}"));
    assert_eq!(client.response().status, 200);

    // Who sends the body without waiting needs none.
    client.ask(&ask().header("Expect", "100-continue"));
    conn.request();
    conn.send(answer::json(200, "{}"));
    assert_eq!(client.response().status, 200);

    // A refused client gets its response before it sends the body.
    client.send(post(PATH).header("Expect", "100-continue").header("Content-Length", "1000").key("sk-wrong").bytes());
    assert_eq!(client.response().status, 401);
    client.expect_closed();
}

#[test]
fn request_bodies_in_chunks() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    let mut conn = None;
    for size in [1, 7, ASK.len()] {
        client
            .send(post(PATH).header("Transfer-Encoding", "chunked").header("Content-Type", "application/json").bytes());
        for piece in ASK.as_bytes().chunks(size) {
            client.send(answer::chunk(piece));
        }
        client.send(b"0;ext=1\r\nTrailer: dropped\r\n\r\n");
        let conn = conn.get_or_insert_with(|| provider.accept());
        let request = conn.request();
        assert_eq!((request.text(), request.header("transfer-encoding")), (ASK, None));
        conn.send(answer::json(200, "{}"));
        assert_eq!(client.response().status, 200);
    }
}

#[test]
fn encoded_request_bodies() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    let mut conn = None;
    let gzip = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = |body: &[u8]| {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |body: &[u8]| ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest);
    let rows: [(&str, Vec<u8>); 6] = [
        ("gzip", gzip(ASK.as_bytes())),
        ("deflate", deflate(ASK.as_bytes())),
        ("zstd", zstd(ASK.as_bytes())),
        ("br", brotli_stored(ASK.as_bytes())),
        ("deflate, gzip", gzip(&deflate(ASK.as_bytes()))),
        ("identity", ASK.into()),
    ];
    for (coding, body) in rows {
        client.ask(&post(PATH).header("Content-Encoding", coding).body(&body));
        let conn = conn.get_or_insert_with(|| provider.accept());
        let request = conn.request();
        assert_eq!((request.text(), request.header("content-encoding")), (ASK, None), "{coding}");
        conn.send(answer::json(200, "{}"));
        assert_eq!(client.response().status, 200);
    }
    let bomb = gzip(&vec![b' '; 65 << 20]);
    for (coding, body, status) in [
        ("gzip", &b"not gzip"[..], 400),
        ("snappy", b"{}", 415),
        ("gzip", &bomb, 413),
        ("gzip", &gzip(b"{}")[..9], 400),
    ] {
        let response = {
            client.ask(&post(PATH).header("Content-Encoding", coding).body(body));
            client.response()
        };
        assert_eq!(response.status, status, "{coding}: {}", response.text());
    }
    client.ask(&ask());
    let conn = conn.as_mut().unwrap();
    conn.request();
    conn.send(answer::json(200, "{}"));
    assert_eq!(client.response().status, 200, "the connection went on through all of it");
}

/// One uncompressed meta-block (RFC 7932, 9.2) and the empty last one.
fn brotli_stored(data: &[u8]) -> Vec<u8> {
    // WBITS 16 is `0`; ISLAST 0; MNIBBLES 4 is `00`; MLEN - 1 in 16 bits; ISUNCOMPRESSED 1; then up
    // to the byte.
    let bits = (data.len() as u32 - 1) << 4 | 1 << 20;
    [&bits.to_le_bytes()[..3], data, &[3]].concat()
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let provider = Fake::answering(|request| answer::json(200, &request.body));
    let gateway = Setup::new().provider(chat(&provider)).start();
    let mut client = gateway.client();
    let body = |n: usize| format!(r#"{{"model":"m","n":{n},"pad":"{}"}}"#, "x".repeat(n * 100));
    let requests: Vec<u8> = (0..50).flat_map(|n| post(PATH).body(body(n)).bytes()).collect();
    client.send(&requests);
    for n in 0..50 {
        assert_eq!(client.response().text(), body(n));
    }
    // In any cut, also within a head.
    let three: Vec<u8> = (0..3).flat_map(|n| post(PATH).body(body(n)).bytes()).collect();
    for piece in three.chunks(97) {
        client.send(piece);
    }
    for n in 0..3 {
        assert_eq!(client.response().text(), body(n));
    }
    assert_eq!(provider.requests().iter().filter(|request| request.connection > 0).count(), 0);
}

#[test]
fn a_hundred_requests_take_one_connection() {
    let provider = Fake::answering(|request| match request.json()["stream"].as_bool() {
        Some(true) => answer::sse(&sample::CHAT.events()),
        _ => answer::json(200, sample::CHAT.answer),
    });
    let gateway = Setup::new().provider(chat(&provider)).start();
    let mut client = gateway.client();
    for n in 0..100 {
        let sent = [sample::CHAT.ask, sample::CHAT.ask_stream][n % 2];
        assert_eq!(client.call(PATH, sent).status, 200);
    }
    let seen = provider.requests();
    assert_eq!((seen.len(), seen.iter().map(|request| request.connection).max()), (100, Some(0)));
    gateway.expect_metric("llm_proxy_upstream_connects_total", 1.0);
    assert_eq!(
        gateway.metric("llm_proxy_connections_accepted_total"),
        Some(3.0),
        "this client and two that asked for metrics"
    );
}

#[test]
fn a_client_of_http_1_0() {
    let (provider, gateway) = serving(&sample::CHAT);
    let old = |keep: &str, streams: bool| {
        let ask = if streams { post(PATH).body(sample::CHAT.ask_stream) } else { ask() };
        let text = String::from_utf8(ask.header("connection", keep).bytes()).unwrap();
        text.replacen("HTTP/1.1", "HTTP/1.0", 1)
    };
    let length = answer::json(200, sample::CHAT.answer);
    let chunked = [answer::JSON.as_bytes(), &answer::chunk(sample::CHAT.answer), b"0\r\n\r\n"].concat();
    let stream = answer::sse(&sample::CHAT.events());
    // A length that is known in time is sent, and the connection is kept; else its end is that of
    // the body.
    for (upstream, keep, stays) in [
        (&length, "keep-alive", true),
        (&length, "", false),
        (&chunked, "keep-alive", true),
        (&stream, "keep-alive", false),
        (&stream, "", false),
    ] {
        let mut client = gateway.client();
        client.send(old(keep, *upstream == stream));
        let mut conn = provider.accept();
        assert_eq!(conn.request().version, "HTTP/1.1");
        conn.send(upstream);
        conn.close();
        let response = client.response();
        assert_eq!(response.header("transfer-encoding"), None);
        assert_eq!(response.header("connection"), Some(if stays { "keep-alive" } else { "close" }));
        if stays {
            assert_eq!(client.call(PATH, "{}").status, 400);
        } else {
            client.expect_closed();
        }
    }
}

#[test]
fn an_old_client_and_an_answer_whose_length_comes_late() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    let text = String::from_utf8(ask().header("connection", "keep-alive").bytes()).unwrap();
    client.send(text.replacen("HTTP/1.1", "HTTP/1.0", 1));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::JSON);
    let (half, rest) = sample::CHAT.answer.split_at(20);
    conn.send(answer::chunk(half));
    let head = client.head();
    assert_eq!(head.header("connection"), Some("close"), "only the close tells where the body ends");
    conn.send(answer::chunk(rest));
    conn.send(answer::LAST_CHUNK);
    assert_eq!(client.rest_text(), (sample::CHAT.answer.into(), End::Whole));
}

#[test]
fn connection_close_is_honoured() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    client.ask(&ask().header("connection", "close"));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::json(200, "{}"));
    let response = client.response();
    assert_eq!(response.header("connection"), Some("close"));
    client.expect_closed();
    // That was the client's wish alone.
    let mut client = gateway.client();
    client.ask(&ask());
    conn.request();
}

#[test]
fn answers_without_a_body() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    let mut conn = None;
    // A model's answer is never without content.
    let speech = || post("/v1/audio/speech").body(r#"{"model":"m","input":"hi","voice":"v"}"#);
    let rows = [
        "HTTP/1.1 204 No Content\r\n\r\n",
        // A length that does not count.
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n",
    ];
    for answer in rows {
        client.ask(&speech());
        let conn = conn.get_or_insert_with(|| provider.accept());
        conn.request();
        conn.send(answer);
        let response = client.response();
        assert_eq!(response.body, b"", "{answer}");
        assert_eq!(response.header("content-length"), None, "{answer}");
    }
}

#[test]
fn head_requests() {
    let (_provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    for path in ["/", "/health", "/v1/models"] {
        client.ask(&get(path));
        let whole = client.response();
        client.ask(&get(path).method("HEAD"));
        let head = client.bodiless();
        assert_eq!(head.status, 200, "{path}");
        assert_eq!(head.header("content-length"), whole.header("content-length"), "{path}");
    }
    client.ask(&get(PATH).method("HEAD"));
    assert_eq!(client.bodiless().status, 405);
    client.ask(&get("/health"));
    assert_eq!(client.response().status, 200, "the connection goes on");
}

#[test]
fn interim_answers_are_skipped() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    client.ask(&ask());
    let mut conn = provider.accept();
    conn.request();
    conn.send(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
    );
    conn.send(answer::json(200, r#"{"n":1}"#));
    assert_eq!(client.response().text(), r#"{"n":1}"#);
    client.ask(&ask());
    conn.request();
    conn.send(answer::json(200, r#"{"n":2}"#));
    assert_eq!(client.response().text(), r#"{"n":2}"#);
}

#[test]
fn answers_that_end_with_their_connection() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    for head in ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\n", "HTTP/1.1 200 OK\r\nconnection: close\r\n"] {
        client.ask(&ask());
        let mut conn = provider.accept();
        conn.request();
        conn.send(format!("{head}content-type: application/json\r\n\r\n"));
        let (half, rest) = sample::CHAT.answer.split_at(20);
        conn.send(half);
        client.head();
        conn.send(rest);
        conn.close();
        assert_eq!(client.rest_text(), (sample::CHAT.answer.into(), End::Whole), "{head}");
    }
}

#[test]
fn a_connection_closed_after_a_response_is_not_reused() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    for _ in 0..3 {
        client.ask(&ask());
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::with(200, &[("connection", "close")], "{}"));
        assert_eq!(client.response().status, 200);
        conn.expect_closed();
    }
}

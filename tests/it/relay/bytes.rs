//! Bodies and streams of one format on both sides: the same bytes, at the same time.

use super::*;

const EMBEDDINGS: Sample = Sample {
    path: "/v1/embeddings",
    ask: r#"{ "input" : ["a","b"],  "model":"m-asked" }"#,
    answer: r#"{"object":"list","data":[{"index":0,"embedding":[0.1, 1e-7]}],"model":"m-asked","usage":{"prompt_tokens":2,"total_tokens":2}}"#,
    ..sample::CHAT
};

#[test]
fn whole_answers() {
    for sample in sample::ALL.iter().copied().chain([&EMBEDDINGS]) {
        let (provider, gateway) = serving(sample);
        let mut client = gateway.client();
        // Spacing, key order, escapes and unknown members pass unchanged.
        let ask = format!(" {}\r\n", sample.ask.replace(':', " :\t").replacen('{', r#"{"x-new":"\u00e9\/",  "#, 1));
        let answer = format!("\n{}\n ", sample.answer.replace(',', " ,\n").replacen('{', r#"{"n":1e400,"n":-0,"#, 1));
        let (half, rest) = answer.as_bytes().split_at(answer.len() / 2);
        let chunked = [answer::JSON.as_bytes(), &answer::chunk(half), &answer::chunk(rest), b"0\r\n\r\n"].concat();
        let mut conn = None;
        for bytes in [answer::json(200, &answer), chunked] {
            client.ask(&post(sample.path).body(&ask));
            let conn = conn.get_or_insert_with(|| provider.accept());
            let request = conn.request();
            assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", sample.path));
            assert_eq!(request.text(), ask);
            conn.send(&bytes);
            let response = client.response();
            assert_eq!((response.status, response.text()), (200, answer.as_str()), "{}", sample.path);
            assert_eq!(response.header("content-type"), Some("application/json"));
        }
    }
}

#[test]
fn statuses_and_types_that_are_no_json() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    let mut conn = None;
    let rows: &[(u16, &str, &[u8])] = &[
        (200, "audio/mpeg", b"\xff\xfb\x00\r\n\0model"),
        (200, "application/json", b"not json at all"),
        (201, "text/plain; charset=utf-8", b""),
        (202, "application/json", br#"{"queued":true}"#),
        (302, "text/html", b"<a>moved</a>"),
        (400, "application/json", br#"{"error":{"message":"bad","type":"invalid_request_error"}}"#),
        (404, "application/json", br#"{"error":{"message":"no such model"}}"#),
        (418, "text/plain", b"teapot"),
        (422, "application/json", br#"{"detail":[{"msg":"m"}]}"#),
    ];
    for (status, content_type, body) in rows {
        client.ask(&post("/v1/audio/speech").body(r#"{"model":"m","input":"hi","voice":"v"}"#));
        let conn = conn.get_or_insert_with(|| provider.accept());
        conn.request();
        conn.send(answer::typed(*status, content_type, body));
        let response = client.response();
        assert_eq!((response.status, &response.body[..]), (*status, *body));
        assert_eq!(response.header("content-type"), Some(*content_type));
    }
}

/// Ways to write the same stream.
fn spellings(events: &[&str]) -> Vec<(&'static str, String)> {
    let plain = events.concat();
    let commented = events.iter().map(|event| format!(": PROCESSING\n\n:\n{event}\n")).collect();
    let fielded = events.iter().map(|event| format!("id: 7\nretry: 10\nx: y\nz\n{event}")).collect();
    vec![
        ("crlf", plain.replace('\n', "\r\n")),
        ("cr", plain.replace('\n', "\r")),
        ("no space", plain.replace("data: ", "data:").replace("event: ", "event:")),
        ("two spaces", plain.replace("data: ", "data:  ")),
        ("several data lines", plain.replace(",\"", ",\ndata: \"")),
        ("comments and blank lines", commented),
        ("other fields", fielded),
        ("byte order mark", format!("\u{feff}{plain}")),
        ("no blank line at the end", plain.trim_end().to_owned()),
        ("no blank line but a line end", format!("{}\n", plain.trim_end())),
        ("plain", plain),
    ]
}

#[test]
fn streams_in_any_spelling_and_framing() {
    for sample in sample::ALL {
        let (provider, gateway) = serving(sample);
        let mut client = gateway.client();
        for (spelling, stream) in spellings(&sample.events()) {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n";
            let bytes = stream.as_bytes();
            let odd: Vec<u8> = bytes.chunks(7).flat_map(answer::chunk).collect();
            let chunked = [head.as_bytes(), b"transfer-encoding: chunked\r\n\r\n", &odd, b"0\r\n\r\n"].concat();
            let length = format!("{head}content-length: {}\r\n\r\n{stream}", bytes.len()).into_bytes();
            let closed = format!("{head}\r\n{stream}").into_bytes();
            for (framing, answer) in [("chunked", chunked), ("length", length), ("close", closed)] {
                let what = format!("{} {spelling} {framing}", sample.path);
                client.ask(&post(sample.path).body(sample.ask_stream));
                let mut conn = provider.accept();
                assert_eq!(conn.request().text(), sample.ask_stream, "{what}");
                conn.send(&answer);
                conn.close();
                let response = client.response();
                assert_eq!((response.status, response.text()), (200, stream.as_str()), "{what}");
                assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
                assert_eq!(response.header("cache-control"), Some("no-cache"));
            }
        }
    }
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    for sample in sample::ALL {
        let (provider, gateway) = serving(sample);
        let mut client = gateway.client();
        client.ask(&post(sample.path).body(sample.ask_stream));
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::SSE);
        for event in sample.opening {
            conn.send(answer::chunk(event));
        }
        let (first, rest) = sample.content.split_first().unwrap();
        conn.send(answer::chunk(first));
        assert_eq!(client.head().status, 200);
        assert_eq!(client.read_until(first), sample.opening.concat() + first);
        conn.send(answer::chunk(": comment\n\n"));
        assert_eq!(client.event(), ": comment\n\n");
        for event in rest {
            let (half, other) = event.split_at(event.len() / 2);
            conn.send(answer::chunk(half));
            conn.send(answer::chunk(other));
            assert_eq!(client.event(), *event);
        }
        conn.send(answer::LAST_CHUNK);
        assert_eq!(client.rest(), (Vec::new(), End::Whole));
    }
}

#[test]
fn a_carriage_return_ends_an_event_at_once() {
    let (provider, gateway) = serving(&sample::CHAT);
    for line_end in ["\r\n", "\r"] {
        let mut client = gateway.client();
        client.ask(&post("/v1/chat/completions").body(sample::CHAT.ask_stream));
        let mut conn = provider.accept();
        conn.request();
        let [first, second, ..] = sample::CHAT.content else { unreachable!() };
        let (first, second) = (first.replace('\n', line_end), second.replace('\n', line_end));
        conn.send(answer::SSE);
        conn.send(answer::chunk(&first));
        client.head();
        assert_eq!(client.read_until(&first), first);
        conn.send(answer::chunk(&second));
        assert_eq!(client.read_until(&second), second);
    }
}

#[test]
fn what_is_no_stream_of_a_model_flows_from_its_first_byte() {
    let (provider, gateway) = serving(&sample::CHAT);
    let mut client = gateway.client();
    client.ask(&post("/v1/audio/speech").body(r#"{"model":"m","input":"hi","stream_format":"sse"}"#));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    client.head();
    for event in
        ["data: {\"type\":\"speech.audio.delta\",\"audio\":\"aGk=\"}\n\n", "data: {\"type\":\"speech.audio.done\"}\n\n"]
    {
        conn.send(answer::chunk(event));
        assert_eq!(client.event(), event);
    }
    conn.send(answer::LAST_CHUNK);
    assert_eq!(client.rest(), (Vec::new(), End::Whole));
}

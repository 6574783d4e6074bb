//! Answers that break off after the client has a part of them.

use super::*;

/// Seconds that a provider may say nothing: where the test does not wait for them to pass, a slow
/// machine must not either.
fn silence(is_awaited: bool) -> f64 {
    if is_awaited { 1.0 } else { 300.0 }
}

/// [`broken_within`] a long silence.
fn broken(sample: &Sample, head: &str, fail: impl FnOnce(Conn)) -> (String, End) {
    broken_within(silence(false), sample, head, fail)
}

/// Sends the first events with content, breaks the stream by `fail`, and gives what the client got
/// behind them.
fn broken_within(seconds: f64, sample: &Sample, head: &str, fail: impl FnOnce(Conn)) -> (String, End) {
    let (first, second, setup) = pair(sample);
    let gateway = setup.env("REQUEST_TIMEOUT_SECS", seconds).start();
    let mut client = ask_stream(&gateway, sample);
    let mut conn = first.accept();
    conn.request();
    conn.send(head);
    let sent = [sample.opening, &sample.content[..1]].concat().concat();
    let chunked = head.contains("chunked");
    conn.send(if chunked { answer::chunk(&sent) } else { sent.clone().into() });
    assert_eq!(client.head().status, 200);
    assert_eq!(client.read_until(&sent), sent);
    fail(conn);
    let rest = client.rest_text();
    assert!(second.try_accept().is_none(), "nobody else may go on with an answer");
    gateway.expect_metric("llm_proxy_answers_truncated_total", 1.0);
    rest
}

#[test]
fn a_stream_that_breaks_ends_with_an_error_event_and_no_clean_end() {
    const CLOSE: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 99999\r\n\r\n";
    let half = "data: {\"type\":\"content_block_delta\",\"choices\":[{\"del";
    type Fail = Box<dyn Fn(Conn)>;
    let rows: Vec<(&str, &str, &str, Fail)> = vec![
        ("reset", answer::SSE, "before the end of its response", Box::new(Conn::reset)),
        ("close", answer::SSE, "before the end of its response", Box::new(Conn::close)),
        ("short length", LENGTH, "before the end of its response", Box::new(Conn::close)),
        ("close-delimited", CLOSE, "before the end of its response", Box::new(Conn::close)),
        (
            "half an event",
            answer::SSE,
            "before the end of its response",
            Box::new(move |mut c| c.send(answer::chunk(half))),
        ),
        (
            "half an event at the end of the body",
            answer::SSE,
            "before the end of its response",
            Box::new(move |mut c| {
                c.send([&answer::chunk(half)[..], answer::LAST_CHUNK.as_bytes()].concat());
            }),
        ),
        (
            "half an event, close-delimited",
            CLOSE,
            "before the end of its response",
            Box::new(move |mut c| c.send(half)),
        ),
        ("half a chunk", answer::SSE, "before the end of its response", Box::new(|mut c| c.send("5\r\nda"))),
        ("half a chunk size", answer::SSE, "before the end of its response", Box::new(|mut c| c.send("5"))),
        ("a chunk that is none", answer::SSE, "malformed response", Box::new(|mut c| c.send("xyz\r\n"))),
        ("a chunk longer than it says", answer::SSE, "malformed response", Box::new(|mut c| c.send("1\r\nab\r\n"))),
        ("silence", answer::SSE, "stopped sending", Box::new(|mut c| c.expect_closed())),
        (
            "half an event, then silence",
            answer::SSE,
            "stopped sending",
            Box::new(move |mut c| {
                c.send(answer::chunk(half));
                c.expect_closed();
            }),
        ),
    ];
    for sample in FORMATS {
        for (what, head, reported_text, fail) in &rows {
            let is_timeout = *reported_text == "stopped sending";
            let (text, end) = broken_within(silence(is_timeout), sample, head, fail);
            assert_eq!(end, End::Truncated, "{what}, {}: {text}", sample.path);
            let [message, kind, code] = error_event(sample, &text);
            assert!(message.contains("provider `first`") && message.contains(reported_text), "{what}: {message}");
            let expected = match (format_of(sample), is_timeout) {
                (Format::Messages, false) => ["api_error", ""],
                (Format::Messages, true) => ["timeout_error", ""],
                (_, true) => ["server_error", "upstream_timeout"],
                (_, false) if reported_text.starts_with("mal") => ["server_error", "upstream_error"],
                (_, false) => ["server_error", "upstream_stream_truncated"],
            };
            assert_eq!([kind, code], expected, "{what}");
        }
    }
}

#[test]
fn the_last_whole_event_before_a_cut_is_passed_on() {
    for sample in FORMATS {
        let last = sample.content[1].trim_end();
        let (text, end) = broken(sample, answer::SSE, |mut conn| {
            conn.send(answer::chunk(last));
            conn.close();
        });
        let (event, error) = text.split_at(last.len());
        assert_eq!((event, end), (last, End::Truncated));
        let error = error.strip_prefix("\n\n").unwrap_or_else(|| panic!("no blank line between the two: {text:?}"));
        assert!(error_event(sample, error)[0].contains("before the end of its response"));
    }
}

/// Such a body is what the provider meant to send, end mark or not: nothing is invented behind it.
#[test]
fn a_body_that_ends_as_http_demands_passes_as_it_is() {
    for sample in FORMATS {
        for last in [sample.content[1], sample.content[1].trim_end()] {
            let (text, end) = broken(sample, answer::SSE, |mut conn| {
                conn.send([&answer::chunk(last)[..], answer::LAST_CHUNK.as_bytes()].concat());
            });
            assert_eq!((text.as_str(), end), (last, End::Whole));
        }
    }
}

#[test]
fn a_body_that_ends_well_passes_as_it_is() {
    // Without an end mark: hosts exist that send none. The record calls it cut all the same.
    for sample in FORMATS {
        let last = sample.content[1];
        for last in [last, last.trim_end()] {
            let (text, end) = broken(sample, answer::SSE, |mut conn| {
                conn.send([&answer::chunk(last)[..], answer::LAST_CHUNK.as_bytes()].concat());
            });
            assert_eq!((text.as_str(), end), (last, End::Whole));
        }
    }
}

#[test]
fn a_stream_that_is_no_answer_of_a_model() {
    let event = "data: {\"type\":\"speech.audio.delta\",\"audio\":\"aGk=\"}\n\n";
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    for (what, sent, whole) in
        [("an end", answer::LAST_CHUNK, true), ("a cut", "", false), ("half an event", "5\r\ndata:\r\n", false)]
    {
        let mut client = gateway.client();
        client.ask(&post("/v1/audio/speech").body(r#"{"model":"m","input":"x","voice":"v","stream_format":"sse"}"#));
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::SSE);
        conn.send(answer::chunk(event));
        conn.send(sent);
        conn.close();
        client.head();
        assert_eq!(client.event(), event);
        let (text, end) = client.rest_text();
        if whole {
            assert_eq!((text.as_str(), end), ("", End::Whole), "{what}");
        } else {
            assert_eq!(
                (error_event(&sample::CHAT, &text)[2].as_str(), end),
                ("upstream_stream_truncated", End::Truncated),
                "{what}"
            );
        }
    }
}

#[test]
fn error_event_of_the_provider_ends_the_stream() {
    for sample in FORMATS {
        for (what, follows) in [("a clean end", answer::LAST_CHUNK), ("a cut", "")] {
            let (text, end) = broken(sample, answer::SSE, |mut conn| {
                conn.send([&answer::chunk(sample.error)[..], follows.as_bytes()].concat());
            });
            assert_eq!((text.as_str(), end), (sample.error, End::Whole), "{what}");
        }
    }
}

#[test]
fn a_cut_behind_the_end_of_the_answer_costs_nothing() {
    for sample in FORMATS {
        for (what, finish) in
            [("a close", Conn::close as fn(Conn)), ("a reset", Conn::reset), ("silence", |mut c| c.expect_closed())]
        {
            let (provider, setup) = alone(sample);
            let gateway = setup.env("REQUEST_TIMEOUT_SECS", silence(what == "silence")).start();
            let mut client = ask_stream(&gateway, sample);
            let mut conn = opened(&provider, sample);
            conn.send(answer::chunk(sample.content.concat()));
            client.head();
            let events = sample.events().concat();
            assert_eq!(client.read_until(&events), events);
            finish(conn);
            assert_eq!(client.rest_text(), (String::new(), End::Whole), "{what}, {}", sample.path);
            assert_eq!(client.call(sample.path, "{}").status, 400, "the client's connection goes on");
        }
    }
}

#[test]
fn a_whole_answer_that_breaks_is_seen_by_its_framing() {
    let length = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"id\":";
    let chunked = format!("{}5\r\n{{\"id\"\r\n", answer::JSON);
    type Row<'a> = (&'a str, &'a str, fn(Conn));
    let rows: [Row<'_>; 6] = [
        ("close", length, Conn::close),
        ("reset", length, Conn::reset),
        ("silence", length, |mut conn| conn.expect_closed()),
        ("close", &chunked, Conn::close),
        ("a chunk that is none", &chunked, |mut conn| conn.send("zz\r\n")),
        ("silence", &chunked, |mut conn| conn.expect_closed()),
    ];
    for (what, begin, fail) in rows {
        let (provider, setup) = alone(&sample::CHAT);
        let setup = setup.env("REQUEST_TIMEOUT_SECS", silence(what == "silence"));
        let gateway = setup.env("HOLD_ANSWER_BYTES", 0).start();
        let mut client = gateway.client();
        client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
        let mut conn = provider.accept();
        conn.request();
        conn.send(begin);
        client.head();
        assert!(client.read_until("{\"id\"").len() > 4);
        fail(conn);
        assert_eq!(client.rest().1, End::Truncated, "{what}");
        gateway.expect_metric("llm_proxy_answers_truncated_total", 1.0);
    }
}

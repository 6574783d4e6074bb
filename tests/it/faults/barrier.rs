//! The commit barrier: until the first content the client has seen nothing, so a failure may still
//! become another provider's answer or a true status.

use super::*;

type Fail = Box<dyn Fn(Conn)>;

/// Ways to fail after the first events, or before them, without any content.
fn failures(sample: &Sample) -> Vec<(&'static str, Fail)> {
    let error = sample.error;
    let unended = sample.error.trim_end();
    vec![
        ("an error event", Box::new(move |mut conn| conn.send(answer::chunk(error)))),
        (
            "an error event without its blank line",
            Box::new(move |mut conn| {
                conn.send(answer::chunk(unended));
                conn.send(answer::LAST_CHUNK);
            }),
        ),
        (
            "an error event in pieces",
            Box::new(move |mut conn| {
                let (half, rest) = error.split_at(error.len() / 2);
                conn.send(answer::chunk(half));
                conn.send(answer::chunk(rest));
            }),
        ),
        ("a reset", Box::new(|conn| conn.reset())),
        ("a close", Box::new(|conn| conn.close())),
        ("a close within a chunk", Box::new(|mut conn| conn.send("ff\r\ndata: "))),
        ("an end", Box::new(|mut conn| conn.send(answer::LAST_CHUNK))),
        ("a chunk that is none", Box::new(|mut conn| conn.send("nonsense\r\n"))),
        (
            "half an event, then an end",
            Box::new(|mut conn| {
                conn.send(answer::chunk("data: {\"choices\":[{\"delta\":{\"content\":\"Hel"));
                conn.send(answer::LAST_CHUNK);
            }),
        ),
    ]
}

#[test]
fn a_failure_before_content_goes_to_the_next_provider() {
    for sample in FORMATS {
        let (first, second, setup) = pair(sample);
        let gateway = setup.start();
        for (what, fail) in failures(sample) {
            let mut client = ask_stream(&gateway, sample);
            fail(opened(&first, sample));
            serves_stream(&second, sample);
            let response = client.response();
            assert_eq!(response.text(), sample.events().concat(), "{what}, {}", sample.path);
        }
    }
}

#[test]
fn a_failure_with_no_provider_left_has_a_true_status() {
    for sample in FORMATS {
        let (provider, setup) = alone(sample);
        let gateway = setup.start();
        let mut client = gateway.client();
        for (what, fail) in failures(sample) {
            client.ask(&post(sample.path).body(sample.ask_stream));
            fail(opened(&provider, sample));
            let response = client.response();
            assert_eq!((response.status, response.header("content-type")), (502, Some("application/json")), "{what}");
            let [message, kind, _] = error_of(sample, response.text());
            let named = message.contains("provider `first`") || message == "it broke";
            assert!(named, "{what}: {message}");
            assert_eq!(kind, if sample.kind == "anthropic" { "api_error" } else { "server_error" }, "{what}");
        }
    }
}

#[test]
fn what_an_error_event_says_decides_the_status() {
    let chat = |kind: &str, code: &str| {
        format!("data: {{\"error\":{{\"message\":\"m\",\"type\":\"{kind}\",\"code\":\"{code}\"}}}}\n\n")
    };
    let messages = |kind: &str| {
        format!("event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"m\"}}}}\n\n")
    };
    let failed = "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"m\"}}}\n\n";
    // (format, event, status, whether another provider may do better)
    let rows = [
        (&sample::CHAT, chat("invalid_request_error", "context_length_exceeded"), 400, false),
        (&sample::CHAT, chat("rate_limit_error", "rate_limit_exceeded"), 429, true),
        (&sample::CHAT, chat("server_error", ""), 502, true),
        (&sample::MESSAGES, messages("overloaded_error"), 529, true),
        (&sample::MESSAGES, messages("invalid_request_error"), 400, false),
        (&sample::MESSAGES, messages("rate_limit_error"), 429, true),
        (&sample::MESSAGES, messages("authentication_error"), 502, true),
        (&sample::RESPONSES, failed.to_owned(), 429, true),
    ];
    for (sample, event, status, again) in rows {
        let (first, second, setup) = pair(sample);
        let gateway = setup.start();
        let mut client = ask_stream(&gateway, sample);
        opened(&first, sample).send(answer::chunk(&event));
        if again {
            opened(&second, sample).send(answer::chunk(&event));
        }
        let response = client.response();
        assert_eq!(response.status, status, "{event}");
        let [message, ..] = error_of(sample, response.text());
        assert_eq!(message == "m", status != 502 || sample.kind == "openai", "{message}");
        assert!(second.try_accept().is_none());
    }
}

#[test]
fn silence_before_content_is_a_failure() {
    let rows = [
        (&sample::CHAT, "REQUEST_TIMEOUT_SECS", true),
        (&sample::MESSAGES, "REQUEST_TIMEOUT_SECS", true),
        (&sample::RESPONSES, "REQUEST_TIMEOUT_SECS", true),
        (&sample::CHAT, "REQUEST_TIMEOUT_SECS", false),
        (&sample::CHAT, "TTFT_TIMEOUT_SECS", true),
        (&sample::CHAT, "TTFT_TIMEOUT_SECS", false),
    ];
    for (sample, variable, opens) in rows {
        let (first, second, setup) = pair(sample);
        let gateway = setup.env(variable, 1).start();
        let mut client = ask_stream(&gateway, sample);
        // Held open all the while.
        let mut silent = if opens { opened(&first, sample) } else { first.accept() };
        if !opens {
            silent.request();
        }
        serves_stream(&second, sample);
        assert_eq!(client.response().text(), sample.events().concat(), "{variable}, {}", sample.path);
        silent.expect_closed();
    }
}

#[test]
fn silence_with_no_provider_left_is_a_timeout() {
    for sample in FORMATS {
        let (provider, setup) = alone(sample);
        let gateway = setup.env("REQUEST_TIMEOUT_SECS", 1).start();
        let mut client = ask_stream(&gateway, sample);
        let mut silent = opened(&provider, sample);
        let response = client.response();
        assert_eq!(response.status, 504);
        let [_, kind, code] = error_of(sample, response.text());
        let expected =
            if sample.kind == "anthropic" { ["timeout_error", ""] } else { ["server_error", "upstream_timeout"] };
        assert_eq!([kind, code], expected);
        silent.expect_closed();
        assert_eq!(client.call(sample.path, "{}").status, 400, "the client's connection goes on");
    }
}

#[test]
fn the_head_is_not_held_longer_than_commit_after() {
    for sample in FORMATS {
        let (first, second, setup) = pair(sample);
        let gateway = setup.env("COMMIT_AFTER_SECS", 0.2).start();
        let mut client = ask_stream(&gateway, sample);
        let mut conn = opened(&first, sample);
        let head = client.head();
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
        assert_eq!(client.event(), ": keep-alive\n\n", "what the provider sent is still held");
        let held = sample.opening.concat();
        for (n, event) in sample.content.iter().enumerate() {
            conn.send(answer::chunk(event));
            if n == 0 {
                assert_eq!(client.read_until(&held), held, "what was held, and nothing else");
            }
            assert_eq!(client.event(), *event);
        }
        conn.send(answer::LAST_CHUNK);
        assert_eq!(client.rest(), (Vec::new(), End::Whole));

        // Without anything to hold, too; and another provider goes on under the same head.
        let fail: [fn(Conn, &Sample); 2] =
            [|mut conn, sample| conn.send(answer::chunk(sample.error)), |conn, _| conn.reset()];
        let mut conn = Some(conn);
        for fail in fail {
            // The end of the response and the next client would arrive in the same turn otherwise.
            let is_idle = || gateway.metric("llm_proxy_upstream_connections{state=\"idle\"}") >= Some(1.0);
            if conn.is_some() {
                eventually("the connection is kept", is_idle);
            }
            let mut client = ask_stream(&gateway, sample);
            let mut conn = conn.take().unwrap_or_else(|| first.accept());
            conn.request();
            conn.send(answer::SSE);
            assert_eq!(client.head().status, 200);
            assert_eq!(client.event(), ": keep-alive\n\n");
            fail(conn, sample);
            serves_stream(&second, sample);
            assert_eq!(client.rest_text(), (sample.events().concat(), End::Whole));
        }
        // With none left the error is an event.
        let mut client = ask_stream(&gateway, sample);
        let mut conn = first.accept();
        conn.request();
        conn.send(answer::SSE);
        assert_eq!(client.head().status, 200);
        assert_eq!(client.event(), ": keep-alive\n\n");
        conn.reset();
        second.accept().reset();
        let (text, end) = client.rest_text();
        assert_eq!(end, End::Truncated);
        error_event(sample, &text);
    }
}

#[test]
fn the_time_to_the_first_content_counts_on_when_the_head_is_sent() {
    let sample = &sample::MESSAGES;
    let (provider, setup) = alone(sample);
    let gateway = setup.env("COMMIT_AFTER_SECS", 0).env("TTFT_TIMEOUT_SECS", 2).start();
    let mut client = ask_stream(&gateway, sample);
    let mut silent = opened(&provider, sample);
    assert_eq!(client.head().status, 200);
    assert_eq!(client.event(), ": keep-alive\n\n");
    let (text, end) = client.rest_text();
    assert_eq!((error_event(sample, &text)[1].as_str(), end), ("timeout_error", End::Truncated));
    silent.expect_closed();
}

#[test]
fn a_stream_without_content_is_no_answer_when_the_head_is_sent_either() {
    for sample in FORMATS {
        let (provider, setup) = alone(sample);
        let gateway = setup.env("COMMIT_AFTER_SECS", 0).start();
        let mut client = ask_stream(&gateway, sample);
        let mut conn = opened(&provider, sample);
        client.head();
        conn.send(answer::LAST_CHUNK);
        assert_eq!(client.event(), ": keep-alive\n\n");
        let (text, end) = client.rest_text();
        assert!(error_event(sample, &text)[0].contains("ended its stream before the end of its response"));
        assert_eq!(end, End::Truncated);
    }
}

#[test]
fn more_than_a_buffer_is_not_held() {
    let sample = &sample::CHAT;
    let (provider, setup) = alone(sample);
    let gateway = setup.start();
    let mut client = ask_stream(&gateway, sample);
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::SSE);
    let comment = format!(": {}\n\n", "x".repeat(60 << 10));
    for _ in 0..5 {
        conn.send(answer::chunk(&comment));
    }
    client.head();
    assert_eq!(client.event(), comment);
    gateway.expect_metric("llm_proxy_held_overflow_total", 1.0);
}

/// The time to the first content, and that in which another provider can be tried, begin with each
/// attempt.
#[test]
fn a_silent_provider_leaves_the_next_one_its_time() {
    for sample in FORMATS {
        let (first, second, setup) = pair(sample);
        let gateway = setup.env("TTFT_TIMEOUT_SECS", 1).start();
        let mut client = ask_stream(&gateway, sample);
        let mut silent = opened(&first, sample);
        silent.expect_closed();
        let mut conn = opened(&second, sample);
        std::thread::sleep(std::time::Duration::from_millis(300));
        sample.content.iter().for_each(|event| conn.send(answer::chunk(event)));
        conn.send(answer::LAST_CHUNK);
        assert_eq!(client.response().text(), sample.events().concat(), "{}", sample.path);
    }
}

/// Bodies under status 200 that are no answer, whole and labelled as JSON.
#[test]
fn a_whole_answer_is_checked_before_it_is_sent() {
    let rows: [(&str, Vec<u8>); 11] = [
        ("cut", [answer::JSON.as_bytes(), &answer::chunk("{\"id\":")].concat()),
        (
            "a length that is not reached",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{".into(),
        ),
        ("half", answer::json(200, "{\"choices\":[")),
        ("an error object", answer::json(200, r#"{"error":{"message":"m","type":"server_error"}}"#)),
        // Another status of success is judged by its body too.
        ("an error object under 201", answer::json(201, r#"{"error":{"message":"m","type":"server_error"}}"#)),
        ("an error object under 206", answer::json(206, r#"{"error":{"message":"m","type":"server_error"}}"#)),
        ("half under 203", answer::json(203, "{\"choices\":[")),
        ("a foreign error", answer::json(200, r#"{"detail":"m"}"#)),
        ("empty", answer::json(200, "")),
        ("a page", answer::with(200, &[("content-type", "text/html")], "<!doctype html><p>no")),
        ("words", answer::with(200, &[("content-type", "text/plain")], "upstream connect error")),
    ];
    for sample in FORMATS {
        let (first, second, setup) = pair(sample);
        let gateway = setup.start();
        for (what, bytes) in &rows {
            for ask in [sample.ask, sample.ask_stream] {
                let mut client = gateway.client();
                client.ask(&post(sample.path).body(ask));
                let mut conn = first.accept();
                conn.request();
                conn.send(bytes);
                conn.close();
                let mut conn = second.accept();
                conn.request();
                let is_stream = ask == sample.ask_stream;
                conn.send(if is_stream { answer::sse(&sample.events()) } else { answer::json(200, sample.answer) });
                conn.close();
                let expected = if is_stream { sample.events().concat() } else { sample.answer.to_owned() };
                let response = client.response();
                assert_eq!(response.text(), expected, "{what}, {}", sample.path);
                assert_eq!(response.header("x-llm-proxy-provider"), Some("second"));
                assert_eq!(response.header("x-llm-proxy-attempts"), Some("2"));
                assert_eq!(response.header("x-llm-proxy-upstream-model"), Some("m-asked"));
            }
        }
    }
}

/// An answer under a status of success other than 200 keeps that status, and its usage is recorded.
#[test]
fn another_status_of_success_is_observed_too() {
    for sample in FORMATS {
        let (provider, setup) = alone(sample);
        let gateway = setup.start();
        for status in [201, 203, 206] {
            let stream = String::from_utf8(answer::sse(&sample.events())).unwrap();
            let stream = stream.replacen("200 OK", &format!("{status} Fine"), 1);
            for (ask, bytes) in
                [(sample.ask, answer::json(status, sample.answer)), (sample.ask_stream, stream.into_bytes())]
            {
                let mut client = gateway.client();
                client.ask(&post(sample.path).body(ask));
                let mut conn = provider.accept();
                conn.request();
                conn.send(&bytes);
                conn.close();
                let response = client.response();
                assert_eq!(response.status, status, "{}", sample.path);
                let seen = response.header("x-request-id").unwrap().to_owned();
                gateway.expect_log(&[
                    &seen,
                    &format!("\"status\":{status}"),
                    "\"input_tokens\":3",
                    "\"output_tokens\":2",
                ]);
            }
        }
    }
}

/// A provider that sends a stream where a whole answer was requested, or the reverse, under any
/// label: the client gets what it requested.
#[test]
fn the_first_bytes_decide_what_a_body_is() {
    for sample in FORMATS {
        let (provider, setup) = alone(sample);
        let gateway = setup.start();
        let events = sample.events().concat();
        for label in ["application/json", "text/event-stream", "text/plain"] {
            for (ask, body) in [
                (sample.ask, sample.answer),
                (sample.ask, &*events),
                (sample.ask_stream, sample.answer),
                (sample.ask_stream, &*events),
            ] {
                let mut client = gateway.client();
                client.ask(&post(sample.path).body(ask));
                let mut conn = provider.accept();
                conn.request();
                conn.send(answer::with(200, &[("content-type", label), ("connection", "close")], body));
                conn.close();
                let response = client.response();
                let what = format!("{label}, {ask}, {body:.40}");
                let is_stream = ask == sample.ask_stream;
                let content_type = response.header("content-type").unwrap_or_default();
                assert_eq!(content_type.starts_with("text/event-stream"), is_stream, "{what}");
                assert!(
                    response.text().contains("Hello") || response.text().contains("Hel"),
                    "{what}: {}",
                    response.text()
                );
            }
        }
    }
}

/// The connection of a response that has its end mark may stay open: the client does not wait.
#[test]
fn the_end_mark_ends_the_response() {
    for sample in FORMATS {
        let (provider, setup) = alone(sample);
        let gateway = setup.start();
        let mut client = ask_stream(&gateway, sample);
        let mut conn = opened(&provider, sample);
        sample.content.iter().for_each(|event| conn.send(answer::chunk(event)));
        assert_eq!(client.response().text(), sample.events().concat(), "{}", sample.path);
        conn.expect_closed();
    }
}

#[test]
fn a_stuck_error_body_does_not_hold_the_next_provider_back() {
    let sample = &sample::CHAT;
    let (first, second, setup) = pair(sample);
    let gateway = setup.start();
    let mut client = ask_stream(&gateway, sample);
    let mut stuck = first.accept();
    stuck.request();
    stuck.send("HTTP/1.1 500 Oops\r\ncontent-length: 1000\r\n\r\n{");
    serves_stream(&second, sample);
    assert_eq!(client.response().text(), sample.events().concat());
    stuck.expect_closed();
}

/// The end mark of Chat has no content of its own, so that alone it is no response.
#[test]
fn an_end_mark_alone_goes_to_the_next_provider() {
    const DONE: &str = "data: [DONE]\n\n";
    for sample in [&sample::CHAT, &sample::COMPLETIONS] {
        let (first, second, setup) = pair(sample);
        let gateway = setup.start();
        for body in [answer::sse(&[DONE]), answer::sse(&[": hello\n\n", DONE]), answer::sse(&[DONE.trim_end()])] {
            let mut client = ask_stream(&gateway, sample);
            let mut conn = first.accept();
            conn.request();
            conn.send(body);
            serves_stream(&second, sample);
            let response = client.response();
            assert_eq!((response.status, response.text()), (200, &*sample.events().concat()), "{}", sample.path);
        }
    }
    // A response that has begun may be empty.
    let (first, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    let mut client = ask_stream(&gateway, &sample::CHAT);
    let mut conn = opened(&first, &sample::CHAT);
    conn.send(answer::chunk(DONE));
    conn.send(answer::LAST_CHUNK);
    let response = client.response();
    assert_eq!((response.status, response.text()), (200, &*[sample::CHAT.opening[0], DONE].concat()));
}

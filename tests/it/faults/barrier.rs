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
        let held = sample.opening.concat();
        assert_eq!(client.read_until(&held), held, "what was held, and nothing else");
        for event in sample.content {
            conn.send(answer::chunk(event));
            assert_eq!(client.event(), *event);
        }
        conn.send(answer::LAST_CHUNK);
        assert_eq!(client.rest(), (Vec::new(), End::Whole));

        // Without anything to hold, too; and from then on a failure is told in the stream.
        let mut client = ask_stream(&gateway, sample);
        conn.request();
        conn.send(answer::SSE);
        assert_eq!(client.head().status, 200);
        conn.send(answer::chunk(sample.error));
        conn.send(answer::LAST_CHUNK);
        assert_eq!(client.rest_text(), (sample.error.into(), End::Whole), "the provider's own words");
        let mut client = ask_stream(&gateway, sample);
        conn.request();
        conn.send(answer::SSE);
        assert_eq!(client.head().status, 200);
        conn.reset();
        let (text, end) = client.rest_text();
        assert_eq!(end, End::CappedBytes);
        assert!(error_event(sample, &text)[0].contains("before the end of its response"));
        assert!(second.try_accept().is_none());
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
    let held = sample.opening.concat();
    assert_eq!(client.read_until(&held), held);
    let (text, end) = client.rest_text();
    assert_eq!((error_event(sample, &text)[1].as_str(), end), ("timeout_error", End::CappedBytes));
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
        let held = sample.opening.concat();
        assert_eq!(client.read_until(&held), held);
        let (text, end) = client.rest_text();
        assert!(error_event(sample, &text)[0].contains("ended its stream before the end of its response"));
        assert_eq!(end, End::CappedBytes);
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
    assert_eq!(gateway.metric("llm_proxy_held_overflow_total"), Some(1.0));
}

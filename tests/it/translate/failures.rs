//! Providers of another format that fail: before content the next one is asked, after it the client
//! is told in its own words.

use super::*;

#[test]
fn failure_before_content_fails_over() {
    for (client, provider) in pairs() {
        let (first, second) = (Fake::start(), Fake::start());
        // The standby speaks the client's own format: a failover may change the way.
        let standby = ProviderRow { weight: 0, ..client.provider("second", &second) };
        let gateway = Setup::new().provider(native(provider, "first", &first)).provider(standby).start();
        let ways: [&dyn Fn(&mut Conn); 3] = [
            &|conn| conn.send(answer::json(529, provider.error.split("data: ").nth(1).unwrap())),
            &|conn| {
                conn.send(answer::SSE);
                provider.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
                conn.send(answer::chunk(provider.error));
            },
            &|conn| {
                conn.send(answer::SSE);
                provider.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
            },
        ];
        for way in ways {
            let mut asking = gateway.client();
            asking.ask(&post(client.path).body(client.ask_stream));
            let mut conn = first.accept();
            conn.request();
            way(&mut conn);
            conn.close();
            let mut conn = second.accept();
            conn.request();
            conn.send(answer::sse(&client.events()));
            assert_eq!(asking.response().text(), client.events().concat());
        }
    }
}

#[test]
fn failure_after_content_is_an_error_event() {
    for (client, provider) in pairs() {
        for cut in [false, true] {
            let (fake, gateway) = start(provider);
            let mut asking = gateway.client();
            asking.ask(&post(client.path).body(client.ask_stream));
            let mut conn = fake.accept();
            conn.request();
            conn.send(answer::SSE);
            provider.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
            conn.send(answer::chunk(provider.content[0]));
            if !cut {
                conn.send(answer::chunk(provider.error));
            }
            conn.close();
            assert_eq!(asking.head().status, 200);
            let (stream, end) = asking.rest_text();
            assert_eq!(end, End::Truncated);
            assert!(!stream.contains(end_mark(client)), "{stream}");
            let events = events(&stream);
            let last = events.last().unwrap();
            let error = match client.kind {
                "responses" => {
                    assert_eq!(last["type"], "response.failed");
                    &last["response"]["error"]
                }
                _ => &last["error"],
            };
            let message = error["message"].as_str().unwrap_or_else(|| panic!("no error in {last}"));
            assert!(message.contains(if cut { "closed the connection" } else { "it broke" }), "{message}");
            gateway.expect_metric("llm_proxy_answers_truncated_total", 1.0);
        }
    }
}

/// The provider has said why its answer ended: that is an end, whether the connection breaks behind
/// it or stays open in silence.
#[test]
fn a_finish_without_an_end_mark_is_an_end() {
    let finished = |provider: &Sample| match provider.kind {
        "anthropic" => provider.content.len() - 1,
        _ => provider.content.len() - 2,
    };
    for (client, provider) in pairs().filter(|(_, provider)| provider.kind != "responses") {
        for received in [client.ask_stream, client.ask] {
            let (fake, gateway) = start(provider);
            let mut asking = gateway.client();
            asking.ask(&post(client.path).body(received));
            let mut conn = fake.accept();
            conn.request();
            conn.send(answer::SSE);
            provider.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
            provider.content[..finished(provider)].iter().for_each(|event| conn.send(answer::chunk(event)));
            // One of them keeps its connection open, and takes its time.
            let _open = match (client.kind, provider.kind, received == client.ask_stream) {
                ("responses", "openai", true) => Some(conn),
                _ => {
                    conn.close();
                    None
                }
            };
            let response = asking.response();
            assert_eq!(response.status, 200, "{} {}: {}", client.kind, provider.kind, response.text());
            match received == client.ask_stream {
                true => {
                    assert_eq!(streamed(client, &events(response.text())), "Hello");
                    assert!(response.text().contains(end_mark(client)), "{}", response.text());
                }
                false => assert_eq!(text(client, &response.json()), "Hello"),
            }
            assert_eq!(gateway.metric("llm_proxy_answers_truncated_total"), Some(0.0));
        }
    }
}

#[test]
fn error_responses_are_translated() {
    let (fake, gateway) = start(&MESSAGES);
    let mut asking = gateway.client();
    // What Anthropic says, and the status, type and code of what an OpenAI client reads.
    #[rustfmt::skip]
    let rows = [
        (400, "invalid_request_error", "tools.0: nope", 400, "invalid_request_error", None),
        (400, "invalid_request_error", "prompt is too long: 5 > 4", 400, "invalid_request_error", Some("context_length_exceeded")),
        (401, "authentication_error", "invalid x-api-key sk-secret", 502, "server_error", Some("upstream_authentication_failed")),
        (403, "permission_error", "no sk-secret", 502, "server_error", Some("upstream_authentication_failed")),
        (404, "not_found_error", "model: m", 404, "invalid_request_error", Some("model_not_found")),
        (429, "rate_limit_error", "slow down", 429, "rate_limit_error", Some("rate_limit_exceeded")),
        (500, "api_error", "oops", 500, "server_error", Some("upstream_error")),
        (529, "overloaded_error", "Overloaded", 503, "server_error", Some("server_is_overloaded")),
    ];
    for (status, kind, message, displayed, told_kind, code) in rows {
        asking.ask(&post(CHAT.path).body(CHAT.ask));
        let mut conn = fake.accept();
        conn.request();
        let body = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#);
        let headers = [("retry-after", "7"), ("x-should-retry", "false"), ("connection", "close")];
        conn.send(answer::with(status, &headers, body));
        let response = asking.response();
        let error = &response.json()["error"];
        assert_eq!((response.status, &error["type"]), (displayed, &told_kind.into()), "{status}: {error}");
        assert_eq!(error["code"].as_str(), code, "{status}");
        assert!(!response.text().contains("sk-secret"), "{error}");
        if displayed != 502 {
            assert!(error["message"].as_str().unwrap().contains(message), "{error}");
            assert_eq!(response.header("retry-after"), Some("7"));
        }
    }
}

#[test]
fn a_page_of_html_is_never_shown() {
    let (fake, gateway) = start(&RESPONSES);
    let mut asking = gateway.client();
    asking.ask(&post(MESSAGES.path).body(MESSAGES.ask));
    let mut conn = fake.accept();
    conn.request();
    conn.send(answer::typed(503, "text/html", "<html><h1>gone</h1></html>"));
    let response = asking.response();
    let error = &response.json()["error"];
    assert_eq!((response.status, &error["type"]), (529, &"overloaded_error".into()));
    assert_eq!(error["message"], "upstream returned 503");
}

#[test]
fn refused_field_is_left_out_and_tried_once_more() {
    let (fake, gateway) = start(&RESPONSES);
    let mut asking = gateway.client();
    let body = r#"{"model":"gpt-5.2","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":5000},"messages":[{"role":"user","content":"hi"}]}"#;
    asking.ask(&post(MESSAGES.path).body(body));
    let refusal = |param: &str| {
        let error = format!(
            r#"{{"error":{{"message":"Unsupported value","type":"invalid_request_error","param":"{param}","code":"unsupported_value"}}}}"#
        );
        answer::json(400, error)
    };
    let mut conn = fake.accept();
    assert_eq!(conn.request().json()["reasoning"]["effort"], "low");
    conn.send(refusal("reasoning.effort"));
    assert_eq!(conn.request().json()["reasoning"].get("effort"), None);
    conn.send(answer::json(200, RESPONSES.answer));
    assert_eq!(asking.response().status, 200);
    gateway.expect_metric("llm_proxy_mended_requests_total", 1.0);
    // Once: the second refusal is the client's.
    asking.ask(&post(MESSAGES.path).body(body));
    for _ in 0..2 {
        conn.request();
        conn.send(refusal("reasoning.effort"));
    }
    assert_eq!(asking.response().status, 400);
}

/// Nothing comes for long: the head goes out with a sign of life, and what follows is the rest of
/// the same stream.
#[test]
fn a_waiting_client_is_kept() {
    for (client, provider) in pairs() {
        let fake = Fake::start();
        let setup = Setup::new().provider(native(provider, "p", &fake)).env("COMMIT_AFTER_SECS", 0.05);
        let gateway = setup.start();
        let mut asking = gateway.client();
        asking.ask(&post(client.path).body(client.ask_stream));
        let mut conn = fake.accept();
        conn.request();
        conn.send(answer::SSE);
        assert_eq!(asking.head().status, 200);
        let start = asking.event();
        conn.send(answer::chunk(provider.events().concat()));
        conn.send(answer::LAST_CHUNK);
        let (rest, end) = asking.rest_text();
        let stream = start + &rest;
        assert_eq!((streamed(client, &events(&stream)).as_str(), end), ("Hello", End::Whole), "{stream}");
    }
}

#[test]
fn a_client_that_leaves_ends_the_providers_work() {
    for (client, provider) in pairs() {
        let (fake, gateway) = start(provider);
        for received in [client.ask, client.ask_stream] {
            let mut asking = gateway.client();
            asking.ask(&post(client.path).body(received));
            let mut conn = fake.accept();
            conn.request();
            conn.send(answer::SSE);
            drop(asking);
            conn.expect_closed();
        }
    }
}

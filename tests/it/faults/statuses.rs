//! Error statuses of providers, and connections that can't be made.

use std::io::Write;

use super::*;

const ERROR: &str = r#"{"error":{"message":"provider says no","type":"t","code":"c"}}"#;

fn received(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
    client
}

fn answers(provider: &Fake, answer: impl AsRef<[u8]>) -> Conn {
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer);
    conn
}

#[test]
fn statuses_that_fail_over() {
    for status in [401, 402, 408, 429, 500, 502, 503, 504, 520, 529] {
        let (first, second, setup) = pair(&sample::CHAT);
        let gateway = setup.start();
        let mut client = received(&gateway);
        answers(&first, answer::json(status, ERROR));
        answers(&second, answer::json(200, sample::CHAT.answer));
        let response = client.response();
        assert_eq!((response.status, response.text()), (200, sample::CHAT.answer), "{status}");
    }
}

#[test]
fn statuses_that_reach_the_client() {
    for status in [400, 403, 409, 413, 422, 451] {
        let (first, second, setup) = pair(&sample::CHAT);
        let gateway = setup.start();
        let mut client = received(&gateway);
        answers(&first, answer::json(status, ERROR));
        let response = client.response();
        assert_eq!((response.status, response.text()), (status, ERROR));
        assert!(second.try_accept().is_none());
    }
}

/// An account without credit is the operator's business, in whichever words and format.
#[test]
fn an_account_without_credit_is_left_for_another() {
    let anthropic = r#"{"type":"error","error":{"type":"invalid_request_error",
        "message":"Your credit balance is too low to access the Anthropic API."}}"#;
    let deepseek =
        r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#;
    for (sample, status, body) in [(&sample::MESSAGES, 400, anthropic), (&sample::CHAT, 402, deepseek)] {
        for client in [&sample::CHAT, &sample::MESSAGES] {
            let (first, second, setup) = pair(sample);
            let gateway = setup.start();
            let mut asking = gateway.client();
            asking.ask(&post(client.path).body(client.ask));
            answers(&first, answer::json(status, body));
            answers(&second, answer::json(200, sample.answer));
            assert_eq!(asking.response().status, 200, "{} to {}", client.kind, sample.kind);
        }
    }
}

/// The pair serves every model: that the first one does not have this one is no answer yet.
#[test]
fn a_model_that_a_catch_all_does_not_have() {
    let no_model =
        r#"{"error":{"message":"The model `m-asked` does not exist","type":"invalid_request_error","code":null}}"#;
    for (status, body) in [(404, ERROR), (400, no_model)] {
        for sample in [&sample::CHAT, &sample::MESSAGES] {
            let (first, second, setup) = pair(sample);
            let gateway = setup.start();
            let mut client = gateway.client();
            client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
            answers(&first, answer::json(status, body));
            answers(&second, answer::json(200, sample.answer));
            assert_eq!(client.response().status, 200, "{status} of {}", sample.kind);
        }
    }
    // Nobody has it: the answer is the one of the provider whose turn it was.
    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&first, answer::json(404, no_model));
    answers(&second, answer::json(404, "{}"));
    let response = client.response();
    assert_eq!((response.status, response.text()), (404, no_model));
    // Nor does it hide what the provider that has it says.
    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&first, answer::json(429, ERROR));
    answers(&second, answer::json(404, "{}"));
    let response = client.response();
    assert_eq!((response.status, response.text()), (429, ERROR));
    // A mapping that names the model means it.
    let (first, second) = (Fake::start(), Fake::start());
    let named = |name: &str, fake: &Fake, weight| ProviderRow {
        provider_key: name.into(),
        model_mapping: r#"{"*":"m-*"}"#.into(),
        weight,
        ..chat(fake)
    };
    let gateway = Setup::new().provider(named("first", &first, 1)).provider(named("second", &second, 0)).start();
    let mut client = received(&gateway);
    answers(&first, answer::json(404, ERROR));
    let response = client.response();
    assert_eq!((response.status, response.text()), (404, ERROR));
}

#[test]
fn a_403_that_is_not_about_the_key_is_the_answer() {
    let moderated = r#"{"error":{"message":"m requires moderation: flagged","code":403,"metadata":{"reasons":["x"]}}}"#;
    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&first, answer::json(403, moderated));
    let response = client.response();
    assert_eq!((response.status, response.text()), (403, moderated));
    assert!(second.try_accept().is_none());
    // In another format the words are the same.
    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = gateway.client();
    client.ask(&post(sample::MESSAGES.path).body(sample::MESSAGES.ask));
    answers(&first, answer::json(403, moderated));
    let response = client.response();
    let [message, kind, _] = error_of(&sample::MESSAGES, response.text());
    assert_eq!((response.status, kind.as_str()), (403, "permission_error"));
    assert!(message.contains("m requires moderation: flagged"), "{message}");
    assert!(second.try_accept().is_none());
    // A page is nobody's key either.
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&provider, answer::typed(403, "text/html", "<html>blocked</html>"));
    let response = client.response();
    assert_eq!((response.status, response.text()), (403, "<html>blocked</html>"));
}

#[test]
fn x_should_retry_false_is_respected() {
    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&first, answer::with(529, &[("x-should-retry", "false"), ("content-type", "application/json")], ERROR));
    let response = client.response();
    assert_eq!((response.status, response.text(), response.header("x-should-retry")), (529, ERROR, Some("false")));
    assert!(second.try_accept().is_none());
}

#[test]
fn a_providers_own_answer_reaches_the_client() {
    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&first, answer::json(500, "{}"));
    answers(&second, answer::with(429, &[("retry-after", "17"), ("content-type", "application/problem+json")], ERROR));
    let response = client.response();
    assert_eq!((response.status, response.text()), (429, ERROR));
    assert_eq!(response.header("retry-after"), Some("17"));
    assert_eq!(response.header("content-type"), Some("application/problem+json"));
    assert_eq!(client.call(sample::CHAT.path, "{}").status, 400, "the connection goes on");
}

/// Of several accounts at their limits, the first that is free again decides when to come back.
#[test]
fn the_least_wait_of_several_providers_is_passed_on() {
    let at_limit = |fields: &[(&str, &str)]| answer::with(429, fields, ERROR);
    let rows: [(&[(&str, &str)], &[(&str, &str)], Option<&str>); 5] = [
        (&[("retry-after", "3")], &[("retry-after", "60")], Some("3")),
        (&[("retry-after", "60")], &[("retry-after", "3")], Some("3")),
        (&[("retry-after", "2")], &[("retry-after", "9"), ("retry-after-ms", "1500")], Some("9")),
        (&[("retry-after", "5")], &[], Some("5")),
        (&[], &[("retry-after", "5")], Some("5")),
    ];
    for (one, two, expected) in rows {
        let (first, second, setup) = pair(&sample::CHAT);
        let gateway = setup.start();
        let mut client = received(&gateway);
        answers(&first, at_limit(one));
        answers(&second, at_limit(two));
        let response = client.response();
        assert_eq!((response.status, response.header("retry-after")), (429, expected), "{one:?} {two:?}");
    }
}

#[test]
fn a_provider_response_is_preferred_to_a_connect_error() {
    let (first, closed) = (Fake::start(), Nobody::new());
    let second = ProviderRow { weight: 0, ..provider("second", "openai", &closed.url("")) };
    let gateway = Setup::new().provider(chat(&first)).provider(second).start();
    let mut client = received(&gateway);
    let chunked = [
        "HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\nretry-after: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        "3\r\n{\"a\r\n",
        "4\r\n\":1}\r\n",
        "0\r\n\r\n",
    ];
    answers(&first, chunked.concat());
    let response = client.response();
    assert_eq!((response.status, response.text(), response.header("retry-after")), (503, "{\"a\":1}", Some("5")));
}

#[test]
fn a_refused_key_is_never_the_clients_401() {
    for sample in FORMATS {
        for status in [401, 403] {
            let (provider, setup) = alone(sample);
            let gateway = setup.start();
            let mut client = gateway.client();
            client.ask(&post(sample.path).body(sample.ask));
            let refusal = r#"{"error":{"message":"Incorrect API key provided: pk-upst***","type":"permission_error","code":null}}"#;
            answers(&provider, answer::json(status, refusal));
            let response = client.response();
            assert_eq!(response.status, 502);
            let [message, kind, code] = error_of(sample, response.text());
            let wanted = format!("provider `first` refused its key (status {status})");
            assert!(message.contains(&wanted) && !response.text().contains("pk-"), "{message}");
            let expected = if sample.kind == "anthropic" {
                ["api_error", ""]
            } else {
                ["server_error", "upstream_authentication_failed"]
            };
            assert_eq!([kind, code], expected);
            // The log has the provider's message, without words that may be a key.
            let reported_text = |line: &String| line.contains("message: Incorrect API key provided: ***");
            eventually("it is logged", || gateway.log().iter().any(reported_text));
            assert!(!gateway.log().iter().any(|line| line.contains("pk-upst")));
        }
    }
}

#[test]
fn an_error_answer_too_long_to_keep() {
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(200 << 10));
    let (provider, setup) = alone(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&provider, answer::json(500, &long));
    let response = client.response();
    assert_eq!((response.status, response.text()), (500, long.as_str()), "of the last provider it need not be kept");

    let (first, second, setup) = pair(&sample::CHAT);
    let gateway = setup.start();
    let mut client = received(&gateway);
    answers(&first, answer::json(503, &long));
    answers(&second, "nonsense\r\n\r\n");
    let response = client.response();
    assert_eq!(response.status, 503);
    assert!(response.text().contains("provider `first` responded with status 503"), "{}", response.text());
}

/// Hosts compress although nobody asks for it.
#[test]
fn an_error_that_is_encoded_is_read() {
    let gzip = |body: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    };
    let encoded = gzip(br#"{"error":{"message":"too many stops","code":"invalid_value"}}"#);
    let provider = Fake::answering(move |request| {
        let body = if request.text().contains("broken") { b"nothing that gzip writes" } else { &encoded[..] };
        answer::with(400, &[("content-type", "application/json"), ("content-encoding", "gzip")], body)
    });
    let gateway = Setup::new().provider(chat(&provider)).start();
    let mut client = gateway.client();
    for sample in [&sample::CHAT, &sample::MESSAGES, &sample::RESPONSES] {
        for (word, shown) in [("hi", "too many stops"), ("broken", "upstream returned 400")] {
            let response = client.call(sample.path, sample.ask.replace("\"hi\"", &format!("\"{word}\"")));
            assert_eq!((response.status, response.header("content-encoding")), (400, None), "{}", sample.path);
            assert!(response.text().contains(&format!("\"message\":\"{shown}\"")), "{}", response.text());
        }
    }
}

#[test]
fn a_stream_under_an_error_status_is_an_error_answer() {
    let (first, second, setup) = pair(&sample::MESSAGES);
    let gateway = setup.start();
    let mut client = ask_stream(&gateway, &sample::MESSAGES);
    answers(&first, answer::typed(529, "text/event-stream", sample::MESSAGES.error));
    serves_stream(&second, &sample::MESSAGES);
    assert_eq!(client.response().text(), sample::MESSAGES.events().concat());
}

#[test]
fn attempts_are_counted() {
    let providers: Vec<_> = (0..4).map(|_| Fake::answering(|_| answer::json(500, ERROR))).collect();
    for (most, expected) in [(1, 1), (2, 2), (9, 4)] {
        let rows =
            providers.iter().enumerate().map(|(n, fake)| ProviderRow { provider_key: format!("p{n}"), ..chat(fake) });
        let gateway = rows.fold(Setup::new(), Setup::provider).env("MAX_ATTEMPTS", most).start();
        assert_eq!(gateway.client().call(sample::CHAT.path, sample::CHAT.ask).status, 500);
        gateway.expect_metric("llm_proxy_attempts_total", f64::from(expected));
    }
}

#[test]
fn a_connection_that_is_refused() {
    let closed = Nobody::new();
    let refused = || provider("nobody", "openai", &closed.url("/v1"));
    let gateway = Setup::new().provider(refused()).start();
    let response = gateway.client().call(sample::CHAT.path, sample::CHAT.ask);
    let [message, kind, code] = error_of(&sample::CHAT, response.text());
    assert_eq!(
        (response.status, message.as_str()),
        (502, "no connection to provider `nobody`: the connection was refused")
    );
    assert_eq!([kind, code], ["server_error", "upstream_connect_failed"]);

    let standby = Fake::answering(|_| answer::json(200, "{}"));
    let gateway = Setup::new().provider(refused()).provider(ProviderRow { weight: 0, ..chat(&standby) }).start();
    assert_eq!(gateway.client().call(sample::CHAT.path, sample::CHAT.ask).status, 200);
}

#[test]
fn a_connection_that_is_not_made_in_time() {
    let full = Full::new();
    let base = full.base();
    let gateway = Setup::new().provider(provider("full", "openai", &base)).env("CONNECT_TIMEOUT_SECS", 0.3).start();
    let response = gateway.client().call(sample::CHAT.path, sample::CHAT.ask);
    let [message, kind, code] = error_of(&sample::CHAT, response.text());
    assert_eq!((response.status, message.as_str()), (504, "no connection to provider `full`: it was not made in time"));
    assert_eq!([kind, code], ["server_error", "upstream_timeout"]);
}

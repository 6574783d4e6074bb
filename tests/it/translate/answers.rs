//! Answers that come well: whole and streams, in either direction, and what is done with the
//! connections.

use super::*;

/// The event of a provider that says why its answer ends, and one with more content.
fn finish_and_more(provider: &Sample) -> (&'static str, &'static str) {
    if provider.kind == CHAT.kind {
        let finish = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
        let more = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" more\"}}]}\n\n";
        (finish, more)
    } else {
        let finish =
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
        let more = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\
                    \"delta\":{\"type\":\"text_delta\",\"text\":\" more\"}}\n\n";
        (finish, more)
    }
}

/// Content behind a finish reason belongs to the answer while the reason is held. After two seconds
/// of silence the client is told the reason, and content behind that is a fault.
#[test]
fn content_behind_a_finish_reason() {
    for (client, provider) in [(&MESSAGES, &CHAT), (&RESPONSES, &CHAT), (&CHAT, &MESSAGES), (&RESPONSES, &MESSAGES)] {
        let (finish, more) = finish_and_more(provider);
        for silent in [false, true] {
            // Only Chat says the reason in an event of its own, before the end.
            if silent && client.kind != CHAT.kind {
                continue;
            }
            let (fake, gateway) = start(provider);
            let mut asking = gateway.client();
            asking.ask(&post(client.path).body(client.ask_stream));
            let mut conn = fake.accept();
            conn.request();
            conn.send(answer::SSE);
            let is_end = |event: &&&str| {
                ["\"stop\"", "content_block_stop", "message_delta"].iter().any(|end| event.contains(end))
            };
            let content = provider.content.iter().take_while(|event| !is_end(event));
            provider.opening.iter().chain(content).for_each(|event| conn.send(answer::chunk(event)));
            conn.send(answer::chunk(finish));
            asking.head();
            let mut stream = String::new();
            if silent {
                // Comes once the gateway has waited.
                stream += &asking.read_until("\"finish_reason\":\"stop\"");
            }
            // In one piece: where it is a fault, the gateway closes the connection at the first
            // event.
            conn.send([&answer::chunk(more)[..], &answer::chunk(finish), answer::LAST_CHUNK.as_bytes()].concat());
            let (rest, end) = asking.rest_text();
            stream += &rest;
            let text = streamed(client, &events(&stream));
            if silent {
                assert!(!stream.contains("[DONE]") && stream.contains("the content was dropped"), "{stream}");
                assert_ne!(end, End::Whole, "{stream}");
            } else {
                assert_eq!(
                    (text.as_str(), end),
                    ("Hello more", End::Whole),
                    "{} {}: {stream}",
                    client.kind,
                    provider.kind
                );
            }
        }
    }
}

#[test]
fn whole_responses_are_translated() {
    for (client, provider) in pairs() {
        let (fake, gateway) = start(provider);
        let mut asking = gateway.client();
        asking.ask(&post(client.path).body(client.ask));
        let mut conn = fake.accept();
        let request = conn.request();
        assert_eq!(request.target, provider.path);
        assert_eq!(request.header("accept"), Some("application/json"));
        conn.send(answer::with(
            200,
            &[("content-type", "application/json"), ("request-id", "up-1"), ("openai-version", "1")],
            provider.answer,
        ));
        let response = asking.response();
        let body = response.json();
        assert_eq!(
            (response.status, text(client, &body).as_str()),
            (200, "Hello"),
            "{} {}",
            client.kind,
            provider.kind
        );
        assert_eq!(body["model"], "m-asked");
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("x-llm-proxy-upstream-request-id"), Some("up-1"));
        assert_eq!(response.header("openai-version"), None);
        gateway.expect_metric("llm_proxy_translated_requests_total", 1.0);
    }
}

/// A request, or an answer, of a structure that came before is translated as the first one was,
/// with its own texts.
#[test]
fn what_repeats_is_translated_as_what_is_new() {
    const TEXTS: [(&str, &str); 5] = [
        ("hi", "hi"),
        ("ho", "ho"),
        (r"an \u00e9 and a line\n", "an é and a line\n"),
        (r#"a \"quote\" and 世界"#, "a \"quote\" and 世界"),
        ("last", "last"),
    ];
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    for (client, provider) in pairs() {
        let (fake, gateway) = start(provider);
        let mut asking = gateway.client();
        let (mut conn, mut first, mut ids) = (None, None, Vec::new());
        for (raw, plain) in TEXTS {
            let raw = format!("\"{raw}\"");
            asking.ask(&post(client.path).body(client.ask.replace("\"hi\"", &raw)));
            let conn = conn.get_or_insert_with(|| fake.accept());
            let request = conn.request().json().to_string();
            conn.send(answer::json(200, provider.answer.replace("\"Hello\"", &raw)));
            let response = asking.response();
            let body = response.json();
            let case = format!("{} {} {plain}", client.kind, provider.kind);
            assert_eq!((response.status, text(client, &body).as_str()), (200, plain), "{case}");
            ids.push(body["id"].to_string());
            let (asked, usage) = first.get_or_insert_with(|| (request.clone(), body["usage"].clone()));
            assert_eq!(request, asked.replace("\"hi\"", &quoted(plain)), "{case}");
            assert_eq!(body["usage"], *usage, "{case}");
        }
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), TEXTS.len(), "each answer has an id of its own");
        gateway.expect_metric("llm_proxy_translated_requests_total", TEXTS.len() as f64);
    }
}

#[test]
fn streams_event_by_event_and_over_one_connection() {
    for (client, provider) in pairs() {
        let (fake, gateway) = start(provider);
        let mut asking = gateway.client();
        let mut conn = None;
        for _ in 0..2 {
            asking.ask(&post(client.path).body(client.ask_stream));
            let conn = conn.get_or_insert_with(|| fake.accept());
            assert_eq!(conn.request().header("accept"), Some("text/event-stream"));
            conn.send(answer::SSE);
            provider.opening.iter().for_each(|event| conn.send(answer::chunk(event)));
            let (last, first) = provider.content.split_last().unwrap();
            first.iter().for_each(|event| conn.send(answer::chunk(event)));
            let head = asking.head();
            assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
            // The first content arrives while the provider's stream is still open.
            let start = asking.read_until("Hel");
            conn.send(answer::chunk(last));
            conn.send(answer::LAST_CHUNK);
            let (rest, end) = asking.rest_text();
            let stream = start + &rest;
            assert_eq!((streamed(client, &events(&stream)).as_str(), end), ("Hello", End::Whole), "{stream}");
            assert!(stream.contains(end_mark(client)), "{stream}");
        }
        assert!(fake.try_accept().is_none(), "the provider's connection is used again");
    }
}

/// A provider may answer whole where a stream was asked for, and the other way round.
#[test]
fn either_side_may_stream_or_not() {
    for (client, provider) in pairs() {
        let (fake, gateway) = start(provider);
        let mut asking = gateway.client();
        asking.ask(&post(client.path).body(client.ask_stream));
        let mut conn = fake.accept();
        conn.request();
        conn.send(answer::json(200, provider.answer));
        let response = asking.response();
        assert_eq!(streamed(client, &events(response.text())), "Hello", "{}", response.text());

        asking.ask(&post(client.path).body(client.ask));
        conn.request();
        conn.send(answer::sse(&provider.events()));
        assert_eq!(text(client, &asking.response().json()), "Hello");
    }
}

/// A Messages provider is asked for a stream when the answer may be long, and the client gets it
/// whole.
#[test]
fn a_long_answer_is_streamed_and_folded() {
    let (fake, gateway) = start(&MESSAGES);
    let mut asking = gateway.client();
    let body = r#"{"model":"claude-opus-4-6","max_tokens":64000,"messages":[{"role":"user","content":"hi"}]}"#;
    asking.ask(&post(CHAT.path).body(body));
    let mut conn = fake.accept();
    let request = conn.request();
    assert_eq!((&request.json()["stream"], request.header("accept")), (&true.into(), Some("text/event-stream")));
    conn.send(answer::sse(&MESSAGES.events()));
    assert_eq!(text(&CHAT, &asking.response().json()), "Hello");
}

/// The gateway ends the answer at a stop sequence that the provider does not know, and the
/// provider's work with it.
#[test]
fn a_stop_sequence_is_watched_for() {
    let (fake, gateway) = start(&RESPONSES);
    let mut asking = gateway.client();
    let body = r#"{"model":"m","stream":true,"max_tokens":9,"stop_sequences":["lo"],"messages":[{"role":"user","content":"hi"}]}"#;
    asking.ask(&post(MESSAGES.path).body(body));
    let mut conn = fake.accept();
    assert_eq!(conn.request().json().get("stop"), None);
    conn.send(answer::SSE);
    // The provider goes on; the gateway does not.
    RESPONSES.events()[..5].iter().for_each(|event| conn.send(answer::chunk(event)));
    let events = events(asking.response().text());
    assert_eq!(streamed(&MESSAGES, &events), "Hel");
    let end = &events.iter().find(|event| event["type"] == "message_delta").unwrap()["delta"];
    assert_eq!((&end["stop_reason"], &end["stop_sequence"]), (&"stop_sequence".into(), &"lo".into()));
    conn.expect_closed();
    gateway.expect_metric("llm_proxy_early_stops_total", 1.0);
}

#[test]
fn requested_usage_is_hidden_from_the_client() {
    let (fake, gateway) = start(&CHAT);
    let mut asking = gateway.client();
    let silent = r#"{"model":"m-asked","stream":true,"messages":[]}"#;
    asking.ask(&post(CHAT.path).body(silent));
    let mut conn = fake.accept();
    let request = conn.request();
    assert_eq!(request.text(), silent.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1));
    conn.send(answer::sse(&CHAT.events()));
    let without: Vec<_> = CHAT.events().into_iter().filter(|event| !event.contains("usage")).collect();
    assert_eq!(asking.response().text(), without.concat());
    // Who asks sees it.
    asking.ask(&post(CHAT.path).body(CHAT.ask_stream));
    assert_eq!(conn.request().text(), CHAT.ask_stream);
    conn.send(answer::sse(&CHAT.events()));
    assert_eq!(asking.response().text(), CHAT.events().concat());
}

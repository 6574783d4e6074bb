//! The model's name: one edit in the request, and in every place of the answer that names it.

use super::*;

fn answered(gateway: &Gateway, provider: &Fake, path: &str, ask: &str) -> (Request, Response) {
    let mut client = gateway.client();
    client.ask(&post(path).body(ask));
    let mut conn = provider.accept();
    let request = conn.request();
    conn.send(answer::json(200, r#"{"id":"x","model":"m-upstream"}"#));
    (request, client.response())
}

#[test]
fn a_request_is_changed_in_one_place() {
    let (provider, gateway) = renaming(&sample::CHAT);
    let rows = [
        r#"{"model":"m-asked","messages":[]}"#,
        "{\n  \"messages\": [{\"role\":\"user\",\"content\":\"\\\"model\\\":\\\"m-asked\\\" é \\ud83d\\ude00\"}],\n  \"model\" :\t\"m-asked\"\n}\n",
        r#"{"metadata":{"model":"m-asked"},"model":"m-asked","tools":[{"model":"m-asked"}],"n":1.50}"#,
        // However it is spelled, it is the same name.
        r#"{"model":"m\u002dasked"}"#,
    ];
    for ask in rows {
        let (request, response) = answered(&gateway, &provider, "/v1/chat/completions", ask);
        let at = ask.rfind("\"model\" :").or(ask.find("\"model\":\"m-asked\",\"t")).or(ask.find("\"model\"")).unwrap();
        let (before, after) = ask.split_at(at);
        let expected =
            [before, &after.replacen("m-asked", "m-upstream", 1).replace("m\\u002dasked", "m-upstream")].concat();
        assert_eq!(request.text(), expected);
        assert_eq!(request.header("content-length"), Some(expected.len().to_string().as_str()));
        assert_eq!(response.text(), r#"{"id":"x","model":"m-asked"}"#);
    }
}

#[test]
fn a_name_that_is_not_mapped_leaves_all_bytes_alone() {
    let (provider, gateway) = serving(&sample::CHAT);
    let ask = r#"{"model":"gpt\u002d4"}"#;
    let (request, response) = answered(&gateway, &provider, "/v1/chat/completions", ask);
    assert_eq!(request.text(), ask);
    assert_eq!(response.text(), r#"{"id":"x","model":"m-upstream"}"#, "such as a dated snapshot of the name asked for");
}

#[test]
fn a_whole_answer_in_any_cut() {
    for sample in sample::ALL {
        let (provider, gateway) = renaming(sample);
        let upstream = sample.answer.replace(sample::MODEL, "m-upstream");
        let mut client = gateway.client();
        client.ask(&post(sample.path).body(sample.ask));
        let mut conn = provider.accept();
        conn.request();
        conn.send(answer::json(200, &upstream));
        let response = client.response();
        assert_eq!(response.text(), sample.answer);
        assert_eq!(response.header("content-length"), Some(sample.answer.len().to_string().as_str()));
        for cut in 1..upstream.len() {
            client.ask(&post(sample.path).body(sample.ask));
            conn.request();
            conn.send(answer::JSON);
            // In reads of their own: the head has arrived when the client has it.
            conn.send(answer::chunk(&upstream[..cut]));
            client.head();
            conn.send(answer::chunk(&upstream[cut..]));
            conn.send(answer::LAST_CHUNK);
            let (body, end) = client.rest_text();
            assert_eq!((body.as_str(), end), (sample.answer, End::Whole), "cut at {cut}");
        }
    }
}

#[test]
fn an_answer_with_a_length_that_comes_in_pieces() {
    let (provider, gateway) = renaming(&sample::CHAT);
    let upstream = sample::CHAT.answer.replace(sample::MODEL, "m-upstream");
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
    let mut conn = provider.accept();
    conn.request();
    let bytes = answer::json(200, &upstream);
    let (first, rest) = bytes.split_at(bytes.len() - 40);
    conn.send(first);
    let head = client.head();
    assert_eq!(head.header("content-length"), None, "the length is not known before the name is seen");
    conn.send(rest);
    let (body, end) = client.rest_text();
    assert_eq!((body.as_str(), end), (sample::CHAT.answer, End::Whole));
}

#[test]
fn a_name_at_the_end_of_two_megabytes() {
    let (provider, gateway) = renaming(&sample::CHAT);
    let numbers = "0.123456789,".repeat(2 << 20 >> 3);
    let data = format!(r#"{{"object":"list","data":[{{"model":"m-upstream","embedding":[{numbers}0]}}],"model":"#);
    let (upstream, expected) = (format!(r#"{data}"m-upstream"}}"#), format!(r#"{data}"m-asked"}}"#));
    let provider_answers = answer::json(200, &upstream);
    let mut client = gateway.client();
    client.ask(&post("/v1/embeddings").body(r#"{"model":"m-asked","input":"x"}"#));
    let mut conn = provider.accept();
    conn.request();
    let body = std::thread::scope(|scope| {
        scope.spawn(|| conn.send(&provider_answers));
        client.response().body
    });
    assert!(body == expected.as_bytes(), "{} bytes of {}", body.len(), expected.len());
}

#[test]
fn every_event_of_a_stream() {
    for sample in sample::ALL {
        let (provider, gateway) = renaming(sample);
        let expected = sample.events().concat();
        let upstream = expected.replace(sample::MODEL, "m-upstream");
        let unended = upstream.trim_end();
        let spaced = |text: &str| text.replace("\"model\":", "\"model\" :  ");
        let crlf = |text: &str| text.replace('\n', "\r\n");
        let rows = [
            (upstream.clone(), 1 << 20, expected.clone()),
            (upstream.clone(), 1, expected.clone()),
            (upstream.clone(), 100, expected.clone()),
            (unended.to_owned(), 33, expected.trim_end().to_owned()),
            (spaced(&upstream), 1 << 20, spaced(&expected)),
            (crlf(&upstream), 1 << 20, crlf(&expected)),
        ];
        for (upstream, size, expected) in rows {
            let mut client = gateway.client();
            client.ask(&post(sample.path).body(sample.ask_stream));
            let mut conn = provider.accept();
            assert_eq!(conn.request().json()["model"], "m-upstream");
            let pieces: Vec<_> = upstream.as_bytes().chunks(size).map(answer::chunk).collect();
            conn.send([answer::SSE.as_bytes(), &pieces.concat(), b"0\r\n\r\n"].concat());
            conn.close();
            assert_eq!(client.response().text(), expected, "{} in pieces of {size}", sample.path);
        }
    }
}

/// The names of many events are put back without reading them, whatever their texts are.
#[test]
fn every_event_of_a_long_stream() {
    const TEXTS: [&str; 6] =
        ["a", "two words", r#"\"model\":\"m-asked\""#, "", r"\u00e9\n", "\u{e9}, and more than a word"];
    for (n, sample) in sample::ALL.iter().enumerate() {
        let (provider, gateway) = renaming_with(unheld().env("REQUEST_LOG_ENABLED", n % 2), sample);
        let text = |text: &str| sample.content[0].replacen("Hello", "Hel", 1).replacen("Hel", text, 1);
        let many = (0..60).map(|n| text(TEXTS[n % 7 % TEXTS.len()]));
        let mut events: Vec<String> = sample.opening.iter().map(|event| event.to_string()).collect();
        events.extend(many.chain(sample.content.iter().map(|event| event.to_string())));
        let expected = events.concat();
        let theirs: Vec<String> =
            events.iter().map(|event| event.replace(r#""model":"m-asked""#, r#""model":"m-upstream""#)).collect();
        let bytes = theirs.concat();
        let whole: Vec<Vec<u8>> = theirs.iter().map(answer::chunk).collect();
        let sized = |size: usize| bytes.as_bytes().chunks(size).map(answer::chunk).collect::<Vec<_>>();
        for chunks in [whole, sized(1), sized(150), sized(1000), sized(1 << 20)] {
            let mut client = gateway.client();
            client.ask(&post(sample.path).body(sample.ask_stream));
            let mut conn = provider.accept();
            conn.request();
            conn.send([answer::SSE.as_bytes(), &chunks.concat(), b"0\r\n\r\n"].concat());
            conn.close();
            assert_eq!(client.response().text(), expected, "{} in {} chunks", sample.path, chunks.len());
        }
    }
}

#[test]
fn an_event_of_several_data_lines_keeps_its_meaning() {
    let (provider, gateway) = renaming(&sample::CHAT);
    let stream = sample::CHAT.events().concat().replace(sample::MODEL, "m-upstream").replace(",\"", ",\ndata: \"");
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::sse(&[stream]));
    let text = client.response().text().replace("\ndata: ", "\n").replace(",\n\"", ",\"");
    assert_eq!(
        text.replace("\n\n{", "\n\ndata: {").replace("\n[DONE]", "\ndata: [DONE]"),
        sample::CHAT.events().concat()
    );
}

#[test]
fn the_last_event_without_its_blank_line() {
    let (provider, gateway) = renaming(&sample::CHAT);
    // The last one names the model: a host that sends no `[DONE]`.
    let events = sample::CHAT.events().concat();
    let expected = events.strip_suffix("\n\ndata: [DONE]\n\n").unwrap();
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask_stream));
    let mut conn = provider.accept();
    conn.request();
    conn.send(answer::sse(&[expected.replace(sample::MODEL, "m-upstream")]));
    assert_eq!(client.response().text(), expected);
}

#[test]
fn an_encoded_answer_is_decoded() {
    let (provider, gateway) = renaming(&sample::CHAT);
    let mut client = gateway.client();
    client.ask(&post(sample::CHAT.path).body(sample::CHAT.ask));
    let mut conn = provider.accept();
    assert_eq!(conn.request().header("accept-encoding"), Some("identity"));
    let upstream = sample::CHAT.answer.replace(sample::MODEL, "m-upstream");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, upstream.as_bytes()).unwrap();
    let body = &gzip.finish().unwrap();
    conn.send(answer::with(200, &[("content-type", "application/json"), ("content-encoding", "gzip")], body));
    let response = client.response();
    assert_eq!((response.header("content-encoding"), response.text()), (None, sample::CHAT.answer));
}

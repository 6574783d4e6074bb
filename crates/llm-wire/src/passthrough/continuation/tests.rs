use super::*;
use crate::passthrough::splice::Splice;
use crate::passthrough::tap::AnyTap;
use crate::sse::Framer;

fn frames(stream: &str, mut take: impl FnMut(&Frame<'_>)) {
    let (mut framer, mut rest) = (Framer::default(), stream.as_bytes());
    while let Some(block) = framer.next(&mut rest).unwrap() {
        if let Some(frame) = &block.frame {
            take(frame);
        }
    }
}

fn streamed(format: Format, stream: &str) -> StreamedText {
    let mut streamed = StreamedText::new(format);
    frames(stream, |frame| streamed.frame(frame));
    streamed
}

/// What the client has of both streams.
fn joined(format: Format, first: &str, second: &str) -> String {
    let mut continuation = streamed(format, first).continuation().unwrap();
    let (mut tap, mut out) = (AnyTap::new(format), first.as_bytes().to_vec());
    frames(second, |frame| {
        let kind = tap.frame(frame);
        let name = frame.event.map(|name| std::str::from_utf8(name).unwrap());
        match continuation.fit(frame, kind, &mut out) {
            Fit::Drop => {}
            Fit::Keep => crate::sse::write::event(&mut out, name, frame.data),
            Fit::Edit(parts) => {
                let (mut splice, mut data) = (Splice::new(), Vec::new());
                parts.into_iter().for_each(|(at, with)| splice.replace(at, with));
                splice.apply(frame.data, &mut data);
                crate::sse::write::event(&mut out, name, &data);
            }
        }
    });
    String::from_utf8(out).unwrap()
}

fn chunk(id: &str, delta: &str) -> String {
    format!("data: {{\"id\":\"{id}\",\"choices\":[{{\"index\":0,\"delta\":{{{delta}}},\"finish_reason\":null}}]}}\n\n")
}

#[test]
fn a_chat_stream_goes_on_under_its_id() {
    let first = [chunk("a", "\"role\":\"assistant\",\"content\":\"\""), chunk("a", "\"content\":\"Hel\"")].concat();
    let second = [
        chunk("b", "\"role\":\"assistant\",\"content\":\"\""),
        chunk("b", "\"content\":\"lo\""),
        "data: {\"id\":\"b\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".to_owned(),
        "data: [DONE]\n\n".to_owned(),
    ];
    let expected = [first.clone(), second[1..].concat().replace("\"b\"", "\"a\"")].concat();
    assert_eq!(joined(Format::Chat, &first, &second.concat()), expected);
}

fn message(event: &str, data: &str) -> String {
    format!("event: {event}\ndata: {{\"type\":\"{event}\",{data}}}\n\n")
}

fn start(index: u64, kind: &str) -> String {
    message(
        "content_block_start",
        &format!("\"index\":{index},\"content_block\":{{\"type\":\"{kind}\",\"text\":\"\"}}"),
    )
}

fn text(index: u64, text: &str) -> String {
    let delta = format!("\"index\":{index},\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}");
    message("content_block_delta", &delta)
}

fn stop(index: u64) -> String {
    message("content_block_stop", &format!("\"index\":{index}"))
}

#[test]
fn the_blocks_of_a_message_are_put_behind_the_others() {
    let begin = message("message_start", "\"message\":{\"id\":\"m1\"}");
    let end = message("message_stop", "\"x\":0");
    // An open text is gone on with, and a second block follows it.
    let first = [begin.clone(), start(0, "text"), stop(0), start(1, "text"), text(1, "Hel")].concat();
    let second = [begin.clone(), start(0, "text"), text(0, "lo"), stop(0), start(1, "tool_use"), stop(1), end.clone()];
    let expected = [text(1, "lo"), stop(1), start(2, "tool_use"), stop(2), end.clone()].concat();
    assert_eq!(joined(Format::Messages, &first, &second.concat()), [first.clone(), expected].concat());
    // Something else than text ends it.
    let second = [begin.clone(), start(0, "tool_use"), stop(0), end.clone()].concat();
    let ended = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n".to_owned();
    let expected = [ended, start(2, "tool_use"), stop(2), end.clone()].concat();
    assert_eq!(joined(Format::Messages, &first, &second), [first, expected].concat());
    // Behind a text that has ended comes a new one.
    let first = [begin.clone(), start(0, "text"), text(0, "Hel"), stop(0)].concat();
    let second = [begin, start(0, "text"), text(0, "lo"), stop(0), end.clone()].concat();
    let expected = [start(1, "text"), text(1, "lo"), stop(1), end].concat();
    assert_eq!(joined(Format::Messages, &first, &second), [first, expected].concat());
}

#[test]
fn what_is_no_text_is_not_continued() {
    let rows = [
        (Format::Chat, chunk("a", "\"content\":\"x\""), true),
        (Format::Chat, chunk("a", "\"reasoning_content\":\"x\""), false),
        (Format::Chat, chunk("a", "\"content\":\"x\",\"tool_calls\":[{\"index\":0}]"), false),
        (Format::Chat, chunk("a", "\"content\":\"x\",\"tool_calls\":[]"), true),
        (Format::Chat, chunk("a", "\"refusal\":\"x\""), false),
        (Format::Chat, chunk("a", "\"content\":\"x\"").replace("null", "\"stop\""), false),
        (Format::Chat, chunk("a", "\"content\":\"x\"").replace("\"index\":0", "\"index\":1"), false),
        (Format::Messages, [start(0, "text"), text(0, "x")].concat(), true),
        (Format::Messages, [start(0, "thinking"), text(0, "x")].concat(), false),
        (Format::Messages, [start(0, "text"), text(0, "x"), stop(0), start(1, "tool_use")].concat(), false),
    ];
    for (format, stream, expected) in rows {
        assert_eq!(streamed(format, &stream).can_be_continued(), expected, "{stream}");
    }
    let long = text(0, &"x".repeat(MAX_TEXT + 1));
    assert!(!streamed(Format::Messages, &[start(0, "text"), long].concat()).can_be_continued());
}

#[test]
fn the_request_for_the_rest() {
    let continuation = streamed(Format::Chat, &chunk("a", "\"content\":\"Hel\\n\\u00e9\"")).continuation().unwrap();
    let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"} ],"stream":true}"#;
    let request = |body, method| request(Format::Chat, body, continuation.text(), method);
    let prefill = request(body, ContinuationMethod::Prefill).unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&prefill).unwrap();
    let partial = serde_json::json!({ "role": "assistant", "content": "Hel\n\u{e9}" });
    assert_eq!((&parsed["messages"][1], parsed["messages"].as_array().unwrap().len()), (&partial, 2));
    let prompt = request(body, ContinuationMethod::Prompt).unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&prompt).unwrap();
    assert_eq!((&parsed["messages"][1], &parsed["messages"][2]["role"]), (&partial, &serde_json::json!("user")));
    for body in [&br#"{"messages":[]}"#[..], br#"{"messages":"x"}"#, br#"{"prompt":"x"}"#] {
        assert_eq!(request(body, ContinuationMethod::Prompt), None);
    }
}

#[test]
fn an_answer_in_json_is_not_continued() {
    let hi = r#"[{"role":"user","content":"hi"}]"#;
    let rows = [
        (Format::Chat, "messages", r#""response_format":{"type":"json_object"}"#, false),
        (Format::Chat, "messages", r#""response_format":{"json_schema":{},"type":"json_schema"}"#, false),
        (Format::Chat, "messages", r#""response_format":{"type":"text"}"#, true),
        (Format::Chat, "messages", r#""response_format":null"#, true),
        (Format::Messages, "messages", r#""output_format":{"type":"json_schema","schema":{}}"#, false),
        (Format::Messages, "messages", r#""output_config":{"format":{"type":"json_schema"}}"#, false),
        (Format::Messages, "messages", r#""output_config":{"effort":"low"}"#, true),
        (Format::Responses, "input", r#""text":{"format":{"type":"json_schema"}}"#, false),
        (Format::Responses, "input", r#""text":{"format":{"type":"text"},"verbosity":"low"}"#, true),
    ];
    for (format, member, form, expected) in rows {
        let body = format!(r#"{{"{member}":{hi},{form}}}"#);
        let rest = request(format, body.as_bytes(), b"Hel", ContinuationMethod::Prompt);
        assert_eq!(rest.is_some(), expected, "{body}");
    }
    // A stored prompt, or the server, may have set the form: the text shows it.
    let body = format!(r#"{{"messages":{hi}}}"#);
    for (text, expected) in [(r#"{\"a\":[1,\"b"#, false), (r#"[Hel"#, true), (r#"\n {\n"#, false)] {
        let rest = request(Format::Chat, body.as_bytes(), text.as_bytes(), ContinuationMethod::Prefill);
        assert_eq!(rest.is_some(), expected, "{text}");
    }
}

#[test]
fn the_request_for_the_rest_of_a_response() {
    let partial = serde_json::json!({ "role": "assistant", "content": "Hel" });
    let hi = serde_json::json!({ "role": "user", "content": "h\u{e9}" });
    for input in [r#""h\u00e9""#, r#"[{"role":"user","content":"h\u00e9"}]"#] {
        let body = format!(r#"{{"model":"m","input": {input},"stream":true}}"#);
        let rest = request(Format::Responses, body.as_bytes(), b"Hel", ContinuationMethod::Prefill).unwrap();
        let parsed: serde_json::Value = serde_json::from_slice(&rest).unwrap();
        assert_eq!((&parsed["input"], &parsed["stream"]), (&serde_json::json!([hi, partial]), &true.into()));
    }
    assert_eq!(request(Format::Responses, br#"{"input":7}"#, b"x", ContinuationMethod::Prompt), None);
}

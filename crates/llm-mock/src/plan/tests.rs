use super::*;
use crate::timeline::Ending;
use serde_json::Value;

const TOOLS: &str = r#""tools":[{"type":"function","function":{"name":"f","parameters":{"required":["a"]}}}]"#;
const MESSAGES_TOOLS: &str = r#""tools":[{"name":"f","input_schema":{"required":["a"]}}]"#;
const RESPONSES_TOOLS: &str = r#""tools":[{"type":"function","name":"f","parameters":{"required":["a"]}}]"#;
const CUSTOM_TOOL: &str = r#""tools":[{"type":"custom","name":"f"}]"#;

fn post(path: &str, body: &str) -> (u16, Value) {
    let request = Request { method: "POST", path, headers: &[], body: body.as_bytes(), keep_alive: true };
    let got = plan(&request, &Knobs::default(), 0);
    assert_eq!(got.ending, Ending::KeepAlive);
    (got.status, serde_json::from_slice(&body_of(&got.bytes)).unwrap())
}

/// The body behind the head, freed of its chunks.
fn body_of(answer: &[u8]) -> Vec<u8> {
    let head_end = memchr::memmem::find(answer, b"\r\n\r\n").unwrap() + 4;
    let mut rest = &answer[head_end..];
    if memchr::memmem::find(&answer[..head_end], b"chunked").is_none() {
        return rest.to_vec();
    }
    let mut body = Vec::new();
    loop {
        let line = memchr::memchr(b'\r', rest).unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[line + 2..line + 2 + size]);
        assert_eq!(&rest[line + 2 + size..line + 4 + size], b"\r\n");
        rest = &rest[line + 4 + size..];
        if size == 0 {
            assert!(rest.is_empty());
            return body;
        }
    }
}

/// The events of a stream: their names and their data.
fn stream(path: &str, body: &str) -> Vec<(String, Value)> {
    let request = Request { method: "POST", path, headers: &[], body: body.as_bytes(), keep_alive: true };
    let got = plan(&request, &Knobs::default(), 0);
    assert_eq!((got.status, got.stream, got.pieces.len()), (200, true, 1));
    let text = String::from_utf8(body_of(&got.bytes)).unwrap();
    assert!(text.ends_with("\n\n"));
    let event = |event: &str| {
        let (name, data) = match event.strip_prefix("event: ") {
            Some(named) => named.split_once("\ndata: ").unwrap(),
            None => ("", event.strip_prefix("data: ").unwrap()),
        };
        let data = if data == "[DONE]" { Value::from(data) } else { serde_json::from_str(data).unwrap() };
        assert!(name.is_empty() || data["type"] == name, "{event}");
        (name.to_owned(), data)
    };
    text.trim_end().split("\n\n").map(event).collect()
}

/// `a a a b` as `a*3 b`.
fn condensed(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let runs = names.chunk_by(|a, b| a == b).map(|run| match run.len() {
        1 => run[0].clone(),
        n => format!("{}*{n}", run[0]),
    });
    runs.collect::<Vec<_>>().join(" ")
}

/// What distinguishes a chunk: the delta's member, the finish, or what it is instead of a
/// choice.
fn chunk_name(data: &Value) -> String {
    let choice = &data["choices"][0];
    if let Some(finish) = choice["finish_reason"].as_str() {
        return format!("finish:{finish}");
    }
    match choice["delta"].as_object().or(data.as_object()) {
        Some(delta) if delta.contains_key("role") => "role".to_owned(),
        Some(delta) if delta.contains_key("usage") => "usage".to_owned(),
        Some(delta) => delta.keys().next().unwrap().clone(),
        None => data.as_str().unwrap().to_owned(),
    }
}

#[test]
fn the_order_of_chat_events() {
    let check = |model: &str, rest: &str, expected: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[],"stream":true{rest}}}"#);
        let events = stream("/v1/chat/completions", &body);
        assert_eq!(condensed(events.iter().map(|(_, data)| chunk_name(data))), expected, "{body}");
        let chunks = events.iter().filter(|(_, data)| data["id"].is_string());
        assert!(chunks.clone().all(|(_, data)| data["model"] == model && data["id"] == events[0].1["id"]));
    };
    check("m", "", "role content*17 finish:stop [DONE]");
    check("m", r#","stream_options":{"include_usage":true}"#, "role content*17 finish:stop usage [DONE]");
    check("m", r#","max_tokens":2"#, "role content*2 finish:length [DONE]");
    check("m", r#","reasoning_effort":"low""#, "role reasoning_content*9 content*17 finish:stop [DONE]");
    check("m", &format!(",{TOOLS}"), "role tool_calls*4 finish:tool_calls [DONE]");
    check("mock-parallel", &format!(",{TOOLS}"), "role tool_calls*8 finish:tool_calls [DONE]");
    check("mock-refusal", "", "role refusal*9 finish:stop [DONE]");
    check("mock-error-first", "", "role error");
    check("mock-error-mid", "", "role content*9 error");
}

#[test]
fn the_order_of_completions_events() {
    let body = r#"{"model":"m","prompt":"a","stream":true,"stream_options":{"include_usage":true}}"#;
    let events = stream("/v1/completions", body);
    let texts = events.iter().filter(|(_, data)| data["choices"][0]["text"].is_string()).count();
    assert_eq!((events.len(), texts), (20, 18));
    assert_eq!((&events[18].1["usage"]["completion_tokens"], &events[19].1), (&17.into(), &"[DONE]".into()));
}

#[test]
fn the_order_of_messages_events() {
    let check = |model: &str, rest: &str, expected: &str| {
        let body = format!(r#"{{"model":"{model}","max_tokens":99,"messages":[],"stream":true{rest}}}"#);
        let events = stream("/v1/messages", &body);
        let name = |(name, data): &(String, Value)| match data["delta"]["type"].as_str() {
            Some(delta) => delta.to_owned(),
            None => name.replace("content_block_", ""),
        };
        assert_eq!(condensed(events.iter().map(name)), expected, "{body}");
        assert_eq!(events[0].1["message"]["model"], model);
    };
    check("m", "", "message_start start ping text_delta*17 stop message_delta message_stop");
    check(
        "m",
        &format!(r#","thinking":{{"type":"adaptive"}},{MESSAGES_TOOLS}"#),
        "message_start start ping thinking_delta*9 signature_delta stop start input_json_delta*4 stop message_delta message_stop",
    );
    check(
        "m",
        r#","thinking":{"type":"adaptive","display":"omitted"},"max_tokens":1"#,
        "message_start start ping signature_delta stop start text_delta stop message_delta message_stop",
    );
    check(
        "mock-parallel",
        &format!(",{MESSAGES_TOOLS}"),
        "message_start start ping input_json_delta*4 stop start input_json_delta*4 stop message_delta message_stop",
    );
    check("mock-refusal", "", "message_start message_delta message_stop");
    check("mock-error-first", "", "message_start start ping error");
    check("mock-error-mid", "", "message_start start ping text_delta*9 error");
}

#[test]
fn the_order_of_responses_events() {
    let check = |model: &str, rest: &str, expected: &str| {
        let body = format!(r#"{{"model":"{model}","input":"a","stream":true{rest}}}"#);
        let events = stream("/v1/responses", &body);
        let names = events.iter().map(|(name, _)| name.trim_start_matches("response.").to_owned());
        assert_eq!(condensed(names), expected, "{body}");
        assert!((0u64..).zip(&events).all(|(i, (_, data))| data["sequence_number"] == i), "{body}");
    };
    let message = "content_part.added output_text.delta*17 output_text.done content_part.done";
    let item = |inner: &str| format!("output_item.added {inner} output_item.done");
    let whole = |items: &str, last: &str| format!("created in_progress {items} {last}");
    check("m", "", &whole(&item(message), "completed"));
    check("mock-length", "", &whole(&item(message), "incomplete"));
    let summary = "reasoning_summary_part.added reasoning_summary_text.delta*9 reasoning_summary_text.done reasoning_summary_part.done";
    let both = format!("{} {}", item(summary), item(message));
    check("m", r#","reasoning":{"summary":"auto"}"#, &whole(&both, "completed"));
    let call = item("function_call_arguments.delta*3 function_call_arguments.done");
    check("m", &format!(",{RESPONSES_TOOLS}"), &whole(&call, "completed"));
    check("mock-parallel", &format!(",{RESPONSES_TOOLS}"), &whole(&format!("{call} {call}"), "completed"));
    let custom = item("custom_tool_call_input.delta*4 custom_tool_call_input.done");
    check("m", &format!(",{CUSTOM_TOOL}"), &whole(&custom, "completed"));
    let refusal = item("content_part.added refusal.delta*9 refusal.done content_part.done");
    check("mock-refusal", "", &whole(&refusal, "completed"));
    check("mock-error-first", "", "created in_progress output_item.added content_part.added error");
    check("mock-error-mid", "", "created in_progress output_item.added content_part.added output_text.delta*9 failed");
}

/// The two requests are of one length, so the ids agree.
#[test]
fn a_responses_stream_ends_with_the_whole_response() {
    for rest in
        ["", r#","reasoning":{"summary":"auto"}"#, RESPONSES_TOOLS, CUSTOM_TOOL, r#","tools" : [ ],"text":null"#]
    {
        let rest = if rest.starts_with(['"']) { format!(",{rest}") } else { rest.to_owned() };
        let body = |stream: &str| format!("{{\"model\":\"m\",\n\"input\":\"a\",\"stream\":{stream}{rest}}}");
        let events = stream("/v1/responses", &body("true "));
        assert_eq!(events.last().unwrap().1["response"], post("/v1/responses", &body("false")).1, "{rest}");
    }
}

#[test]
fn whole_answers() {
    let check = |path: &str, body: &str, pointer: &str, expected: Value| {
        let (status, got) = post(path, body);
        assert_eq!((status, got.pointer(pointer)), (200, Some(&expected)), "{path} {body}: {got}");
    };
    let usual: Value = "The mock upstream answers with the same words each time, so a test can tell.".into();
    let chat = "/v1/chat/completions";
    check(chat, r#"{"model":"a\"b","messages":[]}"#, "/model", "a\"b".into());
    check(chat, r#"{"model":"m","messages":[]}"#, "/choices/0/message/content", usual.clone());
    check(
        chat,
        r#"{"model":"mock-refusal","messages":[]}"#,
        "/choices/0/message/refusal",
        "I'm sorry, but I can't help.".into(),
    );
    let call = format!(r#"{{"model":"m","messages":[],"reasoning_effort":"low",{TOOLS}}}"#);
    check(chat, &call, "/choices/0/message/tool_calls/0/function/arguments", r#"{"a":"some a"}"#.into());
    check(chat, &call, "/choices/0/message/content", Value::Null);
    check(chat, &call, "/choices/0/message/reasoning_content", "Nothing to think about: the words are fixed".into());
    check(chat, &call, "/choices/0/finish_reason", "tool_calls".into());
    let messages = "/v1/messages";
    check(messages, r#"{"model":"m","max_tokens":50,"messages":[]}"#, "/content/0/text", usual.clone());
    check(messages, r#"{"model":"m","max_tokens":1,"messages":[]}"#, "/stop_reason", "max_tokens".into());
    check(messages, r#"{"model":"mock-refusal","max_tokens":1,"messages":[]}"#, "/stop_details/type", "refusal".into());
    let call =
        format!(r#"{{"model":"m","max_tokens":50,"messages":[],"thinking":{{"type":"adaptive"}},{MESSAGES_TOOLS}}}"#);
    check(messages, &call, "/content/1/input", serde_json::json!({"a": "some a"}));
    check(messages, &call, "/content/0/type", "thinking".into());
    check(messages, &call, "/usage/output_tokens_details/thinking_tokens", 9.into());
    check(
        messages,
        r#"{"model":"mock-cached","max_tokens":50,"messages":[]}"#,
        "/usage/cache_read_input_tokens",
        6.into(),
    );
    check("/v1/responses", r#"{"model":"m"}"#, "/output/0/content/0/text", usual.clone());
    check("/v1/responses", r#"{"model":"m","metadata":{"a":"$b$"}}"#, "/metadata/a", "$b$".into());
    check("/v1/completions", r#"{"model":"m","prompt":"a"}"#, "/choices/0/text", usual);
    check("/v1/messages/count_tokens", r#"{"model":"m","messages":[]}"#, "/input_tokens", 6.into());
    check("/v1/responses/input_tokens", r#"{"model":"m"}"#, "/input_tokens", 3.into());
    check("/v1/embeddings", r#"{"model":"m","input":"a"}"#, "/data/0/object", "embedding".into());
}

#[test]
fn errors() {
    let check = |method, path, headers: &[(&str, &[u8])], body: &str, status: u16, pointer: &str, expected: &str| {
        let request = Request { method, path, headers, body: body.as_bytes(), keep_alive: true };
        let got = plan(&request, &Knobs::default(), 0);
        let json: Value = serde_json::from_slice(&body_of(&got.bytes)).unwrap();
        assert_eq!(
            (got.status, json.pointer(pointer)),
            (status, Some(&expected.into())),
            "{method} {path} {body}: {json}"
        );
    };
    let chat = "/v1/chat/completions";
    let version: &[(&str, &[u8])] = &[("anthropic-version", b"2023-06-01")];
    check(
        "POST",
        chat,
        &[],
        r#"{"model":"mock-429","messages":[],"stream":true}"#,
        429,
        "/error/code",
        "rate_limit_exceeded",
    );
    check("POST", chat, &[("x-mock-status", b"401")], "{}", 401, "/error/code", "invalid_api_key");
    check("POST", chat, &[("X-Mock-Tokens", b"x")], r#"{"model":"m"}"#, 400, "/error/type", "invalid_request_error");
    check("POST", chat, &[], r#"{"model":"m"}"#, 400, "/error/param", "messages");
    check("POST", chat, &[], r#"{"model":"mock-error-mid","messages":[]}"#, 200, "/error/type", "server_error");
    check(
        "POST",
        "/v1/messages",
        &[],
        r#"{"model":"mock-529","max_tokens":1,"messages":[]}"#,
        529,
        "/error/type",
        "overloaded_error",
    );
    check("POST", "/v1/messages", &[], "{", 400, "/error/type", "invalid_request_error");
    check("GET", "/v1/messages", &[], "", 405, "/type", "error");
    check("GET", "/v1/nothing", &[], "", 404, "/error/message", "The mock has no /v1/nothing.");
    check("GET", "/v1/nothing", version, "", 404, "/error/type", "not_found_error");
    check("GET", "/v1/models", version, "", 200, "/first_id", "mock-large");
}

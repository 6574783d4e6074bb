//! What a client's body means.

use proptest::prelude::*;

use crate::error::Side;
use crate::formats::chat::request::tests::*;

fn plain(text: &Text<'_>) -> String {
    text.unescape().into_owned()
}

/// One word for each part.
fn part(part: &Part<'_>) -> String {
    match part {
        Part::Text(p) => format!("{}{}", plain(&p.text), if p.cache.is_some() { "|" } else { "" }),
        Part::Refusal(text) => format!("no:{}", plain(text)),
        Part::Image(ImagePart { src, detail, .. }) => {
            format!("image({},{})", source(src), detail.map_or("-".into(), |d| d.unescape()))
        }
        Part::File(file) => format!("file({},{})", source(&file.src), file.name.as_ref().map_or("-".into(), plain)),
        Part::Audio { format, .. } => format!("audio({})", format.unescape()),
        Part::Foreign(foreign) => format!("foreign({},{})", foreign.kind.unescape(), foreign.path),
        other => format!("{other:?}"),
    }
}

fn source(src: &Src<'_>) -> String {
    match src {
        Src::Url(url) => plain(url),
        Src::Base64 { media, data } => format!("{media}:{}", data.unescape()),
        Src::FileId { id, .. } => format!("id:{}", id.unescape()),
        Src::Text(text) => format!("text:{}", plain(text)),
        Src::Content(_) => "content".to_owned(),
    }
}

fn parts(list: &[Part<'_>]) -> String {
    list.iter().map(part).collect::<Vec<_>>().join("+")
}

/// One word for each item: its message, who speaks, what is said.
fn item(item: &Item<'_>) -> String {
    let what = match &item.kind {
        ItemKind::Message(m) => {
            let name = m.name.as_ref().map(|name| format!("({})", plain(name))).unwrap_or_default();
            format!("{:?}{name} {}", m.role, parts(&m.parts))
        }
        ItemKind::Reasoning(r) => {
            let texts: Vec<_> = r.parts.iter().map(|p| plain(&p.text)).collect();
            let seals: Vec<_> = r.opaque.iter().map(|o| format!("{:?}", o.seal)).collect();
            format!("Reasoning {} {}", texts.join("/"), seals.join(","))
        }
        ItemKind::Call(call) => {
            let signed = call.opaque.as_ref().map(|o| format!(" signed {}", plain(&o.bytes))).unwrap_or_default();
            let input = match &call.input {
                ArgText::Quoted(text) => plain(text),
                ArgText::Object(raw) => format!("object {}", String::from_utf8_lossy(raw.bytes())),
                ArgText::Free(text) => format!("free {}", plain(text)),
            };
            format!("Call {} {} {input}{signed}", plain(&call.call_id), plain(&call.name))
        }
        ItemKind::Result(result) => {
            let error = if result.is_error { " error" } else { "" };
            format!("Result {} {:?}{error} {}", plain(&result.call_id), result.kind, parts(&result.parts))
        }
        ItemKind::Foreign(foreign) => format!("Foreign {} {}", foreign.kind.unescape(), foreign.path),
    };
    format!("{} {what}", item.at)
}

fn shown(request: &Request<'_>) -> Vec<String> {
    let system = (!request.system.is_empty()).then(|| format!("system {}", parts(&request.system)));
    system.into_iter().chain(request.items.iter().map(item)).collect()
}

#[test]
fn messages_become_items() {
    let envelope = envelope(Seal::Thinking, Scope::new("p", "claude"));
    let nine_one = format!(
        r#"{{"role":"developer","content":"Be brief."}},{{"role":"user","content":"Weather in A and B?"}},
        {{"role":"assistant","content":null,"reasoning_details":[{{"type":"reasoning.text","text":"two calls","signature":"{envelope}","index":0}}],
         "tool_calls":[{{"id":"call_1","type":"function","function":{{"name":"w","arguments":"{{\"c\":\"A\"}}"}}}},{{"id":"call_2","type":"function","function":{{"name":"w","arguments":""}}}}]}},
        {{"role":"tool","tool_call_id":"call_2","content":"[tool_error] no city"}},{{"role":"tool","tool_call_id":"call_1","content":"rain"}}"#
    );
    #[rustfmt::skip]
    let rows: &[(&str, &[&str])] = &[
        // The client's side of `docs/internals/translation/examples.md`, "Chat client, Messages
        // provider".
        (&nine_one, &["system Be brief.", "1 User Weather in A and B?", "2 Reasoning two calls Thinking", r#"2 Call call_1 w {"c":"A"}"#, "2 Call call_2 w ", "3 Result call_2 Function error no city", "4 Result call_1 Function rain"]),
        // Leading system messages are the system prompt, later ones stay where they are. Blank ones
        // say nothing.
        (r#"{"role":"system","content":[{"type":"text","text":"a"},{"type":"text","text":" "}]},{"role":"developer","content":"b"},{"role":"user","content":"u","name":"Ann"},{"role":"system","content":"c"},{"role":"user","content":""}"#,
         &["system a+b", "2 User(Ann) u", "3 System c", "4 User "]),
        (r#"{"role":"user","content":[{"type":"text","text":"t","cache_control":{"type":"ephemeral"}},{"type":"image_url","image_url":{"url":"https:\/\/x\/a.png","detail":"low"}},{"type":"image_url","image_url":"data:IMAGE/PNG;base64,AAAA"},{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}},{"type":"file","file":{"file_data":"data:application/pdf;base64,JVBE","filename":"a.pdf"}},{"type":"file","file":{"file_id":"f1"}},{"type":"file","file":{"file_data":"JVBERi0xLjQK"}},{"type":"video_url","video_url":{}}]}"#,
         &["0 User t|+image(https://x/a.png,low)+image(image/png:AAAA,-)+audio(wav)+file(application/pdf:JVBE,a.pdf)+file(id:f1,-)+file(application/pdf:JVBERi0xLjQK,-)+foreign(video_url,messages.0.content.7)"]),
        // What an assistant says: reasoning, words, calls.
        (r#"{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"refusal","refusal":"r"}],"reasoning_content":"think","refusal":"no","annotations":[]},{"role":"assistant","content":""},{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"m"}]},{"type":"text","text":"b"}]},{"role":"assistant","audio":{"id":"a1"}}"#,
         &["0 Reasoning think ", "0 Assistant a+no:r+no:no", "2 Reasoning m ", "2 Assistant b", "3 Assistant foreign(audio,messages.3.audio)"]),
        (r#"{"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{"name":"p","input":"x\ny"}},{"id":"d","function":{"name":"f","arguments":{"a":1.0}},"extra_content":{"google":{"thought_signature":"S"}}},{"id":"e","type":"novel"}]},{"role":"tool","tool_call_id":"c","content":{"ok":1.0}},{"role":"tool","tool_call_id":"d","content":[{"a":1}]},{"role":"tool","tool_call_id":"d","content":[{"type":"text","text":"[tool_error] x"},{"type":"text","text":"y"}]}"#,
         &["0 Call c p free x\ny", r#"0 Call d f object {"a":1.0} signed S"#, "0 Foreign novel messages.0.tool_calls.2", r#"1 Result c Custom {"ok":1.0}"#, r#"2 Result d Function [{"a":1}]"#, "3 Result d Function error x+y"]),
        // The deprecated form: ids by position, results by name.
        (r#"{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"1"},{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"2"},{"role":"function","name":"g","content":"3"}"#,
         &["0 Call call_fn_0 f {}", "1 Result call_fn_0 Function 1", "2 Call call_fn_2 f {}", "3 Result call_fn_2 Function 2", "4 Result call_fn_4 Function 3"]),
    ];
    for (messages, expected) in rows {
        let body = with(messages);
        assert_eq!(shown(&parsed(&body).unwrap()), *expected, "{messages}");
    }
}

fn envelope(seal: Seal, scope: Scope) -> String {
    let (text, sealed) = (Text::plain("two calls"), Text::plain("native+/="));
    let mut out = Vec::new();
    Envelope { family: Family::Anthropic, scope, seal, id: Text::EMPTY, text, sealed }.write(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn errors_name_their_path() {
    #[rustfmt::skip]
    let rows = [
        (r#"{"messages":[]}"#, "model"),
        (r#"{"model":"","messages":[]}"#, "model"),
        (r#"{"model":"m"}"#, "messages"),
        (r#"{"model":"m","messages":{}}"#, "messages"),
        (r#"{"model":"m","messages":["x"]}"#, "messages.0"),
        (r#"{"model":"m","messages":[{"content":"x"}]}"#, "messages.0.role"),
        (r#"{"model":"m","messages":[{"role":"bot"}]}"#, "messages.0.role"),
        (r#"{"model":"m","messages":[{"role":"user","content":7}]}"#, "messages.0.content"),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"text":"x"}]}]}"#, "messages.0.content.0.type"),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}"#, "messages.0.content.0.text"),
        (r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}"#, "messages.0.content.0.image_url.url"),
        (r#"{"model":"m","messages":[{"role":"tool","content":"x"}]}"#, "messages.0.tool_call_id"),
        (r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f"}}]}]}"#, "messages.0.tool_calls.0.id"),
        (r#"{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"x","function":{}}]}]}"#, "messages.0.tool_calls.0.function.name"),
        (r#"{"model":"m","messages":[],"stream":"yes"}"#, "stream"),
        (r#"{"model":"m","messages":[],"temperature":"hot"}"#, "temperature"),
        (r#"{"model":"m","messages":[],"stop":[1]}"#, "stop.0"),
        (r#"{"model":"m","messages":[],"reasoning_effort":"lots"}"#, "reasoning_effort"),
        (r#"{"model":"m","messages":[],"tools":[{"type":"function"}]}"#, "tools.0"),
        (r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f","parameters":1}}]}"#, "tools.0.function.parameters"),
        (r#"{"model":"m","messages":[],"tool_choice":"maybe"}"#, "tool_choice"),
        (r#"{"model":"m","messages":[],"response_format":{"type":"json_schema"}}"#, "response_format.json_schema"),
    ];
    for (body, param) in rows {
        let error = parsed(body).unwrap_err();
        assert_eq!((error.kind.row().status, error.param.as_deref()), (400, Some(param)), "{body}");
    }
}

/// What the table says has a home does not end up among the leftovers, and what has none does.
#[test]
fn every_field_reaches_its_place() {
    let sample = |name: &str| match name {
        "messages" | "tools" | "functions" => "[]",
        "stop" => r#"["a"]"#,
        "model" | "user" | "safety_identifier" | "service_tier" | "prompt_cache_key" | "verbosity" => r#""w""#,
        "reasoning_effort" => r#""low""#,
        "tool_choice" | "function_call" => r#""auto""#,
        "stream" | "store" | "parallel_tool_calls" | "logprobs" | "enable_thinking" => "true",
        "response_format" => r#"{"type":"text"}"#,
        "metadata"
        | "logit_bias"
        | "web_search_options"
        | "stream_options"
        | "reasoning"
        | "thinking"
        | "prompt_cache_options" => "{}",
        _ => "1",
    };
    for field in FIELDS.iter().filter(|field| field.format == Format::Chat) {
        let body = format!(r#"{{"model":"m","messages":[],"{}":{}}}"#, field.name, sample(field.name));
        let request = parsed(&body).unwrap();
        let left = request.ext.find(field.name).is_some();
        assert_eq!(left, !matches!(field.rule, Rule::Home(_)), "{}", field.name);
        let null = format!(r#"{{"model":"m","messages":[],"{}":null}}"#, field.name);
        if !matches!(field.name, "model" | "messages") {
            assert!(parsed(&null).unwrap().ext.is_empty(), "{}", field.name);
        }
    }
    let body = r#"{"model":"x","model":"m","messages":[],"max_tokens":5,"max_completion_tokens":7,"novel":[1.0],"n":2,"top_logprobs":3,"stop":"END"}"#;
    let request = parsed(body).unwrap();
    assert!(request.model.eq_str("m") && request.max_tokens == Some(7) && request.sampling.n == Some(2));
    assert_eq!(request.ext.find("novel").unwrap().bytes(), b"[1.0]");
    assert!(request.sampling.stop[0].eq_str("END"));
}

#[test]
fn reasoning_controls() {
    let manual = |budget| Mode::Manual { budget };
    let rows = [
        ("", Mode::Unset, None, None),
        (r#""reasoning_effort":"high""#, Mode::Adaptive, Some(Effort::High), None),
        (r#""reasoning_effort":"none""#, Mode::Off, Some(Effort::None), None),
        (r#""reasoning":{"effort":"low","exclude":true}"#, Mode::Adaptive, Some(Effort::Low), Some(Show::Omitted)),
        (r#""reasoning":{"max_tokens":2000}"#, manual(2000), None, None),
        (r#""reasoning":{"enabled":true}"#, Mode::Adaptive, None, None),
        (r#""thinking":{"type":"enabled","budget_tokens":1024}"#, manual(1024), None, None),
        (r#""thinking":{"type":"disabled"},"reasoning_effort":"high""#, Mode::Off, Some(Effort::None), None),
        (r#""enable_thinking":true,"thinking_budget":99"#, manual(99), None, None),
        (r#""enable_thinking":false"#, Mode::Off, Some(Effort::None), None),
    ];
    for (fields, mode, effort, show) in rows {
        let comma = if fields.is_empty() { "" } else { "," };
        let body = format!(r#"{{"model":"m","messages":[]{comma}{fields}}}"#);
        assert_eq!(parsed(&body).unwrap().reasoning, Reasoning { mode, effort, show }, "{fields}");
    }
}

#[test]
fn unknown_fields_are_named() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"x","odd":1}],"strange":2},{"role":"user","content":"y","strange":3}],
        "tools":[{"type":"function","function":{"name":"f","queer":1}}]}"#;
    let mut ledger = Ledger::new(false);
    decode(RawValue::new(body.as_bytes()), &mut ledger).unwrap();
    let header = "unknown:messages.0.strange;dropped, unknown:messages.0.content.0.odd;dropped, \
                  unknown:messages.1.strange;dropped, unknown:tools.0.function.queer;dropped";
    assert_eq!(ledger.dropped_header().as_deref(), Some(header));
}

/// A message out of the words that matter, with values of any type in any place.
fn message() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        r#""x""#,
        r#""""#,
        "null",
        "1",
        "[]",
        "{}",
        "true",
        r#"[{"type":"text","text":"t"}]"#,
        r#"[{"type":"novel"}]"#,
        r#"[{"type":"image_url","image_url":{"url":"data:,"}}]"#,
        r#"[{"type":"file","file":{"file_data":"http"}}]"#,
        r#"[{"id":"a","function":{"name":"f","arguments":"{"}},{"id":"a","type":"custom","custom":{"name":"p","input":"i"}}]"#,
        r#"[{"text":"r","signature":"llmp1.an.zz"},{"data":"D"},7]"#,
        r#"{"name":"f","arguments":{}}"#,
        r#""[tool_error] ""#,
    ]);
    let key = prop::sample::select(vec![
        "content",
        "content",
        "name",
        "tool_calls",
        "tool_calls",
        "tool_call_id",
        "function_call",
        "refusal",
        "audio",
        "reasoning_content",
        "reasoning_details",
        "odd",
    ]);
    let role =
        prop::sample::select(vec!["system", "developer", "user", "assistant", "assistant", "tool", "tool", "function"]);
    (role, prop::collection::vec((key, value), 0..5)).prop_map(|(role, members)| {
        let members: String = members.iter().map(|(key, value)| format!(r#","{key}":{value}"#)).collect();
        format!(r#"{{"role":"{role}"{members}}}"#)
    })
}

/// Values for top-level fields, right and wrong.
fn field_value() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "null",
        "true",
        "-1",
        "0",
        "1e400",
        r#""x""#,
        r#""none""#,
        r#""required""#,
        "[]",
        r#"["a",""]"#,
        "{}",
        r#"[{"type":"function","function":{"name":"f"}},{"function":{"name":"f"}}]"#,
        r#"[{"type":"custom","custom":{"name":"p"}},{"type":"web_search"}]"#,
        r#"{"type":"json_schema","json_schema":{"schema":{}}}"#,
        r#"{"type":"novel"}"#,
        r#"{"type":"enabled"}"#,
        r#"{"type":"function","function":{"name":"f"}}"#,
        r#"{"effort":"low","max_tokens":1}"#,
        r#"{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Whatever a client sends is an answer or an error of the client's, and what goes on is JSON
    /// (checked in `sent_with`).
    #[test]
    fn any_body_is_read_or_refused(messages in prop::collection::vec(message(), 0..8), field in 0..FIELDS.len(), document in field_value(), at in 0..Host::ALL.len()) {
        let body = format!(r#"{{"model":"m","messages":[{}],"{}":{}}}"#, messages.join(","), FIELDS[field].name, document);
        match parsed(&body) {
            Ok(request) => {
                if let Err(error) = sent_with(&request, &context(Host::ALL[at], "some-model")) {
                    prop_assert_eq!(error.side, Side::Client);
                }
            }
            Err(error) => prop_assert!(error.side == Side::Client && error.param.is_some(), "{}", error),
        }
    }
}

use super::*;

fn read<'a>(kind: Kind, body: &'a str) -> ParsedRequest<'a> {
    ParsedRequest::read(kind, body.as_bytes()).unwrap()
}

#[test]
fn refusals() {
    let check = |kind, body: &str, param: Option<&str>| {
        assert_eq!(ParsedRequest::read(kind, body.as_bytes()).unwrap_err().param, param, "{body}");
    };
    check(Kind::Chat, "", None);
    check(Kind::Chat, "[]", None);
    check(Kind::Chat, r#"{"model":"m","messages":[}"#, None);
    check(Kind::Chat, r#"{"messages":[]}"#, Some("model"));
    check(Kind::Chat, r#"{"model":7,"messages":[]}"#, Some("model"));
    check(Kind::Chat, r#"{"model":"m"}"#, Some("messages"));
    check(Kind::Messages, r#"{"model":"m","messages":[]}"#, Some("max_tokens"));
    check(Kind::Completions, r#"{"model":"m"}"#, Some("prompt"));
    check(Kind::Embeddings, r#"{"model":"m"}"#, Some("input"));
}

#[test]
fn plain_members() {
    let req = read(
        Kind::Chat,
        r#"{"model":"a","unknown":{"model":"x"},"messages":[],"stream":true,"stream_options":{"include_usage":true},
               "max_tokens":9,"max_completion_tokens":5,"model":"b\u0041"}"#,
    );
    assert_eq!(req.model, "b\\u0041", "the last one counts, and it stays escaped");
    assert!(req.stream && req.include_usage && req.parallel && req.tools.is_empty());
    assert_eq!(req.max_tokens, Some(5));
    let req = read(Kind::Chat, r#"{"model":"a","messages":[],"stream":null,"parallel_tool_calls":false}"#);
    assert!(!req.stream && !req.include_usage && !req.parallel);
}

#[test]
fn which_tools_are_called() {
    let check = |kind, rest: &str, expected: &[&str]| {
        let body = format!(r#"{{"model":"m","max_tokens":5,{rest}}}"#);
        let names: Vec<String> = read(kind, &body).tools.into_iter().map(|t| t.name).collect();
        assert_eq!(names, expected, "{rest}");
    };
    let chat = r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]"#;
    let last = |message: &str| format!(r#""messages":[{{"role":"user","content":"x"}},{message}],{chat}"#);
    check(Kind::Chat, &last(r#"{"role":"user","content":"y"}"#), &["f", "g"]);
    check(Kind::Chat, &last(r#"{"role":"tool","tool_call_id":"c","content":"y"}"#), &[]);
    check(Kind::Chat, &format!(r#""messages":[],"tool_choice":"none",{chat}"#), &[]);
    let forced = r#""tool_choice":{"type":"function","function":{"name":"g"}}"#;
    check(Kind::Chat, &format!(r#""messages":[],{forced},{chat}"#), &["g", "f"]);

    let messages = r#""tools":[{"type":"web_search_20250305","name":"web_search"},{"name":"f","input_schema":{}},{"type":"custom","name":"g"}]"#;
    let user = |content: &str| format!(r#""messages":[{{"role":"user","content":{content}}}],{messages}"#);
    check(Kind::Messages, &user(r#""x""#), &["f", "g"]);
    check(Kind::Messages, &user(r#"[{"type":"tool_result","tool_use_id":"t"},{"type":"text","text":"x"}]"#), &[]);
    check(Kind::Messages, &format!(r#""tool_choice":{{"type":"tool","name":"g"}},{}"#, user(r#""x""#)), &["g", "f"]);
    check(Kind::Messages, &format!(r#""tool_choice":{{"type":"none"}},{}"#, user(r#""x""#)), &[]);

    let responses =
        r#""tools":[{"type":"web_search"},{"type":"custom","name":"patch"},{"type":"function","name":"f"}]"#;
    check(Kind::Responses, &format!(r#""input":"x",{responses}"#), &["patch", "f"]);
    check(Kind::Responses, &format!(r#""input":[{{"type":"function_call_output"}}],{responses}"#), &[]);
}

#[test]
fn reasoning_and_structure() {
    let check = |kind, rest: &str, shown_opaque: Option<(bool, bool)>, schema: Option<&str>| {
        let body = format!(r#"{{"model":"m","max_tokens":5,"messages":[],{rest}}}"#);
        let req = read(kind, &body);
        assert_eq!(req.reasoning.map(|r| (r.shown, r.opaque)), shown_opaque, "{rest}");
        assert_eq!(req.schema.map(|s| s.to_string()).as_deref(), schema, "{rest}");
    };
    check(Kind::Chat, r#""reasoning_effort":"low""#, Some((true, false)), None);
    check(Kind::Chat, r#""reasoning_effort":"none""#, None, None);
    check(Kind::Chat, r#""reasoning":{"effort":"high"}"#, Some((true, false)), None);
    check(Kind::Chat, r#""reasoning":{"max_tokens":2000}"#, Some((true, false)), None);
    check(Kind::Messages, r#""thinking":{"type":"disabled"}"#, None, None);
    check(Kind::Messages, r#""thinking":{"type":"adaptive"}"#, Some((true, true)), None);
    check(Kind::Messages, r#""thinking":{"type":"adaptive","display":"omitted"}"#, Some((false, true)), None);
    check(Kind::Responses, r#""reasoning":{"effort":"low"}"#, Some((false, false)), None);
    check(
        Kind::Responses,
        r#""reasoning":{"summary":"auto"},"include":["reasoning.encrypted_content"]"#,
        Some((true, true)),
        None,
    );
    let schema = r#"{"type":"object"}"#;
    let format = format!(r#"{{"type":"json_schema","schema":{schema}}}"#);
    let chat = format!(r#""response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}"#);
    check(Kind::Chat, &chat, None, Some(schema));
    check(Kind::Chat, r#""response_format":{"type":"text"}"#, None, None);
    check(Kind::Messages, &format!(r#""output_config":{{"format":{format}}}"#), None, Some(schema));
    check(Kind::Messages, &format!(r#""output_format":{format}"#), None, Some(schema));
    check(Kind::Responses, &format!(r#""text":{{"format":{format}}}"#), None, Some(schema));
}

#[test]
fn the_last_text_of_the_user() {
    let check = |kind, rest: &str, expected: &str| {
        let body = format!(r#"{{"model":"m","max_tokens":5,{rest}}}"#);
        assert_eq!(read(kind, &body).last_user_text(kind), expected, "{rest}");
    };
    let messages = r#""messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"text","text":"b\n"},{"type":"text","text":"c"}]},{"role":"assistant","content":"d"}]"#;
    check(Kind::Chat, messages, "b\nc");
    check(Kind::Messages, messages, "b\nc");
    check(
        Kind::Messages,
        r#""messages":[{"role":"user","content":"a"},{"role":"user","content":[{"type":"tool_result"}]}]"#,
        "a",
    );
    check(Kind::Responses, r#""input":"a""#, "a");
    check(Kind::Responses, r#""input":[{"role":"user","content":[{"type":"input_text","text":"a"}]}]"#, "a");
    check(Kind::Completions, r#""prompt":"a""#, "a");
    check(Kind::Chat, r#""messages":[]"#, "");
}

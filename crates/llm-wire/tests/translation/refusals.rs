//! Content at the edges of what targets take, and the words of refusals and losses.

use llm_wire::Format;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::Target;
use llm_wire::target::quirks::Host;
use serde_json::{Value, json};

use crate::support::{request, try_request, vendor};

const PDF: &str = "JVBERi0xLjQK";

fn user(format: Format, part: Value) -> Value {
    let list = if format == Format::Responses { "input" } else { "messages" };
    json!({"model": "m", "max_tokens": 9, list: [{"role": "user", "content": [part]}]})
}

#[test]
fn a_pdf_is_a_document_in_every_position() {
    let data = format!("data:application/pdf;base64,{PDF}");
    let octets = format!("data:application/octet-stream;base64,{PDF}");
    let rows = [
        (Format::Chat, json!({"type": "image_url", "image_url": {"url": data}})),
        (Format::Chat, json!({"type": "image_url", "image_url": {"url": "https://x/a.PDF?v=1"}})),
        (Format::Chat, json!({"type": "file", "file": {"file_data": octets, "filename": "a.pdf"}})),
        (Format::Responses, json!({"type": "input_image", "image_url": data})),
        (Format::Responses, json!({"type": "input_file", "file_data": octets, "filename": "a.pdf"})),
        (
            Format::Responses,
            json!({"type": "input_file", "file_data": "data:application/octet-stream;base64,AAAA",
            "filename": "a.pdf"}),
        ),
    ];
    for (from, part) in rows {
        let sent = request(from, Format::Messages, &user(from, part.clone()));
        let block = &sent["messages"][0]["content"][0];
        assert_eq!(block["type"], "document", "{part} {sent}");
        let source = &block["source"];
        assert!(source["media_type"] == "application/pdf" || source["type"] == "url", "{part} {sent}");
    }
}

#[test]
fn a_host_that_is_not_known_gets_files() {
    let part = json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": PDF}});
    let unknown = Target::new(Format::Chat, Host::Unknown, "llama", "p", &Overrides::default());
    assert!(try_request(Format::Messages, unknown, &user(Format::Messages, part.clone())).is_ok());
    let known = Target::new(Format::Chat, Host::Groq, "llama", "p", &Overrides::default());
    let error = try_request(Format::Messages, known, &user(Format::Messages, part)).unwrap_err();
    assert!(error.note.contains("capabilities") && error.note.contains("`host`"), "{}", error.note);
    assert!(error.param.is_some_and(|param| error.note.contains(&param)));
}

#[test]
fn refusals_name_place_reason_and_remedy() {
    let mcp = |approval: &str| {
        json!({"model": "m", "input": "x", "tools": [{"type": "mcp", "server_label": "s", "server_url": "https://s",
            "require_approval": approval}]})
    };
    let error = try_request(Format::Responses, vendor(Format::Messages), &mcp("always")).unwrap_err();
    assert!(error.note.contains("require_approval") && error.note.contains("tools.0"), "{}", error.note);
    assert!(try_request(Format::Responses, vendor(Format::Messages), &mcp("never")).is_ok());
    let error = try_request(Format::Responses, vendor(Format::Chat), &mcp("never")).unwrap_err();
    assert!(error.note.contains("no MCP servers"), "{}", error.note);
    let reference = json!({"model": "m", "input": [{"type": "item_reference", "id": "x"}]});
    for to in [Format::Chat, Format::Messages] {
        let error = try_request(Format::Responses, vendor(to), &reference).unwrap_err();
        assert!(error.note.contains("send the item itself"), "{}", error.note);
    }
}

#[test]
fn what_is_nested_is_named_by_its_path() {
    let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls":
        [{"id": "c", "type": "function", "cache_control": {}, "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"}],
        "tools": [{"type": "function", "function": {"name": "f", "type": "x"}}]});
    let ledger = try_request(Format::Chat, vendor(Format::Messages), &body).unwrap().ledger;
    let dropped = ledger.dropped_header().unwrap();
    for name in ["messages.1.tool_calls.0.cache_control", "tools.0.function.type"] {
        assert!(dropped.contains(&format!("unknown:{name};dropped")), "{dropped}");
    }
    let dropped = |from: Format, to: Format, body: &Value| {
        try_request(from, vendor(to), body).unwrap().ledger.dropped_header().unwrap_or_default()
    };
    let rows = [
        (
            Format::Messages,
            Format::Chat,
            json!({"max_tokens": 20, "metadata": {"user_id": "u", "team": "t"}}),
            "metadata.team",
        ),
        (Format::Chat, Format::Messages, json!({"metadata": {"user_id": "u", "team": "t"}}), "metadata.team"),
        (
            Format::Chat,
            Format::Messages,
            json!({"stream_options": {"include_usage": true, "x": 1}}),
            "stream_options.x",
        ),
        (
            Format::Chat,
            Format::Responses,
            json!({"response_format": {"type": "json_schema", "json_schema":
            {"name": "n", "schema": {"type": "object"}, "x": 1}}}),
            "response_format.json_schema.x",
        ),
        (
            Format::Messages,
            Format::Responses,
            json!({"max_tokens": 2000, "thinking":
            {"type": "enabled", "budget_tokens": 1024, "x": 1}}),
            "thinking.x",
        ),
        (
            Format::Messages,
            Format::Chat,
            json!({"max_tokens": 20, "tools": [{"name": "f", "input_schema":
            {"type": "object"}, "x": 1}], "tool_choice": {"type": "auto", "y": 1}}),
            "tools.0.x",
        ),
        (
            Format::Responses,
            Format::Chat,
            json!({"input": "x", "text": {"format": {"type": "text", "x": 1}}}),
            "text.format.x",
        ),
        (
            Format::Responses,
            Format::Messages,
            json!({"input": "x", "tools": [{"type": "function", "name": "f",
            "parameters": {}, "x": 1}]}),
            "tools.0.x",
        ),
    ];
    for (from, to, mut body, name) in rows {
        body["model"] = json!("m");
        if from != Format::Responses {
            body["messages"] = json!([{"role": "user", "content": "x"}]);
        }
        let dropped = dropped(from, to, &body);
        assert!(dropped.contains(&format!("{name};dropped")), "{from} {to} {name}: {dropped}");
    }
    // Nobody else is the user.
    let body = json!({"model": "m", "metadata": {"user_id": "u"}, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(request(Format::Chat, Format::Messages, &body)["metadata"], json!({"user_id": "u"}));
}

/// Parameters too say why, and what to do.
#[test]
fn refused_parameters_have_a_reason() {
    let rows = [
        (
            Format::Responses,
            Format::Chat,
            json!({"input": "x", "previous_response_id": "r"}),
            "send the whole conversation",
        ),
        (Format::Responses, Format::Messages, json!({"input": "x", "background": true}), "leave `background` out"),
        (Format::Chat, Format::Messages, json!({"n": 2}), "several times"),
        (Format::Chat, Format::Messages, json!({"modalities": ["text", "audio"]}), "text alone"),
        (Format::Messages, Format::Chat, json!({"max_tokens": 9, "container": "c"}), "Messages only"),
    ];
    for (from, to, mut body, words) in rows {
        body["model"] = json!("m");
        if from != Format::Responses {
            body["messages"] = json!([{"role": "user", "content": "x"}]);
        }
        let error = try_request(from, vendor(to), &body).unwrap_err();
        let param = error.param.clone().unwrap();
        assert!(error.note.contains(words) && error.note.contains(&param), "{from} {to}: {}", error.note);
    }
}

/// The place of a refusal is the part, not its message.
#[test]
fn refusals_name_the_part() {
    let audio = json!({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}});
    let text = json!({"type": "text", "text": "x"});
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [text, audio]}]});
    let error = try_request(Format::Chat, vendor(Format::Messages), &body).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages.0.content.1.input_audio"));
    let id = json!({"type": "document", "source": {"type": "file", "file_id": "f"}});
    let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [text, id]}]});
    for to in [Format::Chat, Format::Responses] {
        let error = try_request(Format::Messages, vendor(to), &body).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some("messages.0.content.1"), Some("file_id_not_portable")));
        assert!(error.note.contains("send the file itself"), "{}", error.note);
    }
    let body =
        json!({"model": "m", "input": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]});
    let mistral = Target::new(Format::Chat, Host::Mistral, "m", "p", &Overrides::default());
    assert_eq!(try_request(Format::Responses, mistral, &body).unwrap_err().param.as_deref(), Some("input.1"));
}

/// Breakpoints that the target has no place for, or too many of, are named by their path.
#[test]
fn lost_breakpoints_are_named_one_by_one() {
    let point = json!({"type": "ephemeral"});
    let text = |n: usize| json!({"type": "text", "text": format!("t{n}"), "cache_control": point});
    let body = json!({"model": "m", "max_tokens": 99, "system": [text(0)],
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": point}],
        "messages": [{"role": "user", "content": [text(1), {"type": "text", "text": "plain"}, text(2), text(3), text(4)]},
        {"role": "assistant", "content": [text(5), {"type": "tool_use", "id": "c", "name": "f", "input": {}, "cache_control": point}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [text(6)], "cache_control": point}]}]});
    let target = Target::new(Format::Responses, Host::OpenAi, "gpt-5.6", "p", &Overrides::default());
    let encoded = try_request(Format::Messages, target, &body).unwrap();
    let dropped = encoded.ledger.dropped_header().unwrap();
    for path in [
        "system.0",
        "tools.0",
        "messages.1.content.0",
        "messages.1.content.1",
        "messages.2.content.0.content.0",
        "messages.2.content.0",
    ] {
        assert!(dropped.contains(&format!("{path}.cache_control;dropped")), "{path}: {dropped}");
    }
    assert_eq!(dropped.matches("cache_control").count(), 6, "{dropped}");
    let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(sent.to_string().matches("prompt_cache_breakpoint").count(), 4, "{sent}");

    let parts: Vec<Value> = (0..6).map(text).collect();
    let body = json!({"model": "m", "messages": [{"role": "user", "content": parts}]});
    let encoded = try_request(Format::Chat, vendor(Format::Messages), &body).unwrap();
    assert_eq!(
        encoded.ledger.dropped_header().as_deref(),
        Some("messages.0.content.0.cache_control;dropped, messages.0.content.1.cache_control;dropped")
    );
}

/// A refusal must not state what is not so.
#[test]
fn refusals_say_what_is_so() {
    let mcp = |more: Value| {
        let mut tool = json!({"type": "mcp", "server_label": "s", "server_url": "https://x"});
        more.as_object().unwrap().iter().for_each(|(key, value)| tool[key] = value.clone());
        json!({"model": "m", "input": "x", "tools": [tool]})
    };
    let input = |item: Value| json!({"model": "m", "input": [{"role": "user", "content": "x"}, item]});
    let chat =
        |more: (&str, Value)| json!({"model": "m", "messages": [{"role": "user", "content": "x"}], more.0: more.1});
    let servers = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        "mcp_servers": [{"type": "url", "url": "https://x", "name": "s"}]});
    let by_tool = json!({"require_approval": {"never": {"tool_names": ["a"]}}});
    #[rustfmt::skip]
    let rows = [
        (Format::Responses, Format::Messages, mcp(by_tool), "tools.0", "`require_approval: \"never\"` for all"),
        (Format::Responses, Format::Messages, mcp(json!({"headers": {"a": "b"}})), "tools.0", "no `headers`"),
        (Format::Responses, Format::Chat, mcp(json!({"connector_id": "c"})), "tools.0", "Chat Completions has no MCP servers"),
        (Format::Messages, Format::Chat, servers, "mcp_servers.0", "Chat Completions has no MCP servers"),
        (Format::Responses, Format::Chat, input(json!({"id": "msg_1"})), "input.1", "send the item itself"),
        (Format::Chat, Format::Messages, chat(("response_format", json!({"type": "weird"}))), "response_format", "`weird`"),
        (Format::Chat, Format::Messages, chat(("max_completion_tokens", json!(-1))), "max_completion_tokens", "between 0 and"),
    ];
    for (from, to, body, param, words) in rows {
        let error = try_request(from, vendor(to), &body).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{from} {to}: {}", error.note);
        assert!(error.note.contains(words) && error.note.contains(param), "{from} {to}: {}", error.note);
    }
}

/// Messages has text alone in its `system`; Responses takes a picture in an item of the developer.
#[test]
fn a_picture_in_a_system_prompt_is_not_lost() {
    let picture = json!({"type": "image_url", "image_url": {"url": "https://x.test/y.png"}});
    let body = json!({"model": "m", "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}, picture]},
        {"role": "user", "content": "hi"}]});
    let error = try_request(Format::Chat, vendor(Format::Messages), &body).err().unwrap();
    assert_eq!(error.param.as_deref(), Some("messages.0.content.1.image_url"));
    assert!(error.note.contains("put it into a user message"), "{}", error.note);
    let sent = request(Format::Chat, Format::Responses, &body);
    let parts = &sent["input"][0]["content"];
    assert_eq!((&parts[0]["text"], &parts[1]["type"]), (&json!("Be brief."), &json!("input_image")), "{sent}");
    assert!(sent.get("instructions").is_none(), "{sent}");
}

/// The error of a request that takes one path for another names the right one.
#[test]
fn a_request_for_another_path_is_named_the_right_one() {
    let turns = json!([{"role": "user", "content": "hi"}]);
    for (from, to, body, path) in [
        (Format::Chat, Format::Messages, json!({"model": "m", "input": "hi"}), "/v1/responses"),
        (Format::Chat, Format::Messages, json!({"model": "m", "prompt": "hi"}), "/v1/completions"),
        (Format::Messages, Format::Chat, json!({"model": "m", "max_tokens": 5, "input": "hi"}), "/v1/responses"),
        (Format::Responses, Format::Chat, json!({"model": "m", "messages": turns}), "/v1/chat/completions"),
    ] {
        let error = try_request(from, vendor(to), &body).err().unwrap();
        assert!(error.note.ends_with(&format!(" belongs to {path}")), "{}", error.note);
    }
}

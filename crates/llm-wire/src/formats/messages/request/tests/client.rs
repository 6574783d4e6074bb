//! What clients of this format send.

use crate::canonical::effort::{Effort, Mode, Reasoning, Show};
use crate::formats::messages::request::tests::*;

/// Within one format, a request that is written as this encoder writes comes out byte for byte.
#[test]
fn what_goes_in_comes_out() {
    let parameters = [
        r#""max_tokens":100,"stream":true,"cache_control":{"type":"ephemeral"},"system":[{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral","ttl":"1h"}}],"temperature":0.50,"top_k":5,"stop_sequences":["END","\u00e9"],"service_tier":"auto","metadata":{"user_id":"u"}"#,
        r#""max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":2048,"display":"omitted"}"#,
        r#""max_tokens":0,"thinking":{"type":"disabled"},"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}"#,
        r#""max_tokens":9,"tools":[{"name":"f","description":"d","input_schema":{"type":"object","properties":{"n":{"minimum":1.0,"maximum":1e400,"n":1,"n":12345678901234567890}}}},{"name":"g","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"any","disable_parallel_tool_use":true}"#,
        r#""max_tokens":9,"tools":[{"type":"tool_search_tool_bm25_20251119","name":"s"},{"name":"f","input_schema":{"type":"object"},"defer_loading":true,"input_examples":[{"a":1}],"eager_input_streaming":true,"allowed_callers":["direct"]},{"type":"bash_20250124","name":"bash"},{"type":"code_execution_20250825","name":"code_execution"},{"type":"web_search_20250305","name":"web_search","max_uses":3,"allowed_domains":["a.b"],"user_location":{"type":"approximate","city":"X","timezone":"UTC"}}],"tool_choice":{"type":"tool","name":"f"}"#,
        r#""max_tokens":9,"tools":[{"type":"mcp_toolset","mcp_server_name":"s"}],"tool_choice":{"type":"none"},"mcp_servers":[{"type":"url","url":"https://x","name":"s","authorization_token":"t"}]"#,
    ];
    let hello = r#"[{"role":"user","content":[{"type":"text","text":"hi"}]}]"#;
    let messages = [
        r#"[{"role":"user","content":[{"type":"text","text":"\ud83d\ude00 \n","cache_control":{"type":"ephemeral"}},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo\/"}},{"type":"image","source":{"type":"url","url":"https://x/y.png"},"cache_control":{"type":"ephemeral"}},{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0="},"title":"t","context":"c","citations":{"enabled":true}},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"plain"}},{"type":"document","source":{"type":"content","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"file","file_id":"file_1"}}]}},{"type":"search_result","source":"s","title":"t","content":[{"type":"text","text":"x"}],"citations":{"enabled":true}},{"type":"container_upload","file_id":"f"}]}]"#,
        r#"[{"role":"user","content":[{"type":"text","text":"go"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"hm \u2026","signature":"sig+/="},{"type":"redacted_thinking","data":"data+/="},{"type":"text","text":"calling","citations":[{"type":"char_location","cited_text":"x"}]},{"type":"tool_use","id":"toolu_1","name":"f","input":{"b":1.0,"a":[1e400],"a":2}},{"type":"tool_use","id":"toolu_2","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"one"},{"type":"tool_result","tool_use_id":"toolu_2","content":[{"type":"text","text":"two"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgo="}},{"type":"tool_reference","tool_name":"f"}],"is_error":true,"cache_control":{"type":"ephemeral"}},{"type":"text","text":"and?"}]}]"#,
        r#"[{"role":"user","content":[{"type":"text","text":"go"}]},{"role":"assistant","content":[{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"q"}},{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[]},{"type":"text","text":"found"}]},{"role":"user","content":[{"type":"text","text":"ok"}]}]"#,
    ];
    let with_tool = r#""max_tokens":9,"tools":[{"name":"f","input_schema":{"type":"object"}}]"#;
    let bodies = parameters.iter().map(|p| (*p, hello)).chain(messages.iter().map(|m| (with_tool, *m)));
    for (parameters, messages) in bodies {
        let body = format!(r#"{{"model":"claude-sonnet-4-5",{parameters},"messages":{messages}}}"#);
        let sent = through(&body, &context("claude-sonnet-4-5")).unwrap();
        assert_eq!(sent.body, body);
        assert_eq!(sent.headers(), "");
        assert_eq!(through(&sent.body, &context("claude-sonnet-4-5")).unwrap().body, body, "deterministic");
    }
}

#[test]
fn strings_are_blocks_and_the_billing_block_goes() {
    let body = r#"{"model":"m","system":[{"type":"text","text":"x-anthropic-billing-header: cch=1;"},{"type":"text","text":" "},{"type":"text","text":"Be."}],
        "max_tokens":5,"max_tokens":6,"top_p":null,"messages":[{"role":"user","content":"hi"}]}"#;
    let sent = through(body, &context("claude-sonnet-4-5")).unwrap();
    let expected = r#"{"model":"claude-sonnet-4-5","max_tokens":6,"system":[{"type":"text","text":"Be."}],"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}"#;
    assert_eq!(sent.body, expected);
}

/// Reasoning as a Messages client asks for it.
#[test]
fn thinking_is_read() {
    let reasoning = |mode, effort, show| Reasoning { mode, effort, show };
    #[rustfmt::skip]
    let rows = [
        (r#""x":1"#, reasoning(Mode::Unset, None, None)),
        (r#""thinking":{"type":"disabled"}"#, reasoning(Mode::Off, None, None)),
        (r#""thinking":{"type":"adaptive","display":"summarized"}"#, reasoning(Mode::Adaptive, None, Some(Show::Summary))),
        (r#""thinking":{"type":"enabled","budget_tokens":2048,"display":"omitted"}"#, reasoning(Mode::Manual { budget: 2048 }, None, Some(Show::Omitted))),
        (r#""output_config":{"effort":"xhigh"}"#, reasoning(Mode::Unset, Some(Effort::Xhigh), None)),
        (r#""output_config":{"effort":"ultra"},"thinking":{"type":"adaptive"}"#, reasoning(Mode::Adaptive, None, None)),
    ];
    for (fields, expected) in rows {
        let body = format!(r#"{{"model":"m","messages":[],{fields}}}"#);
        let request = decode(RawValue::new(body.as_bytes()), &mut Ledger::default()).unwrap();
        assert_eq!(request.reasoning, expected, "{fields}");
    }
}

/// Each unknown field is named once, and wrong types are named with their path.
#[test]
fn unknown_and_wrong_fields() {
    let body = r#"{"model":"m","max_tokens":9,"novel":1,"speed":"fast","output_config":{"effort":"ultra","task_budget":{}},"messages":[{"role":"user","content":[{"type":"text","text":"a","odd":1},{"type":"text","text":"b","odd":2}],"id":"x"}]}"#;
    let sent = through(body, &context("claude-opus-4-5")).unwrap();
    let headers = "unknown:messages.0.id;dropped, unknown:messages.0.content.0.odd;dropped, \
                   unknown:messages.0.content.1.odd;dropped";
    assert_eq!(sent.headers(), headers);
    // The target speaks the client's format: at the top all stays, understood here or not.
    assert_eq!((sent.get("novel"), sent.get("speed")), ("1", r#""fast""#));
    assert_eq!(sent.get("output_config"), r#"{"effort":"ultra","task_budget":{}}"#);

    let user = |blocks: &str| format!(r#""messages":[{{"role":"user","content":[{blocks}]}}]"#);
    let assistant = |blocks: &str| format!(r#""messages":[{{"role":"assistant","content":[{blocks}]}}]"#);
    let tool = |tool: &str| format!(r#""messages":[],"tools":[{tool}]"#);
    let rows = [
        (r#""max_tokens":1"#.to_owned(), "messages"),
        (r#""messages":{}"#.to_owned(), "messages"),
        (r#""messages":["x"]"#.to_owned(), "messages.0"),
        (r#""messages":[{"role":"user"}]"#.to_owned(), "messages.0.content"),
        (r#""messages":[{"role":"tool","content":""}]"#.to_owned(), "messages.0.role"),
        (r#""messages":[{"role":"user","content":1}]"#.to_owned(), "messages.0.content"),
        (user(r#"{"text":"x"}"#), "messages.0.content.0.type"),
        (user(r#"{"type":"text","text":"x"},{"type":"text","text":1}"#), "messages.0.content.1.text"),
        (user(r#"{"type":"image"}"#), "messages.0.content.0.source"),
        (user(r#"{"type":"tool_result","content":"x"}"#), "messages.0.content.0.tool_use_id"),
        (assistant(r#"{"type":"tool_use","id":"a","name":"f"}"#), "messages.0.content.0.input"),
        (assistant(r#"{"type":"thinking","signature":"s"}"#), "messages.0.content.0.thinking"),
        (r#""messages":[],"system":[{"type":"image","source":{"type":"url","url":"x"}}]"#.to_owned(), "system.0"),
        (r#""messages":[],"max_tokens":-1"#.to_owned(), "max_tokens"),
        (r#""messages":[],"thinking":{"type":"enabled"}"#.to_owned(), "thinking.budget_tokens"),
        (r#""messages":[],"thinking":{"type":"x"}"#.to_owned(), "thinking.type"),
        (r#""messages":[],"tool_choice":{"type":"tool"}"#.to_owned(), "tool_choice.name"),
        (
            r#""messages":[],"output_config":{"format":{"type":"json_schema"}}"#.to_owned(),
            "output_config.format.schema",
        ),
        (r#""messages":[],"stop_sequences":[1]"#.to_owned(), "stop_sequences.0"),
        (tool(r#"{"input_schema":{}}"#), "tools.0.name"),
        (tool(r#"{"name":"a","input_schema":[]}"#), "tools.0.input_schema"),
    ];
    for (fields, param) in rows {
        let body = format!(r#"{{"model":"m",{fields}}}"#);
        let error = decode(RawValue::parse(body.as_bytes()).unwrap(), &mut Ledger::default()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{body}: {}", error.note);
    }
}

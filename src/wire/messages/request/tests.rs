//! Requests through the whole of this folder: a client's bytes in, a provider's bytes out.

use super::{decode, encode};
use crate::error::{Error, Kind};
use crate::json::RawValue;
use crate::wire::Format;
use crate::wire::args::ArgText;
use crate::wire::caps::Overrides;
use crate::wire::carry;
use crate::wire::effort::{Effort, Mode, Reasoning, Show};
use crate::wire::envelope::{Envelope, Family, Scope, Seal};
use crate::wire::item::{
    CachePoint, CallKind, ImagePart, Item, Message, OutputFormat, Part, Request, Role, Src, TextPart, ToolCall,
    ToolResult,
};
use crate::wire::loss::Ledger;
use crate::wire::plan::{Context, Plan, Policy, Target};
use crate::wire::quirks::Host;
use crate::wire::text::Text;
use crate::wire::tools::{FunctionTool, Tool};

fn target(model: &'static str) -> Target<'static> {
    Target::new(Format::Messages, Host::Anthropic, model, "p", &Overrides::default())
}

fn context(model: &'static str) -> Context<'static> {
    let policy = Policy { auto_cache: false, ..Policy::default() };
    Context { policy, ..Context::new(target(model), "asked") }
}

#[derive(Debug)]
struct Sent {
    body: String,
    plan: Plan,
    ledger: Ledger,
}

impl Sent {
    /// A member of the body, or nothing.
    fn get(&self, name: &str) -> &str {
        let value = RawValue::parse(self.body.as_bytes()).unwrap().find(name);
        value.map_or("", |value| std::str::from_utf8(value.bytes()).unwrap())
    }

    fn headers(&self) -> String {
        let headers = [self.ledger.dropped_header(), self.ledger.repaired_header()];
        headers.into_iter().flatten().collect::<Vec<_>>().join(" | ")
    }
}

fn send(request: &Request<'_>, cx: &Context<'_>, mut ledger: Ledger) -> Result<Sent, Error> {
    let mut plan = Plan::new(request.from, RawValue::new(b"{}"), cx);
    (plan.stream, plan.upstream_stream) = (request.stream, request.stream);
    let mut out = Vec::new();
    encode(request, cx, &mut plan, &mut ledger, &mut out)?;
    let body = String::from_utf8(out).unwrap();
    RawValue::parse(body.as_bytes()).unwrap();
    Ok(Sent { body, plan, ledger })
}

/// A body of a Messages client, sent to a Messages provider.
fn through(body: &str, cx: &Context<'_>) -> Result<Sent, Error> {
    let mut ledger = Ledger::new(cx.policy.strict);
    let request = decode(RawValue::parse(body.as_bytes()).unwrap(), &mut ledger)?;
    send(&request, cx, ledger)
}

fn conversation(messages: &str, cx: &Context<'_>) -> Result<Sent, Error> {
    through(&format!(r#"{{"model":"m","max_tokens":100,"messages":{messages}}}"#), cx)
}

/// Laws 12, 15 and 18 inside the format: what is written as this encoder writes comes out byte for byte.
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

/// Property 20, the decoder's part: what is unknown is told once; and what is wrong is named.
#[test]
fn unknown_and_wrong_fields() {
    let body = r#"{"model":"m","max_tokens":9,"novel":1,"speed":"fast","output_config":{"effort":"ultra","task_budget":{}},"messages":[{"role":"user","content":[{"type":"text","text":"a","odd":1},{"type":"text","text":"b","odd":2}],"id":"x"}]}"#;
    let headers = through(body, &context("claude-opus-4-5")).unwrap().headers();
    let expected = "unknown:id;dropped, unknown:odd;dropped, unknown:novel;dropped, speed;dropped, unknown:output_config.effort;dropped, output_config.task_budget;dropped";
    assert_eq!(headers, expected);

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
        (assistant(r#"{"type":"tool_use","id":"a","name":"f","input":"{}"}"#), "messages.0.content.0.input"),
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

/// Properties 21 to 23 and 25: turns are mended, merged and kept in order.
#[test]
fn turns() {
    const T: fn(&str) -> String = |text| format!(r#"{{"type":"text","text":"{text}"}}"#);
    let call = |id: &str| format!(r#"{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}"#);
    let result = |id: &str, text: &str| format!(r#"{{"type":"tool_result","tool_use_id":"{id}","content":"{text}"}}"#);
    let lost = r#"{"type":"tool_result","tool_use_id":"b","content":"tool result unavailable; do not assume it ran","is_error":true}"#;
    let say = |turns: &[(&str, &[String])]| {
        let turns: Vec<_> = turns
            .iter()
            .map(|(role, blocks)| format!(r#"{{"role":"{role}","content":[{}]}}"#, blocks.join(",")))
            .collect();
        format!("[{}]", turns.join(","))
    };
    let first = r#"{"role":"user","content":"(conversation continues)"}"#;
    let rows = [
        (
            "results first, in call order; neighbours merged",
            say(&[
                ("user", &[T("a")]),
                ("user", &[T("b")]),
                ("assistant", &[call("a"), T("x"), call("b")]),
                ("user", &[T("c"), result("b", "2")]),
                ("user", &[result("a", "1"), T("d")]),
            ]),
            say(&[
                ("user", &[T("a"), T("b")]),
                ("assistant", &[call("a"), T("x"), call("b")]),
                ("user", &[result("a", "1"), result("b", "2"), T("c"), T("d")]),
            ]),
            "no_tools=1",
        ),
        (
            "blank text goes, and a turn of nothing else",
            say(&[("user", &[T("a"), T(r" \n")]), ("assistant", &[T(""), T(" ")]), ("user", &[T("b")])]),
            say(&[("user", &[T("a"), T("b")])]),
            "blank_text=2",
        ),
        (
            "orphans, duplicates",
            say(&[
                ("user", &[T("q")]),
                ("assistant", &[call("a"), call("b")]),
                ("user", &[result("a", "1"), result("a", "2"), result("z", "3")]),
            ]),
            say(&[
                ("user", &[T("q")]),
                ("assistant", &[call("a"), call("b")]),
                ("user", &[result("a", "1"), lost.to_owned(), T("[tool result a] 2"), T("[tool result z] 3")]),
            ]),
            "orphan_call=1, orphan_result=1, duplicate_result=1, no_tools=1",
        ),
        (
            "an empty result has no content",
            say(&[("user", &[T("q")]), ("assistant", &[call("a")]), ("user", &[result("a", "")])]),
            say(&[
                ("user", &[T("q")]),
                ("assistant", &[call("a")]),
                ("user", &[r#"{"type":"tool_result","tool_use_id":"a"}"#.to_owned()]),
            ]),
            "no_tools=1",
        ),
        (
            "the assistant first",
            say(&[("assistant", &[T("hi")]), ("user", &[T("q")])]),
            format!("[{first},{}", &say(&[("assistant", &[T("hi")]), ("user", &[T("q")])])[1..]),
            "first_turn=1",
        ),
        ("nothing", "[]".to_owned(), format!("[{first}]"), "first_turn=1"),
        (
            "system messages: at the end of the user's turn, or wrapped",
            say(&[
                ("user", &[T("a")]),
                ("system", &[T("s")]),
                ("assistant", &[T("b")]),
                ("system", &[T("t")]),
                ("user", &[T("c")]),
                ("system", &[T("u")]),
                ("system", &[T("v")]),
            ]),
            say(&[
                ("user", &[T("a")]),
                ("system", &[T("s")]),
                ("assistant", &[T("b")]),
                ("user", &[T("<system>t</system>"), T("c")]),
                ("system", &[T("u"), T("v")]),
            ]),
            "system;moved",
        ),
        (
            "a system message between calls and results",
            say(&[
                ("user", &[T("a")]),
                ("assistant", &[call("a")]),
                ("system", &[T("s")]),
                ("user", &[result("a", "1")]),
            ]),
            say(&[
                ("user", &[T("a")]),
                ("assistant", &[call("a")]),
                ("user", &[result("a", "1")]),
                ("system", &[T("s")]),
            ]),
            "no_tools=1",
        ),
    ];
    for (name, messages, expected, headers) in rows {
        let sent = conversation(&messages, &context("claude-opus-5")).unwrap();
        assert_eq!(sent.get("messages"), expected, "{name}");
        assert_eq!(sent.headers(), headers, "{name}");
    }
    let system = say(&[("user", &[T("a")]), ("system", &[T("s"), T("t")])]);
    let sent = conversation(&system, &context("claude-sonnet-5")).unwrap();
    assert_eq!(sent.get("messages"), say(&[("user", &[T("a"), T(r"<system>s\n\nt</system>")])]));
    let orphan = say(&[("user", &[T("q")]), ("assistant", &[call("a")])]);
    let policy = Policy { repair_tool_pairs: false, ..Policy::default() };
    let error = conversation(&orphan, &Context { policy, ..context("claude-opus-5") }).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages.1"));
}

/// A system message may carry settings for the turns after it, at models that take system messages at all.
#[test]
fn settings_of_a_turn() {
    let messages = r#"[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"system","content":[],"output_config":{"effort":"low"}},{"role":"assistant","content":[{"type":"text","text":"b"}]},{"role":"user","content":[{"type":"text","text":"c"}]}]"#;
    let sent = conversation(messages, &context("claude-opus-5")).unwrap();
    assert_eq!(sent.get("messages"), messages);
    assert_eq!(sent.plan.betas, ["per-turn-control-2026-07-01"]);
    let sent = conversation(messages, &context("claude-sonnet-5")).unwrap();
    assert_eq!(
        sent.get("messages"),
        messages.replace(r#"{"role":"system","content":[],"output_config":{"effort":"low"}},"#, "")
    );
    assert_eq!(
        (sent.get("output_config"), sent.headers().as_str()),
        (r#"{"effort":"low"}"#, "messages.output_config;approx")
    );
}

/// Property 26, the end: words of the assistant to go on from.
#[test]
fn prefills() {
    let messages = r#"[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[{"type":"text","text":"{\"a\": \n"}]}]"#;
    let kept = conversation(messages, &context("claude-sonnet-4-5")).unwrap();
    assert_eq!(kept.get("messages"), messages.replace(r#": \n""#, r#":""#));
    let refused = conversation(messages, &context("claude-opus-5")).unwrap_err();
    assert_eq!((refused.kind, refused.code), (Kind::Unsupported, Some("prefill_unsupported")));
    let policy = Policy { prefill_as_hint: true, ..Policy::default() };
    let hint = conversation(messages, &Context { policy, ..context("claude-opus-5") }).unwrap();
    let words = r#"[{"role":"user","content":[{"type":"text","text":"q"},{"type":"text","text":"Begin your answer with exactly this text, and go on from it: {\"a\":"}]}]"#;
    assert_eq!((hint.get("messages"), hint.headers().as_str()), (words, "prefill;approx"));
}

/// Property 38: state of another vendor or account, and damaged state, is never sent; its own comes back byte for byte (36).
#[test]
fn envelopes_come_home() {
    let seal = |family, scope, seal, text: &str| {
        let mut out = Vec::new();
        let envelope =
            Envelope { family, scope, seal, id: Text::EMPTY, text: Text::plain(text), sealed: Text::plain("sig+/=") };
        envelope.write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let own = target("claude-opus-5").scope;
    let other = Scope::new("q", "claude");
    let thinking = |signature: &str| {
        let turn = format!(r#"{{"type":"thinking","thinking":"sho…","signature":"{signature}"}}"#);
        let messages = format!(
            r#"[{{"role":"user","content":"q"}},{{"role":"assistant","content":[{turn},{{"type":"text","text":"a"}}]}},{{"role":"user","content":"r"}}]"#
        );
        let sent = conversation(&messages, &context("claude-opus-5")).unwrap();
        let block = RawValue::new(sent.get("messages").as_bytes()).elements().nth(1).unwrap().0;
        let block = block.find("content").unwrap().elements().next().unwrap().0;
        String::from_utf8(block.bytes().to_vec()).unwrap()
    };
    let answer = r#"{"type":"text","text":"a"}"#;
    let rows = [
        (
            seal(Family::Anthropic, own, Seal::Thinking, "shown whole"),
            r#"{"type":"thinking","thinking":"shown whole","signature":"sig+/="}"#,
        ),
        (seal(Family::Anthropic, own, Seal::Redacted, ""), r#"{"type":"redacted_thinking","data":"sig+/="}"#),
        ("native".to_owned(), r#"{"type":"thinking","thinking":"sho…","signature":"native"}"#),
        (seal(Family::Anthropic, other, Seal::Thinking, "x"), answer),
        (seal(Family::OpenAi, own, Seal::Encrypted, "x"), answer),
        (seal(Family::Anthropic, own, Seal::Encrypted, "x"), answer),
        ("llmp1.an.broken".to_owned(), answer),
        (String::new(), answer),
    ];
    for (signature, block) in rows {
        assert_eq!(thinking(&signature), block, "{signature}");
    }
}

/// Property 17: a longer conversation begins with the bytes of the shorter one.
#[test]
fn encoding_is_append_only() {
    let turns = [
        r#"{"role":"user","content":"a"}"#,
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"s"},{"type":"text","text":"b \n"},{"type":"tool_use","id":"x:1","name":"f.g","input":{"a":1}}]}"#,
        r#"{"role":"user","content":[{"type":"text","text":"late"},{"type":"tool_result","tool_use_id":"x:1","content":[]}]},{"role":"system","content":"s"}"#,
        r#"{"role":"assistant","content":" "}"#,
        r#"{"role":"user","content":"c"}"#,
        r#"{"role":"assistant","content":[{"type":"text","text":"d"},{"type":"image","source":{"type":"url","url":"https://x"}}]}"#,
        r#"{"role":"user","content":"e"}"#,
    ];
    for model in ["claude-opus-5", "claude-sonnet-4-5", "other"] {
        let encoded = |end: usize| {
            let tools = r#"[{"name":"f.g","input_schema":{"type":"object"}}]"#;
            let messages = turns[..end].join(",");
            let body =
                format!(r#"{{"model":"m","max_tokens":9,"system":"s","tools":{tools},"messages":[{messages}]}}"#);
            through(&body, &context(model)).unwrap().body
        };
        let whole = encoded(turns.len());
        for end in [1, 3, 5] {
            let part = encoded(end);
            let open = part.strip_suffix("]}]}").or_else(|| part.strip_suffix("]}")).unwrap();
            assert!(whole.starts_with(open), "{model} {end}\n{part}\n{whole}");
        }
    }
}

fn chat() -> Request<'static> {
    let mut request = Request::new(Format::Chat);
    request.model = Text::plain("m1");
    request.items.push(Item::new(0, Message::new(Role::User, vec![Part::text(Text::plain("q"))])));
    request
}

fn function(name: &str, schema: &'static [u8]) -> Tool<'static> {
    Tool::Function(FunctionTool {
        name: Text::plain(name),
        schema: Some(RawValue::new(schema)),
        ..FunctionTool::default()
    })
}

/// `translation.md` 9.1, from its canonical form.
#[test]
fn worked_example() {
    let call = |id: &str, arguments: &str| ToolCall {
        kind: CallKind::Function,
        item_id: None,
        call_id: Text::plain(id),
        namespace: None,
        name: Text::plain("w"),
        input: ArgText::Quoted(Text::plain(arguments)),
        opaque: None,
        cache: None,
    };
    let result = |id: &str, text: &str, is_error| ToolResult {
        call_id: Text::plain(id),
        kind: CallKind::Function,
        parts: vec![Part::text(Text::plain(text))],
        is_error,
        cache: None,
    };
    let overrides = serde_json::json!({"thinking_binding": false});
    let target = Target::new(Format::Messages, Host::Anthropic, "claude-x", "p", &Overrides::parse(&overrides).0);
    let mut state = Vec::new();
    let (text, sealed) = (Text::plain("two calls"), Text::plain("<native>"));
    Envelope { family: Family::Anthropic, scope: target.scope, seal: Seal::Thinking, id: Text::EMPTY, text, sealed }
        .write(&mut state);
    let state = Text::escaped(state);
    let reasoning = carry::opaque_of(state.raw(), Vec::new(), None, (Family::OpenAi, Seal::Thinking));

    let mut request = chat();
    request.reasoning = Reasoning::from_effort(Some(Effort::High));
    request.parallel = Some(false);
    request.max_tokens = Some(20_000);
    request.sampling.stop = vec![Text::plain("END")];
    request.system = vec![Part::text(Text::plain("Be brief."))];
    let question = Message::new(Role::User, vec![Part::text(Text::plain("Weather in A and B?"))]);
    request.items = vec![
        Item::new(1, question),
        Item::new(2, reasoning),
        Item::new(2, call("call_1", r#"{"c":"A"}"#)),
        Item::new(2, call("call_2", "")),
        Item::new(3, result("call_2", "no city", true)),
        Item::new(4, result("call_1", "rain", false)),
    ];
    request.tools = vec![function("w", br#"{"type":"object","properties":{"c":{"type":"string"}}}"#)];
    let policy = Policy { auto_cache: false, ..Policy::default() };
    let sent = send(&request, &Context { policy, ..Context::new(target, "m1") }, Ledger::default()).unwrap();
    let expected = concat!(
        r#"{"model":"claude-x","max_tokens":20000,"system":[{"type":"text","text":"Be brief."}],"#,
        r#""thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"high"},"stop_sequences":["END"],"#,
        r#""tools":[{"name":"w","input_schema":{"type":"object","properties":{"c":{"type":"string"}}}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"#,
        r#""messages":[{"role":"user","content":[{"type":"text","text":"Weather in A and B?"}]},"#,
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"two calls","signature":"<native>"},"#,
        r#"{"type":"tool_use","id":"call_1","name":"w","input":{"c":"A"}},{"type":"tool_use","id":"call_2","name":"w","input":{}}]},"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":"rain"},"#,
        r#"{"type":"tool_result","tool_use_id":"call_2","content":"no city","is_error":true}]}]}"#,
    );
    assert_eq!(sent.body, expected);
    assert_eq!(sent.headers(), "");
}

/// Property 30, and the ten-minute rule: a whole answer that may take long is asked for as a stream.
#[test]
fn max_tokens_and_streams() {
    let rows =
        [("claude-opus-5", "128000", true), ("claude-3-haiku-20240307", "4096", false), ("other", "8192", false)];
    for (model, max_tokens, stream) in rows {
        let sent = send(&chat(), &context(model), Ledger::default()).unwrap();
        assert_eq!((sent.get("max_tokens"), sent.get("stream") == "true"), (max_tokens, stream), "{model}");
        assert_eq!(sent.plan.upstream_stream, stream);
    }
}

#[test]
fn betas_come_with_what_needs_them() {
    let mut request = chat();
    request.tools = vec![function("f", br#"{"type":"object"}"#)];
    request.reasoning = Reasoning::from_effort(Some(Effort::Low));
    let betas = |model, request: &Request<'_>| send(request, &context(model), Ledger::default()).unwrap().plan.betas;
    assert_eq!(betas("claude-sonnet-4-5", &request), ["interleaved-thinking-2025-05-14"]);
    assert_eq!(betas("claude-opus-5-5", &request), ["thinking-binding-controls-2026-08-01"]);
    assert!(betas("claude-opus-5", &request).is_empty());
    request.tools.clear();
    assert!(betas("claude-sonnet-4-5", &request).is_empty());
    let sent = send(&request, &context("claude-opus-5-5"), Ledger::default()).unwrap();
    let thinking =
        r#"{"type":"adaptive","display":"summarized","block_binding":{"prefix_mismatch_behavior":"drop_block"}}"#;
    assert_eq!(sent.get("thinking"), thinking);
}

#[test]
fn forms_of_the_answer() {
    let mut request = chat();
    let schema = RawValue::new(br#"{"type":"object","properties":{"a":{"type":"string","minLength":3}}}"#);
    let name = Some(Text::plain("weather"));
    request.format = OutputFormat::JsonSchema { name, description: None, schema, strict: Some(true) };
    let sent = send(&request, &context("claude-opus-5"), Ledger::default()).unwrap();
    let format = r#"{"format":{"type":"json_schema","schema":{"title":"weather","type":"object","properties":{"a":{"type":"string","description":"(minLength: 3)"}},"additionalProperties":false}}}"#;
    assert_eq!((sent.get("output_config"), sent.headers().as_str()), (format, "json_schema;approx"));

    let sent = send(&request, &context("claude-sonnet-4-0"), Ledger::default()).unwrap();
    assert_eq!(sent.get("tool_choice"), r#"{"type":"tool","name":"json_response","disable_parallel_tool_use":true}"#);
    assert_eq!(sent.get("output_config"), "");

    request.tools = vec![function("f", br#"{"type":"object"}"#)];
    let sent = send(&request, &context("claude-sonnet-4-0"), Ledger::default()).unwrap();
    let words = r#"[{"type":"text","text":"Answer with a single JSON object that matches this JSON schema: {\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"string\",\"minLength\":3}}}"}]"#;
    assert_eq!((sent.get("system"), sent.headers().as_str()), (words, "json_schema;approx"));

    request.format = OutputFormat::JsonObject;
    let sent = send(&request, &context("claude-opus-5"), Ledger::default()).unwrap();
    let words = r#"[{"type":"text","text":"Answer with a single JSON object."}]"#;
    assert_eq!((sent.get("system"), sent.headers().as_str()), (words, "json_object;approx"));

    request.format = OutputFormat::Grammar(schema);
    let error = send(&request, &context("claude-opus-5"), Ledger::default()).err().unwrap();
    assert_eq!(error.param.as_deref(), Some("response_format"));
}

#[test]
fn cache_points_of_other_formats() {
    let part = |text: &str| {
        Part::Text(TextPart { text: Text::plain(text), citations: None, cache: Some(CachePoint { hour: false }) })
    };
    let mut request = chat();
    let cx = Context::new(target("claude-opus-5"), "asked");
    let automatic = send(&request, &cx, Ledger::default()).unwrap();
    assert_eq!(automatic.get("cache_control"), r#"{"type":"ephemeral"}"#);
    request.items = vec![Item::new(0, Message::new(Role::User, "abcdef".split("").map(part).collect()))];
    let sent = send(&request, &cx, Ledger::default()).unwrap();
    let messages = sent.get("messages");
    assert_eq!(messages.matches("cache_control").count(), 4);
    assert!(messages.contains(r#"{"type":"text","text":"f","cache_control""#));
    assert_eq!((sent.get("cache_control"), sent.headers().as_str()), ("", "cache_control;dropped"));
    let plain = send(&request, &context("other"), Ledger::default()).unwrap();
    assert!(!plain.body.contains("cache_control"));
}

/// Media that the format has no place for, and what takes its place (`translation.md` 1.3).
#[test]
fn media_of_other_formats() {
    let base64 = |media: &'static str| Src::Base64 { media: media.into(), data: crate::json::RawStr::new(b"aGk=") };
    let image = |src| Part::Image(ImagePart { src, detail: None, cache: None });
    let file = |src| {
        let (name, title, context) = (Some(Text::plain("n.txt")), None, None);
        Part::File(Box::new(crate::wire::item::FilePart { src, name, title, context, citations: false, cache: None }))
    };
    let foreign = |format| Src::FileId { format, id: crate::json::RawStr::new(b"file-1") };
    let url = || Src::Url(Text::plain("https://x"));
    let audio = Part::Audio { data: crate::json::RawStr::new(b""), format: crate::json::RawStr::new(b"wav") };
    let rows = [
        (
            image(base64("image/webp")),
            "claude-opus-5",
            Ok(r#"{"type":"image","source":{"type":"base64","media_type":"image/webp","data":"aGk="}}"#),
        ),
        (image(base64("image/tiff")), "claude-opus-5", Err("unsupported_content")),
        (image(foreign(Format::Chat)), "claude-opus-5", Err("file_id_not_portable")),
        (audio, "claude-opus-5", Err("unsupported_content")),
        (
            file(base64("text/csv")),
            "claude-opus-5",
            Ok(r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hi"},"title":"n.txt"}"#),
        ),
        (
            file(base64("image/png")),
            "claude-opus-5",
            Ok(r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}"#),
        ),
        (file(base64("application/pdf")), "other", Err("unsupported_content")),
        (file(base64("application/zip")), "claude-opus-5", Err("unsupported_content")),
        (
            file(url()),
            "claude-opus-5",
            Ok(r#"{"type":"document","source":{"type":"url","url":"https://x"},"title":"n.txt"}"#),
        ),
    ];
    for (part, model, expected) in rows {
        let mut request = chat();
        let shown = format!("{part:?}");
        request.items = vec![Item::new(3, Message::new(Role::User, vec![part]))];
        match (send(&request, &context(model), Ledger::default()), expected) {
            (Ok(sent), Ok(block)) => {
                assert_eq!(sent.get("messages"), format!(r#"[{{"role":"user","content":[{block}]}}]"#));
            }
            (Err(error), Err(code)) => {
                assert_eq!((error.code, error.param.as_deref()), (Some(code), Some("messages.3")), "{shown}");
            }
            (sent, _) => panic!("{shown}: {:?}", sent.map(|sent| sent.body)),
        }
    }
}

/// What the assistant showed stands in the user's next turn; prompts of Responses before the first turn are the system prompt.
#[test]
fn things_in_other_places() {
    let mut request = chat();
    let shown = Part::Image(ImagePart { src: Src::Url(Text::plain("https://x")), detail: None, cache: None });
    request.items.push(Item::new(1, Message::new(Role::Assistant, vec![Part::text(Text::plain("a")), shown])));
    request.items.push(Item::new(2, Message::new(Role::User, vec![Part::text(Text::plain("b"))])));
    let developer = Message::new(Role::Developer, vec![Part::text(Text::plain("Be."))]);
    request.items.insert(0, Item::new(0, developer));
    let sent = send(&request, &context("claude-opus-5"), Ledger::default()).unwrap();
    let expected = r#"[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[{"type":"text","text":"a"}]},{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x"}},{"type":"text","text":"b"}]}]"#;
    assert_eq!((sent.get("messages"), sent.get("system")), (expected, r#"[{"type":"text","text":"Be."}]"#));
    assert_eq!(sent.headers(), "assistant.image;moved");
}

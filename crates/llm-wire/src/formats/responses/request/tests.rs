//! Requests in and out, as tables.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::canonical::args::ArgText;
use crate::canonical::effort::{Effort, Mode, Reasoning, Show};
use crate::canonical::loss::Ledger;
use crate::canonical::request::{
    CachePoint, CallKind, FilePart, ImagePart, Item, ItemKind, Message, Opaque, OutputFormat, Part, ReasoningItem,
    ReasoningKind, ReasoningPart, Request, Role, Src, TextPart, ToolCall, ToolResult,
};
use crate::canonical::text::Text;
use crate::canonical::tools::{FunctionTool, Tool, ToolChoice, WebSearch};
use crate::error::Error;
use crate::format::Format;
use crate::formats::responses::request::{decode, encode};
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::{Family, Scope, Seal};
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, Policy, Target};
use crate::target::quirks::Host;

fn cx(model: &str, host: Host) -> Context<'_> {
    Context::new(Target::new(Format::Responses, host, model, "p", &Overrides::default()), "asked")
}

fn openai() -> Context<'static> {
    cx("gpt-5.6", Host::OpenAi)
}

fn write(request: &Request<'_>, cx: &Context<'_>, ledger: &mut Ledger) -> Result<Value, Error> {
    let mut plan = Plan::new(request.from, RawValue::new(b"{}"), cx);
    plan.upstream_stream = request.stream;
    let mut out = Vec::new();
    encode(request, cx, &mut plan, ledger, &mut out)?;
    Ok(serde_json::from_slice(&out).unwrap())
}

/// What a body becomes on its way through canonical form, and what was lost.
fn through(body: &Value, cx: &Context<'_>) -> (Value, String) {
    let body = body.to_string();
    let mut ledger = Ledger::default();
    let request = decode(RawValue::parse(body.as_bytes()).unwrap(), &mut ledger).unwrap();
    let out = write(&request, cx, &mut ledger).unwrap();
    let notes = [ledger.dropped_header(), ledger.repaired_header()];
    (out, notes.into_iter().flatten().collect::<Vec<_>>().join(" | "))
}

fn input(body: Value) -> Value {
    through(&json!({"model":"m","input":body}), &openai()).0["input"].clone()
}

/// A request of one format comes back as it was, but for ids.
#[test]
fn a_request_comes_back() {
    let body = json!({
        "model":"m","stream":true,"instructions":"Be brief.","store":false,"max_output_tokens":500,"max_tool_calls":3,
        "parallel_tool_calls":false,"metadata":{"a":"b"},"prompt_cache_key":"k","safety_identifier":"s","user":"u",
        "service_tier":"flex","truncation":"auto","include":["reasoning.encrypted_content","file_search_call.results"],
        "reasoning":{"effort":"high","summary":"detailed"},"tool_choice":{"type":"custom","name":"patch"},
        "text":{"verbosity":"low","format":{"type":"json_schema","name":"n","description":"d","schema":{"type":"object","x":1.0},"strict":true}},
        "tools":[
            {"type":"function","name":"w","description":"d","parameters":{"type":"object","b":1,"a":2}},
            {"type":"custom","name":"patch","format":{"type":"grammar","syntax":"lark","definition":"start: x"}},
            {"type":"web_search","user_location":{"type":"approximate","city":"B"},"filters":{"allowed_domains":["a.b"]},"search_context_size":"low"},
            {"type":"mcp","server_label":"l","server_url":"https://m","require_approval":"never","allowed_tools":["x"]},
            {"type":"file_search","vector_store_ids":["v"]}],
        "input":[
            {"role":"user","content":"Hi"},
            {"type":"message","role":"developer","id":"msg_0","content":[{"type":"input_text","text":"now"}]},
            {"type":"reasoning","id":"rs_1","summary":[{"type":"summary_text","text":"s"}],"encrypted_content":"gAAA"},
            {"type":"message","role":"assistant","id":"msg_1","status":"completed","phase":"commentary","content":[{"type":"output_text","text":"Ok","annotations":[]},{"type":"refusal","refusal":"no"}]},
            {"type":"function_call","id":"fc_1","call_id":"call_1","name":"w","arguments":"{\"a\": 1.0}"},
            {"type":"custom_tool_call","call_id":"call_2","name":"patch","input":"a\nb"},
            {"type":"function_call_output","call_id":"call_1","output":[{"type":"input_text","text":"x"},{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"high"}]},
            {"type":"custom_tool_call_output","call_id":"call_2","output":"[tool_error] bad"},
            {"role":"user","content":[
                {"type":"input_image","file_id":"file-1","detail":"auto"},
                {"type":"input_image","image_url":"https://i","detail":"original"},
                {"type":"input_file","file_data":"data:application/pdf;base64,JVBE","filename":"a.pdf"},
                {"type":"input_file","file_url":"https://f"},
                {"type":"input_text","text":"go","prompt_cache_breakpoint":{"mode":"explicit"}}]}]});
    let (mut out, notes) = through(&body, &openai());
    let mut expected = body.clone();
    expected["model"] = json!("gpt-5.6");
    expected["stream_options"] = json!({"include_obfuscation":false});
    expected["reasoning"]["summary"] = json!("auto");
    expected["tools"][0]["strict"] = json!(false);
    expected["tools"][0]["parameters"]["properties"] = json!({});
    let items = expected["input"].as_array_mut().unwrap();
    items[0] = json!({"type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]});
    items[8]["type"] = json!("message");
    for item in items {
        let item = item.as_object_mut().unwrap();
        item.remove("id");
        item.remove("status");
    }
    expected["input"][3]["content"][0].as_object_mut().unwrap().remove("annotations");
    for value in [&mut out, &mut expected] {
        let mut list: Vec<String> = value["include"].as_array().unwrap().iter().map(Value::to_string).collect();
        list.sort();
        value["include"] = json!(list);
    }
    assert_eq!(out, expected);
    assert_eq!(notes, "");
}

/// Schemas and numbers keep their bytes.
#[test]
fn spelling_is_kept() {
    let schema = r#"{"type":"object", "properties":{}, "b":1.0,"a":1e400,"a":12345678901234567890}"#;
    let body = format!(
        r#"{{"model":"m","temperature":1.50,"input":"x","tools":[{{"type":"function","name":"f","parameters":{schema}}}]}}"#
    );
    let (cx, mut ledger, mut out) = (cx("gpt-4.1", Host::OpenAi), Ledger::default(), Vec::new());
    let request = decode(RawValue::parse(body.as_bytes()).unwrap(), &mut ledger).unwrap();
    let mut plan = Plan::new(Format::Responses, RawValue::new(b"{}"), &cx);
    encode(&request, &cx, &mut plan, &mut ledger, &mut out).unwrap();
    let out = String::from_utf8(out).unwrap();
    assert!(out.contains(schema) && out.contains("1.50"), "{out}");
}

/// The same bytes each time, and a longer conversation begins with the bytes of the shorter.
#[test]
fn conversations_only_grow() {
    let items = json!([
        {"role":"user","content":"a"},{"type":"function_call","call_id":"1","name":"f","arguments":""},
        {"type":"function_call_output","call_id":"1","output":[{"type":"input_image","image_url":"https://i"}]},
        {"role":"user","content":[{"type":"input_text","text":"b"}]},{"role":"assistant","content":"c"},{"role":"user","content":"d"}]);
    for cx in [openai(), cx("x", Host::Unknown)] {
        let mut before = String::new();
        for n in [1, 3, 4, 6] {
            let body = json!({"model":"m","instructions":"i","input":items.as_array().unwrap()[..n]}).to_string();
            let bytes = || {
                let mut ledger = Ledger::default();
                let request = decode(RawValue::parse(body.as_bytes()).unwrap(), &mut ledger).unwrap();
                let (mut plan, mut out) = (Plan::new(Format::Responses, RawValue::new(b"{}"), &cx), Vec::new());
                encode(&request, &cx, &mut plan, &mut ledger, &mut out).unwrap();
                String::from_utf8(out).unwrap()
            };
            assert_eq!(bytes(), bytes());
            assert!(bytes().starts_with(&before), "{}\n{before}", bytes());
            before = bytes().strip_suffix("]}").unwrap().to_owned();
        }
    }
}

#[test]
fn accepted_client_requests() {
    let body = br#"{"model":"m","input":[{"type":"additional_tools","role":"developer","tools":[{"type":"function","name":"late"},{"type":"function","name":"w"}]},
        {"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"full"}]},
        {"type":"item_reference","id":"x"},{"type":"function_call_output","call_id":"c","output":{"a":1}}],
        "tools":[{"type":"namespace","name":"ns","description":"d","tools":[{"type":"function","name":"t"},{"type":"custom","name":"u"}]},
        {"type":"mcp","server_label":"l","connector_id":"c"},{"type":"tool_search"},{"type":"function","name":"w","defer_loading":true}],
        "tool_choice":{"type":"allowed_tools","mode":"required","tools":[{"type":"function","name":"t"},{"type":"web_search"}]},
        "reasoning":{"effort":"none","context":"auto"},"text":{"format":{"type":"grammar"}},"new_thing":1,
        "previous_response_id":"resp_1","include":["message.output_text.logprobs"]}"#;
    let mut ledger = Ledger::default();
    let request = decode(RawValue::parse(body).unwrap(), &mut ledger).unwrap();
    let names: Vec<String> = request
        .tools
        .iter()
        .map(|tool| match tool {
            Tool::Function(tool) => {
                format!("{:?} {}", tool.namespace.as_ref().map(Text::unescape), tool.name.unescape())
            }
            Tool::Custom(tool) => format!("{:?} {}", tool.namespace.as_ref().map(Text::unescape), tool.name.unescape()),
            Tool::Server { kind, .. } => kind.unescape().into_owned(),
            Tool::Search { .. } => "search".to_owned(),
            _ => "other".to_owned(),
        })
        .collect();
    assert_eq!(names, [r#"Some("ns") t"#, r#"Some("ns") u"#, "mcp", "search", "None w", "None late"]);
    let Some(ToolChoice::Allowed { required: true, names, .. }) = &request.tool_choice else { panic!() };
    assert_eq!(names.iter().map(Text::unescape).collect::<Vec<_>>(), ["t", "web_search"]);
    assert_eq!(request.reasoning, Reasoning { mode: Mode::Off, effort: Some(Effort::None), show: Some(Show::Omitted) });
    assert!(request.ext.find("reasoning.context").is_some() && request.ext.find("new_thing").is_some());
    assert!(matches!(request.format, OutputFormat::Grammar(_)));
    assert!(request.sampling.logprobs && request.state.previous.is_some());
    let ItemKind::Foreign(reference) = &request.items[1].kind else { panic!() };
    assert_eq!(reference.path, "input.2");
    let ItemKind::Result(result) = &request.items[2].kind else { panic!() };
    let [Part::Text(text)] = result.parts.as_slice() else { panic!() };
    assert_eq!(text.text.unescape(), r#"{"a":1}"#);
    assert_eq!(ledger.dropped_header().unwrap(), "tools.description;dropped");
}

#[test]
fn faults_name_their_path() {
    for (body, param) in [
        (r#"{"input":"x"}"#, "model"),
        (r#"{"model":"m"}"#, "input"),
        (r#"{"model":"m","input":5}"#, "input"),
        (r#"{"model":"m","input":[{"role":"robot","content":"x"}]}"#, "input.0.role"),
        (r#"{"model":"m","input":[{"role":"user"}]}"#, "input.0.content"),
        (r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text"}]}]}"#, "input.0.content.0.text"),
        (
            r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_image"}]}]}"#,
            "input.0.content.0.image_url",
        ),
        (r#"{"model":"m","input":[{"type":"function_call","call_id":"c","arguments":""}]}"#, "input.0.name"),
        (r#"{"model":"m","input":"x","tools":[{"type":"function"}]}"#, "tools.0.name"),
        (
            r#"{"model":"m","input":"x","tools":[{"type":"namespace","name":"n","tools":[{"type":"function"}]}]}"#,
            "tools.0.tools.0.name",
        ),
        (r#"{"model":"m","input":"x","tool_choice":"maybe"}"#, "tool_choice"),
        (r#"{"model":"m","input":"x","temperature":"hot"}"#, "temperature"),
        (r#"{"model":"m","input":"x","text":{"format":{"type":"json_schema"}}}"#, "text.format.schema"),
        (r#"{"model":"m","input":"x","include":[1]}"#, "include.0"),
    ] {
        let error = decode(RawValue::parse(body.as_bytes()).unwrap(), &mut Ledger::default()).unwrap_err();
        assert_eq!(error.param.as_deref(), Some(param), "{body}");
    }
}

fn user<'a>(parts: Vec<Part<'a>>) -> Item<'a> {
    Item::new(0, Message::new(Role::User, parts))
}

fn text(text: &str) -> Part<'static> {
    Part::text(Text::plain(text))
}

fn call(kind: CallKind, id: &str, input: ArgText<'static>) -> Item<'static> {
    let name = Text::plain("f");
    let call_id = Text::plain(id);
    Item::new(1, ToolCall { kind, item_id: None, call_id, namespace: None, name, input, opaque: None, cache: None })
}

fn result(id: &str, parts: Vec<Part<'static>>, is_error: bool) -> Item<'static> {
    let call_id = Text::plain(id);
    Item::new(2, ToolResult { call_id, kind: CallKind::Function, parts, is_error, cache: None })
}

fn image() -> Part<'static> {
    let src = Src::Base64 { media: "image/png".into(), data: RawStr::new(b"AAAA") };
    Part::Image(ImagePart { src, detail: None, cache: None, path: Box::default() })
}

fn messages(items: Vec<Item<'static>>) -> Request<'static> {
    Request { model: Text::plain("m"), items, ..Request::new(Format::Messages) }
}

/// A Messages client's tools, results with images in place, thinking in envelopes, documents.
#[test]
fn from_messages() {
    let cx = openai();
    let sealed = |scope| ReasoningItem {
        id: Some(Text::plain("rs_1")),
        parts: vec![ReasoningPart { kind: ReasoningKind::Summary, text: Text::plain("thought") }],
        opaque: vec![Opaque {
            family: Family::OpenAi,
            scope: Some(scope),
            seal: Seal::Encrypted,
            bytes: Text::plain("gAAA+/="),
        }],
        details: None,
    };
    let foreign = Scope::new("another", "gpt");
    let document = FilePart {
        src: Src::Text(Text::plain("plain")),
        name: None,
        title: Some(Text::plain("T")),
        context: Some(Text::plain("C")),
        citations: false,
        cache: None,
        path: Box::default(),
    };
    let mut request = messages(vec![
        user(vec![text("q"), Part::File(Box::new(document))]),
        Item::new(1, sealed(cx.target.scope)),
        Item::new(1, sealed(foreign)),
        call(CallKind::Function, "toolu_1", ArgText::Object(RawValue::new(br#"{"b":1.0,"a":1e400}"#))),
        call(CallKind::Function, "toolu_2", ArgText::Object(RawValue::new(br#"{"_raw_arguments":"{oops"}"#))),
        result("toolu_2", vec![text("bad")], true),
        result("toolu_1", vec![text("see"), image()], false),
        Item::new(3, Message::new(Role::System, vec![text("later")])),
    ]);
    request.system = vec![text("S1"), text("S2")];
    request.tools = vec![Tool::Function(FunctionTool { name: Text::plain("f"), ..FunctionTool::default() })];
    request.reasoning = Reasoning { mode: Mode::Adaptive, effort: Some(Effort::Max), show: Some(Show::Summary) };
    request.identity.safety = Some(Text::plain(&"x".repeat(80)));
    request.sampling.stop = vec![Text::plain("END")];
    let mut ledger = Ledger::default();
    let out = write(&request, &cx, &mut ledger).unwrap();
    assert_eq!((&out["instructions"], &out["store"]), (&json!("S1\n\nS2"), &json!(false)));
    assert_eq!(out["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(out["reasoning"]["summary"], "auto");
    assert_eq!(out["tools"][0]["strict"], false);
    assert_eq!(out["tools"][0]["parameters"]["type"], "object");
    assert_eq!(out["safety_identifier"].as_str().unwrap().len(), 64);
    assert!(out["stop"].is_null());
    assert_eq!(
        out["input"],
        json!([
            {"type":"message","role":"user","content":[{"type":"input_text","text":"q"},{"type":"input_text","text":"C"},
                {"type":"input_file","file_data":"data:text/plain;base64,cGxhaW4=","filename":"T"}]},
            {"type":"reasoning","summary":[{"type":"summary_text","text":"thought"}],"encrypted_content":"gAAA+/="},
            {"type":"function_call","call_id":"toolu_1","name":"f","arguments":"{\"b\":1.0,\"a\":1e400}"},
            {"type":"function_call","call_id":"toolu_2","name":"f","arguments":"{oops"},
            {"type":"function_call_output","call_id":"toolu_1","output":[{"type":"input_text","text":"see"},
                {"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"auto"}]},
            {"type":"function_call_output","call_id":"toolu_2","output":"[tool_error] bad"},
            {"type":"message","role":"developer","content":[{"type":"input_text","text":"later"}]},
        ])
    );
    assert_eq!(ledger.repaired_header().unwrap(), "reasoning=1");
    assert_eq!(ledger.dropped_header().unwrap(), "document.context;approx, document.title;approx");
}

/// A host that imitates the format gets what it is known to take.
#[test]
fn a_compatible_host() {
    let request = messages(vec![
        user(vec![text("q")]),
        call(CallKind::Custom, "c1", ArgText::Free(Text::plain("a\"b"))),
        result("c1", vec![text("see"), image()], false),
        Item::new(3, Message::new(Role::Assistant, vec![text("ok")])),
        Item::new(4, Message::new(Role::Developer, vec![text("rule")])),
    ]);
    let mut ledger = Ledger::default();
    let out = write(&request, &cx("qwen", Host::Unknown), &mut ledger).unwrap();
    assert!(out["include"].is_null() && out["reasoning"].is_null());
    assert_eq!(
        out["input"],
        json!([
            {"type":"message","role":"user","content":"q"},
            {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"input\":\"a\\\"b\"}"},
            {"type":"function_call_output","call_id":"c1","output":"see\n[image 1 of c1 attached below]"},
            {"type":"message","role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"auto"}]},
            {"type":"message","role":"assistant","content":"ok"},
            {"type":"message","role":"system","content":"rule"},
        ])
    );
    assert_eq!(ledger.dropped_header().unwrap(), "tool_result.image;moved");
}

/// Custom calls of a Chat client: results carry no kind there, the call decides.
#[test]
fn results_follow_their_calls() {
    let request = Request {
        items: vec![
            call(CallKind::Custom, "c1", ArgText::Free(Text::plain("x"))),
            call(CallKind::Function, "c2", ArgText::Quoted(Text::EMPTY)),
            result("c1", Vec::new(), false),
            result("c2", vec![text("y")], false),
        ],
        ..messages(Vec::new())
    };
    let out = write(&request, &openai(), &mut Ledger::default()).unwrap();
    assert_eq!(
        out["input"],
        json!([
            {"type":"custom_tool_call","call_id":"c1","name":"f","input":"x"},
            {"type":"function_call","call_id":"c2","name":"f","arguments":"{}"},
            {"type":"custom_tool_call_output","call_id":"c1","output":""},
            {"type":"function_call_output","call_id":"c2","output":"y"},
        ])
    );
}

#[test]
fn cache_points_make_the_system_prompt_an_item() {
    let point = Some(CachePoint { hour: true });
    let mut request = messages(vec![user(vec![text("q")])]);
    request.system = vec![text("a"), Part::Text(TextPart { text: Text::plain("b"), citations: None, cache: point })];
    let (new, old) = (openai(), cx("gpt-5.2", Host::OpenAi));
    let out = write(&request, &new, &mut Ledger::default()).unwrap();
    assert!(out["instructions"].is_null());
    let expected = json!({"type":"message","role":"developer","content":[{"type":"input_text","text":"a"},
        {"type":"input_text","text":"b","prompt_cache_breakpoint":{"mode":"explicit"}}]});
    assert_eq!(out["input"][0], expected);
    assert_eq!(write(&request, &old, &mut Ledger::default()).unwrap()["instructions"], "a\n\nb");
    let cached = || Part::Text(TextPart { text: Text::plain("x"), citations: None, cache: point });
    request.items = vec![user((0..6).map(|_| cached()).collect())];
    let mut ledger = Ledger::default();
    let out = write(&request, &new, &mut ledger).unwrap().to_string();
    assert_eq!(out.matches("prompt_cache_breakpoint").count(), 4);
    assert_eq!(ledger.dropped_header().unwrap(), "cache_control;dropped");
}

#[test]
fn choices() {
    let search = || {
        Tool::WebSearch(WebSearch {
            format: Format::Messages,
            name: None,
            user_location: None,
            allowed_domains: None,
            blocked_domains: None,
            max_uses: Some(8),
            context_size: None,
            cache: None,
        })
    };
    let function = || Tool::Function(FunctionTool { name: Text::plain("f"), ..FunctionTool::default() });
    let named = |name: &str| Some(ToolChoice::Tool { namespace: None, name: Text::plain(name) });
    for (tools, choice, expected) in [
        (vec![function()], Some(ToolChoice::Auto), json!("auto")),
        (vec![function()], Some(ToolChoice::Required), json!("required")),
        (vec![function()], named("f"), json!({"type":"function","name":"f"})),
        (vec![search()], named("web_search"), json!("required")),
        (vec![search(), function()], named("web_search"), json!({"type":"web_search"})),
        (vec![], Some(ToolChoice::Auto), Value::Null),
    ] {
        let request = Request { tools, tool_choice: choice, ..messages(vec![user(vec![text("q")])]) };
        assert_eq!(write(&request, &openai(), &mut Ledger::default()).unwrap()["tool_choice"], expected);
    }
}

/// Refusals that keep the meaning, each with its path.
#[test]
fn refused() {
    let audio = Part::Audio { data: RawStr::new(b""), format: RawStr::new(b"wav"), path: Box::default() };
    let file = Part::Image(ImagePart {
        src: Src::FileId { format: Format::Messages, id: RawStr::new(b"file_1") },
        detail: None,
        cache: None,
        path: Box::default(),
    });
    for (part, code) in [(audio, "unsupported_content"), (file, "file_id_not_portable")] {
        let error = write(&messages(vec![user(vec![part])]), &openai(), &mut Ledger::default()).unwrap_err();
        assert_eq!((error.param.as_deref(), error.code), (Some("messages.0"), Some(code)));
    }
    let prefill = messages(vec![user(vec![text("q")]), Item::new(1, Message::new(Role::Assistant, vec![text("A ")]))]);
    let passed = write(&prefill, &openai(), &mut Ledger::default()).unwrap();
    assert!(passed["input"][1]["role"] == "assistant" && passed["input"][1]["content"][0]["text"] == "A ");
    let policy = Policy { prefill: crate::target::plan::PrefillPolicy::Reject, ..Policy::default() };
    let error = write(&prefill, &Context { policy, ..openai() }, &mut Ledger::default()).unwrap_err();
    assert_eq!(error.code, Some("prefill_unsupported"));
    let hint = Context {
        policy: Policy { prefill: crate::target::plan::PrefillPolicy::Hint, ..Policy::default() },
        ..openai()
    };
    let out = write(&prefill, &hint, &mut Ledger::default()).unwrap();
    let last = out["input"][1]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(last.ends_with(": A") && out["input"][1]["role"] == "user");
}

#[test]
fn pictures_of_the_assistant_are_shown_by_the_user() {
    let out = input(json!([
        {"role":"user","content":"draw"},
        {"role":"assistant","content":[{"type":"output_text","text":"here"},{"type":"input_image","image_url":"https://i"}]},
        {"role":"user","content":"nice"}]));
    let words: Vec<String> =
        out.as_array().unwrap().iter().map(|item| item["content"][0]["type"].to_string()).collect();
    assert_eq!(words, ["\"input_text\"", "\"output_text\"", "\"input_image\"", "\"input_text\""]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a client sends is a request or an error.
    #[test]
    fn any_body(key in "[a-z_.]{0,12}", word in "(null|1|\"x\"|\\{\\}|\\[\\]|\\[1\\]|\\[\\{\\}\\])") {
        let names: Vec<&str> = crate::request::fields::FIELDS.iter().filter(|f| f.format == Format::Responses).map(|f| f.name).collect();
        for name in names.into_iter().chain([key.as_str()]) {
            let body = format!(r#"{{"model":"m","input":[{{"role":"user","content":"x","{key}":{word}}}],"{name}":{word}}}"#);
            if let Ok(body) = RawValue::parse(body.as_bytes()) {
                let mut ledger = Ledger::default();
                if let Ok(request) = decode(body, &mut ledger) {
                    let _ = write(&request, &openai(), &mut ledger);
                }
            }
        }
    }
}

//! What clients of other formats ask for, from its canonical form.

use crate::canonical::args::ArgText;
use crate::canonical::effort::{Effort, Reasoning};
use crate::canonical::request::{
    CachePoint, CallKind, FilePart, ImagePart, Item, Message, OutputFormat, Part, Role, Src, TextPart, ToolCall,
    ToolResult,
};
use crate::canonical::tools::{FunctionTool, Tool};
use crate::formats::messages::request::tests::*;
use crate::json::RawStr;
use crate::reasoning::history;

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

/// The tool loop of `docs/internals/translation/examples.md`, "Chat client, Messages provider",
/// from its canonical form.
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
    let reasoning = history::opaque_of(state.raw(), Vec::new(), None, (Family::OpenAi, Seal::Thinking));

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

/// `max_tokens` is always sent, and a whole answer that may take long is asked for as a stream.
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

/// Media that the format has no place for, and what takes its place
/// (`docs/internals/translation/requests.md`, "Content parts").
#[test]
fn media_of_other_formats() {
    let base64 = |media: &'static str| Src::Base64 { media: media.into(), data: RawStr::new(b"aGk=") };
    let image = |src| Part::Image(ImagePart { src, detail: None, cache: None, path: Box::default() });
    let file = |src| {
        let (name, title, context) = (Some(Text::plain("n.txt")), None, None);
        Part::File(Box::new(FilePart {
            src,
            name,
            title,
            context,
            citations: false,
            cache: None,
            path: Box::default(),
        }))
    };
    let foreign = |format| Src::FileId { format, id: RawStr::new(b"file-1") };
    let url = || Src::Url(Text::plain("https://x"));
    let audio = Part::Audio { data: RawStr::new(b""), format: RawStr::new(b"wav"), path: Box::default() };
    #[rustfmt::skip]
    let rows = [
        (image(base64("image/webp")), "claude-opus-5", Ok(r#"{"type":"image","source":{"type":"base64","media_type":"image/webp","data":"aGk="}}"#)),
        (image(base64("image/tiff")), "claude-opus-5", Err("unsupported_content")),
        (image(foreign(Format::Chat)), "claude-opus-5", Err("file_id_not_portable")),
        (audio, "claude-opus-5", Err("unsupported_content")),
        (file(base64("text/csv")), "claude-opus-5", Ok(r#"{"type":"document","source":{"type":"text","media_type":"text/plain","data":"hi"},"title":"n.txt"}"#)),
        (file(base64("image/png")), "claude-opus-5", Ok(r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}"#)),
        (file(base64("application/pdf")), "other", Err("unsupported_content")),
        (file(base64("application/zip")), "claude-opus-5", Err("unsupported_content")),
        (file(url()), "claude-opus-5", Ok(r#"{"type":"document","source":{"type":"url","url":"https://x"},"title":"n.txt"}"#)),
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

/// What the assistant showed stands in the user's next turn; prompts of Responses before the first
/// turn are the system prompt.
#[test]
fn things_in_other_places() {
    let mut request = chat();
    let shown = Part::Image(ImagePart {
        src: Src::Url(Text::plain("https://x")),
        detail: None,
        cache: None,
        path: Box::default(),
    });
    request.items.push(Item::new(1, Message::new(Role::Assistant, vec![Part::text(Text::plain("a")), shown])));
    request.items.push(Item::new(2, Message::new(Role::User, vec![Part::text(Text::plain("b"))])));
    let developer = Message::new(Role::Developer, vec![Part::text(Text::plain("Be."))]);
    request.items.insert(0, Item::new(0, developer));
    let named = Message { name: Some(Text::plain("Ann")), ..Message::new(Role::User, vec![]) };
    request.items.push(Item::new(3, named));
    let sent = send(&request, &context("claude-opus-5"), Ledger::default()).unwrap();
    let expected = r#"[{"role":"user","content":[{"type":"text","text":"q"}]},{"role":"assistant","content":[{"type":"text","text":"a"}]},{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x"}},{"type":"text","text":"b"}]}]"#;
    assert_eq!((sent.get("messages"), sent.get("system")), (expected, r#"[{"type":"text","text":"Be."}]"#));
    assert_eq!(sent.headers(), "assistant.image;moved, messages.name;dropped | blank_text=1");
}

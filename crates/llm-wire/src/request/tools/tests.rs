use crate::canonical::request::OutputFormat;
use crate::canonical::tools::{ClientTool, CustomTool, FunctionTool, Grammar, McpTool, WebSearch};
use crate::json::RawStr;
use crate::request::tools::builder::{ANSWER_TOOL, Choice};
use crate::request::tools::functions::shim_schema;
use crate::request::tools::*;
use crate::target::overrides::Overrides;
use crate::target::plan::{Policy, ServerTools, Target};
use crate::target::quirks::Host;

fn context(format: Format, host: Host, model: &'static str) -> Context<'static> {
    Context::new(Target::new(format, host, model, "p", &Overrides::default()), "asked")
}

fn claude() -> Context<'static> {
    context(Format::Messages, Host::Anthropic, "claude-opus-5")
}

fn gpt(model: &'static str) -> Context<'static> {
    context(Format::Responses, Host::OpenAi, model)
}

fn function(name: &str, strict: Option<bool>) -> Tool<'static> {
    let schema = Some(RawValue::new(br#"{"type":"object","properties":{"a":{"type":"string","minLength":1}}}"#));
    Tool::Function(FunctionTool { name: Text::plain(name), schema, strict, ..FunctionTool::default() })
}

fn custom(name: &str) -> Tool<'static> {
    let grammar = Some(Grammar { syntax: RawStr::new(b"lark"), definition: RawStr::new(br#"start: \"x\""#) });
    Tool::Custom(CustomTool { name: Text::plain(name), grammar, ..CustomTool::default() })
}

fn server(format: Format, kind: &'static str) -> Tool<'static> {
    Tool::Server { format, kind: RawStr::new(kind.as_bytes()), name: None, raw: RawValue::new(b"{}") }
}

fn search() -> Tool<'static> {
    Tool::WebSearch(WebSearch {
        format: Format::Responses,
        name: None,
        user_location: None,
        allowed_domains: None,
        blocked_domains: None,
        max_uses: None,
        context_size: None,
        cache: None,
    })
}

/// Names and choice as one line, the plan, and the header.
fn run(request: &Request<'_>, cx: &Context<'_>) -> Result<(String, Plan, String), Error> {
    let mut plan = Plan::new(request.from, RawValue::new(b"{}"), cx);
    let mut ledger = Ledger::new(cx.policy.strict);
    let offer = offer(request, cx, &mut plan, &mut ledger)?;
    let tools: Vec<String> = offer
        .tools
        .iter()
        .map(|tool| match tool {
            Offered::Function { name, strict, .. } => format!("{name}:{strict:?}"),
            Offered::Custom { name, .. } => format!("custom {name}"),
            Offered::WebSearch(_) => "search".to_owned(),
            Offered::Mcp(_) => "mcp".to_owned(),
            Offered::Native(_) => "native".to_owned(),
        })
        .collect();
    Ok((format!("{} {:?}", tools.join(" "), offer.choice), plan, ledger.dropped_header().unwrap_or_default()))
}

fn asking(from: Format, tools: Vec<Tool<'static>>) -> Request<'static> {
    Request { tools, ..Request::new(from) }
}

/// `strict` is always said to Responses, and elsewhere only where it is a wish.
#[test]
fn strictness() {
    let rows = [
        (gpt("gpt-5"), None, "f:Some(false) None", ""),
        (gpt("gpt-5"), Some(true), "f:Some(true) None", ""),
        (claude(), None, "f:None None", ""),
        (claude(), Some(true), "f:Some(true) None", "json_schema;approx"),
        (context(Format::Chat, Host::Unknown, "m"), Some(true), "f:None None", "tools.0.strict;dropped"),
    ];
    for (cx, strict, tools, header) in rows {
        let request = asking(Format::Chat, vec![function("f", strict)]);
        let (got, _, dropped) = run(&request, &cx).unwrap();
        assert_eq!((got.as_str(), dropped.as_str()), (tools, header), "{}", cx.target.model);
    }
}

#[test]
fn custom_tools_are_kept_or_shimmed() {
    let request = asking(Format::Responses, vec![custom("apply_patch")]);
    let (got, plan, _) = run(&request, &gpt("gpt-5")).unwrap();
    assert_eq!(got, "custom apply_patch None");
    assert_eq!(plan.tools.find("apply_patch").unwrap().shape, Shape::Custom);
    let (got, plan, _) = run(&request, &claude()).unwrap();
    assert_eq!(got, "apply_patch:None None");
    assert_eq!(plan.tools.find("apply_patch").unwrap().shape, Shape::ShimmedCustom);
    let Tool::Custom(tool) = &request.tools[0] else { panic!() };
    let schema = shim_schema(tool);
    let description = RawValue::parse(&schema).unwrap().path(&["properties", "input", "description"]).unwrap();
    assert!(description.as_str().unwrap().unescape().ends_with("lark grammar:\nstart: \"x\""));
}

/// With namespaces: names are flattened and find their way back.
#[test]
fn names_find_their_way_back() {
    let tool =
        FunctionTool { namespace: Some(Text::plain("fs")), name: Text::plain("read.all"), ..FunctionTool::default() };
    let mut request = asking(Format::Responses, vec![Tool::Function(tool)]);
    request.tool_choice = Some(ToolChoice::Tool { namespace: Some(Text::plain("fs")), name: Text::plain("read.all") });
    let (got, plan, _) = run(&request, &claude()).unwrap();
    let entry = plan.tools.iter().next().unwrap();
    assert!(entry.sent.starts_with("fs__read_all_"), "{}", entry.sent);
    assert!(got.ends_with(&format!("name: {:?}, custom: false }})", entry.sent)), "{got}");
    assert!(entry.name.eq_str("read.all") && entry.namespace.as_ref().unwrap().eq_str("fs"));
    let twice = asking(Format::Chat, vec![function("f", None), function("f", None)]);
    assert_eq!(run(&twice, &claude()).unwrap_err().param.as_deref(), Some("tools.1"));
}

#[test]
fn server_tools_are_an_offer() {
    let mine = |extra: Vec<Tool<'static>>| {
        asking(Format::Responses, std::iter::once(server(Format::Responses, "file_search")).chain(extra).collect())
    };
    let alone = mine(vec![]);
    assert_eq!(run(&alone, &claude()).unwrap_err().code, Some("unsupported_tool"));
    let mut beside = mine(vec![function("f", None)]);
    let (got, _, dropped) = run(&beside, &claude()).unwrap();
    assert_eq!((got.as_str(), dropped.as_str()), ("f:None None", "tools.0;dropped"));
    beside.tool_choice = Some(ToolChoice::Server {
        format: Format::Responses,
        kind: RawStr::new(b"file_search"),
        raw: RawValue::new(b"{}"),
    });
    assert_eq!(run(&beside, &claude()).unwrap_err().param.as_deref(), Some("tools.0"));
    let mut cx = claude();
    cx.policy = Policy { server_tools: ServerTools::Drop, ..Policy::default() };
    assert_eq!(run(&alone, &cx).unwrap().0, " None");
    assert_eq!(run(&alone, &gpt("gpt-5")).unwrap().0, "native None");
    let (got, ..) = run(&asking(Format::Messages, vec![search()]), &gpt("gpt-5")).unwrap();
    assert_eq!(got, "search None", "the only tool, and mapped");
    // A client of the host's own format knows what its host runs.
    let own = asking(Format::Chat, vec![server(Format::Chat, "openrouter:web_search")]);
    let router = context(Format::Chat, Host::OpenRouter, "m");
    assert_eq!(run(&own, &router).unwrap().0, "native None");
    assert!(run(&own, &claude()).is_err());
    let bedrock = context(Format::Messages, Host::Bedrock, "anthropic.claude-opus-5");
    assert!(
        run(&asking(Format::Messages, vec![server(Format::Messages, "code_execution_20250825")]), &bedrock).is_err()
    );
}

#[test]
fn mcp_servers_are_named_where_they_are_called() {
    let mcp = |format| {
        Tool::Mcp(McpTool {
            server: None,
            format,
            label: Text::plain("l"),
            url: Some(Text::plain("https://x")),
            authorization: None,
            allowed: None,
            never_asks: true,
        })
    };
    let (messages, responses) = (Format::Messages, Format::Responses);
    let rows = [
        (responses, claude(), true),
        (responses, context(messages, Host::Bedrock, "anthropic.claude-opus-5"), false),
        (messages, context(messages, Host::Vertex, "claude-opus-5"), false),
        (messages, gpt("gpt-5"), true),
        (responses, context(responses, Host::Vllm, "m"), true),
        (messages, context(responses, Host::Vllm, "m"), false),
        (messages, context(Format::Chat, Host::OpenAi, "gpt-4o"), false),
    ];
    for (from, cx, takes) in rows {
        let got = run(&asking(from, vec![mcp(from)]), &cx);
        assert_eq!(got.is_ok(), takes, "{from} to {} {}", cx.target.format, cx.target.host.name());
    }
}

#[test]
fn tools_with_a_schema_of_the_vendor_become_functions() {
    let tool = |kind| Tool::Client { kind, name: Text::plain("t"), raw: RawValue::new(b"{}") };
    let (got, ..) = run(&asking(Format::Messages, vec![tool(ClientTool::Bash)]), &gpt("gpt-5")).unwrap();
    assert_eq!(got, "t:Some(false) None");
    assert!(run(&asking(Format::Messages, vec![tool(ClientTool::Computer)]), &gpt("gpt-5")).is_err());
    for kind in [ClientTool::Bash, ClientTool::TextEditor, ClientTool::Memory] {
        assert!(RawValue::parse(kind.as_function().unwrap().1.as_bytes()).is_ok());
    }
}

#[test]
fn choices() {
    let with = |choice: Option<ToolChoice<'static>>, parallel| {
        let mut request = asking(Format::Chat, vec![function("f", None), function("g", None)]);
        (request.tool_choice, request.parallel) = (choice, parallel);
        request
    };
    let one = ToolChoice::Tool { namespace: None, name: Text::plain("g") };
    let allowed = ToolChoice::Allowed { required: true, names: vec![Text::plain("g")], raw: RawValue::new(b"{}") };
    let offered = |request: &Request<'static>, cx: &Context<'static>| {
        let mut plan = Plan::new(request.from, RawValue::new(b"{}"), cx);
        let offer = offer(request, cx, &mut plan, &mut Ledger::new(false)).unwrap();
        (offer.choice, offer.parallel, offer.forced, offer.tools.len())
    };
    let g = || Some(Choice::Tool { name: "g".to_owned(), custom: false });
    assert_eq!(offered(&with(Some(one), None), &claude()), (g(), None, true, 2));
    assert_eq!(offered(&with(None, Some(false)), &claude()), (None, Some(false), false, 2));
    assert_eq!(offered(&with(Some(ToolChoice::None), Some(false)), &claude()), (Some(Choice::None), None, false, 2));
    assert_eq!(offered(&with(Some(allowed.clone()), None), &claude()), (Some(Choice::Required), None, true, 1));
    let names = vec!["g".to_owned()];
    let kept = Some(Choice::Allowed { required: true, names });
    assert_eq!(offered(&with(Some(allowed), None), &gpt("gpt-5")), (kept, None, false, 2));
    let empty = Request { tool_choice: Some(ToolChoice::Auto), parallel: Some(false), ..Request::new(Format::Chat) };
    assert_eq!(offered(&empty, &claude()), (None, None, false, 0), "no tools, no choice");
}

#[test]
fn structured_output_without_support_is_a_forced_tool() {
    let mut request = Request::new(Format::Chat);
    request.format = OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema: RawValue::new(br#"{"type":"object"}"#),
        strict: None,
    };
    let old = context(Format::Messages, Host::Anthropic, "claude-sonnet-4-20250514");
    let (got, plan, _) = run(&request, &old).unwrap();
    assert_eq!(got, "json_response:None Some(Tool { name: \"json_response\", custom: false })");
    assert_eq!(plan.tools.find(ANSWER_TOOL).unwrap().shape, Shape::Answer);
    assert_eq!(run(&request, &claude()).unwrap().0, " None");
}

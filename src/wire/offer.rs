//! Which tools a target is offered, under which names and in which shape; and the choice among them (`translation.md` 1.5–1.7).
//!
//! One function, [`offer`], for all targets. Encoders write what it returns and decide nothing about tools themselves. It fills
//! the [`ToolTable`](super::names::ToolTable) of the plan, with which names find their way back.

use std::borrow::Cow;

use super::Format;
use super::caps::Structured;
use super::choice::Choice;
use super::effort::Mode;
use super::item::{CallKind, Item, ItemKind, OutputFormat, Request};
use super::loss::{How, Ledger, Loss, Repair};
use super::names::{self, Shape, ToolEntry};
use super::plan::{Context, Plan, ServerTools};
use super::quirks::Quirk;
use super::read;
use super::schema;
use super::text::Text;
use super::tools::{CustomTool, FunctionTool, McpTool, Tool, ToolChoice, WebSearch};
use crate::error::{Error, Kind};
use crate::json::{RawValue, write};

/// The name of the tool that stands for structured output.
pub const ANSWER_TOOL: &str = "json_response";

/// What to write into `tools`.
#[derive(Debug, Clone)]
pub enum Offered<'r, 'a> {
    Function {
        name: Cow<'r, str>,
        description: Option<Text<'a>>,
        schema: Schema<'a>,
        /// Already fit for the target: `Some` must be written, `None` left out. Always `Some` towards Responses.
        strict: Option<bool>,
        /// `None` for functions that the gateway made.
        source: Option<&'r FunctionTool<'a>>,
    },
    /// A custom tool at a target that knows them.
    Custom {
        name: Cow<'r, str>,
        source: &'r CustomTool<'a>,
    },
    WebSearch(&'r WebSearch<'a>),
    Mcp(&'r McpTool<'a>),
    /// A tool of the target's own format, to be copied.
    Native(RawValue<'a>),
}

/// A JSON schema: the client's bytes, or made here.
#[derive(Debug, Clone)]
pub enum Schema<'a> {
    Raw(RawValue<'a>),
    Made(Vec<u8>),
}

impl Schema<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Schema::Raw(raw) => raw.bytes(),
            Schema::Made(bytes) => bytes,
        }
    }
}

/// All about tools that an encoder writes.
#[derive(Debug, Clone, Default)]
pub struct Offer<'r, 'a> {
    pub tools: Vec<Offered<'r, 'a>>,
    /// `None`: leave the field out.
    pub choice: Option<Choice<'a>>,
    /// `Some(false)`: at most one call at a time. `None`: leave the field out.
    pub parallel: Option<bool>,
    /// The choice names one tool or demands any: manual thinking is refused together with it.
    pub forced: bool,
    /// Structured output is asked for through [`ANSWER_TOOL`]: `output_config.format` must not be written. If this is `false` and
    /// the target has no structured output either (beside other tools, or while thinking), the encoder asks for the schema in
    /// an instruction and enters `json_schema;approx`.
    pub answer_tool: bool,
}

/// Decides about tools for the target of `cx`. Fails for duplicate names, for tools whose loss would change the meaning, and in
/// strict mode for any loss.
pub fn offer<'r, 'a>(
    request: &'r Request<'a>,
    cx: &Context<'_>,
    plan: &mut Plan,
    ledger: &mut Ledger,
) -> Result<Offer<'r, 'a>, Error> {
    let mut maker = Maker { request, cx, plan, ledger, offer: Offer::default(), lacking: Vec::new() };
    let keep = maker.allowed()?;
    for (at, tool) in request.tools.iter().enumerate() {
        if keep.as_ref().is_none_or(|names| names_tool(names, tool)) {
            maker.tool(at, tool)?;
        }
    }
    maker.lacking()?;
    maker.answer_tool()?;
    maker.name_from_history();
    maker.choose()?;
    Ok(maker.offer)
}

pub(super) struct Maker<'m, 'r, 'a> {
    pub(super) request: &'r Request<'a>,
    pub(super) cx: &'m Context<'m>,
    pub(super) plan: &'m mut Plan,
    pub(super) ledger: &'m mut Ledger,
    pub(super) offer: Offer<'r, 'a>,
    /// Server tools that the target lacks: index and type.
    lacking: Vec<(usize, String)>,
}

impl<'r, 'a> Maker<'_, 'r, 'a> {
    pub(super) fn to(&self) -> Format {
        self.cx.target.format
    }

    /// Messages has no `allowed_tools`: the list is cut to the names instead, which renews the prompt cache.
    fn allowed(&mut self) -> Result<Option<&'r [Text<'a>]>, Error> {
        match &self.request.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) if !self.keeps_allowed() => {
                self.ledger.approx(Loss::AllowedTools)?;
                Ok(Some(names))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn keeps_allowed(&self) -> bool {
        self.to() != Format::Messages && self.cx.target.host.is_native()
    }

    fn tool(&mut self, at: usize, tool: &'r Tool<'a>) -> Result<(), Error> {
        match tool {
            Tool::Function(function) => self.function(at, function),
            Tool::Custom(custom) => self.custom(at, custom),
            Tool::WebSearch(search) if self.takes_web_search() => {
                self.offer.tools.push(Offered::WebSearch(search));
                Ok(())
            }
            Tool::WebSearch(_) => self.lacks(at, "web_search"),
            Tool::Mcp(mcp) => self.mcp(at, mcp),
            Tool::Client { kind, name, raw } => match (self.to(), kind.as_function()) {
                (Format::Messages, _) => self.native(*raw),
                (_, Some((description, schema))) => {
                    let sent = self.register(at, None, name, Shape::Function)?;
                    self.offer.tools.push(Offered::Function {
                        name: Cow::Owned(sent),
                        description: Some(Text::plain(description)),
                        schema: Schema::Made(schema.as_bytes().to_vec()),
                        strict: self.strict(None),
                        source: None,
                    });
                    Ok(())
                }
                (_, None) => Err(read::unsupported_tool(&format!("tools.{at}"), "the computer tool")),
            },
            Tool::ToolSearch { format, raw } if *format == self.to() => self.native(*raw),
            Tool::ToolSearch { .. } => self.ledger.drop(Loss::ToolSearch),
            Tool::Server { format, raw, .. } if *format == self.to() && self.cx.target.host.is_native() => {
                self.native(*raw)
            }
            Tool::Server { kind, .. } => self.lacks(at, &kind.unescape()),
        }
    }

    fn native(&mut self, raw: RawValue<'a>) -> Result<(), Error> {
        self.offer.tools.push(Offered::Native(raw));
        Ok(())
    }

    fn takes_web_search(&self) -> bool {
        let target = &self.cx.target;
        target.caps.web_search && (self.to() != Format::Chat || target.model.contains("-search"))
    }

    fn lacks(&mut self, at: usize, kind: &str) -> Result<(), Error> {
        self.lacking.push((at, kind.to_owned()));
        Ok(())
    }

    fn function(&mut self, at: usize, function: &'r FunctionTool<'a>) -> Result<(), Error> {
        let bad_root = |schema: &RawValue<'_>| {
            !schema.is_object() || (self.to() == Format::Messages && !schema::has_object_root(*schema))
        };
        if function.schema.as_ref().is_some_and(bad_root) {
            return Err(read::invalid(&format!("tools.{at}"), "needs a schema whose root is an object"));
        }
        let name = self.register(at, function.namespace.as_ref(), &function.name, Shape::Function)?;
        let losses = [
            (function.examples.is_some() && self.to() != Format::Messages, Loss::ToolExamples),
            (function.callers.is_some() && self.to() != self.request.from, Loss::ToolCallers),
            (function.output_schema.is_some() && self.to() != Format::Responses, Loss::ToolOutputSchema),
        ];
        for (_, loss) in losses.into_iter().filter(|(lost, _)| *lost) {
            self.ledger.lose(
                loss,
                How::Dropped,
                Some(format!("tools.{at}.{}", loss.label().trim_start_matches("tools."))),
            )?;
        }
        let strict = self.strict(function.strict);
        if function.strict == Some(true) && strict != Some(true) {
            self.ledger.lose(Loss::ToolStrict, How::Dropped, Some(format!("tools.{at}.strict")))?;
        }
        let schema = self.schema(function.schema, strict)?;
        self.offer.tools.push(Offered::Function {
            name: Cow::Owned(name),
            description: function.description.clone(),
            schema,
            strict,
            source: Some(function),
        });
        Ok(())
    }

    /// Responses rewrites schemas when `strict` is absent, so it is always written there.
    fn strict(&self, asked: Option<bool>) -> Option<bool> {
        let target = &self.cx.target;
        match target.format {
            Format::Responses => Some(asked.unwrap_or(false) && target.caps.strict_tools),
            _ if target.quirks.has(Quirk::NoToolStrict) || !target.caps.strict_tools => None,
            Format::Messages if target.quirks.has(Quirk::NoMessagesStrict) => None,
            // Absent means false in Chat and Messages: only a wish is worth a field.
            _ => asked.filter(|strict| *strict || self.request.from == Format::Chat),
        }
    }

    fn schema(&mut self, schema: Option<RawValue<'a>>, strict: Option<bool>) -> Result<Schema<'a>, Error> {
        let Some(schema) = schema else { return Ok(Schema::Raw(RawValue::new(schema::EMPTY))) };
        if self.to() == Format::Messages {
            if strict == Some(true) {
                let mut out = Vec::with_capacity(schema.bytes().len() + 32);
                if schema::for_messages(schema, &mut out) {
                    self.ledger.approx(Loss::JsonSchema)?;
                }
                return Ok(Schema::Made(out));
            }
            if schema.find("type").is_none() {
                let mut out = br#"{"type":"object""#.to_vec();
                let inner = &schema.bytes()[1..];
                if !inner.trim_ascii_start().starts_with(b"}") {
                    out.push(b',');
                }
                out.extend_from_slice(inner);
                return Ok(Schema::Made(out));
            }
        }
        Ok(Schema::Raw(schema))
    }

    fn custom(&mut self, at: usize, custom: &'r CustomTool<'a>) -> Result<(), Error> {
        let known = keeps_custom(self.cx, CallKind::Custom);
        let shape = if known { Shape::Custom } else { Shape::ShimmedCustom };
        let name = self.register(at, custom.namespace.as_ref(), &custom.name, shape)?;
        if known {
            self.offer.tools.push(Offered::Custom { name: Cow::Owned(name), source: custom });
            return Ok(());
        }
        self.offer.tools.push(Offered::Function {
            name: Cow::Owned(name),
            description: custom.description.clone(),
            schema: Schema::Made(shim_schema(custom)),
            strict: self.strict(None),
            source: None,
        });
        Ok(())
    }

    fn mcp(&mut self, at: usize, mcp: &'r McpTool<'a>) -> Result<(), Error> {
        let target = &self.cx.target;
        let fits = match target.format {
            Format::Chat => false,
            Format::Messages => mcp.url.is_some() && mcp.never_asks && target.host.is_native(),
            Format::Responses => mcp.url.is_some() && target.host.is_native(),
        };
        if !fits {
            return self.lacks(at, "mcp");
        }
        self.offer.tools.push(Offered::Mcp(mcp));
        Ok(())
    }

    fn register(
        &mut self,
        at: usize,
        namespace: Option<&Text<'a>>,
        name: &Text<'a>,
        shape: Shape,
    ) -> Result<String, Error> {
        let sent = self.sent(namespace, name);
        let flat = namespace.is_none() && name.eq_str(&sent);
        if !flat && namespace.is_none() {
            self.ledger.repair(Repair::ToolName);
        }
        let entry = ToolEntry {
            sent: sent.clone(),
            name: name.clone().into_owned(),
            namespace: namespace.map(|n| n.clone().into_owned()),
            shape,
        };
        if !self.plan.tools.add(entry) {
            let note = format!("two tools are called `{}`", name.unescape());
            return Err(Error::client(Kind::InvalidRequest, note).param(format!("tools.{at}")));
        }
        Ok(sent)
    }

    pub(super) fn sent(&self, namespace: Option<&Text<'_>>, name: &Text<'_>) -> String {
        sent_name(self.cx, namespace, name)
    }

    /// A tool list is an offer: what the target lacks may go, unless it was the point of the request.
    fn lacking(&mut self) -> Result<(), Error> {
        let forced = |kind: &str| match &self.request.tool_choice {
            Some(ToolChoice::Server { kind: chosen, .. }) => chosen.eq_str(kind),
            Some(ToolChoice::Tool { name, .. }) => name.eq_str(kind),
            Some(ToolChoice::Required) => self.offer.tools.is_empty(),
            _ => false,
        };
        let policy = self.cx.policy.server_tools;
        for (at, kind) in &self.lacking {
            let meant = forced(kind) || (self.offer.tools.is_empty() && policy == ServerTools::Auto);
            if policy == ServerTools::Reject || meant {
                return Err(read::unsupported_tool(&format!("tools.{at}"), &format!("the tool `{kind}`")));
            }
        }
        for (at, _) in std::mem::take(&mut self.lacking) {
            self.ledger.lose(Loss::ServerTool, How::Dropped, Some(format!("tools.{at}")))?;
        }
        Ok(())
    }

    /// Structured output at a Messages model without it: one forced tool whose input is the answer.
    fn answer_tool(&mut self) -> Result<(), Error> {
        let OutputFormat::JsonSchema { schema, .. } = &self.request.format else { return Ok(()) };
        let target = &self.cx.target;
        let native = target.caps.structured == Structured::JsonSchema && !target.quirks.has(Quirk::NoMessagesStrict);
        let thinks = matches!(self.request.reasoning.mode, Mode::Manual { .. } | Mode::Adaptive);
        // Beside other tools a forced answer would forbid their use.
        if self.to() != Format::Messages || native || thinks || !self.offer.tools.is_empty() {
            return Ok(());
        }
        if !schema::has_object_root(*schema) {
            return Err(read::invalid(&"response_format", "needs a schema whose root is an object"));
        }
        let name = Text::plain(ANSWER_TOOL);
        self.register(0, None, &name, Shape::Answer)?;
        let schema = self.schema(Some(*schema), None)?;
        self.offer.tools.push(Offered::Function {
            name: Cow::Borrowed(ANSWER_TOOL),
            description: Some(Text::plain("Give the answer with this tool.")),
            schema,
            strict: None,
            source: None,
        });
        self.offer.answer_tool = true;
        Ok(())
    }

    /// Messages refuses calls in history without tools: name them again, and forbid their use.
    fn name_from_history(&mut self) {
        if self.to() != Format::Messages || !self.offer.tools.is_empty() {
            return;
        }
        let mut seen: Vec<String> = Vec::new();
        for item in &self.request.items {
            let Item { kind: ItemKind::Call(call), .. } = item else { continue };
            let name = self.sent(call.namespace.as_ref(), &call.name);
            if !seen.contains(&name) {
                seen.push(name);
            }
        }
        for name in seen {
            self.ledger.repair(Repair::NoTools);
            self.offer.tools.push(Offered::Function {
                name: Cow::Owned(name),
                description: None,
                schema: Schema::Raw(RawValue::new(schema::EMPTY)),
                strict: None,
                source: None,
            });
            self.offer.choice = Some(Choice::None);
        }
    }
}

/// The name under which the target knows a tool, for calls in history.
pub fn sent_name(cx: &Context<'_>, namespace: Option<&Text<'_>>, name: &Text<'_>) -> String {
    let namespace = namespace.map(|n| n.unescape().into_owned());
    names::tool_name(cx.target.caps.tool_names, namespace.as_deref(), &name.unescape()).into_owned()
}

/// Whether a call in history, and its result, stay calls of a custom tool at the target; otherwise they are calls of a function
/// whose input is shimmed.
pub fn keeps_custom(cx: &Context<'_>, kind: CallKind) -> bool {
    kind == CallKind::Custom && cx.target.caps.custom_tools && cx.target.format != Format::Messages
}

fn names_tool(names: &[Text<'_>], tool: &Tool<'_>) -> bool {
    let named = |name: &Text<'_>| names.iter().any(|n| n.eq_str(&name.unescape()));
    match tool {
        Tool::Function(tool) => named(&tool.name),
        Tool::Custom(tool) => named(&tool.name),
        Tool::Client { name, .. } => named(name),
        Tool::Mcp(tool) => named(&tool.label),
        Tool::WebSearch(_) => names.iter().any(|n| n.as_bytes().starts_with(b"web_search")),
        Tool::ToolSearch { .. } => false,
        Tool::Server { kind, name, .. } => {
            name.as_ref().is_some_and(named) || names.iter().any(|n| n.as_bytes() == kind.as_bytes())
        }
    }
}

/// `{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}`, with the grammar in the description.
fn shim_schema(custom: &CustomTool<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    write::object(&mut out, |o| {
        o.str("type", "object");
        o.object("properties", |o| {
            o.object("input", |o| {
                o.str("type", "string");
                if let Some(grammar) = custom.grammar {
                    let out = o.key("description");
                    out.extend_from_slice(b"\"The input must match this ");
                    out.extend_from_slice(grammar.syntax.as_bytes());
                    out.extend_from_slice(b" grammar:\\n");
                    out.extend_from_slice(grammar.definition.as_bytes());
                    out.push(b'"');
                }
            });
        });
        o.array("required", |a| a.str("input"));
        o.bool("additionalProperties", false);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::super::caps::Overrides;
    use super::super::plan::{Policy, Target};
    use super::super::quirks::Host;
    use super::super::tools::{ClientTool, Grammar};
    use super::*;
    use crate::json::RawStr;

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

    /// Property 31: `strict` is always said to Responses, and elsewhere only where it is a wish.
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

    /// Property 28, with namespaces: names are flattened and find their way back.
    #[test]
    fn names_find_their_way_back() {
        let tool = FunctionTool {
            namespace: Some(Text::plain("fs")),
            name: Text::plain("read.all"),
            ..FunctionTool::default()
        };
        let mut request = asking(Format::Responses, vec![Tool::Function(tool)]);
        request.tool_choice =
            Some(ToolChoice::Tool { namespace: Some(Text::plain("fs")), name: Text::plain("read.all") });
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
        assert_eq!(
            offered(&with(Some(ToolChoice::None), Some(false)), &claude()),
            (Some(Choice::None), None, false, 2)
        );
        assert_eq!(offered(&with(Some(allowed.clone()), None), &claude()), (Some(Choice::Required), None, true, 1));
        let names = vec!["g".to_owned()];
        let kept = Some(Choice::Allowed { required: true, names });
        assert_eq!(offered(&with(Some(allowed), None), &gpt("gpt-5")), (kept, None, false, 2));
        let empty =
            Request { tool_choice: Some(ToolChoice::Auto), parallel: Some(false), ..Request::new(Format::Chat) };
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
}

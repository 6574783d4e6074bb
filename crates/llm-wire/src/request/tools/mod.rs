//! Which tools a target is offered, under which names and in which shape; and the choice among them
//! (`docs/internals/translation/requests.md`, "Function tools").
//!
//! One function, [`offer`], for all targets. Encoders write what it returns and decide nothing
//! about tools themselves. It fills the [`ToolTable`](tool_names::ToolTable) of the plan, with
//! which names find their way back. [`functions`] and [`server`] hold the rules for either kind of
//! tool.

mod functions;
mod server;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashSet;

use crate::Format;
use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{CallKind, Request};
use crate::canonical::text::Text;
use crate::canonical::tools::{CustomTool, FunctionTool, McpTool, Tool, ToolChoice, WebSearch};
use crate::error::Error;
use crate::formats::profile::RequestProfile;
use crate::json::RawValue;
use crate::request::reader;
use crate::request::tool_choice::Choice;
use crate::target::plan::{Context, Plan};
use crate::target::tool_names;
use crate::target::tool_names::Shape;

/// The name of the tool that stands for structured output.
pub(crate) const ANSWER_TOOL: &str = "json_response";

/// Why a tool of a vendor is refused.
pub(crate) const NO_TOOL: &str =
    "neither the provider nor its format offers it; use one that does, or declare a function in its place";

/// What to write into `tools`.
#[derive(Debug, Clone)]
pub(crate) enum Offered<'r, 'a> {
    Function {
        name: Cow<'r, str>,
        description: Option<Text<'a>>,
        schema: Schema<'a>,
        /// Already fit for the target: `Some` must be written, `None` left out. Always `Some`
        /// towards Responses.
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
pub(crate) enum Schema<'a> {
    Raw(RawValue<'a>),
    Made(Vec<u8>),
}

impl Schema<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Schema::Raw(raw) => raw.bytes(),
            Schema::Made(bytes) => bytes,
        }
    }
}

/// All about tools that an encoder writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Offer<'r, 'a> {
    pub tools: Vec<Offered<'r, 'a>>,
    /// `None`: leave the field out.
    pub choice: Option<Choice<'a>>,
    /// `Some(false)`: at most one call at a time. `None`: leave the field out.
    pub parallel: Option<bool>,
    /// The choice names one tool or demands any: manual thinking is refused together with it.
    pub forced: bool,
    /// Structured output is asked for through [`ANSWER_TOOL`]: `output_config.format` must not be
    /// written. If this is `false` and the target has no structured output either (beside other
    /// tools, or while thinking), the encoder asks for the schema in an instruction and enters
    /// `json_schema;approx`.
    pub answer_tool: bool,
}

/// Decides about tools for the target of `cx`. Fails for duplicate names, for tools whose loss
/// would change the meaning, and in strict mode for any loss.
pub(crate) fn offer<'r, 'a>(
    request: &'r Request<'a>,
    cx: &Context<'_>,
    plan: &mut Plan,
    ledger: &mut Ledger,
) -> Result<Offer<'r, 'a>, Error> {
    let mut builder = ToolsBuilder { request, cx, plan, ledger, offer: Offer::default(), lacking: Vec::new() };
    let keep = builder.allowed()?;
    for (at, tool) in request.tools.iter().enumerate() {
        if keep.as_ref().is_none_or(|allowed| allowed.has(tool)) {
            builder.tool(at, tool)?;
        }
    }
    builder.lacking()?;
    builder.answer_tool()?;
    builder.name_from_history();
    builder.choose()?;
    Ok(builder.offer)
}

pub(crate) struct ToolsBuilder<'m, 'r, 'a> {
    pub(crate) request: &'r Request<'a>,
    pub(crate) cx: &'m Context<'m>,
    pub(crate) plan: &'m mut Plan,
    pub(crate) ledger: &'m mut Ledger,
    pub(crate) offer: Offer<'r, 'a>,
    /// Server tools that the target lacks: index, type, and why.
    /// Place, kind, and what the target lacks, of tools that it does not run.
    lacking: Vec<(String, String, &'static str)>,
}

impl<'r, 'a> ToolsBuilder<'_, 'r, 'a> {
    pub(crate) fn to(&self) -> Format {
        self.cx.target.format
    }

    /// What requests of the target's format can say.
    pub(crate) fn target_profile(&self) -> &'static RequestProfile {
        &self.to().profile().request
    }

    /// Messages has no `allowed_tools`: the list is cut to the names instead, which renews the
    /// prompt cache.
    fn allowed(&mut self) -> Result<Option<Allowed<'r>>, Error> {
        match &self.request.tool_choice {
            Some(ToolChoice::Allowed { names, .. }) if !self.keeps_allowed() => {
                self.ledger.approx(Loss::AllowedTools)?;
                Ok(Some(Allowed::of(names)))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn keeps_allowed(&self) -> bool {
        self.target_profile().tools.has_allowed && self.cx.target.host.is_native()
    }

    fn tool(&mut self, at: usize, tool: &'r Tool<'a>) -> Result<(), Error> {
        match tool {
            Tool::Function(function) => self.function(at, function),
            Tool::Custom(custom) => self.custom(at, custom),
            Tool::WebSearch(search) if self.takes_web_search() => {
                self.offer.tools.push(Offered::WebSearch(search));
                Ok(())
            }
            Tool::WebSearch(_) => self.lacks(format!("tools.{at}"), "web_search", NO_TOOL),
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
                (_, None) => Err(reader::unsupported_tool(&format!("tools.{at}"), "the computer tool", NO_TOOL)),
            },
            Tool::Search { format, raw } if *format == self.to() => self.native(*raw),
            Tool::Search { .. } => self.ledger.drop(Loss::ToolSearch),
            Tool::Server { format, raw, .. } if *format == self.to() && self.runs_tools() => self.native(*raw),
            Tool::Server { kind, .. } => {
                let kind = kind.unescape();
                self.lacks(format!("tools.{at}"), &kind, self.why_no_server_tool(&kind))
            }
        }
    }

    fn native(&mut self, raw: RawValue<'a>) -> Result<(), Error> {
        self.offer.tools.push(Offered::Native(raw));
        Ok(())
    }

    pub(crate) fn sent(&self, namespace: Option<&Text<'_>>, name: &Text<'_>) -> String {
        sent_name(self.cx, namespace, name)
    }
}

/// The name under which the target knows a tool, for calls in history.
pub(crate) fn sent_name(cx: &Context<'_>, namespace: Option<&Text<'_>>, name: &Text<'_>) -> String {
    let namespace = namespace.map(|n| n.unescape().into_owned());
    tool_names::tool_name(cx.target.caps.tool_names, namespace.as_deref(), &name.unescape()).into_owned()
}

/// Whether a call in history, and its result, stay calls of a custom tool at the target; otherwise
/// they are calls of a function whose input is shimmed.
pub(crate) fn keeps_custom(cx: &Context<'_>, kind: CallKind) -> bool {
    kind == CallKind::Custom && cx.target.caps.custom_tools && cx.target.format.profile().request.tools.has_custom
}

/// The tools that a choice allows.
struct Allowed<'r> {
    names: HashSet<Cow<'r, str>>,
    web_search: bool,
}

impl<'r> Allowed<'r> {
    fn of(names: &'r [Text<'_>]) -> Allowed<'r> {
        let names: HashSet<Cow<'r, str>> = names.iter().map(Text::unescape).collect();
        let web_search = names.iter().any(|name| name.starts_with("web_search"));
        Allowed { names, web_search }
    }

    fn has(&self, tool: &Tool<'_>) -> bool {
        let named = |name: &Text<'_>| self.names.contains(name.unescape().as_ref());
        match tool {
            Tool::Function(tool) => named(&tool.name),
            Tool::Custom(tool) => named(&tool.name),
            Tool::Client { name, .. } => named(name),
            Tool::Mcp(tool) => named(&tool.label),
            Tool::WebSearch(_) => self.web_search,
            Tool::Search { .. } => false,
            Tool::Server { kind, name, .. } => {
                name.as_ref().is_some_and(named) || self.names.contains(kind.unescape().as_ref())
            }
        }
    }
}

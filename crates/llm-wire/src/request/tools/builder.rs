//! What an offer of tools consists of, and what its steps share.

use std::borrow::Cow;

use crate::canonical::loss::Ledger;
use crate::canonical::request::{CallKind, Request};
use crate::canonical::text::Text;
use crate::canonical::tools::{CustomTool, FunctionTool, McpTool, WebSearch};
use crate::json::RawValue;
use crate::target::plan::{Context, Plan};
use crate::target::tool_names;

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
    /// Returns the schema as JSON.
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

/// The state of one offer while it is made.
pub(crate) struct ToolsBuilder<'m, 'r, 'a> {
    pub(crate) request: &'r Request<'a>,
    pub(crate) cx: &'m Context<'m>,
    pub(crate) plan: &'m mut Plan,
    pub(crate) ledger: &'m mut Ledger,
    pub(crate) offer: Offer<'r, 'a>,
    /// The server tools that the target does not run: path, type, and the reason.
    pub(super) lacking: Vec<(String, String, &'static str)>,
}

/// The name under which the target knows a tool, for calls in history.
pub(crate) fn sent_name(cx: &Context<'_>, namespace: Option<&Text<'_>>, name: &Text<'_>) -> String {
    let namespace = namespace.map(|n| n.unescape().into_owned());
    tool_names::tool_name(cx.target.caps.tool_names, namespace.as_deref(), &name.unescape()).into_owned()
}

/// Returns whether a call in history, and its result, stay calls of a custom tool at the target;
/// otherwise they are calls of a function whose input is shimmed.
pub(crate) fn keeps_custom(cx: &Context<'_>, kind: CallKind) -> bool {
    kind == CallKind::Custom && cx.target.caps.custom_tools && cx.target.format.profile().request.tools.has_custom
}

/// What to write into `tool_choice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    Auto,
    None,
    Required,
    /// The name as it is sent, and whether the target knows the tool as a custom one.
    Tool {
        name: String,
        custom: bool,
    },
    /// C and R `allowed_tools` between those two: mode and sent names.
    Allowed {
        required: bool,
        names: Vec<String>,
    },
    /// A choice of the target's own format, to be copied.
    Native(RawValue<'a>),
}

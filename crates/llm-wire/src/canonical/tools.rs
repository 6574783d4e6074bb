//! Tools and the choice among them, in canonical form.
//!
//! What is offered to a target, under which names and in which shape, is decided in
//! [`offer`](crate::request::tools).

use crate::canonical::cache::CachePoint;
use crate::canonical::text::Text;
use crate::format::Format;
use crate::json::{RawStr, RawValue};

/// A tool that the client offers to the model.
#[derive(Debug, Clone)]
pub enum Tool<'a> {
    Function(FunctionTool<'a>),
    Custom(CustomTool<'a>),
    WebSearch(WebSearch<'a>),
    /// A remote MCP server: R `mcp`, M `mcp_servers` with its `mcp_toolset`.
    Mcp(McpTool<'a>),
    /// A tool whose schema the vendor keeps and the client runs: M `bash_*`, `text_editor_*`,
    /// `memory_*`, `computer_*`.
    Client {
        kind: ClientTool,
        name: Text<'a>,
        raw: RawValue<'a>,
    },
    /// Finds deferred tools: R `tool_search`, M `tool_search_tool_*`.
    Search {
        format: Format,
        raw: RawValue<'a>,
    },
    /// Any other tool that runs at its vendor, and every tool type not known here.
    Server {
        format: Format,
        /// Its `type`.
        kind: RawStr<'a>,
        /// Its `name`, where it has one.
        name: Option<Text<'a>>,
        raw: RawValue<'a>,
    },
}

/// A function that the client runs. Its input is a JSON object.
#[derive(Debug, Clone, Default)]
pub struct FunctionTool<'a> {
    /// R `namespace`: the name of the group.
    pub namespace: Option<Text<'a>>,
    pub name: Text<'a>,
    pub description: Option<Text<'a>>,
    /// `None` where the client gave none: a function without parameters.
    pub schema: Option<RawValue<'a>>,
    /// `None` where the client did not say. An R client's `null` is `None`.
    pub strict: Option<bool>,
    /// Deferred loading: towards families without tool search the tool is loaded normally, never
    /// left hidden.
    pub defer: bool,
    /// M `input_examples`.
    pub examples: Option<RawValue<'a>>,
    /// M `eager_input_streaming`.
    pub eager: Option<bool>,
    /// `allowed_callers` (M, R).
    pub callers: Option<RawValue<'a>>,
    /// R `output_schema`.
    pub output_schema: Option<RawValue<'a>>,
    pub cache: Option<CachePoint>,
}

/// A freeform tool: its input is text, maybe bound to a grammar.
#[derive(Debug, Clone, Default)]
pub struct CustomTool<'a> {
    pub namespace: Option<Text<'a>>,
    pub name: Text<'a>,
    pub description: Option<Text<'a>>,
    /// `None`: any text.
    pub grammar: Option<Grammar<'a>>,
    pub defer: bool,
}

/// C nests it under `format.grammar`, R has it flat in `format`.
#[derive(Debug, Clone, Copy)]
pub struct Grammar<'a> {
    /// `lark` or `regex`.
    pub syntax: RawStr<'a>,
    pub definition: RawStr<'a>,
}

/// C `web_search_options`, M `web_search_*`, R `web_search*`.
#[derive(Debug, Clone)]
pub struct WebSearch<'a> {
    pub format: Format,
    /// The M name of the tool, `web_search` as a rule.
    pub name: Option<Text<'a>>,
    pub user_location: Option<RawValue<'a>>,
    /// M `allowed_domains`, R `filters.allowed_domains`.
    pub allowed_domains: Option<RawValue<'a>>,
    /// M only.
    pub blocked_domains: Option<RawValue<'a>>,
    /// M only.
    pub max_uses: Option<u64>,
    /// C and R: `low`, `medium`, `high`.
    pub context_size: Option<RawStr<'a>>,
    pub cache: Option<CachePoint>,
}

/// A remote MCP server, whose tools the provider calls.
#[derive(Debug, Clone)]
pub struct McpTool<'a> {
    pub format: Format,
    /// R `server_label`, M `name`.
    pub label: Text<'a>,
    pub url: Option<Text<'a>>,
    /// M: its place in `mcp_servers`, where no entry of `tools` stands for it.
    pub server: Option<usize>,
    /// R `authorization`, M `authorization_token`.
    pub authorization: Option<Text<'a>>,
    /// A list of names.
    pub allowed: Option<RawValue<'a>>,
    /// No call needs an approval (R `require_approval: "never"`; always so in M).
    pub never_asks: bool,
}

/// A tool that the vendor has defined and the client runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientTool {
    Bash,
    TextEditor,
    Memory,
    Computer,
}

impl ClientTool {
    /// By the `type` of an M tool, whatever its date.
    pub fn of(kind: &str) -> Option<ClientTool> {
        let table = [
            ("bash_", ClientTool::Bash),
            ("text_editor_", ClientTool::TextEditor),
            ("memory_", ClientTool::Memory),
            ("computer_", ClientTool::Computer),
        ];
        table.into_iter().find(|(prefix, _)| kind.starts_with(prefix)).map(|(_, tool)| tool)
    }

    /// Description and schema for targets that know functions only, after Anthropic's tool pages
    /// (2026). `None`: has none that would work, since the model was trained on the vendor's own
    /// form.
    pub fn as_function(self) -> Option<(&'static str, &'static str)> {
        match self {
            ClientTool::Bash => Some((
                "Run a command in a persistent bash session. Set restart to true to start the session anew.",
                r#"{"type":"object","properties":{"command":{"type":"string","description":"The command to run"},"restart":{"type":"boolean","description":"Start the session anew"}}}"#,
            )),
            ClientTool::TextEditor => Some((
                "View, create and edit text files.",
                r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"]},"path":{"type":"string","description":"Absolute path of a file or directory"},"file_text":{"type":"string","description":"For create: the content of the new file"},"old_str":{"type":"string","description":"For str_replace: the text to replace, which must occur exactly once"},"new_str":{"type":"string","description":"For str_replace: the new text"},"insert_line":{"type":"integer","description":"For insert: the line after which the text goes, 0 for the beginning"},"insert_text":{"type":"string","description":"For insert: the text"},"view_range":{"type":"array","items":{"type":"integer"},"description":"For view: first and last line, -1 for the end"}},"required":["command","path"]}"#,
            )),
            ClientTool::Memory => Some((
                "Keep notes in files under /memories that last between conversations.",
                r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string"},"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string"},"new_path":{"type":"string"}},"required":["command"]}"#,
            )),
            ClientTool::Computer => None,
        }
    }
}

/// Which tool the model has to use.
#[derive(Debug, Clone)]
pub enum ToolChoice<'a> {
    Auto,
    None,
    /// C and R `required`, M `any`.
    Required,
    /// One function or custom tool; M does not tell which of both.
    Tool {
        namespace: Option<Text<'a>>,
        name: Text<'a>,
    },
    /// C and R `allowed_tools`.
    Allowed {
        /// `required` instead of `auto`.
        required: bool,
        names: Vec<Text<'a>>,
        raw: RawValue<'a>,
    },
    /// A tool that runs at the vendor.
    Server {
        format: Format,
        kind: RawStr<'a>,
        raw: RawValue<'a>,
    },
}

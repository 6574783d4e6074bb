//! Tools that a client declares, and its choice among them.

use std::collections::HashMap;

use crate::canonical::loss::Ledger;
use crate::canonical::text::Text;
use crate::canonical::tools::{ClientTool, FunctionTool, McpTool, Tool, ToolChoice, WebSearch};
use crate::error::Error;
use crate::format::Format;
use crate::formats::messages::request::content::cache_of;
use crate::json::{RawStr, RawValue};
use crate::request::reader;
use crate::request::reader::Path;

/// Reads `tools`, and the MCP servers beside them.
pub(crate) fn tools<'a>(
    tools: Option<RawValue<'a>>,
    servers: Option<RawValue<'a>>,
    ledger: &mut Ledger,
) -> Result<Vec<Tool<'a>>, Error> {
    let mut out = Vec::new();
    let mut servers = Servers::read(servers)?;
    let path = Path::root("tools");
    let list = tools.map(|tools| reader::array(tools, &path)).transpose()?;
    for (n, tool) in list.into_iter().flatten().enumerate() {
        let path = path.index(n);
        let tool = reader::object(tool, &path)?;
        let kind = match tool.find("type").and_then(reader::some) {
            Some(kind) => reader::string(kind, &path.key("type"))?,
            None => RawStr::new(b"custom"),
        };
        out.push(match kind.unescape().as_ref() {
            "custom" => function(tool, &path, ledger)?,
            "mcp_toolset" => toolset(tool, kind, &mut servers),
            word => vendor_tool(tool, kind, word, &path)?,
        });
    }
    // In the first version of the beta a server needed no entry in `tools`.
    out.extend(servers.list.into_iter().flatten().map(Tool::Mcp));
    Ok(out)
}

fn function<'a>(tool: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Tool<'a>, Error> {
    let mut out = FunctionTool { cache: cache_of(tool), ..FunctionTool::default() };
    for (key, value, _) in tool.members() {
        if value.is_null() {
            continue;
        }
        match key.unescape().as_ref() {
            "type" | "cache_control" => {}
            "name" => out.name = reader::string(value, &path.key("name"))?.into(),
            "description" => out.description = Some(reader::string(value, &path.key("description"))?.into()),
            "input_schema" => out.schema = Some(reader::object(value, &path.key("input_schema"))?),
            "strict" => out.strict = Some(reader::boolean(value, &path.key("strict"))?),
            "defer_loading" => out.defer = reader::boolean(value, &path.key("defer_loading"))?,
            "input_examples" => out.examples = Some(value),
            "eager_input_streaming" => out.eager = Some(reader::boolean(value, &path.key("eager_input_streaming"))?),
            "allowed_callers" => out.callers = Some(value),
            unknown => ledger.unknown(&path.key(unknown).to_string())?,
        }
    }
    if out.name.is_empty() {
        return Err(reader::invalid(&path.key("name"), "is required"));
    }
    Ok(Tool::Function(out))
}

/// Reads a tool whose `type` the vendor defines.
fn vendor_tool<'a>(raw: RawValue<'a>, kind: RawStr<'a>, word: &str, path: &Path<'_>) -> Result<Tool<'a>, Error> {
    let name: Option<Text<'a>> = raw.find("name").and_then(RawValue::as_str).map(Into::into);
    if word.starts_with("web_search_") {
        let list = |key| raw.find(key).and_then(reader::some);
        let max_uses = list("max_uses").map(|n| reader::count(n, &path.key("max_uses"))).transpose()?;
        return Ok(Tool::WebSearch(WebSearch {
            format: Format::Messages,
            name,
            user_location: list("user_location"),
            allowed_domains: list("allowed_domains"),
            blocked_domains: list("blocked_domains"),
            max_uses,
            context_size: None,
            cache: cache_of(raw),
        }));
    }
    if word.starts_with("tool_search_tool_") {
        return Ok(Tool::Search { format: Format::Messages, raw });
    }
    Ok(match (ClientTool::of(word), name) {
        (Some(kind), Some(name)) => Tool::Client { kind, name, raw },
        (_, name) => Tool::Server { format: Format::Messages, kind, name, raw },
    })
}

/// MCP servers that no toolset has taken yet.
struct Servers<'a> {
    list: Vec<Option<McpTool<'a>>>,
    /// Places in `list` by label, the first of them last.
    by_label: HashMap<Text<'a>, Vec<usize>>,
}

impl<'a> Servers<'a> {
    fn read(servers: Option<RawValue<'a>>) -> Result<Servers<'a>, Error> {
        let mut list = Vec::new();
        let path = Path::root("mcp_servers");
        let servers = servers.map(|servers| reader::array(servers, &path)).transpose()?;
        for (n, server) in servers.into_iter().flatten().enumerate() {
            let path = path.index(n);
            let server = reader::object(server, &path)?;
            let text = |key| server.find(key).and_then(RawValue::as_str).map(Text::from);
            list.push(Some(McpTool {
                format: Format::Messages,
                label: reader::string(reader::required(server, "name", &path)?, &path.key("name"))?.into(),
                url: text("url"),
                server: Some(n),
                authorization: text("authorization_token"),
                allowed: server.path(&["tool_configuration", "allowed_tools"]).and_then(reader::some),
                never_asks: true,
            }));
        }
        let mut by_label: HashMap<Text<'a>, Vec<usize>> = HashMap::new();
        for (at, server) in list.iter().enumerate().rev() {
            by_label
                .entry(server.as_ref().map(|server| server.label.clone()).unwrap_or_default())
                .or_default()
                .push(at);
        }
        Ok(Servers { list, by_label })
    }

    fn take(&mut self, label: &Text<'a>) -> Option<McpTool<'a>> {
        let at = self.by_label.get_mut(label)?.pop()?;
        let server = self.list.get_mut(at)?.take()?;
        Some(McpTool { server: None, ..server })
    }
}

/// A toolset stands for its server. One that switches single tools on or off says more than other
/// formats can.
fn toolset<'a>(raw: RawValue<'a>, kind: RawStr<'a>, servers: &mut Servers<'a>) -> Tool<'a> {
    let name = raw.find("mcp_server_name").and_then(RawValue::as_str).map(Text::from);
    let switches = |config: RawValue<'_>| config.find("enabled").is_some_and(|on| on.as_bool() == Some(false));
    let narrows = raw.find("default_config").is_some_and(switches)
        || raw.find("configs").is_some_and(|configs| configs.members().any(|(_, config, _)| switches(config)));
    match name.as_ref().filter(|_| !narrows).and_then(|name| servers.take(name)) {
        Some(server) => Tool::Mcp(server),
        None => Tool::Server { format: Format::Messages, kind, name, raw },
    }
}

/// Reads `tool_choice`, and its switch for parallel calls.
pub(crate) fn choice<'a>(choice: RawValue<'a>) -> Result<(Option<ToolChoice<'a>>, Option<bool>), Error> {
    let path = Path::root("tool_choice");
    let choice = reader::object(choice, &path)?;
    let kind = reader::string(reader::required(choice, "type", &path)?, &path.key("type"))?;
    let parallel = match choice.find("disable_parallel_tool_use").and_then(reader::some) {
        Some(flag) => Some(!reader::boolean(flag, &path.key("disable_parallel_tool_use"))?),
        None => None,
    };
    let choice = match kind.unescape().as_ref() {
        "auto" => ToolChoice::Auto,
        "any" => ToolChoice::Required,
        "none" => ToolChoice::None,
        "tool" => {
            let name = reader::string(reader::required(choice, "name", &path)?, &path.key("name"))?;
            ToolChoice::Tool { namespace: None, name: name.into() }
        }
        _ => return Err(reader::invalid(&path.key("type"), "must be `auto`, `any`, `tool` or `none`")),
    };
    Ok((Some(choice), parallel))
}

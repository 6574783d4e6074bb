//! Tools that a client declares, and its choice among them.

use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::text::Text;
use crate::canonical::tools::{CustomTool, FunctionTool, Grammar, McpTool, Tool, ToolChoice, WebSearch};
use crate::error::Error;
use crate::format::Format;
use crate::formats::responses::request::members::{known, optional};
use crate::json::{RawKind, RawStr, RawValue};
use crate::request::reader;
use crate::request::reader::Path;

/// Reads a list of tools; those of a namespace stand in the list with the rest.
pub(crate) fn tools<'a>(
    list: Option<RawValue<'a>>,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<Vec<Tool<'a>>, Error> {
    let mut out = Vec::new();
    if let Some(list) = list.and_then(reader::some) {
        for (n, tool) in reader::array(list, path)?.enumerate() {
            one(tool, None, &path.index(n), &mut out, ledger)?;
        }
    }
    Ok(out)
}

fn one<'a>(
    tool: RawValue<'a>,
    namespace: Option<RawStr<'a>>,
    path: &Path<'_>,
    out: &mut Vec<Tool<'a>>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let tool = reader::object(tool, path)?;
    let kind = reader::string(reader::required(tool, "type", path)?, &path.key("type"))?;
    out.push(match kind.unescape().as_ref() {
        "function" => function(tool, namespace, path, ledger)?,
        "custom" => custom(tool, namespace, path, ledger)?,
        "namespace" if namespace.is_none() => return grouped(tool, path, out, ledger),
        "tool_search" => Tool::Search { format: Format::Responses, raw: tool },
        "mcp" => mcp(tool, kind, path)?,
        word if word.starts_with("web_search") => web_search(tool, path, ledger)?,
        _ => server(tool, kind),
    });
    Ok(())
}

/// Reads a namespace. Its own description has no place elsewhere.
fn grouped<'a>(tool: RawValue<'a>, path: &Path<'_>, out: &mut Vec<Tool<'a>>, ledger: &mut Ledger) -> Result<(), Error> {
    known(tool, &["type", "name", "description", "tools"], path, ledger)?;
    let name = reader::string(reader::required(tool, "name", path)?, &path.key("name"))?;
    if optional(tool, "description", path)?.is_some_and(|text| !text.is_empty()) {
        ledger.drop(Loss::ToolDescription)?;
    }
    let path = path.key("tools");
    if let Some(list) = tool.find("tools").and_then(reader::some) {
        for (n, tool) in reader::array(list, &path)?.enumerate() {
            one(tool, Some(name), &path.index(n), out, ledger)?;
        }
    }
    Ok(())
}

fn server<'a>(raw: RawValue<'a>, kind: RawStr<'a>) -> Tool<'a> {
    let name = raw.find("name").and_then(RawValue::as_str).map(Text::from);
    Tool::Server { format: Format::Responses, kind, name, raw }
}

fn function<'a>(
    tool: RawValue<'a>,
    namespace: Option<RawStr<'a>>,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<Tool<'a>, Error> {
    let mut out = FunctionTool { namespace: namespace.map(Text::from), ..FunctionTool::default() };
    for (key, value, _) in tool.members() {
        if value.is_null() {
            continue;
        }
        match key.unescape().as_ref() {
            "type" => {}
            "name" => out.name = reader::string(value, &path.key("name"))?.into(),
            "description" => out.description = Some(reader::string(value, &path.key("description"))?.into()),
            "parameters" => out.schema = Some(reader::object(value, &path.key("parameters"))?),
            "strict" => out.strict = Some(reader::boolean(value, &path.key("strict"))?),
            "defer_loading" => out.defer = reader::boolean(value, &path.key("defer_loading"))?,
            "allowed_callers" => out.callers = Some(value),
            "output_schema" => out.output_schema = Some(value),
            unknown => ledger.unknown(&path.key(unknown).to_string())?,
        }
    }
    if out.name.is_empty() {
        return Err(reader::invalid(&path.key("name"), "is required"));
    }
    Ok(Tool::Function(out))
}

fn custom<'a>(
    tool: RawValue<'a>,
    namespace: Option<RawStr<'a>>,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<Tool<'a>, Error> {
    known(tool, &["type", "name", "description", "format", "defer_loading", "allowed_callers"], path, ledger)?;
    let format = tool.find("format").filter(|format| format.find("type").is_some_and(|kind| kind.eq_str("grammar")));
    let grammar = match format {
        Some(format) => {
            let path = path.key("format");
            let text = |key| reader::string(reader::required(format, key, &path)?, &path.key(key));
            Some(Grammar { syntax: text("syntax")?, definition: text("definition")? })
        }
        None => None,
    };
    Ok(Tool::Custom(CustomTool {
        namespace: namespace.map(Text::from),
        name: reader::string(reader::required(tool, "name", path)?, &path.key("name"))?.into(),
        description: optional(tool, "description", path)?.map(Text::from),
        grammar,
        defer: tool.find("defer_loading").and_then(RawValue::as_bool).unwrap_or(false),
    }))
}

fn web_search<'a>(tool: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Tool<'a>, Error> {
    // Whether results are live or kept is the vendor's own affair.
    let names = ["type", "user_location", "filters", "search_context_size", "external_web_access"];
    known(tool, &names, path, ledger)?;
    Ok(Tool::WebSearch(WebSearch {
        format: Format::Responses,
        name: None,
        user_location: tool.find("user_location").and_then(reader::some),
        allowed_domains: tool.path(&["filters", "allowed_domains"]).and_then(reader::some),
        blocked_domains: tool.path(&["filters", "blocked_domains"]).and_then(reader::some),
        max_uses: None,
        context_size: optional(tool, "search_context_size", path)?,
        cache: None,
    }))
}

/// Reads a remote server. One behind a connector of the vendor, with headers of its own, or with an
/// approval for each tool, no other format can express.
fn mcp<'a>(tool: RawValue<'a>, kind: RawStr<'a>, path: &Path<'_>) -> Result<Tool<'a>, Error> {
    let present = |key: &str| tool.find(key).and_then(reader::some);
    let by_tool = present("require_approval").is_some_and(RawValue::is_object);
    if present("connector_id").is_some() || present("headers").is_some() || present("server_url").is_none() || by_tool {
        return Ok(server(tool, kind));
    }
    let allowed = match present("allowed_tools") {
        Some(filter) if filter.is_object() => filter.find("tool_names"),
        list => list,
    };
    Ok(Tool::Mcp(McpTool {
        format: Format::Responses,
        label: reader::string(reader::required(tool, "server_label", path)?, &path.key("server_label"))?.into(),
        url: optional(tool, "server_url", path)?.map(Text::from),
        server: None,
        authorization: optional(tool, "authorization", path)?.map(Text::from),
        allowed: allowed.filter(|list| list.kind() == RawKind::Array),
        never_asks: present("require_approval").is_some_and(|word| word.eq_str("never")),
    }))
}

/// What distinguishes a declaration from others: whether it is a custom tool, its namespace, its
/// name.
pub(crate) type ToolKey<'a> = (bool, Option<Text<'a>>, Text<'a>);

/// Reads the key of a tool that the client runs. `None` for the others.
pub(crate) fn key<'a>(tool: &Tool<'a>) -> Option<ToolKey<'a>> {
    match tool {
        Tool::Function(tool) => Some((false, tool.namespace.clone(), tool.name.clone())),
        Tool::Custom(tool) => Some((true, tool.namespace.clone(), tool.name.clone())),
        _ => None,
    }
}

/// Reads `tool_choice`.
pub(crate) fn choice<'a>(choice: RawValue<'a>) -> Result<ToolChoice<'a>, Error> {
    let path = Path::root("tool_choice");
    if let Some(word) = choice.as_str() {
        return match word.unescape().as_ref() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            "required" => Ok(ToolChoice::Required),
            _ => Err(reader::invalid(&path, "must be `auto`, `none`, `required` or an object")),
        };
    }
    let choice = reader::object(choice, &path)?;
    let kind = reader::string(reader::required(choice, "type", &path)?, &path.key("type"))?;
    match kind.unescape().as_ref() {
        "function" | "custom" => Ok(ToolChoice::Tool {
            namespace: optional(choice, "namespace", &path)?.map(Text::from),
            name: reader::string(reader::required(choice, "name", &path)?, &path.key("name"))?.into(),
        }),
        "allowed_tools" => {
            let list = reader::required(choice, "tools", &path)?;
            let names = reader::array(list, &path.key("tools"))?.filter_map(allowed_name).collect();
            let required = choice.find("mode").is_some_and(|mode| mode.eq_str("required"));
            Ok(ToolChoice::Allowed { required, names, raw: choice })
        }
        _ => Ok(ToolChoice::Server { format: Format::Responses, kind, raw: choice }),
    }
}

/// Tools of the vendor are known by their type.
fn allowed_name(tool: RawValue<'_>) -> Option<Text<'_>> {
    let name = ["name", "server_label", "type"].into_iter().find_map(|key| tool.find(key)?.as_str());
    name.map(Text::from)
}

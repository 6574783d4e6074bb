//! Tools and the choice among them, as a Chat Completions client offers them.

use super::decode::{pick, unknown};
use super::parts;
use crate::error::Error;
use crate::json::{RawKind, RawValue};
use crate::wire::Format;
use crate::wire::item::Request;
use crate::wire::loss::Ledger;
use crate::wire::read::{self, Path, some};
use crate::wire::text::Text;
use crate::wire::tools::{CustomTool, FunctionTool, Grammar, Tool, ToolChoice, WebSearch};

/// `tools`.
pub(super) fn tools<'a>(list: RawValue<'a>, request: &mut Request<'a>, ledger: &mut Ledger) -> Result<(), Error> {
    let root = Path::root("tools");
    for (n, tool) in read::array(list, &root)?.enumerate() {
        let path = root.index(n);
        let names = ["type", "function", "custom", "cache_control"];
        let ([kind, function, custom, cache], others) = pick(read::object(tool, &path)?, names);
        let kind = kind.map(|v| read::string(v, &path.key("type"))).transpose()?;
        let tool = match (kind, function, custom) {
            (Some(kind), _, Some(custom)) if kind.eq_str("custom") => {
                unknown(&others, ledger)?;
                self::custom(custom, &path.key("custom"), ledger)?
            }
            // Clients of hosts that imitate the format leave the type out.
            (_, Some(function), _) if kind.is_none_or(|kind| kind.eq_str("function")) => {
                unknown(&others, ledger)?;
                let tool = self::function(function, &path.key("function"), ledger)?;
                Tool::Function(FunctionTool { cache: parts::cache_point(None, cache), ..tool })
            }
            (Some(kind), ..) if !kind.eq_str("function") && !kind.eq_str("custom") => {
                Tool::Server { format: Format::Chat, kind, name: None, raw: tool }
            }
            _ => return Err(read::invalid(&path, "must hold a `function` or a `custom` tool of its `type`")),
        };
        request.tools.push(tool);
    }
    Ok(())
}

/// The deprecated `functions`.
pub(super) fn functions<'a>(list: RawValue<'a>, request: &mut Request<'a>, ledger: &mut Ledger) -> Result<(), Error> {
    let root = Path::root("functions");
    for (n, tool) in read::array(list, &root)?.enumerate() {
        let tool = function(tool, &root.index(n), ledger)?;
        request.tools.push(Tool::Function(tool));
    }
    Ok(())
}

fn function<'a>(value: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<FunctionTool<'a>, Error> {
    let names = ["name", "description", "parameters", "strict"];
    let ([name, description, schema, strict], others) = pick(read::object(value, path)?, names);
    unknown(&others, ledger)?;
    Ok(FunctionTool {
        name: self::name(name, path)?,
        description: text(description, &path.key("description"))?,
        schema: schema.map(|v| read::object(v, &path.key("parameters"))).transpose()?,
        strict: strict.map(|v| read::boolean(v, &path.key("strict"))).transpose()?,
        ..FunctionTool::default()
    })
}

fn custom<'a>(value: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Tool<'a>, Error> {
    let ([name, description, format], others) = pick(read::object(value, path)?, ["name", "description", "format"]);
    unknown(&others, ledger)?;
    let format_path = path.key("format");
    let mut grammar = None;
    if let Some(inner) = format.and_then(|format| format.find("grammar")).and_then(some) {
        let path = format_path.key("grammar");
        let inner = read::object(inner, &path)?;
        let word = |key| read::required(inner, key, &path).and_then(|v| read::string(v, &path.key(key)));
        grammar = Some(Grammar { syntax: word("syntax")?, definition: word("definition")? });
    }
    Ok(Tool::Custom(CustomTool {
        name: self::name(name, path)?,
        description: text(description, &path.key("description"))?,
        grammar,
        ..CustomTool::default()
    }))
}

fn name<'a>(value: Option<RawValue<'a>>, path: &Path<'_>) -> Result<Text<'a>, Error> {
    let path = path.key("name");
    match value {
        Some(value) => Ok(read::string(value, &path)?.into()),
        None => Err(read::invalid(&path, "is required")),
    }
}

fn text<'a>(value: Option<RawValue<'a>>, path: &Path<'_>) -> Result<Option<Text<'a>>, Error> {
    value.map(|v| read::string(v, path).map(Text::from)).transpose()
}

/// `web_search_options`.
pub(super) fn web_search<'a>(
    options: RawValue<'a>,
    request: &mut Request<'a>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let path = Path::root("web_search_options");
    let names = ["search_context_size", "user_location"];
    let ([size, user_location], others) = pick(read::object(options, &path)?, names);
    unknown(&others, ledger)?;
    request.tools.push(Tool::WebSearch(WebSearch {
        format: Format::Chat,
        name: None,
        user_location,
        allowed_domains: None,
        blocked_domains: None,
        max_uses: None,
        context_size: size.map(|v| read::string(v, &path.key("search_context_size"))).transpose()?,
        cache: None,
    }));
    Ok(())
}

/// `tool_choice`.
pub(super) fn choice<'a>(value: RawValue<'a>) -> Result<ToolChoice<'a>, Error> {
    let path = Path::root("tool_choice");
    if value.kind() == RawKind::String {
        let word = read::string(value, &path)?.unescape();
        return match word.as_ref() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            // The second is Mistral's word.
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(read::invalid(&path, "must be auto, none, required, or an object that names a tool")),
        };
    }
    let value = read::object(value, &path)?;
    // Some clients leave the type out.
    let kind = match value.find("type").and_then(some) {
        None if value.find("function").is_some() => RawValue::new(b"\"function\""),
        _ => read::required(value, "type", &path)?,
    };
    let kind = read::string(kind, &path.key("type"))?;
    match kind.unescape().as_ref() {
        word @ ("function" | "custom") => Ok(ToolChoice::Tool { namespace: None, name: named(value, word, &path)? }),
        "allowed_tools" => allowed(value, &path),
        _ => Ok(ToolChoice::Server { format: Format::Chat, kind, raw: value }),
    }
}

fn named<'a>(value: RawValue<'a>, key: &str, path: &Path<'_>) -> Result<Text<'a>, Error> {
    let inner = read::required(value, key, path)?;
    name(inner.find("name").and_then(some), &path.key(key))
}

fn allowed<'a>(value: RawValue<'a>, path: &Path<'_>) -> Result<ToolChoice<'a>, Error> {
    let inner_path = path.key("allowed_tools");
    let inner = read::required(value, "allowed_tools", path)?;
    let tools_path = inner_path.key("tools");
    let mut names = Vec::new();
    for (n, tool) in read::array(read::required(inner, "tools", &inner_path)?, &tools_path)?.enumerate() {
        let path = tools_path.index(n);
        let key = if tool.find("custom").is_some() { "custom" } else { "function" };
        names.push(named(tool, key, &path)?);
    }
    let required = inner.find("mode").is_some_and(|mode| mode.eq_str("required"));
    Ok(ToolChoice::Allowed { required, names, raw: value })
}

/// The deprecated `function_call`.
pub(super) fn function_choice<'a>(value: RawValue<'a>) -> Result<ToolChoice<'a>, Error> {
    let path = Path::root("function_call");
    if value.eq_str("auto") {
        return Ok(ToolChoice::Auto);
    }
    if value.eq_str("none") {
        return Ok(ToolChoice::None);
    }
    let value = read::object(value, &path)?;
    Ok(ToolChoice::Tool { namespace: None, name: name(value.find("name").and_then(some), &path)? })
}

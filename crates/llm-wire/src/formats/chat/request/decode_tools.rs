//! Tools and the choice among them, as a Chat Completions client offers them.

use crate::canonical::loss::Ledger;
use crate::canonical::request::Request;
use crate::canonical::text::Text;
use crate::canonical::tools::{CustomTool, FunctionTool, Grammar, Tool, ToolChoice, WebSearch};
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::request::members::{pick, unknown};
use crate::formats::chat::request::parts;
use crate::json::{RawKind, RawValue};
use crate::request::reader;
use crate::request::reader::{Path, some};

/// `tools`.
pub(crate) fn tools<'a>(list: RawValue<'a>, request: &mut Request<'a>, ledger: &mut Ledger) -> Result<(), Error> {
    let root = Path::root("tools");
    for (n, tool) in reader::array(list, &root)?.enumerate() {
        let path = root.index(n);
        let names = ["type", "function", "custom", "cache_control"];
        let ([kind, function, custom, cache], others) = pick(reader::object(tool, &path)?, names);
        let kind = kind.map(|v| reader::string(v, &path.key("type"))).transpose()?;
        let tool = match (kind, function, custom) {
            (Some(kind), _, Some(custom)) if kind.eq_str("custom") => {
                unknown(&others, &path, ledger)?;
                crate::formats::chat::request::decode_tools::custom(custom, &path.key("custom"), ledger)?
            }
            // Clients of hosts that imitate the format leave the type out.
            (_, Some(function), _) if kind.is_none_or(|kind| kind.eq_str("function")) => {
                unknown(&others, &path, ledger)?;
                let tool =
                    crate::formats::chat::request::decode_tools::function(function, &path.key("function"), ledger)?;
                Tool::Function(FunctionTool { cache: parts::cache_point(None, cache), ..tool })
            }
            (Some(kind), ..) if !kind.eq_str("function") && !kind.eq_str("custom") => {
                Tool::Server { format: Format::Chat, kind, name: None, raw: tool }
            }
            _ => return Err(reader::invalid(&path, "must hold a `function` or a `custom` tool of its `type`")),
        };
        request.tools.push(tool);
    }
    Ok(())
}

/// Reads the deprecated `functions`.
pub(crate) fn functions<'a>(list: RawValue<'a>, request: &mut Request<'a>, ledger: &mut Ledger) -> Result<(), Error> {
    let root = Path::root("functions");
    for (n, tool) in reader::array(list, &root)?.enumerate() {
        let tool = function(tool, &root.index(n), ledger)?;
        request.tools.push(Tool::Function(tool));
    }
    Ok(())
}

fn function<'a>(value: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<FunctionTool<'a>, Error> {
    let names = ["name", "description", "parameters", "strict"];
    let ([name, description, schema, strict], others) = pick(reader::object(value, path)?, names);
    unknown(&others, path, ledger)?;
    Ok(FunctionTool {
        name: crate::formats::chat::request::decode_tools::name(name, path)?,
        description: text(description, &path.key("description"))?,
        schema: schema.map(|v| reader::object(v, &path.key("parameters"))).transpose()?,
        strict: strict.map(|v| reader::boolean(v, &path.key("strict"))).transpose()?,
        ..FunctionTool::default()
    })
}

fn custom<'a>(value: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Tool<'a>, Error> {
    let ([name, description, format], others) = pick(reader::object(value, path)?, ["name", "description", "format"]);
    unknown(&others, path, ledger)?;
    let format_path = path.key("format");
    let mut grammar = None;
    if let Some(inner) = format.and_then(|format| format.find("grammar")).and_then(some) {
        let path = format_path.key("grammar");
        let inner = reader::object(inner, &path)?;
        let word = |key| reader::required(inner, key, &path).and_then(|v| reader::string(v, &path.key(key)));
        grammar = Some(Grammar { syntax: word("syntax")?, definition: word("definition")? });
    }
    Ok(Tool::Custom(CustomTool {
        name: crate::formats::chat::request::decode_tools::name(name, path)?,
        description: text(description, &path.key("description"))?,
        grammar,
        ..CustomTool::default()
    }))
}

fn name<'a>(value: Option<RawValue<'a>>, path: &Path<'_>) -> Result<Text<'a>, Error> {
    let path = path.key("name");
    match value {
        Some(value) => Ok(reader::string(value, &path)?.into()),
        None => Err(reader::invalid(&path, "is required")),
    }
}

fn text<'a>(value: Option<RawValue<'a>>, path: &Path<'_>) -> Result<Option<Text<'a>>, Error> {
    value.map(|v| reader::string(v, path).map(Text::from)).transpose()
}

/// `web_search_options`.
pub(crate) fn web_search<'a>(
    options: RawValue<'a>,
    request: &mut Request<'a>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let path = Path::root("web_search_options");
    let names = ["search_context_size", "user_location"];
    let ([size, user_location], others) = pick(reader::object(options, &path)?, names);
    unknown(&others, &path, ledger)?;
    request.tools.push(Tool::WebSearch(WebSearch {
        format: Format::Chat,
        name: None,
        user_location,
        allowed_domains: None,
        blocked_domains: None,
        max_uses: None,
        context_size: size.map(|v| reader::string(v, &path.key("search_context_size"))).transpose()?,
        cache: None,
    }));
    Ok(())
}

/// Reads `tool_choice`.
pub(crate) fn choice<'a>(value: RawValue<'a>) -> Result<ToolChoice<'a>, Error> {
    let path = Path::root("tool_choice");
    if value.kind() == RawKind::String {
        let word = reader::string(value, &path)?.unescape();
        return match word.as_ref() {
            "auto" => Ok(ToolChoice::Auto),
            "none" => Ok(ToolChoice::None),
            // The second is Mistral's word.
            "required" | "any" => Ok(ToolChoice::Required),
            _ => Err(reader::invalid(&path, "must be auto, none, required, or an object that names a tool")),
        };
    }
    let value = reader::object(value, &path)?;
    // Some clients leave the type out.
    let kind = match value.find("type").and_then(some) {
        None if value.find("function").is_some() => RawValue::new(b"\"function\""),
        _ => reader::required(value, "type", &path)?,
    };
    let kind = reader::string(kind, &path.key("type"))?;
    match kind.unescape().as_ref() {
        word @ ("function" | "custom") => Ok(ToolChoice::Tool { namespace: None, name: named(value, word, &path)? }),
        "allowed_tools" => allowed(value, &path),
        _ => Ok(ToolChoice::Server { format: Format::Chat, kind, raw: value }),
    }
}

fn named<'a>(value: RawValue<'a>, key: &str, path: &Path<'_>) -> Result<Text<'a>, Error> {
    let inner = reader::required(value, key, path)?;
    name(inner.find("name").and_then(some), &path.key(key))
}

fn allowed<'a>(value: RawValue<'a>, path: &Path<'_>) -> Result<ToolChoice<'a>, Error> {
    let inner_path = path.key("allowed_tools");
    let inner = reader::required(value, "allowed_tools", path)?;
    let tools_path = inner_path.key("tools");
    let mut names = Vec::new();
    for (n, tool) in reader::array(reader::required(inner, "tools", &inner_path)?, &tools_path)?.enumerate() {
        let path = tools_path.index(n);
        let key = if tool.find("custom").is_some() { "custom" } else { "function" };
        names.push(named(tool, key, &path)?);
    }
    let required = inner.find("mode").is_some_and(|mode| mode.eq_str("required"));
    Ok(ToolChoice::Allowed { required, names, raw: value })
}

/// Reads the deprecated `function_call`.
pub(crate) fn function_choice<'a>(value: RawValue<'a>) -> Result<ToolChoice<'a>, Error> {
    let path = Path::root("function_call");
    if value.eq_str("auto") {
        return Ok(ToolChoice::Auto);
    }
    if value.eq_str("none") {
        return Ok(ToolChoice::None);
    }
    let value = reader::object(value, &path)?;
    Ok(ToolChoice::Tool { namespace: None, name: name(value.find("name").and_then(some), &path)? })
}

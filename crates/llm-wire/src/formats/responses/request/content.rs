//! Items of a client's request and the parts in them.

use std::collections::HashSet;

use crate::canonical::args::ArgText;
use crate::canonical::loss::Ledger;
use crate::canonical::request::{
    CachePoint, CallKind, ERROR_MARKER, FilePart, Foreign, ImagePart, Item, ItemKind, Message, Part, ReasoningItem,
    ReasoningKind, ReasoningPart, Request, Role, Src, TextPart, ToolCall, ToolResult,
};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::responses::request::decode_tools;
use crate::formats::responses::request::decode_tools::ToolKey;
use crate::formats::responses::request::members::{known, optional};
use crate::json::{RawKind, RawStr, RawValue};
use crate::reasoning::envelope::{Family, Seal};
use crate::reasoning::history;
use crate::request::data_url;
use crate::request::data_url::Payload;
use crate::request::reader;
use crate::request::reader::Path;

/// `input`: a string, or a list of items. Tools that stand among the items join the others.
pub(super) fn input<'a>(input: RawValue<'a>, request: &mut Request<'a>, ledger: &mut Ledger) -> Result<(), Error> {
    if let Some(text) = input.as_str() {
        request.items.push(Item::new(0, Message::new(Role::User, vec![Part::text(text)])));
        return Ok(());
    }
    let path = Path::root("input");
    let RawKind::Array = input.kind() else {
        return Err(reader::wrong_type(&path, "a string or an array", input));
    };
    let mut known_tools: Option<HashSet<ToolKey<'a>>> = None;
    for (n, item) in reader::array(input, &path)?.enumerate() {
        let path = path.index(n);
        let item = reader::object(item, &path)?;
        if item.find("type").is_some_and(|kind| kind.eq_str("additional_tools")) {
            known(item, &["type", "id", "role", "tools"], &path, ledger)?;
            let known = known_tools.get_or_insert_with(|| request.tools.iter().filter_map(decode_tools::key).collect());
            for tool in decode_tools::tools(item.find("tools"), &path.key("tools"), ledger)? {
                // A deferred tool is declared again when it was found; here it was loaded from the
                // start.
                if decode_tools::key(&tool).is_none_or(|key| known.insert(key)) {
                    request.tools.push(tool);
                }
            }
            continue;
        }
        let kind = one(item, &path, ledger)?;
        request.items.push(Item::new(n, kind));
    }
    Ok(())
}

/// An item without a `type` is a message, or a reference if it is an id alone.
fn one<'a>(item: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<ItemKind<'a>, Error> {
    let kind = match item.find("type").and_then(reader::some) {
        Some(kind) => reader::string(kind, &path.key("type"))?,
        None if item.find("role").is_none() && item.find("id").is_some() => RawStr::new(b"item_reference"),
        None => RawStr::new(b"message"),
    };
    Ok(match kind.unescape().as_ref() {
        "message" => message(item, path, ledger)?.into(),
        "reasoning" => reasoning(item, path, ledger)?.into(),
        "function_call" => call(item, CallKind::Function, path, ledger)?.into(),
        "custom_tool_call" => call(item, CallKind::Custom, path, ledger)?.into(),
        "function_call_output" => result(item, CallKind::Function, path, ledger)?.into(),
        "custom_tool_call_output" => result(item, CallKind::Custom, path, ledger)?.into(),
        _ => foreign(item, kind, path).into(),
    })
}

fn foreign<'a>(raw: RawValue<'a>, kind: RawStr<'a>, path: &Path<'_>) -> Foreign<'a> {
    Foreign { format: Format::Responses, kind, path: path.to_string(), raw }
}

fn message<'a>(item: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Message<'a>, Error> {
    // The last one is telemetry of Codex.
    let names = ["type", "id", "status", "role", "content", "phase", "internal_chat_message_metadata_passthrough"];
    known(item, &names, path, ledger)?;
    let role = reader::string(reader::required(item, "role", path)?, &path.key("role"))?;
    let role = match role.unescape().as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        "developer" => Role::Developer,
        _ => return Err(reader::invalid(&path.key("role"), "must be `user`, `assistant`, `system` or `developer`")),
    };
    let inner = reader::required(item, "content", path)?;
    let mut message = Message::new(role, content(inner, &path.key("content"), ledger)?);
    let phase = item.find("phase").and_then(reader::some);
    message.phase = phase.map(|phase| reader::string(phase, &path.key("phase"))).transpose()?;
    Ok(message)
}

fn reasoning<'a>(item: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<ReasoningItem<'a>, Error> {
    known(item, &["type", "id", "status", "summary", "content", "encrypted_content"], path, ledger)?;
    let mut parts = Vec::new();
    for (key, kind) in [("summary", ReasoningKind::Summary), ("content", ReasoningKind::Full)] {
        let Some(list) = item.find(key).and_then(reader::some) else { continue };
        let path = path.key(key);
        for (n, part) in reader::array(list, &path)?.enumerate() {
            let path = path.index(n);
            let text = reader::string(reader::required(part, "text", &path)?, &path.key("text"))?;
            if !text.is_empty() {
                parts.push(ReasoningPart { kind, text: text.into() });
            }
        }
    }
    let opaque = optional(item, "encrypted_content", path)?.unwrap_or_default();
    let id = optional(item, "id", path)?.map(Text::from);
    Ok(history::opaque_of(opaque, parts, id, (Family::OpenAi, Seal::Encrypted)))
}

fn call<'a>(item: RawValue<'a>, kind: CallKind, path: &Path<'_>, ledger: &mut Ledger) -> Result<ToolCall<'a>, Error> {
    let input = match kind {
        CallKind::Function => "arguments",
        CallKind::Custom => "input",
    };
    known(item, &["type", "id", "status", "call_id", "name", "namespace", "caller", input], path, ledger)?;
    let text = |key| Ok::<Text<'a>, Error>(reader::string(reader::required(item, key, path)?, &path.key(key))?.into());
    Ok(ToolCall {
        kind,
        item_id: optional(item, "id", path)?.map(Text::from),
        call_id: text("call_id")?,
        namespace: optional(item, "namespace", path)?.map(Text::from),
        name: text("name")?,
        input: match kind {
            CallKind::Function => ArgText::Quoted(text(input)?),
            CallKind::Custom => ArgText::Free(text(input)?),
        },
        opaque: None,
        cache: None,
    })
}

fn result<'a>(
    item: RawValue<'a>,
    kind: CallKind,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<ToolResult<'a>, Error> {
    known(item, &["type", "id", "status", "call_id", "output", "caller"], path, ledger)?;
    let call_id = reader::string(reader::required(item, "call_id", path)?, &path.key("call_id"))?.into();
    let output = item.find("output").unwrap_or(RawValue::new(b"null"));
    let mut parts = match output.kind() {
        RawKind::Null => Vec::new(),
        RawKind::String | RawKind::Array => content(output, &path.key("output"), ledger)?,
        // Some clients put JSON where its text belongs.
        _ => vec![Part::text(Text::plain(&String::from_utf8_lossy(output.bytes())))],
    };
    let is_error = unmark(&mut parts);
    Ok(ToolResult { call_id, kind, parts, is_error, cache: None })
}

/// Takes the marker of a failed call off.
fn unmark(parts: &mut [Part<'_>]) -> bool {
    let Some(Part::Text(first)) = parts.first_mut() else { return false };
    let Some(rest) = first.text.strip_prefix(ERROR_MARKER).map(Text::into_owned) else { return false };
    first.text = rest;
    true
}

/// Reads a string or a list of parts.
fn content<'a>(value: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Vec<Part<'a>>, Error> {
    if let Some(text) = value.as_str() {
        return Ok(vec![Part::text(text)]);
    }
    let RawKind::Array = value.kind() else {
        return Err(reader::wrong_type(path, "a string or an array", value));
    };
    let mut parts = Vec::new();
    for (n, part) in reader::array(value, path)?.enumerate() {
        parts.push(one_part(part, &path.index(n), ledger)?);
    }
    Ok(parts)
}

fn one_part<'a>(part: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Part<'a>, Error> {
    let part = reader::object(part, path)?;
    let kind = reader::string(reader::required(part, "type", path)?, &path.key("type"))?;
    Ok(match kind.unescape().as_ref() {
        "input_text" | "output_text" | "text" => {
            known(part, &["type", "text", "annotations", "logprobs", "prompt_cache_breakpoint"], path, ledger)?;
            let text = reader::string(reader::required(part, "text", path)?, &path.key("text"))?;
            let citations = part.find("annotations").filter(|list| list.elements().next().is_some());
            Part::Text(TextPart { text: text.into(), citations, cache: cache_of(part) })
        }
        "refusal" => {
            known(part, &["type", "refusal"], path, ledger)?;
            Part::Refusal(reader::string(reader::required(part, "refusal", path)?, &path.key("refusal"))?.into())
        }
        "input_image" => {
            known(part, &["type", "image_url", "file_id", "detail", "prompt_cache_breakpoint"], path, ledger)?;
            match source(part, "image_url", path)? {
                // Some clients send documents in the place of images.
                Some(src) if data_url::is_document(&src) => {
                    Part::File(Box::new(FilePart { cache: cache_of(part), ..FilePart::of(src, path) }))
                }
                Some(src) => {
                    let detail = optional(part, "detail", path)?;
                    Part::Image(ImagePart { src, detail, cache: cache_of(part), path: path.to_string().into() })
                }
                None => return Err(reader::invalid(&path.key("image_url"), "or `file_id` is required")),
            }
        }
        "input_file" => file(part, path, ledger)?,
        "input_audio" => match (part.path(&["input_audio", "data"]), part.path(&["input_audio", "format"])) {
            (Some(data), Some(format)) => Part::Audio {
                data: reader::string(data, &path.key("input_audio"))?,
                format: reader::string(format, &path.key("input_audio"))?,
                path: path.to_string().into(),
            },
            _ => Part::Foreign(foreign(part, kind, path)),
        },
        _ => Part::Foreign(foreign(part, kind, path)),
    })
}

fn file<'a>(part: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Part<'a>, Error> {
    let names = ["type", "file_data", "file_url", "file_id", "filename", "detail", "prompt_cache_breakpoint"];
    known(part, &names, path, ledger)?;
    let src = match optional(part, "file_data", path)? {
        Some(data) => match data_url::parse(data) {
            Some(url) => match url.payload {
                Payload::Base64(data) => Src::Base64 { media: url.media, data },
                Payload::Text(text) => Src::Text(text),
            },
            // Base64 alone, as the reference specifies.
            None => Src::Base64 { media: data_url::media_of("", data), data },
        },
        None => source(part, "file_url", path)?
            .ok_or_else(|| reader::invalid(&path.key("file_data"), "or `file_url` or `file_id` is required"))?,
    };
    let name = optional(part, "filename", path)?.filter(|name| !name.is_empty()).map(Text::from);
    let src = data_url::named(src, name.as_ref());
    Ok(Part::File(Box::new(FilePart { name, cache: cache_of(part), ..FilePart::of(src, path) })))
}

/// A URL under `key`, which may be a data URL, or a `file_id`.
fn source<'a>(part: RawValue<'a>, key: &str, path: &Path<'_>) -> Result<Option<Src<'a>>, Error> {
    if let Some(url) = optional(part, key, path)? {
        return Ok(Some(match data_url::parse(url).map(|parsed| (parsed.media, parsed.payload)) {
            Some((media, Payload::Base64(data))) => Src::Base64 { media, data },
            _ => Src::Url(url.into()),
        }));
    }
    Ok(optional(part, "file_id", path)?.map(|id| Src::FileId { format: Format::Responses, id }))
}

/// Breakpoints of this format have no lifetime of their own.
fn cache_of(part: RawValue<'_>) -> Option<CachePoint> {
    part.find("prompt_cache_breakpoint").filter(|point| point.is_object()).map(|_| CachePoint { hour: false })
}

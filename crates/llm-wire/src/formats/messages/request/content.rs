//! System text, messages and content blocks of a client's request.
//!
//! A message becomes one item for each run of parts, and one for each block that is an item of its
//! own: thinking, a tool call, a tool result. Their order is kept.

use std::borrow::Cow;

use crate::canonical::args::ArgText;
use crate::canonical::loss::Ledger;
use crate::canonical::request::{
    CachePoint, CallKind, FilePart, Foreign, ImagePart, Item, ItemKind, Message, Part, ReasoningKind, ReasoningPart,
    Role, Src, TextPart, ToolCall, ToolResult, is_billing_header,
};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::json::{RawKind, RawStr, RawValue};
use crate::reasoning::envelope::{Family, Seal};
use crate::reasoning::history;
use crate::request::data_url;
use crate::request::reader;
use crate::request::reader::Path;

/// Reads `system`: a string or text blocks. Blank ones, and the block that Claude Code changes
/// with each call, are left out.
pub(super) fn system<'a>(system: RawValue<'a>, ledger: &mut Ledger) -> Result<Vec<Part<'a>>, Error> {
    let path = Path::root("system");
    let mut parts = content(system, &path, ledger)?;
    for (n, part) in parts.iter().enumerate() {
        if !matches!(part, Part::Text(_)) {
            return Err(reader::invalid(&path.index(n), "must be a text block"));
        }
    }
    parts.retain(|part| match part {
        Part::Text(part) => !part.text.is_blank() && !is_billing_header(&part.text),
        _ => true,
    });
    Ok(parts)
}

/// One message, as one or more items.
pub(super) fn message<'a>(
    message: RawValue<'a>,
    at: usize,
    path: &Path<'_>,
    items: &mut Vec<Item<'a>>,
    ledger: &mut Ledger,
) -> Result<(), Error> {
    let message = reader::object(message, path)?;
    known(message, &["role", "content", "output_config"], path, ledger)?;
    let role = reader::string(reader::required(message, "role", path)?, &path.key("role"))?;
    let role = match role.unescape().as_ref() {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => Role::System,
        _ => return Err(reader::invalid(&path.key("role"), "must be `user`, `assistant` or `system`")),
    };
    let config = message.find("output_config").and_then(reader::some);
    let mut block_reader = BlockReader { at, role, config, parts: Vec::new(), items, ledger };
    let path = &path.key("content");
    match message.find("content").and_then(reader::some) {
        None if config.is_some() => {}
        None => return Err(reader::invalid(path, "is required")),
        Some(content) => match content.as_str() {
            Some(text) => block_reader.parts.push(Part::text(text)),
            None => {
                for (n, block) in blocks(content, path)?.enumerate() {
                    block_reader.block(block, &path.index(n))?;
                }
            }
        },
    }
    let empty = block_reader.items.last().is_none_or(|item| item.at as usize != at);
    block_reader.flush(empty);
    Ok(())
}

/// Takes the blocks of one message.
struct BlockReader<'t, 'a> {
    at: usize,
    role: Role,
    config: Option<RawValue<'a>>,
    /// The run of parts that is not an item yet.
    parts: Vec<Part<'a>>,
    items: &'t mut Vec<Item<'a>>,
    ledger: &'t mut Ledger,
}

impl<'a> BlockReader<'_, 'a> {
    fn block(&mut self, block: RawValue<'a>, path: &Path<'_>) -> Result<(), Error> {
        let kind = kind_of(block, path)?;
        let item: ItemKind<'a> = match (kind.unescape().as_ref(), self.role) {
            ("thinking", Role::Assistant) => thinking(block, path, self.ledger)?,
            ("redacted_thinking", Role::Assistant) => {
                known(block, &["type", "data"], path, self.ledger)?;
                let data = reader::string(reader::required(block, "data", path)?, &path.key("data"))?;
                history::opaque_of(data, Vec::new(), None, (Family::Anthropic, Seal::Redacted)).into()
            }
            ("tool_use", Role::Assistant) => tool_use(block, path, self.ledger)?.into(),
            ("tool_result", Role::User) => tool_result(block, path, self.ledger)?.into(),
            ("mid_conv_system", Role::User) => {
                let parts = match block.find("content").or_else(|| block.find("text")).and_then(reader::some) {
                    Some(system) => content(system, path, self.ledger)?,
                    None => Vec::new(),
                };
                Message::new(Role::System, parts).into()
            }
            _ => match (part(block, kind, path, self.ledger)?, self.role) {
                // What the assistant did with tools of its vendor.
                (Part::Foreign(foreign), Role::Assistant) => foreign.into(),
                (part, _) => {
                    self.parts.push(part);
                    return Ok(());
                }
            },
        };
        self.flush(false);
        self.items.push(Item::new(self.at, item));
        Ok(())
    }

    /// Makes a message of the parts at hand; of none only if `even_empty`.
    fn flush(&mut self, even_empty: bool) {
        if self.parts.is_empty() && !even_empty {
            return;
        }
        let mut message = Message::new(self.role, std::mem::take(&mut self.parts));
        message.config = self.config.take();
        self.items.push(Item::new(self.at, message));
    }
}

fn thinking<'a>(block: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<ItemKind<'a>, Error> {
    known(block, &["type", "thinking", "signature"], path, ledger)?;
    let text = reader::string(reader::required(block, "thinking", path)?, &path.key("thinking"))?;
    let signature = match block.find("signature").and_then(reader::some) {
        Some(signature) => reader::string(signature, &path.key("signature"))?,
        None => RawStr::default(),
    };
    let mut shown = Vec::new();
    if !text.is_empty() {
        shown.push(ReasoningPart { kind: ReasoningKind::Summary, text: text.into() });
    }
    Ok(history::opaque_of(signature, shown, None, (Family::Anthropic, Seal::Thinking)).into())
}

fn tool_use<'a>(block: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<ToolCall<'a>, Error> {
    // `caller` names who called: the model itself, as a rule.
    known(block, &["type", "id", "name", "input", "cache_control", "caller"], path, ledger)?;
    let text = |key| Ok::<Text<'a>, Error>(reader::string(reader::required(block, key, path)?, &path.key(key))?.into());
    let input = reader::required(block, "input", path)?;
    Ok(ToolCall {
        kind: CallKind::Function,
        item_id: None,
        call_id: text("id")?,
        namespace: None,
        name: text("name")?,
        input: ArgText::of_input(input),
        opaque: None,
        cache: cache_of(block),
    })
}

fn tool_result<'a>(block: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<ToolResult<'a>, Error> {
    known(block, &["type", "tool_use_id", "content", "is_error", "cache_control"], path, ledger)?;
    let id = reader::string(reader::required(block, "tool_use_id", path)?, &path.key("tool_use_id"))?;
    let is_error = match block.find("is_error").and_then(reader::some) {
        Some(flag) => reader::boolean(flag, &path.key("is_error"))?,
        None => false,
    };
    let parts = match block.find("content").and_then(reader::some) {
        Some(inner) => content(inner, &path.key("content"), ledger)?,
        None => Vec::new(),
    };
    Ok(ToolResult { call_id: id.into(), kind: CallKind::Function, parts, is_error, cache: cache_of(block) })
}

/// Reads a string or a list of blocks, as parts.
fn content<'a>(value: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Vec<Part<'a>>, Error> {
    if let Some(text) = value.as_str() {
        return Ok(vec![Part::text(text)]);
    }
    let mut parts = Vec::new();
    for (n, block) in blocks(value, path)?.enumerate() {
        let path = path.index(n);
        parts.push(part(block, kind_of(block, &path)?, &path, ledger)?);
    }
    Ok(parts)
}

fn blocks<'a>(content: RawValue<'a>, path: &Path<'_>) -> Result<impl Iterator<Item = RawValue<'a>> + use<'a>, Error> {
    match content.kind() {
        RawKind::Array => reader::array(content, path),
        _ => Err(reader::wrong_type(path, "a string or an array", content)),
    }
}

fn kind_of<'a>(block: RawValue<'a>, path: &Path<'_>) -> Result<RawStr<'a>, Error> {
    let block = reader::object(block, path)?;
    reader::string(reader::required(block, "type", path)?, &path.key("type"))
}

fn part<'a>(block: RawValue<'a>, kind: RawStr<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Part<'a>, Error> {
    Ok(match kind.unescape().as_ref() {
        "text" => {
            known(block, &["type", "text", "cache_control", "citations"], path, ledger)?;
            let text = reader::string(reader::required(block, "text", path)?, &path.key("text"))?;
            let citations = block.find("citations").filter(|list| list.elements().next().is_some());
            Part::Text(TextPart { text: text.into(), citations, cache: cache_of(block) })
        }
        "image" => {
            known(block, &["type", "source", "cache_control"], path, ledger)?;
            match source(block, path, ledger)? {
                // Some clients send documents in the place of images.
                Some(src) if data_url::is_document(&src) => {
                    Part::File(Box::new(FilePart { cache: cache_of(block), ..FilePart::of(src, path) }))
                }
                Some(src) => {
                    let path = path.to_string().into();
                    Part::Image(ImagePart { src, detail: None, cache: cache_of(block), path })
                }
                None => foreign(block, kind, path),
            }
        }
        "document" => document(block, kind, path, ledger)?,
        "search_result" => search_result(block, path, ledger)?,
        "tool_reference" => {
            known(block, &["type", "tool_name", "cache_control"], path, ledger)?;
            let name = reader::string(reader::required(block, "tool_name", path)?, &path.key("tool_name"))?;
            Part::ToolReference { name: name.into() }
        }
        _ => foreign(block, kind, path),
    })
}

fn foreign<'a>(raw: RawValue<'a>, kind: RawStr<'a>, path: &Path<'_>) -> Part<'a> {
    Part::Foreign(Foreign { format: Format::Messages, kind, path: path.to_string(), raw })
}

fn document<'a>(
    block: RawValue<'a>,
    kind: RawStr<'a>,
    path: &Path<'_>,
    ledger: &mut Ledger,
) -> Result<Part<'a>, Error> {
    known(block, &["type", "source", "title", "context", "citations", "cache_control"], path, ledger)?;
    let text = |key: &str| match block.find(key).and_then(reader::some) {
        Some(text) => Ok::<_, Error>(Some(Text::from(reader::string(text, &path.key(key))?))),
        None => Ok(None),
    };
    let Some(src) = source(block, path, ledger)? else { return Ok(foreign(block, kind, path)) };
    let title = text("title")?.filter(|title| !title.is_empty());
    Ok(Part::File(Box::new(FilePart {
        context: text("context")?,
        citations: block.path(&["citations", "enabled"]).and_then(RawValue::as_bool).unwrap_or(false),
        cache: cache_of(block),
        ..FilePart { title: title.clone(), ..FilePart::of(data_url::named(src, title.as_ref()), path) }
    })))
}

/// Reads the `source` of an image or a document; `None` for a kind of source not known here.
fn source<'a>(block: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Option<Src<'a>>, Error> {
    let path = &path.key("source");
    let source = block.find("source").and_then(reader::some).ok_or_else(|| reader::invalid(path, "is required"))?;
    let kind = kind_of(source, path)?;
    let text = |key| reader::string(reader::required(source, key, path)?, &path.key(key));
    Ok(Some(match kind.unescape().as_ref() {
        "base64" => {
            let data = text("data")?;
            let declared = source.find("media_type").and_then(RawValue::as_str);
            let declared = declared.map_or(Cow::Borrowed(""), RawStr::unescape);
            Src::Base64 { media: data_url::media_of(&declared, data), data }
        }
        "url" => Src::Url(text("url")?.into()),
        "file" => Src::FileId { format: Format::Messages, id: text("file_id")? },
        "text" => Src::Text(text("data")?.into()),
        "content" => Src::Content(content(reader::required(source, "content", path)?, &path.key("content"), ledger)?),
        _ => return Ok(None),
    }))
}

fn search_result<'a>(block: RawValue<'a>, path: &Path<'_>, ledger: &mut Ledger) -> Result<Part<'a>, Error> {
    known(block, &["type", "source", "title", "content", "citations", "cache_control"], path, ledger)?;
    let text = |key| Ok::<Text<'a>, Error>(reader::string(reader::required(block, key, path)?, &path.key(key))?.into());
    let inner = content(reader::required(block, "content", path)?, &path.key("content"), ledger)?;
    let texts: Vec<Text<'a>> = inner
        .into_iter()
        .filter_map(|part| match part {
            Part::Text(part) => Some(part.text),
            _ => None,
        })
        .collect();
    let joined = Text::join(&texts, "\n");
    Ok(Part::SearchResult { source: text("source")?, title: text("title")?, text: joined, raw: block })
}

/// Reads a `cache_control` value.
pub(super) fn cache_point(control: RawValue<'_>) -> Option<CachePoint> {
    let hour = control.find("ttl").is_some_and(|ttl| ttl.eq_str("1h"));
    control.is_object().then_some(CachePoint { hour })
}

/// Reads the cache breakpoint of a block.
pub(super) fn cache_of(block: RawValue<'_>) -> Option<CachePoint> {
    block.find("cache_control").and_then(cache_point)
}

/// Enters every member that is not in `names`.
pub(super) fn known(object: RawValue<'_>, names: &[&str], path: &Path<'_>, ledger: &mut Ledger) -> Result<(), Error> {
    for (key, value, _) in object.members() {
        if !value.is_null() && !names.iter().any(|name| key.eq_str(name)) {
            ledger.unknown(&path.key(&key.unescape()).to_string())?;
        }
    }
    Ok(())
}

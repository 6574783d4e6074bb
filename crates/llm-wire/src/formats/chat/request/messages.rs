//! The conversation of a Chat Completions client: messages cut into items.
//!
//! | message | becomes |
//! |---|---|
//! | the leading run of `system` and `developer` | [`Request::system`] |
//! | later ones, `user` | a message |
//! | `assistant` | its reasoning, its words, its calls, in this order |
//! | `tool`, `function` | a result |

use std::collections::{HashMap, HashSet};

use crate::canonical::args::ArgText;
use crate::canonical::loss::{Ledger, Loss};
use crate::canonical::request::{
    CallKind, ERROR_MARKER, Foreign, Item, ItemKind, Message, Opaque, Part, ReasoningItem, ReasoningKind,
    ReasoningPart, Request, Role, ToolCall, ToolResult,
};
use crate::canonical::text::Text;
use crate::error::Error;
use crate::format::Format;
use crate::formats::chat::reasoning;
use crate::formats::chat::reasoning::Entry;
use crate::formats::chat::request::members::{pick, unknown};
use crate::formats::chat::request::parts;
use crate::json::{RawKind, RawStr, RawValue};
use crate::reasoning::envelope;
use crate::reasoning::envelope::{Family, Seal};
use crate::request::reader;
use crate::request::reader::{Path, some};

/// `messages`.
pub(super) fn read<'a>(list: RawValue<'a>, request: &mut Request<'a>, ledger: &mut Ledger) -> Result<(), Error> {
    let root = Path::root("messages");
    let mut reader = Reader { request, ledger, leading: true, custom: HashSet::new(), functions: HashMap::new() };
    for (at, message) in reader::array(list, &root)?.enumerate() {
        let path = root.index(at);
        reader.message(at, reader::object(message, &path)?, &path)?;
    }
    Ok(())
}

struct Reader<'r, 'a> {
    request: &'r mut Request<'a>,
    ledger: &'r mut Ledger,
    /// Only system messages so far.
    leading: bool,
    /// Ids of calls of custom tools: a result does not tell.
    custom: HashSet<RawStr<'a>>,
    /// Calls of the deprecated form that wait for their result: by name, the ids that were made up.
    functions: HashMap<RawStr<'a>, Vec<Text<'a>>>,
}

/// The fields of a message.
struct Fields<'a> {
    content: Option<RawValue<'a>>,
    name: Option<RawValue<'a>>,
    refusal: Option<RawValue<'a>>,
    audio: Option<RawValue<'a>>,
    tool_calls: Option<RawValue<'a>>,
    tool_call_id: Option<RawValue<'a>>,
    function_call: Option<RawValue<'a>>,
    /// `reasoning_content`, or `reasoning` at hosts that call it so.
    reasoning: Option<RawStr<'a>>,
    details: Option<RawValue<'a>>,
}

impl<'a> Reader<'_, 'a> {
    fn message(&mut self, at: usize, message: RawValue<'a>, path: &Path<'_>) -> Result<(), Error> {
        let names = [
            "role",
            "content",
            "name",
            "refusal",
            "audio",
            "tool_calls",
            "tool_call_id",
            "function_call",
            "reasoning_content",
            "reasoning",
            "reasoning_details",
            // Of answers that clients send back as they came; nothing in it is needed again.
            "annotations",
            "thinking_blocks",
        ];
        let (
            [
                role,
                content,
                name,
                refusal,
                audio,
                tool_calls,
                tool_call_id,
                function_call,
                long,
                short,
                details,
                _,
                blocks,
            ],
            others,
        ) = pick(message, names);
        unknown(&others, path, self.ledger)?;
        let text = |value: Option<RawValue<'a>>| value.and_then(RawValue::as_str).filter(|text| !text.is_empty());
        let reasoning = text(long).or(text(short));
        // Of other gateways: Anthropic's blocks, or an object in the place of the text.
        let shaped = long.or(short).filter(|value| value.is_object() || value.kind() == RawKind::Array);
        let details = details.or(blocks).or(shaped);
        let fields =
            Fields { content, name, refusal, audio, tool_calls, tool_call_id, function_call, reasoning, details };
        let role_path = path.key("role");
        let Some(role) = role else { return Err(reader::invalid(&role_path, "is required")) };
        match reader::string(role, &role_path)?.unescape().as_ref() {
            "system" => self.system(Role::System, at, fields, path),
            "developer" => self.system(Role::Developer, at, fields, path),
            "user" => {
                let parts = parts::read(fields.content, &path.key("content"), self.ledger)?;
                self.push_message(Role::User, at, parts, fields.name, path)
            }
            "assistant" => self.assistant(at, fields, path),
            "tool" => self.tool(at, fields, path),
            "function" => self.function(at, fields, path),
            _ => Err(reader::invalid(&role_path, "must be system, developer, user, assistant or tool")),
        }
    }

    fn push(&mut self, at: usize, kind: impl Into<ItemKind<'a>>) {
        self.leading = false;
        self.request.items.push(Item::new(at, kind));
    }

    fn push_message(
        &mut self,
        role: Role,
        at: usize,
        parts: Vec<Part<'a>>,
        name: Option<RawValue<'a>>,
        path: &Path<'_>,
    ) -> Result<(), Error> {
        let name = name.map(|name| reader::string(name, &path.key("name"))).transpose()?;
        let name = name.filter(|name| !name.is_empty()).map(Text::from);
        self.push(at, Message { name, ..Message::new(role, parts) });
        Ok(())
    }

    fn system(&mut self, role: Role, at: usize, fields: Fields<'a>, path: &Path<'_>) -> Result<(), Error> {
        let mut parts = parts::read(fields.content, &path.key("content"), self.ledger)?;
        parts.retain(|part| !matches!(part, Part::Text(part) if part.text.is_blank()));
        if !self.leading {
            return self.push_message(role, at, parts, fields.name, path);
        }
        if fields.name.is_some() {
            self.ledger.drop(Loss::MessageName)?;
        }
        self.request.system.append(&mut parts);
        Ok(())
    }

    fn assistant(&mut self, at: usize, fields: Fields<'a>, path: &Path<'_>) -> Result<(), Error> {
        for item in reasoning::read(fields.details, fields.reasoning) {
            self.push(at, item);
        }
        for item in fields.content.map(thinking_parts).unwrap_or_default() {
            self.push(at, item);
        }
        let mut parts = parts::read(fields.content, &path.key("content"), self.ledger)?;
        if let Some(refusal) = fields.refusal {
            let refusal = reader::string(refusal, &path.key("refusal"))?;
            parts.extend((!refusal.is_empty()).then(|| Part::Refusal(refusal.into())));
        }
        if let Some(raw) = fields.audio {
            let path = path.key("audio").to_string();
            parts.push(Part::Foreign(Foreign { format: Format::Chat, kind: RawStr::new(b"audio"), path, raw }));
        }
        // A message without content is none.
        if !parts.is_empty() {
            self.push_message(Role::Assistant, at, parts, fields.name, path)?;
        }
        if let Some(calls) = fields.tool_calls {
            let list = path.key("tool_calls");
            for (n, call) in reader::array(calls, &list)?.enumerate() {
                self.call(at, reader::object(call, &list.index(n))?, &list.index(n))?;
            }
        }
        match fields.function_call {
            Some(call) => self.function_call(at, call, &path.key("function_call")),
            None => Ok(()),
        }
    }

    fn call(&mut self, at: usize, call: RawValue<'a>, path: &Path<'_>) -> Result<(), Error> {
        let names = ["id", "type", "function", "custom", "extra_content", "index"];
        let ([id, kind, function, custom, extra, _], others) = pick(call, names);
        let kind = kind.map(|v| reader::string(v, &path.key("type"))).transpose()?;
        let id_path = path.key("id");
        let Some(id) = id else { return Err(reader::invalid(&id_path, "is required")) };
        let id = reader::string(id, &id_path)?;
        let (kind, name, input) = match (kind, function, custom) {
            (Some(kind), _, Some(custom)) if kind.eq_str("custom") => {
                let path = path.key("custom");
                let input = reader::string(reader::required(custom, "input", &path)?, &path.key("input"))?;
                self.custom.insert(id);
                (CallKind::Custom, name_of(custom, &path)?, ArgText::Free(input.into()))
            }
            (_, Some(function), _) if kind.is_none_or(|kind| kind.eq_str("function")) => {
                let path = path.key("function");
                (CallKind::Function, name_of(function, &path)?, arguments(function, &path)?)
            }
            (Some(kind), ..) if !kind.eq_str("function") && !kind.eq_str("custom") => {
                self.push(at, Foreign { format: Format::Chat, kind, path: path.to_string(), raw: call });
                return Ok(());
            }
            _ => return Err(reader::invalid(path, "must hold a `function` or a `custom` call of its `type`")),
        };
        unknown(&others, path, self.ledger)?;
        let opaque = extra.and_then(signature);
        let call_id = id.into();
        self.push(
            at,
            ToolCall { kind, item_id: None, call_id, namespace: None, name: name.into(), input, opaque, cache: None },
        );
        Ok(())
    }

    /// The deprecated form has no ids: one is made up from the place of the message.
    fn function_call(&mut self, at: usize, call: RawValue<'a>, path: &Path<'_>) -> Result<(), Error> {
        let call = reader::object(call, path)?;
        let name = name_of(call, path)?;
        let call_id = Text::plain(&format!("call_fn_{at}"));
        self.functions.entry(name).or_default().push(call_id.clone());
        let input = arguments(call, path)?;
        let kind = CallKind::Function;
        self.push(
            at,
            ToolCall {
                kind,
                item_id: None,
                call_id,
                namespace: None,
                name: name.into(),
                input,
                opaque: None,
                cache: None,
            },
        );
        Ok(())
    }

    fn tool(&mut self, at: usize, fields: Fields<'a>, path: &Path<'_>) -> Result<(), Error> {
        let id_path = path.key("tool_call_id");
        let Some(id) = fields.tool_call_id else { return Err(reader::invalid(&id_path, "is required")) };
        let id = reader::string(id, &id_path)?;
        let kind = if self.custom.contains(&id) { CallKind::Custom } else { CallKind::Function };
        self.result(at, id.into(), kind, fields.content, path)
    }

    fn function(&mut self, at: usize, fields: Fields<'a>, path: &Path<'_>) -> Result<(), Error> {
        let name = fields.name.map(|name| reader::string(name, &path.key("name"))).transpose()?.unwrap_or_default();
        let call = self.functions.get_mut(&name).and_then(Vec::pop);
        let id = call.unwrap_or_else(|| Text::plain(&format!("call_fn_{at}")));
        self.result(at, id, CallKind::Function, fields.content, path)
    }

    fn result(
        &mut self,
        at: usize,
        call_id: Text<'a>,
        kind: CallKind,
        content: Option<RawValue<'a>>,
        path: &Path<'_>,
    ) -> Result<(), Error> {
        let mut parts = match content {
            // Clients put whole objects here, which OpenAI would refuse. Their JSON is the text.
            Some(value) if !is_content(value) => {
                vec![Part::text(Text::plain(&String::from_utf8_lossy(value.bytes())))]
            }
            content => parts::read(content, &path.key("content"), self.ledger)?,
        };
        let is_error = take_marker(&mut parts);
        self.push(at, ToolResult { call_id, kind, parts, is_error, cache: None });
        Ok(())
    }
}

fn name_of<'a>(call: RawValue<'a>, path: &Path<'_>) -> Result<RawStr<'a>, Error> {
    reader::string(reader::required(call, "name", path)?, &path.key("name"))
}

/// `arguments`: a string with JSON in it; from some clients the object itself.
fn arguments<'a>(call: RawValue<'a>, path: &Path<'_>) -> Result<ArgText<'a>, Error> {
    match call.find("arguments").and_then(some) {
        None => Ok(ArgText::Quoted(Text::EMPTY)),
        Some(object) if object.is_object() => Ok(ArgText::Object(object)),
        Some(text) => Ok(ArgText::Quoted(reader::string(text, &path.key("arguments"))?.into())),
    }
}

/// Google's signature on a call: its own, or an envelope around it.
fn signature(extra: RawValue<'_>) -> Option<Opaque<'_>> {
    let signature =
        ["google", "vertex"].iter().find_map(|vendor| extra.path(&[vendor, "thought_signature"])?.as_str())?;
    if signature.is_empty() {
        return None;
    }
    if !envelope::looks_like(signature) {
        return Some(Opaque { family: Family::Google, scope: None, seal: Seal::Signature, bytes: signature.into() });
    }
    let opened = envelope::parse(signature)?;
    Some(Opaque { family: opened.family, scope: Some(opened.scope), seal: opened.seal, bytes: opened.sealed })
}

/// Returns the reasoning among the parts of `content`: Mistral's `thinking` parts, whose text is a
/// list of parts, and Anthropic's thinking blocks with their signature, as other gateways send
/// them.
fn thinking_parts(content: RawValue<'_>) -> Vec<ReasoningItem<'_>> {
    if content.kind() != RawKind::Array {
        return Vec::new();
    }
    let is_thinking = |part: &RawValue<'_>| {
        part.find("type").is_some_and(|kind| kind.eq_str("thinking") || kind.eq_str("redacted_thinking"))
    };
    let parts = || content.elements().map(|(part, _)| part).filter(is_thinking);
    let entries: Vec<Entry<'_>> = parts().map(Entry::read).collect();
    if entries.iter().any(|entry| entry.opaque.is_some()) {
        return reasoning::items_of(&entries, None, None);
    }
    let mut texts = Vec::new();
    for part in parts() {
        let Some(thinking) = part.find("thinking").or_else(|| part.find("text")) else { continue };
        texts.extend(thinking.as_str());
        texts.extend(thinking.elements().filter_map(|(piece, _)| piece.find("text")?.as_str()));
    }
    texts.retain(|text| !text.is_empty());
    let kind = ReasoningKind::Full;
    let parts: Vec<_> = texts.into_iter().map(|text| ReasoningPart { kind, text: text.into() }).collect();
    if parts.is_empty() { Vec::new() } else { vec![ReasoningItem { parts, ..ReasoningItem::default() }] }
}

/// Whether a result's content has the form of content at all: a string, or a list of typed parts.
fn is_content(value: RawValue<'_>) -> bool {
    match value.kind() {
        RawKind::String => true,
        RawKind::Array => value.elements().all(|(part, _)| part.find("type").and_then(RawValue::as_str).is_some()),
        _ => false,
    }
}

/// Takes the mark of a failed call off the first text.
fn take_marker(parts: &mut [Part<'_>]) -> bool {
    let Some(Part::Text(first)) = parts.first_mut() else { return false };
    let Some(rest) = first.text.strip_prefix(ERROR_MARKER).map(Text::into_owned) else { return false };
    first.text = rest;
    true
}

//! What a client receives: streams and whole answers read by the rules of their format alone, with
//! nothing of the encoders.
//!
//! A broken rule panics. What remains is a [`Reading`], the same for a stream and for the whole
//! answer with the same content (`docs/internals/testing.md`, "Properties of translation").

use std::borrow::Cow;

use crate::canonical::args::RAW_ARGUMENTS;
use crate::format::Format;
use crate::json::{RawStr, RawValue};
use crate::sse::{Frame, Framer};

/// An answer as a client sees it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The items, in the order in which the client can tell them apart.
    pub items: Vec<OutputItem>,
    /// The end of the response.
    pub end: End,
}

/// One item of it. Formats that do not tell items apart (Chat) have one of each kind.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputItem {
    /// All visible text.
    Text(String),
    /// All text in which the model declines.
    Refusal(String),
    /// Visible text, and the opaque states.
    Reasoning(String, Vec<String>),
    /// Id, name with its namespace, input.
    Call(String, String, String),
}

/// How it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum End {
    /// Cut off: no end mark came.
    #[default]
    Open,
    /// The reason, and the usage as reported there.
    Finished(String, String),
    /// An error ended the response.
    Failed,
}

/// Reads a client's stream. Panics where it breaks a rule of its format.
pub fn stream(format: Format, bytes: &[u8]) -> Reading {
    assert!(std::str::from_utf8(bytes).is_ok(), "a stream that is no UTF-8");
    let mut reader: Box<dyn Reader> = match format {
        Format::Chat => Box::new(ChatReader::default()),
        Format::Messages => Box::new(MessagesReader::default()),
        Format::Responses => Box::new(ResponsesReader::default()),
    };
    let (mut framer, mut rest, mut over) = (Framer::default(), bytes, false);
    while let Ok(Some(block)) = framer.next(&mut rest) {
        let Some(frame) = block.frame else { continue };
        assert!(!over, "something follows the end: {}", show(frame.data));
        over = reader.frame(frame);
    }
    assert!(rest.is_empty() && framer.pending() == 0, "half an event at the end");
    reader.finish()
}

/// Reads a whole answer of a client. Panics where it breaks a rule of its format.
pub fn whole(format: Format, body: &[u8]) -> Reading {
    let body = document(body);
    match format {
        Format::Chat => chat_whole(body),
        Format::Messages => messages_whole(body),
        Format::Responses => responses_whole(body),
    }
}

trait Reader {
    /// `true` if nothing may follow.
    fn frame(&mut self, frame: Frame<'_>) -> bool;
    fn finish(&mut self) -> Reading;
}

fn show(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn document(bytes: &[u8]) -> RawValue<'_> {
    let parsed = RawValue::parse(bytes);
    assert!(parsed.is_ok(), "no JSON: {parsed:?} in {}", show(bytes));
    let value = RawValue::new(bytes.trim_ascii());
    assert!(value.is_object(), "no object: {}", show(bytes));
    value
}

fn text<'a>(object: RawValue<'a>, key: &str) -> RawStr<'a> {
    object.find(key).and_then(RawValue::as_str).unwrap_or_default()
}

fn plain(raw: &[u8]) -> String {
    RawStr::new(raw).unescape().into_owned()
}

fn number(object: RawValue<'_>, key: &str) -> Option<u64> {
    object.find(key).and_then(RawValue::as_u64)
}

/// A string that must be there, not empty.
fn needed<'a>(object: RawValue<'a>, key: &str) -> RawStr<'a> {
    let value = text(object, key);
    assert!(!value.is_empty(), "no `{key}` in {object:?}");
    value
}

/// Ids that the gateway made up count up with the order of asking, which differs between stream and
/// whole.
fn call_id(raw: RawStr<'_>) -> String {
    let id = raw.unescape().into_owned();
    match id.strip_prefix("call_") {
        Some(digits) if digits.len() == 26 && digits.bytes().all(|b| b.is_ascii_digit()) => "call_".to_owned(),
        _ => id,
    }
}

/// Returns the input of a Messages call. A stream cannot take back what turned out to be no object;
/// the whole answer wraps it.
fn input(json: &str) -> String {
    let json = json.trim();
    let object = RawValue::parse(json.as_bytes()).ok().filter(|value| value.is_object());
    match object.map(|value| value.find(RAW_ARGUMENTS).and_then(RawValue::as_str)) {
        Some(Some(wrapped)) => wrapped.unescape().trim().to_owned(),
        None if json.is_empty() => "{}".to_owned(),
        _ => json.to_owned(),
    }
}

// --- Chat

/// Escaped bytes of what Chat sends in one piece each.
#[derive(Debug, Default)]
struct ChatReader {
    identity: Option<[Vec<u8>; 3]>,
    texts: [Vec<u8>; 3],
    states: Vec<String>,
    calls: Vec<[Vec<u8>; 3]>,
    legacy: bool,
    finish: Option<String>,
    usage: Option<String>,
    end: End,
}

const CHAT_TEXTS: [&str; 3] = ["content", "reasoning_content", "refusal"];

impl ChatReader {
    fn delta(&mut self, delta: RawValue<'_>) {
        for (slot, key) in self.texts.iter_mut().zip(CHAT_TEXTS) {
            slot.extend_from_slice(text(delta, key).as_bytes());
        }
        self.states.extend(chat_states(delta));
        if let Some(call) = delta.find("function_call") {
            self.legacy = true;
            self.calls.resize_with(1, Default::default);
            self.calls[0][1].extend_from_slice(text(call, "name").as_bytes());
            self.calls[0][2].extend_from_slice(text(call, "arguments").as_bytes());
        }
        for (call, _) in delta.find("tool_calls").into_iter().flat_map(RawValue::elements) {
            let index = number(call, "index").unwrap_or(u64::MAX) as usize;
            let function = call.find("function").or_else(|| call.find("custom"));
            let function = function.unwrap_or(RawValue::new(b"{}"));
            assert!(index <= self.calls.len(), "tool index {index} out of order");
            if index == self.calls.len() {
                assert!(!needed(call, "type").is_empty());
                self.calls.push([
                    needed(call, "id").as_bytes().to_vec(),
                    text(function, "name").as_bytes().to_vec(),
                    vec![],
                ]);
            } else {
                let is_repeated = ["id", "type"].iter().any(|key| call.find(key).is_some());
                assert!(!is_repeated && function.find("name").is_none(), "a call's identity appears twice");
            }
            self.calls[index][2].extend_from_slice(chat_input(function).as_bytes());
        }
    }
}

fn chat_input(function: RawValue<'_>) -> RawStr<'_> {
    function.find("arguments").or_else(|| function.find("input")).and_then(RawValue::as_str).unwrap_or_default()
}

/// Returns the opaque entries of `reasoning_details`.
fn chat_states(message: RawValue<'_>) -> Vec<String> {
    let details = message.find("reasoning_details").into_iter().flat_map(RawValue::elements);
    let states = details.filter_map(|(entry, _)| entry.find("signature").or_else(|| entry.find("data"))?.as_str());
    states.map(|raw| raw.unescape().into_owned()).collect()
}

impl Reader for ChatReader {
    fn frame(&mut self, frame: Frame<'_>) -> bool {
        assert!(frame.event.is_none(), "events of this format have no names");
        if frame.data == b"[DONE]" {
            let finish = self.finish.take();
            assert!(finish.is_some(), "an end without a finish");
            self.end = End::Finished(finish.unwrap_or_default(), self.usage.take().unwrap_or_default());
            return true;
        }
        let chunk = document(frame.data);
        if chunk.find("error").is_some() {
            self.end = End::Failed;
            return true;
        }
        let here = ["id", "created", "model"].map(|key| chunk.find(key).map_or_else(Vec::new, |v| v.bytes().to_vec()));
        assert!(chunk.find("object").is_some_and(|object| object.eq_str("chat.completion.chunk")));
        let first = self.identity.is_none();
        assert_eq!(*self.identity.get_or_insert_with(|| here.clone()), here, "a stream is one answer");
        let choice = chunk.find("choices").and_then(|choices| choices.elements().next());
        let Some((choice, _)) = choice else {
            assert!(self.finish.is_some() && self.usage.is_none(), "usage appears once, after the finish");
            self.usage = chunk.find("usage").map(|usage| show(usage.bytes()).into_owned());
            return false;
        };
        assert!(self.finish.is_none(), "a chunk after the finish");
        assert_eq!(number(choice, "index"), Some(0));
        let delta = choice.find("delta").unwrap_or(RawValue::new(b"null"));
        assert!(delta.is_object());
        assert_eq!(delta.find("role").is_some(), first, "the role is in the first chunk");
        self.delta(delta);
        let finish = text(choice, "finish_reason");
        self.finish = (!finish.is_empty()).then(|| finish.unescape().into_owned());
        false
    }

    fn finish(&mut self) -> Reading {
        let calls = std::mem::take(&mut self.calls);
        let calls = calls.iter().map(|[id, name, input]| (call_id(RawStr::new(id)), plain(name), plain(input)));
        let [content, reasoning, refusal] = self.texts.each_ref().map(|raw| plain(raw));
        chat_reading([content, reasoning, refusal], std::mem::take(&mut self.states), calls.collect(), &mut self.end)
    }
}

fn chat_reading(
    texts: [String; 3],
    states: Vec<String>,
    calls: Vec<(String, String, String)>,
    end: &mut End,
) -> Reading {
    let [content, reasoning, refusal] = texts;
    let mut items =
        vec![OutputItem::Reasoning(reasoning, states), OutputItem::Text(content), OutputItem::Refusal(refusal)];
    items.extend(calls.into_iter().map(|(id, name, input)| OutputItem::Call(id, name, input)));
    Reading { items, end: std::mem::take(end) }
}

fn chat_whole(body: RawValue<'_>) -> Reading {
    let choices = || body.find("choices").into_iter().flat_map(RawValue::elements);
    assert_eq!(choices().count(), 1);
    let choice = choices().next().map_or(RawValue::new(b"{}"), |(choice, _)| choice);
    let message = choice.find("message").unwrap_or(RawValue::new(b"{}"));
    assert!(message.find("content").is_some() && message.find("refusal").is_some(), "{message:?}");
    let mut calls = Vec::new();
    for (call, _) in message.find("tool_calls").into_iter().flat_map(RawValue::elements) {
        let function = call.find("function").or_else(|| call.find("custom")).unwrap_or(RawValue::new(b"{}"));
        let name = text(function, "name").unescape().into_owned();
        calls.push((call_id(needed(call, "id")), name, chat_input(function).unescape().into_owned()));
    }
    if let Some(call) = message.find("function_call") {
        calls.push((
            String::new(),
            text(call, "name").unescape().into_owned(),
            plain(text(call, "arguments").as_bytes()),
        ));
    }
    let usage = body.find("usage").map(|usage| show(usage.bytes()).into_owned());
    let mut end = End::Finished(needed(choice, "finish_reason").unescape().into_owned(), usage.unwrap_or_default());
    let texts = CHAT_TEXTS.map(|key| text(message, key).unescape().into_owned());
    chat_reading(texts, chat_states(message), calls, &mut end)
}

// --- Messages

#[derive(Debug, Default)]
struct MessagesReader {
    begun: bool,
    /// The block that is open.
    open: Option<Block>,
    blocks: Vec<OutputItem>,
    ended: Option<(String, String)>,
    end: End,
}

/// A block as it grows; its bytes are escaped.
#[derive(Debug)]
struct Block {
    kind: String,
    id: String,
    name: String,
    body: Vec<u8>,
    state: Vec<u8>,
    signed: bool,
}

impl Block {
    fn start(block: RawValue<'_>) -> Block {
        let kind = needed(block, "type").unescape().into_owned();
        let [id, name] = ["id", "name"].map(|key| text(block, key));
        if kind == "tool_use" {
            assert!(!id.is_empty() && block.find("input").is_some_and(|input| input.bytes() == b"{}"));
        }
        assert!(text(block, "text").is_empty() && text(block, "thinking").is_empty());
        let state = text(block, "data").as_bytes().to_vec();
        let (id, name) = (call_id(id), name.unescape().into_owned());
        Block { kind, id, name, body: Vec::new(), state, signed: false }
    }

    fn delta(&mut self, delta: RawValue<'_>) {
        let kind = needed(delta, "type").unescape();
        let member = match (self.kind.as_str(), &*kind) {
            ("text", "text_delta") => "text",
            ("thinking", "thinking_delta") => "thinking",
            ("tool_use", "input_json_delta") => "partial_json",
            ("thinking", "signature_delta") => {
                assert!(!std::mem::replace(&mut self.signed, true), "a second signature");
                self.state = text(delta, "signature").as_bytes().to_vec();
                return;
            }
            other => return assert_eq!(other, ("", ""), "a delta that does not belong to its block"),
        };
        assert!(!self.signed, "text behind the signature");
        self.body.extend_from_slice(text(delta, member).as_bytes());
    }

    fn stop(self) -> OutputItem {
        let states = if self.state.is_empty() { vec![] } else { vec![plain(&self.state)] };
        match self.kind.as_str() {
            "tool_use" => OutputItem::Call(self.id, self.name, input(&plain(&self.body))),
            "text" => {
                assert!(!plain(&self.body).trim().is_empty(), "a blank text block");
                OutputItem::Text(plain(&self.body))
            }
            kind => {
                assert!(kind == "thinking" || kind == "redacted_thinking", "{kind}");
                OutputItem::Reasoning(plain(&self.body), states)
            }
        }
    }
}

impl Reader for MessagesReader {
    fn frame(&mut self, frame: Frame<'_>) -> bool {
        let event = document(frame.data);
        assert_eq!(frame.event, Some(text(event, "type").as_bytes()), "clients dispatch on the event's name");
        let kind = needed(event, "type").unescape();
        let index = || number(event, "index").map(|n| n as usize);
        match &*kind {
            "error" => {
                self.end = End::Failed;
                return true;
            }
            "message_start" => assert!(!std::mem::replace(&mut self.begun, true), "a second start"),
            other => assert!(self.begun, "{other} before the start"),
        }
        match &*kind {
            "content_block_start" => {
                assert!(self.open.is_none() && self.ended.is_none(), "blocks nest");
                assert_eq!(index(), Some(self.blocks.len()));
                self.open = event.find("content_block").map(Block::start);
            }
            "content_block_delta" | "content_block_stop" => {
                assert_eq!(index(), Some(self.blocks.len()));
                assert!(self.open.is_some(), "no block is open");
                match event.find("delta") {
                    Some(delta) => self.open.iter_mut().for_each(|block| block.delta(delta)),
                    None => self.blocks.extend(self.open.take().map(Block::stop)),
                }
            }
            "message_delta" => {
                assert!(self.ended.is_none() && self.open.is_none());
                let stop =
                    event.path(&["delta", "stop_reason"]).map_or(RawStr::default(), |v| v.as_str().unwrap_or_default());
                assert!(!stop.is_empty());
                let usage = event.find("usage").map(|usage| show(usage.bytes()).into_owned());
                self.ended = Some((stop.unescape().into_owned(), usage.unwrap_or_default()));
            }
            "message_stop" => {
                assert!(self.ended.is_some(), "a stop without a reason");
                let (reason, usage) = self.ended.take().unwrap_or_default();
                self.end = End::Finished(reason, usage);
                return true;
            }
            other => assert!(matches!(other, "message_start" | "ping"), "{other}"),
        }
        false
    }

    fn finish(&mut self) -> Reading {
        Reading { items: std::mem::take(&mut self.blocks), end: std::mem::take(&mut self.end) }
    }
}

fn messages_whole(body: RawValue<'_>) -> Reading {
    let mut items = Vec::new();
    for (block, _) in body.find("content").into_iter().flat_map(RawValue::elements) {
        let states = |key| {
            let state = text(block, key);
            if state.is_empty() { vec![] } else { vec![state.unescape().into_owned()] }
        };
        items.push(match &*needed(block, "type").unescape() {
            "text" => {
                assert!(!text(block, "text").unescape().trim().is_empty(), "a blank text block");
                OutputItem::Text(text(block, "text").unescape().into_owned())
            }
            "thinking" => OutputItem::Reasoning(text(block, "thinking").unescape().into_owned(), states("signature")),
            "tool_use" => {
                let object = block.find("input").filter(|input| input.is_object());
                assert!(object.is_some(), "an input that is no object");
                let name = text(block, "name").unescape().into_owned();
                OutputItem::Call(call_id(needed(block, "id")), name, input(&show(object.map_or(b"", RawValue::bytes))))
            }
            other => {
                assert_eq!(other, "redacted_thinking");
                OutputItem::Reasoning(String::new(), states("data"))
            }
        });
    }
    let usage = body.find("usage").map(|usage| show(usage.bytes()).into_owned());
    Reading {
        items,
        end: End::Finished(needed(body, "stop_reason").unescape().into_owned(), usage.unwrap_or_default()),
    }
}

// --- Responses

/// Item, kind of delta, index.
type PartKey = (u64, Vec<u8>, u64);

#[derive(Debug, Default)]
struct ResponsesReader {
    number: u64,
    /// Id of each item that was added, and the item once it is done.
    items: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Parts that are open, and their text.
    parts: Vec<(PartKey, Vec<u8>)>,
    reading: Reading,
}

impl ResponsesReader {
    fn part(&mut self, event: RawValue<'_>, kind: &str) -> &mut Vec<u8> {
        let part = number(event, "summary_index").or_else(|| number(event, "content_index")).unwrap_or(0);
        let key = (number(event, "output_index").unwrap_or(u64::MAX), kind.as_bytes().to_vec(), part);
        let at = self.parts.iter().position(|(other, _)| *other == key).unwrap_or_else(|| {
            self.parts.push((key, Vec::new()));
            self.parts.len() - 1
        });
        &mut self.parts[at].1
    }

    fn terminal(&mut self, response: RawValue<'_>, kind: &str) {
        assert!(response.find("status").is_some_and(|status| status.eq_str(kind)));
        let output = response.find("output").into_iter().flat_map(RawValue::elements);
        let done: Vec<&[u8]> = self.items.iter().filter_map(|(_, done)| done.as_deref()).collect();
        assert_eq!(
            output.map(|(item, _)| show(item.bytes())).collect::<Vec<_>>(),
            done.iter().map(|item| show(item)).collect::<Vec<_>>()
        );
        self.reading = responses_whole(response);
        if kind == "failed" {
            self.reading.end = End::Failed;
        } else {
            assert_eq!(done.len(), self.items.len(), "an item without an end");
        }
    }
}

impl Reader for ResponsesReader {
    fn frame(&mut self, frame: Frame<'_>) -> bool {
        let event = document(frame.data);
        assert_eq!(frame.event, Some(text(event, "type").as_bytes()), "clients dispatch on the event's name");
        assert_eq!(number(event, "sequence_number"), Some(self.number), "numbers have no gaps");
        let kind = needed(event, "type").unescape();
        let kind = kind.strip_prefix("response.").unwrap_or(&kind);
        let response = event.find("response").unwrap_or(RawValue::new(b"{}"));
        let at = number(event, "output_index").unwrap_or(u64::MAX) as usize;
        let item = event.find("item").unwrap_or(RawValue::new(b"{}"));
        assert_eq!(self.number < 2, matches!(kind, "created" | "in_progress"), "{kind}");
        self.number += 1;
        match kind {
            "created" | "in_progress" => {
                assert!(response.find("output").is_some_and(|output| output.bytes() == b"[]"));
            }
            "completed" | "incomplete" | "failed" => {
                self.terminal(response, kind);
                return true;
            }
            "output_item.added" => {
                assert_eq!(at, self.items.len(), "indexes rise");
                self.items.push((needed(item, "id").as_bytes().to_vec(), None));
            }
            "output_item.done" => {
                assert_eq!(self.items[at].0, text(item, "id").as_bytes());
                assert!(self.items[at].1.replace(item.bytes().to_vec()).is_none(), "done twice");
            }
            _ => {
                assert!(self.items[at].1.is_none(), "{kind} of an item that is done");
                assert_eq!(self.items[at].0, text(event, "item_id").as_bytes());
                if let Some(kind) = kind.strip_suffix(".delta") {
                    self.part(event, kind).extend_from_slice(text(event, "delta").as_bytes());
                } else if let Some(kind) = kind.strip_suffix(".done").filter(|kind| !kind.ends_with("_part")) {
                    let whole =
                        ["text", "refusal", "arguments", "input"].iter().find_map(|key| event.find(key)?.as_str());
                    assert_eq!(Some(self.part(event, kind).as_slice()), whole.map(RawStr::as_bytes), "deltas add up");
                }
            }
        }
        false
    }

    fn finish(&mut self) -> Reading {
        std::mem::take(&mut self.reading)
    }
}

/// Returns a part of a message.
fn message_part(part: RawValue<'_>) -> OutputItem {
    match part.find("refusal").and_then(RawValue::as_str) {
        Some(refusal) => OutputItem::Refusal(refusal.unescape().into_owned()),
        None => OutputItem::Text(needed(part, "text").unescape().into_owned()),
    }
}

/// Returns a `response` object.
fn responses_whole(body: RawValue<'_>) -> Reading {
    for key in ["id", "object", "created_at", "model", "output", "tools", "tool_choice", "metadata", "usage", "error"] {
        assert!(body.find(key).is_some(), "no `{key}`");
    }
    let mut items = Vec::new();
    for (item, _) in body.find("output").into_iter().flat_map(RawValue::elements) {
        let parts = |key| item.find(key).into_iter().flat_map(RawValue::elements);
        let kind = needed(item, "type").unescape();
        if kind == "message" {
            // Which texts share a message is not the same in both: each of its parts counts alone.
            items.extend(parts("content").map(|(part, _)| message_part(part)));
            continue;
        }
        items.push(match &*kind {
            "reasoning" => {
                let texts = parts("summary").chain(parts("content"));
                let texts: Vec<String> = texts.map(|(part, _)| text(part, "text").unescape().into_owned()).collect();
                let state = item.find("encrypted_content").and_then(RawValue::as_str);
                OutputItem::Reasoning(
                    texts.join("\u{0}"),
                    state.map(|raw| raw.unescape().into_owned()).into_iter().collect(),
                )
            }
            other => {
                assert!(matches!(other, "function_call" | "custom_tool_call"), "{other}");
                let input = item.find("arguments").or_else(|| item.find("input")).and_then(RawValue::as_str);
                let name = format!("{}/{}", text(item, "namespace").unescape(), text(item, "name").unescape());
                OutputItem::Call(
                    call_id(needed(item, "call_id")),
                    name,
                    input.unwrap_or_default().unescape().into_owned(),
                )
            }
        });
    }
    let bytes = |key: &str| body.find(key).map_or_else(String::new, |value| show(value.bytes()).into_owned());
    let reason = format!("{} {}", bytes("status"), bytes("incomplete_details"));
    Reading { items, end: End::Finished(reason, bytes("usage")) }
}

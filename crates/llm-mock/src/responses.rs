//! OpenAI responses, as JSON and as a stream.

use super::answer::{Answer, Call, Content, Finish, THOUGHTS, Text, escape};
use super::chat::thoughts;
use super::event_script::Script;
use super::request::{Field, ParsedRequest, Reasoning};
use super::templates::{self, Holes, Splice, fill, section};
use serde_json::{Value, json};

const FILE: &str = include_str!("templates/responses.tmpl");
const RESPONSE: &str = templates::json(FILE, "response");
const USAGE: &str = templates::json(FILE, "usage");
const MESSAGE: &str = templates::json(FILE, "message");
const TEXT_PART: &str = templates::json(FILE, "text_part");
const REFUSAL_PART: &str = templates::json(FILE, "refusal_part");
const REASONING: &str = templates::json(FILE, "reasoning");
const ENCRYPTED: &str = templates::json(FILE, "encrypted");
const SUMMARY: &str = templates::json(FILE, "summary");
const FUNCTION: &str = templates::json(FILE, "function");
const CUSTOM: &str = templates::json(FILE, "custom");
const CREATED: &str = section(FILE, "created");
const IN_PROGRESS: &str = section(FILE, "in_progress");
const ITEM_ADDED: &str = section(FILE, "item_added");
const SUMMARY_ADDED: &str = section(FILE, "summary_added");
const SUMMARY_DELTA: &str = section(FILE, "summary_delta");
const SUMMARY_TEXT_DONE: &str = section(FILE, "summary_text_done");
const SUMMARY_DONE: &str = section(FILE, "summary_done");
const PART_ADDED: &str = section(FILE, "part_added");
const TEXT_DELTA: &str = section(FILE, "text_delta");
const TEXT_DONE: &str = section(FILE, "text_done");
const REFUSAL_DELTA: &str = section(FILE, "refusal_delta");
const REFUSAL_DONE: &str = section(FILE, "refusal_done");
const PART_DONE: &str = section(FILE, "part_done");
const ARGUMENTS_DELTA: &str = section(FILE, "arguments_delta");
const ARGUMENTS_DONE: &str = section(FILE, "arguments_done");
const INPUT_DELTA: &str = section(FILE, "input_delta");
const INPUT_DONE: &str = section(FILE, "input_done");
const ITEM_DONE: &str = section(FILE, "item_done");
const COMPLETED: &str = section(FILE, "completed");
const INCOMPLETE: &str = section(FILE, "incomplete");
const FAILED: &str = section(FILE, "failed");
const FAILURE: &str = templates::json(FILE, "failure");
const ERROR: &str = section(FILE, "error");

/// Writes a whole answer of Responses.
pub(crate) fn whole(req: &ParsedRequest, answer: &Answer, out: &mut Vec<u8>) {
    let output: Vec<Vec<u8>> = items(answer).iter().map(|item| item.json(answer, Stage::Done)).collect();
    out.extend_from_slice(&response(req, answer, Stage::Done, &output.join(&b',')));
}

/// Writes the events of a stream of Responses.
pub(crate) fn stream(req: &ParsedRequest, answer: &Answer, script: &mut Script) {
    let mut events = Events { script, answer, seq: 0, index: 0 };
    let opened = response(req, answer, Stage::Open, b"");
    events.lifecycle(CREATED, &opened);
    events.lifecycle(IN_PROGRESS, &opened);
    let mut output = Vec::new();
    for item in items(answer) {
        events.event(ITEM_ADDED, &[("item", &item.json(answer, Stage::Open))]);
        match &item {
            Item::Reasoning(reasoning) if reasoning.shown => events.summary(),
            Item::Reasoning(_) => {}
            Item::Text(text) | Item::Refusal(text) => events.message(&item, text),
            Item::Call(call) => events.call(call),
        }
        let done = item.json(answer, Stage::Done);
        events.event(ITEM_DONE, &[("item", &done)]);
        output.push(done);
        events.index += 1;
    }
    let last = match answer.finish {
        Finish::Length => INCOMPLETE,
        _ => COMPLETED,
    };
    events.lifecycle(last, &response(req, answer, Stage::Done, &output.join(&b',')));
}

/// Returns the event of a stream that fails before any content: `error` in its nested form, which
/// is what OpenAI sends (its API description has a flat one).
pub(crate) fn error_first(seq: u64) -> Vec<u8> {
    let mut out = Vec::new();
    fill!(&mut out, ERROR, seq = seq);
    out
}

/// Returns the event of a stream that fails after content.
pub(crate) fn error_mid(req: &ParsedRequest, answer: &Answer, seq: u64) -> Vec<u8> {
    let (mut out, response) = (Vec::new(), response(req, answer, Stage::Failed, b""));
    fill!(&mut out, FAILED, seq = seq, response = response);
    out
}

/// How far a response or an item is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Done,
    Failed,
}

/// One element of `output`.
enum Item<'a> {
    Reasoning(Reasoning),
    Text(&'a Text),
    Refusal(&'a Text),
    Call(&'a Call),
}

fn items(answer: &Answer) -> Vec<Item<'_>> {
    let mut items: Vec<Item> = answer.reasoning.map(Item::Reasoning).into_iter().collect();
    match &answer.content {
        Content::Text(text) => items.push(Item::Text(text)),
        Content::Refusal(text) => items.push(Item::Refusal(text)),
        Content::Calls(calls) => items.extend(calls.iter().map(Item::Call)),
    }
    items
}

impl Item<'_> {
    fn json(&self, answer: &Answer, stage: Stage) -> Vec<u8> {
        let mut out = Vec::new();
        let status = match (stage, answer.finish) {
            (Stage::Open, _) => "in_progress",
            (_, Finish::Length) => "incomplete",
            _ => "completed",
        };
        match self {
            Item::Reasoning(reasoning) => {
                let (mut summary, mut encrypted) = (Vec::new(), Vec::new());
                if reasoning.shown && stage == Stage::Done {
                    fill!(&mut summary, SUMMARY, text = thoughts());
                }
                if reasoning.opaque {
                    fill!(&mut encrypted, ENCRYPTED, id = answer.id);
                }
                fill!(&mut out, REASONING, id = answer.id, summary = summary, encrypted = encrypted);
            }
            Item::Text(_) | Item::Refusal(_) => {
                let part = if stage == Stage::Done { self.part(stage) } else { Vec::new() };
                fill!(&mut out, MESSAGE, id = answer.id, status = status, part = part);
            }
            Item::Call(call) => {
                let input = if stage == Stage::Done { escape(&call.input) } else { String::new() };
                let template = match call.custom {
                    true => CUSTOM,
                    false => FUNCTION,
                };
                fill!(&mut out, template, id = call.id, status = status, name = call.name, input = input);
            }
        }
        out
    }

    /// Returns the content part of a message.
    fn part(&self, stage: Stage) -> Vec<u8> {
        let mut out = Vec::new();
        let (template, text) = match self {
            Item::Refusal(text) => (REFUSAL_PART, *text),
            Item::Text(text) => (TEXT_PART, *text),
            Item::Reasoning(_) | Item::Call(_) => return out,
        };
        match stage {
            Stage::Open => fill!(&mut out, template, text = ""),
            _ => fill!(&mut out, template, text = *text),
        }
        out
    }
}

/// Writes numbered events.
struct Events<'a> {
    script: &'a mut Script,
    answer: &'a Answer,
    seq: u64,
    /// The item that is being written.
    index: u64,
}

impl Events<'_> {
    fn event(&mut self, template: &str, holes: &Holes) {
        self.write(template, holes);
        self.script.event();
    }

    fn content(&mut self, template: &str, holes: &Holes) {
        self.write(template, holes);
        self.script.content();
    }

    fn write(&mut self, template: &str, holes: &Holes) {
        let mut all: Vec<(&str, &dyn Splice)> = vec![("seq", &self.seq), ("index", &self.index)];
        all.extend_from_slice(holes);
        super::templates::fill_holes(&mut self.script.bytes, template, &all);
        self.seq += 1;
    }

    fn lifecycle(&mut self, template: &str, response: &Vec<u8>) {
        self.event(template, &[("response", response)]);
    }

    fn summary(&mut self) {
        let answer = self.answer;
        let whole = thoughts();
        self.event(SUMMARY_ADDED, &[("id", &answer.id)]);
        for thought in THOUGHTS {
            self.content(SUMMARY_DELTA, &[("id", &answer.id), ("text", &thought)]);
        }
        self.event(SUMMARY_TEXT_DONE, &[("id", &answer.id), ("text", &whole)]);
        self.event(SUMMARY_DONE, &[("id", &answer.id), ("text", &whole)]);
    }

    fn message(&mut self, item: &Item, text: &Text) {
        let (delta, done) = match item {
            Item::Refusal(_) => (REFUSAL_DELTA, REFUSAL_DONE),
            _ => (TEXT_DELTA, TEXT_DONE),
        };
        let id = &self.answer.id;
        self.event(PART_ADDED, &[("id", id), ("part", &item.part(Stage::Open))]);
        for piece in text.pieces() {
            self.content(delta, &[("id", id), ("text", &piece)]);
        }
        self.event(done, &[("id", id), ("text", text)]);
        self.event(PART_DONE, &[("id", id), ("part", &item.part(Stage::Done))]);
    }

    fn call(&mut self, call: &Call) {
        let (delta, done) = match call.custom {
            true => (INPUT_DELTA, INPUT_DONE),
            false => (ARGUMENTS_DELTA, ARGUMENTS_DONE),
        };
        for piece in call.pieces.pieces() {
            self.content(delta, &[("id", &call.id), ("text", &piece)]);
        }
        self.event(done, &[("id", &call.id), ("text", &escape(&call.input)), ("name", &call.name)]);
    }
}

/// Returns the response object: the request's own values where it had them, the vendor's defaults
/// elsewhere.
fn response(req: &ParsedRequest, answer: &Answer, stage: Stage, output: &[u8]) -> Vec<u8> {
    let echo =
        |field: Field, default: &'static str| req.fields.get(field).map_or_else(|| default.to_owned(), on_one_line);
    let (status, incomplete, error) = match (stage, answer.finish) {
        (Stage::Open, _) => ("in_progress", "null", "null"),
        (Stage::Failed, _) => ("failed", "null", FAILURE),
        (Stage::Done, Finish::Length) => ("incomplete", r#"{"reason":"max_output_tokens"}"#, "null"),
        (Stage::Done, _) => ("completed", "null", "null"),
    };
    let mut out = Vec::new();
    fill!(
        &mut out,
        RESPONSE,
        id = answer.id,
        status = status,
        completed_at = if status == "completed" { "1764000001" } else { "null" },
        error = error,
        incomplete = incomplete,
        model = req.model,
        output = output.to_vec(),
        usage = if stage == Stage::Done { usage(answer) } else { b"null".to_vec() },
        background = echo(Field::Background, "false"),
        instructions = echo(Field::Instructions, "null"),
        max_output_tokens = echo(Field::MaxOutputTokens, "null"),
        max_tool_calls = echo(Field::MaxToolCalls, "null"),
        metadata = echo(Field::Metadata, "{}"),
        parallel_tool_calls = echo(Field::ParallelToolCalls, "true"),
        previous_response_id = echo(Field::PreviousResponseId, "null"),
        prompt_cache_key = echo(Field::PromptCacheKey, "null"),
        reasoning = completed(&echo(Field::Reasoning, "{}"), &[("effort", Value::Null), ("summary", Value::Null)]),
        safety_identifier = echo(Field::SafetyIdentifier, "null"),
        store = echo(Field::Store, "true"),
        temperature = echo(Field::Temperature, "1.0"),
        text = completed(
            &echo(Field::Text, "{}"),
            &[("format", json!({"type": "text"})), ("verbosity", "medium".into())],
        ),
        tool_choice = echo(Field::ToolChoice, r#""auto""#),
        tools = tools(&echo(Field::Tools, "[]")),
        top_p = echo(Field::TopP, "1.0"),
        truncation = echo(Field::Truncation, r#""disabled""#),
        user = echo(Field::User, "null"),
    );
    out
}

fn usage(answer: &Answer) -> Vec<u8> {
    let (mut out, usage) = (Vec::new(), answer.usage);
    fill!(
        &mut out,
        USAGE,
        input = usage.input,
        cached = usage.cached,
        output = usage.output,
        reasoning = usage.reasoning,
        total = usage.input + usage.output,
    );
    out
}

/// Returns an object of the request with what the vendor adds to it.
fn completed(raw: &str, defaults: &[(&str, Value)]) -> String {
    let Ok(Value::Object(mut object)) = serde_json::from_str(raw) else { return raw.to_owned() };
    for (name, default) in defaults {
        object.entry(*name).or_insert_with(|| default.clone());
    }
    if let Some(Value::Object(format)) = object.get_mut("format").filter(|format| format["type"] == "json_schema") {
        format.entry("description").or_insert(Value::Null);
        format.entry("strict").or_insert(false.into());
    }
    Value::Object(object).to_string()
}

/// Returns the tools of the request: functions have all their members, and are strict unless they
/// say otherwise.
fn tools(raw: &str) -> String {
    let Ok(Value::Array(mut tools)) = serde_json::from_str(raw) else { return raw.to_owned() };
    for tool in tools.iter_mut().filter(|tool| tool["type"] == "function").filter_map(Value::as_object_mut) {
        for (name, default) in [("description", Value::Null), ("parameters", Value::Null), ("strict", true.into())] {
            tool.entry(name).or_insert(default);
        }
    }
    Value::Array(tools).to_string()
}

/// Returns a value of the request as it may stand in an event: a line break inside JSON can only be
/// white space.
fn on_one_line(raw: &str) -> String {
    raw.replace(['\n', '\r'], " ")
}

//! Reads the meaning of a response with serde_json alone: none of the code under test stands on
//! this side.
//!
//! [`whole`] reads a body, [`stream`] a stream. A stream is folded into the body that it stands
//! for, by the rules of the vendor's SDK, and what it broke on the way is listed: recordings of
//! careless hosts have such faults, our own streams must have none.

use serde_json::{Map, Value, json};

use llm_wire::Format;
use llm_wire::sse::Framer;

/// One answer, in no format.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Output {
    pub text: String,
    /// Chat `refusal`, Responses `refusal` parts.
    pub refusal: String,
    /// Messages `stop_details.explanation`.
    pub explanation: String,
    pub reasoning: String,
    /// Opaque reasoning state: signatures, redacted blocks, encrypted content.
    pub sealed: Vec<String>,
    /// Calls that the client is to run.
    pub calls: Vec<Call>,
    /// `finish_reason`, `stop_reason`, or `status` with `:reason` where incomplete. Empty where the
    /// answer gives none.
    pub finish: String,
    pub stop_sequence: Option<String>,
    pub usage: Option<Tokens>,
}

#[derive(Debug, Default, Clone, PartialEq)]
pub struct Call {
    pub id: String,
    pub name: String,
    /// Arguments as JSON, or as a string where they are none.
    pub args: Value,
    pub custom: bool,
}

/// Counts with all input in `input`, whatever the vendor leaves out of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Tokens {
    pub input: u64,
    pub read: u64,
    pub write: u64,
    pub output: u64,
    pub reasoning: u64,
}

/// What a stream said, and how it was told.
#[derive(Debug, Default)]
pub struct Streamed {
    pub output: Output,
    /// The body that it stands for.
    pub whole: Value,
    /// Error events.
    pub errors: Vec<Value>,
    /// Ends of the whole answer: `[DONE]`, `message_stop`, `response.completed` and its like.
    pub ends: usize,
    /// Rules of the format that it broke.
    pub faults: Vec<String>,
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Arguments as they would be parsed: nothing at all is an empty object.
fn arguments(raw: &str) -> Value {
    if raw.trim().is_empty() { json!({}) } else { serde_json::from_str(raw).unwrap_or_else(|_| json!(raw)) }
}

/// Reads a whole answer.
pub fn whole(format: Format, body: &Value) -> Output {
    match format {
        Format::Chat => chat(body),
        Format::Messages => messages(body),
        Format::Responses => responses(body),
    }
}

fn chat(body: &Value) -> Output {
    let choice = list(&body["choices"]).iter().find(|choice| count(&choice["index"]) == 0).unwrap_or(&Value::Null);
    let message = &choice["message"];
    let mut output = Output { finish: text(&choice["finish_reason"]).to_owned(), ..Output::default() };
    output.refusal = text(&message["refusal"]).to_owned();
    output.text = text(&message["content"]).to_owned();
    // Mistral: parts, of which some are thoughts.
    for part in list(&message["content"]) {
        output.text += text(&part["text"]);
        output.reasoning.extend(list(&part["thinking"]).iter().map(|piece| text(&piece["text"])));
    }
    // The words of audio, where they are not the content as well.
    if output.text.is_empty() {
        output.text += text(&message["audio"]["transcript"]);
    }
    let details = list(&message["reasoning_details"]);
    let plain = ["reasoning_content", "reasoning"].map(|name| text(&message[name])).into_iter().find(|t| !t.is_empty());
    match plain {
        Some(plain) => output.reasoning += plain,
        None => {
            details.iter().for_each(|d| join(&mut output.reasoning, &[text(&d["text"]), text(&d["summary"])].concat()))
        }
    }
    for detail in details {
        let sealed = [text(&detail["signature"]), text(&detail["data"])].concat();
        output.sealed.extend((!sealed.is_empty()).then_some(sealed));
    }
    for call in list(&message["tool_calls"]) {
        let (id, custom) = (text(&call["id"]).to_owned(), call["type"] == "custom");
        let (name, args) = match custom {
            true => (text(&call["custom"]["name"]), call["custom"]["input"].clone()),
            false => (text(&call["function"]["name"]), arguments(text(&call["function"]["arguments"]))),
        };
        output.calls.push(Call { id, name: name.to_owned(), args, custom });
    }
    // Hosts that fill in every field write one without a name.
    if let Some(call) = message.get("function_call").filter(|call| !text(&call["name"]).is_empty()) {
        let args = arguments(text(&call["arguments"]));
        output.calls.push(Call { id: String::new(), name: text(&call["name"]).to_owned(), args, custom: false });
    }
    output.usage = body.get("usage").and_then(openai_tokens);
    output
}

/// `None` where nothing was counted: an answer is never free.
fn openai_tokens(usage: &Value) -> Option<Tokens> {
    let pick = |names: [&str; 2]| names.iter().find_map(|name| usage.get(name)).unwrap_or(&Value::Null);
    let (ins, outs) = (
        pick(["prompt_tokens_details", "input_tokens_details"]),
        pick(["completion_tokens_details", "output_tokens_details"]),
    );
    let mut tokens = Tokens {
        input: count(pick(["prompt_tokens", "input_tokens"])),
        read: count(&ins["cached_tokens"]),
        write: count(&ins["cache_write_tokens"]),
        output: count(pick(["completion_tokens", "output_tokens"])),
        reasoning: count(&outs["reasoning_tokens"]),
    };
    // Hosts that count as Anthropic does, in OpenAI's words: there cannot be more of a part than of
    // the whole.
    if tokens.read + tokens.write > tokens.input {
        tokens.input += tokens.read + tokens.write;
    }
    // Google tells of thoughts in the sum alone.
    let hidden = count(&usage["total_tokens"]).saturating_sub(tokens.input + tokens.output);
    if tokens.reasoning == 0 && tokens.output > 0 {
        (tokens.output, tokens.reasoning) = (tokens.output + hidden, hidden);
    }
    (tokens.input + tokens.output > 0).then_some(tokens)
}

fn messages(body: &Value) -> Output {
    let mut output = Output { finish: text(&body["stop_reason"]).to_owned(), ..Output::default() };
    output.stop_sequence = body["stop_sequence"].as_str().map(str::to_owned);
    output.explanation = text(&body["stop_details"]["explanation"]).to_owned();
    for block in list(&body["content"]) {
        match text(&block["type"]) {
            "text" => output.text += text(&block["text"]),
            "thinking" => {
                join(&mut output.reasoning, text(&block["thinking"]));
                output.sealed.extend(block["signature"].as_str().filter(|s| !s.is_empty()).map(str::to_owned));
            }
            "redacted_thinking" => output.sealed.push(text(&block["data"]).to_owned()),
            "tool_use" => output.calls.push(Call {
                id: text(&block["id"]).to_owned(),
                name: text(&block["name"]).to_owned(),
                args: block["input"].clone(),
                custom: false,
            }),
            _ => {}
        }
    }
    output.usage = body.get("usage").filter(|usage| usage.is_object()).map(anthropic_tokens);
    output
}

fn anthropic_tokens(usage: &Value) -> Tokens {
    // What was said after the history was compacted is the last of several calls, and all of them
    // cost.
    let calls = list(&usage["iterations"]);
    let compacted = calls.iter().any(|call| call["type"] == "compaction");
    let mut tokens = Tokens::default();
    for usage in if compacted { calls } else { std::slice::from_ref(usage) } {
        let (read, write) = (count(&usage["cache_read_input_tokens"]), count(&usage["cache_creation_input_tokens"]));
        tokens.input += count(&usage["input_tokens"]) + read + write;
        tokens.read += read;
        tokens.write += write;
        tokens.output += count(&usage["output_tokens"]);
    }
    tokens.reasoning = count(&usage["output_tokens_details"]["thinking_tokens"]);
    tokens
}

/// Adds a block of reasoning to others.
fn join(all: &mut String, more: &str) {
    if !all.is_empty() && !more.is_empty() {
        all.push_str("\n\n");
    }
    all.push_str(more);
}

fn responses(body: &Value) -> Output {
    let mut output = Output { finish: text(&body["status"]).to_owned(), ..Output::default() };
    if let Some(reason) = body["incomplete_details"]["reason"].as_str() {
        output.finish += &format!(":{reason}");
    }
    for item in list(&body["output"]) {
        let (id, name) = (text(&item["call_id"]).to_owned(), text(&item["name"]).to_owned());
        match text(&item["type"]) {
            "message" => {
                for part in list(&item["content"]) {
                    output.text += text(&part["text"]);
                    output.refusal += text(&part["refusal"]);
                }
            }
            "reasoning" => {
                let parts: Vec<&str> =
                    list(&item["summary"]).iter().chain(list(&item["content"])).map(|p| text(&p["text"])).collect();
                join(&mut output.reasoning, &parts.join("\n\n"));
                output.sealed.extend(item["encrypted_content"].as_str().filter(|s| !s.is_empty()).map(str::to_owned));
            }
            "function_call" => {
                output.calls.push(Call { id, name, args: arguments(text(&item["arguments"])), custom: false });
            }
            "custom_tool_call" => output.calls.push(Call { id, name, args: item["input"].clone(), custom: true }),
            _ => {}
        }
    }
    output.usage = body.get("usage").and_then(openai_tokens);
    output
}

/// Reads a stream.
pub fn stream(format: Format, bytes: &[u8]) -> Streamed {
    let mut fold =
        Fold { format, out: Streamed { whole: json!({}), ..Streamed::default() }, items: Vec::new(), sequence: 0 };
    for (event, data) in events(bytes) {
        if fold.out.ends > 0 && !(format != Format::Chat && data == "[DONE]") {
            fold.fault("something follows the end");
        }
        if data == "[DONE]" {
            fold.out.ends += usize::from(format == Format::Chat);
            continue;
        }
        let Ok(value) = serde_json::from_str::<Value>(&data) else {
            fold.fault(&format!("no JSON: {data}"));
            continue;
        };
        match format {
            Format::Chat => fold.chat(&value, event.as_deref()),
            Format::Messages => fold.messages(&value, event.as_deref()),
            Format::Responses => fold.responses(&value, event.as_deref()),
        }
    }
    fold.end();
    fold.out.output = whole(format, &fold.out.whole);
    fold.out
}

/// Name and data of each event.
pub fn events(bytes: &[u8]) -> Vec<(Option<String>, String)> {
    let (mut framer, mut rest, mut out) = (Framer::default(), bytes, Vec::new());
    let owned = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    while let Some(block) = framer.next(&mut rest).unwrap() {
        out.extend(block.frame.map(|frame| (frame.event.map(owned), owned(frame.data).trim().to_owned())));
    }
    out.extend(framer.finish().and_then(|b| b.frame).map(|f| (f.event.map(owned), owned(f.data).trim().to_owned())));
    out
}

struct Fold {
    format: Format,
    out: Streamed,
    /// Messages: open blocks by index. Responses: what the deltas of each item said.
    items: Vec<(u64, String)>,
    sequence: u64,
}

impl Fold {
    fn fault(&mut self, what: &str) {
        self.out.faults.push(what.to_owned());
    }

    fn chat(&mut self, chunk: &Value, event: Option<&str>) {
        if chunk.get("error").is_some_and(|error| !error.is_null()) {
            self.out.errors.push(chunk.clone());
            return;
        }
        if event.is_some() {
            self.fault("a chunk with a name");
        }
        let whole = self.out.whole.as_object_mut().unwrap();
        let mut faults = Vec::new();
        for name in ["id", "created", "model"] {
            match whole.get(name) {
                None => drop(whole.insert(name.to_owned(), chunk[name].clone())),
                Some(old) if *old != chunk[name] => faults.push(format!("`{name}` changes")),
                Some(_) => {}
            }
        }
        if let Some(usage) = chunk.get("usage").filter(|usage| usage.is_object()) {
            if !list(&chunk["choices"]).is_empty() {
                faults.push("usage beside a choice".to_owned());
            }
            whole.insert("usage".to_owned(), usage.clone());
        }
        let choices =
            whole.entry("choices").or_insert_with(|| json!([{"index": 0, "finish_reason": null, "message": {}}]));
        let folded = &mut choices[0];
        for choice in list(&chunk["choices"]).iter().filter(|choice| count(&choice["index"]) == 0) {
            if folded["finish_reason"].is_string() && choice["delta"].as_object().is_some_and(|delta| !delta.is_empty())
            {
                faults.push("a delta after the finish".to_owned());
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                if folded["finish_reason"].is_string() {
                    faults.push("a second finish".to_owned());
                } else {
                    folded["finish_reason"] = json!(reason);
                }
            }
            chat_delta(&mut folded["message"], &choice["delta"], &mut faults);
        }
        self.out.faults.append(&mut faults);
    }

    fn messages(&mut self, event: &Value, name: Option<&str>) {
        let kind = text(&event["type"]).to_owned();
        if name != Some(&kind) {
            self.fault("the name of an event is not its type");
        }
        match kind.as_str() {
            "error" => self.out.errors.push(event.clone()),
            "message_start" => {
                if !self.out.whole["type"].is_null() {
                    self.fault("a second message_start");
                }
                self.out.whole = event["message"].clone();
            }
            "content_block_start" => {
                let content = self.out.whole["content"].as_array_mut();
                let at = content.map_or(0, |content| {
                    content.push(event["content_block"].clone());
                    content.len() as u64 - 1
                });
                if count(&event["index"]) != at {
                    self.fault("indexes are not dense");
                }
                if !self.items.is_empty() {
                    self.fault("a block opens within another");
                }
                self.items.push((count(&event["index"]), String::new()));
            }
            "content_block_delta" => self.block_delta(count(&event["index"]), &event["delta"]),
            "content_block_stop" => {
                let index = count(&event["index"]);
                let Some(at) = self.items.iter().position(|(open, _)| *open == index) else {
                    return self.fault("a block that is not open stops");
                };
                let (_, json) = self.items.remove(at);
                let block = &mut self.out.whole["content"][index as usize];
                if !json.is_empty() {
                    block["input"] = arguments(&json);
                }
                if block["type"] == "text" && text(&block["text"]).trim().is_empty() {
                    self.fault("a blank text block");
                }
            }
            "message_delta" => {
                if self.out.whole["stop_reason"].is_string() {
                    self.fault("a second message_delta");
                }
                for (key, value) in event["delta"].as_object().unwrap_or(&Map::new()) {
                    self.out.whole[key] = value.clone();
                }
                for (key, value) in event["usage"].as_object().unwrap_or(&Map::new()) {
                    if !value.is_null() {
                        self.out.whole["usage"][key] = value.clone();
                    }
                }
            }
            "message_stop" => {
                self.out.ends += 1;
                if !self.items.is_empty() || !self.out.whole["stop_reason"].is_string() {
                    self.fault("message_stop before all has ended");
                }
            }
            _ => {}
        }
    }

    fn block_delta(&mut self, index: u64, delta: &Value) {
        let Some(open) = self.items.iter_mut().find(|(open, _)| *open == index) else {
            return self.fault("a delta of a block that is not open");
        };
        let block = &mut self.out.whole["content"][index as usize];
        let mut append = |field: &str, more: &str| block[field] = json!(format!("{}{more}", text(&block[field])));
        match text(&delta["type"]) {
            "text_delta" => append("text", text(&delta["text"])),
            "thinking_delta" => append("thinking", text(&delta["thinking"])),
            "input_json_delta" => open.1 += text(&delta["partial_json"]),
            "signature_delta" => {
                // The SDKs set it, they do not append.
                if !text(&block["signature"]).is_empty() {
                    self.out.faults.push("a second signature".to_owned());
                }
                block["signature"] = delta["signature"].clone();
            }
            _ => {}
        }
    }

    fn responses(&mut self, event: &Value, name: Option<&str>) {
        let kind = text(&event["type"]).to_owned();
        if name != Some(&kind) {
            self.fault("the name of an event is not its type");
        }
        if event["sequence_number"].as_u64() != Some(self.sequence) {
            self.fault(&format!("{kind}: sequence_number {}, not {}", event["sequence_number"], self.sequence));
        }
        self.sequence += 1;
        let at = count(&event["output_index"]);
        match kind.as_str() {
            "error" => self.out.errors.push(event.clone()),
            "response.output_item.added" => {
                if at != list(&self.out.whole["output"]).len() as u64 {
                    self.fault("output_index is not dense");
                }
                if !self.out.whole["output"].is_array() {
                    self.out.whole["output"] = json!([]);
                }
                self.out.whole["output"].as_array_mut().unwrap().push(event["item"].clone());
                self.items.push((at, String::new()));
            }
            "response.output_item.done" => {
                if let Some(slot) = self.out.whole["output"].get_mut(at as usize) {
                    *slot = event["item"].clone();
                }
                let output: String = item_text(&event["item"]);
                let known = self.items.iter().find(|(ix, _)| *ix == at).map(|(_, known)| known.clone());
                if known.as_ref() != Some(&output) {
                    self.fault(&format!("item {at} is done with {output:?}, its deltas say {known:?}"));
                }
            }
            "response.completed" | "response.incomplete" | "response.failed" => {
                self.out.ends += 1;
                let output = std::mem::take(&mut self.out.whole["output"]);
                self.out.whole = event["response"].clone();
                if kind == "response.failed" {
                    self.out.errors.push(event["response"]["error"].clone());
                } else if list(&self.out.whole["output"]) != list(&output) {
                    self.fault("the output at the end is not that of the items");
                    if list(&self.out.whole["output"]).is_empty() {
                        self.out.whole["output"] = output;
                    }
                }
            }
            _ if kind.ends_with(".delta") => {
                if let Some((_, known)) = self.items.iter_mut().find(|(ix, _)| *ix == at) {
                    known.push_str(text(&event["delta"]));
                }
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        if self.out.errors.is_empty() && self.out.ends != 1 {
            let ends = self.out.ends;
            self.fault(&format!("{ends} ends"));
        }
        if self.format == Format::Chat
            && self.out.ends == 1
            && !self.out.whole["choices"][0]["finish_reason"].is_string()
        {
            self.fault("no finish");
        }
    }
}

/// All that deltas tell of an item.
fn item_text(item: &Value) -> String {
    let parts = ["content", "summary"].map(|name| {
        let text_of = |part: &Value| [text(&part["text"]), text(&part["refusal"])].concat();
        list(&item[name]).iter().map(text_of).collect::<String>()
    });
    [parts[1].as_str(), parts[0].as_str(), text(&item["arguments"]), text(&item["input"])].concat()
}

/// As the official SDKs gather a message: strings grow, tool calls by index.
fn chat_delta(message: &mut Value, delta: &Value, faults: &mut Vec<String>) {
    let Some(delta) = delta.as_object() else { return };
    for (key, value) in delta {
        match (key.as_str(), value) {
            (_, Value::Null) => {}
            ("tool_calls", Value::Array(calls)) => {
                if !message["tool_calls"].is_array() {
                    message["tool_calls"] = json!([]);
                }
                let all = message["tool_calls"].as_array_mut().unwrap();
                for call in calls {
                    let index = call["index"].as_u64().unwrap_or(0) as usize;
                    if index > all.len() || call["index"].is_null() {
                        faults.push("a tool index out of order".to_owned());
                    }
                    while all.len() <= index {
                        all.push(json!({}));
                    }
                    if all[index]["id"].is_string() && (call["id"].is_string() || call["function"]["name"].is_string())
                    {
                        faults.push("a call is named twice".to_owned());
                    }
                    merge(&mut all[index], call);
                }
            }
            ("reasoning_details", Value::Array(details)) => {
                if !message["reasoning_details"].is_array() {
                    message["reasoning_details"] = json!([]);
                }
                let all = message["reasoning_details"].as_array_mut().unwrap();
                for detail in details {
                    let same = |old: &&mut Value| old["index"] == detail["index"] && old["type"] == detail["type"];
                    match all.last_mut().filter(same) {
                        Some(old) => merge(old, detail),
                        None => all.push(detail.clone()),
                    }
                }
            }
            ("function_call" | "audio", object) => merge(&mut message[key], object),
            ("content", Value::Array(parts)) => {
                let thought = |part: &Value| {
                    list(&part["thinking"]).iter().map(|p| text(&p["text"]).to_owned()).collect::<String>()
                };
                let more: String = parts.iter().map(thought).collect();
                message["reasoning_content"] = json!(format!("{}{more}", text(&message["reasoning_content"])));
                let more: String = parts.iter().map(|part| text(&part["text"])).collect();
                message["content"] = json!(format!("{}{more}", text(&message["content"])));
            }
            (_, Value::String(more)) if key != "role" => {
                message[key] = json!(format!("{}{more}", text(&message[key])));
            }
            _ => message[key] = value.clone(),
        }
    }
}

fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().unwrap_or(&Map::new()) {
        match value {
            Value::Null => {}
            Value::Object(_) => merge(&mut into[key], value),
            // Hosts that repeat these on each chunk mean the same call.
            Value::String(more) if !matches!(key.as_str(), "id" | "type" | "name") => {
                into[key] = json!(format!("{}{more}", text(&into[key])));
            }
            _ => into[key] = value.clone(),
        }
    }
}

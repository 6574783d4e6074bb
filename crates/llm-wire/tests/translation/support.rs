//! Runs a translation and reads what came out, whatever the format.

use llm_wire::Format;
use llm_wire::canonical::event::Note;
use llm_wire::error::Error;
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::{self, Encoded, Translator};
use serde_json::{Value, json};

pub const PAIRS: [(Format, Format); 6] = [
    (Format::Chat, Format::Messages),
    (Format::Chat, Format::Responses),
    (Format::Messages, Format::Chat),
    (Format::Messages, Format::Responses),
    (Format::Responses, Format::Chat),
    (Format::Responses, Format::Messages),
];

/// The vendor's own endpoint of a format, with a common model.
pub fn vendor(format: Format) -> Target<'static> {
    let (host, model) = match format {
        Format::Messages => (Host::Anthropic, "claude-sonnet-4-5"),
        Format::Chat => (Host::OpenAi, "gpt-4o"),
        Format::Responses => (Host::OpenAi, "gpt-5.1"),
    };
    Target::new(format, host, model, "p", &Overrides::default())
}

pub fn try_request(from: Format, target: Target<'_>, body: &Value) -> Result<Encoded, Error> {
    translate::request(from, body.to_string().as_bytes(), &Context::new(target, "m"))
}

/// The body for the vendor of `to`.
pub fn request(from: Format, to: Format, body: &Value) -> Value {
    let encoded = try_request(from, vendor(to), body).unwrap_or_else(|e| panic!("{from} to {to}: {e} of {body}"));
    serde_json::from_slice(&encoded.body).unwrap()
}

/// What a client has of an answer.
#[derive(Debug, Default)]
pub struct ClientView {
    pub text: String,
    pub reasoning: String,
    /// Id, name, arguments.
    pub calls: Vec<(String, String, String)>,
    pub finish: Option<String>,
    pub usage: Option<Value>,
    /// Of an error event, or of an error before anything was sent.
    pub error: Option<String>,
    /// The end mark of the format came.
    pub clean: bool,
    pub notes: Vec<(Note, u32)>,
    pub raw: String,
}

impl ClientView {
    pub fn names(&self) -> Vec<&str> {
        self.calls.iter().map(|(_, name, _)| name.as_str()).collect()
    }

    pub fn has(&self, note: Note) -> bool {
        self.notes.iter().any(|(seen, _)| *seen == note)
    }
}

/// A request of `client` that offers the tools `f` and `g`.
fn request_body(client: Format, stream: bool) -> Value {
    let user = json!([{"role": "user", "content": "hi"}]);
    match client {
        Format::Chat => json!({"model": "m", "stream": stream, "stream_options": {"include_usage": true},
            "messages": user, "tools": [{"type": "function", "function": {"name": "f"}},
            {"type": "function", "function": {"name": "g"}}]}),
        Format::Messages => json!({"model": "m", "max_tokens": 100, "stream": stream, "messages": user,
            "tools": [{"name": "f", "input_schema": {"type": "object"}},
            {"name": "g", "input_schema": {"type": "object"}}]}),
        Format::Responses => json!({"model": "m", "stream": stream, "input": "hi",
            "tools": [{"type": "function", "name": "f", "parameters": {}},
            {"type": "function", "name": "g", "parameters": {}}]}),
    }
}

pub fn translator(provider: Format, client: Format, stream: bool) -> Translator {
    let encoded = try_request(client, vendor(provider), &request_body(client, stream)).unwrap();
    Translator::new(Reply::new(encoded.plan, Box::new(SequentialIds::default()), "req_1"))
}

/// What a client of `client` sees of a provider's stream.
pub fn stream(provider: Format, client: Format, bytes: &str) -> ClientView {
    let mut translator = translator(provider, client, true);
    let mut out = Vec::new();
    let failed = feed(&mut translator, bytes, &mut out).and_then(|()| translator.end(&mut out));
    client_view(client, &translator, &out, failed.err())
}

/// The same answer, folded for a client that asked for no stream.
pub fn folded(provider: Format, client: Format, bytes: &str) -> ClientView {
    let mut translator = translator(provider, client, false);
    let mut out = Vec::new();
    let failed = feed(&mut translator, bytes, &mut out).and_then(|()| translator.end(&mut out));
    whole_seen(client, &translator, &out, failed.err())
}

/// What a client sees of a provider's whole answer.
pub fn whole(provider: Format, client: Format, body: &Value) -> ClientView {
    let mut translator = translator(provider, client, false);
    let mut out = Vec::new();
    let failed = translator.body(body.to_string().as_bytes(), &mut out);
    whole_seen(client, &translator, &out, failed.err())
}

pub fn feed(translator: &mut Translator, bytes: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    let mut framer = Framer::default();
    let mut rest = bytes.as_bytes();
    while let Some(block) = framer.next(&mut rest).unwrap() {
        if let Some(frame) = block.frame {
            translator.frame(frame, out)?;
        }
    }
    Ok(())
}

fn begin(translator: &Translator, out: &[u8], failed: Option<Error>) -> ClientView {
    let error = failed.or(translator.failure().map(|e| Error::upstream(e.kind, e.note.clone())));
    ClientView {
        error: error.map(|e| e.note.into_owned()),
        notes: translator.notes().collect(),
        raw: String::from_utf8(out.to_vec()).unwrap(),
        ..ClientView::default()
    }
}

pub fn client_view(client: Format, translator: &Translator, out: &[u8], failed: Option<Error>) -> ClientView {
    let mut seen = begin(translator, out, failed);
    let mut framer = Framer::default();
    let mut rest = out;
    while let Some(block) = framer.next(&mut rest).unwrap() {
        let Some(frame) = block.frame else { continue };
        if frame.data == b"[DONE]" {
            seen.clean = true;
            continue;
        }
        let event: Value = serde_json::from_slice(frame.data).unwrap();
        match client {
            Format::Chat => chat_event(&event, &mut seen),
            Format::Messages => messages_event(&event, &mut seen),
            Format::Responses => responses_event(&event, &mut seen),
        }
    }
    seen
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn chat_event(event: &Value, seen: &mut ClientView) {
    if !event["usage"].is_null() {
        seen.usage = Some(event["usage"].clone());
    }
    let choice = &event["choices"][0];
    let delta = &choice["delta"];
    seen.text += text(&delta["content"]);
    seen.reasoning += text(&delta["reasoning_content"]);
    for call in delta["tool_calls"].as_array().into_iter().flatten() {
        let index = call["index"].as_u64().unwrap() as usize;
        if seen.calls.len() == index {
            seen.calls.push(Default::default());
        }
        seen.calls[index].0 += text(&call["id"]);
        seen.calls[index].1 += text(&call["function"]["name"]);
        seen.calls[index].2 += text(&call["function"]["arguments"]);
    }
    if let Some(finish) = choice["finish_reason"].as_str() {
        assert!(seen.finish.is_none(), "two finishes");
        seen.finish = Some(finish.to_owned());
    }
}

fn messages_event(event: &Value, seen: &mut ClientView) {
    match text(&event["type"]) {
        "content_block_start" if event["content_block"]["type"] == "tool_use" => {
            let block = &event["content_block"];
            seen.calls.push((text(&block["id"]).into(), text(&block["name"]).into(), String::new()));
        }
        "content_block_delta" => {
            seen.text += text(&event["delta"]["text"]);
            seen.reasoning += text(&event["delta"]["thinking"]);
            if let Some(json) = event["delta"]["partial_json"].as_str() {
                seen.calls.last_mut().unwrap().2 += json;
            }
        }
        "message_delta" => {
            assert!(seen.finish.is_none(), "two finishes");
            seen.finish = event["delta"]["stop_reason"].as_str().map(str::to_owned);
            seen.usage = Some(event["usage"].clone());
        }
        "message_stop" => seen.clean = true,
        _ => {}
    }
}

fn responses_event(event: &Value, seen: &mut ClientView) {
    match text(&event["type"]) {
        "response.output_text.delta" => seen.text += text(&event["delta"]),
        "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
            seen.reasoning += text(&event["delta"]);
        }
        "response.completed" | "response.incomplete" => {
            let streamed = (std::mem::take(&mut seen.text), std::mem::take(&mut seen.reasoning));
            responses_whole(&event["response"], seen);
            assert_eq!(seen.text, streamed.0, "the end repeats the deltas");
            seen.clean = true;
        }
        _ => {}
    }
}

fn responses_whole(response: &Value, seen: &mut ClientView) {
    seen.finish = response["status"].as_str().map(str::to_owned);
    seen.usage = Some(response["usage"].clone());
    for item in response["output"].as_array().unwrap() {
        match text(&item["type"]) {
            "message" => {
                item["content"].as_array().unwrap().iter().for_each(|part| seen.text += text(&part["text"]));
            }
            "function_call" => seen.calls.push((
                text(&item["call_id"]).into(),
                text(&item["name"]).into(),
                text(&item["arguments"]).into(),
            )),
            _ => {
                let parts = ["summary", "content"].map(|key| item[key].as_array().into_iter().flatten());
                parts.into_iter().flatten().for_each(|part| seen.reasoning += text(&part["text"]));
            }
        }
    }
}

fn whole_seen(client: Format, translator: &Translator, out: &[u8], failed: Option<Error>) -> ClientView {
    let mut seen = begin(translator, out, failed);
    if out.is_empty() {
        return seen;
    }
    let body: Value = serde_json::from_slice(out).unwrap();
    seen.clean = true;
    match client {
        Format::Chat => {
            let message = &body["choices"][0]["message"];
            seen.text += text(&message["content"]);
            seen.reasoning += text(&message["reasoning_content"]);
            for call in message["tool_calls"].as_array().into_iter().flatten() {
                let function = &call["function"];
                seen.calls.push((
                    text(&call["id"]).into(),
                    text(&function["name"]).into(),
                    text(&function["arguments"]).into(),
                ));
            }
            seen.finish = body["choices"][0]["finish_reason"].as_str().map(str::to_owned);
            seen.usage = Some(body["usage"].clone());
        }
        Format::Messages => {
            for block in body["content"].as_array().unwrap() {
                seen.text += text(&block["text"]);
                seen.reasoning += text(&block["thinking"]);
                if block["type"] == "tool_use" {
                    let (id, name) = (text(&block["id"]).into(), text(&block["name"]).into());
                    seen.calls.push((id, name, block["input"].to_string()));
                }
            }
            seen.finish = body["stop_reason"].as_str().map(str::to_owned);
            seen.usage = Some(body["usage"].clone());
        }
        Format::Responses => responses_whole(&body, &mut seen),
    }
    seen
}

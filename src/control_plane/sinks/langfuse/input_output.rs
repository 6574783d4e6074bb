//! Writes the input and output of a generation: the conversation and the parameters of a request,
//! and the content of a response, folded if it was a stream.

use crate::control_plane::sinks::redact::{Whitespace, redact};
use crate::control_plane::sinks::truncate::{Part, events, text};
use crate::telemetry::capture::Body;
use llm_wire::Format;
use llm_wire::canonical::codec::Decode;
use llm_wire::canonical::event::{Block, Event};
use llm_wire::json::{RawKind, RawValue, write};
use llm_wire::target::quirks::Quirks;
use llm_wire::translate::{AnyDecoder, decode_answer};

/// Fields of a request that hold the conversation, of all formats.
const INPUT: &[&str] = &["system", "instructions", "messages", "prompt", "input", "tools"];
/// Fields of a request that are parameters of the model.
const PARAMETERS: &[&str] = &[
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "stop",
    "stop_sequences",
    "n",
    "logprobs",
    "seed",
];
/// Bytes of a response that are sent.
const LONGEST: usize = 512 << 10;

/// Writes the input of a generation: an object of the conversation, or the text of a body that
/// can't be read.
pub(crate) fn input(out: &mut Vec<u8>, part: Part<'_>) {
    let Some(body) = whole(part).filter(|body| body.is_object()) else { return part.write(out) };
    write::object(out, |o| {
        for name in INPUT {
            if let Some(value) = body.find(name) {
                redact(o.key(name), value.bytes(), Whitespace::Drop);
            }
        }
    });
}

/// Returns a body that is complete JSON.
pub(crate) fn whole(part: Part<'_>) -> Option<RawValue<'_>> {
    part.is_json().then(|| RawValue::parse(part.bytes).ok())?
}

/// Writes the parameters of the model, as far as Langfuse accepts their types: numbers, texts,
/// booleans, lists of texts.
pub(crate) fn parameters(out: &mut Vec<u8>, body: RawValue<'_>) {
    write::object(out, |o| {
        for name in PARAMETERS {
            let Some(value) = body.find(name) else { continue };
            let taken = match value.kind() {
                RawKind::Number | RawKind::String => true,
                RawKind::Array => value.elements().all(|(element, _)| element.as_str().is_some()),
                _ => value.as_bool().is_some(),
            };
            if taken {
                redact(o.key(name), value.bytes(), Whitespace::Drop);
            }
        }
    });
}

/// The text and the tool calls of a response.
#[derive(Default)]
pub(crate) struct Output {
    text: Vec<u8>,
    /// The name and input of each call, by the index of the item.
    calls: Vec<(u32, Vec<u8>, Vec<u8>)>,
}

impl Output {
    /// Reads a response. `None` if it holds none of a model.
    pub(crate) fn of(format: Format, endpoint: &str, body: &Body, most: usize) -> Option<Output> {
        let mut output = Output::default();
        match (endpoint, body.stream) {
            ("/v1/completions", _) => output.completions(body, most),
            (_, true) => output.stream(format, body, most),
            (_, false) => output.whole(format, body, most),
        }
        (!output.text.is_empty() || !output.calls.is_empty()).then_some(output)
    }

    /// Writes a text, or an object if the model called tools.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let say = |bytes: &[u8]| text(bytes, true);
        if self.calls.is_empty() {
            return write::string(out, &say(&self.text));
        }
        write::object(out, |o| {
            o.str("role", "assistant");
            o.opt_str("content", (!self.text.is_empty()).then(|| say(&self.text)).as_deref());
            o.array("tool_calls", |array| {
                for (_, name, input) in &self.calls {
                    array.object(|o| {
                        o.str("type", "function");
                        o.object("function", |o| {
                            o.str("name", &say(name));
                            o.str("arguments", &say(input));
                        });
                    });
                }
            });
        });
    }

    fn stream(&mut self, format: Format, body: &Body, most: usize) {
        let mut decoder = AnyDecoder::new(format, Quirks::default());
        events(body, most, |block| {
            if let Some(frame) = block.frame {
                // The client got an error for what can't be read.
                let _ = decoder.frame(frame, &mut |event| self.take(&event));
            }
        });
    }

    fn whole(&mut self, format: Format, body: &Body, most: usize) {
        let Some(raw) = whole(Part::of(&body.cut, most)) else { return };
        let (quirks, sink) = (Quirks::default(), &mut |event: Event<'_>| self.take(&event));
        let _ = decode_answer(format, raw, quirks, sink);
    }

    /// Legacy completions have a text where others have a message.
    fn completions(&mut self, body: &Body, most: usize) {
        let mut take = |raw: RawValue<'_>| {
            let first = raw.find("choices").and_then(|choices| choices.elements().next());
            if let Some(text) = first.and_then(|(choice, _)| choice.find("text")?.as_str()) {
                self.add(|output| &mut output.text, text);
            }
        };
        match body.stream {
            true => events(body, most, |block| {
                if let Some(raw) = block.frame.and_then(|frame| RawValue::parse(frame.data).ok()) {
                    take(raw);
                }
            }),
            false => whole(Part::of(&body.cut, most)).into_iter().for_each(take),
        }
    }

    fn take(&mut self, event: &Event<'_>) {
        match event {
            Event::Text { raw, .. } | Event::Refusal { raw, .. } => self.add(|output| &mut output.text, *raw),
            Event::Open { ix, block: Block::Tool { name, .. } } => {
                self.calls.push((*ix, name.unescape().into_owned().into_bytes(), Vec::new()));
            }
            Event::Args { ix, raw } => {
                if let Some(at) = self.calls.iter().rposition(|call| call.0 == *ix) {
                    self.add(|output| &mut output.calls[at].2, *raw);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, to: impl FnOnce(&mut Output) -> &mut Vec<u8>, raw: llm_wire::json::RawStr<'_>) {
        let to = to(self);
        if to.len() < LONGEST {
            raw.unescape_into(to);
            to.truncate(LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::capture::CappedBytes;

    fn cut(text: &str) -> CappedBytes {
        CappedBytes { bytes: text.as_bytes().to_vec(), total: text.len() as u64 }
    }

    fn shown(fill: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        fill(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests() {
        // body, input, parameters
        let rows = [
            (
                r#"{"model":"m","stop":["a"],"messages":[{"role":"user","content":"hi"}],"temperature":0.50,"n":null,"logprobs":true,"stream":true}"#,
                r#"{"messages":[{"role":"user","content":"hi"}]}"#,
                r#"{"temperature":0.50,"stop":["a"],"logprobs":true}"#,
            ),
            (
                r#"{"system":"s","messages":[],"tools":[{"name":"t"}],"max_tokens":5,"stop":[1],"seed":{}}"#,
                r#"{"system":"s","messages":[],"tools":[{"name":"t"}]}"#,
                r#"{"max_tokens":5}"#,
            ),
            (r#"{"instructions":"i","input":"x"}"#, r#"{"instructions":"i","input":"x"}"#, "{}"),
        ];
        for (body, expected, steer) in rows {
            let cut = cut(body);
            let part = Part::of(&cut, 1 << 20);
            assert_eq!(shown(|out| input(out, part)), expected);
            assert_eq!(shown(|out| parameters(out, whole(part).unwrap())), steer);
        }
        let part = cut("{\"messages\":[");
        assert_eq!(shown(|out| input(out, Part::of(&part, 99))), r#""{\"messages\":[""#);
    }

    fn output(format: Format, endpoint: &str, pieces: &[&str], stream: bool) -> String {
        let ends = pieces.iter().scan(0, |end, piece| {
            *end += piece.len() as u32;
            Some(*end)
        });
        let body = Body { ends: ends.collect(), cut: cut(&pieces.concat()), stream };
        let output = Output::of(format, endpoint, &body, 1 << 20);
        output.map_or("none".into(), |output| shown(|out| output.write(out)))
    }

    #[test]
    fn answers() {
        let chat = "/v1/chat/completions";
        let call = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}]}"#;
        let rows: [(Format, &str, &[&str], bool, &str); 8] = [
            (
                Format::Chat,
                chat,
                &[
                    r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hi \"you\""},"finish_reason":"stop"}]}"#,
                ],
                false,
                r#""Hi \"you\"""#,
            ),
            (
                Format::Chat,
                chat,
                &[call],
                false,
                r#"{"role":"assistant","content":null,"tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
            ),
            (
                Format::Chat,
                chat,
                &[
                    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hel\"}}]}\n\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"l\"}}]}\n\n",
                    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"o\\n\"}}]}\n\n",
                ],
                true,
                r#""Hello\n""#,
            ),
            (
                Format::Messages,
                "/v1/messages",
                &[
                    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"x\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n",
                    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
                    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
                ],
                true,
                r#""Hi""#,
            ),
            (
                Format::Responses,
                "/v1/responses",
                &[
                    r#"{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"message","id":"i","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Yes","annotations":[]}]}]}"#,
                ],
                false,
                r#""Yes""#,
            ),
            (
                Format::Chat,
                "/v1/completions",
                &["data: {\"choices\":[{\"text\":\"a\"}]}\n\n", "data: {\"choices\":[{\"text\":\"b\"}]}\n\n"],
                true,
                r#""ab""#,
            ),
            (Format::Chat, chat, &["<html>"], false, "none"),
            (Format::Messages, "/v1/messages", &["data: garbage\n\n"], true, "none"),
        ];
        for (format, endpoint, pieces, stream, expected) in rows {
            assert_eq!(output(format, endpoint, pieces, stream), expected, "{pieces:?}");
        }
    }
}

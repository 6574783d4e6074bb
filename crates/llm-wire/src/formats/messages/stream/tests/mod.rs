//! Streams: a provider's bytes as events, events as a client's bytes, and both in a row.

mod decoder;
mod encoder;
mod properties;

use crate::canonical::codec::{Decode, Sink};
use crate::canonical::event::{Block, Event, Finish, Reason, Status};
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::canonical::usage::Usage;
use crate::error::Error;
use crate::format::Format;
use crate::formats::messages::stream::Decoder;
use crate::json::{RawStr, RawValue};
use crate::reasoning::envelope::Seal;
use crate::sse::Framer;
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use crate::target::quirks::{Host, Quirks};

fn raw(text: &str) -> RawStr<'_> {
    RawStr::new(text.as_bytes())
}

fn reply() -> Reply {
    let target = Target::new(Format::Messages, Host::Anthropic, "claude-opus-5", "p", &Overrides::default());
    let plan = Plan::new(Format::Messages, RawValue::new(b"{}"), &Context::new(target, "asked"));
    let mut reply = Reply::new(plan, Box::new(SequentialIds::default()), "req_1");
    reply.input_estimate = Some(7);
    reply
}

/// Frames from one line of JSON each; the event name is left to the data.
fn stream(lines: &str) -> String {
    lines.lines().map(|line| format!("data: {}\n\n", line.trim())).collect()
}

/// Feeds a stream to a decoder, and ends it.
fn decode(stream: &[u8], sink: Sink<'_>) {
    let (mut framer, mut rest, mut decoder) = (Framer::default(), stream, Decoder::new(Quirks::NONE));
    while let Ok(Some(block)) = framer.next(&mut rest) {
        if let Some(Err(error)) = block.frame.map(|frame| decoder.frame(frame, sink)) {
            sink(Event::Fail(error));
        }
    }
    // What lacks its blank line counts if it is whole.
    let last = framer.finish().and_then(|block| block.frame).filter(|frame| RawValue::parse(frame.data).is_ok());
    if let Some(frame) = last {
        decoder.frame(frame, sink).unwrap();
    }
    decoder.end(sink);
}

fn open(ix: u32, block: Block<'_>) -> Event<'_> {
    Event::Open { ix, block }
}

fn thinking(ix: u32) -> Event<'static> {
    open(ix, Block::Reasoning { id: raw("") })
}

fn tool<'a>(ix: u32, id: &'a str) -> Event<'a> {
    open(ix, Block::Tool { kind: CallKind::Function, id: raw(id), name: raw("f"), namespace: None })
}

fn text(ix: u32, text: &str) -> Event<'_> {
    Event::Text { ix, raw: raw(text) }
}

fn args(ix: u32, text: &str) -> Event<'_> {
    Event::Args { ix, raw: raw(text) }
}

fn reason(ix: u32, part: u32, text: &str) -> Event<'_> {
    Event::Reason { ix, part, kind: ReasoningKind::Summary, raw: raw(text) }
}

fn state(ix: u32, text: &str) -> Event<'_> {
    Event::Opaque { ix, seal: Seal::Encrypted, raw: raw(text) }
}

fn close(ix: u32) -> Event<'static> {
    Event::Close { ix, status: Status::Complete }
}

fn finish(reason: Reason) -> Event<'static> {
    Event::Finish(Finish::of(reason))
}

fn usage(input: u64, read: u64, output: u64) -> Event<'static> {
    Event::Usage(Usage { input_total: input, cache_read: read, output_total: output, ..Usage::default() })
}

/// The client's stream, one word for each event, after a check of the grammar.
fn describe(out: &[u8], whole: bool) -> String {
    let mut words: Vec<String> = Vec::new();
    let (mut framer, mut rest) = (Framer::default(), out);
    let (mut next, mut live, mut signed) = (0, None, 0);
    while let Ok(Some(block)) = framer.next(&mut rest) {
        let Some(frame) = block.frame else { continue };
        let data = RawValue::parse(frame.data).unwrap();
        let name = String::from_utf8(frame.event.unwrap().to_vec()).unwrap();
        assert!(data.find("type").unwrap().eq_str(&name), "the SDK goes by the name: {data:?}");
        assert_eq!(words.is_empty(), name == "message_start" || name == "error" && words.is_empty(), "{data:?}");
        let string = |path: &[&str]| {
            data.path(path).and_then(RawValue::as_str).map(|s| s.unescape().into_owned()).unwrap_or_default()
        };
        let index = data.find("index").and_then(RawValue::as_u64);
        words.push(match name.as_str() {
            "message_start" => format!("start{}", count(data.path(&["message", "usage"]).unwrap())),
            "content_block_start" => {
                assert_eq!((index, live), (Some(next), None), "dense and one at a time");
                (live, signed) = (Some(next), 0);
                next += 1;
                ["type", "name", "data"].map(|key| string(&["content_block", key])).concat()
            }
            "content_block_delta" => {
                assert_eq!(index, live, "{data:?}");
                let kind = string(&["delta", "type"]);
                signed += u32::from(kind == "signature_delta");
                assert!(signed <= 1, "one signature");
                let key = match kind.as_str() {
                    "text_delta" => "text",
                    "thinking_delta" => "thinking",
                    "signature_delta" => "signature",
                    _ => "partial_json",
                };
                format!("{}:{}", &key[..1], string(&["delta", key]))
            }
            "content_block_stop" => {
                assert_eq!(index, live);
                live = None;
                ".".to_owned()
            }
            "message_delta" => {
                assert_eq!(live, None);
                format!("{}{}", string(&["delta", "stop_reason"]), count(data.find("usage").unwrap()))
            }
            "message_stop" => "end".to_owned(),
            "error" => format!("error:{}", string(&["error", "type"])),
            other => other.to_owned(),
        });
    }
    let last = words.last().map(String::as_str).unwrap_or_default();
    assert!(!whole || last == "end" || last.starts_with("error"), "{words:?}");
    let ends = words.iter().filter(|word| *word == "end" || word.starts_with("error:")).count();
    assert!(ends <= 1, "one end: {words:?}");
    words.join(" ")
}

/// `input+read/output` of a usage object.
fn count(usage: RawValue<'_>) -> String {
    let count = |key| usage.find(key).and_then(RawValue::as_u64).unwrap();
    format!("({}+{}/{})", count("input_tokens"), count("cache_read_input_tokens"), count("output_tokens"))
}

const WHOLE: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":1,"service_tier":"standard"}}}
    {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}
    {"type":"ping"}
    {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm "}}
    {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"\u2026"}}
    {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}
    {"type":"content_block_stop","index":0}
    {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"dark"}}
    {"type":"content_block_stop","index":1}
    {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}
    {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"a\ud83d"}}
    {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":""}}
    {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"web_search_result_location","url":"https://x","title":"X"}}}
    {"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"char_location"}}}
    {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"\ude00"}}
    {"type":"content_block_stop","index":2}
    {"type":"content_block_start","index":3,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}
    {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{}"}}
    {"type":"content_block_stop","index":3}
    {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"t1","name":"f","input":{}}}
    {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":""}}
    {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}
    {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":"1}"}}
    {"type":"content_block_stop","index":4}
    {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":20}}
    {"type":"message_stop"}"#;

const WHOLE_BODY: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude","content":[
    {"type":"thinking","thinking":"hm \u2026","signature":"sig"},{"type":"redacted_thinking","data":"dark"},
    {"type":"text","text":"a\ud83d\ude00","citations":[{"type":"web_search_result_location","url":"https://x","title":"X"},{"type":"char_location"}]},
    {"type":"server_tool_use","id":"s","name":"web_search","input":{}},
    {"type":"tool_use","id":"t1","name":"f","input":{"a":1}}],
    "stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":20,"service_tier":"standard"}}"#;

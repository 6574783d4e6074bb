//! Streams: a provider's bytes as events, events as a client's bytes, and both in a row.

use proptest::prelude::*;

use super::super::response;
use super::{Decoder, Encoder};
use crate::error::{Error, Kind};
use crate::json::{RawStr, RawValue};
use crate::sse::Framer;
use crate::wire::Format;
use crate::wire::answer::Answer;
use crate::wire::caps::Overrides;
use crate::wire::envelope::{self, Seal};
use crate::wire::event::{Block, Cite, Decode, Encode, Event, Finish, Note, Reason, Status};
use crate::wire::item::{CallKind, ReasoningKind};
use crate::wire::plan::{Context, Plan, Reply, Target, TestStamps};
use crate::wire::quirks::{Host, Quirks};
use crate::wire::shape::Shape;
use crate::wire::usage::Usage;

fn raw(text: &str) -> RawStr<'_> {
    RawStr::new(text.as_bytes())
}

fn reply() -> Reply {
    let target = Target::new(Format::Messages, Host::Anthropic, "claude-opus-5", "p", &Overrides::default());
    let plan = Plan::new(Format::Messages, RawValue::new(b"{}"), &Context::new(target, "asked"));
    let mut reply = Reply::new(plan, Box::new(TestStamps::default()), "req_1");
    reply.input_estimate = Some(7);
    reply
}

/// Frames from one line of JSON each; the event name is left to the data.
fn stream(lines: &str) -> String {
    lines.lines().map(|line| format!("data: {}\n\n", line.trim())).collect()
}

/// Feeds a stream to a decoder, and says that it has ended.
fn decode(stream: &[u8], sink: &mut dyn FnMut(Event<'_>)) {
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

/// One word for each event.
fn word(event: &Event<'_>) -> String {
    match event {
        Event::Start { id, model } => format!("start({},{})", id.unescape(), model.unescape()),
        Event::Tier(tier) => format!("tier:{}", tier.unescape()),
        Event::Open { ix, block: Block::Text } => format!("{ix}text"),
        Event::Open { ix, block: Block::Refusal } => format!("{ix}refusal"),
        Event::Open { ix, block: Block::Reasoning { .. } } => format!("{ix}thinking"),
        Event::Open { ix, block: Block::Tool { id, name, .. } } => {
            format!("{ix}{}({})", name.unescape(), id.unescape())
        }
        Event::Text { ix, raw } | Event::Refusal { ix, raw } | Event::Reason { ix, raw, .. } => {
            format!("{ix}:{}", raw.unescape())
        }
        Event::Args { ix, raw } => format!("{ix}={}", raw.unescape()),
        Event::Opaque { ix, seal, raw } => format!("{ix}{seal:?}({})", raw.unescape()),
        Event::Cite { ix, cite } => format!("{ix}@{}", cite.url.unescape()),
        Event::Logprobs { ix, .. } => format!("{ix}logprobs"),
        Event::Close { ix, status: Status::Complete } => format!("{ix}."),
        Event::Close { ix, status: Status::Incomplete } => format!("{ix}!"),
        Event::Usage(usage) => format!("usage:{}/{}/{}", usage.input_total, usage.cache_read, usage.output_total),
        Event::Finish(finish) => format!("{:?}", finish.reason),
        Event::Fail(error) => format!("fail:{}", error.kind.row().label),
        Event::End => "end".to_owned(),
        Event::Note(note) => note.label().to_owned(),
    }
}

fn words(stream: &str) -> String {
    let mut out = Vec::new();
    decode(stream.as_bytes(), &mut |event| out.push(word(&event)));
    out.join(" ")
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

#[test]
fn a_stream_is_read() {
    let expected = "start(msg_1,claude) usage:7/4/1 tier:standard 0thinking 0:hm  0:… 0Thinking(sig) 0. 1thinking 1Redacted(dark) 1. \
        2text 2:a\u{fffd} 2@https://x dropped_citation 2:\u{fffd} 2. dropped_output 3f(t1) 3={\"a\": 3=1} 3. usage:7/4/20 ToolCalls end";
    assert_eq!(words(&stream(WHOLE)), expected);
}

/// Property 47 at its root: a whole answer gives the events of its stream, so both fold to the same.
#[test]
fn a_whole_answer_is_its_stream() {
    let fold = |feed: &dyn Fn(&mut dyn FnMut(Event<'_>))| {
        let (mut shape, mut reply, mut answer) = (Shape::default(), reply(), Answer::default());
        feed(&mut |event| shape.event(event, &mut reply, &mut |event, _| answer.take(&event)));
        answer
    };
    let body = RawValue::parse(WHOLE_BODY.as_bytes()).unwrap();
    let whole = fold(&|sink| response::decode(body, Quirks::NONE, sink).unwrap());
    let streamed = fold(&|sink| decode(stream(WHOLE).as_bytes(), sink));
    // A host that answers a stream with the whole message in one event.
    let one = format!("data: {}\n\n", WHOLE_BODY.replace('\n', ""));
    let in_one = fold(&|sink| decode(one.as_bytes(), sink));
    for other in [&streamed, &in_one] {
        assert_eq!(format!("{:?}", other.items), format!("{:?}", whole.items));
        assert_eq!((other.usage, &other.finish, &other.tier), (whole.usage, &whole.finish, &whole.tier));
    }
    for body in ["{}", "[]", r#"{"content":"x"}"#, r#"{"choices":[]}"#] {
        let error = response::decode(RawValue::new(body.as_bytes()), Quirks::NONE, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, Kind::UpstreamFault, "{body}");
    }
}

/// Properties 8, 56, 57 and 58, the decoder's part; and the oddities of hosts.
#[test]
fn odd_streams() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
    let tool = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}"#;
    let finish = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let delta = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    let rows = [
        ("cut before anything", String::new(), "fail:upstream_truncated"),
        ("cut in a block", start.to_owned(), "0text 0:a fail:upstream_truncated"),
        ("the end mark is missing", format!("{start}\n{finish}"), "0text 0:a 0. End end"),
        ("a stray end mark of Chat", format!("{start}\n[DONE]\n{finish}\n[DONE]"), "0text 0:a 0. End end"),
        ("an error first", error.to_owned(), "fail:overloaded"),
        ("an error in a block", format!("{start}\n{error}\n{finish}"), "0text 0:a fail:overloaded"),
        ("an error after the finish", format!("{finish}\n{error}"), "End fail:overloaded"),
        ("an error without a type", r#"{"error":{"message":"m"}}"#.to_owned(), "fail:upstream_fault"),
        ("an error that says nothing", r#"{"type":"error"}"#.to_owned(), "fail:upstream_fault"),
        ("no JSON", format!("{start}\n{{"), "0text 0:a fail:upstream_fault"),
        ("input in the start", format!("{tool}\n{finish}"), "0f(t) 0={\"a\":1} 0. End end"),
        ("input in the start and in deltas", format!("{tool}\n{delta}\n{finish}"), "0f(t) 0={} 0. End end"),
        (
            "a delta without a block",
            r#"{"type":"content_block_delta","index":5,"delta":{"type":"text_delta","text":"x"}}"#.to_owned(),
            "0text 0:x fail:upstream_truncated",
        ),
        ("arguments without a block", delta.to_owned(), "disorder fail:upstream_truncated"),
        (
            "text in a tool",
            format!(
                "{tool}\n{}",
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"x"}}"#
            ),
            "0f(t) disorder fail:upstream_truncated",
        ),
        (
            "no index",
            format!("{start}\n{}", r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}"#),
            "0text 0:a 0:x fail:upstream_truncated",
        ),
        (
            "a block that never stopped",
            format!("{start}\n{start}\n{finish}"),
            "0text 0:a disorder 0. 1text 1:a 1. End end",
        ),
        (
            "unknown things",
            format!("{}\n{}\n{finish}", r#"{"type":"novel"}"#, r#"{"x":1}"#),
            "unknown_event unknown_event End end",
        ),
        (
            "an unknown reason",
            r#"{"type":"message_delta","delta":{"stop_reason":"tired"}}"#.to_owned(),
            "unknown_finish End end",
        ),
        ("no reason", format!("{start}\n{}", r#"{"type":"message_stop"}"#), "0text 0:a 0. end"),
        (
            "cut by the limit",
            format!(
                "{start}\n{}",
                r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":null}}"#
            ),
            "0text 0:a usage:0/0/0 0! Length end",
        ),
        (
            "the model failed",
            r#"{"type":"message_delta","delta":{"stop_reason":"api_error"}}"#.to_owned(),
            "fail:upstream_fault",
        ),
        (
            "counts that come late",
            format!(
                "{}\n{finish}",
                r#"{"type":"message_start","message":{"usage":{"input_tokens":0}}}"#.to_owned()
                    + "\n"
                    + r#"{"type":"message_delta","delta":{},"usage":{"input_tokens":9}}"#
            ),
            "start(,) usage:0/0/0 usage:9/0/0 End end",
        ),
    ];
    for (name, lines, expected) in rows {
        assert_eq!(words(&stream(&lines)), expected, "{name}");
    }
    // The name alone, and the last event without its blank line.
    let named = "event: content_block_start\ndata: {\"index\":0,\"content_block\":{\"type\":\"text\"}}\n\nevent: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\"}}";
    assert_eq!(words(named), "0text 0. End end");
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
fn told(out: &[u8], whole: bool) -> String {
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
                let block = ["type", "name", "data"].map(|key| string(&["content_block", key])).concat();
                block
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

fn encode_with(reply: &mut Reply, events: Vec<Event<'_>>) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    events.into_iter().for_each(|event| encoder.event(event, reply, &mut out));
    out
}

fn encode(events: Vec<Event<'_>>) -> String {
    told(&encode_with(&mut reply(), events), false)
}

#[test]
fn the_bytes_of_a_stream() {
    let start = Event::Start { id: raw("x"), model: raw("m") };
    let events = vec![
        start,
        open(0, Block::Text),
        text(0, r"h\u00e9"),
        close(0),
        finish(Reason::End),
        usage(9, 4, 2),
        Event::End,
    ];
    let out = encode_with(&mut reply(), events);
    let expected = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_00000000000000000000000001","type":"message","role":"assistant","model":"asked","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"h\u00e9"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"input_tokens":5,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// `translation.md` 9.2: interleaved calls of Chat.
#[test]
fn worked_example() {
    let events = vec![
        tool(0, "a"),
        args(0, r#"{\"x\":"#),
        tool(1, "b"),
        args(1, "{}"),
        args(0, "1}"),
        close(0),
        close(1),
        finish(Reason::ToolCalls),
        usage(100, 80, 9),
        Event::End,
    ];
    let expected = r#"start(7+0/1) tool_usef p:{"x": p:1} . tool_usef p:{} . tool_use(20+80/9) end"#;
    assert_eq!(encode(events), expected);
}

/// Properties 48 and 52: blocks one after another, whatever came side by side.
#[test]
fn one_block_at_a_time() {
    let rows = [
        (
            "blank text is no block",
            vec![open(0, Block::Text), text(0, r" \n"), close(0), tool(1, "a"), args(1, "{}"), close(1)],
            "tool_usef p:{} .",
        ),
        (
            "white space before text is kept",
            vec![open(0, Block::Text), text(0, r" \n"), text(0, " "), text(0, " x"), text(0, " "), close(0)],
            "text t: \n  x t:  .",
        ),
        (
            "text beside a call waits",
            vec![
                tool(0, "a"),
                args(0, "{"),
                open(1, Block::Text),
                text(1, "x"),
                text(1, "y"),
                args(0, "}"),
                text(1, "z"),
                close(1),
                close(0),
            ],
            "tool_usef p:{ p:} . text t:xy t:z .",
        ),
        (
            "a complete call still waits for its end if nothing else does",
            vec![tool(0, "a"), args(0, "{}"), args(0, " "), close(0)],
            "tool_usef p:{} p:  .",
        ),
        (
            "a call that was opened but has nothing yet does not press",
            vec![
                tool(0, "a"),
                args(0, "{}"),
                tool(1, "b"),
                args(0, " "),
                args(1, "{}"),
                args(0, " "),
                close(0),
                close(1),
            ],
            "tool_usef p:{} p:  . tool_usef p:{} .",
        ),
        (
            "two phases of thinking",
            vec![
                thinking(0),
                reason(0, 0, "a"),
                reason(0, 1, "b"),
                state(0, "s"),
                close(0),
                open(1, Block::Text),
                text(1, "x"),
                close(1),
                thinking(2),
                reason(2, 0, "c"),
                close(2),
            ],
            "thinking t:a t:\n\n t:b s:s . text t:x . thinking t:c .",
        ),
        ("state without text", vec![thinking(0), state(0, "s"), close(0)], "redacted_thinkings ."),
        (
            "states beyond the first",
            vec![thinking(0), reason(0, 0, "a"), state(0, "s"), state(0, "u"), close(0)],
            "thinking t:a s:s . redacted_thinkingu .",
        ),
        (
            "thinking without anything",
            vec![thinking(0), close(0), open(1, Block::Text), text(1, "x"), close(1)],
            "text t:x .",
        ),
        (
            "a custom tool",
            vec![
                open(0, Block::Tool { kind: CallKind::Custom, id: raw("c"), name: raw("p"), namespace: None }),
                args(0, r"a\n"),
                args(0, r#"\"b"#),
                close(0),
            ],
            "tool_usep p:{\"input\":\" p:a\\n p:\\\"b p:\"} .",
        ),
        (
            "a refusal is text",
            vec![open(0, Block::Refusal), Event::Refusal { ix: 0, raw: raw("no") }, close(0)],
            "text t:no .",
        ),
        (
            "items that never closed",
            vec![tool(0, "a"), args(0, "{"), open(1, Block::Text), text(1, "x")],
            "tool_usef p:{ . text t:x .",
        ),
        (
            "a link",
            vec![
                open(0, Block::Text),
                text(0, "x"),
                Event::Cite { ix: 0, cite: Cite { url: raw("u"), title: raw(""), range: None } },
                close(0),
            ],
            "text t:x .",
        ),
    ];
    for (name, mut events, expected) in rows {
        let reason = if events.iter().any(|e| matches!(e, Event::Refusal { .. })) { "refusal" } else { "end_turn" };
        events.extend([finish(Reason::End), usage(1, 0, 1), Event::End]);
        assert_eq!(encode(events), format!("start(7+0/1) {expected} {reason}(1+0/1) end"), "{name}");
    }
    let mut omitted = reply();
    omitted.plan.display_omitted = true;
    let out = encode_with(&mut omitted, vec![thinking(0), state(0, "s"), close(0)]);
    assert_eq!(told(&out, false), "start(7+0/1) thinking s:s .");
}

/// The inputs of three calls whose fragments come in this order.
fn interleaved(order: &[usize], fragments: &[&str]) -> Vec<String> {
    let mut sent = [0; 3];
    let mut events = vec![tool(0, "a"), tool(1, "b"), tool(2, "c")];
    for ix in order {
        events.push(args(*ix as u32, fragments[sent[*ix]]));
        sent[*ix] += 1;
    }
    events.extend([close(0), close(1), close(2), finish(Reason::ToolCalls), Event::End]);
    let words = encode(events);
    let calls = words.split("tool_usef").skip(1);
    calls.map(|call| call.split(' ').filter_map(|word| word.strip_prefix("p:")).collect()).collect()
}

/// Property 51: every interleaving of three calls of three fragments; of five fragments see the random orders below.
#[test]
fn every_interleaving_of_calls() {
    let fragments = [r#"{\"n\":"#, "[1,{}]", "}"];
    let mut checked = 0;
    for code in 0..3usize.pow(9) {
        let order: Vec<usize> = (0..9).map(|n| code / 3usize.pow(n) % 3).collect();
        if (0..3).all(|ix| order.iter().filter(|n| **n == ix).count() == 3) {
            assert_eq!(interleaved(&order, &fragments), [r#"{"n":[1,{}]}"#; 3], "{order:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 1680);
}

/// The provider cannot take bytes back to a block that has ended, nor make the gateway hold without bound.
#[test]
fn what_cannot_be_told_is_a_failure() {
    let late = |tail| vec![tool(0, "a"), args(0, "{}"), tool(1, "b"), args(1, "{"), args(0, tail), args(1, "}")];
    assert_eq!(encode(late(" ")), "start(7+0/1) tool_usef p:{} . tool_usef p:{ p:}");
    assert_eq!(encode(late("x")), "start(7+0/1) tool_usef p:{} . tool_usef p:{ error:api_error");
    let big = "x".repeat(1 << 20);
    let mut events = vec![tool(0, "a"), args(0, "{"), open(1, Block::Text)];
    events.extend((0..9).map(|_| text(1, &big)));
    assert_eq!(encode(events), "start(7+0/1) tool_usef p:{ error:api_error");
}

/// Properties 56 and 57, the client's part: a failure is an error event, and no end follows.
#[test]
fn failures_are_told() {
    let fail = || Event::Fail(Error::upstream(Kind::Overloaded, "busy"));
    let rows = [
        (vec![fail()], "error:overloaded_error"),
        (vec![open(0, Block::Text), text(0, "a"), fail(), Event::End], "start(7+0/1) text t:a error:overloaded_error"),
        (
            vec![tool(0, "a"), args(0, "{"), close(0), finish(Reason::End), fail()],
            "start(7+0/1) tool_usef p:{ . error:overloaded_error",
        ),
    ];
    for (events, expected) in rows {
        assert_eq!(encode(events), expected);
    }
}

/// Nothing is written before there is content, unless the client has waited.
#[test]
fn the_head_waits_for_content() {
    let (mut encoder, mut reply, mut out) = (Encoder::default(), reply(), Vec::new());
    for event in [
        Event::Start { id: raw(""), model: raw("") },
        usage(3, 0, 0),
        Event::Tier(raw("default")),
        open(0, Block::Text),
    ] {
        encoder.event(event, &mut reply, &mut out);
        assert!(out.is_empty());
    }
    encoder.wait(&mut reply, &mut out);
    encoder.wait(&mut reply, &mut out);
    assert_eq!(told(&out, false), "start(3+0/1) ping ping");
    assert!(String::from_utf8_lossy(&out).contains(r#""service_tier":"standard""#));
    encoder.event(Event::End, &mut reply, &mut out);
    encoder.wait(&mut reply, &mut out);
    assert_eq!(told(&out, true), "start(3+0/1) ping ping end_turn(3+0/0) end");
}

/// A provider's stream through decoder, shape and encoder, and the fold of the same events.
fn pass(input: &[u8]) -> (Vec<u8>, Answer, Reply) {
    let (mut shape, mut reply) = (Shape::default(), reply());
    let (mut encoder, mut answer, mut out) = (Encoder::default(), Answer::default(), Vec::new());
    decode(input, &mut |event| {
        shape.event(event, &mut reply, &mut |event, reply| {
            answer.take(&event);
            encoder.event(event, reply, &mut out);
        });
    });
    (out, answer, reply)
}

/// What the client keeps of a whole answer or of a stream: the written answer without its id.
fn written(answer: &Answer, reply: &mut Reply) -> String {
    let mut out = Vec::new();
    response::encode(answer, reply, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// Laws 47 and 48: what a client is streamed, folded as its SDK would, is what it would get whole.
#[test]
fn streams_fold_to_whole_answers() {
    let (out, answer, mut reply) = pass(stream(WHOLE).as_bytes());
    let words = told(&out, true);
    assert!(words.starts_with("start(3+4/1) thinking t:hm  t:… s:llmp1.an."), "{words}");
    assert!(
        words.ends_with("text t:a\u{fffd} t:\u{fffd} . tool_usef p:{\"a\": p:1} . tool_use(3+4/20) end"),
        "{words}"
    );

    // Our own stream, read again as a provider's: the same answer, the envelope in the place of the signature.
    let mut again = Answer::default();
    decode(&out, &mut |event| again.take(&event));
    let whole = written(&answer, &mut reply);
    assert_eq!(written(&again, &mut reply), whole);
    let expected = [
        r#"{"id":"msg_00000000000000000000000001","type":"message","role":"assistant","model":"asked","content":[{"type":"thinking","thinking":"hm \u2026","signature":"llmp1.an."#,
        r#"{"type":"text","text":"a\ud83d\ude00"},{"type":"tool_use","id":"t1","name":"f","input":{"a":1}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"output_tokens":20,"service_tier":"standard"}}"#,
    ];
    assert!(whole.starts_with(expected[0]) && whole.ends_with(expected[1]), "{whole}");
    let signature = RawValue::new(whole.as_bytes()).find("content").unwrap().elements().next().unwrap().0;
    let opened = envelope::parse(signature.find("signature").unwrap().as_str().unwrap()).unwrap();
    assert!(opened.sealed.eq_str("sig") && opened.text.eq_str("hm …"));
    assert_eq!(reply.notes[Note::DroppedOutput as usize], 1);
}

/// Property 43, the client's part: the input is an object, whatever the model wrote.
#[test]
fn whole_inputs_are_objects() {
    let rows = [
        ("", "{}", 0),
        (r#"{\"a\": 1.0}"#, r#"{"a": 1.0}"#, 0),
        (r#"{\"a\""#, r#"{"_raw_arguments":"{\"a\""}"#, 1),
        ("[]", r#"{"_raw_arguments":"[]"}"#, 1),
    ];
    for (input, object, notes) in rows {
        let (mut answer, mut reply) = (Answer::default(), reply());
        [tool(0, "t"), args(0, input), close(0), finish(Reason::Length)].iter().for_each(|event| answer.take(event));
        let body = written(&answer, &mut reply);
        assert!(body.contains(&format!(r#""name":"f","input":{object}}}],"stop_reason":"max_tokens""#)), "{body}");
        assert_eq!(reply.notes[Note::InvalidArguments as usize], notes);
    }
}

/// Property 56: cut anywhere, a stream ends as an error and never as an answer.
#[test]
fn a_cut_is_no_end() {
    let whole = stream(WHOLE);
    let finish = whole.find(r#"data: {"type":"message_delta""#).unwrap();
    for cut in 0..whole.len() {
        let (out, answer, _) = pass(&whole.as_bytes()[..cut]);
        // From the end of the stop reason's line on, only the end mark is missing.
        if cut < finish {
            assert_eq!(answer.error.map(|e| e.kind), Some(Kind::UpstreamTruncated), "{cut}");
            assert!(told(&out, false).ends_with("error:api_error"), "{cut}");
        }
    }
    let ends = |cut: usize| pass(&whole.as_bytes()[..cut]).1.error.is_none();
    assert!(ends(whole.len()) && ends(whole.len() - 3) && ends(finish + whole[finish..].find("\n").unwrap() + 1));
}

fn frames() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
        "error",
        "message",
        "novel",
    ]);
    let block = prop::sample::select(vec![
        r#"{"type":"text","text":"a"}"#,
        r#"{"type":"thinking","thinking":" "}"#,
        r#"{"type":"redacted_thinking","data":"d"}"#,
        r#"{"type":"tool_use","id":"","name":"f","input":{}}"#,
        r#"{"type":"tool_use","id":"x","name":"g","input":{"a":[1]}}"#,
        r#"{"type":"x"}"#,
        "{}",
        "[]",
        "null",
    ]);
    let delta = prop::sample::select(vec![
        r#"{"type":"text_delta","text":" "}"#,
        r#"{"type":"text_delta","text":"\ud83d"}"#,
        r#"{"type":"thinking_delta","thinking":"t"}"#,
        r#"{"type":"signature_delta","signature":"s"}"#,
        r#"{"type":"input_json_delta","partial_json":"{\"a\":1}"}"#,
        r#"{"type":"input_json_delta","partial_json":"}"}"#,
        r#"{"stop_reason":"end_turn"}"#,
        r#"{"stop_reason":"max_tokens"}"#,
        "1",
    ]);
    (kind, 0..4u32, block, delta).prop_map(|(kind, index, block, delta)| {
        format!(r#"data: {{"type":"{kind}","index":{index},"content_block":{block},"delta":{delta},"message":{{"content":[{block}]}},"content":[{block}]}}"#)
    })
}

fn orders() -> impl Strategy<Value = Vec<usize>> {
    Just((0..15).map(|n| n % 3).collect::<Vec<usize>>()).prop_shuffle()
}

proptest! {
    #[test]
    fn interleavings_of_longer_calls(order in orders()) {
        let fragments = ["", r#"{\"a}\":"#, r#"\"\\\""#, r#"}{\",\"b\":[{}"#, "]}"];
        prop_assert_eq!(interleaved(&order, &fragments), [r#"{"a}":"\"}{","b":[{}]}"#; 3]);
    }

    /// Property 9 and 48: any frames in any order give a stream of the right grammar that ends, and that folds as it should.
    #[test]
    fn any_frames_make_a_valid_stream(frames in prop::collection::vec(frames(), 0..24)) {
        let input: String = frames.iter().map(|frame| format!("{frame}\n\n")).collect();
        let (out, answer, mut reply) = pass(input.as_bytes());
        told(&out, true);
        if answer.error.is_none() && !out.windows(12).any(|w| w == b"event: error") {
            let mut again = Answer::default();
            decode(&out, &mut |event| again.take(&event));
            prop_assert_eq!(written(&again, &mut reply), written(&answer, &mut reply));
        }
    }

    #[test]
    fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[ -~]{0,80}") {
        let mut input = b"data: ".to_vec();
        input.extend_from_slice(&bytes);
        input.extend_from_slice(b"\n\ndata: {\"type\":\"content_block_delta\",\"delta\":");
        input.extend_from_slice(json.as_bytes());
        input.extend_from_slice(b"}\n\n");
        told(&pass(&input).0, true);
    }

    /// Properties 1 to 3 at this layer: how the bytes were cut into frames of the same data says nothing.
    #[test]
    fn laid_out_data_is_the_same(at in 0..200usize) {
        let spread = WHOLE.lines().map(|line| {
            let line = line.trim();
            let at = line.char_indices().map(|(n, _)| n).filter(|n| line.as_bytes()[*n] == b',').nth(at % 3);
            match at.filter(|at| line[..*at].matches('"').count() % 2 == 0) {
                Some(at) => format!("data: {}\ndata:{}\n\n", &line[..at], &line[at..]),
                None => format!("data: {line}\n\n"),
            }
        });
        prop_assert_eq!(words(&spread.collect::<String>()), words(&stream(WHOLE)));
    }
}

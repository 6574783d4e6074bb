//! A provider's bytes as events.

use crate::error::Kind;
use crate::formats::messages::response;
use crate::formats::messages::stream::tests::*;
use crate::response::normalize::Normalizer;
use crate::response::whole::Answer;

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

pub(super) fn words(stream: &str) -> String {
    let mut out = Vec::new();
    decode(stream.as_bytes(), &mut |event| out.push(word(&event)));
    out.join(" ")
}

#[test]
fn a_stream_is_read() {
    let expected = "start(msg_1,claude) usage:7/4/1 tier:standard 0thinking 0:hm  0:… 0Thinking(sig) 0. 1thinking 1Redacted(dark) 1. \
        2text 2:a\u{fffd} 2@https://x dropped_citation 2:\u{fffd} 2. dropped_output 3f(t1) 3={\"a\": 3=1} 3. usage:7/4/20 ToolCalls end";
    assert_eq!(words(&stream(WHOLE)), expected);
}

/// A whole answer gives the events of its stream, so both fold to the same.
#[test]
fn a_whole_answer_is_its_stream() {
    let fold = |feed: &dyn Fn(Sink<'_>)| {
        let (mut shape, mut reply, mut answer) = (Normalizer::default(), reply(), Answer::default());
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
    // Content in a shorter form is one block of text.
    let of = |content: &str| {
        let body = format!(r#"{{"type":"message","stop_reason":"end_turn","content":{content}}}"#);
        fold(&|sink| response::decode(RawValue::new(body.as_bytes()), Quirks::NONE, sink).unwrap())
    };
    let long = of(r#"[{"type":"text","text":"a\u0062"}]"#);
    assert_eq!(long.items.len(), 1);
    for short in [
        r#""a\u0062""#,
        r#"["a\u0062"]"#,
        r#"[{"text":"a\u0062"}]"#,
        r#"{"type":"text","text":"a\u0062"}"#,
        r#"["","a\u0062"]"#,
    ] {
        assert_eq!(format!("{:?}", of(short).items), format!("{:?}", long.items), "{short}");
    }
    for nothing in ["\"\"", "null", "[]", "[\"\"]"] {
        assert!(of(nothing).items.is_empty(), "{nothing}");
    }
    for body in ["{}", "[]", r#"{"content":"x"}"#, r#"{"type":"message","content":7}"#, r#"{"choices":[]}"#] {
        let error = response::decode(RawValue::new(body.as_bytes()), Quirks::NONE, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind, Kind::UpstreamFault, "{body}");
    }
}

/// Ends without a blank line, truncation, errors, noise, and deviations of hosts.
#[test]
fn odd_streams() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"a"}}"#;
    let tool = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"a":1}}}"#;
    let finish = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
    let delta = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#;
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
    #[rustfmt::skip]
    let rows = [
        ("cut before anything", String::new(), "fail:upstream_truncated"),
        ("cut in a block", start.to_owned(), "0text 0:a fail:upstream_truncated"),
        ("the end mark is missing", format!("{start}\n{finish}"), "0text 0:a 0. End end"),
        ("a stray end mark of Chat", format!("{start}\n[DONE]\n{finish}\n[DONE]"), "0text 0:a 0. End end"),
        ("an error first", error.to_owned(), "fail:overloaded"),
        ("an error in a block", format!("{start}\n{error}\n{finish}"), "0text 0:a fail:overloaded"),
        ("an error after the finish", format!("{finish}\n{error}"), "fail:overloaded"),
        ("an error without a type", r#"{"error":{"message":"m"}}"#.to_owned(), "fail:upstream_fault"),
        ("an error that says nothing", r#"{"type":"error"}"#.to_owned(), "fail:upstream_fault"),
        ("no JSON", format!("{start}\n{{"), "0text 0:a fail:upstream_truncated"),
        ("input in the start", format!("{tool}\n{finish}"), "0f(t) 0={\"a\":1} 0. End end"),
        ("a call without a name", format!("{}\n{delta}\n{finish}", tool.replace(r#""name":"f""#, r#""name":"""#)), "dropped_output End end"),
        ("input in the start and in deltas", format!("{tool}\n{delta}\n{finish}"), "0f(t) 0={} 0. End end"),
        ("a delta without a block", r#"{"type":"content_block_delta","index":5,"delta":{"type":"text_delta","text":"x"}}"#.to_owned(), "0text 0:x fail:upstream_truncated"),
        ("arguments without a block", delta.to_owned(), "disorder fail:upstream_truncated"),
        ("text in a tool", format!("{tool}\n{}", r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"x"}}"#), "0f(t) disorder fail:upstream_truncated"),
        ("no index", format!("{start}\n{}", r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"x"}}"#), "0text 0:a 0:x fail:upstream_truncated"),
        ("a block that never stopped", format!("{start}\n{start}\n{finish}"), "0text 0:a disorder 0. 1text 1:a 1. End end"),
        ("unknown things", format!("{}\n{}\n{finish}", r#"{"type":"novel"}"#, r#"{"x":1}"#), "unknown_event unknown_event End end"),
        ("an unknown reason", r#"{"type":"message_delta","delta":{"stop_reason":"tired"}}"#.to_owned(), "unknown_finish End end"),
        ("no reason", format!("{start}\n{}", r#"{"type":"message_stop"}"#), "0text 0:a 0. end"),
        ("cut by the limit", format!("{start}\n{}", r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens"},"usage":{"output_tokens":null}}"#), "0text 0:a usage:0/0/0 0! Length end"),
        ("the model failed", r#"{"type":"message_delta","delta":{"stop_reason":"api_error"}}"#.to_owned(), "fail:upstream_fault"),
        ("counts that come late", format!("{}\n{finish}", r#"{"type":"message_start","message":{"usage":{"input_tokens":0}}}"#.to_owned() + "\n" + r#"{"type":"message_delta","delta":{},"usage":{"input_tokens":9}}"#), "start(,) usage:0/0/0 usage:9/0/0 End end"),
    ];
    for (name, lines, expected) in rows {
        assert_eq!(words(&stream(&lines)), expected, "{name}");
    }
    // The name alone, and the last event without its blank line.
    let named = "event: content_block_start\ndata: {\"index\":0,\"content_block\":{\"type\":\"text\"}}\n\nevent: message_delta\ndata: {\"delta\":{\"stop_reason\":\"end_turn\"}}";
    assert_eq!(words(named), "0text 0. End end");
}

//! Events as a client's bytes.

use crate::canonical::codec::Encode;
use crate::canonical::event::Cite;
use crate::error::Kind;
use crate::formats::messages::stream::Encoder;
use crate::formats::messages::stream::tests::*;

fn encode_with(reply: &mut Reply, events: Vec<Event<'_>>) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::default(), Vec::new());
    events.into_iter().for_each(|event| encoder.event(event, reply, &mut out));
    out
}

pub(super) fn encode(events: Vec<Event<'_>>) -> String {
    describe(&encode_with(&mut reply(), events), false)
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
data: {"type":"message_start","message":{"id":"msg_00000000000000000000000001","type":"message","role":"assistant","model":"asked","content":[],"stop_reason":null,"stop_sequence":null,"stop_details":null,"container":null,"usage":{"input_tokens":7,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":1,"output_tokens_details":{"thinking_tokens":0},"server_tool_use":null,"service_tier":null,"inference_geo":null}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"","citations":null}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"h\u00e9"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,"container":null},"usage":{"input_tokens":5,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":2,"output_tokens_details":{"thinking_tokens":0},"server_tool_use":null,"service_tier":null,"inference_geo":null}}

event: message_stop
data: {"type":"message_stop"}

"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// Interleaved calls of Chat: `docs/internals/translation/examples.md`, "One stream, step by step".
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

/// Blocks one after another, whatever came side by side.
#[test]
fn one_block_at_a_time() {
    #[rustfmt::skip]
    let rows = [
        ("blank text is no block", vec![open(0, Block::Text), text(0, r" \n"), close(0), tool(1, "a"), args(1, "{}"), close(1)], "tool_usef p:{} ."),
        ("white space before text is kept", vec![open(0, Block::Text), text(0, r" \n"), text(0, " "), text(0, " x"), text(0, " "), close(0)], "text t: \n  x t:  ."),
        ("text beside a call waits", vec![tool(0, "a"), args(0, "{"), open(1, Block::Text), text(1, "x"), text(1, "y"), args(0, "}"), text(1, "z"), close(1), close(0)], "tool_usef p:{ p:} . text t:xy t:z ."),
        ("a complete call still waits for its end if nothing else does", vec![tool(0, "a"), args(0, "{}"), args(0, " "), close(0)], "tool_usef p:{} p:  ."),
        ("a call that was opened but has nothing yet does not press", vec![tool(0, "a"), args(0, "{}"), tool(1, "b"), args(0, " "), args(1, "{}"), args(0, " "), close(0), close(1)], "tool_usef p:{} p:  . tool_usef p:{} ."),
        ("two phases of thinking", vec![thinking(0), reason(0, 0, "a"), reason(0, 1, "b"), state(0, "s"), close(0), open(1, Block::Text), text(1, "x"), close(1), thinking(2), reason(2, 0, "c"), close(2)], "thinking t:a t:\n\n t:b s:s . text t:x . thinking t:c ."),
        ("two kinds of one part", vec![thinking(0), reason(0, 0, "a"), Event::Reason { ix: 0, part: 0, kind: ReasoningKind::Full, raw: raw("b") }, close(0)], "thinking t:a t:\n\n t:b ."),
        ("state without text", vec![thinking(0), state(0, "s"), close(0)], "redacted_thinkings ."),
        ("states beyond the first", vec![thinking(0), reason(0, 0, "a"), state(0, "s"), state(0, "u"), close(0)], "thinking t:a s:s . redacted_thinkingu ."),
        ("thinking without anything", vec![thinking(0), close(0), open(1, Block::Text), text(1, "x"), close(1)], "text t:x ."),
        ("a custom tool", vec![open(0, Block::Tool { kind: CallKind::Custom, id: raw("c"), name: raw("p"), namespace: None }), args(0, r"a\n"), args(0, r#"\"b"#), close(0)], "tool_usep p:{\"input\":\" p:a\\n p:\\\"b p:\"} ."),
        ("a refusal is text", vec![open(0, Block::Refusal), Event::Refusal { ix: 0, raw: raw("no") }, close(0)], "text t:no ."),
        ("items that never closed", vec![tool(0, "a"), args(0, "{"), open(1, Block::Text), text(1, "x")], "tool_usef p:{ . text t:x ."),
        ("a link", vec![open(0, Block::Text), text(0, "x"), Event::Cite { ix: 0, cite: Cite { url: raw("u"), title: raw(""), range: None } }, close(0)], "text t:x ."),
    ];
    for (name, mut events, expected) in rows {
        let reason = if events.iter().any(|e| matches!(e, Event::Refusal { .. })) { "refusal" } else { "end_turn" };
        events.extend([finish(Reason::End), usage(1, 0, 1), Event::End]);
        assert_eq!(encode(events), format!("start(7+0/1) {expected} {reason}(1+0/1) end"), "{name}");
    }
    let mut omitted = reply();
    omitted.plan.display_omitted = true;
    let out = encode_with(&mut omitted, vec![thinking(0), state(0, "s"), close(0)]);
    assert_eq!(describe(&out, false), "start(7+0/1) thinking s:s .");
}

/// The inputs of three calls whose fragments come in this order.
pub(super) fn interleaved(order: &[usize], fragments: &[&str]) -> Vec<String> {
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

/// Every interleaving of three calls of three fragments; of five fragments see the random orders
/// below.
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

/// The provider cannot take bytes back to a block that has ended, nor make the gateway hold without
/// bound.
#[test]
fn inexpressible_events_fail_the_stream() {
    let late = |tail| vec![tool(0, "a"), args(0, "{}"), tool(1, "b"), args(1, "{"), args(0, tail), args(1, "}")];
    assert_eq!(encode(late(" ")), "start(7+0/1) tool_usef p:{} . tool_usef p:{ p:}");
    assert_eq!(encode(late("x")), "start(7+0/1) tool_usef p:{} . tool_usef p:{ error:api_error");
    let big = "x".repeat(1 << 20);
    let mut events = vec![tool(0, "a"), args(0, "{"), open(1, Block::Text)];
    events.extend((0..9).map(|_| text(1, &big)));
    assert_eq!(encode(events), "start(7+0/1) tool_usef p:{ error:api_error");
}

/// A failure is an error event, and no end follows.
#[test]
fn failures_become_error_events() {
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
    assert_eq!(describe(&out, false), "start(3+0/1) ping ping");
    assert!(String::from_utf8_lossy(&out).contains(r#""service_tier":"standard""#));
    encoder.event(Event::End, &mut reply, &mut out);
    encoder.wait(&mut reply, &mut out);
    assert_eq!(describe(&out, true), "start(3+0/1) ping ping end_turn(3+0/0) end");
}

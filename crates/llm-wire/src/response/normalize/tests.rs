use crate::canonical::event::Block;
use crate::canonical::request::{CallKind, ReasoningKind};
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::json::RawValue;
use crate::reasoning::envelope;
use crate::response::normalize::*;
use crate::response::whole::{Answer, AnswerKind};
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, SequentialIds, Target};
use crate::target::quirks::Host;
use crate::target::tool_names::{Shape as ToolShape, ToolEntry};

fn raw(text: &str) -> RawStr<'_> {
    RawStr::new(text.as_bytes())
}

fn reply() -> Reply {
    let target = Target::new(Format::Messages, Host::Anthropic, "claude-opus-5", "p", &Overrides::default());
    let mut plan = Plan::new(Format::Chat, RawValue::new(b"{}"), &Context::new(target, "asked"));
    for (sent, name, shape) in [
        ("fs__read", "read", ToolShape::Function),
        ("patch", "patch", ToolShape::ShimmedCustom),
        ("json_response", "json_response", ToolShape::Answer),
    ] {
        let namespace = sent.starts_with("fs__").then(|| Text::plain("fs"));
        let entry = ToolEntry { sent: sent.to_owned(), name: Text::plain(name), namespace, shape };
        assert!(plan.tools.add(entry));
    }
    Reply::new(plan, Box::new(SequentialIds::default()), "req_1")
}

fn tool<'a>(ix: u32, id: &'a str, name: &'a str) -> Event<'a> {
    let block = Block::Tool { kind: CallKind::Function, id: raw(id), name: raw(name), namespace: None };
    Event::Open { ix, block }
}

fn text(ix: u32, text: &str) -> Event<'_> {
    Event::Text { ix, raw: raw(text) }
}

fn args(ix: u32, text: &str) -> Event<'_> {
    Event::Args { ix, raw: raw(text) }
}

fn close(ix: u32) -> Event<'static> {
    Event::Close { ix, status: Status::Complete }
}

fn finish(reason: Reason) -> Event<'static> {
    Event::Finish(Finish::of(reason))
}

/// One word for each event that came out.
fn word(event: &Event<'_>) -> String {
    let plain = |raw: &RawStr<'_>| raw.unescape().into_owned();
    match event {
        Event::Start { .. } => "start".to_owned(),
        Event::Tier(tier) => format!("tier:{}", plain(tier)),
        Event::Open { ix, block } => match block {
            Block::Text => format!("{ix}text"),
            Block::Refusal => format!("{ix}refusal"),
            Block::Reasoning { .. } => format!("{ix}reasoning"),
            Block::Tool { kind, id, name, namespace } => {
                let space = namespace.as_ref().map(plain).unwrap_or_default();
                format!("{ix}{kind:?}({},{space}/{})", plain(id), plain(name))
            }
        },
        Event::Text { ix, raw } => format!("{ix}{}", plain(raw)),
        Event::Refusal { ix, raw } => format!("{ix}no:{}", plain(raw)),
        Event::Reason { ix, part, raw, .. } => format!("{ix}.{part}{}", plain(raw)),
        Event::Opaque { ix, raw, .. } => {
            format!("{ix}{}", if envelope::looks_like(*raw) { "sealed" } else { "open" })
        }
        Event::Args { ix, raw } => format!("{ix}{}", raw.unescape()),
        Event::Cite { ix, .. } => format!("{ix}cite"),
        Event::Logprobs { ix, .. } => format!("{ix}logprobs"),
        Event::Close { ix, status: Status::Complete } => format!("{ix}."),
        Event::Close { ix, status: Status::Incomplete } => format!("{ix}!"),
        Event::Usage(usage) => format!("usage:{}/{}", usage.input_total, usage.output_total),
        Event::Finish(finish) => {
            format!("{:?}{}", finish.reason, finish.stop.map(|s| format!(":{}", plain(&s))).unwrap_or_default())
        }
        Event::Fail(error) => format!("fail:{}", error.kind.row().label),
        Event::End => "end".to_owned(),
        Event::Note(note) => note.label().to_owned(),
    }
}

fn run_with(reply: &mut Reply, events: Vec<Event<'_>>) -> String {
    let (mut shape, mut words) = (Normalizer::default(), Vec::new());
    for event in events {
        shape.event(event, reply, &mut |event, _| words.push(word(&event)));
    }
    words.join(" ")
}

fn run(events: Vec<Event<'_>>) -> String {
    run_with(&mut reply(), events)
}

fn usage(input: u64, output: u64) -> Event<'static> {
    Event::Usage(Usage { input_total: input, output_total: output, ..Usage::default() })
}

#[test]
fn a_plain_answer_passes() {
    let open = Event::Open { ix: 0, block: Block::Text };
    let start = Event::Start { id: raw("x"), model: raw("m") };
    let events = vec![
        start,
        usage(9, 1),
        open,
        text(0, ""),
        text(0, "hi"),
        close(0),
        finish(Reason::End),
        usage(9, 4),
        Event::End,
        text(0, "late"),
    ];
    assert_eq!(run(events), "start usage:9/1 0text 0hi 0. End usage:9/4 end");
}

/// The override of finish reasons, and names and ids as the client knows them.
#[test]
fn tools_are_the_clients_own() {
    let events = vec![
        tool(0, "t1", "fs__read"),
        args(0, r#"{\"a\":1}"#),
        close(0),
        tool(1, "t1", "made_up"),
        close(1),
        tool(2, "", "made_up"),
        finish(Reason::End),
        usage(1, 1),
        Event::End,
    ];
    let id = "call_00000000000000000000000002";
    let expected = format!(
        r#"start 0Function(t1,fs/read) 0{{"a":1}} 0. 1Function(t1_2,/made_up) 1{{}} 1. 2Function({id},/made_up) 2{{}} 2. ToolCalls usage:1/1 end"#
    );
    assert_eq!(run(events), expected);
    assert_eq!(run(vec![finish(Reason::ToolCalls), usage(1, 0), Event::End]), "start End usage:1/0 end");
    let cut = vec![tool(0, "t", "f"), args(0, "{"), finish(Reason::Length), usage(1, 1), Event::End];
    assert_eq!(run(cut), "start 0Function(t,/f) 0{ 0! Length usage:1/1 end");
}

#[test]
fn shims_are_undone() {
    let events = vec![
        tool(0, "t", "patch"),
        args(0, r#"{\"inp"#),
        args(0, r#"ut\":\"a\\nb"#),
        args(0, r#"\"}"#),
        close(0),
        tool(1, "u", "json_response"),
        args(1, r#"{\"x\":1}"#),
        close(1),
        finish(Reason::ToolCalls),
        usage(1, 1),
        Event::End,
    ];
    assert_eq!(run(events), "start 0Custom(t,/patch) 0a\nb 0. 1text 1{\"x\":1} 1. ToolCalls usage:1/1 end");
    let answer = vec![
        tool(0, "u", "json_response"),
        args(0, "{}"),
        close(0),
        finish(Reason::ToolCalls),
        usage(1, 1),
        Event::End,
    ];
    assert_eq!(run(answer), "start 0text 0{} 0. End usage:1/1 end");
}

/// Text is watched, reasoning and arguments are not, and nothing follows the end.
#[test]
fn a_stop_sequence_ends_the_answer() {
    let mut reply = reply();
    reply.plan.stops = vec!["STOP".to_owned()];
    let reason = |raw| Event::Reason { ix: 0, part: 0, kind: ReasoningKind::Summary, raw };
    let events = vec![
        usage(7, 1),
        Event::Open { ix: 0, block: Block::Reasoning { id: raw("") } },
        reason(raw("STOP")),
        close(0),
        Event::Open { ix: 1, block: Block::Text },
        tool(2, "t", "f"),
        args(2, "STOP"),
        text(1, "hello ST"),
        text(1, "OP more"),
        text(1, "after"),
        finish(Reason::End),
        Event::End,
    ];
    let expected = "usage:7/1 start 0reasoning 0.0STOP 0. 1text 2Function(t,/f) 2STOP 1hello  1. 2. StopSequence:STOP usage:7/4 end";
    assert_eq!(run_with(&mut reply, events), expected);
    let held = vec![
        Event::Open { ix: 0, block: Block::Text },
        text(0, "ST"),
        close(0),
        finish(Reason::End),
        usage(1, 1),
        Event::End,
    ];
    assert_eq!(run_with(&mut reply, held), "start 0text 0ST 0. End usage:1/1 end");
}

#[test]
fn reasoning_state_is_sealed_with_its_text() {
    let mut reply = reply();
    let (mut shape, mut envelopes) = (Normalizer::default(), Vec::new());
    let reason = |part, text| Event::Reason { ix: 0, part, kind: ReasoningKind::Summary, raw: raw(text) };
    let events = vec![
        Event::Open { ix: 0, block: Block::Reasoning { id: raw("rs_1") } },
        reason(0, "a"),
        reason(0, "b"),
        reason(1, "c"),
        Event::Opaque { ix: 0, seal: envelope::Seal::Thinking, raw: raw("sig+/=") },
    ];
    for event in events {
        shape.event(event, &mut reply, &mut |event, _| {
            if let Event::Opaque { raw, .. } = event {
                envelopes.push(envelope::parse(raw).unwrap());
            }
        });
    }
    let [envelope] = &envelopes[..] else { panic!("{envelopes:?}") };
    assert_eq!(envelope.text.unescape(), "ab\n\nc");
    assert!(envelope.sealed.eq_str("sig+/=") && envelope.id.eq_str("rs_1"));
    assert_eq!((envelope.family, envelope.scope), (reply.plan.family, reply.plan.scope));
}

#[test]
fn disorder_does_no_harm() {
    let open = |ix| Event::Open { ix, block: Block::Text };
    let events = vec![
        text(3, "x"),
        open(1),
        open(0),
        close(0),
        close(0),
        text(0, "x"),
        args(0, "x"),
        finish(Reason::End),
        open(1),
        Event::End,
    ];
    let mut reply = reply();
    reply.input_estimate = Some(5);
    assert_eq!(run_with(&mut reply, events), "start 0text 0. End usage:5/0 end");
    assert_eq!(reply.notes[Note::Disorder as usize], 6);
    let fail = Event::Fail(Error::upstream(Kind::UpstreamTruncated, "cut"));
    assert_eq!(run(vec![open(0), text(0, "x"), fail, Event::End]), "start 0text 0x fail:upstream_truncated");
    assert_eq!(run(vec![open(0), Event::End]), "start 0text 0. End usage:0/0 end");
}

#[test]
fn a_host_that_does_not_count_is_estimated() {
    let mut reply = reply();
    reply.input_estimate = Some(100);
    let open = || Event::Open { ix: 0, block: Block::Text };
    let events = vec![open(), text(0, "twelve bytes"), finish(Reason::End), usage(0, 0), Event::End];
    assert_eq!(run_with(&mut reply, events), "start 0text 0twelve bytes 0. End usage:0/0 usage:100/3 end");
    assert_eq!(reply.notes[Note::EstimatedUsage as usize], 1);
    // What it does count stays.
    for (input, output, expected) in [(7, 0, "7/3"), (0, 9, "100/9")] {
        let events = vec![open(), text(0, "twelve bytes"), finish(Reason::End), usage(input, output), Event::End];
        let seen = run_with(&mut reply, events);
        assert!(seen.ends_with(&format!("End usage:{input}/{output} usage:{expected} end")), "{seen}");
    }
}

/// The fold reads what an encoder reads.
#[test]
fn fold_of_normalized_events() {
    let (mut shape, mut reply, mut answer) = (Normalizer::default(), reply(), Answer::default());
    for event in
        [tool(0, "t", "patch"), args(0, r#"{\"input\":\"x\"}"#), close(0), finish(Reason::End), usage(1, 2), Event::End]
    {
        shape.event(event, &mut reply, &mut |event, _| answer.take(&event));
    }
    assert_eq!(answer.ended().reason, Reason::ToolCalls);
    let AnswerKind::Tool { kind, input, .. } = &answer.items[0].kind else { panic!() };
    assert_eq!((*kind, input.as_slice()), (CallKind::Custom, &b"x"[..]));
}

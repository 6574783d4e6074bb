//! Events and the stream they become.

use crate::formats::chat::stream::tests::*;

/// What the encoder makes of events, through [`Normalizer`], with the constant head of each chunk
/// left out.
fn written(reply: &mut Reply, events: Vec<Event<'_>>) -> String {
    let (mut shape, mut encoder, mut out) = (Normalizer::default(), Encoder::default(), Vec::new());
    for event in events {
        shape.event(event, reply, &mut |event, reply| encoder.event(event, reply, &mut out));
    }
    let out = String::from_utf8(out).unwrap();
    let head = r#"data: {"id":"chatcmpl-00000000000000000000000001","object":"chat.completion.chunk","created":1700000000,"model":"asked","choices":"#;
    let lines = out.split_terminator("\n\n").map(|line| match line.strip_prefix(head) {
        Some(rest) => rest.strip_prefix(r#"[{"index":0,"delta":"#).unwrap_or(rest).to_owned(),
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn raw(text: &str) -> RawStr<'_> {
    RawStr::new(text.as_bytes())
}

fn open<'a>(ix: u32, block: Block<'a>) -> Event<'a> {
    Event::Open { ix, block }
}

fn tool<'a>(ix: u32, kind: CallKind, id: &'a str, name: &'a str) -> Event<'a> {
    open(ix, Block::Tool { kind, id: raw(id), name: raw(name), namespace: None })
}

fn close(ix: u32) -> Event<'static> {
    Event::Close { ix, status: Status::Complete }
}

/// One identity, one finish, usage only where it was asked for, `[DONE]` last.
#[test]
fn a_stream_for_a_client() {
    use crate::canonical::event::Cite;
    use crate::canonical::request::ReasoningKind::Summary;
    use crate::reasoning::envelope::Seal;
    let usage = Usage { input_total: 100, cache_read: 80, output_total: 9, reasoning: 4, ..Usage::default() };
    let events = || {
        vec![
            Event::Start { id: raw("msg_1"), model: raw("claude") },
            Event::Tier(raw("standard")),
            Event::Usage(Usage { input_total: 100, output_total: 1, ..Usage::default() }),
            open(0, Block::Reasoning { id: raw("") }),
            Event::Reason { ix: 0, part: 0, kind: Summary, raw: raw("two") },
            Event::Reason { ix: 0, part: 1, kind: Summary, raw: raw("calls") },
            close(0),
            open(1, Block::Reasoning { id: raw("") }),
            Event::Reason { ix: 1, part: 0, kind: Summary, raw: raw("more") },
            close(1),
            open(2, Block::Text),
            Event::Text { ix: 2, raw: raw(r"H\u00ef") },
            Event::Cite { ix: 2, cite: Cite { url: raw("u"), title: raw("t"), range: None } },
            Event::Text { ix: 2, raw: raw("!") },
            Event::Logprobs { ix: 2, raw: RawValue::new(b"[{}]") },
            close(2),
            tool(3, CallKind::Function, "t1", "f"),
            tool(4, CallKind::Custom, "t2", "p"),
            Event::Args { ix: 4, raw: raw("x") },
            Event::Args { ix: 3, raw: raw("{}") },
            close(3),
            close(4),
            Event::Usage(usage),
            Event::Finish(Finish::of(Reason::ToolCalls)),
            Event::End,
        ]
    };
    let expected = r#"{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}
{"reasoning_content":"two","reasoning_details":[{"type":"reasoning.text","text":"two","index":0}]},"finish_reason":null}],"usage":null}
{"reasoning_content":"\n\ncalls","reasoning_details":[{"type":"reasoning.text","text":"\n\ncalls","index":0}]},"finish_reason":null}],"usage":null}
{"reasoning_content":"\n\nmore","reasoning_details":[{"type":"reasoning.text","text":"more","index":1}]},"finish_reason":null}],"usage":null}
{"content":"H\u00ef"},"finish_reason":null}],"usage":null}
{"content":"!"},"finish_reason":null}],"usage":null}
{},"logprobs":{"content":[{}],"refusal":null},"finish_reason":null}],"usage":null}
{"annotations":[{"index":0,"type":"url_citation","url_citation":{"start_index":0,"end_index":3,"title":"t","url":"u"}}]},"finish_reason":null}],"usage":null}
{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}],"usage":null}
{"tool_calls":[{"index":1,"id":"t2","type":"custom","custom":{"name":"p","input":""}}]},"finish_reason":null}],"usage":null}
{"tool_calls":[{"index":1,"custom":{"input":"x"}}]},"finish_reason":null}],"usage":null}
{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":null}],"usage":null}
{},"finish_reason":"tool_calls"}],"usage":null}
[],"usage":{"prompt_tokens":100,"completion_tokens":9,"total_tokens":109,"prompt_tokens_details":{"cached_tokens":80,"cache_write_tokens":0},"completion_tokens_details":{"reasoning_tokens":4}}}
data: [DONE]"#;
    let tiered = |text: &str| text.replace(r#""model":"asked","service_tier":"default","#, r#""model":"asked","#);
    let got = {
        let (mut shape, mut encoder, mut out, mut reply) =
            (Normalizer::default(), Encoder::default(), Vec::new(), reply(true));
        for event in events() {
            shape.event(event, &mut reply, &mut |event, reply| encoder.event(event, reply, &mut out));
        }
        tiered(&String::from_utf8(out).unwrap())
    };
    let head = r#"data: {"id":"chatcmpl-00000000000000000000000001","object":"chat.completion.chunk","created":1700000000,"model":"asked","choices":"#;
    let expected: Vec<String> = expected
        .lines()
        .map(|line| match line {
            "data: [DONE]" => line.to_owned(),
            line if line.starts_with('[') => format!("{head}{line}"),
            line => format!(r#"{head}[{{"index":0,"delta":{line}"#),
        })
        .collect();
    let lines: Vec<&str> = got.split_terminator("\n\n").collect();
    assert_eq!(lines, expected);

    // Not asked for: no usage at all. Details switched off: the text alone. Sealed: the envelope at
    // its own place.
    let mut plain = reply(false);
    plain.plan.reasoning_details = false;
    let quiet = written(
        &mut plain,
        vec![
            open(0, Block::Reasoning { id: raw("") }),
            Event::Reason { ix: 0, part: 0, kind: Summary, raw: raw("r") },
            Event::Opaque { ix: 0, seal: Seal::Thinking, raw: raw("S") },
            Event::Usage(usage),
            Event::Finish(Finish::of(Reason::End)),
            Event::End,
        ],
    );
    let expected = r#"{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}
{"reasoning_content":"r"},"finish_reason":null}]}
{},"finish_reason":"stop"}]}
data: [DONE]"#;
    assert_eq!(quiet, expected);
}

#[test]
fn state_of_reasoning_travels_in_envelopes() {
    use crate::reasoning::envelope;
    use crate::reasoning::envelope::Seal;
    for (seal, field, kind) in [
        (Seal::Thinking, "signature", "reasoning.text"),
        (Seal::Redacted, "data", "reasoning.encrypted"),
        (Seal::Encrypted, "data", "reasoning.encrypted"),
        (Seal::Signature, "data", "reasoning.encrypted"),
    ] {
        let got = written(
            &mut reply(false),
            vec![
                open(0, Block::Reasoning { id: raw("rs_1") }),
                Event::Opaque { ix: 0, seal, raw: raw("S") },
                close(0),
                tool(1, CallKind::Function, "t", "f"),
                Event::Fail(Error::upstream(Kind::UpstreamTruncated, "cut")),
            ],
        );
        let lines: Vec<&str> = got.lines().collect();
        let delta = lines[1].strip_suffix(r#","finish_reason":null}]}"#).unwrap();
        let entry =
            RawValue::parse(delta.as_bytes()).unwrap().find("reasoning_details").unwrap().elements().next().unwrap().0;
        assert!(entry.find("type").unwrap().eq_str(kind) && entry.find("id").unwrap().eq_str("rs_1"));
        let opened = envelope::parse(entry.find(field).unwrap().as_str().unwrap()).unwrap();
        assert!(opened.seal == seal && opened.sealed.eq_str("S"));
        assert_eq!(lines[2].contains("extra_content"), seal == Seal::Signature, "{got}");
        assert!(lines[3].starts_with(r#"data: {"error":{"message":"cut""#) && lines.len() == 4, "{got}");
    }
}

#[test]
fn clients_of_functions_get_one_call() {
    let mut reply = reply(false);
    reply.plan.legacy_functions = true;
    let events = vec![
        tool(0, CallKind::Function, "a", "f"),
        tool(1, CallKind::Function, "b", "g"),
        Event::Args { ix: 1, raw: raw("{}") },
        Event::Args { ix: 0, raw: raw("{}") },
        Event::Finish(Finish::of(Reason::End)),
        Event::End,
    ];
    let expected = r#"{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}
{"function_call":{"name":"f","arguments":""}},"finish_reason":null}]}
{"function_call":{"arguments":"{}"}},"finish_reason":null}]}
{},"finish_reason":"function_call"}]}
data: [DONE]"#;
    assert_eq!(written(&mut reply, events), expected);
}

#[test]
fn refusals_and_waiting() {
    let refusal = Finish { explanation: Some(raw("why")), ..Finish::of(Reason::Refusal) };
    let got = written(&mut reply(false), vec![Event::Finish(refusal), Event::End]);
    let expected = r#"{"role":"assistant","content":"","refusal":null},"finish_reason":null}]}
{"refusal":"why"},"finish_reason":null}]}
{},"finish_reason":"content_filter"}]}
data: [DONE]"#;
    assert_eq!(got, expected);

    let (mut encoder, mut out, mut reply) = (Encoder::default(), Vec::new(), reply(false));
    encoder.event(Event::Start { id: raw("x"), model: raw("y") }, &mut reply, &mut out);
    encoder.event(Event::Usage(Usage::default()), &mut reply, &mut out);
    encoder.event(open(0, Block::Text), &mut reply, &mut out);
    assert!(out.is_empty(), "nothing before content");
    encoder.wait(&mut reply, &mut out);
    assert_eq!(out, b": keep-alive\n\n");
    encoder.event(Event::Fail(Error::upstream(Kind::UpstreamTimeout, "late")), &mut reply, &mut out);
    assert!(out.ends_with(b"\"code\":\"upstream_timeout\"}}\n\n"));
}

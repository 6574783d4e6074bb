use super::*;
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, Plan, SequentialIds, Target};
use crate::target::quirks::Host;

fn translator(client: Format, provider: Format, stream: bool) -> Translator {
    let target = Target::new(provider, Host::Unknown, "m", "p", &Overrides::default());
    let mut plan = Plan::new(client, RawValue::new(b"{}"), &Context::new(target, "asked"));
    plan.stream = stream;
    Translator::new(Reply::new(plan, Box::new(SequentialIds::default()), "req_1"))
}

fn pairs() -> impl Iterator<Item = (Format, Format)> {
    Format::ALL.into_iter().flat_map(|a| Format::ALL.into_iter().map(move |b| (a, b))).filter(|(a, b)| a != b)
}

/// Of an early error nothing is written, the kind stays, another provider can be tried.
#[test]
fn a_failure_before_content_is_an_error() {
    for (client, provider) in pairs() {
        for stream in [true, false] {
            let mut out = Vec::new();
            let mut cut = translator(client, provider, stream);
            assert!(cut.end(&mut out).is_err(), "{client} {provider}: an empty answer");
            let mut reset = translator(client, provider, stream);
            let error = reset.fail(Error::upstream(Kind::UpstreamConnect, "reset"), &mut out).unwrap_err();
            assert_eq!((error.kind, reset.phase()), (Kind::UpstreamConnect, Phase::Over));
            let mut refused = translator(client, provider, stream);
            let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#;
            assert_eq!(refused.body(body, &mut out).unwrap_err().kind, Kind::Overloaded);
            let mut nonsense = translator(client, provider, stream);
            assert_eq!(nonsense.body(b"<html>", &mut out).unwrap_err().kind, Kind::UpstreamFault);
            assert!(out.is_empty(), "{client} {provider}");
            assert!(refused.failure().is_none() && refused.usage().is_none());
        }
    }
}

#[test]
fn a_waiting_client_commits_a_stream_and_no_whole_answer() {
    for (client, provider) in pairs() {
        let mut out = Vec::new();
        let mut whole = translator(client, provider, false);
        assert!(!whole.wait(&mut out) && whole.phase() == Phase::Waiting);
        let mut stream = translator(client, provider, true);
        assert!(stream.wait(&mut out) && stream.phase() == Phase::Committed);
        let failed = stream.fail(Error::upstream(Kind::UpstreamTimeout, "late"), &mut out);
        assert!(failed.is_ok(), "told inside the stream");
        assert_eq!(stream.failure().map(|e| e.kind), Some(Kind::UpstreamTimeout));
    }
}

/// A block of Messages that has ended cannot go on. The caller learns that the client got no
/// whole answer.
#[test]
fn an_encoder_that_gives_up_is_a_failure() {
    let mut stream = translator(Format::Messages, Format::Chat, true);
    let mut out = Vec::new();
    for delta in [
        r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
        r#"{"index":1,"id":"b","function":{"name":"g","arguments":"{"}}"#,
        r#"{"index":0,"function":{"arguments":"more"}}"#,
    ] {
        let data = format!(r#"{{"id":"c","choices":[{{"index":0,"delta":{{"tool_calls":[{delta}]}}}}]}}"#);
        stream.frame(Frame { event: None, data: data.as_bytes() }, &mut out).unwrap();
    }
    assert_eq!((stream.phase(), stream.failure().map(|e| e.kind)), (Phase::Over, Some(Kind::UpstreamFault)));
    assert!(out.ends_with(b"\n\n") && String::from_utf8(out).unwrap().contains("event: error"));
}

#[test]
fn a_body_that_is_no_object_is_refused() {
    let target = Target::new(Format::Messages, Host::Anthropic, "claude-opus-5", "p", &Overrides::default());
    let cx = Context::new(target, "asked");
    for (body, kind) in [(&b"{"[..], Kind::InvalidJson), (b"[]", Kind::InvalidType)] {
        assert_eq!(request(Format::Chat, body, &cx).unwrap_err().kind, kind);
    }
}

const MESSAGES_FRAMES: &[&str] = &[
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"TEXT"}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"TEXT"}}"#,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"thinking","thinking":""}}"#,
    r#"{"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta","thinking":"TEXT"}}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"TEXT"}}"#,
    r#"{"type":"content_block_stop","index":0}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"ping"}"#,
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#,
];

const CHAT_FRAMES: &[&str] = &[
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":null}]}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"content":"TEXT"},"finish_reason":null}]}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"TEXT"},"finish_reason":null}]}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{"refusal":"TEXT"},"finish_reason":null}]}"#,
    r#"{"id":"c","choices":[{"index":1,"delta":{"content":"TEXT"},"finish_reason":null}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"i","function":{"name":"f","arguments":"TEXT"}}]}}]}"#,
    r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"TEXT"}}]}}]}"#,
    r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    r#"{"id":"c","choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
    "[DONE]",
];

/// How events come to a translator.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Events {
    Frames,
    /// Known ones are taken before they are framed.
    Whole,
    /// The same, and each is offered as a chunk of its own before.
    Chunks,
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Frames of any kind in any order: the client gets the same bytes with the decoder asked
    /// for each, also where whole events are taken before they are framed.
    #[test]
    fn the_delta_template_changes_nothing(
        steps in proptest::collection::vec((0usize..12, 0usize..8, 1usize..5), 0..24),
        stop in proptest::bool::ANY,
    ) {
        let texts = ["a", "{}", "", r"\n", r"\u00e9", "\u{e9}", r#"\""#, "null, in some more words"];
        for (provider, frames) in [(Format::Messages, MESSAGES_FRAMES), (Format::Chat, CHAT_FRAMES)] {
            for client in Format::ALL.into_iter().filter(|client| *client != provider) {
                let run = |template: Option<DeltaTemplate>, events: Events| {
                    let mut translator = translator(client, provider, true);
                    if stop {
                        translator.reply.plan.stops = vec!["aa".into()];
                    }
                    if let Some(template) = template {
                        translator.template = template;
                    }
                    let mut out = Vec::new();
                    let mut feed = |data: &str| {
                        let event = format!("data: {data}\n\n");
                        if events == Events::Chunks && translator.known_event(event.as_bytes(), &mut out) {
                            return None;
                        }
                        if events != Events::Frames {
                            match translator.known_events(event.as_bytes(), &mut out) {
                                Ok(0) => {}
                                Ok(taken) => {
                                    assert_eq!(taken, event.len());
                                    return None;
                                }
                                Err(error) => return Some(error.to_string()),
                            }
                        }
                        let frame = Frame { event: None, data: data.as_bytes() };
                        translator.frame(frame, &mut out).err().map(|e| e.to_string())
                    };
                    let mut errors = vec![feed(r#"{"type":"message_start","message":{"id":"m"}}"#)];
                    for (frame, text, times) in &steps {
                        for _ in 0..*times {
                            let data = frames[frame % frames.len()].replace("TEXT", texts[*text]);
                            errors.push(feed(&data));
                        }
                    }
                    errors.push(translator.end(&mut out).err().map(|e| e.to_string()));
                    let notes: Vec<_> = translator.notes().collect();
                    (String::from_utf8(out).unwrap(), errors, notes)
                };
                let expected = run(Some(DeltaTemplate::off()), Events::Frames);
                for events in [Events::Frames, Events::Whole, Events::Chunks] {
                    proptest::prop_assert_eq!(&run(None, events), &expected);
                }
            }
        }
    }
}

//! Laws of streams: what says the same is translated the same, and what breaks off is never an end.

use llm_wire::Format;
use llm_wire::error::Kind;
use llm_wire::testing::answer::Case;
use llm_wire::testing::reading;
use llm_wire::testing::reading::End;
use proptest::prelude::*;

use super::{finished, read, streamed, text_stream, texts};
use crate::fixtures::{directions, streams};

/// Another spelling of the same events changes no byte for the client.
fn unchanged(respell: impl Fn(&str) -> Vec<String>) {
    for (client, provider) in directions() {
        for (name, stream) in streams(client, provider) {
            let expected = streamed(client, provider, [stream.as_bytes()]);
            for other in respell(&stream) {
                assert_eq!(streamed(client, provider, [other.as_bytes()]), expected, "{name}:\n{other}");
            }
        }
    }
}

#[test]
fn any_split_into_two_reads_gives_the_same_output() {
    for (client, provider) in directions() {
        let (_, shortest) = streams(client, provider).into_iter().min_by_key(|(_, stream)| stream.len()).unwrap();
        let bytes = shortest.as_bytes();
        let expected = streamed(client, provider, [bytes]);
        for cut in 0..=bytes.len() {
            assert_eq!(streamed(client, provider, [&bytes[..cut], &bytes[cut..]]), expected, "cut at {cut}");
        }
    }
}

#[test]
fn reads_of_one_byte_give_the_same_output() {
    for (client, provider) in directions() {
        for (name, stream) in streams(client, provider) {
            let expected = streamed(client, provider, [stream.as_bytes()]);
            assert_eq!(streamed(client, provider, stream.as_bytes().chunks(1)), expected, "{name}");
        }
    }
}

#[test]
fn line_ends_are_equivalent() {
    unchanged(|stream| {
        let mut n = 0;
        let mixed = stream.split_inclusive('\n').map(|line| {
            n += 1;
            line.replace('\n', ["\r\n", "\n", "\r"][n % 3])
        });
        vec![stream.replace('\n', "\r\n"), stream.replace('\n', "\r"), mixed.collect()]
    });
}

#[test]
fn comments_and_unknown_fields_are_ignored() {
    unchanged(|stream| {
        let fields = |line: &str| {
            if line == "\n" { "\n: note\nid: 7\nretry: 5\nfoo: bar\n".to_owned() } else { line.to_owned() }
        };
        let nameless = stream.split_inclusive('\n').filter(|line| !line.starts_with("event:"));
        vec![
            format!("\u{feff}{stream}"),
            stream.replace("data: ", "data:"),
            stream.split_inclusive('\n').map(fields).collect(),
            nameless.collect(),
        ]
    });
}

#[test]
fn a_document_may_span_several_data_lines() {
    unchanged(|stream| vec![stream.replace("data: {", "data: {\ndata:  ").replace("}\n", "\ndata: }\n")]);
}

#[test]
fn text_survives_line_separators_and_split_surrogates() {
    let rows: &[(&[&str], &str)] = &[
        (&["a\u{2028}b\u{2029}", "\u{85}c\u{1f600}"], "a\u{2028}b\u{2029}\u{85}c\u{1f600}"),
        (&["x\\ud83d", "\\ude00y"], "x\u{1f600}y"),
        (&["\\u00e9\\n\\\"", "\\\\ \\/"], "é\n\"\\ /"),
    ];
    for (client, provider) in directions() {
        for (deltas, text) in rows {
            let stream = text_stream(provider, deltas);
            let out = streamed(client, provider, stream.as_bytes().chunks(1)).unwrap();
            let read_back = reading::stream(client, &out);
            assert_eq!(texts(&read_back), *text, "{provider} to {client}");
            assert!(finished(&read_back));
        }
    }
}

#[test]
fn last_event_without_a_blank_line_is_translated() {
    for (client, provider) in directions() {
        let whole = text_stream(provider, &["hi"]);
        let last = whole.trim_end();
        assert_eq!(streamed(client, provider, [last.as_bytes()]), streamed(client, provider, [whole.as_bytes()]));
        // Half of the last document; of Chat that is the end mark, and the finish before it is an
        // end.
        let half = read(client, provider, &last[..last.len() - 3]).unwrap();
        assert_eq!(half.end == End::Failed, provider != Format::Chat, "{provider} to {client}");
    }
}

/// Sizes of one event, which the framer bounds for all formats alike; memory over many events is
/// measured in `sse::frame` and in `tests/alloc.rs`.
#[test]
fn large_events_pass_up_to_the_limit() {
    let (client, provider) = (Format::Chat, Format::Messages);
    let large = |mib: usize| "x".repeat(mib << 20);
    let read_back = read(client, provider, &text_stream(provider, &["a", &large(15)])).unwrap();
    assert!(finished(&read_back) && texts(&read_back).len() == 1 + (15 << 20));
    let read_back = read(client, provider, &text_stream(provider, &["a", &large(17)])).unwrap();
    assert_eq!((read_back.end, read_back.items.len()), (End::Failed, 3));
}

/// The streams are cut at every event and inside each, and a short one at every byte.
#[test]
fn truncated_stream_never_ends_cleanly() {
    for (client, provider) in directions() {
        for (name, stream) in streams(client, provider) {
            let blocks: Vec<usize> = stream.match_indices("\n\n").map(|(at, _)| at).collect();
            let whole = read(client, provider, &stream).map(|read_back| finished(&read_back));
            for end in blocks.iter().flat_map(|at| [at + 2, at - 1, at.saturating_sub(17)]) {
                match read(client, provider, &stream[..end]) {
                    Err(kind) => assert_eq!(kind, Kind::UpstreamTruncated, "{name} {end}"),
                    Ok(read_back) if finished(&read_back) => {
                        // Only behind the finish, when nothing but the end mark or the usage is
                        // missing.
                        let ends =
                            ["\"finish_reason\":\"", "\"stop_reason\":\"", "response.completed", "response.incomplete"];
                        assert_eq!(whole, Ok(true), "{name}");
                        let is_behind_stop = name.ends_with("stream_stop") && end > stream.find("ND two").unwrap();
                        assert!(is_behind_stop || ends.iter().any(|word| stream[..end].contains(word)), "{name} {end}");
                    }
                    Ok(read_back) => assert_eq!(read_back.end, End::Failed, "{name} {end}"),
                }
            }
        }
    }
}

fn error_events(provider: Format) -> &'static [(&'static str, Kind)] {
    match provider {
        Format::Chat => &[
            (
                r#"data: {"error":{"message":"busy","type":"server_error","code":"server_is_overloaded"}}"#,
                Kind::Overloaded,
            ),
            (
                r#"data: {"error":{"message":"slow down","type":"rate_limit_error","code":"rate_limit_exceeded"}}"#,
                Kind::RateLimit,
            ),
        ],
        Format::Messages => {
            &[(r#"data: {"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#, Kind::Overloaded)]
        }
        Format::Responses => &[
            (
                r#"data: {"type":"error","code":"rate_limit_exceeded","message":"slow down","param":null}"#,
                Kind::RateLimit,
            ),
            (
                r#"data: {"type":"error","error":{"type":"insufficient_quota","code":"insufficient_quota","message":"pay"}}"#,
                Kind::Billing,
            ),
            (
                r#"data: {"type":"response.failed","response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"}}}"#,
                Kind::RateLimit,
            ),
        ],
    }
}

#[test]
fn error_event_at_each_position_is_reported() {
    for (client, provider) in directions() {
        let stream = text_stream(provider, &["one", "two"]);
        let blocks: Vec<&str> = stream.split_inclusive("\n\n").collect();
        for (error, kind) in error_events(provider) {
            let mut early = 0;
            for at in 0..blocks.len() - 1 {
                let cut = blocks[..at].concat() + error + "\n\n" + &blocks[at..].concat();
                match read(client, provider, &cut) {
                    Err(found) => {
                        assert_eq!(found, *kind, "{provider} to {client} at {at}");
                        early += 1;
                    }
                    Ok(read_back) => assert_eq!(read_back.end, End::Failed, "{provider} to {client} at {at}"),
                }
            }
            assert!(early > 0, "before content an error keeps its kind");
        }
    }
}

#[test]
fn pings_comments_and_unknown_events_change_nothing() {
    let noise = [
        ": keep-alive\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        "data: {\"type\":\"keepalive\",\"sequence_number\":3}\n\n",
        "event: novel.thing\ndata: {\"type\":\"novel.thing\",\"x\":[1]}\n\n",
    ];
    unchanged(|stream| noise.iter().map(|noise| stream.replace("\n\n", &format!("\n\n{noise}"))).collect());
}

/// Frames of a provider out of the words that matter, so that chance makes answers, and broken
/// ones.
fn frames(provider: Format) -> BoxedStrategy<Vec<String>> {
    let rows: &'static [&'static str] = match provider {
        Format::Chat => &[
            r#"{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":"a "}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"content":" \n"}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning_content":"r"}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"D"}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"refusal":"no"}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"k\""}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"patch","arguments":"{\"input\":\"x"}}]}}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"\"}"}}]}}]}"#,
            r#"{"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}"#,
            r#"{"error":{"message":"m"}}"#,
        ],
        Format::Messages => &[
            r#"{"type":"message_start","message":{"id":"m","usage":{"input_tokens":3,"cache_read_input_tokens":2}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"thinking","thinking":""}}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"patch","input":{"input":"x"}}}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"d"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\n"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta","thinking":"t"}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"signature_delta","signature":"s"}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
        ],
        Format::Responses => &[
            r#"{"type":"response.created","response":{"id":"r"}}"#,
            r#"{"type":"response.output_item.added","output_index":0,"item":{"id":"m","type":"message"}}"#,
            r#"{"type":"response.output_item.added","output_index":1,"item":{"id":"s","type":"reasoning","summary":[]}}"#,
            r#"{"type":"response.output_item.added","output_index":2,"item":{"id":"f","type":"function_call","call_id":"c","name":"f","arguments":""}}"#,
            r#"{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"a "}"#,
            r#"{"type":"response.refusal.delta","output_index":0,"content_index":1,"delta":"no"}"#,
            r#"{"type":"response.reasoning_summary_text.delta","output_index":1,"summary_index":0,"delta":"s"}"#,
            r#"{"type":"response.reasoning_summary_text.delta","output_index":1,"summary_index":1,"delta":"t"}"#,
            r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"k\":1}"}"#,
            r#"{"type":"response.output_item.done","output_index":0,"item":{"id":"m","type":"message","content":[{"type":"output_text","text":"a b"}]}}"#,
            r#"{"type":"response.output_item.done","output_index":1,"item":{"id":"s","type":"reasoning","summary":[],"encrypted_content":"E"}}"#,
            r#"{"type":"response.output_item.done","output_index":2,"item":{"id":"f","type":"function_call","call_id":"c","name":"f","arguments":"{\"k\":1}"}}"#,
            r#"{"type":"response.failed","response":{"error":{"message":"m"}}}"#,
        ],
    };
    let ends: &'static [&'static str] = match provider {
        Format::Chat => &[
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}"#,
            "{}",
        ],
        Format::Messages => &[
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":4}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"refusal"}}"#,
            r#"{"type":"message_stop"}"#,
        ],
        Format::Responses => &[
            r#"{"type":"response.completed","response":{"status":"completed","usage":{"input_tokens":4,"output_tokens":2}}}"#,
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}"#,
            "{}",
        ],
    };
    // What ends the answer, or breaks it, stands last in the lists: often enough, and not too
    // often.
    let body = prop::collection::vec(prop::sample::select(&rows[..rows.len() - 1]), 0..14);
    let broken = prop::option::weighted(0.1, Just(rows[rows.len() - 1]));
    (body, broken, prop::sample::select(ends))
        .prop_map(|(body, broken, end)| body.into_iter().chain(broken).chain([end]).map(str::to_owned).collect())
        .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// The grammars of all three formats, the fold, cuts and waiting, over all directions: see
    /// [`Case::streams`].
    #[test]
    fn stream_folds_to_the_whole_response(
        (provider, frames) in prop::sample::select(&Format::ALL[..]).prop_flat_map(|provider| (Just(provider), frames(provider))),
        options: u8, seed: u64,
    ) {
        let stream: String = frames.iter().map(|frame| format!("data: {frame}\n\n")).collect();
        for client in Format::ALL {
            Case { client, provider, options }.streams(stream.as_bytes(), seed);
        }
    }

    #[test]
    fn arbitrary_bytes_are_survived(
        format in prop::sample::select(&Format::ALL[..]), noise in prop::collection::vec(any::<u8>(), 0..60), seed: u64,
        json in "[ -~]{0,60}",
    ) {
        let stream = [b"data: ", noise.as_slice(), b"\n\ndata: {", json.as_bytes(), b"}\n\n"].concat();
        for client in Format::ALL {
            Case { client, provider: format, options: 0 }.streams(&stream, seed);
        }
    }
}

//! What holds for any stream: fold, grammar, cuts.

use proptest::prelude::*;

use crate::canonical::codec::Encode;
use crate::canonical::event::Note;
use crate::error::Kind;
use crate::formats::messages::response;
use crate::formats::messages::stream::Encoder;
use crate::formats::messages::stream::tests::decoder::words;
use crate::formats::messages::stream::tests::encoder::interleaved;
use crate::formats::messages::stream::tests::*;
use crate::reasoning::envelope;
use crate::response::normalize::Normalizer;
use crate::response::whole::Answer;

/// A provider's stream through decoder, shape and encoder, and the fold of the same events.
fn pass(input: &[u8]) -> (Vec<u8>, Answer, Reply) {
    let (mut shape, mut reply) = (Normalizer::default(), reply());
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

/// A stream, folded as the client's SDK would fold it, is the whole answer that the client would
/// get.
#[test]
fn streams_fold_to_whole_answers() {
    let (out, answer, mut reply) = pass(stream(WHOLE).as_bytes());
    let words = describe(&out, true);
    assert!(words.starts_with("start(3+4/1) thinking t:hm  t:… s:llmp1.an."), "{words}");
    assert!(
        words.ends_with("text t:a\u{fffd} t:\u{fffd} . tool_usef p:{\"a\": p:1} . tool_use(3+4/20) end"),
        "{words}"
    );

    // Our own stream, read again as a provider's: the same answer, the envelope in the place of the
    // signature.
    let mut again = Answer::default();
    decode(&out, &mut |event| again.take(&event));
    let whole = written(&answer, &mut reply);
    assert_eq!(written(&again, &mut reply), whole);
    let expected = [
        r#"{"id":"msg_00000000000000000000000001","type":"message","role":"assistant","model":"asked","content":[{"type":"thinking","thinking":"hm \u2026","signature":"llmp1.an."#,
        r#"{"type":"text","text":"a\ud83d\ude00","citations":null},{"type":"tool_use","id":"t1","name":"f","input":{"a":1},"caller":{"type":"direct"}}],"stop_reason":"tool_use","stop_sequence":null,"stop_details":null,"container":null,"usage":{"input_tokens":3,"cache_read_input_tokens":4,"cache_creation_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":20,"output_tokens_details":{"thinking_tokens":0},"server_tool_use":null,"service_tier":"standard","inference_geo":null}}"#,
    ];
    assert!(whole.starts_with(expected[0]) && whole.ends_with(expected[1]), "{whole}");
    let signature = RawValue::new(whole.as_bytes()).find("content").unwrap().elements().next().unwrap().0;
    let opened = envelope::parse(signature.find("signature").unwrap().as_str().unwrap()).unwrap();
    assert!(opened.sealed.eq_str("sig") && opened.text.eq_str("hm …"));
    assert_eq!(reply.notes[Note::DroppedOutput as usize], 1);
}

/// The input is an object, whatever the model wrote.
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
        assert!(
            body.contains(&format!(
                r#""name":"f","input":{object},"caller":{{"type":"direct"}}}}],"stop_reason":"max_tokens""#
            )),
            "{body}"
        );
        assert_eq!(reply.notes[Note::InvalidArguments as usize], notes);
    }
}

/// Cut anywhere, a stream ends as an error and never as an answer.
#[test]
fn a_cut_is_no_end() {
    let whole = stream(WHOLE);
    let finish = whole.find(r#"data: {"type":"message_delta""#).unwrap();
    for cut in 0..whole.len() {
        let (out, answer, _) = pass(&whole.as_bytes()[..cut]);
        // From the end of the stop reason's line on, only the end mark is missing.
        if cut < finish {
            assert_eq!(answer.error.map(|e| e.kind), Some(Kind::UpstreamTruncated), "{cut}");
            assert!(describe(&out, false).ends_with("error:api_error"), "{cut}");
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

    /// Any frames in any order give a stream of the right grammar that ends, and that folds as it
    /// should.
    #[test]
    fn any_frames_make_a_valid_stream(frames in prop::collection::vec(frames(), 0..24)) {
        let input: String = frames.iter().map(|frame| format!("{frame}\n\n")).collect();
        let (out, answer, mut reply) = pass(input.as_bytes());
        describe(&out, true);
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
        describe(&pass(&input).0, true);
    }

    /// How the bytes were cut into frames of the same data says nothing.
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

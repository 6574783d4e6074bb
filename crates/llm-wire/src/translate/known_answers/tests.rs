use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::target::overrides::Overrides;
use crate::target::plan::{Context, SequentialIds, Target};
use crate::target::quirks::Host;
use crate::translate::Translator;

const MESSAGES: &[&str] = &[
    r#"{"id":"ID","type":"message","role":"assistant","model":"m-1","content":[{"type":"text","text":"TEXT"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":NUMBER,"output_tokens":NUMBER}}"#,
    r#"{"id":"ID","type":"message","model":"m-1","content":[{"type":"text","text":"TEXT"},{"text":"TEXT","type":"text"}],"stop_reason":"max_tokens","usage":{"input_tokens":NUMBER,"cache_read_input_tokens":NUMBER,"cache_creation_input_tokens":0,"output_tokens":NUMBER,"service_tier":"standard"}}"#,
    r#"{"id":"ID","type":"message","content":[{"type":"thinking","thinking":"TEXT","signature":"TEXT"},{"type":"text","text":"TEXT"}],"stop_reason":"end_turn","usage":{"input_tokens":NUMBER,"output_tokens":NUMBER}}"#,
    r#"{"id":"ID","type":"message","content":[{"type":"tool_use","id":"ID","name":"f","input":{"text":"TEXT"}}],"stop_reason":"tool_use","usage":{"input_tokens":NUMBER,"output_tokens":NUMBER}}"#,
    r#"{"id":"ID","type":"message","content":[{"type":"text","text":"TEXT"}],"stop_reason":null,"usage":{"input_tokens":NUMBER,"output_tokens":NUMBER}}"#,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"TEXT"}}"#,
    // The last member of a name counts, however the name is spelled.
    r#"{"id":"ID","type":"message","content":[{"type":"text","text":"TEXT"}],"stop_reason":"end_turn","usage":{"input_tokens":NUMBER,"output_tokens":NUMBER},"usag\u0065":{"input_tokens":3,"output_tokens":4}}"#,
    r#"{"id":"ID","content":[{"type":"text","text":"TEXT"}],"content":[{"type":"text","text":"TEXT"}],"stop_reason":"end_turn","usage":{"input_tokens":NUMBER,"output_tokens":NUMBER}}"#,
];

const CHAT: &[&str] = &[
    r#"{"id":"ID","object":"chat.completion","created":NUMBER,"model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"TEXT","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":NUMBER,"completion_tokens":NUMBER,"total_tokens":NUMBER}}"#,
    r#"{"id":"ID","choices":[{"message":{"content":"TEXT","reasoning_content":"TEXT"},"finish_reason":"length"}],"usage":{"prompt_tokens":NUMBER,"completion_tokens":NUMBER,"prompt_tokens_details":{"cached_tokens":NUMBER}}}"#,
    r#"{"id":"ID","choices":[{"message":{"content":"TEXT"},"finish_reason":"stop"},{"message":{"content":"TEXT"},"finish_reason":"stop"}],"usage":{"prompt_tokens":NUMBER,"completion_tokens":NUMBER}}"#,
    r#"{"id":"ID","choices":[{"message":{"content":"TEXT"},"finish_reason":"content_filter"}]}"#,
];

const TEXTS: &[&str] = &[
    "plain",
    "",
    " ",
    r"\n\t",
    "\u{a0}",
    " space around ",
    r#"\"usage\":{\"input_tokens\":1}"#,
    "é and \\u00e9\\ud83d\\ude00",
    "<think>a</think>b",
    "of text 0000, in its place",
    "STOP here",
    "a text that is longer than the others, as answers are, and goes on for more than one line of them",
    "\n",
    "\",\"x\":\"",
];

const NUMBERS: &[&str] = &["0", "7", "123", "1500000000", "99999999999999999999", "01", "1.5", "null"];
const IDS: &[&str] = &["msg_1", "msg_another", "", "msg_1"];

fn plan(client: Format, provider: Format, odd: usize) -> Plan {
    let target = Target::new(provider, Host::Unknown, "m", "p", &Overrides::default());
    let mut plan = Plan::new(client, RawValue::new(b"{}"), &Context::new(target, "asked"));
    match odd {
        1 => plan.stops.push("STOP".into()),
        2 => plan.model = "another".into(),
        3 => plan.legacy_functions = true,
        _ => {}
    }
    plan
}

/// What is seen of a translator when it has ended.
fn shown(translator: &mut Translator, result: Result<(), Error>, out: &[u8]) -> String {
    let notes: Vec<_> = translator.notes().collect();
    let captured = translator.captured();
    format!(
        "{:?} {} {:?} {:?} {:?} {:?} {:?} {} {:?} {:?}",
        result.map_err(|error| (error.kind, error.note)),
        String::from_utf8_lossy(out),
        translator.phase(),
        translator.usage(),
        translator.reason(),
        translator.model(),
        notes,
        translator.has_content(),
        captured,
        translator.failure().map(|error| error.kind),
    )
}

/// Translates an answer by `known` and without it, and compares. Returns whether it was known.
fn check(known: &mut KnownAnswers, plan: &Plan, body: &str, number: u64) -> bool {
    let translate = |known: Option<&mut KnownAnswers>| {
        let reply = Reply::new(plan.clone(), Box::new(SequentialIds(number)), "r");
        let (mut translator, mut out) = (Translator::new(reply), b"before".to_vec());
        let result = match known {
            Some(known) => translator.whole_body(known, body.as_bytes(), &mut out),
            None => translator.body(body.as_bytes(), &mut out),
        };
        let result = result.and_then(|()| translator.end(&mut out));
        // Of an answer that is known no item was read.
        let is_known = translator.has_content() && translator.shape.items() == 0;
        (shown(&mut translator, result, &out), is_known)
    };
    let (found, is_known) = translate(Some(known));
    assert_eq!(found, translate(None).0, "{body}");
    is_known
}

fn filled(body: &str, text: &str, number: &str, id: &str) -> String {
    body.replace("TEXT", text).replace("NUMBER", number).replace("ID", id)
}

#[test]
fn answers_of_texts_are_known_by_their_structure() {
    let rows = [
        (Format::Messages, MESSAGES, &[true, true, false, false, false, false, false, false][..]),
        (Format::Chat, CHAT, &[true, false, false, false]),
    ];
    for (provider, bodies, expected) in rows {
        for client in Format::ALL.into_iter().filter(|client| *client != provider) {
            for (body, is_text) in bodies.iter().zip(expected) {
                let mut known = KnownAnswers::default();
                let plan = plan(client, provider, 0);
                check(&mut known, &plan, &filled(body, "a", "12", "msg_1"), 1);
                let found = check(&mut known, &plan, &filled(body, "other\\n", "3456", "msg_22"), 2);
                assert_eq!(found, *is_text && client != Format::Responses, "{client} {body}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever came before, an answer is translated as if nothing had.
    #[test]
    fn a_known_answer_is_translated_as_a_new_one(
        is_chat in any::<bool>(),
        client in 0..3usize,
        bodies in prop::collection::vec((0..8usize, 0..4usize), 1..3),
        steps in prop::collection::vec((0..3usize, 0..TEXTS.len(), 0..NUMBERS.len(), 0..IDS.len()), 1..50),
    ) {
        let (provider, list) = if is_chat { (Format::Chat, CHAT) } else { (Format::Messages, MESSAGES) };
        let client = Format::ALL[client];
        prop_assume!(client != provider);
        let mut known = KnownAnswers::default();
        for (number, (body, text, count, id)) in (0..).zip(steps) {
            let (body, odd) = bodies[body % bodies.len()];
            let body = filled(list[body % list.len()], TEXTS[text], NUMBERS[count], IDS[id]);
            check(&mut known, &plan(client, provider, odd), &body, number);
        }
    }
}

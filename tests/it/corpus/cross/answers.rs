//! Recorded answers, whole and streamed, for clients of the two other formats, whole and streamed:
//! text, calls, finish, usage and reasoning are those that the provider gave, and the stream keeps
//! every rule of its format.

use std::collections::BTreeMap;

use llm_wire::Format;
use llm_wire::error::classify;
use llm_wire::error::{Error, Kind};
use llm_wire::formats::errors;
use llm_wire::json::RawValue;
use llm_wire::sse::Framer;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Plan, Reply, SequentialIds, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate::Translator;
use serde_json::Value;

use super::super::row::Row;
use super::super::{corpus, say};
use super::{CONVERSATIONS, others};
use crate::support::crossed::{crossed, differences};
use crate::support::output::{self, Output};

/// Rows under status 200 that hold no complete response, the error that the client must get, and
/// the reason.
const FAILED: &[(&str, Kind, &str)] = &[
    ("29a1983244848dba", Kind::UpstreamFault, "no answer at all: a server of the recorders that echoes the request"),
    ("b100fe03f7d41779", Kind::InvalidRequest, "an error event in mid stream"),
    ("dd0feb1915d40853", Kind::ContentFilter, "Azure's refusal of the prompt, recorded with status 200"),
    ("44ee567f885761c7", Kind::UpstreamFault, "a chat completion, labelled responses by its folder"),
    ("9da06f9839c73a9e", Kind::Billing, "an error event after response.created"),
    ("5a6c0f2e69872a22", Kind::UpstreamTruncated, "the recording ends in mid stream"),
    ("ef19d487bdb238d8", Kind::UpstreamFault, "queued: the answer is still to come, and is asked for by its id"),
    ("96b14978bb30d0db", Kind::UpstreamFault, "queued, as above"),
    ("c1fab5af59f434b1", Kind::UpstreamFault, "queued, as above"),
    ("d1c1d76e5d14f4fc", Kind::UpstreamFault, "queued, as above"),
    ("eb6fdd90cfc4ac67", Kind::UpstreamFault, "queued, as above"),
    ("f536f111f489099c", Kind::UpstreamFault, "queued, as above"),
];

/// Rows of which one thing is not compared, and why.
const EXCUSED: &[(&str, &str, &str)] = &[(
    "cfde4e007746b05e",
    "text",
    "shortened by hand: its deltas end where the text of its `done` events goes on, and what was streamed cannot be taken back",
)];

/// Answers in the corpus as it is today, each tried for two formats: fewer mean that something was
/// lost.
const KEPT: &[(Format, usize)] = &[(Format::Chat, 626), (Format::Messages, 376), (Format::Responses, 621)];

#[test]
fn recorded_answers_mean_the_same_in_every_format() {
    let Some(dir) = corpus() else { return };
    let rows: Vec<Row> = Row::all(&dir.join("dev.jsonl"));
    let (mut tally, mut failures) = (Tally::new(), Vec::new());
    for row in rows.iter().filter(|row| row.status == 200 && CONVERSATIONS.contains(&row.protocol.as_str())) {
        let Some(protocol) = row.protocol() else { continue };
        for client in others(protocol.format) {
            let (count, failed) = tally.entry((protocol.format.name(), client.name())).or_default();
            let wrong = check(row, protocol.format, client);
            (*count, *failed) = (*count + 1, *failed + usize::from(!wrong.is_empty()));
            failures.extend(wrong.iter().map(|why| format!("{} {} for {client}: {why}", row.protocol, row.id)));
        }
    }
    for ((from, to), (count, failed)) in &tally {
        say(&format!("corpus: {count} {from} answers for {to} clients, {failed} wrong"));
        let (_, kept) = KEPT.iter().find(|(format, _)| format.name() == *from).unwrap();
        assert!(count >= kept, "{count} {from} answers are fewer than the {kept} there were");
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

/// What providers say under an error status reaches clients of every format as an error of their
/// own, with the words and a fitting status.
#[test]
fn recorded_errors_mean_the_same_in_every_format() {
    let Some(dir) = corpus() else { return };
    let mut tried = 0;
    for row in Row::all(&dir.join("dev.jsonl")) {
        let Some(protocol) = row.protocol().filter(|p| row.status >= 400 && CONVERSATIONS.contains(&p.name)) else {
            continue;
        };
        let body = row.answer();
        let read = errors::read_refusal(protocol.format, &body).unwrap_or_else(|| panic!("{}: not read", row.id));
        let failure = classify::error(Some(row.status), &read);
        // The key in the provider's row is not the client's.
        let refused_key = failure.kind == Kind::UpstreamAuth;
        for client in others(protocol.format) {
            let status = errors::status(client, failure.kind);
            // Some hosts say 400 where others say 404.
            let unknown_model = failure.kind == Kind::ModelNotFound;
            let expected = if refused_key {
                502
            } else if unknown_model {
                404
            } else {
                row.status
            };
            let billing = failure.kind == Kind::Billing && status == 402 && client == Format::Messages;
            assert!(status == expected || billing, "{}: {status} for {client}, expected {expected}", row.id);
            let mut out = Vec::new();
            errors::body(client, &mut out, &failure, "req_1");
            let displayed: Value = serde_json::from_slice(&out).unwrap();
            let message = displayed["error"]["message"].as_str().unwrap();
            let words = if refused_key { "upstream authentication failed".into() } else { read.message.unescape() };
            let words: String = words.chars().take(2000).collect();
            assert!(!words.is_empty() && message.ends_with(&words), "{}: {message}", row.id);
        }
        tried += 1;
    }
    say(&format!("corpus: {tried} errors for clients of the two other formats"));
    assert!(tried >= 63, "{tried} errors are fewer than there were");
}

/// By formats of provider and client: tried, and wrong.
type Tally = BTreeMap<(&'static str, &'static str), (usize, usize)>;

/// All that is wrong with this answer for this client.
fn check(row: &Row, from: Format, to: Format) -> Vec<String> {
    let (whole, stream) = (translate(row, from, to, false), translate(row, from, to, true));
    if let Some((_, kind, _)) = FAILED.iter().find(|(id, ..)| *id == row.id) {
        return check_failure(*kind, to, whole, stream);
    }
    let answer = row.answer();
    let recorded: Output = match row.stream {
        true => output::stream(from, &answer).output,
        false => output::whole(from, &serde_json::from_slice(&answer).unwrap()),
    };
    let expected = crossed(from, to, &recorded);
    let (whole, stream) = match (whole, stream) {
        (Ok(whole), Ok(stream)) => (whole, stream),
        // A picture alone is no empty response.
        (Err(error), _) | (_, Err(error)) if error.to_string().contains("output that cannot be shown") => {
            return Vec::new();
        }
        (Err(error), _) | (_, Err(error)) => return vec![format!("an error: {error}")],
    };
    let whole = output::whole(to, &serde_json::from_slice(&whole).unwrap());
    let streamed = output::stream(to, &stream);
    let excused = |why: &String| EXCUSED.iter().any(|(id, what, _)| *id == row.id && why.starts_with(what));
    let wrong = |got: &Output| differences(&expected, got).into_iter().filter(|why| !excused(why));
    let mut out: Vec<String> = wrong(&whole).map(|why| format!("whole: {why}")).collect();
    out.extend(wrong(&streamed.output).map(|why| format!("stream: {why}")));
    out.extend(streamed.faults.into_iter().map(|fault| format!("stream: {fault}")));
    out.extend(streamed.errors.into_iter().map(|error| format!("stream: {error}")));
    // The fold law, with reasoning and all.
    out.extend(differences(&whole, &streamed.output).into_iter().map(|why| format!("stream against whole: {why}")));
    out
}

/// A failure is a status while nothing was sent, and an event after that; never a proper end.
fn check_failure(kind: Kind, to: Format, whole: Result<Vec<u8>, Error>, stream: Result<Vec<u8>, Error>) -> Vec<String> {
    let mut out = Vec::new();
    match whole {
        Err(error) if error.kind == kind => {}
        other => out.push(format!("whole: {other:?}, expected {kind:?}")),
    }
    match stream {
        Err(error) if error.kind == kind => {}
        Ok(stream) => {
            let streamed = output::stream(to, &stream);
            let ended = to != Format::Responses && streamed.ends > 0;
            if streamed.errors.len() != 1 || ended || !streamed.faults.is_empty() {
                out.push(format!("stream: {} ends, {:?}, {:?}", streamed.ends, streamed.errors, streamed.faults));
            }
        }
        Err(error) => out.push(format!("stream: {error}, expected {kind:?}")),
    }
    out
}

/// The recorded answer for a client that asked for a stream or not.
fn translate(row: &Row, from: Format, to: Format, stream: bool) -> Result<Vec<u8>, Error> {
    let host = if from == Format::Messages { Host::Anthropic } else { Host::OpenAi };
    let target = Target::new(from, host, "model", "corpus", &Overrides::default());
    let mut plan = Plan::new(to, RawValue::new(b"{}"), &Context::new(target, "asked"));
    (plan.stream, plan.include_usage) = (stream, true);
    let mut translator = Translator::new(Reply::new(plan, Box::new(SequentialIds::default()), "req_1"));
    let (answer, mut out) = (row.answer(), Vec::new());
    if !row.stream {
        translator.body(&answer, &mut out)?;
        return Ok(out);
    }
    let (mut framer, mut rest) = (Framer::default(), answer.as_slice());
    while let Some(block) = framer.next(&mut rest).unwrap() {
        block.frame.map_or(Ok(()), |frame| translator.frame(frame, &mut out))?;
    }
    if let Some(frame) = framer.finish().and_then(|block| block.frame) {
        translator.frame(frame, &mut out)?;
    }
    translator.end(&mut out)?;
    Ok(out)
}

//! Recorded requests for providers of the two other formats, of several hosts and models: each is
//! what the target demands, or is refused by a rule that stands in the table below.

use std::collections::BTreeMap;

use llm_wire::Format;
use llm_wire::error::Error;
use llm_wire::formats::errors;
use llm_wire::target::overrides::Overrides;
use llm_wire::target::plan::{Context, Target};
use llm_wire::target::quirks::Host;
use llm_wire::translate;
use serde_json::Value;

use super::super::row::Row;
use super::super::{corpus, say};
use super::CONVERSATIONS;
use crate::support::demands;

/// Who is asked: one of each kind that differs in what it takes.
const TARGETS: &[(Format, Host, &str)] = &[
    (Format::Chat, Host::OpenAi, "gpt-4.1"),
    (Format::Chat, Host::OpenAi, "o3"),
    (Format::Chat, Host::DeepSeek, "deepseek-chat"),
    (Format::Chat, Host::Unknown, "llama"),
    (Format::Messages, Host::Anthropic, "claude-opus-5"),
    (Format::Messages, Host::Anthropic, "claude-sonnet-4-5"),
    (Format::Messages, Host::Bedrock, "anthropic.claude-sonnet-4-5"),
    (Format::Responses, Host::OpenAi, "gpt-5.2"),
    (Format::Responses, Host::OpenAi, "gpt-4.1"),
    (Format::Responses, Host::Vllm, "qwen"),
];

/// Why a request may be refused: words of the message, and the heading that demands it, of
/// `docs/internals/translation.md` or `docs/internals/translation/requests.md`.
const RULES: &[(&str, &str)] = &[
    ("the tool `", "Tools that run at a vendor: the only tool, or forced"),
    ("the computer tool", "Refused instead of dropped: computer"),
    ("`n` above 1", "Refused instead of dropped: n"),
    ("`previous_response_id`", "State at a provider"),
    ("`conversation`", "State at a provider"),
    ("`background`", "State at a provider"),
    ("an item of type `item_reference`", "Refused instead of dropped: item_reference"),
    ("of type `compaction`", "Refused instead of dropped: compaction"),
    ("a moderation policy that blocks", "Refused instead of dropped: moderation"),
    ("an output other than text", "Refused instead of dropped: audio output"),
    ("the conversation ends with a message of the assistant", "Conversations that end with the assistant"),
    ("must hold at least one message", "Conversations without a turn"),
    ("audio", "Content parts: audio"),
    ("an image by its URL", "Content parts: URLs"),
    ("a file by its URL", "Content parts: URLs"),
    ("file id of another provider", "Content parts: file ids"),
    ("the URL of a file", "Content parts: file URLs"),
    ("a file (`", "Content parts: PDF"),
    ("a file of type", "Content parts: documents"),
];

/// Recorded requests that no translation can take, and why.
const MALFORMED: &[(&str, &str)] = &[
    ("31ac63882eeb8b65", "content parts without a type; OpenAI refused it as well"),
    ("a188622b314bfe88", "a message that is a string; Anthropic refused it as well"),
    ("4368f177dc3fb061", "names a stored prompt instead of a model, and a gateway chooses the provider by the model"),
    ("02f8aba9bebfcc60", "a stored prompt instead of a model, as above"),
    ("843d12a04999c970", "a stored prompt instead of a model, as above"),
    ("2738d150e90a68f6", "a stored prompt instead of a model, as above"),
    ("b51c7c71c49af3dc", "a stored prompt instead of a model, as above"),
    ("470e903dab853434", "a stored prompt instead of a model, as above"),
];

/// Recorded requests that break a demand of the target because they broke it at their own provider.
const EXCUSED: &[(&str, &str, &str)] = &[(
    "883b9d4b15fa7ef3",
    "input: is empty",
    "no messages at all; OpenAI refused it as well, and that is theirs to say",
)];

/// Requests in the corpus as it is today, each tried for every target of the other formats.
const KEPT: &[(Format, usize)] = &[(Format::Chat, 662), (Format::Messages, 385), (Format::Responses, 639)];

#[test]
fn recorded_requests_are_what_every_provider_takes() {
    let Some(dir) = corpus() else { return };
    let (mut tally, mut refused, mut failures) = (Tally::new(), BTreeMap::new(), Vec::new());
    for row in Row::all(&dir.join("dev.jsonl")) {
        let Some(protocol) = row.protocol().filter(|protocol| CONVERSATIONS.contains(&protocol.name)) else { continue };
        let body = row.request(protocol);
        let malformed = MALFORMED.iter().any(|(id, _)| *id == row.id);
        for (at, target) in TARGETS.iter().enumerate().filter(|(_, (format, ..))| *format != protocol.format) {
            let count = tally.entry((protocol.format.name(), at)).or_default();
            count.tried += 1;
            let name = format!("{} {} for {} {} {}", row.protocol, row.id, target.0, target.1.name(), target.2);
            match sent(protocol.format, &body, *target) {
                Ok(_) if malformed => failures.push(format!("{name}: taken, but listed as malformed")),
                Ok(sent) => {
                    count.taken += 1;
                    let broken = demands::broken(target.0, target.1.is_native(), &sent);
                    let excused = |fault: &&String| EXCUSED.iter().any(|(id, what, _)| *id == row.id && fault == what);
                    failures
                        .extend(broken.iter().filter(|fault| !excused(fault)).map(|fault| format!("{name}: {fault}")));
                }
                Err(error) if malformed && errors::status(protocol.format, error.kind) == 400 => count.malformed += 1,
                Err(error) => match rule(&error, &body) {
                    Some(rule) => *refused.entry(rule).or_insert(0) += 1,
                    None => failures.push(format!("{name}: {:?} {}", error.param, error.note)),
                },
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    report(&tally, &refused);
}

/// What Claude Code, Codex and others sent: every target takes it, or refuses it by a rule. Long
/// texts in it were cut by the recorder.
#[test]
fn requests_of_real_clients_are_what_every_provider_takes() {
    let Some(dir) = corpus() else { return };
    let text = std::fs::read_to_string(dir.join("clients.jsonl")).unwrap();
    let (mut tried, mut failures) = (0, Vec::new());
    for (at, line) in text.lines().enumerate() {
        let recorded: Value = serde_json::from_str(line).unwrap();
        let path = recorded["path"].as_str().unwrap().split('?').next().unwrap();
        let posted = recorded["method"] == "POST";
        let Some((_, from)) = ENDPOINTS.iter().find(|(own, _)| posted && *own == path) else { continue };
        let body = recorded["body"].to_string();
        for target in TARGETS.iter().filter(|(format, ..)| format != from) {
            tried += 1;
            let broken = match sent(*from, &body, *target) {
                Ok(sent) => demands::broken(target.0, target.1.is_native(), &sent),
                Err(error) if rule(&error, &body).is_some() => Vec::new(),
                Err(error) => vec![format!("{:?} {}", error.param, error.note)],
            };
            let name = format!("line {} of {} for {} {}", at + 1, recorded["client"], target.0, target.2);
            failures.extend(broken.into_iter().map(|fault| format!("{name}: {fault}")));
        }
    }
    say(&format!("corpus: {tried} translations of requests of real clients"));
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    assert!(tried >= 750, "{tried} are fewer than there were");
}

/// Where clients of each format send their conversations.
const ENDPOINTS: &[(&str, Format)] =
    &[("/v1/chat/completions", Format::Chat), ("/v1/messages", Format::Messages), ("/v1/responses", Format::Responses)];

/// By the client's format and the target's place.
type Tally = BTreeMap<(&'static str, usize), Count>;

#[derive(Default)]
struct Count {
    tried: usize,
    taken: usize,
    malformed: usize,
}

fn sent(from: Format, body: &str, (format, host, model): (Format, Host, &str)) -> Result<Value, Error> {
    let target = Target::new(format, host, model, "corpus", &Overrides::default());
    let encoded = translate::request(from, body.as_bytes(), &Context::new(target, "asked"))?;
    Ok(serde_json::from_slice(&encoded.body).unwrap())
}

/// The row that demands this error for this request.
fn rule(error: &Error, body: &str) -> Option<&'static str> {
    if error.kind.row().status != 400 || error.param.is_none() {
        return None;
    }
    let (words, rule) = RULES.iter().find(|(words, _)| error.note.contains(words))?;
    // Beside other tools, and not forced, a server tool is dropped instead.
    let needless = words.starts_with("the tool") && is_one_offer_of_many(&serde_json::from_str(body).unwrap());
    (!needless).then_some(*rule)
}

fn is_one_offer_of_many(body: &Value) -> bool {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let own = |tool: &Value| matches!(tool["type"].as_str(), None | Some("function" | "custom" | "namespace"));
    let chosen = match &body["tool_choice"] {
        Value::Null => "auto",
        Value::String(word) => word,
        choice => choice["type"].as_str().unwrap_or_default(),
    };
    tools.iter().any(own) && matches!(chosen, "auto" | "none")
}

fn report(tally: &Tally, refused: &BTreeMap<&str, usize>) {
    for ((from, at), count) in tally {
        let (format, host, model) = TARGETS[*at];
        let Count { tried, taken, malformed } = count;
        let by_rule = tried - taken - malformed;
        say(&format!(
            "corpus: {tried} {from} requests for {format} {} {model}: {taken} sent, {by_rule} refused by rule, {malformed} malformed",
            host.name()
        ));
        let kept = KEPT.iter().find(|(format, _)| format.name() == *from).map_or(0, |(_, kept)| *kept);
        assert!(*tried >= kept, "{tried} {from} requests are fewer than the {kept} there were");
    }
    for (_, rule) in RULES {
        assert!(refused.contains_key(rule), "no row needs the rule `{rule}`");
    }
    for (rule, count) in refused {
        say(&format!("corpus: {count} requests refused by {rule}"));
    }
}

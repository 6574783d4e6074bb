//! What real clients sent to a gateway, sent to this one: each request gets an answer that is right
//! for its path.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use llm_wire::Format;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::rules::Word;
use super::{corpus, gateway, say};
use crate::support::sample::{self, Sample};
use crate::support::{Client, Fake, Gateway, KEY, Outgoing, Request, Response, answer, post};

/// Requests in the corpus as it is today.
const KEPT: usize = 169;

/// What answers a request.
enum Right {
    /// The provider, which is asked for this; whole, or as a stream.
    Relayed(&'static str, Option<&'static Sample>),
    /// The gateway, with this status and no body.
    Empty(u16),
    /// The gateway, with the models, in the words of the client's family.
    Models,
    Model(&'static str),
    /// The gateway, with an error in this format.
    Error(u16, Format, Word),
}

const NO_STATE: Word = Word { openai: "not_supported", anthropic: "not_found_error" };
const NO_PATH: Word = Word { openai: "not_found", anthropic: "not_found_error" };
const NO_WEBSOCKET: Word = Word { openai: "websocket_not_supported", anthropic: "invalid_request_error" };
/// `code` is null where OpenAI has none either.
const NO_MODEL: Word = Word { openai: "null", anthropic: "invalid_request_error" };

const COUNT: &str = r#"{"input_tokens":7}"#;
const COUNT_RESPONSES: &str = r#"{"object":"response.input_tokens","input_tokens":7}"#;
const EMBEDDINGS: &str =
    r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAAAA=="}],"model":"m"}"#;

/// Path without its query, and what is right for it. Every line has requests, and every request a
/// line.
const TABLE: &[(&str, &str, Right)] = &[
    ("HEAD", "/", Right::Empty(200)),
    ("HEAD", "/gw", Right::Empty(404)),
    ("GET", "/v1/models", Right::Models),
    ("GET", "/v1/models/m", Right::Model("m")),
    ("GET", "/v1/models/a%2Fb", Right::Model("a/b")),
    ("POST", "/v1/chat/completions", Right::Relayed(sample::CHAT.answer, Some(&sample::CHAT))),
    ("POST", "/v1/completions", Right::Relayed(sample::COMPLETIONS.answer, Some(&sample::COMPLETIONS))),
    ("POST", "/v1/embeddings", Right::Relayed(EMBEDDINGS, None)),
    ("POST", "/v1/messages", Right::Relayed(sample::MESSAGES.answer, Some(&sample::MESSAGES))),
    ("POST", "/v1/messages/count_tokens", Right::Relayed(COUNT, None)),
    ("POST", "/v1/responses", Right::Relayed(sample::RESPONSES.answer, Some(&sample::RESPONSES))),
    ("POST", "/v1/responses/input_tokens", Right::Relayed(COUNT_RESPONSES, None)),
    // Codex tries this first, and falls back to POST at once only when it reads 426.
    ("GET", "/v1/responses", Right::Error(426, Format::Responses, NO_WEBSOCKET)),
    ("GET", "/v1/responses/resp_1", Right::Relayed(sample::RESPONSES.answer, None)),
    ("GET", "/v1/responses/resp_1/input_items", Right::Relayed(sample::RESPONSES.answer, None)),
    ("DELETE", "/v1/responses/resp_1", Right::Relayed(sample::RESPONSES.answer, None)),
    ("POST", "/v1/responses/resp_1/cancel", Right::Relayed(sample::RESPONSES.answer, None)),
    ("POST", "/v1/responses/compact", Right::Relayed(sample::RESPONSES.answer, None)),
    ("POST", "/v1/conversations", Right::Error(404, Format::Responses, NO_STATE)),
    ("POST", "/v1/messages/batches", Right::Error(404, Format::Messages, NO_STATE)),
    // OpenAI has a default model here. A gateway has none, and its error names the missing member.
    ("POST", "/v1/moderations", Right::Error(400, Format::Chat, NO_MODEL)),
    // A base URL with a path that this gateway does not have.
    ("POST", "/gw/v1/messages", Right::Error(404, Format::Messages, NO_PATH)),
];

/// Headers of the recorded clients that reach a provider; all others are between the client and the
/// gateway.
const FORWARDED: &[&str] = &[
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "openai-beta",
    "user-agent",
    "x-app",
    "x-claude-code-session-id",
    "x-session-affinity",
    "x-session-id",
];
/// Headers that the gateway writes itself.
const OWN: &[&str] = &["authorization", "x-api-key", "host", "content-length", "accept-encoding"];

#[derive(Deserialize)]
struct Recorded {
    client_version: String,
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    header_order: Vec<String>,
    body: Option<Box<RawValue>>,
    replied: Replied,
}

/// What the recording gateway answered.
#[derive(Deserialize)]
struct Replied {
    status: u16,
}

impl Recorded {
    fn all(file: &Path) -> Vec<Recorded> {
        let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn body(&self) -> &str {
        self.body.as_ref().map_or("", |body| body.get())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn streams(&self) -> bool {
        let body: Value = serde_json::from_str(self.body()).unwrap_or_default();
        body["stream"] == true
    }

    fn right(&self) -> Option<usize> {
        let path = self.path.split('?').next().unwrap();
        TABLE.iter().position(|(method, own, _)| *method == self.method && *own == path)
    }

    fn format(&self) -> Format {
        match &self.path {
            path if path.contains("/messages") => Format::Messages,
            path if path.contains("/responses") => Format::Responses,
            _ => Format::Chat,
        }
    }

    /// As it was recorded, in its order, with this test's key in the place of the client's.
    fn outgoing(&self) -> Outgoing {
        let mut request = post(&self.path).method(&self.method);
        for name in &self.header_order {
            let value = &self.headers[name];
            match &*name.to_ascii_lowercase() {
                "host" | "content-length" => {}
                "authorization" => request = request.header(name, &format!("Bearer {KEY}")),
                "x-api-key" => request = request.header(name, KEY),
                _ => request = request.header(name, value),
            }
        }
        for name in ["authorization", "content-type"] {
            if self.header(name).is_none() {
                request = request.header(name, "");
            }
        }
        if self.body.is_some() { request.body(self.body()) } else { request }
    }

    /// The provider's response: an error where the recording has one.
    fn answer(&self, whole: &str, sample: Option<&Sample>) -> Vec<u8> {
        match (self.replied.status, sample) {
            // A 404 means that the recording gateway did not have the path.
            (200 | 404, Some(sample)) if self.streams() => answer::sse(&sample.events()),
            (200 | 404, _) => answer::json(200, whole),
            (status, _) => answer::with(status, &[("content-type", "application/json"), ("retry-after", "1")], FAILURE),
        }
    }
}

const FAILURE: &str = r#"{"type":"error","error":{"type":"some_error","message":"as a provider says it","code":null}}"#;

#[test]
fn recorded_clients_get_answers_right_for_their_paths() {
    let Some(dir) = corpus() else { return };
    let all = Recorded::all(&dir.join("clients.jsonl"));
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let fake = Fake::answering({
        let answer = answer.clone();
        move |_| answer.lock().unwrap().clone()
    });
    let url = |path: &str| fake.url(path);
    let gateways = Format::ALL.map(|format| gateway(&url, format, r#"{"m":"m","a/b":"a/b","*":"*"}"#));
    let mut clients = gateways.each_ref().map(Gateway::client);
    let mut counts = vec![0; TABLE.len()];
    let mut failures = Vec::new();
    for request in &all {
        let what = format!("{} {} of {}", request.method, request.path, request.client_version);
        let Some(line) = request.right() else {
            failures.push(format!("{what}: nothing is said of it"));
            continue;
        };
        counts[line] += 1;
        let no_model = Right::Error(400, Format::Responses, NO_MODEL);
        let is_compact_without_model = request.path.ends_with("/compact") && !request.body().contains("\"model\"");
        let right = if is_compact_without_model { &no_model } else { &TABLE[line].2 };
        if let Right::Relayed(whole, sample) = right {
            *answer.lock().unwrap() = request.answer(whole, *sample);
        }
        let before = fake.requests().len();
        let of = request.format() as usize;
        let response = exchange(&gateways[of], &mut clients[of], request);
        let received = fake.requests().split_off(before);
        if let Err(why) = check(request, right, &response, &received) {
            failures.push(format!("{what}: {why}\n  {} {}", response.status, String::from_utf8_lossy(&response.body)));
        }
    }
    report(&counts);
    assert!(failures.is_empty(), "{} requests failed:\n{}", failures.len(), failures.join("\n"));
    assert!(all.len() >= KEPT, "{} requests, there were {KEPT}", all.len());
}

fn report(counts: &[usize]) {
    let mut text = "corpus, clients:".to_owned();
    for ((method, path, right), count) in TABLE.iter().zip(counts) {
        let right = match right {
            Right::Relayed(..) => "relayed".to_owned(),
            Right::Empty(status) | Right::Error(status, ..) => status.to_string(),
            Right::Models | Right::Model(_) => "200".to_owned(),
        };
        text += &format!("\n  {count:3} {method} {path}: {right}");
    }
    say(&text);
    for ((method, path, _), count) in TABLE.iter().zip(counts) {
        assert!(*count > 0, "no request of {method} {path}");
    }
}

fn exchange(gateway: &Gateway, client: &mut Client, request: &Recorded) -> Response {
    client.ask(&request.outgoing());
    let response = if request.method == "HEAD" { client.bodiless() } else { client.response() };
    if response.header("connection") == Some("close") {
        *client = gateway.client();
    }
    response
}

type Checked = Result<(), String>;

fn check(request: &Recorded, right: &Right, response: &Response, heard: &[Request]) -> Checked {
    if !matches!(right, Right::Relayed(..)) && !heard.is_empty() {
        return Err("a provider was asked".to_owned());
    }
    let is = |what: &str, so: bool| if so { Ok(()) } else { Err(format!("{what} is wrong")) };
    match right {
        Right::Relayed(whole, sample) => {
            check_heard(request, heard)?;
            check_relayed(request, whole, *sample, response)
        }
        Right::Empty(status) => is("status", response.status == *status),
        Right::Models => {
            let body = response.json();
            is("status", response.status == 200)?;
            is("list", body["data"].as_array().is_some_and(|list| list.iter().any(|model| model["id"] == "m")))?;
            match request.header("anthropic-version") {
                Some(_) => is("page", body["has_more"] == false && body["first_id"] == "a/b" && body["last_id"] == "m"),
                None => is("page", body["object"] == "list" && body.get("has_more").is_none()),
            }
        }
        Right::Model(id) => {
            let body = response.json();
            is("status", response.status == 200)?;
            let (key, value) = match request.header("anthropic-version") {
                Some(_) => ("type", "model"),
                None => ("object", "model"),
            };
            is("model", body["id"] == *id && body[key] == value)
        }
        Right::Error(status, format, word) => {
            let body = response.json();
            is("status", response.status == *status)?;
            is("content type", response.header("content-type") == Some("application/json"))?;
            match format {
                Format::Messages => is("error", body["type"] == "error" && body["error"]["type"] == word.anthropic),
                _ if word.openai == "null" => is("error", body["error"]["code"] == json!(null)),
                _ => is("error", body["error"]["code"] == word.openai && body.get("type").is_none()),
            }
        }
    }
}

/// The request arrived as it was sent, save for what is the gateway's.
fn check_heard(request: &Recorded, received: &[Request]) -> Checked {
    let [received] = received else { return Err(format!("the provider was asked {} times", received.len())) };
    if received.method != request.method
        || received.target != request.path
        || received.body != request.body().as_bytes()
    {
        return Err(format!(
            "the provider was asked {} {} {:?}",
            received.method,
            received.target,
            String::from_utf8_lossy(&received.body)
        ));
    }
    for (name, value) in &request.headers {
        let lower = name.to_ascii_lowercase();
        let expected = FORWARDED.contains(&&*lower).then_some(value.as_str());
        if !OWN.contains(&&*lower) && received.header(name) != expected {
            return Err(format!("the provider was sent {name}: {:?}, not {expected:?}", received.header(name)));
        }
    }
    Ok(())
}

fn check_relayed(request: &Recorded, whole: &str, sample: Option<&Sample>, response: &Response) -> Checked {
    let (status, body) = match (request.replied.status, sample) {
        // The provider refused the gateway's key, which must not reach the client as a refusal of
        // the client's own.
        (401, _) => {
            let says_so = response.text().contains("upstream authentication failed");
            return if response.status == 502 && says_so { Ok(()) } else { Err("502 was expected".to_owned()) };
        }
        (200 | 404, Some(sample)) if request.streams() => (200, sample.events().concat()),
        (200 | 404, _) => (200, whole.to_owned()),
        (status, _) if response.header("retry-after") == Some("1") => (status, FAILURE.to_owned()),
        (status, _) => return Err(format!("{status} without its retry-after")),
    };
    if response.status != status || response.body != body.as_bytes() {
        return Err(format!("{status} was expected, with the provider's bytes"));
    }
    Ok(())
}

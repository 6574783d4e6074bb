//! One row for a replay: the client's request, the request that the upstream must get, its
//! response, and the response that the client must get.

use serde::Deserialize;
use serde_json::value::RawValue;

use llm_wire::Format;

use super::dice::Dice;
use super::row::{Protocol, Row, model, replaced};
use super::upstream::Script;
use crate::support::{KEY, Outgoing, answer, post};

/// How the client names the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// As it was recorded.
    Same,
    /// By another name than the upstream, with [`ASKED`] before it.
    Mapped,
}

pub const ASKED: &str = "asked/";

/// How the upstream ends its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    Length,
    Chunked,
    Close,
}

impl Framing {
    /// The ways in which this row's answer is to be sent: a stream in every one.
    pub fn of(row: &Row) -> &'static [Framing] {
        const ALL: &[Framing] = &[Framing::Length, Framing::Chunked, Framing::Close];
        if row.stream { ALL } else { std::slice::from_ref(Dice::new(&row.id, 1).pick(ALL)) }
    }
}

pub struct Case<'r> {
    pub row: &'r Row,
    pub protocol: &'static Protocol,
    /// The recorded request names no model, so one was added.
    pub model_added: bool,
    pub sent: String,
    /// The body that the upstream must get.
    pub upstream_body: String,
    pub framing: Framing,
    pub answer: Vec<u8>,
    /// What the client gets of it, where no rule says otherwise.
    pub expected: Vec<u8>,
}

/// Headers of a provider that concern nobody but its own client; they must not cross.
pub const PRIVATE: &[(&str, &str)] = &[
    ("set-cookie", "session=provider"),
    ("server", "provider"),
    ("openai-organization", "org-provider"),
    ("anthropic-organization-id", "org-provider"),
    ("cf-ray", "1"),
    ("alt-svc", "h3=\":443\""),
];

impl<'r> Case<'r> {
    pub fn new(row: &'r Row, protocol: &'static Protocol, naming: Naming, framing: Framing) -> Case<'r> {
        let mut upstream_body = row.request(protocol);
        let model_added = model(&upstream_body).is_none();
        if model_added {
            upstream_body = upstream_body.replacen('{', "{\"model\": \"m\", ", 1);
        }
        let name = model(&upstream_body).expect("a model");
        let received = match naming {
            Naming::Same => name.to_owned(),
            Naming::Mapped => format!("\"{ASKED}{}", &name[1..]),
        };
        let sent = replaced(&upstream_body, name, &received);
        let answer = row.answer();
        let expected = match naming {
            Naming::Same => answer.clone(),
            Naming::Mapped => {
                put_back(row, protocol.format, std::str::from_utf8(&answer).unwrap(), &received).into_bytes()
            }
        };
        Case { row, protocol, model_added, sent, upstream_body, framing, answer, expected }
    }

    pub fn target(&self) -> String {
        self.row.target(self.protocol)
    }

    /// The request with `body`, in one of the ways in which clients send a key and a body.
    pub fn outgoing(&self, body: &str, dice: &mut Dice) -> Outgoing {
        let mut request = post(&self.target()).header("x-request-id", &self.row.id);
        for (name, value) in &self.row.request_headers {
            request = request.header(name, value);
        }
        request = match *dice.pick(&["authorization", "x-api-key", "api-key"]) {
            "authorization" => request.key(KEY),
            other => request.header("authorization", "").header(other, KEY),
        };
        if dice.one_in(4) {
            let body = chunked(body.as_bytes(), dice);
            return request.header("content-length", "").header("transfer-encoding", "chunked").body(body);
        }
        request.body(body)
    }

    /// The recorded answer, framed in one of the ways of HTTP and cut anywhere.
    pub fn script(&self, dice: &mut Dice) -> Script {
        let mut head = format!("HTTP/1.1 {} Recorded\r\n", self.row.status);
        let recorded = self.row.response_headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in recorded.chain(PRIVATE.iter().copied()) {
            head += &format!("{name}: {value}\r\n");
        }
        let (framing, body) = match self.framing {
            Framing::Length => (format!("content-length: {}\r\n\r\n", self.answer.len()), self.answer.clone()),
            Framing::Chunked => ("transfer-encoding: chunked\r\n\r\n".to_owned(), chunked(&self.answer, dice)),
            Framing::Close => ("connection: close\r\n\r\n".to_owned(), self.answer.clone()),
        };
        let bytes = [head.as_bytes(), framing.as_bytes(), &body].concat();
        let pieces = dice.cuts(&bytes, if self.row.stream { 24 } else { 6 });
        Script { bytes, pieces, close: self.framing == Framing::Close }
    }
}

fn chunked(body: &[u8], dice: &mut Dice) -> Vec<u8> {
    let chunks: Vec<Vec<u8>> = dice.cuts(body, 8).into_iter().map(|piece| answer::chunk(&body[piece])).collect();
    [chunks.concat(), answer::LAST_CHUNK.into()].concat()
}

/// Where events name the model.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

/// The answer to a client that asked for `name` (quotes included): every model that the format
/// names becomes that. In streams an empty one stays, which hosts send before they know.
fn put_back(row: &Row, format: Format, text: &str, name: &str) -> String {
    let change = |text: &str, holder: &str| match model(holder) {
        Some(old) if old.starts_with('"') && !(row.stream && old == "\"\"") => Some(replaced(text, old, name)),
        _ => None,
    };
    if !row.stream {
        return change(text, text).unwrap_or_else(|| text.to_owned());
    }
    let line = |line: &str| -> String {
        let changed = line.strip_prefix("data:").and_then(|data| {
            let event: Event<'_> = serde_json::from_str(data).ok()?;
            let holder = match format {
                Format::Chat => data,
                Format::Messages => event.message?.get(),
                Format::Responses => event.response?.get(),
            };
            change(line, holder)
        });
        changed.unwrap_or_else(|| line.to_owned())
    };
    text.split_inclusive('\n').map(line).collect()
}

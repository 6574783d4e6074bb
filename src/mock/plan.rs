//! One request in, the bytes of its answer and their times out.

use super::answer::Answer;
use super::ask::Ask;
use super::errors::{self, Family};
use super::kind::Kind;
use super::knobs::{ErrorAt, Knobs};
use super::layout::{Client, Draft, Plan};
use super::script::Script;
use super::{chat, completions, messages, other, responses};

/// A request, freed of its framing.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Without its query.
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
    /// The client knows chunks and wishes to keep the connection; else the answer ends with the connection.
    pub keep_alive: bool,
}

impl Request<'_> {
    fn client(&self) -> Client {
        let anthropic = matches!(Kind::of(self.path), Kind::Messages | Kind::CountTokens)
            || self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("anthropic-version"));
        let family = if anthropic { Family::Anthropic } else { Family::OpenAi };
        Client { family, keep_alive: self.keep_alive, head_only: self.method == "HEAD" }
    }
}

/// The answer to `request`. `defaults` are the knobs of the process.
pub fn plan(request: &Request, defaults: &Knobs) -> Plan {
    let client = request.client();
    let mut knobs = defaults.clone();
    draft(request, client.family, &mut knobs).lay_out(client, &knobs)
}

/// A JSON answer that no knob changes.
pub fn plain(request: &Request, body: Vec<u8>) -> Plan {
    Draft::json(body).lay_out(request.client(), &Knobs::default())
}

/// The answer to what is no request, or too large a one. It ends the connection.
pub fn refusal(status: u16, message: &str) -> Plan {
    let client = Client { family: Family::OpenAi, keep_alive: false, head_only: false };
    Draft::error(client.family, status, Some(message), None).lay_out(client, &Knobs::default())
}

/// Sets the knobs that the request asks for and drafts its answer.
fn draft(request: &Request, family: Family, knobs: &mut Knobs) -> Draft {
    let kind = Kind::of(request.path);
    let ask = (kind.takes_body() && request.method == "POST").then(|| Ask::read(kind, request.body));
    if let Some(Ok(ask)) = &ask {
        knobs.read_model(ask.model);
    }
    if let Err(message) = request.headers.iter().try_for_each(|(name, value)| knobs.read_header(name, value)) {
        return Draft::error(family, 400, Some(&message), None);
    }
    match (knobs.status, ask) {
        (Some(status @ 400..), _) => Draft::error(family, status, None, None),
        (_, Some(Err(bad))) => Draft::error(family, 400, Some(&bad.message), bad.param),
        (_, Some(Ok(ask))) => answer(kind, family, &ask, knobs),
        (_, None) if kind.takes_body() => Draft::error(family, 405, None, None),
        (_, None) => match kind {
            Kind::Models => Draft::json(other::models(family, request.path)),
            Kind::Root => Draft::json(other::root()),
            _ => Draft::error(family, 404, Some(&format!("The mock has no {}.", request.path)), None),
        },
    }
}

fn answer(kind: Kind, family: Family, ask: &Ask, knobs: &Knobs) -> Draft {
    match kind {
        Kind::CountTokens | Kind::InputTokens => return Draft::json(other::count(kind, ask)),
        Kind::Embeddings => return Draft::json(other::embeddings(ask)),
        _ => {}
    }
    let answer = Answer::new(kind, ask, knobs);
    if ask.stream {
        let mut script = Script::default();
        match kind {
            Kind::Messages => messages::stream(ask, &answer, &mut script),
            Kind::Responses => responses::stream(ask, &answer, &mut script),
            Kind::Completions => completions::stream(ask, &answer, &mut script),
            _ => chat::stream(ask, &answer, &mut script),
        }
        if let Some(at) = knobs.error {
            fail(kind, ask, &answer, at, &mut script);
        }
        return Draft::stream(script);
    }
    if knobs.error.is_some() {
        return Draft::json(errors::body(family, 500, None, None));
    }
    let mut out = Vec::new();
    match kind {
        Kind::Messages => messages::whole(ask, &answer, &mut out),
        Kind::Responses => responses::whole(ask, &answer, &mut out),
        Kind::Completions => completions::whole(ask, &answer, &mut out),
        _ => chat::whole(ask, &answer, &mut out),
    }
    Draft::json(out)
}

/// Ends a stream with an error event.
fn fail(kind: Kind, ask: &Ask, answer: &Answer, at: ErrorAt, script: &mut Script) {
    script.cut(match at {
        ErrorAt::First => script.opening(),
        ErrorAt::Mid => script.half(),
    });
    let seq = script.marks.len() as u64;
    let event = match (kind, at) {
        (Kind::Messages, _) => errors::MESSAGES_EVENT.as_bytes().to_vec(),
        (Kind::Responses, ErrorAt::First) => responses::error_first(seq),
        (Kind::Responses, ErrorAt::Mid) => responses::error_mid(ask, answer, seq),
        _ => errors::CHAT_EVENT.as_bytes().to_vec(),
    };
    script.bytes.extend_from_slice(&event);
    script.event();
}

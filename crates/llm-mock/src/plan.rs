//! One request in, the bytes of its answer and their times out.

use super::answer::Answer;
use super::errors::{self, Family};
use super::event_script::Script;
use super::faults::Fault;
use super::kind::Kind;
use super::knobs::{ErrorAt, Knobs};
use super::request::ParsedRequest;
use super::timeline::{Client, Draft, Plan};
use super::{chat, completions, messages, other, responses};

/// A request, freed of its framing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub method: &'a str,
    /// Without its query.
    pub path: &'a str,
    pub headers: &'a [(&'a str, &'a [u8])],
    pub body: &'a [u8],
    /// The client knows chunks and wishes to keep the connection; else the answer ends with the
    /// connection.
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

/// Returns the answer to `request`, the `turn`th of the process. `defaults` are the knobs of the
/// process.
pub(crate) fn plan(request: &Request, defaults: &Knobs, turn: u32) -> Plan {
    let client = request.client();
    let mut knobs = defaults.clone();
    draft(request, client.family, &mut knobs, turn).lay_out(client, &knobs)
}

/// Returns a JSON answer that no knob changes.
pub(crate) fn plain(request: &Request, body: Vec<u8>) -> Plan {
    Draft::json(body).lay_out(request.client(), &Knobs::default())
}

/// Returns the answer to what is no request, or too large a one. It ends the connection.
pub(crate) fn refusal(status: u16, message: &str) -> Plan {
    let client = Client { family: Family::OpenAi, keep_alive: false, head_only: false };
    Draft::error(client.family, status, Some(message), None).lay_out(client, &Knobs::default())
}

/// Sets the knobs that the request asks for and drafts its answer.
fn draft(request: &Request, family: Family, knobs: &mut Knobs, turn: u32) -> Draft {
    let kind = Kind::of(request.path);
    let req = (kind.takes_body() && request.method == "POST").then(|| ParsedRequest::read(kind, request.body));
    if let Some(Ok(req)) = &req {
        knobs.read_model(req.model);
    }
    if let Err(message) = request.headers.iter().try_for_each(|(name, value)| knobs.read_header(name, value)) {
        return Draft::error(family, 400, Some(&message), None);
    }
    knobs.settle(turn);
    let streams = matches!(&req, Some(Ok(req)) if req.stream);
    if kind.takes_body()
        && let Some(draft) = knobs.fault.and_then(|fault| instead(fault, family, streams))
    {
        return draft;
    }
    match (knobs.status, req) {
        (Some(status @ 400..), _) => Draft::error(family, status, None, None),
        (_, Some(Err(bad))) => Draft::error(family, 400, Some(&bad.message), bad.param),
        (_, Some(Ok(req))) => answer(kind, family, &req, knobs),
        (_, None) if kind.takes_body() => Draft::error(family, 405, None, None),
        (_, None) => match kind {
            Kind::Models => Draft::json(other::models(family, request.path)),
            Kind::Root => Draft::json(other::root()),
            _ => Draft::error(family, 404, Some(&format!("The mock has no {}.", request.path)), None),
        },
    }
}

/// Returns what a fault answers with, whatever was asked for.
fn instead(fault: Fault, family: Family, streams: bool) -> Option<Draft> {
    const TEXT: &[u8] = b"%% this is neither an event nor JSON %%\n\n";
    Some(match fault {
        Fault::BadFirst => {
            let content_type = if streams { "text/event-stream" } else { "application/json" };
            Draft::text(content_type, TEXT.to_vec())
        }
        Fault::Empty => Draft::json(Vec::new()),
        Fault::Html => Draft::text("text/html", errors::HTML.as_bytes().to_vec()),
        Fault::ErrorObject => Draft::json(errors::body(family, 500, None, None)),
        Fault::NoContent => Draft::refusal(204, Vec::new()),
        Fault::Redirect => Draft::refusal(307, Vec::new()),
        Fault::Quota | Fault::ContextLength | Fault::ContentFilter => {
            let status = if fault == Fault::Quota { 429 } else { 400 };
            Draft::refusal(status, errors::body_of(family, fault)?)
        }
        _ => return None,
    })
}

fn answer(kind: Kind, family: Family, req: &ParsedRequest, knobs: &Knobs) -> Draft {
    match kind {
        Kind::CountTokens | Kind::InputTokens => return Draft::json(other::count(kind, req)),
        Kind::Embeddings => return Draft::json(other::embeddings(req)),
        _ => {}
    }
    let answer = Answer::new(kind, req, knobs);
    if req.stream != (knobs.fault == Some(Fault::WrongForm)) {
        let mut script = Script::new();
        match kind {
            Kind::Messages => messages::stream(req, &answer, &mut script),
            Kind::Responses => responses::stream(req, &answer, &mut script),
            Kind::Completions => completions::stream(req, &answer, &mut script),
            _ => chat::stream(req, &answer, &mut script),
        }
        if let Some(at) = knobs.error {
            fail(kind, req, &answer, at, &mut script);
        }
        return Draft::stream(script);
    }
    if knobs.error.is_some() {
        return Draft::json(errors::body(family, 500, None, None));
    }
    let mut out = Vec::new();
    match kind {
        Kind::Messages => messages::whole(req, &answer, &mut out),
        Kind::Responses => responses::whole(req, &answer, &mut out),
        Kind::Completions => completions::whole(req, &answer, &mut out),
        _ => chat::whole(req, &answer, &mut out),
    }
    Draft::json(out)
}

/// Ends a stream with an error event.
fn fail(kind: Kind, req: &ParsedRequest, answer: &Answer, at: ErrorAt, script: &mut Script) {
    script.cut(match at {
        ErrorAt::First => script.opening(),
        ErrorAt::Mid => script.half(),
    });
    let seq = script.marks.len() as u64;
    let event = match (kind, at) {
        (Kind::Messages, _) => errors::MESSAGES_EVENT.as_bytes().to_vec(),
        (Kind::Responses, ErrorAt::First) => responses::error_first(seq),
        (Kind::Responses, ErrorAt::Mid) => responses::error_mid(req, answer, seq),
        _ => errors::CHAT_EVENT.as_bytes().to_vec(),
    };
    script.bytes.extend_from_slice(&event);
    script.event();
}

#[cfg(test)]
mod tests;

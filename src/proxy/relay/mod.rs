//! Moves the body of an upstream's response to the client.
//!
//! [`whole`] and [`stream`] forward bodies of the client's own format byte for byte, [`translated`]
//! writes those of another format anew, and [`buffered`] keeps error responses until no candidate
//! is left. All of them read with [`source`] and write heads with [`head`].
//!
//! Which of them forwards a body is decided by what the client requested. Where the first bytes
//! show that the provider sent the other form, [`converted`] translates within the format.

mod answer;
pub mod buffered;
mod converted;
mod defect;
mod event_bytes;
mod form;
mod head;
mod known_events;
mod pace;
mod relayed;
mod rescue;
mod server_timing;
mod source;
mod stream;
mod stream_events;
mod stream_writer;
mod translated;
mod translated_output;
mod translation_record;
mod whole;

use super::endpoint::Operation;
use super::interrupt::Interrupt;
use super::pinned::pinned;
use super::prepare::{Bypass, Translated};
use super::request_context::{Next, RequestContext};
use super::upstream::UpstreamResponse;
use crate::config::snapshot::Provider;
use form::Form;
use llm_wire::Format;
use llm_wire::error::{Error, Kind};
use llm_wire::json::Tape;
use llm_wire::passthrough::answer_templates::AnswerTemplates;
use relayed::Relayed;
pub use relayed::Responder;
use source::UpstreamBody;

/// Returns whether a whole body under a status of success is a model's answer of `format`.
pub fn is_answer(format: Format, body: &[u8]) -> bool {
    answer::check(format, body, (&mut AnswerTemplates::default(), &mut Tape::default()), "").is_ok()
}

/// Translates a response of another format.
pub async fn translate(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    translated: Box<Translated>,
    provider: &Provider,
) -> Result<Next, Interrupt> {
    translation_record::count_losses(req, &translated);
    let body = match response.is_encoded {
        true => Box::pin(buffered::decode(req, response, &provider.key)).await?,
        false => UpstreamBody::new(response),
    };
    body.note_tier(req);
    // Boxed, as those below: the future of every request would have the room of the largest relay,
    // and is moved once for each.
    pinned(|| translated::run(req, body, translated, provider)).await
}

/// How a response of the client's own format is forwarded, by its head.
struct Forwarding {
    /// Whether it is a model's answer.
    is_answer: bool,
    is_stream: bool,
    /// Whether it is judged as a model's answer, and the other form of it is translated.
    is_checked: bool,
}

impl Forwarding {
    fn of(req: &RequestContext<'_>, response: &UpstreamResponse) -> Forwarding {
        let is_answer = response.is_success() && req.route.operation == Operation::Generate;
        let is_stream = match is_answer {
            true => req.stream,
            // An encoded body can't be inspected. The gateway requested the identity, so it
            // forwards what it got.
            false => response.is_event_stream && response.is_success() && !response.is_encoded,
        };
        // Where nothing is translated, a stream that was not requested is forwarded as it is.
        Forwarding { is_answer, is_stream, is_checked: is_answer && req.route.translates() }
    }
}

/// Writes a response as [`passthrough`] forwards it, if it has arrived as a whole. `None` leaves it
/// to that.
pub fn write_at_once(
    req: &mut RequestContext<'_>,
    response: &UpstreamResponse,
    bypass: Bypass,
    provider: &Provider,
) -> Result<Option<Vec<u8>>, Interrupt> {
    let Forwarding { is_answer, is_stream, is_checked } = Forwarding::of(req, response);
    if is_stream || req.rest.is_some() || (is_answer && response.is_encoded) {
        return Ok(None);
    }
    match whole::Complete::at_once(response, bypass, provider, is_checked) {
        Some(relay) => relay.write_at_once(req, response).map(Some),
        None => Ok(None),
    }
}

/// Forwards a response of the client's own format.
pub async fn passthrough(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    bypass: Bypass,
    responder: &Responder<'_>,
) -> Result<Next, Interrupt> {
    let provider = responder.provider;
    let Forwarding { is_answer, is_stream, is_checked } = Forwarding::of(req, &response);
    let body = match is_answer && response.is_encoded {
        true => Box::pin(buffered::decode(req, response, &provider.key)).await?,
        false => UpstreamBody::new(response),
    };
    body.note_tier(req);
    // What the client has can be gone on with by a translation alone.
    if req.rest.as_ref().is_some_and(|rest| rest.fitting().is_none()) {
        return Box::pin(converted::run(req, body, Form::Events, responder)).await;
    }
    let relayed = match is_stream {
        true => pinned(|| stream::run(req, body, bypass, provider)).await?,
        false => pinned(|| whole::run(req, body, bypass, provider, is_checked)).await?,
    };
    match relayed {
        Relayed::Done(next) => Ok(next),
        // What the client has is a stream, and a whole answer can't be fitted to it.
        Relayed::Other(..) if req.rest.is_some() => {
            let note = format!("provider `{}` did not continue the stream with a stream", provider.key);
            Err(Error::upstream(Kind::UpstreamFault, note).into())
        }
        Relayed::Other(body, form) => Box::pin(converted::run(req, *body, form, responder)).await,
    }
}

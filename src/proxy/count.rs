//! Counts the tokens of a request that is not made: `/v1/messages/count_tokens` and
//! `/v1/responses/input_tokens` (`docs/internals/translation/requests.md`, "Counting tokens without
//! a request").
//!
//! A provider with a counter of its own gets the request, in its format. Where there is none the
//! count is an estimate: clients that plan their context by it cope with one, and badly with a 404.

use super::endpoint::Operation;
use super::interrupt::Interrupt;
use super::relay::buffered;
use super::reply;
use super::request_context::{Next, RequestContext};
use super::upstream::UpstreamResponse;
use crate::tokens;
use llm_wire::Format;
use llm_wire::json::{RawValue, write};
use llm_wire::target::quirks::Host;

/// Returns whether the count is an estimate without an attempt: the candidate's format has no
/// counter, or its host imitates a format that has one.
pub fn is_local(req: &RequestContext<'_>, format: Format, host: Host) -> bool {
    let http = &format.profile().http;
    let has_counter = http.count_path.is_some() && (http.count_is_common || host.is_native());
    req.route.operation == Operation::Count && format != req.route.format && !has_counter
}

/// Responds with an estimate.
pub async fn respond_with_estimate(req: &mut RequestContext<'_>) -> Result<Next, Interrupt> {
    let tokens = tokens::prompt(req.body()).max(1);
    respond(req, tokens).await
}

/// Responds with the count of a provider of another format, or with an estimate if its response has
/// none.
pub async fn respond_with_counted(req: &mut RequestContext<'_>, response: UpstreamResponse) -> Result<Next, Interrupt> {
    let response = buffered::read(req, response).await?;
    let body = response.as_ref().map_or(&[][..], |response| &response.body);
    match RawValue::parse(body).ok().and_then(|value| value.find("input_tokens")?.as_u64()) {
        Some(tokens) => respond(req, tokens).await,
        None => respond_with_estimate(req).await,
    }
}

/// Sends the count in the client's format.
async fn respond(req: &mut RequestContext<'_>, tokens: u64) -> Result<Next, Interrupt> {
    let mut body = Vec::new();
    write::object(&mut body, |o| {
        if let Some(object) = req.route.format.profile().response.count_object {
            o.str("object", object);
        }
        o.u64("input_tokens", tokens);
    });
    let mut out = Vec::with_capacity(512);
    reply::json(&mut out, 200, &req.meta, req.recorder.request_id(), &body);
    req.recorder.set_complete(200);
    req.recorder.capture.set_reply_of(&out);
    Ok(req.finish(out).await?)
}

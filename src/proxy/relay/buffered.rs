//! Error responses of providers: read whole, kept while other candidates are tried, and sent if none
//! of them does better.

use super::super::client::ClientDisconnected;
use super::super::interrupt::{BufferedResponse, Failure};
use super::super::request_context::{Next, RequestContext};
use super::super::upstream::UpstreamResponse;
use super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use super::pace::Pace;
use super::source::{BodyEvent, UpstreamBody};
use crate::telemetry::capture::Piece;
use llm_http::write;
use llm_wire::error::{Error, Kind, shape};

/// Bounds the body of a response that is kept.
const MAX_BODY: usize = 64 << 10;

/// Reads a response whole. `None` if it is too large, too slow, cut or malformed.
pub async fn read(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
) -> Result<Option<BufferedResponse>, ClientDisconnected> {
    let head_bytes = response.bytes[..response.head.len].to_vec();
    let mut source = UpstreamBody::new(response);
    source.limit_rest(req, req.core.boot().request_timeout);
    let mut body = Vec::new();
    loop {
        match source.next(req, Pace::Whole).await? {
            BodyEvent::Data(data) => body.extend_from_slice(data),
            BodyEvent::Drained if body.len() > MAX_BODY => return Ok(None),
            BodyEvent::Drained | BodyEvent::Idle => {}
            BodyEvent::End => break,
            BodyEvent::Cut(_) => return Ok(None),
        }
    }
    req.recorder.capture.upstream_sent(Piece::Part(&body));
    let head = source.head().clone();
    source.release(req);
    Ok(Some(BufferedResponse { head, head_bytes, body, is_translated: false }))
}

/// Responds to a request that no candidate could serve: with the kept response of a provider, or
/// with the gateway's own error.
pub async fn send_failure(req: &mut RequestContext<'_>, failure: Failure) -> Result<Next, ClientDisconnected> {
    match failure.response {
        None => req.fail(&failure.error).await,
        Some(response) if response.is_translated => send_translated(req, &failure.error, &response).await,
        Some(response) => send_as_received(req, &failure.error, &response).await,
    }
}

async fn send_as_received(
    req: &mut RequestContext<'_>,
    error: &Error,
    response: &BufferedResponse,
) -> Result<Next, ClientDisconnected> {
    let framing = BodyFraming::Length(response.body.len() as u64);
    let parts = HeadParts {
        status: response.head.status,
        framing,
        upstream: &response.head,
        upstream_bytes: &response.head_bytes,
        transfer: HeadTransfer::Passthrough,
    };
    let mut out = Vec::with_capacity(1024 + response.body.len());
    head::begin(&mut out, req, &parts);
    head::end(&mut out, framing);
    out.extend_from_slice(&response.body);
    req.recorder.capture.set_reply(&response.body);
    req.recorder.set_failed(response.head.status, error);
    req.finish(out).await
}

/// Sends the error in the client's format, under the head of the provider's response.
async fn send_translated(
    req: &mut RequestContext<'_>,
    error: &Error,
    response: &BufferedResponse,
) -> Result<Next, ClientDisconnected> {
    let format = req.route.format;
    // A provider's own 500 stays one. For faults between gateway and provider it is 502.
    let status = match (response.head.status, error.kind) {
        (500, Kind::UpstreamFault) => 500,
        _ => shape::status(format, error.kind),
    };
    let mut body = Vec::with_capacity(512);
    shape::body(format, &mut body, error, req.recorder.request_id());
    let framing = BodyFraming::Length(body.len() as u64);
    let parts = HeadParts {
        status,
        framing,
        upstream: &response.head,
        upstream_bytes: &response.head_bytes,
        transfer: HeadTransfer::Translated(None),
    };
    let mut out = Vec::with_capacity(1024 + body.len());
    head::begin(&mut out, req, &parts);
    write::static_header(&mut out, "content-type", "application/json");
    head::end(&mut out, framing);
    out.extend_from_slice(&body);
    req.recorder.capture.set_reply(&body);
    req.log(error, status);
    req.recorder.set_failed(status, error);
    req.finish(out).await
}

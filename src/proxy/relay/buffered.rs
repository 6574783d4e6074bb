//! Error responses of providers: read whole, kept while other candidates are tried, and sent if
//! none of them does better.

use std::time::Duration;

use super::super::body::exhausted;
use super::super::client::ClientDisconnected;
use super::super::decoding::{self, DecodeError};
use super::super::interrupt::{BufferedResponse, Failure, Interrupt};
use super::super::reply::Upstream;
use super::super::request_context::{Next, RequestContext};
use super::super::upstream::UpstreamResponse;
use super::head::{self, BodyFraming, HeadParts, HeadTransfer};
use super::pace::Pace;
use super::source::{BodyEvent, UpstreamBody, malformed};
use super::stream_writer::StreamWriter;
use crate::shared::body_memory::MemoryExhausted;
use crate::telemetry::capture::Piece;
use llm_http::write;
use llm_wire::error::{Error, Kind, Side, classify};
use llm_wire::formats::errors;

/// Bounds the body of a response that is kept.
const MAX_BODY: usize = 64 << 10;

/// How long the body of an error response may take. Providers send it together with the head; one
/// that does not must not keep the client from the next provider.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// Bounds an encoded body, and what it stands for.
const MAX_DECODED: usize = 64 << 20;

/// Reads an encoded response whole and undoes its coding, although the identity was requested.
pub async fn decode(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    provider: &str,
) -> Result<UpstreamBody, Interrupt> {
    decode_within(req, response, provider, (MAX_DECODED, None)).await
}

/// Does the same with an error response. One that can't be decoded is known by its status alone.
pub async fn decode_error(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    provider: &str,
) -> Result<UpstreamResponse, Interrupt> {
    let status = response.head.status;
    match decode_within(req, response, provider, (MAX_BODY, Some(MAX_WAIT))).await {
        Ok(body) => Ok(body.into_response()),
        Err(Interrupt::Failed(failure)) if failure.error.side == Side::Upstream => {
            let error = classify::unreadable(status, &[]);
            Err(error.context(format_args!("provider `{provider}`, status {status}")).into())
        }
        Err(interrupt) => Err(interrupt),
    }
}

/// Reads and decodes a response of at most `most` bytes, within the time, if it has one.
async fn decode_within(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
    provider: &str,
    (most, wait): (usize, Option<Duration>),
) -> Result<UpstreamBody, Interrupt> {
    let coding = response.head.get(&response.bytes, "content-encoding").unwrap_or_default();
    let coding = String::from_utf8_lossy(coding).into_owned();
    let mut source = UpstreamBody::new(response);
    source.keep_head();
    if let Some(wait) = wait {
        source.limit_rest(req, wait);
    }
    let (mut encoded, mut held) = (Vec::new(), req.core.shared.body_memory.hold());
    loop {
        match source.next(req, Pace::Whole).await? {
            BodyEvent::Data(data) => {
                held.reserve(&mut encoded, data.len(), most).map_err(|error| exhausted(req.core, error))?;
                encoded.extend_from_slice(data);
            }
            BodyEvent::Drained if encoded.len() > most => {
                return Err(malformed(provider, format_args!("more than {most} bytes of {coding}")).into());
            }
            BodyEvent::Arrived | BodyEvent::Drained | BodyEvent::Idle => {}
            BodyEvent::End => break,
            BodyEvent::Cut(cut) => return Err(cut.error(req, provider).into()),
        }
    }
    match decoding::decode(req.core, &coding, &encoded, most).await {
        Ok((decoded, held)) => Ok(source.with_body(&decoded, held)),
        Err(DecodeError::Memory) => Err(exhausted(req.core, MemoryExhausted).into()),
        Err(DecodeError::Coding(error)) => Err(malformed(provider, format_args!("{coding}: {error}")).into()),
    }
}

/// Reads a response whole. `None` if it is too large, too slow, cut or malformed.
pub async fn read(
    req: &mut RequestContext<'_>,
    response: UpstreamResponse,
) -> Result<Option<BufferedResponse>, ClientDisconnected> {
    let head_bytes = response.bytes[..response.head.len].to_vec();
    let mut source = UpstreamBody::new(response);
    source.limit_rest(req, MAX_WAIT);
    let mut body = Vec::new();
    loop {
        match source.next(req, Pace::Whole).await? {
            BodyEvent::Data(data) => body.extend_from_slice(data),
            BodyEvent::Drained if body.len() > MAX_BODY => return Ok(None),
            BodyEvent::Arrived | BodyEvent::Drained | BodyEvent::Idle => {}
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
pub async fn send_failure(req: &mut RequestContext<'_>, mut failure: Failure) -> Result<Next, ClientDisconnected> {
    if let Some(upstream) = failure.upstream.take() {
        req.meta.upstream = Some(Upstream { attempts: req.recorder.attempts(), ..upstream });
    }
    if failure.response.is_none() && failure.error.retry_after.is_none() {
        failure.error.retry_after = failure.hint.seconds();
    }
    if req.head_sent {
        return send_event(req, &failure.error).await;
    }
    match failure.response {
        None => req.fail(&failure.error).await,
        Some(response) if response.is_translated => send_translated(req, &failure.error, &response).await,
        Some(response) => send_as_received(req, &failure.error, &response).await,
    }
}

/// Ends a stream of which the head was sent, and no content, with an error event. No last chunk
/// follows.
async fn send_event(req: &mut RequestContext<'_>, error: &Error) -> Result<Next, ClientDisconnected> {
    let status = errors::status(req.route.format, error.kind);
    req.log(error, status);
    let mut stream_writer = StreamWriter::new(req, Vec::new(), 200, BodyFraming::of_unknown_length(req.meta.version));
    let out = stream_writer.buf();
    let from = out.len();
    errors::event(req.route.format, out, error, req.recorder.request_id());
    req.recorder.capture.client_got(Piece::Event(&out[from..]));
    stream_writer.flush(req).await?;
    req.set_truncated(error);
    Ok(Next::Close)
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
        _ => errors::status(format, error.kind),
    };
    let mut body = Vec::with_capacity(512);
    errors::body(format, &mut body, error, req.recorder.request_id());
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

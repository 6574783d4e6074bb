//! What one request carries from stage to stage, and what every stage may do with it.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::client::{Client, Gone};
use super::core::Core;
use super::endpoint::{self, ApiRoute};
use super::reply::{self, ResponseMeta};
use super::{body, headers};
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::record::Short;
use llm_http::{Method, RequestHead};
use llm_wire::error::{Error, Kind};

/// Whether a connection carries another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    KeepAlive,
    /// The answer is sent and said that it is the last one.
    Close,
    /// The connection is broken or was left in the middle of a message.
    Abort,
}

/// A request in the hands of its stages.
pub struct RequestContext<'c> {
    pub core: &'c Rc<Core>,
    pub client: &'c mut Client,
    pub recorder: RequestRecorder,
    pub meta: ResponseMeta,
    pub head: RequestHead,
    /// What the head's offsets refer to; also the body, where it came along.
    pub received: body::Received,
    pub route: ApiRoute,
    pub model: Model,
    /// The client asked for a stream.
    pub stream: bool,
    pub stream_options: StreamOptions,
}

/// What a body says that routing does not need.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// The client of a Chat stream asked for the chunk with usage.
    pub include_usage: bool,
    /// The bytes of `stream_options` in the body.
    pub span: Option<Range<usize>>,
}

/// The model of a request.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// As the client wrote it.
    pub asked: String,
    /// Where its own name begins, behind the prefix of `PROVIDER_SUFFIX`.
    pub own: usize,
    /// Where its value stands in the body, quotes included.
    pub value: Range<usize>,
}

impl Model {
    /// Without the prefix: what permissions and mappings know.
    pub fn stripped(&self) -> &str {
        self.asked.get(self.own..).unwrap_or_default()
    }
}

impl RequestContext<'_> {
    pub fn body(&self) -> &[u8] {
        self.received.body()
    }

    pub fn bytes(&self) -> &[u8] {
        self.received.bytes()
    }

    pub fn query(&self) -> Option<&[u8]> {
        self.head.query(self.bytes())
    }

    pub fn shared_body(&self) -> Rc<Vec<u8>> {
        self.received.shared_body()
    }

    /// Time until TOTAL_TIMEOUT_SECS ends this request, if that is set.
    pub fn time_left(&self) -> Option<Duration> {
        let total = self.core.boot().total_timeout?;
        Some(total.saturating_sub(Duration::from_micros(self.recorder.elapsed_us())))
    }

    /// How long an upstream may say nothing.
    pub fn silence_limit(&self) -> Duration {
        let limit = self.core.boot().request_timeout;
        self.time_left().map_or(limit, |left| left.min(limit))
    }

    /// What follows on the connection when an answer went out whole.
    pub fn next(&self) -> Next {
        if self.meta.keep_alive { Next::KeepAlive } else { Next::Close }
    }

    /// Something goes wrong: see [`RequestRecorder::capture_after_all`].
    pub fn capture_after_all(&mut self) {
        self.recorder.capture_after_all(&self.received.bytes()[..self.head.len]);
    }

    /// The answer broke off after its head was sent.
    pub fn truncated(&mut self, error: &Error) {
        self.capture_after_all();
        self.recorder.set_truncated(error);
    }

    /// Answers with an error; the request's body was read.
    pub async fn fail(&mut self, error: &Error) -> Next {
        self.capture_after_all();
        self.meta.keep_alive &= !self.core.shared.leaving();
        let mut out = Vec::with_capacity(1024);
        let status = reply::error(&mut out, &self.meta, self.recorder.request_id(), error);
        log(&self.recorder, error, status);
        self.recorder.set_failed(status, error);
        self.recorder.capture_reply(&out);
        self.finish(out).await
    }

    /// Sends a whole answer that the recorder already knows of.
    pub async fn finish(&mut self, out: Vec<u8>) -> Next {
        match self.send(out).await {
            Ok(_) => self.next(),
            Err(_) => self.gone(),
        }
    }

    /// Sends a part of the answer and hands the buffer back empty.
    pub async fn send(&mut self, out: Vec<u8>) -> Result<Vec<u8>, Gone> {
        let handed_over = self.recorder.write_started();
        self.recorder.add_response_bytes(out.len());
        let sent = self.client.send(out).await;
        self.recorder.write_finished(handed_over);
        sent
    }

    pub fn log(&self, error: &Error, status: u16) {
        log(&self.recorder, error, status);
    }

    pub fn gone(&mut self) -> Next {
        self.recorder.set_client_disconnected();
        Next::Abort
    }
}

fn log(recorder: &RequestRecorder, error: &Error, status: u16) {
    // What a client did wrong is its own to read; the rest is somebody's to mend.
    if status >= 500 {
        tracing::warn!(request_id = recorder.request_id(), status, kind = error.kind.row().label, "{}", error.logged());
    } else {
        tracing::debug!(
            request_id = recorder.request_id(),
            status,
            kind = error.kind.row().label,
            "{}",
            error.logged()
        );
    }
}

pub fn unknown(pending: &body::Pending) -> Error {
    let path = String::from_utf8_lossy(pending.head.path(&pending.bytes));
    let shown: String = path.chars().take(200).collect();
    let note = format!("no such path: {shown}; the API is under /v1 (chat/completions, messages, responses, models)");
    Error::client(Kind::NotFound, note)
}

/// Sends a whole answer that the recorder already knows of.
pub async fn send(client: &mut Client, mut recorder: RequestRecorder, keep_alive: bool, out: Vec<u8>) -> Next {
    recorder.add_response_bytes(out.len());
    match client.send(out).await {
        Ok(_) if keep_alive => Next::KeepAlive,
        Ok(_) => Next::Close,
        Err(_) => {
            recorder.set_client_disconnected();
            Next::Abort
        }
    }
}

/// Answers with an error while the request's body may be unread: then the connection can't go on.
///
/// Boxed here, since it is rare and called in many places; each would carry its room.
pub fn refuse<'c>(
    client: &'c mut Client,
    mut recorder: RequestRecorder,
    mut terms: ResponseMeta,
    pending: body::Pending,
    error: Error,
) -> Pin<Box<dyn Future<Output = Next> + 'c>> {
    Box::pin(async move {
        recorder.capture_after_all(&pending.bytes[..pending.head.len]);
        terms.keep_alive &= pending.skip_body(client);
        let mut out = Vec::with_capacity(1024);
        let status = reply::error(&mut out, &terms, recorder.request_id(), &error);
        log(&recorder, &error, status);
        recorder.set_failed(status, &error);
        recorder.capture_reply(&out);
        send(client, recorder, terms.keep_alive, out).await
    })
}

pub fn terms(core: &Core, head: &RequestHead, bytes: &[u8]) -> ResponseMeta {
    let path = std::str::from_utf8(head.path(bytes)).unwrap_or("/");
    ResponseMeta {
        format: endpoint::error_format(path, head.get(bytes, "anthropic-version").is_some()),
        version: head.version,
        keep_alive: head.keep_alive && !core.shared.leaving(),
        head_only: head.method == Method::Head,
        cors: head.get(bytes, "origin").is_some(),
        budget: None,
    }
}

/// The client's request id if it sent a proper one, else a new one.
pub fn request_id(core: &Core, head: &RequestHead, bytes: &[u8]) -> Short<64> {
    match head.get(bytes, "x-request-id") {
        Some(id) if headers::is_request_id(id) => Short::new(std::str::from_utf8(id).unwrap_or_default()),
        _ => new_id(core),
    }
}

/// A random id in the shape of a version 4 UUID.
pub fn new_id(core: &Core) -> Short<64> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let (a, b) = (core.random(), core.random());
    let id = (u128::from(a) << 64 | u128::from(b)) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (n, byte) in id.to_be_bytes().into_iter().enumerate() {
        at += usize::from(matches!(n, 4 | 6 | 8 | 10));
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    Short::new(std::str::from_utf8(&text).unwrap_or_default())
}

pub fn method_name(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Other => "OTHER",
    }
}

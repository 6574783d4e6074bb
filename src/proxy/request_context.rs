//! What one request carries from stage to stage, and what every stage may do with it.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::auth::{self, Caller};
use super::body;
use super::circuit_guard::{CircuitGuard, CountedFailures};
use super::client::{Client, ClientDisconnected};
use super::core::Core;
use super::deadlines::Deadlines;
use super::endpoint::{self, ApiRoute};
use super::head_facts::HeadFacts;
use super::pinned::pinned;
use super::reply::{self, Cors, ResponseMeta};
use super::retry_hint::RetryHint;
use super::stream_rest::StreamRest;
use crate::config::hedging::Hedging;
use crate::config::rescue::Rescue;
use crate::limit::Slot;
use crate::limit::provider::NORMAL_LEVEL;
use crate::net::buffers;
use crate::proxy::recorder::RequestRecorder;
use crate::route::affinity::ConversationKey;
use crate::shared::issued_ids::IdHash;
use crate::telemetry::record::Short;
use llm_http::{Method, RequestHead};
use llm_wire::error::{Error, Kind};
use llm_wire::passthrough::continuation::{self, ContinuationMethod};
use llm_wire::passthrough::peek;

/// What follows on a client's connection after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The connection may carry another request.
    KeepAlive,
    /// The response was sent, and said that it is the last one.
    Close,
    /// The connection is broken, or was left in the middle of a message.
    Abort,
}

/// A request while its stages serve it.
pub struct RequestContext<'c> {
    pub core: &'c Rc<Core>,
    pub client: &'c mut Client,
    pub recorder: Box<RequestRecorder>,
    pub meta: ResponseMeta,
    pub head: RequestHead,
    /// The bytes that the head's offsets refer to, and the body.
    pub received: body::Received,
    pub route: ApiRoute,
    pub model: Model,
    /// Whether the client requested a stream.
    pub stream: bool,
    pub stream_options: StreamOptions,
    /// Whether several provider accounts serve the model. What one of them reports about its limits
    /// would mislead then.
    pub pooled: bool,
    /// The conversation that the client's headers name.
    pub session: Option<ConversationKey>,
    /// When the current attempt began, in microseconds on the request's clock.
    pub attempt_began_us: u64,
    /// Whether the head of a stream was sent before any provider had sent content. Attempts that
    /// follow continue that response, and a failure is an event of it.
    pub head_sent: bool,
    /// Whether the provider got the request with the effort `none`, which its client did not send.
    pub effort_none_added: bool,
    /// The most tokens of the response that its budgets allow, where the client has set no limit.
    pub output_cap: Option<u64>,
    /// What the attempt that runs does to the memory of its provider.
    pub circuit_guard: Option<CircuitGuard>,
    /// What its attempts have counted against providers so far.
    pub counted_failures: CountedFailures,
    /// Who owns the responses that it asks for ([`auth::owner`]).
    pub owner: u64,
    /// Who has issued the response that it names.
    pub issuer: Issuer,
    /// Whether its body may have envelopes of reasoning (`Peek::has_envelope`).
    pub has_envelope: bool,
    /// What is known of the files that it names.
    pub files: NamedFiles,
    /// Whether and how it may have a second attempt beside a slow first one.
    pub hedging: Option<Hedging>,
    /// Whether another provider goes on with its stream if that breaks off.
    pub rescue: Rescue,
    /// How its stream goes on, once one has broken off.
    pub rest: Option<StreamRest>,
    /// What it asks of a stored response, if it is about one.
    pub stored: Option<Box<StoredRequest>>,
    /// The priority of its credential; 0 goes first.
    pub level: usize,
    /// Its place among the requests in progress, where these are limited.
    pub slot: Option<Slot>,
    pub deadlines: Deadlines,
    /// The time that the client has given this request, from its start.
    pub client_limit: Option<Duration>,
    /// The status of the last error response, and what it says about another try.
    pub hint: (Option<u16>, RetryHint),
}

/// What is known of the response that a request names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Issuer {
    /// The request names none.
    #[default]
    NotNamed,
    /// The id of the row of the provider that has issued it.
    Known(i64),
    Unknown(IdHash),
}

/// What is known of the files that a request names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NamedFiles {
    /// It names none, or there is one account alone.
    #[default]
    None,
    Unknown,
    /// The account that has one of them is a candidate.
    Known,
}

/// A request about a response that a provider keeps. Its method is the client's.
pub struct StoredRequest {
    /// The path at the provider, behind the version segment.
    pub path: String,
}

/// Options of a Chat stream, which routing does not need.
#[derive(Debug, Clone, Default)]
pub struct StreamOptions {
    /// Whether the client requested the chunk with usage.
    pub include_usage: bool,
    /// The place of `stream_options` in the body.
    pub span: Option<Range<usize>>,
}

/// The model of a request. It has no default, of which the name would be an allocation
/// ([`Core::no_name`]).
#[derive(Debug, Clone)]
pub struct Model {
    /// The name as the client wrote it.
    pub requested: Rc<str>,
    /// The length of the prefix (`MODEL_PREFIX`) in `requested`, with its slash.
    pub prefix_len: usize,
    /// The place of the value in the body, quotes included.
    pub value: Range<usize>,
}

impl Model {
    /// Returns the name without the prefix, which is what permissions and mappings know.
    pub fn name(&self) -> &str {
        self.requested.get(self.prefix_len..).unwrap_or_default()
    }
}

impl<'c> RequestContext<'c> {
    /// Begins a request of which head and body were read.
    #[allow(clippy::too_many_arguments, reason = "each part has another owner, and the caller has them apart")]
    pub fn new(
        core: &'c Rc<Core>,
        client: &'c mut Client,
        (recorder, meta): (Box<RequestRecorder>, ResponseMeta),
        head: RequestHead,
        received: body::Received,
        route: ApiRoute,
        facts: &HeadFacts,
        caller: Caller<'_>,
    ) -> RequestContext<'c> {
        RequestContext {
            core,
            client,
            recorder,
            meta,
            head,
            received,
            route,
            model: Model { requested: core.no_name(), prefix_len: 0, value: 0..0 },
            stream: false,
            stream_options: StreamOptions::default(),
            pooled: false,
            session: facts.session,
            attempt_began_us: 0,
            head_sent: false,
            effort_none_added: false,
            output_cap: None,
            circuit_guard: None,
            counted_failures: Default::default(),
            hint: Default::default(),
            owner: auth::owner(caller),
            issuer: Issuer::default(),
            has_envelope: false,
            files: NamedFiles::default(),
            hedging: caller.and_then(|credential| credential.hedging),
            rescue: core.boot().rescue,
            rest: None,
            stored: None,
            level: caller.map_or(NORMAL_LEVEL, |credential| credential.level),
            slot: None,
            deadlines: Deadlines::of_process(core.boot()),
            client_limit: facts.client_limit,
        }
    }
}

impl RequestContext<'_> {
    /// Returns the bytes of the body.
    pub fn body(&self) -> &[u8] {
        self.received.body()
    }

    /// Returns the bytes that the offsets of the head refer to.
    pub fn bytes(&self) -> &[u8] {
        self.received.bytes()
    }

    /// Replaces the body by one that asks another provider to go on with the stream. Returns false
    /// if there is no such body, or no room for it.
    pub fn continue_stream(&mut self, rest: StreamRest, method: ContinuationMethod) -> bool {
        let body = continuation::request(self.route.format, self.body(), rest.text(), method);
        let Some(body) = body else { return false };
        let Ok(peeked) = peek::peek(&body) else { return false };
        let (value, span) = (peeked.model_at.clone(), peeked.stream_options.map(|(_, span)| span));
        let mut held = self.core.shared.body_memory.hold();
        if held.grow_to(body.capacity()).is_err() {
            return false;
        }
        (self.model.value, self.stream_options.span) = (value, span);
        self.received.replace_body(body, held);
        self.rest = Some(rest);
        true
    }

    /// Returns the query of the target, without the question mark.
    pub fn query(&self) -> Option<&[u8]> {
        self.head.query(self.bytes())
    }

    /// Returns the body for another task.
    pub fn shared_body(&self) -> Rc<Vec<u8>> {
        self.received.shared_body()
    }

    /// Returns the time until this request must have ended, if there is a limit:
    /// TOTAL_TIMEOUT_SECS, or the client's own for a whole response.
    pub fn time_left(&self) -> Option<Duration> {
        let client = self.client_limit.filter(|_| !self.stream);
        let total = match (self.deadlines.total, client) {
            (Some(total), Some(client)) => total.min(client),
            (total, client) => total.or(client)?,
        };
        Some(total.saturating_sub(Duration::from_micros(self.recorder.elapsed_us())))
    }

    /// Returns when the first content of a stream must have come, in microseconds on the request's
    /// clock. The time of an attempt begins with it, and that of the client with the request.
    pub fn first_content_at(&self) -> Option<u64> {
        let micros = |limit: Duration| u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        let of_attempt = self.deadlines.first_content.map(|limit| self.attempt_began_us.saturating_add(micros(limit)));
        match (of_attempt, self.client_limit.map(micros)) {
            (Some(of_attempt), Some(client)) => Some(of_attempt.min(client)),
            (of_attempt, client) => of_attempt.or(client),
        }
    }

    /// Returns whether the time that the client has given its request is over.
    pub fn is_past_client_limit(&self) -> bool {
        self.client_limit.is_some_and(|limit| Duration::from_micros(self.recorder.elapsed_us()) >= limit)
    }

    /// Returns how long an upstream may be silent.
    pub fn silence_limit(&self) -> Duration {
        let limit = self.deadlines.silence;
        self.time_left().map_or(limit, |left| left.min(limit))
    }

    /// Notes that the provider does its work: content of its response goes to the client.
    pub fn provider_succeeded(&mut self) {
        if let Some(circuit_guard) = &mut self.circuit_guard {
            circuit_guard.succeed();
        }
    }

    /// Returns what follows on the connection after a complete response.
    pub fn next(&self) -> Next {
        if self.meta.keep_alive { Next::KeepAlive } else { Next::Close }
    }

    /// Captures a request that is about to fail: see [`RequestRecorder::capture_after_all`].
    pub fn capture_after_all(&mut self) {
        self.recorder.capture_after_all(&self.received.bytes()[..self.head.len]);
    }

    /// Records that the response broke off after its head was sent.
    pub fn set_truncated(&mut self, error: &Error) {
        self.capture_after_all();
        self.recorder.set_truncated(error);
    }

    /// Responds with an error. The request's body was read.
    pub async fn fail(&mut self, error: &Error) -> Result<Next, ClientDisconnected> {
        self.capture_after_all();
        self.meta.keep_alive &= !self.core.shared.is_leaving();
        let mut out = Vec::with_capacity(1024);
        let status = reply::error(&mut out, &self.meta, self.recorder.request_id(), error);
        log(&self.recorder, error, status);
        self.recorder.set_failed(status, error);
        self.recorder.capture.set_reply_of(&out);
        self.finish(out).await
    }

    /// Sends a complete response, or the last part of one, which the recorder already knows.
    pub async fn finish(&mut self, out: Vec<u8>) -> Result<Next, ClientDisconnected> {
        // As `send`, in one future where nearly all are sent without a wait.
        let started = self.begin_send(&out);
        let sent = self.client.try_send(&out)?;
        let out = if sent == out.len() { out } else { pinned(|| self.send_rest(out, sent, started)).await? };
        buffers::give(out);
        Ok(self.next())
    }

    /// Sends a part of the response, and returns the buffer empty.
    pub async fn send(&mut self, mut out: Vec<u8>) -> Result<Vec<u8>, ClientDisconnected> {
        let started = self.begin_send(&out);
        let sent = self.client.try_send(&out)?;
        if sent == out.len() {
            out.clear();
            return Ok(out);
        }
        // Boxed, as in `Client::send`.
        pinned(|| self.send_rest(out, sent, started)).await
    }

    fn begin_send(&mut self, out: &[u8]) -> Option<u64> {
        self.recorder.add_response_bytes(out.len());
        self.recorder.write_started()
    }

    async fn send_rest(
        &mut self,
        out: Vec<u8>,
        sent: usize,
        started: Option<u64>,
    ) -> Result<Vec<u8>, ClientDisconnected> {
        let sent = self.client.send_rest(out, sent).await;
        if self.client.send_paused {
            self.recorder.write_waited(started);
        }
        sent
    }

    /// Logs a failure that the client got with this status.
    pub fn log(&self, error: &Error, status: u16) {
        log(&self.recorder, error, status);
    }

    /// Ends the request of a client that has disconnected.
    pub fn abort(&mut self) -> Next {
        self.recorder.set_client_disconnected();
        Next::Abort
    }
}

/// Logs an error that a client gets: as a warning unless the client can correct it.
fn log(recorder: &RequestRecorder, error: &Error, status: u16) {
    let (request_id, kind) = (recorder.request_id(), error.kind.row().label);
    if status >= 500 {
        tracing::warn!(request_id, status, kind, "{}", error.logged());
    } else {
        tracing::debug!(request_id, status, kind, "{}", error.logged());
    }
}

/// Responds with an error while the request's body may be unread: then the connection ends.
///
/// The future is boxed here, since it is rare and awaited in many places. Each of them would need
/// its room.
pub fn refuse<'c>(
    client: &'c mut Client,
    mut recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    pending: body::Pending,
    error: Error,
) -> Pin<Box<dyn Future<Output = Next> + 'c>> {
    Box::pin(async move {
        recorder.capture_after_all(&pending.bytes[..pending.head.len]);
        meta.keep_alive &= pending.skip_body(client);
        let mut out = Vec::with_capacity(1024);
        let status = reply::error(&mut out, &meta, recorder.request_id(), &error);
        log(&recorder, &error, status);
        recorder.set_failed(status, &error);
        recorder.capture.set_reply_of(&out);
        send(client, recorder, meta.keep_alive, out).await
    })
}

/// Sends a complete response, which the recorder already knows.
pub async fn send(client: &mut Client, mut recorder: Box<RequestRecorder>, keep_alive: bool, out: Vec<u8>) -> Next {
    recorder.add_response_bytes(out.len());
    match client.send(out).await {
        Ok(_) if keep_alive => Next::KeepAlive,
        Ok(_) => Next::Close,
        Err(ClientDisconnected) => {
            recorder.set_client_disconnected();
            Next::Abort
        }
    }
}

/// Returns the error of a path that does not exist.
pub fn unknown_path(pending: &body::Pending) -> Error {
    let path = String::from_utf8_lossy(pending.head.path(&pending.bytes));
    let shown: String = path.chars().take(200).collect();
    let note = format!("no such path: {shown}; the API is under /v1 (chat/completions, messages, responses, models)");
    Error::client(Kind::NotFound, note)
}

/// Returns what every response to this request must agree on.
pub fn response_meta(core: &Core, head: &RequestHead, bytes: &[u8], facts: &HeadFacts) -> ResponseMeta {
    ResponseMeta {
        format: facts.error_format,
        version: head.version,
        keep_alive: head.keep_alive && !core.shared.is_leaving(),
        head_only: head.method == Method::Head,
        cors: match facts.has_origin {
            true => head.get(bytes, "origin").map_or(Cors::NoPage, |origin| cors(core, head.path(bytes), origin)),
            false => Cors::NoPage,
        },
        budget: None,
        spending: None,
        upstream: None,
    }
}

/// Returns what a page of this origin may do at `path`. The admin interface is for pages that the
/// operator has named: a browser holds its key for them alone.
fn cors(core: &Core, path: &[u8], origin: &[u8]) -> Cors {
    let path = std::str::from_utf8(path).unwrap_or("/");
    if !endpoint::is_administrative(path) {
        return Cors::AnyPage;
    }
    let allowed = &core.boot().admin_cors_origins;
    if allowed.iter().any(|one| one == "*") {
        return Cors::AnyPage;
    }
    let known = allowed.iter().find(|one| origin.eq_ignore_ascii_case(one.as_bytes()));
    known.map_or(Cors::Refused, |_| Cors::Page(String::from_utf8_lossy(origin).into()))
}

/// Returns a random id in the form of a version 4 UUID (RFC 9562, 5.4).
pub fn new_request_id(core: &Core) -> Short<64> {
    /// The two digits of each byte.
    const DIGITS: [[u8; 2]; 256] = {
        let mut table = [[0; 2]; 256];
        let mut byte = 0;
        while byte < table.len() {
            table[byte] = [b"0123456789abcdef"[byte >> 4], b"0123456789abcdef"[byte & 15]];
            byte += 1;
        }
        table
    };
    let (high, low) = (core.random(), core.random());
    let id = (u128::from(high) << 64 | u128::from(low)) & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    /// Where the digits of each byte stand between the hyphens.
    const PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let mut text = [b'-'; 36];
    for (place, byte) in PLACES.into_iter().zip(id.to_be_bytes()) {
        text[place..place + 2].copy_from_slice(&DIGITS[usize::from(byte)]);
    }
    Short::ascii(text)
}

/// Returns the method as it is written in a request.
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

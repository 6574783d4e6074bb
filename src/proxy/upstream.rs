//! The exchange with a provider: a connection, the request, and the head of the response.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use super::client::WaitError;
use super::interrupt::{Failure, Interrupt};
use super::prepare::Prepared;
use super::request_context::RequestContext;
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::net::pool::{ConnectError, Connection, Origin};
use crate::telemetry::stages::Stage;
use llm_http::{HeadScan, Limits, Method, ResponseHead};
use llm_wire::error::{Error, Kind};

/// Bounds the head of a response. Providers send some 2 KiB.
const RESPONSE_HEAD: Limits = Limits { head_bytes: 64 << 10 };

/// A provider's response of which the head was read.
pub struct UpstreamResponse {
    pub connection: Box<Connection>,
    pub origin: Rc<Origin>,
    pub head: ResponseHead,
    /// The bytes of the head, and those of the body that arrived with them.
    pub bytes: Vec<u8>,
    /// Whether the body is a stream of server-sent events by its content type.
    pub is_event_stream: bool,
    /// Whether the body is JSON by its content type.
    pub is_json: bool,
    /// Whether the body is compressed although the identity was requested. Such a body cannot be
    /// inspected.
    pub is_encoded: bool,
}

impl UpstreamResponse {
    /// Makes a response of its head, whose offsets refer to `bytes`.
    pub fn new(
        connection: Box<Connection>,
        origin: Rc<Origin>,
        head: ResponseHead,
        bytes: Vec<u8>,
    ) -> UpstreamResponse {
        let content_type = head.content_type(&bytes).unwrap_or_default();
        let is_event_stream =
            content_type.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"));
        let names_json = || content_type.windows(4).any(|part| part.eq_ignore_ascii_case(b"json"));
        let is_json = content_type.starts_with(b"application/json") || !is_event_stream && names_json();
        let coding = head.content_encoding(&bytes);
        let is_encoded = coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        UpstreamResponse { connection, origin, head, bytes, is_event_stream, is_json, is_encoded }
    }

    /// Returns whether the body is what was requested, by the status. Some hosts write 201 or 206
    /// where the vendors have 200; 204 and 205 have no body.
    pub fn is_success(&self) -> bool {
        matches!(self.head.status, 200..=203 | 206..=299)
    }

    /// Returns what has arrived of the body, with its framing.
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head.len..]
    }

    /// Gives the connection back to the pool, if both sides agree. Nothing of the response may be
    /// left to come. The connection's next read reuses the response's buffer.
    pub fn release(self, req: &RequestContext<'_>) {
        let UpstreamResponse { mut connection, origin, head, bytes, .. } = self;
        connection.reader.recycle(bytes);
        if head.keep_alive {
            req.core.pool.give_back(&origin, connection);
        }
    }

    /// Returns whether the provider forbids to send the request again.
    pub fn forbids_retry(&self) -> bool {
        self.head.get(&self.bytes, "x-should-retry") == Some(b"false")
    }
}

/// Sends the request and reads the head of the response. Replaces a pooled connection that turns
/// out to be closed, once, if the provider can have seen nothing of the request.
pub async fn send_request(
    req: &mut RequestContext<'_>,
    origin: &Rc<Origin>,
    provider: &Provider,
    prepared: &Prepared,
) -> Result<UpstreamResponse, Interrupt> {
    // Nobody waits for a pooled connection, so there is no time to measure.
    if let Some(connection) = req.core.pool.checkout(origin) {
        match exchange(req, connection, origin, &provider.key, prepared).await {
            Err(Interrupt::Failed(failure)) if failure.stale_connection => {
                req.core.metrics.inc(Counter::StaleRetries);
            }
            result => return result,
        }
    }
    let connection = connect(req, origin, provider).await?;
    exchange(req, connection, origin, &provider.key, prepared).await
}

/// Opens a connection.
async fn connect(
    req: &mut RequestContext<'_>,
    origin: &Rc<Origin>,
    provider: &Provider,
) -> Result<Box<Connection>, Interrupt> {
    req.core.metrics.inc(Counter::UpstreamConnects);
    let began_us = req.recorder.elapsed_us();
    req.client.deadline.set_opt(req.time_left());
    let (core, req_connect) = (req.core.clone(), req.deadlines.connect);
    // Boxed because it is rare: a future has room for everything that it may wait for, and is moved
    // with it.
    let connected = match req.client.wait(Box::pin(core.pool.connect(origin, req_connect))).await {
        Ok(connected) => connected,
        Err(WaitError::ClientDisconnected) => return Err(Interrupt::ClientDisconnected),
        Err(WaitError::DeadlineExpired) => {
            Err(ConnectError::TimedOut("the request exceeded TOTAL_TIMEOUT_SECS".to_string()))
        }
    };
    let connection = connected.map_err(|error| match req.core.stopping() {
        true => Error::stopping(),
        false => connect_failed(&provider.key, error),
    })?;
    let us = req.recorder.elapsed_us().saturating_sub(began_us);
    req.core.request_metrics.borrow_mut().record_connect(provider.id, &provider.key, us);
    req.recorder.end_stage(Stage::Connect);
    Ok(connection)
}

fn connect_failed(provider: &str, error: ConnectError) -> Error {
    let (kind, reason, detail) = match error {
        ConnectError::TimedOut(detail) => (Kind::UpstreamTimeout, "it was not made in time", detail),
        ConnectError::Failed(failure) => (Kind::UpstreamConnect, failure.reason, failure.detail),
    };
    Error::upstream(kind, format!("no connection to provider `{provider}`: {reason}")).detail(detail)
}

/// Sends the request on `connection` and reads the head of the response, within the time that a
/// first byte may take.
async fn exchange(
    req: &mut RequestContext<'_>,
    mut connection: Box<Connection>,
    origin: &Rc<Origin>,
    provider: &str,
    prepared: &Prepared,
) -> Result<UpstreamResponse, Interrupt> {
    let limit = first_byte_limit(req);
    let sent_before = connection.writer.sent();
    req.client.deadline.set(limit);
    let mut bytes = Vec::new();
    // Nearly always all is sent at once, and nothing is awaited but the response.
    let written = match connection.writer.try_write(&prepared.first) {
        Ok(sent) if sent == prepared.first.len() && prepared.rest.is_none() => Ok(Ok(())),
        Ok(sent) => {
            // Pinned here, so that it is not moved into the wait.
            let rest = pin!(write_rest(&mut connection, prepared, sent));
            req.client.wait(rest).await
        }
        Err(error) => Ok(Err(error)),
    };
    let read = match written {
        Ok(written) => {
            let mut reading = HeadReading::after_write(written);
            loop {
                let read = poll_fn(|cx| connection.reader.poll_read(cx, &mut bytes));
                match req.client.wait(read).await.map(|read| reading.take(&mut connection, &bytes, read)) {
                    Ok(Ok(None)) => {}
                    Ok(Ok(Some(head))) => break Ok(Ok(head)),
                    Ok(Err(no_head)) => break Ok(Err(no_head)),
                    Err(error) => break Err(error),
                }
            }
        }
        Err(error) => Err(error),
    };
    match read {
        Ok(Ok(head)) => Ok(UpstreamResponse::new(connection, origin.clone(), head, bytes)),
        Ok(Err(no_head)) => {
            let note = format!("provider `{provider}` sent no valid response: {}", no_head.reason);
            let mut error = Error::upstream(Kind::UpstreamFault, note);
            if let Some(detail) = no_head.detail {
                error = error.detail(detail);
            }
            let stale_connection = is_stale(&connection, &bytes, sent_before);
            Err(Failure { stale_connection, ..Failure::from(error) }.into())
        }
        Err(WaitError::ClientDisconnected) => Err(Interrupt::ClientDisconnected),
        Err(WaitError::DeadlineExpired) if req.core.stopping() => Err(Error::stopping().into()),
        Err(WaitError::DeadlineExpired) => {
            if connection.writer.sent() > sent_before {
                req.recorder.request_sent();
            }
            let seconds = limit.as_secs_f32();
            let note = format!("provider `{provider}` did not begin to respond within {seconds} s");
            Err(Error::upstream(Kind::UpstreamTimeout, note).into())
        }
    }
}

/// Why an exchange beside another attempt has brought no response.
pub struct NoAnswer {
    pub reason: &'static str,
    /// Whether the connection was a pooled one, and the provider can have seen nothing of the
    /// request.
    pub stale_connection: bool,
}

/// Sends the request on `connection` and reads the head of the response, beside another attempt.
pub async fn exchange_apart(
    mut connection: Box<Connection>,
    origin: &Rc<Origin>,
    prepared: &Prepared,
) -> Result<UpstreamResponse, NoAnswer> {
    let sent_before = connection.writer.sent();
    let mut bytes = Vec::new();
    match write_and_read_head(&mut connection, prepared, &mut bytes).await {
        Ok(head) => Ok(UpstreamResponse::new(connection, origin.clone(), head, bytes)),
        Err(no_head) => {
            let stale_connection = is_stale(&connection, &bytes, sent_before);
            Err(NoAnswer { reason: no_head.reason, stale_connection })
        }
    }
}

/// Returns whether a pooled connection was closed before the provider can have seen anything of the
/// request. What it may have seen counts as an attempt: it may have worked on it.
fn is_stale(connection: &Connection, received: &[u8], sent_before: u64) -> bool {
    connection.reused && received.is_empty() && connection.writer.is_unseen_since(sent_before)
}

/// Returns how long the head of the response may take: the longest silence, and for a stream the
/// time to its first content if that is limited.
fn first_byte_limit(req: &RequestContext<'_>) -> Duration {
    let limit = req.silence_limit();
    match req.first_content_at().filter(|_| req.stream) {
        Some(at) => limit.min(Duration::from_micros(at.saturating_sub(req.recorder.elapsed_us()))),
        None => limit,
    }
}

/// Why no head of a response arrived.
struct NoHead {
    /// For the client: without addresses.
    reason: &'static str,
    /// For the log.
    detail: Option<String>,
}

impl NoHead {
    fn new(reason: &'static str) -> NoHead {
        NoHead { reason, detail: None }
    }

    fn broken(during: &str, error: &io::Error) -> NoHead {
        NoHead { reason: "the connection broke", detail: Some(format!("{during}: {error}")) }
    }
}

/// Writes the request and reads the head of the response. All that was read is in `bytes`, also
/// after a failure.
async fn write_and_read_head(
    connection: &mut Connection,
    prepared: &Prepared,
    bytes: &mut Vec<u8>,
) -> Result<ResponseHead, NoHead> {
    let written = match connection.writer.try_write(&prepared.first) {
        Ok(sent) => write_rest(connection, prepared, sent).await,
        Err(error) => Err(error),
    };
    let mut reading = HeadReading::after_write(written);
    loop {
        let read = connection.reader.read(bytes).await;
        if let Some(head) = reading.take(connection, bytes, read)? {
            return Ok(head);
        }
    }
}

/// Writes the request, of which `sent` bytes were sent at once.
async fn write_rest(connection: &mut Connection, prepared: &Prepared, sent: usize) -> io::Result<()> {
    connection.writer.write_shared_rest(&prepared.first, sent).await?;
    match &prepared.rest {
        Some(rest) => connection.writer.write_shared(rest).await,
        None => Ok(()),
    }
}

/// How far the head of a response was read.
struct HeadReading {
    scan: HeadScan,
    write_error: Option<NoHead>,
}

impl HeadReading {
    /// Begins after the write of the request. A server that refuses a request early closes while
    /// we write. Its response can be read all the same.
    fn after_write(written: io::Result<()>) -> HeadReading {
        let write_error = written.err().map(|error| NoHead::broken("write", &error));
        HeadReading { scan: HeadScan::default(), write_error }
    }

    /// Looks for the head in `bytes`, to which a read has added something.
    fn take(
        &mut self,
        connection: &mut Connection,
        bytes: &[u8],
        read: io::Result<usize>,
    ) -> Result<Option<ResponseHead>, NoHead> {
        let read_error = match read {
            Ok(0) => Some(NoHead::new("it closed the connection")),
            Ok(_) => None,
            Err(error) => Some(NoHead::broken("read", &error)),
        };
        if let Some(read_error) = read_error {
            return Err(self.write_error.take().unwrap_or(read_error));
        }
        let parsed = connection
            .heads
            .parse(bytes, &mut self.scan, &RESPONSE_HEAD, Method::Post)
            .map_err(|refusal| NoHead::new(refusal.reason))?;
        let Some(mut head) = parsed else { return Ok(None) };
        if head.status == 101 {
            return Err(NoHead::new("it switched to another protocol, which was not requested"));
        }
        head.keep_alive &= self.write_error.is_none();
        Ok(Some(head))
    }
}

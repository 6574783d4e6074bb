//! The exchange with a provider: a connection, the request, the head of the answer, and error
//! answers that are kept.

use std::rc::Rc;
use std::time::Duration;

use super::client::Waited;
use super::prepare::Prepared;
use super::request_context::{Next, RequestContext};
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::net::pool::{ConnectError, Connection, Origin};
use crate::telemetry::stages::Stage;
use llm_http::{BodyDecoder, HeadScan, Limits, Method, ResponseHead, Step, next_final_response};
use llm_wire::error::{Error, Kind, Side};

/// A provider's error answer is kept up to this size while other providers are tried.
const HELD_ANSWER: usize = 64 << 10;

/// Head of an upstream's answer. Providers send some 2 KiB.
const ANSWER_HEAD: Limits = Limits { head_bytes: 64 << 10 };

/// How an attempt ended.
pub enum End {
    /// The client has its answer, or as much of it as there was.
    Answered(Next),
    ClientGone,
    /// Nothing was sent to the client.
    Failed(Box<Failure>),
}

/// A failed attempt.
pub struct Failure {
    pub error: Error,
    /// The provider's own error answer.
    pub answer: Option<Answer>,
    /// Whether another provider may do better.
    pub retry: bool,
    /// The provider was asked since it serves every name, and does not have the model.
    pub lacks_model: bool,
}

impl Failure {
    pub fn of(error: Error) -> Box<Failure> {
        Box::new(Failure { retry: error.retryable(), error, answer: None, lacks_model: false })
    }

    /// The request cannot be said in this provider's format. Another one's may have the words.
    pub fn untranslatable(error: Error) -> Box<Failure> {
        Box::new(Failure { retry: true, error, answer: None, lacks_model: false })
    }

    /// Of two failures the one to tell of: a provider's own answer tells more than our note on a
    /// connection that could not be made, and what is wrong with the request more than what is
    /// wrong with a provider. That a provider of any name does not have this one tells least.
    pub fn or_better(self: Box<Failure>, later: Box<Failure>) -> Box<Failure> {
        let is_told = |failure: &Failure| failure.answer.is_some() || failure.error.side == Side::Client;
        if later.lacks_model {
            return self;
        }
        if is_told(&self) && !is_told(&later) { self } else { later }
    }
}

/// An upstream's answer whose head was read.
pub struct Upstream {
    pub connection: Connection,
    pub origin: Rc<Origin>,
    pub head: ResponseHead,
    /// The head and what came with it.
    pub bytes: Vec<u8>,
}

impl Upstream {
    /// Whether the body is a stream of server-sent events.
    pub fn is_event_stream(&self) -> bool {
        let content_type = self.head.get(&self.bytes, "content-type").unwrap_or_default();
        content_type.get(..17).is_some_and(|t| t.eq_ignore_ascii_case(b"text/event-stream"))
    }

    /// The answer was read to its end: the connection may serve another request, if both sides
    /// agree and nothing came behind the answer. What did would be given to the next client. Its
    /// next read gets the buffer of this one.
    pub fn settle(mut self, req: &RequestContext<'_>, body: &BodyDecoder) {
        self.connection.reader.recycle(self.bytes);
        if self.head.keep_alive && body.ended_alone() {
            req.core.pool.give_back(&self.origin, self.connection);
        }
    }
}

/// An error answer, read whole.
pub struct Answer {
    pub head: ResponseHead,
    /// What the head's offsets refer to.
    pub bytes: Vec<u8>,
    pub body: Vec<u8>,
    pub pooled: bool,
    /// The provider speaks another format: the client gets the error itself, in its own.
    pub foreign: bool,
}

/// Why there is no head of an answer.
pub enum Silence {
    Gone,
    Failed(Error),
}

/// Writes the request and reads the head of the answer. A pooled connection that turns out to be
/// closed is replaced once.
pub async fn ask(
    req: &mut RequestContext<'_>,
    origin: &Rc<Origin>,
    provider: &Provider,
    prepared: &Prepared,
) -> Result<Upstream, Silence> {
    if let Some(connection) = req.core.pool.checkout(origin) {
        req.recorder.end_stage(Stage::Connect);
        match exchange(req, connection, origin, &provider.key, prepared).await {
            Err((Silence::Failed(_), Stale::Yes)) => req.core.metrics.inc(Counter::StaleRetries),
            Err((silence, _)) => return Err(silence),
            Ok(upstream) => return Ok(upstream),
        }
    }
    req.core.metrics.inc(Counter::UpstreamConnects);
    let began_us = req.recorder.elapsed_us();
    req.client.deadline.set_opt(req.time_left());
    let core = req.core.clone();
    // Boxed, as all that is rare: a future carries the room of everything that it may wait for, and
    // is moved with it.
    let connection = match req.client.wait(Box::pin(core.pool.connect(origin))).await {
        Waited::Done(Ok(connection)) => connection,
        Waited::Done(Err(_)) if req.core.stopping() => return Err(Silence::Failed(Error::stopping())),
        Waited::Done(Err(error)) => return Err(Silence::Failed(no_connection(&provider.key, error))),
        Waited::Gone => return Err(Silence::Gone),
        Waited::Expired if req.core.stopping() => return Err(Silence::Failed(Error::stopping())),
        Waited::Expired => {
            let late = ConnectError::TimedOut("TOTAL_TIMEOUT_SECS is over".to_string());
            return Err(Silence::Failed(no_connection(&provider.key, late)));
        }
    };
    let us = req.recorder.elapsed_us().saturating_sub(began_us);
    req.core.tally.borrow_mut().connected((provider.id, &provider.key), us);
    req.recorder.end_stage(Stage::Connect);
    exchange(req, connection, origin, &provider.key, prepared).await.map_err(|(silence, _)| silence)
}

fn no_connection(provider: &str, error: ConnectError) -> Error {
    let (kind, reason, detail) = match error {
        ConnectError::TimedOut(detail) => (Kind::UpstreamTimeout, "it was not made in time", detail),
        ConnectError::Failed(failure) => (Kind::UpstreamConnect, failure.reason, failure.detail),
    };
    Error::upstream(kind, format!("no connection to provider `{provider}`: {reason}")).detail(detail)
}

/// Whether a failure may be that of a connection which the server had closed meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    Yes,
    No,
}

async fn exchange(
    req: &mut RequestContext<'_>,
    mut connection: Connection,
    origin: &Rc<Origin>,
    provider: &str,
    prepared: &Prepared,
) -> Result<Upstream, (Silence, Stale)> {
    let limit = first_byte_limit(req);
    req.client.deadline.set(limit);
    let mut bytes = Vec::new();
    let waited = req.client.wait(talk(&mut connection, prepared, &mut bytes)).await;
    match waited {
        Waited::Done(Ok(head)) => Ok(Upstream { connection, origin: origin.clone(), head, bytes }),
        Waited::Done(Err(why)) => {
            let stale = if connection.reused && bytes.is_empty() { Stale::Yes } else { Stale::No };
            let note = format!("provider `{provider}` gave no answer: {}", why.reason);
            let error = Error::upstream(Kind::UpstreamFault, note);
            let error = match why.detail {
                Some(detail) => error.detail(detail),
                None => error,
            };
            Err((Silence::Failed(error), stale))
        }
        Waited::Gone => Err((Silence::Gone, Stale::No)),
        Waited::Expired if req.core.stopping() => Err((Silence::Failed(Error::stopping()), Stale::No)),
        Waited::Expired => {
            let seconds = limit.as_secs_f32();
            let note = format!("provider `{provider}` did not begin to answer within {seconds} s");
            Err((Silence::Failed(Error::upstream(Kind::UpstreamTimeout, note)), Stale::No))
        }
    }
}

/// How long the head of the answer may take: the longest silence, and for a stream the time to its
/// first content if that is limited.
fn first_byte_limit(req: &RequestContext<'_>) -> Duration {
    let boot = req.core.boot();
    let mut limit = boot.request_timeout;
    if let Some(ttft) = boot.ttft_timeout
        && req.stream
    {
        limit = limit.min(ttft);
    }
    req.time_left().map_or(limit, |left| limit.min(left))
}

/// Why no head of an answer came.
struct NoHead {
    /// For the client: without addresses.
    reason: &'static str,
    /// For the log.
    detail: Option<String>,
}

impl NoHead {
    fn of(reason: &'static str, detail: String) -> NoHead {
        NoHead { reason, detail: Some(detail) }
    }
}

/// Writes the request, reads the head. What was read stays in `bytes`.
async fn talk(connection: &mut Connection, prepared: &Prepared, bytes: &mut Vec<u8>) -> Result<ResponseHead, NoHead> {
    let mut sent = connection.writer.write_shared(prepared.first.clone()).await;
    if let (Ok(()), Some(rest)) = (&sent, &prepared.rest) {
        sent = connection.writer.write_shared(rest.clone()).await;
    }
    // A server that refuses a request early closes while we write; its answer is there to be read
    // all the same.
    let unsent = sent.err().map(|error| NoHead::of("the connection broke", format!("write: {error}")));
    let mut scan = HeadScan::default();
    loop {
        match connection.reader.read(bytes).await {
            Ok(0) => return Err(unsent.unwrap_or(NoHead { reason: "it closed the connection", detail: None })),
            Ok(_) => {}
            Err(error) => {
                return Err(unsent.unwrap_or_else(|| NoHead::of("the connection broke", format!("read: {error}"))));
            }
        }
        let parsed = next_final_response(bytes, &mut scan, &ANSWER_HEAD, Method::Post)
            .map_err(|refusal| NoHead { reason: refusal.reason, detail: None })?;
        if let Some(mut head) = parsed {
            if head.status == 101 {
                return Err(NoHead { reason: "it switched to another protocol unasked", detail: None });
            }
            head.keep_alive &= unsent.is_none();
            return Ok(head);
        }
    }
}

/// Reads a provider's error answer whole, to be sent to the client if no other provider does
/// better.
pub async fn hold(req: &mut RequestContext<'_>, mut upstream: Upstream, provider: &str, pooled: bool) -> End {
    let status = upstream.head.status;
    let error = Error::upstream(kind_of(status), format!("provider `{provider}` answered with status {status}"));
    match read_held(req, &mut upstream).await {
        Held::Gone => End::ClientGone,
        Held::Broken => End::Failed(Failure::of(error)),
        Held::Read(body, decoder) => {
            let (head, bytes) = (upstream.head.clone(), std::mem::take(&mut upstream.bytes));
            upstream.settle(req, &decoder);
            let answer = Some(Answer { head, bytes, body, pooled, foreign: false });
            End::Failed(Box::new(Failure { error, answer, retry: true, lacks_model: false }))
        }
    }
}

/// What became of reading an error answer.
pub enum Held {
    Read(Vec<u8>, BodyDecoder),
    Gone,
    /// Too large, too slow, cut or malformed.
    Broken,
}

pub async fn read_held(req: &mut RequestContext<'_>, upstream: &mut Upstream) -> Held {
    let mut decoder = BodyDecoder::new(upstream.head.framing);
    let mut input = upstream.bytes.split_off(upstream.head.len);
    let mut body = Vec::new();
    req.client.deadline.set(req.core.boot().request_timeout);
    loop {
        let mut pos = 0;
        let ended = loop {
            match decoder.next(&input, &mut pos) {
                Ok(Step::Data(range)) => body.extend_from_slice(&input[range]),
                Ok(Step::More) => break false,
                Ok(Step::End) => break true,
                Err(_) => return Held::Broken,
            }
        };
        if ended {
            return held(req, body, decoder);
        }
        if body.len() > HELD_ANSWER {
            return Held::Broken;
        }
        input.clear();
        match req.client.wait(upstream.connection.reader.read(&mut input)).await {
            Waited::Done(Ok(n)) if n > 0 => {}
            Waited::Gone => return Held::Gone,
            Waited::Done(Ok(_)) if decoder.eof().is_ok() => return held(req, body, decoder),
            Waited::Done(_) | Waited::Expired => return Held::Broken,
        }
    }
}

fn held(req: &mut RequestContext<'_>, body: Vec<u8>, decoder: BodyDecoder) -> Held {
    if let Some(detail) = req.recorder.detail() {
        detail.received(&body, false);
    }
    Held::Read(body, decoder)
}

fn kind_of(status: u16) -> Kind {
    match status {
        408 | 504 => Kind::UpstreamTimeout,
        429 => Kind::RateLimit,
        503 | 529 => Kind::Overloaded,
        _ => Kind::UpstreamFault,
    }
}

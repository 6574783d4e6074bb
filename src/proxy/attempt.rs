//! One try of a request at one provider: connection, write, head of the answer, and then the relay.
//!
//! Until something was sent to the client, a try may fail and another provider be asked. What was learned of the failure is kept: when no
//! provider is left, the client gets the provider's own answer if there was one.

use std::rc::Rc;
use std::time::Duration;

use super::client::Waited;
use super::conn::Next;
use super::core::View;
use super::prepare::{self, Prepared};
use super::relay;
use super::request::Exchange;
use crate::error::{Error, Kind};
use crate::metrics::names::Counter;
use crate::net::http::{BodyDecoder, HeadScan, Limits, Method, ResponseHead, Step, next_final_response};
use crate::net::pool::{ConnectError, Connection, Origin};
use crate::route::pick::Candidate;

/// A provider's error answer is kept up to this size while other providers are tried.
const HELD_ANSWER: usize = 64 << 10;

/// Head of an upstream's answer. Providers send some 2 KiB.
const ANSWER_HEAD: Limits = Limits { head_bytes: 64 << 10 };

/// What one attempt is to do.
pub struct Plan<'a> {
    pub candidate: &'a Candidate,
    /// Several accounts stand behind this model.
    pub pooled: bool,
    /// Nobody is left to ask after this one.
    pub last: bool,
}

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
}

impl Failure {
    pub fn of(error: Error) -> Box<Failure> {
        Box::new(Failure { retry: error.retryable(), error, answer: None })
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
    /// The answer was read to its end: the connection may serve another request, if both sides agree and nothing came behind the answer. What
    /// did would be given to the next client.
    pub fn settle(self, x: &Exchange<'_>, body: &BodyDecoder) {
        if self.head.keep_alive && body.ended_alone() {
            x.core.pool.give_back(&self.origin, self.connection);
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
}

/// Why there is no head of an answer.
enum Silence {
    Gone,
    Failed(Error),
}

pub async fn run(x: &mut Exchange<'_>, view: &View, plan: &Plan<'_>) -> End {
    let provider = view.provider(plan.candidate.provider).clone();
    x.core.metrics.inc(Counter::Attempts);
    let record = x.ticket.edit();
    record.attempts = record.attempts.saturating_add(1);
    record.provider = provider.id;
    record.provider_format = Some(plan.candidate.format);
    let prepared = match prepare::bypass(x, view, plan.candidate) {
        Ok(prepared) => prepared,
        Err(error) => return End::Failed(Failure::of(error)),
    };
    let origin = view.origin(plan.candidate.provider);
    let upstream = match ask(x, origin, &provider.key, &prepared).await {
        Ok(upstream) => upstream,
        Err(Silence::Gone) => return End::ClientGone,
        Err(Silence::Failed(error)) => return End::Failed(Failure::of(error)),
    };
    x.ticket.first_byte();
    let status = upstream.head.status;
    if matches!(status, 401 | 403) {
        return End::Failed(Failure::of(refused_key(&provider.key, status)));
    }
    if may_fail_over(&upstream) && !plan.last {
        return hold(x, upstream, &provider.key, plan.pooled).await;
    }
    let answer = relay::Plan { renamed: prepared.renamed, pooled: plan.pooled, provider: &provider.key };
    relay::run(x, upstream, &answer).await
}

/// The provider refused the key in its row. The client's own key was right, so it never sees a 401 for it.
fn refused_key(provider: &str, status: u16) -> Error {
    let note = format!("upstream authentication failed: provider `{provider}` refused its key (status {status})");
    Error::upstream(Kind::UpstreamAuth, note)
}

fn may_fail_over(upstream: &Upstream) -> bool {
    let wanted = upstream.head.get(&upstream.bytes, "x-should-retry");
    matches!(upstream.head.status, 408 | 429 | 500..) && wanted.is_none_or(|value| value != b"false")
}

/// Writes the request and reads the head of the answer. A pooled connection that turns out to be closed is replaced once.
async fn ask(
    x: &mut Exchange<'_>,
    origin: &Rc<Origin>,
    provider: &str,
    prepared: &Prepared,
) -> Result<Upstream, Silence> {
    if let Some(connection) = x.core.pool.checkout(origin) {
        match exchange(x, connection, origin, provider, prepared).await {
            Err((Silence::Failed(_), Stale::Yes)) => x.core.metrics.inc(Counter::StaleRetries),
            Err((silence, _)) => return Err(silence),
            Ok(upstream) => return Ok(upstream),
        }
    }
    x.core.metrics.inc(Counter::UpstreamConnects);
    x.client.deadline.set_opt(x.time_left());
    let core = x.core.clone();
    // Boxed, as all that is rare: a future carries the room of everything that it may wait for, and is moved with it.
    let connection = match x.client.wait(Box::pin(core.pool.connect(origin))).await {
        Waited::Done(Ok(connection)) => connection,
        Waited::Done(Err(_)) if x.core.stopping() => return Err(Silence::Failed(Error::stopping())),
        Waited::Done(Err(error)) => return Err(Silence::Failed(no_connection(provider, error))),
        Waited::Gone => return Err(Silence::Gone),
        Waited::Expired if x.core.stopping() => return Err(Silence::Failed(Error::stopping())),
        Waited::Expired => {
            let late = ConnectError::TimedOut("TOTAL_TIMEOUT_SECS is over".to_string());
            return Err(Silence::Failed(no_connection(provider, late)));
        }
    };
    exchange(x, connection, origin, provider, prepared).await.map_err(|(silence, _)| silence)
}

fn no_connection(provider: &str, error: ConnectError) -> Error {
    let (kind, detail) = match error {
        ConnectError::TimedOut(detail) => (Kind::UpstreamTimeout, detail),
        ConnectError::Failed(detail) => (Kind::UpstreamConnect, detail),
    };
    Error::upstream(kind, format!("no connection to provider `{provider}`")).detail(detail)
}

/// Whether a failure may be that of a connection which the server had closed meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stale {
    Yes,
    No,
}

async fn exchange(
    x: &mut Exchange<'_>,
    mut connection: Connection,
    origin: &Rc<Origin>,
    provider: &str,
    prepared: &Prepared,
) -> Result<Upstream, (Silence, Stale)> {
    let limit = first_byte_limit(x);
    x.client.deadline.set(limit);
    let mut bytes = Vec::new();
    let waited = x.client.wait(talk(&mut connection, prepared, &mut bytes)).await;
    match waited {
        Waited::Done(Ok(head)) => Ok(Upstream { connection, origin: origin.clone(), head, bytes }),
        Waited::Done(Err(why)) => {
            let stale = if connection.reused && bytes.is_empty() { Stale::Yes } else { Stale::No };
            let note = format!("provider `{provider}` gave no answer");
            Err((Silence::Failed(Error::upstream(Kind::UpstreamFault, note).detail(why)), stale))
        }
        Waited::Gone => Err((Silence::Gone, Stale::No)),
        Waited::Expired if x.core.stopping() => Err((Silence::Failed(Error::stopping()), Stale::No)),
        Waited::Expired => {
            let seconds = limit.as_secs_f32();
            let note = format!("provider `{provider}` did not begin to answer within {seconds} s");
            Err((Silence::Failed(Error::upstream(Kind::UpstreamTimeout, note)), Stale::No))
        }
    }
}

/// How long the head of the answer may take: the longest silence, and for a stream the time to its first content if that is limited.
fn first_byte_limit(x: &Exchange<'_>) -> Duration {
    let boot = x.core.boot();
    let mut limit = boot.request_timeout;
    if let Some(ttft) = boot.ttft_timeout
        && x.stream
    {
        limit = limit.min(ttft);
    }
    x.time_left().map_or(limit, |left| limit.min(left))
}

/// Writes the request, reads the head. What was read stays in `bytes`.
async fn talk(connection: &mut Connection, prepared: &Prepared, bytes: &mut Vec<u8>) -> Result<ResponseHead, String> {
    let mut sent = connection.writer.write_shared(prepared.first.clone()).await;
    if let (Ok(()), Some(rest)) = (&sent, &prepared.rest) {
        sent = connection.writer.write_shared(rest.clone()).await;
    }
    // A server that refuses a request early closes while we write; its answer is there to be read all the same.
    let unsent = sent.err().map(|error| format!("write: {error}"));
    let mut scan = HeadScan::default();
    loop {
        match connection.reader.read(bytes).await {
            Ok(0) => return Err(unsent.unwrap_or_else(|| "closed before an answer".to_string())),
            Ok(_) => {}
            Err(error) => return Err(unsent.unwrap_or_else(|| format!("read: {error}"))),
        }
        let parsed = next_final_response(bytes, &mut scan, &ANSWER_HEAD, Method::Post).map_err(|r| r.reason)?;
        if let Some(mut head) = parsed {
            if head.status == 101 {
                return Err("switched to another protocol unasked".to_string());
            }
            head.keep_alive &= unsent.is_none();
            return Ok(head);
        }
    }
}

/// Reads a provider's error answer whole, to be sent to the client if no other provider does better.
async fn hold(x: &mut Exchange<'_>, mut upstream: Upstream, provider: &str, pooled: bool) -> End {
    let status = upstream.head.status;
    let error = Error::upstream(kind_of(status), format!("provider `{provider}` answered with status {status}"));
    let mut decoder = BodyDecoder::new(upstream.head.framing);
    let mut input = upstream.bytes.split_off(upstream.head.len);
    let mut body = Vec::new();
    x.client.deadline.set(x.core.boot().request_timeout);
    loop {
        let mut pos = 0;
        let ended = loop {
            match decoder.next(&input, &mut pos) {
                Ok(Step::Data(range)) => body.extend_from_slice(&input[range]),
                Ok(Step::More) => break false,
                Ok(Step::End) => break true,
                Err(_) => return End::Failed(Failure::of(error)),
            }
        };
        if ended {
            break;
        }
        if body.len() > HELD_ANSWER {
            return End::Failed(Failure::of(error));
        }
        input.clear();
        match x.client.wait(upstream.connection.reader.read(&mut input)).await {
            Waited::Done(Ok(n)) if n > 0 => {}
            Waited::Gone => return End::ClientGone,
            Waited::Done(Ok(_)) if decoder.eof().is_ok() => break,
            Waited::Done(_) | Waited::Expired => return End::Failed(Failure::of(error)),
        }
    }
    let answer = Answer { head: upstream.head.clone(), bytes: std::mem::take(&mut upstream.bytes), body, pooled };
    upstream.settle(x, &decoder);
    End::Failed(Box::new(Failure { error, answer: Some(answer), retry: true }))
}

fn kind_of(status: u16) -> Kind {
    match status {
        408 | 504 => Kind::UpstreamTimeout,
        429 => Kind::RateLimit,
        503 | 529 => Kind::Overloaded,
        _ => Kind::UpstreamFault,
    }
}

/// No provider is left: the client gets the last one's answer, or our note.
pub async fn give_up(x: &mut Exchange<'_>, failure: Box<Failure>) -> Next {
    let Some(answer) = failure.answer else { return x.fail(&failure.error).await };
    let mut out = Vec::with_capacity(1024 + answer.body.len());
    let framed = relay::Framed::Length(answer.body.len() as u64);
    relay::begin(&mut out, x, &answer.head, &answer.bytes, answer.pooled, framed);
    relay::end_head(&mut out, framed);
    out.extend_from_slice(&answer.body);
    x.ticket.complete(answer.head.status);
    x.finish(out).await
}

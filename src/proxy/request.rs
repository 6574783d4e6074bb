//! One request from its head to its end: [`serve`] is the story, each stage is one call.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use super::attempt::{self, Failure};
use super::auth::{self, Caller};
use super::client::{Client, Gone};
use super::conn::Next;
use super::core::{Core, View};
use super::endpoint::{self, Operation, Relay};
use super::reply::{self, Terms};
use super::ticket::Ticket;
use super::{body, headers, local, pin};
use crate::error::{Error, Kind, Methods};
use crate::metrics::names::Counter;
use crate::net::http::{Method, RequestHead};
use crate::record::entry::Short;
use crate::record::stage::Stage;
use crate::record::trace::Parent;
use crate::route::pick::Candidates;
use crate::tokens;
use crate::wire::peek::{self, Peek};

/// Longest name of a model, in bytes. Names are remembered, matched against patterns and repeated in errors; those in use are far shorter.
const MAX_MODEL: usize = 1024;

/// A request in the hands of its stages.
pub struct Exchange<'c> {
    pub core: &'c Rc<Core>,
    pub client: &'c mut Client,
    pub ticket: Ticket,
    pub terms: Terms,
    pub head: RequestHead,
    /// What the head's offsets refer to; also the body, where it came along.
    pub received: body::Received,
    pub relay: Relay,
    pub model: Model,
    /// The client asked for a stream.
    pub stream: bool,
    pub wants: Wants,
}

/// What a body says that routing does not need.
#[derive(Debug, Clone, Default)]
pub struct Wants {
    /// The client of a Chat stream asked for the chunk with usage.
    pub include_usage: bool,
    /// Where `stream_options` stands in the body.
    pub stream_options: Option<Range<usize>>,
}

/// The model of a request.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// As the client wrote it.
    pub asked: String,
    /// Where its own name begins, behind the prefix of `PROVIDER_SUFFIX`.
    own: usize,
    /// Where its value stands in the body, quotes included.
    pub value: Range<usize>,
}

impl Model {
    /// Without the prefix: what permissions and mappings know.
    pub fn stripped(&self) -> &str {
        self.asked.get(self.own..).unwrap_or_default()
    }
}

impl Exchange<'_> {
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
        Some(total.saturating_sub(Duration::from_micros(self.ticket.elapsed_us())))
    }

    /// How long an upstream may say nothing.
    pub fn silence_limit(&self) -> Duration {
        let limit = self.core.boot().request_timeout;
        self.time_left().map_or(limit, |left| left.min(limit))
    }

    /// What follows on the connection when an answer went out whole.
    pub fn next(&self) -> Next {
        if self.terms.keep_alive { Next::KeepAlive } else { Next::Close }
    }

    /// Something goes wrong: see [`Ticket::recall`].
    pub fn recall(&mut self) {
        self.ticket.recall(&self.received.bytes()[..self.head.len]);
    }

    /// The answer broke off after its head was sent.
    pub fn truncated(&mut self, error: &Error) {
        self.recall();
        self.ticket.truncated(error);
    }

    /// Answers with an error; the request's body was read.
    pub async fn fail(&mut self, error: &Error) -> Next {
        self.recall();
        self.terms.keep_alive &= !self.core.shared.draining();
        let mut out = Vec::with_capacity(1024);
        let status = reply::error(&mut out, &self.terms, self.ticket.request_id(), error);
        log(&self.ticket, error, status);
        self.ticket.failed(status, error);
        self.ticket.replies(&out);
        self.finish(out).await
    }

    /// Sends a whole answer that the ticket already knows of.
    pub async fn finish(&mut self, out: Vec<u8>) -> Next {
        match self.send(out).await {
            Ok(_) => self.next(),
            Err(_) => self.gone(),
        }
    }

    /// Sends a part of the answer and hands the buffer back empty.
    pub async fn send(&mut self, out: Vec<u8>) -> Result<Vec<u8>, Gone> {
        let handed_over = self.ticket.hands_over();
        self.ticket.sent(out.len());
        let sent = self.client.send(out).await;
        self.ticket.taken(handed_over);
        sent
    }

    pub fn log(&self, error: &Error, status: u16) {
        log(&self.ticket, error, status);
    }

    pub fn gone(&mut self) -> Next {
        self.ticket.client_gone();
        Next::Abort
    }
}

fn log(ticket: &Ticket, error: &Error, status: u16) {
    // What a client did wrong is its own to read; the rest is somebody's to mend.
    if status >= 500 {
        tracing::warn!(request_id = ticket.request_id(), status, kind = error.kind.row().label, "{}", error.logged());
    } else {
        tracing::debug!(request_id = ticket.request_id(), status, kind = error.kind.row().label, "{}", error.logged());
    }
}

/// Serves the request whose head stands at the front of `client.buf`.
pub async fn serve(core: &Rc<Core>, client: &mut Client, head: RequestHead) -> Next {
    let bytes = std::mem::take(&mut client.buf);
    let id = request_id(core, &head, &bytes);
    let mut ticket = Ticket::new(core, id.as_str(), &bytes[..head.len], client.head_began);
    ticket.traces(head.get(&bytes, "traceparent").and_then(Parent::parse));
    ticket.program(client.program(core, head.get(&bytes, "user-agent").unwrap_or_default()));
    let terms = terms(core, &head, &bytes);
    let relay = endpoint::relay(&String::from_utf8_lossy(head.path(&bytes)));
    ticket.edit().method = method_name(head.method);
    let pending = body::Pending { head, bytes };

    let relay = match relay {
        _ if pending.head.upgrade_websocket => {
            let note = "this gateway does not speak WebSocket; send the same request as an HTTP POST";
            return refuse(client, ticket, terms, pending, Error::client(Kind::UpgradeRequired, note)).await;
        }
        _ if pending.head.method == Method::Options => {
            return Box::pin(local::preflight(client, ticket, terms, pending)).await;
        }
        Some(relay) if pending.head.method == Method::Post => relay,
        Some(relay) => {
            let note = format!("{} takes POST only", relay.route);
            let error = Error::client(Kind::MethodNotAllowed, note).allow(Methods::Post);
            return refuse(client, ticket, terms, pending, error).await;
        }
        None => {
            let path = String::from_utf8_lossy(pending.head.path(&pending.bytes)).into_owned();
            return Box::pin(local::serve(core, client, ticket, terms, pending, endpoint::find(&path))).await;
        }
    };
    ticket.enters(relay.route);
    ticket.edit().client_format = Some(relay.format);
    if relay.operation == Operation::Generate {
        ticket.generates();
    }

    let view = core.view();
    ticket.edit().generation = view.snapshot.generation;
    let caller = match identify(core, &view, &pending, ticket.started_s()) {
        Ok(caller) => caller,
        Err(error) => return refuse(client, ticket, terms, pending, error).await,
    };
    ticket.edit().credential = caller.map_or(0, |credential| credential.id);
    ticket.lap(Stage::Auth);

    let (head, received) = match body::read(core, client, pending).await {
        Ok(read) => read,
        Err(body::Stopped::Gone) => return Next::Abort,
        Err(body::Stopped::Refused(error, pending)) => {
            return refuse(client, ticket, terms, *pending, error).await;
        }
    };
    ticket.edit().request_bytes = received.body().len() as u64;
    if let Some(detail) = ticket.detail() {
        detail.body(received.body());
    }
    ticket.lap(Stage::BodyRead);
    let (model, wants) = (Model::default(), Wants::default());
    let mut x = Exchange { core, client, ticket, terms, head, received, relay, model, stream: false, wants };
    match admit(&mut x, &view, caller) {
        Ok(candidates) => attempt_all(&mut x, &view, &candidates).await,
        Err(error) => x.fail(&error).await,
    }
}

/// Everything that is decided before a provider is asked: what the body wants, whether the caller may have it, who serves it.
fn admit(x: &mut Exchange<'_>, view: &View, caller: Caller<'_>) -> Result<Rc<Candidates>, Error> {
    let Found { model, stream, wants, max_output } = look(x)?;
    x.stream = stream;
    x.model = model;
    x.wants = wants;
    x.ticket.edit().model = Short::new(&x.model.asked);
    x.ticket.edit().stream = x.stream;
    auth::allow_model(caller, x.model.stripped())?;
    if x.relay.operation != Operation::Count && caller.is_some_and(|caller| !caller.limits.is_none()) {
        x.ticket.lap(Stage::Route);
        let generates = x.relay.operation == Operation::Generate;
        let need = || tokens::estimate(&tokens::Request { body: x.body(), max_output, generates });
        match auth::admit(x.core, caller, need) {
            Ok(None) => {}
            Ok(Some((hold, budget))) => {
                x.ticket.hold(hold);
                x.terms.budget = Some(budget);
            }
            Err(denied) => {
                let auth::Denied { error, budget, limit } = *denied;
                x.core.metrics.inc(Counter::RateLimited);
                if let Some(credential) = caller {
                    let most = x.core.boot().observe.metrics_max_credentials;
                    x.core.tally.borrow_mut().rejected(limit, credential, &view.snapshot, most);
                }
                x.terms.budget = Some(budget);
                return Err(error);
            }
        }
        x.ticket.lap(Stage::Limit);
    }
    let relay = x.relay;
    let candidates = view.selector.candidates(&view.snapshot, relay.format, relay.translates(), x.model.stripped());
    if candidates.list.is_empty() {
        return Err(no_candidate(x, view, &candidates));
    }
    x.ticket.lap(Stage::Route);
    Ok(candidates)
}

struct Found {
    model: Model,
    stream: bool,
    max_output: Option<u64>,
    wants: Wants,
}

fn look(x: &Exchange<'_>) -> Result<Found, Error> {
    let multipart = x.head.get(x.bytes(), "content-type").is_some_and(|t| t.starts_with(b"multipart/"));
    if multipart {
        let note = "multipart bodies are not relayed by this version; send JSON";
        return Err(Error::client(Kind::UnsupportedEncoding, note));
    }
    let peeked: Peek<'_> = peek::peek(x.body()).map_err(|error| {
        x.core.metrics.inc(Counter::BadRequests);
        Error::from(error)
    })?;
    let asked = peeked.model.unescape().into_owned();
    if asked.len() > MAX_MODEL {
        let note = format!("`model` is {} bytes long; names of models have at most {MAX_MODEL}", asked.len());
        return Err(Error::client(Kind::InvalidRequest, note).param("model"));
    }
    let own = asked.len() - strip(x.core, &asked).len();
    let wants = Wants { include_usage: peeked.include_usage, stream_options: peeked.stream_options.map(|(_, at)| at) };
    let model = Model { asked, own, value: peeked.model_at };
    Ok(Found { model, stream: peeked.stream, max_output: peeked.max_output, wants })
}

/// `Proxy/gpt-4` without the configured prefix; other prefixes belong to the name.
fn strip<'m>(core: &Core, model: &'m str) -> &'m str {
    let Some(prefix) = &core.boot().model_prefix else { return model };
    match model.split_once('/') {
        Some((first, rest)) if first == prefix && !rest.is_empty() => rest,
        _ => model,
    }
}

fn no_candidate(x: &Exchange<'_>, view: &View, candidates: &Candidates) -> Error {
    let model = x.model.stripped();
    if candidates.foreign > 0 {
        let note = format!(
            "model `{model}` is served, but not at {}: that takes a provider of format {}, and is never translated",
            x.relay.route, x.relay.format
        );
        return Error::client(Kind::NotSupported, note).param("model");
    }
    let note = if view.snapshot.providers.is_empty() {
        x.core.shared.hints.no_providers.clone()
    } else {
        format!("no provider serves model `{model}`; GET /v1/models lists what is served")
    };
    Error::client(Kind::ModelNotFound, note).param("model")
}

/// Tries the candidates in turn until one answers or something has reached the client.
async fn attempt_all(x: &mut Exchange<'_>, view: &View, candidates: &Candidates) -> Next {
    let most = x.core.boot().max_attempts.min(candidates.list.len()).max(1);
    let pinned = pin::find(x, view, candidates);
    let order = pinned.into_iter().chain(candidates.order().filter(|c| pinned.is_none_or(|p| !std::ptr::eq(p, *c))));
    let mut failure: Option<Box<Failure>> = None;
    for (at, candidate) in order.take(most).enumerate() {
        let plan = attempt::Plan { candidate, pooled: candidates.pooled(), last: at + 1 == most };
        match attempt::run(x, view, &plan).await {
            attempt::End::Answered(next) => return next,
            attempt::End::ClientGone => return x.gone(),
            attempt::End::Failed(new) => {
                x.core.metrics.inc(Counter::AttemptsFailed);
                let again = new.retry && at + 1 < most && !x.core.stopping();
                failure = Some(match failure {
                    Some(old) => old.or_better(new),
                    None => new,
                });
                if !again {
                    break;
                }
            }
        }
    }
    match failure {
        Some(failure) => attempt::give_up(x, failure).await,
        None => {
            let note = format!("every provider of model `{}` is out of service", x.model.stripped());
            x.fail(&Error::gateway(Kind::NoUpstream, note)).await
        }
    }
}

fn identify<'v>(core: &Core, view: &'v View, pending: &body::Pending, now: i64) -> Result<Caller<'v>, Error> {
    let key = auth::key(|name| pending.head.get(&pending.bytes, name));
    auth::check(core, &view.snapshot, key, now).inspect_err(|_| core.metrics.inc(Counter::AuthFailures))
}

/// Answers with an error while the request's body may be unread: then the connection can't go on.
///
/// Boxed here, since it is rare and called in many places; each would carry its room.
pub fn refuse<'c>(
    client: &'c mut Client,
    mut ticket: Ticket,
    mut terms: Terms,
    pending: body::Pending,
    error: Error,
) -> Pin<Box<dyn Future<Output = Next> + 'c>> {
    Box::pin(async move {
        ticket.recall(&pending.bytes[..pending.head.len]);
        terms.keep_alive &= pending.skip_body(client);
        let mut out = Vec::with_capacity(1024);
        let status = reply::error(&mut out, &terms, ticket.request_id(), &error);
        log(&ticket, &error, status);
        ticket.failed(status, &error);
        ticket.replies(&out);
        local::send(client, ticket, terms.keep_alive, out).await
    })
}

fn terms(core: &Core, head: &RequestHead, bytes: &[u8]) -> Terms {
    let path = std::str::from_utf8(head.path(bytes)).unwrap_or("/");
    Terms {
        format: endpoint::error_format(path, head.get(bytes, "anthropic-version").is_some()),
        version: head.version,
        keep_alive: head.keep_alive && !core.shared.draining(),
        head_only: head.method == Method::Head,
        cors: head.get(bytes, "origin").is_some(),
        budget: None,
    }
}

/// The client's request id if it sent a proper one, else a new one.
fn request_id(core: &Core, head: &RequestHead, bytes: &[u8]) -> Short<64> {
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

//! One request from its head to its end: [`serve`] calls one stage after the other.

use std::rc::Rc;

use super::auth::{self, Caller};
use super::client::{Client, ClientDisconnected};
use super::core::{Core, MAX_MODEL, WorkerSnapshot};
use super::endpoint::{self, ApiRoute, Operation};
use super::failover;
use super::head_facts::HeadFacts;
use super::interrupt::Interrupt;
use super::issuer;
use super::relay::buffered;
use super::request_context::{
    Issuer, Model, Next, RequestContext, StreamOptions, method_name, new_request_id, refuse, response_meta,
};
use crate::config::prices::Tier;
use crate::metrics::names::Counter;
use crate::proxy::recorder::RequestRecorder;
use crate::proxy::{admission, body, budget, local, overload, tags};
use crate::route::pick::Candidates;
use crate::telemetry::record::Short;
use crate::telemetry::stages::Stage;
use crate::tokens;
use llm_http::{Method, RequestHead};
use llm_wire::error::{Error, Kind, Methods};
use llm_wire::passthrough::peek;
use llm_wire::passthrough::peek::Peek;

/// Serves the request whose head is at the front of `client.buf`.
pub async fn serve(core: &Rc<Core>, client: &mut Client, head: RequestHead) -> Next {
    let bytes = std::mem::take(&mut client.buf);
    let facts = client.facts(&head, &bytes);
    let id = facts.request_id.unwrap_or_else(|| new_request_id(core));
    let mut recorder = RequestRecorder::new(core, id, &bytes[..head.len], client.head_began);
    recorder.start_trace(facts.trace_parent);
    recorder.set_user_agent(facts.user_agent);
    recorder.record_mut().method = method_name(head.method);
    let meta = response_meta(core, &head, &bytes, &facts);
    let mut pending = body::Pending { head, bytes };

    let route = match find_route(&pending.head, facts.route) {
        Ok(Some(route)) => route,
        Ok(None) if pending.head.method == Method::Options => {
            return Box::pin(local::preflight(client, recorder, meta, pending)).await;
        }
        Ok(None) => {
            let path = String::from_utf8_lossy(pending.head.path(&pending.bytes)).into_owned();
            return Box::pin(local::serve(core, client, recorder, meta, pending, endpoint::find(&path))).await;
        }
        Err(error) => {
            recorder.set_route(facts.route.map_or("unknown", |route| route.template));
            return refuse(client, recorder, meta, pending, error).await;
        }
    };
    recorder.set_route(route.template);
    recorder.record_mut().client_format = Some(route.format);
    if route.operation == Operation::Generate {
        recorder.mark_generation();
    }

    let view = core.view();
    recorder.record_mut().generation = view.snapshot.generation;
    let caller = match authenticate(core, &view, &pending, &facts, recorder.started_s()) {
        Ok(caller) => caller,
        Err(error) => return refuse(client, recorder, meta, pending, error).await,
    };
    recorder.record_mut().credential = caller.map_or(0, |credential| credential.id);
    recorder.end_stage(Stage::Auth);

    let received = match body::take_arrived(core, client, &mut pending) {
        Some(received) => Ok(received),
        None => body::read(core, client, &mut pending).await,
    };
    let received = match received {
        Ok(received) => received,
        Err(Interrupt::ClientDisconnected) => return Next::Abort,
        Err(Interrupt::Failed(failure)) => return refuse(client, recorder, meta, pending, failure.error).await,
    };
    recorder.record_mut().request_bytes = received.body().len() as u64;
    recorder.capture.client_sent(received.body());
    if !received.is_inline() {
        recorder.end_stage(Stage::BodyRead);
    }

    let parts = (recorder, meta);
    let mut req = RequestContext::new(core, client, parts, pending.head, received, route, &facts, caller);
    let result = match forward(&mut req, &view, caller, &facts).await {
        Ok(next) => return next,
        Err(Interrupt::ClientDisconnected) => Err(ClientDisconnected),
        Err(Interrupt::Failed(failure)) => buffered::send_failure(&mut req, *failure).await,
    };
    result.unwrap_or_else(|ClientDisconnected| req.abort())
}

/// Decides who serves a request of which everything was read, and forwards it.
async fn forward(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    caller: Caller<'_>,
    facts: &HeadFacts,
) -> Result<Next, Interrupt> {
    let (candidates, output) = admit(req, view, caller, facts)?;
    let candidates = match enter_at_once(req, view, caller, &candidates, output) {
        true => candidates,
        false => enter(req, view, caller, candidates, output).await?,
    };
    failover::run(req, view, &candidates).await
}

/// Finds the route of a request for a provider. `None` is a path that the gateway serves itself, or
/// a preflight request.
fn find_route(head: &RequestHead, route: Option<ApiRoute>) -> Result<Option<ApiRoute>, Error> {
    if head.upgrade_websocket {
        let note = "this gateway does not speak WebSocket; send the same request as an HTTP POST";
        return Err(Error::client(Kind::UpgradeRequired, note));
    }
    match route {
        _ if head.method == Method::Options => Ok(None),
        Some(route) if head.method != Method::Post => {
            let note = format!("{} takes POST only", route.template);
            Err(Error::client(Kind::MethodNotAllowed, note).allow(Methods::Post))
        }
        route => Ok(route),
    }
}

fn authenticate<'v>(
    core: &Core,
    view: &'v WorkerSnapshot,
    pending: &body::Pending,
    facts: &HeadFacts,
    now: i64,
) -> Result<Caller<'v>, Error> {
    if facts.has_two_keys {
        auth::key(&pending.head, &pending.bytes)?;
    }
    auth::check(core, &view.snapshot, facts.key_hash.as_ref(), now, (&pending.head, &pending.bytes))
        .inspect_err(|_| core.metrics.inc(Counter::AuthFailures))
}

/// Decides everything that is decided before a provider is tried: what the body requests, whether
/// the caller may have it, and who serves it.
fn admit(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    facts: &HeadFacts,
) -> Result<(Rc<Candidates>, peek::Output), Error> {
    let BodyFields { model, stream, stream_options, output, alternatives, issuer, tier, has_envelope } =
        read_body_fields(req, facts.is_multipart)?;
    req.stream = stream;
    req.model = model;
    req.stream_options = stream_options;
    req.issuer = issuer;
    req.has_envelope = has_envelope;
    req.recorder.record_mut().model = Short::new(&req.model.requested);
    req.recorder.record_mut().stream = req.stream;
    if facts.has_tags {
        req.recorder.record_mut().tags = tags::read(req.core, view, &req.head, req.received.bytes())?;
    }
    req.recorder.set_tier(tier);
    auth::allow_model(caller, req.model.name())?;
    alternatives.iter().try_for_each(|model| auth::allow_model(caller, strip_prefix(req.core, model)))?;
    if req.route.operation != Operation::Count && caller.is_some_and(|caller| !caller.is_unlimited()) {
        req.recorder.end_stage(Stage::Route);
        reserve_limits(req, view, caller, output)?;
        req.recorder.end_stage(Stage::Limit);
    }
    let route = req.route;
    let (translates, name) = (route.translates(), req.model.name());
    let candidates = view.selector.candidates(&view.snapshot, route.format, translates, name, caller);
    if candidates.list.is_empty() {
        return Err(no_candidate(req, view, &candidates, caller));
    }
    if let Some(virtual_model) = &candidates.virtual_model {
        req.recorder.record_mut().virtual_model = virtual_model.id;
        req.hedging = virtual_model.options.hedge.or(req.hedging);
        req.rescue = virtual_model.options.rescue.unwrap_or(req.rescue);
    }
    req.pooled = candidates.pooled();
    req.recorder.end_stage(Stage::Route);
    Ok((candidates, output))
}

/// Reserves what the request may cost, if it has budgets and nothing limits the requests that run.
/// Returns false if [`enter`] has to do it: nearly all requests need no future for that.
fn enter_at_once(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    candidates: &Candidates,
    output: peek::Output,
) -> bool {
    // Without a wait this is no stage: reading the clock for it would cost as much as itself.
    !overload::limits_process(req)
        && (!has_budgets(req, view) || budget::reserve_at_once(req, view, caller, candidates, output))
}

fn has_budgets(req: &RequestContext<'_>, view: &WorkerSnapshot) -> bool {
    !view.snapshot.budgets.is_empty() && req.route.operation != Operation::Count
}

/// Waits for a place among the requests that run, and reserves what the request may cost. Returns
/// those who may serve it: other ones if a budget downgrades it.
async fn enter(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    candidates: Rc<Candidates>,
    output: peek::Output,
) -> Result<Rc<Candidates>, Interrupt> {
    let is_limited = overload::limits_process(req);
    if is_limited {
        req.slot = overload::enter_process(req).await?;
    }
    // Without a limit `enter_at_once` has tried to reserve, in vain.
    let may_reserve_at_once = is_limited;
    if has_budgets(req, view)
        && !(may_reserve_at_once && budget::reserve_at_once(req, view, caller, &candidates, output))
    {
        // Boxed, since it is rare that anything is waited for.
        let candidates = Box::pin(budget::reserve(req, view, caller, candidates, output)).await?;
        req.recorder.end_stage(Stage::Limit);
        return Ok(candidates);
    }
    req.recorder.end_stage(Stage::Limit);
    Ok(candidates)
}

/// Takes what the request needs from the limits of its credential.
fn reserve_limits(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    output: peek::Output,
) -> Result<(), Error> {
    let generates = req.route.operation == Operation::Generate;
    let (max_output, answers) = (output.most(req.route.format), output.answers(req.route.format));
    admission::reserve(req, view, caller, |req| {
        tokens::estimate(&tokens::Request { body: req.body(), max_output, answers, generates })
    })
}

/// What the gateway reads of every body.
struct BodyFields {
    model: Model,
    stream: bool,
    output: peek::Output,
    stream_options: StreamOptions,
    /// Other models that the provider may turn to: who may not use them must not name them.
    alternatives: Vec<String>,
    /// Who has issued the response that this one continues.
    issuer: Issuer,
    /// The tier of service that is asked for, if the body names one.
    tier: Option<Tier>,
    /// See [`Peek::has_envelope`].
    has_envelope: bool,
}

fn read_body_fields(req: &RequestContext<'_>, is_multipart: bool) -> Result<BodyFields, Error> {
    if is_multipart {
        let note = "multipart bodies are not relayed by this version; send JSON";
        return Err(Error::client(Kind::UnsupportedEncoding, note));
    }
    let peeked: Peek<'_> = req.core.templates.requests.borrow_mut().peek(req.body()).map_err(|error| {
        req.core.metrics.inc(Counter::BadRequests);
        Error::from(error)
    })?;
    let requested = req.core.model_name(peeked.model);
    if requested.len() > MAX_MODEL {
        let note = format!("`model` is {} bytes long; names of models have at most {MAX_MODEL}", requested.len());
        return Err(Error::client(Kind::InvalidRequest, note).param("model"));
    }
    let prefix_len = requested.len() - strip_prefix(req.core, &requested).len();
    let alternatives = peeked.alternatives().map(|name| name.unescape().into_owned()).collect();
    let stream_options =
        StreamOptions { include_usage: peeked.include_usage, span: peeked.stream_options.map(|(_, span)| span) };
    let issuer = match peeked.previous_response {
        Some(id) if req.route.format.profile().request.has_state => {
            let id = id.unescape();
            issuer::find(req, id.as_bytes(), || no_previous_response(&id))?
        }
        _ => Issuer::NotNamed,
    };
    let model = Model { requested, prefix_len, value: peeked.model_at };
    let tier = peeked.service_tier.map(|name| Tier::of(name.as_bytes()));
    let (stream, output, has_envelope) = (peeked.stream, peeked.output, peeked.has_envelope);
    Ok(BodyFields { model, stream, output, stream_options, alternatives, issuer, tier, has_envelope })
}

/// Returns the error for a response that the caller does not have, as OpenAI words it.
fn no_previous_response(id: &str) -> Error {
    let shown: String = id.chars().take(100).collect();
    Error::client(Kind::InvalidRequest, format!("Previous response with id '{shown}' not found."))
        .param("previous_response_id")
        .code("previous_response_not_found")
}

/// Returns `gpt-4` for `Proxy/gpt-4` where `Proxy` is the configured prefix. Other prefixes belong
/// to the name.
fn strip_prefix<'m>(core: &Core, model: &'m str) -> &'m str {
    let Some(prefix) = &core.boot().model_prefix else { return model };
    match model.split_once('/') {
        Some((first, rest)) if first == prefix && !rest.is_empty() => rest,
        _ => model,
    }
}

fn no_candidate(req: &RequestContext<'_>, view: &WorkerSnapshot, candidates: &Candidates, caller: Caller<'_>) -> Error {
    let model = req.model.name();
    if let Some(virtual_model) = &candidates.virtual_model
        && let Err(error) = auth::allow_members(caller, virtual_model)
    {
        return error;
    }
    if candidates.other_formats > 0 {
        let note = format!(
            "model `{model}` is served, but not at {}: that takes a provider of format {}, and is never translated",
            req.route.template, req.route.format
        );
        return Error::client(Kind::NotSupported, note).param("model");
    }
    let note = if view.snapshot.providers.is_empty() {
        view.snapshot.why_no_provider().unwrap_or_else(|| req.core.shared.hints.no_providers.clone())
    } else {
        let meant = meant_model(req, view, caller).map_or(String::new(), |name| format!(" did you mean `{name}`?"));
        format!("no provider serves model `{model}`;{meant} GET /v1/models lists what is served")
    };
    Error::client(Kind::ModelNotFound, note).param("model")
}

/// Returns the model that was probably meant by a name that nobody serves: the same without the
/// vendor before it, as other gateways and SDKs write names, without capitals or without spaces.
fn meant_model(req: &RequestContext<'_>, view: &WorkerSnapshot, caller: Caller<'_>) -> Option<String> {
    let model = req.model.name();
    let translates = req.route.translates();
    let is_served = |name: &String| {
        name != model
            && auth::allow_model(caller, name).is_ok()
            && !view.selector.candidates(&view.snapshot, req.route.format, translates, name, caller).list.is_empty()
    };
    let (whole, bare) = (model.trim(), model.rsplit('/').next().unwrap_or(model).trim());
    let names = [whole.to_owned(), whole.to_ascii_lowercase(), bare.to_owned(), bare.to_ascii_lowercase()];
    names.into_iter().find(is_served)
}

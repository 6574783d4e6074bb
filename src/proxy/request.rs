//! One request from its head to its end: [`serve`] is the story, each stage is one call.

use std::rc::Rc;

use super::attempt;
use super::auth::{self, Caller};
use super::client::Client;
use super::core::{Core, WorkerSnapshot};
use super::endpoint::{self, Operation};
use super::request_context::{Model, Next, RequestContext, StreamOptions, method_name, refuse, request_id, terms};
use super::upstream::{End, Failure};
use crate::metrics::names::Counter;
use crate::proxy::recorder::RequestRecorder;
use crate::proxy::{affinity, body, local};
use crate::route::pick::Candidates;
use crate::telemetry::record::Short;
use crate::telemetry::stages::Stage;
use crate::telemetry::trace::Parent;
use crate::tokens;
use llm_http::{Method, RequestHead};
use llm_wire::error::{Error, Kind, Methods};
use llm_wire::passthrough::peek;
use llm_wire::passthrough::peek::Peek;

/// Longest name of a model, in bytes. Names are remembered, matched against patterns and repeated
/// in errors; those in use are far shorter.
const MAX_MODEL: usize = 1024;

/// Serves the request whose head stands at the front of `client.buf`.
pub async fn serve(core: &Rc<Core>, client: &mut Client, head: RequestHead) -> Next {
    let bytes = std::mem::take(&mut client.buf);
    let id = request_id(core, &head, &bytes);
    let mut recorder = RequestRecorder::new(core, id.as_str(), &bytes[..head.len], client.head_began);
    recorder.start_trace(head.get(&bytes, "traceparent").and_then(Parent::parse));
    recorder.set_user_agent(client.program(core, head.get(&bytes, "user-agent").unwrap_or_default()));
    let terms = terms(core, &head, &bytes);
    let route = endpoint::relay(&String::from_utf8_lossy(head.path(&bytes)));
    recorder.record_mut().method = method_name(head.method);
    let pending = body::Pending { head, bytes };

    let route = match route {
        _ if pending.head.upgrade_websocket => {
            let note = "this gateway does not speak WebSocket; send the same request as an HTTP POST";
            return refuse(client, recorder, terms, pending, Error::client(Kind::UpgradeRequired, note)).await;
        }
        _ if pending.head.method == Method::Options => {
            return Box::pin(local::preflight(client, recorder, terms, pending)).await;
        }
        Some(route) if pending.head.method == Method::Post => route,
        Some(route) => {
            let note = format!("{} takes POST only", route.template);
            let error = Error::client(Kind::MethodNotAllowed, note).allow(Methods::Post);
            return refuse(client, recorder, terms, pending, error).await;
        }
        None => {
            let path = String::from_utf8_lossy(pending.head.path(&pending.bytes)).into_owned();
            return Box::pin(local::serve(core, client, recorder, terms, pending, endpoint::find(&path))).await;
        }
    };
    recorder.set_route(route.template);
    recorder.record_mut().client_format = Some(route.format);
    if route.operation == Operation::Generate {
        recorder.mark_generation();
    }

    let view = core.view();
    recorder.record_mut().generation = view.snapshot.generation;
    let caller = match identify(core, &view, &pending, recorder.started_s()) {
        Ok(caller) => caller,
        Err(error) => return refuse(client, recorder, terms, pending, error).await,
    };
    recorder.record_mut().credential = caller.map_or(0, |credential| credential.id);
    recorder.end_stage(Stage::Auth);

    let (head, received) = match body::read(core, client, pending).await {
        Ok(read) => read,
        Err(body::Stopped::Gone) => return Next::Abort,
        Err(body::Stopped::Refused(error, pending)) => {
            return refuse(client, recorder, terms, *pending, error).await;
        }
    };
    recorder.record_mut().request_bytes = received.body().len() as u64;
    if let Some(detail) = recorder.detail() {
        detail.body(received.body());
    }
    recorder.end_stage(Stage::BodyRead);
    let (model, stream_options) = (Model::default(), StreamOptions::default());
    let mut req = RequestContext {
        core,
        client,
        recorder,
        meta: terms,
        head,
        received,
        route,
        model,
        stream: false,
        stream_options,
    };
    match admit(&mut req, &view, caller) {
        Ok(candidates) => attempt_all(&mut req, &view, &candidates).await,
        Err(error) => req.fail(&error).await,
    }
}

/// Everything that is decided before a provider is asked: what the body requires, whether the caller
/// may have it, who serves it.
fn admit(req: &mut RequestContext<'_>, view: &WorkerSnapshot, caller: Caller<'_>) -> Result<Rc<Candidates>, Error> {
    let Found { model, stream, stream_options, output, alternatives } = look(req)?;
    req.stream = stream;
    req.model = model;
    req.stream_options = stream_options;
    req.recorder.record_mut().model = Short::new(&req.model.asked);
    req.recorder.record_mut().stream = req.stream;
    auth::allow_model(caller, req.model.stripped())?;
    alternatives.iter().try_for_each(|model| auth::allow_model(caller, strip(req.core, model)))?;
    if req.route.operation != Operation::Count && caller.is_some_and(|caller| !caller.limits.is_none()) {
        req.recorder.end_stage(Stage::Route);
        let generates = req.route.operation == Operation::Generate;
        let (max_output, answers) = (output.most(req.route.format), output.answers(req.route.format));
        let need = || tokens::estimate(&tokens::Request { body: req.body(), max_output, answers, generates });
        match auth::admit(req.core, caller, need) {
            Ok(None) => {}
            Ok(Some((hold, budget))) => {
                req.recorder.set_limit_hold(hold);
                req.meta.budget = Some(budget);
            }
            Err(denied) => {
                let auth::Denied { error, budget, limit } = *denied;
                req.core.metrics.inc(Counter::RateLimited);
                if let Some(credential) = caller {
                    let most = req.core.boot().observe.metrics_max_credentials;
                    req.core.tally.borrow_mut().rejected(limit, credential, &view.snapshot, most);
                }
                req.meta.budget = Some(budget);
                return Err(error);
            }
        }
        req.recorder.end_stage(Stage::Limit);
    }
    let route = req.route;
    let candidates = view.selector.candidates(&view.snapshot, route.format, route.translates(), req.model.stripped());
    if candidates.list.is_empty() {
        return Err(no_candidate(req, view, &candidates));
    }
    req.recorder.end_stage(Stage::Route);
    Ok(candidates)
}

struct Found {
    model: Model,
    stream: bool,
    output: peek::Output,
    stream_options: StreamOptions,
    /// Other models that the provider may turn to: who may not use them must not name them.
    alternatives: Vec<String>,
}

fn look(req: &RequestContext<'_>) -> Result<Found, Error> {
    let multipart = req.head.get(req.bytes(), "content-type").is_some_and(|t| t.starts_with(b"multipart/"));
    if multipart {
        let note = "multipart bodies are not relayed by this version; send JSON";
        return Err(Error::client(Kind::UnsupportedEncoding, note));
    }
    let peeked: Peek<'_> = peek::peek(req.body()).map_err(|error| {
        req.core.metrics.inc(Counter::BadRequests);
        Error::from(error)
    })?;
    let asked = peeked.model.unescape().into_owned();
    if asked.len() > MAX_MODEL {
        let note = format!("`model` is {} bytes long; names of models have at most {MAX_MODEL}", asked.len());
        return Err(Error::client(Kind::InvalidRequest, note).param("model"));
    }
    let own = asked.len() - strip(req.core, &asked).len();
    let stream_options = StreamOptions {
        include_usage: peeked.include_usage,
        span: peeked.stream_options.as_ref().map(|(_, at)| at.clone()),
    };
    let alternatives = peeked.alternatives().map(|name| name.unescape().into_owned()).collect();
    let model = Model { asked, own, value: peeked.model_at };
    Ok(Found { model, stream: peeked.stream, output: peeked.output, stream_options, alternatives })
}

/// `Proxy/gpt-4` without the configured prefix; other prefixes belong to the name.
fn strip<'m>(core: &Core, model: &'m str) -> &'m str {
    let Some(prefix) = &core.boot().model_prefix else { return model };
    match model.split_once('/') {
        Some((first, rest)) if first == prefix && !rest.is_empty() => rest,
        _ => model,
    }
}

fn no_candidate(req: &RequestContext<'_>, view: &WorkerSnapshot, candidates: &Candidates) -> Error {
    let model = req.model.stripped();
    if candidates.foreign > 0 {
        let note = format!(
            "model `{model}` is served, but not at {}: that takes a provider of format {}, and is never translated",
            req.route.template, req.route.format
        );
        return Error::client(Kind::NotSupported, note).param("model");
    }
    let note = if view.snapshot.providers.is_empty() {
        view.snapshot.why_no_provider().unwrap_or_else(|| req.core.shared.hints.no_providers.clone())
    } else {
        format!("no provider serves model `{model}`; GET /v1/models lists what is served")
    };
    Error::client(Kind::ModelNotFound, note).param("model")
}

/// Tries the candidates in turn until one answers or something has reached the client.
async fn attempt_all(req: &mut RequestContext<'_>, view: &WorkerSnapshot, candidates: &Candidates) -> Next {
    let most = req.core.boot().max_attempts.min(candidates.list.len()).max(1);
    let pinned = affinity::find(req, view, candidates);
    let order = pinned.into_iter().chain(candidates.order().filter(|c| pinned.is_none_or(|p| !std::ptr::eq(p, *c))));
    let mut failure: Option<Box<Failure>> = None;
    for (at, candidate) in order.take(most).enumerate() {
        let plan = attempt::Plan { candidate, pooled: candidates.pooled(), last: at + 1 == most, only: most == 1 };
        match attempt::run(req, view, &plan).await {
            End::Answered(next) => return next,
            End::ClientGone => return req.gone(),
            End::Failed(new) => {
                req.core.metrics.inc(Counter::AttemptsFailed);
                let again = new.retry && at + 1 < most && !req.core.stopping();
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
        Some(failure) => attempt::give_up(req, failure).await,
        None => {
            let note = format!("every provider of model `{}` is out of service", req.model.stripped());
            req.fail(&Error::gateway(Kind::NoUpstream, note)).await
        }
    }
}

fn identify<'v>(core: &Core, view: &'v WorkerSnapshot, pending: &body::Pending, now: i64) -> Result<Caller<'v>, Error> {
    let key = auth::key(|name| pending.head.get(&pending.bytes, name));
    auth::check(core, &view.snapshot, key, now).inspect_err(|_| core.metrics.inc(Counter::AuthFailures))
}

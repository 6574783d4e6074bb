//! Serves the responses that providers keep: `GET` and `DELETE /v1/responses/{id}`, and what is
//! below.
//!
//! The gateway keeps no response. It sends the request on to the provider that has issued the id
//! ([`issuer`]), or to all that speak the format, one after the other, until one of them knows it.

use std::rc::Rc;

use super::client::{Client, ClientDisconnected};
use super::core::{Core, WorkerSnapshot};
use super::endpoint::{ApiRoute, Operation, StoredPart, StoredResponse};
use super::failover;
use super::interrupt::Interrupt;
use super::issuer;
use super::relay::buffered;
use super::reply::ResponseMeta;
use super::request_context::{Next, RequestContext, StoredRequest, refuse};
use super::{admission, auth, body, overload};
use crate::limit::Need;
use crate::metrics::names::Counter;
use crate::proxy::recorder::RequestRecorder;
use crate::telemetry::stages::Stage;
use llm_http::Method;
use llm_wire::Format;
use llm_wire::error::{Error, Kind, Methods};

/// Bounds the body, which no such request needs.
const MAX_BODY: usize = 64 << 10;

/// Serves a request for a stored response.
pub async fn serve(
    core: &Rc<Core>,
    client: &mut Client,
    mut recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    mut pending: body::Pending,
    stored: StoredResponse<'_>,
) -> Next {
    meta.format = Format::Responses;
    recorder.record_mut().client_format = Some(Format::Responses);
    if let Err(error) = check_method(pending.head.method, stored) {
        return refuse(client, recorder, meta, pending, error).await;
    }
    let view = core.view();
    recorder.record_mut().generation = view.snapshot.generation;
    let key = auth::key(&pending.head, &pending.bytes).map(|key| key.and_then(auth::hash));
    let caller = match key.and_then(|key| {
        auth::check(core, &view.snapshot, key.as_ref(), recorder.started_s(), (&pending.head, &pending.bytes))
    }) {
        Ok(caller) => caller,
        Err(error) => {
            core.metrics.inc(Counter::AuthFailures);
            return refuse(client, recorder, meta, pending, error).await;
        }
    };
    recorder.record_mut().credential = caller.map_or(0, |credential| credential.id);
    let facts = client.facts(&pending.head, &pending.bytes);
    let received = match body::read_up_to(core, client, &mut pending, MAX_BODY).await {
        Ok(received) => received,
        Err(Interrupt::ClientDisconnected) => return Next::Abort,
        Err(Interrupt::Failed(failure)) => return refuse(client, recorder, meta, pending, failure.error).await,
    };
    let route = ApiRoute {
        format: Format::Responses,
        operation: Operation::Stored,
        template: stored.part.template(),
        upstream: stored.part.upstream(),
    };
    let mut req = RequestContext::new(core, client, (recorder, meta), pending.head, received, route, &facts, caller);
    req.stored = Some(Box::new(StoredRequest { path: stored.path() }));
    let result = run(&mut req, &view, caller, stored.id).await;
    let result = match result {
        Ok(next) => return next,
        Err(Interrupt::ClientDisconnected) => Err(ClientDisconnected),
        Err(Interrupt::Failed(failure)) => buffered::send_failure(&mut req, *failure).await,
    };
    result.unwrap_or_else(|ClientDisconnected| req.abort())
}

async fn run(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    caller: auth::Caller<'_>,
    id: &str,
) -> Result<Next, Interrupt> {
    req.issuer = issuer::find(req, id.as_bytes(), || not_found(id))?;
    admission::reserve(req, view, caller, |_| Need::default())?;
    let candidates = view.selector.of_format(&view.snapshot, Format::Responses);
    if candidates.list.is_empty() {
        let note = "no provider keeps responses: that takes one of the format responses";
        return Err(Error::client(Kind::NotSupported, note).into());
    }
    req.pooled = candidates.pooled();
    req.slot = overload::enter_process(req).await?;
    if req.slot.is_some() {
        req.recorder.end_stage(Stage::Limit);
    }
    failover::run(req, view, &candidates).await
}

/// Returns the error for a response that the caller does not have.
fn not_found(id: &str) -> Error {
    Error::client(Kind::NotFound, format!("Response with id '{id}' not found.")).param("response_id")
}

fn check_method(method: Method, stored: StoredResponse<'_>) -> Result<(), Error> {
    let (takes, allow) = match stored.part {
        StoredPart::Response => (matches!(method, Method::Get | Method::Delete), Methods::Stored),
        StoredPart::InputItems => (method == Method::Get, Methods::Get),
        StoredPart::Cancel => (method == Method::Post, Methods::Post),
    };
    if takes {
        return Ok(());
    }
    let note = format!("{} takes {} only", stored.part.template(), allow.allow().trim_end_matches(", OPTIONS"));
    Err(Error::client(Kind::MethodNotAllowed, note).allow(allow))
}

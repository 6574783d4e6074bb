//! Serves the paths that the gateway answers itself.

use std::rc::Rc;

use super::client::Client;
use super::core::Core;
use super::endpoint::{self, Endpoint};
use super::interrupt::Interrupt;
use super::listing::{Listing, Resource};
use super::reply::{self, Cors, ResponseMeta};
use super::request_context::{Next, refuse, send, unknown_path};
use super::{admin, auth, body, page, usage};
use crate::proxy::recorder::RequestRecorder;
use llm_http::{Method, write};
use llm_wire::Format;
use llm_wire::error::{Error, Kind, Methods};
use llm_wire::json::write as json;

/// Shows `/api-docs/openapi.json`.
const DOCS: &[u8] = include_bytes!("docs.html");

/// Serves a request that needs no provider.
pub async fn serve(
    core: &Rc<Core>,
    client: &mut Client,
    mut recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    pending: body::Pending,
    endpoint: Endpoint<'_>,
) -> Next {
    recorder.set_route(route_template(&endpoint));
    if let Endpoint::Admin(path) = endpoint {
        return admin::serve(core, client, recorder, meta, pending, path).await;
    }
    if let Endpoint::Page(path) = endpoint {
        return page::serve(core, client, recorder, meta, pending, path).await;
    }
    if let Endpoint::Stored(stored) = endpoint {
        return Box::pin(super::stored::serve(core, client, recorder, meta, pending, stored)).await;
    }
    let is_read = matches!(pending.head.method, Method::Get | Method::Head);
    let mut status = 200;
    let body = match endpoint {
        Endpoint::EventSink => return discard_events(core, client, recorder, meta, pending).await,
        Endpoint::Vertex => {
            meta.format = Format::Messages;
            Err(Error::gateway(Kind::NotImplemented, "the Vertex path is not served by this version; use /v1/messages"))
        }
        Endpoint::Stateful(_) => Err(misspelled(&pending).unwrap_or_else(stateless)),
        Endpoint::Unknown | Endpoint::ApiRoute(_) | Endpoint::Admin(_) | Endpoint::Page(_) | Endpoint::Stored(_) => {
            Err(misspelled(&pending).unwrap_or_else(|| unknown_path(&pending)))
        }
        _ if !is_read => {
            let note = format!("{} takes GET only", route_template(&endpoint));
            Err(Error::client(Kind::MethodNotAllowed, note).allow(Methods::Read))
        }
        Endpoint::Usage => return usage::serve(core, client, recorder, meta, pending).await,
        Endpoint::Docs => return docs(client, recorder, meta, pending).await,
        Endpoint::OpenApi => Ok(core.shared.openapi.get().cloned().unwrap_or_default()),
        Endpoint::Root => Ok(root()),
        Endpoint::Health => Ok(health(core, "ok", None)),
        Endpoint::Ready => {
            let (body, ready_status) = ready(core);
            status = ready_status;
            Ok(body)
        }
        Endpoint::Metrics if !admin::shows_metrics(core, client) => Err(unknown_path(&pending)),
        Endpoint::Metrics => return admin::scrape(core, client, recorder, meta, pending).await,
        Endpoint::Models => listing(core, &mut recorder, &pending, Resource::Models),
        Endpoint::Model(id) => listing(core, &mut recorder, &pending, Resource::Model(id)),
        Endpoint::ModelInfo { paged } => listing(core, &mut recorder, &pending, Resource::Info { paged }),
    };
    let body = match body {
        Ok(body) => body,
        Err(error) => return refuse(client, recorder, meta, pending, error).await,
    };
    meta.keep_alive &= pending.skip_body(client);
    let mut out = Vec::with_capacity(512 + body.len());
    reply::json(&mut out, status, &meta, recorder.request_id(), &body);
    recorder.set_complete(status);
    send(client, recorder, meta.keep_alive, out).await
}

fn route_template(endpoint: &Endpoint<'_>) -> &'static str {
    match endpoint {
        Endpoint::ApiRoute(route) => route.template,
        Endpoint::Models => "/v1/models",
        Endpoint::Model(_) => "/v1/models/{id}",
        Endpoint::ModelInfo { paged: false } => "/v1/model/info",
        Endpoint::ModelInfo { paged: true } => "/v2/model/info",
        Endpoint::Usage => "/v1/usage",
        Endpoint::Admin(_) => "/admin/v1",
        Endpoint::Page(_) => "/ui",
        Endpoint::Docs => "/docs",
        Endpoint::OpenApi => "/api-docs/openapi.json",
        Endpoint::Root => "/",
        Endpoint::Health | Endpoint::Ready => "/health",
        Endpoint::Metrics => "/metrics",
        Endpoint::EventSink => "/api/event_logging/batch",
        Endpoint::Vertex => "/models/gcp-vertex",
        Endpoint::Stored(stored) => stored.part.template(),
        Endpoint::Stateful(_) => "stateful",
        Endpoint::Unknown => "unknown",
    }
}

/// Returns the error for a path that is almost one that is served.
fn misspelled(pending: &body::Pending) -> Option<Error> {
    let path = String::from_utf8_lossy(pending.head.path(&pending.bytes));
    let meant = endpoint::near(&path)?;
    let shown: String = path.chars().take(200).collect();
    Some(Error::client(Kind::NotFound, format!("no such path: {shown}; did you mean {meant}?")))
}

fn stateless() -> Error {
    let note = "this path needs state that the gateway does not keep; send the whole conversation with each request";
    Error::client(Kind::NotSupported, note)
}

fn root() -> Vec<u8> {
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.str("service", "llm-proxy");
        o.str("version", env!("CARGO_PKG_VERSION"));
        o.str("status", "ok");
        o.array("endpoints", |a| {
            for path in
                ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings", "/v1/models", "/health"]
            {
                a.str(path);
            }
        });
    });
    out
}

/// Returns body and status of the readiness check. An unavailable store does not matter: the last
/// configuration is served.
fn ready(core: &Core) -> (Vec<u8>, u16) {
    if core.shared.is_leaving() {
        return (health(core, "draining", Some("this gateway is shutting down")), 503);
    }
    if core.view().snapshot.generation == 0 {
        return (health(core, "starting", Some("no configuration is in force yet")), 503);
    }
    (health(core, "ok", None), 200)
}

fn health(core: &Core, status: &str, reason: Option<&str>) -> Vec<u8> {
    let view = core.view();
    let mut out = Vec::new();
    json::object(&mut out, |o| {
        o.str("status", status);
        if let Some(reason) = reason {
            o.str("reason", reason);
        }
        o.str("store", core.shared.store.get().name());
        if let Some(id) = core.shared.store_id.get() {
            o.str("store_id", id);
        }
        if core.boot().is_demo {
            o.bool("demo", true);
        }
        o.u64("config_version", view.snapshot.version.unsigned_abs());
        o.u64("providers_count", view.snapshot.providers.len() as u64);
        o.u64("credentials_count", view.snapshot.credentials_by_id.len() as u64);
    });
    out
}

/// Serves the page of the API documentation, which loads nothing from elsewhere. Its other paths,
/// those of llm-proxy v1, redirect to it.
async fn docs(
    client: &mut Client,
    mut recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    pending: body::Pending,
) -> Next {
    let is_canonical = pending.head.path(&pending.bytes) == b"/docs";
    meta.keep_alive &= pending.skip_body(client);
    let mut out = Vec::with_capacity(512 + DOCS.len());
    let status = if is_canonical { 200 } else { 307 };
    if is_canonical {
        reply::typed(&mut out, status, &meta, recorder.request_id(), "text/html; charset=utf-8", DOCS);
    } else {
        reply::begin(&mut out, status, &meta, recorder.request_id().as_bytes());
        write::static_header(&mut out, "location", "/docs");
        write::content_length(&mut out, 0);
        write::end_head(&mut out);
    }
    recorder.set_complete(status);
    send(client, recorder, meta.keep_alive, out).await
}

/// Returns the body of a listing. Listings need a credential, are not rate limited, and show what
/// it may use.
fn listing(
    core: &Core,
    recorder: &mut RequestRecorder,
    pending: &body::Pending,
    resource: Resource<'_>,
) -> Result<Vec<u8>, Error> {
    let view = core.view();
    let get = |name: &str| pending.head.get(&pending.bytes, name);
    let key_hash = auth::key(&pending.head, &pending.bytes)?.and_then(auth::hash);
    let caller =
        auth::check(core, &view.snapshot, key_hash.as_ref(), recorder.started_s(), (&pending.head, &pending.bytes))?;
    recorder.record_mut().credential = caller.as_ref().map_or(0, |credential| credential.id);
    let query = pending.head.query(&pending.bytes).and_then(|query| std::str::from_utf8(query).ok());
    let anthropic = get("anthropic-version").is_some();
    let lists = core.shared.catalog.load();
    let prefix = core.boot().model_prefix.as_deref();
    Listing { snapshot: &view.snapshot, lists: &lists, caller, prefix }.respond(resource, query, anthropic)
}

/// Bounds a batch of telemetry, in bytes as sent.
const MAX_EVENTS: usize = 8 << 20;

/// Reads the telemetry that a client sends to its vendor, and discards it as it arrives: it needs
/// no key, so nothing of it is kept or decompressed.
async fn discard_events(
    core: &Rc<Core>,
    client: &mut Client,
    mut recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    mut pending: body::Pending,
) -> Next {
    match body::discard(core, client, &mut pending, MAX_EVENTS).await {
        Ok(()) => {}
        Err(Interrupt::ClientDisconnected) => return Next::Abort,
        Err(Interrupt::Failed(failure)) => return refuse(client, recorder, meta, pending, failure.error).await,
    }
    meta.keep_alive &= pending.skip_body(client);
    let mut out = Vec::with_capacity(256);
    reply::json(&mut out, 200, &meta, recorder.request_id(), br#"{"status":"ok"}"#);
    recorder.set_complete(200);
    send(client, recorder, meta.keep_alive, out).await
}

/// Responds to a preflight request (Fetch Standard, CORS).
pub async fn preflight(
    client: &mut Client,
    mut recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    pending: body::Pending,
) -> Next {
    recorder.set_route("preflight");
    let mut out = Vec::with_capacity(512);
    if meta.cors == Cors::NoPage {
        let path = String::from_utf8_lossy(pending.head.path(&pending.bytes)).into_owned();
        meta.cors = if endpoint::is_administrative(&path) { Cors::Refused } else { Cors::AnyPage };
    }
    let requested = pending.head.get(&pending.bytes, "access-control-request-headers").map(<[u8]>::to_vec);
    meta.keep_alive &= pending.skip_body(client);
    reply::begin(&mut out, 204, &meta, recorder.request_id().as_bytes());
    if meta.cors != Cors::Refused {
        let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
        write::static_header(&mut out, "access-control-allow-methods", methods);
        // The parser refused what would split a head.
        let _ = write::header(&mut out, "access-control-allow-headers", requested.as_deref().unwrap_or(b"*"));
        write::static_header(&mut out, "access-control-max-age", "86400");
    }
    write::end_head(&mut out);
    recorder.set_complete(204);
    send(client, recorder, meta.keep_alive, out).await
}

//! Receives requests to the admin interface. The worker checks the key before it reads the body,
//! and queues the request for the control plane, which responds. See [`crate::shared::admin`].

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::auth;
use super::body;
use super::client::{Client, ListenerKind, WaitError};
use super::core::Core;
use super::interrupt::Interrupt;
use super::reply::{self, ResponseMeta};
use super::request_context::{self, Next, method_name, refuse, unknown_path};
use crate::net;
use crate::proxy::recorder::RequestRecorder;
use crate::shared::admin::{Area, CallState, PendingCall, Request, Response, Role, error_body};
use llm_http::{Method, RequestHead, write};
use llm_wire::error::{Error, Kind};
use llm_wire::json::write as json;

/// Bounds a body, in bytes. The longest one holds a script.
const MAX_BODY: usize = 4 << 20;
/// Bounds a whole configuration as a file: 100,000 credentials are about 15 MB.
const MAX_IMPORT: usize = 64 << 20;
/// How often the worker looks for the response.
const POLL_INTERVAL: Duration = Duration::from_millis(2);
/// The longest wait for a response: a check of many models at many providers takes some minutes.
const TIMEOUT: Duration = Duration::from_secs(900);

/// Serves a request whose path behind `/admin/v1` is `path`.
pub async fn serve(
    core: &Rc<Core>,
    client: &mut Client,
    recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    mut pending: body::Pending,
    path: &str,
) -> Next {
    if is_elsewhere(core, client) {
        let error = unknown_path(&pending);
        return refuse(client, recorder, meta, pending, error).await;
    }
    if let Err(response) = allow_address(core, client, &pending, path) {
        meta.keep_alive &= pending.skip_body(client);
        return send(client, recorder, &meta, response).await;
    }
    if let Err(error) = auth::key(&pending.head, &pending.bytes) {
        return refuse(client, recorder, meta, pending, error).await;
    }
    let grant = match check(core, client, &pending, path) {
        Ok(grant) => grant,
        Err(response) => {
            meta.keep_alive &= pending.skip_body(client);
            return send(client, recorder, &meta, response).await;
        }
    };
    let max = if path == "/config/import" { MAX_IMPORT } else { MAX_BODY };
    let received = match body::read_up_to(core, client, &mut pending, max).await {
        Ok(received) => received,
        Err(Interrupt::ClientDisconnected) => return Next::Abort,
        Err(Interrupt::Failed(failure)) => {
            let error = failure.error;
            let note =
                format!("the request body is larger than {max} bytes, the most that the admin interface takes here");
            let error = if error.kind == Kind::TooLarge { Error::client(Kind::TooLarge, note) } else { error };
            return refuse(client, recorder, meta, pending, error).await;
        }
    };
    let request = request(&pending.head, received.bytes(), client, path, recorder.request_id());
    let request = Request { role: grant.role, session: grant.session, body: received.body().to_vec(), ..request };
    call(core, client, recorder, meta, core.shared.admin_queue.submit(request)).await
}

/// Returns whether `/metrics` is served to this client. It names keys and costs, and belongs to the
/// listener of the admin interface where there is one.
pub fn shows_metrics(core: &Core, client: &Client) -> bool {
    client.listener == ListenerKind::Admin || core.boot().admin_addr.is_none() || core.boot().metrics_public
}

/// Serves `/metrics`, which needs no key: the control plane adds up what all workers have counted.
pub async fn scrape(
    core: &Core,
    client: &mut Client,
    recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    pending: body::Pending,
) -> Next {
    if let Err(response) = allow_address(core, client, &pending, "/metrics")
        && !core.boot().metrics_public
    {
        meta.keep_alive &= pending.skip_body(client);
        return send(client, recorder, &meta, response).await;
    }
    let accept = pending.head.get(&pending.bytes, "accept");
    let accept = accept.map(|accept| String::from_utf8_lossy(accept).into_owned());
    meta.keep_alive &= pending.skip_body(client);
    let request = Request {
        area: Area::Api,
        role: Role::Reader,
        session: None,
        host: None,
        method: "GET",
        path: "/metrics".to_owned(),
        query: String::new(),
        accept,
        if_match: None,
        idempotency_key: None,
        body: Vec::new(),
        peer: client.address,
        request_id: recorder.request_id().to_owned(),
    };
    call(core, client, recorder, meta, core.shared.scrape_queue.submit(request)).await
}

/// Sends the response of the control plane to a request that was queued for it. `None` is a queue
/// that was full.
pub async fn call(
    core: &Core,
    client: &mut Client,
    recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    queued: Option<PendingCall>,
) -> Next {
    let Some(pending) = queued else {
        let message = "too many requests of this kind are waiting; try again";
        let mut response = failure(503, message, "server_error", "admin_busy");
        response.fields.push(("retry-after", "1".to_owned()));
        return send(client, recorder, &meta, response).await;
    };
    client.deadline.set(TIMEOUT);
    let response = match client.wait(poll_response(pending)).await {
        Ok(Some(response)) => response,
        Ok(None) => failure(
            500,
            "the admin interface failed while it served this request; its log has the reason",
            "server_error",
            "internal_error",
        ),
        Err(WaitError::ClientDisconnected) => return Next::Abort,
        Err(WaitError::DeadlineExpired) if core.stopping() => {
            failure(503, "this gateway is shutting down", "server_error", "shutting_down")
        }
        Err(WaitError::DeadlineExpired) => {
            failure(504, "the admin interface did not respond in time", "server_error", "admin_timeout")
        }
    };
    meta.keep_alive &= !core.shared.is_leaving();
    send(client, recorder, &meta, response).await
}

pub(super) async fn poll_response(pending: PendingCall) -> Option<Response> {
    loop {
        match pending.poll() {
            CallState::Ready(response) => return Some(response),
            CallState::Lost => return None,
            CallState::Pending => net::sleep(POLL_INTERVAL).await,
        }
    }
}

/// Returns the request without its body, for the admin interface.
pub fn request(head: &RequestHead, bytes: &[u8], client: &Client, path: &str, request_id: &str) -> Request {
    let text = |name: &str| head.get(bytes, name).map(|value| String::from_utf8_lossy(value).into_owned());
    Request {
        area: Area::Api,
        role: Role::Reader,
        session: None,
        host: text("host"),
        method: method_name(head.method),
        path: path.to_owned(),
        query: String::from_utf8_lossy(head.query(bytes).unwrap_or_default()).into_owned(),
        accept: text("accept"),
        if_match: text("if-match"),
        idempotency_key: text("idempotency-key"),
        body: Vec::new(),
        peer: client.address,
        request_id: request_id.to_owned(),
    }
}

/// Returns the address of a client: that of its connection, or what a trusted proxy says of it.
pub fn client_address(core: &Core, client: &Client, head: &RequestHead, bytes: &[u8]) -> IpAddr {
    let trusted = &core.boot().trusted_proxies;
    if !trusted.contains(client.peer) {
        return client.peer;
    }
    // Each proxy adds whom it was called by at the end; a field may also stand several times.
    let fields = head.fields(bytes).filter(|(name, _)| name.eq_ignore_ascii_case(b"x-forwarded-for"));
    let listed: Vec<&[u8]> = fields.flat_map(|(_, list)| list.split(|byte| *byte == b',')).collect();
    let mut address = client.peer;
    for entry in listed.into_iter().rev() {
        let Some(ip) = std::str::from_utf8(entry).ok().and_then(|text| parse_forwarded(text.trim())) else { break };
        address = ip;
        if !trusted.contains(ip) {
            break;
        }
    }
    address
}

/// Parses an address in `x-forwarded-for`, which some proxies write with a port.
fn parse_forwarded(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.trim_matches(['[', ']']).parse().ok().or_else(with_port)
}

/// Finds out the address of a client, and checks whether it may reach the admin interface. The
/// error is the response.
pub fn allow_address(core: &Core, client: &mut Client, pending: &body::Pending, path: &str) -> Result<(), Response> {
    client.address = client_address(core, client, &pending.head, &pending.bytes);
    let allowed = &core.boot().admin_allowed_addresses;
    if allowed.is_empty() {
        return Ok(());
    }
    let address = client.address;
    if allowed.contains(address) {
        return Ok(());
    }
    let message = format!("{address} is not among the addresses of ADMIN_ALLOWED_ADDRESSES");
    Err(denied(path, 403, &message, "address_not_allowed"))
}

/// Returns whether the admin interface is on another listener than this client.
pub fn is_elsewhere(core: &Core, client: &Client) -> bool {
    client.listener == ListenerKind::Public && core.boot().admin_addr.is_some()
}

/// What a request may do.
pub struct Grant {
    pub role: Role,
    pub session: Option<Vec<u8>>,
}

/// Checks the key or the session of a request. The error is the response to a request that may not
/// pass.
pub fn check(core: &Core, client: &Client, pending: &body::Pending, path: &str) -> Result<Grant, Response> {
    if is_closed_to(core, client) {
        return Err(not_configured(path));
    }
    let field = |name| pending.head.get(&pending.bytes, name);
    let is_read = matches!(pending.head.method, Method::Get | Method::Head);
    // These send requests to providers, whatever the method.
    let is_write = !is_read || path.starts_with("/health/");
    let session = session_token(&pending.head, &pending.bytes);
    let grant = match (field("authorization"), session) {
        (None, Some(token)) => {
            let Some(role) = core.shared.sessions.role(token, Instant::now()) else {
                return Err(denied(path, 401, "the session has ended; sign in again", "session_ended"));
            };
            // Another site can make a browser send the cookie, but not this field.
            if is_write && field(PAGE_FIELD).is_none() {
                let message = format!("a change with a session needs the field {PAGE_FIELD}, which the page sends");
                return Err(denied(path, 403, &message, "csrf"));
            }
            Grant { role, session: Some(token.to_vec()) }
        }
        (authorization, _) => Grant { role: check_key(core, client, authorization, path)?, session: None },
    };
    // Both change nothing, though they are a POST.
    let is_question = matches!(path, "/auth/validate" | "/explain");
    if is_write && grant.role == Role::Reader && !is_question {
        let message = "this is the read-only key (ADMIN_READ_KEY), which may not change anything or send requests \
                       to providers; use ADMIN_KEY";
        return Err(denied(path, 403, message, "read_only_key"));
    }
    Ok(grant)
}

/// The field without which a session changes nothing.
const PAGE_FIELD: &str = "x-llm-proxy-page";
/// The cookie of a session.
const COOKIE: &[u8] = b"llm_proxy_session=";

fn session_token<'h>(head: &'h RequestHead, bytes: &'h [u8]) -> Option<&'h [u8]> {
    let cookies = head.get(bytes, "cookie")?;
    let cookie = cookies.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    cookie.filter_map(|cookie| cookie.strip_prefix(COOKIE)).find(|token| !token.is_empty())
}

/// Returns whether the admin key is that of the machine, which other machines cannot use.
fn is_closed_to(core: &Core, client: &Client) -> bool {
    core.boot().is_admin_key_local && !client.address.to_canonical().is_loopback()
}

fn not_configured(path: &str) -> Response {
    denied(path, 503, "Admin API not configured. Set ADMIN_KEY environment variable.", "admin_not_configured")
}

/// Checks the admin key of a request.
pub fn check_key(core: &Core, client: &Client, authorization: Option<&[u8]>, path: &str) -> Result<Role, Response> {
    let Some(expected) = core.boot().admin_key.as_ref().filter(|_| !is_closed_to(core, client)) else {
        return Err(not_configured(path));
    };
    let scheme = |value: &[u8]| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let Some(value) = authorization.filter(|value| scheme(value)) else {
        return Err(denied(path, 401, "Missing or invalid authorization header", "missing_admin_key"));
    };
    let now = core.now_ns();
    if let Some(seconds) = core.admin_throttle.borrow().retry_after(client.address, now) {
        let message = format!("too many wrong admin keys from {}; try again in {seconds} s", client.address);
        let mut response = denied(path, 429, &message, "too_many_failures");
        response.fields.push(("retry-after", seconds.to_string()));
        return Err(response);
    }
    let global = &core.shared.admin_failures;
    if !global.allows(client.address, now) {
        let message = "too many wrong admin keys from many addresses; try again in 1 s";
        let mut response = denied(path, 429, message, "too_many_failures");
        response.fields.push(("retry-after", "1".to_owned()));
        return Err(response);
    }
    // The digests have one length, so the time of the comparison shows neither length nor content
    // of the key.
    let given = Sha256::digest(value[7..].trim_ascii());
    let is = |key: &str| bool::from(given.ct_eq(&Sha256::digest(key.as_bytes())));
    let role = match is(expected) {
        true => Some(Role::Operator),
        false => core.boot().admin_read_key.as_deref().is_some_and(is).then_some(Role::Reader),
    };
    if let Some(role) = role {
        global.record_success(client.address);
        return Ok(role);
    }
    core.admin_throttle.borrow_mut().record_failure(client.address, now);
    global.record_failure(now);
    if let Some(more) = core.log_limits.admin_key.permit(now) {
        tracing::warn!(peer = %client.address, more, "client: a request had a wrong admin key");
    }
    Err(denied(path, 401, "Invalid admin key", "invalid_admin_key"))
}

/// Returns the response to a request that may not pass. `/auth/validate` has a body of its own,
/// which also holds the error of the other paths.
pub fn denied(path: &str, status: u16, message: &str, code: &str) -> Response {
    let kind = match status {
        404 | 405 => "invalid_request_error",
        429 => "rate_limit_error",
        _ => "authentication_error",
    };
    let mut response = failure(status, message, kind, code);
    if status == 401 {
        response.fields.push(("www-authenticate", "Bearer".to_owned()));
    }
    if path == "/auth/validate" && status == 401 {
        response.body.clear();
        json::object(&mut response.body, |o| {
            o.bool("valid", false);
            o.str("message", message);
            for name in ["detail", "error"] {
                o.object(name, |o| {
                    o.bool("valid", false);
                    o.str("message", message);
                    o.str("type", kind);
                    o.str("code", code);
                });
            }
        });
    }
    response
}

fn failure(status: u16, message: &str, kind: &str, code: &str) -> Response {
    Response { status, body: error_body(message, kind, code, None), ..Response::default() }
}

/// Sends the response of the control plane, and ends the request.
pub async fn send(
    client: &mut Client,
    mut recorder: Box<RequestRecorder>,
    meta: &ResponseMeta,
    response: Response,
) -> Next {
    let mut out = Vec::with_capacity(512 + response.body.len());
    reply::begin(&mut out, response.status, meta, recorder.request_id().as_bytes());
    for (name, value) in &response.fields {
        // A value that is not valid in a head is left out.
        let _ = write::header(&mut out, name, value.as_bytes());
    }
    if !response.fields.iter().any(|(name, _)| *name == "cache-control") {
        write::static_header(&mut out, "cache-control", "no-store");
    }
    if response.status != 204 {
        write::static_header(&mut out, "content-type", response.content_type.unwrap_or("application/json"));
        write::content_length(&mut out, response.body.len() as u64);
    }
    write::end_head(&mut out);
    if !meta.head_only && response.status != 204 {
        out.extend_from_slice(&response.body);
    }
    recorder.set_complete(response.status);
    request_context::send(client, recorder, meta.keep_alive, out).await
}

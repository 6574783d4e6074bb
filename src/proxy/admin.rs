//! The door of the admin interface: the key is looked at before the body is read, and what passes
//! goes to the background thread, which answers. See `control::admin`.

use std::rc::Rc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::body;
use super::client::{Client, ListenerKind, Waited};
use super::core::Core;
use super::reply::{self, ResponseMeta};
use super::request_context::{self, Next, method_name, refuse};
use crate::net;
use crate::proxy::recorder::RequestRecorder;
use crate::shared::admin::{Answer, CallState, Pending, Request, error_body};
use llm_http::{RequestHead, write};
use llm_wire::error::{Error, Kind};
use llm_wire::json::write as json;

/// Bytes of a body; the longest one holds a script.
const MAX_BODY: usize = 4 << 20;
/// Bytes of a whole configuration as a file: 100,000 credentials are about 15 MB.
const MAX_IMPORT: usize = 64 << 20;
/// How often an answer is looked for.
const LOOK: Duration = Duration::from_millis(2);
/// Longest wait for an answer: a check of many models at many providers takes its time.
const PATIENCE: Duration = Duration::from_secs(900);

/// Serves a request whose path behind `/admin/v1` is `path`.
pub async fn serve(
    core: &Rc<Core>,
    client: &mut Client,
    recorder: RequestRecorder,
    mut terms: ResponseMeta,
    pending: body::Pending,
    path: &str,
) -> Next {
    if client.door == ListenerKind::Public && core.boot().admin_addr.is_some() {
        let error = request_context::unknown(&pending);
        return refuse(client, recorder, terms, pending, error).await;
    }
    let authorization = pending.head.get(&pending.bytes, "authorization");
    if let Err(answer) = check(core, client, authorization, path) {
        terms.keep_alive &= pending.skip_body(client);
        return send(client, recorder, &terms, answer).await;
    }
    let most = if path == "/config/import" { MAX_IMPORT } else { MAX_BODY };
    let (head, received) = match body::read_up_to(core, client, pending, most).await {
        Ok(read) => read,
        Err(body::Stopped::Gone) => return Next::Abort,
        Err(body::Stopped::Refused(error, pending)) => {
            let note =
                format!("the request body is larger than {most} bytes, the most that the admin interface takes here");
            let error = if error.kind == Kind::TooLarge { Error::client(Kind::TooLarge, note) } else { error };
            return refuse(client, recorder, terms, *pending, error).await;
        }
    };
    let request = request(&head, &received, client, path, recorder.request_id());
    call(core, client, recorder, &terms, request).await
}

/// Whether `/metrics` is served to this client: it names keys and costs, and belongs to the
/// listener of the admin interface where there is one.
pub fn shows_metrics(core: &Core, client: &Client) -> bool {
    client.door == ListenerKind::Admin || core.boot().admin_addr.is_none() || core.boot().metrics_public
}

/// Serves `/metrics`, which needs no key: the background thread sums what all cores have counted.
pub async fn scrape(
    core: &Core,
    client: &mut Client,
    recorder: RequestRecorder,
    mut terms: ResponseMeta,
    pending: body::Pending,
) -> Next {
    let accept = pending.head.get(&pending.bytes, "accept");
    let accept = accept.map(|accept| String::from_utf8_lossy(accept).into_owned());
    terms.keep_alive &= pending.skip_body(client);
    let request = Request {
        method: "GET",
        path: "/metrics".to_owned(),
        query: String::new(),
        accept,
        if_match: None,
        idempotency_key: None,
        body: Vec::new(),
        peer: client.peer,
        request_id: recorder.request_id().to_owned(),
    };
    call(core, client, recorder, &terms, request).await
}

/// Has the background thread answer.
async fn call(
    core: &Core,
    client: &mut Client,
    recorder: RequestRecorder,
    terms: &ResponseMeta,
    request: Request,
) -> Next {
    let Some(pending) = core.shared.desk.call(request) else {
        let message = "too many requests to the admin interface are waiting; try again";
        return send(client, recorder, terms, failure(503, message, "server_error", "admin_busy")).await;
    };
    client.deadline.set(PATIENCE);
    let answer = match client.wait(answered(pending)).await {
        Waited::Done(Some(answer)) => answer,
        Waited::Done(None) => failure(
            500,
            "the admin interface failed at this request; the log says why",
            "server_error",
            "internal_error",
        ),
        Waited::Gone => return Next::Abort,
        Waited::Expired if core.stopping() => {
            failure(503, "this gateway is shutting down", "server_error", "shutting_down")
        }
        Waited::Expired => {
            failure(504, "the admin interface has not answered in time", "server_error", "admin_timeout")
        }
    };
    send(client, recorder, terms, answer).await
}

async fn answered(pending: Pending) -> Option<Answer> {
    loop {
        match pending.look() {
            CallState::Answered(answer) => return Some(answer),
            CallState::Lost => return None,
            CallState::NotYet => net::sleep(LOOK).await,
        }
    }
}

fn request(head: &RequestHead, received: &body::Received, client: &Client, path: &str, request_id: &str) -> Request {
    let text = |name: &str| head.get(received.bytes(), name).map(|value| String::from_utf8_lossy(value).into_owned());
    Request {
        method: method_name(head.method),
        path: path.to_owned(),
        query: String::from_utf8_lossy(head.query(received.bytes()).unwrap_or_default()).into_owned(),
        accept: text("accept"),
        if_match: text("if-match"),
        idempotency_key: text("idempotency-key"),
        body: received.body().to_vec(),
        peer: client.peer,
        request_id: request_id.to_owned(),
    }
}

/// Whether the request brings the admin key. The answer is for one that does not.
fn check(core: &Core, client: &Client, authorization: Option<&[u8]>, path: &str) -> Result<(), Answer> {
    let Some(expected) = &core.boot().admin_key else {
        let message = "Admin API not configured. Set ADMIN_KEY environment variable.";
        return Err(denied(path, 503, message, "admin_not_configured"));
    };
    let scheme = |value: &[u8]| value.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "));
    let Some(value) = authorization.filter(|value| scheme(value)) else {
        return Err(denied(path, 401, "Missing or invalid authorization header", "missing_admin_key"));
    };
    let now = core.now_ns();
    if let Some(seconds) = core.guard.borrow().wait(client.peer, now) {
        let message = format!("too many wrong admin keys from {}; try again in {seconds} s", client.peer);
        let mut answer = denied(path, 429, &message, "too_many_failures");
        answer.fields.push(("retry-after", seconds.to_string()));
        return Err(answer);
    }
    // Of equal length, whatever was sent: neither length nor content shows in the time that this
    // takes.
    let given = Sha256::digest(value[7..].trim_ascii());
    if bool::from(given.ct_eq(&Sha256::digest(expected.as_bytes()))) {
        return Ok(());
    }
    core.guard.borrow_mut().failed(client.peer, now);
    tracing::warn!(peer = %client.peer, "client: a wrong admin key");
    Err(denied(path, 401, "Invalid admin key", "invalid_admin_key"))
}

/// `/auth/validate` says it in its own way, and in the others' beside it.
fn denied(path: &str, status: u16, message: &str, code: &str) -> Answer {
    let kind = if status == 429 { "rate_limit_error" } else { "authentication_error" };
    let mut answer = failure(status, message, kind, code);
    if status == 401 {
        answer.fields.push(("www-authenticate", "Bearer".to_owned()));
    }
    if path == "/auth/validate" && status == 401 {
        answer.body.clear();
        json::object(&mut answer.body, |o| {
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
    answer
}

fn failure(status: u16, message: &str, kind: &str, code: &str) -> Answer {
    Answer { status, body: error_body(message, kind, code, None), ..Answer::default() }
}

async fn send(client: &mut Client, mut recorder: RequestRecorder, terms: &ResponseMeta, answer: Answer) -> Next {
    let mut out = Vec::with_capacity(512 + answer.body.len());
    reply::begin(&mut out, answer.status, terms, recorder.request_id());
    for (name, value) in &answer.fields {
        // What can't stand in a head is left out.
        let _ = write::header(&mut out, name, value.as_bytes());
    }
    write::static_header(&mut out, "cache-control", "no-store");
    if answer.status != 204 {
        write::static_header(&mut out, "content-type", answer.content_type.unwrap_or("application/json"));
        write::content_length(&mut out, answer.body.len() as u64);
    }
    write::end_head(&mut out);
    if !terms.head_only && answer.status != 204 {
        out.extend_from_slice(&answer.body);
    }
    recorder.set_complete(answer.status);
    request_context::send(client, recorder, terms.keep_alive, out).await
}

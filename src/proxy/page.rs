//! Receives requests to the operator's page below `/ui`. What needs no session (the sign-in page,
//! scripts, style sheets) is served here; the rest is queued for the control plane, as requests to
//! the admin interface are.

use std::rc::Rc;

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

use super::admin::{self, Grant};
use super::client::Client;
use super::core::Core;
use super::reply::{Cors, ResponseMeta};
use super::request_context::{Next, refuse, unknown_path};
use super::{auth, body};
use crate::proxy::recorder::RequestRecorder;
use crate::shared::admin::{Area, CONTENT_SECURITY_POLICY, PageFile, Request, Response};
use llm_http::Method;

/// Serves a request whose path behind `/ui` is `path`.
pub async fn serve(
    core: &Rc<Core>,
    client: &mut Client,
    recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    pending: body::Pending,
    path: &str,
) -> Next {
    if admin::is_elsewhere(core, client) {
        let error = unknown_path(&pending);
        return refuse(client, recorder, meta, pending, error).await;
    }
    if let Err(response) = admin::allow_address(core, client, &pending, path) {
        meta.keep_alive &= pending.skip_body(client);
        return admin::send(client, recorder, &meta, response).await;
    }
    if let Err(error) = auth::key(&pending.head, &pending.bytes) {
        return refuse(client, recorder, meta, pending, error).await;
    }
    // No other site reads a page.
    meta.cors = Cors::Refused;
    let decision = decide(core, client, &pending, path);
    let request = admin::request(&pending.head, &pending.bytes, client, path, recorder.request_id());
    meta.keep_alive &= pending.skip_body(client);
    match decision {
        Err(response) => admin::send(client, recorder, &meta, response).await,
        Ok(grant) => {
            let request = Request { area: Area::Page, role: grant.role, session: grant.session, ..request };
            admin::call(core, client, recorder, meta, core.shared.admin_queue.submit(request)).await
        }
    }
}

/// Returns what the request may do, or its response.
fn decide(core: &Core, client: &Client, pending: &body::Pending, path: &str) -> Result<Grant, Response> {
    let head = &pending.head;
    if path == "/session" {
        return match head.method {
            // Signing in: the key is checked as the admin interface checks it.
            Method::Post => {
                let authorization = head.get(&pending.bytes, "authorization");
                Ok(Grant { role: admin::check_key(core, client, authorization, path)?, session: None })
            }
            Method::Delete => sign_out(admin::check(core, client, pending, "/auth/validate")),
            _ => Err(method_not_allowed("POST, DELETE")),
        };
    }
    if !matches!(head.method, Method::Get | Method::Head) {
        return Err(method_not_allowed("GET, HEAD"));
    }
    let file = core.shared.page_files.get().and_then(|files| files.iter().find(|file| file.path == path));
    if let Some(file) = file {
        let encodings = head.get(&pending.bytes, "accept-encoding").unwrap_or_default();
        return Err(file_response(file, encodings));
    }
    // An asset of another version of the page.
    if path.starts_with("/assets/") {
        return Err(admin::denied(path, 404, "there is no such asset", "not_found"));
    }
    admin::check(core, client, pending, path).map_err(|response| match response.status {
        401 | 503 => sign_in(&pending.head, &pending.bytes),
        _ => response,
    })
}

/// A session that has ended anyway needs no error.
fn sign_out(checked: Result<Grant, Response>) -> Result<Grant, Response> {
    checked.map_err(|response| match response.status {
        401 => Response { status: 204, ..Response::default() },
        _ => response,
    })
}

fn method_not_allowed(allow: &str) -> Response {
    let message = format!("this path takes {allow} only; changes are made by /admin/v1");
    let mut response = admin::denied("", 405, &message, "method_not_allowed");
    response.fields.push(("allow", allow.to_owned()));
    response
}

/// Sends the browser to the sign-in page, which leads back.
fn sign_in(head: &llm_http::RequestHead, bytes: &[u8]) -> Response {
    let mut target = head.path(bytes).to_vec();
    if let Some(query) = head.query(bytes) {
        target.push(b'?');
        target.extend_from_slice(query);
    }
    let location = format!("/ui/sign-in?next={}", percent_encode(&target, NON_ALPHANUMERIC));
    Response { status: 303, fields: vec![("location", location)], ..Response::default() }
}

fn file_response(file: &PageFile, accept_encoding: &[u8]) -> Response {
    let takes_gzip = String::from_utf8_lossy(accept_encoding).split(',').any(|coding| coding.trim() == "gzip");
    let cache = if file.is_immutable { "public, max-age=31536000, immutable" } else { "no-store" };
    let mut fields = vec![
        ("cache-control", cache.to_owned()),
        ("content-security-policy", CONTENT_SECURITY_POLICY.to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("vary", "accept-encoding".to_owned()),
    ];
    let body = match takes_gzip {
        true => {
            fields.push(("content-encoding", "gzip".to_owned()));
            &file.gzip
        }
        false => &file.body,
    };
    Response { status: 200, fields, body: body.clone(), content_type: Some(file.content_type) }
}

//! The operator's page below `/ui`: HTML made here, by templates that the compiler checks, and a
//! little JavaScript for what is live.
//!
//! A page reads through the routes of the admin interface alone, and its forms send changes there
//! from the browser, so it can do nothing that the interface cannot. The module knows no row, no
//! store and no configuration.

mod assets;
mod bar;
mod chart;
mod forms;
mod html;
mod pages;
#[cfg(test)]
mod palette;
mod sign_in;
mod visit;

use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::shared::ProcessState;
use crate::shared::admin::{CONTENT_SECURITY_POLICY, Request, Response, Role, error_body};
use crate::shared::sessions;

pub(super) use sign_in::files;
pub(super) use visit::{Answer, Read};

/// Answers a request below `/ui`, whose key or session a worker has checked.
pub(super) async fn answer(shared: &ProcessState, read: &Read, request: Request) -> Response {
    match (request.method, request.path.as_str()) {
        ("POST", "/session") => sign_in(shared, request.role),
        ("DELETE", "/session") => sign_out(shared, request.session.as_deref()),
        _ => page(shared, read, request).await,
    }
}

async fn page(shared: &ProcessState, read: &Read, request: Request) -> Response {
    let scheme = if shared.tls.load().is_some() { "https" } else { "http" };
    let visit = visit::Visit::begin(read, request, scheme).await;
    let (status, html) = pages::serve(&visit).await;
    let fields = [
        ("content-security-policy", CONTENT_SECURITY_POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    Response {
        status,
        fields: fields.map(|(name, value)| (name, value.to_owned())).into(),
        body: html.into_string().into_bytes(),
        content_type: Some("text/html; charset=utf-8"),
    }
}

/// Opens a session with the rights of the key that the request came with.
fn sign_in(shared: &ProcessState, role: Role) -> Response {
    let mut random = [0; 32];
    if let Err(error) = getrandom::fill(&mut random) {
        let message = format!("the system gives no random numbers for a session: {error}");
        let body = error_body(&message, "server_error", "internal_error", None);
        return Response { status: 500, body, ..Response::default() };
    }
    let token = BASE64_URL_SAFE_NO_PAD.encode(random);
    shared.sessions.open(token.as_bytes(), role, Instant::now());
    with_cookie(shared, &token, sessions::LIFETIME.as_secs())
}

fn sign_out(shared: &ProcessState, session: Option<&[u8]>) -> Response {
    if let Some(token) = session {
        shared.sessions.close(token);
    }
    with_cookie(shared, "", 0)
}

/// The cookie is also for `/admin/v1`, where the forms of the page send their changes.
fn with_cookie(shared: &ProcessState, token: &str, seconds: u64) -> Response {
    let secure = if shared.tls.load().is_some() { "; Secure" } else { "" };
    let cookie = format!("llm_proxy_session={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}");
    Response { status: 204, fields: vec![("set-cookie", cookie)], ..Response::default() }
}

//! `GET /v1/usage`: what the caller's own key may use, has used and has cost. The worker checks the
//! key; the control plane knows the sums and responds.

use std::rc::Rc;
use std::time::Duration;

use super::admin::poll_response;
use super::auth;
use super::body;
use super::client::{Client, WaitError};
use super::core::Core;
use super::reply::{self, ResponseMeta};
use super::request_context::{Next, refuse, send};
use crate::proxy::recorder::RequestRecorder;
use crate::shared::admin::{Area, Request, Role};
use llm_wire::error::{Error, Kind};

/// The longest wait for the response.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers a client's request for what it has used.
pub async fn serve(
    core: &Rc<Core>,
    client: &mut Client,
    mut recorder: Box<RequestRecorder>,
    mut meta: ResponseMeta,
    pending: body::Pending,
) -> Next {
    let credential = match authenticate(core, &pending, recorder.started_s()) {
        Ok(credential) => credential,
        Err(error) => return refuse(client, recorder, meta, pending, error).await,
    };
    recorder.record_mut().credential = credential;
    let request = Request {
        area: Area::Usage { credential },
        role: Role::Reader,
        session: None,
        host: None,
        method: "GET",
        path: String::new(),
        query: String::new(),
        accept: None,
        if_match: None,
        idempotency_key: None,
        body: Vec::new(),
        peer: client.address,
        request_id: recorder.request_id().to_owned(),
    };
    let Some(call) = core.shared.usage_queue.submit(request) else {
        return refuse(client, recorder, meta, pending, unavailable("too many of these requests are waiting")).await;
    };
    client.deadline.set(TIMEOUT);
    let response = match client.wait(poll_response(call)).await {
        Ok(response) => response.filter(|response| response.status == 200),
        Err(WaitError::ClientDisconnected) => return Next::Abort,
        Err(WaitError::DeadlineExpired) if core.stopping() => {
            return refuse(client, recorder, meta, pending, Error::stopping()).await;
        }
        Err(WaitError::DeadlineExpired) => None,
    };
    let Some(response) = response else {
        let error = unavailable("the store of this gateway does not answer, so that what was used is not known now");
        return refuse(client, recorder, meta, pending, error).await;
    };
    meta.keep_alive &= pending.skip_body(client);
    let mut out = Vec::with_capacity(512 + response.body.len());
    reply::json(&mut out, 200, &meta, recorder.request_id(), &response.body);
    recorder.set_complete(200);
    send(client, recorder, meta.keep_alive, out).await
}

/// Returns the id of the caller's credential. Those who have no key share theirs with others.
fn authenticate(core: &Core, pending: &body::Pending, now: i64) -> Result<i64, Error> {
    let view = core.view();
    let key_hash = auth::key(&pending.head, &pending.bytes)?.and_then(auth::hash);
    let caller = auth::check(core, &view.snapshot, key_hash.as_ref(), now, (&pending.head, &pending.bytes))?;
    caller.map(|credential| credential.id).ok_or_else(|| {
        let note =
            "GET /v1/usage shows what a key has used, and the request has none; send `Authorization: Bearer KEY`";
        Error::client(Kind::Auth, note)
    })
}

fn unavailable(why: &str) -> Error {
    Error::gateway(Kind::Overloaded, format!("{why}; try again")).retry_after(1)
}

//! Requests to the admin interface on their way from a worker to the control plane, and the
//! responses on their way back.
//!
//! A worker that has received a request with a valid key submits it to the [`AdminQueue`] and polls
//! for the response. Nothing here blocks; a response may take some milliseconds longer.

use std::net::IpAddr;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crossbeam_queue::ArrayQueue;

use llm_wire::json::write as json;

/// Calls that may wait for the control plane. More are refused.
const CAPACITY: usize = 256;

/// What the key of a request, or the key that its session was opened with, may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `ADMIN_KEY`: everything.
    Operator,
    /// `ADMIN_READ_KEY`: what changes nothing and costs nothing.
    Reader,
}

/// The paths that a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// `/admin/v1`.
    Api,
    /// The pages below `/ui`.
    Page,
    /// `/v1/usage`, for the client with this credential.
    Usage { credential: i64 },
}

/// A request with a valid key or session.
#[derive(Debug, Clone)]
pub struct Request {
    pub area: Area,
    pub role: Role,
    /// The session that the request came with. `None`: it came with a key.
    pub session: Option<Vec<u8>>,
    /// The field `host`, for addresses that are shown.
    pub host: Option<String>,
    /// The method, such as `GET`.
    pub method: &'static str,
    /// The path behind `/admin/v1` or `/ui`, percent-encoded as sent.
    pub path: String,
    /// The query without `?`.
    pub query: String,
    /// Media types that the client accepts. Only `/metrics` has a choice.
    pub accept: Option<String>,
    pub if_match: Option<String>,
    pub idempotency_key: Option<String>,
    pub body: Vec<u8>,
    pub peer: IpAddr,
    pub request_id: String,
}

/// The response to an admin request.
#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    /// Fields beside those of every response.
    pub fields: Vec<(&'static str, String)>,
    /// Empty for status 204.
    pub body: Vec<u8>,
    /// `None` is JSON.
    pub content_type: Option<&'static str>,
}

/// A file below `/ui` that needs no session: the sign-in page, style sheets and scripts.
#[derive(Debug)]
pub struct PageFile {
    /// The path behind `/ui`. That of an asset holds a hash of its content.
    pub path: String,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// `body` in gzip.
    pub gzip: Vec<u8>,
    /// Whether the content at this path never changes.
    pub is_immutable: bool,
}

/// What a browser may do with a page: load scripts, styles and images from here, talk to here, and
/// nothing else.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                                           connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A request that the control plane serves. If it is dropped without a response, the worker sees
/// [`CallState::Lost`].
pub struct Call {
    pub request: Request,
    response: Arc<ArrayQueue<Response>>,
}

impl Call {
    /// Sends the response to the worker that waits for it.
    pub fn respond(self, response: Response) {
        // There is room: a call gets one response.
        let _ = self.response.push(response);
    }
}

/// The worker's side of a call.
pub struct PendingCall(Arc<ArrayQueue<Response>>);

/// How far a call is.
pub enum CallState {
    Ready(Response),
    Pending,
    /// No response will come: the call was dropped, as a panic does.
    Lost,
}

impl PendingCall {
    /// Returns the response, if it has come.
    pub fn poll(&self) -> CallState {
        // The order matters: a call that responds and is dropped then has a response.
        let is_dropped = Arc::strong_count(&self.0) == 1;
        fence(Ordering::Acquire);
        match self.0.pop() {
            Some(response) => CallState::Ready(response),
            None if is_dropped => CallState::Lost,
            None => CallState::Pending,
        }
    }
}

/// Calls that wait for the control plane.
pub struct AdminQueue {
    calls: ArrayQueue<Call>,
    /// Wakes the control plane.
    waker: OnceLock<Waker>,
}

impl Default for AdminQueue {
    fn default() -> AdminQueue {
        AdminQueue { calls: ArrayQueue::new(CAPACITY), waker: OnceLock::new() }
    }
}

impl AdminQueue {
    /// Queues a request of a worker. `None` if the queue is full.
    pub fn submit(&self, request: Request) -> Option<PendingCall> {
        let response = Arc::new(ArrayQueue::new(1));
        let pending = PendingCall(response.clone());
        self.calls.push(Call { request, response }).ok()?;
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        Some(pending)
    }

    /// Sets what each call wakes. The control plane calls it once.
    pub fn set_waker(&self, waker: Waker) {
        // A second waker would be that of a second control plane, and a process has one.
        let _ = self.waker.set(waker);
    }

    /// Takes the next call, for the control plane.
    pub fn next(&self) -> Option<Call> {
        self.calls.pop()
    }
}

/// Writes the body of an error of the admin interface: `error` is what clients of OpenAI read,
/// `detail` what those of llm-proxy v1 read.
pub fn error_body(message: &str, kind: &str, code: &str, param: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    json::object(&mut out, |o| {
        o.object("error", |o| {
            o.str("message", message);
            o.str("type", kind);
            o.str("code", code);
            match param {
                Some(param) => o.str("param", param),
                None => o.null("param"),
            }
        });
        o.str("detail", message);
    });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            area: Area::Api,
            role: Role::Operator,
            session: None,
            host: None,
            method: "GET",
            path: "/x".into(),
            query: String::new(),
            accept: None,
            if_match: None,
            idempotency_key: None,
            body: Vec::new(),
            peer: IpAddr::from([127, 0, 0, 1]),
            request_id: "r".into(),
        }
    }

    #[test]
    fn admin_call_is_answered_or_lost() {
        let queue = AdminQueue::default();
        let pending = queue.submit(request()).unwrap();
        assert!(matches!(pending.poll(), CallState::Pending));
        queue.next().unwrap().respond(Response { status: 204, ..Response::default() });
        assert!(matches!(pending.poll(), CallState::Ready(Response { status: 204, .. })));
        let pending = queue.submit(request()).unwrap();
        drop(queue.next());
        assert!(matches!(pending.poll(), CallState::Lost));
    }

    #[test]
    fn admin_queue_is_bounded() {
        let queue = AdminQueue::default();
        let calls: Vec<_> = (0..CAPACITY).filter_map(|_| queue.submit(request())).collect();
        assert_eq!(calls.len(), CAPACITY);
        assert!(queue.submit(request()).is_none());
    }
}

//! Requests to the admin interface, handed from a worker to the background thread, and their
//! answers on the way back.
//!
//! A worker that took a request in, and found that its key is right, lays it on the [`AdminQueue`] and
//! looks for the answer now and then: nothing here waits, and nobody hurries on this path.

use std::net::IpAddr;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use crossbeam_queue::ArrayQueue;

use llm_wire::json::write as json;

/// Calls that nobody has taken up yet. More are refused.
const WAITING: usize = 256;

/// A request whose key was right.
#[derive(Debug, Clone)]
pub struct Request {
    /// As `GET`.
    pub method: &'static str,
    /// Behind `/admin/v1`, percent-encoded as sent.
    pub path: String,
    /// Without `?`.
    pub query: String,
    /// What the client can read; only `/metrics` has a choice.
    pub accept: Option<String>,
    pub if_match: Option<String>,
    pub idempotency_key: Option<String>,
    pub body: Vec<u8>,
    pub peer: IpAddr,
    pub request_id: String,
}

#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Beside those that every answer has.
    pub fields: Vec<(&'static str, String)>,
    /// Empty for a 204.
    pub body: Vec<u8>,
    /// `None` is JSON.
    pub content_type: Option<&'static str>,
}

/// A request in the hands of the background thread. Dropped without an answer, it tells the worker
/// so.
pub struct Call {
    pub request: Request,
    reply: Arc<ArrayQueue<Answer>>,
}

impl Call {
    pub fn answer(self, answer: Answer) {
        // There is room: a call is answered once.
        let _ = self.reply.push(answer);
    }
}

/// The worker's side of a call.
pub struct Pending(Arc<ArrayQueue<Answer>>);

pub enum CallState {
    Answered(Answer),
    NotYet,
    /// Nobody will answer: the call was dropped, as a panic does.
    Lost,
}

impl Pending {
    pub fn look(&self) -> CallState {
        // In this order: what is dropped after it was answered is answered.
        let alone = Arc::strong_count(&self.0) == 1;
        fence(Ordering::Acquire);
        match self.0.pop() {
            Some(answer) => CallState::Answered(answer),
            None if alone => CallState::Lost,
            None => CallState::NotYet,
        }
    }
}

/// Where calls lie until the background thread takes them up.
pub struct AdminQueue {
    calls: ArrayQueue<Call>,
    /// Wakes who takes them up.
    waker: OnceLock<Waker>,
}

impl Default for AdminQueue {
    fn default() -> AdminQueue {
        AdminQueue { calls: ArrayQueue::new(WAITING), waker: OnceLock::new() }
    }
}

impl AdminQueue {
    /// For workers. `None` if too many lie there already.
    pub fn call(&self, request: Request) -> Option<Pending> {
        let reply = Arc::new(ArrayQueue::new(1));
        let pending = Pending(reply.clone());
        self.calls.push(Call { request, reply }).ok()?;
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
        Some(pending)
    }

    /// For the background thread, once: `waker` is woken by each call.
    pub fn set_waker(&self, waker: Waker) {
        // A second one would be a second background thread, which there is not.
        let _ = self.waker.set(waker);
    }

    /// For the background thread.
    pub fn next(&self) -> Option<Call> {
        self.calls.pop()
    }
}

/// The body of every error of the admin interface: `error` as OpenAI's clients read it, `detail` as
/// those of llm-proxy v1 do.
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
        let desk = AdminQueue::default();
        let pending = desk.call(request()).unwrap();
        assert!(matches!(pending.look(), CallState::NotYet));
        desk.next().unwrap().answer(Answer { status: 204, ..Answer::default() });
        assert!(matches!(pending.look(), CallState::Answered(Answer { status: 204, .. })));
        let pending = desk.call(request()).unwrap();
        drop(desk.next());
        assert!(matches!(pending.look(), CallState::Lost));
    }

    #[test]
    fn admin_queue_is_bounded() {
        let desk = AdminQueue::default();
        let calls: Vec<_> = (0..WAITING).filter_map(|_| desk.call(request())).collect();
        assert_eq!(calls.len(), WAITING);
        assert!(desk.call(request()).is_none());
    }
}

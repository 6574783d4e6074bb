//! How long to wait for the next bytes of a response, and what to do when they do not come.

use std::time::Duration;

use super::super::request_context::RequestContext;

/// After this much silence of the upstream the client gets a sign of life, so that proxies on the
/// way do not close the connection as idle.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the client has of its response, which decides how long a wait may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// No content was sent: another candidate may still be tried. After COMMIT_AFTER_SECS the
    /// client gets the head and comments.
    Held,
    /// The head was sent, and no content yet.
    Committed,
    /// Content was sent.
    Flowing,
    /// The response is not a stream: the client needs no sign of life.
    Whole,
}

/// Returns the time at which an upstream that sends nothing from now on has been silent for too
/// long, in microseconds on the request's clock.
pub(super) fn silent_at(req: &RequestContext<'_>) -> u64 {
    req.recorder.elapsed_us() + micros(req.silence_limit())
}

/// The head of a stream is held back no longer than this, over all attempts.
const MAX_HOLD: Duration = Duration::from_secs(30);

/// Returns whether the client must get a sign of life now: the head of its stream, if it does not
/// have it yet, and a comment.
pub(super) fn is_keep_alive_due(req: &RequestContext<'_>) -> bool {
    req.head_sent || req.recorder.elapsed_us() >= held_until(req)
}

/// Returns when the head of a stream must be sent, in microseconds on the request's clock. Each
/// attempt has COMMIT_AFTER_SECS of its own.
fn held_until(req: &RequestContext<'_>) -> u64 {
    req.attempt_began_us.saturating_add(micros(req.core.boot().commit_after)).min(micros(MAX_HOLD))
}

impl Pace {
    /// Returns whether no time is left to wait for the next bytes, or for the first content.
    pub fn is_overdue(self, req: &RequestContext<'_>, silent_at: u64) -> bool {
        let now = req.recorder.elapsed_us();
        req.core.stopping() || now >= silent_at || self.first_content_at(req).is_some_and(|at| now >= at)
    }

    /// Returns how long to wait before something must be done.
    pub fn patience(self, req: &RequestContext<'_>, silent_at: u64) -> Duration {
        let now = req.recorder.elapsed_us();
        let until = |at: u64| Duration::from_micros(at.saturating_sub(now));
        let step = match self {
            Pace::Held if !req.head_sent => until(held_until(req)),
            Pace::Held | Pace::Committed | Pace::Flowing => KEEP_ALIVE,
            Pace::Whole => Duration::MAX,
        };
        let first = self.first_content_at(req).map_or(Duration::MAX, until);
        until(silent_at).min(step).min(first)
    }

    /// Returns when the first content must have come.
    fn first_content_at(self, req: &RequestContext<'_>) -> Option<u64> {
        req.first_content_at().filter(|_| matches!(self, Pace::Held | Pace::Committed))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

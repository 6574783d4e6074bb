//! How long to wait for the next bytes of a response, and what to do when they do not come.

use std::time::Duration;

use super::super::request_context::RequestContext;

/// After this much silence of the upstream the client gets a sign of life, so that proxies on the
/// way do not close the connection as idle.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What the client has of its response, which decides how long a wait may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nothing was sent: another candidate may still be tried, until COMMIT_AFTER_SECS.
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
pub fn silent_at(req: &RequestContext<'_>) -> u64 {
    req.recorder.elapsed_us() + micros(req.silence_limit())
}

/// Returns whether the head of a stream can be held back no longer.
pub fn must_commit(req: &RequestContext<'_>) -> bool {
    req.recorder.elapsed_us() >= micros(req.core.boot().commit_after)
}

impl Pace {
    /// Returns whether no time is left to wait for the next bytes, or for the first content.
    pub fn is_overdue(self, req: &RequestContext<'_>, silent_at: u64) -> bool {
        let now = req.recorder.elapsed_us();
        req.core.stopping()
            || now >= silent_at
            || self.first_content_limit(req).is_some_and(|limit| now >= micros(limit))
    }

    /// Returns how long to wait before something must be done.
    pub fn patience(self, req: &RequestContext<'_>, silent_at: u64) -> Duration {
        let now = req.recorder.elapsed_us();
        let until = |at: u64| Duration::from_micros(at.saturating_sub(now));
        let step = match self {
            Pace::Held => until(micros(req.core.boot().commit_after)),
            Pace::Committed | Pace::Flowing => KEEP_ALIVE,
            Pace::Whole => Duration::MAX,
        };
        let first = self.first_content_limit(req).map_or(Duration::MAX, |limit| until(micros(limit)));
        until(silent_at).min(step).min(first)
    }

    fn first_content_limit(self, req: &RequestContext<'_>) -> Option<Duration> {
        req.core.boot().ttft_timeout.filter(|_| matches!(self, Pace::Held | Pace::Committed))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

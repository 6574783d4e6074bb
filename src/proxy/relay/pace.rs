//! How long to wait for the next bytes of a stream, and what to do when they do not come.

use std::time::Duration;

use super::super::request_context::RequestContext;

/// A sign of life is sent after this much silence, so that proxies on the way do not take the
/// connection for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where a stream stands towards the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Nothing was sent: another provider may still be tried, until COMMIT_AFTER_SECS.
    Held,
    /// The head was sent, and content is still awaited.
    Committed,
    Flowing,
    /// The client gets a whole answer, and nothing before it.
    Whole,
}

/// Microseconds on the request's clock at which an upstream that says nothing from now on has been
/// silent for too long.
pub fn silent_at(req: &RequestContext<'_>) -> u64 {
    req.recorder.elapsed_us() + micros(req.silence_limit())
}

/// The head of a stream can be held back no longer.
pub fn must_commit(req: &RequestContext<'_>) -> bool {
    req.recorder.elapsed_us() >= micros(req.core.boot().commit_after)
}

impl Pace {
    /// There is no more time to wait for the next event, or for the first content.
    pub fn is_overdue(self, req: &RequestContext<'_>, silent_at: u64) -> bool {
        let now = req.recorder.elapsed_us();
        req.core.stopping() || now >= silent_at || self.first_content_limit(req).is_some_and(|t| now >= micros(t))
    }

    /// How long to wait before something must be done.
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

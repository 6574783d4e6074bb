//! When a provider says that it may be asked again.

use std::time::{Duration, SystemTime};

use crate::proxy::clock;
use llm_http::ResponseHead;

/// What a response says about another try.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetryHint {
    /// The wait that the provider asks for.
    pub wait: Option<Duration>,
    /// `x-should-retry`.
    pub invites: Option<bool>,
}

/// Spans are not believed beyond this.
const LONGEST: Duration = Duration::from_secs(86_400);

impl RetryHint {
    /// Reads the head of an error response. `retry-after-ms` goes before `retry-after`, and that
    /// before the reset of a limit that is used up.
    pub fn of(head: &ResponseHead, bytes: &[u8]) -> RetryHint {
        let get = |name: &str| {
            let value = head.get(bytes, name)?;
            std::str::from_utf8(value).ok().map(str::trim)
        };
        let invites = match get("x-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let in_ms = get("retry-after-ms").and_then(|text| text.parse::<f64>().ok()).map(|ms| ms / 1000.0);
        let wait = in_ms
            .and_then(seconds)
            .or_else(|| get("retry-after").and_then(retry_after))
            .or_else(|| LIMITS.iter().filter_map(|limit| reset(&get, limit)).max());
        RetryHint { wait: wait.map(|wait| wait.min(LONGEST)), invites }
    }
}

fn seconds(value: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(value).ok()
}

/// Parses `retry-after`: seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(value) = text.parse::<f64>() {
        return seconds(value);
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// A limit of an account: the headers that say what is left of it, and when it is whole again.
struct Limit {
    remaining: &'static str,
    reset: &'static str,
}

/// OpenAI: "Rate limits", "in headers"; Anthropic: "Rate limits", "response headers" (both 2026-08).
const LIMITS: [Limit; 6] = [
    Limit { remaining: "x-ratelimit-remaining-requests", reset: "x-ratelimit-reset-requests" },
    Limit { remaining: "x-ratelimit-remaining-tokens", reset: "x-ratelimit-reset-tokens" },
    Limit { remaining: "anthropic-ratelimit-requests-remaining", reset: "anthropic-ratelimit-requests-reset" },
    Limit { remaining: "anthropic-ratelimit-tokens-remaining", reset: "anthropic-ratelimit-tokens-reset" },
    Limit { remaining: "anthropic-ratelimit-input-tokens-remaining", reset: "anthropic-ratelimit-input-tokens-reset" },
    Limit {
        remaining: "anthropic-ratelimit-output-tokens-remaining",
        reset: "anthropic-ratelimit-output-tokens-reset",
    },
];

/// Returns when a limit that is used up is whole again. `None` if something is left of it.
fn reset<'h>(get: &impl Fn(&str) -> Option<&'h str>, limit: &Limit) -> Option<Duration> {
    if get(limit.remaining)?.parse::<f64>().ok()? > 0.0 {
        return None;
    }
    let text = get(limit.reset)?;
    clock::span(text).or_else(|| {
        let at = clock::parse_rfc3339(text)?;
        Some(at.duration_since(SystemTime::now()).unwrap_or_default())
    })
}

/// Returns how long the account has nothing left, by the head of a response that is no error. `None`
/// if something is left.
pub fn exhausted(head: &ResponseHead, bytes: &[u8]) -> Option<Duration> {
    // Nearly every response has something left: one pass finds that out.
    let is_used_up = |(name, value): (&[u8], &[u8])| value == b"0" && name.len() > "x-ratelimit-".len();
    if !head.fields(bytes).any(is_used_up) {
        return None;
    }
    let get = |name: &str| std::str::from_utf8(head.get(bytes, name)?).ok().map(str::trim);
    LIMITS.iter().filter_map(|limit| reset(&get, limit)).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits() {
        assert_eq!(retry_after("2"), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(retry_after("Thu, 01 Jan 1970 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("-1"), None);
        assert_eq!(retry_after("soon"), None);
        let left = |remaining: &'static str, text: &'static str| {
            reset(&|name: &str| Some(if name.contains("remaining") { remaining } else { text }), &LIMITS[0])
        };
        assert_eq!(left("0", "1m2s"), Some(Duration::from_secs(62)));
        assert_eq!(left("0", "1970-01-01T00:00:00Z"), Some(Duration::ZERO));
        assert_eq!(left("3", "1m2s"), None);
        assert_eq!(left("0", "later"), None);
    }
}

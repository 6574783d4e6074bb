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
    pub should_retry: Option<bool>,
}

/// Longer waits are taken for this one: a provider that asks for years, or for ever, is asked again
/// some day.
const LONGEST: Duration = Duration::from_secs(86_400);

impl RetryHint {
    /// Reads the head of an error response. `retry-after-ms` goes before `retry-after`, and that
    /// before the reset of a limit that is used up. What is no time, or a time that is over, says
    /// nothing.
    pub fn of(head: &ResponseHead, bytes: &[u8]) -> RetryHint {
        let get = |name: &str| {
            let value = head.get(bytes, name)?;
            std::str::from_utf8(value).ok().map(str::trim)
        };
        let should_retry = match get("x-should-retry") {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => None,
        };
        let is_throttled = head.status == 429;
        let wait = get("retry-after-ms")
            .and_then(milliseconds)
            .or_else(|| get("retry-after").and_then(retry_after))
            .filter(|wait| !wait.is_zero())
            .or_else(|| LIMITS.iter().filter_map(|limit| reset(&get, limit, is_throttled)).max());
        RetryHint { wait, should_retry }
    }

    /// Returns the wait in whole seconds, rounded up, as `retry-after` has it.
    pub fn seconds(&self) -> Option<u32> {
        let wait = self.wait?;
        let up = u64::from(wait.subsec_nanos() > 0);
        u32::try_from(wait.as_secs().saturating_add(up)).ok()
    }
}

/// Returns whether a field is one that says when to try again.
pub(super) fn is_wait(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"retry-after") || name.eq_ignore_ascii_case(b"retry-after-ms")
}

/// Returns whether the value of such a field is a time that clients can keep.
pub(super) fn is_valid_wait(name: &[u8], value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(value).map(str::trim) else { return false };
    let wait = match name.len() == "retry-after".len() {
        true => retry_after(text),
        false => milliseconds(text),
    };
    wait.is_some_and(|wait| wait < LONGEST)
}

/// Returns a number of seconds as a wait. `None` for one that is negative or no number.
fn seconds(value: f64) -> Option<Duration> {
    // A comparison with NaN is false.
    let bounded = (value >= 0.0).then_some(value.min(LONGEST.as_secs_f64()))?;
    Duration::try_from_secs_f64(bounded).ok()
}

fn milliseconds(text: &str) -> Option<Duration> {
    seconds(text.parse::<f64>().ok()? / 1000.0)
}

/// Parses `retry-after`: seconds, or a date (RFC 9110, 10.2.3). `None` for a date in the past.
fn retry_after(text: &str) -> Option<Duration> {
    if let Ok(value) = text.parse::<f64>() {
        return seconds(value);
    }
    until(httpdate::parse_http_date(text).ok()?)
}

/// Returns the time until `at`. `None` if it is over.
fn until(at: SystemTime) -> Option<Duration> {
    at.duration_since(SystemTime::now()).ok().map(|wait| wait.min(LONGEST))
}

/// A limit of an account: the headers that say what is left of it, and when it is whole again.
struct Limit {
    remaining: &'static str,
    reset: &'static str,
}

/// OpenAI: "Rate limits", "in headers"; Anthropic: "Rate limits", "response headers" (both
/// 2026-08). Compatible hosts also have one limit without a name.
const LIMITS: [Limit; 7] = [
    Limit { remaining: "x-ratelimit-remaining-requests", reset: "x-ratelimit-reset-requests" },
    Limit { remaining: "x-ratelimit-remaining-tokens", reset: "x-ratelimit-reset-tokens" },
    Limit { remaining: "x-ratelimit-remaining", reset: "x-ratelimit-reset" },
    Limit { remaining: "anthropic-ratelimit-requests-remaining", reset: "anthropic-ratelimit-requests-reset" },
    Limit { remaining: "anthropic-ratelimit-tokens-remaining", reset: "anthropic-ratelimit-tokens-reset" },
    Limit { remaining: "anthropic-ratelimit-input-tokens-remaining", reset: "anthropic-ratelimit-input-tokens-reset" },
    Limit {
        remaining: "anthropic-ratelimit-output-tokens-remaining",
        reset: "anthropic-ratelimit-output-tokens-reset",
    },
];

/// Returns when a limit that is used up is whole again. `None` if something is left of it. Where a
/// response does not say what is left, `is_throttled` decides: a 429 means that nothing is.
fn reset<'h>(get: &impl Fn(&str) -> Option<&'h str>, limit: &Limit, is_throttled: bool) -> Option<Duration> {
    let is_used_up = match get(limit.remaining).and_then(|text| text.parse::<f64>().ok()) {
        Some(left) => left <= 0.0,
        None => is_throttled,
    };
    if !is_used_up {
        return None;
    }
    reset_in(get(limit.reset)?).filter(|wait| !wait.is_zero())
}

/// Parses the reset of a limit: a span (`6m0s`), a time of RFC 3339, seconds, or the time in
/// seconds or milliseconds since 1970.
pub(super) fn reset_in(text: &str) -> Option<Duration> {
    /// Greater numbers are no span, but a time: 30 years in seconds, and in milliseconds.
    const TIME: f64 = 946_080_000.0;
    const TIME_IN_MS: f64 = TIME * 1000.0;
    if let Some(wait) = clock::span(text) {
        return Some(wait.min(LONGEST));
    }
    if let Some(at) = clock::parse_rfc3339(text) {
        return until(at);
    }
    match text.parse::<f64>().ok()? {
        value if value < TIME => seconds(value),
        value => {
            let at = if value < TIME_IN_MS { value } else { value / 1000.0 };
            until(SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(at).ok()?)?)
        }
    }
}

/// The limits of the tokens of prompts: what is left, the whole, and when it is whole again.
const PROMPT_TOKENS: [[&str; 3]; 3] = [
    ["x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens", "x-ratelimit-reset-tokens"],
    ["anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-reset"],
    [
        "anthropic-ratelimit-input-tokens-remaining",
        "anthropic-ratelimit-input-tokens-limit",
        "anthropic-ratelimit-input-tokens-reset",
    ],
];

/// Returns how long the account has nothing left, by the head of a response that is no error, or
/// less than another request of about `tokens` needs. `None` if enough is left.
pub(super) fn exhausted(head: &ResponseHead, bytes: &[u8], tokens: u64) -> Option<Duration> {
    // Nearly every response has enough left: one pass finds that out.
    let is_little = |(name, value): (&[u8], &[u8])| {
        let is_named = name.len() > "x-ratelimit-".len();
        is_named && (value == b"0" || is_prompt_limit(name) && number(value).is_some_and(|left| left < tokens))
    };
    if !head.fields(bytes).any(is_little) {
        return None;
    }
    let get = |name: &str| std::str::from_utf8(head.get(bytes, name)?).ok().map(str::trim);
    let used_up = LIMITS.iter().filter_map(|limit| reset(&get, limit, false));
    let too_little = PROMPT_TOKENS.iter().filter_map(|names| refill(&get, names, tokens));
    used_up.chain(too_little).max()
}

/// Returns whether a field says how many tokens of prompts are left.
fn is_prompt_limit(name: &[u8]) -> bool {
    PROMPT_TOKENS.iter().any(|[remaining, ..]| name.eq_ignore_ascii_case(remaining.as_bytes()))
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

/// Returns when `tokens` are there again, of which less is left. A limit fills up steadily until
/// its reset. `None` if there are as many, or never will be.
fn refill<'h>(get: &impl Fn(&str) -> Option<&'h str>, names: &[&str; 3], tokens: u64) -> Option<Duration> {
    let [remaining, whole, reset] = names;
    let left = get(remaining)?.parse::<u64>().ok().filter(|left| *left < tokens)?;
    let whole = get(whole)?.parse::<u64>().ok().filter(|whole| *whole >= tokens)?;
    let part = (tokens - left) as f64 / (whole - left) as f64;
    Some(reset_in(get(reset)?)?.mul_f64(part)).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is no time, is over or is negative says nothing, and what has no end is bounded.
    #[test]
    fn waits() {
        let second = Duration::from_secs(1);
        let rows = [
            ("2", Some(2 * second)),
            ("0.5", Some(second / 2)),
            ("inf", Some(LONGEST)),
            ("1e300", Some(LONGEST)),
            ("99999999999999999999", Some(LONGEST)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(LONGEST)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", None),
            ("-1", None),
            ("-inf", None),
            ("NaN", None),
            ("soon", None),
            ("", None),
        ];
        for (text, expected) in rows {
            assert_eq!(retry_after(text), expected, "{text}");
            let keeps = is_valid_wait(b"Retry-After", text.as_bytes());
            assert_eq!(keeps, expected.is_some_and(|wait| wait < LONGEST), "{text}");
        }
        assert!(is_wait(b"Retry-After-Ms") && is_valid_wait(b"retry-after-ms", b"1500"));
        assert_eq!(milliseconds("inf"), Some(LONGEST));
    }

    #[test]
    fn refills() {
        let of = |left: &'static str, tokens| {
            let get = |name: &str| match name {
                name if name.contains("remaining") => Some(left),
                name if name.contains("limit-tokens") => Some("1000"),
                _ => Some("1m0s"),
            };
            refill(&get, &PROMPT_TOKENS[0], tokens).map(|wait| wait.as_secs())
        };
        assert_eq!([of("400", 700), of("0", 1000), of("999", 1000)], [Some(30), Some(60), Some(60)]);
        // Enough, more than there ever is, and no number.
        assert_eq!([of("700", 700), of("400", 1001), of("few", 1)], [None; 3]);
        assert!(is_prompt_limit(b"X-RateLimit-Remaining-Tokens") && !is_prompt_limit(b"x-ratelimit-limit-tokens"));
    }

    #[test]
    fn resets() {
        let second = Duration::from_secs(1);
        let rows = [
            ("1s", Some(second)),
            ("6m0s", Some(360 * second)),
            ("1d", Some(LONGEST)),
            ("9999d", Some(LONGEST)),
            ("12.5", Some(12 * second + second / 2)),
            ("9999-12-31T23:59:59Z", Some(LONGEST)),
            ("1970-01-01T00:00:00Z", None),
            ("1700000000", None),
            ("1700000000000", None),
            ("99999999999999", Some(LONGEST)),
            ("-5", None),
            ("nan", None),
            ("later", None),
        ];
        for (text, expected) in rows {
            assert_eq!(reset_in(text), expected, "{text}");
        }
        let of = |remaining: Option<&'static str>, is_throttled| {
            let get = |name: &str| if name.contains("remaining") { remaining } else { Some("1m2s") };
            reset(&get, &LIMITS[0], is_throttled)
        };
        let wait = Some(62 * second);
        let rows = [(Some("0"), false, wait), (Some("3"), true, None), (None, true, wait), (None, false, None)];
        for (remaining, is_throttled, expected) in rows {
            assert_eq!(of(remaining, is_throttled), expected, "{remaining:?} {is_throttled}");
        }
        assert_eq!(RetryHint { wait: Some(second * 3 / 2), should_retry: None }.seconds(), Some(2));
    }
}

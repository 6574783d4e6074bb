//! Which headers the gateway forwards. These tables are the whole rule: what they do not name is
//! not forwarded. What they say of the most common names is found out when this is compiled
//! ([`COMMON`]).
//!
//! No table may name hop-by-hop headers (RFC 9110, 7.6.1), `host`, lengths and codings, or a header
//! that carries a credential. The gateway has its own on each side.

use std::time::SystemTime;

use super::clock;
use super::retry_hint;
use llm_http::write;
use llm_wire::Format;
use llm_wire::formats::profile::RateLimitHeaders;

/// Request headers that reach every provider.
///
/// `openai-organization` and `openai-project` are absent: they select an account, which is the
/// provider row's matter.
pub const TO_UPSTREAM: &[&str] = &["traceparent", "tracestate", "user-agent", "x-session-affinity", "x-session-id"];

/// Request headers that reach a provider of the client's own format. They describe the body or the
/// vendor's features, and a translated body has its own.
pub const TO_OWN_FORMAT: &[&str] = &[
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "openai-beta",
    "x-app",
    "x-claude-code-session-id",
];

/// Response headers that reach the client.
pub const TO_CLIENT: &[&str] = &[
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "openai-model",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
];

/// Those of [`TO_CLIENT`] that also hold for a translated response.
pub const TO_ANY_CLIENT: &[&str] = &["retry-after", "retry-after-ms", "x-should-retry"];

/// Prefixes of response headers about the limits of one account. They are forwarded only where that
/// account alone serves the model and the credential has no limit of its own.
const RATE_LIMITS: &[&str] = &["x-ratelimit-", "anthropic-ratelimit-"];

/// The provider's request ids. They reach the client as `x-llm-proxy-upstream-request-id`, since
/// `x-request-id` is the gateway's.
const UPSTREAM_IDS: &[&str] = &["x-request-id", "request-id", "apim-request-id"];

/// What the gateway does with a response header of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Forward,
    /// It describes the limits of one account.
    RateLimit,
    /// It is the provider's request id.
    UpstreamId,
    Drop,
}

const fn contains(table: &[&str], name: &[u8]) -> bool {
    let mut at = 0;
    while at < table.len() {
        if name.eq_ignore_ascii_case(table[at].as_bytes()) {
            return true;
        }
        at += 1;
    }
    false
}

/// Returns whether a name begins with one of the prefixes in a table.
const fn has_prefix(table: &[&str], name: &[u8]) -> bool {
    let mut at = 0;
    while at < table.len() {
        if let Some((start, _)) = name.split_at_checked(table[at].len())
            && start.eq_ignore_ascii_case(table[at].as_bytes())
        {
            return true;
        }
        at += 1;
    }
    false
}

/// Returns the lengths of the names in a table, as bits.
const fn lengths(table: &[&str]) -> u64 {
    let (mut bits, mut at) = (0, 0);
    while at < table.len() {
        bits |= 1 << table[at].len();
        at += 1;
    }
    bits
}

/// Returns whether a set of lengths has that of a name: most names are of no interest, and none of
/// their bytes is looked at then.
const fn has_length(lengths: u64, name: &[u8]) -> bool {
    name.len() < 64 && lengths >> name.len() & 1 == 1
}

/// Returns whether a client's header is forwarded to a provider, of its own format or of another.
pub fn to_upstream(name: &[u8], own_format: bool) -> bool {
    contains(TO_UPSTREAM, name) || (own_format && contains(TO_OWN_FORMAT, name))
}

/// A name of 8 to 16 bytes: its length, and its first and last 8 bytes in lower case, which together
/// are all of it.
type Ends = (usize, u64, u64);

/// Names that nearly every response has, and what the tables say of them.
const COMMON: [(Ends, Disposition); 4] =
    [common(b"content-type"), common(b"content-length"), common(b"x-request-id"), common(b"connection")];

/// Returns an entry of [`COMMON`].
#[allow(clippy::panic, reason = "it fails when it is compiled: COMMON is a constant")]
const fn common(name: &[u8]) -> (Ends, Disposition) {
    let Some(ends) = ends(name) else { panic!("a common name has 8 to 16 bytes") };
    (ends, by_tables(name))
}

/// Returns the ends of a name. `None` if its length is another.
const fn ends(name: &[u8]) -> Option<Ends> {
    let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) else { return None };
    if name.len() > 16 {
        return None;
    }
    Some((name.len(), lowercase(u64::from_le_bytes(*first)), lowercase(u64::from_le_bytes(*last))))
}

/// Sets the bit that distinguishes lower case, in those bytes of a word that are capitals.
const fn lowercase(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOP: u64 = ONES << 7;
    let low = word & !TOP;
    // The top bits: of the bytes from `A` on, and of those behind `Z`.
    let (from_a, behind_z) = (low + ONES * (0x80 - b'A') as u64, low + ONES * (0x7f - b'Z') as u64);
    word | ((from_a ^ behind_z) & TOP & !word) >> 2
}

/// Returns what to do with a provider's header for a client of its own format.
pub fn to_client(name: &[u8]) -> Disposition {
    if let Some(ends) = ends(name)
        && let Some((_, disposition)) = COMMON.iter().find(|(common, _)| *common == ends)
    {
        return *disposition;
    }
    by_tables(name)
}

const fn by_tables(name: &[u8]) -> Disposition {
    const FORWARDED: u64 = lengths(TO_CLIENT);
    const IDS: u64 = lengths(UPSTREAM_IDS);
    if has_length(FORWARDED, name) && contains(TO_CLIENT, name) {
        return Disposition::Forward;
    }
    if has_length(IDS, name) && contains(UPSTREAM_IDS, name) {
        return Disposition::UpstreamId;
    }
    // Neither letter stands at the start of many names.
    let limits = matches!(name.first(), Some(b'x' | b'X' | b'a' | b'A')) && has_prefix(RATE_LIMITS, name);
    if limits { Disposition::RateLimit } else { Disposition::Drop }
}

/// Returns whether a header says of what type and coding a body is.
pub fn describes_body(name: &[u8]) -> bool {
    contains(&["content-type", "content-encoding"], name)
}

/// Returns what to do with a provider's header for a client of another format. What describes the
/// body is not true of the translated one.
pub fn to_translated_client(name: &[u8]) -> Disposition {
    match to_client(name) {
        Disposition::Forward if !contains(TO_ANY_CLIENT, name) => Disposition::Drop,
        disposition => disposition,
    }
}

/// Writes an account's limit under the name that clients of `format` read
/// (`docs/internals/translation/errors.md`, "Headers of an error").
/// `anthropic-ratelimit-requests-reset` and `x-ratelimit-reset-requests` mean the same, but the one
/// is a time of day and the other a span: it is converted, and left out where it cannot be read.
pub fn rate_limit(out: &mut Vec<u8>, format: Format, name: &[u8], value: &[u8]) {
    let Ok(name) = std::str::from_utf8(name) else { return };
    let name = name.to_ascii_lowercase();
    let Some((kind, what)) = rate_parts(&name) else { return };
    let value = String::from_utf8_lossy(value);
    let (name, value) = match (format.profile().http.rate_limit_headers, name.starts_with('a')) {
        (RateLimitHeaders::Anthropic, true) | (RateLimitHeaders::OpenAi, false) => (name, Some(value.into_owned())),
        (RateLimitHeaders::Anthropic, false) => (format!("anthropic-ratelimit-{kind}-{what}"), reset_at(what, &value)),
        (RateLimitHeaders::OpenAi, true) => (format!("x-ratelimit-{what}-{kind}"), reset_in(what, &value)),
    };
    if let Some(value) = value {
        let _ = write::header(out, &name, value.as_bytes());
    }
}

/// Returns `(requests, limit)` for `x-ratelimit-limit-requests` and for
/// `anthropic-ratelimit-requests-limit`.
fn rate_parts(name: &str) -> Option<(&str, &str)> {
    let parts = match name.strip_prefix("anthropic-ratelimit-") {
        Some(rest) => rest.rsplit_once('-')?,
        None => name.strip_prefix("x-ratelimit-")?.split_once('-').map(|(what, kind)| (kind, what))?,
    };
    let known = matches!(parts.0, "requests" | "tokens" | "input-tokens" | "output-tokens")
        && matches!(parts.1, "limit" | "remaining" | "reset");
    known.then_some(parts)
}

/// Converts a span (`6m0s`, `20ms`, seconds, the time since 1970) to a time of day.
fn reset_at(what: &str, value: &str) -> Option<String> {
    if what != "reset" {
        return Some(value.to_owned());
    }
    // A day at most: a provider's number may be beyond every time.
    Some(clock::rfc3339(SystemTime::now() + retry_hint::reset_in(value)?))
}

/// Converts a time of day to a span.
fn reset_in(what: &str, value: &str) -> Option<String> {
    if what != "reset" {
        return Some(value.to_owned());
    }
    let at = clock::parse_rfc3339(value)?;
    let left = at.duration_since(SystemTime::now()).unwrap_or_default();
    Some(format!("{}ms", left.as_millis()))
}

/// Returns whether a client's request id is well formed: 1 to 64 of `[A-Za-z0-9._:-]`.
pub fn is_request_id(value: &[u8]) -> bool {
    (1..=64).contains(&value.len())
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_and_hop_by_hop_headers_never_cross() {
        for name in [
            "authorization",
            "x-api-key",
            "api-key",
            "cookie",
            "host",
            "content-length",
            "transfer-encoding",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "proxy-authorization",
            "accept-encoding",
            "x-request-id",
            "expect",
            "x-forwarded-for",
            "openai-organization",
            "openai-project",
            "x-stainless-os",
        ] {
            assert!(!to_upstream(name.as_bytes(), true), "{name}");
        }
        for name in [
            "set-cookie",
            "server",
            "via",
            "cf-ray",
            "openai-organization",
            "anthropic-organization-id",
            "connection",
            "transfer-encoding",
            "content-length",
            "date",
            "alt-svc",
        ] {
            assert_eq!(to_client(name.as_bytes()), Disposition::Drop, "{name}");
        }
    }

    #[test]
    fn common_names_are_those_of_the_tables() {
        for name in
            TO_CLIENT.iter().chain(UPSTREAM_IDS).chain(&["content-length", "connection", "keep-alive", "server"])
        {
            let mixed: String =
                name.chars().enumerate().map(|(at, c)| if at % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
            for name in
                [name.to_string(), name.to_uppercase(), mixed, name.replace('-', "\r"), name.replace('e', "\u{85}")]
            {
                assert_eq!(to_client(name.as_bytes()), by_tables(name.as_bytes()), "{name:?}");
            }
        }
        for byte in 0..=u8::MAX {
            assert_eq!(lowercase(u64::from_le_bytes([byte; 8])), u64::from_le_bytes([byte.to_ascii_lowercase(); 8]));
        }
    }

    #[test]
    fn tables() {
        assert!(to_upstream(b"Anthropic-Beta", true) && !to_upstream(b"Anthropic-Beta", false));
        assert!(to_upstream(b"TraceParent", true) && to_upstream(b"traceparent", false));
        assert_eq!(to_client(b"Retry-After"), Disposition::Forward);
        assert_eq!(to_client(b"X-RateLimit-Remaining-Tokens"), Disposition::RateLimit);
        assert_eq!(to_client(b"anthropic-ratelimit-requests-reset"), Disposition::RateLimit);
        assert_eq!(to_client(b"request-id"), Disposition::UpstreamId);
    }

    #[test]
    fn limits_are_renamed_and_converted() {
        let written = |format, name: &str, value: &str| {
            let mut out = Vec::new();
            rate_limit(&mut out, format, name.as_bytes(), value.as_bytes());
            String::from_utf8(out).unwrap()
        };
        let rows = [
            (Format::Chat, "Anthropic-RateLimit-Requests-Limit", "50", "x-ratelimit-limit-requests: 50\r\n"),
            (
                Format::Responses,
                "anthropic-ratelimit-input-tokens-remaining",
                "7",
                "x-ratelimit-remaining-input-tokens: 7\r\n",
            ),
            (Format::Messages, "x-ratelimit-remaining-tokens", "9", "anthropic-ratelimit-tokens-remaining: 9\r\n"),
            (Format::Chat, "x-ratelimit-reset-tokens", "6m0s", "x-ratelimit-reset-tokens: 6m0s\r\n"),
            (
                Format::Chat,
                "anthropic-ratelimit-requests-reset",
                "2020-01-01T00:00:00Z",
                "x-ratelimit-reset-requests: 0ms\r\n",
            ),
            (Format::Chat, "anthropic-ratelimit-requests-reset", "soon", ""),
            (Format::Messages, "x-ratelimit-reset-tokens", "never", ""),
            (Format::Messages, "x-ratelimit-limit-project-tokens", "1", ""),
        ];
        for (format, name, value, line) in rows {
            assert_eq!(written(format, name, value), line, "{name}: {value}");
        }
        let line = written(Format::Messages, "x-ratelimit-reset-requests", "30");
        assert!(line.starts_with("anthropic-ratelimit-requests-reset: 20") && line.ends_with("Z\r\n"), "{line}");
        for value in ["20ms", "9999999999999999999s", "18446744073709551615h", "1e300"] {
            let line = written(Format::Messages, "x-ratelimit-reset-requests", value);
            let is_time = line.starts_with("anthropic-ratelimit-requests-reset: 20") && line.ends_with("Z\r\n");
            assert!(is_time || line.is_empty(), "{value}: {line}");
        }
    }

    #[test]
    fn request_ids() {
        assert!(is_request_id(b"a.B_9:-"));
        assert!(!is_request_id(b""));
        assert!(!is_request_id(&[b'a'; 65]));
        assert!(!is_request_id(b"a b") && !is_request_id(b"a\r\nx: y") && !is_request_id("é".as_bytes()));
    }
}

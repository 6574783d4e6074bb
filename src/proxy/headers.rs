//! Which headers cross the gateway. These two tables are the whole rule: what is not named is not forwarded.
//!
//! Never forwarded, whatever the tables say: hop-by-hop headers (RFC 9110, 7.6.1), `host`, lengths and codings, and every header that carries
//! a credential. They are the gateway's own on each side.

/// Request headers that reach the provider.
///
/// `openai-organization` and `openai-project` are absent: they select an account, and the account is the provider row's.
const TO_UPSTREAM: &[&str] = &[
    "accept",
    "anthropic-beta",
    "anthropic-version",
    "content-type",
    "openai-beta",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-app",
    "x-claude-code-session-id",
    "x-session-affinity",
    "x-session-id",
];

/// Response headers that reach the client.
const TO_CLIENT: &[&str] = &[
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

/// Response header families that tell of one account's limits: passed on only where that account is the only one behind the model and the
/// credential has no limit of its own.
const RATE_LIMITS: &[&str] = &["x-ratelimit-", "anthropic-ratelimit-"];

/// The provider's request ids: they reach the client under a name of ours, since `x-request-id` is the gateway's.
const UPSTREAM_IDS: &[&str] = &["x-request-id", "request-id", "apim-request-id"];

/// What becomes of a provider's response header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Forward,
    RateLimit,
    UpstreamId,
    Drop,
}

fn named(table: &[&str], name: &[u8]) -> bool {
    table.iter().any(|entry| name.eq_ignore_ascii_case(entry.as_bytes()))
}

/// Whether a client's header is sent on to the provider.
pub fn to_upstream(name: &[u8]) -> bool {
    named(TO_UPSTREAM, name)
}

/// What becomes of a provider's header on the way to the client.
pub fn to_client(name: &[u8]) -> Fate {
    if named(TO_CLIENT, name) {
        return Fate::Forward;
    }
    if named(UPSTREAM_IDS, name) {
        return Fate::UpstreamId;
    }
    let limits = RATE_LIMITS
        .iter()
        .any(|prefix| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes())));
    if limits { Fate::RateLimit } else { Fate::Drop }
}

/// Whether a client's request id may be kept: 1 to 64 of `[A-Za-z0-9._:-]`.
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
            assert!(!to_upstream(name.as_bytes()), "{name}");
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
            assert_eq!(to_client(name.as_bytes()), Fate::Drop, "{name}");
        }
    }

    #[test]
    fn fates() {
        assert!(to_upstream(b"Anthropic-Beta"));
        assert_eq!(to_client(b"Retry-After"), Fate::Forward);
        assert_eq!(to_client(b"X-RateLimit-Remaining-Tokens"), Fate::RateLimit);
        assert_eq!(to_client(b"anthropic-ratelimit-requests-reset"), Fate::RateLimit);
        assert_eq!(to_client(b"request-id"), Fate::UpstreamId);
    }

    #[test]
    fn request_ids() {
        assert!(is_request_id(b"a.B_9:-"));
        assert!(!is_request_id(b""));
        assert!(!is_request_id(&[b'a'; 65]));
        assert!(!is_request_id(b"a b") && !is_request_id(b"a\r\nx: y") && !is_request_id("é".as_bytes()));
    }
}

//! What kind of failure a provider's error is (`translation.md` 4.2).
//!
//! [`error`](super::error) reads the shapes; this decides the [`Kind`] from status, type, code and, where hosts say it in prose
//! alone, from well-known words of the message.

use super::error::ReadError;
use crate::error::{Error, Kind};
use crate::json::RawStr;
use crate::json::scan::{Fault, ScanError};

/// An event of a provider's stream that is not JSON. One that ends inside a value was cut: the stream broke off there.
pub fn not_json(fault: ScanError) -> Error {
    let (kind, note) = match fault.what {
        Fault::Eof => (Kind::UpstreamTruncated, "the upstream closed the stream inside an event"),
        _ => (Kind::UpstreamFault, "the upstream's stream holds an event that is not JSON"),
    };
    Error::upstream(kind, note).detail(fault)
}

/// Longest message passed on, in characters.
const MESSAGE_MAX: usize = 2000;

/// `(word of type or code, kind)`, in the order of precedence. The words of OpenAI, Anthropic, Google and AWS.
const WORDS: &[(&str, Kind)] = &[
    ("context_length_exceeded", Kind::ContextTooLong),
    ("string_above_max_length", Kind::ContextTooLong),
    ("insufficient_quota", Kind::Billing),
    ("credit_balance_exhausted", Kind::Billing),
    ("billing_error", Kind::Billing),
    ("content_filter", Kind::ContentFilter),
    ("content_policy_violation", Kind::ContentFilter),
    ("invalid_prompt", Kind::ContentFilter),
    ("rate_limit_exceeded", Kind::RateLimit),
    ("rate_limit_error", Kind::RateLimit),
    ("rate_limit_reached", Kind::RateLimit),
    ("RESOURCE_EXHAUSTED", Kind::RateLimit),
    ("ThrottlingException", Kind::RateLimit),
    ("throttlingException", Kind::RateLimit),
    ("overloaded_error", Kind::Overloaded),
    ("server_is_overloaded", Kind::Overloaded),
    ("slow_down", Kind::Overloaded),
    ("UNAVAILABLE", Kind::Overloaded),
    ("ModelNotReadyException", Kind::Overloaded),
    ("timeout_error", Kind::UpstreamTimeout),
    ("DEADLINE_EXCEEDED", Kind::UpstreamTimeout),
    ("model_not_found", Kind::ModelNotFound),
    ("not_found_error", Kind::ModelNotFound),
    ("NOT_FOUND", Kind::ModelNotFound),
    ("invalid_api_key", Kind::UpstreamAuth),
    ("authentication_error", Kind::UpstreamAuth),
    ("UNAUTHENTICATED", Kind::UpstreamAuth),
    ("UnrecognizedClientException", Kind::UpstreamAuth),
    ("permission_error", Kind::Permission),
    ("PERMISSION_DENIED", Kind::Permission),
    ("request_too_large", Kind::TooLarge),
    ("invalid_request_error", Kind::InvalidRequest),
    ("INVALID_ARGUMENT", Kind::InvalidRequest),
    ("FAILED_PRECONDITION", Kind::InvalidRequest),
    ("ValidationException", Kind::InvalidRequest),
    ("api_error", Kind::UpstreamFault),
    ("server_error", Kind::UpstreamFault),
];

/// Words of messages, in lower case, that tell more than status and type do.
const PROSE: &[(&str, Kind)] = &[
    ("prompt is too long", Kind::ContextTooLong),
    ("maximum context length", Kind::ContextTooLong),
    ("exceeds the context window", Kind::ContextTooLong),
    ("input token count", Kind::ContextTooLong),
    ("credit balance is too low", Kind::Billing),
    ("exceeded your current quota", Kind::Billing),
];

/// The kind that a status alone tells.
pub fn kind_of_status(status: u16) -> Kind {
    match status {
        400 | 422 => Kind::InvalidRequest,
        401 | 403 => Kind::UpstreamAuth,
        402 => Kind::Billing,
        404 => Kind::ModelNotFound,
        408 | 504 => Kind::UpstreamTimeout,
        409 => Kind::Conflict,
        413 => Kind::TooLarge,
        429 => Kind::RateLimit,
        503 | 529 => Kind::Overloaded,
        405..=499 => Kind::InvalidRequest,
        _ => Kind::UpstreamFault,
    }
}

/// The kind of an error that was read. `status` is `None` inside a stream.
pub fn kind(status: Option<u16>, read: &ReadError<'_>) -> Kind {
    let is = |raw: Option<RawStr<'_>>, word: &str| raw.is_some_and(|raw| raw.eq_str(word));
    let by_status = status.filter(|s| *s >= 400).map(kind_of_status);
    // The gateway's own key was refused: never the client's fault, whatever the words say.
    if by_status == Some(Kind::UpstreamAuth) {
        return Kind::UpstreamAuth;
    }
    let prose = read.message.unescape().to_ascii_lowercase();
    if let Some((_, kind)) = PROSE.iter().find(|(words, _)| prose.contains(words)) {
        return *kind;
    }
    let hit = |field: Option<RawStr<'_>>| WORDS.iter().find(|(word, _)| is(field, word)).map(|(_, kind)| *kind);
    // The code says more than the type, and the status more than the general types.
    match (hit(read.code), hit(read.r#type), by_status) {
        (Some(kind), ..) => kind,
        (None, Some(Kind::InvalidRequest | Kind::UpstreamFault), Some(kind)) => kind,
        (None, Some(kind), _) => kind,
        (None, None, Some(kind)) => kind,
        (None, None, None) => numeric(read.code).unwrap_or(Kind::UpstreamFault),
    }
}

/// A status in the place of a code, as OpenRouter and Google write it.
fn numeric(code: Option<RawStr<'_>>) -> Option<Kind> {
    let status: u16 = std::str::from_utf8(code?.as_bytes()).ok()?.parse().ok()?;
    (400..600).contains(&status).then(|| kind_of_status(status))
}

/// The error to raise for what a provider said. The message goes to the client; its `param` is in the provider's words and is
/// kept for the log alone.
pub fn error(status: Option<u16>, read: &ReadError<'_>) -> Error {
    let kind = kind(status, read);
    let message: String = read.message.unescape().chars().take(MESSAGE_MAX).collect();
    let note = match kind {
        Kind::UpstreamAuth => "upstream authentication failed".to_owned(),
        _ if message.is_empty() => match status {
            Some(status) => format!("upstream returned {status}"),
            None => "the upstream reported an error without a message".to_owned(),
        },
        _ => message,
    };
    let text = |raw: Option<RawStr<'_>>| raw.map_or("-".into(), |raw| raw.unescape().into_owned());
    let detail = format!("type {}, code {}, param {}", text(read.r#type), text(read.code), text(read.param));
    Error::upstream(kind, note).detail(detail).quoted()
}

/// The error behind a body that says nothing in any known shape. A page of HTML is never shown, and of text only the beginning.
pub fn unreadable(status: u16, body: &[u8]) -> Error {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(body);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let note = match text.is_empty() || text.starts_with(['<', '{', '[']) {
        true => format!("upstream returned {status}"),
        false => format!("upstream returned {status}: {text}"),
    };
    Error::upstream(kind_of_status(status), note).quoted()
}

#[cfg(test)]
mod tests {
    use super::super::{Format, error::read};
    use super::*;

    #[test]
    fn kinds() {
        use Format::{Chat, Messages, Responses};
        #[rustfmt::skip]
        let rows: &[(Format, Option<u16>, &str, Kind)] = &[
            (Messages, Some(529), r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Kind::Overloaded),
            (Messages, None, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Kind::Overloaded),
            (Messages, Some(400), r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 > 2"}}"#, Kind::ContextTooLong),
            (Messages, Some(400), r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#, Kind::Billing),
            (Messages, None, r#"{"type":"error","error":{"type":"api_error","message":"x"}}"#, Kind::UpstreamFault),
            (Chat, Some(400), r#"{"error":{"message":"m","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#, Kind::ContextTooLong),
            (Chat, Some(429), r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#, Kind::Billing),
            (Chat, Some(429), r#"{"error":{"message":"m","type":"requests","code":"rate_limit_exceeded"}}"#, Kind::RateLimit),
            (Chat, Some(401), r#"{"error":{"message":"Incorrect API key: sk-x","type":"invalid_request_error","code":"invalid_api_key"}}"#, Kind::UpstreamAuth),
            (Chat, Some(404), r#"{"error":{"message":"m","type":"invalid_request_error","code":"model_not_found"}}"#, Kind::ModelNotFound),
            (Chat, Some(500), r#"{"error":{"message":"m","type":"invalid_request_error"}}"#, Kind::UpstreamFault),
            (Chat, None, r#"{"error":{"message":"m","code":429}}"#, Kind::RateLimit),
            (Chat, None, r#"{"error":{"message":"m"}}"#, Kind::UpstreamFault),
            (Responses, None, r#"{"type":"error","sequence_number":2,"error":{"type":"insufficient_quota","code":"credit_balance_exhausted","message":"m"}}"#, Kind::Billing),
        ];
        for (format, status, body, expected) in rows {
            let read = read(*format, body.as_bytes()).unwrap();
            assert_eq!(kind(*status, &read), *expected, "{body}");
        }
    }

    #[test]
    fn pages_are_not_shown() {
        let rows = [
            (502, "<html>Bad Gateway</html>", "upstream returned 502"),
            (502, "", "upstream returned 502"),
            (503, " no healthy\r\n upstream ", "upstream returned 503: no healthy upstream"),
        ];
        for (status, body, note) in rows {
            assert_eq!(unreadable(status, body.as_bytes()).note, note);
        }
        assert_eq!(unreadable(503, &[b'x'; 4096]).note.len(), "upstream returned 503: ".len() + 200);
        assert_eq!(unreadable(503, b"").kind, Kind::Overloaded);
    }

    #[test]
    fn a_refused_key_is_never_shown() {
        let read = ReadError { message: RawStr::new(b"Incorrect API key: sk-secret"), ..ReadError::default() };
        let error = error(Some(401), &read);
        assert_eq!((error.kind, error.note.as_ref()), (Kind::UpstreamAuth, "upstream authentication failed"));
    }
}

//! What kind of failure a provider's error is (`docs/internals/translation/errors.md`, "Kinds of
//! errors").
//!
//! [`errors`](crate::formats::errors) reads the shapes; this decides the [`Kind`] from status, type,
//! code and, where hosts say it in prose alone, from well-known words of the message.

use std::borrow::Cow;

use super::kind::{Error, Kind};
use super::read_error::ReadError;
use crate::format::Format;
use crate::json::RawStr;
use crate::json::scan::{Fault, ScanError};

/// An event of a provider's stream that is not JSON. One that ends inside a value was cut: the
/// stream broke off there.
pub fn not_json(fault: ScanError) -> Error {
    let (kind, note) = match fault.what {
        Fault::Eof => (Kind::UpstreamTruncated, "the upstream closed the stream inside an event"),
        _ => (Kind::UpstreamFault, "the upstream's stream holds an event that is not JSON"),
    };
    Error::upstream(kind, note).detail(fault)
}

/// Longest message passed on, in characters.
const MESSAGE_MAX: usize = 2000;

/// `(word of type or code, kind)`, in the order of precedence. The words of OpenAI, Anthropic,
/// Google and AWS.
const WORDS: &[(&str, Kind)] = &[
    ("context_length_exceeded", Kind::ContextTooLong),
    ("string_above_max_length", Kind::ContextTooLong),
    ("exceed_context_size_error", Kind::ContextTooLong),
    ("model_max_prompt_tokens_exceeded", Kind::ContextTooLong),
    ("insufficient_quota", Kind::Billing),
    ("credit_balance_exhausted", Kind::Billing),
    ("billing_error", Kind::Billing),
    ("content_filter", Kind::ContentFilter),
    ("content_policy_violation", Kind::ContentFilter),
    ("invalid_prompt", Kind::ContentFilter),
    ("ResponsibleAIPolicyViolation", Kind::ContentFilter),
    ("data_inspection_failed", Kind::ContentFilter),
    ("DataInspectionFailed", Kind::ContentFilter),
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

/// Words of messages, in lower case, that tell more than status and type do. Those about lengths are the
/// words of, in this order: Anthropic (two), OpenAI and all that copy it, OpenAI's Responses, Google,
/// Bedrock, xAI, Cohere, Text Generation Inference, vLLM (two), SGLang, llama.cpp, LM Studio, MiniMax,
/// Kimi, GLM, Qwen and GitHub (their error references and sources, 2026-11).
const PROSE: &[(&str, Kind)] = &[
    ("prompt is too long", Kind::ContextTooLong),
    ("exceed context limit", Kind::ContextTooLong),
    ("maximum context length", Kind::ContextTooLong),
    ("exceeds the context window", Kind::ContextTooLong),
    ("input token count", Kind::ContextTooLong),
    ("input is too long for requested model", Kind::ContextTooLong),
    ("maximum prompt length", Kind::ContextTooLong),
    ("too many tokens: total number", Kind::ContextTooLong),
    ("`inputs` tokens + `max_new_tokens` must be", Kind::ContextTooLong),
    ("is too long to fit into the model", Kind::ContextTooLong),
    ("is longer than the maximum model length", Kind::ContextTooLong),
    ("longer than the model's context length", Kind::ContextTooLong),
    ("exceeds the available context size", Kind::ContextTooLong),
    ("is greater than the context length", Kind::ContextTooLong),
    ("context window exceeds limit", Kind::ContextTooLong),
    ("exceeded model token limit", Kind::ContextTooLong),
    ("prompt exceeds max length", Kind::ContextTooLong),
    ("range of input length should be", Kind::ContextTooLong),
    ("prompt token count of", Kind::ContextTooLong),
    ("blocked by content filtering policy", Kind::ContentFilter),
    ("content management policy", Kind::ContentFilter),
    ("content exists risk", Kind::ContentFilter),
    ("may contain inappropriate content", Kind::ContentFilter),
    ("credit balance is too low", Kind::Billing),
    ("exceeded your current quota", Kind::Billing),
];

/// The kind that a status alone implies.
pub fn kind_of_status(status: u16) -> Kind {
    match status {
        400 | 422 => Kind::InvalidRequest,
        401 => Kind::UpstreamAuth,
        403 => Kind::Permission,
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
    if status == Some(401) || status == Some(403) && is_about_key(read) {
        return Kind::UpstreamAuth;
    }
    let prose = read.message.unescape().to_ascii_lowercase();
    // A limit of tokens in a minute is none of the context.
    let may_be = |kind: Kind| match kind {
        Kind::ContextTooLong => status != Some(429),
        // Google's error for a limit per minute says "exceeded your current quota" as well (an error
        // with its quota ids is in google-gemini/gemini-cli#8437, 2025-09-14).
        Kind::Billing => !is(read.r#type, "RESOURCE_EXHAUSTED") && !is(read.code, "RESOURCE_EXHAUSTED"),
        _ => true,
    };
    if let Some((_, kind)) = PROSE.iter().find(|(words, kind)| may_be(*kind) && prose.contains(words)) {
        return *kind;
    }
    let hit = |field: Option<RawStr<'_>>| WORDS.iter().find(|(word, _)| is(field, word)).map(|(_, kind)| *kind);
    // The code is more specific than the type, and the status than the general types.
    match (hit(read.code), hit(read.r#type), by_status) {
        (_, _, Some(Kind::Billing)) => Kind::Billing,
        (Some(kind), ..) => kind,
        (None, Some(Kind::InvalidRequest | Kind::UpstreamFault), Some(kind)) => kind,
        (None, Some(kind), _) => kind,
        (None, None, Some(kind)) => kind,
        (None, None, None) => numeric(read.code).unwrap_or(Kind::UpstreamFault),
    }
}

/// Words of a type or code, in lower case, by which a 403 is about the provider's key and what it
/// may do, and not about what the request holds.
const KEY_WORDS: &[&str] = &[
    "authentication",
    "unauthenticated",
    "unauthorized",
    "permission",
    "api_key",
    "apikey",
    "access_denied",
    "accessdenied",
    "unrecognizedclient",
    "insufficient_scope",
];

fn is_about_key(read: &ReadError<'_>) -> bool {
    [read.r#type, read.code].into_iter().flatten().any(|word| {
        let word = word.unescape().to_ascii_lowercase();
        KEY_WORDS.iter().any(|known| word.contains(known))
    })
}

/// Types and codes that say that the provider does not have the model.
const NO_MODEL: &[&str] = &[
    "model_not_found",
    "model_not_available",
    "model_not_exist",
    "invalid_model",
    "unknown_model",
    "not_found_error",
    "DeploymentNotFound",
    "NOT_FOUND",
];

/// Words of a message about a model, in lower case, that say the same.
const NO_MODEL_PROSE: &[&str] = &[
    "not exist",
    "not found",
    "no such model",
    "unknown model",
    "unrecognized model",
    "invalid model",
    "not a valid model",
    "isn't a valid model",
];

/// Whether a 400 means that the provider does not have the model. Hosts have no common word for it.
pub fn is_no_model(read: &ReadError<'_>) -> bool {
    let is_word = |raw: RawStr<'_>| NO_MODEL.iter().any(|word| raw.eq_str(word));
    if [read.r#type, read.code].into_iter().flatten().any(is_word) {
        return true;
    }
    let prose = read.message.unescape().to_ascii_lowercase();
    prose.contains("model") && NO_MODEL_PROSE.iter().any(|words| prose.contains(words))
}

/// A status in the place of a code, as OpenRouter and Google write it.
fn numeric(code: Option<RawStr<'_>>) -> Option<Kind> {
    let status: u16 = std::str::from_utf8(code?.as_bytes()).ok()?.parse().ok()?;
    (400..600).contains(&status).then(|| kind_of_status(status))
}

/// The error to raise for an error of a provider. The message goes to the client; its `param` is in
/// the provider's words and is kept for the log alone: see [`param`].
pub fn error(status: Option<u16>, read: &ReadError<'_>) -> Error {
    let kind = kind(status, read);
    let message: String = redacted(&read.message.unescape()).chars().take(MESSAGE_MAX).collect();
    let text = |raw: Option<RawStr<'_>>| raw.map_or("-".into(), |raw| raw.unescape().into_owned());
    let mut detail = format!("type {}, code {}, param {}", text(read.r#type), text(read.code), text(read.param));
    if kind == Kind::UpstreamAuth && !message.is_empty() {
        detail = format!("{message}; {detail}");
    }
    let note = match kind {
        // Its text about the key is for the log.
        Kind::UpstreamAuth => "upstream authentication failed".to_owned(),
        _ if message.is_empty() => match status {
            Some(status) => format!("upstream returned {status}"),
            None => "the upstream reported an error without a message".to_owned(),
        },
        _ => message,
    };
    let error = Error::upstream(kind, note).detail(detail).quoted();
    match (kind, read.code.and_then(passed_on)) {
        (Kind::InvalidRequest, Some(code)) => error.code(code),
        _ => error,
    }
}

/// Codes by which clients of OpenAI tell one invalid request from another, and which hold whatever
/// the format was. Other codes are words of the provider.
const CODES: &[&str] = &[
    "array_above_max_length",
    "array_below_min_length",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "empty_string",
    "image_parse_error",
    "image_too_large",
    "image_too_small",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_base64_image",
    "invalid_image",
    "invalid_image_format",
    "invalid_image_url",
    "invalid_json_schema",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "unknown_parameter",
    "unsupported_image_media_type",
    "unsupported_parameter",
    "unsupported_value",
];

/// Fields of Chat Completions and what Responses calls them, where both have them and a client can
/// do something about them.
const PARAMS: &[(&str, &str)] = &[
    ("max_completion_tokens", "max_output_tokens"),
    ("max_tokens", "max_output_tokens"),
    ("messages", "input"),
    ("model", "model"),
    ("parallel_tool_calls", "parallel_tool_calls"),
    ("reasoning_effort", "reasoning.effort"),
    ("response_format", "text.format"),
    ("temperature", "temperature"),
    ("tool_choice", "tool_choice"),
    ("tools", "tools"),
    ("top_logprobs", "top_logprobs"),
    ("top_p", "top_p"),
    ("verbosity", "text.verbosity"),
];

/// The field that a provider names, in the words of a client of another format. `None` for places
/// inside a field, which the translation has moved, and towards Messages, whose errors name none.
pub fn param(client: Format, provider: Format, read: &ReadError<'_>) -> Option<&'static str> {
    let named = |name: &str| read.param.is_some_and(|param| param.eq_str(name));
    match (client, provider) {
        (Format::Chat, Format::Responses) => PARAMS.iter().find(|(_, theirs)| named(theirs)).map(|(ours, _)| *ours),
        (Format::Responses, Format::Chat) => PARAMS.iter().find(|(theirs, _)| named(theirs)).map(|(_, ours)| *ours),
        _ => None,
    }
}

fn passed_on(code: RawStr<'_>) -> Option<&'static str> {
    CODES.iter().find(|known| code.eq_str(known)).copied()
}

/// How keys, and the ids of accounts, begin at the vendors.
const SECRETS: &[&str] = &[
    "sk-", "sk_", "gsk_", "xai-", "AIza", "AKIA", "ASIA", "eyJ", "org-", "org_", "proj-", "proj_", "acct_", "wrkspc_",
];

/// Shorter words are words of a language (`org-wide`).
const SECRET_MIN: usize = 12;

/// The message without keys and ids of accounts: they are those of the provider's row, and none of
/// the client's business. Their first characters stay, so that whoever runs the gateway knows what
/// is meant.
fn redacted(message: &str) -> Cow<'_, str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
    let is_secret = |word: &str| {
        let word = word.trim_end_matches('.');
        word.len() >= SECRET_MIN
            && SECRETS.iter().any(|start| word.starts_with(start))
            && word.bytes().any(|b| b.is_ascii_digit() || b == b'*')
    };
    let mut out = String::new();
    let (mut copied, mut rest) = (0, message);
    while let Some(start) = rest.find(is_part) {
        let word = &rest[start..];
        let word = &word[..word.find(|c| !is_part(c)).unwrap_or(word.len())];
        let at = message.len() - rest.len() + start;
        if is_secret(word) {
            let kept = SECRETS.iter().find(|start| word.starts_with(**start)).map_or(0, |start| start.len());
            out.push_str(&message[copied..at + kept]);
            out.push('…');
            copied = at + word.trim_end_matches('.').len();
        }
        rest = &message[at + word.len()..];
    }
    if copied == 0 {
        return Cow::Borrowed(message);
    }
    out.push_str(&message[copied..]);
    Cow::Owned(out)
}

/// The error behind a body of no known shape. A page of HTML is never shown, and
/// of text only the beginning.
pub fn unreadable(status: u16, body: &[u8]) -> Error {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(body);
    let text: String = redacted(&text).trim().chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    let note = match text.is_empty() || text.starts_with(['<', '{', '[']) {
        true => format!("upstream returned {status}"),
        false => format!("upstream returned {status}: {text}"),
    };
    Error::upstream(kind_of_status(status), note).quoted()
}

/// A response that consists of output which no other format can show.
pub fn no_visible_output() -> Error {
    let note = "the response consists of output that cannot be shown in the format of this request, such as an image; \
                send the request in the provider's own format";
    Error::upstream(Kind::Unsupported, note)
}

/// The error behind an `error` event whose data is plain text.
pub fn plain(data: &[u8]) -> Error {
    let text = String::from_utf8_lossy(data);
    let text: String = redacted(&text).trim().chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect();
    let note = match text.is_empty() || text.starts_with(['<', '{', '[']) {
        true => "the upstream reported an error without a message".to_owned(),
        false => text,
    };
    Error::upstream(Kind::UpstreamFault, note).quoted()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::errors::read;

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
            (Chat, Some(402), r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","code":"invalid_request_error"}}"#, Kind::Billing),
            (Chat, Some(429), r#"{"error":{"message":"m","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#, Kind::Billing),
            (Chat, Some(429), r#"{"error":{"message":"m","type":"requests","code":"rate_limit_exceeded"}}"#, Kind::RateLimit),
            (Chat, Some(429), r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}"#, Kind::RateLimit),
            (Chat, Some(429), r#"[{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED"}}]"#, Kind::RateLimit),
            (Chat, Some(429), r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","code":null}}"#, Kind::Billing),
            (Chat, Some(401), r#"{"error":{"message":"Incorrect API key: sk-x","type":"invalid_request_error","code":"invalid_api_key"}}"#, Kind::UpstreamAuth),
            (Chat, Some(404), r#"{"error":{"message":"m","type":"invalid_request_error","code":"model_not_found"}}"#, Kind::ModelNotFound),
            (Chat, Some(403), r#"{"error":{"message":"x requires moderation","code":403,"metadata":{}}}"#, Kind::Permission),
            (Chat, Some(403), r#"{"error":{"message":"m","type":"invalid_request_error","code":"unsupported_country_region_territory"}}"#, Kind::Permission),
            (Chat, Some(403), r#"{"error":{"message":"m","type":"invalid_request_error","code":"content_policy_violation"}}"#, Kind::ContentFilter),
            (Chat, Some(403), r#"{"error":{"message":"m","code":"invalid_api_key"}}"#, Kind::UpstreamAuth),
            (Chat, Some(403), r#"{"error":{"message":"m","code":403,"status":"PERMISSION_DENIED"}}"#, Kind::UpstreamAuth),
            (Messages, Some(403), r#"{"type":"error","error":{"type":"permission_error","message":"m"}}"#, Kind::UpstreamAuth),
            (Messages, Some(401), r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#, Kind::UpstreamAuth),
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

    /// The words of vendors and servers for a request that is too long, and near misses.
    #[test]
    fn words_for_a_request_that_is_too_long() {
        let rows = [
            (400, "prompt is too long: 213462 tokens > 200000 maximum"),
            (400, "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000"),
            (400, "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens"),
            (400, "Your input exceeds the context window of this model. Please adjust your input and try again."),
            (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
            (400, "Input is too long for requested model."),
            (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
            (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4500."),
            (422, "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000"),
            (400, "The prompt (total length 5000) is too long to fit into the model (context length 4096)."),
            (400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
            (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
            (400, "the request exceeds the available context size, try increasing it"),
            (400, "invalid params, context window exceeds limit (2013)"),
            (400, "Invalid request: Your request exceeded model token limit: 262144"),
            (400, "Prompt exceeds max length"),
            (400, "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"),
            (400, "prompt token count of 140000 exceeds the limit of 128000"),
            (413, "prompt is too long"),
        ];
        let kind_of = |status, message: &str| {
            let message = message.replace('\n', " ");
            let body = format!(r#"{{"error":{{"message":"{message}","type":"invalid_request_error"}}}}"#);
            kind(Some(status), &read(Format::Chat, body.as_bytes()).unwrap())
        };
        for (status, message) in rows {
            assert_eq!(kind_of(status, message), Kind::ContextTooLong, "{message}");
        }
        let others = [
            (429, "Too many tokens, please wait before trying again."),
            (429, "Request too large: maximum context length and tokens per minute"),
            (400, "max_tokens is too large: 200000. This model supports at most 16384 completion tokens"),
        ];
        for (status, message) in others {
            assert_ne!(kind_of(status, message), Kind::ContextTooLong, "{message}");
        }
    }

    #[test]
    fn a_missing_model_is_recognized() {
        let rows = [
            (r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","code":404}}"#, true),
            (
                r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","code":"invalid_request_error"}}"#,
                true,
            ),
            (r#"{"error":{"message":"x is not a valid model ID","code":400}}"#, true),
            (r#"{"message":"Invalid model: x","type":"invalid_model","code":"1500"}"#, true),
            (r#"{"error":{"message":"m","code":"model_not_found"}}"#, true),
            (r#"{"error":{"message":"this model does not support tools","type":"invalid_request_error"}}"#, false),
            (r#"{"error":{"message":"file abc not found","type":"invalid_request_error"}}"#, false),
        ];
        for (body, expected) in rows {
            let read = crate::formats::errors::read_refusal(Format::Chat, body.as_bytes()).unwrap();
            assert_eq!(is_no_model(&read), expected, "{body}");
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
    #[test]
    fn keys_and_account_ids_are_redacted() {
        let rows = [
            (
                "Incorrect API key provided: sk-proj-Ab12************wxYz. See x",
                "Incorrect API key provided: sk-…. See x",
            ),
            (
                "Rate limit reached for gpt-4o in organization org-Ab12Cd34Ef56 on tokens per min (TPM): try again in 1s",
                "Rate limit reached for gpt-4o in organization org-… on tokens per min (TPM): try again in 1s",
            ),
            ("(proj_0123456789) `eyJhbGciOi12.x`", "(proj_…) `eyJ…`"),
            ("an org-wide rule; sk-short1; claude-opus-4-5 é", "an org-wide rule; sk-short1; claude-opus-4-5 é"),
            ("", ""),
        ];
        for (message, expected) in rows {
            assert_eq!(redacted(message), expected);
            let read = ReadError { message: RawStr::new(message.as_bytes()), ..ReadError::default() };
            let error = error(Some(429), &read);
            assert!(message.is_empty() || error.note == expected, "{}", error.note);
            assert!(!error.detail.unwrap().contains("Ab12"), "nor in the log");
        }
    }

    #[test]
    fn codes_of_invalid_requests_are_passed_on() {
        let code = |body: &str, status| error(Some(status), &read(Format::Chat, body.as_bytes()).unwrap()).code;
        let of =
            |code: &str| format!(r#"{{"error":{{"message":"m","type":"invalid_request_error","code":"{code}"}}}}"#);
        assert_eq!(code(&of("unsupported_value"), 400), Some("unsupported_value"));
        assert_eq!(code(&of("house_word"), 400), None);
        assert_eq!(code(&of("invalid_value"), 500), None);
    }

    #[test]
    fn fields_are_named_as_the_client_knows_them() {
        use Format::{Chat, Messages, Responses};
        let rows = [
            (Chat, Responses, "max_output_tokens", Some("max_completion_tokens")),
            (Chat, Responses, "reasoning.effort", Some("reasoning_effort")),
            (Chat, Responses, "input[2].content", None),
            (Responses, Chat, "max_tokens", Some("max_output_tokens")),
            (Responses, Chat, "messages", Some("input")),
            (Messages, Chat, "max_tokens", None),
            (Chat, Messages, "max_tokens", None),
        ];
        for (client, provider, theirs, ours) in rows {
            let read = ReadError { param: Some(RawStr::new(theirs.as_bytes())), ..ReadError::default() };
            assert_eq!(param(client, provider, &read), ours, "{client} {provider} {theirs}");
        }
    }
}

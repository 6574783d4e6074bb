//! What kind of failure a provider's error is (`docs/internals/translation/errors.md`, "Kinds of
//! errors").
//!
//! [`errors`](crate::formats::errors) reads the shapes; this decides the [`Kind`] from status,
//! type, code and, where hosts say it in prose alone, from well-known words of the message.

use std::borrow::Cow;

use super::kind::{Error, Kind};
use super::read_error::ReadError;
use crate::format::Format;
use crate::json::RawStr;
use crate::json::scan::{Fault, ScanError};

/// An event of a provider's stream that is not JSON. One that ends inside a value was cut: the
/// stream broke off there.
fn not_json(fault: ScanError) -> Error {
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
    ("usage_limit_reached", Kind::Billing),
    ("usage_not_included", Kind::Billing),
    ("credit_balance_exhausted", Kind::Billing),
    ("billing_error", Kind::Billing),
    ("content_filter", Kind::ContentFilter),
    ("content_policy_violation", Kind::ContentFilter),
    ("invalid_prompt", Kind::ContentFilter),
    ("bio_policy", Kind::ContentFilter),
    ("cyber_policy", Kind::ContentFilter),
    ("image_content_policy_violation", Kind::ContentFilter),
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
    ("vector_store_timeout", Kind::UpstreamTimeout),
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

/// Words of messages, in lower case, that tell more than status and type do. Those about lengths
/// are the words of, in this order: Anthropic (two), OpenAI and all that copy it, OpenAI's
/// Responses, Google, Bedrock, xAI, Cohere, Text Generation Inference, vLLM (two), SGLang,
/// llama.cpp, LM Studio, MiniMax, Kimi, GLM, Qwen and GitHub (their error references and sources,
/// 2026-11).
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

/// Returns the kind that a status alone implies.
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

/// Returns the kind of an error that was read. `status` is `None` inside a stream.
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
        // Google's error for a limit per minute contains "exceeded your current quota" too. One
        // with its quota ids is in google-gemini/gemini-cli#8437 (2025-09-14).
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
        // In a stream there is no status, and `response.failed` has no type.
        (None, None | Some(Kind::UpstreamFault), None) if read.code.and_then(passed_on).is_some() => {
            Kind::InvalidRequest
        }
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
    "DeploymentNotFound",
];

/// Types and codes of whatever is not there: a model, a file, a conversation.
const NOT_FOUND: &[&str] = &["not_found_error", "NOT_FOUND"];

/// Words of a message about a model, in lower case, that say that it is not there.
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

/// Beginnings, in lower case, of messages that report a missing model without its name, as those of
/// DeepSeek and Fireworks do.
const NAMELESS_PROSE: &[&str] = &["model not exist", "model not found", "no such model"];

/// Returns whether an error means that the provider does not have the model that the request named
/// to it. Hosts have no common word for it. Their prose counts only if it holds this name: a
/// message about a tool of the client's, or about a parameter, may speak of models and of what is
/// not found.
pub fn is_no_model(read: &ReadError<'_>, model: &str) -> bool {
    if names_no_model(read) {
        return true;
    }
    if read.param.is_some_and(|param| !param.eq_str("model") && !param.eq_str("")) {
        return false;
    }
    let prose = read.message.unescape().to_ascii_lowercase();
    let says_so = || prose.contains("model") && NO_MODEL_PROSE.iter().any(|words| prose.contains(words));
    (has_word(read, NOT_FOUND) || says_so())
        && (NAMELESS_PROSE.iter().any(|words| prose.starts_with(words)) || has_name(&prose, model))
}

fn names_no_model(read: &ReadError<'_>) -> bool {
    has_word(read, NO_MODEL)
}

fn has_word(read: &ReadError<'_>, words: &[&str]) -> bool {
    let is_word = |raw: RawStr<'_>| words.iter().any(|word| raw.eq_str(word));
    [read.r#type, read.code].into_iter().flatten().any(is_word)
}

/// Returns whether a text in lower case holds a name as a word of its own.
fn has_name(prose: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    let name = name.to_ascii_lowercase();
    !name.is_empty()
        && prose
            .match_indices(&name)
            .any(|(at, _)| !prose[..at].ends_with(is_part) && !prose[at + name.len()..].starts_with(is_part))
}

/// Returns a status in the place of a code, as OpenRouter and Google write it.
fn numeric(code: Option<RawStr<'_>>) -> Option<Kind> {
    let status: u16 = std::str::from_utf8(code?.as_bytes()).ok()?.parse().ok()?;
    (400..600).contains(&status).then(|| kind_of_status(status))
}

/// Returns the error to raise for an error of a provider. The message goes to the client; its
/// `param` is in the provider's words and is kept for the log alone: see [`param`].
pub fn error(status: Option<u16>, read: &ReadError<'_>) -> Error {
    let kind = kind(status, read);
    let message = clipped(&redacted(&read.message.unescape()), MESSAGE_MAX);
    let text = |raw: Option<RawStr<'_>>| raw.map_or("-".into(), |raw| raw.unescape().into_owned());
    let mut detail = format!("type {}, code {}, param {}", text(read.r#type), text(read.code), text(read.param));
    if kind == Kind::UpstreamAuth && !message.is_empty() {
        detail = format!("{message}; {detail}");
    }
    let note = match kind {
        // Its text about the key is for the log.
        Kind::UpstreamAuth => "upstream authentication failed".to_owned(),
        _ if message.is_empty() => {
            let named = read.code.or(read.r#type).map_or(String::new(), named);
            match status {
                Some(status) => format!("upstream returned {status}{named}"),
                None => format!("the upstream reported an error without a message{named}"),
            }
        }
        _ => message,
    };
    let error = Error { lacks_model: names_no_model(read), ..Error::upstream(kind, note).detail(detail).quoted() };
    match (kind, read.code.and_then(passed_on)) {
        (Kind::InvalidRequest, Some(code)) => error.code(code),
        _ => error,
    }
}

/// Returns a code in the place of a message, as the end of a sentence.
fn named(code: RawStr<'_>) -> String {
    let code: String = code.unescape().chars().filter(|c| !c.is_control()).take(CODE_MAX).collect();
    if code.is_empty() { code } else { format!(" ({code})") }
}

/// Longest code that is shown in the place of a message, in characters.
const CODE_MAX: usize = 100;

/// Codes by which clients of OpenAI tell one invalid request from another, and which hold whatever
/// the format was. Those of images are the ones of `ResponseError` (OpenAI API reference, "The
/// response object", 2026-08). Other codes are words of the provider.
const CODES: &[&str] = &[
    "array_above_max_length",
    "array_below_min_length",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "empty_image_file",
    "empty_string",
    "failed_to_download_image",
    "image_file_not_found",
    "image_file_too_large",
    "image_parse_error",
    "image_too_large",
    "image_too_small",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_base64_image",
    "invalid_image",
    "invalid_image_format",
    "invalid_image_mode",
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

/// Returns the field that a provider names, in the words of a client of another format. `None` for
/// places inside a field, which the translation has moved, and towards Messages, whose errors name
/// none.
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

/// Returns the message without keys and ids of accounts: they are those of the provider's row, and
/// none of the client's business. Their first characters stay, so that the operator
/// knows what is meant.
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

/// Returns the error behind a body of no known shape. A page of HTML and binary data are never
/// shown, and of text only the beginning.
pub fn unreadable(status: u16, body: &[u8]) -> Error {
    const SHOWN: usize = 200;
    let text = String::from_utf8_lossy(body);
    let text = clipped(&printable(&text), SHOWN);
    let is_binary = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count() * 8 > text.chars().count();
    let is_shown = !(is_binary || text.is_empty() || text.starts_with(['<', '{', '[']));
    let note = match (is_shown, status) {
        (true, _) => format!("upstream returned {status}: {text}"),
        (false, 404 | 405) => format!(
            "upstream returned {status} and no error of its API: the base address of this provider may be wrong"
        ),
        (false, _) => format!("upstream returned {status}"),
    };
    Error::upstream(kind_of_status(status), note).quoted()
}

/// Returns a text without keys and without control characters.
fn printable(text: &str) -> String {
    redacted(text).trim().chars().filter(|c| !c.is_control()).collect()
}

/// Returns at most `max` characters of a text. A word of which the end would be missing is left
/// out: it may be a key, which is overwritten where it is whole. Keys are ASCII, so that a word ends
/// at a character that is not.
fn clipped(text: &str, max: usize) -> String {
    let Some((end, next)) = text.char_indices().nth(max) else { return text.to_owned() };
    let kept = &text[..end];
    if next.is_whitespace() {
        return kept.to_owned();
    }
    kept.trim_end_matches(|c: char| c.is_ascii_graphic()).trim_end().to_owned()
}

/// A response that consists of output which no other format can show.
pub fn no_visible_output() -> Error {
    let note = "the response consists of output that cannot be shown in the format of this request, such as an image; \
                send the request in the provider's own format";
    Error::upstream(Kind::Unsupported, note)
}

/// Returns the error behind an `error` event whose data is plain text.
pub fn plain(data: &[u8]) -> Error {
    let note = text_of(data).unwrap_or_else(|| "the upstream reported an error without a message".to_owned());
    Error::upstream(Kind::UpstreamFault, note).quoted()
}

/// Returns the error behind an event whose data is not JSON, in a format whose events are. Plain
/// text is what gateways in front of a provider write when it is gone.
pub fn unreadable_event(fault: ScanError, data: &[u8]) -> Error {
    let error = not_json(fault);
    match text_of(data) {
        Some(text) if error.kind == Kind::UpstreamFault => {
            Error { note: format!("{}: {text}", error.note).into(), ..error }.quoted()
        }
        _ => error,
    }
}

/// Returns data that is plain text, as it may be shown. A page of HTML and a piece of JSON are
/// none.
fn text_of(data: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(data);
    let text = clipped(&printable(&text), MESSAGE_MAX);
    (!text.is_empty() && !text.starts_with(['<', '{', '[', '"'])).then_some(text)
}

/// The error of a response with the input of a tool that was never named.
pub fn nameless_call() -> Error {
    Error::upstream(Kind::UpstreamFault, "the upstream sent the input of a tool call without the name of a tool")
}

#[cfg(test)]
mod tests;

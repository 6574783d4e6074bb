//! Error bodies and error events.

use super::answer::escape;
use super::faults::Fault;
use super::templates::{fill, json, section};

const FILE: &str = include_str!("templates/errors.tmpl");
const OPENAI: &str = json(FILE, "openai");
const ANTHROPIC: &str = json(FILE, "anthropic");
/// The error event of a stream of Chat Completions.
pub(crate) const CHAT_EVENT: &str = section(FILE, "chat_event");
/// The error event of a stream of Messages.
pub(crate) const MESSAGES_EVENT: &str = section(FILE, "messages_event");
/// An event that is not JSON.
pub(crate) const BAD_EVENT: &str = section(FILE, "bad_event");
/// The error page of a load balancer.
pub(crate) const HTML: &str = json(FILE, "html");

/// Whose shape an error body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    OpenAi,
    Anthropic,
}

struct Row {
    status: u16,
    openai_type: &'static str,
    /// As JSON.
    openai_code: &'static str,
    anthropic_type: &'static str,
    message: &'static str,
}

const fn row(
    status: u16,
    openai_type: &'static str,
    openai_code: &'static str,
    anthropic_type: &'static str,
    message: &'static str,
) -> Row {
    Row { status, openai_type, openai_code, anthropic_type, message }
}

const INVALID: &str = "invalid_request_error";
const OVERLOADED: &str = "The engine is currently overloaded, please try again later.";

/// What the vendors say with a status. The last row is for every status that is not in the table.
const ROWS: [Row; 14] = [
    row(400, INVALID, "null", INVALID, "The mock was asked to refuse this request."),
    row(401, INVALID, r#""invalid_api_key""#, "authentication_error", "Incorrect API key provided."),
    row(402, "insufficient_quota", r#""insufficient_quota""#, "billing_error", "Your credit balance is too low."),
    row(403, "permission_error", "null", "permission_error", "Your API key may not use this resource."),
    row(
        404,
        INVALID,
        r#""model_not_found""#,
        "not_found_error",
        "The model does not exist or you do not have access to it.",
    ),
    row(405, INVALID, r#""method_not_allowed""#, INVALID, "Not allowed with this method."),
    row(409, INVALID, r#""conflict""#, INVALID, "The resource is in use."),
    row(413, INVALID, r#""request_too_large""#, "request_too_large", "Request exceeds the maximum size."),
    row(
        429,
        "requests",
        r#""rate_limit_exceeded""#,
        "rate_limit_error",
        "Rate limit reached for requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 1s.",
    ),
    row(
        500,
        "server_error",
        "null",
        "api_error",
        "The server had an error while processing your request. Sorry about that!",
    ),
    row(503, "server_error", r#""server_is_overloaded""#, "overloaded_error", OVERLOADED),
    row(504, "server_error", r#""timeout""#, "timeout_error", "The request took too long."),
    row(529, "server_error", r#""server_is_overloaded""#, "overloaded_error", OVERLOADED),
    row(0, "server_error", "null", "api_error", "The server answered with a rare status."),
];

/// The rows of refusals that a status alone does not name.
const QUOTA: Row = row(
    429,
    "insufficient_quota",
    r#""insufficient_quota""#,
    "billing_error",
    "You exceeded your current quota, please check your plan and billing details.",
);
const CONTEXT_LENGTH: Row =
    row(400, INVALID, r#""context_length_exceeded""#, INVALID, "prompt is too long: 300000 tokens > 200000 maximum");
const CONTENT_FILTER: Row = row(
    400,
    INVALID,
    r#""content_filter""#,
    INVALID,
    "The response was filtered due to the prompt triggering a content management policy.",
);

/// Returns the error body of a fault that is a refusal of its own.
pub(crate) fn body_of(family: Family, fault: Fault) -> Option<Vec<u8>> {
    let row = match fault {
        Fault::Quota => QUOTA,
        Fault::ContextLength => CONTEXT_LENGTH,
        Fault::ContentFilter => CONTENT_FILTER,
        _ => return None,
    };
    Some(write(family, &row, row.message, None))
}

/// Returns the error body for a status; `message` and `param` in place of the usual ones.
pub(crate) fn body(family: Family, status: u16, message: Option<&str>, param: Option<&str>) -> Vec<u8> {
    let row = ROWS.iter().find(|row| row.status == status).unwrap_or(&ROWS[ROWS.len() - 1]);
    write(family, row, message.unwrap_or(row.message), param)
}

fn write(family: Family, row: &Row, message: &str, param: Option<&str>) -> Vec<u8> {
    let message = escape(message);
    let mut out = Vec::new();
    match family {
        Family::OpenAi => {
            let param = param.map_or("null".to_owned(), |param| format!("\"{param}\""));
            fill!(&mut out, OPENAI, message = message, kind = row.openai_type, param = param, code = row.openai_code);
        }
        Family::Anthropic => fill!(&mut out, ANTHROPIC, message = message, kind = row.anthropic_type),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_status_has_a_body_of_each_family() {
        for status in [400, 401, 402, 403, 404, 405, 409, 413, 418, 429, 500, 502, 503, 504, 529] {
            let openai: Value = serde_json::from_slice(&body(Family::OpenAi, status, None, Some("model"))).unwrap();
            assert!(openai["error"]["message"].is_string() && openai["error"]["type"].is_string(), "{status}");
            assert_eq!(openai["error"]["param"], "model");
            let anthropic: Value =
                serde_json::from_slice(&body(Family::Anthropic, status, Some("a \"b\""), None)).unwrap();
            assert_eq!((&anthropic["type"], &anthropic["error"]["message"]), (&"error".into(), &"a \"b\"".into()));
        }
    }
}

//! Errors of the messages format.
//!
//! `{"type":"error","error":{"type","message"},"request_id"}`, the same in a body and in the data
//! of an `error` event (Anthropic API reference, "Errors" and "Streaming messages", read 2026-09).
//! A stream fails under status 200: its kind is `error.type`.

use crate::error::ReadError;
use crate::error::{Error, Kind, foreign};
use crate::json::{RawValue, write};
use crate::sse;

/// How Anthropic begins this message, and how Claude Code knows that it must compact the
/// conversation.
const TOO_LONG: &str = "prompt is too long: ";

/// Returns the HTTP status of an error of this kind.
pub(crate) fn status(kind: Kind) -> u16 {
    kind.row().messages_status
}

/// Appends a whole HTTP error body.
pub(crate) fn body(out: &mut Vec<u8>, e: &Error, request_id: &str) {
    write::object(out, |o| {
        o.str("type", "error");
        o.object("error", |o| {
            o.str("type", e.kind.row().messages_type);
            if e.kind == Kind::ContextTooLong && !e.note.starts_with(TOO_LONG) {
                o.str("message", &format!("{TOO_LONG}{}", e.note));
            } else {
                o.str("message", &e.note);
            }
        });
        o.str("request_id", request_id);
    });
}

/// Appends the event after which a failed stream is closed. No `message_delta`, no `message_stop`:
/// it is no end.
pub(crate) fn event(out: &mut Vec<u8>, e: &Error, request_id: &str) {
    let mut data = Vec::new();
    body(&mut data, e, request_id);
    sse::write::event(out, Some("error"), &data);
}

/// Recognises an error body or the data of an error event; also without the outer `type`, as hosts
/// of this format send it.
pub(crate) fn read(data: &[u8]) -> Option<ReadError<'_>> {
    RawValue::parse(data).ok().and_then(of)
}

/// [`read`] for a document that was checked.
pub(crate) fn of(value: RawValue<'_>) -> Option<ReadError<'_>> {
    match value.find("error").filter(|error| foreign::is_error(*error)) {
        Some(error) => foreign::beside(value, error).or_else(|| foreign::of_error(error)),
        None if value.find("type")?.eq_str("error") => ReadError::from_value(value),
        None => None,
    }
}

/// Returns whether a document is an answer of this format, or an event of its streams.
pub(crate) fn is_answer(value: RawValue<'_>) -> bool {
    value.find("type").and_then(RawValue::as_str).is_some_and(|kind| !foreign::names_error(kind.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::shown;

    #[test]
    fn shapes() {
        let mut out = Vec::new();
        body(&mut out, &Error::upstream(Kind::Overloaded, "Overloaded"), "req_1");
        let expected =
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);

        let mut out = Vec::new();
        event(&mut out, &Error::upstream(Kind::ContextTooLong, "300 tokens"), "r");
        let expected = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\
                        \"message\":\"prompt is too long: 300 tokens\"},\"request_id\":\"r\"}\n\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn recognised() {
        let rows: &[(&str, Option<&str>)] = &[
            (r#"{"type":"error","error":{"type":"t","message":"m"},"request_id":"r"}"#, Some("m t -")),
            (r#"{"error":{"type":"t","message":"m"}}"#, Some("m t -")),
            (r#"{"type":"error","message":"m"}"#, Some("m error -")),
            (r#"{"type":"message","content":[{"type":"error"}]}"#, None),
            (r#"{"type":"message","error":null}"#, None),
            ("", None),
        ];
        for (data, expected) in rows {
            assert_eq!(shown(read(data.as_bytes())).as_deref(), *expected, "{data}");
        }
    }
}

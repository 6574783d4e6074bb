//! Errors of the chat format.
//!
//! `{"error":{"message","type","param","code"}}`, the same in a body and in the data of an event
//! (OpenAI API reference, "Errors" and "Streaming events"). There is no place for a request id; it
//! goes out in the header `x-request-id`.

use crate::error::{Error, Kind, foreign};
use crate::error::{ReadError, openai_members};
use crate::json::{RawKind, RawValue, write};
use crate::sse;

/// Returns the HTTP status of an error of this kind.
pub(crate) fn status(kind: Kind) -> u16 {
    kind.row().status
}

/// Appends a whole HTTP error body.
pub(crate) fn body(out: &mut Vec<u8>, e: &Error, _request_id: &str) {
    write::object(out, |o| o.object("error", |o| openai_members(o, e)));
}

/// Appends the event after which a failed stream is closed. No finish, no `[DONE]`: a client must
/// not take it for an end.
pub(crate) fn event(out: &mut Vec<u8>, e: &Error, request_id: &str) {
    let mut data = Vec::new();
    body(&mut data, e, request_id);
    sse::write::event(out, None, &data);
}

/// Recognises an error body, or an error in the place of a chunk.
///
/// Besides OpenAI's shape: `error` as a bare string (Ollama), a one-element array around the whole
/// (Gemini's chat endpoint), and flat `{"object":"error","message",..}` (vLLM before 0.10,
/// Mistral). `"error":null` beside an answer is none.
pub(crate) fn read(data: &[u8]) -> Option<ReadError<'_>> {
    RawValue::parse(data).ok().and_then(of)
}

/// [`read`] for a document that was checked.
pub(crate) fn of(mut value: RawValue<'_>) -> Option<ReadError<'_>> {
    if let Some((only, _)) = value.elements().next() {
        value = only;
    }
    if let Some(error) = value.find("error").filter(|error| foreign::is_error(*error)) {
        return foreign::beside(value, error).or_else(|| foreign::of_error(error));
    }
    value.find("object").filter(|object| object.eq_str("error")).and_then(|_| ReadError::from_value(value))
}

/// Returns whether a document is an answer of this format, or an event of its streams.
pub(crate) fn is_answer(value: RawValue<'_>) -> bool {
    value.find("choices").is_some_and(|list| list.kind() == RawKind::Array)
        || foreign::starts_with(value, "object", b"chat.completion")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::shown;

    #[test]
    fn shapes() {
        let e = Error::client(Kind::InvalidType, "`stream` must be a boolean").param("stream");
        let mut out = Vec::new();
        body(&mut out, &e, "req_1");
        let expected = r#"{"error":{"message":"`stream` must be a boolean","type":"invalid_request_error","param":"stream","code":"invalid_type"}}"#;
        assert_eq!(String::from_utf8_lossy(&out), expected);

        let mut out = Vec::new();
        event(&mut out, &Error::upstream(Kind::UpstreamTimeout, "late").code("other"), "req_1");
        let expected =
            "data: {\"error\":{\"message\":\"late\",\"type\":\"server_error\",\"param\":null,\"code\":\"other\"}}\n\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn recognised() {
        let rows: &[(&str, Option<&str>)] = &[
            (r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#, Some("m t c")),
            (
                r#"[{"error":{"code":429,"message":"m","status":"RESOURCE_EXHAUSTED"}}]"#,
                Some("m RESOURCE_EXHAUSTED 429"),
            ),
            (r#"{"error":"no such model"}"#, Some("no such model - -")),
            (r#"{"object":"error","message":"m","type":"t","code":40401}"#, Some("m t 40401")),
            (r#"{"id":"x","choices":[{"finish_reason":"error"}],"error":{"code":502,"message":"m"}}"#, Some("m - 502")),
            (r#"{"error":{}}"#, Some(" - -")),
            (r#"{"id":"x","choices":[],"error":null}"#, None),
            (r#"{"id":"x","choices":[{"delta":{"content":"{\"error\":1}"}}]}"#, None),
            (r#"[]"#, None),
            (r#"{"error":{"#, None),
            ("[DONE]", None),
        ];
        for (data, expected) in rows {
            assert_eq!(shown(read(data.as_bytes())).as_deref(), *expected, "{data}");
        }
    }
}

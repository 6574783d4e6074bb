//! Errors of the responses format.
//!
//! A body is `{"error":{"message","type","param","code"}}`, as in chat. An event comes in two
//! shapes: the reference (OpenAI API reference, "Streaming events", `error`) and the generated SDK
//! types have `code`, `message` and `param` beside `"type":"error"`, while the service sends them
//! inside an `error` object. Readers exist that know one shape alone (the stream helpers of the
//! Python and Node SDKs look for `error`, typed readers for the flat fields), so ours holds both.

use crate::error::{Error, Kind, foreign};
use crate::error::{ReadError, openai_members};
use crate::json::{RawStr, RawValue, write};
use crate::sse;

/// Returns the HTTP status of an error of this kind.
pub(crate) fn status(kind: Kind) -> u16 {
    kind.row().status
}

/// Appends a whole HTTP error body. No request id: see the chat format.
pub(crate) fn body(out: &mut Vec<u8>, e: &Error, _request_id: &str) {
    write::object(out, |o| o.object("error", |o| openai_members(o, e)));
}

/// Appends the event after which a failed bypass stream is closed.
///
/// `sequence_number` is 0, since a bypass does not count events: readers with strict types need the
/// field, and none orders by it. (A translated stream fails with `response.failed` instead, which
/// its encoder writes.)
pub(crate) fn event(out: &mut Vec<u8>, e: &Error, _request_id: &str) {
    let mut data = Vec::new();
    write::object(&mut data, |o| {
        o.str("type", "error");
        o.u64("sequence_number", 0);
        o.opt_str("code", e.code.or(e.kind.row().openai_code));
        o.str("message", &e.note);
        o.opt_str("param", e.param.as_deref());
        o.object("error", |o| openai_members(o, e));
    });
    sse::write::event(out, Some("error"), &data);
}

/// Recognises an error body, an `error` event of either shape, a `response.failed` event, and a
/// whole response that failed. `"error":null`, which every good response holds, is none.
pub(crate) fn read(data: &[u8]) -> Option<ReadError<'_>> {
    RawValue::parse(data).ok().and_then(of)
}

/// [`read`] for a document that was checked.
pub(crate) fn of(value: RawValue<'_>) -> Option<ReadError<'_>> {
    if let Some(error) = value.find("error").filter(|error| foreign::is_error(*error)) {
        return foreign::beside(value, error).or_else(|| foreign::of_error(error));
    }
    // Without an error: the status alone says it.
    let says = |member: &str, word: &str| value.find(member).is_some_and(|value| value.eq_str(word));
    if says("object", "response") && says("status", "failed") {
        return Some(ReadError { code: Some(RawStr::new(b"server_error")), ..ReadError::default() });
    }
    let kind = value.find("type")?;
    if kind.eq_str("response.failed") {
        let error = value.path(&["response", "error"]).and_then(ReadError::from_value);
        return Some(error.unwrap_or_default());
    }
    if !kind.eq_str("error") {
        return None;
    }
    // The flat shape: here `type` is the event's, not the error's.
    Some(ReadError { r#type: None, ..ReadError::from_value(value)? })
}

/// Returns whether a document is an answer of this format, or an event of its streams.
pub(crate) fn is_answer(value: RawValue<'_>) -> bool {
    foreign::starts_with(value, "object", b"response") || foreign::starts_with(value, "type", b"response.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::shown;

    #[test]
    fn shapes() {
        let e = Error::upstream(Kind::UpstreamTruncated, "cut").param("p");
        let mut out = Vec::new();
        event(&mut out, &e, "r");
        let expected = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":0,\"code\":\"upstream_stream_truncated\",\
                        \"message\":\"cut\",\"param\":\"p\",\"error\":{\"message\":\"cut\",\"type\":\"server_error\",\"param\":\"p\",\
                        \"code\":\"upstream_stream_truncated\"}}\n\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn recognised() {
        let rows: &[(&str, Option<&str>)] = &[
            (r#"{"error":{"message":"m","type":"t","code":"c"}}"#, Some("m t c")),
            (r#"{"type":"error","code":"c","message":"m","param":null,"sequence_number":3}"#, Some("m - c")),
            (r#"{"type":"error","sequence_number":2,"error":{"type":"t","code":null,"message":"m"}}"#, Some("m t -")),
            (r#"{"type":"response.failed","response":{"error":{"code":"c","message":"m"}}}"#, Some("m - c")),
            (r#"{"type":"response.failed","response":{"error":null}}"#, Some(" - -")),
            (r#"{"object":"response","status":"failed","error":{"code":"c","message":"m"}}"#, Some("m - c")),
            (r#"{"object":"response","status":"completed","error":null}"#, None),
            (r#"{"type":"response.created","response":{"error":null}}"#, None),
            ("[DONE]", None),
        ];
        for (data, expected) in rows {
            assert_eq!(shown(read(data.as_bytes())).as_deref(), *expected, "{data}");
        }
    }
}

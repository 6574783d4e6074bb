//! Errors on the wire, whatever the format: the choice of a reader and a writer.
//!
//! The shapes stand in `formats/<format>/error.rs`; statuses, types and codes in
//! [`crate::error::Kind`].

use crate::error::{Error, Kind, ReadError, foreign};
use crate::format::Format;
use crate::formats::{chat, messages, responses};
use crate::json::{RawValue, preamble};

/// HTTP status of an error towards a client of `format`.
pub fn status(format: Format, kind: Kind) -> u16 {
    match format {
        Format::Chat => chat::error::status(kind),
        Format::Messages => messages::error::status(kind),
        Format::Responses => responses::error::status(kind),
    }
}

/// Appends a whole HTTP error body for a client of `format`.
pub fn body(format: Format, out: &mut Vec<u8>, e: &Error, request_id: &str) {
    match format {
        Format::Chat => chat::error::body(out, e, request_id),
        Format::Messages => messages::error::body(out, e, request_id),
        Format::Responses => responses::error::body(out, e, request_id),
    }
}

/// Appends the event that informs a client of `format` that its stream failed. The output must
/// stand between two events.
pub fn event(format: Format, out: &mut Vec<u8>, e: &Error, request_id: &str) {
    match format {
        Format::Chat => chat::error::event(out, e, request_id),
        Format::Messages => messages::error::event(out, e, request_id),
        Format::Responses => responses::error::event(out, e, request_id),
    }
}

/// Recognises an error in a body under status 200 or in the data of an event. `None` if it is an
/// answer.
pub fn read(format: Format, data: &[u8]) -> Option<ReadError<'_>> {
    match format {
        Format::Chat => chat::error::read(data),
        Format::Messages => messages::error::read(data),
        Format::Responses => responses::error::read(data),
    }
}

/// [`read`] for a document that was checked.
pub fn of(format: Format, value: RawValue<'_>) -> Option<ReadError<'_>> {
    match format {
        Format::Chat => chat::error::of(value),
        Format::Messages => messages::error::of(value),
        Format::Responses => responses::error::of(value),
    }
}

/// Recognises an error in a body under status 200, or in the data of an event, whatever its shape.
/// Returns `None` for an answer of `format`, for a part of one, and for objects that say nothing.
pub fn recognize(format: Format, value: RawValue<'_>) -> Option<ReadError<'_>> {
    foreign::recognize(of(format, value), |value| is_answer(format, value), value)
}

/// Returns whether a document says that it is an answer of this format, or an event of its streams.
pub fn is_answer(format: Format, value: RawValue<'_>) -> bool {
    match format {
        Format::Chat => chat::error::is_answer(value),
        Format::Messages => messages::error::is_answer(value),
        Format::Responses => responses::error::is_answer(value),
    }
}

/// Reads the body under an error status: any known shape, since hosts in front of a provider answer
/// in their own.
///
/// Beyond [`read`] the shapes of [`foreign`], such as a bare `message` (Bedrock) and `detail`
/// (FastAPI hosts: a string, or a list whose first entry has `msg`). `None` where the body is not
/// JSON or is not specific; never show such a body to a client, it may be a page of HTML.
pub fn read_refusal(format: Format, body: &[u8]) -> Option<ReadError<'_>> {
    let body = preamble::strip(body);
    let own = read(format, body);
    if own.is_some_and(|error| !error.message.is_empty()) {
        return own;
    }
    foreign::any_shape(RawValue::parse(body).ok()?).or(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::shown;

    #[test]
    fn bodies_under_an_error_status() {
        let rows: &[(&str, Option<&str>)] = &[
            (r#"{"error":{"message":"a","code":"c"}}"#, Some("a - c")),
            (r#"{"message":"a"}"#, Some("a - -")),
            (r#"{"detail":"a"}"#, Some("a - -")),
            (r#"{"detail":[{"loc":["body"],"msg":"a","type":"missing"}]}"#, Some("a missing -")),
            (r#"{"detail":{"message":"a","code":3}}"#, Some("a - 3")),
            (r#"{"detail":[]}"#, None),
            ("{}", None),
            ("<html>nope</html>", None),
            ("", None),
        ];
        for (body, expected) in rows {
            for format in Format::ALL {
                assert_eq!(shown(read_refusal(format, body.as_bytes())).as_deref(), *expected, "{format}: {body}");
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for format in Format::ALL {
            for kind in Kind::ALL {
                let e =
                    Error::upstream(*kind, "prompt is too long: say \"less\"\n").param("messages.0").code("own_code");
                let mut out = Vec::new();
                body(format, &mut out, &e, "req_1");
                assert!(read(format, &out).unwrap().message.eq_str(&e.note), "{format} {kind:?}");

                let mut out = Vec::new();
                event(format, &mut out, &e, "req_1");
                let mut rest = out.as_slice();
                let mut framer = crate::sse::Framer::default();
                let frame = framer.next(&mut rest).unwrap().unwrap().frame.unwrap();
                assert!(read(format, frame.data).unwrap().message.eq_str(&e.note), "{format} {kind:?}");
                assert!(rest.is_empty());
            }
        }
    }
}

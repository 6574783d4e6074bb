//! Errors on the wire, whatever the format: what was read from a provider, and the choice of a
//! writer.
//!
//! The shapes stand in `formats/<format>/error.rs`; statuses, types and codes in
//! [`crate::error::Kind`].

use crate::Format;
use crate::error::{Error, Kind, foreign};
use crate::formats::{chat, messages, responses};
use crate::json::{RawKind, RawStr, RawValue, preamble, write};

/// An error that a provider sent, in its own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadError<'a> {
    /// Empty where none was given.
    pub message: RawStr<'a>,
    /// `type`, or Google's `status`.
    pub r#type: Option<RawStr<'a>>,
    /// As text, where a host writes a number too.
    pub code: Option<RawStr<'a>>,
    /// The request field at fault, as the provider names it.
    pub param: Option<RawStr<'a>>,
}

impl<'a> ReadError<'a> {
    /// From the object that holds the message, or from a bare string.
    pub(crate) fn from_value(value: RawValue<'a>) -> Option<ReadError<'a>> {
        let mut read = ReadError::default();
        match value.kind() {
            RawKind::String => read.message = value.as_str()?,
            RawKind::Object => {
                for (key, value, _) in value.members() {
                    match key.as_bytes() {
                        b"message" => read.message = text(value).unwrap_or_default(),
                        b"type" => read.r#type = text(value),
                        b"status" if read.r#type.is_none() => read.r#type = text(value),
                        b"code" => read.code = text(value),
                        b"param" => read.param = text(value),
                        _ => {}
                    }
                }
            }
            _ => return None,
        }
        Some(read)
    }
}

/// A string, or a number as it is written.
fn text(value: RawValue<'_>) -> Option<RawStr<'_>> {
    match value.kind() {
        RawKind::Number => Some(RawStr::new(value.bytes())),
        _ => value.as_str(),
    }
}

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

/// The members of the OpenAI formats' error object, in their order.
pub(crate) fn openai_members(o: &mut write::Object<'_>, e: &Error) {
    let row = e.kind.row();
    o.str("message", &e.note);
    o.str("type", row.openai_type);
    o.opt_str("param", e.param.as_deref());
    o.opt_str("code", e.code.or(row.openai_code));
}

/// For rows of tests: message, type and code, `-` for none.
#[cfg(test)]
pub(crate) fn shown(read: Option<ReadError<'_>>) -> Option<String> {
    let text = |raw: Option<RawStr<'_>>| raw.map_or("-".into(), |raw| raw.unescape().into_owned());
    read.map(|e| format!("{} {} {}", e.message.unescape(), text(e.r#type), text(e.code)))
}

#[cfg(test)]
mod tests {
    use super::*;

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

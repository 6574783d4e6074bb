//! An error as a provider sent it, and the members that both formats of OpenAI have in one.

use super::kind::Error;
use crate::json::{RawKind, RawStr, RawValue, write};

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

/// Returns a string, or a number as it is written.
fn text(value: RawValue<'_>) -> Option<RawStr<'_>> {
    match value.kind() {
        RawKind::Number => Some(RawStr::new(value.bytes())),
        _ => value.as_str(),
    }
}

/// Writes the members of the OpenAI formats' error object, in their order.
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

//! Reading fields of a client's body: the value or an error that names its path.
//!
//! `null` counts as absent everywhere ([`some`]): SDKs write it for fields that were not set.

use std::fmt;

use crate::canonical::request::{Foreign, Number};
use crate::error::{Error, Kind};
use crate::json::{RawKind, RawStr, RawValue, Tape, scan};
use crate::request::nested;

/// A path in the client's body. Costs nothing until an error spells it.
#[derive(Clone, Copy)]
pub(crate) struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    step: Step<'p>,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

impl<'p> Path<'p> {
    /// Returns the path of a member of the body.
    pub(crate) fn root(key: &'p str) -> Path<'p> {
        Path { parent: None, step: Step::Key(key) }
    }

    /// Returns the path of a member of this value.
    pub(crate) fn key(&'p self, key: &'p str) -> Path<'p> {
        Path { parent: Some(self), step: Step::Key(key) }
    }

    /// Returns the path of an element of this value, from 0.
    pub(crate) fn index(&'p self, index: usize) -> Path<'p> {
        Path { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        match self.step {
            Step::Key(key) => f.write_str(key),
            Step::Index(index) => write!(f, "{index}"),
        }
    }
}

/// Returns the body as an object: checked as a whole, so that everything found in it later is valid
/// JSON.
pub(crate) fn body<'a>(tape: &'a mut Tape, body: &'a [u8]) -> Result<RawValue<'a>, Error> {
    let value = tape
        .read(body)
        .map_err(|e: scan::ScanError| Error::client(Kind::InvalidJson, format!("the request body is not JSON: {e}")))?;
    if !value.is_object() {
        let note = format!("the request body must be an object, not {}", value.kind().name());
        return Err(Error::client(Kind::InvalidType, note));
    }
    Ok(value)
}

/// Returns `None` for `null`.
pub(crate) fn some(value: RawValue<'_>) -> Option<RawValue<'_>> {
    (!value.is_null()).then_some(value)
}

/// Reads a string. The error names the path and the type that was found.
pub(crate) fn string<'a>(value: RawValue<'a>, path: &Path<'_>) -> Result<RawStr<'a>, Error> {
    value.as_str().ok_or_else(|| wrong_type(path, "a string", value))
}

/// Reads a boolean. The error names the path and the type that was found.
pub(crate) fn boolean(value: RawValue<'_>, path: &Path<'_>) -> Result<bool, Error> {
    value.as_bool().ok_or_else(|| wrong_type(path, "a boolean", value))
}

/// A count up to 2^53; numbers in quotes pass, since some clients write them.
pub(crate) fn count(value: RawValue<'_>, path: &Path<'_>) -> Result<u64, Error> {
    value.as_u64().ok_or_else(|| match value.kind() {
        RawKind::Number => {
            let note = format!("`{path}` must be a whole number between 0 and 2^53");
            Error::client(Kind::InvalidType, note).param(path.to_string())
        }
        _ => wrong_type(path, "a whole number", value),
    })
}

/// Reads a number. The error names the path and the type that was found.
pub(crate) fn number<'a>(value: RawValue<'a>, path: &Path<'_>) -> Result<Number<'a>, Error> {
    match value.kind() {
        RawKind::Number => Ok(Number(value)),
        _ => Err(wrong_type(path, "a number", value)),
    }
}

/// Reads an object. The error names the path and the type that was found.
pub(crate) fn object<'a>(value: RawValue<'a>, path: &Path<'_>) -> Result<RawValue<'a>, Error> {
    if value.is_object() { Ok(value) } else { Err(wrong_type(path, "an object", value)) }
}

/// Returns the elements of an array.
pub(crate) fn array<'a>(
    value: RawValue<'a>,
    path: &Path<'_>,
) -> Result<impl Iterator<Item = RawValue<'a>> + use<'a>, Error> {
    match value.kind() {
        RawKind::Array => Ok(value.elements().map(|(element, _)| element)),
        _ => Err(wrong_type(path, "an array", value)),
    }
}

/// Returns a member that must be there and not `null`.
pub(crate) fn required<'a>(object: RawValue<'a>, key: &str, path: &Path<'_>) -> Result<RawValue<'a>, Error> {
    object.find(key).and_then(some).ok_or_else(|| {
        Error::client(Kind::InvalidRequest, format!("`{path}.{key}` is required")).param(format!("{path}.{key}"))
    })
}

/// Makes the error for a request without a member at its top that its format needs. `others` are
/// members of other formats and the paths that they belong to: who sends one has the wrong path.
pub(crate) fn missing(key: &str, has: impl Fn(&str) -> bool, others: &[(&str, &str)]) -> Error {
    let note = match others.iter().find(|(other, _)| has(other)) {
        Some((other, path)) => format!("`{key}` is required; a request with `{other}` belongs to {path}"),
        None => format!("`{key}` is required"),
    };
    Error::client(Kind::InvalidRequest, note).param(key)
}

/// Makes the error for a value of another type than `expected`.
pub(crate) fn wrong_type(path: &Path<'_>, expected: &str, got: RawValue<'_>) -> Error {
    let note = format!("`{path}` must be {expected}, not {}", got.kind().name());
    Error::client(Kind::InvalidType, note).param(path.to_string())
}

/// Returns the error of a value of the right type that means nothing. `why` ends the sentence
/// "`path` …".
pub(crate) fn invalid(path: &impl fmt::Display, why: &str) -> Error {
    Error::client(Kind::InvalidRequest, format!("`{path}` {why}")).param(path.to_string())
}

/// A content part or item that the target cannot express, and whose loss would change the
/// meaning.
///
/// `remedy` is what the client, or whoever set the provider up, can do instead.
pub(crate) fn unsupported_content(path: &impl fmt::Display, what: &str, remedy: &str) -> Error {
    Error::client(Kind::Unsupported, format!("{what} (`{path}`) cannot be sent to this provider; {remedy}"))
        .param(path.to_string())
        .code("unsupported_content")
}

/// A parameter that the target cannot express, and whose loss would change the meaning. `why`
/// states what the target lacks, and what the client can do instead.
pub(crate) fn unsupported_parameter(path: &impl fmt::Display, what: &str, why: &str) -> Error {
    let path = path.to_string();
    // A parameter that is named by its path already.
    let place = if what.contains(&format!("`{path}`")) { String::new() } else { format!(" (`{path}`)") };
    Error::client(Kind::Unsupported, format!("{what}{place} cannot be used with this provider: {why}")).param(path)
}

/// A form of the answer that the target has no word for: a grammar, or a type that nobody knows.
pub(crate) fn unsupported_form(path: &impl fmt::Display, form: RawValue<'_>) -> Error {
    let kind = form.find("type").and_then(RawValue::as_str).unwrap_or_default().unescape();
    if nested::OPEN.contains(&kind.as_ref()) {
        let why = "it takes grammars for custom tools at most; send a JSON schema";
        return unsupported_parameter(path, "a grammar for the answer", why);
    }
    let why = "its format has `text`, `json_object` and `json_schema` at most; send one of these";
    unsupported_parameter(path, &format!("an answer of the type `{kind}`"), why)
}

/// What the client's own format alone knows, an item or a part of content, as an error.
pub(crate) fn unsupported_foreign(foreign: &Foreign<'_>, noun: &str) -> Error {
    let kind = foreign.kind.unescape();
    let remedy = match kind.as_ref() {
        "item_reference" => "send the item itself, since nothing is stored that it could refer to".to_owned(),
        _ => format!("send it as text, or use a provider of the format {}", foreign.format.title()),
    };
    unsupported_content(&foreign.path, &format!("{noun} of type `{kind}`"), &remedy)
}

/// What a client may do whose audio the target does not accept.
pub(crate) const AUDIO_REMEDY: &str = "send a transcript, or, if the model accepts audio, use a provider of the format Chat \
     Completions and set `audio_in` in its `capabilities`, or its `host`";

/// The remedy for images that are none by their source.
pub(crate) const IMAGE_REMEDY: &str = "send it as base64 or by its URL";

/// The remedy for types of files that the format does not have.
pub(crate) const TYPE_REMEDY: &str = "send its text, or convert it to PDF";

/// The remedy for the URL of a file in a format that has none.
pub(crate) const FILE_URL_REMEDY: &str = "send the file as base64, since Chat Completions has no URLs of files";

/// Returns the error of the id of a file that another vendor, or another format, holds.
pub(crate) fn not_portable(path: &str) -> Error {
    let what = "a file id of another provider";
    unsupported_content(&path, what, "send the file itself").code("file_id_not_portable")
}

/// Returns the path of a part, which parts made here do not have, else that of what holds it.
pub(crate) fn nearest<'p>(own: &'p str, holder: &'p str) -> &'p str {
    if own.is_empty() { holder } else { own }
}

/// The remedy for files at hosts that are not known to take them.
pub(crate) const FILE_REMEDY: &str =
    "send its text, or, if the host accepts files, set `pdf` in the provider's `capabilities`, or its `host`";

/// The remedy for URLs that the target does not fetch.
pub(crate) const URL_REMEDY: &str =
    "send it as base64, or, if the host fetches URLs, set `url_images` in the provider's `capabilities`";

/// A tool that the target does not have, or not in this form. `why` states which.
pub(crate) fn unsupported_tool(path: &impl fmt::Display, what: &str, why: &str) -> Error {
    Error::client(Kind::Unsupported, format!("{what} (`{path}`) cannot be used with this provider: {why}"))
        .param(path.to_string())
        .code("unsupported_tool")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_path() {
        let messages = Path::root("messages");
        let message = messages.index(3);
        let path = message.key("content");
        let error = string(RawValue::new(b"[]"), &path).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages.3.content"));
        assert_eq!(error.note, "`messages.3.content` must be a string, not an array");
        let error = required(RawValue::new(br#"{"id":null}"#), "id", &message).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("messages.3.id"));
        let mut tape = Tape::default();
        assert_eq!(body(&mut tape, b"[1]").unwrap_err().kind, Kind::InvalidType);
        assert_eq!(body(&mut tape, b"{").unwrap_err().kind, Kind::InvalidJson);
    }
}

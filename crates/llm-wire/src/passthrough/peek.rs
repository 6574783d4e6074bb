//! What the gateway must know of a request body before it chooses a provider.
//!
//! One walk over the body checks that it is JSON and picks out the few fields that routing,
//! accounting and [`crate::passthrough::splice`] need, for every format alike: their names do not
//! collide. Of duplicate keys the last wins, as with other readers.
//!
//! What is not needed is not judged: a `metadata` of the wrong type is the provider's to refuse.

use std::ops::Range;

use crate::canonical::effort::Effort;
use crate::error::{Error, Kind};
use crate::json::scan::{self, Fault, ScanError};
use crate::json::{RawKind, RawStr, RawValue};

/// The fields of a request that matter before decoding. Ranges count bytes from the start of the
/// body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek<'a> {
    /// As the client wrote it, never empty.
    pub model: RawStr<'a>,
    /// Where the model stands, quotes included.
    pub model_at: Range<usize>,
    /// `false` where absent or null.
    pub stream: bool,
    /// `stream_options.include_usage` is true: the client of a chat stream asked for the usage
    /// chunk.
    pub include_usage: bool,
    pub stream_options: Option<(RawValue<'a>, Range<usize>)>,
    /// `max_completion_tokens`, else `max_tokens`, else `max_output_tokens`, if it is a count.
    pub max_output: Option<u64>,
}

/// Why a body cannot be routed. Always the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeekError {
    Empty,
    Json(ScanError),
    NotObject(RawKind),
    NoModel,
    EmptyModel,
    WrongType { param: &'static str, wanted: &'static str, got: RawKind },
}

/// Checks and reads a request body. Costs one pass over the bytes and no allocation.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, PeekError> {
    check_start(body)?;
    let mut seen = Seen::default();
    let mut walk = scan::members(body);
    for (key, value, at) in walk.by_ref() {
        seen.member(key, value, at);
    }
    match walk.fault() {
        Some(fault) => return Err(PeekError::Json(fault)),
        None => check_end(body, walk.position())?,
    }
    seen.into_peek()
}

/// Whether a Chat request has function tools, and the effort that it names. For a body that
/// [`peek`] has checked.
pub fn tools_and_effort(body: &[u8]) -> (bool, Option<Effort>) {
    let (mut tools, mut effort) = (false, None);
    for (key, value, _) in scan::members(body) {
        if key.eq_str("tools") || key.eq_str("functions") {
            tools |= value.elements().next().is_some();
        } else if key.eq_str("reasoning_effort") {
            effort = value.as_str().and_then(|word| Effort::parse(&word.unescape()));
        }
    }
    (tools, effort)
}

/// UTF-8, and an object begins.
fn check_start(body: &[u8]) -> Result<(), PeekError> {
    if let Err(e) = std::str::from_utf8(body) {
        return Err(PeekError::Json(ScanError { at: e.valid_up_to(), what: Fault::Utf8 }));
    }
    // White space as JSON has it, which is less than that of ASCII.
    let start = &body[scan::skip_space(body, 0)..];
    match start.first() {
        None => Err(PeekError::Empty),
        Some(b'{') => Ok(()),
        // Valid JSON of another kind deserves the better message; anything else the place of the
        // fault.
        Some(_) => match scan::validate(body) {
            Ok(()) => Err(PeekError::NotObject(RawValue::new(start).kind())),
            Err(fault) => Err(PeekError::Json(fault)),
        },
    }
}

fn check_end(body: &[u8], end: usize) -> Result<(), PeekError> {
    match body[end..].iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')) {
        None => Ok(()),
        Some(n) => Err(PeekError::Json(ScanError { at: end + n, what: Fault::Trailing })),
    }
}

/// The members of interest, the last of each.
#[derive(Default)]
struct Seen<'a> {
    model: Option<(RawValue<'a>, Range<usize>)>,
    stream: Option<RawValue<'a>>,
    stream_options: Option<(RawValue<'a>, Range<usize>)>,
    max_completion_tokens: Option<RawValue<'a>>,
    max_tokens: Option<RawValue<'a>>,
    max_output_tokens: Option<RawValue<'a>>,
}

impl<'a> Seen<'a> {
    fn member(&mut self, key: RawStr<'a>, value: RawValue<'a>, at: Range<usize>) {
        let mut plain = Vec::new();
        let name = match key.has_escapes() {
            false => key.as_bytes(),
            true => {
                key.unescape_into(&mut plain);
                &plain
            }
        };
        match name {
            b"model" => self.model = Some((value, at)),
            b"stream" => self.stream = Some(value),
            b"stream_options" => self.stream_options = Some((value, at)),
            b"max_completion_tokens" => self.max_completion_tokens = Some(value),
            b"max_tokens" => self.max_tokens = Some(value),
            b"max_output_tokens" => self.max_output_tokens = Some(value),
            _ => {}
        }
    }

    fn into_peek(self) -> Result<Peek<'a>, PeekError> {
        let (model, model_at) = self.model.ok_or(PeekError::NoModel)?;
        let model =
            model.as_str().ok_or(PeekError::WrongType { param: "model", wanted: "a string", got: model.kind() })?;
        if model.is_empty() {
            return Err(PeekError::EmptyModel);
        }
        let stream = match self.stream {
            Some(value) if !value.is_null() => value.as_bool().ok_or(PeekError::WrongType {
                param: "stream",
                wanted: "a boolean",
                got: value.kind(),
            })?,
            _ => false,
        };
        let count = |value: Option<RawValue<'a>>| value.and_then(RawValue::as_u64);
        Ok(Peek {
            model,
            model_at,
            stream,
            include_usage: self
                .stream_options
                .as_ref()
                .and_then(|(options, _)| options.find("include_usage"))
                .is_some_and(|value| value.as_bool() == Some(true)),
            stream_options: self.stream_options,
            max_output: count(self.max_completion_tokens)
                .or_else(|| count(self.max_tokens))
                .or_else(|| count(self.max_output_tokens)),
        })
    }
}

impl From<PeekError> for Error {
    fn from(e: PeekError) -> Error {
        match e {
            PeekError::Empty => Error::client(Kind::InvalidJson, "the request body is empty; send a JSON object"),
            PeekError::Json(fault) => {
                Error::client(Kind::InvalidJson, format!("the request body is not valid JSON: {fault}"))
            }
            PeekError::NotObject(got) => Error::client(
                Kind::InvalidType,
                format!("the request body must be a JSON object, but it is {}", got.name()),
            ),
            PeekError::NoModel => {
                Error::client(Kind::InvalidRequest, "the request has no `model`; name the model to use").param("model")
            }
            PeekError::EmptyModel => {
                Error::client(Kind::InvalidRequest, "`model` is empty; name the model to use").param("model")
            }
            PeekError::WrongType { param, wanted, got } => {
                Error::client(Kind::InvalidType, format!("`{param}` must be {wanted}, but it is {}", got.name()))
                    .param(param)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_format() {
        let body = br#"{"messages":[{"role":"user","content":"{\"model\":\"no\"}"}],"model":"gpt-x","stream":true,
            "stream_options":{"include_usage":true},"user":"u1","max_tokens":5,"max_completion_tokens":7.0}"#;
        let seen = peek(body).unwrap();
        assert!(seen.model.eq_str("gpt-x") && &body[seen.model_at.clone()] == br#""gpt-x""#);
        assert!(seen.stream && seen.include_usage);
        assert_eq!(seen.max_output, Some(7));

        let rows: &[(&str, Option<u64>)] = &[
            (r#"{"model":"m"}"#, None),
            (r#"{"model":"m","stream":null,"user":"","metadata":{"user_id":"x_1"},"max_tokens":1}"#, Some(1)),
            (r#"{"model":"m","user":"a","safety_identifier":"b","max_output_tokens":2}"#, Some(2)),
            (r#"{"model":"m","user":7,"metadata":[],"stream_options":3,"max_tokens":"many"}"#, None),
            (r#"{"model":"x","model":"m","max_output_t\u006fkens":3}"#, Some(3)),
        ];
        for (body, max_output) in rows {
            let seen = peek(body.as_bytes()).unwrap();
            assert!(seen.model.eq_str("m") && !seen.stream && !seen.include_usage, "{body}");
            assert_eq!(seen.max_output, *max_output, "{body}");
        }
    }

    #[test]
    fn refusals_name_kind_and_field() {
        let deep = format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(128), "]".repeat(128));
        let rows: &[(&[u8], Kind, Option<&str>, &str)] = &[
            (b" \n", Kind::InvalidJson, None, "the request body is empty; send a JSON object"),
            (
                b"{\"model\":",
                Kind::InvalidJson,
                None,
                "the request body is not valid JSON: the document ends inside a value at byte 9",
            ),
            (
                b"{\"model\":\"m\"} {",
                Kind::InvalidJson,
                None,
                "the request body is not valid JSON: something follows the end of the document at byte 14",
            ),
            (
                b"{\"model\":\"\xff\"}",
                Kind::InvalidJson,
                None,
                "the request body is not valid JSON: invalid UTF-8 at byte 10",
            ),
            (b" \x0c{}", Kind::InvalidJson, None, "the request body is not valid JSON: a value was expected at byte 1"),
            (b"model=x", Kind::InvalidJson, None, "the request body is not valid JSON: a value was expected at byte 0"),
            (
                deep.as_bytes(),
                Kind::InvalidJson,
                None,
                "the request body is not valid JSON: nested deeper than 128 levels at byte 144",
            ),
            (b"[1]", Kind::InvalidType, None, "the request body must be a JSON object, but it is an array"),
            (b"{}", Kind::InvalidRequest, Some("model"), "the request has no `model`; name the model to use"),
            (b"{\"model\":\"\"}", Kind::InvalidRequest, Some("model"), "`model` is empty; name the model to use"),
            (b"{\"model\":null}", Kind::InvalidType, Some("model"), "`model` must be a string, but it is null"),
            (
                b"{\"model\":\"m\",\"stream\":\"true\"}",
                Kind::InvalidType,
                Some("stream"),
                "`stream` must be a boolean, but it is a string",
            ),
        ];
        for (body, kind, param, note) in rows {
            let e = Error::from(peek(body).unwrap_err());
            assert_eq!((e.kind, e.param.as_deref(), e.note.as_ref()), (*kind, *param, *note));
        }
    }
}

//! What the gateway must know of a request body before it chooses a provider.
//!
//! One walk over the body checks that it is JSON and picks out the few fields that routing,
//! accounting and [`crate::passthrough::splice`] need, for every format alike: their names do not
//! collide. None of them may stand twice.
//!
//! What is not needed is not judged: a `metadata` of the wrong type is the provider's to refuse.

use std::ops::Range;

use crate::canonical::effort::Effort;
use crate::error::{Error, Kind};
use crate::format::Format;
use crate::json::scan::{self, Fault, ScanError};
use crate::json::walk;
use crate::json::{RawKind, RawStr, RawValue};
use crate::reasoning::envelope;

/// The fields of a request that matter before decoding. Ranges count bytes from the start of the
/// body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek<'a> {
    /// As the client wrote it, never empty.
    pub model: RawStr<'a>,
    /// The position of the model, quotes included.
    pub model_at: Range<usize>,
    /// `false` where absent or null.
    pub stream: bool,
    /// `stream_options.include_usage` is true: the client of a chat stream asked for the usage
    /// chunk.
    pub include_usage: bool,
    /// The value of `stream_options` and its position in the body, for a splice.
    pub stream_options: Option<(RawValue<'a>, Range<usize>)>,
    /// The limits on the length of the response.
    pub output: Output,
    /// Other models that a provider may turn to instead: `models` (OpenRouter) and `fallbacks`
    /// (LiteLLM).
    pub alternatives: [Option<RawValue<'a>>; 2],
    /// The response that this one continues, which a provider has kept (`previous_response_id` of
    /// the Responses format).
    pub previous_response: Option<RawStr<'a>>,
    /// The tier of service that the request asks for (`service_tier`).
    pub service_tier: Option<RawStr<'a>>,
    /// Whether a string begins with an envelope of reasoning. It may be true where the envelope
    /// stands in a text, which is none of the places that it is read at.
    pub has_envelope: bool,
}

impl<'a> Peek<'a> {
    /// The names of these models.
    pub fn alternatives(&self) -> impl Iterator<Item = RawStr<'a>> {
        let all = self.alternatives.into_iter().flatten().flat_map(RawValue::elements);
        all.filter_map(|(item, _)| item.as_str().or_else(|| item.find("model")?.as_str()))
    }
}

/// The limits of a request on the length of its responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Output {
    max_completion_tokens: Option<u64>,
    max_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    n: u64,
    best_of: u64,
    /// Of a text completion.
    prompts: u64,
}

impl Output {
    /// The most tokens of one answer, by the fields that a provider of the client's format obeys.
    /// Of two the larger counts, since hosts differ in which one they read.
    #[inline]
    pub fn most(&self, format: Format) -> Option<u64> {
        match format {
            Format::Chat => self.max_completion_tokens.max(self.max_tokens),
            Format::Messages => self.max_tokens,
            Format::Responses => self.max_output_tokens,
        }
    }

    /// How many answers are written: `n` or `best_of`, for each prompt.
    #[inline]
    pub fn answers(&self, format: Format) -> u64 {
        match format {
            Format::Chat => self.n.max(self.best_of).max(1).saturating_mul(self.prompts.max(1)),
            Format::Messages | Format::Responses => 1,
        }
    }
}

/// Why a body cannot be routed. Always the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeekError {
    /// The body has no bytes.
    Empty,
    /// The body is not JSON.
    Json(ScanError),
    /// The body is of another type than JSON. The text says of which, and what to do.
    OtherType(&'static str),
    /// The body is JSON of another kind than an object.
    NotObject(RawKind),
    /// The body has no member `model`.
    NoModel,
    /// The member `model` is an empty string.
    EmptyModel,
    /// Named more than once: the gateway may read one and the provider another.
    TwoModels,
    /// Another field that routing, limits or permissions read appears twice.
    Twice(&'static str),
    /// A field that the gateway reads is of the wrong kind.
    WrongType {
        /// The path of the field.
        param: &'static str,
        /// The kinds that the format allows, as words of a sentence.
        expected: &'static str,
        /// The kind that the body has.
        got: RawKind,
    },
}

/// Checks and reads a request body. Costs one pass over the bytes, a search and no allocation.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, PeekError> {
    check_start(body)?;
    let mut seen = Seen::default();
    let mut walk = walk::members(body);
    for (key, value, at) in walk.by_ref() {
        seen.member(key, value, at);
    }
    match walk.fault() {
        Some(fault) => return Err(other_type(body).unwrap_or(PeekError::Json(fault))),
        None => check_end(body, walk.position())?,
    }
    seen.has_envelope = envelope::find(body).next().is_some();
    seen.into_peek()
}

/// Whether a Chat request has function tools, and the effort that it names. For a body that
/// [`peek`] has checked.
pub fn tools_and_effort(body: &[u8]) -> (bool, Option<Effort>) {
    let (mut tools, mut effort) = (false, None);
    for (key, value, _) in walk::members(body) {
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
    // ASCII, which most bodies are, is checked in larger steps.
    if !scan::is_ascii(body)
        && let Err(e) = std::str::from_utf8(body)
    {
        let fault = PeekError::Json(ScanError { at: e.valid_up_to(), what: Fault::Utf8 });
        return Err(other_type(body).unwrap_or(fault));
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
            Err(fault) => Err(other_type(start).unwrap_or(PeekError::Json(fault))),
        },
    }
}

/// Recognises what curl and PowerShell send by default in the place of JSON: PowerShell UTF-16,
/// curl a form or the name of a file.
fn other_type(body: &[u8]) -> Option<PeekError> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'%' | b'[' | b']');
    let behind_name = || body.iter().find(|byte| !is_name(byte));
    Some(PeekError::OtherType(match body {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{', 0, ..] | [0, b'{', ..] => "is UTF-16; send a JSON object in UTF-8",
        [b'-', b'-', ..] => "is a form of several parts; send a JSON object",
        [b'@', ..] => "begins with `@`; send a JSON object (curl reads a file with `--data-binary @FILE`)",
        [first, ..] if is_name(first) && behind_name() == Some(&b'=') => "is a form; send a JSON object",
        _ => return None,
    }))
}

fn check_end(body: &[u8], end: usize) -> Result<(), PeekError> {
    match body[end..].iter().position(|b| !matches!(b, b' ' | b'\n' | b'\r' | b'\t')) {
        None => Ok(()),
        Some(n) => Err(PeekError::Json(ScanError { at: end + n, what: Fault::Trailing })),
    }
}

/// Fields that routing, limits or permissions read, in lower case, the shortest first. None may
/// stand twice: of two the gateway may judge one and the provider obey the other.
const READ_FIELDS: [&str; 22] = [
    "n",
    "input",
    "model",
    "tools",
    "models",
    "prompt",
    "stream",
    "system",
    "best_of",
    "messages",
    "thinking",
    "fallbacks",
    "functions",
    "reasoning",
    "max_tokens",
    "instructions",
    "output_config",
    "stream_options",
    "reasoning_effort",
    "max_output_tokens",
    "previous_response_id",
    "max_completion_tokens",
];

/// Returns the place of a field in [`READ_FIELDS`], whatever its case: hosts written in Go read all
/// of them.
fn read_field(name: &[u8]) -> Option<usize> {
    let (from, to) = (*FIELDS_OF_LENGTH.get(name.len())?, *FIELDS_OF_LENGTH.get(name.len() + 1)?);
    (from..to).find(|field| name.eq_ignore_ascii_case(READ_FIELDS[*field].as_bytes()))
}

/// Where the names of each length begin in [`READ_FIELDS`].
const FIELDS_OF_LENGTH: [usize; 23] = {
    let mut places = [0; 23];
    let (mut field, mut length) = (0, 0);
    while length < places.len() {
        while field < READ_FIELDS.len() && READ_FIELDS[field].len() < length {
            field += 1;
        }
        places[length] = field;
        length += 1;
    }
    assert!(field == READ_FIELDS.len());
    places
};

/// The members of interest, the last of each.
#[derive(Default)]
struct Seen<'a> {
    model: Option<(RawValue<'a>, Range<usize>)>,
    stream: Option<RawValue<'a>>,
    stream_options: Option<(RawValue<'a>, Range<usize>)>,
    output: Output,
    alternatives: [Option<RawValue<'a>>; 2],
    previous_response: Option<RawStr<'a>>,
    service_tier: Option<RawStr<'a>>,
    has_envelope: bool,
    /// A bit for each of [`READ_FIELDS`] that was seen.
    fields: u32,
    /// One of them that appears twice.
    twice: Option<&'static str>,
    /// The model appears twice, or under a name that differs in case, which hosts written in Go
    /// read too.
    two_models: bool,
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
        if name == b"service_tier" {
            self.service_tier = value.as_str();
            return;
        }
        let Some(field) = read_field(name) else { return };
        if self.fields & 1 << field != 0 {
            self.twice = self.twice.or(Some(READ_FIELDS[field]));
        }
        self.fields |= 1 << field;
        match name {
            b"model" => {
                self.two_models |= self.model.is_some();
                self.model = Some((value, at));
            }
            b"stream" => self.stream = Some(value),
            b"stream_options" => self.stream_options = Some((value, at)),
            b"models" => self.alternatives[0] = Some(value),
            b"fallbacks" => self.alternatives[1] = Some(value),
            b"previous_response_id" => self.previous_response = value.as_str(),
            _ if READ_FIELDS[field] == "model" => self.two_models = true,
            _ => self.output.member(READ_FIELDS[field], value),
        }
    }

    fn into_peek(self) -> Result<Peek<'a>, PeekError> {
        let (model, model_at) = self.model.ok_or(PeekError::NoModel)?;
        if self.two_models {
            return Err(PeekError::TwoModels);
        }
        if let Some(field) = self.twice {
            return Err(PeekError::Twice(field));
        }
        let model =
            model.as_str().ok_or(PeekError::WrongType { param: "model", expected: "a string", got: model.kind() })?;
        if model.is_empty() {
            return Err(PeekError::EmptyModel);
        }
        let stream = match self.stream {
            Some(value) if !value.is_null() => value.as_bool().ok_or(PeekError::WrongType {
                param: "stream",
                expected: "a boolean",
                got: value.kind(),
            })?,
            _ => false,
        };
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
            output: self.output,
            alternatives: self.alternatives,
            previous_response: self.previous_response,
            service_tier: self.service_tier,
            has_envelope: self.has_envelope,
        })
    }
}

impl Output {
    /// `name` is in lower case: a limit that a provider may read counts in whatever case.
    fn member(&mut self, name: &str, value: RawValue<'_>) {
        match name {
            "max_tokens" => self.max_tokens = value.as_u64(),
            "max_completion_tokens" => self.max_completion_tokens = value.as_u64(),
            "max_output_tokens" => self.max_output_tokens = value.as_u64(),
            "n" => self.n = value.as_u64().unwrap_or(0),
            "best_of" => self.best_of = value.as_u64().unwrap_or(0),
            "prompt" => {
                // A list of numbers is one prompt, in tokens.
                let is_text = |item: &RawValue<'_>| matches!(item.kind(), RawKind::String | RawKind::Array);
                self.prompts = value.elements().filter(|(item, _)| is_text(item)).count() as u64;
            }
            _ => {}
        }
    }
}

impl From<PeekError> for Error {
    fn from(e: PeekError) -> Error {
        match e {
            PeekError::Empty => Error::client(Kind::InvalidJson, "the request body is empty; send a JSON object"),
            PeekError::Json(fault) => {
                Error::client(Kind::InvalidJson, format!("the request body is not valid JSON: {fault}"))
            }
            PeekError::OtherType(what) => Error::client(Kind::InvalidJson, format!("the request body {what}")),
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
            PeekError::TwoModels => {
                let note = "the request names `model` more than once; name one model, in one field `model`";
                Error::client(Kind::InvalidRequest, note).param("model")
            }
            PeekError::Twice(field) => {
                let note = format!("`{field}` appears more than once in the request; send it once");
                Error::client(Kind::InvalidRequest, note).param(field)
            }
            PeekError::WrongType { param, expected, got } => {
                Error::client(Kind::InvalidType, format!("`{param}` must be {expected}, but it is {}", got.name()))
                    .param(param)
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Errors in shapes that no format defines: of gateways, frameworks and hosts that imitate a format
//! in its answers only.
//!
//! Such an object comes under status 200 as a whole body, or in the place of a chunk. Whoever takes
//! it for an answer reports success to the client. This is the one place that knows the shapes. It
//! serves streams, whole answers and the choice of the next provider.

use super::read_error::ReadError;
use crate::json::{RawKind, RawStr, RawValue};

/// Names of a message beside `message`, at the top of an object or inside its error.
///
/// `error_msg`: Baidu. `detail`: FastAPI. `errorMessage`: AWS Lambda. `Message`: Tencent and AWS.
/// `faultstring`: Apigee. `status_msg`: MiniMax. `title`: RFC 9457. `msg`, `reason` and the rest:
/// frameworks.
const MESSAGES: &[&str] = &[
    "message",
    "error_msg",
    "error_message",
    "errorMessage",
    "msg",
    "detail",
    "Message",
    "err_msg",
    "errmsg",
    "faultstring",
    "status_msg",
    "description",
    "error_description",
    "reason",
    "title",
    "exception",
    "body",
];

/// Names of a code. A code that means success makes the object no error.
const CODES: &[&str] = &[
    "code",
    "error_code",
    "errorCode",
    "Code",
    "err_code",
    "errcode",
    "status_code",
    "statusCode",
    "status",
    "errorType",
    "__type",
];

/// The object around an error.
///
/// `base_resp`: MiniMax. `ResponseMetadata`: Volcengine. `header`: Spark.
const WRAPPERS: &[&str] =
    &["error", "errors", "Error", "fault", "base_resp", "detail", "err", "ResponseMetadata", "header"];

/// Chooses between the format's own reading of an object, and [`any_shape`]. Returns `None` for
/// answers, which `is_answer` recognises, and for objects that say nothing.
pub(crate) fn recognize<'a>(
    own: Option<ReadError<'a>>,
    is_answer: impl FnOnce(RawValue<'_>) -> bool,
    value: RawValue<'a>,
) -> Option<ReadError<'a>> {
    match own {
        // The format's own shape, with the message in a place of its own.
        Some(read) if read.message.is_empty() => any_shape(value).or(Some(read)),
        Some(read) => Some(read),
        None if is_answer(value) => None,
        None => any_shape(value),
    }
}

/// Returns whether the string under `key` begins with `start`.
pub(crate) fn starts_with(value: RawValue<'_>, key: &str, start: &[u8]) -> bool {
    value.find(key).and_then(RawValue::as_str).is_some_and(|word| word.as_bytes().starts_with(start))
}

/// Returns whether the type of an object, or the name of an event, is that of an error: `error`,
/// `server_error`, `ThrottlingException`. Other types that are not known may be tomorrow's events.
pub(crate) fn names_error(kind: &[u8]) -> bool {
    let kind = kind.to_ascii_lowercase();
    let has = |word: &[u8]| memchr::memmem::find(&kind, word).is_some();
    has(b"error") || has(b"exception")
}

/// Reads the data of an event that is named an error: its text may stand anywhere.
pub(crate) fn error_event(value: RawValue<'_>) -> Option<ReadError<'_>> {
    let text = || value.as_str().map(|message| ReadError { message, ..ReadError::default() });
    any_shape(value).or_else(text).or_else(|| first_text(value))
}

/// Reads an object that is known to be no answer. Returns `None` if it contains no error.
pub fn any_shape(value: RawValue<'_>) -> Option<ReadError<'_>> {
    read(value, 0)
}

/// Reads the value of `error`: a text, an object, or a list of either.
pub(crate) fn of_error(value: RawValue<'_>) -> Option<ReadError<'_>> {
    match value.kind() {
        RawKind::String | RawKind::Object => {
            let own = ReadError::from_value(value)?;
            if own.message.is_empty() && value.is_object() { read(value, 1).or(Some(own)) } else { Some(own) }
        }
        RawKind::Array => value.elements().find_map(|(element, _)| of_error(element)),
        _ => None,
    }
}

/// Reads an `error` that is a string, in the object around it. If it is a code, which is a single
/// word, the string beside it is the message (RFC 6749: `error_description`). If both are
/// sentences, the longer one is the message, and of two of one length the one beside it: the other
/// is a title (NestJS and Spring: `{"error":"Bad Request","message":"..."}`).
pub(crate) fn beside<'a>(object: RawValue<'a>, error: RawValue<'a>) -> Option<ReadError<'a>> {
    const BESIDE: [&str; 6] = ["message", "error_description", "error_message", "error_msg", "msg", "detail"];
    let short = error.as_str()?;
    let is_code = !short.as_bytes().contains(&b' ');
    let says_more = |text: &RawStr<'_>| *text != short && (is_code || text.len() >= short.len()) && !text.is_empty();
    let long = BESIDE.iter().find_map(|name| object.find(name)?.as_str().filter(says_more));
    Some(match long {
        Some(message) => ReadError { message, r#type: Some(short), ..ReadError::default() },
        None => ReadError { message: short, ..ReadError::default() },
    })
}

/// Returns whether a value under `error` is one: hosts write `false`, `""` and `[]` beside answers.
pub(crate) fn is_error(value: RawValue<'_>) -> bool {
    match value.kind() {
        RawKind::Null => false,
        RawKind::Bool => value.as_bool() == Some(true),
        RawKind::String => value.as_str().is_some_and(|text| !text.is_empty()),
        RawKind::Array => value.elements().next().is_some(),
        _ => true,
    }
}

/// Deeper than this nothing is looked for.
const DEPTH_MAX: usize = 3;

fn read(value: RawValue<'_>, depth: usize) -> Option<ReadError<'_>> {
    if depth > DEPTH_MAX {
        return None;
    }
    if value.kind() == RawKind::Array {
        return value.elements().find_map(|(element, _)| read(element, depth + 1));
    }
    if !value.is_object() {
        return None;
    }
    let code = CODES.iter().find_map(|name| value.find(name)).and_then(word);
    let kind = value.find("type").and_then(RawValue::as_str);
    for name in WRAPPERS {
        let Some(inner) = value.find(name).filter(|inner| is_error(*inner)) else { continue };
        let found = match inner.kind() {
            RawKind::String => beside(value, inner),
            RawKind::Array => inner.elements().find_map(|(first, _)| match first.as_str() {
                Some(message) => Some(ReadError { message, ..ReadError::default() }),
                None => read(first, depth + 1),
            }),
            // Frameworks list the messages of each field.
            _ => read(inner, depth + 1).or_else(|| (*name == "errors").then(|| first_text(inner)).flatten()),
        };
        if let Some(found) = found {
            return Some(ReadError { code: found.code.or(code), r#type: found.r#type.or(kind), ..found });
        }
    }
    let message = MESSAGES.iter().find_map(|name| value.find(name).and_then(RawValue::as_str));
    let message = message.filter(|message| !message.is_empty());
    let failed = value.find("error").is_some_and(|error| error.as_bool() == Some(true))
        || value.find("success").is_some_and(|success| success.as_bool() == Some(false));
    match message {
        Some(_) if !failed && code.is_some_and(is_well) => None,
        Some(message) => Some(ReadError { message, r#type: kind, code, param: None }),
        None if failed => Some(ReadError { code, r#type: kind, ..ReadError::default() }),
        // Tencent puts answers and errors alike under one name, others what was to be streamed.
        None => value.find("Response").and_then(|inner| read(inner, depth + 1)).or_else(|| {
            let inner = ["response", "data", "result"].iter().filter_map(|name| value.find(name));
            let failed = |inner: &RawValue<'_>| inner.find("error").is_some_and(is_error);
            let found = inner.filter(|inner| failed(inner)).find_map(|inner| read(inner, depth + 1));
            found.or_else(|| named_member(value, depth))
        }),
    }
}

/// Reads an object under the name of an error: events of Bedrock (`internalServerException`).
fn named_member(value: RawValue<'_>, depth: usize) -> Option<ReadError<'_>> {
    let mut members = value.members().filter(|(_, inner, _)| inner.is_object());
    let (name, inner, _) = members.find(|(name, ..)| names_error(name.as_bytes()))?;
    let found = read(inner, depth + 1)?;
    Some(ReadError { r#type: found.r#type.or(Some(name)), ..found })
}

/// Returns the first text among the members of an object, or in their lists. Its kind and the ids
/// of a request are no message.
fn first_text(value: RawValue<'_>) -> Option<ReadError<'_>> {
    let is_label = |key: RawStr<'_>| matches!(key.as_bytes(), b"type" | b"id" | b"request_id");
    let message = value.members().filter(|(key, ..)| !is_label(*key)).find_map(|(_, value, _)| {
        let first = value.elements().next().map_or(value, |(first, _)| first);
        first.as_str().filter(|text| !text.is_empty())
    })?;
    Some(ReadError { message, ..ReadError::default() })
}

/// Returns a string, or a number as it is written.
fn word(value: RawValue<'_>) -> Option<RawStr<'_>> {
    match value.kind() {
        RawKind::Number => Some(RawStr::new(value.bytes())),
        _ => value.as_str(),
    }
}

/// Returns whether a code is one of success.
fn is_well(code: RawStr<'_>) -> bool {
    [&b"0"[..], b"200", b"ok", b"OK", b"success", b"SUCCESS", b"Success"].contains(&code.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::shown;
    use crate::format::Format;
    use crate::formats::errors::recognize;

    #[test]
    fn shapes_of_hosts() {
        #[rustfmt::skip]
        let rows: &[(&str, Option<&str>)] = &[
            (r#"{"detail":"m"}"#, Some("m - -")),
            (r#"{"detail":[{"loc":["body"],"msg":"m","type":"missing"}]}"#, Some("m missing -")),
            (r#"{"detail":{"message":"m","code":3}}"#, Some("m - 3")),
            (r#"{"detail":{"error":"m"}}"#, Some("m - -")),
            (r#"{"message":"m","code":"c"}"#, Some("m - c")),
            (r#"{"message":"m"}"#, Some("m - -")),
            (r#"{"id":"x","message":"m","code":500}"#, Some("m - 500")),
            (r#"{"errors":[{"message":"m","code":7}]}"#, Some("m - 7")),
            (r#"{"errors":["m"],"status":"failed"}"#, Some("m - failed")),
            (r#"{"errors":{"message":"m"}}"#, Some("m - -")),
            (r#"{"errors":{"model":["m","n"],"n":["o"]}}"#, Some("m - -")),
            (r#"{"response":{"error":{"message":"m"}}}"#, Some("m - -")),
            (r#"{"data":{"error":"m"}}"#, Some("m - -")),
            (r#"{"type":"exception","exception":"m"}"#, Some("m exception -")),
            (r#"{"statusCode":500,"body":"m"}"#, Some("m - 500")),
            (r#"{"error_msg":"m","error_code":17}"#, Some("m - 17")),
            (r#"{"error":true,"message":"m"}"#, Some("m - -")),
            (r#"{"error":"m"}"#, Some("m - -")),
            (r#"{"error":["m"]}"#, Some("m - -")),
            (r#"{"error":{"msg":"m"}}"#, Some("m - -")),
            (r#"{"error":"t","message":"the message"}"#, Some("the message t -")),
            (r#"{"statusCode":400,"error":"Bad Request","message":"the message"}"#, Some("the message Bad Request 400")),
            (r#"{"error":"invalid_client","error_description":"the message"}"#, Some("the message invalid_client -")),
            (r#"{"error":"the message","message":"t"}"#, Some("the message - -")),
            (r#"{"ResponseMetadata":{"Error":{"Code":"C","Message":"m"}}}"#, Some("m - C")),
            (r#"{"header":{"code":10013,"message":"m"}}"#, Some("m - 10013")),
            (r#"{"internalServerException":{"message":"m"}}"#, Some("m internalServerException -")),
            (r#"{"error":{"error":{"message":"m"}}}"#, Some("m - -")),
            (r#"{"type":"error","message":"m"}"#, Some("m error -")),
            (r#"{"success":false,"message":"m"}"#, Some("m - -")),
            (r#"{"success":false}"#, Some(" - -")),
            (r#"{"status":"error","msg":"m"}"#, Some("m - error")),
            (r#"{"type":"about:blank","title":"t","status":503,"detail":"m"}"#, Some("m about:blank 503")),
            (r#"{"fault":{"faultstring":"m","detail":{"errorcode":"c"}}}"#, Some("m - -")),
            (r#"{"Response":{"Error":{"Code":"C","Message":"m"},"RequestId":"r"}}"#, Some("m - C")),
            (r#"{"errorMessage":"m","errorType":"T"}"#, Some("m - T")),
            (r#"{"__type":"T","message":"m"}"#, Some("m - T")),
            (r#"{"base_resp":{"status_code":1004,"status_msg":"m"}}"#, Some("m - 1004")),
            (r#"[{"error":{"code":429,"message":"m"}}]"#, Some("m - 429")),
            // No errors.
            (r#"{"base_resp":{"status_code":0,"status_msg":"success"}}"#, None),
            (r#"{"code":200,"msg":"success","data":{}}"#, None),
            (r#"{"message":{"role":"assistant","content":"x"}}"#, None),
            (r#"{"error":false}"#, None),
            (r#"{"type":"ping"}"#, None),
            (r#"{"data":{"message":"m"}}"#, None),
            (r#"{"response":{"status":"completed","error":null}}"#, None),
            ("{}", None),
            ("[]", None),
            ("7", None),
        ];
        for (body, expected) in rows {
            let value = RawValue::new(body.as_bytes());
            assert_eq!(shown(any_shape(value)).as_deref(), *expected, "{body}");
        }
    }

    #[test]
    fn answers_are_no_errors() {
        let rows = [
            (Format::Chat, r#"{"choices":[],"message":"m"}"#),
            (Format::Chat, r#"{"object":"chat.completion.chunk","detail":"m"}"#),
            (Format::Messages, r#"{"type":"message","message":"m","content":[]}"#),
            (Format::Messages, r#"{"type":"novel","message":"m"}"#),
            (Format::Responses, r#"{"object":"response","error":null,"detail":"m"}"#),
            (Format::Responses, r#"{"type":"response.novel","message":"m"}"#),
        ];
        for (format, body) in rows {
            assert_eq!(recognize(format, RawValue::new(body.as_bytes())), None, "{format} {body}");
        }
        for format in Format::ALL {
            let typed = r#"{"message":"m","type":"server_error"}"#;
            for body in [r#"{"detail":"m"}"#, r#"{"message":"m","code":1}"#, r#"{"error_msg":"m"}"#, typed] {
                assert!(recognize(format, RawValue::new(body.as_bytes())).is_some(), "{format} {body}");
            }
        }
    }
}

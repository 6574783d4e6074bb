//! The messages of OTLP (opentelemetry-proto 1.x, `trace.proto`) that the gateway sends, as
//! protocol buffers.
//!
//! They are a few messages of a few fields, written by hand: the crate that generates them brings
//! an SDK, an implementation of derive macros and some twelve crates more. The tests read what is
//! written here with that crate.

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Flag(bool),
    Number(i64),
    Float(f64),
    Texts(Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeyValue {
    pub key: String,
    pub value: Value,
}

/// `SpanKind`; the numbers are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SpanKind {
    Server = 2,
    Client = 3,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent_span_id: Option<[u8; 8]>,
    pub name: String,
    pub kind: SpanKind,
    pub start_time_unix_nano: u64,
    pub end_time_unix_nano: u64,
    pub attributes: Vec<KeyValue>,
    /// The message of status `Error`; `None` leaves the status unset.
    pub error: Option<String>,
}

/// `STATUS_CODE_ERROR`.
const ERROR: u64 = 2;
/// `SpanFlags`: the trace is sampled.
const SAMPLED: u32 = 1;

/// Encodes an `ExportTraceServiceRequest` with one resource and one scope, which is this program.
pub(super) fn export_request<'a>(resource: &[KeyValue], spans: impl Iterator<Item = &'a Span>) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, 1, |resource_spans| {
        message(resource_spans, 1, |out| attributes(out, 1, resource));
        message(resource_spans, 2, |scope_spans| {
            message(scope_spans, 1, |scope| {
                bytes(scope, 1, b"llm-proxy");
                bytes(scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for one in spans {
                message(scope_spans, 2, |out| span(out, one));
            }
        });
    });
    out
}

/// Returns `partial_success.rejected_spans` of an `ExportTraceServiceResponse`. 0 if it is not
/// there, or if the body is not such a response: then all were taken, as the status says.
pub(super) fn rejected_spans(response: &[u8]) -> i64 {
    let partial_success = field(response, 1).and_then(|found| found.message());
    let rejected = partial_success.and_then(|inside| field(inside, 1)?.varint());
    rejected.map_or(0, u64::cast_signed)
}

fn span(out: &mut Vec<u8>, span: &Span) {
    bytes(out, 1, &span.trace_id);
    bytes(out, 2, &span.span_id);
    if let Some(parent) = &span.parent_span_id {
        bytes(out, 4, parent);
    }
    bytes(out, 5, span.name.as_bytes());
    number(out, 6, span.kind as u64);
    fixed64(out, 7, span.start_time_unix_nano);
    fixed64(out, 8, span.end_time_unix_nano);
    attributes(out, 9, &span.attributes);
    if let Some(error) = &span.error {
        message(out, 15, |status| {
            bytes(status, 2, error.as_bytes());
            number(status, 3, ERROR);
        });
    }
    tag(out, 16, FIXED32);
    out.extend_from_slice(&SAMPLED.to_le_bytes());
}

fn attributes(out: &mut Vec<u8>, at: u32, attributes: &[KeyValue]) {
    for KeyValue { key, value } in attributes {
        message(out, at, |pair| {
            bytes(pair, 1, key.as_bytes());
            message(pair, 2, |out| any_value(out, value));
        });
    }
}

/// `AnyValue` is a choice, so that a false, a 0 or an empty text is written too.
fn any_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(text) => bytes(out, 1, text.as_bytes()),
        Value::Flag(flag) => number(out, 2, u64::from(*flag)),
        Value::Number(n) => number(out, 3, n.cast_unsigned()),
        Value::Float(n) => fixed64(out, 4, n.to_bits()),
        Value::Texts(texts) => message(out, 5, |array| {
            for text in texts {
                message(array, 1, |value| bytes(value, 1, text.as_bytes()));
            }
        }),
    }
}

// --- the encoding: https://protobuf.dev/programming-guides/encoding

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

fn tag(out: &mut Vec<u8>, at: u32, kind: u32) {
    varint(out, u64::from(at << 3 | kind));
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn number(out: &mut Vec<u8>, at: u32, n: u64) {
    tag(out, at, VARINT);
    varint(out, n);
}

fn fixed64(out: &mut Vec<u8>, at: u32, n: u64) {
    tag(out, at, FIXED64);
    out.extend_from_slice(&n.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, at: u32, content: &[u8]) {
    tag(out, at, LENGTH);
    varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Its length goes before it, so that it is written aside first. Messages are nested five deep.
fn message(out: &mut Vec<u8>, at: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inside = Vec::new();
    write(&mut inside);
    bytes(out, at, &inside);
}

enum Found<'a> {
    Varint(u64),
    Message(&'a [u8]),
    Other,
}

impl<'a> Found<'a> {
    fn message(self) -> Option<&'a [u8]> {
        if let Found::Message(inside) = self { Some(inside) } else { None }
    }

    fn varint(self) -> Option<u64> {
        if let Found::Varint(n) = self { Some(n) } else { None }
    }
}

/// The last value of field `at`, which is the one that counts. `None` if it is missing or the input
/// is malformed.
fn field(mut input: &[u8], at: u64) -> Option<Found<'_>> {
    let mut last = None;
    while !input.is_empty() {
        let (key, rest) = read_varint(input)?;
        let (found, rest) = match (key & 7) as u32 {
            VARINT => read_varint(rest).map(|(n, rest)| (Found::Varint(n), rest))?,
            FIXED64 => (Found::Other, rest.get(8..)?),
            FIXED32 => (Found::Other, rest.get(4..)?),
            LENGTH => {
                let (length, rest) = read_varint(rest)?;
                let (inside, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Found::Message(inside), rest)
            }
            _ => return None,
        };
        if key >> 3 == at {
            last = Some(found);
        }
        input = rest;
    }
    last
}

fn read_varint(input: &[u8]) -> Option<(u64, &[u8])> {
    let mut n = 0;
    for (at, byte) in input.iter().take(10).enumerate() {
        n |= u64::from(byte & 0x7f) << (7 * at).min(63);
        if byte & 0x80 == 0 {
            return Some((n, &input[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    };
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Theirs;
    use prost::Message;

    use super::*;

    fn pair(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.to_owned(), value }
    }

    #[test]
    fn requests_are_read_as_written() {
        let values = vec![
            pair("text", Value::Text("é".repeat(100))),
            pair("empty", Value::Text(String::new())),
            pair("flag", Value::Flag(false)),
            pair("zero", Value::Number(0)),
            pair("most", Value::Number(i64::MAX)),
            pair("below", Value::Number(-1)),
            pair("float", Value::Float(0.25)),
            pair("texts", Value::Texts(vec!["a".to_owned(), String::new()])),
        ];
        let span = Span {
            trace_id: [7; 16],
            span_id: [8; 8],
            parent_span_id: Some([9; 8]),
            name: "POST /v1/messages".to_owned(),
            kind: SpanKind::Client,
            start_time_unix_nano: u64::MAX,
            end_time_unix_nano: 1,
            attributes: values,
            error: Some("timeout".to_owned()),
        };
        let root = Span { parent_span_id: None, kind: SpanKind::Server, error: None, ..span.clone() };
        let resource = [pair("service.name", Value::Text("gateway".to_owned()))];
        let encoded = export_request(&resource, [&root, &span].into_iter());

        let read = ExportTraceServiceRequest::decode(encoded.as_slice()).unwrap();
        assert_eq!(read.encode_to_vec(), encoded, "fields are in the order of their numbers, and none is unknown");
        let of_resource = &read.resource_spans[0];
        assert_eq!(of_resource.resource.as_ref().unwrap().attributes[0].key, "service.name");
        let scope = &of_resource.scope_spans[0];
        assert_eq!(scope.scope.as_ref().unwrap().name, "llm-proxy");
        let [first, second] = scope.spans.as_slice() else { panic!("{scope:?}") };
        assert_eq!((first.kind, second.kind), (2, 3));
        assert_eq!((first.parent_span_id.len(), first.status.is_none(), first.flags), (0, true, 1));
        assert_eq!((&second.trace_id[..], &second.span_id[..]), (&[7; 16][..], &[8; 8][..]));
        assert_eq!((&second.parent_span_id[..], second.name.as_str()), (&[9; 8][..], "POST /v1/messages"));
        assert_eq!((second.start_time_unix_nano, second.end_time_unix_nano), (u64::MAX, 1));
        let status = second.status.as_ref().unwrap();
        assert_eq!((status.code, status.message.as_str()), (2, "timeout"));
        let read: Vec<Theirs> =
            second.attributes.iter().map(|pair| pair.value.clone().unwrap().value.unwrap()).collect();
        let [Theirs::StringValue(text), Theirs::StringValue(empty), rest @ ..] = read.as_slice() else {
            panic!("{read:?}")
        };
        assert_eq!((text.chars().count(), empty.as_str()), (100, ""));
        let numbers = [
            Theirs::BoolValue(false),
            Theirs::IntValue(0),
            Theirs::IntValue(i64::MAX),
            Theirs::IntValue(-1),
            Theirs::DoubleValue(0.25),
        ];
        assert_eq!(rest[..5], numbers);
        let Theirs::ArrayValue(texts) = &rest[5] else { panic!("{rest:?}") };
        assert_eq!(texts.values.len(), 2);
    }

    #[test]
    fn responses_are_read() {
        for rejected in [0, 1, 300, i64::MAX] {
            let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message: "too old".to_owned() };
            let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
            assert_eq!(rejected_spans(&response), rejected);
            for end in 0..response.len() {
                // A cut one is no statement about spans, and no panic.
                let _ = rejected_spans(&response[..end]);
            }
        }
        assert_eq!(rejected_spans(b""), 0);
        assert_eq!(rejected_spans(b"{}"), 0);
        assert_eq!(rejected_spans(&[0xff; 40]), 0);
    }
}

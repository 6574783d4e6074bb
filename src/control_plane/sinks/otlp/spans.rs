//! Makes spans from a record: one for the request, as a server sees it, and below it one for each
//! attempt, as a client of a provider sees it.
//!
//! Names follow the semantic conventions of HTTP and of generative AI. Tokens are on the attempt
//! that got a response and nowhere else, since backends add them up over all spans. Bodies and
//! headers are not exported.

use std::ops::Range;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use crate::config::snapshot::Provider;
use crate::control_plane::records::drain::Directory;
use crate::telemetry::capture::Attempt;
use crate::telemetry::record::{Outcome, Record};
use crate::telemetry::trace::{Context, REQUEST};
use llm_wire::Format;
use llm_wire::target::quirks::Host;

/// Returns the spans, that of the request first.
pub(super) fn of(record: &Record, trace: &Context, directory: &Directory) -> Vec<Span> {
    let mut spans = vec![of_request(record, trace, directory)];
    let attempts = record.detail.as_ref().map_or(&[][..], |detail| &detail.attempts);
    for (at, attempt) in attempts.iter().enumerate() {
        let last = at + 1 == attempts.len();
        spans.push(of_attempt(record, trace, at as u64 + 1, (attempt, last), directory));
    }
    spans
}

fn of_request(record: &Record, trace: &Context, directory: &Directory) -> Span {
    let mut attributes = vec![
        text("http.request.method", record.method),
        number("http.response.status_code", u64::from(record.status)),
        text("llm_proxy.request_id", record.request_id.as_str()),
        number("llm_proxy.attempts", u64::from(record.attempts)),
        text("llm_proxy.client", record.user_agent.name()),
        flag("llm_proxy.stream", record.stream),
        number("llm_proxy.request_bytes", record.request_bytes),
        number("llm_proxy.response_bytes", record.response_bytes),
    ];
    if !record.endpoint.is_empty() {
        attributes.push(text("http.route", record.endpoint));
        attributes.push(text("url.path", record.endpoint));
    }
    attributes.extend(operation(record.endpoint).map(|name| text("gen_ai.operation.name", name)));
    if !record.model.as_str().is_empty() {
        attributes.push(text("gen_ai.request.model", record.model.as_str()));
    }
    attributes.extend(directory.credential(record.credential).map(|name| text("llm_proxy.credential", name)));
    if record.first_content_us > 0 {
        attributes.push(float("llm_proxy.time_to_first_token", record.first_content_us as f64 / 1e6));
    }
    if let Some(cost) = record.total_cost() {
        attributes.push(float("llm_proxy.cost_dollars", cost as f64 / 1e9));
    }
    attributes.extend(record.stream_defect.map(|defect| text("llm_proxy.stream_defect", defect.label())));
    let error = ended_by(record);
    attributes.extend(error.map(|label| text("error.type", label)));
    let status = match record.outcome {
        // A client that disconnects or sends a wrong request is no failure of the server.
        Outcome::ClientDisconnected => None,
        _ if record.status < 500 && !matches!(record.outcome, Outcome::Truncated(_)) => None,
        _ => Some(failure(error.unwrap_or_default())),
    };
    let name = format!("{} {}", record.method, record.endpoint);
    Span {
        parent_span_id: trace.parent.map_or_else(Vec::new, |parent| parent.span.to_be_bytes().to_vec()),
        name: name.trim_end().to_owned(),
        kind: SpanKind::Server.into(),
        status,
        ..span(record, trace, REQUEST, 0..record.total_us, attributes)
    }
}

fn of_attempt(
    record: &Record,
    trace: &Context,
    number_of: u64,
    (attempt, last): (&Attempt, bool),
    directory: &Directory,
) -> Span {
    let provider = directory.provider(attempt.provider);
    let operation = operation(record.endpoint);
    let mut attributes = vec![
        text("http.request.method", "POST"),
        text("gen_ai.request.model", attempt.model.as_str()),
        number("http.request.resend_count", number_of - 1),
        text("llm_proxy.format", attempt.format.name()),
    ];
    attributes.extend(operation.map(|name| text("gen_ai.operation.name", name)));
    if let Some(provider) = provider {
        let name = provider_name(provider, attempt.format);
        attributes.push(text("gen_ai.provider.name", name));
        // The older name of the attribute, which many backends still read.
        attributes.push(text("gen_ai.system", name));
        attributes.push(text("llm_proxy.provider", &provider.key));
        attributes.push(text("server.address", &provider.base.host));
        attributes.push(number("server.port", u64::from(provider.base.port)));
    }
    if attempt.status > 0 {
        attributes.push(number("http.response.status_code", u64::from(attempt.status)));
    }
    let error = match &attempt.failure {
        Some((kind, _)) => Some(kind.row().label.to_owned()),
        None if attempt.status >= 400 => Some(attempt.status.to_string()),
        None if last => ended_by(record).map(str::to_owned),
        None => None,
    };
    if !attempt.answered_by.as_str().is_empty() {
        attributes.push(text("gen_ai.response.model", attempt.answered_by.as_str()));
    }
    if last && attempt.failure.is_none() {
        attributes.extend(of_answer(record));
    }
    attributes.extend(error.as_ref().map(|label| text("error.type", label)));
    let failed = error.filter(|_| record.outcome != Outcome::ClientDisconnected || attempt.failure.is_some());
    // An attempt that was repeated without something has no end of its own.
    let end = [attempt.ended_us, if last { record.total_us } else { 0 }, attempt.first_byte_us, attempt.began_us];
    let end = end.into_iter().find(|end| *end > 0).unwrap_or(0);
    Span {
        parent_span_id: trace.span(REQUEST).to_be_bytes().to_vec(),
        name: format!("{} {}", operation.unwrap_or("ask"), attempt.model.as_str()),
        kind: SpanKind::Client.into(),
        status: failed.map(|label| failure(&label)),
        ..span(record, trace, number_of, attempt.began_us..end, attributes)
    }
}

/// Returns the attributes of a model's response.
fn of_answer(record: &Record) -> Vec<KeyValue> {
    let mut attributes = Vec::new();
    if let Some(tokens) = record.tokens {
        attributes.push(number("gen_ai.usage.input_tokens", tokens.input));
        attributes.push(number("gen_ai.usage.output_tokens", tokens.output));
        let rare = [
            ("gen_ai.usage.cache_read.input_tokens", tokens.cache_read),
            ("gen_ai.usage.cache_creation.input_tokens", tokens.cache_write()),
            ("llm_proxy.usage.reasoning_tokens", tokens.reasoning),
        ];
        attributes.extend(rare.into_iter().filter(|(_, n)| *n > 0).map(|(key, n)| number(key, n)));
    }
    if let Some(reason) = record.finish {
        let reasons = ArrayValue { values: vec![AnyValue { value: Some(Value::StringValue(reason.to_owned())) }] };
        attributes.push(pair("gen_ai.response.finish_reasons", Value::ArrayValue(reasons)));
    }
    attributes
}

/// Makes a span. `time` is in microseconds since the begin of the request.
fn span(record: &Record, trace: &Context, number: u64, time: Range<u64>, attributes: Vec<KeyValue>) -> Span {
    let at = |us: u64| record.started_us.saturating_add(us).saturating_mul(1000);
    Span {
        trace_id: trace.trace.to_be_bytes().to_vec(),
        span_id: trace.span(number).to_be_bytes().to_vec(),
        // The flag for a sampled trace.
        flags: 1,
        start_time_unix_nano: at(time.start),
        end_time_unix_nano: at(time.end.max(time.start)),
        attributes,
        ..Span::default()
    }
}

/// Returns the operation as the conventions name it. `None` for requests that involve no model.
fn operation(endpoint: &str) -> Option<&'static str> {
    match endpoint {
        "/v1/chat/completions" | "/v1/messages" | "/v1/responses" => Some("chat"),
        "/v1/completions" => Some("text_completion"),
        "/v1/embeddings" => Some("embeddings"),
        _ => None,
    }
}

/// Returns the provider's name in the conventions, if they have one. The operator of an unknown
/// server is guessed from its format, as they advise.
fn provider_name(provider: &Provider, format: Format) -> &'static str {
    match provider.dialect.host {
        Host::Unknown if format.profile().vendor == Host::Anthropic => "anthropic",
        Host::Unknown => "openai",
        Host::Azure => "azure.ai.openai",
        Host::Bedrock => "aws.bedrock",
        Host::Vertex => "gcp.vertex_ai",
        Host::Mistral => "mistral_ai",
        Host::Xai => "x_ai",
        host => host.name(),
    }
}

/// Returns the label of a request's failure, if it failed.
fn ended_by(record: &Record) -> Option<&'static str> {
    match record.outcome {
        Outcome::Complete => None,
        Outcome::ClientDisconnected => Some("client_gone"),
        Outcome::Failed(kind) | Outcome::Truncated(kind) => Some(kind.row().label),
    }
}

/// The provider's message is left out: it may repeat the conversation.
fn failure(label: &str) -> Status {
    Status { message: label.to_owned(), code: StatusCode::Error.into() }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    pair(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn float(key: &str, value: f64) -> KeyValue {
    pair(key, Value::DoubleValue(value))
}

fn flag(key: &str, value: bool) -> KeyValue {
    pair(key, Value::BoolValue(value))
}

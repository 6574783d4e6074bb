//! Finished requests and failed attempts as the admin interface gives them.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::numbers::dollars;
use crate::control_plane::admin::field_values::Micros;
use crate::control_plane::store::logs::{ErrorRow, RequestRow};
use crate::telemetry::user_agent::UserAgent;

/// A finished request
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::control_plane::admin) struct LogEntry {
    id: i64,
    timestamp: Micros,
    request_id: String,
    endpoint: Option<String>,
    credential_name: Option<String>,
    model_requested: Option<String>,
    model_mapped: Option<String>,
    provider_name: Option<String>,
    provider_type: Option<String>,
    client_protocol: Option<String>,
    provider_protocol: Option<String>,
    is_streaming: bool,
    status_code: Option<i64>,
    input_tokens: i64,
    output_tokens: i64,
    total_tokens: i64,
    total_duration_ms: Option<i64>,
    ttft_ms: Option<i64>,
    error_category: Option<String>,
    error_message: Option<String>,
    /// The client program, by its User-Agent
    client: Option<&'static str>,
    /// Cost in dollars, where prices are known
    cost: Option<f64>,
    /// The session that the client named
    session: Option<String>,
    /// The tags that the client named
    tags: Vec<String>,
}

/// A finished request with headers and bodies
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::control_plane::admin) struct LogDetail {
    #[serde(flatten)]
    entry: LogEntry,
    /// Keys masked, long texts cut
    request_headers: Option<String>,
    /// With REQUEST_LOG_BODY_ENABLED
    request_body: Option<String>,
    response_body: Option<String>,
    /// Where the time went (`stages`), each attempt at a provider (`attempts`), what the
    /// translation left out (`dropped`) and repaired (`repaired`), what was wrong with a stream
    /// that came to its end (`stream_defect`: `malformed_event` or `no_end_mark`), sizes; times are
    /// in milliseconds
    #[schemars(with = "Option<serde_json::Value>")]
    trace: Option<Box<RawValue>>,
}

impl LogEntry {
    pub(super) fn of(row: &RequestRow) -> LogEntry {
        let row = row.clone();
        LogEntry {
            id: row.id,
            timestamp: Micros(row.timestamp),
            request_id: row.request_id,
            endpoint: row.endpoint,
            credential_name: row.credential_name,
            model_requested: row.model_requested,
            model_mapped: row.model_mapped,
            provider_name: row.provider_name,
            provider_type: row.provider_type,
            client_protocol: row.client_protocol,
            provider_protocol: row.provider_protocol,
            is_streaming: row.is_streaming,
            status_code: row.status_code,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            total_tokens: row.total_tokens,
            total_duration_ms: row.total_duration_ms,
            ttft_ms: row.ttft_ms,
            error_category: row.error_category,
            error_message: row.error_message,
            client: row.request_headers.as_deref().map(program),
            cost: row.cost.map(dollars),
            session: row.session,
            tags: row
                .tags
                .iter()
                .flat_map(|tags| tags.split(','))
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

impl LogDetail {
    pub(super) fn of(mut row: RequestRow) -> LogDetail {
        let entry = LogEntry::of(&row);
        let [request_headers, request_body, response_body] =
            [&mut row.request_headers, &mut row.request_body, &mut row.response_body].map(Option::take);
        LogDetail { entry, request_headers, request_body, response_body, trace: row.trace.and_then(raw) }
    }
}

/// JSON of a column. What is none is left out.
fn raw(text: String) -> Option<Box<RawValue>> {
    RawValue::from_string(text).ok()
}

fn program(headers: &str) -> &'static str {
    let headers: serde_json::Value = serde_json::from_str(headers).unwrap_or_default();
    // Rows of llm-proxy v1 have the path as the client wrote it.
    let agent =
        headers.as_object().and_then(|all| all.iter().find(|(name, _)| name.eq_ignore_ascii_case("user-agent")));
    UserAgent::of(agent.and_then(|(_, value)| value.as_str()).unwrap_or_default().as_bytes()).name()
}

/// A failed attempt at a provider
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::control_plane::admin) struct ErrorEntry {
    id: i64,
    timestamp: Micros,
    request_id: String,
    error_category: String,
    error_code: Option<i64>,
    error_message: Option<String>,
    provider_name: Option<String>,
    credential_name: Option<String>,
    model_requested: Option<String>,
    model_mapped: Option<String>,
    endpoint: Option<String>,
    client_protocol: Option<String>,
    provider_protocol: Option<String>,
    is_streaming: bool,
    /// Time up to the end of this attempt
    total_duration_ms: Option<i64>,
    client: Option<String>,
}

/// A failed attempt at a provider with headers and bodies
#[derive(Debug, Serialize, JsonSchema)]
pub(in crate::control_plane::admin) struct ErrorDetail {
    #[serde(flatten)]
    entry: ErrorEntry,
    provider_api_base: Option<String>,
    response_status_code: Option<i64>,
    /// Keys masked, long texts cut
    #[schemars(with = "Option<serde_json::Value>")]
    request_headers: Option<Box<RawValue>>,
    /// With REQUEST_LOG_BODY_ENABLED, as the other bodies
    #[schemars(with = "Option<serde_json::Value>")]
    request_body: Option<Box<RawValue>>,
    #[schemars(with = "Option<serde_json::Value>")]
    response_body: Option<Box<RawValue>>,
    #[schemars(with = "Option<serde_json::Value>")]
    provider_request_body: Option<Box<RawValue>>,
    #[schemars(with = "Option<serde_json::Value>")]
    provider_request_headers: Option<Box<RawValue>>,
}

impl ErrorEntry {
    pub(super) fn of(row: &ErrorRow) -> ErrorEntry {
        let row = row.clone();
        ErrorEntry {
            id: row.id,
            timestamp: Micros(row.timestamp),
            request_id: row.request_id,
            error_category: row.error_category,
            error_code: row.error_code,
            error_message: row.error_message,
            provider_name: row.provider_name,
            credential_name: row.credential_name,
            model_requested: row.model_requested,
            model_mapped: row.mapped_model,
            endpoint: row.endpoint,
            client_protocol: row.client_protocol,
            provider_protocol: row.provider_protocol,
            is_streaming: row.is_streaming,
            total_duration_ms: row.total_duration_ms,
            client: row.client,
        }
    }
}

impl ErrorDetail {
    pub(super) fn of(row: ErrorRow) -> ErrorDetail {
        ErrorDetail {
            entry: ErrorEntry::of(&row),
            provider_api_base: row.provider_api_base,
            response_status_code: row.response_status_code,
            request_headers: row.request_headers.and_then(raw),
            request_body: row.request_body.and_then(raw),
            response_body: row.response_body.and_then(raw),
            provider_request_body: row.provider_request_body.and_then(raw),
            provider_request_headers: row.provider_request_headers.and_then(raw),
        }
    }
}

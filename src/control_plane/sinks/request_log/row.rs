//! Makes rows from a record: one of `request_logs`, and one of `error_logs` for each failed
//! attempt.

use serde_json::{Map, Value};

use crate::config::snapshot::{Credential, Provider};
use crate::control_plane::records::drain::Directory;
use crate::control_plane::sinks::request_log::{shorten, trace};
use crate::control_plane::store::logs::{ErrorRow, RequestRow};
use crate::route::affinity::SESSION_HEADERS;
use crate::telemetry::capture::{Attempt, Detail, SharedOrOwned};
use crate::telemetry::record::{Outcome, Record};
use llm_wire::Format;
use llm_wire::error::Kind;

/// Characters of a column of names.
const NAME: usize = 255;
/// Characters of an address.
const BASE: usize = 500;
/// Characters of a message.
const MESSAGE: usize = 2000;

/// Returns whether a record gets a row. A request without a valid key does not: anyone could fill
/// the table with them.
pub(super) fn is_logged(record: &Record) -> bool {
    record.client_format.is_some() && record.outcome != Outcome::Failed(Kind::Auth)
}

/// Returns the category of an error. `None` for a success.
pub(super) fn category(record: &Record) -> Option<&'static str> {
    let status = record.detail.as_ref().and_then(|detail| detail.attempts.last()).map_or(0, |attempt| attempt.status);
    match record.outcome {
        Outcome::ClientDisconnected => Some("client_disconnect"),
        Outcome::Truncated(Kind::UpstreamTimeout) => Some("timeout"),
        Outcome::Truncated(_) => Some("stream_error"),
        Outcome::Failed(kind) if record.attempts == 0 => Some(own(kind)),
        Outcome::Failed(kind) => Some(of_provider(kind, status)),
        Outcome::Complete if record.status < 400 => None,
        Outcome::Complete if record.attempts == 0 => Some("client_error"),
        Outcome::Complete => Some(by_status(if status >= 400 { status } else { record.status })),
    }
}

/// Returns the category of a request that failed without a provider.
fn own(kind: Kind) -> &'static str {
    match kind.row().status {
        504 => "timeout",
        500.. => "internal_error",
        _ => "client_error",
    }
}

/// Returns the category of a failed attempt. `status` is the provider's, 0 without a response.
fn of_provider(kind: Kind, status: u16) -> &'static str {
    match kind {
        Kind::UpstreamTimeout => "timeout",
        Kind::UpstreamConnect => "connect_error",
        Kind::UpstreamTruncated => "stream_error",
        Kind::Internal => "internal_error",
        _ if status >= 400 => by_status(status),
        Kind::UpstreamFault if status == 0 => "network_error",
        // An error event in a response with status 200.
        Kind::UpstreamFault | Kind::Overloaded => "provider_5xx",
        Kind::RateLimit | Kind::UpstreamAuth | Kind::Billing => "provider_4xx",
        _ => own(kind),
    }
}

fn by_status(status: u16) -> &'static str {
    if status < 500 { "provider_4xx" } else { "provider_5xx" }
}

pub(super) fn request(record: &Record, directory: &Directory, bodies: bool) -> RequestRow {
    let provider = directory.provider(record.provider);
    let detail = record.detail.as_deref();
    let tokens = record.tokens.unwrap_or_default();
    let headers = detail.map(|detail| shorten::headers(&detail.head));
    let header = |name: &str| headers.as_ref()?.get(name)?.as_str();
    let shown = detail.filter(|_| bodies);
    RequestRow {
        id: 0,
        timestamp: record.started_us as i64,
        request_id: shorten::plain(record.request_id.as_str()).into_owned(),
        endpoint: Some(record.endpoint.to_owned()),
        credential_name: credential(record, directory),
        model_requested: name(record.model.as_str()),
        model_mapped: name(record.sent_model.as_str()),
        provider_name: provider.and_then(|provider| name(&provider.key)),
        provider_type: provider.and_then(|provider| clipped(&provider.provider_type, 50)),
        client_protocol: record.client_format.map(protocol),
        provider_protocol: record.provider_format.map(protocol),
        is_streaming: record.stream,
        status_code: Some(i64::from(record.status)),
        input_tokens: number(tokens.input),
        output_tokens: number(tokens.output),
        total_tokens: number(tokens.total()),
        total_duration_ms: Some(number(record.total_us / 1000)),
        ttft_ms: (record.first_content_us > 0).then(|| number(record.first_content_us / 1000)),
        error_category: category(record).map(str::to_owned),
        error_message: detail.filter(|_| category(record).is_some()).and_then(message),
        request_body: shown.and_then(|detail| detail.body.as_ref()).map(|body| shorten::body(body).to_string()),
        response_body: shown.and_then(answer).map(|answer| answer.to_string()),
        cost: record.total_cost().map(|cost| i64::try_from(cost).unwrap_or(i64::MAX)),
        session: SESSION_HEADERS.iter().find_map(|name| header(name)).and_then(name),
        tags: header("x-llm-proxy-tags").and_then(tags),
        trace: trace::trace(record, directory),
        request_headers: headers.map(|headers| Value::Object(headers).to_string()),
    }
}

/// Returns tags as the column has them: in order, with a comma around each, so that one can be
/// found.
fn tags(list: &str) -> Option<String> {
    let mut tags: Vec<_> = list.split(',').map(str::trim).filter(|tag| !tag.is_empty()).collect();
    tags.sort_unstable();
    tags.dedup();
    let tags = clipped(&tags.join(","), NAME)?;
    Some(format!(",{tags},"))
}

/// Returns what the client got.
fn answer(detail: &Detail) -> Option<Value> {
    match &detail.response {
        SharedOrOwned::Own(body) => Some(shorten::answer(body)),
        SharedOrOwned::Same => detail.attempts.last()?.response.as_ref().map(shorten::answer),
        SharedOrOwned::Absent => None,
    }
}

/// Returns why an attempt failed, or the provider's own message in what it answered.
fn attempt_message(attempt: &Attempt) -> Option<&str> {
    let failure = attempt.failure.as_ref().map(|(_, text)| text);
    failure.or(attempt.provider_message.as_ref()).map(|text| &**text)
}

fn message(detail: &Detail) -> Option<String> {
    clipped(detail.error.as_deref().or_else(|| attempt_message(detail.attempts.last()?))?, MESSAGE)
}

/// Returns the failed attempts: those with an error status, save 429, which is a limit; and those
/// without a response.
pub(super) fn errors(record: &Record, directory: &Directory, bodies: bool) -> Vec<ErrorRow> {
    let Some(detail) = record.detail.as_deref() else { return Vec::new() };
    let last = detail.attempts.len().wrapping_sub(1);
    let mut rows = Vec::new();
    for (at, attempt) in detail.attempts.iter().enumerate() {
        let kind = attempt.failure.as_ref().map(|(kind, _)| *kind);
        let category = match (kind, record.outcome) {
            _ if attempt.status == 429 => continue,
            (Some(Kind::ClientGone), _) => continue,
            (Some(kind), _) => of_provider(kind, attempt.status),
            (None, Outcome::Truncated(_)) if at == last => "stream_error",
            (None, _) if attempt.status >= 400 => by_status(attempt.status),
            (None, _) => continue,
        };
        let message = attempt_message(attempt);
        let message = message.or_else(|| detail.error.as_deref().filter(|_| at == last));
        let row = ErrorRow {
            error_message: message.and_then(|text| clipped(text, MESSAGE)),
            total_duration_ms: Some(number(attempt.ended_us / 1000)),
            ..common(record, detail, directory, category, bodies)
        };
        rows.push(of_attempt(row, attempt, detail, directory, bodies));
    }
    // An internal error gets a row too.
    if detail.attempts.is_empty() && record.outcome == Outcome::Failed(Kind::Internal) {
        rows.push(common(record, detail, directory, "internal_error", bodies));
    }
    rows
}

fn common(record: &Record, detail: &Detail, directory: &Directory, category: &'static str, bodies: bool) -> ErrorRow {
    ErrorRow {
        timestamp: record.started_us as i64,
        request_id: shorten::plain(record.request_id.as_str()).into_owned(),
        error_category: category.to_owned(),
        error_code: Some(i64::from(record.status)),
        error_message: message(detail),
        endpoint: Some(record.endpoint.to_owned()),
        client_protocol: record.client_format.map(protocol),
        request_headers: Some(Value::Object(shorten::headers(&detail.head)).to_string()),
        request_body: detail.body.as_ref().filter(|_| bodies).map(|body| shorten::body(body).to_string()),
        model_requested: name(record.model.as_str()),
        total_duration_ms: Some(number(record.total_us / 1000)),
        credential_name: credential(record, directory),
        client: Some(record.user_agent.name().to_owned()),
        is_streaming: record.stream,
        ..ErrorRow::default()
    }
}

fn of_attempt(row: ErrorRow, attempt: &Attempt, detail: &Detail, directory: &Directory, bodies: bool) -> ErrorRow {
    let provider = directory.provider(attempt.provider);
    let status = (attempt.status > 0).then(|| i64::from(attempt.status));
    let sent = match &attempt.request {
        SharedOrOwned::Own(cut) => Some(cut),
        SharedOrOwned::Same => detail.body.as_ref(),
        SharedOrOwned::Absent => None,
    };
    let received = attempt.response.as_ref().filter(|_| bodies);
    ErrorRow {
        error_code: status.or(row.error_code),
        provider_name: provider.and_then(|provider| name(&provider.key)),
        provider_api_base: provider.and_then(|provider| clipped(&base(provider), BASE)),
        provider_protocol: Some(protocol(attempt.format)),
        mapped_model: name(attempt.model.as_str()),
        response_status_code: status,
        response_body: received.map(|body| shorten::answer(body).to_string()),
        provider_request_body: sent.filter(|_| bodies).map(|cut| shorten::body(cut).to_string()),
        provider_request_headers: provider.map(|provider| headers(attempt, detail, provider).to_string()),
        ..row
    }
}

/// Returns the headers that the provider got, as far as they help: never a value from the
/// configuration.
fn headers(attempt: &Attempt, detail: &Detail, provider: &Provider) -> Value {
    let mut all = Map::new();
    all.insert("url".to_owned(), format!("{}{}", base(provider), attempt.path).into());
    all.insert("content-type".to_owned(), "application/json".into());
    let forwarded = attempt.format.profile().http.version_headers;
    if !forwarded.is_empty() {
        let clients = shorten::headers(&detail.head);
        for name in forwarded {
            all.extend(clients.get(*name).map(|value| ((*name).to_owned(), value.clone())));
        }
    }
    let at = provider.formats.iter().position(|format| *format == attempt.format);
    let auth = at.and_then(|at| provider.auth.get(at));
    auth.into_iter().chain([&provider.extra_headers]).for_each(|lines| shorten::masked(lines, &mut all));
    Value::Object(all)
}

/// Returns the URL without its query, which may hold a key.
fn base(provider: &Provider) -> String {
    let base = &provider.base;
    format!("{}://{}{}", if base.tls { "https" } else { "http" }, base.authority, base.path)
}

fn credential(record: &Record, directory: &Directory) -> Option<String> {
    match record.credential {
        0 => Some(Credential::ANONYMOUS.to_owned()),
        id => name(directory.credential(id)?),
    }
}

fn protocol(format: Format) -> String {
    format.protocol().to_owned()
}

fn name(text: &str) -> Option<String> {
    clipped(text, NAME)
}

/// Returns at most `most` characters. `None` for an empty text.
fn clipped(text: &str, most: usize) -> Option<String> {
    (!text.is_empty()).then(|| shorten::plain(text).chars().take(most).collect())
}

/// Limits a number to the range of the column.
fn number(n: u64) -> i64 {
    i64::from(i32::try_from(n).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::records::drain::tests::record;
    use crate::telemetry::capture::CaptureConfig;
    use crate::telemetry::record::Short;

    #[test]
    fn categories() {
        let detail = |status| {
            let mut detail = Detail::new(CaptureConfig { detail: true, ..CaptureConfig::default() }, b"").unwrap();
            let attempt = Attempt::new(9, Format::Chat, Short::EMPTY, "/x", 0);
            detail.begin_attempt(Attempt { status, ..attempt });
            Some(detail)
        };
        let rows = [
            (Outcome::Complete, 1, 200, 200, None),
            (Outcome::Complete, 1, 400, 400, Some("provider_4xx")),
            (Outcome::Complete, 1, 529, 503, Some("provider_5xx")),
            (Outcome::ClientDisconnected, 1, 200, 499, Some("client_disconnect")),
            (Outcome::Truncated(Kind::UpstreamTruncated), 1, 200, 200, Some("stream_error")),
            (Outcome::Truncated(Kind::UpstreamTimeout), 1, 200, 200, Some("timeout")),
            (Outcome::Failed(Kind::UpstreamConnect), 1, 0, 502, Some("connect_error")),
            (Outcome::Failed(Kind::UpstreamTimeout), 1, 0, 504, Some("timeout")),
            (Outcome::Failed(Kind::UpstreamFault), 1, 0, 502, Some("network_error")),
            (Outcome::Failed(Kind::UpstreamFault), 1, 200, 502, Some("provider_5xx")),
            (Outcome::Failed(Kind::UpstreamAuth), 1, 401, 502, Some("provider_4xx")),
            (Outcome::Failed(Kind::RateLimit), 0, 0, 429, Some("client_error")),
            (Outcome::Failed(Kind::ModelNotFound), 0, 0, 404, Some("client_error")),
            (Outcome::Failed(Kind::NoUpstream), 0, 0, 503, Some("internal_error")),
            (Outcome::Failed(Kind::Internal), 1, 0, 500, Some("internal_error")),
        ];
        for (outcome, attempts, error, status, expected) in rows {
            let record = Record { outcome, attempts, status, detail: detail(error), ..record("r") };
            assert_eq!(category(&record), expected, "{outcome:?} {error}");
        }
    }

    #[test]
    fn unauthenticated_requests_write_no_rows() {
        let stranger = Record { outcome: Outcome::Failed(Kind::Auth), ..record("r") };
        let listing = Record { client_format: None, ..record("r") };
        assert!(is_logged(&record("r")) && !is_logged(&stranger) && !is_logged(&listing));
    }
}

//! `/logs` and `/error-logs`: finished requests and failures, as the tables of the store have them.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::{Duration, timeout};

use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::field_values::Micros;
use crate::control_plane::admin::parameter::{Kind, Parameter};
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json};
use crate::control_plane::store::Answer;
use crate::control_plane::store::logs::{ErrorRow, Filter, Listing, Query, RequestRow, Row, Tables, Value, Which};
use crate::telemetry::user_agent::UserAgent;

/// Longest wait for the store.
const STORE: Duration = Duration::from_secs(60);
/// Rows of a page.
const MAX_PAGE_SIZE: i64 = 200;
const DEFAULT_PAGE_SIZE: i64 = 50;
/// Ids in one removal.
const AT_ONCE: usize = 1000;

pub(super) const fn text(name: &'static str) -> Parameter {
    Parameter { name, help: "only entries with exactly this value", kind: Kind::Text }
}

pub(super) const FROM: Parameter = Parameter {
    name: "start_time",
    help: "only entries from this time on, such as 2030-01-31T00:00:00Z",
    kind: Kind::Moment,
};
pub(super) const TO: Parameter =
    Parameter { name: "end_time", help: "only entries up to this time", kind: Kind::Moment };
const PAGE: Parameter =
    Parameter { name: "page", help: "number of the page, from 1", kind: Kind::Number(1, u32::MAX as i64) };
const SIZE: Parameter =
    Parameter { name: "page_size", help: "entries of a page, 50 by default", kind: Kind::Number(1, MAX_PAGE_SIZE) };
const ORDER: Parameter = Parameter {
    name: "sort_order",
    help: "order of the entries, desc by default",
    kind: Kind::Choice(&["desc", "asc"]),
};
const SORTS: &[&str] =
    &["timestamp", "status_code", "total_duration_ms", "total_tokens", "input_tokens", "output_tokens"];
const ERROR_SORTS: &[&str] = &["timestamp", "error_category", "total_duration_ms"];

pub(super) const LIST: &[Parameter] = &[
    PAGE,
    SIZE,
    text("request_id"),
    text("provider_name"),
    Parameter { name: "model", help: "the model as the client named it", kind: Kind::Text },
    text("credential_name"),
    Parameter { name: "status_code", help: "only entries with exactly this value", kind: Kind::Number(100, 599) },
    Parameter { name: "is_streaming", help: "only streams, or only whole responses", kind: Kind::Flag },
    Parameter {
        name: "error_only",
        help: "only entries with a status from 400 on or an error category",
        kind: Kind::Flag,
    },
    FROM,
    TO,
    Parameter {
        name: "sort_by",
        help: "column that the entries are sorted by, timestamp by default",
        kind: Kind::Choice(SORTS),
    },
    ORDER,
];

pub(super) const STATS: &[Parameter] = &[
    FROM,
    TO,
    text("provider_name"),
    Parameter { name: "model", help: "the model as the client named it", kind: Kind::Text },
];

pub(super) const ERRORS: &[Parameter] = &[
    PAGE,
    SIZE,
    text("request_id"),
    text("provider_name"),
    text("error_category"),
    FROM,
    TO,
    Parameter {
        name: "sort_by",
        help: "column that the entries are sorted by, timestamp by default",
        kind: Kind::Choice(ERROR_SORTS),
    },
    ORDER,
];

body! {
    /// The entries to remove.
    BatchDelete {
        required ids: Vec<i64> = "ids of the entries, at most 1000";
    }
}

/// The number of removed entries
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Deleted {
    deleted: u64,
}

/// A part of a list
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Paged<T> {
    items: Vec<T>,
    /// Number of entries in all pages
    total: i64,
    page: i64,
    page_size: i64,
    total_pages: i64,
}

/// A finished request
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LogEntry {
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
}

/// A finished request with headers and bodies
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LogDetail {
    #[serde(flatten)]
    entry: LogEntry,
    /// Keys masked, long texts cut
    request_headers: Option<String>,
    /// With REQUEST_LOG_BODY_ENABLED
    request_body: Option<String>,
    response_body: Option<String>,
}

impl LogEntry {
    fn of(row: &RequestRow) -> LogEntry {
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
        }
    }
}

fn program(headers: &str) -> &'static str {
    let headers: serde_json::Value = serde_json::from_str(headers).unwrap_or_default();
    // Rows of llm-proxy v1 have the path as the client wrote it.
    let agent =
        headers.as_object().and_then(|all| all.iter().find(|(name, _)| name.eq_ignore_ascii_case("user-agent")));
    UserAgent::of(agent.and_then(|(_, value)| value.as_str()).unwrap_or_default().as_bytes()).name()
}

pub(super) fn dollars(billionths: i64) -> f64 {
    billionths as f64 / 1e9
}

/// Sums over finished requests
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct LogStats {
    total_requests: i64,
    /// A status from 400 on, or an error category
    total_errors: i64,
    /// From 0 to 1, with four digits
    error_rate: f64,
    total_input_tokens: i64,
    total_output_tokens: i64,
    avg_duration_ms: Option<f64>,
    avg_ttft_ms: Option<f64>,
    /// Durations of whole requests, within about 20 %; null without any
    duration_ms: Option<Percentiles>,
    /// Times to the first token of streams, within about 20 %; null without any
    ttft_ms: Option<Percentiles>,
    /// Cost in dollars of the requests whose prices are known
    total_cost: f64,
    /// The most frequent 1000, as below
    requests_by_provider: BTreeMap<String, i64>,
    requests_by_model: BTreeMap<String, i64>,
    requests_by_status: BTreeMap<String, i64>,
}

/// Milliseconds that so many percent of the requests stayed below
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(super) struct Percentiles {
    p50: f64,
    p90: f64,
    p99: f64,
}

impl Percentiles {
    /// Returns a percentile of classes, each with its upper bound and the number of requests in it.
    fn of(classes: &[(i64, i64)]) -> Option<Percentiles> {
        let total: i64 = classes.iter().map(|(_, count)| count).sum();
        let at = |share: f64| {
            let target = share * total as f64;
            let mut below = 0.0;
            for (bound, count) in classes {
                let count = *count as f64;
                // Bounds are about 1.4 times the one before; the last class has no bound.
                let (low, high) = match *bound {
                    i64::MAX => (655_360.0, 655_360.0),
                    bound => (bound as f64 / 1.42, bound as f64),
                };
                if below + count >= target {
                    return (low + (high - low) * (target - below) / count).round();
                }
                below += count;
            }
            0.0
        };
        (total > 0).then(|| Percentiles { p50: at(0.5), p90: at(0.9), p99: at(0.99) })
    }
}

/// A failed attempt at a provider
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ErrorEntry {
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
pub(super) struct ErrorDetail {
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
    fn of(row: &ErrorRow) -> ErrorEntry {
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

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let filter = requests_filter(&req, true)?;
    page::<RequestRow, _>(&context, &req, SORTS, filter, LogEntry::of).await
}

pub(super) async fn errors(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let mut filter = period(&req)?;
    for name in ["request_id", "provider_name", "error_category"] {
        equal::<ErrorRow>(&mut filter, name, req.query(name).map(Value::Text));
    }
    page::<ErrorRow, _>(&context, &req, ERROR_SORTS, filter, ErrorEntry::of).await
}

pub(super) async fn stats(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let filter = requests_filter(&req, false)?;
    let stats = answer(&context, tables(&context)?.stats(filter)).await?;
    let rate = stats.errors as f64 / stats.requests.max(1) as f64;
    json(
        200,
        &LogStats {
            total_requests: stats.requests,
            total_errors: stats.errors,
            error_rate: (rate * 10_000.0).round() / 10_000.0,
            total_input_tokens: stats.input_tokens,
            total_output_tokens: stats.output_tokens,
            avg_duration_ms: stats.duration_ms,
            avg_ttft_ms: stats.ttft_ms,
            duration_ms: Percentiles::of(&stats.durations),
            ttft_ms: Percentiles::of(&stats.ttfts),
            total_cost: dollars(stats.cost),
            requests_by_provider: stats.by_provider.into_iter().collect(),
            requests_by_model: stats.by_model.into_iter().collect(),
            requests_by_status: stats.by_status.into_iter().collect(),
        },
    )
}

pub(super) async fn get(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let mut row: RequestRow = one(&context, &req).await?;
    let entry = LogEntry::of(&row);
    let [request_headers, request_body, response_body] =
        [&mut row.request_headers, &mut row.request_body, &mut row.response_body].map(Option::take);
    json(200, &LogDetail { entry, request_headers, request_body, response_body })
}

pub(super) async fn get_error(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let row: ErrorRow = one(&context, &req).await?;
    let entry = ErrorEntry::of(&row);
    let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
    json(
        200,
        &ErrorDetail {
            entry,
            provider_api_base: row.provider_api_base,
            response_status_code: row.response_status_code,
            request_headers: raw(row.request_headers),
            request_body: raw(row.request_body),
            response_body: raw(row.response_body),
            provider_request_body: raw(row.provider_request_body),
            provider_request_headers: raw(row.provider_request_headers),
        },
    )
}

pub(super) async fn remove(context: Arc<Context>, req: AdminRequest) -> Outcome {
    remove_one::<RequestRow>(&context, &req).await
}

pub(super) async fn remove_error(context: Arc<Context>, req: AdminRequest) -> Outcome {
    remove_one::<ErrorRow>(&context, &req).await
}

pub(super) async fn batch(context: Arc<Context>, req: AdminRequest) -> Outcome {
    remove_many::<RequestRow>(&context, &req).await
}

pub(super) async fn batch_errors(context: Arc<Context>, req: AdminRequest) -> Outcome {
    remove_many::<ErrorRow>(&context, &req).await
}

async fn page<R: Row, T: Serialize>(
    context: &Context,
    req: &AdminRequest,
    sorts: &'static [&'static str],
    filter: Filter,
    show: impl Fn(&R) -> T,
) -> Outcome {
    let page = req.number("page", 1, i64::from(u32::MAX))?.unwrap_or(1);
    let page_size = req.number("page_size", 1, MAX_PAGE_SIZE)?.unwrap_or(DEFAULT_PAGE_SIZE);
    let sort = req.choice("sort_by", sorts)?.unwrap_or("timestamp");
    let descending = req.choice("sort_order", &["desc", "asc"])? != Some("asc");
    // The names are those of columns.
    let Some(sort) = R::column(sort) else { return Err(Refusal::missing("column", 0)) };
    let query = Query { table: R::TABLE, filter, sort, descending, skip: (page - 1) * page_size, take: page_size };
    let Listing { total, lines } = answer(context, tables(context)?.list(query)).await?;
    let items = lines.into_iter().map(|(id, values)| show(&R::of(id, values))).collect();
    let total_pages = total.unsigned_abs().div_ceil(page_size.unsigned_abs()) as i64;
    json(200, &Paged { items, total, page, page_size, total_pages })
}

fn requests_filter(req: &AdminRequest, whole: bool) -> Result<Filter, Refusal> {
    let mut filter = period(req)?;
    equal::<RequestRow>(&mut filter, "provider_name", req.query("provider_name").map(Value::Text));
    equal::<RequestRow>(&mut filter, "model_requested", req.query("model").map(Value::Text));
    if whole {
        for name in ["request_id", "credential_name"] {
            equal::<RequestRow>(&mut filter, name, req.query(name).map(Value::Text));
        }
        equal::<RequestRow>(&mut filter, "status_code", req.number("status_code", 100, 599)?.map(Value::Number));
        equal::<RequestRow>(&mut filter, "is_streaming", req.flag("is_streaming")?.map(Value::Flag));
        filter.failed = req.flag("error_only")?.unwrap_or(false);
    }
    Ok(filter)
}

pub(super) fn period(req: &AdminRequest) -> Result<Filter, Refusal> {
    let micros = |seconds: i64| seconds.saturating_mul(1_000_000);
    // The last second counts as a whole: rows have fractions of seconds.
    let to = req.time("end_time")?.map(|seconds| micros(seconds) + 999_999);
    Ok(Filter { from: req.time("start_time")?.map(micros), to, ..Filter::default() })
}

pub(super) fn equal<R: Row>(filter: &mut Filter, name: &str, value: Option<Value>) {
    // PostgreSQL takes no U+0000, and no row has one.
    let value = value.map(|value| match value {
        Value::Text(text) => Value::Text(text.replace('\0', "\u{fffd}")),
        other => other,
    });
    filter.equal.extend(R::column(name).zip(value));
}

async fn one<R: Row>(context: &Context, req: &AdminRequest) -> Result<R, Refusal> {
    let found = answer(context, tables(context)?.get(R::TABLE, req.id)).await?;
    found.map(|(id, values)| R::of(id, values)).ok_or_else(|| missing::<R>(req.id))
}

async fn remove_one<R: Row>(context: &Context, req: &AdminRequest) -> Outcome {
    match answer(context, tables(context)?.remove(R::TABLE, Which::Ids(vec![req.id]))).await? {
        0 => Err(missing::<R>(req.id)),
        _ => empty(),
    }
}

async fn remove_many<R: Row>(context: &Context, req: &AdminRequest) -> Outcome {
    let BatchDelete { ids } = req.body()?;
    if ids.len() > AT_ONCE {
        let message = format!("ids has {} ids, the most at once are {AT_ONCE}", ids.len());
        return Err(Refusal::invalid(message, Some("ids".to_owned())));
    }
    json(200, &Deleted { deleted: answer(context, tables(context)?.remove(R::TABLE, Which::Ids(ids))).await? })
}

fn missing<R: Row>(id: i64) -> Refusal {
    Refusal::missing(&format!("row in {}", R::TABLE.name), id)
}

pub(super) fn tables(context: &Context) -> Result<&dyn Tables, Refusal> {
    context.store.tables().ok_or_else(|| {
        let message =
            "the configuration is a file, which has no tables for logs and prices; use the embedded store or DB_URL";
        Refusal::new(409, "no_tables", message)
    })
}

pub(super) async fn answer<T>(context: &Context, answer: Answer<'_, T>) -> Result<T, Refusal> {
    context.check_store().await?;
    match timeout(STORE, answer).await {
        Ok(answer) => Ok(answer?),
        Err(_) => {
            let message = format!("the store did not answer within {} s; ask for a shorter time", STORE.as_secs());
            Err(Refusal::new(503, "store_unavailable", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        assert_eq!(Percentiles::of(&[]), None);
        let all = Percentiles::of(&[(10, 50), (100, 49), (i64::MAX, 1)]).unwrap();
        assert_eq!((all.p50, all.p99), (10.0, 100.0));
        assert!(all.p90 > 70.0 && all.p90 < 100.0, "{all:?}");
    }
}

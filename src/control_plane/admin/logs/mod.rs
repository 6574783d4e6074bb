//! `/logs` and `/error-logs`: finished requests and failures, as the tables of the store have them.

mod numbers;
mod read;
mod summary;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::parameter::{Kind, Parameter};
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json};
use crate::control_plane::store::logs::{
    COUNTED, Cursor, ErrorRow, Filter, Listing, Query, RequestRow, Row, Start, Value, Which,
};
use crate::rfc3339;

use numbers::Percentiles;

pub(super) use numbers::dollars;
pub(super) use read::{answer, tables};
pub(super) use summary::{LogSummary, SUMMARY, summary};
pub(super) use view::{ErrorDetail, ErrorEntry, LogDetail, LogEntry};

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
const PAGE: Parameter = Parameter {
    name: "page",
    help: "number of the page, from 1; pages begin within the first 10,000 entries",
    kind: Kind::Number(1, u32::MAX as i64),
};
const CURSOR: Parameter = Parameter {
    name: "cursor",
    help: "`next_cursor` of the answer before, instead of a page: the entries behind its last one; for entries by timestamp",
    kind: Kind::Text,
};
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
    CURSOR,
    SIZE,
    text("request_id"),
    text("provider_name"),
    Parameter { name: "model", help: "the model as the client named it", kind: Kind::Text },
    text("credential_name"),
    text("session"),
    Parameter { name: "tag", help: "only entries with this tag", kind: Kind::Text },
    Parameter { name: "error", help: "only entries whose error message contains this text", kind: Kind::Text },
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
    CURSOR,
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
    /// Number of entries that fit the filters, at most 10,000, wherever this part begins: those
    /// before a `cursor` count too. If they had to be searched for (see `searched_to`), it is the
    /// number of those that were found, and behind a `cursor` none before it counts
    total: i64,
    /// Whether `total` is the number of all entries that fit; false if there are more than 10,000,
    /// or if some were not searched or not counted
    total_is_exact: bool,
    page: i64,
    page_size: i64,
    total_pages: i64,
    /// What to give as `cursor` for the entries behind these; null behind the last one, and for
    /// entries that are not sorted by timestamp
    next_cursor: Option<String>,
    /// The time as far as which entries were searched, in RFC 3339, if the search has ended early:
    /// many entries fit each filter and hardly any fits all, or many have a tag or an error text and
    /// hardly any has the one that is looked for. Then there may be fewer items than fit, or none,
    /// and the search goes on with `next_cursor`
    searched_to: Option<String>,
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
    /// Durations of whole requests, exact up to 3 ms and the median within 20 %; null without any
    duration_ms: Option<Percentiles>,
    /// Times to the first token of streams, likewise; null without any
    ttft_ms: Option<Percentiles>,
    /// Cost in dollars of the requests whose prices are known
    total_cost: f64,
    /// The most frequent 1000, as below
    requests_by_provider: BTreeMap<String, i64>,
    requests_by_model: BTreeMap<String, i64>,
    requests_by_status: BTreeMap<String, i64>,
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
    let row: RequestRow = one(&context, &req).await?;
    json(200, &LogDetail::of(row))
}

pub(super) async fn get_error(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let row: ErrorRow = one(&context, &req).await?;
    json(200, &ErrorDetail::of(row))
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
    let page_size = req.number("page_size", 1, MAX_PAGE_SIZE)?.unwrap_or(DEFAULT_PAGE_SIZE);
    let sort = req.choice("sort_by", sorts)?.unwrap_or("timestamp");
    let descending = req.choice("sort_order", &["desc", "asc"])? != Some("asc");
    // The names are those of columns.
    let Some(sort) = R::column(sort) else { return Err(Refusal::missing("column", 0)) };
    let is_by_time = sort.name == "timestamp";
    let start = start(req, page_size, is_by_time)?;
    let query = Query { table: R::TABLE, filter, sort, descending, start, take: page_size };
    let listing = answer(context, tables(context)?.list(query.clone())).await?;
    let next_cursor = listing.next(&query).map(written);
    let Listing { total, is_partial, searched_to, mut lines } = listing;
    let total_is_exact = total <= COUNTED && !is_partial;
    let page = match start {
        Start::Skip(skip) if skip >= COUNTED && total > COUNTED => return Err(too_deep()),
        Start::Skip(skip) => skip / page_size + 1,
        Start::After(_) => 1,
    };
    let total = total.min(COUNTED);
    lines.truncate(page_size as usize);
    let items = lines.into_iter().map(|(id, values)| show(&R::of(id, values))).collect();
    let total_pages = total.unsigned_abs().div_ceil(page_size.unsigned_abs()) as i64;
    let searched_to = searched_to.map(|us| rfc3339::format(whole_second(us, descending)));
    json(200, &Paged { items, total, total_is_exact, page, page_size, total_pages, next_cursor, searched_to })
}

/// Returns the second as far as which everything was searched, of a time in microseconds: of a list
/// from new to old the next one, since of its own a part was not.
fn whole_second(us: i64, descending: bool) -> i64 {
    us.div_euclid(1_000_000) + i64::from(descending && us.rem_euclid(1_000_000) != 0)
}

/// Where the part of a list begins that is asked for.
fn start(req: &AdminRequest, page_size: i64, is_by_time: bool) -> Result<Start, Refusal> {
    let page = req.number("page", 1, i64::from(u32::MAX))?;
    let Some(text) = req.query("cursor") else { return Ok(Start::Skip((page.unwrap_or(1) - 1) * page_size)) };
    let refusal = |message: &str| Err(Refusal::invalid(message.to_owned(), Some("cursor".to_owned())));
    if page.is_some() {
        return refusal("cursor and page both say where to begin; give one of them");
    }
    if !is_by_time {
        return refusal("cursor is for entries that are sorted by timestamp; use page");
    }
    match read_cursor(&text) {
        Some(cursor) => Ok(Start::After(cursor)),
        None => refusal("cursor must be the next_cursor of another answer"),
    }
}

/// The text of a cursor, of which clients know nothing.
fn written(Cursor { timestamp, id }: Cursor) -> String {
    format!("{timestamp}-{id}")
}

fn read_cursor(text: &str) -> Option<Cursor> {
    let (timestamp, id) = text.split_once('-')?;
    Some(Cursor { timestamp: timestamp.parse().ok()?, id: id.parse().ok()? })
}

fn too_deep() -> Refusal {
    let message = format!(
        "the page begins behind the first {COUNTED} entries; go on from another answer with its next_cursor, or ask for a \
         shorter time with start_time and end_time"
    );
    Refusal::invalid(message, Some("page".to_owned()))
}

fn requests_filter(req: &AdminRequest, whole: bool) -> Result<Filter, Refusal> {
    let mut filter = period(req)?;
    equal::<RequestRow>(&mut filter, "provider_name", req.query("provider_name").map(Value::Text));
    equal::<RequestRow>(&mut filter, "model_requested", req.query("model").map(Value::Text));
    if whole {
        for name in ["request_id", "credential_name", "session"] {
            equal::<RequestRow>(&mut filter, name, req.query(name).map(Value::Text));
        }
        equal::<RequestRow>(&mut filter, "status_code", req.number("status_code", 100, 599)?.map(Value::Number));
        equal::<RequestRow>(&mut filter, "is_streaming", req.flag("is_streaming")?.map(Value::Flag));
        filter.tag = req.query("tag").map(|tag| tag.replace('\0', "\u{fffd}"));
        containing(&mut filter, "error_message", req.query("error"));
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

/// Selects rows of `request_logs` whose column contains a text.
fn containing(filter: &mut Filter, name: &str, text: Option<String>) {
    let text = text.map(|text| text.replace('\0', "\u{fffd}"));
    filter.containing.extend(RequestRow::column(name).zip(text));
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

//! `/prices`: what models cost, as `llm-proxy import-prices` has written it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::config::prices::common;
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::logs::{answer, tables};
use crate::control_plane::admin::paging::Page;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, json};
use crate::control_plane::store::logs::{Filter, PriceRow, Query, Row, Start};

/// The most that are read.
const MAX_ROWS: i64 = 100_000;

/// Dollars per million tokens; null is unknown
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Price {
    id: i64,
    /// A name or a pattern, with or without `PROVIDER/` before it
    model: String,
    input: Option<f64>,
    output: Option<f64>,
    cache_read: Option<f64>,
    cache_write_5m: Option<f64>,
    cache_write_1h: Option<f64>,
    reasoning: Option<f64>,
    /// Other prices, in dollars and by their names in published lists: for long prompts, by tier of
    /// service, of audio and pictures, of a request and of a search
    more: Option<serde_json::Map<String, Value>>,
}

/// Prices, by model
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct PriceList<'a> {
    /// `table`, or `program` while the table is empty: the prices that come with the program
    source: &'static str,
    prices: Vec<&'a Price>,
    #[serde(flatten)]
    page: Page,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    // Its name is that of a column.
    let Some(sort) = PriceRow::column("model") else { return Err(Refusal::missing("column", 0)) };
    let query = Query {
        table: PriceRow::TABLE,
        filter: Filter::default(),
        sort,
        descending: false,
        start: Start::Skip(0),
        take: MAX_ROWS,
    };
    let listing = answer(&context, tables(&context)?.list(query)).await?;
    let searched = req.query("search").unwrap_or_default().to_lowercase();
    let is_empty = listing.lines.is_empty();
    let rows: Vec<PriceRow> = match is_empty {
        true => common().into_iter().map(|(model, price)| PriceRow::priced(model, &price)).collect(),
        false => listing.lines.into_iter().map(|(id, values)| PriceRow::of(id, values)).collect(),
    };
    let prices: Vec<_> = rows
        .into_iter()
        .filter(|row| row.model.to_lowercase().contains(&searched))
        .map(|row| Price {
            id: row.id,
            model: row.model,
            input: row.input,
            output: row.output,
            cache_read: row.cache_read,
            cache_write_5m: row.cache_write_5m,
            cache_write_1h: row.cache_write_1h,
            reasoning: row.reasoning,
            more: row.more.and_then(|more| serde_json::from_str(&more).ok()),
        })
        .collect();
    let (prices, page) = Page::of(&req, prices.iter())?;
    let source = if is_empty { "program" } else { "table" };
    json(200, &PriceList { source, prices, page })
}

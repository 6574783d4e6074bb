//! `/prices`: what models cost, as `llm-proxy import-prices` and the routes here have written it.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::config::prices::{self, common, fields};
use crate::control_plane::admin::body::body;
use crate::control_plane::admin::context::{AuditEntry, Context};
use crate::control_plane::admin::field_values::Text;
use crate::control_plane::admin::logs::{answer, tables};
use crate::control_plane::admin::paging::Page;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json, tagged};
use crate::control_plane::admin::view::audit_text;
use crate::control_plane::store::logs::{Filter, PriceRow, Query, Row, Start};
use crate::control_plane::store::{Change, PriceChange};

/// The most that are read.
const MAX_ROWS: i64 = 100_000;

/// A price: a finite number from 0 on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dollars(f64);

impl<'de> Deserialize<'de> for Dollars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dollars, D::Error> {
        let number = f64::deserialize(deserializer)?;
        let fits = (0.0..=1e9).contains(&number);
        if fits { Ok(Dollars(number)) } else { Err(D::Error::custom("must be a number from 0 to 1000000000")) }
    }
}

impl JsonSchema for Dollars {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Dollars".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1e9 })
    }
}

body! {
    /// The whole price of a model, which replaces the one that it has. Dollars per million tokens.
    PriceSet {
        required model: Text<512> = "a name or a pattern, with or without `PROVIDER/` before it";
        optional input: Dollars = "tokens of the prompt";
        optional output: Dollars = "tokens of the response";
        optional cache_read: Dollars = "tokens read from the provider's cache";
        optional cache_write_5m: Dollars = "tokens written to the cache for 5 minutes";
        optional cache_write_1h: Dollars = "tokens written to the cache for an hour";
        optional reasoning: Dollars = "tokens of reasoning";
        optional more: Map<String, Value> = "other prices, in dollars and by their names in published lists: for long prompts, by tier of service, of audio and pictures, of a request and of a search";
    }
}

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
    more: Option<Map<String, Value>>,
    /// A number that changes with the price; send it in If-Match
    row_version: i64,
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

impl Price {
    fn of(row: PriceRow) -> Price {
        Price {
            id: row.id,
            row_version: version(&row),
            model: row.model,
            input: row.input,
            output: row.output,
            cache_read: row.cache_read,
            cache_write_5m: row.cache_write_5m,
            cache_write_1h: row.cache_write_1h,
            reasoning: row.reasoning,
            more: row.more.and_then(|more| serde_json::from_str(&more).ok()),
        }
    }
}

/// Returns a number that changes with the price, since rows of this table have no version of their
/// own.
fn version(row: &PriceRow) -> i64 {
    let values = PriceRow { id: 0, ..row.clone() }.values();
    let hash = Sha256::digest(format!("{values:?}").as_bytes());
    hash[..6].iter().fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

/// Reads the table.
async fn rows(context: &Context) -> Result<Vec<PriceRow>, Refusal> {
    // Its name is that of a column.
    let Some(sort) = PriceRow::column("model") else { return Err(Refusal::missing("column", 0)) };
    let start = Start::Skip(0);
    let filter = Filter::default();
    let query = Query { table: PriceRow::TABLE, filter, sort, descending: false, start, take: MAX_ROWS };
    let listing = answer(context, tables(context)?.list(query)).await?;
    Ok(listing.lines.into_iter().map(|(id, values)| PriceRow::of(id, values)).collect())
}

/// Returns the rows of the prices that come with the program.
fn of_program() -> Vec<PriceRow> {
    common().into_iter().map(|(model, price)| PriceRow::priced(model, &price)).collect()
}

/// Serves `GET /prices`.
pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let rows = rows(&context).await?;
    let searched = req.query("search").unwrap_or_default().to_lowercase();
    let (source, rows) = if rows.is_empty() { ("program", of_program()) } else { ("table", rows) };
    let found = rows.into_iter().filter(|row| row.model.to_lowercase().contains(&searched));
    let prices: Vec<_> = found.map(Price::of).collect();
    let (prices, page) = Page::of(&req, prices.iter())?;
    json(200, &PriceList { source, prices, page })
}

/// Serves `POST /prices`.
///
/// The first change of an empty table writes the prices of the program into it, which would be out
/// of force otherwise.
pub(super) async fn set(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let row = priced(req.body()?)?;
    let mut known = rows(&context).await?;
    let defaults = if known.is_empty() { of_program() } else { Vec::new() };
    known.extend(defaults.iter().cloned());
    let old = known.iter().find(|known| known.model == row.model);
    check_version(&req, &row.model, old)?;
    // The store checks again as it writes, since others may have written meanwhile.
    let expected = old.filter(|_| names_version(&req)).cloned();
    let old = old.map(|row| audit_text(&Price::of(row.clone()))).unwrap_or_default();
    let new = audit_text(&Price::of(row.clone()));
    let entry = AuditEntry { action: "price.set", object: &row.model, old, new };
    let change = PriceChange { row: row.clone(), expected, defaults };
    let written = context.change(&req, Change::SetPrice(change.into()), entry).await?;
    let price = Price::of(PriceRow { id: written.id, ..row });
    let version = price.row_version;
    Ok(tagged(json(200, &price)?, version))
}

/// Serves `DELETE /prices/{price_id}`.
pub(super) async fn remove(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let known = rows(&context).await?;
    let Some(row) = known.into_iter().find(|row| row.id == req.id) else {
        return Err(Refusal::missing("price", req.id));
    };
    check_version(&req, &row.model, Some(&row))?;
    let old = audit_text(&Price::of(row.clone()));
    let entry = AuditEntry { action: "price.delete", object: &row.model, old, new: None };
    let expected = names_version(&req).then(|| row.clone().into());
    context.change(&req, Change::RemovePrice { id: req.id, expected }, entry).await?;
    empty()
}

/// Returns whether the change is for one version of the row alone.
fn names_version(req: &AdminRequest) -> bool {
    req.if_match().is_ok_and(|allowed| allowed.is_some())
}

fn check_version(req: &AdminRequest, model: &str, row: Option<&PriceRow>) -> Result<(), Refusal> {
    match req.if_match()? {
        Some(allowed) if !row.is_some_and(|row| allowed.contains(&version(row))) => {
            let message = format!(
                "the price of `{model}` is not the one of If-Match any more; read it again and repeat the change"
            );
            Err(Refusal::new(412, "precondition_failed", message))
        }
        _ => Ok(()),
    }
}

fn priced(body: PriceSet) -> Result<PriceRow, Refusal> {
    let refused = |message: String, param: &str| Err(Refusal::invalid(message, Some(param.to_owned())));
    let model = String::from(body.model);
    if model.is_empty() {
        return refused("model must not be empty".to_owned(), "model");
    }
    let more = body.more.unwrap_or_default();
    if let Some(name) = fields::unknown(&more) {
        return refused(
            format!("`more.{name}` is not a known price, or its value is not a number of 0 or more"),
            "more",
        );
    }
    let dollars = |field: Option<Dollars>| field.map(|Dollars(dollars)| dollars);
    let price = prices::Price {
        input: dollars(body.input),
        output: dollars(body.output),
        cache_read: dollars(body.cache_read),
        cache_write_5m: dollars(body.cache_write_5m),
        cache_write_1h: dollars(body.cache_write_1h),
        reasoning: dollars(body.reasoning),
        ..fields::read(&Value::Object(more))
    };
    if price == prices::Price::default() {
        return refused("the price has no amount; remove it instead".to_owned(), "input");
    }
    Ok(PriceRow::priced(model, &price))
}

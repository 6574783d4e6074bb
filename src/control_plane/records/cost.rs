//! Calculates what each request has cost, before the sinks get it: by the metadata of the mapping
//! that served it, or else by the table `prices`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::prices::{Price, PriceTable, Tier, common, fields};
use crate::config::snapshot::{Provider, Snapshot};
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::store::logs::{Filter, PriceRow, Query, Row, Start, Tables};
use crate::control_plane::store::{Answer, Store};
use crate::metrics::names::Family;
use crate::shared::ProcessState;
use crate::shared::labels;
use crate::shared::labels::Names;
use crate::telemetry::record::{Record, Short, Tokens};

/// How long after a write the table is read: it is not while nothing is written, if the store can
/// tell.
const READ_INTERVAL: Duration = Duration::from_secs(5);
/// Rows of the table that are used.
const MAX_ROWS: i64 = 100_000;
/// Prices that are cached. Clients choose the names, so there may be any number.
const MAX_CACHED: usize = 4096;

/// Follows the table `prices` until the receiver is dropped. While it has no row, and without
/// tables, the prices are those that come with the program. Must be called in a tokio runtime.
pub(crate) fn follow(store: &Arc<dyn Store>, shared: &Arc<ProcessState>) -> watch::Receiver<Arc<PriceTable>> {
    let common = Arc::new(table(&[]));
    shared.prices.store(common.clone());
    let (sender, receiver) = watch::channel(common);
    if store.tables().is_some() {
        let (store, shared) = (store.clone(), shared.clone());
        tokio::spawn(async move {
            let mut known = Vec::new();
            while !sender.is_closed()
                && let Some(tables) = store.tables()
            {
                let written = tables.written();
                if let Some(rows) = read(tables).await
                    && rows != known
                {
                    let prices = Arc::new(table(&rows));
                    shared.prices.store(prices.clone());
                    sender.send_replace(prices);
                    known = rows;
                }
                // A store that is gone is reported elsewhere.
                let _ = written.await;
                sleep(READ_INTERVAL).await;
            }
        });
    }
    receiver
}

fn query() -> Option<Query> {
    let sort = PriceRow::column("model")?;
    let filter = Filter::default();
    Some(Query { table: PriceRow::TABLE, filter, sort, descending: false, start: Start::Skip(0), take: MAX_ROWS })
}

/// Reads the table. `None` if the store does not respond, which is reported elsewhere.
async fn read(tables: &dyn Tables) -> Option<Vec<PriceRow>> {
    let listing = tables.list(query()?).await.ok()?;
    Some(listing.lines.into_iter().map(|(id, values)| PriceRow::of(id, values)).collect())
}

/// Reads the table once.
pub fn table_of(tables: &dyn Tables) -> Answer<'_, PriceTable> {
    Box::pin(async move {
        let Some(query) = query() else { return Ok(PriceTable::default()) };
        let lines = tables.list(query).await?.lines;
        let rows: Vec<_> = lines.into_iter().map(|(id, values)| PriceRow::of(id, values)).collect();
        Ok(table(&rows))
    })
}

/// Returns the prices of the rows, or without any those that come with the program.
fn table(rows: &[PriceRow]) -> PriceTable {
    match rows {
        [] => PriceTable::new(common().into_iter()),
        rows => PriceTable::new(rows.iter().map(|row| (row.model.clone(), price(row)))),
    }
}

fn price(row: &PriceRow) -> Price {
    let more = row.more.as_deref().and_then(|more| serde_json::from_str(more).ok());
    Price {
        input: row.input,
        output: row.output,
        cache_read: row.cache_read,
        cache_write_5m: row.cache_write_5m,
        cache_write_1h: row.cache_write_1h,
        reasoning: row.reasoning,
        ..more.map(|more| fields::read(&more)).unwrap_or_default()
    }
}

/// What an attempt has cost.
struct Charged {
    /// Billionths of a dollar.
    billionths: u64,
    /// The length of a prompt from which the applied prices apply.
    above: u64,
}

/// Finds the price of each record, and remembers those that were found.
pub(crate) struct Prices {
    shared: Arc<ProcessState>,
    meter: Arc<ControlPlaneMetrics>,
    table: watch::Receiver<Arc<PriceTable>>,
    /// The generation of the snapshot that `cached` is from.
    generation: u64,
    cached: HashMap<(i64, Short<96>, Short<96>), Option<Arc<Price>>, ahash::RandomState>,
}

impl Prices {
    /// Makes it with the price table, which the store replaces from time to time.
    pub(crate) fn new(
        shared: Arc<ProcessState>,
        meter: Arc<ControlPlaneMetrics>,
        table: watch::Receiver<Arc<PriceTable>>,
    ) -> Prices {
        Prices { shared, meter, table, generation: 0, cached: HashMap::default() }
    }

    /// Sets the cost of a record and of the attempts beside its answer, and counts it.
    pub(crate) fn charge(&mut self, record: &mut Record, snapshot: &Snapshot) {
        if let Some(tokens) = record.tokens
            && let Some(charged) = self.charge_attempt(record, (tokens, 1), snapshot)
        {
            record.cost = Some(charged.billionths);
            record.priced_above = charged.above;
        }
        let Some(mut others) = record.other_usage.take() else { return };
        for other in &mut others {
            let of_answer = (record.provider, record.sent_model, record.tier);
            (record.provider, record.sent_model, record.tier) = (other.provider, other.sent_model, other.tier);
            // A fee for each request is counted for requests, and this is none of its own.
            if let Some(charged) = self.charge_attempt(record, (other.tokens, 0), snapshot) {
                (other.cost, other.priced_above) = (Some(charged.billionths), charged.above);
            }
            (record.provider, record.sent_model, record.tier) = of_answer;
        }
        record.other_usage = Some(others);
    }

    /// Calculates and counts the cost of an attempt at the provider of a record. `None` if it used
    /// no tokens, or has no price. Fees are those of `requests`.
    fn charge_attempt(
        &mut self,
        record: &Record,
        (tokens, requests): (Tokens, u64),
        snapshot: &Snapshot,
    ) -> Option<Charged> {
        let provider = snapshot.provider(record.provider).filter(|_| tokens.total() > 0)?;
        let price = self.price(record, provider, snapshot.generation)?;
        let rates = price.rates(Tier::of(record.tier.as_bytes()), tokens.input);
        let billionths = price.cost_at(&rates, &tokens, requests);
        let max_credentials = self.shared.boot.observe.metrics_max_credentials;
        let labels = labels::of(record, snapshot, &self.shared.model_labels, max_credentials);
        let Names { model, provider, credential } = labels;
        self.meter.with(Family::Cost, &[&model, &provider, &credential], |series| series.add(billionths));
        Some(Charged { billionths, above: rates.above })
    }

    fn price(&mut self, record: &Record, provider: &Provider, generation: u64) -> Option<Arc<Price>> {
        let changed = self.table.has_changed().unwrap_or(false) || self.generation != generation;
        if changed || self.cached.len() >= MAX_CACHED {
            self.cached.clear();
            self.generation = generation;
        }
        let prices = self.table.borrow_and_update().clone();
        let prefix = self.shared.boot.model_prefix.as_deref();
        let key = (record.provider, record.model, record.sent_model);
        let model = record.model.as_str();
        let requested = match (prefix, model.split_once('/')) {
            (Some(prefix), Some((first, rest))) if first == prefix => rest,
            _ => model,
        };
        let found = || {
            let Provider { models, key, provider_type, .. } = provider;
            prices.of(models, key, provider_type, requested, record.sent_model.as_str())
        };
        self.cached.entry(key).or_insert_with(found).clone()
    }
}

//! Calculates what each request has cost, before the sinks get it: by the metadata of the mapping that
//! served it, or else by the table `prices`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::prices::{Price, PriceTable};
use crate::config::snapshot::{Provider, Snapshot};
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::control_plane::store::Store;
use crate::control_plane::store::logs::{Filter, PriceRow, Query, Row, Tables};
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

/// Follows the table `prices` until the receiver is dropped. Without tables the prices stay empty.
/// Must be called in a tokio runtime.
pub(crate) fn follow(store: &Arc<dyn Store>) -> watch::Receiver<Arc<PriceTable>> {
    let (sender, receiver) = watch::channel(Arc::default());
    if store.tables().is_some() {
        let store = store.clone();
        tokio::spawn(async move {
            let mut known = Vec::new();
            while !sender.is_closed()
                && let Some(tables) = store.tables()
            {
                let written = tables.written();
                if let Some(rows) = read(tables).await
                    && rows != known
                {
                    let prices = PriceTable::new(rows.iter().map(|row| (row.model.clone(), price(row))));
                    sender.send_replace(Arc::new(prices));
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

/// Reads the table. `None` if the store does not respond, which is reported elsewhere.
async fn read(tables: &dyn Tables) -> Option<Vec<PriceRow>> {
    let sort = PriceRow::column("model")?;
    let query =
        Query { table: PriceRow::TABLE, filter: Filter::default(), sort, descending: false, skip: 0, take: MAX_ROWS };
    let listing = tables.list(query).await.ok()?;
    Some(listing.lines.into_iter().map(|(id, values)| PriceRow::of(id, values)).collect())
}

fn price(row: &PriceRow) -> Price {
    Price {
        input: row.input,
        output: row.output,
        cache_read: row.cache_read,
        cache_write_5m: row.cache_write_5m,
        cache_write_1h: row.cache_write_1h,
        reasoning: row.reasoning,
    }
}

pub(crate) struct Prices {
    shared: Arc<ProcessState>,
    meter: Arc<ControlPlaneMetrics>,
    table: watch::Receiver<Arc<PriceTable>>,
    /// The generation of the snapshot that `cached` is from.
    generation: u64,
    cached: HashMap<(i64, Short<96>, Short<96>), Option<Price>, ahash::RandomState>,
}

impl Prices {
    pub(crate) fn new(
        shared: Arc<ProcessState>,
        meter: Arc<ControlPlaneMetrics>,
        table: watch::Receiver<Arc<PriceTable>>,
    ) -> Prices {
        Prices { shared, meter, table, generation: 0, cached: HashMap::default() }
    }

    /// Sets the cost of a record, and counts it.
    pub(crate) fn charge(&mut self, record: &mut Record, snapshot: &Snapshot) {
        let Some(tokens) = record.tokens.filter(|tokens| tokens.total() > 0) else { return };
        let Some(provider) = snapshot.provider(record.provider) else { return };
        let Some(price) = self.price(record, provider, snapshot.generation) else { return };
        let billionths = cost(&price, &tokens);
        record.cost = Some(billionths);
        let max_credentials = self.shared.boot.observe.metrics_max_credentials;
        let labels = labels::of(record, snapshot, &self.shared.model_labels, max_credentials);
        let Names { model, provider, credential } = labels;
        self.meter.with(Family::Cost, &[&model, &provider, &credential], |series| series.add(billionths));
    }

    fn price(&mut self, record: &Record, provider: &Provider, generation: u64) -> Option<Price> {
        let changed = self.table.has_changed().unwrap_or(false) || self.generation != generation;
        if changed || self.cached.len() >= MAX_CACHED {
            self.cached.clear();
            self.generation = generation;
        }
        let prices = self.table.borrow_and_update().clone();
        let prefix = self.shared.boot.model_prefix.as_deref();
        let key = (record.provider, record.model, record.sent_model);
        *self.cached.entry(key).or_insert_with(|| find(&prices, record, provider, prefix))
    }
}

fn find(prices: &PriceTable, record: &Record, provider: &Provider, prefix: Option<&str>) -> Option<Price> {
    let model = record.model.as_str();
    let requested = match (prefix, model.split_once('/')) {
        (Some(prefix), Some((first, rest))) if first == prefix => rest,
        _ => model,
    };
    let metadata = provider.models.entry(requested).and_then(|entry| entry.metadata());
    let of_mapping = metadata.and_then(|text| Price::of(&serde_json::from_str(text).ok()?));
    let sent = record.sent_model.as_str();
    let [by_key, by_type] = [&provider.key, &provider.provider_type].map(|before| format!("{before}/{sent}"));
    of_mapping.or_else(|| prices.find(&[&by_key, &by_type, sent, requested]))
}

/// Returns the cost in billionths of a dollar. Tokens without a price of their own cost what their
/// kind does: cached tokens cost as input, reasoning tokens as output.
fn cost(price: &Price, tokens: &Tokens) -> u64 {
    let (input, output) = (price.input.unwrap_or(0.0), price.output.unwrap_or(0.0));
    let plain = tokens.input.saturating_sub(tokens.cache_read).saturating_sub(tokens.cache_write());
    let visible = tokens.output.saturating_sub(tokens.reasoning);
    let write_5m = price.cache_write_5m.unwrap_or(input);
    let parts = [
        (plain, input),
        (tokens.cache_read, price.cache_read.unwrap_or(input)),
        (tokens.cache_write_5m, write_5m),
        (tokens.cache_write_1h, price.cache_write_1h.unwrap_or(write_5m)),
        (visible, output),
        (tokens.reasoning.min(tokens.output), price.reasoning.unwrap_or(output)),
    ];
    // A dollar for a million tokens is a thousand billionths for one.
    parts.iter().map(|(count, dollars)| *count as f64 * dollars * 1000.0).sum::<f64>().round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_request_costs() {
        let price = Price {
            input: Some(3.0),
            output: Some(15.0),
            cache_read: Some(0.3),
            cache_write_5m: Some(3.75),
            cache_write_1h: Some(6.0),
            reasoning: Some(20.0),
        };
        let few = Price { input: Some(3.0), output: Some(15.0), ..Price::default() };
        let plain = Tokens { input: 1000, output: 100, ..Tokens::default() };
        let full = Tokens { cache_read: 500, cache_write_5m: 200, cache_write_1h: 100, reasoning: 40, ..plain };
        // Reported beside the input where it should be within.
        let odd = Tokens { cache_read: 5000, ..plain };
        let rows = [
            (price, plain, 3_000_000 + 1_500_000),
            (price, full, 600_000 + 150_000 + 750_000 + 600_000 + 900_000 + 800_000),
            (few, full, 3_000_000 + 1_500_000),
            (price, odd, 1_500_000 + 1_500_000),
            (Price { output: None, ..few }, plain, 3_000_000),
            (Price { input: Some(0.02), ..Price::default() }, Tokens { input: 7, ..Tokens::default() }, 140),
        ];
        for (price, tokens, expected) in rows {
            assert_eq!(cost(&price, &tokens), expected, "{tokens:?}");
        }
    }
}

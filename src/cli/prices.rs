//! `llm-proxy import-prices`: a published list of prices into the table `prices`.

use std::path::PathBuf;

use super::failure::Failure;
use super::print;
use super::store::StoreArgs;
use crate::config::prices;
use crate::control_plane::store::logs::{Filter, PriceRow, Query, Row, Start, Which};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Prices as a JSON object by model, {"MODEL": {"input_cost_per_token": 1e-6,
    /// "output_cost_per_token": 2e-6}}; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also remove the prices of models that are not in the file
    #[arg(long)]
    prune: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// The most rows that are compared with those of the file.
const MAX_ROWS: i64 = 1_000_000;

/// Runs `llm-proxy prices`.
pub fn run(args: &Args) -> Result<(), Failure> {
    let text = if args.file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(&args.file)
    };
    let text = text.map_err(|error| Failure::failed(format!("{} can't be read: {error}", args.file.display())))?;
    let found = prices::published(&args.file.display().to_string(), &text).map_err(Failure::failed)?;
    args.store.require_local("import-prices")?;
    let (store, _) = args.store.open_local()?;
    let shared = store.store();
    let Some(tables) = shared.tables() else {
        let message = "a configuration file has no table for prices; write them into model_mapping, \
                       as {\"mapped_model\": \"NAME\", \"input_cost_per_token\": 1e-6}";
        return Err(Failure::failed(message));
    };
    let mut gone = 0;
    if args.prune {
        let Some(sort) = PriceRow::column("model") else { return Err(Failure::failed("there is no column `model`")) };
        let filter = Filter::default();
        let query =
            Query { table: PriceRow::TABLE, filter, sort, descending: false, start: Start::Skip(0), take: MAX_ROWS };
        let there = store.wait(tables.list(query))?.lines.into_iter().map(|(id, values)| PriceRow::of(id, values));
        let old: Vec<_> = there.filter(|row| !found.prices.contains_key(&row.model)).map(|row| row.id).collect();
        for ids in old.chunks(1000) {
            gone += store.wait(tables.remove(PriceRow::TABLE, Which::Ids(ids.to_vec())))?;
        }
    }
    let count = found.prices.len();
    let rows = found.prices.into_iter().map(|(model, price)| PriceRow::priced(model, &price).values());
    store.wait(tables.insert(PriceRow::TABLE, rows.collect()))?;
    if found.without > 0 {
        print::note("note", &format!("{} entries have no price that is known here, and are left out", found.without));
    }
    print::line(&format!("{count} prices written, {gone} removed, in {}", store.place()))
}

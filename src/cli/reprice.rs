//! `llm-proxy reprice`: what the sums of days would cost at today's prices, and with `--apply`
//! writes that.

use std::collections::{BTreeMap, HashMap};

use super::failure::Failure;
use super::print;
use super::store::StoreArgs;
use crate::config::budget::{Unit, show};
use crate::config::models::Mapping;
use crate::config::prices::{PriceTable, Tier};
use crate::config::rows::ProviderRow;
use crate::control_plane::records::cost::table_of;
use crate::control_plane::store::logs::spend::{DAY, LedgerRow, Recost, TierOfPrices};
use crate::rfc3339;
use crate::telemetry::record::Tokens;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// First day, in UTC, such as 2030-01-01; all that are kept by default
    #[arg(long, value_name = "DAY", value_parser = day)]
    from: Option<i64>,
    /// Last day
    #[arg(long, value_name = "DAY", value_parser = day)]
    to: Option<i64>,
    /// Write the new costs; otherwise only the difference is shown
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    store: StoreArgs,
}

fn day(text: &str) -> Result<i64, String> {
    let found = rfc3339::parse(text).map(|seconds| seconds.div_euclid(DAY) * DAY);
    found.ok_or_else(|| format!("`{text}` is no day, as 2030-01-31"))
}

/// What of a provider's row prices depend on.
struct Provider {
    models: Mapping,
    kind: String,
}

impl Provider {
    fn of(row: ProviderRow) -> (String, Provider) {
        (row.provider_key, Provider { models: Mapping::parse(&row.model_mapping).0, kind: row.provider_type })
    }
}

/// What the rows of a model come to, in billionths of a dollar.
#[derive(Default)]
struct Sum {
    before: i64,
    after: i64,
}

/// Runs `llm-proxy reprice`.
pub fn run(args: &Args) -> Result<(), Failure> {
    args.store.require_local("reprice")?;
    let (store, _) = args.store.open_local()?;
    let shared = store.store();
    let Some(tables) = shared.tables() else {
        return Err(Failure::failed("a configuration file keeps no sums of what was spent"));
    };
    let providers: HashMap<String, Provider> = store.load()?.providers.into_iter().map(Provider::of).collect();
    let prices = store.wait(table_of(tables))?;
    let rows = store.wait(tables.ledger(args.from.unwrap_or(0), args.to.unwrap_or(i64::MAX)))?;
    let (mut changes, mut sums) = (Vec::new(), BTreeMap::<String, Sum>::new());
    let mut unknown = 0;
    for row in &rows {
        let sum = sums.entry(row.key.upstream_model.clone()).or_default();
        sum.before += row.sums.cost;
        match cost(row, &providers, &prices) {
            Some(after) => {
                sum.after += after;
                if after != row.sums.cost || row.sums.unpriced > 0 {
                    changes.push(Recost {
                        key: row.key.clone(),
                        digest: row.digest.clone(),
                        cost: after - row.sums.cost,
                        unpriced: -row.sums.unpriced,
                    });
                }
            }
            None => {
                sum.after += row.sums.cost;
                unknown += i64::from(row.sums.cost > 0 || row.sums.unpriced > 0);
            }
        }
    }
    let mut lines = Vec::new();
    let dollars = |amount| show(Unit::Dollars, amount);
    let mut all = Sum::default();
    for (model, sum) in sums {
        (all.before, all.after) = (all.before + sum.before, all.after + sum.after);
        if sum.after != sum.before {
            lines.push([model, dollars(sum.before), dollars(sum.after), dollars(sum.after - sum.before)]);
        }
    }
    lines.push(["all".to_owned(), dollars(all.before), dollars(all.after), dollars(all.after - all.before)]);
    print::table(["MODEL", "BEFORE", "AFTER", "DIFFERENCE"], &lines)?;
    if unknown > 0 {
        let text = format!("{unknown} sums stay as they are: their prices or the kinds of their tokens are not known");
        print::note("note", &text);
    }
    let count = changes.len();
    if args.apply {
        store.wait(tables.recost(changes))?;
        print::line(&format!("{count} sums written, in {}", store.place()))
    } else {
        print::line(&format!("{count} sums would change; --apply writes them"))
    }
}

/// Returns what a row costs at the prices of now. `None` where that is not known.
fn cost(row: &LedgerRow, providers: &HashMap<String, Provider>, prices: &PriceTable) -> Option<i64> {
    // Of the rows that come from the request log the kinds of tokens are not known.
    if row.is_from_log() || row.sums.input_tokens.saturating_add(row.sums.output_tokens) == 0 {
        return None;
    }
    let (requested, sent) = (row.key.model.as_str(), row.key.upstream_model.as_str());
    let price = match providers.get(&row.key.provider) {
        Some(Provider { models, kind }) => prices.of(models, &row.key.provider, kind, requested, sent),
        None => prices.find(&[sent, requested]),
    }?;
    let TierOfPrices { tier, above } = TierOfPrices::parse(&row.key.tier);
    let number = |number: i64| number.unsigned_abs();
    let used = Tokens {
        input: number(row.sums.input_tokens),
        output: number(row.sums.output_tokens),
        cache_read: number(row.sums.cache_read_tokens),
        cache_write_5m: number(row.sums.cache_write_5m_tokens),
        cache_write_1h: number(row.sums.cache_write_1h_tokens),
        reasoning: number(row.sums.reasoning_tokens),
        audio_input: number(row.sums.audio_input_tokens),
        audio_output: number(row.sums.audio_output_tokens),
        image_input: number(row.sums.image_input_tokens),
        image_output: number(row.sums.image_output_tokens),
        server_tools: number(row.sums.searches),
        ..Tokens::default()
    };
    let requests = number(row.sums.requests - row.sums.errors);
    // Each of its prompts was longer than `above`, and no longer than the next step of the price.
    let rates = price.rates(Tier::of(tier.as_bytes()), above + 1);
    i64::try_from(price.cost_at(&rates, &used, requests)).ok()
}

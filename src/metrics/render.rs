//! The Prometheus text format, from the sum of all shards.

use std::fmt::Write;
use std::sync::Arc;

use super::names::{Counter, Grid, Words};
use super::shard::Shard;

/// What is said of the process beside the counters.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    pub version: &'a str,
    pub driver: &'a str,
    pub workers: usize,
    pub generation: u64,
    pub records_dropped: u64,
    /// The store answered when it was asked last.
    pub store_up: bool,
    /// It has not answered since the start.
    pub from_snapshot: bool,
}

pub fn text(shards: &[Arc<Shard>], background: &Shard, process: &Process<'_>, words: &Words<'_>) -> String {
    let mut out = String::with_capacity(4096);
    // Writing to a String does not fail.
    for counter in Counter::ALL {
        let (name, help) = counter.describe();
        let sum = shards.iter().map(|shard| shard.get(*counter)).sum::<u64>() + background.get(*counter);
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {sum}\n");
    }
    for grid in Grid::ALL {
        write_grid(&mut out, shards, grid, words);
    }
    let Process { version, driver, workers, generation, records_dropped, store_up, from_snapshot } = process;
    let (store_up, from_snapshot) = (u8::from(*store_up), u8::from(*from_snapshot));
    let _ = write!(
        out,
        "# HELP llm_proxy_records_dropped_total Records that found their ring full.\n\
         # TYPE llm_proxy_records_dropped_total counter\n\
         llm_proxy_records_dropped_total {records_dropped}\n\
         # HELP llm_proxy_app_info The running version.\n# TYPE llm_proxy_app_info gauge\n\
         llm_proxy_app_info{{version=\"{version}\",title=\"llm-proxy\",driver=\"{driver}\"}} 1\n\
         # HELP llm_proxy_workers Worker threads.\n# TYPE llm_proxy_workers gauge\nllm_proxy_workers {workers}\n\
         # HELP llm_proxy_snapshot_generation Number of the configuration in force.\n\
         # TYPE llm_proxy_snapshot_generation gauge\nllm_proxy_snapshot_generation {generation}\n\
         # HELP llm_proxy_store_up Whether the store answered when it was asked last.\n# TYPE llm_proxy_store_up gauge\n\
         llm_proxy_store_up {store_up}\n\
         # HELP llm_proxy_config_from_snapshot Whether the configuration in force is the copy on disk, since the store has not answered yet.\n\
         # TYPE llm_proxy_config_from_snapshot gauge\nllm_proxy_config_from_snapshot {from_snapshot}\n"
    );
    out
}

/// Cells that were never counted are left out: most pairs of a word and two formats cannot be.
fn write_grid(out: &mut String, shards: &[Arc<Shard>], grid: Grid, words: &Words<'_>) {
    let (name, label, help) = grid.describe();
    let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n");
    for (at, word) in words.grids[grid as usize].iter().enumerate() {
        for (from, client) in words.sides.iter().enumerate() {
            for (to, provider) in words.sides.iter().enumerate() {
                let sum: u64 = shards.iter().map(|shard| shard.get_of(grid, at, (from, to))).sum();
                if sum > 0 {
                    let _ = writeln!(out, "{name}{{{label}=\"{word}\",from=\"{client}\",to=\"{provider}\"}} {sum}");
                }
            }
        }
    }
}

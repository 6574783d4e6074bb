//! The Prometheus text format, from the sum of all shards.

use std::fmt::Write;
use std::sync::Arc;

use super::names::Counter;
use super::shard::Shard;

/// What is said of the process beside the counters.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    pub version: &'a str,
    pub driver: &'a str,
    pub workers: usize,
    pub generation: u64,
    pub records_dropped: u64,
}

pub fn text<'a>(shards: impl Iterator<Item = &'a Arc<Shard>> + Clone, process: &Process<'_>) -> String {
    let mut out = String::with_capacity(4096);
    // Writing to a String does not fail.
    for counter in Counter::ALL {
        let (name, help) = counter.describe();
        let sum: u64 = shards.clone().map(|shard| shard.get(*counter)).sum();
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} counter\n{name} {sum}\n");
    }
    let Process { version, driver, workers, generation, records_dropped } = process;
    let _ = write!(
        out,
        "# HELP llm_proxy_records_dropped_total Records that found their ring full.\n\
         # TYPE llm_proxy_records_dropped_total counter\n\
         llm_proxy_records_dropped_total {records_dropped}\n\
         # HELP llm_proxy_app_info The running version.\n# TYPE llm_proxy_app_info gauge\n\
         llm_proxy_app_info{{version=\"{version}\",title=\"llm-proxy\",driver=\"{driver}\"}} 1\n\
         # HELP llm_proxy_workers Worker threads.\n# TYPE llm_proxy_workers gauge\nllm_proxy_workers {workers}\n\
         # HELP llm_proxy_snapshot_generation Number of the configuration in force.\n\
         # TYPE llm_proxy_snapshot_generation gauge\nllm_proxy_snapshot_generation {generation}\n"
    );
    out
}

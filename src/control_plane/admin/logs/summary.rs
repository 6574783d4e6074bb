//! `/logs/summary`: what an overview shows of finished requests, from sums that are kept by the
//! hour.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::{Percentiles, dollars};
use super::read::{answer, tables};
use crate::control_plane::admin::context::Context;
use crate::control_plane::admin::field_values::Moment;
use crate::control_plane::admin::parameter::{Kind, Parameter};
use crate::control_plane::admin::request::{AdminRequest, Outcome, json};
use crate::control_plane::store::logs::{Sum, Summary};

pub(in crate::control_plane::admin) const SUMMARY: &[Parameter] = &[Parameter {
    name: "start_time",
    help: "from the hour of this time on, such as 2030-01-31T00:00:00Z; from the first by default",
    kind: Kind::Moment,
}];

/// Sums over finished requests since an hour
#[derive(Debug, Default, Serialize, JsonSchema)]
pub(in crate::control_plane::admin) struct LogSummary {
    requests: i64,
    /// A status from 400 on, or an error category
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    /// In dollars, of the requests whose prices are known
    cost: f64,
    /// Durations of whole requests, within about 20 %; null without any
    duration_ms: Option<Percentiles>,
    /// Times to the first token of streams, within about 20 %; null without any
    ttft_ms: Option<Percentiles>,
    /// In order, without hours in which nothing ended
    hours: Vec<HourSums>,
    providers: Vec<ProviderSums>,
}

/// Sums of an hour
#[derive(Debug, Default, Serialize, JsonSchema)]
struct HourSums {
    /// Its begin
    time: Option<Moment>,
    requests: i64,
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost: f64,
}

/// Sums of a provider
#[derive(Debug, Default, Serialize, JsonSchema)]
struct ProviderSums {
    name: String,
    requests: i64,
    errors: i64,
}

pub(in crate::control_plane::admin) async fn summary(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let from = req.time("start_time")?.map_or(0, |seconds| seconds.div_euclid(3600) * 3600);
    let summary = answer(&context, tables(&context)?.summary(from)).await?;
    json(200, &LogSummary::of(summary))
}

impl LogSummary {
    fn of(summary: Summary) -> LogSummary {
        let mut whole = LogSummary::default();
        let (mut durations, mut ttfts) = (BTreeMap::new(), BTreeMap::new());
        let mut providers: BTreeMap<String, ProviderSums> = BTreeMap::new();
        for (sum, n) in summary.totals {
            match sum {
                Sum::Requests => whole.requests = n,
                Sum::Errors => whole.errors = n,
                Sum::InputTokens => whole.input_tokens = n,
                Sum::OutputTokens => whole.output_tokens = n,
                Sum::Cost => whole.cost = dollars(n),
                Sum::Duration(bound) => *durations.entry(bound).or_default() += n,
                Sum::FirstToken(bound) => *ttfts.entry(bound).or_default() += n,
                Sum::ProviderRequests(name) => providers.entry(name).or_default().requests = n,
                Sum::ProviderErrors(name) => providers.entry(name).or_default().errors = n,
            }
        }
        let classes = |all: BTreeMap<i64, i64>| Percentiles::of(&all.into_iter().collect::<Vec<_>>());
        (whole.duration_ms, whole.ttft_ms) = (classes(durations), classes(ttfts));
        whole.providers = providers.into_iter().map(|(name, sums)| ProviderSums { name, ..sums }).collect();
        whole.hours = hours(summary.hours);
        whole
    }
}

/// Returns the sums hour by hour, of which those of one hour follow one another.
fn hours(sums: Vec<(i64, Sum, i64)>) -> Vec<HourSums> {
    let mut hours: BTreeMap<i64, HourSums> = BTreeMap::new();
    for (time, sum, n) in sums {
        let hour = hours.entry(time).or_default();
        hour.time = Some(Moment(time));
        match sum {
            Sum::Requests => hour.requests = n,
            Sum::Errors => hour.errors = n,
            Sum::InputTokens => hour.input_tokens = n,
            Sum::OutputTokens => hour.output_tokens = n,
            Sum::Cost => hour.cost = dollars(n),
            Sum::Duration(_) | Sum::FirstToken(_) | Sum::ProviderRequests(_) | Sum::ProviderErrors(_) => {}
        }
    }
    hours.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_become_a_summary() {
        let totals = vec![
            (Sum::Requests, 3),
            (Sum::Duration(10), 2),
            (Sum::Duration(i64::MAX), 1),
            (Sum::Cost, 1_500_000_000),
            (Sum::ProviderRequests("a".to_owned()), 3),
            (Sum::ProviderErrors("a".to_owned()), 1),
        ];
        let hours = vec![(3600, Sum::Errors, 1), (3600, Sum::Requests, 2), (7200, Sum::Requests, 1)];
        let summary = serde_json::to_value(LogSummary::of(Summary { totals, hours })).unwrap();
        assert_eq!((&summary["requests"], &summary["cost"]), (&3.into(), &1.5.into()));
        assert_eq!(summary["duration_ms"]["p99"], 655_360.0);
        assert!(summary["ttft_ms"].is_null());
        assert_eq!(summary["providers"], serde_json::json!([{ "name": "a", "requests": 3, "errors": 1 }]));
        assert_eq!(summary["hours"][0]["errors"], 1);
        assert_eq!(summary["hours"][1]["time"], "1970-01-01T02:00:00Z");
    }
}

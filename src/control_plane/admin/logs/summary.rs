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
use crate::control_plane::store::logs::{Step, Sum, Summary, SummaryQuery};

const STEPS: &[&str] = &["hour", "day"];

pub(in crate::control_plane::admin) const SUMMARY: &[Parameter] = &[
    Parameter {
        name: "start_time",
        help: "from the hour of this time on, such as 2030-01-31T00:00:00Z; from the first by default",
        kind: Kind::Moment,
    },
    Parameter {
        name: "step",
        help: "gives percentiles in `hours` too, which are those of days of UTC with `day`; without it there are none",
        kind: Kind::Choice(STEPS),
    },
];

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
    /// Durations of whole requests, exact up to 3 ms and the median within 20 %; null without any
    duration_ms: Option<Percentiles>,
    /// Times to the first token of streams, likewise; null without any
    ttft_ms: Option<Percentiles>,
    /// In order, without hours in which nothing ended; of days with `step=day`
    hours: Vec<HourSums>,
    providers: Vec<ProviderSums>,
}

/// Sums of an hour, or of a day
#[derive(Debug, Default, Serialize, JsonSchema)]
struct HourSums {
    /// Its begin
    time: Option<Moment>,
    requests: i64,
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost: f64,
    /// Left out without `step`
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<Percentiles>,
    /// Left out without `step`
    #[serde(skip_serializing_if = "Option::is_none")]
    ttft_ms: Option<Percentiles>,
}

/// How many requests there were in each class of durations, by its upper bound.
type Classes = BTreeMap<i64, i64>;

/// Sums of a provider
#[derive(Debug, Default, Serialize, JsonSchema)]
struct ProviderSums {
    name: String,
    requests: i64,
    errors: i64,
}

pub(in crate::control_plane::admin) async fn summary(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let from = req.time("start_time")?.map_or(0, |seconds| seconds.div_euclid(3600) * 3600);
    let step = match req.choice("step", STEPS)? {
        None => Step::PlainHour,
        Some("day") => Step::Day,
        Some(_) => Step::Hour,
    };
    let summary = answer(&context, tables(&context)?.summary(SummaryQuery { from, step })).await?;
    json(200, &LogSummary::of(summary))
}

impl LogSummary {
    fn of(summary: Summary) -> LogSummary {
        let mut whole = LogSummary::default();
        let (mut durations, mut ttfts) = (Classes::new(), Classes::new());
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
        (whole.duration_ms, whole.ttft_ms) = (percentiles(durations), percentiles(ttfts));
        whole.providers = providers.into_iter().map(|(name, sums)| ProviderSums { name, ..sums }).collect();
        whole.hours = steps(summary.steps);
        whole
    }
}

fn percentiles(classes: Classes) -> Option<Percentiles> {
    Percentiles::of(&classes.into_iter().collect::<Vec<_>>())
}

/// Returns the sums by the hour or the day.
fn steps(sums: Vec<(i64, Sum, i64)>) -> Vec<HourSums> {
    let mut hours: BTreeMap<i64, (HourSums, Classes, Classes)> = BTreeMap::new();
    for (time, sum, n) in sums {
        let (hour, durations, ttfts) = hours.entry(time).or_default();
        hour.time = Some(Moment(time));
        match sum {
            Sum::Requests => hour.requests = n,
            Sum::Errors => hour.errors = n,
            Sum::InputTokens => hour.input_tokens = n,
            Sum::OutputTokens => hour.output_tokens = n,
            Sum::Cost => hour.cost = dollars(n),
            Sum::Duration(bound) => *durations.entry(bound).or_default() += n,
            Sum::FirstToken(bound) => *ttfts.entry(bound).or_default() += n,
            Sum::ProviderRequests(_) | Sum::ProviderErrors(_) => {}
        }
    }
    let whole = |(hour, durations, ttfts)| HourSums {
        duration_ms: percentiles(durations),
        ttft_ms: percentiles(ttfts),
        ..hour
    };
    hours.into_values().map(whole).collect()
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
        let steps = vec![
            (3600, Sum::Errors, 1),
            (3600, Sum::Requests, 2),
            (7200, Sum::Requests, 1),
            (7200, Sum::Duration(2), 1),
        ];
        let summary = serde_json::to_value(LogSummary::of(Summary { totals, steps })).unwrap();
        assert_eq!((&summary["requests"], &summary["cost"]), (&3.into(), &1.5.into()));
        assert_eq!(summary["duration_ms"]["p99"], 655_361.0);
        assert!(summary["ttft_ms"].is_null());
        assert_eq!(summary["providers"], serde_json::json!([{ "name": "a", "requests": 3, "errors": 1 }]));
        assert_eq!(summary["hours"][0]["errors"], 1);
        assert_eq!(summary["hours"][1]["time"], "1970-01-01T02:00:00Z");
        assert!(summary["hours"][0].get("duration_ms").is_none());
        assert_eq!(summary["hours"][1]["duration_ms"]["p50"], 2.0);
    }
}

//! What was measured, as tables and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::histogram::Histogram;
use super::load::Measured;
use crate::cli::failure::Failure;
use crate::cli::print;

/// The percentiles that are reported.
const PERCENTILES: [f64; 4] = [50.0, 90.0, 99.0, 99.9];

/// A target and its rounds.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) rounds: Vec<Measured>,
}

impl Series {
    /// Returns the rounds as one.
    pub(super) fn total(&self) -> Measured {
        let mut total = Measured::default();
        self.rounds.iter().for_each(|round| total.add(round));
        total
    }

    fn rate(&self) -> f64 {
        median(self.rounds.iter().map(Measured::rate))
    }

    /// Returns the median of `value` divided by that of `base` in the same round.
    fn ratio(&self, base: &Series, value: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        let pairs = self.rounds.iter().zip(&base.rounds);
        let ratios: Vec<f64> =
            pairs.filter_map(|(own, base)| Some(value(own)? / value(base).filter(|base| *base > 0.0)?)).collect();
        (!ratios.is_empty()).then(|| median(ratios.into_iter()))
    }

    fn cpu_per_request(&self) -> Option<f64> {
        let cpu: Vec<f64> = self.rounds.iter().filter_map(cpu_micros).collect();
        (!cpu.is_empty()).then(|| median(cpu.into_iter()))
    }

    /// Returns the share of one CPU that the target used.
    fn cpu_share(&self) -> Option<f64> {
        let share = |round: &Measured| Some(round.target?.cpu.as_secs_f64() / round.elapsed.as_secs_f64().max(1e-9));
        let shares: Vec<f64> = self.rounds.iter().filter_map(share).collect();
        (!shares.is_empty()).then(|| median(shares.into_iter()))
    }

    fn memory(&self) -> Option<u64> {
        self.rounds.iter().filter_map(|round| Some(round.target?.memory)).max()
    }

    /// Returns the highest share of one CPU that the generator used.
    fn generator_share(&self) -> f64 {
        let share = |round: &Measured| round.own_cpu.as_secs_f64() / round.elapsed.as_secs_f64().max(1e-9);
        self.rounds.iter().map(share).fold(0.0, f64::max)
    }
}

fn cpu_micros(round: &Measured) -> Option<f64> {
    Some(round.cpu_per_request()?.as_secs_f64() * 1e6)
}

/// Returns the middle value, or the mean of the two in the middle. Zero if there are none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

/// Prints the tables. The first series is the base of the ratios.
pub(super) fn print(all: &[Series]) -> Result<(), Failure> {
    let Some(base) = all.first() else { return Ok(()) };
    let rows: Vec<[String; 6]> = all
        .iter()
        .map(|series| {
            let total = series.total();
            [
                series.name.clone(),
                total.latency.count().to_string(),
                total.failed().to_string(),
                format!("{:.0}", series.rate()),
                ratio(series.ratio(base, |round| Some(round.rate()))),
                series.cpu_share().map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0)),
            ]
        })
        .collect();
    print::table(["TARGET", "REQUESTS", "FAILED", "A SECOND", "RATIO", "ITS CPU"], &rows)?;
    distribution(all, "LATENCY", |round| &round.latency)?;
    distribution(all, "FIRST BYTE", |round| &round.first)?;
    distribution(all, "EVENTS UNDER WAY", |round| &round.events)?;
    costs(all, base)?;
    for series in all {
        let share = series.generator_share();
        if share > 0.9 {
            let why = format!(
                "the generator used {:.0} % of its CPU for {}: a rate that it limits says nothing of the target",
                share * 100.0,
                series.name
            );
            print::note("warning", &why);
        }
        let failures = series.total().failures;
        if !failures.is_empty() {
            let list: Vec<String> = failures.iter().map(|(why, count)| format!("{count} x {why}")).collect();
            print::note("warning", &format!("{} failed: {}", series.name, list.join(", ")));
        }
    }
    Ok(())
}

/// Prints percentiles, and what those of the first series are exceeded by.
fn distribution(all: &[Series], title: &'static str, of: impl Fn(&Measured) -> &Histogram) -> Result<(), Failure> {
    let totals: Vec<Measured> = all.iter().map(Series::total).collect();
    let Some(base) = totals.first().filter(|base| of(base).count() > 0) else { return Ok(()) };
    let rows: Vec<[String; 8]> = all
        .iter()
        .zip(&totals)
        .map(|(series, total)| {
            let at = |percent| of(total).percentile(percent);
            let added = |percent| micros(at(percent)) - micros(of(base).percentile(percent));
            let [p50, p90, p99, p999] = PERCENTILES.map(|percent| text(at(percent)));
            let (more50, more99) = (format!("{:+.0} us", added(50.0)), format!("{:+.0} us", added(99.0)));
            [series.name.clone(), p50, p90, p99, p999, text(of(total).max()), more50, more99]
        })
        .collect();
    print::line("")?;
    print::table([title, "P50", "P90", "P99", "P99.9", "MAX", "ADDED P50", "ADDED P99"], &rows)
}

fn costs(all: &[Series], base: &Series) -> Result<(), Failure> {
    let rows: Vec<[String; 4]> = all
        .iter()
        .filter_map(|series| {
            let cpu = format!("{:.1} us", series.cpu_per_request()?);
            let memory = format!("{:.1} MB", series.memory().unwrap_or_default() as f64 / 1e6);
            Some([series.name.clone(), cpu, ratio(series.ratio(base, cpu_micros)), memory])
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    print::line("")?;
    print::table(["COST", "CPU A REQUEST", "RATIO", "MEMORY"], &rows)
}

fn ratio(ratio: Option<f64>) -> String {
    ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"))
}

pub(super) fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Returns a duration with three digits that count.
pub(super) fn text(duration: Duration) -> String {
    let micros = micros(duration);
    let (value, unit) = match micros {
        ..1e3 => (micros, "us"),
        ..1e6 => (micros / 1e3, "ms"),
        _ => (micros / 1e6, "s"),
    };
    match value {
        ..10.0 => format!("{value:.2} {unit}"),
        ..100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// Returns everything as JSON. Durations are in microseconds.
pub(super) fn json(all: &[Series], setup: Value) -> Value {
    let base = all.first();
    let targets: Vec<Value> = all
        .iter()
        .map(|series| {
            let total = series.total();
            let ratio = |value: fn(&Measured) -> Option<f64>| base.and_then(|base| series.ratio(base, value));
            json!({
                "name": series.name,
                "requests": total.latency.count(),
                "failed": total.failed(),
                "failures": total.failures,
                "requests_per_second": series.rate(),
                "rate_ratio": ratio(|round| Some(round.rate())),
                "latency_us": percentiles(&total.latency),
                "first_byte_us": percentiles(&total.first),
                "events_under_way_us": percentiles(&total.events),
                "cpu_us_per_request": series.cpu_per_request(),
                "cpu_ratio": ratio(cpu_micros),
                "cpu_share": series.cpu_share(),
                "memory_bytes": series.memory(),
                "generator_cpu_share": series.generator_share(),
                "rounds": series.rounds.iter().map(round).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({"setup": setup, "targets": targets})
}

fn round(round: &Measured) -> Value {
    json!({
        "requests": round.latency.count(),
        "failed": round.failed(),
        "seconds": round.elapsed.as_secs_f64(),
        "requests_per_second": round.rate(),
        "latency_us": percentiles(&round.latency),
        "cpu_us_per_request": cpu_micros(round),
    })
}

fn percentiles(histogram: &Histogram) -> Value {
    if histogram.count() == 0 {
        return Value::Null;
    }
    let at = |percent| micros(histogram.percentile(percent));
    json!({
        "count": histogram.count(),
        "mean": micros(histogram.mean()),
        "p50": at(50.0), "p90": at(90.0), "p99": at(99.0), "p99.9": at(99.9),
        "max": micros(histogram.max()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::process::Usage;

    fn round(latencies_us: &[u64], seconds: u64, cpu_ms: u64) -> Measured {
        let mut round = Measured { elapsed: Duration::from_secs(seconds), ..Measured::default() };
        latencies_us.iter().for_each(|us| round.latency.record(Duration::from_micros(*us)));
        round.target = Some(Usage { cpu: Duration::from_millis(cpu_ms), memory: 7 });
        round
    }

    #[test]
    fn ratios_are_medians_of_the_rounds() {
        let base = Series {
            name: "a".into(),
            rounds: vec![round(&[10; 100], 1, 10), round(&[10; 50], 1, 10), round(&[10; 80], 1, 8)],
        };
        let other = Series {
            name: "b".into(),
            rounds: vec![round(&[20; 50], 1, 10), round(&[20; 50], 1, 10), round(&[20; 60], 1, 60)],
        };
        assert_eq!(base.rate(), 80.0);
        assert_eq!(other.ratio(&base, |round| Some(round.rate())), Some(0.75));
        assert_eq!(other.cpu_per_request(), Some(200.0));
        assert_eq!(other.ratio(&base, cpu_micros), Some(2.0));
        assert_eq!(other.ratio(&base, |_| None), None);
        let report = json(&[base, other], Value::Null);
        assert_eq!(report["targets"][1]["rate_ratio"], 0.75);
        assert_eq!(report["targets"][1]["latency_us"]["p99.9"], 20.0);
        assert_eq!(report["targets"][0]["events_under_way_us"], Value::Null);
        assert_eq!(report["targets"][0]["memory_bytes"], 7);
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0].into_iter()), 2.5);
        assert_eq!(median([].into_iter()), 0.0);
    }

    #[test]
    fn durations() {
        let text = |nanos| text(Duration::from_nanos(nanos));
        assert_eq!([text(1_234), text(83_400), text(999_000)], ["1.23 us", "83.4 us", "999 us"]);
        assert_eq!([text(1_240_000), text(2_310_000_000)], ["1.24 ms", "2.31 s"]);
    }
}

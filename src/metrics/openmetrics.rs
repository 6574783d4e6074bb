//! The OpenMetrics text format, written by prometheus-client.

use std::borrow::Cow;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{self, DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::gather::{Kind, Metric, Sample, Value};

/// The media type of OpenMetrics.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug)]
struct Gathered(Vec<Metric>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in self.0.iter().filter(|metric| !metric.samples.is_empty()) {
            // The format itself puts `_total` behind a counter's name.
            let (name, kind) = match metric.kind {
                Kind::Counter => (metric.name.trim_end_matches("_total"), MetricType::Counter),
                Kind::Gauge => (metric.name, MetricType::Gauge),
                Kind::Histogram => (metric.name, MetricType::Histogram),
            };
            let mut family = encoder.encode_descriptor(name, metric.help, None, kind)?;
            for Sample { labels, value } in &metric.samples {
                let labels: Vec<_> = labels.iter().map(|(name, value)| (*name, escaped(value))).collect();
                let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (*name, &**value)).collect();
                let mut series = family.encode_family(&labels)?;
                match value {
                    Value::Number(value) if metric.kind == Kind::Counter => {
                        series.encode_counter::<NoLabelSet, f64, f64>(value, None)?;
                    }
                    Value::Number(value) => series.encode_gauge(value)?,
                    Value::Histogram { bounds, counts, sum } => {
                        let ends = bounds.iter().copied().chain([f64::MAX]);
                        let buckets: Vec<(f64, u64)> = ends.zip(counts.iter().copied()).collect();
                        let total = counts.iter().sum();
                        series.encode_histogram::<NoLabelSet>(*sum, total, &buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// prometheus-client writes label values as they are (0.24).
fn escaped(value: &str) -> Cow<'_, str> {
    if !value.contains(['\\', '"', '\n']) {
        return Cow::Borrowed(value);
    }
    Cow::Owned(value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// `None` if it can't be written, which a `String` never refuses.
pub fn encode(metrics: Vec<Metric>) -> Option<String> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gathered(metrics)));
    let mut out = String::with_capacity(16 << 10);
    encoding::text::encode(&mut out, &registry).ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        let labels = vec![("provider", "a\"b".to_owned())];
        let metrics = vec![
            Metric {
                name: "x_total",
                help: "Xs.",
                kind: Kind::Counter,
                samples: vec![Sample { labels: labels.clone(), value: Value::Number(12.0) }],
            },
            Metric {
                name: "y_seconds",
                help: "Ys.",
                kind: Kind::Histogram,
                samples: vec![Sample {
                    labels,
                    value: Value::Histogram { bounds: &[0.5, 1.0], counts: vec![1, 2, 3], sum: 0.25 },
                }],
            },
        ];
        let expected = r#"# HELP x Xs.
# TYPE x counter
x_total{provider="a\"b"} 12.0
# HELP y_seconds Ys.
# TYPE y_seconds histogram
y_seconds_sum{provider="a\"b"} 0.25
y_seconds_count{provider="a\"b"} 6
y_seconds_bucket{le="0.5",provider="a\"b"} 1
y_seconds_bucket{le="1.0",provider="a\"b"} 3
y_seconds_bucket{le="+Inf",provider="a\"b"} 6
# EOF
"#;
        assert_eq!(encode(metrics).unwrap(), expected);
    }
}

//! The Prometheus text format 0.0.4 (Prometheus documentation, "Exposition formats", 2026-08), for
//! scrapers that do not accept OpenMetrics.

use std::fmt::Write;

use super::gather::{Kind, Metric, Sample, Value};

/// The media type of this format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes metrics in this format. Metrics without samples are left out.
pub fn encode(metrics: &[Metric]) -> String {
    let mut out = String::with_capacity(16 << 10);
    for metric in metrics.iter().filter(|metric| !metric.samples.is_empty()) {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let (name, help) = (metric.name, metric.help);
        // Writing to a String does not fail.
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        metric.samples.iter().for_each(|sample| write_sample(&mut out, name, sample));
    }
    out
}

fn write_sample(out: &mut String, name: &str, sample: &Sample) {
    match &sample.value {
        Value::Number(value) => {
            out.push_str(name);
            write_labels(out, &sample.labels, None);
            let _ = writeln!(out, " {value}");
        }
        Value::Histogram { bounds, counts, sum } => {
            let mut total = 0;
            for (at, count) in counts.iter().enumerate() {
                total += count;
                let bound = bounds.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
                let _ = write!(out, "{name}_bucket");
                write_labels(out, &sample.labels, Some(&bound));
                let _ = writeln!(out, " {total}");
            }
            for (part, value) in [("sum", *sum), ("count", total as f64)] {
                let _ = write!(out, "{name}_{part}");
                write_labels(out, &sample.labels, None);
                let _ = writeln!(out, " {value}");
            }
        }
    }
}

fn write_labels(out: &mut String, labels: &[(&'static str, String)], bound: Option<&str>) {
    let labels = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(bound.map(|bound| ("le", bound)));
    let mut open = '{';
    for (name, value) in labels {
        let _ = write!(out, "{open}{name}=\"");
        for letter in value.chars() {
            match letter {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                _ => out.push(letter),
            }
        }
        out.push('"');
        open = ',';
    }
    if open == ',' {
        out.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        let labels = vec![("model", "a\"b\\c\nd".to_owned()), ("provider", "p".to_owned())];
        let counts = vec![1, 2, 3];
        let metrics = [
            Metric {
                name: "x_total",
                help: "Xs.",
                kind: Kind::Counter,
                samples: vec![Sample { labels: labels.clone(), value: Value::Number(12.0) }],
            },
            Metric { name: "unused", help: "", kind: Kind::Gauge, samples: Vec::new() },
            Metric {
                name: "y_seconds",
                help: "Ys.",
                kind: Kind::Histogram,
                samples: vec![Sample {
                    labels: labels[1..].to_vec(),
                    value: Value::Histogram { bounds: &[0.00001, 1.0], counts, sum: 0.25 },
                }],
            },
        ];
        let expected = r#"# HELP x_total Xs.
# TYPE x_total counter
x_total{model="a\"b\\c\nd",provider="p"} 12
# HELP y_seconds Ys.
# TYPE y_seconds histogram
y_seconds_bucket{provider="p",le="0.00001"} 1
y_seconds_bucket{provider="p",le="1"} 3
y_seconds_bucket{provider="p",le="+Inf"} 6
y_seconds_sum{provider="p"} 0.25
y_seconds_count{provider="p"} 6
"#;
        assert_eq!(encode(&metrics), expected);
    }
}

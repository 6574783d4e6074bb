//! Sums all metrics over the shards, in a form that any encoder can write.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::{Counter, Family, Grid, Shape, Words};
use super::shard::Shard;

/// The type of a metric in the exposition formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A metric with all of its samples.
#[derive(Debug, Clone)]
pub struct Metric {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

/// One value of a metric, with its labels.
#[derive(Debug, Clone)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: Value,
}

/// The value of a sample, in the unit of the exposition.
#[derive(Debug, Clone)]
pub enum Value {
    Number(f64),
    /// Counts by bucket, the last one above all bounds, and the sum of the values.
    Histogram {
        bounds: &'static [f64],
        counts: Vec<u64>,
        sum: f64,
    },
}

/// Values that are known without counting, about the process and the configuration. Label values
/// are in the order of the family's labels.
pub type Facts = Vec<(Family, Vec<String>, f64)>;

/// Sums counters, families and grids over all shards. `words` names the rows of the grids.
pub fn gather(shards: &[&Arc<Shard>], facts: &Facts, words: &Words<'_>) -> Vec<Metric> {
    let counters = Counter::ALL.iter().map(|counter| of_counter(shards, *counter));
    let families = Family::ALL.iter().map(|family| of_family(shards, *family, facts));
    let grids = Grid::ALL.into_iter().map(|grid| of_grid(shards, grid, words));
    counters.chain(families).chain(grids).collect()
}

fn of_counter(shards: &[&Arc<Shard>], counter: Counter) -> Metric {
    let (name, help) = counter.describe();
    let sum: u64 = shards.iter().map(|shard| shard.get(counter)).sum();
    let sample = Sample { labels: Vec::new(), value: Value::Number(sum as f64) };
    Metric { name, help, kind: Kind::Counter, samples: vec![sample] }
}

fn of_family(shards: &[&Arc<Shard>], family: Family, facts: &Facts) -> Metric {
    let row = family.row();
    let mut sums: BTreeMap<&[Box<str>], Vec<u64>> = BTreeMap::new();
    for series in shards.iter().flat_map(|shard| shard.series(family).iter()) {
        series.add_to(sums.entry(&series.labels).or_insert_with(|| vec![0; row.shape.cells()]));
    }
    let labelled = |values: Vec<String>| row.labels.iter().copied().zip(values).collect();
    let counted = sums.into_iter().map(|(labels, cells)| Sample {
        labels: labelled(labels.iter().map(ToString::to_string).collect()),
        value: value(row.shape, row.scale, &cells),
    });
    let known = facts.iter().filter(|(of, ..)| *of == family);
    let known =
        known.map(|(_, labels, value)| Sample { labels: labelled(labels.clone()), value: Value::Number(*value) });
    let kind = match row.shape {
        Shape::Counter => Kind::Counter,
        Shape::Gauge => Kind::Gauge,
        Shape::Histogram(_) => Kind::Histogram,
    };
    Metric { name: row.name, help: row.help, kind, samples: counted.chain(known).collect() }
}

fn value(shape: Shape, scale: f64, cells: &[u64]) -> Value {
    match shape {
        Shape::Counter => Value::Number(cells[0] as f64 * scale),
        // Two cores may have counted one thing up and down: the sum has wrapped back.
        Shape::Gauge => Value::Number(cells[0].cast_signed() as f64 * scale),
        Shape::Histogram(bounds) => {
            let (counts, sum) = cells.split_at(bounds.len() + 1);
            Value::Histogram { bounds, counts: counts.to_vec(), sum: sum[0] as f64 * scale }
        }
    }
}

/// Cells that were never counted are left out: most pairs of a word and two formats cannot be.
fn of_grid(shards: &[&Arc<Shard>], grid: Grid, words: &Words<'_>) -> Metric {
    let (name, label, help) = grid.describe();
    let mut samples = Vec::new();
    for (at, word) in words.grids[grid as usize].iter().enumerate() {
        for (from, client) in words.sides.iter().enumerate() {
            for (to, provider) in words.sides.iter().enumerate() {
                let sum: u64 = shards.iter().map(|shard| shard.get_of(grid, at, (from, to))).sum();
                if sum > 0 {
                    let labels = vec![
                        (label, (*word).to_owned()),
                        ("from", (*client).to_owned()),
                        ("to", (*provider).to_owned()),
                    ];
                    samples.push(Sample { labels, value: Value::Number(sum as f64) });
                }
            }
        }
    }
    Metric { name, help, kind: Kind::Counter, samples }
}

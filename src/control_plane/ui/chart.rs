//! Bar charts as SVG, with the same numbers in a table for those who do not see or point.

use maud::{Markup, html};

/// One bar.
pub(super) struct Bar {
    pub label: String,
    /// From the bottom to the top.
    pub values: Vec<f64>,
}

/// How the values of a bar make its height.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Stacking {
    /// They are parts of a sum.
    Sum,
    /// Each includes those before, as percentiles do: the first is a bar, the others are marks.
    Nested,
}

/// What a chart shows.
pub(super) struct Chart<'a> {
    pub title: &'a str,
    /// The number of the whole time, beside the title.
    pub whole: String,
    pub series: &'a [Series],
    pub bars: Vec<Bar>,
    pub stacking: Stacking,
    pub show: fn(f64) -> String,
}

/// Values with one meaning. It has one colour in all charts, that of its class in the style sheet.
#[derive(Clone, Copy)]
pub(super) enum Series {
    Answered,
    Failed,
    InputTokens,
    OutputTokens,
    Cost,
    Median,
    Slowest,
}

impl Series {
    pub(super) fn name(self) -> &'static str {
        match self {
            Series::Answered => "answered",
            Series::Failed => "failed",
            Series::InputTokens => "input",
            Series::OutputTokens => "output",
            Series::Cost => "dollars",
            Series::Median => "median",
            Series::Slowest => "99 %",
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Series::Answered => "series-answered",
            Series::Failed => "series-failed",
            Series::InputTokens => "series-input",
            Series::OutputTokens => "series-output",
            Series::Cost => "series-cost",
            Series::Median => "series-median",
            Series::Slowest => "series-slowest",
        }
    }
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;
/// The height of a mark.
const MARK: f64 = 3.0;

pub(super) fn chart(chart: &Chart<'_>) -> Markup {
    let highest = chart.bars.iter().map(|bar| height(chart.stacking, bar)).fold(0.0, f64::max);
    let step = WIDTH / chart.bars.len().max(1) as f64;
    html! {
        figure.chart {
            figcaption {
                span { (chart.title) }
                span.sum { (chart.whole) }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                aria-label=(format!("{}; the table below has the numbers", chart.title)) {
                line.base x1="0" x2=(WIDTH) y1=(HEIGHT - 0.5) y2=(HEIGHT - 0.5) {}
                @for (at, bar) in chart.bars.iter().enumerate() {
                    g {
                        title { (tip(chart, bar)) }
                        rect.hit x=(format!("{:.2}", at as f64 * step)) y="0"
                            width=(format!("{step:.2}")) height=(HEIGHT) {}
                        @for (series, top, height) in stack(chart, bar, highest) {
                            rect class=(series.class()) x=(format!("{:.2}", at as f64 * step + step * 0.1))
                                y=(format!("{top:.2}")) width=(format!("{:.2}", step * 0.8))
                                height=(format!("{height:.2}")) {}
                        }
                    }
                }
            }
            p.axis {
                span { (chart.bars.first().map_or("", |bar| bar.label.as_str())) }
                @if chart.series.len() > 1 {
                    span.legend {
                        @for series in chart.series { span class={ "key " (series.class()) } { (series.name()) } }
                    }
                }
                span { (chart.bars.last().map_or("", |bar| bar.label.as_str())) }
            }
            (table(chart))
        }
    }
}

fn table(chart: &Chart<'_>) -> Markup {
    html! {
        details {
            summary { "Table" }
            div.scroll tabindex="0" {
                table {
                    thead { tr { th scope="col" { "Time (UTC)" } @for series in chart.series { th.number scope="col" { (series.name()) } } } }
                    tbody {
                        @for bar in &chart.bars {
                            tr { th scope="row" { (bar.label) } @for value in &bar.values { td.number { ((chart.show)(*value)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn height(stacking: Stacking, bar: &Bar) -> f64 {
    match stacking {
        Stacking::Sum => bar.values.iter().sum(),
        Stacking::Nested => bar.values.iter().copied().fold(0.0, f64::max),
    }
}

/// Which part, its upper edge and its height, of each that can be seen.
fn stack(chart: &Chart<'_>, bar: &Bar, highest: f64) -> Vec<(Series, f64, f64)> {
    let mut bottom = HEIGHT;
    let mut shown = Vec::new();
    for (at, (series, value)) in
        chart.series.iter().zip(&bar.values).enumerate().filter(|(_, (_, value))| **value > 0.0)
    {
        // One of many thousands is still seen.
        let height = (value / highest * (HEIGHT - 4.0)).max(1.5);
        match chart.stacking {
            Stacking::Sum => {
                bottom -= height;
                shown.push((*series, bottom, height));
            }
            Stacking::Nested if at == 0 => shown.push((*series, HEIGHT - height, height)),
            Stacking::Nested => shown.push((*series, HEIGHT - height, MARK)),
        }
    }
    shown
}

fn tip(chart: &Chart<'_>, bar: &Bar) -> String {
    let parts = chart.series.iter().zip(&bar.values);
    let parts: Vec<_> = parts.map(|(series, value)| format!("{} {}", series.name(), (chart.show)(*value))).collect();
    format!("{}: {}", bar.label, parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_bar_stand_on_one_another() {
        let chart = |stacking, values: &[f64]| Chart {
            title: "t",
            whole: String::new(),
            series: &[Series::Answered, Series::Failed],
            bars: vec![Bar { label: "now".to_owned(), values: values.to_vec() }],
            stacking,
            show: |value| value.to_string(),
        };
        let tops = |stacking, values: &[f64]| {
            let chart = chart(stacking, values);
            let parts = stack(&chart, &chart.bars[0], height(stacking, &chart.bars[0]));
            parts.iter().map(|(_, top, height)| (*top, *height)).collect::<Vec<_>>()
        };
        assert_eq!(tops(Stacking::Sum, &[3.0, 1.0]), [(33.0, 87.0), (4.0, 29.0)]);
        assert_eq!(tops(Stacking::Nested, &[3.0, 4.0]), [(33.0, 87.0), (4.0, MARK)]);
        assert_eq!(tops(Stacking::Sum, &[0.0, 0.0]), []);
        assert_eq!(tops(Stacking::Sum, &[1e6, 1.0])[1].1, 1.5, "one of a million is seen");
    }
}

//! Bar charts as SVG, with the same numbers in a table for those who do not see or point.

use maud::{Markup, html};

/// One bar.
pub(super) struct Bar {
    pub label: String,
    /// From the bottom to the top of a stack.
    pub parts: Vec<f64>,
}

/// What a chart shows.
pub(super) struct Chart<'a> {
    pub title: &'a str,
    /// Of the parts of a bar.
    pub series: &'a [&'a str],
    pub bars: Vec<Bar>,
    pub show: fn(f64) -> String,
}

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

pub(super) fn chart(chart: &Chart<'_>) -> Markup {
    let highest = chart.bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(0.0, f64::max);
    let step = WIDTH / chart.bars.len().max(1) as f64;
    let total: f64 = chart.bars.iter().flat_map(|bar| &bar.parts).sum();
    html! {
        figure.chart {
            figcaption {
                span { (chart.title) }
                span.sum { ((chart.show)(total)) }
            }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" role="img"
                aria-label=(format!("{}; the table below has the numbers", chart.title)) {
                line.base x1="0" x2=(WIDTH) y1=(HEIGHT - 0.5) y2=(HEIGHT - 0.5) {}
                @for (at, bar) in chart.bars.iter().enumerate() {
                    g {
                        title { (tip(chart, bar)) }
                        rect.hit x=(format!("{:.2}", at as f64 * step)) y="0"
                            width=(format!("{step:.2}")) height=(HEIGHT) {}
                        @for (nth, top, height) in stack(bar, highest) {
                            rect class=(format!("series-{nth}")) x=(format!("{:.2}", at as f64 * step + step * 0.1))
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
                        @for (nth, name) in chart.series.iter().enumerate() {
                            span class=(format!("key series-{nth}")) { (name) }
                        }
                    }
                }
                span { (chart.bars.last().map_or("", |bar| bar.label.as_str())) }
            }
            details {
                summary { "Table" }
                div.scroll tabindex="0" {
                    table {
                        thead { tr { th scope="col" { "Time (UTC)" } @for name in chart.series { th.number scope="col" { (name) } } } }
                        tbody {
                            @for bar in &chart.bars {
                                tr { th scope="row" { (bar.label) } @for part in &bar.parts { td.number { ((chart.show)(*part)) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Which part, its upper edge and its height, of each that can be seen.
fn stack(bar: &Bar, highest: f64) -> Vec<(usize, f64, f64)> {
    let mut bottom = HEIGHT;
    let mut shown = Vec::new();
    for (nth, part) in bar.parts.iter().enumerate().filter(|(_, part)| **part > 0.0) {
        // One of many thousands is still seen.
        let height = (part / highest * (HEIGHT - 4.0)).max(1.5);
        bottom -= height;
        shown.push((nth, bottom, height));
    }
    shown
}

fn tip(chart: &Chart<'_>, bar: &Bar) -> String {
    let parts = chart.series.iter().zip(&bar.parts);
    let parts: Vec<_> = parts.map(|(name, part)| format!("{name} {}", (chart.show)(*part))).collect();
    format!("{}: {}", bar.label, parts.join(", "))
}

//! The distributions of a run as an SVG picture: one panel each, the share of the requests across,
//! spread out towards the slowest, and the time upwards, both logarithmic.

use std::fmt::Write;

use super::histogram::Histogram;
use super::load::Measured;
use super::report::{Series, micros, text};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
/// Around the area of a panel: left for the times, right for nothing, top for the title, bottom for
/// the percentiles.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 40.0;
/// Colours that remain apart for the colour-blind (Okabe and Ito).
const COLOURS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];
/// The marks across.
const MARKS: [f64; 6] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99];

/// Draws the panels that have something to show.
pub(super) fn svg(title: &str, all: &[Series]) -> String {
    let totals: Vec<(&str, Measured)> = all.iter().map(|series| (series.name.as_str(), series.total())).collect();
    type Pick = fn(&Measured) -> &Histogram;
    let panels: [(&str, Pick); 3] = [
        ("latency, to the last byte", |round| &round.latency),
        ("latency, to the first byte", |round| &round.first),
        ("events under way", |round| &round.events),
    ];
    let shown: Vec<(&str, Pick)> =
        panels.into_iter().filter(|(_, of)| totals.iter().any(|(_, total)| of(total).count() > 0)).collect();
    let height = 30.0 + HEIGHT * shown.len() as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n<text x=\"{LEFT}\" y=\"20\" \
         font-size=\"14\">{}</text>\n",
        escaped(title)
    );
    for (at, (name, of)) in shown.into_iter().enumerate() {
        let lines: Vec<(&str, &Histogram)> = totals.iter().map(|(name, total)| (*name, of(total))).collect();
        let _ = writeln!(out, "<g transform=\"translate(0 {})\">", 30.0 + HEIGHT * at as f64);
        panel(&mut out, name, &lines);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn panel(out: &mut String, title: &str, lines: &[(&str, &Histogram)]) {
    let drawn = || lines.iter().filter(|(_, histogram)| histogram.count() > 0);
    let decade = |micros: f64| micros.max(0.1).log10();
    let lowest = drawn().map(|(_, h)| decade(micros(h.percentile(0.0)))).fold(f64::MAX, f64::min).floor();
    let highest = drawn().map(|(_, h)| decade(micros(h.max()))).fold(f64::MIN, f64::max).ceil().max(lowest + 1.0);
    let y = |micros: f64| {
        let share = (decade(micros) - lowest) / (highest - lowest);
        HEIGHT - BOTTOM - share.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    };
    let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\" font-weight=\"bold\">{title}</text>", TOP - 12.0);
    let mut exponent = lowest;
    while exponent <= highest {
        let at = 10_f64.powf(exponent);
        grid(out, [LEFT, y(at), WIDTH - RIGHT, y(at)]);
        let label = text(std::time::Duration::from_secs_f64(at / 1e6)).replace(".00", "").replace(".0 ", " ");
        let _ = writeln!(out, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>", LEFT - 6.0, y(at) + 4.0);
        exponent += 1.0;
    }
    for percent in MARKS {
        grid(out, [x(percent), TOP, x(percent), HEIGHT - BOTTOM]);
        let at = HEIGHT - BOTTOM + 16.0;
        let _ = writeln!(out, "<text x=\"{:.1}\" y=\"{at}\" text-anchor=\"middle\">{percent} %</text>", x(percent));
    }
    for (at, (name, histogram)) in lines.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let left = LEFT + 210.0 + 110.0 * at as f64;
        let _ = writeln!(out, "<text x=\"{left}\" y=\"{}\" fill=\"{colour}\">{}</text>", TOP - 12.0, escaped(name));
        if histogram.count() == 0 {
            continue;
        }
        let points: Vec<String> = percents(histogram.count())
            .map(|percent| format!("{:.1},{:.1}", x(percent), y(micros(histogram.percentile(percent)))))
            .collect();
        let _ = writeln!(
            out,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
            points.join(" ")
        );
    }
}

fn grid(out: &mut String, [x1, y1, x2, y2]: [f64; 4]) {
    let _ = writeln!(out, "<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"#dddddd\"/>");
}

/// Returns the place of a percentile: each further nine takes the same width.
fn x(percent: f64) -> f64 {
    let nines = -(1.0 - (percent / 100.0).min(0.9999)).log10();
    LEFT + nines / 4.0 * (WIDTH - LEFT - RIGHT)
}

/// Returns the percentiles of a line: those that `count` values can tell apart.
fn percents(count: u64) -> impl Iterator<Item = f64> {
    let last = (count as f64).log10().min(4.0);
    (0..=80)
        .map(|step| f64::from(step) / 20.0)
        .filter(move |nines| *nines <= last)
        .map(|nines| 100.0 * (1.0 - 10_f64.powf(-nines)))
}

/// Returns a text as XML has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_picture() {
        let mut round = Measured::default();
        (1..=1000).for_each(|n| round.latency.record(Duration::from_micros(n)));
        let all = [
            Series { name: "a<b".into(), rounds: vec![round] },
            Series { name: "none".into(), rounds: vec![Measured::default()] },
        ];
        let picture = svg("this & that", &all);
        assert!(picture.contains("this &amp; that") && picture.contains(">a&lt;b</text>"), "{picture}");
        assert_eq!(picture.matches("<polyline").count(), 1, "one line for what was measured");
        assert_eq!(picture.matches("<g ").count(), 1, "no panel for what was not");
        assert!(picture.contains(">10 us</text>") && picture.contains(">1 ms</text>"), "{picture}");
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    }

    #[test]
    fn places() {
        assert_eq!(
            [x(0.0), x(90.0).round(), x(99.99).round(), x(100.0).round()],
            [LEFT, 245.0, WIDTH - RIGHT, WIDTH - RIGHT]
        );
        assert_eq!(percents(1).count(), 1);
        assert_eq!(percents(10).last().map(f64::round), Some(90.0));
        assert_eq!(percents(10_000_000).count(), 81);
    }
}

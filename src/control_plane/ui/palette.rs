//! Whether the colours of the style sheet can be told apart: from their ground, and from one another,
//! by those who see all colours and by those who do not.

const SHEET: &str = include_str!("assets/page.css");

type Color = [f64; 3];

/// The matrices for linear RGB of Machado, Oliveira and Fernandes (2009), of full severity.
const SIGHTS: [(&str, [[f64; 3]; 3]); 4] = [
    ("all colours", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    (
        "protanopia",
        [[0.152_286, 1.052_583, -0.204_868], [0.114_503, 0.786_281, 0.099_216], [-0.003_882, -0.048_116, 1.051_998]],
    ),
    (
        "deuteranopia",
        [[0.367_322, 0.860_646, -0.227_968], [0.280_085, 0.672_501, 0.047_413], [-0.011_820, 0.042_940, 0.968_881]],
    ),
    (
        "tritanopia",
        [[1.255_528, -0.076_749, -0.178_779], [-0.078_411, 0.930_809, 0.147_602], [0.004_733, 0.691_367, 0.303_900]],
    ),
];

const SERIES: [&str; 7] = ["answered", "failed", "input", "output", "cost", "median", "slowest"];

/// Those that stand in one chart.
const TOGETHER: [[&str; 2]; 3] = [["answered", "failed"], ["input", "output"], ["median", "slowest"]];

/// The variables of the style sheet, light and dark.
fn schemes() -> [(&'static str, &'static str); 2] {
    let (light, rest) = SHEET.split_once("@media (prefers-color-scheme: dark)").unwrap();
    [("light", light), ("dark", rest.split_once("}\n}").unwrap().0)]
}

/// Returns the color of a variable as linear RGB.
fn color(scheme: &str, name: &str) -> Color {
    let (_, rest) = scheme.split_once(&format!("--{name}: #")).unwrap_or_else(|| panic!("no color --{name}"));
    let digits: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
    let each = if digits.len() == 3 { 1 } else { 2 };
    let part = |at: usize| {
        let part = digits[at * each..(at + 1) * each].repeat(if each == 1 { 2 } else { 1 });
        let value = f64::from(u8::from_str_radix(&part, 16).unwrap()) / 255.0;
        if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    [part(0), part(1), part(2)]
}

fn times(matrix: &[[f64; 3]; 3], color: Color) -> Color {
    matrix.map(|row| row.iter().zip(color).map(|(a, b)| a * b).sum::<f64>())
}

/// The contrast of WCAG 2.2.
fn contrast(one: Color, other: Color) -> f64 {
    let luminance = |color: Color| 0.2126 * color[0] + 0.7152 * color[1] + 0.0722 * color[2] + 0.05;
    let (one, other) = (luminance(one), luminance(other));
    one.max(other) / one.min(other)
}

/// The distance in Oklab, in hundredths: 2 is just seen side by side, 100 is black and white.
fn distance(sight: &[[f64; 3]; 3], one: Color, other: Color) -> f64 {
    const TO_CONES: [[f64; 3]; 3] = [
        [0.412_221_470_8, 0.536_332_536_3, 0.051_445_992_9],
        [0.211_903_498_2, 0.680_699_545_1, 0.107_396_956_6],
        [0.088_302_461_9, 0.281_718_837_6, 0.629_978_700_5],
    ];
    const TO_LAB: [[f64; 3]; 3] = [
        [0.210_454_255_3, 0.793_617_785_0, -0.004_072_046_8],
        [1.977_998_495_1, -2.428_592_205_0, 0.450_593_709_9],
        [0.025_904_037_1, 0.782_771_766_2, -0.808_675_766_0],
    ];
    let lab = |color: Color| {
        let seen = times(sight, color).map(|part| part.clamp(0.0, 1.0));
        times(&TO_LAB, times(&TO_CONES, seen).map(f64::cbrt))
    };
    let (one, other) = (lab(one), lab(other));
    one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt() * 100.0
}

#[test]
fn texts_and_marks_stand_out_from_their_ground() {
    for (scheme, sheet) in schemes() {
        let checked = |names: &[&str], grounds: &[&str], least: f64| {
            for (name, ground) in names.iter().flat_map(|name| grounds.iter().map(move |ground| (name, ground))) {
                let found = contrast(color(sheet, name), color(sheet, ground));
                assert!(found >= least, "{scheme}: --{name} on --{ground} has a contrast of {found:.2}");
            }
        };
        checked(&["text", "dim", "accent", "good", "bad"], &["panel", "ground", "notice"], 4.5);
        checked(&["accent-text"], &["accent"], 4.5);
        checked(&["bad"], &["bad-ground"], 4.5);
        checked(&SERIES, &["panel", "ground"], 3.0);
        checked(&["warn", "field"], &["panel"], 3.0);
    }
}

#[test]
fn series_are_told_apart_by_every_eye() {
    for (scheme, sheet) in schemes() {
        for (at, one) in SERIES.iter().enumerate() {
            for other in &SERIES[at + 1..] {
                let is_together = TOGETHER.iter().any(|pair| pair.contains(one) && pair.contains(other));
                // What failed is not mistaken for anything in another chart either.
                let least = match [one, other].contains(&&"failed") {
                    _ if is_together => 15.0,
                    true => 11.0,
                    false => 8.5,
                };
                for (sight, matrix) in &SIGHTS {
                    let found = distance(matrix, color(sheet, one), color(sheet, other));
                    assert!(found >= least, "{scheme}, {sight}: {one} and {other} are {found:.1} apart");
                }
            }
        }
    }
}

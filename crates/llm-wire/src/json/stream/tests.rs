use super::super::capture::MAX_TEXT;
use super::*;
use crate::json::{property, sample};
use proptest::prelude::*;

/// Feeds `input` whole, byte by byte, and cut in two everywhere; each way must give `expected`
/// and `usage`.
fn check(input: &str, expected: &str, usage: Option<&str>) {
    let input = input.as_bytes();
    let bytes: Vec<&[u8]> = input.chunks(1).collect();
    let mut ways = vec![vec![input], bytes];
    ways.extend((0..=input.len()).map(|cut| vec![&input[..cut], &input[cut..]]));
    for way in ways {
        let mut doc = Document::new(&["usage"], 64).replace_model("\"new\"");
        let mut out = Vec::new();
        for piece in &way {
            doc.feed(piece, &mut out);
        }
        doc.finish(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected, "cut after {} bytes", way[0].len());
        assert_eq!(doc.captured("usage").map(RawValue::bytes), usage.map(str::as_bytes), "{}", way[0].len());
    }
}

#[test]
fn only_the_top_level_model_is_replaced() {
    check(r#"{"model":"old","x":1}"#, r#"{"model":"\"new\"","x":1}"#, None);
    check(
        " {\n\"a\" : [ 1 , {\"model\":\"in\"} ] , \"mod\\u0065l\" : \"o\\\\\\\"d\" } \n",
        " {\n\"a\" : [ 1 , {\"model\":\"in\"} ] , \"mod\\u0065l\" : \"\\\"new\\\"\" } \n",
        None,
    );
    for unchanged in [
        r#"{"a":"\"model\":\"x\"","b":{"model":"x","c":[[{"model":"y"}]]},"modelx":"z","model":7,"":"m"}"#,
        r#"[{"model":"x"}]"#,
        r#""model""#,
        "",
        "{}",
        "<html>\"model\":\"x\"",
        r#"{"a":1 "model":"x"}"#,
        r#"{"a":[1},"model":"x"}"#,
        r#"{"a":1}{"model":"x"}"#,
        r#"{"model":"x"#,
        "{\"model\":\"bad \\q escape\"}",
        r#"{'model':"x"}"#,
    ] {
        check(unchanged, unchanged, None);
    }
}

#[test]
fn usage_is_captured_whole_or_not_at_all() {
    check(
        r#"{"usage":{"a":[1,"}"]} ,"b":{"usage":1}}"#,
        r#"{"usage":{"a":[1,"}"]} ,"b":{"usage":1}}"#,
        Some(r#"{"a":[1,"}"]}"#),
    );
    check(r#"{"usage":1,"usage":null}"#, r#"{"usage":1,"usage":null}"#, Some("null"));
    check(r#"{"usage":"a\"b"}"#, r#"{"usage":"a\"b"}"#, Some(r#""a\"b""#));
    check(r#"{"usage":12}"#, r#"{"usage":12}"#, Some("12"));
    check(r#"{"usage":{"a":1"#, r#"{"usage":{"a":1"#, None);
    check(r#"{"usage":{"a":1]"#, r#"{"usage":{"a":1]"#, None);
    check(r#"{"usage":{"a" 1}}"#, r#"{"usage":{"a" 1}}"#, None);
    // Strings inside that are long are left out, and the limit is for the rest.
    for (text, kept) in
        [("x".repeat(MAX_TEXT), false), ("x".repeat(MAX_TEXT + 1), true), (r#"\""#.repeat(MAX_TEXT), true)]
    {
        let document = format!(r#"{{"usage":[{{"b":"{text}"}},"c"]}}"#);
        check(&document, &document, kept.then_some(r#"[{"b":""},"c"]"#));
    }
    let long = format!(r#"{{"usage":"{}","model":"old"}}"#, "x".repeat(80));
    check(&long, &long.replace(r#""old""#, r#""\"new\"""#), None);
}

#[test]
fn what_was_replaced_is_known() {
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(2 * MAX_MODEL));
    for (input, was) in
        [(r#"{"model":"old"}"#, Some(r#""old""#)), (r#"{"model":"ol"#, None), ("{}", None), (&long, None)]
    {
        for size in [1, 2000] {
            let mut doc = Document::new(&[], 0).replace_model("new");
            input.as_bytes().chunks(size).for_each(|piece| doc.feed(piece, &mut Vec::new()));
            assert_eq!(doc.captured("model").map(RawValue::bytes), was.map(str::as_bytes), "{input}");
        }
    }
}

#[test]
fn a_name_too_long_to_hold_goes_through() {
    let long = format!(r#"{{"model":"{}","usage":1}}"#, "m".repeat(2 * MAX_MODEL));
    check(&long, &long, Some("1"));
    let key = format!(r#"{{"{}":1,"usage":2}}"#, "usage".repeat(40));
    check(&key, &key, Some("2"));
}

#[test]
fn the_end_is_detected() {
    for (input, whole) in [("{\"a\":1}", true), ("{\"a\":1", false), ("[]", false), ("", false)] {
        let mut doc = Document::new(&[], 0);
        doc.observe(input.as_bytes());
        assert_eq!(doc.is_whole(), whole, "{input}");
    }
}

#[test]
fn nesting_beyond_the_limit_is_passed_on() {
    let deep = format!(r#"{{"a":{}{},"model":"x"}}"#, "[".repeat(500), "]".repeat(500));
    check(&deep, &deep, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn cuts_change_nothing(document in sample::document(), seed: u64) {
        property::document_ignores_cuts(&document, seed);
    }

    #[test]
    fn cuts_change_nothing_in_objects(inside in sample::document(), after in sample::document(), seed: u64) {
        let document = [b"{\"model\":\"m\",\"a\":", inside.as_slice(), b",\"usage\" :", &after, b",\"model\" : \"x\\n\"}\n"].concat();
        property::document_ignores_cuts(&document, seed);
    }

    #[test]
    fn cuts_change_nothing_in_noise(noise in prop::collection::vec(prop::sample::select(&b"{}[]\",:\\model1 "[..]), 0..60), seed: u64) {
        property::document_ignores_cuts(&noise, seed);
        property::document_ignores_cuts(&[b"{\"model\":\"", noise.as_slice()].concat(), seed);
    }
}

use super::*;
use crate::json::sample;
use proptest::prelude::*;

#[test]
fn faults_have_a_kind_and_a_position() {
    let rows: &[(&[u8], Fault, usize)] = &[
        (b"", Fault::Eof, 0),
        (b"  ", Fault::Eof, 2),
        (b"{\"a\":[1,2", Fault::Eof, 9),
        (b"\"abc", Fault::Eof, 4),
        (b"\"\\u00", Fault::Eof, 5),
        (b"{\"a\":}", Fault::Value, 5),
        (b"[1,]", Fault::Value, 3),
        (b"nul", Fault::Value, 0),
        (b"NaN", Fault::Value, 0),
        (b"[+1]", Fault::Value, 1),
        (b"{,}", Fault::Key, 1),
        (b"{\"a\":1,}", Fault::Key, 7),
        (b"{a:1}", Fault::Key, 1),
        (b"{\"a\" 1}", Fault::Colon, 5),
        (b"[1 2]", Fault::Comma, 3),
        (b"[1}", Fault::Comma, 2),
        (b"[01]", Fault::Comma, 2),
        (b"[1.]", Fault::Number, 1),
        (b"-", Fault::Number, 0),
        (b"1e+", Fault::Number, 0),
        (b"\"a\\x\"", Fault::Escape, 2),
        (b"\"\\u12g4\"", Fault::Escape, 1),
        (b"\"a\nb\"", Fault::Control, 2),
        (b"\"\xff\"", Fault::Utf8, 1),
        (b"{} x", Fault::Trailing, 3),
        (b"01", Fault::Trailing, 1),
    ];
    for &(document, what, at) in rows {
        assert_eq!(validate(document), Err(ScanError { at, what }), "{}", String::from_utf8_lossy(document));
    }
}

/// Wherever the byte is that is not, and whatever stands behind the text.
#[test]
fn plain_ascii() {
    for len in 0..70 {
        for tail in ["", "\"", "\"}]}\n\n", "\"},\"finish_reason\":null}]}\n\n"] {
            let text = [&b"a ~".repeat(30)[..len], tail.as_bytes()].concat();
            assert!(is_plain_ascii(&text, len), "{len} {tail}");
            for at in 0..len {
                for byte in [b'"', b'\\', b'\n', 0, 0x1f, 0x80, 0xe9, 0xff] {
                    let mut text = text.clone();
                    text[at] = byte;
                    assert!(!is_plain_ascii(&text, len), "{byte} at {at} of {len} {tail}");
                }
            }
        }
    }
    assert!(!is_plain_ascii(b"too short", 40));
}

/// A string's body is what ends with the string.
#[test]
fn bodies_of_strings() {
    for len in 0..70 {
        for tail in ["\"", "\"}]}\n\n", "\",\"finish_reason\":\"\"}\n\n"] {
            let text = [&b"a n~".repeat(30)[..len], tail.as_bytes()].concat();
            assert!(is_string_body(vectors::Common, &text, len), "{len} {tail}");
            for at in 0..len {
                for byte in [b'"', b'\\', b'\n', 0, 0x1f, 0x20, 0x7f, 0x80, 0xe9, 0xff] {
                    let mut text = text.clone();
                    text[at] = byte;
                    let expected = string_end(&text, 0) == Some(len);
                    assert_eq!(is_string_body(vectors::Common, &text, len), expected, "{byte} at {at} of {len} {tail}");
                }
            }
        }
    }
}

#[test]
fn depth_is_limited_and_costs_no_stack() {
    for (depth, result) in [(128, Ok(())), (129, Err(ScanError { at: 128, what: Fault::TooDeep }))] {
        assert_eq!(validate(&[vec![b'['; depth], vec![b']'; depth]].concat()), result);
    }
    let mixed = format!("{}1{}", "[{\"a\":".repeat(64), "}]".repeat(64));
    assert_eq!(validate(mixed.as_bytes()), Ok(()));
    assert_eq!(validate(&vec![b'['; 1 << 20]), Err(ScanError { at: 128, what: Fault::TooDeep }));
}

#[test]
fn string_bodies() {
    for (body, ok) in [("", true), (r"a\n\u0041", true), ("a\"", false), ("a\\", false), (r"\q", false), ("\n", false)]
    {
        assert_eq!(check_string_body(body.as_bytes()).is_ok(), ok, "{body}");
    }
}

#[test]
fn plain_run_stops_at_the_first_special_byte_of_any_alignment() {
    for len in 0..100 {
        let mut text = vec![b'x'; len + 1];
        assert_eq!(plain_run(&text, 0), len + 1);
        for special in [b'"', b'\\', 0, 0x1f] {
            text[len] = special;
            for from in 0..=len {
                assert_eq!(plain_run(&text, from), len);
            }
        }
        text[len] = 0xff;
        assert_eq!(plain_run(&text, 0), len + 1);
    }
}

#[test]
fn plain_run_stops_at_the_first_special_byte_of_long_texts() {
    for len in [270, 280, 281, 296, 1303, 1304, 1305, 6000, 30_000] {
        let mut text = vec![b'x'; len + 40];
        assert_eq!(plain_run(&text, 0), len + 40);
        for (special, later) in [(b'"', b'\n'), (b'\\', b'"'), (0, b'"'), (b'\n', b'\n'), (0x1f, b'\\')] {
            (text[len], text[len + 3], text[len + 39]) = (special, later, b'"');
            for from in [0, 1, 7, 8, 100, len - 24, len - 1, len] {
                assert_eq!(plain_run(&text, from), len, "{special} from {from}");
            }
        }
    }
}

/// To escape a text of many lines costs what its bytes cost, and not the rest of it for each line.
#[test]
fn long_texts_of_many_lines_are_escaped_in_linear_time() {
    let text = "a line of text, without quotes, as in a log\n".repeat(200_000);
    let began = std::time::Instant::now();
    let mut out = Vec::new();
    crate::json::write::escaped(&mut out, &text);
    assert_eq!(out.len(), text.len() + 200_000);
    // Linear: 0.1 s without optimisation. With a look at the rest for each line: many minutes.
    assert!(began.elapsed() < std::time::Duration::from_secs(60));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Below the depth limit, with a reader that neither pairs surrogates nor bounds numbers,
    /// there is no difference.
    #[test]
    fn validity_agrees_with_serde_json(document in sample::document()) {
        let theirs = std::str::from_utf8(&document).ok()
            .is_some_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
        prop_assert_eq!(validate(&document).is_ok(), theirs, "{}", String::from_utf8_lossy(&document));
    }
}

/// Every way in which [`validate`] and a reader that builds a tree differ.
#[test]
fn known_differences_to_serde_json() {
    let deep = [vec![b'['; 128], vec![b']'; 128]].concat();
    for document in [&br#""\ud83d""#[..], br#""\ude00\ud83d""#, b"1e999", b"-1e999", &deep] {
        assert!(validate(document).is_ok());
        assert!(serde_json::from_slice::<serde_json::Value>(document).is_err());
    }
}

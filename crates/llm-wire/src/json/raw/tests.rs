use super::*;

#[test]
fn text_is_compared_and_decoded_through_escapes() {
    let rows: &[(&[u8], &str)] = &[
        (b"", ""),
        (b"gpt-x", "gpt-x"),
        (br"a\/b", "a/b"),
        (br#"\"\\\b\f\n\r\t"#, "\"\\\u{8}\u{c}\n\r\t"),
        (br"\u006dod\u0065l", "model"),
        (br"\ud83d\ude00!", "\u{1f600}!"),
        (br"\ud83d", "\u{fffd}"),
        (br"\ude00\ud83d", "\u{fffd}\u{fffd}"),
        (br"\ud83dx", "\u{fffd}x"),
        (br"\ud83d\u0041", "\u{fffd}A"),
        ("\u{2028}é".as_bytes(), "\u{2028}é"),
    ];
    for (raw, text) in rows {
        let raw = RawStr::new(raw);
        assert_eq!(raw.unescape(), *text, "{raw:?}");
        assert!(raw.eq_str(text), "{raw:?}");
        assert!(!raw.eq_str(&format!("{text}x")) && !raw.eq_str("nothing of this"), "{raw:?}");
    }
    assert!(matches!(RawStr::new(b"plain").unescape(), Cow::Borrowed("plain")));
}

/// Deltas are copied as they are, so the halves of a pair that a provider cut meet again in the
/// client's concatenation.
#[test]
fn surrogate_halves_join_when_concatenated() {
    let [first, second] = [&br"a\ud83d"[..], br"\ude00b"].map(RawStr::new);
    let mut joined = Vec::new();
    for half in [first, second] {
        RawStr::parse(half.as_bytes()).unwrap();
        joined.extend_from_slice(half.as_bytes());
    }
    assert!(RawStr::new(&joined).eq_str("a\u{1f600}b"));
}

#[test]
fn bytes_that_no_scanner_checked_do_no_harm() {
    for raw in [&b"\\"[..], b"\\u", b"\\u12", b"\\q", b"\xff\\n", b"\\ud83d\\u"] {
        let _ = RawStr::new(raw).unescape();
        assert!(!RawStr::new(raw).eq_str("x"));
    }
    assert_eq!(RawValue::new(b"").kind(), RawKind::Null);
    assert_eq!(RawValue::new(b"\"").as_str(), None);
}

#[test]
fn counts() {
    let rows: &[(&[u8], Option<u64>)] = &[
        (b"0", Some(0)),
        (b"12", Some(12)),
        (b"12.0", Some(12)),
        (b"1.2e1", Some(12)),
        (b"\"12\"", Some(12)),
        (b"9007199254740992", Some(1 << 53)),
        (b"9007199254740993", None),
        (b"1e400", None),
        (b"99999999999999999999", None),
        (b"-1", None),
        (b"1.5", None),
        (b"\"-1\"", None),
        (b"\"\"", None),
        (b"null", None),
        (b"true", None),
        (b"[1]", None),
    ];
    for (raw, count) in rows {
        assert_eq!(RawValue::new(raw).as_u64(), *count, "{:?}", RawValue::new(raw));
    }
}

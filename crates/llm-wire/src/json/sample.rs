//! Documents for the tests of this folder.

use proptest::prelude::*;

/// Documents, some of them then broken by a change of one byte or a cut.
pub(super) fn document() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,4})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        r#""([ -!#-\[\]-~éあ😀]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}){0,40}""#,
    ];
    let tree = leaf.prop_recursive(6, 64, 5, |inner| {
        let space = "[ \n\r\t]{0,2}";
        let key = prop::sample::select(vec!["model", "model", r"\u006dodel", "usage", "a", "b", ""]);
        let member = (space, key, space, inner.clone()).prop_map(|(a, k, b, v)| format!("{a}\"{k}\"{b}:{v}"));
        prop_oneof![
            (prop::collection::vec(inner, 0..5), space).prop_map(|(v, s)| format!("[{s}{}{s}]", v.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|m| format!("{{{}}}", m.join(" , "))),
        ]
    });
    let broken =
        (any::<prop::sample::Index>(), prop::option::of(any::<u8>()), prop_oneof![2 => Just(false), 3 => Just(true)]);
    (tree, broken).prop_map(|(text, (at, byte, breaks))| {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        match byte {
            Some(byte) if breaks => bytes[at] = b"{}[]\",:\\0e-tn \n\x01\xff"[usize::from(byte) % 17],
            None if breaks => bytes.truncate(at),
            _ => {}
        }
        bytes
    })
}

use super::*;

fn flat(schema: &str) -> Option<String> {
    without_root_choice(RawValue::new(schema.as_bytes())).map(|made| {
        RawValue::parse(&made).expect("JSON");
        String::from_utf8(made).unwrap()
    })
}

#[test]
fn choices_become_properties() {
    let rows = [
        // A union of zod.
        (
            r#"{"type":"object","anyOf":[{"type":"object","properties":{"a":{"type":"string"},"k":{"const":1}},"required":["a","k"]},
                {"type":"object","properties":{"b":{},"k":{"const":2}},"required":["b","k"]}]}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"},"k":{"anyOf":[{"const":1},{"const":2}]},"b":{}},"required":["k"]"#,
        ),
        // An intersection: everything is required, and what stands in it twice stays as it was.
        (
            r#"{"properties":{"z":{}},"required":["z"],"allOf":[{"properties":{"a":{"minLength":1}},"required":["a"]},
                {"properties":{"a":{"maxLength":2},"b":{}},"required":["a","b"]}]}"#,
            r#"{"properties":{"z":{},"a":{"minLength":1},"b":{}},"required":["z","a","b"]"#,
        ),
        // A union of pydantic, with a definition that has a name to be unescaped, and one that
        // refers to itself.
        (
            r##"{"$defs":{"A":{"type":"object","properties":{"kind":{"const":"a"},"next":{"$ref":"#/$defs/A"}},"required":["kind"]},
                "B/C":{"type":"object","properties":{"kind":{"const":"b"}},"required":["kind"]}},
                "discriminator":{"propertyName":"kind"},"oneOf":[{"$ref":"#/$defs/A"},{"$ref":"#/$defs/B~1C"}]}"##,
            r##""properties":{"kind":{"anyOf":[{"const":"a"},{"const":"b"}]},"next":{"$ref":"#/$defs/A"}},"required":["kind"]"##,
        ),
        // An optional object: the branch that is none does not count.
        (
            r#"{"anyOf":[{"type":"object","properties":{"a":{}},"required":["a"]},{"type":"null"}]}"#,
            r#"{"properties":{"a":{}},"required":["a"]"#,
        ),
        // A branch that anything satisfies requires nothing.
        (r#"{"anyOf":[true,{"properties":{"a":{}},"required":["a"]}]}"#, r#"{"properties":{"a":{}},"description""#),
        // What stands beside a reference holds as well.
        (
            r##"{"$defs":{"Base":{"properties":{"id":{}},"required":["id"]}},
                "anyOf":[{"$ref":"#/$defs/Base","properties":{"a":{}},"required":["a"]},{"$ref":"#/$defs/Base"}]}"##,
            r#""properties":{"a":{},"id":{}},"required":["id"],"description""#,
        ),
        (
            r##"{"$defs":{"Base":{"properties":{"id":{}},"required":["id"]}},
                "allOf":[{"$ref":"#/$defs/Base","properties":{"a":{}},"required":["a"]}]}"##,
            r#""properties":{"a":{},"id":{}},"required":["a","id"],"description""#,
        ),
        // A choice in a branch of another.
        (
            r#"{"allOf":[{"anyOf":[{"properties":{"a":{}},"required":["a"]},{"properties":{"b":{}},"required":["a","b"]}]}]}"#,
            r#"{"properties":{"a":{},"b":{}},"required":["a"]"#,
        ),
        // Only that one of two must be there.
        (
            r#"{"type":"object","properties":{"a":{},"b":{}},"anyOf":[{"required":["a"]},{"required":["b"]}]}"#,
            r#"{"type":"object","properties":{"a":{},"b":{}},"description":"(anyOf: [{\"required\":[\"a\"]},{\"required\":[\"b\"]}])"}"#,
        ),
    ];
    for (schema, expected) in rows {
        let found = flat(schema).unwrap();
        assert!(found.contains(expected), "{schema}: {found}");
        assert_eq!(flat(&found), None, "{found}");
    }
}

#[test]
fn what_stays_as_it_is() {
    let many = |n| (0..n).map(|i| format!(r#""p{i}":{{}}"#)).collect::<Vec<_>>().join(",");
    let deep = |n| format!("{}{{}}{}", r#"{"allOf":["#.repeat(n), "]}".repeat(n));
    let rows = [
        (r#"{"type":"object","properties":{"a":{"anyOf":[{},{}]}}}"#.to_owned(), false),
        // Pointers into what would move.
        (
            r##"{"anyOf":[{"properties":{"a":{}}},{"properties":{"b":{"$ref":"#/anyOf/0/properties/a"}}}]}"##.into(),
            false,
        ),
        (r##"{"anyOf":[{"properties":{"b":{"$ref":"#\/anyOf\/0"}}}]}"##.into(), false),
        (r##"{"anyOf":[{"properties":{"a":{"$anchor":"x"},"b":{"$ref":"#x"}}}]}"##.into(), false),
        // References that lead nowhere, or in a circle.
        (r##"{"anyOf":[{"$ref":"#/$defs/gone"}]}"##.into(), false),
        (r##"{"$defs":{"A":{"$ref":"#/$defs/A"}},"anyOf":[{"$ref":"#/$defs/A"}]}"##.into(), false),
        (r#"{"anyOf":[{"$ref":"https://example.org/schema"}]}"#.into(), false),
        // A branch that is a document by itself.
        (r##"{"anyOf":[{"$id":"a","properties":{"b":{"$ref":"#/$defs/c"}},"$defs":{"c":{}}}]}"##.into(), false),
        // The bounds.
        (format!(r#"{{"anyOf":[{{"properties":{{{}}}}}]}}"#, many(4000)), true),
        (format!(r#"{{"anyOf":[{{"properties":{{{}}}}}]}}"#, many(4100)), false),
        (format!(r#"{{"anyOf":[{}]}}"#, vec!["{}"; 4200].join(",")), false),
        (format!(r#"{{"$defs":{{{}}},"anyOf":[{{}}]}}"#, many(4100)), false),
        (deep(8), true),
        (deep(9), false),
    ];
    for (schema, expected) in rows {
        assert_eq!(flat(&schema).is_some(), expected, "{}", &schema[..schema.len().min(300)]);
    }
}

/// A long choice is not repeated in the description, and the client's own stays.
#[test]
fn descriptions() {
    let found = flat(r#"{"description":"of \"this\"","anyOf":[{"properties":{"a":{}}}]}"#).unwrap();
    let expected = r#"{"properties":{"a":{}},"description":"of \"this\" (anyOf: [{\"properties\":{\"a\":{}}}])"}"#;
    assert_eq!(found, expected);
    let long = format!(r#"{{"anyOf":[{{"title":"{}"}}],"description":"d"}}"#, "x".repeat(2000));
    assert_eq!(flat(&long).unwrap(), r#"{"properties":{},"description":"d"}"#);
}

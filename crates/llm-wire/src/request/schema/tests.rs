use super::*;

#[test]
fn schemas_towards_messages() {
    let rows = [
        (
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#,
            false,
        ),
        (
            r#"{"type":"object","properties":{"n":{"type":"number","minimum":1.0,"maximum":1e400}}}"#,
            r#"{"type":"object","properties":{"n":{"type":"number","description":"(minimum: 1.0, maximum: 1e400)"}},"additionalProperties":false}"#,
            true,
        ),
        (
            r#"{"type":"string","description":"an id","pattern":"^\\d+$","format":"zip"}"#,
            r#"{"type":"string","description":"an id (pattern: \"^\\\\d+$\", format: \"zip\")"}"#,
            true,
        ),
        (
            r#"{"oneOf":[{"type":"object","additionalProperties":true},{"type":["string","null"]}]}"#,
            r#"{"anyOf":[{"type":"object","additionalProperties":false},{"type":["string","null"]}]}"#,
            true,
        ),
        (
            r##"{"$defs":{"p":{"type":"object","properties":{}}},"$ref":"#/$defs/p","title":"t"}"##,
            r##"{"$defs":{"p":{"type":"object","properties":{},"additionalProperties":false}},"$ref":"#/$defs/p","title":"t"}"##,
            false,
        ),
        (
            r#"{"type":"array","items":{"type":"string","format":"date"},"minItems":1,"maxItems":3}"#,
            r#"{"type":"array","items":{"type":"string","format":"date"},"minItems":1,"description":"(maxItems: 3)"}"#,
            true,
        ),
        (
            r#"{"type":"object","properties":{"minimum":{"type":"integer"}}}"#,
            r#"{"type":"object","properties":{"minimum":{"type":"integer"}},"additionalProperties":false}"#,
            false,
        ),
        ("true", "true", false),
    ];
    for (schema, expected, lossy) in rows {
        let mut out = Vec::new();
        assert_eq!(for_messages(RawValue::new(schema.as_bytes()), &mut out), lossy, "{schema}");
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert!(RawValue::parse(&out).is_ok());
    }
}

#[test]
fn strictness_of_openai() {
    let rows = [
        (
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#,
            true,
        ),
        (r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#, false),
        (r#"{"type":"object","properties":{},"required":[]}"#, false),
        (r#"{"type":"object","properties":{},"additionalProperties":false}"#, true),
        (
            r#"{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}"#,
            false,
        ),
        (
            r#"{"type":"object","properties":{"a":{"anyOf":[{"type":"string"},{"allOf":[]}]}},"required":["a"],"additionalProperties":false}"#,
            false,
        ),
        (r#"{"type":"array","items":{}}"#, false),
        (
            r#"{"type":"object","properties":{"a":{"type":"array"}},"required":["a"],"additionalProperties":false}"#,
            false,
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"array","items":{}}},"required":["a"],"additionalProperties":false}"#,
            false,
        ),
        (
            r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"string"}}},"required":["a"],"additionalProperties":false}"#,
            true,
        ),
    ];
    for (schema, fits) in rows {
        assert_eq!(is_openai_strict(RawValue::new(schema.as_bytes())), fits, "{schema}");
    }
}

#[test]
fn properties_are_added_where_openai_demands_them() {
    let rows = [
        (r#"{"type":"object"}"#, Some(r#"{"properties":{},"type":"object"}"#)),
        (r#"{"type":"object","properties":null}"#, Some(r#"{"type":"object","properties":{}}"#)),
        (
            r#"{"$schema":"s","type":"object","additionalProperties":false}"#,
            Some(r#"{"properties":{},"$schema":"s","type":"object","additionalProperties":false}"#),
        ),
        (
            r#"{"type":["object","null"],"required":[]}"#,
            Some(r#"{"properties":{},"type":["object","null"],"required":[]}"#),
        ),
        (r#"{"type":"object","properties":{}}"#, None),
        (r#"{"type":"object","properties":{"a":{"type":"object"}}}"#, None),
        ("{}", None),
        (r#"{"properties":{"a":{}}}"#, Some(r#"{"type":"object","properties":{"a":{}}}"#)),
        (
            r#"{"additionalProperties":false}"#,
            Some(r#"{"properties":{},"type":"object","additionalProperties":false}"#),
        ),
        (r##"{"$ref":"#/$defs/a"}"##, None),
    ];
    for (schema, expected) in rows {
        let got = with_properties(RawValue::new(schema.as_bytes()));
        assert_eq!(got.map(|got| String::from_utf8(got).unwrap()).as_deref(), expected, "{schema}");
    }
}

#[test]
fn arrays_say_what_is_in_them_where_openai_demands_it() {
    let rows = [
        (r#"{"type":"array"}"#, Some(r#"{"items":{},"type":"array"}"#)),
        (
            r#"{ "type": "object", "properties": {"a": {"type": "array"}, "b": { "type":["null","array"]}} }"#,
            Some(
                r#"{ "type": "object", "properties": {"a": {"items":{},"type": "array"}, "b": {"items":{}, "type":["null","array"]}} }"#,
            ),
        ),
        (r#"{"type":"array","items":null}"#, Some(r#"{"type":"array","items":{}}"#)),
        (
            r#"{"type":"array","items":{"type":"array"}}"#,
            Some(r#"{"type":"array","items":{"items":{},"type":"array"}}"#),
        ),
        (
            r#"{"anyOf":[{"type":"array"},{"$ref":"x"}],"$defs":{"x":{"type":"array","minItems":1}}}"#,
            Some(
                r#"{"anyOf":[{"items":{},"type":"array"},{"$ref":"x"}],"$defs":{"x":{"items":{},"type":"array","minItems":1}}}"#,
            ),
        ),
        (
            r#"{"type":"array","items":[{"type":"array"}]}"#,
            Some(r#"{"type":"array","items":[{"items":{},"type":"array"}]}"#),
        ),
        (
            r#"{"additionalProperties":{"type":"array"}}"#,
            Some(r#"{"additionalProperties":{"items":{},"type":"array"}}"#),
        ),
        // Names and values of others.
        (r#"{"properties":{"type":{"type":"string"},"array":{}}}"#, None),
        (r#"{"default":{"type":"array"},"enum":[{"type":"array"}],"const":{"type":"array"}}"#, None),
        (r#"{"type":"array","items":{}}"#, None),
        (r#"{"type":"array","items":true}"#, None),
        ("true", None),
    ];
    for (schema, expected) in rows {
        let got = with_items(RawValue::new(schema.as_bytes()));
        assert_eq!(got.as_ref().map(|got| std::str::from_utf8(got).unwrap()), expected, "{schema}");
        let again = got.and_then(|got| with_items(RawValue::new(&got)));
        assert_eq!(again, None, "{schema}");
    }
}

#[test]
fn repairs_roots_that_every_vendor_refuses() {
    let rows = [
        (r#"{"type":["object","null"],"properties":{"a":{}}}"#, Some(r#"{"type":"object","properties":{"a":{}}}"#)),
        (r#"{"type":null,"title":"t"}"#, Some(r#"{"title":"t"}"#)),
        (r#"{"type":"object","properties":[]}"#, Some(r#"{"type":"object","properties":{}}"#)),
        (r#"{"type":"object","properties":null,"required":null}"#, Some(r#"{"type":"object","properties":{}}"#)),
        (r#"{"type":["string"]}"#, None),
        (r#"{"type":"object","properties":["a"]}"#, None),
        (r#"{"type":"object","properties":{}}"#, None),
        ("{}", None),
        ("true", None),
    ];
    for (schema, expected) in rows {
        let got = tidy_root(RawValue::new(schema.as_bytes()));
        assert_eq!(got.map(|got| String::from_utf8(got).unwrap()).as_deref(), expected, "{schema}");
    }
}

#[test]
fn roots() {
    for (schema, fits) in [("{}", true), (r#"{"type":"object"}"#, true), (r#"{"type":"array"}"#, false), ("[]", false)]
    {
        assert_eq!(has_object_root(RawValue::new(schema.as_bytes())), fits, "{schema}");
    }
    assert!(has_object_root(RawValue::new(EMPTY)));
}

//! A value that a JSON schema accepts, as JSON text: the arguments of a tool call, or a structured
//! answer.
//!
//! It knows what tools and structured outputs use (types, `enum`, `const`, `required`, `items`,
//! `anyOf`, local `$ref`, lower bounds) and is no validator. Properties come in the order of
//! `required`; without that list, all properties are written.

use serde_json::Value;

/// Schemas that refer to themselves end here.
const MAX_DEPTH: u32 = 16;

/// Returns the example for `schema`; `{}` where the schema has nothing to go by.
pub(crate) fn example(schema: &Value) -> String {
    let mut out = String::new();
    Writer { root: schema, out: &mut out }.value(schema, "value", 0);
    out
}

struct Writer<'a> {
    /// For `$ref`.
    root: &'a Value,
    out: &'a mut String,
}

impl<'a> Writer<'a> {
    fn value(&mut self, schema: &'a Value, name: &str, depth: u32) {
        if depth > MAX_DEPTH {
            return self.out.push_str("null");
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|path| self.root.pointer(path));
            return match target {
                Some(target) => self.value(target, name, depth + 1),
                None => self.out.push_str("null"),
            };
        }
        if let Some(fixed) = schema.get("const").or_else(|| schema.pointer("/enum/0")) {
            return self.out.push_str(&fixed.to_string());
        }
        for either in ["/anyOf/0", "/oneOf/0", "/allOf/0"] {
            if let Some(first) = schema.pointer(either) {
                return self.value(first, name, depth + 1);
            }
        }
        match type_of(schema) {
            "string" => self.string(schema, name),
            "integer" => self.out.push_str(&least(schema).ceil().to_string()),
            "number" => self.out.push_str(&least(schema).to_string()),
            "boolean" => self.out.push_str("true"),
            "null" => self.out.push_str("null"),
            "array" => self.array(schema, name, depth),
            _ => self.object(schema, depth),
        }
    }

    fn object(&mut self, schema: &'a Value, depth: u32) {
        let properties = schema.get("properties").and_then(Value::as_object);
        let names: Vec<&str> = match schema.get("required").and_then(Value::as_array) {
            Some(required) => required.iter().filter_map(Value::as_str).collect(),
            None => properties.map(|p| p.keys().map(String::as_str).collect()).unwrap_or_default(),
        };
        self.out.push('{');
        for (i, name) in names.into_iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            self.out.push_str(&Value::from(name).to_string());
            self.out.push(':');
            self.value(properties.and_then(|p| p.get(name)).unwrap_or(&Value::Null), name, depth + 1);
        }
        self.out.push('}');
    }

    fn array(&mut self, schema: &'a Value, name: &str, depth: u32) {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 8);
        self.out.push('[');
        for i in 0..least {
            if i > 0 {
                self.out.push(',');
            }
            match schema.get("items") {
                Some(items) => self.value(items, name, depth + 1),
                None => self.out.push_str("\"item\""),
            }
        }
        self.out.push(']');
    }

    fn string(&mut self, schema: &Value, name: &str) {
        let text = match schema.get("format").and_then(Value::as_str) {
            Some("date-time") => "2026-01-02T03:04:05Z".to_owned(),
            Some("date") => "2026-01-02".to_owned(),
            Some("time") => "03:04:05Z".to_owned(),
            Some("email") => "someone@example.com".to_owned(),
            Some("uri") => "https://example.com/".to_owned(),
            Some("uuid") => "00000000-0000-4000-8000-000000000000".to_owned(),
            _ => format!("some {name}"),
        };
        self.out.push_str(&Value::from(text).to_string());
    }
}

/// Returns the type of a schema. Of several, the first that is not null; of none, what its keywords
/// suggest.
fn type_of(schema: &Value) -> &str {
    match schema.get("type") {
        Some(Value::String(one)) => one,
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).find(|t| *t != "null").unwrap_or("null"),
        _ if schema.get("items").is_some() => "array",
        _ if schema.get("properties").is_some() || schema.get("required").is_some() => "object",
        _ => "string",
    }
}

/// Returns a number that the bounds allow: 1, or what lies nearest to it.
fn least(schema: &Value) -> f64 {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let low = bound("minimum").or(bound("exclusiveMinimum").map(|n| n + 1.0)).unwrap_or(f64::MIN);
    let high = bound("maximum").or(bound("exclusiveMaximum").map(|n| n - 1.0)).unwrap_or(f64::MAX);
    1f64.min(high).max(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples() {
        let check = |schema: &str, expected: &str| {
            let schema: Value = serde_json::from_str(schema).unwrap();
            let got = example(&schema);
            assert_eq!(got, expected, "schema {schema}");
            serde_json::from_str::<Value>(&got).unwrap();
        };
        check(r#"{"type":"object"}"#, "{}");
        check(r#"{"type":"object","properties":{"a":{"type":"string"}},"required":[]}"#, "{}");
        check(r#"{"type":"object","properties":{"c":{"type":"string"}}}"#, r#"{"c":"some c"}"#);
        check(
            r#"{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer","minimum":3},"x":{}},"required":["days","city"]}"#,
            r#"{"days":3,"city":"some city"}"#,
        );
        check(r#"{"type":"object","required":["a"]}"#, r#"{"a":"some a"}"#);
        check(r#"{"enum":["celsius","kelvin"]}"#, r#""celsius""#);
        check(r#"{"const":7}"#, "7");
        check(r#"{"type":["null","boolean"]}"#, "true");
        check(r#"{"type":"number","maximum":0.5}"#, "0.5");
        check(r#"{"type":"integer"}"#, "1");
        check(r#"{"type":"array","items":{"type":"integer"},"minItems":2}"#, "[1,1]");
        check(r#"{"type":"string","format":"date"}"#, r#""2026-01-02""#);
        check(r#"{"anyOf":[{"type":"integer"},{"type":"null"}]}"#, "1");
        check(
            r##"{"$defs":{"p":{"type":"object","properties":{"n":{"type":"string"}},"required":["n"]}},"type":"object","properties":{"who":{"$ref":"#/$defs/p"}},"required":["who"]}"##,
            r#"{"who":{"n":"some n"}}"#,
        );
        check(r##"{"$ref":"#/nowhere"}"##, "null");
    }

    #[test]
    fn a_schema_of_itself_ends() {
        let schema: Value =
            serde_json::from_str(r##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":["next"]}"##)
                .unwrap();
        serde_json::from_str::<Value>(&example(&schema)).unwrap();
    }

    #[test]
    fn names_are_escaped() {
        let schema = serde_json::json!({"required": ["a\"b"]});
        assert_eq!(example(&schema), r#"{"a\"b":"some a\"b"}"#);
    }
}

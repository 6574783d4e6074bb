//! JSON schemas for targets that take only a part of the language
//! (`docs/internals/translation/requests.md`, "Schemas that a target restricts").
//!
//! Most schemas are copied as they are. Only structured output and strict tools of Messages, and
//! strict mode of OpenAI, refuse keywords. The rewriting keeps the order of keys, the spelling of
//! numbers and duplicate keys; it never turns a value into a tree. Depth is limited by the JSON
//! scanner, which refuses documents nested deeper than 128 levels.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use crate::json::{RawKind, RawStr, RawValue, write};

/// A schema for `output_config.format` or a strict tool of Messages.
///
/// Keywords of the allow-list stay (Anthropic, "Structured outputs", 2026); `oneOf` becomes
/// `anyOf`; every object is closed with `additionalProperties: false`; what constrains values moves
/// into `description`, where the model still reads it. `true` if anything had to move or go: the
/// caller adds `json_schema;approx` to the ledger.
pub(crate) fn for_messages(schema: RawValue<'_>, out: &mut Vec<u8>) -> bool {
    let mut writer = Writer { lossy: false };
    writer.schema(schema, out);
    writer.lossy
}

/// Kept as they are.
const KEPT: &[&str] = &["type", "enum", "const", "$ref", "required", "title", "default", "$schema", "$id"];

/// Hold one schema, a list of schemas, or named schemas.
const ONE: &[&str] = &["items", "additionalProperties"];
const LIST: &[&str] = &["anyOf", "allOf", "oneOf", "prefixItems"];
const NAMED: &[&str] = &["properties", "$defs", "definitions"];

/// String formats that Messages enforces.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

struct Writer {
    lossy: bool,
}

impl Writer {
    fn schema(&mut self, schema: RawValue<'_>, out: &mut Vec<u8>) {
        if !schema.is_object() {
            // `true`, `false` and invalid schemas are copied as they are.
            out.extend_from_slice(schema.bytes());
            return;
        }
        let mut moved = Vec::new();
        let mut description = None;
        let mut closes = is_object_schema(schema);
        let mut body = Vec::new();
        write::object(&mut body, |o| {
            for (key, value, _) in schema.members() {
                let name = key.unescape();
                match name.as_ref() {
                    "description" => description = value.as_str(),
                    "additionalProperties" if closes => {
                        closes = false;
                        self.lossy |= value.as_bool() != Some(false);
                        o.bool("additionalProperties", false);
                    }
                    "oneOf" => self.list(value, o.key("anyOf")),
                    "format" if value.as_str().is_some_and(|f| FORMATS.iter().any(|known| f.eq_str(known))) => {
                        o.value("format", value);
                    }
                    "minItems" if matches!(value.bytes(), b"0" | b"1") => o.value("minItems", value),
                    // An annotation that no model needs.
                    "examples" | "$comment" | "deprecated" | "readOnly" | "writeOnly" => self.lossy = true,
                    name if KEPT.contains(&name) => o.value(name, value),
                    name if ONE.contains(&name) => self.schema(value, o.key(name)),
                    name if LIST.contains(&name) => self.list(value, o.key(name)),
                    name if NAMED.contains(&name) => self.named(value, o.key(name)),
                    _ => moved.push((key, value)),
                }
            }
            if closes {
                o.bool("additionalProperties", false);
            }
            if description.is_some() || !moved.is_empty() {
                self.lossy |= !moved.is_empty();
                describe(description, &moved, o.key("description"));
            }
        });
        out.append(&mut body);
    }

    fn list(&mut self, value: RawValue<'_>, out: &mut Vec<u8>) {
        if value.kind() != RawKind::Array {
            out.extend_from_slice(value.bytes());
            return;
        }
        write::array(out, |a| value.elements().for_each(|(schema, _)| self.schema(schema, a.element())));
    }

    fn named(&mut self, value: RawValue<'_>, out: &mut Vec<u8>) {
        if !value.is_object() {
            out.extend_from_slice(value.bytes());
            return;
        }
        out.push(b'{');
        for (n, (key, schema, _)) in value.members().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write::raw_string(out, key);
            out.push(b':');
            self.schema(schema, out);
        }
        out.push(b'}');
    }
}

/// Returns whether the schema describes objects, and so has to be closed.
fn is_object_schema(schema: RawValue<'_>) -> bool {
    let named = |value: RawValue<'_>| value.as_str().is_some_and(|word| word.eq_str("object"));
    match schema.find("type") {
        Some(kind) => named(kind) || kind.elements().any(|(kind, _)| named(kind)),
        None => schema.find("properties").is_some(),
    }
}

/// The description, and behind it the constraints that had no other place: `minLength: 3, pattern:
/// "^a"`.
pub(crate) fn describe(description: Option<RawStr<'_>>, moved: &[(RawStr<'_>, RawValue<'_>)], out: &mut Vec<u8>) {
    out.push(b'"');
    if let Some(text) = description {
        out.extend_from_slice(text.as_bytes());
    }
    if !moved.is_empty() {
        out.extend_from_slice(if description.is_some_and(|d| !d.is_empty()) { b" (" } else { b"(" });
        for (n, (key, value)) in moved.iter().enumerate() {
            if n > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b": ");
            write::escaped(out, &String::from_utf8_lossy(value.bytes()));
        }
        out.push(b')');
    }
    out.push(b'"');
}

/// Keywords that OpenAI's strict mode refuses (Structured outputs guide, 2026).
const NOT_STRICT: &[&str] = &[
    "allOf",
    "oneOf",
    "not",
    "dependentRequired",
    "dependentSchemas",
    "if",
    "then",
    "else",
    "patternProperties",
    "unevaluatedProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "unevaluatedItems",
    "contains",
    "minContains",
    "maxContains",
    "uniqueItems",
    "default",
];

/// Returns whether a schema may be sent with `strict: true` to OpenAI: every object is closed,
/// requires all its properties, and no keyword outside the strict part is used. Making optional
/// properties mandatory would change what is asked for, so a schema that does not qualify is sent
/// with `strict: false` and unchanged.
pub(crate) fn is_openai_strict(schema: RawValue<'_>) -> bool {
    schema.is_object() && schema.find("anyOf").is_none() && is_object_schema(schema) && strict(schema)
}

fn strict(schema: RawValue<'_>) -> bool {
    if !schema.is_object() {
        return true;
    }
    let mut properties: Option<RawValue<'_>> = None;
    let mut required: Option<RawValue<'_>> = None;
    let mut closed = false;
    for (key, value, _) in schema.members() {
        let name = key.unescape();
        let fits = match name.as_ref() {
            "properties" => {
                properties = Some(value);
                value.members().all(|(_, schema, _)| strict(schema))
            }
            "required" => {
                required = Some(value);
                true
            }
            "additionalProperties" => {
                closed = value.as_bool() == Some(false);
                closed
            }
            "items" => strict(value),
            "anyOf" => value.elements().all(|(schema, _)| strict(schema)),
            "$defs" | "definitions" => value.members().all(|(_, schema, _)| strict(schema)),
            name => !NOT_STRICT.contains(&name),
        };
        if !fits {
            return false;
        }
    }
    if !is_object_schema(schema) {
        let says_what = ["type", "anyOf", "$ref"].iter().any(|key| schema.find(key).is_some());
        return says_what && (schema.find("items").is_some() || !schema.find("type").is_some_and(names_array));
    }
    let names = required.into_iter().flat_map(RawValue::elements).filter_map(|(name, _)| name.as_str());
    let required: HashSet<Cow<'_, str>> = names.map(RawStr::unescape).collect();
    closed && properties.is_none_or(|all| all.members().all(|(key, ..)| required.contains(&key.unescape())))
}

/// Returns whether the root of a tool's schema describes an object, as Messages demands: `type:
/// object`, or no `type` at all.
pub(crate) fn has_object_root(schema: RawValue<'_>) -> bool {
    schema.is_object() && schema.find("type").is_none_or(|kind| kind.is_null() || is_object_schema(schema))
}

/// Returns the root of a tool's schema without what every vendor refuses and clients send all the
/// same: `type` as a list with `object` in it or `null`, `properties` as `null` or as the `[]` that
/// an empty map is in PHP, and `required: null`. `None` if it may stay as it is.
pub(crate) fn tidy_root(schema: RawValue<'_>) -> Option<Vec<u8>> {
    if !schema.is_object() {
        return None;
    }
    let is_odd = |(key, value, _): &(RawStr<'_>, RawValue<'_>, _)| match key.as_bytes() {
        b"type" => value.is_null() || (value.kind() == RawKind::Array && is_object_schema(schema)),
        b"properties" => value.is_null() || (value.kind() == RawKind::Array && value.elements().next().is_none()),
        b"required" => value.is_null(),
        _ => false,
    };
    if !schema.members().any(|member| is_odd(&member)) {
        return None;
    }
    let mut out = Vec::with_capacity(schema.bytes().len() + 16);
    write::object(&mut out, |o| {
        for member in schema.members() {
            let (key, value, _) = member;
            match key.as_bytes() {
                _ if !is_odd(&member) => o.value(&key.unescape(), value),
                b"type" if !value.is_null() => o.str("type", "object"),
                b"properties" => o.value("properties", RawValue::new(b"{}")),
                _ => {}
            }
        }
    });
    Some(out)
}

/// Returns the schema with `type: object`. It must be an object without a type.
pub(crate) fn typed(schema: RawValue<'_>) -> Vec<u8> {
    let mut out = br#"{"type":"object""#.to_vec();
    let inner = &schema.bytes()[1..];
    if !inner.trim_ascii_start().starts_with(b"}") {
        out.push(b',');
    }
    out.extend_from_slice(inner);
    out
}

/// Returns the schema of a function with what OpenAI demands of its root: `type: object`, where it
/// has no type and is no choice of schemas ("schema must be a JSON Schema of 'type: \"object\"'"),
/// and `properties` ("object schema missing properties"). `None` if it may stay as it is.
pub(crate) fn with_properties(schema: RawValue<'_>) -> Option<Vec<u8>> {
    const CHOICES: &[&str] = &["anyOf", "oneOf", "allOf", "$ref", "enum", "const", "not"];
    // `{}` is taken as it is.
    let has_content = schema.members().next().is_some();
    if has_content && schema.find("type").is_none() && CHOICES.iter().all(|key| schema.find(key).is_none()) {
        let out = typed(schema);
        return Some(with_properties(RawValue::new(&out)).unwrap_or(out));
    }
    let properties = schema.find("properties");
    let misses = match properties {
        Some(properties) => properties.is_null(),
        None => schema.find("type").is_some() && is_object_schema(schema),
    };
    if !misses {
        return None;
    }
    let mut out = Vec::with_capacity(schema.bytes().len() + 20);
    if properties.is_none() {
        // It has a type, so that something follows. The client's bytes stay as they are.
        out.extend_from_slice(br#"{"properties":{},"#);
        out.extend_from_slice(&schema.bytes()[1..]);
        return Some(out);
    }
    write::object(&mut out, |o| {
        for (key, value, _) in schema.members().filter(|(key, ..)| !key.eq_str("properties")) {
            o.value(&key.unescape(), value);
        }
        o.value("properties", RawValue::new(b"{}"));
    });
    Some(out)
}

/// Returns the schema with what OpenAI demands of every array in it ("array schema missing items"):
/// `items`, of which the absence means as much as `{}`. `None` if it may stay as it is.
pub(crate) fn with_items(schema: RawValue<'_>) -> Option<Vec<u8>> {
    memchr::memmem::find(schema.bytes(), b"array")?;
    let mut edits = Vec::new();
    find_bare_arrays(schema, 0, &mut edits);
    if edits.is_empty() {
        return None;
    }
    let (bytes, mut from) = (schema.bytes(), 0);
    let mut out = Vec::with_capacity(bytes.len() + edits.len() * 16);
    for (place, with) in edits {
        out.extend_from_slice(&bytes[from..place.start]);
        out.extend_from_slice(with);
        from = place.end;
    }
    out.extend_from_slice(&bytes[from..]);
    Some(out)
}

/// Notes what gives each array its `items`, in rising order. `at` is the position of the schema.
fn find_bare_arrays(schema: RawValue<'_>, at: usize, edits: &mut Vec<(Range<usize>, &'static [u8])>) {
    let is_array = schema.find("type").is_some_and(names_array);
    if is_array && schema.find("items").is_none() {
        // It has a type, so that something follows.
        edits.push((at + 1..at + 1, br#""items":{},"#));
    }
    for (key, value, place) in schema.members() {
        let (start, name) = (at + place.start, key.unescape());
        let holds = |names: &[&str]| names.contains(&name.as_ref());
        if is_array && key.eq_str("items") && value.is_null() {
            edits.push((start..at + place.end, b"{}"));
        } else if holds(ONE) && value.is_object() {
            find_bare_arrays(value, start, edits);
        } else if holds(LIST) || holds(ONE) {
            value.elements().for_each(|(inner, place)| find_bare_arrays(inner, start + place.start, edits));
        } else if holds(NAMED) {
            value.members().for_each(|(_, inner, place)| find_bare_arrays(inner, start + place.start, edits));
        }
    }
}

fn names_array(kind: RawValue<'_>) -> bool {
    kind.eq_str("array") || kind.elements().any(|(kind, _)| kind.eq_str("array"))
}

/// The schema that stands for "no parameters".
pub(crate) const EMPTY: &[u8] = br#"{"type":"object","properties":{}}"#;

#[cfg(test)]
mod tests;

//! Repairs of the schemas of tools: what earlier drafts of JSON Schema wrote in another way, and
//! roots that offer a choice. Servers of MCP have both, their clients pass them on, and one such
//! tool costs the whole request.

use std::collections::HashSet;
use std::ops::Range;

use crate::json::{RawKind, RawStr, RawValue, write};
use crate::request::schema::{LIST, NAMED, ONE, describe};

/// Keywords of which `null` means that they are absent. Draft 2020-12 knows it of none.
const NEVER_NULL: &[&str] = &[
    "$defs",
    "$id",
    "$ref",
    "$schema",
    "additionalProperties",
    "allOf",
    "anyOf",
    "definitions",
    "description",
    "enum",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "multipleOf",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
    "uniqueItems",
];

/// What becomes of a member.
#[derive(Clone, Copy)]
enum Fate<'a> {
    Stays,
    Goes,
    /// It gets another value.
    Is(&'a [u8]),
    /// It gets another name.
    IsCalled(&'static str),
}

/// Returns a schema of an earlier draft in the words of draft 2020-12, which means the same:
/// Messages refuses others ("JSON schema is invalid. It must match JSON Schema draft 2020-12"). A
/// bound that is excluded by `true` is the number itself, `items` as a list is `prefixItems`,
/// `required: true` of a property and keywords that are `null` go. `None` if it may stay as it is.
pub(crate) fn modern(schema: RawValue<'_>) -> Option<Vec<u8>> {
    let mut edits = Edits::default();
    edits.find(schema, 0);
    edits.apply(schema.bytes())
}

/// Edits of a schema by byte range, in rising order.
#[derive(Default)]
struct Edits<'a>(Vec<(Range<usize>, &'a [u8])>);

impl<'a> Edits<'a> {
    /// Notes what is to be edited in a schema that stands at `at`.
    fn find(&mut self, schema: RawValue<'a>, at: usize) {
        let bytes = schema.bytes();
        // Where the last member ended, and whether one before has stayed.
        let (mut from, mut has_stayed) = (at + 1, false);
        for (key, value, place) in schema.members() {
            let (start, mut end) = (at + place.start, at + place.end);
            let fate = fate(schema, key, value);
            match fate {
                // With the comma before it, or, of the first ones, with the comma behind it.
                Fate::Goes => {
                    if !has_stayed {
                        let rest = &bytes[place.end..];
                        let next = rest.iter().position(|byte| !byte.is_ascii_whitespace());
                        end += next.filter(|next| rest[*next] == b',').map_or(0, |comma| comma + 1);
                    }
                    self.0.push((from..end, b""));
                }
                Fate::Is(other) => self.0.push((start..end, other)),
                Fate::IsCalled(name) => {
                    let key_at = at + (key.as_bytes().as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
                    self.0.push((key_at..key_at + key.len(), name.as_bytes()));
                    self.find_inside(key, value, start);
                }
                Fate::Stays => self.find_inside(key, value, start),
            }
            has_stayed |= !matches!(fate, Fate::Goes);
            from = end;
        }
    }

    /// Does so in the schemas that a keyword holds.
    fn find_inside(&mut self, key: RawStr<'a>, value: RawValue<'a>, at: usize) {
        let holds = |names: &[&str]| names.iter().any(|name| key.eq_str(name));
        match value.kind() {
            RawKind::Object if holds(NAMED) => {
                value.members().for_each(|(_, inner, place)| self.find(inner, at + place.start));
            }
            RawKind::Object if holds(ONE) => self.find(value, at),
            RawKind::Array if holds(LIST) || holds(ONE) => {
                value.elements().for_each(|(inner, place)| self.find(inner, at + place.start));
            }
            _ => {}
        }
    }

    /// Returns the document with all edits. `None` if there are none.
    fn apply(self, document: &[u8]) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        let (mut out, mut from) = (Vec::with_capacity(document.len()), 0);
        for (place, with) in self.0 {
            out.extend_from_slice(&document[from..place.start]);
            out.extend_from_slice(with);
            from = place.end;
        }
        out.extend_from_slice(&document[from..]);
        Some(out)
    }
}

fn fate<'a>(schema: RawValue<'a>, key: RawStr<'a>, value: RawValue<'a>) -> Fate<'a> {
    let bound = |name: &str| match (value.as_bool(), schema.find(name)) {
        (Some(true), Some(bound)) if bound.kind() == RawKind::Number => Fate::Is(bound.bytes()),
        (Some(_), _) => Fate::Goes,
        (None, _) => Fate::Stays,
    };
    match key.as_bytes() {
        name if value.is_null() && NEVER_NULL.iter().any(|known| known.as_bytes() == name) => Fate::Goes,
        b"exclusiveMinimum" => bound("minimum"),
        b"exclusiveMaximum" => bound("maximum"),
        b"required" if value.kind() == RawKind::Bool => Fate::Goes,
        b"items" if value.kind() == RawKind::Array && schema.find("prefixItems").is_none() => {
            Fate::IsCalled("prefixItems")
        }
        _ => Fate::Stays,
    }
}

/// Keywords that neither OpenAI nor Messages takes at the root of a tool's schema.
const CHOICES: &[&str] = &["anyOf", "oneOf", "allOf"];

/// The longest choice that is shown in a description, in bytes.
const SHOWN: usize = 1024;

/// Returns a schema whose root offers a choice without it: its properties are those of all
/// branches, and required is what each of `allOf` requires. The choice itself moves into the
/// description, where the model reads it, unless it is long. `None` if there is none.
pub(crate) fn without_root_choice(schema: RawValue<'_>) -> Option<Vec<u8>> {
    let is_choice = |key: RawStr<'_>| CHOICES.iter().any(|name| key.eq_str(name));
    if !schema.members().any(|(key, ..)| is_choice(key)) {
        return None;
    }
    let (mut properties, mut names) = (Vec::new(), HashSet::new());
    let (mut required, mut required_names) = (Vec::new(), HashSet::new());
    let mut take = |from: RawValue<'_>, requires: bool| {
        let own = from.find("properties").into_iter().flat_map(RawValue::members);
        for (key, value, _) in own {
            if names.insert(key.unescape().into_owned()) {
                properties.push((key.as_bytes().to_vec(), value.bytes().to_vec()));
            }
        }
        let own = from.find("required").into_iter().flat_map(RawValue::elements);
        for name in own.filter_map(|(name, _)| name.as_str()).filter(|_| requires) {
            if required_names.insert(name.unescape().into_owned()) {
                required.push(name.as_bytes().to_vec());
            }
        }
    };
    take(schema, true);
    let (mut moved, mut description) = (Vec::new(), None);
    for (key, value, _) in schema.members() {
        if key.eq_str("description") {
            description = value.as_str();
        }
        if is_choice(key) {
            value.elements().for_each(|(branch, _)| take(resolved(schema, branch), key.eq_str("allOf")));
            if value.bytes().len() <= SHOWN {
                moved.push((key, value));
            }
        }
    }
    let mut out = Vec::with_capacity(schema.bytes().len() + 64);
    write::object(&mut out, |o| {
        const MADE: &[&str] = &["properties", "required", "description"];
        for (key, value, _) in schema.members() {
            if !is_choice(key) && !MADE.iter().any(|name| key.eq_str(name)) {
                o.value(&key.unescape(), value);
            }
        }
        let out = o.key("properties");
        out.push(b'{');
        for (n, (key, value)) in properties.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write::raw_string(out, RawStr::new(key));
            out.push(b':');
            out.extend_from_slice(value);
        }
        out.push(b'}');
        if !required.is_empty() {
            o.array("required", |a| required.iter().for_each(|name| a.raw_str(RawStr::new(name))));
        }
        if description.is_some() || !moved.is_empty() {
            describe(description, &moved, o.key("description"));
        }
    });
    Some(out)
}

/// Returns a branch, or the definition in the same schema that it refers to.
fn resolved<'a>(root: RawValue<'a>, branch: RawValue<'a>) -> RawValue<'a> {
    let find = || {
        let path = branch.find("$ref")?.as_str()?.unescape();
        let (group, name) = path.strip_prefix("#/")?.split_once('/')?;
        root.find(group)?.find(name)
    };
    find().unwrap_or(branch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(made: Option<Vec<u8>>) -> Option<String> {
        let made = made.map(|made| String::from_utf8(made).unwrap());
        assert!(made.as_ref().is_none_or(|made| RawValue::parse(made.as_bytes()).is_ok()), "{made:?}");
        made
    }

    #[test]
    fn earlier_drafts_are_written_as_of_today() {
        let rows = [
            (
                r#"{"type":"integer","exclusiveMinimum":true,"minimum":0,"maximum":9}"#,
                Some(r#"{"type":"integer","exclusiveMinimum":0,"minimum":0,"maximum":9}"#),
            ),
            (r#"{"exclusiveMaximum":true,"type":"integer"}"#, Some(r#"{"type":"integer"}"#)),
            (r#"{"maximum":7,"exclusiveMaximum":false}"#, Some(r#"{"maximum":7}"#)),
            (
                r#"{"type":"array","items":[{"type":"string","title":null},{"items":null}]}"#,
                Some(r#"{"type":"array","prefixItems":[{"type":"string"},{}]}"#),
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"string","required":true},"required":{"enum":null}}}"#,
                Some(r#"{"type":"object","properties":{"a":{"type":"string"},"required":{}}}"#),
            ),
            (
                r#"{ "title" : null , "format":null, "type": "object" , "pattern":null }"#,
                Some(r#"{ "type": "object" }"#),
            ),
            (
                r#"{"anyOf":[{"description":null}],"$defs":{"x":{"type":null}}}"#,
                Some(r#"{"anyOf":[{}],"$defs":{"x":{}}}"#),
            ),
            (r#"{"title":null,"format":null}"#, Some("{}")),
            // Values are none of its business.
            (r#"{"default":null,"const":null,"enum":[null],"examples":[{"title":null}],"x":null}"#, None),
            (r#"{"exclusiveMinimum":0,"items":{},"required":["a"]}"#, None),
            ("true", None),
        ];
        for (schema, expected) in rows {
            let made = text(modern(RawValue::new(schema.as_bytes())));
            assert_eq!(made.as_deref(), expected, "{schema}");
            let again = made.and_then(|made| modern(RawValue::new(made.as_bytes())));
            assert_eq!(again, None, "{schema}");
        }
    }

    #[test]
    fn a_choice_at_the_root_moves_into_the_description() {
        let rows = [
            (
                r#"{"type":"object","properties":{"a":{},"b":{}},"anyOf":[{"required":["a"]},{"required":["b"]}]}"#,
                Some(
                    r#"{"type":"object","properties":{"a":{},"b":{}},"description":"(anyOf: [{\"required\":[\"a\"]},{\"required\":[\"b\"]}])"}"#,
                ),
            ),
            (
                r##"{"description":"d","allOf":[{"$ref":"#/$defs/x"},{"properties":{"a":{"type":"null"},"c":{}},"required":["c"]}],"required":["a"],"$defs":{"x":{"properties":{"a":{"type":"string"}},"required":["a"]}}}"##,
                Some(
                    r##"{"$defs":{"x":{"properties":{"a":{"type":"string"}},"required":["a"]}},"properties":{"a":{"type":"string"},"c":{}},"required":["a","c"],"description":"d (allOf: [{\"$ref\":\"#/$defs/x\"},{\"properties\":{\"a\":{\"type\":\"null\"},\"c\":{}},\"required\":[\"c\"]}])"}"##,
                ),
            ),
            (r#"{"oneOf":[]}"#, Some(r#"{"properties":{},"description":"(oneOf: [])"}"#)),
            (r#"{"type":"object","properties":{"a":{"anyOf":[]}}}"#, None),
            ("{}", None),
        ];
        for (schema, expected) in rows {
            let made = text(without_root_choice(RawValue::new(schema.as_bytes())));
            assert_eq!(made.as_deref(), expected, "{schema}");
        }
        let long = format!(r#"{{"oneOf":[{{"title":"{}"}}]}}"#, "x".repeat(SHOWN));
        assert_eq!(text(without_root_choice(RawValue::new(long.as_bytes()))).as_deref(), Some(r#"{"properties":{}}"#));
    }
}

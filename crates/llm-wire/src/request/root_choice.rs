//! Schemas of tools with a choice of schemas at their root. Anthropic and OpenAI refuse a request
//! with such a tool, although the schema is valid and its properties are those of an object:
//! generators write it for unions (zod, pydantic) and for intersections.
//!
//! The root gets the properties of all branches and requires what every branch requires, which
//! admits all that the choice does and more; the choice itself moves into the description, where the
//! model reads it. A schema is left as it is where that could change what a pointer in it means, or
//! where it is larger than any that a vendor takes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::json::{RawStr, RawValue, Tape, write};
use crate::request::schema::{describe, has_object_root};

/// The choices, and whether all of their branches hold.
const CHOICES: [(&str, bool); 3] = [("allOf", true), ("anyOf", false), ("oneOf", false)];

/// The most schemas, properties, definitions and names of required ones that are looked at.
const MOST_PARTS: usize = 4096;

/// The deepest branch in a branch, and the most references from one definition to another.
const MOST_DEPTH: usize = 8;

/// The longest choice that is shown in a description, in bytes.
const SHOWN: usize = 1024;

/// Pointers into what moves, and names of schemas that may be there.
static POINTERS: LazyLock<Vec<Finder<'static>>> = LazyLock::new(|| {
    let into = ["#/allOf", "#/anyOf", "#/oneOf", r"#\/allOf", r"#\/anyOf", r"#\/oneOf", r#""$anchor""#];
    into.into_iter().chain([r#""$dynamicAnchor""#, r#""$recursiveAnchor""#]).map(Finder::new).collect()
});

/// Returns the schema of an object without the choice at its root. `None` if it has none, or has to
/// stay as it is.
pub(crate) fn without_root_choice(schema: RawValue<'_>) -> Option<Vec<u8>> {
    if !schema.members().any(|(key, ..)| is_choice(key)) || has_pointer(schema.bytes()) {
        return None;
    }
    // With the notes of a tape no level is scanned again.
    let mut tape = Tape::default();
    let schema = tape.read(schema.bytes()).ok()?;
    let definitions = Definitions::of(schema)?;
    let mut flat = Flat::default();
    flat.take_all(schema, &definitions)?;
    let shown = CHOICES.iter().filter_map(|(name, _)| Some((RawStr::new(name.as_bytes()), schema.find(name)?)));
    let moved: Vec<_> = shown.filter(|(_, value)| value.bytes().len() <= SHOWN).collect();
    let description = schema.find("description").and_then(RawValue::as_str);
    let mut out = Vec::with_capacity(schema.bytes().len() + 64);
    write::object(&mut out, |o| {
        const MADE: &[&str] = &["properties", "required", "description"];
        for (key, value, _) in schema.members() {
            if !is_choice(key) && !MADE.iter().any(|name| key.eq_str(name)) {
                o.value(&key.unescape(), value);
            }
        }
        flat.write(o);
        if description.is_some() || !moved.is_empty() {
            describe(description, &moved, o.key("description"));
        }
    });
    Some(out)
}

fn is_choice(key: RawStr<'_>) -> bool {
    CHOICES.iter().any(|(name, _)| key.eq_str(name))
}

fn has_pointer(schema: &[u8]) -> bool {
    POINTERS.iter().any(|finder| finder.find(schema).is_some())
}

/// The definitions of a document, by their group and name.
struct Definitions<'a>(HashMap<(&'static str, Cow<'a, str>), RawValue<'a>>);

impl<'a> Definitions<'a> {
    fn of(root: RawValue<'a>) -> Option<Definitions<'a>> {
        let mut all = HashMap::new();
        for group in ["$defs", "definitions"] {
            for (name, definition, _) in root.find(group).into_iter().flat_map(RawValue::members) {
                all.insert((group, name.unescape()), definition);
                if all.len() > MOST_PARTS {
                    return None;
                }
            }
        }
        Some(Definitions(all))
    }

    /// Follows the reference of a schema, if it is one: `#/$defs/name`. `None` if it leads nowhere.
    fn resolve(&self, schema: RawValue<'a>) -> Option<RawValue<'a>> {
        let mut schema = schema;
        for _ in 0..MOST_DEPTH {
            let Some(reference) = schema.find("$ref") else { return Some(schema) };
            let path = reference.as_str()?.unescape();
            let (group, name) = path.strip_prefix("#/")?.split_once('/')?;
            let group = ["$defs", "definitions"].into_iter().find(|known| *known == group)?;
            let name = name.replace("~1", "/").replace("~0", "~");
            schema = *self.0.get(&(group, Cow::Owned(name)))?;
        }
        None
    }
}

/// What a property has to be, by the schemas that name it.
struct Property<'a> {
    name: RawStr<'a>,
    /// In each case.
    always: Option<RawValue<'a>>,
    /// In one branch or another. No two are alike.
    branches: Vec<RawValue<'a>>,
}

/// A schema that is part of the root, and how deep.
struct Part<'a> {
    schema: RawValue<'a>,
    always: bool,
    depth: usize,
}

/// The root without its choice.
#[derive(Default)]
struct Flat<'a> {
    parts: usize,
    properties: Vec<Property<'a>>,
    by_name: HashMap<Cow<'a, str>, usize>,
    branches: HashSet<(usize, &'a [u8])>,
    required: Vec<RawStr<'a>>,
    required_names: HashSet<Cow<'a, str>>,
}

impl<'a> Flat<'a> {
    /// Takes the properties of the root and of all that it is made of. `None` if that is too much,
    /// or a branch can't be read.
    fn take_all(&mut self, root: RawValue<'a>, definitions: &Definitions<'a>) -> Option<()> {
        let mut taken = HashSet::new();
        let mut waiting = VecDeque::from([Part { schema: root, always: true, depth: 0 }]);
        while let Some(Part { schema, always, depth }) = waiting.pop_front() {
            self.count()?;
            let is_root = depth == 0;
            let schema = if is_root { schema } else { definitions.resolve(schema)? };
            // A definition is taken once as a branch, and once as a part.
            if !taken.insert((schema.bytes().as_ptr().addr(), always)) {
                continue;
            }
            for (name, value, _) in schema.find("properties").into_iter().flat_map(RawValue::members) {
                self.take(name, value, always)?;
            }
            for (name, _) in schema.find("required").into_iter().filter(|_| always).flat_map(RawValue::elements) {
                name.as_str().map_or(Some(()), |name| self.require(name))?;
            }
            for (name, is_all) in CHOICES {
                let Some(choice) = schema.find(name) else { continue };
                if depth >= MOST_DEPTH {
                    return None;
                }
                if always && !is_all {
                    self.require_common(choice, definitions)?;
                }
                for (part, _) in choice.elements() {
                    waiting.push_back(Part { schema: part, always: always && is_all, depth: depth + 1 });
                    (waiting.len() <= MOST_PARTS).then_some(())?;
                }
            }
        }
        Some(())
    }

    /// `None` once there is too much.
    fn count(&mut self) -> Option<()> {
        self.parts += 1;
        (self.parts <= MOST_PARTS).then_some(())
    }

    fn take(&mut self, name: RawStr<'a>, schema: RawValue<'a>, always: bool) -> Option<()> {
        self.count()?;
        let next = self.properties.len();
        let at = *self.by_name.entry(name.unescape()).or_insert(next);
        if at == next {
            self.properties.push(Property { name, always: None, branches: Vec::new() });
        }
        let property = &mut self.properties[at];
        if always {
            property.always.get_or_insert(schema);
        } else if property.always.is_none() && self.branches.insert((at, schema.bytes())) {
            property.branches.push(schema);
        }
        Some(())
    }

    fn require(&mut self, name: RawStr<'a>) -> Option<()> {
        self.count()?;
        if self.required_names.insert(name.unescape()) {
            self.required.push(name);
        }
        Some(())
    }

    /// Requires what each branch of a choice requires itself. A branch that no object satisfies
    /// does not count.
    fn require_common(&mut self, choice: RawValue<'a>, definitions: &Definitions<'a>) -> Option<()> {
        // By how many branches a name is required so far.
        let mut counts: HashMap<Cow<'a, str>, usize> = HashMap::new();
        let (mut first, mut branches) = (Vec::new(), 0);
        for (branch, _) in choice.elements() {
            let branch = definitions.resolve(branch)?;
            if !has_object_root(branch) {
                continue;
            }
            for (name, _) in branch.find("required").into_iter().flat_map(RawValue::elements) {
                let Some(name) = name.as_str() else { continue };
                self.count()?;
                let count = counts.entry(name.unescape()).or_insert(0);
                if branches == 0 && *count == 0 {
                    first.push(name);
                }
                if *count == branches {
                    *count += 1;
                }
            }
            branches += 1;
        }
        let common = first.into_iter().filter(|name| counts.get(&name.unescape()) == Some(&branches));
        common.map(|name| self.require(name)).collect()
    }

    fn write(&self, o: &mut write::Object<'_>) {
        let out = o.key("properties");
        out.push(b'{');
        for (n, property) in self.properties.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write::raw_string(out, property.name);
            out.push(b':');
            match (property.always, property.branches.as_slice()) {
                (Some(one), _) | (None, &[one]) => out.extend_from_slice(one.bytes()),
                (None, many) => {
                    write::object(out, |o| o.array("anyOf", |a| many.iter().for_each(|one| a.value(*one))));
                }
            }
        }
        out.push(b'}');
        if !self.required.is_empty() {
            o.array("required", |a| self.required.iter().for_each(|name| a.raw_str(*name)));
        }
    }
}

#[cfg(test)]
mod tests {
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
                r##"{"anyOf":[{"properties":{"a":{}}},{"properties":{"b":{"$ref":"#/anyOf/0/properties/a"}}}]}"##
                    .into(),
                false,
            ),
            (r##"{"anyOf":[{"properties":{"b":{"$ref":"#\/anyOf\/0"}}}]}"##.into(), false),
            (r##"{"anyOf":[{"properties":{"a":{"$anchor":"x"},"b":{"$ref":"#x"}}}]}"##.into(), false),
            // References that lead nowhere, or in a circle.
            (r##"{"anyOf":[{"$ref":"#/$defs/gone"}]}"##.into(), false),
            (r##"{"$defs":{"A":{"$ref":"#/$defs/A"}},"anyOf":[{"$ref":"#/$defs/A"}]}"##.into(), false),
            (r#"{"anyOf":[{"$ref":"https://example.org/schema"}]}"#.into(), false),
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
}

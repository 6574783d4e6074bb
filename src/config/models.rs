//! Which models a provider serves and under what name ([`Mapping`]), and which models a credential
//! may ask for ([`Allowed`]).
//!
//! Both look for the exact name first, then try the patterns in the order in which they were
//! stored. A part that is wrong is reported as a problem and left out, and the rest never grants
//! more than was meant: a mapping or a list of which nothing could be read serves or allows
//! nothing.
//!
//! Patterns are matched seldom: each core keeps the answers of recent names.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde_json::value::RawValue;

use super::ordered;
use super::pattern::{Pattern, Target};

/// A provider's `model_mapping`: a JSON object from model or pattern to the upstream's name, a
/// string or an object with `mapped_model`. `{}` serves every model under the name asked.
#[derive(Debug, Default)]
pub struct Mapping {
    /// `None` serves everything.
    list: Option<List>,
}

#[derive(Debug, Default)]
struct List {
    entries: Vec<Entry>,
    /// Position in `entries` by key. A key that reads as a pattern is also found by its own text,
    /// such as `model[1m]`.
    by_key: HashMap<Box<str>, usize, ahash::RandomState>,
}

/// How a mapping knows a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Exactly,
    ByPattern,
    /// As any name: the mapping is empty, or its pair `*` sends each name as it is.
    AsEvery,
}

/// One pair of a mapping.
#[derive(Debug)]
pub struct Entry {
    key: Box<str>,
    pattern: Option<Pattern>,
    target: Target,
    mapped: Box<str>,
    metadata: Option<Box<str>>,
}

impl Entry {
    /// Returns the model or pattern, as stored.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns whether the key is a pattern, and not the name of one model.
    pub fn is_pattern(&self) -> bool {
        self.pattern.is_some()
    }

    /// The upstream's name, as stored: `$1` is still `$1`.
    pub fn mapped_name(&self) -> &str {
        &self.mapped
    }

    /// Returns the members of the object besides `mapped_model`, for listings only: a JSON object,
    /// `{` and `}` its first and last byte.
    pub fn metadata(&self) -> Option<&str> {
        self.metadata.as_deref()
    }

    /// Returns whether a request for `model` uses this entry.
    pub fn matches(&self, model: &str) -> bool {
        *self.key == *model || self.pattern.as_ref().is_some_and(|pattern| pattern.matches(model))
    }

    fn passes_every_name(&self) -> bool {
        &*self.key == "*" && matches!(&*self.mapped, "*" | "$0" | "$1")
    }

    fn parse(key: &str, value: &RawValue) -> Result<Entry, String> {
        let pattern = Pattern::parse(key)?;
        let (mapped, metadata) = parse_value(value.get())?;
        let target = Target::parse(&mapped, pattern.as_ref())?;
        Ok(Entry { key: key.into(), pattern, target, mapped: mapped.into(), metadata })
    }

    fn resolve<'a>(&'a self, model: &str) -> Option<Cow<'a, str>> {
        let pattern = self.pattern.as_ref()?;
        let name = match &self.target {
            Target::Plain(name) if pattern.matches(model) => Cow::Borrowed(&**name),
            Target::Plain(_) => return None,
            Target::Template(pieces) => Cow::Owned(Target::fill(pieces, &pattern.captures(model)?)),
        };
        // `x/*` -> `*` has no name to send for `x/`.
        (!name.is_empty()).then_some(name)
    }
}

fn parse_value(json: &str) -> Result<(String, Option<Box<str>>), String> {
    if let Ok(name) = serde_json::from_str::<String>(json) {
        return Ok((name, None));
    }
    let Ok(pairs) = ordered::pairs("the value", json) else {
        return Err("maps to neither a string nor an object".to_owned());
    };
    let mut mapped = None;
    let mut metadata = String::new();
    for (name, value) in pairs {
        if name == "mapped_model" {
            mapped = serde_json::from_str::<String>(value.get()).ok();
            continue;
        }
        metadata.push(if metadata.is_empty() { '{' } else { ',' });
        metadata.push_str(&serde_json::Value::from(&*name).to_string());
        metadata.push(':');
        metadata.push_str(value.get());
    }
    if !metadata.is_empty() {
        metadata.push('}');
    }
    let mapped = mapped.ok_or("maps to an object without the string `mapped_model`")?;
    Ok((mapped, (!metadata.is_empty()).then(|| metadata.into())))
}

impl Mapping {
    /// Reads the column. The messages are problems of the row.
    pub fn parse(json: &str) -> (Mapping, Vec<String>) {
        let pairs = match ordered::pairs("model_mapping", json) {
            Ok(pairs) => pairs,
            Err(error) => {
                let message = format!("{error}; the provider serves no model until that is corrected");
                return (Mapping { list: Some(List::default()) }, vec![message]);
            }
        };
        if pairs.is_empty() {
            return (Mapping::default(), Vec::new());
        }
        let mut list = List::default();
        let mut problems = Vec::new();
        for (key, value) in &pairs {
            match Entry::parse(key, value) {
                Ok(entry) => list.add(entry, &mut problems),
                Err(reason) => problems.push(format!("model_mapping: `{key}` {reason}; it is left out")),
            }
        }
        (Mapping { list: Some(list) }, problems)
    }

    /// The upstream's name for `model`, or `None` if this provider does not serve it.
    pub fn resolve<'a>(&'a self, model: &'a str) -> Option<Cow<'a, str>> {
        let Some(list) = &self.list else { return Some(Cow::Borrowed(model)) };
        if let Some(entry) = list.by_key.get(model).map(|at| &list.entries[*at])
            && let Target::Plain(name) = &entry.target
        {
            return Some(Cow::Borrowed(name));
        }
        list.entries.iter().find_map(|entry| entry.resolve(model))
    }

    /// Returns the pair by which `model` is served. `None` also where the mapping is empty.
    pub fn entry(&self, model: &str) -> Option<&Entry> {
        let list = self.list.as_ref()?;
        let exact = list.by_key.get(model).map(|at| &list.entries[*at]);
        exact.or_else(|| list.entries.iter().find(|entry| entry.matches(model)))
    }

    /// Returns how the mapping knows `model`; `None` if the provider does not serve it.
    pub fn named(&self, model: &str) -> Option<Named> {
        let Some(list) = &self.list else { return Some(Named::AsEvery) };
        if let Some(entry) = list.by_key.get(model).map(|at| &list.entries[*at])
            && let Target::Plain(_) = &entry.target
        {
            return Some(Named::Exactly);
        }
        let entry = list.entries.iter().find(|entry| entry.resolve(model).is_some())?;
        Some(if entry.passes_every_name() { Named::AsEvery } else { Named::ByPattern })
    }

    /// Returns whether names that are not in the mapping are served under the name asked.
    pub fn is_catch_all(&self) -> bool {
        self.serves_all() || self.entries().iter().any(Entry::passes_every_name)
    }

    /// Returns whether the mapping was empty: every model is served under the name asked.
    pub fn serves_all(&self) -> bool {
        self.list.is_none()
    }

    /// Returns the models that can be listed: the keys that are no patterns, in stored order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries().iter().filter(|entry| !entry.is_pattern()).map(Entry::key)
    }

    /// Everything that was stored and can be used, in stored order.
    pub fn entries(&self) -> &[Entry] {
        self.list.as_ref().map_or(&[], |list| &list.entries)
    }
}

impl List {
    /// A repeated key keeps its place and takes the later value, as JSON readers do.
    fn add(&mut self, entry: Entry, problems: &mut Vec<String>) {
        if let Some(at) = self.by_key.get(&entry.key) {
            problems.push(format!("model_mapping: `{}` appears twice; the later value is used", entry.key));
            self.entries[*at] = entry;
        } else {
            self.by_key.insert(entry.key.clone(), self.entries.len());
            self.entries.push(entry);
        }
    }
}

/// A credential's `allowed_models`: a JSON array of models and patterns. `[]` allows every model.
///
/// Cheap to clone: credentials with the same list share it.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// `None` allows everything.
    set: Option<Arc<Set>>,
}

/// Lists are equal when they were written alike.
impl PartialEq for Allowed {
    fn eq(&self, other: &Allowed) -> bool {
        self.set.as_ref().map(|set| &set.texts) == other.set.as_ref().map(|set| &set.texts)
    }
}

#[derive(Debug, Default)]
struct Set {
    /// As stored, for messages.
    texts: Vec<Box<str>>,
    names: HashSet<Box<str>, ahash::RandomState>,
    patterns: Vec<Pattern>,
}

impl Allowed {
    /// Reads the column. The messages are problems of the row.
    pub fn parse(json: &str) -> (Allowed, Vec<String>) {
        let items = match serde_json::from_str::<Option<Vec<&RawValue>>>(json) {
            Ok(items) => items.unwrap_or_default(),
            Err(_) => {
                let message =
                    "allowed_models is not a JSON array; it allows no model until that is corrected".to_owned();
                return (Allowed { set: Some(Arc::default()) }, vec![message]);
            }
        };
        if items.is_empty() {
            return (Allowed::default(), Vec::new());
        }
        let mut set = Set::default();
        let mut problems = Vec::new();
        for item in items {
            let Ok(text) = serde_json::from_str::<String>(item.get()) else {
                problems.push("allowed_models: an entry is not a string; it is left out".to_owned());
                continue;
            };
            match Pattern::parse(&text) {
                Ok(pattern) => {
                    set.patterns.extend(pattern);
                    set.names.insert(text.as_str().into());
                    set.texts.push(text.into());
                }
                Err(reason) => problems.push(format!("allowed_models: `{text}` {reason}; it is left out")),
            }
        }
        (Allowed { set: Some(Arc::new(set)) }, problems)
    }

    /// Returns whether a key with this list may use `model`.
    pub fn allows(&self, model: &str) -> bool {
        self.set.as_ref().is_none_or(|set| set.names.contains(model) || set.patterns.iter().any(|p| p.matches(model)))
    }

    /// Returns whether every model is allowed.
    pub fn allows_all(&self) -> bool {
        self.set.is_none()
    }

    /// Returns the usable entries as stored, patterns included; none when everything is allowed.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &str> {
        self.set.as_deref().map_or(&[][..], |set| &set.texts).iter().map(|text| &**text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(json: &str) -> Mapping {
        let (mapping, problems) = Mapping::parse(json);
        assert_eq!(problems, [""; 0], "{json}");
        mapping
    }

    #[test]
    fn mapping_looks_for_the_exact_name_then_for_patterns_in_stored_order() {
        // mapping, asked, sent
        let rows = [
            ("{}", "anything", Some("anything")),
            (" null ", "anything", Some("anything")),
            (r#"{"a":"b"}"#, "a", Some("b")),
            (r#"{"a":"b"}"#, "A", None),
            (r#"{"a":"b"}"#, "b", None),
            (r#"{"z*":"first","*":"second"}"#, "zz", Some("first")),
            (r#"{"*":"second","z*":"first"}"#, "zz", Some("second")),
            (r#"{"*":"any","zz":"exact"}"#, "zz", Some("exact")),
            (r#"{"*":"*"}"#, "org/m", Some("org/m")),
            (r#"{"gpt-3.5*":"x"}"#, "gpt-3x5", None),
            (r#"{"x/*":"$1"}"#, "x/", None),
            (r#"{"x/*":"$1","x*":"y"}"#, "x/", Some("y")),
            (r#"{"m[1m]":"long"}"#, "m[1m]", Some("long")),
            (r#"{"re:a":"b"}"#, "a", Some("b")),
            (r#"{"a":{"mapped_model":"b","max_tokens":5}}"#, "a", Some("b")),
            (r#"{"\u0061":"\u0062"}"#, "a", Some("b")),
        ];
        for (json, asked, sent) in rows {
            assert_eq!(mapping(json).resolve(asked).as_deref(), sent, "{json} {asked}");
        }
    }

    #[test]
    fn invalid_parts_are_left_out_and_reported() {
        // mapping, problems, asked, sent
        let rows = [
            (r#"{"a":1,"b":"c"}"#, 1, "b", Some("c")),
            (r#"{"a":1,"b":"c"}"#, 1, "a", None),
            (r#"{"a":1}"#, 1, "a", None),
            (r#"{"a":{}}"#, 1, "a", None),
            (r#"{"a":""}"#, 1, "a", None),
            (r#"{"re:(":"x","re:b":"y"}"#, 1, "b", Some("y")),
            (r#"{"a":"1","a":"2"}"#, 1, "a", Some("2")),
            ("", 1, "a", None),
            ("[]", 1, "a", None),
            (r#"{"a":"b""#, 1, "a", None),
        ];
        for (json, count, asked, sent) in rows {
            let (mapping, problems) = Mapping::parse(json);
            assert_eq!(problems.len(), count, "{json}: {problems:?}");
            assert!(!mapping.serves_all(), "{json}");
            assert_eq!(mapping.resolve(asked).as_deref(), sent, "{json} {asked}");
        }
    }

    #[test]
    fn listings_see_names_and_metadata() {
        let mapping = mapping(
            r#"{"zeta":"1","a*":"$1","alpha":{"max_tokens": 5, "mapped_model":"2","mode":"chat"},"beta":{"mapped_model":"3"}}"#,
        );
        assert_eq!(mapping.names().collect::<Vec<_>>(), ["zeta", "alpha", "beta"]);
        let seen: Vec<_> =
            mapping.entries().iter().map(|e| (e.key(), e.is_pattern(), e.mapped_name(), e.metadata())).collect();
        assert_eq!(
            seen,
            [
                ("zeta", false, "1", None),
                ("a*", true, "$1", None),
                ("alpha", false, "2", Some(r#"{"max_tokens":5,"mode":"chat"}"#)),
                ("beta", false, "3", None),
            ]
        );
        assert!(mapping.entries()[1].matches("axe") && !mapping.entries()[1].matches("b"));
        let by = |model| mapping.entry(model).map(Entry::key);
        assert_eq!((by("alpha"), by("axe"), by("b")), (Some("alpha"), Some("a*"), None));
    }

    #[test]
    fn allowed_models() {
        // list, problems, asked, allowed
        let rows = [
            ("[]", 0, "x", true),
            ("null", 0, "x", true),
            (r#"["gpt-4"]"#, 0, "gpt-4", true),
            (r#"["gpt-4"]"#, 0, "gpt-4o", false),
            (r#"["gpt-4*"]"#, 0, "gpt-4o", true),
            (r#"["gpt-3.5*"]"#, 0, "gpt-3x5", false),
            (r#"["re:(","a"]"#, 1, "a", true),
            (r#"["re:("]"#, 1, "a", false),
            (r#"["re:("]"#, 1, "re:(", false),
            (r#"[1]"#, 1, "1", false),
            (r#"{}"#, 1, "a", false),
            ("", 1, "a", false),
        ];
        for (json, count, asked, allowed) in rows {
            let (list, problems) = Allowed::parse(json);
            assert_eq!(problems.len(), count, "{json}: {problems:?}");
            assert_eq!(list.allows(asked), allowed, "{json} {asked}");
        }
        let (list, _) = Allowed::parse(r#"["b","a*"]"#);
        assert_eq!(list.entries().collect::<Vec<_>>(), ["b", "a*"]);
    }
}

//! A JSON object as a list of pairs in their written order: `serde_json`'s own map sorts them.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A member of a JSON object, its value as it is written.
pub(crate) type Pair<'a> = (Cow<'a, str>, &'a RawValue);

/// Returns the pairs of the object `json`; none for `null`. The error says what is wrong with
/// `name`, the column or text that `json` is from.
pub(crate) fn pairs<'a>(name: &str, json: &'a str) -> Result<Vec<Pair<'a>>, String> {
    match serde_json::from_str::<Option<Object<'a>>>(json) {
        Ok(object) => Ok(object.map(|object| object.0).unwrap_or_default()),
        // The error's own text may quote the value, and the value may be a secret.
        Err(error) if error.is_data() => Err(format!("{name} is not a JSON object")),
        Err(error) => Err(format!("{name} is not JSON (column {})", error.column())),
    }
}

/// Returns what is wrong with JSON that was read into fields, without the names of types and places
/// in a text that nobody has seen.
pub(crate) fn wrong_value(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
    let text = match text.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected an object"),
        None => text.to_owned(),
    };
    text.replace("expected u32", "expected a whole number").replace("expected f64", "expected a number")
}

struct Object<'a>(Vec<Pair<'a>>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<'de>, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Key(key), value)) = map.next_entry::<Key<'de>, &'de RawValue>()? {
            pairs.push((key, value));
        }
        Ok(Object(pairs))
    }
}

/// `Cow` on its own always copies when it is deserialized.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_values_stay_text() {
        let seen: Vec<_> = pairs("x", r#" {"z": 1, "a\n": {"x": [ ]}, "z": null} "#)
            .unwrap()
            .into_iter()
            .map(|(k, v)| (k, v.get()))
            .collect();
        assert_eq!(seen, [("z".into(), "1"), ("a\n".into(), r#"{"x": [ ]}"#), ("z".into(), "null")]);
        assert!(pairs("x", "null").unwrap().is_empty());
        for bad in ["", "[]", "1", "{", r#"{"a":1,}"#, "{} x"] {
            assert!(pairs("x", bad).is_err(), "{bad}");
        }
    }
}

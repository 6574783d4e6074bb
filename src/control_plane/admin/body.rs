//! Bodies of requests, read field by field, so that all faults are reported at once; and the
//! schema of each, from the same table.
//!
//! A field is `required`, `optional` (absent or null: the default) or a `change` (absent: as it
//! was; null: cleared).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::nearest::nearest;
use crate::config::ordered::{self, Pair};
use crate::control_plane::admin::refusal::Refusal;

/// A field of a body that changes a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Change<T> {
    #[default]
    Absent,
    Null,
    To(T),
}

impl<T> Change<T> {
    /// Returns whether the body does not have the field.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Change::Absent)
    }

    /// Applies `into` to a value, if there is one.
    pub(crate) fn map<U>(self, into: impl FnOnce(T) -> U) -> Change<U> {
        match self {
            Change::Absent => Change::Absent,
            Change::Null => Change::Null,
            Change::To(value) => Change::To(into(value)),
        }
    }

    /// Sets a column that may be null.
    pub(crate) fn apply_to(self, column: &mut Option<T>) {
        match self {
            Change::Absent => {}
            Change::Null => *column = None,
            Change::To(value) => *column = Some(value),
        }
    }

    /// Sets a column that stores a value of its own for an absent one.
    pub(crate) fn apply_or<C: From<T>>(self, column: &mut C, cleared: C) {
        match self {
            Change::Absent => {}
            Change::Null => *column = cleared,
            Change::To(value) => *column = value.into(),
        }
    }
}

/// Fields of rows that only the server sets. A client may send them back with its changes, and they
/// have no effect.
const SHOWN: &[&str] =
    &["id", "api_key_kind", "key_preview", "row_version", "version", "created_at", "updated_at", "previous_key_until"];

/// The fields of a body.
pub(crate) struct Fields<'a> {
    pairs: Vec<Pair<'a>>,
    /// Those that the body may have.
    known: Vec<&'static str>,
    bad: Vec<(String, String)>,
}

impl<'a> Fields<'a> {
    /// Reads the members of a body. An empty body is an empty object.
    pub(crate) fn parse(body: &'a [u8]) -> Result<Fields<'a>, Refusal> {
        let text = std::str::from_utf8(body).map_err(|_| Refusal::invalid("the body is not UTF-8", None))?;
        let text = if text.trim().is_empty() { "{}" } else { text };
        let pairs = ordered::pairs("the body", text).map_err(|message| Refusal::invalid(message, None))?;
        Ok(Fields { pairs, known: Vec::new(), bad: Vec::new() })
    }

    /// Returns the value of that name. The last one counts.
    fn raw(&mut self, name: &'static str) -> Option<&'a RawValue> {
        self.known.push(name);
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    fn value<T: DeserializeOwned>(&mut self, name: &'static str, raw: &RawValue) -> Option<T> {
        serde_json::from_str(raw.get()).map_err(|error| self.bad.push((name.to_owned(), words(&error)))).ok()
    }

    /// Returns a field that must be there. `None` is a field with a problem, which is recorded.
    pub(crate) fn required<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        match self.raw(name) {
            None => {
                self.bad.push((name.to_owned(), "is required".to_owned()));
                None
            }
            Some(raw) => self.value(name, raw),
        }
    }

    /// Returns a field that may be absent or null. The outer `None` is a field with a problem,
    /// which is recorded.
    pub(crate) fn optional<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<Option<T>> {
        match self.raw(name) {
            None => Some(None),
            Some(raw) if raw.get() == "null" => Some(None),
            Some(raw) => self.value(name, raw).map(Some),
        }
    }

    /// Returns what the body does to a column. `None` is a field with a problem, which is recorded.
    pub(crate) fn change<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<Change<T>> {
        match self.raw(name) {
            None => Some(Change::Absent),
            Some(raw) if raw.get() == "null" => Some(Change::Null),
            Some(raw) => self.value(name, raw).map(Change::To),
        }
    }

    /// Reports the fields that the body cannot have: a misspelt limit must not count as absent.
    fn note_unknown(&mut self) {
        for (name, value) in &self.pairs {
            let is_known = self.known.iter().chain(SHOWN).any(|known| *known == &**name);
            // What v1 has in each of its forms.
            let is_empty_script = *name == "lua_script" && value.get() == "null";
            if is_known || is_empty_script {
                continue;
            }
            let shown: String = name.chars().take(64).collect();
            let why = match nearest(name, self.known.iter().copied()) {
                Some(near) => format!("is not a field here; did you mean `{near}`?"),
                None => format!("is not a field here; the fields are {}", self.known.join(", ")),
            };
            self.bad.push((shown, why));
        }
    }

    /// Returns `body`, unless a field had a problem.
    pub(crate) fn finish<B>(mut self, body: Option<B>) -> Result<B, Refusal> {
        self.note_unknown();
        match body {
            Some(body) if self.bad.is_empty() => Ok(body),
            _ => {
                let messages: Vec<_> = self.bad.iter().map(|(name, why)| format!("{name} {why}")).collect();
                Err(Refusal::invalid(messages.join("; "), self.bad.first().map(|(name, _)| name.clone())))
            }
        }
    }
}

/// Writes serde's message without its position, as the rest of a sentence that begins with the
/// field's name.
fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    match text.strip_prefix("invalid type: ") {
        Some(rest) => match rest.split_once(", expected ") {
            Some((_, expected)) => format!("must be {expected}"),
            None => "has the wrong type".to_owned(),
        },
        None => text.to_owned(),
    }
}

/// A body that a route takes.
pub(crate) trait Body: JsonSchema + Sized {
    fn read(fields: &mut Fields<'_>) -> Option<Self>;
}

macro_rules! body {
    ($(#[$doc:meta])* $name:ident { $( $kind:ident $field:ident : $type:ty = $help:literal; )* }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name { $( #[doc = $help] pub(crate) $field: body!(@type $kind $type), )* }

        impl $crate::control_plane::admin::body::Body for $name {
            fn read(fields: &mut $crate::control_plane::admin::body::Fields<'_>) -> Option<$name> {
                // All fields are read before the first missing one ends this.
                $( let $field = fields.$kind(stringify!($field)); )*
                Some($name { $( $field: $field?, )* })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut object = $crate::control_plane::admin::body::Object::default();
                $( object.$kind::<$type>(generator, stringify!($field), $help); )*
                object.schema()
            }
        }
    };
    (@type required $type:ty) => { $type };
    (@type optional $type:ty) => { Option<$type> };
    (@type change $type:ty) => { $crate::control_plane::admin::body::Change<$type> };
}
pub(crate) use body;

/// The schema of a body while it is made.
#[derive(Default)]
pub(crate) struct Object {
    properties: Map<String, Value>,
    required: Vec<Value>,
}

impl Object {
    /// Adds a field that must be there.
    pub(crate) fn required<T: JsonSchema>(&mut self, generator: &mut SchemaGenerator, name: &str, help: &str) {
        self.required.push(name.into());
        let schema = generator.subschema_for::<T>();
        self.property(schema, name, help);
    }

    /// Adds a field that may be absent or null.
    pub(crate) fn optional<T: JsonSchema>(&mut self, generator: &mut SchemaGenerator, name: &str, help: &str) {
        let schema = generator.subschema_for::<Option<T>>();
        self.property(schema, name, help);
    }

    /// Adds a field that changes a column.
    pub(crate) fn change<T: JsonSchema>(&mut self, generator: &mut SchemaGenerator, name: &str, help: &str) {
        self.optional::<T>(generator, name, help);
    }

    fn property(&mut self, mut schema: Schema, name: &str, help: &str) {
        schema.insert("description".to_owned(), help.into());
        self.properties.insert(name.to_owned(), schema.to_value());
    }

    /// Returns the schema of the object.
    pub(crate) fn schema(self) -> Schema {
        json_schema!({ "type": "object", "properties": self.properties, "required": self.required })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::admin::field_values::{Count, Json, Limit, Moment, Name};

    body! {
        /// For the tests.
        Sample {
            required name: Name = "a name";
            optional weight: Count<0, 9> = "a weight";
            change limit: Limit = "a limit";
            change until: Moment = "an end";
            optional map: Json = "an object";
        }
    }

    fn read(body: &str) -> Result<Sample, String> {
        let mut fields = Fields::parse(body.as_bytes()).map_err(|refusal| refusal.message)?;
        let sample = Sample::read(&mut fields);
        fields.finish(sample).map_err(|refusal| refusal.message)
    }

    #[test]
    fn absent_is_not_null() {
        let sample = read(r#"{"name":"a","limit":null,"until":"1970-01-01T00:00:09Z","map":{"z":1,"a":2},"id":7}"#);
        let sample = sample.unwrap();
        assert!(matches!(sample.limit, Change::Null) && matches!(sample.until, Change::To(Moment(9))));
        assert_eq!(
            (sample.name.0.as_str(), sample.weight.is_none(), sample.map.unwrap().text()),
            ("a", true, r#"{"z":1,"a":2}"#)
        );
        assert!(read(r#"{"name":"a"}"#).unwrap().limit.is_absent());
        assert_eq!(read(r#"{"name":"a","weight":3.0}"#).unwrap().weight.unwrap().0, 3);
    }

    #[test]
    fn every_bad_field_is_named() {
        let rows = [
            ("", "name is required"),
            ("[]", "the body is not a JSON object"),
            ("{", "the body is not JSON (column 1)"),
            (
                r#"{"name":"","weight":10,"limit":"x","until":"soon","map":[]}"#,
                "name must be 1 to 255 visible characters, without a space at its ends; weight must be a whole number from 0 to 9; \
                 limit must be a whole number from 0 to 2147483647; \
                 until must be a time, as `2030-01-31T00:00:00Z` or in seconds since 1970; map must be a JSON object",
            ),
            (r#"{"name":7}"#, "name must be a string"),
            (r#"{"name":"a","limt":5}"#, "limt is not a field here; did you mean `limit`?"),
            (
                r#"{"nam":"a","colour":1,"weight":-1,"id":1,"created_at":"x","lua_script":null}"#,
                "name is required; weight must be a whole number from 0 to 9; nam is not a field here; did you mean `name`?; \
                 colour is not a field here; the fields are name, weight, limit, until, map",
            ),
        ];
        for (body, message) in rows {
            assert_eq!(read(body).unwrap_err(), message, "{body}");
        }
    }
}

//! The types of fields in bodies: how each is read and checked, and its schema.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::models::Mapping;
use crate::config::snapshot::BaseUrl;
use crate::rfc3339;

/// A JSON object, kept as text: order matters in a mapping.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Json(Box<RawValue>);

impl Json {
    /// Returns the JSON as it was written.
    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Headers with keys may stand in it.
        f.write_str("{..}")
    }
}

impl From<Json> for String {
    fn from(json: Json) -> String {
        json.text().to_owned()
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with('{') { Ok(Json(raw)) } else { Err(D::Error::custom("must be a JSON object")) }
    }
}

impl JsonSchema for Json {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Object".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object" })
    }
}

/// `api_base`: judged here too, so that it is reported together with other faults.
#[derive(Debug, Clone)]
pub(crate) struct Base(String);

impl From<Base> for String {
    fn from(base: Base) -> String {
        base.0
    }
}

impl<'de> Deserialize<'de> for Base {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Base, D::Error> {
        let text = String::from(Text::<500>::deserialize(deserializer)?);
        BaseUrl::parse(&text).map_err(D::Error::custom)?;
        Ok(Base(text))
    }
}

impl JsonSchema for Base {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Base".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Text::<500>::json_schema(generator)
    }
}

/// `model_mapping`, likewise.
#[derive(Debug, Clone)]
pub(crate) struct MappingJson(Json);

impl From<MappingJson> for String {
    fn from(mapping: MappingJson) -> String {
        mapping.0.into()
    }
}

impl<'de> Deserialize<'de> for MappingJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MappingJson, D::Error> {
        let json = Json::deserialize(deserializer)?;
        let (_, problems) = Mapping::parse(json.text());
        // Each begins with the name of the column.
        let problems: Vec<_> = problems
            .iter()
            .map(|problem| problem.strip_prefix("model_mapping").unwrap_or(problem).trim_start_matches([':', ' ']))
            .collect();
        if problems.is_empty() { Ok(MappingJson(json)) } else { Err(D::Error::custom(problems.join(", "))) }
    }
}

impl JsonSchema for MappingJson {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Mapping".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Json::json_schema(generator)
    }
}

/// Text that is shown in lists, logs and metrics: 1 to 255 characters, all visible, no space at its
/// ends.
#[derive(Debug, Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Name(pub(crate) String);

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = !text.is_empty() && text.trim() == text && text.chars().count() <= 255;
        if !fits || text.chars().any(char::is_control) {
            return Err(D::Error::custom("must be 1 to 255 visible characters, without a space at its ends"));
        }
        Ok(Name(text))
    }
}

impl JsonSchema for Name {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Name".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$" })
    }
}

/// Text of up to `MAX` characters, as PostgreSQL's column has it, which also keeps no U+0000.
#[derive(Debug, Clone)]
pub(crate) struct Text<const MAX: usize>(String);

impl<const MAX: usize> From<Text<MAX>> for String {
    fn from(text: Text<MAX>) -> String {
        text.0
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<MAX>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = !text.contains('\0') && text.chars().nth(MAX).is_none();
        if fits {
            Ok(Text(text))
        } else {
            Err(D::Error::custom(format!("must be at most {MAX} characters, none U+0000")))
        }
    }
}

impl<const MAX: usize> JsonSchema for Text<MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Text{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": MAX, "pattern": "^[^\u{0}]*$" })
    }
}

/// The key of a client: visible ASCII, since it comes in a header.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) String);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        let text = String::deserialize(deserializer)?;
        let fits = (1..=1024).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits {
            Ok(Key(text))
        } else {
            Err(D::Error::custom("must be 1 to 1024 visible ASCII characters without spaces"))
        }
    }
}

impl JsonSchema for Key {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Key".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^[!-~]+$" })
    }
}

/// An amount, as it was written: a number that is not negative.
#[derive(Debug, Clone)]
pub(crate) struct Amount(pub(crate) String);

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = raw.get().trim_matches('"');
        // A power of ten becomes decimals.
        let number = text.parse::<f64>().ok().filter(|number| *number >= 0.0 && *number < 1e18);
        let Some(number) = number else { return Err(D::Error::custom("must be a number from 0 on")) };
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let text = match is_plain {
            true => text.to_owned(),
            false => format!("{number:.9}"),
        };
        // `5.0` are five tokens too.
        let whole = text.split_once('.').filter(|(_, rest)| rest.bytes().all(|digit| digit == b'0'));
        Ok(Amount(whole.map_or_else(|| text.clone(), |(whole, _)| whole.to_owned())))
    }
}

impl JsonSchema for Amount {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

/// A whole number that is not negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count<const MIN: i64, const MAX: i64>(pub(crate) i64);

impl<const MIN: i64, const MAX: i64> From<Count<MIN, MAX>> for i64 {
    fn from(count: Count<MIN, MAX>) -> i64 {
        count.0
    }
}

impl<'de, const MIN: i64, const MAX: i64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = || D::Error::custom(format!("must be a whole number from {MIN} to {MAX}"));
        let number = serde_json::Number::deserialize(deserializer).map_err(|_| expected())?;
        // `1.0` is a whole number too, in JSON and in JSON Schema.
        let float = || number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() < 9e15).map(|n| n as i64);
        let value = number.as_i64().or_else(float);
        value.filter(|n| (MIN..=MAX).contains(n)).map(Count).ok_or_else(expected)
    }
}

impl<const MIN: i64, const MAX: i64> JsonSchema for Count<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Count{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// The largest number in a row, as PostgreSQL's column has it.
pub(crate) const MAX_INTEGER: i64 = i32::MAX as i64;

/// A limit; 0 blocks all.
pub(crate) type Limit = Count<0, MAX_INTEGER>;

/// A moment: RFC 3339, or seconds since 1970. Seconds in the rows, text in answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(pub(crate) i64);

impl Serialize for Moment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339::format(self.0))
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        let seconds = match Value::deserialize(deserializer)? {
            Value::String(text) => rfc3339::parse(&text),
            Value::Number(number) => number.as_i64().filter(|n| (0..=253_402_300_799).contains(n)),
            _ => None,
        };
        seconds
            .map(Moment)
            .ok_or_else(|| D::Error::custom("must be a time, as `2030-01-31T00:00:00Z` or in seconds since 1970"))
    }
}

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = json_schema!({ "type": "string", "format": "date-time" });
        if generator.contract().is_serialize() {
            return text;
        }
        json_schema!({ "anyOf": [text, { "type": "integer", "minimum": 0, "maximum": 253_402_300_799_i64 }] })
    }
}

/// A point in time in responses, to the millisecond. It is in microseconds since 1970 in the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Micros(pub(crate) i64);

impl Serialize for Micros {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seconds = rfc3339::format(self.0.div_euclid(1_000_000));
        let millis = self.0.rem_euclid(1_000_000) / 1000;
        serializer.serialize_str(&format!("{}.{millis:03}Z", seconds.trim_end_matches('Z')))
    }
}

impl JsonSchema for Micros {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Micros".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

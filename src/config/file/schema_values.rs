//! Values in the JSON schema of the configuration file that are described by hand.

// The types below describe values and hold none.
#![allow(dead_code)]

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::read::NOT_IN_A_FILE;
use crate::config::boot::table::{VARIABLES, Variable};
use llm_wire::Format;
use llm_wire::target::quirks::{Host, Quirk};

/// A value, or text with a variable that becomes one.
pub(super) struct OrVariable<T>(PhantomData<T>);

/// Returns the schema of `${NAME}` or `${NAME:-DEFAULT}`, alone or within a text.
fn variable() -> Value {
    json!({ "type": "string", "pattern": r"\$\{[A-Za-z0-9_]+(:-[^}]*)?\}" })
}

impl<T: JsonSchema> JsonSchema for OrVariable<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_variable", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<T>(), variable()] })
    }
}

/// Implements `JsonSchema` for a type by an expression.
macro_rules! described {
    ($( $(#[$doc:meta])* $name:ident = $schema:expr; )*) => { $(
        $(#[$doc])*
        pub(crate) struct $name;

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let schema: Map<String, Value> = $schema;
                schema.into()
            }
        }
    )* };
}

described! {
    /// An amount of money or tokens.
    Amount = object(json!({ "type": "number", "minimum": 0 }));
    /// A weight of a provider or a member.
    Weight = object(json!({ "type": "integer", "minimum": 0, "maximum": 1_000_000 }));
    /// A time.
    PointInTime = object(json!({
        "anyOf": [
            { "type": "string", "format": "date-time" },
            { "type": "integer", "description": "seconds since 1970" },
            variable(),
        ],
    }));
    /// The name of a format.
    FormatName = object(json!({ "enum": format_names() }));
    /// The name of a host.
    HostName = object(json!({ "enum": Host::ALL.iter().map(|host| host.name()).collect::<Vec<_>>() }));
    /// The name of a quirk, with a leading `-` to take it away.
    QuirkName = object(json!({ "enum": quirk_names() }));
    /// The settings of the process, by the names of their variables in lower case.
    Settings = object(json!({
        "type": "object", "properties": settings(), "additionalProperties": false,
    }));
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn format_names() -> [&'static str; 3] {
    [Format::Chat, Format::Messages, Format::Responses].map(Format::name)
}

fn quirk_names() -> Vec<String> {
    let names = Quirk::ALL.iter().map(|quirk| quirk.name().to_owned());
    let taken_away = Quirk::ALL.iter().map(|quirk| format!("-{}", quirk.name()));
    names.chain(taken_away).collect()
}

/// Returns a property for each setting. Its default decides its type; text is taken for every type.
fn settings() -> Map<String, Value> {
    let settings = VARIABLES.iter().filter(|setting| !NOT_IN_A_FILE.contains(&setting.name));
    settings
        .flat_map(|setting| {
            let schema = setting_schema(setting);
            let mut former = schema.clone();
            former["deprecated"] = true.into();
            let former = (!setting.alias.is_empty()).then(|| (setting.alias.to_ascii_lowercase(), former));
            [(setting.name.to_ascii_lowercase(), schema)].into_iter().chain(former)
        })
        .collect()
}

fn setting_schema(setting: &Variable) -> Value {
    let default = serde_json::from_str::<Value>(setting.default);
    let default = default.unwrap_or_else(|_| setting.default.into());
    let kind = match default {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        _ => "string",
    };
    let mut schema = json!({ "description": setting.help, "type": [kind, "null"] });
    if kind == "boolean" || kind == "number" {
        schema = json!({
            "description": setting.help,
            "anyOf": [{ "type": [kind, "null"] }, variable()],
        });
    }
    if !setting.default.is_empty() {
        schema["default"] = default;
    }
    schema
}

//! The JSON columns of virtual models: kept as they are written, judged when they are sent, and the
//! schema of each.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::config::virtual_models::{self, schema};

/// A member of a virtual model as the admin API takes and shows it.
pub(crate) type Member = schema::Member<u32, u64>;

macro_rules! columns {
    ($( $(#[$doc:meta])* $name:ident $column:literal $schema:ty, $judge:expr; )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name(Box<RawValue>);

        impl From<$name> for String {
            fn from(column: $name) -> String {
                column.0.get().to_owned()
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let raw = Box::<RawValue>::deserialize(deserializer)?;
                let mut problems = Vec::new();
                let judge: fn(&str, &mut Vec<String>) = $judge;
                judge(raw.get(), &mut problems);
                if problems.is_empty() { Ok($name(raw)) } else { Err(D::Error::custom(join($column, &problems))) }
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$schema>::json_schema(generator)
            }
        }
    )* };
}

columns! {
    /// `members`.
    MembersJson "members" Vec<Member>, |json, problems| {
        virtual_models::members("members", json, problems);
    };
    /// `overrides`.
    OverridesJson "overrides" BTreeMap<String, Vec<Member>>, |json, problems| {
        virtual_models::overrides(json, problems);
    };
    /// `options`.
    OptionsJson "options" schema::ModelOptions, |json, problems| {
        virtual_models::options(json, problems);
    };
}

/// Joins the problems as the rest of a sentence that begins with the name of the column.
fn join(column: &str, problems: &[String]) -> String {
    let rest = |problem: &String| {
        let rest = problem.strip_prefix(column).unwrap_or(problem).trim_start_matches([':', ' ']);
        rest.strip_suffix("; it is left out").unwrap_or(rest).to_owned()
    };
    problems.iter().map(rest).collect::<Vec<_>>().join(", ")
}

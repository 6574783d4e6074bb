//! The JSON columns of virtual models: kept as they are written, judged when they are sent, and the
//! schema of each.

// The types of schemas describe fields and hold no values.
#![allow(dead_code)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::config::virtual_models;

/// A member: the name of a model, or an object.
#[derive(JsonSchema)]
#[serde(untagged)]
pub(crate) enum Member {
    /// The name of a model, or of another virtual model
    Name(String),
    Full(MemberFields),
}

/// A member with its share, its tier and its window.
#[derive(JsonSchema)]
pub(crate) struct MemberFields {
    /// The name of a model, or of another virtual model
    model: String,
    /// The only provider that is asked for it
    provider: Option<String>,
    /// Share of the requests of its tier, 1 by default; 0 is a standby
    weight: Option<u32>,
    /// The tier, 0 by default: members of the next one are used when none of this one is left
    priority: Option<u32>,
    /// Tokens that fit into the model, where the known facts are wrong
    context_window: Option<u64>,
}

/// What a virtual model does beside sharing requests.
#[derive(JsonSchema)]
pub(crate) struct ModelOptions {
    /// Failures of the request itself that lead to another member, `["context_length"]` by default
    fallback_on: Option<Vec<FallbackReason>>,
    /// Whether a slow answer gets a second attempt beside the first, and how often
    hedge: Option<Hedge>,
    /// How another provider goes on with a stream that breaks off, instead of `RESCUE_STREAMS`
    rescue: Option<RescueManner>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum RescueManner {
    Off,
    Prompt,
    Prefill,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Hedge {
    IsOn(bool),
    How(HedgeLimits),
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct HedgeLimits {
    /// The most requests that are hedged, in percent of those that may be; 2 by default
    percent: Option<f64>,
    /// When the second attempt at a stream begins; by default when content takes longer than for 95
    /// of 100 requests
    after_ms: Option<u64>,
    /// When the second attempt at a whole answer begins; by default when it takes longer than 95 of
    /// 100 answers
    whole_after_ms: Option<u64>,
}

#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
enum FallbackReason {
    ContextLength,
    ContentFilter,
}

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
                if problems.is_empty() { Ok($name(raw)) } else { Err(D::Error::custom(told($column, &problems))) }
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
    OptionsJson "options" ModelOptions, |json, problems| {
        virtual_models::options(json, problems);
    };
}

/// Joins the problems as the rest of a sentence that begins with the name of the column.
fn told(column: &str, problems: &[String]) -> String {
    let rest = |problem: &String| {
        let rest = problem.strip_prefix(column).unwrap_or(problem).trim_start_matches([':', ' ']);
        rest.strip_suffix("; it is left out").unwrap_or(rest).to_owned()
    };
    problems.iter().map(rest).collect::<Vec<_>>().join(", ")
}

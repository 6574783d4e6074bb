//! The JSON schema of a virtual model's members and options, for the configuration file and the
//! admin API. The parent module reads the values.

// The types below describe fields and hold no values.
#![allow(dead_code)]

use schemars::JsonSchema;

// `W` is the schema of a weight and `N` that of other numbers: the configuration file allows a
// variable for each of them, the admin API does not.
/// A member: the name of a model, or an object.
#[derive(JsonSchema)]
#[schemars(untagged, rename = "Member")]
pub(crate) enum Member<W, N> {
    /// The name of a model, or of another virtual model
    Name(String),
    /// The same with its share, its tier and its window
    Full(MemberFields<W, N>),
}

/// A member with its share, its tier and its window.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename = "MemberFields")]
pub(crate) struct MemberFields<W, N> {
    /// The name of a model, or of another virtual model
    model: String,
    /// The only provider that gets its requests
    provider: Option<String>,
    /// Share of the requests of its tier, 1 by default; 0 is a standby
    weight: Option<W>,
    /// The tier, 0 by default: members of the next one are used when none of this one is left
    priority: Option<N>,
    /// Tokens that fit into the model, where the known facts are wrong
    context_window: Option<N>,
}

/// What a virtual model does beside sharing requests.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ModelOptions {
    /// Failures of the request itself that lead to another member, `["context_length"]` by default
    fallback_on: Option<Vec<FallbackReason>>,
    /// Whether a slow answer gets a second attempt beside the first, and how often
    hedge: Option<Hedge>,
    /// How another provider continues a stream that breaks off, instead of `RESCUE_STREAMS`
    rescue: Option<RescueMethod>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum FallbackReason {
    ContextLength,
    ContentFilter,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Hedge {
    IsOn(bool),
    Limits(HedgeLimits),
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
#[schemars(rename_all = "snake_case")]
enum RescueMethod {
    Off,
    Prompt,
    Prefill,
}

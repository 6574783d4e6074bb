//! The JSON schema of the configuration file, for editors: the fields that the reader knows, with
//! their types and meanings. Tests compare its names with the reader's tables.

// The types below describe fields and hold no values.
#![allow(dead_code)]

use std::collections::BTreeMap;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::schema_values::{Amount, FormatName, HostName, OrVariable, PointInTime, QuirkName, Settings, Weight};
use crate::config::virtual_models::schema;

/// Returns the schema as a JSON document (JSON Schema, draft 2020-12).
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<Gateway>().to_value()
}

/// A configuration file of llm-proxy
#[derive(JsonSchema)]
#[schemars(title = "llm-proxy configuration file", deny_unknown_fields)]
#[schemars(extend("patternProperties" = {"^x-": {"description": "Ignored, so that YAML anchors can be defined here"}}))]
struct Gateway {
    /// Settings by the names of their environment variables, in lower case. The environment wins
    settings: Option<Settings>,
    /// The providers that requests are sent to
    providers: Option<Vec<Provider>>,
    /// The keys of clients
    credentials: Option<Vec<Credential>>,
    /// Groups of keys, which share models and limits
    groups: Option<Vec<Group>>,
    /// What keys, groups, tags and providers may spend
    budgets: Option<Vec<Budget>>,
    /// Virtual models: names that clients may ask for, and the models behind them
    models: Option<Vec<Model>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Model {
    /// Unique name, which clients ask for
    name: String,
    /// The models that requests for the name go to
    members: Vec<Member>,
    /// Other members for the credentials of these names
    overrides: Option<BTreeMap<String, Vec<Member>>>,
    /// Which failures lead to another member, and more
    options: Option<schema::ModelOptions>,
    /// Whether the name is served, true by default
    is_enabled: Option<OrVariable<bool>>,
}

/// A member of a virtual model as the file may have it.
type Member = schema::Member<OrVariable<Weight>, OrVariable<u64>>;

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Provider {
    /// Unique name, which logs and metrics show
    provider_key: String,
    /// openai (the default), azure, anthropic or responses; other types are treated as openai
    provider_type: Option<String>,
    /// Base URL, such as https://api.openai.com/v1
    api_base: String,
    /// The provider's API key; `${NAME}` takes it from the environment when the file is read,
    /// `env:NAME` when the provider is used
    api_key: Option<String>,
    /// Model or pattern to the provider's name of the model; empty serves every model
    model_mapping: Option<BTreeMap<String, MappedModel>>,
    /// Share of the requests, 1 by default; 0 makes the provider a standby, which is used when no
    /// other provider is left
    weight: Option<OrVariable<Weight>>,
    /// Formats, host, quirks, capabilities, translation and headers
    provider_params: Option<Params>,
    /// Not served by this version: a provider with a script is a problem
    lua_script: Option<String>,
    /// Whether the provider is used, true by default
    is_enabled: Option<OrVariable<bool>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum MappedModel {
    /// The provider's name of the model; `*` or `$1` is what the pattern matched
    Name(String),
    /// The same with prices and other facts about the model
    WithFacts(WithFacts),
}

#[derive(JsonSchema)]
struct WithFacts {
    /// The provider's name of the model
    mapped_model: String,
    /// Dollars for a token of the prompt
    input_cost_per_token: Option<f64>,
    /// Dollars for a token of the response
    output_cost_per_token: Option<f64>,
    /// Dollars for a thousand tokens of the prompt
    input_cost_per_1k_tokens: Option<f64>,
    /// Dollars for a thousand tokens of the response
    output_cost_per_1k_tokens: Option<f64>,
    /// Dollars for a token that the provider reads from its cache
    cache_read_input_token_cost: Option<f64>,
    /// Dollars for a token that the provider writes to its cache for 5 minutes
    cache_creation_input_token_cost: Option<f64>,
    /// Dollars for a token that the provider writes to its cache for an hour
    cache_creation_input_token_cost_above_1hr: Option<f64>,
    /// Dollars for a token of reasoning
    output_cost_per_reasoning_token: Option<f64>,
}

#[derive(JsonSchema)]
struct Params {
    /// Formats that the provider can be asked in; by default that of its type
    formats: Option<Vec<FormatName>>,
    /// Who runs the server, where its address does not tell
    host: Option<HostName>,
    /// Quirks to add to those of the host, or with a leading `-` to take away
    quirks: Option<Vec<QuirkName>>,
    /// What the provider's models can do; `models` has it by name or pattern
    capabilities: Option<Map<String, Value>>,
    /// Options of the translation
    translation: Option<Translation>,
    /// What the provider may be sent: requests at a time, requests and tokens per minute
    limits: Option<ProviderLimits>,
    /// The proxy through which the provider is reached, such as http://proxy:3128; direct; or
    /// env:NAME_PROXY
    proxy: Option<String>,
    /// Certificates of the provider
    tls: Option<ProviderTls>,
    /// Headers to add to each request
    custom_headers: Option<BTreeMap<String, String>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ProviderLimits {
    /// Requests at a time
    max_concurrency: Option<u32>,
    /// Requests in a minute
    requests_per_minute: Option<u32>,
    /// Tokens in a minute, of prompts and responses together
    tokens_per_minute: Option<u32>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct ProviderTls {
    /// A PEM file with the authorities to trust, instead of the system's
    ca_file: Option<String>,
    /// A PEM file with the certificate that the provider demands
    client_cert: Option<String>,
    /// A PEM file with its key
    client_key: Option<String>,
    /// Whether the provider's certificate is verified; the default is VERIFY_SSL
    verify: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Translation {
    /// Answer 400 for each loss instead of naming it in a header; the default is STRICT_TRANSLATION
    strict: Option<bool>,
    /// Repair tool calls without results and results without calls, true by default
    repair_tool_pairs: Option<bool>,
    /// What becomes of visible reasoning of another vendor in the history, drop by default
    foreign_reasoning: Option<ForeignReasoning>,
    /// Give Chat clients `reasoning_details` beside `reasoning_content`, true by default
    reasoning_details: Option<bool>,
    /// Ask Responses providers for summaries of reasoning, true by default
    summaries: Option<bool>,
    /// Set a cache breakpoint for clients whose format has none, true by default
    anthropic_auto_cache: Option<bool>,
    /// Watch for stop sequences that the provider does not know, true by default
    emulate_stop: Option<bool>,
    /// What becomes of a last message of the assistant that the provider cannot continue, pass by
    /// default
    prefill: Option<Prefill>,
    /// What becomes of a tool that runs at another vendor, auto by default
    server_tools: Option<ServerTools>,
    /// What becomes of a Chat request with tools and thinking that the model is known to refuse on
    /// Chat Completions, auto by default
    thinking_tools: Option<ThinkingTools>,
    /// `max_tokens` for Messages providers when the client gives none
    max_tokens: Option<std::num::NonZeroU64>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum ThinkingTools {
    Auto,
    Pass,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum ForeignReasoning {
    Drop,
    Text,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Prefill {
    Pass,
    Reject,
    Hint,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum ServerTools {
    Auto,
    Reject,
    Drop,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Credential {
    /// The name of the key in logs and metrics
    name: String,
    /// The key that the client sends; give this or `credential_key`
    key: Option<String>,
    /// The SHA-256 of the key in hex
    credential_key: Option<String>,
    /// The group that the key belongs to
    group_name: Option<String>,
    /// Models and patterns that the key may use; empty allows all
    allowed_models: Option<Vec<String>>,
    /// Requests per second; 0 blocks the key, without it there is no limit
    rate_limit: Option<OrVariable<u32>>,
    /// Requests that may arrive at one moment; the default is the rate limit
    burst: Option<OrVariable<u32>>,
    /// Tokens per minute, of prompts and responses; 0 blocks the key, without it there is no limit
    tokens_per_minute: Option<OrVariable<u32>>,
    /// Requests in progress at one time; 0 blocks the key, without it there is no limit
    max_concurrency: Option<OrVariable<u32>>,
    /// When the key expires; without it, never
    expires_at: Option<PointInTime>,
    /// The SHA-256 in hex of the key that this one has replaced
    previous_key: Option<String>,
    /// How long the previous key stays valid
    previous_key_until: Option<PointInTime>,
    /// Notes of your own
    metadata: Option<Map<String, Value>>,
    /// Whether the key is valid, true by default
    is_enabled: Option<OrVariable<bool>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Group {
    /// Unique name, by which keys and groups name it
    name: String,
    /// The group that it belongs to
    parent: Option<String>,
    /// Models and patterns that its keys may use; empty allows all
    allowed_models: Option<Vec<String>>,
    /// Requests per second of all of its keys; 0 blocks them, without it there is no limit
    rate_limit: Option<OrVariable<u32>>,
    /// Requests that may arrive at one moment; the default is the rate limit
    burst: Option<OrVariable<u32>>,
    /// Tokens per minute of all of its keys; 0 blocks them, without it there is no limit
    tokens_per_minute: Option<OrVariable<u32>>,
    /// Requests of its keys in progress at one time; 0 blocks them, without it there is no limit
    max_concurrency: Option<OrVariable<u32>>,
    /// Notes of your own
    metadata: Option<Map<String, Value>>,
    /// Whether its keys are valid, true by default
    is_enabled: Option<OrVariable<bool>>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Budget {
    /// Unique name, by which its sums are known
    name: String,
    /// What it is of
    scope: BudgetScope,
    /// The name of the credential, group, tag or provider
    subject: String,
    /// Dollars, the default, or tokens
    unit: Option<BudgetUnit>,
    /// Dollars with at most nine decimals, or whole tokens
    amount: OrVariable<Amount>,
    /// How long the amount is for, month by default
    period: Option<BudgetPeriod>,
    /// Time zone of the calendar, such as Europe/Berlin; UTC by default
    time_zone: Option<String>,
    /// Whether requests are refused for which too little is left, true by default
    is_hard: Option<OrVariable<bool>>,
    /// Per cents of the amount at which a warning is logged
    warn_at: Option<Vec<u8>>,
    /// The model, virtual or not, by which requests are served for which too little is left; without it they are refused
    downgrade_to: Option<String>,
    /// Whether it is in force, true by default
    is_enabled: Option<OrVariable<bool>>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum BudgetScope {
    Credential,
    Group,
    Tag,
    Provider,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum BudgetUnit {
    Usd,
    Tokens,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum BudgetPeriod {
    Hour,
    Day,
    Week,
    Month,
    Total,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::read::{BUDGET, CREDENTIAL, GROUP, MODEL, NOT_IN_A_FILE, PROVIDER, SECTIONS};
    use super::*;
    use crate::config::boot::table::VARIABLES;

    fn names(properties: &Value) -> Vec<&str> {
        let mut names: Vec<&str> = properties.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn sorted(mut names: Vec<&str>) -> Vec<&str> {
        names.sort_unstable();
        names
    }

    /// A field that the reader takes is in the schema, and the other way round.
    #[test]
    fn has_the_fields_of_the_reader() {
        let schema = schema();
        let properties = &schema["properties"];
        assert_eq!(names(properties), sorted(SECTIONS.to_vec()));
        let provider = &properties["providers"]["items"];
        assert_eq!(names(&provider["properties"]), sorted(PROVIDER.to_vec()));
        assert_eq!(provider["required"], json!(["provider_key", "api_base"]));
        let credential = &properties["credentials"]["items"];
        assert_eq!(names(&credential["properties"]), sorted(CREDENTIAL.to_vec()));
        let group = &properties["groups"]["items"];
        assert_eq!(names(&group["properties"]), sorted(GROUP.to_vec()));
        assert_eq!(names(&properties["models"]["items"]["properties"]), sorted(MODEL.to_vec()));
        let budget = &properties["budgets"]["items"];
        assert_eq!(names(&budget["properties"]), sorted(BUDGET.to_vec()));
        let settings = &properties["settings"]["properties"];
        let former = VARIABLES.iter().filter(|variable| !variable.alias.is_empty()).count();
        assert_eq!(names(settings).len(), VARIABLES.len() + former - NOT_IN_A_FILE.len());
    }
}

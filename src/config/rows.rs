//! One struct for each table row, as stored. The migrations under `migrations/` are the contract of
//! this file.
//!
//! JSON columns stay text here: a row with broken JSON must reach `compile`, which turns it into a
//! problem with the row's name.

use super::secret::Secret;

/// A row of `providers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderRow {
    pub id: i64,
    /// Unique name, also the metric label `provider`.
    pub provider_key: String,
    /// `openai`, `anthropic`, `responses`... decides the format; see `Provider`.
    pub provider_type: String,
    pub api_base: String,
    /// `env:NAME` takes it from the environment; empty for a provider that needs none.
    pub api_key: Secret,
    /// JSON object: model or pattern -> upstream model (a string, or an object with
    /// `mapped_model`). Empty serves every model.
    pub model_mapping: String,
    /// 0 is standby: used only when no other candidate is left.
    pub weight: i64,
    /// JSON object of quirks and further settings.
    pub provider_params: String,
    /// A script of llm-proxy v1. A row with one is not served.
    pub lua_script: Option<String>,
    pub is_enabled: bool,
    pub stamp: Stamp,
}

/// The columns that the store itself writes. A caller's values are ignored, save by an update,
/// which names the version that it changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamp {
    /// `row_version`: the version of the configuration ([`Rows::version`]) that the last write of
    /// this row made.
    pub version: i64,
    /// Seconds since 1970.
    pub created_at: i64,
    /// Seconds since 1970.
    pub updated_at: i64,
}

/// A row of `credentials`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialRow {
    pub id: i64,
    /// SHA-256 of the key, 64 hex digits.
    pub credential_key: String,
    pub name: String,
    /// The group that it belongs to, by name.
    pub group_name: Option<String>,
    /// JSON array of models and patterns; empty allows all.
    pub allowed_models: String,
    /// Requests per second; 0 blocks all, null is unlimited.
    pub rate_limit: Option<i64>,
    /// Capacity of the request bucket, at least 1; null is `rate_limit`.
    pub burst: Option<i64>,
    /// Tokens per minute, of prompts and responses together; 0 blocks all, null is unlimited.
    pub tokens_per_minute: Option<i64>,
    /// Requests in progress at one time; 0 blocks all, null is unlimited.
    pub max_concurrency: Option<i64>,
    /// Seconds since 1970; null never expires.
    pub expires_at: Option<i64>,
    /// SHA-256 of the key before the last rotation, which is valid until `previous_key_until`.
    pub previous_key: Option<String>,
    /// Seconds since 1970.
    pub previous_key_until: Option<i64>,
    /// JSON object of the operator's own notes. Of these `priority` is read: `high`, `normal` or
    /// `low`, by which requests wait for room.
    pub metadata: String,
    pub is_enabled: bool,
    pub stamp: Stamp,
}

impl CredentialRow {
    /// Returns the form of a key that lists may show: `first3***last3` over the first ten digits of
    /// its hash, as llm-proxy v1 shows it.
    pub fn preview(&self) -> String {
        match (self.credential_key.get(..3), self.credential_key.get(7..10)) {
            (Some(first), Some(last)) => format!("{first}***{last}"),
            _ => "***".to_owned(),
        }
    }
}

/// A row of `credential_groups`: the models and limits that its credentials, and those of the
/// groups in it, share. Its columns mean what those of a credential mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupRow {
    pub id: i64,
    /// Unique, and never changed: credentials and groups name it.
    pub name: String,
    /// The group that it belongs to, by name.
    pub parent: Option<String>,
    pub allowed_models: String,
    pub rate_limit: Option<i64>,
    pub burst: Option<i64>,
    pub tokens_per_minute: Option<i64>,
    pub max_concurrency: Option<i64>,
    pub metadata: String,
    /// The credentials of a disabled group are refused.
    pub is_enabled: bool,
    pub stamp: Stamp,
}

/// A row of `virtual_models`: a name that clients may ask for, and the models behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelRow {
    pub id: i64,
    /// Unique.
    pub name: String,
    /// JSON array of members: names of models, or objects with `model`, `provider`, `weight`,
    /// `priority` and `context_window`.
    pub members: String,
    /// JSON object: name of a credential -> its own members.
    pub overrides: String,
    /// JSON object; see `config::virtual_models::Options`.
    pub options: String,
    pub is_enabled: bool,
    pub stamp: Stamp,
}

/// A row of `budgets`: what a credential, a group, a tag or a provider may spend in a window of the
/// calendar.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BudgetRow {
    pub id: i64,
    /// Unique, and never changed: sums are known by it.
    pub name: String,
    /// `credential`, `group`, `tag` or `provider`.
    pub scope: String,
    /// The name of the credential, group, tag or provider.
    pub subject: String,
    /// `usd` or `tokens`.
    pub unit: String,
    /// Billionths of a dollar, or tokens.
    pub amount: i64,
    /// `hour`, `day`, `week`, `month` or `total`.
    pub period: String,
    /// A name of the IANA database; empty is UTC.
    pub time_zone: String,
    /// Whether a request is refused for which too little is left.
    pub is_hard: bool,
    /// JSON array of per cents of the amount at which a warning is logged.
    pub warn_at: String,
    /// The model by which requests are served for which too little is left; null refuses them.
    pub downgrade_to: Option<String>,
    pub is_enabled: bool,
    pub stamp: Stamp,
}

/// Everything that a store holds, at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// `config_version.version`: grows with each write.
    pub version: i64,
    /// In the order of ids.
    pub providers: Vec<ProviderRow>,
    /// In the order of ids.
    pub credentials: Vec<CredentialRow>,
    /// In the order of ids.
    pub groups: Vec<GroupRow>,
    /// In the order of ids.
    pub models: Vec<ModelRow>,
    /// In the order of ids.
    pub budgets: Vec<BudgetRow>,
}

//! One struct for each table row, as stored. The migrations under `migrations/` are the contract of this file.
//!
//! JSON columns stay text here: a row with broken JSON must reach `compile`, which turns it into a problem with the row's name.

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
    /// JSON object: model or pattern -> upstream model (a string, or an object with `mapped_model`). Empty serves every model.
    pub model_mapping: String,
    /// 0 is standby: used only when no other candidate is left.
    pub weight: i64,
    /// JSON object of oddities and extras.
    pub provider_params: String,
    /// Kept for databases of the service that had it. A row with one is not served.
    pub lua_script: Option<String>,
    pub is_enabled: bool,
}

/// A row of `credentials`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CredentialRow {
    pub id: i64,
    /// SHA-256 of the key, 64 hex digits.
    pub credential_key: String,
    pub name: String,
    /// JSON array of models and patterns; empty allows all.
    pub allowed_models: String,
    /// Requests per second; 0 blocks all, null is unlimited.
    pub rate_limit: Option<i64>,
    /// Capacity of the request bucket, at least 1; null is `rate_limit`.
    pub burst: Option<i64>,
    /// Seconds since 1970; null never expires.
    pub expires_at: Option<i64>,
    pub is_enabled: bool,
}

impl CredentialRow {
    /// What lists may show of a key: `first3***last3` over the first ten digits of its hash, as it has always been shown.
    pub fn preview(&self) -> String {
        match (self.credential_key.get(..3), self.credential_key.get(7..10)) {
            (Some(first), Some(last)) => format!("{first}***{last}"),
            _ => "***".to_owned(),
        }
    }
}

/// Everything that a store holds, at one version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    /// `config_version.version`: grows with each write.
    pub version: i64,
    pub providers: Vec<ProviderRow>,
    pub credentials: Vec<CredentialRow>,
}

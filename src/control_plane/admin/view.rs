//! Rows as they are shown: without secrets. Also for `llm-proxy provider list --json` and the like.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::config::budget;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow};
use crate::control_plane::admin::field_values::Moment;
use crate::control_plane::admin::members;
use crate::limit::budget::Unit;

/// The mark in the place of a secret. Sent back, it means that the secret stays.
pub const MASK: &str = "***";

/// A provider, without its key, and without the values of its headers, which may hold keys as well.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Provider")]
pub struct ProviderView {
    pub id: i64,
    pub provider_key: String,
    pub provider_type: String,
    pub api_base: String,
    /// Whether a key is set, and where: `none`, `env:NAME`, `encrypted` or `plain`
    pub api_key_kind: String,
    /// Model or pattern to upstream model, in the order in which patterns are tried
    #[schemars(with = "Map<String, Value>")]
    pub model_mapping: Box<RawValue>,
    pub weight: i64,
    #[schemars(with = "Map<String, Value>")]
    pub provider_params: Box<RawValue>,
    pub is_enabled: bool,
    /// Whether the gateway serves it: it is enabled, and nothing in it keeps it from that. Only
    /// where a gateway answers for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_served: Option<bool>,
    pub lua_script: Option<String>,
    /// Version of the row, for If-Match
    pub row_version: i64,
    created_at: Moment,
    updated_at: Moment,
}

impl ProviderView {
    /// Returns a row as the admin API shows it, without its API key.
    pub fn of(row: &ProviderRow) -> ProviderView {
        ProviderView {
            id: row.id,
            provider_key: row.provider_key.clone(),
            provider_type: row.provider_type.clone(),
            api_base: row.api_base.clone(),
            api_key_kind: key_kind(&row.api_key),
            model_mapping: column(&row.model_mapping),
            weight: row.weight,
            provider_params: masked(&row.provider_params),
            is_enabled: row.is_enabled,
            is_served: None,
            lua_script: row.lua_script.clone(),
            row_version: row.stamp.version,
            created_at: Moment(row.stamp.created_at),
            updated_at: Moment(row.stamp.updated_at),
        }
    }
}

fn key_kind(key: &str) -> String {
    match key.trim() {
        "" => "none".to_owned(),
        key if key.starts_with("env:") => key.to_owned(),
        key if crate::config::vault::is_sealed(key) => "encrypted".to_owned(),
        _ => "plain".to_owned(),
    }
}

/// Returns the text of a column. What is no JSON is shown as a string.
fn column(text: &str) -> Box<RawValue> {
    let raw = RawValue::from_string(text.to_owned()).or_else(|_| serde_json::value::to_raw_value(text));
    raw.unwrap_or_default()
}

/// `provider_params` as they are shown.
pub fn masked(params: &str) -> Box<RawValue> {
    let Ok(mut params) = serde_json::from_str::<Value>(params) else { return column("{}") };
    if let Some(headers) = params.get_mut("custom_headers").and_then(|headers| headers.as_object_mut()) {
        headers.values_mut().for_each(|value| *value = MASK.into());
    }
    column(&params.to_string())
}

/// Returns `new` with the stored values of headers that were sent back masked.
pub fn unmasked(new: &str, old: &str) -> String {
    if !new.contains(MASK) {
        return new.to_owned();
    }
    let (Ok(mut new_value), Ok(old_value)) = (serde_json::from_str::<Value>(new), serde_json::from_str::<Value>(old))
    else {
        return new.to_owned();
    };
    let Some(headers) = new_value.get_mut("custom_headers").and_then(|headers| headers.as_object_mut()) else {
        return new.to_owned();
    };
    for (name, value) in headers.iter_mut().filter(|(_, value)| *value == MASK) {
        if let Some(old) = old_value.get("custom_headers").and_then(|headers| headers.get(name)) {
            value.clone_from(old);
        }
    }
    new_value.to_string()
}

/// Returns whether the value of a header is masked.
pub fn hides_a_header(params: &str) -> bool {
    let params = serde_json::from_str::<Value>(params).unwrap_or_default();
    let headers = params.get("custom_headers").and_then(Value::as_object);
    headers.is_some_and(|headers| headers.values().any(|value| *value == MASK))
}

/// A credential, without its key
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Credential")]
pub struct CredentialView {
    pub id: i64,
    pub name: String,
    /// `first3***last3`: of the key itself in the response that creates it, otherwise of its hash
    pub key_preview: String,
    /// The group that it belongs to
    #[serde(default)]
    pub group_name: Option<String>,
    #[schemars(with = "Vec<String>")]
    pub allowed_models: Box<RawValue>,
    pub rate_limit: Option<i64>,
    pub burst: Option<i64>,
    pub tokens_per_minute: Option<i64>,
    pub max_concurrency: Option<i64>,
    expires_at: Option<Moment>,
    /// How long the key before the last rotation stays valid
    previous_key_until: Option<Moment>,
    #[schemars(with = "Map<String, Value>")]
    pub metadata: Box<RawValue>,
    pub is_enabled: bool,
    /// Version of the row, for If-Match
    pub row_version: i64,
    created_at: Moment,
    updated_at: Moment,
}

impl CredentialView {
    /// Returns a row as the admin API shows it, without the hash of its key.
    pub fn of(row: &CredentialRow) -> CredentialView {
        CredentialView {
            id: row.id,
            name: row.name.clone(),
            key_preview: row.preview(),
            group_name: row.group_name.clone(),
            allowed_models: column(&row.allowed_models),
            rate_limit: row.rate_limit,
            burst: row.burst,
            tokens_per_minute: row.tokens_per_minute,
            max_concurrency: row.max_concurrency,
            expires_at: row.expires_at.map(Moment),
            previous_key_until: row.previous_key_until.map(Moment),
            metadata: column(if row.metadata.is_empty() { "{}" } else { &row.metadata }),
            is_enabled: row.is_enabled,
            row_version: row.stamp.version,
            created_at: Moment(row.stamp.created_at),
            updated_at: Moment(row.stamp.updated_at),
        }
    }

    /// Returns seconds since 1970.
    pub fn expires(&self) -> Option<i64> {
        self.expires_at.map(|moment| moment.0)
    }

    /// Returns the view for the response that contains the key itself.
    pub fn with_key(mut self, key: &str) -> CredentialView {
        self.key_preview = preview(key);
        self
    }
}

/// A group of credentials
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Group")]
pub struct GroupView {
    pub id: i64,
    pub name: String,
    /// The group that it belongs to
    pub parent: Option<String>,
    #[schemars(with = "Vec<String>")]
    pub allowed_models: Box<RawValue>,
    pub rate_limit: Option<i64>,
    pub burst: Option<i64>,
    pub tokens_per_minute: Option<i64>,
    pub max_concurrency: Option<i64>,
    #[schemars(with = "Map<String, Value>")]
    pub metadata: Box<RawValue>,
    pub is_enabled: bool,
    /// Version of the row, for If-Match
    pub row_version: i64,
    created_at: Moment,
    updated_at: Moment,
}

impl GroupView {
    /// Returns a row as the admin API shows it.
    pub fn of(row: &GroupRow) -> GroupView {
        GroupView {
            id: row.id,
            name: row.name.clone(),
            parent: row.parent.clone(),
            allowed_models: column(if row.allowed_models.is_empty() { "[]" } else { &row.allowed_models }),
            rate_limit: row.rate_limit,
            burst: row.burst,
            tokens_per_minute: row.tokens_per_minute,
            max_concurrency: row.max_concurrency,
            metadata: column(if row.metadata.is_empty() { "{}" } else { &row.metadata }),
            is_enabled: row.is_enabled,
            row_version: row.stamp.version,
            created_at: Moment(row.stamp.created_at),
            updated_at: Moment(row.stamp.updated_at),
        }
    }
}

/// A virtual model
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "VirtualModel")]
pub struct ModelView {
    pub id: i64,
    pub name: String,
    /// The models that requests for the name go to
    #[schemars(with = "Vec<members::Member>")]
    pub members: Box<RawValue>,
    /// Other members for the credentials of these names
    #[schemars(with = "std::collections::BTreeMap<String, Vec<members::Member>>")]
    pub overrides: Box<RawValue>,
    /// Which failures lead to another member
    #[schemars(with = "crate::config::virtual_models::schema::ModelOptions")]
    pub options: Box<RawValue>,
    pub is_enabled: bool,
    /// Version of the row, for If-Match
    pub row_version: i64,
    created_at: Moment,
    updated_at: Moment,
}

/// A budget
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Budget")]
pub struct BudgetView {
    pub id: i64,
    pub name: String,
    /// `credential`, `group`, `tag` or `provider`
    pub scope: String,
    /// The name of the credential, group, tag or provider
    pub subject: String,
    /// `usd` or `tokens`
    pub unit: String,
    /// Dollars or tokens
    pub amount: f64,
    /// `hour`, `day`, `week`, `month` or `total`
    pub period: String,
    /// Of the calendar; empty is UTC
    pub time_zone: String,
    /// Whether a request is refused for which too little is left
    pub is_hard: bool,
    /// Per cents of the amount at which a warning is logged
    #[schemars(with = "Vec<u8>")]
    pub warn_at: Box<RawValue>,
    /// The model by which requests are served for which too little is left; null refuses them
    pub downgrade_to: Option<String>,
    pub is_enabled: bool,
    /// Version of the row, for If-Match
    pub row_version: i64,
    created_at: Moment,
    updated_at: Moment,
}

impl ModelView {
    /// Returns a row as the admin API shows it.
    pub fn of(row: &ModelRow) -> ModelView {
        ModelView {
            id: row.id,
            name: row.name.clone(),
            members: column(&row.members),
            overrides: column(&row.overrides),
            options: column(&row.options),
            is_enabled: row.is_enabled,
            row_version: row.stamp.version,
            created_at: Moment(row.stamp.created_at),
            updated_at: Moment(row.stamp.updated_at),
        }
    }
}

impl BudgetView {
    /// Returns a row as the admin API shows it, its amount in dollars or tokens.
    pub fn of(row: &BudgetRow) -> BudgetView {
        BudgetView {
            id: row.id,
            name: row.name.clone(),
            scope: row.scope.clone(),
            subject: row.subject.clone(),
            unit: row.unit.clone(),
            amount: amount(&row.unit, row.amount),
            period: row.period.clone(),
            time_zone: row.time_zone.clone(),
            is_hard: row.is_hard,
            warn_at: column(if row.warn_at.is_empty() { "[]" } else { &row.warn_at }),
            downgrade_to: row.downgrade_to.clone(),
            is_enabled: row.is_enabled,
            row_version: row.stamp.version,
            created_at: Moment(row.stamp.created_at),
            updated_at: Moment(row.stamp.updated_at),
        }
    }
}

/// Writes an amount as it is shown: dollars or tokens.
pub fn amount(unit: &str, amount: i64) -> f64 {
    let unit = Unit::parse(unit).unwrap_or(Unit::Dollars);
    budget::show(unit, amount).parse().unwrap_or_default()
}

/// Returns a row for the audit log.
pub fn audit_text(view: &impl Serialize) -> Option<String> {
    serde_json::to_string(view).ok()
}

/// Returns `first3***last3` of a key of more than 6 characters, else `***`.
pub fn preview(key: &str) -> String {
    let count = key.chars().count();
    if count <= 6 {
        return MASK.to_owned();
    }
    let first: String = key.chars().take(3).collect();
    let last: String = key.chars().skip(count - 3).collect();
    format!("{first}{MASK}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_secret_is_shown() {
        let row = ProviderRow {
            api_key: "sk-secret".into(),
            model_mapping: r#"{"z":"1","a":"2"}"#.into(),
            provider_params: r#"{"custom_headers":{"x-key":"s3cret"},"n":1}"#.into(),
            ..ProviderRow::default()
        };
        let text = serde_json::to_string(&ProviderView::of(&row)).unwrap();
        assert!(!text.contains("secret") && !text.contains("s3cret"), "{text}");
        assert!(text.contains(r#""model_mapping":{"z":"1","a":"2"}"#), "{text}");
        assert!(text.contains(r#""custom_headers":{"x-key":"***"}"#), "{text}");
    }

    #[test]
    fn previews() {
        for (key, shown) in [("sk-1234", "sk-***234"), ("123456", "***"), ("äöüäöüß", "äöü***öüß"), ("", "***")]
        {
            assert_eq!(preview(key), shown);
        }
    }

    #[test]
    fn headers_that_were_masked_stay() {
        let old = r#"{"custom_headers":{"a":"1","b":"2"}}"#;
        let rows = [
            (r#"{"custom_headers":{"a":"***","c":"3"}}"#, r#"{"custom_headers":{"a":"1","c":"3"}}"#),
            (r#"{"custom_headers":{"d":"***"}}"#, r#"{"custom_headers":{"d":"***"}}"#),
            (r#"{"x":"***"}"#, r#"{"x":"***"}"#),
            ("{}", "{}"),
        ];
        for (new, expected) in rows {
            assert_eq!(unmasked(new, old), expected);
        }
    }
}

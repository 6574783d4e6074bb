//! Reads the rows of a configuration file from its tree. Whatever is not understood is a problem: a
//! mistyped name must not be taken for an absent one.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::document::{File, Place};
use super::fields::{Fields, items, pairs, unknown};
use super::problem::FileProblem;
use super::yaml::{self, Node, Value};
use crate::config::boot::FileSetting;
use crate::config::boot::table::VARIABLES;
use crate::config::budget;
use crate::config::compile::{WEAK_KEY, is_weak_key};
use crate::config::env::Env;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow};
use crate::config::snapshot::Problem;
use crate::limit::budget::Unit;

/// Reads a file; `env` fills in `${NAME}`.
///
/// # Errors
/// All problems of the file, in the order of their lines.
pub fn read(text: &str, env: &Env<'_>) -> Result<File, Vec<FileProblem>> {
    match read_all(text, env) {
        (file, problems) if problems.is_empty() => Ok(file),
        (_, problems) => Err(problems),
    }
}

/// Reads a file like [`read`], and returns as much of it as could be read beside its problems.
pub fn read_all(text: &str, env: &Env<'_>) -> (File, Vec<FileProblem>) {
    let (root, mut problems) = yaml::parse(text, env);
    let mut file = File::default();
    file.holes.extend(problems.iter().map(|problem| problem.line));
    let Some(root) = root else { return (file, problems) };
    let mut found = Vec::new();
    rows(&root, &mut file, &mut found);
    // A value that lacks its variable is reported once.
    file.settings.retain(|setting| !file.holes.contains(&setting.line));
    problems.extend(found.into_iter().filter(|found| !file.holes.contains(&found.line)));
    if !problems.is_empty() {
        let beside = file.problems_beside(&problems, env);
        problems.extend(beside);
    }
    problems.sort_by_key(|problem| problem.line);
    problems.dedup();
    (file, problems)
}

fn rows(root: &Node, file: &mut File, problems: &mut Vec<FileProblem>) {
    for (name, node) in pairs("the file", root, problems) {
        match name.as_str() {
            "providers" => providers(node, file, problems),
            "credentials" => credentials(node, file, problems),
            "groups" => groups(node, file, problems),
            "models" => models(node, file, problems),
            "budgets" => budgets(node, file, problems),
            "settings" => settings(node, file, problems),
            // Ignored, as in Compose files: YAML anchors can be defined there.
            _ if name.starts_with("x-") => {}
            _ => problems.push(unknown(node.line, name, SECTIONS)),
        }
    }
}

/// The members of a file, beside those that begin with `x-`, which are ignored.
pub(super) const SECTIONS: &[&str] = &["providers", "credentials", "groups", "models", "budgets", "settings"];

/// Returns the lines of the row of `node` and of each of its values.
fn place(node: &Node, known: &[&'static str]) -> Place {
    let Value::Map(pairs) = &node.value else { return Place { line: node.line, fields: Vec::new() } };
    let field = |(name, node): &(String, Node)| {
        let name = known.iter().find(|known| *known == name)?;
        Some((*name, node.line))
    };
    Place { line: node.line, fields: pairs.iter().filter_map(field).collect() }
}

pub(super) const PROVIDER: &[&str] = &[
    "provider_key",
    "provider_type",
    "api_base",
    "api_key",
    "model_mapping",
    "weight",
    "provider_params",
    "lua_script",
    "is_enabled",
];

fn providers(node: &Node, file: &mut File, problems: &mut Vec<FileProblem>) {
    let mut seen = HashMap::new();
    for (at, node) in items("providers", node, problems).iter().enumerate() {
        let mut fields = Fields::new(format!("providers[{at}]"), node, problems);
        let provider_key = fields.required("provider_key");
        if !provider_key.is_empty() {
            fields.what = format!("provider {provider_key}");
            if let Some(first) = seen.insert(provider_key.clone(), node.line) {
                fields.report(node.line, format_args!("the name is taken, on line {first}"));
            }
        }
        let row = ProviderRow {
            provider_key,
            provider_type: fields.text("provider_type").unwrap_or_else(|| "openai".to_owned()),
            api_base: fields.required("api_base"),
            api_key: fields.text("api_key").unwrap_or_default().into(),
            model_mapping: fields.mapping("model_mapping", "{NAME: NAME_AT_THE_PROVIDER}"),
            weight: fields.number("weight").unwrap_or(1),
            provider_params: fields.mapping("provider_params", "{priority: 1}"),
            lua_script: fields.text("lua_script"),
            is_enabled: fields.switch("is_enabled", true),
            ..ProviderRow::default()
        };
        fields.end(PROVIDER);
        file.places.insert(format!("provider {}", row.provider_key), place(node, PROVIDER));
        file.providers.push(row);
    }
}

pub(super) const CREDENTIAL: &[&str] = &[
    "name",
    "key",
    "credential_key",
    "group_name",
    "allowed_models",
    "rate_limit",
    "burst",
    "tokens_per_minute",
    "max_concurrency",
    "expires_at",
    "previous_key",
    "previous_key_until",
    "metadata",
    "is_enabled",
];

fn credentials(node: &Node, file: &mut File, problems: &mut Vec<FileProblem>) {
    let mut seen = HashMap::new();
    for (at, node) in items("credentials", node, problems).iter().enumerate() {
        let mut fields = Fields::new(format!("credentials[{at}]"), node, problems);
        let name = fields.required("name");
        if !name.is_empty() {
            fields.what = format!("credential {name}");
        }
        // White space around a key never arrives, and a secret's file ends with a line break.
        let key = fields.text("key").map(|key| key.trim().to_owned());
        let credential_key = match (key, fields.text("credential_key")) {
            (Some(key), None) => {
                if is_weak_key(&key) {
                    let message = format!("{WEAK_KEY}; `openssl rand -hex 24` prints one");
                    file.weak_keys.push(Problem { object: format!("credential {name}"), message });
                }
                hex::encode(Sha256::digest(key.as_bytes()))
            }
            (None, Some(hash)) => hash,
            (Some(_), Some(_)) => {
                fields.report(node.line, "key and credential_key, its SHA-256, can't both be given");
                String::new()
            }
            (None, None) => {
                fields.report(node.line, "key is missing; or give credential_key, its SHA-256 in hex");
                String::new()
            }
        };
        if let Some(first) = seen.insert(credential_key.clone(), node.line).filter(|_| !credential_key.is_empty()) {
            fields.report(node.line, format_args!("this key is that of the credential on line {first}"));
        }
        let row = CredentialRow {
            name,
            credential_key,
            group_name: fields.text("group_name"),
            allowed_models: fields.list("allowed_models", "['gpt-*']"),
            rate_limit: fields.number("rate_limit"),
            burst: fields.number("burst"),
            tokens_per_minute: fields.number("tokens_per_minute"),
            max_concurrency: fields.number("max_concurrency"),
            expires_at: fields.time("expires_at"),
            previous_key: fields.text("previous_key"),
            previous_key_until: fields.time("previous_key_until"),
            metadata: fields.mapping("metadata", "{note: text}"),
            is_enabled: fields.switch("is_enabled", true),
            ..CredentialRow::default()
        };
        fields.end(CREDENTIAL);
        file.places.entry(format!("credential {}", row.name)).or_insert_with(|| place(node, CREDENTIAL));
        file.credentials.push(row);
    }
}

pub(super) const GROUP: &[&str] = &[
    "name",
    "parent",
    "allowed_models",
    "rate_limit",
    "burst",
    "tokens_per_minute",
    "max_concurrency",
    "metadata",
    "is_enabled",
];

fn groups(node: &Node, file: &mut File, problems: &mut Vec<FileProblem>) {
    let mut seen = HashMap::new();
    for (at, node) in items("groups", node, problems).iter().enumerate() {
        let mut fields = Fields::new(format!("groups[{at}]"), node, problems);
        let name = fields.required("name");
        if !name.is_empty() {
            fields.what = format!("group {name}");
            if let Some(first) = seen.insert(name.clone(), node.line) {
                fields.report(node.line, format_args!("the name is taken, on line {first}"));
            }
        }
        let row = GroupRow {
            name,
            parent: fields.text("parent"),
            allowed_models: fields.list("allowed_models", "['gpt-*']"),
            rate_limit: fields.number("rate_limit"),
            burst: fields.number("burst"),
            tokens_per_minute: fields.number("tokens_per_minute"),
            max_concurrency: fields.number("max_concurrency"),
            metadata: fields.mapping("metadata", "{note: text}"),
            is_enabled: fields.switch("is_enabled", true),
            ..GroupRow::default()
        };
        fields.end(GROUP);
        file.places.insert(format!("group {}", row.name), place(node, GROUP));
        file.groups.push(row);
    }
}

pub(super) const MODEL: &[&str] = &["name", "members", "overrides", "options", "is_enabled"];

fn models(node: &Node, file: &mut File, problems: &mut Vec<FileProblem>) {
    let mut seen = HashMap::new();
    for (at, node) in items("models", node, problems).iter().enumerate() {
        let mut fields = Fields::new(format!("models[{at}]"), node, problems);
        let name = fields.required("name");
        if !name.is_empty() {
            fields.what = format!("model {name}");
            if let Some(first) = seen.insert(name.clone(), node.line) {
                fields.report(node.line, format_args!("the name is taken, on line {first}"));
            }
        }
        let row = ModelRow {
            name,
            members: fields.list("members", "[gpt-5, claude-opus-4]"),
            overrides: fields.mapping("overrides", "{CREDENTIAL: [MODEL]}"),
            options: fields.mapping("options", "{fallback_on: [context_length]}"),
            is_enabled: fields.switch("is_enabled", true),
            ..ModelRow::default()
        };
        fields.end(MODEL);
        file.places.insert(format!("model {}", row.name), place(node, MODEL));
        file.models.push(row);
    }
}

pub(super) const BUDGET: &[&str] = &[
    "name",
    "scope",
    "subject",
    "unit",
    "amount",
    "period",
    "time_zone",
    "is_hard",
    "warn_at",
    "downgrade_to",
    "is_enabled",
];

fn budgets(node: &Node, file: &mut File, problems: &mut Vec<FileProblem>) {
    let mut seen = HashMap::new();
    for (at, node) in items("budgets", node, problems).iter().enumerate() {
        let mut fields = Fields::new(format!("budgets[{at}]"), node, problems);
        let name = fields.required("name");
        if !name.is_empty() {
            fields.what = format!("budget {name}");
            if let Some(first) = seen.insert(name.clone(), node.line) {
                fields.report(node.line, format_args!("the name is taken, on line {first}"));
            }
        }
        let unit = fields.text("unit").unwrap_or_else(|| "usd".to_owned());
        let text = fields.required("amount");
        let amount = budget::parse(Unit::parse(&unit).unwrap_or(Unit::Dollars), &text);
        if amount.is_none() && !text.is_empty() {
            let wanted = if unit == "tokens" { "a whole number" } else { "dollars with at most nine decimals" };
            fields.report(node.line, format_args!("amount `{text}` is not {wanted}"));
        }
        let row = BudgetRow {
            name,
            scope: fields.required("scope"),
            subject: fields.required("subject"),
            unit,
            amount: amount.unwrap_or_default(),
            period: fields.text("period").unwrap_or_else(|| "month".to_owned()),
            time_zone: fields.text("time_zone").unwrap_or_default(),
            is_hard: fields.switch("is_hard", true),
            warn_at: fields.list("warn_at", "[80, 100]"),
            downgrade_to: fields.text("downgrade_to"),
            is_enabled: fields.switch("is_enabled", true),
            ..BudgetRow::default()
        };
        fields.end(BUDGET);
        file.places.insert(format!("budget {}", row.name), place(node, BUDGET));
        file.budgets.push(row);
    }
}

/// Settings that say where the configuration is, and cannot stand in it.
pub(super) const NOT_IN_A_FILE: &[&str] = &["CONFIG_FILE", "DB_URL"];

/// Reads settings by the names of their variables in lower case. `Boot` checks their values.
fn settings(node: &Node, file: &mut File, problems: &mut Vec<FileProblem>) {
    for (name, node) in pairs("settings", node, problems) {
        let variable = name.to_ascii_uppercase();
        if NOT_IN_A_FILE.contains(&variable.as_str()) {
            let message =
                format!("settings: {name} is where the configuration is read from; it cannot be set in the file");
            problems.push(FileProblem::new(node.line, message));
        } else if !VARIABLES.iter().any(|known| known.is_named(&variable)) {
            let message =
                format!("settings: `{name}` is not known; `llm-proxy serve --help` lists all, here in lower case");
            problems.push(FileProblem::new(node.line, message));
        } else {
            let value = match &node.value {
                Value::Text(text) | Value::Number(text) => text.clone(),
                Value::Bool(value) => value.to_string(),
                Value::Null => continue,
                Value::List(_) | Value::Map(_) => {
                    problems.push(FileProblem::new(
                        node.line,
                        format!("settings: {name} is {}, not one value", node.kind()),
                    ));
                    continue;
                }
            };
            file.settings.push(FileSetting { name: variable, value: value.into(), line: node.line });
        }
    }
}

#[cfg(test)]
mod tests;

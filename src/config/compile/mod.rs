//! Compiles rows into a [`Snapshot`] and a list of [`Problem`]s. Pure: no clock, no database, and
//! the environment only through a function.
//!
//! Every row is compiled alone. A problem of one names it, and the others compile to what they
//! would without it. Where a broken part decides who may do what (a limit, a list of models, a
//! hash), the row grants less, never more.

pub mod budget;
mod credential;
mod dialect;
mod group;
mod provider;
mod provider_notices;
mod provider_params;
mod virtual_model;

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use credential::{WEAK_KEY, is_weak_key};
pub use provider::{TYPES, Type};

use llm_wire::target::facts::Facts;

use super::env::Env;
use super::models::Allowed;
use super::rows::{ProviderRow, Rows};
use super::snapshot::{Problem, Provider, Snapshot};
use crate::limit::budget::Scope;

/// Returns notices about enabled providers whose values were corrected: a base that is an endpoint,
/// a key that looks like a variable. None of them keeps a row from being served.
pub fn notices(rows: &Rows, env: &Env<'_>) -> Vec<Problem> {
    let notice = |row: &ProviderRow| {
        let object = object(row);
        provider_notices::notices(row, env).into_iter().map(move |message| Problem { object: object.clone(), message })
    };
    let mut found: Vec<_> = rows.providers.iter().filter(|row| row.is_enabled).flat_map(notice).collect();
    if !rows.models.is_empty() {
        // Credentials, of which there may be many, are not needed.
        let few = Rows { providers: rows.providers.clone(), models: rows.models.clone(), ..Rows::default() };
        let (snapshot, _) = compile(&few, None, &|name| env(name).or_else(|| Some("unset".to_owned())));
        found.extend(virtual_model::notices(rows, &snapshot));
    }
    found
}

/// Compiles `rows` as if every variable were set that a provider's key is taken from. Returns the
/// problems that are left, and the variables that are not set.
///
/// Rows, requests of the admin interface and configuration files are all checked so: such a
/// variable belongs to the environment of a process, so that its absence is a warning of that
/// process and no fault of the row.
pub fn judge(rows: &Rows, env: &Env<'_>) -> (Vec<Problem>, Vec<String>) {
    let unset = RefCell::new(Vec::new());
    let named: HashSet<&str> = rows
        .providers
        .iter()
        .filter_map(|row| row.api_key.trim().strip_prefix("env:"))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    let lenient = |name: &str| {
        let value = env(name).filter(|value| !named.contains(name) || !value.trim().is_empty());
        if value.is_some() || !named.contains(name) {
            return value;
        }
        let mut unset = unset.borrow_mut();
        if !unset.iter().any(|known| known == name) {
            unset.push(name.to_owned());
        }
        Some("unset".to_owned())
    };
    let (_, problems) = compile(rows, None, &lenient);
    (problems, unset.into_inner())
}

fn object(row: &ProviderRow) -> String {
    match row.provider_key.as_str() {
        "" => format!("provider {}", row.id),
        key => format!("provider {key}"),
    }
}

/// Compiles `rows`. Token buckets whose credential and limit are those of `previous` are carried
/// over, so that a change of something else gives nobody a full bucket. Credentials in which
/// nothing changed are carried over whole.
pub fn compile(rows: &Rows, previous: Option<&Snapshot>, env: &Env<'_>) -> (Snapshot, Vec<Problem>) {
    compile_with(rows, previous, env, &Arc::default())
}

/// [`compile`] with the operator's own facts about models.
pub fn compile_with(
    rows: &Rows,
    previous: Option<&Snapshot>,
    env: &Env<'_>,
    facts: &Arc<Facts>,
) -> (Snapshot, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut snapshot = Snapshot { version: rows.version, ..Snapshot::default() };
    let budgets = budget::compile_all(&rows.budgets, previous, &mut snapshot, &mut problems);
    snapshot.tag_budgets = budgets.tags();
    providers(rows, env, facts, &mut snapshot, &mut problems);
    if let Some(previous) = previous {
        snapshot.providers.iter_mut().for_each(|provider| remember(provider, previous));
    }
    if !budgets.is_empty() {
        limit_providers(&budgets, &mut snapshot, &mut problems);
    }
    let groups = group::compile_all(&rows.groups, &budgets, previous, &mut snapshot, &mut problems);
    credentials(rows, &groups, previous, &mut snapshot, &mut problems);
    virtual_model::virtual_models(rows, &mut snapshot, &mut problems);
    (snapshot, problems)
}

/// Carries over what is remembered of a provider. Any change of its row may have corrected a key
/// that was refused, or a model that was missing.
fn remember(provider: &mut Arc<Provider>, previous: &Snapshot) {
    let (Some(before), Some(provider)) = (previous.provider(provider.id), Arc::get_mut(provider)) else { return };
    provider.memory = before.memory.clone();
    if let Some(limits) = &provider.limits {
        provider.limits = provider::limits_of(limits.settings(), before.limits.as_deref());
    }
    if before.row_version != provider.row_version {
        provider.memory.row_changed();
    }
}

/// Gives the providers their budgets. One whose budget can't be used is not served.
fn limit_providers(budgets: &budget::Budgets, snapshot: &mut Snapshot, problems: &mut Vec<Problem>) {
    let count = snapshot.providers.len();
    snapshot.providers.retain_mut(|provider| match budgets.of(Scope::Provider, &provider.key) {
        Ok([]) => true,
        Ok(list) => {
            if let Some(provider) = Arc::get_mut(provider) {
                provider.budgets = list.into();
            }
            true
        }
        Err(message) => {
            problems.push(Problem { object: format!("provider {}", provider.key), message });
            false
        }
    });
    snapshot.providers_unusable += count - snapshot.providers.len();
}

fn providers(rows: &Rows, env: &Env<'_>, facts: &Arc<Facts>, snapshot: &mut Snapshot, problems: &mut Vec<Problem>) {
    let mut enabled: Vec<_> = rows.providers.iter().filter(|row| row.is_enabled).collect();
    enabled.sort_by_key(|row| row.id);
    snapshot.providers_disabled = rows.providers.len() - enabled.len();
    let mut keys = HashSet::new();
    let count = enabled.len();
    for row in enabled {
        let mut messages = Vec::new();
        let provider = provider::compile(row, env, &mut messages);
        if let Some(mut provider) = provider {
            provider.dialect.capabilities = provider.dialect.capabilities.with_facts(facts.clone());
            if keys.insert(row.provider_key.as_str()) {
                snapshot.providers.push(Arc::new(provider));
            } else {
                messages.push(format!("another row has this name; the one with id {} is not served", row.id));
            }
        }
        let object = object(row);
        problems.extend(messages.into_iter().map(|message| Problem { object: object.clone(), message }));
    }
    snapshot.providers_unusable = count - snapshot.providers.len();
}

fn credentials(
    rows: &Rows,
    groups: &group::Groups<'_>,
    previous: Option<&Snapshot>,
    snapshot: &mut Snapshot,
    problems: &mut Vec<Problem>,
) {
    let mut enabled: Vec<_> = rows.credentials.iter().filter(|row| row.is_enabled).collect();
    enabled.sort_by_key(|row| row.id);
    snapshot.credentials.reserve(enabled.len());
    snapshot.credentials_by_id.reserve(enabled.len());
    let mut before = credential::Before::new(previous);
    // Most credentials have the same few lists.
    let mut lists = HashMap::with_hasher(ahash::RandomState::new());
    let mut old_keys = Vec::new();
    for row in enabled {
        let mut messages = Vec::new();
        let (allowed, list_problems) =
            lists.entry(row.allowed_models.as_str()).or_insert_with_key(|json| Allowed::parse(json));
        messages.extend(list_problems.iter().cloned());
        let credential = match groups.scope(row) {
            Ok(scope) => credential::compile(row, allowed, scope, &mut before, &mut messages),
            Err(reason) => {
                messages.extend(reason);
                None
            }
        };
        if let Some(credential) = credential {
            match snapshot.credentials.entry(credential.hash) {
                Entry::Vacant(place) => {
                    snapshot.credentials_by_id.push(credential.clone());
                    old_keys.extend(credential.previous.map(|previous| (previous.hash, credential.clone())));
                    place.insert(credential);
                }
                Entry::Occupied(first) => {
                    let first = &first.get().name;
                    messages.push(format!("has the key of credential {first}, which is the one that counts"));
                }
            }
        }
        problems.extend(
            messages.into_iter().map(|message| Problem { object: format!("credential {}", row.name), message }),
        );
    }
    // Last, since a key in force goes before one that was replaced.
    for (hash, credential) in old_keys {
        snapshot.credentials.entry(hash).or_insert(credential);
    }
}

#[cfg(test)]
mod tests;

//! Rows in, a [`Snapshot`] and a list of [`Problem`]s out. Pure: no clock, no database, the
//! environment only through a function.
//!
//! Every row is looked at alone, and what is wrong in one is a problem that names it; the others
//! compile to what they would without it. Where a broken part decides who may do what (a limit, a
//! list of models, a hash), the row gives less, never more.

mod base_url;
mod credential;
mod dialect;
mod provider;

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub use provider::{TYPES, Type};

use super::models::Allowed;
use super::rows::Rows;
use super::snapshot::{Problem, Snapshot};

/// Reads a variable of the environment; for `api_key` of the form `env:NAME`.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// Compiles `rows`. Token buckets whose credential and limit are those of `previous` are carried
/// over, so that a change of something else gives nobody a full bucket. Credentials in which
/// nothing changed are carried over whole.
pub fn compile(rows: &Rows, previous: Option<&Snapshot>, env: &Env<'_>) -> (Snapshot, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut snapshot = Snapshot { version: rows.version, ..Snapshot::default() };
    providers(rows, env, &mut snapshot, &mut problems);
    credentials(rows, previous, &mut snapshot, &mut problems);
    (snapshot, problems)
}

fn providers(rows: &Rows, env: &Env<'_>, snapshot: &mut Snapshot, problems: &mut Vec<Problem>) {
    let mut enabled: Vec<_> = rows.providers.iter().filter(|row| row.is_enabled).collect();
    enabled.sort_by_key(|row| row.id);
    snapshot.providers_disabled = rows.providers.len() - enabled.len();
    let mut keys = HashSet::new();
    let count = enabled.len();
    for row in enabled {
        let mut messages = Vec::new();
        let provider = provider::compile(row, env, &mut messages);
        if let Some(provider) = provider {
            if keys.insert(row.provider_key.as_str()) {
                snapshot.providers.push(Arc::new(provider));
            } else {
                messages.push(format!("another row has this name; the one with id {} is not served", row.id));
            }
        }
        let object = match row.provider_key.as_str() {
            "" => format!("provider {}", row.id),
            key => format!("provider {key}"),
        };
        problems.extend(messages.into_iter().map(|message| Problem { object: object.clone(), message }));
    }
    snapshot.providers_unusable = count - snapshot.providers.len();
}

fn credentials(rows: &Rows, previous: Option<&Snapshot>, snapshot: &mut Snapshot, problems: &mut Vec<Problem>) {
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
        if let Some(credential) = credential::compile(row, allowed, &mut before, &mut messages) {
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

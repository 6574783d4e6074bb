//! The values of metric labels that speak of a request: from the configuration, never from the client.

use crate::config::snapshot::{Credential, Snapshot};
use crate::control::catalog::Lists;
use crate::metrics::book::{NONE, OTHER};
use crate::record::entry::Record;

/// What the configuration calls the model: its name there or in the provider's own list, or the pattern that it fits.
pub fn model_name<'a>(record: &'a Record, snapshot: &'a Snapshot, lists: &Lists) -> &'a str {
    let model = record.model.as_str();
    if model.is_empty() {
        return NONE;
    }
    let Some(provider) = snapshot.provider(record.provider) else { return OTHER };
    // The prefix of PROVIDER_SUFFIX belongs to no name.
    let candidates = [Some(model), model.split_once('/').map(|(_, rest)| rest)];
    for name in candidates.into_iter().flatten() {
        let is_listed = || lists.get(&provider.id).is_some_and(|list| list.iter().any(|listed| listed == name));
        if provider.models.serves_all() && is_listed() {
            return name;
        }
    }
    let entries = provider.models.entries();
    let exact = candidates.into_iter().flatten().find(|name| entries.iter().any(|entry| entry.key() == *name));
    let fitting = || entries.iter().find(|entry| candidates.into_iter().flatten().any(|name| entry.matches(name)));
    exact.or_else(|| fitting().map(|entry| entry.key())).unwrap_or(OTHER)
}

/// The first `most` have a name of their own.
pub fn credential_name(snapshot: &Snapshot, id: i64, most: usize) -> &str {
    if id == 0 {
        return Credential::ANONYMOUS;
    }
    match snapshot.credentials_by_id.binary_search_by_key(&id, |credential| credential.id) {
        Ok(at) if at < most => &snapshot.credentials_by_id[at].name,
        _ => OTHER,
    }
}

//! Label texts of metrics, from the configuration and never from the client: a model that no
//! provider names is `other`.

use crate::config::snapshot::{Credential, Snapshot};
use crate::metrics::series_index::{NONE, OTHER};
use crate::shared::catalog::Lists;
use crate::telemetry::record::Record;

/// Of one request.
#[derive(Debug)]
pub struct Names {
    pub model: Box<str>,
    pub provider: Box<str>,
    pub credential: Box<str>,
}

/// The label texts of a record.
pub fn of(record: &Record, snapshot: &Snapshot, lists: &Lists, most: usize) -> Names {
    Names {
        model: model_name(record, snapshot, lists).into(),
        provider: match (record.provider, snapshot.provider(record.provider)) {
            (0, _) => NONE,
            (_, Some(provider)) => &provider.key,
            // Removed while the request ran.
            (_, None) => OTHER,
        }
        .into(),
        credential: credential(snapshot, record.credential, most).into(),
    }
}

/// What the configuration calls the model: its name there or in the provider's own list, or the
/// pattern that it fits.
fn model_name<'a>(record: &'a Record, snapshot: &'a Snapshot, lists: &Lists) -> &'a str {
    let model = record.model.as_str();
    if model.is_empty() {
        return NONE;
    }
    let Some(provider) = snapshot.provider(record.provider) else { return OTHER };
    let entries = provider.models.entries();
    let listed = |name: &str| lists.get(&provider.id).is_some_and(|list| list.iter().any(|listed| listed == name));
    // With and without the prefix of PROVIDER_SUFFIX, which belongs to no name.
    let names = || [Some(model), model.split_once('/').map(|(_, rest)| rest)].into_iter().flatten();
    let known = names().find(|name| match provider.models.serves_all() {
        true => listed(name),
        false => entries.iter().any(|entry| entry.key() == *name),
    });
    let fitting = || entries.iter().find(|entry| names().any(|name| entry.matches(name)));
    known.or_else(|| fitting().map(|entry| entry.key())).unwrap_or(OTHER)
}

/// One of the first `most` credentials by its name; the others share one.
pub fn credential(snapshot: &Snapshot, id: i64, most: usize) -> &str {
    if id == 0 {
        return Credential::ANONYMOUS;
    }
    match snapshot.credentials_by_id.binary_search_by_key(&id, |credential| credential.id) {
        Ok(at) if at < most => &snapshot.credentials_by_id[at].name,
        _ => OTHER,
    }
}

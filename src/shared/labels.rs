//! Values of metric labels. They come from the configuration and never from the client: a model that
//! no provider names is `other`.

use crate::config::snapshot::{Credential, Snapshot};
use crate::metrics::series_index::{NONE, OTHER};
use crate::shared::catalog::Lists;
use crate::telemetry::record::Record;

/// The label values of one request.
#[derive(Debug)]
pub struct Names {
    pub model: Box<str>,
    pub provider: Box<str>,
    pub credential: Box<str>,
}

/// Returns the label values of a record. At most `max_credentials` credentials have their own.
pub fn of(record: &Record, snapshot: &Snapshot, lists: &Lists, max_credentials: usize) -> Names {
    Names {
        model: model_name(record, snapshot, lists).into(),
        provider: match (record.provider, snapshot.provider(record.provider)) {
            (0, _) => NONE,
            (_, Some(provider)) => &provider.key,
            // Removed while the request ran.
            (_, None) => OTHER,
        }
        .into(),
        credential: credential(snapshot, record.credential, max_credentials).into(),
    }
}

/// Returns the model's name in the configuration or in the provider's own list, or else the pattern
/// that it matches.
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
    let pattern = || entries.iter().find(|entry| names().any(|name| entry.matches(name)));
    known.or_else(|| pattern().map(|entry| entry.key())).unwrap_or(OTHER)
}

/// Returns the name of one of the first `max` credentials. The others share one label value.
pub fn credential(snapshot: &Snapshot, id: i64, max: usize) -> &str {
    if id == 0 {
        return Credential::ANONYMOUS;
    }
    match snapshot.credentials_by_id.binary_search_by_key(&id, |credential| credential.id) {
        Ok(at) if at < max => &snapshot.credentials_by_id[at].name,
        _ => OTHER,
    }
}

//! Values of metric labels. They come from the configuration, and for models they are the names
//! under which providers have served them. All others are `other`.

use crate::config::snapshot::{Credential, Snapshot};
use crate::metrics::series_index::{NONE, OTHER};
use crate::shared::model_labels::ModelLabels;
use crate::telemetry::record::{Record, Short};

/// The label values of one request.
#[derive(Debug)]
pub struct Names {
    pub model: Box<str>,
    pub provider: Box<str>,
    pub credential: Box<str>,
}

/// Returns the label values of a record. At most `max_credentials` credentials have their own.
pub fn of(record: &Record, snapshot: &Snapshot, models: &ModelLabels, max_credentials: usize) -> Names {
    Names {
        model: model(record, models).into(),
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

/// Returns the provider's name of the model. A request that no provider received has the name that
/// the client wrote, if it is one of those.
pub fn model<'r>(record: &'r Record, models: &ModelLabels) -> &'r str {
    let succeeded = !record.sent_model.is_empty() && (200..300).contains(&record.status);
    of_model(name(record), succeeded, models)
}

/// Returns the label of a name of a model. `has_answered` says that a provider has served it.
pub fn of_model<'n>(name: &'n Short<96>, has_answered: bool, models: &ModelLabels) -> &'n str {
    match name.as_str() {
        "" => NONE,
        name if models.has(name, has_answered) => name,
        _ => OTHER,
    }
}

/// Returns the name of the model that a record has, which need not have a label.
pub fn name(record: &Record) -> &Short<96> {
    if record.sent_model.is_empty() { &record.model } else { &record.sent_model }
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

//! Label texts of metrics: from the configuration, and for models the names that providers have
//! answered under. Others are `other`.

use crate::config::snapshot::{Credential, Snapshot};
use crate::metrics::series_index::{NONE, OTHER};
use crate::shared::model_labels::ModelLabels;
use crate::telemetry::record::Record;

/// Of one request.
#[derive(Debug)]
pub struct Names {
    pub model: Box<str>,
    pub provider: Box<str>,
    pub credential: Box<str>,
}

/// The label texts of a record.
pub fn of(record: &Record, snapshot: &Snapshot, models: &ModelLabels, most: usize) -> Names {
    Names {
        model: model(record, models).into(),
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

/// The provider's name of the model, which is what it costs by. Of a request that no provider was
/// asked for, the name that the client wrote, if it is one of those.
pub fn model<'r>(record: &'r Record, models: &ModelLabels) -> &'r str {
    let sent = record.sent_model.as_str();
    let name = if sent.is_empty() { record.model.as_str() } else { sent };
    let answered = !sent.is_empty() && (200..300).contains(&record.status);
    match name {
        "" => NONE,
        _ if models.has(name, answered) => name,
        _ => OTHER,
    }
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

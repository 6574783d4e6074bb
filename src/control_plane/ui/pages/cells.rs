//! What several pages show: cells of the lists of keys and groups, and the names of models.

use serde_json::Value;

use crate::control_plane::ui::html::grouped;
use crate::control_plane::ui::visit::{Visit, list, text};

/// Returns the models that a key or group may use, in short.
pub(super) fn models(key: &Value) -> String {
    let models: Vec<_> = list(key, "allowed_models").iter().filter_map(Value::as_str).collect();
    match models.len() {
        0 => "all".to_owned(),
        1..=3 => models.join(", "),
        more => format!("{} and {} more", models[..2].join(", "), more - 2),
    }
}

/// Returns a limit of a key or group.
pub(super) fn limit(key: &Value, name: &str) -> String {
    key[name].as_i64().map_or("–".to_owned(), grouped)
}

/// Returns the names that clients can ask for, as far as 200 providers and 200 virtual models name
/// them, in order. Patterns are left out.
pub(super) async fn known_models(visit: &Visit<'_>) -> Vec<String> {
    let providers = visit.get("/providers", &[("size", "200")]).await.unwrap_or_default();
    let mappings = list(&providers, "providers").iter().filter_map(|provider| provider["model_mapping"].as_object());
    let own = visit.get("/models", &[("size", "200")]).await.unwrap_or_default();
    let mut models: Vec<String> = mappings.flat_map(|mapping| mapping.keys().cloned()).collect();
    models.extend(list(&own, "models").iter().map(|model| text(model, "name").to_owned()));
    models.retain(|model| !model.contains('*'));
    models.sort_unstable();
    models.dedup();
    models
}

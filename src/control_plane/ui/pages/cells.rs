//! Cells of the lists of keys and groups.

use serde_json::Value;

use crate::control_plane::ui::html::grouped;
use crate::control_plane::ui::visit::list;

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

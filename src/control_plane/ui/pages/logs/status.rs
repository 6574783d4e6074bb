//! The outcome of a request in a word.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::visit::text;

/// The status with the category of the error.
pub(super) fn status(item: &Value) -> Markup {
    let code = item["status_code"].as_i64();
    let category = text(item, "error_category");
    let is_bad = code.is_none_or(|code| code >= 400) || !category.is_empty();
    let shown = code.map_or("–".to_owned(), |code| code.to_string());
    html! {
        span.state .good[!is_bad] .bad[is_bad] { (shown) @if !category.is_empty() { " " (category) } }
    }
}

//! Who changed what.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{code, empty, failure, framed, moment};
use crate::control_plane::ui::visit::{Visit, list, number, text};

/// Entries of a page.
const SIZE: usize = 50;

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let before = visit.query("before");
    let found = visit.get("/audit", &[("before", &before), ("limit", &SIZE.to_string())]).await;
    let body = match found {
        Ok(found) => entries(&found),
        Err(message) => failure(&message),
    };
    framed(visit, "/audit", "Audit", body)
}

fn entries(found: &Value) -> Markup {
    let entries = list(found, "entries");
    let Some(last) = entries.last() else {
        return empty(
            html! { "No change yet. Each change by this page, the admin interface or the command line is listed here." },
        );
    };
    html! {
        div.wide { table {
            thead { tr { th scope="col" { "Time (UTC)" } th scope="col" { "Who" } th scope="col" { "Change" } th scope="col" { "Row" } th scope="col" { "Before and after" } } }
            tbody { @for entry in entries { tr {
                td.time { (moment(text(entry, "timestamp"))) }
                td.break { (text(entry, "actor")) }
                td { (text(entry, "action")) }
                td.break { (text(entry, "object")) }
                td { (change(entry)) }
            } } }
        } }
        @if entries.len() == SIZE { nav.pages aria-label="Pages of the list" { a rel="next" href={ "/ui/audit?before=" (number(last, "id")) } { "Older" } } }
    }
}

/// Returns the fields that are different.
fn change(entry: &Value) -> Markup {
    let empty = serde_json::Map::new();
    let fields = |name: &str| entry[name].as_object().unwrap_or(&empty);
    let (old, new) = (fields("old"), fields("new"));
    let names = new.keys().chain(old.keys().filter(|name| !new.contains_key(*name)));
    let changed =
        names.filter(|name| old.get(*name) != new.get(*name) && !matches!(name.as_str(), "row_version" | "updated_at"));
    let shown = |value: Option<&Value>| value.map_or("–".to_owned(), ToString::to_string);
    let lines: Vec<_> =
        changed.map(|name| format!("{name}: {} → {}", shown(old.get(name)), shown(new.get(name)))).collect();
    html! {
        @if lines.is_empty() { "–" } @else {
            details { summary { (lines.len()) @if lines.len() == 1 { " field" } @else { " fields" } } (code(&lines.join("\n"))) }
        }
    }
}

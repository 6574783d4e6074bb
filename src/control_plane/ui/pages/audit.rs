//! Who changed what.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{code, empty, failure, framed, moment};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

/// Entries of a page.
const SIZE: usize = 50;

/// Kinds of rows, each of which is a filter.
const KINDS: [&str; 6] = ["provider", "model", "credential", "group", "budget", "price"];

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let [actor, action, object, from, to, before] =
        ["actor", "action", "object", "start_time", "end_time", "before"].map(|name| visit.query(name));
    let mut wanted = vec![
        ("actor", actor.as_str()),
        ("action", &action),
        ("object", &object),
        ("start_time", &from),
        ("end_time", &to),
    ];
    let filters = encode(&wanted);
    let size = SIZE.to_string();
    wanted.extend([("before", before.as_str()), ("limit", &size)]);
    let found = visit.get("/audit", &wanted).await;
    let body = html! {
        form.filters method="get" action="/ui/audit" role="search" {
            label { "Who" input name="actor" value=(actor) spellcheck="false"; }
            label { "Change" input name="action" value=(action) list="actions" placeholder="provider.update" spellcheck="false"; }
            label { "Row" input name="object" value=(object) spellcheck="false"; }
            label { "From (UTC)" input type="datetime-local" name="start_time" value=(from); }
            label { "To (UTC)" input type="datetime-local" name="end_time" value=(to); }
            div.actions {
                button.quiet type="submit" { "Filter" }
                @if !filters.is_empty() { a href="/ui/audit" { "All" } }
            }
            datalist #actions { @for kind in KINDS { option value=(kind) {} } }
        }
        (match found { Ok(found) => entries(&found, &filters, !before.is_empty()), Err(why) => failure(&why) })
    };
    framed(visit, "/audit", "Audit", body)
}

fn entries(found: &Value, filters: &str, is_older: bool) -> Markup {
    let entries = list(found, "entries");
    let searched_to = found["searched_to"].as_i64();
    let behind =
        |before: i64| format!("/ui/audit?{filters}{}before={before}", if filters.is_empty() { "" } else { "&" });
    let Some(last) = entries.last() else {
        return empty(html! {
            @if let Some(before) = searched_to { "None of the changes that were searched fits these filters. " a href=(behind(before)) { "Search older changes" } }
            @else if is_older { "Nothing is older. " a href={ "/ui/audit?" (filters) } { "Newest" } }
            @else if !filters.is_empty() { "No change fits these filters." }
            @else { "No change yet. Each change by this page, the admin interface or the command line is listed here." }
        });
    };
    let older = searched_to.or_else(|| (entries.len() == SIZE).then(|| number(last, "id")));
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
        @if let Some(before) = older {
            nav.pages aria-label="Pages of the list" {
                a rel="next" href=(behind(before)) { @if searched_to.is_some() { "Search older changes" } @else { "Older" } }
            }
        }
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

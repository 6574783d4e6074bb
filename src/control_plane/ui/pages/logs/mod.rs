//! Finished requests: a list with filters that follows the gateway, and one request.

mod one;
mod status;

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{
    dollars, empty, failure, framed, grouped, milliseconds, moment, options, pages, unlogged,
};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

use status::status;

pub(super) use one::one;

/// The filters of the list, which are those of the admin interface.
const FILTERS: &[(&str, &str)] = &[
    ("credential_name", "Key"),
    ("model", "Model"),
    ("provider_name", "Provider"),
    ("status_code", "Status"),
    ("request_id", "Request id"),
    ("session", "Session"),
    ("tag", "Tag"),
    ("error", "Text of the error"),
];

const KINDS: &[(&str, &str)] = &[("", "all"), ("true", "failed only")];

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let mut query: Vec<(&str, String)> = FILTERS.iter().map(|(name, _)| (*name, visit.query(name))).collect();
    for name in ["error_only", "start_time", "end_time"] {
        query.push((name, visit.query(name)));
    }
    let filters: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (page, cursor) = (visit.query("page"), visit.query("cursor"));
    let mut wanted = filters.clone();
    wanted.extend([("page", page.as_str()), ("cursor", cursor.as_str()), ("page_size", "50")]);
    let found = visit.get("/logs", &wanted).await;
    let is_filtered = filters.iter().any(|(_, value)| !value.is_empty());
    let body = html! {
        (unlogged(visit))
        form.filters method="get" action="/ui/logs" role="search" {
            @for (name, title) in FILTERS { label { (title) input name=(name) value=(visit.query(name)); } }
            label { "Outcome" select name="error_only" { (options(KINDS, &visit.query("error_only"))) } }
            label { "From (UTC)" input type="datetime-local" name="start_time" value=(visit.query("start_time")); }
            label { "To (UTC)" input type="datetime-local" name="end_time" value=(visit.query("end_time")); }
            div.actions {
                button.quiet type="submit" { "Filter" }
                @if is_filtered { a href="/ui/logs" { "All" } }
                span.check { input #follow type="checkbox"; label for="follow" { "Follow" } }
            }
        }
        div #live { (match found { Ok(found) => table(&found, &encode(&filters), is_filtered, !cursor.is_empty()), Err(message) => failure(&message) }) }
    };
    framed(visit, "/logs", "Logs", body)
}

fn table(found: &Value, query: &str, is_filtered: bool, is_behind_a_cursor: bool) -> Markup {
    let items = list(found, "items");
    let searched_to = found["searched_to"].as_str();
    if let Some(time) = searched_to.filter(|_| items.is_empty()) {
        return html! {
            (empty(html! { "No request since " (moment(time)) " fits these filters. Older ones were not searched yet." }))
            (pager(found, query, is_behind_a_cursor))
        };
    }
    if items.is_empty() && is_behind_a_cursor {
        return empty(html! { "Nothing is older. " a href={ "/ui/logs?" (query) } { "Newest" } });
    }
    if items.is_empty() {
        return empty(html! {
            @if is_filtered { "No request fits these filters." }
            @else { "No request yet. " a href="/ui/playground" { "Send one in the playground" } " or " a href="/ui/connect" { "connect a client" } "." }
        });
    }
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Time (UTC)" } th scope="col" { "Status" } th scope="col" { "Key" } th scope="col" { "Model" }
                th scope="col" { "Provider" } th.number scope="col" { "Tokens in" } th.number scope="col" { "Tokens out" }
                th.number scope="col" { "First token" } th.number scope="col" { "Duration" } th.number scope="col" { "Cost" }
            } }
            tbody { @for item in items { (row(item)) } }
        } }
        p.hint { (count(found, is_behind_a_cursor)) }
        (pager(found, query, is_behind_a_cursor))
    }
}

/// How many requests there are, or how far was searched.
fn count(found: &Value, is_behind_a_cursor: bool) -> Markup {
    let total = grouped(number(found, "total"));
    match found["searched_to"].as_str() {
        Some(time) => html! {
            "Found " (total) @if is_behind_a_cursor { " more" } " since " (moment(time)) ". Older ones were not searched yet."
        },
        None if found["total_is_exact"] == true => {
            html! { (total) " requests" @if is_behind_a_cursor { " in all, newer ones included" } }
        }
        // Those before a cursor are not counted if the rest was searched for.
        None if is_behind_a_cursor && number(found, "total") < 10_000 => {
            html! { (total) " requests from here on, newer ones not counted" }
        }
        None => html! { "More than " (total) " requests" },
    }
}

/// Links to the parts of the list. Pages have numbers as far as the list is counted; what is older
/// is reached from one part to the next.
fn pager(found: &Value, query: &str, is_behind_a_cursor: bool) -> Markup {
    let (page, total_pages) = (number(found, "page"), number(found, "total_pages"));
    let is_last_number = found["total_is_exact"] == false && page >= total_pages;
    if !is_behind_a_cursor && !is_last_number {
        return pages("/ui/logs", query, page, total_pages);
    }
    let link = |more: &str| format!("/ui/logs?{query}{}{more}", if query.is_empty() { "" } else { "&" });
    html! {
        nav.pages aria-label="Pages of the list" {
            @if is_behind_a_cursor { a href=(link("")) { "Newest" } }
            @else if page > 1 { a rel="prev" href=(link(&format!("page={}", page - 1))) { "Previous" } span { "Page " (grouped(page)) } }
            @if let Some(cursor) = found["next_cursor"].as_str() {
                a rel="next" href=(link(&format!("cursor={cursor}"))) { @if found["searched_to"].is_string() { "Search older requests" } @else { "Older" } }
            }
        }
    }
}

fn row(item: &Value) -> Markup {
    html! {
        tr {
            td.time { a href={ "/ui/logs/" (number(item, "id")) } { (moment(text(item, "timestamp"))) } }
            td { (status(item)) }
            td.break { (text(item, "credential_name")) }
            td.break { (text(item, "model_requested")) }
            td.break { (text(item, "provider_name")) }
            td.number { (grouped(number(item, "input_tokens"))) }
            td.number { (grouped(number(item, "output_tokens"))) }
            td.number { (milliseconds(&item["ttft_ms"])) }
            td.number { (milliseconds(&item["total_duration_ms"])) }
            td.number { (item["cost"].as_f64().map_or("–".to_owned(), dollars)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A search that has ended early says how far it has come, and leads on from there, whether it
    /// has found something or not.
    #[test]
    fn a_search_that_ended_early_goes_on() {
        let found = |items: Value, total: i64, searched_to: Value| {
            let (exact, pages) = (searched_to.is_null(), i64::from(total > 0));
            json!({
                "items": items, "total": total, "total_is_exact": exact, "page": 1, "page_size": 50,
                "total_pages": pages, "next_cursor": "9-0", "searched_to": searched_to,
            })
        };
        let time = json!("2030-01-31T12:00:00Z");
        for (items, total) in [(json!([]), 0), (json!([{ "id": 1 }]), 1)] {
            let early = table(&found(items, total, time.clone()), "model=m", true, false).into_string();
            assert!(early.contains("2030-01-31 12:00:00"), "{early}");
            assert!(early.contains("Older ones were not searched yet"), "{early}");
            let link = r#"<a rel="next" href="/ui/logs?model=m&amp;cursor=9-0">Search older requests</a>"#;
            assert!(early.contains(link), "{early}");
            assert!(!early.contains("Previous"), "{early}");
        }
        let rest = |exact: bool| {
            let mut found = found(json!([{ "id": 1 }]), 7, Value::Null);
            found["total_is_exact"] = json!(exact);
            table(&found, "model=m", true, true).into_string()
        };
        assert!(rest(true).contains("7 requests in all, newer ones included"), "{}", rest(true));
        assert!(rest(false).contains("7 requests from here on, newer ones not counted"), "{}", rest(false));
        let nothing = table(&found(json!([]), 0, Value::Null), "model=m", true, false).into_string();
        assert!(nothing.contains("No request fits these filters."), "{nothing}");
    }
}

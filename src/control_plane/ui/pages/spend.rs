//! What was spent, by key, model, provider or day.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{dollars, empty, failure, framed, grouped, moment, options};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

const DIMENSIONS: &[(&str, &str)] = &[
    ("credential", "Key"),
    ("group", "Group"),
    ("tag", "Tag"),
    ("model", "Model"),
    ("provider", "Provider"),
    ("day", "Day"),
    ("hour", "Hour"),
];
const FILTERS: &[(&str, &str)] = &[
    ("credential_name", "Key"),
    ("group_name", "Group"),
    ("tag", "Tag"),
    ("model", "Model"),
    ("provider_name", "Provider"),
];

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let by = visit.query("by");
    let by = if by.is_empty() { "credential".to_owned() } else { by };
    let mut query = vec![("by", by.clone())];
    for name in FILTERS.iter().map(|(name, _)| *name).chain(["start_time", "end_time"]) {
        query.push((name, visit.query(name)));
    }
    let mut wanted: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let found = visit.get("/spend", &wanted).await;
    wanted.push(("format", "csv"));
    let body = html! {
        form.filters method="get" action="/ui/spend" role="search" {
            label { "By" select name="by" { (options(DIMENSIONS, &by)) } }
            @for (name, title) in FILTERS { label { (title) input name=(name) value=(visit.query(name)); } }
            label { "From (UTC)" input type="date" name="start_time" value=(visit.query("start_time")); }
            label { "To (UTC)" input type="date" name="end_time" value=(visit.query("end_time")); }
            div.actions {
                button.quiet type="submit" { "Show" }
                a.button.quiet href={ "/admin/v1/spend?" (encode(&wanted)) } download { "CSV" }
            }
        }
        (match found { Ok(found) => table(&found, &by), Err(message) => failure(&message) })
    };
    framed(visit, "/spend", "Spend", body)
}

fn table(found: &Value, by: &str) -> Markup {
    let rows = list(found, "rows");
    if rows.is_empty() {
        return empty(html! { "No request in this time. Cost needs " a href="/ui/prices" { "prices" } "." });
    }
    let title = DIMENSIONS.iter().find(|(name, _)| *name == by).map_or(by, |(_, title)| title);
    let sum = |name: &str| rows.iter().map(|row| number(row, name)).sum::<i64>();
    let cost: f64 = rows.iter().filter_map(|row| row["cost"].as_f64()).sum();
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { (title) } th.number scope="col" { "Requests" } th.number scope="col" { "Failed" }
                th.number scope="col" { "Tokens in" } th.number scope="col" { "Tokens out" } th.number scope="col" { "Cost" } th scope="col" { "Share" }
            } }
            tbody { @for row in rows { (line(row, by, cost)) } }
            tfoot { tr {
                th scope="row" { "All of these" } td.number { (grouped(sum("requests"))) } td.number { (grouped(sum("errors"))) }
                td.number { (grouped(sum("input_tokens"))) } td.number { (grouped(sum("output_tokens"))) } td.number { (dollars(cost)) } td {}
            } }
        } }
        p.hint {
            @let unpriced = sum("unpriced");
            @if unpriced > 0 { "Requests without a known " a href="/ui/prices" { "price" } ", which cost nothing here: " (grouped(unpriced)) ". " }
            @if by == "tag" { "A request with several tags counts for each of them. " }
            @if by == "group" { "A request counts in its group and in those that this belongs to. " }
        }
    }
}

fn line(row: &Value, by: &str, total: f64) -> Markup {
    let group = text(row, "group");
    let (address, filter) = match by {
        "model" => ("/ui/logs", "model"),
        "provider" => ("/ui/logs", "provider_name"),
        "tag" => ("/ui/logs", "tag"),
        "group" => ("/ui/keys", "group"),
        _ => ("/ui/logs", "credential_name"),
    };
    let cost = row["cost"].as_f64().unwrap_or_default();
    html! {
        tr {
            th.break scope="row" {
                @if group.is_empty() { "(none)" }
                @else if matches!(by, "day" | "hour") { (moment(group)) }
                @else { a href={ (address) "?" (encode(&[(filter, group)])) } { (group) } }
            }
            td.number { (grouped(number(row, "requests"))) }
            td.number { (grouped(number(row, "errors"))) }
            td.number { (grouped(number(row, "input_tokens"))) }
            td.number { (grouped(number(row, "output_tokens"))) }
            td.number { (dollars(cost)) }
            td { @if total > 0.0 { meter min="0" max=(total) value=(cost) aria-label={ (format!("{:.0} %", cost / total * 100.0)) } {} } }
        }
    }
}

//! Finished requests: a list with filters that follows the gateway, and one request.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{
    code, dollars, empty, failure, framed, grouped, milliseconds, moment, options, pages,
};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

/// The filters of the list, which are those of the admin interface.
const FILTERS: &[(&str, &str)] = &[
    ("credential_name", "Key"),
    ("model", "Model"),
    ("provider_name", "Provider"),
    ("status_code", "Status"),
    ("request_id", "Request id"),
];

const KINDS: &[(&str, &str)] = &[("", "all"), ("true", "failed only")];

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let mut query: Vec<(&str, String)> = FILTERS.iter().map(|(name, _)| (*name, visit.query(name))).collect();
    for name in ["error_only", "start_time", "end_time"] {
        query.push((name, visit.query(name)));
    }
    let filters: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let page = visit.query("page");
    let mut wanted = filters.clone();
    wanted.extend([("page", page.as_str()), ("page_size", "50")]);
    let found = visit.get("/logs", &wanted).await;
    let is_filtered = filters.iter().any(|(_, value)| !value.is_empty());
    let body = html! {
        form.bar method="get" action="/ui/logs" role="search" {
            @for (name, title) in FILTERS { label { (title) input name=(name) value=(visit.query(name)) size="12"; } }
            label { "Outcome" select name="error_only" { (options(KINDS, &visit.query("error_only"))) } }
            label { "From (UTC)" input type="datetime-local" name="start_time" value=(visit.query("start_time")); }
            label { "To (UTC)" input type="datetime-local" name="end_time" value=(visit.query("end_time")); }
            button.quiet type="submit" { "Filter" }
            @if is_filtered { a href="/ui/logs" { "All" } }
            span.grow {}
            span.check { input #follow type="checkbox"; label for="follow" { "Follow" } }
        }
        div #live { (match found { Ok(found) => table(&found, &encode(&filters), is_filtered), Err(message) => failure(&message) }) }
    };
    framed(visit, "/logs", "Logs", body)
}

fn table(found: &Value, query: &str, is_filtered: bool) -> Markup {
    let items = list(found, "items");
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
                th scope="col" { "Provider" } th.number scope="col" { "Tokens in" } th.number scope="col" { "out" }
                th.number scope="col" { "First token" } th.number scope="col" { "Duration" } th.number scope="col" { "Cost" }
            } }
            tbody { @for item in items { (row(item)) } }
        } }
        p.hint { (grouped(number(found, "total"))) " requests" }
        (pages("/ui/logs", query, number(found, "page"), number(found, "total_pages")))
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

fn status(item: &Value) -> Markup {
    let code = item["status_code"].as_i64();
    let category = text(item, "error_category");
    let is_bad = code.is_none_or(|code| code >= 400) || !category.is_empty();
    let shown = code.map_or("–".to_owned(), |code| code.to_string());
    html! {
        span.state .good[!is_bad] .bad[is_bad] { (shown) @if !category.is_empty() { " " (category) } }
    }
}

pub(super) async fn one(visit: &Visit<'_>, id: &str) -> Markup {
    let entry = match visit.get(&format!("/logs/{id}"), &[]).await {
        Ok(entry) => entry,
        Err(message) => return framed(visit, "/logs", "Request", failure(&message)),
    };
    let failed = visit.get("/error-logs", &[("request_id", text(&entry, "request_id")), ("sort_order", "asc")]).await;
    let body = html! {
        dl.facts.panel { (facts(&entry)) }
        h2 { "Failed attempts at providers" }
        (match failed { Ok(failed) => attempts(&failed), Err(message) => failure(&message) })
        h2 { "As curl" }
        (curl(visit, &entry))
        (text_part("Request headers", text(&entry, "request_headers")))
        (text_part("Request body", text(&entry, "request_body")))
        (text_part("Response body", text(&entry, "response_body")))
        @if text(&entry, "request_body").is_empty() {
            p.hint { "Bodies are kept with " code { "REQUEST_LOG_BODY_ENABLED=true" } ". What a translation dropped or repaired is in the response's "
                "fields x-llm-proxy-dropped and x-llm-proxy-repaired, and with the stage times in the JSON lines log." }
        }
    };
    framed(visit, "/logs", &format!("Request {}", text(&entry, "request_id")), body)
}

fn facts(entry: &Value) -> Markup {
    let named = [
        ("Key", "credential_name"),
        ("Endpoint", "endpoint"),
        ("Model, as the client named it", "model_requested"),
        ("Model at the provider", "model_mapped"),
        ("Provider", "provider_name"),
        ("Format of the client", "client_protocol"),
        ("Format of the provider", "provider_protocol"),
        ("Client program", "client"),
        ("Error", "error_message"),
    ];
    html! {
        dt { "Time" } dd { (moment(text(entry, "timestamp"))) " UTC" }
        dt { "Status" } dd { (status(entry)) @if entry["is_streaming"] == true { " stream" } }
        @for (title, name) in named {
            @if !text(entry, name).is_empty() { dt { (title) } dd { (text(entry, name)) } }
        }
        dt { "Tokens" } dd { (grouped(number(entry, "input_tokens"))) " in, " (grouped(number(entry, "output_tokens"))) " out" }
        dt { "Times" } dd { "first token " (milliseconds(&entry["ttft_ms"])) ", whole " (milliseconds(&entry["total_duration_ms"])) }
        dt { "Cost" } dd { (entry["cost"].as_f64().map_or("unknown".to_owned(), dollars)) }
    }
}

fn attempts(failed: &Value) -> Markup {
    let items = list(failed, "items");
    if items.is_empty() {
        return html! { p { "None." } };
    }
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Provider" } th scope="col" { "Category" } th.number scope="col" { "Status" }
                th scope="col" { "Message" } th.number scope="col" { "Up to" }
            } }
            tbody { @for item in items { tr {
                th scope="row" { (text(item, "provider_name")) }
                td { (text(item, "error_category")) }
                td.number { (item["error_code"].as_i64().map_or("–".to_owned(), |code| code.to_string())) }
                td.break { (text(item, "error_message")) }
                td.number { (milliseconds(&item["total_duration_ms"])) }
            } } }
        } }
    }
}

/// The request, ready for a shell. Its key is a variable.
fn curl(visit: &Visit<'_>, entry: &Value) -> Markup {
    let body = match text(entry, "request_body") {
        "" => format!("{{\"model\":{},…}}", Value::from(text(entry, "model_requested"))),
        body => body.to_owned(),
    };
    let quoted = body.replace('\'', "'\\''");
    let endpoint = text(entry, "endpoint");
    let path = if endpoint.starts_with('/') { endpoint } else { "/v1/chat/completions" };
    code(&format!(
        "curl -sN {}{path} -H \"Authorization: Bearer $LLM_PROXY_KEY\" \\\n  -H 'Content-Type: application/json' \\\n  -d '{quoted}'",
        visit.address
    ))
}

fn text_part(title: &str, text: &str) -> Markup {
    let pretty = serde_json::from_str::<Value>(text).and_then(|value| serde_json::to_string_pretty(&value));
    html! {
        @if !text.is_empty() {
            h2 { (title) }
            (code(&pretty.unwrap_or_else(|_| text.to_owned())))
        }
    }
}

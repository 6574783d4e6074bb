//! One finished request: where its time went, its attempts, what the translation left out, its
//! bodies, and the same request as curl.

use maud::{Markup, html};
use serde_json::Value;

use super::status::status;
use crate::control_plane::ui::chart::Series;
use crate::control_plane::ui::html::{code, dollars, failure, framed, grouped, milliseconds, moment, refused};
use crate::control_plane::ui::visit::{Visit, decimal, encode, list, number, text};

pub(in crate::control_plane::ui::pages) async fn one(visit: &Visit<'_>, id: &str) -> (u16, Markup) {
    let entry = match visit.get(&format!("/logs/{id}"), &[]).await {
        Ok(entry) => entry,
        Err(why) => return refused(visit, "/logs", "Request", &why),
    };
    let failed = visit.get("/error-logs", &[("request_id", text(&entry, "request_id")), ("sort_order", "asc")]).await;
    let trace = &entry["trace"];
    let body = html! {
        dl.facts.panel { (facts(&entry)) }
        @if !list(trace, "stages").is_empty() { (stages(trace)) }
        (attempts(list(trace, "attempts"), &entry))
        (match failed { Ok(failed) => failures(list(&failed, "items")), Err(message) => failure(&message) })
        h2 { "As curl" }
        (curl(visit, &entry))
        (text_part("Request headers", text(&entry, "request_headers")))
        (text_part("Request body", text(&entry, "request_body")))
        (text_part("Response body", text(&entry, "response_body")))
        @if text(&entry, "request_body").is_empty() {
            p.hint { "Bodies are kept with " code { "REQUEST_LOG_BODY_ENABLED=true" } "." }
        } @else if text(&entry, "request_body").contains("... [truncated, ") {
            p.hint { "Texts of more than 200 bytes are cut in the log: put them back before the request is sent again." }
        }
    };
    (200, framed(visit, "/logs", &format!("Request {}", text(&entry, "request_id")), body))
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
        @if !text(entry, "session").is_empty() { dt { "Session" } dd { a href={ "/ui/logs?" (encode(&[("session", text(entry, "session"))])) } { (text(entry, "session")) } } }
        @if !list(entry, "tags").is_empty() { dt { "Tags" } dd {
            @for tag in list(entry, "tags").iter().filter_map(Value::as_str) { a href={ "/ui/logs?" (encode(&[("tag", tag)])) } { (tag) } " " }
        } }
        @for (title, name) in [("Left out for the provider", "dropped"), ("Repaired", "repaired"), ("Finish reason", "finish_reason"), ("Fault of the stream", "stream_defect")] {
            @if !text(&entry["trace"], name).is_empty() { dt { (title) } dd { (text(&entry["trace"], name)) } }
        }
        dt { "Tokens" } dd { (grouped(number(entry, "input_tokens"))) " in, " (grouped(number(entry, "output_tokens"))) " out" }
        dt { "Times" } dd { "first token " (milliseconds(&entry["ttft_ms"])) ", whole " (milliseconds(&entry["total_duration_ms"])) }
        dt { "Cost" } dd { (entry["cost"].as_f64().map_or("unknown".to_owned(), dollars)) }
    }
}

/// A part of a time axis.
struct Span {
    class: &'static str,
    from: f64,
    to: f64,
}

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 12.0;

/// Spans on an axis from 0 to `whole`. The numbers stand beside it.
fn axis(spans: &[Span], whole: f64) -> Markup {
    let at = |ms: f64| if whole > 0.0 { (ms / whole).clamp(0.0, 1.0) * WIDTH } else { 0.0 };
    html! {
        svg.axis-line viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) preserveAspectRatio="none" aria-hidden="true" {
            @for span in spans {
                // What is too short to be seen is shown all the same.
                rect class=(span.class) x=(format!("{:.2}", at(span.from).min(WIDTH - 1.0)))
                    width=(format!("{:.2}", (at(span.to) - at(span.from)).max(1.0))) height=(HEIGHT) {}
            }
        }
    }
}

/// The stage clock: its stages follow one another, save the wait for the client.
fn stages(trace: &Value) -> Markup {
    let stages = list(trace, "stages");
    let ms = |stage: &Value| decimal(stage, "ms");
    let whole: f64 = stages.iter().map(ms).sum();
    let begin = |at: usize| stages[..at].iter().map(ms).sum::<f64>();
    html! {
        h2 { "Where the time went" }
        div.wide { table {
            thead { tr { th scope="col" { "Stage" } th.number scope="col" { "Time" } th.number scope="col" { "Share" } th scope="col" { "One after the other" } } }
            tbody { @for (at, stage) in stages.iter().enumerate() { tr {
                th scope="row" { (title(text(stage, "stage"))) }
                td.number { (precise(ms(stage))) }
                td.number { (format!("{:.0} %", if whole > 0.0 { ms(stage) / whole * 100.0 } else { 0.0 })) }
                td { (axis(&[Span { class: Series::Median.class(), from: begin(at), to: begin(at) + ms(stage) }], whole)) }
            } } }
        } }
    }
}

/// What happens in a stage.
fn title(stage: &str) -> &str {
    match stage {
        "head_read" => "Reading the head",
        "auth" => "Checking the key",
        "body_read" => "Reading the body",
        "route" => "Choosing candidates",
        "limit" => "Limits and budgets",
        "translate" => "Preparing the provider's request",
        "connect" => "Connecting",
        "first_byte" => "Waiting for the provider",
        "first_content" => "Waiting for content",
        "last_byte" => "Passing the answer on",
        "write_stall" => "Waiting for the client",
        other => other,
    }
}

/// Milliseconds, of short times with decimals.
fn precise(ms: f64) -> String {
    if ms < 10.0 { format!("{ms:.3} ms") } else { milliseconds(&Value::from(ms)) }
}

/// Each try at a provider, the last one being the answer.
fn attempts(attempts: &[Value], entry: &Value) -> Markup {
    if attempts.is_empty() {
        return html! {};
    }
    let whole = decimal(entry, "total_duration_ms")
        .max(attempts.iter().map(|one| decimal(one, "ended_ms")).fold(0.0, f64::max));
    let spans = |one: &Value| {
        let (began, ended) = (decimal(one, "began_ms"), decimal(one, "ended_ms"));
        let first = one["first_byte_ms"].as_f64().unwrap_or(ended);
        let answer = if text(one, "error").is_empty() { Series::Answered } else { Series::Failed };
        [
            Span { class: Series::Median.class(), from: began, to: first },
            Span { class: answer.class(), from: first, to: ended },
        ]
    };
    html! {
        h2 { "Attempts" }
        div.wide { table {
            thead { tr {
                th scope="col" { "Provider" } th scope="col" { "Model there" } th.number scope="col" { "Status" } th.number scope="col" { "Began" }
                th.number scope="col" { "First byte" } th.number scope="col" { "Ended" } th scope="col" { "Waiting, then answering" } th scope="col" { "Error" }
            } }
            tbody { @for one in attempts { tr {
                th.break scope="row" { (one["provider"].as_str().unwrap_or("–")) }
                td.break { (text(one, "model")) }
                td.number { (one["status"].as_i64().map_or("–".to_owned(), |code| code.to_string())) }
                td.number { (milliseconds(&one["began_ms"])) }
                td.number { (milliseconds(&one["first_byte_ms"])) }
                td.number { (milliseconds(&one["ended_ms"])) }
                td { (axis(&spans(one), whole)) }
                td.break { @match text(one, "error") { "" => "–", error => (error) } }
            } } }
        } }
    }
}

/// The rows that failed attempts have of their own, which keep their bodies.
fn failures(items: &[Value]) -> Markup {
    html! {
        @if !items.is_empty() {
            h2 { "Failed attempts" }
            div.wide { table {
                thead { tr {
                    th scope="col" { "Provider" } th scope="col" { "Category" } th.number scope="col" { "Status" }
                    th scope="col" { "Message" } th.number scope="col" { "Up to" }
                } }
                tbody { @for item in items { tr {
                    th scope="row" { @match text(item, "provider_name") { "" => "–", name => (name) } }
                    td { (text(item, "error_category")) }
                    td.number { (item["error_code"].as_i64().map_or("–".to_owned(), |code| code.to_string())) }
                    td.break { (text(item, "error_message")) }
                    td.number { (milliseconds(&item["total_duration_ms"])) }
                } } }
            } }
        }
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

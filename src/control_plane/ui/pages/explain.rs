//! Who would serve a model: the candidates of a request in their order, and why.

use maud::{Markup, html};
use serde_json::{Value, json};

use crate::control_plane::ui::html::{empty, failure, framed, grouped, options, state};
use crate::control_plane::ui::visit::{Visit, decimal, encode, list, number, text};

const FORMATS: &[(&str, &str)] =
    &[("chat", "OpenAI Chat Completions"), ("messages", "Anthropic Messages"), ("responses", "OpenAI Responses")];

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let [model, credential, format, session] =
        ["model", "credential", "format", "session"].map(|name| visit.query(name));
    let mut question = json!({ "model": model, "format": if format.is_empty() { "chat" } else { &format } });
    if !credential.is_empty() {
        question["credential"] = credential.as_str().into();
    }
    if !session.is_empty() {
        question["headers"] = json!({ "x-session-affinity": session });
    }
    let body = html! {
        p { "Who serves a model: which providers a request would go to, in which order and why. Nothing is sent." }
        form.bar method="get" action="/ui/explain" role="search" {
            label { "Model" input name="model" value=(model) required spellcheck="false"; }
            label { "Key" input name="credential" value=(credential) placeholder="anybody" size="14"; }
            label { "Format of the client" select name="format" { (options(FORMATS, &format)) } }
            label { "Session" input name="session" value=(session) placeholder="none" size="12"; }
            button.quiet type="submit" { "Explain" }
        }
        @if model.is_empty() {
            (empty(html! { "Name a model, as a client would." }))
        } @else {
            (answer(&visit.ask("/explain", &question).await))
        }
    };
    framed(visit, "/explain", "Routing", body)
}

/// Returns the answer to the question for one model, without a key.
pub(super) async fn of(visit: &Visit<'_>, model: &str) -> Markup {
    html! {
        h2 { "Who serves it now" }
        (answer(&visit.ask("/explain", &json!({ "model": model })).await))
        p { a href={ "/ui/explain?" (encode(&[("model", model)])) } { "Ask for a key or another format" } }
    }
}

fn answer(fetched: &Result<Value, String>) -> Markup {
    let explanation = match fetched {
        Ok(explanation) => explanation,
        Err(message) => return failure(message),
    };
    let candidates = list(explanation, "candidates");
    let left_out = list(explanation, "left_out");
    let refusal = text(explanation, "refusal");
    let conversation = text(explanation, "conversation_at");
    html! {
        @if !refusal.is_empty() { p.notice.bad { "Nobody is asked: " (refusal) "." } }
        @if !conversation.is_empty() { p.notice { "The conversation belongs to " strong { (conversation) } ", which is asked first." } }
        @if !candidates.is_empty() { (table(candidates, text(explanation, "format"))) }
        @if !left_out.is_empty() { (others(left_out)) }
    }
}

fn table(candidates: &[Value], client: &str) -> Markup {
    html! {
        div.wide { table {
            thead { tr {
                th.number scope="col" { "Order" } th scope="col" { "Provider" } th scope="col" { "Model there" } th scope="col" { "Format" }
                th.number scope="col" { "Tier" } th.number scope="col" { "Share" } th.number scope="col" { "Window" }
                th scope="col" { "State" } th scope="col" { "Why" }
            } }
            tbody { @for (at, candidate) in candidates.iter().enumerate() { (row(at + 1, candidate, client)) } }
        } }
        p.hint { "Candidates of one tier take turns by their shares: this is the order of one turn. The next one is asked when one fails." }
    }
}

fn row(at: usize, candidate: &Value, client: &str) -> Markup {
    let (name, format) = (text(candidate, "provider"), text(candidate, "format"));
    html! {
        tr {
            td.number { (at) }
            th.break scope="row" { a href={ "/ui/providers?" (encode(&[("search", name)])) } { (name) } }
            td.break { (text(candidate, "upstream_model")) }
            td { (format) @if format != client { span.hint { " translated" } } }
            td.number { (number(candidate, "tier")) }
            td.number { (format!("{:.0} %", decimal(candidate, "share") * 100.0)) }
            td.number { (grouped(number(candidate, "context_window"))) }
            td { (state(candidate["is_benched"] != true, "in service", "out of service")) }
            td.break { (text(candidate, "why")) }
        }
    }
}

fn others(left_out: &[Value]) -> Markup {
    html! {
        h2 { "Not asked" }
        div.wide { table {
            thead { tr { th scope="col" { "Provider" } th scope="col" { "Member" } th scope="col" { "Why" } } }
            tbody { @for one in left_out { tr {
                th.break scope="row" { (one["provider"].as_str().unwrap_or("all")) }
                td.break { (one["member"].as_str().unwrap_or("–")) }
                td.break { (text(one, "why")) }
            } } }
        } }
    }
}

//! Who would serve a model: the candidates of a request in their order, and why.

use maud::{Markup, html};
use serde_json::{Value, json};

use crate::control_plane::ui::html::{empty, failure, framed, grouped, options, pages, state};
use crate::control_plane::ui::visit::{Fetched, Visit, decimal, encode, list, number, text};

const FORMATS: &[(&str, &str)] =
    &[("chat", "OpenAI Chat Completions"), ("messages", "Anthropic Messages"), ("responses", "OpenAI Responses")];

/// Candidates of a page, and providers that are not asked.
const SIZE: usize = 50;

/// The part of an answer that is shown.
struct Part {
    /// A part of the provider's name, in small letters.
    provider: String,
    /// From 1.
    page: usize,
    /// The query of the page of the whole answer, without the number of its part.
    query: String,
}

impl Part {
    fn has(&self, one: &Value) -> bool {
        text(one, "provider").to_lowercase().contains(&self.provider)
    }
}

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let [model, credential, format, session, provider] =
        ["model", "credential", "format", "session", "provider"].map(|name| visit.query(name));
    let part = Part {
        provider: provider.to_lowercase(),
        page: visit.query("page").parse().unwrap_or(1),
        query: encode(&[
            ("model", &model),
            ("credential", &credential),
            ("format", &format),
            ("session", &session),
            ("provider", &provider),
        ]),
    };
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
            label { "Provider" input name="provider" value=(provider) placeholder="all" size="12"; }
            button.quiet type="submit" { "Explain" }
        }
        @if model.is_empty() {
            (empty(html! { "Name a model, as a client would." }))
        } @else {
            (answer(&visit.ask("/explain", &question).await, &part))
        }
    };
    framed(visit, "/explain", "Routing", body)
}

/// Returns the answer to the question for one model, without a key.
pub(super) async fn of(visit: &Visit<'_>, model: &str) -> Markup {
    let query = encode(&[("model", model)]);
    let part = Part { provider: String::new(), page: 1, query };
    html! {
        h2 { "Who serves it now" }
        (answer(&visit.ask("/explain", &json!({ "model": model })).await, &part))
        p { a href={ "/ui/explain?" (part.query) } { "Ask for a key or another format" } }
    }
}

fn answer(fetched: &Fetched<Value>, part: &Part) -> Markup {
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
        @if !candidates.is_empty() { (table(candidates, text(explanation, "format"), part)) }
        @if !left_out.is_empty() { (others(left_out, part)) }
    }
}

fn table(candidates: &[Value], client: &str, part: &Part) -> Markup {
    let found: Vec<_> = candidates.iter().enumerate().filter(|(_, candidate)| part.has(candidate)).collect();
    let total_pages = found.len().div_ceil(SIZE).max(1);
    let page = part.page.clamp(1, total_pages);
    let shown = found.iter().skip((page - 1) * SIZE).take(SIZE);
    if found.is_empty() {
        return empty(html! { "None of the " (candidates.len()) " candidates is a provider of this name." });
    }
    html! {
        div.wide { table {
            thead { tr {
                th.number scope="col" { "Order" } th scope="col" { "Provider" } th scope="col" { "Model there" } th scope="col" { "Format" }
                th.number scope="col" { "Tier" } th.number scope="col" { "Share" } th.number scope="col" { "Window" }
                th scope="col" { "State" } th scope="col" { "Why" }
            } }
            tbody { @for (at, candidate) in shown { (row(at + 1, candidate, client)) } }
        } }
        p.hint { "Candidates of one tier take turns by their shares: this is the order of one turn. The next one is asked when one fails." }
        (pages("/ui/explain", &part.query, page as i64, total_pages as i64))
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

fn others(left_out: &[Value], part: &Part) -> Markup {
    let found: Vec<_> = left_out.iter().filter(|one| one["provider"].is_null() || part.has(one)).collect();
    html! {
        h2 { "Not asked" }
        div.wide { table {
            thead { tr { th scope="col" { "Provider" } th scope="col" { "Member" } th scope="col" { "Why" } } }
            tbody { @for one in found.iter().take(SIZE) { tr {
                th.break scope="row" { (one["provider"].as_str().unwrap_or("all")) }
                td.break { (one["member"].as_str().unwrap_or("–")) }
                td.break { (text(one, "why")) }
            } } }
        } }
        @if found.len() > SIZE { p.hint { (found.len() - SIZE) " more: search for one by the name of its provider." } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Many candidates are shown page by page, each with its place in the whole order.
    #[test]
    fn many_candidates_have_pages_and_a_search() {
        let named = |at: usize| json!({ "provider": format!("P-{at:03}"), "why": "" });
        let candidates: Vec<_> = (1..=120).map(named).collect();
        let shown = |provider: &str, page: usize| {
            let part = Part { provider: provider.to_owned(), page, query: "model=m".to_owned() };
            table(&candidates, "chat", &part).into_string()
        };
        let rows = |html: &str| html.matches("<th class=\"break\"").count();
        assert_eq!([0, 1, 2, 3, 9].map(|page| rows(&shown("", page))), [50, 50, 50, 20, 20]);
        assert!(shown("", 2).contains("/ui/explain?model=m&amp;page=3"));
        let one = shown("p-07", 1);
        assert_eq!(rows(&one), 10);
        assert!(one.contains("<td class=\"number\">70</td>"), "{one}");
        assert!(shown("other", 1).contains("None of the 120"));
        let part = Part { provider: String::new(), page: 1, query: String::new() };
        assert!(others(&candidates, &part).into_string().contains("70 more"));
    }
}

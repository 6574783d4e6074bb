//! Whether providers are in service: the state of their circuit breakers, and the switch.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{milliseconds, outcome};
use crate::control_plane::ui::visit::{Visit, decimal, list, number, text};

/// Returns what `/circuits` says of one provider: its account first, then models with failures.
fn circuits_of(circuits: &Value, provider: i64) -> Vec<&Value> {
    list(circuits, "circuits").iter().filter(|circuit| number(circuit, "provider_id") == provider).collect()
}

/// Returns the state of a provider in a list, in a word or a few.
pub(in crate::control_plane::ui::pages) fn brief(circuits: &Value, provider: i64) -> Markup {
    let all = circuits_of(circuits, provider);
    let benched = all.iter().filter(|circuit| circuit["is_benched"] == true && !circuit["model"].is_null()).count();
    match all.iter().find(|circuit| circuit["model"].is_null()) {
        None => html! { span.state.off { "not in use" } },
        Some(account) if account["is_benched"] == true => html! { span.state.bad { "out of service" } },
        Some(_) if benched > 0 => {
            html! { span.state.bad { (benched) @if benched == 1 { " model out" } @else { " models out" } } }
        }
        Some(_) if all.len() > 1 => html! { span.state.off { "recovering" } },
        Some(_) => html! { span.state.good { "in service" } },
    }
}

/// The breakers of one provider, and the switch to take it out of service or put it back.
pub(super) async fn panel(visit: &Visit<'_>, provider: &Value) -> Markup {
    let id = number(provider, "id");
    let circuits = visit.get("/circuits", &[]).await.unwrap_or_default();
    let all = circuits_of(&circuits, id);
    if all.is_empty() {
        return html! { h2 { "In service" } p { "It is disabled or cannot be used, so nothing is sent to it." } };
    }
    let is_out = all.iter().any(|circuit| circuit["is_benched"] == true);
    let is_changed = all.len() > 1 || all.iter().any(|circuit| text(circuit, "reason") != "none");
    html! {
        h2 { "In service" }
        div.wide { table {
            thead { tr { th scope="col" { "What" } th scope="col" { "Breaker" } th scope="col" { "Because of" } th scope="col" { "Out for" } th.number scope="col" { "Share of its weight" } } }
            tbody { @for circuit in &all { (row(circuit)) } }
        } }
        @if circuits["is_enabled"] != true { p.hint { "Failures are not remembered: ADAPTIVE_ROUTING_ENABLED is off." } }
        @if !visit.is_reader() {
            div {
                div.actions {
                    @if is_out || is_changed { (switch(id, "closed", "Put back into service")) }
                    @if !is_out { (switch(id, "open", "Take out of service")) }
                    span.hint { "On this gateway, until it is put back. Other providers of its models get its requests." }
                }
                (outcome())
            }
        }
    }
}

fn row(circuit: &Value) -> Markup {
    let is_benched = circuit["is_benched"] == true;
    html! {
        tr {
            th.break scope="row" { (circuit["model"].as_str().unwrap_or("account")) }
            td { @if is_benched { span.state.bad { (breaker(circuit)) } } @else { span.state.good { (breaker(circuit)) } } }
            td { @match text(circuit, "reason") { "none" => "–", reason => (reason) } }
            td { (wait(circuit, is_benched)) }
            td.number { (format!("{:.0} %", decimal(circuit, "share") * 100.0)) }
        }
    }
}

fn breaker(circuit: &Value) -> &'static str {
    match text(circuit, "state") {
        "open" => "open",
        "half_open" => "on trial",
        _ => "closed",
    }
}

fn wait(circuit: &Value, is_benched: bool) -> String {
    match (&circuit["wait_ms"], is_benched) {
        (_, false) => "–".to_owned(),
        (Value::Null, true) => "until it is put back".to_owned(),
        (wait, true) => milliseconds(wait),
    }
}

fn switch(provider: i64, state: &str, title: &str) -> Markup {
    html! {
        button.quiet type="button" data-method="POST" data-path={ "/admin/v1/providers/" (provider) "/circuit" }
            data-body=(format!("{{\"state\":\"{state}\"}}")) data-then="reload" { (title) }
    }
}

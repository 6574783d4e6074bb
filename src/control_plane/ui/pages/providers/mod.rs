//! The providers: their list, and one of them.

mod form;
mod service;

use maud::{Markup, html};
use serde_json::Value;

use super::budgets;
use crate::control_plane::ui::forms::{Row, search_bar};
use crate::control_plane::ui::html::{
    empty, failure, framed, grouped, moment, new_link, outcome, pages, refused, state,
};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

pub(super) use form::new;
pub(super) use service::brief;

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let (search, page) = (visit.query("search"), visit.query("page"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let found = visit.get("/providers", &[("search", &search), ("page", &page), ("size", "50")]).await;
    let circuits = visit.get("/circuits", &[]).await.unwrap_or_default();
    let new = visit.read_only().is_none().then_some(("/ui/providers/new", "Add a provider"));
    let body = html! {
        (search_bar("/ui/providers", &search, new))
        (match found { Ok(found) => table(visit, &found, &circuits, &search), Err(message) => failure(&message) })
    };
    framed(visit, "/providers", "Providers", body)
}

fn table(visit: &Visit<'_>, found: &Value, circuits: &Value, search: &str) -> Markup {
    let providers = list(found, "providers");
    if providers.is_empty() && search.is_empty() {
        return empty(html! {
            p { "A provider is who answers the requests of your applications: a vendor's API, or a server of your own." }
            (new_link(visit, "/ui/providers/new", "Add the first provider"))
        });
    }
    if providers.is_empty() {
        return empty(html! { "No provider has a name with “" (search) "”." });
    }
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Service" } th scope="col" { "Type" } th scope="col" { "Address" }
                th scope="col" { "Key" } th.number scope="col" { "Weight" } th.number scope="col" { "Models" }
            } }
            tbody { @for provider in providers { (row(provider, circuits)) } }
        } }
        p.hint { (grouped(number(found, "total_count"))) " in all" }
        (pages("/ui/providers", &encode(&[("search", search)]), number(found, "current_page"), number(found, "total_pages")))
    }
}

fn row(provider: &Value, circuits: &Value) -> Markup {
    let models = provider["model_mapping"].as_object().map_or(0, serde_json::Map::len);
    html! {
        tr {
            th scope="row" { a href={ "/ui/providers/" (number(provider, "id")) } { (text(provider, "provider_key")) } }
            td { (state(provider["is_enabled"] == true, "enabled", "disabled")) }
            td { (brief(circuits, number(provider, "id"))) }
            td { (text(provider, "provider_type")) }
            td.break { (text(provider, "api_base")) }
            td { (text(provider, "api_key_kind")) }
            td.number { @if number(provider, "weight") == 0 { "standby" } @else { (number(provider, "weight")) } }
            td.number { @if models == 0 { "every" } @else { (models) } }
        }
    }
}

pub(super) async fn one(visit: &Visit<'_>, id: &str) -> (u16, Markup) {
    let provider = match visit.get(&format!("/providers/{id}"), &[]).await {
        Ok(provider) => provider,
        Err(why) => return refused(visit, "/providers", "Provider", &why),
    };
    let name = text(&provider, "provider_key").to_owned();
    let row = Row { kind: "/providers", value: &provider };
    let problems = visit.get("/config/problems", &[]).await.unwrap_or_default();
    let object = format!("provider {name}");
    let own = list(&problems, "problems").iter().filter(|problem| text(problem, "object") == object);
    let body = html! {
        @for problem in own { (failure(text(problem, "message"))) }
        dl.facts.panel {
            dt { "State" } dd { (state(provider["is_enabled"] == true, "enabled", "disabled")) }
            dt { "Created (UTC)" } dd { (moment(text(&provider, "created_at"))) }
            dt { "Changed (UTC)" } dd { (moment(text(&provider, "updated_at"))) }
        }
        (service::panel(visit, &provider).await)
        @if !visit.is_reader() { (test(&provider)) }
        (budgets::of(visit, "provider", &name).await)
        h2 { "Settings" }
        (form::form(visit, &provider))
        @if visit.read_only().is_none() {
            (row.dangers(&format!("Remove the provider {name}? Its key cannot be restored.")))
        }
    };
    (200, framed(visit, "/providers", &name, body))
}

/// One-token requests through the control plane, to the models of the mapping or to one that is
/// named.
fn test(provider: &Value) -> Markup {
    html! {
        h2 { "Test" }
        form.panel data-method="POST" data-path={ "/admin/v1/providers/" (number(provider, "id")) "/health" } data-then="show" {
            p.hint { "Sends a request of one token to each model, which costs a little." }
            label for="test-models" { "Models, one a line; none for those of the mapping" }
            textarea #test-models .mono-input rows="2" cols="48" name="models" data-kind="lines-or-none" {}
            div.actions { button.quiet type="submit" { "Send a test request" } }
            (outcome())
        }
    }
}

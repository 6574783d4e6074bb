//! The providers: their list, and a form for one.

use maud::{Markup, html};
use serde_json::Value;

use crate::config::vendors::VENDORS;
use crate::control_plane::ui::html::{
    empty, failure, framed, grouped, moment, nothing, options, outcome, pages, state,
};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

const KINDS: &[(&str, &str)] =
    &[("openai", "openai"), ("anthropic", "anthropic"), ("responses", "responses"), ("azure", "azure")];

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let (search, page) = (visit.query("search"), visit.query("page"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let found = visit.get("/providers", &[("search", &search), ("page", &page), ("size", "50")]).await;
    let body = html! {
        form.bar method="get" action="/ui/providers" role="search" {
            label { "Name" input type="search" name="search" value=(search); }
            button.quiet type="submit" { "Search" }
            span.grow {}
            @if visit.read_only().is_none() { a.button href="/ui/providers/new" { "Add a provider" } }
        }
        (match found { Ok(found) => table(&found, &search), Err(message) => failure(&message) })
    };
    framed(visit, "/providers", "Providers", body)
}

fn table(found: &Value, search: &str) -> Markup {
    let providers = list(found, "providers");
    if providers.is_empty() && search.is_empty() {
        return empty(html! {
            p { "A provider is who answers the requests of your applications: a vendor's API, or a server of your own." }
            a.button href="/ui/providers/new" { "Add the first provider" }
        });
    }
    if providers.is_empty() {
        return empty(html! { "No provider has a name with “" (search) "”." });
    }
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Type" } th scope="col" { "Address" }
                th scope="col" { "Key" } th.number scope="col" { "Weight" } th.number scope="col" { "Models" }
            } }
            tbody { @for provider in providers { (row(provider)) } }
        } }
        p.hint { (grouped(number(found, "total_count"))) " in all" }
        (pages("/ui/providers", &encode(&[("search", search)]), number(found, "current_page"), number(found, "total_pages")))
    }
}

fn row(provider: &Value) -> Markup {
    let models = provider["model_mapping"].as_object().map_or(0, serde_json::Map::len);
    html! {
        tr {
            th scope="row" { a href={ "/ui/providers/" (number(provider, "id")) } { (text(provider, "provider_key")) } }
            td { (state(provider["is_enabled"] == true, "enabled", "disabled")) }
            td { (text(provider, "provider_type")) }
            td.break { (text(provider, "api_base")) }
            td { (text(provider, "api_key_kind")) }
            td.number { @if number(provider, "weight") == 0 { "standby" } @else { (number(provider, "weight")) } }
            td.number { @if models == 0 { "every" } @else { (models) } }
        }
    }
}

pub(super) fn new(visit: &Visit<'_>) -> Markup {
    let body = html! {
        p { "Choose a vendor to fill in its address, or fill in your own." }
        (form(visit, &Value::Null))
    };
    framed(visit, "/providers", "Add a provider", body)
}

pub(super) async fn one(visit: &Visit<'_>, id: &str) -> Markup {
    let provider = match visit.get(&format!("/providers/{id}"), &[]).await {
        Ok(provider) => provider,
        Err(message) => return framed(visit, "/providers", "Provider", failure(&message)),
    };
    let name = text(&provider, "provider_key").to_owned();
    let problems = visit.get("/config/problems", &[]).await.unwrap_or_default();
    let object = format!("provider {name}");
    let own = list(&problems, "problems").iter().filter(|problem| text(problem, "object") == object);
    let body = html! {
        @for problem in own { (failure(text(problem, "message"))) }
        dl.facts.panel {
            dt { "State" } dd { (state(provider["is_enabled"] == true, "enabled", "disabled")) }
            dt { "Created" } dd { (moment(text(&provider, "created_at"))) }
            dt { "Changed" } dd { (moment(text(&provider, "updated_at"))) }
        }
        @if !visit.is_reader() { (test(&provider)) }
        h2 { "Settings" }
        (form(visit, &provider))
        @if visit.read_only().is_none() { (dangers(&provider)) }
    };
    framed(visit, "/providers", &name, body)
}

/// One-token requests through the control plane, to the models of the mapping or to one that is named.
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

fn dangers(provider: &Value) -> Markup {
    let id = number(provider, "id");
    let version = number(provider, "row_version");
    let is_enabled = provider["is_enabled"] == true;
    html! {
        h2 { "Enable or remove" }
        div.panel {
            div.actions {
                button.quiet type="button" data-method="PUT" data-path={ "/admin/v1/providers/" (id) "/status" }
                    data-version=(version) data-body=(format!("{{\"is_enabled\":{}}}", !is_enabled)) {
                    @if is_enabled { "Disable" } @else { "Enable" }
                }
                button.danger type="button" data-method="DELETE" data-path={ "/admin/v1/providers/" (id) }
                    data-version=(version) data-then="/ui/providers"
                    data-confirm={ "Remove the provider " (text(provider, "provider_key")) "? Its key cannot be restored." } { "Remove" }
            }
            (outcome())
        }
    }
}

/// The form of a new provider, or of one with its values.
fn form(visit: &Visit<'_>, provider: &Value) -> Markup {
    let is_new = provider.is_null();
    let id = number(provider, "id");
    let (method, path, then) = match is_new {
        true => ("POST", "/admin/v1/providers".to_owned(), "/ui"),
        false => ("PUT", format!("/admin/v1/providers/{id}"), "reload"),
    };
    let version = (!is_new).then(|| number(provider, "row_version"));
    let params = match &provider["provider_params"] {
        Value::Object(map) if !map.is_empty() => serde_json::to_string_pretty(map).unwrap_or_default(),
        _ => String::new(),
    };
    html! {
        form.panel.form data-method=(method) data-path=(path) data-version=[version] data-then=(then) {
            fieldset.plain disabled[visit.read_only().is_some()] {
                @if is_new {
                    label for="vendor" { "Vendor" }
                    select #vendor { option { "–" } @for vendor in VENDORS {
                        option data-key=(vendor.name) data-type=(vendor.kind) data-base=(vendor.base)
                            data-secret=(if vendor.variable.is_empty() { String::new() } else { format!("env:{}", vendor.variable) }) { (vendor.name) }
                    } }
                    label for="provider_key" { "Name, which logs and metrics show" }
                    input #provider_key name="provider_key" data-kind="text" data-preset="key" required autocomplete="off";
                }
                div.two {
                    div {
                        label for="provider_type" { "Type: the format that it speaks" }
                        select #provider_type name="provider_type" data-kind="text" data-preset="type" { (kinds(text(provider, "provider_type"))) }
                    }
                    div {
                        label for="weight" { "Weight; 0 is a standby" }
                        input #weight name="weight" data-kind="number" inputmode="numeric" value=(if is_new { 1 } else { number(provider, "weight") });
                    }
                }
                label for="api_base" { "Base URL" }
                input #api_base name="api_base" data-kind="text" data-preset="base" required type="url" value=(text(provider, "api_base")) placeholder="https://api.openai.com/v1";
                label for="api_key" { "API key" }
                input #api_key name="api_key" data-kind="text" data-preset="secret" autocomplete="off" spellcheck="false"
                    placeholder=(if is_new { "sk-… or env:OPENAI_API_KEY".to_owned() } else { format!("unchanged ({})", text(provider, "api_key_kind")) });
                p.hint { code { "env:NAME" } " reads the key from the environment of the gateway. A stored key is never shown again." }
                p.label #mapping-label { "Models" }
                p.hint { "The name that clients send, or a pattern such as " code { "gpt-*" } ", and the provider's own name. Without any row every model is served." }
                (mapping(&provider["model_mapping"]))
                label for="provider_params" { "Parameters, as JSON: formats, host, quirks, capabilities, custom_headers" }
                textarea #provider_params name="provider_params" data-kind="json" rows=(params.lines().count().clamp(2, 14)) spellcheck="false" { (params) }
                @if visit.read_only().is_none() {
                    div.actions { button type="submit" { @if is_new { "Add the provider" } @else { "Save" } } }
                }
                (outcome())
            }
        }
    }
}

fn kinds(kind: &str) -> Markup {
    let is_known = kind.is_empty() || KINDS.iter().any(|(name, _)| *name == kind);
    html! {
        (options(KINDS, kind))
        @if is_known { (nothing()) } @else { option value=(kind) selected { (kind) } }
    }
}

fn mapping(mapping: &Value) -> Markup {
    let pair = |from: &str, to: &str| {
        html! {
            div.mapping data-pair {
                input.mono-input aria-label="Name that clients send" value=(from) placeholder="gpt-4o" spellcheck="false";
                input.mono-input aria-label="Name at the provider" value=(to) placeholder="the same" spellcheck="false";
                button.quiet type="button" data-remove-pair aria-label="Remove this model" { "×" }
            }
        }
    };
    html! {
        div role="group" aria-labelledby="mapping-label" data-mapping data-kind="mapping" data-name="model_mapping" {
            @for (from, to) in mapping.as_object().into_iter().flatten() { (pair(from, to.as_str().unwrap_or_default())) }
        }
        template #pair { (pair("", "")) }
        button.quiet type="button" data-add-pair { "Add a model" }
    }
}

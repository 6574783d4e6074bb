//! The form of a provider.

use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::config::vendors::VENDORS;
use crate::control_plane::ui::forms::Row;
use crate::control_plane::ui::html::{framed, nothing, options};
use crate::control_plane::ui::visit::{Visit, number, text};

const KINDS: &[(&str, &str)] =
    &[("openai", "openai"), ("anthropic", "anthropic"), ("responses", "responses"), ("azure", "azure")];

/// Members of `provider_params` that have fields of their own: path, title, kind of the field.
const LIMITS: &[(&str, &str, &str)] = &[
    ("limits.max_concurrency", "Requests at one time", "number"),
    ("limits.requests_per_minute", "Requests per minute", "number"),
    ("limits.tokens_per_minute", "Tokens per minute", "number"),
];
const RETRIES: &[(&str, &str, &str)] = &[
    ("retries.max_attempts", "Attempts of one request", "number"),
    ("retries.max_wait", "Longest wait, in seconds", "decimal"),
];

/// Writes the page with the form of a new provider.
pub(crate) fn new(visit: &Visit<'_>) -> Markup {
    let body = html! {
        p { "Choose a vendor to fill in its address, or fill in your own." }
        (form(visit, &Value::Null))
    };
    framed(visit, "/providers", "Add a provider", body)
}

/// Returns the form of a new provider, or of one with its values.
pub(super) fn form(visit: &Visit<'_>, provider: &Value) -> Markup {
    let row = Row { kind: "/providers", value: provider };
    let is_new = row.is_new();
    let then = if is_new { "/ui" } else { "reload" };
    let is_read_only = visit.read_only().is_some();
    let params = others(&provider["provider_params"]);
    html! {
        form.panel.form data-method=(row.method()) data-path=(row.path()) data-version=[row.version()] data-then=(then) {
            fieldset.plain disabled[is_read_only] {
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
                (own_members(&provider["provider_params"]))
                label for="provider_params" { "Other parameters, as JSON: formats, host, quirks, capabilities, timeouts, custom_headers" }
                textarea #provider_params name="provider_params" data-kind="json" rows=(rows(&params)) spellcheck="false" { (params) }
                (row.submit(is_read_only, "Add the provider"))
            }
        }
    }
}

/// The fields of limits and retries, which are folded away as long as none is set.
fn own_members(params: &Value) -> Markup {
    let models = match &params["retries"]["models"] {
        Value::Object(map) if !map.is_empty() => serde_json::to_string_pretty(map).unwrap_or_default(),
        _ => String::new(),
    };
    let field = |(path, title, kind): &(&str, &str, &str)| {
        let id = path.replace('.', "-");
        let value = match params.pointer(&format!("/{}", path.replace('.', "/"))) {
            None | Some(Value::Null) => String::new(),
            Some(value) => value.to_string(),
        };
        html! {
            div {
                label for=(id) { (title) }
                input id=(id) data-member={ "provider_params." (path) } data-kind=(kind) inputmode="decimal" autocomplete="off"
                    value=(value) placeholder="not set";
            }
        }
    };
    let is_set = |name: &str| params[name].as_object().is_some_and(|members| !members.is_empty());
    html! {
        details.fold open[is_set("limits")] {
            summary { "Limits: what it may be sent" }
            div.two { @for limit in LIMITS { (field(limit)) } }
            p.hint { "Requests beyond them go to the next provider, or wait for room." }
        }
        details.fold open[is_set("retries")] {
            summary { "Retries: how often it is tried again" }
            div.two { @for retry in RETRIES { (field(retry)) } }
            label for="retries-models" { "Of single models, as JSON" }
            textarea #retries-models data-member="provider_params.retries.models" data-kind="json" rows=(rows(&models))
                spellcheck="false" placeholder="{\"batch-*\": {\"max_wait\": 30}}" { (models) }
        }
    }
}

/// Returns the JSON of the parameters that have no fields of their own.
fn others(params: &Value) -> String {
    let own = |name: &str| LIMITS.iter().chain(RETRIES).any(|(path, ..)| path.split('.').next() == Some(name));
    let others: Map<String, Value> = params
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !own(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if others.is_empty() { String::new() } else { serde_json::to_string_pretty(&others).unwrap_or_default() }
}

fn rows(text: &str) -> usize {
    text.lines().count().clamp(2, 14)
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
            div.mapping data-row {
                input.mono-input aria-label="Name that clients send" value=(from) placeholder="gpt-4o" spellcheck="false";
                input.mono-input aria-label="Name at the provider" value=(to) placeholder="the same" spellcheck="false";
                button.quiet type="button" data-remove-row aria-label="Remove this model" { "×" }
            }
        }
    };
    html! {
        div {
            div role="group" aria-labelledby="mapping-label" data-rows data-kind="mapping" data-name="model_mapping" {
                @for (from, to) in mapping.as_object().into_iter().flatten() { (pair(from, to.as_str().unwrap_or_default())) }
            }
            template { (pair("", "")) }
            button.quiet type="button" data-add-row { "Add a model" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parameters_are_shown_once() {
        let params = json!({ "host": "vllm", "limits": { "max_concurrency": 8 }, "retries": { "max_wait": 1.5 } });
        assert_eq!(others(&params), "{\n  \"host\": \"vllm\"\n}");
        let fields = own_members(&params).into_string();
        assert!(fields.contains("value=\"8\"") && fields.contains("value=\"1.5\""), "{fields}");
        assert_eq!(others(&json!({ "limits": {} })), "");
    }
}

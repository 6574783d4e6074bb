//! The form of a virtual model.

use maud::{Markup, html};
use serde_json::{Map, Value};

use crate::control_plane::ui::forms::Row;
use crate::control_plane::ui::html::{framed, options as options_of};
use crate::control_plane::ui::visit::{Visit, list, text};

/// The fields of a member: name, title, placeholder, whether it is a number.
const CELLS: &[(&str, &str, &str, bool)] = &[
    ("model", "Model", "gpt-5", false),
    ("provider", "Only at the provider", "any", false),
    ("weight", "Weight", "1", true),
    ("priority", "Tier", "0", true),
    ("context_window", "Window, tokens", "as known", true),
];

/// The choices of `options.hedge`, as JSON.
const HEDGE: &[(&str, &str)] = &[("", "as the key says"), ("{}", "yes"), ("false", "no")];

/// The fields of `options.hedge`: name, title, placeholder, kind.
const HEDGE_FIELDS: &[(&str, &str, &str, &str)] = &[
    ("percent", "At most, per cent of requests", "2", "decimal"),
    ("after_ms", "Streams: after, ms", "as measured", "number"),
    ("whole_after_ms", "Whole answers: after, ms", "as measured", "number"),
];

/// The choices of `options.rescue`.
const RESCUE: &[(&str, &str)] = &[
    ("", "as RESCUE_STREAMS says"),
    ("off", "no: the client gets an error"),
    ("prompt", "yes: the next one is asked to go on"),
    ("prefill", "yes: the next one begins with what was sent"),
];

/// The options that have fields of their own.
const OWN_FIELDS: &[&str] = &["fallback_on", "hedge", "rescue"];

const FALLBACKS: &[(&str, &str)] = &[
    ("context_length", "The request is too long: on to members with a longer window"),
    ("content_filter", "A content filter refused it: on to the next member"),
];

/// Writes the page with the form of a new virtual model.
pub(crate) async fn new(visit: &Visit<'_>) -> Markup {
    let body = html! {
        p { "Requests are shared within a tier by weight. The next tier is used when no member of the tiers before is left." }
        (form(visit, &Value::Null))
    };
    framed(visit, "/models", "Add a virtual model", body)
}

/// Returns the form of a new virtual model, or of one with its values.
pub(super) fn form(visit: &Visit<'_>, model: &Value) -> Markup {
    let row = Row { kind: "/models", value: model };
    let then = if row.is_new() { "/ui/models/{id}" } else { "reload" };
    let is_read_only = visit.read_only().is_some();
    let overrides = json(&model["overrides"]);
    let (fallbacks, options) = fallbacks(&model["options"]);
    html! {
        form.panel.form.broad data-method=(row.method()) data-path=(row.path()) data-version=[row.version()] data-then=(then) {
            fieldset.plain disabled[is_read_only] {
                label for="name" { "Name that clients ask for" }
                input #name name="name" data-kind="text" required autocomplete="off" spellcheck="false" value=(text(model, "name")) placeholder="smart";
                p.label #members-label { "Members" }
                (members(list(model, "members")))
                p.label #fallbacks-label { "Failures of the request itself that lead to another member" }
                div role="group" aria-labelledby="fallbacks-label" data-kind="choices" data-member="options.fallback_on" {
                    @for (name, title) in FALLBACKS {
                        label.check { input type="checkbox" value=(name) checked[fallbacks.contains(name)]; (title) }
                    }
                }
                div.two { (hedging(&model["options"])) }
                label for="rescue" { "A stream that breaks off: does another member go on with it?" }
                select #rescue data-kind="text" data-member="options.rescue" { (options_of(RESCUE, rescue(&model["options"]))) }
                label for="overrides" { "Other members for single keys, as JSON" }
                textarea #overrides name="overrides" data-kind="json" rows=(rows(&overrides)) spellcheck="false" placeholder="{\"team-a\": [\"gpt-5-mini\"]}" { (overrides) }
                label for="options" { "Other options, as JSON" }
                textarea #options name="options" data-kind="json" rows=(rows(&options)) spellcheck="false" { (options) }
                (row.submit(is_read_only, "Add the virtual model"))
            }
        }
    }
}

/// Returns the reasons that are chosen, and the JSON of the other options.
fn fallbacks(options: &Value) -> (Vec<&str>, String) {
    let Some(object) = options.as_object() else { return (vec!["context_length"], String::new()) };
    let chosen = match object.get("fallback_on").and_then(Value::as_array) {
        Some(list) => list.iter().filter_map(Value::as_str).collect(),
        None => vec!["context_length"],
    };
    let others: Map<String, Value> = object
        .iter()
        .filter(|(name, _)| !OWN_FIELDS.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    (chosen, json(&Value::Object(others)))
}

/// Returns the fields for a second attempt beside a slow one.
fn hedging(options: &Value) -> Markup {
    let hedge = &options["hedge"];
    let chosen = match hedge {
        Value::Null => "",
        Value::Bool(false) => "false",
        _ => "{}",
    };
    let shown = |name: &str| hedge[name].as_number().map(ToString::to_string).unwrap_or_default();
    html! {
        div {
            label for="hedge" { "A slow answer: is the next member asked as well?" }
            select #hedge data-kind="json" data-member="options.hedge" { (options_of(HEDGE, chosen)) }
        }
        @for (name, title, placeholder, kind) in HEDGE_FIELDS {
            div {
                label for={ "hedge-" (name) } { (title) }
                input id={ "hedge-" (name) } data-kind=(kind) data-member={ "options.hedge." (name) } inputmode="decimal"
                    value=(shown(name)) placeholder=(placeholder);
            }
        }
    }
}

/// Returns the choice of [`RESCUE`], of which some have two words.
fn rescue(options: &Value) -> &str {
    match options["rescue"].as_str().unwrap_or_default() {
        "false" => "off",
        "true" => "prompt",
        word => word,
    }
}

/// Returns the JSON of an object over several lines; empty for one without members.
fn json(value: &Value) -> String {
    match value {
        Value::Object(map) if !map.is_empty() => serde_json::to_string_pretty(value).unwrap_or_default(),
        _ => String::new(),
    }
}

fn rows(text: &str) -> usize {
    text.lines().count().clamp(2, 14)
}

fn members(members: &[Value]) -> Markup {
    html! {
        div {
            div.members.head aria-hidden="true" { @for (_, title, ..) in CELLS { span { (title) } } }
            div role="group" aria-labelledby="members-label" data-rows data-kind="members" data-name="members" {
                @for one in members { (member(one)) }
                @if members.is_empty() { (member(&Value::Null)) }
            }
            template { (member(&Value::Null)) }
            button.quiet type="button" data-add-row { "Add a member" }
        }
    }
}

fn member(member: &Value) -> Markup {
    let cell = |name: &str| match (&member[name], member) {
        (_, Value::String(model)) if name == "model" => model.clone(),
        (Value::String(text), _) => text.clone(),
        (Value::Number(number), _) => number.to_string(),
        _ => String::new(),
    };
    let is_cell = |name: &String| CELLS.iter().any(|(known, ..)| known == name);
    let rest: Map<String, Value> = member
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !is_cell(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    html! {
        div.members data-row data-rest=[(!rest.is_empty()).then(|| Value::Object(rest).to_string())] {
            @for (name, title, placeholder, is_number) in CELLS {
                input.mono-input aria-label=(title) data-cell=(name) value=(cell(name)) placeholder=(placeholder)
                    spellcheck="false" inputmode=[is_number.then_some("numeric")] required[*name == "model"];
            }
            button.quiet type="button" data-remove-row aria-label="Remove this member" { "×" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_field_is_kept() {
        let row = member(&json!({ "model": "a", "weight": 2, "later": true })).into_string();
        assert!(row.contains("data-rest=\"{&quot;later&quot;:true}\""), "{row}");
        assert!(row.contains("value=\"2\"") && row.contains("value=\"a\""), "{row}");
        assert!(member(&json!("b")).into_string().contains("value=\"b\""));
        let options = json!({ "fallback_on": ["content_filter"], "later": 1 });
        let (chosen, others) = fallbacks(&options);
        assert_eq!((chosen, others.as_str()), (vec!["content_filter"], "{\n  \"later\": 1\n}"));
        assert_eq!(fallbacks(&json!({})).0, ["context_length"], "the default");
        let options = json!({ "hedge": { "percent": 0.5 }, "rescue": "prefill" });
        assert_eq!(fallbacks(&options).1, "", "they have fields");
        let fields = hedging(&options).into_string();
        assert!(fields.contains("value=\"0.5\"") && fields.contains("value=\"{}\" selected"), "{fields}");
        assert!(hedging(&json!({ "hedge": false })).into_string().contains("value=\"false\" selected"));
    }
}

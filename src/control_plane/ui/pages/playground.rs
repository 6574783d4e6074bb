//! A request as a client sends it, on the path that clients take.

use maud::{Markup, html};

use super::cells;
use crate::control_plane::ui::assets::address;
use crate::control_plane::ui::html::{framed, options};
use crate::control_plane::ui::visit::Visit;

const FORMATS: &[(&str, &str)] = &[
    ("chat", "OpenAI Chat Completions"),
    ("messages", "Anthropic Messages"),
    ("responses", "OpenAI Responses"),
    ("all", "All three, side by side"),
];

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let models = cells::known_models(visit).await;
    let body = html! {
        p { "The request goes to " code { (visit.address) "/v1" } " with the key of an application, as a client sends it: it is logged, limited and paid for." }
        (form(&models, visit.read_only().is_none()))
        div #answers .answers {}
        template #answer-panel { (panel()) }
        h2 { "As code" }
        details.panel { summary { "As curl" } (with_id("as-curl")) }
        details.panel { summary { "As Python" } (with_id("as-python")) }
        details.panel { summary { "As JavaScript" } (with_id("as-node")) }
        script type="module" src=(address("playground.js")) {}
    };
    framed(visit, "/playground", "Playground", body)
}

fn form(models: &[String], can_create: bool) -> Markup {
    html! {
        form #playground .panel.form.broad {
            div.two {
                div {
                    label for="format" { "Format" }
                    select #format name="format" { (options(FORMATS, "chat")) }
                }
                div {
                    label for="key" { "Key of an application" }
                    input #key name="key" type="password" autocomplete="off" required;
                    p.hint { @if can_create { a href="/ui/keys/new" { "Create one" } " if you have none. " } "It is not kept." }
                }
                div {
                    label for="model" { "Model" }
                    input #model name="model" list="models" required autocomplete="off" spellcheck="false" value=(models.first().map_or("", String::as_str));
                    datalist #models { @for model in models { option value=(model) {} } }
                }
                div {
                    label for="model-2" { "Second model, beside it" }
                    input #model-2 name="model-2" list="models" autocomplete="off" spellcheck="false" placeholder="none";
                }
            }
            label for="system" { "System prompt" }
            textarea #system name="system" rows="2" {}
            label for="prompt" { "Prompt" }
            textarea #prompt name="prompt" rows="4" required { "Say hello in one sentence." }
            details.fold {
                summary { "Pictures, tools and other fields" }
                label for="pictures" { "Pictures" }
                input #pictures name="pictures" type="file" accept="image/png,image/jpeg,image/webp,image/gif" multiple;
                p #pictures-chosen .hint {}
                label for="tools" { "Tools, as JSON: a list of name, description and parameters in every format" }
                textarea #tools name="tools" rows="4" spellcheck="false" {}
                div.actions { button #example-tool .quiet type="button" { "Fill in an example" } }
                label for="more" { "Other fields of the format, as JSON" }
                textarea #more name="more" rows="2" spellcheck="false" placeholder="{\"temperature\": 0.2}" {}
            }
            div.two {
                div { label for="max_tokens" { "Most tokens" } input #max_tokens name="max_tokens" inputmode="numeric" value="256"; }
                div { p.label { "Stream" } label.check { input name="stream" type="checkbox" checked; "as it comes" } }
            }
            p #playground-error .error role="alert" hidden {}
            div.actions {
                button type="submit" { "Send" }
                button #stop .quiet type="button" hidden { "Stop" }
            }
        }
    }
}

/// Where the answer of one model is shown.
fn panel() -> Markup {
    html! {
        section.panel {
            h2.first data-part="title" {}
            p.error data-part="error" role="alert" hidden {}
            p.notice data-part="dropped" hidden {}
            p.notice data-part="repaired" hidden {}
            blockquote.thoughts data-part="thoughts" hidden {}
            div.answer data-part="text" aria-live="polite" {}
            pre.mono data-part="calls" aria-label="Tool calls" hidden {}
            pre.hint data-part="facts" {}
            details { summary { "Events as they came" } pre.scroll data-part="events" tabindex="0" {} }
        }
    }
}

/// Returns a text to copy that the script writes.
fn with_id(id: &str) -> Markup {
    html! {
        div.code {
            pre tabindex="0" { code id=(id) {} }
            button.quiet type="button" data-copy { "Copy" }
        }
    }
}

//! A request as a client sends it, on the path that clients take.

use maud::{Markup, html};

use crate::control_plane::ui::assets::address;
use crate::control_plane::ui::html::{framed, options};
use crate::control_plane::ui::visit::{Visit, list};

const FORMATS: &[(&str, &str)] =
    &[("chat", "OpenAI Chat Completions"), ("messages", "Anthropic Messages"), ("responses", "OpenAI Responses")];

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let providers = visit.get("/providers", &[("size", "200")]).await.unwrap_or_default();
    let mappings = list(&providers, "providers").iter().filter_map(|provider| provider["model_mapping"].as_object());
    let mut models: Vec<&str> = mappings.flat_map(|mapping| mapping.keys()).map(String::as_str).collect();
    models.retain(|model| !model.contains('*'));
    models.sort_unstable();
    models.dedup();
    let body = html! {
        p { "The request goes to " code { (visit.address) "/v1" } " with the key of an application, as a client sends it: it is logged, limited and paid for." }
        div.columns {
            form #playground .panel.form {
                label for="format" { "Format" }
                select #format name="format" { (options(FORMATS, "chat")) }
                label for="model" { "Model" }
                input #model name="model" list="models" required autocomplete="off" spellcheck="false" value=(models.first().copied().unwrap_or_default());
                datalist #models { @for model in &models { option value=(model) {} } }
                label for="key" { "Key of an application" }
                input #key name="key" type="password" autocomplete="off" required;
                p.hint { a href="/ui/keys/new" { "Create one" } " if you have none. It is not kept." }
                label for="system" { "System prompt" }
                textarea #system name="system" rows="2" {}
                label for="prompt" { "Prompt" }
                textarea #prompt name="prompt" rows="4" required { "Say hello in one sentence." }
                div.two {
                    div { label for="max_tokens" { "Most tokens" } input #max_tokens name="max_tokens" inputmode="numeric" value="256"; }
                    div { p.label { "Stream" } label.check { input name="stream" type="checkbox" checked; "as it comes" } }
                }
                div.actions {
                    button type="submit" { "Send" }
                    button #stop .quiet type="button" hidden { "Stop" }
                }
            }
            div {
                section.panel aria-labelledby="answer-title" {
                    h2 #answer-title .first { "Answer" }
                    p #playground-error .error role="alert" hidden {}
                    div #answer .answer aria-live="polite" {}
                    pre #facts .hint {}
                    details { summary { "Events as they came" } pre #raw .scroll tabindex="0" {} }
                }
                details.panel { summary { "As curl" } (with_id("as-curl")) }
                details.panel { summary { "As Python" } (with_id("as-python")) }
            }
        }
        script type="module" src=(address("playground.js")) {}
    };
    framed(visit, "/playground", "Playground", body)
}

/// A text to copy that the script writes.
fn with_id(id: &str) -> Markup {
    html! {
        div.code {
            pre tabindex="0" { code id=(id) {} }
            button.quiet type="button" data-copy { "Copy" }
        }
    }
}

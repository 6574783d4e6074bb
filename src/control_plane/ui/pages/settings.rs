//! The settings of the process with their values and where each comes from.

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::html::{failure, framed};
use crate::control_plane::ui::visit::{Visit, list, text};

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let found = visit.get("/config/settings", &[]).await;
    let body = html! {
        p { "Settings are read when the gateway starts: from the command line, the environment, " code { ".env" } " or the "
            "configuration file. They are changed there. Secrets are shown as " code { "***" } "." }
        (match found { Ok(found) => tables(&found), Err(message) => failure(&message) })
    };
    framed(visit, "/settings", "Settings", body)
}

fn tables(found: &Value) -> Markup {
    let settings = list(found, "settings");
    let given: Vec<_> = settings.iter().filter(|setting| !setting["source"].is_null()).collect();
    let defaults: Vec<_> = settings.iter().filter(|setting| setting["source"].is_null()).collect();
    html! {
        h2 { "Set" }
        @if given.is_empty() { p { "Every setting has its default." } } @else { (table(&given)) }
        h2 { "Defaults" }
        (table(&defaults))
    }
}

fn table(settings: &[&Value]) -> Markup {
    html! {
        div.wide { table {
            thead { tr { th scope="col" { "Name" } th scope="col" { "Value" } th scope="col" { "From" } th scope="col" { "What it is for" } } }
            tbody { @for setting in settings { tr {
                th scope="row" { code { (text(setting, "name")) } }
                td.break { code { @if text(setting, "value").is_empty() { "–" } @else { (text(setting, "value")) } } }
                td { (setting["source"].as_str().unwrap_or("default")) }
                td { (text(setting, "help")) }
            } } }
        } }
    }
}

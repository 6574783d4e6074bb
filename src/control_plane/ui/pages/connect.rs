//! The settings of clients for this gateway, as `llm-proxy connect` prints them.

use maud::{Markup, html};

use super::cells;
use crate::config::clients::CLIENTS;
use crate::control_plane::ui::html::{code, framed};
use crate::control_plane::ui::visit::Visit;

/// What stands for a key in settings.
const KEY: &str = "YOUR_KEY";
/// What stands for a model where none is known.
const MODEL: &str = "gpt-4o-mini";

pub(super) async fn page(visit: &Visit<'_>) -> Markup {
    let (chosen, model, url) = (visit.query("client"), visit.query("model"), visit.query("url"));
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
    let models = cells::known_models(visit).await;
    let model = or(model, models.first().map_or(MODEL, String::as_str));
    let url = or(url, &visit.address);
    let client = CLIENTS.iter().find(|client| client.name == chosen).unwrap_or(&CLIENTS[0]);
    let body = html! {
        form.bar method="get" action="/ui/connect" {
            label { "Client" select name="client" {
                @for choice in CLIENTS { option value=(choice.name) selected[choice.name == client.name] { (choice.title) } }
            } }
            label { "Model" input name="model" value=(model) list="models" autocomplete="off" spellcheck="false"; }
            datalist #models { @for model in &models { option value=(model) {} } }
            label { "Address of the gateway" input name="url" value=(url) size="32" spellcheck="false"; }
            button.quiet type="submit" { "Show" }
        }
        h2 { (client.title) }
        p { "Speaks " (client.speaks) ". " (client.place) ":" }
        (code(&client.settings(url.trim_end_matches('/'), KEY, &model)))
        @if !client.note.is_empty() { p.hint { (client.note) } }
        p.hint { code { (KEY) } " stands for the key of an application"
            @if visit.read_only().is_none() { "; " a href="/ui/keys/new" { "create one" } } ". With "
            code { "ADMIN_ADDR" } " set, the address of the gateway is the one on " code { "PORT" } ", not that of this page. "
            "On the command line: " code { "llm-proxy connect " (client.name) } }
    };
    framed(visit, "/connect", "Connect a client", body)
}

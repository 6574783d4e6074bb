//! The pages, one file each.

mod audit;
mod budgets;
mod cells;
mod connect;
mod explain;
mod groups;
mod keys;
mod logs;
mod models;
mod overview;
mod playground;
mod prices;
mod providers;
mod settings;
mod spend;

use maud::{Markup, html};

use super::html::framed;
use super::visit::Visit;

/// Returns the status and the document of the page that is visited.
pub(super) async fn serve(visit: &Visit<'_>) -> (u16, Markup) {
    let segments = visit.segments();
    if let [kind, id] = segments.as_slice()
        && is_id(id)
    {
        return row(visit, kind, id).await;
    }
    let page = match segments.as_slice() {
        [] => overview::page(visit).await,
        ["providers"] => providers::all(visit).await,
        ["providers", "new"] => providers::new(visit),
        ["models"] => models::all(visit).await,
        ["models", "new"] => models::new(visit).await,
        ["explain"] => explain::page(visit).await,
        ["keys"] => keys::all(visit).await,
        ["keys", "new"] => keys::new(visit).await,
        ["groups"] => groups::all(visit).await,
        ["groups", "new"] => groups::new(visit).await,
        ["budgets"] => budgets::all(visit).await,
        ["budgets", "new"] => budgets::new(visit).await,
        ["logs"] => logs::all(visit).await,
        ["spend"] => spend::page(visit).await,
        ["playground"] => playground::page(visit).await,
        ["connect"] => connect::page(visit).await,
        ["prices"] => prices::page(visit).await,
        ["prices", "edit"] => prices::edit(visit).await,
        ["settings"] => settings::page(visit).await,
        ["audit"] => audit::page(visit).await,
        _ => return (404, missing(visit)),
    };
    (200, page)
}

/// Returns the page of one row.
async fn row(visit: &Visit<'_>, kind: &str, id: &str) -> (u16, Markup) {
    match kind {
        "providers" => providers::one(visit, id).await,
        "models" => models::one(visit, id).await,
        "keys" => keys::one(visit, id).await,
        "groups" => groups::one(visit, id).await,
        "budgets" => budgets::one(visit, id).await,
        "logs" => logs::one(visit, id).await,
        _ => (404, missing(visit)),
    }
}

/// Returns whether it is a number, so that no other path of the admin interface is read.
fn is_id(segment: &str) -> bool {
    segment.bytes().all(|byte| byte.is_ascii_digit())
}

fn missing(visit: &Visit<'_>) -> Markup {
    framed(visit, "?", "Not found", html! { p { "There is no such page. " a href="/ui" { "To the overview" } "." } })
}

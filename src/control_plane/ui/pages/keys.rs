//! The keys of applications: their list, and a form for one.

use maud::{Markup, html};
use serde_json::Value;

use super::cells::{limit, models};
use super::{budgets, groups};
use crate::control_plane::ui::forms::Row;
use crate::control_plane::ui::html::{
    code, empty, failure, framed, grouped, minute, moment, new_link, outcome, pages, refused, state,
};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let (search, group, page) = (visit.query("search"), visit.query("group"), visit.query("page"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let query = [("search", search.as_str()), ("group", &group), ("page", &page), ("size", "50")];
    let found = visit.get("/credentials", &query).await;
    let body = html! {
        form.bar method="get" action="/ui/keys" role="search" {
            label { "Name" input type="search" name="search" value=(search); }
            label { "Group" input name="group" value=(group); }
            button.quiet type="submit" { "Search" }
            span.grow {}
            @if visit.read_only().is_none() { a.button href="/ui/keys/new" { "Create a key" } }
        }
        (match found { Ok(found) => table(visit, &found, &search, &group), Err(message) => failure(&message) })
    };
    framed(visit, "/keys", "Keys", body)
}

fn table(visit: &Visit<'_>, found: &Value, search: &str, group: &str) -> Markup {
    let keys = list(found, "credentials");
    if keys.is_empty() && search.is_empty() && group.is_empty() {
        return empty(html! {
            p { "Applications send a key with each request. Each key has a name, models that it may use, and limits." }
            (new_link(visit, "/ui/keys/new", "Create the first key"))
        });
    }
    if keys.is_empty() {
        return empty(html! { "No key fits." });
    }
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Group" } th scope="col" { "Models" }
                th.number scope="col" { "Requests/s" } th.number scope="col" { "Tokens/min" } th.number scope="col" { "At once" }
                th scope="col" { "Expires (UTC)" } th scope="col" { "Requests" }
            } }
            tbody { @for key in keys { (row(key)) } }
        } }
        p.hint { (grouped(number(found, "total_count"))) " in all" }
        (pages("/ui/keys", &encode(&[("search", search), ("group", group)]), number(found, "current_page"), number(found, "total_pages")))
    }
}

fn row(key: &Value) -> Markup {
    let name = text(key, "name");
    html! {
        tr {
            th.break scope="row" { a href={ "/ui/keys/" (number(key, "id")) } { (name) } }
            td { (state(key["is_enabled"] == true, "enabled", "disabled")) }
            td.break { (key["group_name"].as_str().unwrap_or("–")) }
            td.break { (models(key)) }
            td.number { (limit(key, "rate_limit")) }
            td.number { (limit(key, "tokens_per_minute")) }
            td.number { (limit(key, "max_concurrency")) }
            td.time { (minute(text(key, "expires_at"))) }
            td { a href={ "/ui/logs?" (encode(&[("credential_name", name)])) } { "log" } }
        }
    }
}

pub(super) async fn new(visit: &Visit<'_>) -> Markup {
    let body = html! {
        (form(visit, &Value::Null).await)
        (new_key())
    };
    framed(visit, "/keys", "Create a key", body)
}

pub(super) async fn one(visit: &Visit<'_>, id: &str) -> (u16, Markup) {
    let key = match visit.get(&format!("/credentials/{id}"), &[]).await {
        Ok(key) => key,
        Err(why) => return refused(visit, "/keys", "Key", &why),
    };
    let name = text(&key, "name").to_owned();
    let row = Row { kind: "/credentials", value: &key };
    let body = html! {
        dl.facts.panel {
            dt { "State" } dd { (state(key["is_enabled"] == true, "enabled", "disabled")) }
            dt { "Hash of the key" } dd { code { (text(&key, "key_preview")) } }
            dt { "Former key valid until (UTC)" } dd { (moment(text(&key, "previous_key_until"))) }
            dt { "Created (UTC)" } dd { (moment(text(&key, "created_at"))) }
            dt { "Changed (UTC)" } dd { (moment(text(&key, "updated_at"))) }
            dt { "Requests" } dd { a href={ "/ui/logs?" (encode(&[("credential_name", &name)])) } { "log" } " · "
                a href={ "/ui/spend?" (encode(&[("credential_name", &name), ("by", "day")])) } { "spend by day" } }
        }
        (budgets::of(visit, "credential", &name).await)
        h2 { "Settings" }
        (form(visit, &key).await)
        @if visit.read_only().is_none() {
            (rotate(&key))
            (row.dangers(&format!("Remove the key {name}? Applications that send it get errors.")))
        }
    };
    (200, framed(visit, "/keys", &name, body))
}

/// Returns the form of a new key, or of one with its values.
async fn form(visit: &Visit<'_>, key: &Value) -> Markup {
    let row = Row { kind: "/credentials", value: key };
    let then = if row.is_new() { "key" } else { "reload" };
    let expires = text(key, "expires_at").get(..16).unwrap_or_default();
    let is_read_only = visit.read_only().is_some();
    html! {
        form.panel.form data-method=(row.method()) data-path=(row.path()) data-version=[row.version()] data-then=(then) {
            fieldset.plain disabled[is_read_only] {
                label for="name" { "Name, which logs and metrics show" }
                input #name name="name" data-kind="text" required autocomplete="off" value=(text(key, "name")) placeholder="team-a";
                (groups::group_field(visit, &row, "group_name", "Group").await)
                (row.models_and_limits())
                label for="expires_at" { "Expires, in UTC; empty is never" }
                input #expires_at type="datetime-local" name="expires_at" data-kind="time" data-empty=[row.empty()] value=(expires);
                (row.submit(is_read_only, "Create the key"))
            }
        }
    }
}

fn rotate(key: &Value) -> Markup {
    html! {
        h2 { "Rotate" }
        form.panel data-method="POST" data-path={ "/admin/v1/credentials/" (number(key, "id")) "/rotate" } data-version=(number(key, "row_version")) data-then="key" {
            p.hint { "Makes a new key. The present one stays valid for a while, so that applications can be changed one by one." }
            label for="overlap_secs" { "Seconds for which the present key stays valid" }
            input #overlap_secs name="overlap_secs" data-kind="number" inputmode="numeric" value="86400";
            div.actions { button.quiet type="submit" { "Make a new key" } }
            (outcome())
        }
        (new_key())
    }
}

/// Where a new key is shown, once.
fn new_key() -> Markup {
    html! {
        div #new-key .secret role="status" hidden {
            p { strong { "This is the key. It is not shown again: " } "copy it now." }
            (code(""))
            div.actions {
                a.button href="/ui/playground" data-use-key { "Try it in the playground" }
                a.button.quiet href="/ui/connect" { "Connect a client" }
                a.button.quiet href="/ui/keys" { "To the keys" }
            }
        }
    }
}

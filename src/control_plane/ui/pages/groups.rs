//! Groups of keys: their list, and a form for one.

use maud::{Markup, html};
use serde_json::Value;

use super::budgets;
use super::cells::{limit, models};
use crate::control_plane::ui::forms::{Row, names, search_bar};
use crate::control_plane::ui::html::{empty, failure, framed, grouped, moment, new_link, pages, refused, state};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

/// Names that a field completes at most.
const SUGGESTED: &str = "200";

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let (search, page) = (visit.query("search"), visit.query("page"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let found = visit.get("/groups", &[("search", &search), ("page", &page), ("size", "50")]).await;
    let new = visit.read_only().is_none().then_some(("/ui/groups/new", "Create a group"));
    let body = html! {
        (search_bar("/ui/groups", &search, new))
        (match found { Ok(found) => table(visit, &found, &search), Err(message) => failure(&message) })
    };
    framed(visit, "/groups", "Groups", body)
}

fn table(visit: &Visit<'_>, found: &Value, search: &str) -> Markup {
    let groups = list(found, "groups");
    if groups.is_empty() && search.is_empty() {
        return empty(html! {
            p { "Keys of a team belong to a group, and groups to other groups. They share its limits and its budgets, "
                "and may use the models that are allowed on every level." }
            (new_link(visit, "/ui/groups/new", "Create the first group"))
        });
    }
    if groups.is_empty() {
        return empty(html! { "No group has a name with “" (search) "”." });
    }
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Belongs to" } th scope="col" { "Models" }
                th.number scope="col" { "Requests/s" } th.number scope="col" { "Tokens/min" } th.number scope="col" { "At once" }
                th scope="col" { "Keys" }
            } }
            tbody { @for group in groups { (row(group)) } }
        } }
        p.hint { (grouped(number(found, "total_count"))) " in all" }
        (pages("/ui/groups", &encode(&[("search", search)]), number(found, "current_page"), number(found, "total_pages")))
    }
}

fn row(group: &Value) -> Markup {
    let name = text(group, "name");
    html! {
        tr {
            th.break scope="row" { a href={ "/ui/groups/" (number(group, "id")) } { (name) } }
            td { (state(group["is_enabled"] == true, "enabled", "disabled")) }
            td.break { (group["parent"].as_str().unwrap_or("–")) }
            td.break { (models(group)) }
            td.number { (limit(group, "rate_limit")) }
            td.number { (limit(group, "tokens_per_minute")) }
            td.number { (limit(group, "max_concurrency")) }
            td { a href={ "/ui/keys?" (encode(&[("group", name)])) } { "keys" } }
        }
    }
}

pub(super) async fn new(visit: &Visit<'_>) -> Markup {
    let body = form(visit, &Value::Null).await;
    framed(visit, "/groups", "Create a group", body)
}

pub(super) async fn one(visit: &Visit<'_>, id: &str) -> (u16, Markup) {
    let group = match visit.get(&format!("/groups/{id}"), &[]).await {
        Ok(group) => group,
        Err(why) => return refused(visit, "/groups", "Group", &why),
    };
    let name = text(&group, "name").to_owned();
    let row = Row { kind: "/groups", value: &group };
    let body = html! {
        dl.facts.panel {
            dt { "State" } dd { (state(group["is_enabled"] == true, "enabled", "disabled")) }
            dt { "Created (UTC)" } dd { (moment(text(&group, "created_at"))) }
            dt { "Changed (UTC)" } dd { (moment(text(&group, "updated_at"))) }
            dt { "Keys" } dd { a href={ "/ui/keys?" (encode(&[("group", &name)])) } { "those of the group" } }
        }
        (budgets::of(visit, "group", &name).await)
        h2 { "Settings" }
        (form(visit, &group).await)
        @if visit.read_only().is_none() {
            (row.dangers(&format!("Remove the group {name}? A group that keys or groups belong to cannot be removed.")))
        }
    };
    (200, framed(visit, "/groups", &name, body))
}

/// Returns a field for the group that a key or group belongs to, which completes the names of
/// groups.
pub(super) async fn group_field(visit: &Visit<'_>, row: &Row<'_>, name: &str, title: &str) -> Markup {
    let groups = visit.get("/groups", &[("size", SUGGESTED)]).await.unwrap_or_default();
    html! {
        label for=(name) { (title) }
        input id=(name) name=(name) data-kind="text" data-empty=[row.empty()] list="groups" autocomplete="off"
            value=(text(row.value, name)) placeholder="none";
        (names("groups", list(&groups, "groups"), "name"))
    }
}

/// Returns the form of a new group, or of one with its values.
async fn form(visit: &Visit<'_>, group: &Value) -> Markup {
    let row = Row { kind: "/groups", value: group };
    let then = if row.is_new() { "/ui/groups/{id}" } else { "reload" };
    let is_read_only = visit.read_only().is_some();
    html! {
        form.panel.form data-method=(row.method()) data-path=(row.path()) data-version=[row.version()] data-then=(then) {
            fieldset.plain disabled[is_read_only] {
                @if row.is_new() {
                    label for="name" { "Name, which never changes" }
                    input #name name="name" data-kind="text" required autocomplete="off" placeholder="research";
                }
                (group_field(visit, &row, "parent", "Group that it belongs to").await)
                (row.models_and_limits())
                p.hint { "All keys in the group, and in the groups below it, share these limits." }
                (row.submit(is_read_only, "Create the group"))
            }
        }
    }
}

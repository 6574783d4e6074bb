//! Virtual models: their list, and one of them.

mod form;

use maud::{Markup, html};
use serde_json::Value;

use super::explain;
use crate::control_plane::ui::forms::{Row, search_bar};
use crate::control_plane::ui::html::{empty, failure, framed, grouped, moment, new_link, pages, refused, state};
use crate::control_plane::ui::visit::{Visit, encode, list, number, text};

pub(super) use form::new;

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let (search, page) = (visit.query("search"), visit.query("page"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let found = visit.get("/models", &[("search", &search), ("page", &page), ("size", "50")]).await;
    let new = visit.read_only().is_none().then_some(("/ui/models/new", "Add a virtual model"));
    let body = html! {
        (search_bar("/ui/models", &search, new))
        (match found { Ok(found) => table(visit, &found, &search), Err(message) => failure(&message) })
    };
    framed(visit, "/models", "Virtual models", body)
}

fn table(visit: &Visit<'_>, found: &Value, search: &str) -> Markup {
    let models = list(found, "models");
    if models.is_empty() && search.is_empty() {
        return empty(html! {
            p { "A virtual model is a name that clients ask for, with one or several models behind it: an alias, a choice by "
                "weights, or a model with others to fall back to." }
            (new_link(visit, "/ui/models/new", "Add the first virtual model"))
        });
    }
    if models.is_empty() {
        return empty(html! { "No virtual model has a name with “" (search) "”." });
    }
    html! {
        div.wide { table {
            thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Members, with their weights" } th scope="col" { "Requests" } } }
            tbody { @for model in models { (row(model)) } }
        } }
        p.hint { (grouped(number(found, "total_count"))) " in all" }
        (pages("/ui/models", &encode(&[("search", search)]), number(found, "current_page"), number(found, "total_pages")))
    }
}

fn row(model: &Value) -> Markup {
    let name = text(model, "name");
    html! {
        tr {
            th.break scope="row" { a href={ "/ui/models/" (number(model, "id")) } { (name) } }
            td { (state(model["is_enabled"] == true, "enabled", "disabled")) }
            td.break { (members(model)) }
            td { a href={ "/ui/logs?" (encode(&[("model", name)])) } { "log" } }
        }
    }
}

/// Returns the members tier by tier, such as `gpt-5 (3), claude-opus-4 (1); then gemini-2.5-pro`.
fn members(model: &Value) -> String {
    let all: Vec<Member> = list(model, "members").iter().map(Member::of).collect();
    let mut tiers: Vec<i64> = all.iter().map(|member| member.priority).collect();
    tiers.sort_unstable();
    tiers.dedup();
    let tier = |priority: &i64| {
        let of_tier: Vec<_> = all.iter().filter(|member| member.priority == *priority).collect();
        let named = |member: &&Member| match of_tier.len() {
            1 => member.model.to_owned(),
            _ => format!("{} ({})", member.model, member.weight),
        };
        of_tier.iter().map(named).collect::<Vec<_>>().join(", ")
    };
    tiers.iter().map(tier).collect::<Vec<_>>().join("; then ")
}

/// A member of the list, which may be no more than a name.
struct Member<'a> {
    model: &'a str,
    weight: i64,
    priority: i64,
}

impl Member<'_> {
    fn of(member: &Value) -> Member<'_> {
        match member {
            Value::String(model) => Member { model, weight: 1, priority: 0 },
            member => Member {
                model: text(member, "model"),
                weight: member["weight"].as_i64().unwrap_or(1),
                priority: number(member, "priority"),
            },
        }
    }
}

pub(super) async fn one(visit: &Visit<'_>, id: &str) -> (u16, Markup) {
    let model = match visit.get(&format!("/models/{id}"), &[]).await {
        Ok(model) => model,
        Err(why) => return refused(visit, "/models", "Virtual model", &why),
    };
    let name = text(&model, "name").to_owned();
    let row = Row { kind: "/models", value: &model };
    let body = html! {
        dl.facts.panel {
            dt { "State" } dd { (state(model["is_enabled"] == true, "enabled", "disabled")) }
            dt { "Members" } dd { (members(&model)) }
            dt { "Created (UTC)" } dd { (moment(text(&model, "created_at"))) }
            dt { "Changed (UTC)" } dd { (moment(text(&model, "updated_at"))) }
        }
        (explain::of(visit, &name).await)
        h2 { "Settings" }
        (form::form(visit, &model))
        @if visit.read_only().is_none() {
            (row.dangers(&format!("Remove the virtual model {name}? Requests for it then go to a model of that name, or to nobody.")))
        }
    };
    (200, framed(visit, "/models", &name, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn members_are_shown_by_tier() {
        let model = json!({ "members": [{ "model": "a", "weight": 3 }, "b", { "model": "c", "priority": 2 }] });
        assert_eq!(members(&model), "a (3), b (1); then c");
    }
}

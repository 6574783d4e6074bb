//! Budgets: their list with what they have come to, one of them, and those of a key, group or
//! provider.

mod form;
mod scope;

use maud::{Markup, html};
use serde_json::Value;

use crate::control_plane::ui::bar::Usage;
use crate::control_plane::ui::forms::Row;
use crate::control_plane::ui::html::{
    dollars, empty, failure, framed, grouped, minute, new_link, options, outcome, pages, refused, state,
};
use crate::control_plane::ui::visit::{Visit, decimal, encode, list, number, text};

use scope::SCOPES;

pub(super) use form::new;

const FILTER: &[(&str, &str)] =
    &[("", "all"), ("credential", "keys"), ("group", "groups"), ("tag", "tags"), ("provider", "providers")];

pub(super) async fn all(visit: &Visit<'_>) -> Markup {
    let (search, page, scope) = (visit.query("search"), visit.query("page"), visit.query("scope"));
    let page = if page.is_empty() { "1".to_owned() } else { page };
    let query = [("search", search.as_str()), ("scope", &scope), ("page", &page), ("size", "50")];
    let found = visit.get("/budgets", &query).await;
    let is_filtered = !search.is_empty() || !scope.is_empty();
    let body = html! {
        form.bar method="get" action="/ui/budgets" role="search" {
            label { "Name" input type="search" name="search" value=(search); }
            label { "Of" select name="scope" { (options(FILTER, &scope)) } }
            button.quiet type="submit" { "Search" }
            span.grow {}
            @if visit.read_only().is_none() { a.button href="/ui/budgets/new" { "Create a budget" } }
        }
        @match found {
            Ok(found) if list(&found, "budgets").is_empty() => (nobody(visit, is_filtered)),
            Ok(found) => {
                (table(list(&found, "budgets")))
                p.hint { (grouped(number(&found, "total_count"))) " in all" }
                (pages("/ui/budgets", &encode(&[("search", &search), ("scope", &scope)]), number(&found, "current_page"), number(&found, "total_pages")))
            }
            Err(message) => (failure(&message)),
        }
    };
    framed(visit, "/budgets", "Budgets", body)
}

fn nobody(visit: &Visit<'_>, is_filtered: bool) -> Markup {
    empty(html! {
        @if is_filtered { "No budget fits." }
        @else {
            p { "A budget is what a key, a group, a tag or a provider may spend in an hour, a day, a week, a month or in all. "
                "Dollars need " a href="/ui/prices" { "prices" } "; tokens need none." }
            (new_link(visit, "/ui/budgets/new", "Create the first budget"))
        }
    })
}

/// Returns the budgets of one key, group or provider, with a link to create one.
pub(super) async fn of(visit: &Visit<'_>, scope: &str, subject: &str) -> Markup {
    let found = visit.get("/budgets", &[("scope", scope), ("subject", subject), ("size", "50")]).await;
    let new = format!("/ui/budgets/new?{}", encode(&[("scope", scope), ("subject", subject)]));
    html! {
        h2 { "Budgets" }
        @match found {
            Ok(found) if list(&found, "budgets").is_empty() => p { "None of its own." },
            Ok(found) => (table(list(&found, "budgets"))),
            Err(message) => (failure(&message)),
        }
        @if visit.read_only().is_none() { p { a href=(new) { "Create a budget" } } }
    }
}

fn table(budgets: &[Value]) -> Markup {
    html! {
        div.wide { table {
            thead { tr {
                th scope="col" { "Name" } th scope="col" { "Of" } th.number scope="col" { "Amount" } th scope="col" { "Spent" }
                th.number scope="col" { "Left" } th scope="col" { "Renews (UTC)" } th scope="col" { "State" }
            } }
            tbody { @for budget in budgets { (line(budget)) } }
        } }
    }
}

fn line(budget: &Value) -> Markup {
    let state = &budget["state"];
    html! {
        tr {
            th.break scope="row" { a href={ "/ui/budgets/" (number(budget, "id")) } { (text(budget, "name")) } }
            td.break { (subject(budget)) }
            td.number { (amount(budget, decimal(budget, "amount"))) br; span.hint { (period(budget)) } }
            td.usage { (used(budget)) }
            td.number { @if state.is_object() { (plain_amount(budget, decimal(state, "left"))) } @else { "–" } }
            td.time { (renews(state)) }
            td { (kind(budget)) }
        }
    }
}

/// Returns what the budget is of, as a link to it where there is a page of such rows.
fn subject(budget: &Value) -> Markup {
    let (scope, name) = (text(budget, "scope"), text(budget, "subject"));
    let (title, address) =
        SCOPES.iter().find(|(known, ..)| *known == scope).map_or((scope, ""), |(_, title, address)| (title, address));
    html! {
        (title) " "
        @if address.is_empty() { (name) } @else { a href={ (address) "?" (encode(&[("search", name)])) } { (name) } }
    }
}

/// Returns an amount in the budget's unit.
fn amount(budget: &Value, amount: f64) -> String {
    match text(budget, "unit") {
        "tokens" => format!("{} tokens", grouped(amount as i64)),
        _ => dollars(amount),
    }
}

/// The same beside an amount that names the unit.
fn plain_amount(budget: &Value, amount: f64) -> String {
    match text(budget, "unit") {
        "tokens" => grouped(amount as i64),
        _ => dollars(amount),
    }
}

fn period(budget: &Value) -> &'static str {
    match text(budget, "period") {
        "hour" => " an hour",
        "day" => " a day",
        "week" => " a week",
        "month" => " a month",
        _ => " in all",
    }
}

fn thresholds(budget: &Value) -> Vec<f64> {
    list(budget, "warn_at").iter().filter_map(Value::as_f64).collect()
}

/// Returns the bar with its numbers; nothing of a budget that is not in force.
fn used(budget: &Value) -> Markup {
    let state = &budget["state"];
    if !state.is_object() {
        return html! { "–" };
    }
    let thresholds = thresholds(budget);
    let usage = Usage {
        amount: decimal(budget, "amount") + decimal(state, "extra"),
        spent: decimal(state, "spent"),
        reserved: decimal(state, "reserved"),
        thresholds: &thresholds,
    };
    html! {
        (usage.bar())
        span { (amount(budget, usage.spent)) " · " (format!("{:.0} %", usage.percent())) }
        @if usage.reserved > 0.0 { span.hint { " " (amount(budget, usage.reserved)) " reserved" } }
    }
}

fn renews(state: &Value) -> Markup {
    match text(state, "renews_at") {
        "" => html! { @if state.is_object() { "never" } @else { "–" } },
        time => minute(time),
    }
}

fn kind(budget: &Value) -> Markup {
    let is_enabled = budget["is_enabled"] == true;
    html! {
        @if !is_enabled { (state(false, "", "disabled")) }
        @else if budget["state"].is_null() { span.state.bad { "cannot be used" } }
        @else if budget["is_hard"] == true { (state(true, "holds", "")) }
        @else { span.state.off { "counts only" } }
    }
}

pub(super) async fn one(visit: &Visit<'_>, id: &str) -> (u16, Markup) {
    let budget = match visit.get(&format!("/budgets/{id}"), &[]).await {
        Ok(budget) => budget,
        Err(why) => return refused(visit, "/budgets", "Budget", &why),
    };
    let name = text(&budget, "name").to_owned();
    let row = Row { kind: "/budgets", value: &budget };
    let can_change = visit.read_only().is_none();
    let body = html! {
        (facts(&budget))
        @if can_change && budget["state"].is_object() { (window(&budget)) }
        h2 { "Settings" }
        (form::form(visit, &budget).await)
        @if can_change { (row.dangers(&format!("Remove the budget {name} with its sums?"))) }
    };
    (200, framed(visit, "/budgets", &name, body))
}

fn facts(budget: &Value) -> Markup {
    let now = &budget["state"];
    let extra = decimal(now, "extra");
    let warnings: Vec<_> = thresholds(budget).iter().map(|percent| format!("{percent} %")).collect();
    html! {
        dl.facts.panel {
            dt { "Of" } dd { (subject(budget)) }
            dt { "Amount" } dd { (amount(budget, decimal(budget, "amount"))) (period(budget))
                @if extra > 0.0 { ", and " (amount(budget, extra)) " more until it renews" } }
            dt { "Spent" } dd { (used(budget)) }
            @if now.is_object() { dt { "Left" } dd { (amount(budget, decimal(now, "left"))) } }
            dt { "Window" } dd { (window_of(budget)) }
            dt { "Warnings at" } dd { @if warnings.is_empty() { "–" } @else { (warnings.join(", ")) } }
            dt { "State" } dd { (kind(budget)) }
        }
    }
}

fn window_of(budget: &Value) -> Markup {
    let (now, zone) = (&budget["state"], text(budget, "time_zone"));
    html! {
        @if text(now, "since").is_empty() { "without end" }
        @else { (minute(text(now, "since"))) " to " (minute(text(now, "renews_at"))) " UTC" }
        @if !zone.is_empty() { ", by the calendar of " (zone) }
    }
}

/// What can be done to the current window. Both are asked for without a version of the row: they
/// change its sums, and not what the form below shows.
fn window(budget: &Value) -> Markup {
    let path = format!("/admin/v1/budgets/{}", number(budget, "id"));
    let unit = if text(budget, "unit") == "tokens" { "tokens" } else { "dollars" };
    html! {
        h2 { "This window" }
        div.panel {
            form data-method="POST" data-path={ (path) "/top-up" } data-then="reload" {
                label for="top-up" { "Add to the amount until it renews, in " (unit) }
                div.actions.inline {
                    input #top-up name="amount" data-kind="decimal" required inputmode="decimal" autocomplete="off";
                    button.quiet type="submit" { "Top up" }
                }
                (outcome())
            }
            div {
                div.actions {
                    button.quiet type="button" data-method="POST" data-path={ (path) "/reset" } data-then="reload"
                        data-confirm="Restart the window? What was spent in it no longer counts." { "Reset" }
                    span.hint { "Restarts the window: nothing of it is spent." }
                }
                (outcome())
            }
        }
    }
}

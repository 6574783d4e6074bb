//! The form of a budget.

use maud::{Markup, html};
use serde_json::{Value, json};

use super::scope::SCOPES;
use crate::control_plane::ui::forms::{Row, names};
use crate::control_plane::ui::html::{framed, options};
use crate::control_plane::ui::visit::{Visit, list, text};

const UNITS: &[(&str, &str)] = &[("usd", "dollars"), ("tokens", "tokens")];
const PERIODS: &[(&str, &str)] =
    &[("hour", "hour"), ("day", "day"), ("week", "week"), ("month", "month"), ("total", "in all, without end")];

/// Writes the page with the form of a new budget.
pub(crate) async fn new(visit: &Visit<'_>) -> Markup {
    framed(visit, "/budgets", "Create a budget", form(visit, &Value::Null).await)
}

/// Returns the form of a new budget, or of one with its values.
pub(super) async fn form(visit: &Visit<'_>, budget: &Value) -> Markup {
    let row = Row { kind: "/budgets", value: budget };
    let is_new = row.is_new();
    let then = if is_new { "/ui/budgets/{id}" } else { "reload" };
    let is_read_only = visit.read_only().is_some();
    // A link to the form can say what the budget is of.
    let wanted = json!({ "scope": visit.query("scope"), "subject": visit.query("subject") });
    let of = if is_new { &wanted } else { budget };
    let warn_at: Vec<_> = list(budget, "warn_at").iter().map(Value::to_string).collect();
    html! {
        form.panel.form data-method=(row.method()) data-path=(row.path()) data-version=[row.version()] data-then=(then) {
            fieldset.plain disabled[is_read_only] {
                @if is_new {
                    label for="name" { "Name, which refusals show, and which never changes" }
                    input #name name="name" data-kind="text" required autocomplete="off" placeholder="research-monthly";
                }
                (terms(visit, budget, of, &row).await)
                label for="warn_at" { "Warn at these per cents" }
                input #warn_at name="warn_at" data-kind="numbers" autocomplete="off" value=(warn_at.join(", ")) placeholder="80, 95";
                p.label { "At the limit" }
                label.check {
                    input name="is_hard" type="checkbox" data-kind="bool" checked[is_new || budget["is_hard"] == true];
                    "Refuse requests for which too little is left"
                }
                @if !is_new { p.hint { "Another unit, period or time zone begins with new sums." } }
                (row.submit(is_read_only, "Create the budget"))
            }
        }
    }
}

/// The fields of what a budget is of, how much it is and for how long. `of` has its scope and
/// subject.
async fn terms(visit: &Visit<'_>, budget: &Value, of: &Value, row: &Row<'_>) -> Markup {
    let or = |name: &str, default: &'static str| match text(budget, name) {
        "" => default.to_owned(),
        value => value.to_owned(),
    };
    let scopes: Vec<_> = SCOPES.iter().map(|(name, title, _)| (*name, *title)).collect();
    html! {
        div.two {
            div {
                label for="scope" { "What it is of" }
                select #scope name="scope" data-kind="text" { (options(&scopes, text(of, "scope"))) }
            }
            div {
                label for="subject" { "Name of the key, group, tag or provider" }
                input #subject name="subject" data-kind="text" required autocomplete="off" list="subjects" value=(text(of, "subject"));
                (subjects(visit).await)
            }
            div {
                label for="amount" { "Amount" }
                input #amount name="amount" data-kind="decimal" required inputmode="decimal" autocomplete="off"
                    value=(if row.is_new() { String::new() } else { plain(&budget["amount"]) }) placeholder="25.00";
            }
            div {
                label for="unit" { "Of" }
                select #unit name="unit" data-kind="text" { (options(UNITS, &or("unit", "usd"))) }
            }
            div {
                label for="period" { "Per" }
                select #period name="period" data-kind="text" { (options(PERIODS, &or("period", "month"))) }
            }
            div {
                label for="time_zone" { "Time zone of the calendar" }
                input #time_zone name="time_zone" data-kind="text" data-empty=[row.empty()] autocomplete="off"
                    value=(text(budget, "time_zone")) placeholder="UTC";
            }
        }
    }
}

/// The names of groups and providers. Keys may be too many for a list.
async fn subjects(visit: &Visit<'_>) -> Markup {
    let groups = visit.get("/groups", &[("size", "200")]).await.unwrap_or_default();
    let providers = visit.get("/providers", &[("size", "200")]).await.unwrap_or_default();
    let named =
        |list: &[Value], name: &str| -> Vec<Value> { list.iter().map(|row| json!({ "name": row[name] })).collect() };
    let mut all = named(list(&groups, "groups"), "name");
    all.extend(named(list(&providers, "providers"), "provider_key"));
    names("subjects", &all, "name")
}

/// Returns an amount as it is typed: whole ones without decimals.
fn plain(amount: &Value) -> String {
    match amount.as_f64() {
        Some(amount) if amount.fract() == 0.0 => format!("{amount:.0}"),
        _ => amount.to_string(),
    }
}

//! `llm-proxy budget create|set|enable|disable|list|reset|top-up|remove`.

mod args;

use serde_json::{Map, Value, json};

use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::store::{StoreArgs, StoreLocation, call, number, pick, remove_each};
use crate::config::budget;
use crate::config::budget::{Claim, Unit};
use crate::config::compile::compile;
use crate::config::rows::{BudgetRow, Rows};
use crate::control_plane::admin::budgets::current_key;
use crate::control_plane::admin::view::{BudgetView, amount, audit_text};
use crate::control_plane::store::Change;
use crate::control_plane::store::blocking::Blocking;
use args::{Command, Create, List, Named, Set, Several, Subject, Terms, TopUp};

pub(crate) use args::Args;

pub(super) fn run(args: Args) -> Result<(), Failure> {
    let store = &args.store;
    match args.command {
        Command::Create(create) => create.run(store),
        Command::Set(set) => set.run(store),
        Command::Enable(named) => enable(&named, true, store),
        Command::Disable(named) => enable(&named, false, store),
        Command::List(list) => list.run(store),
        Command::Reset(named) => reset(&named, store),
        Command::TopUp(top_up) => top_up.run(store),
        Command::Remove(several) => remove(&several, store),
    }
}

/// Returns the budgets, as the admin interface shows them.
fn listing(place: &StoreLocation) -> Result<Value, Failure> {
    match place {
        StoreLocation::Remote(remote) => call(remote, "GET", "/budgets", None),
        StoreLocation::Local(store, _) => {
            let rows = store.load()?;
            let budgets = rows.budgets.iter().map(|row| here(store, row)).collect::<Result<Vec<_>, _>>()?;
            Ok(json!({ "version": rows.version, "budgets": budgets }))
        }
    }
}

/// Returns a budget of the store with its sums.
fn here(store: &Blocking, row: &BudgetRow) -> Result<Value, Failure> {
    let mut view = serde_json::to_value(BudgetView::of(row)).unwrap_or_default();
    if let Ok(key) = current_key(row) {
        let claim = Claim { amount: row.amount, ..Claim::default() };
        let shared = store.store();
        let grant = store.wait(shared.claim(vec![(key, claim)]))?.pop().unwrap_or_default();
        view["state"] = json!({
            "extra": amount(&row.unit, grant.sums.extra),
            "spent": amount(&row.unit, grant.sums.spent),
            "reserved": amount(&row.unit, grant.sums.taken.saturating_sub(grant.sums.spent).max(0)),
            "left": amount(&row.unit, grant.left.max(0)),
        });
    }
    Ok(view)
}

fn picked(place: &StoreLocation, wanted: &str) -> Result<(i64, String), Failure> {
    picked_of(&listing(place)?, wanted)
}

/// Returns id and name of the budget in a listing that `wanted` means.
fn picked_of(found: &Value, wanted: &str) -> Result<(i64, String), Failure> {
    let rows = found["budgets"].as_array().into_iter().flatten();
    let named = rows.map(|row| (number(row, "/id"), row["name"].as_str().unwrap_or_default()));
    pick("budget", wanted, named).map(|(id, name)| (id, name.to_owned()))
}

fn amount_of(unit: &str, text: &str) -> Result<i64, Failure> {
    let unit = Unit::parse(unit).unwrap_or(Unit::Dollars);
    let wanted = if unit == Unit::Tokens { "whole tokens" } else { "dollars with at most nine decimals" };
    let failed = || Failure::Usage(vec![format!("`{text}` is no amount: give {wanted}")]);
    budget::parse(unit, text).ok_or_else(failed)
}

/// Writes an amount as a JSON number.
fn json_number(text: &str) -> Value {
    text.parse::<f64>().map_or_else(|_| json!(text), |number| json!(number))
}

impl Create {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let Subject { key, group, tag, provider } = &self.subject;
        let subjects = [("credential", key), ("group", group), ("tag", tag), ("provider", provider)];
        let found = subjects.into_iter().find_map(|(scope, name)| Some((scope, name.clone()?)));
        let (scope, subject) = found.unwrap_or_default();
        let unit = self.terms.unit.clone().unwrap_or_else(|| "usd".to_owned());
        let row = BudgetRow {
            name: self.name.get().to_owned(),
            scope: scope.to_owned(),
            subject,
            amount: amount_of(&unit, &self.amount)?,
            unit,
            period: self.terms.period.clone().unwrap_or_else(|| "month".to_owned()),
            time_zone: self.terms.time_zone.clone().unwrap_or_default(),
            is_hard: self.terms.hard.unwrap_or(true),
            warn_at: json!(self.terms.warn_at).to_string(),
            downgrade_to: self.terms.downgrade().flatten(),
            is_enabled: true,
            ..BudgetRow::default()
        };
        check(&row, "created")?;
        let place = store.open()?;
        let id = match &place {
            StoreLocation::Local(store, _) => store.add_budget(&row)?,
            StoreLocation::Remote(remote) => {
                let mut body = json!({
                    "name": row.name,
                    "scope": row.scope,
                    "subject": row.subject,
                    "unit": row.unit,
                    "amount": json_number(&self.amount),
                    "period": row.period,
                    "time_zone": row.time_zone,
                    "is_hard": row.is_hard,
                    "warn_at": self.terms.warn_at,
                });
                if let Some(model) = &row.downgrade_to {
                    body["downgrade_to"] = json!(model);
                }
                let made: Value = call(remote, "POST", "/budgets", Some(body.to_string()))?;
                number(&made, "/budget/id")
            }
        };
        place.report_written(&format!("created budget {} with id {id}", row.name))
    }
}

impl Set {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let body = self.body();
        if body.is_empty() {
            return Err(Failure::Usage(vec!["name what is to be changed; --help lists it".to_owned()]));
        }
        let place = store.open()?;
        let (id, name) = picked(&place, &self.named.budget)?;
        match &place {
            StoreLocation::Local(store, _) => {
                let old = row(store, id, &name)?;
                let new = self.apply(&old)?;
                check(&new, "changed")?;
                update(store, "budget.update", &old, new)?;
            }
            StoreLocation::Remote(remote) => {
                let body = Value::Object(body).to_string();
                let _: Value = call(remote, "PATCH", &format!("/budgets/{id}"), Some(body))?;
            }
        }
        place.report_written(&format!("changed budget {name} with id {id}"))
    }

    fn apply(&self, old: &BudgetRow) -> Result<BudgetRow, Failure> {
        let Terms { unit, period, time_zone, warn_at, hard, downgrade_to: _ } = &self.terms;
        let or = |new: &Option<String>, old: &str| new.clone().unwrap_or_else(|| old.to_owned());
        let unit = or(unit, &old.unit);
        let amount = self.amount.as_ref().map_or(Ok(old.amount), |text| amount_of(&unit, text))?;
        let warn_at = if warn_at.is_empty() { old.warn_at.clone() } else { json!(warn_at).to_string() };
        Ok(BudgetRow {
            unit,
            amount,
            period: or(period, &old.period),
            time_zone: or(time_zone, &old.time_zone),
            is_hard: hard.unwrap_or(old.is_hard),
            warn_at,
            downgrade_to: self.terms.downgrade().unwrap_or_else(|| old.downgrade_to.clone()),
            ..old.clone()
        })
    }

    /// Writes the body for the admin interface: the members that change, and no others.
    fn body(&self) -> Map<String, Value> {
        let Terms { unit, period, time_zone, warn_at, hard, downgrade_to: _ } = &self.terms;
        let fields = [
            ("unit", unit.clone().map(Value::from)),
            ("period", period.clone().map(Value::from)),
            ("time_zone", time_zone.clone().map(Value::from)),
            ("is_hard", hard.map(Value::from)),
            ("warn_at", (!warn_at.is_empty()).then(|| json!(warn_at))),
            ("downgrade_to", self.terms.downgrade().map(|model| json!(model))),
            ("amount", self.amount.as_ref().map(|text| json_number(text))),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }
}

fn enable(named: &Named, is_enabled: bool, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let (id, name) = picked(&place, &named.budget)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let old = row(store, id, &name)?;
            let new = BudgetRow { is_enabled, ..old.clone() };
            update(store, "budget.status", &old, new)?;
        }
        StoreLocation::Remote(remote) => {
            let body = json!({ "is_enabled": is_enabled }).to_string();
            let _: Value = call(remote, "PUT", &format!("/budgets/{id}/status"), Some(body))?;
        }
    }
    let what = if is_enabled { "enabled" } else { "disabled" };
    place.report_written(&format!("{what} budget {name} with id {id}"))
}

fn reset(named: &Named, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open_to_count()?;
    let (id, name) = picked(&place, &named.budget)?;
    match &place {
        StoreLocation::Local(store, _) => {
            let row = row(store, id, &name)?;
            let key = current_key(&row).map_err(Failure::failed)?;
            let before = audit_text(&here(store, &row)?);
            store.change("budget.reset", &name, [before, None], Change::ResetBudget { id, key })?;
        }
        StoreLocation::Remote(remote) => {
            let _: Value = call(remote, "POST", &format!("/budgets/{id}/reset"), None)?;
        }
    }
    place.report_written(&format!("reset budget {name} with id {id}"))
}

impl TopUp {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open_to_count()?;
        let (id, name) = picked(&place, &self.named.budget)?;
        match &place {
            StoreLocation::Local(store, _) => {
                let row = row(store, id, &name)?;
                let units = amount_of(&row.unit, &self.amount)?;
                let key = current_key(&row).map_err(Failure::failed)?;
                let before_and_after =
                    [None, audit_text(&json!({ "added": amount(&row.unit, units), "unit": row.unit }))];
                store.change("budget.top_up", &name, before_and_after, Change::TopUpBudget { id, key, units })?;
            }
            StoreLocation::Remote(remote) => {
                let body = json!({ "amount": json_number(&self.amount) }).to_string();
                let _: Value = call(remote, "POST", &format!("/budgets/{id}/top-up"), Some(body))?;
            }
        }
        place.report_written(&format!("added {} to budget {name} with id {id}", self.amount))
    }
}

fn remove(several: &Several, store: &StoreArgs) -> Result<(), Failure> {
    let place = store.open()?;
    let found = listing(&place)?;
    remove_each(
        &several.budgets,
        |wanted| picked_of(&found, wanted),
        |id, name| {
            match &place {
                StoreLocation::Local(store, _) => {
                    let old = audit_text(&BudgetView::of(&row(store, id, name)?));
                    store.change("budget.delete", name, [old, None], Change::RemoveBudget { id, row_version: None })?;
                }
                StoreLocation::Remote(remote) => call(remote, "DELETE", &format!("/budgets/{id}"), None)?,
            }
            print::line(&format!("removed budget {name} with id {id}"))
        },
    )?;
    place.note_written();
    Ok(())
}

impl List {
    fn run(self, store: &StoreArgs) -> Result<(), Failure> {
        let place = store.open_to_read()?;
        let found = match &place {
            Some(place) => listing(place)?,
            None => json!({ "version": 0, "budgets": [] }),
        };
        if self.json {
            return print::line(&format!("{found:#}"));
        }
        let rows = found["budgets"].as_array().cloned().unwrap_or_default();
        if rows.is_empty() {
            print::note("note", "no budget in the store; create one with `llm-proxy budget create --name NAME`");
            return Ok(());
        }
        let lines: Vec<_> = rows.iter().map(cells).collect();
        print::table(["ID", "NAME", "OF", "AMOUNT", "PERIOD", "SPENT", "RESERVED", "LEFT", "STATUS"], &lines)
    }
}

fn cells(row: &Value) -> [String; 9] {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_f64().map_or_else(|| "-".to_owned(), |number| number.to_string());
    let state = &row["state"];
    [
        row["id"].to_string(),
        text("name"),
        format!("{} {}", text("scope"), text("subject")),
        format!("{} {}", number(&row["amount"]), text("unit")),
        text("period"),
        number(&state["spent"]),
        number(&state["reserved"]),
        number(&state["left"]),
        if row["is_enabled"] == true { "enabled" } else { "disabled" }.to_owned(),
    ]
}

/// Compiles the row as a server does, and fails if it would have a problem.
fn check(row: &BudgetRow, done: &str) -> Result<(), Failure> {
    let rows = Rows { budgets: vec![BudgetRow { is_enabled: true, ..row.clone() }], ..Rows::default() };
    let (_, problems) = compile(&rows, None, &|_| None);
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
    let messages = messages.join("; also, ");
    Err(Failure::failed(format!("budget {} is not {done}, for it would have a problem: {messages}", row.name)))
}

fn row(store: &Blocking, id: i64, name: &str) -> Result<BudgetRow, Failure> {
    let found = store.load()?.budgets.into_iter().find(|row| row.id == id);
    found.ok_or_else(|| Failure::failed(format!("the budget {name} was removed meanwhile")))
}

fn update(store: &Blocking, action: &str, old: &BudgetRow, new: BudgetRow) -> Result<(), Failure> {
    let before_and_after = [audit_text(&BudgetView::of(old)), audit_text(&BudgetView::of(&new))];
    store.change(action, &old.name, before_and_after, Change::UpdateBudget(new))?;
    Ok(())
}

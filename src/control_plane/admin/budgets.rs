//! `/budgets`: what credentials, groups, tags and providers may spend, and what they have.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::{Duration, timeout};

use crate::config::budget;
use crate::config::rows::{BudgetRow, Rows};
use crate::config::snapshot::Snapshot;
use crate::control_plane::admin::body::{Change as Field, body};
use crate::control_plane::admin::context::{AuditEntry, Context, MAX_TRIES};
use crate::control_plane::admin::field_values::{Amount, Count, Moment, Name, Text};
use crate::control_plane::admin::paging::Page;
use crate::control_plane::admin::providers::set;
use crate::control_plane::admin::request::{AdminRequest, Outcome, Refusal, empty, json, tagged};
use crate::control_plane::admin::status::{Status, Updated};
use crate::control_plane::admin::view::{BudgetView, amount, audit_text};
use crate::control_plane::store::{Change, SumsKey, now};
use crate::limit::budget::{Budget, Claim, Grant, Unit};
use crate::limit::period::{Period, Window};

/// Of a list that has a few choices.
type Word = Text<50>;
type Percent = Count<1, 100>;
/// The longest wait for the sums.
const SUMS_TIMEOUT: Duration = Duration::from_secs(5);
/// Sums that are read at once.
const AT_ONCE: usize = 500;

body! {
    /// A new budget.
    BudgetCreate {
        required name: Name = "unique name, which never changes";
        required scope: Word = "what it is of: credential, group, tag or provider";
        required subject: Name = "the name of the credential, group, tag or provider";
        optional unit: Word = "usd, the default, or tokens";
        required amount: Amount = "dollars with at most nine decimals, or whole tokens";
        optional period: Word = "hour, day, week, month (the default) or total";
        optional time_zone: Text<255> = "time zone of the calendar, such as Europe/Berlin; UTC by default";
        optional is_hard: bool = "whether requests are refused for which too little is left, true by default";
        optional warn_at: Vec<Percent> = "per cents of the amount at which a warning is logged";
        optional downgrade_to: Name = "the model, virtual or not, by which requests are served for which too little is left; without it they are refused";
        optional is_enabled: bool = "whether it is in force, true by default";
    }
}

body! {
    /// Changes of a budget. An absent field stays as it is, null clears one that can be empty.
    BudgetUpdate {
        change scope: Word = "what it is of: credential, group, tag or provider";
        change subject: Name = "the name of the credential, group, tag or provider";
        change unit: Word = "usd or tokens; another unit begins with new sums";
        change amount: Amount = "dollars with at most nine decimals, or whole tokens";
        change period: Word = "hour, day, week, month or total; another period begins with new sums";
        change time_zone: Text<255> = "time zone of the calendar; null is UTC";
        change is_hard: bool = "whether requests are refused for which too little is left";
        change warn_at: Vec<Percent> = "per cents of the amount at which a warning is logged";
        change downgrade_to: Name = "the model by which requests are served for which too little is left; null refuses them";
        change is_enabled: bool = "whether it is in force";
    }
}

body! {
    /// What is added to the amount, for the current window alone.
    TopUp {
        required amount: Amount = "dollars with at most nine decimals, or whole tokens";
    }
}

/// What a budget has come to in its current window
#[derive(Debug, Serialize, JsonSchema)]
struct BudgetState {
    /// Begin of the window; null for a total
    since: Option<Moment>,
    /// End of the window; null for a total
    renews_at: Option<Moment>,
    /// Added to the amount, for this window
    extra: f64,
    /// What was used
    spent: f64,
    /// What requests in progress and gateways hold
    reserved: f64,
    left: f64,
}

/// A budget with its state
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BudgetWithState {
    #[serde(flatten)]
    budget: BudgetView,
    /// Null if it is disabled or can't be used
    state: Option<BudgetState>,
}

/// All budgets, enabled or not
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BudgetList {
    /// Version of the configuration
    version: i64,
    budgets: Vec<BudgetWithState>,
    #[serde(flatten)]
    page: Page,
}

/// The created budget
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BudgetCreated {
    /// Version of the configuration with this change
    version: i64,
    budget: BudgetView,
}

/// The budget with its new status
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BudgetStatus {
    /// Version of the configuration with this change
    version: i64,
    /// `updated`
    status: &'static str,
    budget: BudgetView,
}

pub(super) async fn list(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let (version, rows, page) = {
        let read = context.current.read();
        let search = req.query("search").map(|text| text.to_lowercase());
        let (scope, subject) = (req.query("scope"), req.query("subject"));
        let is_match = |row: &&BudgetRow| {
            search.as_ref().is_none_or(|text| row.name.to_lowercase().contains(text))
                && scope.as_ref().is_none_or(|scope| *scope == row.scope)
                && subject.as_ref().is_none_or(|subject| *subject == row.subject)
        };
        let (rows, page) = Page::of(&req, read.rows.budgets.iter().filter(is_match))?;
        (read.rows.version, rows.into_iter().cloned().collect::<Vec<_>>(), page)
    };
    let budgets = with_states(&context, &rows).await?;
    Ok(freshness.mark(json(200, &BudgetList { version, budgets, page })?))
}

pub(super) async fn get(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let freshness = context.refresh_if_possible().await;
    let row = context.budget(req.id)?;
    let version = row.stamp.version;
    let Some(budget) = with_states(&context, std::slice::from_ref(&row)).await?.pop() else {
        return Err(Refusal::missing("budget", req.id));
    };
    Ok(freshness.mark(tagged(json(200, &budget)?, version)))
}

pub(super) async fn create(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: BudgetCreate = req.body()?;
    let unit = body.unit.map_or_else(|| "usd".to_owned(), String::from);
    let row = BudgetRow {
        name: body.name.0,
        scope: body.scope.into(),
        subject: body.subject.0,
        amount: amount_of(&unit, &body.amount)?,
        unit,
        period: body.period.map_or_else(|| "month".to_owned(), String::from),
        time_zone: body.time_zone.map(String::from).unwrap_or_default(),
        is_hard: body.is_hard.unwrap_or(true),
        warn_at: percents(body.warn_at.unwrap_or_default()),
        downgrade_to: body.downgrade_to.map(|name| name.0),
        is_enabled: body.is_enabled.unwrap_or(true),
        ..BudgetRow::default()
    };
    context.check_budget(None, &row)?;
    let new = audit_text(&BudgetView::of(&row));
    let entry = AuditEntry { action: "budget.create", object: &row.name, old: None, new };
    let written = context.write(&req, Change::AddBudget(row.clone()), entry).await?;
    // If it is not known here yet, as stored.
    let row = context.budget(written.id).or_else(|refusal| match written.repeated {
        true => Err(refusal),
        false => Ok(BudgetRow { id: written.id, ..row }),
    })?;
    let body = BudgetCreated { version: written.version, budget: BudgetView::of(&row) };
    let mut answer = tagged(json(201, &body)?, row.stamp.version);
    answer.fields.push(("location", format!("/admin/v1/budgets/{}", row.id)));
    Ok(answer)
}

pub(super) async fn update(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: BudgetUpdate = req.body()?;
    if body.is_empty() {
        return Err(Refusal::new(400, "no_fields", "No fields to update"));
    }
    let (version, row) = change(&context, &req, "budget.update", |row| body.apply(row)).await?;
    Ok(tagged(json(200, &Updated { version, status: "updated" })?, row.stamp.version))
}

pub(super) async fn status(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: Status = req.body()?;
    let set = |row: &mut BudgetRow| {
        row.is_enabled = body.is_enabled;
        Ok(())
    };
    let (version, row) = change(&context, &req, "budget.status", set).await?;
    let body = BudgetStatus { version, status: "updated", budget: BudgetView::of(&row) };
    Ok(tagged(json(200, &body)?, row.stamp.version))
}

pub(super) async fn remove(context: Arc<Context>, req: AdminRequest) -> Outcome {
    context.refresh().await?;
    let row = context.budget(req.id)?;
    req.check_version("budget", row.stamp.version)?;
    let row_version = req.if_match()?.map(|_| row.stamp.version);
    let old = audit_text(&BudgetView::of(&row));
    let entry = AuditEntry { action: "budget.delete", object: &row.name, old, new: None };
    context.write(&req, Change::RemoveBudget { id: req.id, row_version }, entry).await?;
    empty()
}

/// Restarts the current window.
pub(super) async fn reset(context: Arc<Context>, req: AdminRequest) -> Outcome {
    context.refresh().await?;
    let row = context.budget(req.id)?;
    let key = current_key(&row).map_err(|message| Refusal::new(409, "conflict", message))?;
    let before = with_states(&context, std::slice::from_ref(&row)).await?.pop();
    let entry = AuditEntry { action: "budget.reset", object: &row.name, old: audit_text(&before), new: None };
    context.change(&req, Change::ResetBudget { id: row.id, key }, entry).await?;
    changed_state(&context, row).await
}

pub(super) async fn top_up(context: Arc<Context>, req: AdminRequest) -> Outcome {
    let body: TopUp = req.body()?;
    context.refresh().await?;
    let row = context.budget(req.id)?;
    let units = amount_of(&row.unit, &body.amount)?;
    let key = current_key(&row).map_err(|message| Refusal::new(409, "conflict", message))?;
    let new = audit_text(&serde_json::json!({ "added": amount(&row.unit, units), "unit": row.unit }));
    let entry = AuditEntry { action: "budget.top_up", object: &row.name, old: None, new };
    context.change(&req, Change::TopUpBudget { id: row.id, key, units }, entry).await?;
    changed_state(&context, row).await
}

/// Returns a budget of which the sums have changed. Requests from now on are served by the new ones.
async fn changed_state(context: &Context, row: BudgetRow) -> Outcome {
    let id = row.id;
    if let Some(budget) = context.shared.publisher.load().budget(id) {
        budget.state.ask_again();
    }
    let Some(budget) = with_states(context, &[row]).await?.pop() else { return Err(Refusal::missing("budget", id)) };
    json(200, &budget)
}

/// Returns the key of the sums of the current window, by the clock of this gateway.
pub fn current_key(row: &BudgetRow) -> Result<SumsKey, String> {
    let rows = Rows { budgets: vec![BudgetRow { is_enabled: true, ..row.clone() }], ..Rows::default() };
    let (snapshot, _) = crate::config::compile::compile(&rows, None, &|_| None);
    let Some(budget) = snapshot.budgets.first() else {
        return Err(format!("budget `{}` can't be used; `llm-proxy check-config` shows why", row.name));
    };
    let window = Window::of(budget.terms.period, &budget.terms.zone, now());
    Ok(SumsKey { name: row.name.clone(), kind: budget.kind(), starts_at: window.starts_at })
}

/// The budgets with what they have come to, as the store has it.
async fn with_states(context: &Context, rows: &[BudgetRow]) -> Result<Vec<BudgetWithState>, Refusal> {
    let snapshot = context.shared.publisher.load();
    let mut all: Vec<_> = rows.iter().map(|row| BudgetWithState { budget: BudgetView::of(row), state: None }).collect();
    let reads: Vec<_> = rows.iter().enumerate().filter_map(|(at, row)| Some((at, read_of(&snapshot, row)?))).collect();
    for part in reads.chunks(AT_ONCE) {
        let claims = part.iter().map(|(_, (key, claim, _))| (key.clone(), *claim)).collect();
        let Ok(grants) = timeout(SUMS_TIMEOUT, context.store.claim(claims)).await else {
            return Err(Refusal::new(503, "store_unavailable", "the sums of budgets can't be read now"));
        };
        for ((at, (_, _, (period, window))), grant) in part.iter().zip(grants?) {
            all[*at].state = Some(state(&rows[*at].unit, *period, *window, &grant));
        }
    }
    Ok(all)
}

/// Returns a claim to nothing, which reads. `None` for a budget that is not in force.
fn read_of(snapshot: &Snapshot, row: &BudgetRow) -> Option<(SumsKey, Claim, (Period, Window))> {
    let budget = snapshot.budget(row.id).filter(|budget| *budget.name == *row.name)?;
    let (key, claim, window) = current(budget);
    Some((key, claim, (budget.terms.period, window)))
}

/// Returns a claim to nothing for the current window, which reads its sums.
pub(super) fn current(budget: &Budget) -> (SumsKey, Claim, Window) {
    let window = Window::of(budget.terms.period, &budget.terms.zone, now());
    let key = SumsKey { name: budget.name.to_string(), kind: budget.kind(), starts_at: window.starts_at };
    (key, Claim { amount: budget.terms.amount, ..Claim::default() }, window)
}

fn state(unit: &str, period: Period, window: Window, grant: &Grant) -> BudgetState {
    let sums = grant.sums;
    let moment = |seconds| (period != Period::Total).then_some(Moment(seconds));
    BudgetState {
        since: moment(window.starts_at),
        renews_at: moment(window.ends_at),
        extra: amount(unit, sums.extra),
        spent: amount(unit, sums.spent),
        reserved: amount(unit, sums.taken.saturating_sub(sums.spent).max(0)),
        left: amount(unit, grant.left.max(0)),
    }
}

fn amount_of(unit: &str, amount: &Amount) -> Result<i64, Refusal> {
    let known = Unit::parse(unit).unwrap_or(Unit::Dollars);
    budget::parse(known, &amount.0).ok_or_else(|| {
        let wanted =
            if known == Unit::Tokens { "a whole number of tokens" } else { "dollars with at most nine decimals" };
        Refusal::invalid(format!("amount must be {wanted}"), Some("amount".to_owned()))
    })
}

fn percents(list: Vec<Percent>) -> String {
    serde_json::Value::from(list.into_iter().map(i64::from).collect::<Vec<_>>()).to_string()
}

/// As for providers.
async fn change(
    context: &Context,
    req: &AdminRequest,
    action: &'static str,
    edit: impl Fn(&mut BudgetRow) -> Result<(), Refusal>,
) -> Result<(i64, BudgetRow), Refusal> {
    let mut tries = MAX_TRIES;
    loop {
        context.refresh().await?;
        let old = context.budget(req.id)?;
        req.check_version("budget", old.stamp.version)?;
        let mut new = old.clone();
        edit(&mut new)?;
        context.check_budget(Some(&old), &new)?;
        let [before, after] = [&old, &new].map(|row| audit_text(&BudgetView::of(row)));
        let entry = AuditEntry { action, object: &new.name, old: before, new: after };
        tries -= 1;
        match context.write(req, Change::UpdateBudget(new.clone()), entry).await {
            Ok(written) => {
                new.stamp.version = written.version;
                // If it is not known here yet, as stored.
                let row = context.budget(req.id).ok();
                let row = row.filter(|row| row.stamp.version >= written.version || written.repeated);
                return Ok((written.version, row.unwrap_or(new)));
            }
            Err(refusal) if refusal.status == 412 && req.request.if_match.is_none() && tries > 0 => {}
            Err(refusal) => return Err(refusal),
        }
    }
}

impl BudgetUpdate {
    fn is_empty(&self) -> bool {
        self.scope.is_absent()
            && self.subject.is_absent()
            && self.unit.is_absent()
            && self.amount.is_absent()
            && self.period.is_absent()
            && self.time_zone.is_absent()
            && self.is_hard.is_absent()
            && self.warn_at.is_absent()
            && self.downgrade_to.is_absent()
            && self.is_enabled.is_absent()
    }

    fn apply(&self, row: &mut BudgetRow) -> Result<(), Refusal> {
        set(&self.scope, "scope", &mut row.scope)?;
        set(&self.subject, "subject", &mut row.subject)?;
        set(&self.unit, "unit", &mut row.unit)?;
        set(&self.period, "period", &mut row.period)?;
        set(&self.is_hard, "is_hard", &mut row.is_hard)?;
        set(&self.is_enabled, "is_enabled", &mut row.is_enabled)?;
        match &self.amount {
            Field::Absent => {}
            Field::To(amount) => row.amount = amount_of(&row.unit, amount)?,
            Field::Null => return Err(Refusal::invalid("amount can't be null", Some("amount".to_owned()))),
        }
        match &self.downgrade_to {
            Field::Absent => {}
            Field::To(name) => row.downgrade_to = Some(name.0.clone()),
            Field::Null => row.downgrade_to = None,
        }
        self.time_zone.clone().map(String::from).apply_or(&mut row.time_zone, String::new());
        let warn_at: Field<String> = self.warn_at.clone().map(percents);
        warn_at.apply_or(&mut row.warn_at, "[]".to_owned());
        Ok(())
    }
}

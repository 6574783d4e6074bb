//! What is left of budgets, for the headers of the response.

use std::sync::Arc;

use crate::config::budget::{self as amounts, show};
use crate::limit::budget::{Account, Budget, Fields, Unit};
use crate::limit::period::Period;
use crate::rfc3339;
use llm_http::write;

/// What is left of the budget of which the least is, for the headers of the response.
#[derive(Debug, Clone)]
pub struct BudgetLeft {
    /// What does not change with each request, as far as the name of the field for what is left.
    fields: Arc<Fields>,
    unit: Unit,
    left: i64,
    /// `None` if nothing was changed, as for most requests.
    changed: Option<Box<Changed>>,
}

/// What was changed of a request because it was not affordable as it came.
#[derive(Debug, Clone, Default)]
struct Changed {
    /// The limit of the response that was sent to the provider.
    cap: Option<u64>,
    /// The model that serves the request instead of the one that was asked for.
    downgraded_to: Option<Arc<str>>,
}

impl BudgetLeft {
    /// Makes it of what is left of a request that was not changed.
    pub fn new(fields: Arc<Fields>, unit: Unit, left: i64) -> BudgetLeft {
        BudgetLeft { fields, unit, left, changed: None }
    }

    /// Sets the limit of the response that was sent to the provider, because no more is affordable.
    pub fn set_cap(&mut self, cap: u64) {
        self.changed.get_or_insert_default().cap = Some(cap);
    }

    /// Sets the model that serves the request, because the one that was asked for is not
    /// affordable.
    pub fn set_downgraded_to(&mut self, model: &str) {
        self.changed.get_or_insert_default().downgraded_to = Some(model.into());
    }

    /// Writes the fields.
    pub fn write(&self, out: &mut Vec<u8>) {
        // Room for all of it: the number is no longer than this.
        out.reserve(self.fields.text.len() + 32);
        out.extend_from_slice(&self.fields.text);
        amounts::write(out, self.unit, self.left);
        out.extend_from_slice(b"\r\n");
        let Some(changed) = &self.changed else { return };
        if let Some(model) = &changed.downgraded_to {
            let _ = write::named_header(out, "x-llm-proxy-downgraded-to", model.as_bytes());
        }
        if let Some(cap) = changed.cap {
            write::known_header(out, "x-llm-proxy-max-tokens", itoa::Buffer::new().format(cap).as_bytes());
        }
    }
}

/// Returns what is left of a budget at a moment, in seconds since 1970.
pub(super) fn left_of(budget: &Budget, unix: i64) -> BudgetLeft {
    describe(budget, budget.state.account(unix).as_deref())
}

/// Returns the fields that describe a budget, of which nothing may be known.
pub(super) fn fields_of(budget: &Budget, account: Option<&Account>) -> Arc<Fields> {
    let ends_at = account.map(|account| account.window.ends_at);
    let extra = account.map_or(0, Account::extra);
    budget.fields(ends_at, extra, || fields(budget, account))
}

/// Returns what is left of the budget of which the least is, in proportion to its amount. Of some
/// nothing may be known.
pub(super) fn tightest<'b>(all: impl Iterator<Item = (&'b Arc<Budget>, Option<&'b Account>)>) -> Option<BudgetLeft> {
    let mut least: Option<(&Budget, Option<&Account>, i64, i64)> = None;
    for (budget, account) in all {
        let left = account.map_or(0, Account::available);
        let amount = amount_of(budget, account).max(1);
        let is_less = |of_least: &(_, _, i64, i64)| {
            i128::from(left) * i128::from(of_least.3) < i128::from(of_least.2) * i128::from(amount)
        };
        if least.as_ref().is_none_or(is_less) {
            least = Some((budget, account, left, amount));
        }
    }
    least.map(|(budget, account, ..)| describe(budget, account))
}

fn amount_of(budget: &Budget, account: Option<&Account>) -> i64 {
    budget.terms.amount.saturating_add(account.map_or(0, Account::extra))
}

fn describe(budget: &Budget, account: Option<&Account>) -> BudgetLeft {
    BudgetLeft::new(fields_of(budget, account), budget.terms.unit, account.map_or(0, Account::available))
}

/// Writes the fields that describe a budget and, at their end, the name of the one for what is
/// left.
fn fields(budget: &Budget, account: Option<&Account>) -> Vec<u8> {
    let unit = budget.terms.unit;
    let mut out = Vec::new();
    // A name that is not allowed in a header is left out.
    let _ = write::named_header(&mut out, "x-llm-proxy-budget", budget.name.as_bytes());
    write::known_header(&mut out, "x-llm-proxy-budget-unit", unit.name().as_bytes());
    write::known_header(&mut out, "x-llm-proxy-budget-limit", show(unit, amount_of(budget, account)).as_bytes());
    if let Some(account) = account.filter(|_| budget.terms.period != Period::Total) {
        let renews_at = rfc3339::format(account.window.ends_at);
        write::known_header(&mut out, "x-llm-proxy-budget-reset", renews_at.as_bytes());
    }
    out.extend_from_slice(b"x-llm-proxy-budget-remaining: ");
    out
}

//! What is left of budgets, for the headers of the response.

use std::sync::Arc;

use super::super::reply::BudgetLeft;
use super::super::request_context::RequestContext;
use crate::config::budget::show;
use crate::limit::budget::{Account, Budget, Fields};
use crate::limit::period::Period;
use crate::rfc3339;
use llm_http::write;

/// Returns what is left of a budget now.
pub(super) fn left_of(req: &RequestContext<'_>, budget: &Budget) -> BudgetLeft {
    describe(budget, budget.state.account(unix_s(req)).as_deref())
}

/// Returns the fields that describe a budget, of which nothing may be known.
pub(super) fn fields_of(budget: &Budget, account: Option<&Account>) -> Arc<Fields> {
    let ends_at = account.map(|account| account.window.ends_at);
    let extra = account.map_or(0, Account::extra);
    budget.fields(ends_at, extra, || fields(budget, account))
}

/// Returns the seconds since 1970, as of the last reading of the worker's clock.
pub(super) fn unix_s(req: &RequestContext<'_>) -> i64 {
    (req.core.timers.unix_us() / 1_000_000) as i64
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

//! Why a budget refuses a request, in words.

use std::sync::Arc;

use super::super::core::Core;
use super::super::request_context::RequestContext;
use crate::config::boot::BudgetStatus;
use crate::config::budget::words;
use crate::limit::budget::{Budget, Scope, Unit};
use crate::limit::period::Period;
use crate::rfc3339;
use llm_wire::error::{Error, Kind};

/// The error of a request for which too little is left.
pub(super) fn exceeded(core: &Core, budget: &Budget, needed: i64, available: i64) -> Error {
    let terms = &budget.terms;
    let unix = core.timers.unix_s();
    let ends_at = budget.state.account(unix).map(|account| account.window.ends_at);
    let renewal = match (terms.period, ends_at) {
        (Period::Total, _) | (_, None) => "it does not renew by itself".to_owned(),
        (_, Some(ends_at)) => format!("it renews at {}", rfc3339::format(ends_at)),
    };
    let per = match terms.period {
        Period::Total => "in all".to_owned(),
        period => format!("per {}", period.name()),
    };
    let note = format!(
        "budget `{}` of {} `{}` ({} {per}) has {} left, and this request may use {}; {renewal}",
        budget.name,
        terms.scope.name(),
        terms.subject,
        words(terms.unit, terms.amount),
        words(terms.unit, available),
        words(terms.unit, needed),
    );
    match core.boot().budget_status {
        BudgetStatus::PaymentRequired => Error::client(Kind::Budget, note),
        BudgetStatus::TooManyRequests => {
            let seconds = ends_at.map_or(86_400, |ends_at| ends_at.saturating_sub(unix)).clamp(1, i64::from(u32::MAX));
            Error::client(Kind::BudgetRate, note).retry_after(seconds as u32)
        }
    }
}

/// The error of a model without a price, which one of these budgets needs.
pub(super) fn unpriced(req: &RequestContext<'_>, budgets: &[Arc<Budget>]) -> Error {
    let name = budgets.iter().find(|budget| budget.terms.unit == Unit::Dollars).map_or("", |budget| &*budget.name);
    let note = format!(
        "model `{}` has no price, which budget `{name}` in dollars needs; the operator can import one with \
         `llm-proxy import-prices`",
        req.model.name()
    );
    Error::client(Kind::Permission, note).param("model")
}

/// The error of a request while the store does not answer and what this gateway holds is not
/// enough.
pub(super) fn unreachable(budget: &Budget) -> Error {
    let what = match budget.terms.scope {
        Scope::Provider => "provider",
        _ => "request",
    };
    let note = format!("budget `{}` of this {what} can't be read now; try again", budget.name);
    Error::gateway(Kind::Overloaded, note).retry_after(1)
}

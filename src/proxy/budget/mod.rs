//! What a request may spend. The most that it may cost is reserved from each of its budgets before
//! a provider is asked, and settled by what was used when the request has ended, on every way out.
//!
//! Nothing of this runs while the configuration has no budget. While this gateway holds enough of
//! each budget, which is nearly always, a request takes [`reserve_at_once`], which waits for
//! nothing.
//!
//! | file | what |
//! |---|---|
//! | [`plan`] | what a request may need |
//! | [`resolved`] | the accounts of a caller, and reservations from all of them at once |
//! | [`hold`] | reserves from single accounts, and waits for the store |
//! | [`left`] | what is left, for the headers of the response |
//! | [`errors`] | the words of refusals |

mod errors;
mod hold;
pub mod left;
mod plan;
pub mod resolved;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use super::auth::{self, Caller};
use super::core::WorkerSnapshot;
use super::interrupt::{Failure, Interrupt};
use super::request_context::{Issuer, RequestContext};
use super::spending::{Own, Plan, Spending};
use super::tags;
use crate::config::snapshot::TagBudgets;
use crate::limit::Need;
use crate::limit::budget::{Budget, Unit};
use crate::metrics::names::Counter;
use crate::route::pick::{Candidate, Candidates};
use crate::telemetry::record::Short as ShortText;
use errors::{exceeded, unpriced};
use hold::reserve_all;
use left::{left_of, tightest};
use llm_wire::error::{Error, Kind};
use llm_wire::passthrough::peek;
use plan::plan_of;
use resolved::ResolvedBudgets;

/// No smaller limit of a response is sent to a provider: the request is refused.
const LEAST_OUTPUT: u64 = 64;

/// Reserves what the request may use from the budgets of its credential, groups and tags out of
/// what this gateway holds. False if that is not enough or not certain; then nothing has changed,
/// and [`reserve`] decides.
pub fn reserve_at_once(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    candidates: &Candidates,
    output: peek::Output,
) -> bool {
    let list = match (&view.snapshot.tag_budgets, caller) {
        (None, Some(caller)) if !caller.budgets().is_empty() => Cow::Borrowed(caller.budgets()),
        _ => match budgets_of(req, view, caller) {
            Err(_) => return false,
            Ok(budgets) if budgets.is_empty() => return !have_budgets(view, candidates),
            Ok(budgets) => budgets,
        },
    };
    let resolved = match &list {
        Cow::Borrowed(list) => req.core.budgets.of_caller(view.snapshot.generation, list, req.core.timers.unix_ns()),
        Cow::Owned(list) => ResolvedBudgets::of_request(list, req.core.timers.unix_s()),
    };
    let Some(resolved) = resolved else { return false };
    let mut plan = plan_of(req, view, (candidates, req.model.name()), output);
    plan.needs_price = resolved.have_dollars();
    if plan.needs_price && plan.prices.are_unknown() {
        return false;
    }
    let most = plan.most;
    let now_ms = req.core.timers.recent() / 1_000_000;
    let Some(own) = resolved.reserve(now_ms, |unit| plan.amount(unit, most, None)) else { return false };
    req.meta.spending = own.left();
    keep(req, Own::Joint(own), plan, most);
    true
}

/// Returns whether one of these budgets is in dollars.
fn need_price(budgets: &[Arc<Budget>]) -> bool {
    budgets.iter().any(|budget| budget.terms.unit == Unit::Dollars)
}

/// Returns whether a provider among these candidates has a budget.
fn have_budgets(view: &WorkerSnapshot, candidates: &Candidates) -> bool {
    candidates.list.iter().any(|of| !view.provider(of.provider).budgets.is_empty())
}

/// Keeps what was reserved with the request. `most` is the limit of its response.
#[inline]
fn keep(req: &mut RequestContext<'_>, own: Own, plan: Plan, most: u64) {
    let need = Need { prompt: plan.likely_prompt, output: most.saturating_mul(plan.answers) };
    req.recorder.set_spending(Spending { own, provider: Vec::new(), need, plan });
}

/// Reserves what the request may use from the budgets of its credential, groups and tags. Called
/// when there are budgets. Returns the candidates: those of another model if too little is left for
/// the one that was asked for, and the budget names one that costs less.
pub async fn reserve(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    candidates: Rc<Candidates>,
    output: peek::Output,
) -> Result<Rc<Candidates>, Interrupt> {
    let requested = req.model.name().to_owned();
    let (budget, error) = match reserve_own(req, view, caller, (&*candidates, requested.as_str()), output).await? {
        Ok(()) => return Ok(candidates),
        Err(short) => short,
    };
    if let Some(model) = &budget.terms.downgrade_to
        && let Some(candidates) = downgraded(req, view, caller, model)
        && reserve_own(req, view, caller, (&*candidates, &**model), output).await?.is_ok()
    {
        req.recorder.record_mut().virtual_model = candidates.virtual_model.as_ref().map_or(0, |model| model.id);
        req.pooled = candidates.pooled();
        req.core.metrics.inc(Counter::BudgetDowngraded);
        let mut left = req.meta.spending.take().unwrap_or_else(|| left_of(&budget, req.core.timers.unix_s()));
        left.set_downgraded_to(model);
        req.meta.spending = Some(left);
        return Ok(candidates);
    }
    req.core.metrics.inc(Counter::BudgetExceeded);
    req.meta.spending = Some(left_of(&budget, req.core.timers.unix_s()));
    Err(error.into())
}

/// The candidates of the model that a budget names instead of the one that was asked for. `None` if
/// the caller may not use it, nobody serves it, or the request continues a response that a provider
/// keeps.
fn downgraded(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    model: &str,
) -> Option<Rc<Candidates>> {
    auth::allow_model(caller, model).ok().filter(|()| matches!(req.issuer, Issuer::NotNamed))?;
    let (format, translates) = (req.route.format, req.route.translates());
    let candidates = view.selector.candidates(&view.snapshot, format, translates, model, caller);
    (!candidates.list.is_empty()).then_some(candidates)
}

/// Reserves for candidates that were found by this name. The inner error is the budget of which too
/// little is left, and what the client gets.
async fn reserve_own(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    (candidates, model): (&Candidates, &str),
    output: peek::Output,
) -> Result<Result<(), (Arc<Budget>, Error)>, Interrupt> {
    req.output_cap = None;
    let budgets = &*budgets_of(req, view, caller)?;
    if budgets.is_empty() && !have_budgets(view, candidates) {
        return Ok(Ok(()));
    }
    let mut plan = plan_of(req, view, (candidates, model), output);
    plan.needs_price = need_price(budgets);
    if plan.needs_price && plan.prices.are_unknown() {
        return Err(unpriced(req, budgets).into());
    }
    let mut most = plan.most;
    let own = loop {
        let (budget, available) = match reserve_all(req, budgets, |unit| plan.amount(unit, most, None)).await? {
            Ok(held) => break held,
            Err(short) => short,
        };
        if plan.refine(req.body()) {
            continue;
        }
        let affordable = plan.affordable(budget.terms.unit, available);
        if plan.is_limited || affordable >= most || affordable < LEAST_OUTPUT {
            let needed = plan.amount(budget.terms.unit, most, None);
            let error = exceeded(req.core, &budget, needed, available);
            return Ok(Err((budget, error)));
        }
        most = affordable;
    };
    if most < plan.most {
        req.core.metrics.inc(Counter::BudgetCapped);
        req.output_cap = Some(most);
    }
    let unix = req.core.timers.unix_s();
    let accounts: Vec<_> = budgets.iter().map(|budget| budget.state.account(unix)).collect();
    let mut left = tightest(budgets.iter().zip(accounts.iter().map(Option::as_deref)));
    if let (Some(left), Some(cap)) = (&mut left, req.output_cap) {
        left.set_cap(cap);
    }
    req.meta.spending = left;
    keep(req, Own::Each(own), plan, most);
    Ok(Ok(()))
}

/// Reserves what the request may use from the budgets of the provider that is tried next. The error
/// is why another provider must be tried.
pub async fn reserve_at(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    candidate: &Candidate,
) -> Result<(), Interrupt> {
    let provider = view.provider(candidate.provider).clone();
    let Some(mut spending) = req.recorder.take_spending() else { return Ok(()) };
    // What the provider before this one was to get is free again.
    spending.provider.clear();
    let sent = &*candidate.upstream_model;
    let price = spending.plan.prices.of(provider.id, &ShortText::new(sent));
    let needs_price = spending.plan.needs_price || provider.budgets.iter().any(|of| of.terms.unit == Unit::Dollars);
    if needs_price && price.is_none() {
        req.recorder.set_spending(spending);
        let note =
            format!("model `{sent}` has no price at provider `{}`, which a budget in dollars needs", provider.key);
        let failure = Failure::from(Error::gateway(Kind::Permission, note));
        return Err(Failure { try_next: true, ..failure }.into());
    }
    if provider.budgets.is_empty() {
        req.recorder.set_spending(spending);
        return Ok(());
    }
    let most = req.output_cap.unwrap_or(spending.plan.most);
    let mut held =
        reserve_all(req, &provider.budgets, |unit| spending.plan.amount(unit, most, Some(provider.id))).await;
    if matches!(held, Ok(Err(_))) && spending.plan.refine(req.body()) {
        held = reserve_all(req, &provider.budgets, |unit| spending.plan.amount(unit, most, Some(provider.id))).await;
    }
    let result = match held {
        Ok(Ok(held)) => {
            spending.provider = held;
            Ok(())
        }
        Ok(Err((budget, available))) => {
            let needed = spending.plan.amount(budget.terms.unit, most, Some(provider.id));
            let error = exceeded(req.core, &budget, needed, available);
            Err(Failure { try_next: true, ..Failure::from(error) }.into())
        }
        Err(interrupt) => Err(interrupt),
    };
    req.recorder.set_spending(spending);
    result
}

/// Returns the budgets of the caller, its groups and the tags that the request carries. Never inlined:
/// without budgets of tags the request path has the list of the caller at hand.
#[inline(never)]
fn budgets_of<'v>(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'v>,
) -> Result<Cow<'v, [Arc<Budget>]>, Error> {
    let of_caller = caller.map(|caller| caller.budgets()).unwrap_or_default();
    let Some(known) = &view.snapshot.tag_budgets else { return Ok(Cow::Borrowed(of_caller)) };
    let of_tags = of_tags(req, known)?;
    Ok(match of_tags.is_empty() {
        true => Cow::Borrowed(of_caller),
        false => of_caller.iter().cloned().chain(of_tags).collect(),
    })
}

/// The budgets of the tags that the request carries.
fn of_tags(req: &RequestContext<'_>, known: &TagBudgets) -> Result<Vec<Arc<Budget>>, Error> {
    let mut found = Vec::new();
    for tag in req.recorder.tags().unwrap_or_default().split(tags::SEPARATOR) {
        match known.get(tag) {
            Some(Some(budgets)) => found.extend_from_slice(budgets),
            Some(None) => {
                let note = format!("the budget of tag `{tag}` can't be used; ask the operator of this gateway");
                return Err(Error::gateway(Kind::Permission, note));
            }
            None => {}
        }
    }
    Ok(found)
}

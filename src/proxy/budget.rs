//! What a request may spend. The most that it may cost is reserved from each of its budgets before a
//! provider is asked, and settled by what was used when the request has ended, on every way out.
//!
//! Nothing of this runs while the configuration has no budget.

use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use memchr::memmem;

use super::auth::{self, Caller};
use super::client::WaitError;
use super::core::{Core, WorkerSnapshot};
use super::endpoint::Operation;
use super::interrupt::{Failure, Interrupt};
use super::reply::BudgetLeft;
use super::request_context::{Issuer, RequestContext};
use super::spending::{Held, Plan, PriceOf, Spending};
use super::tags;
use crate::config::boot::BudgetStatus;
use crate::config::budget::words;
use crate::config::prices::cost::May;
use crate::config::prices::{Price, Tier};
use crate::limit::Need;
use crate::limit::budget::{Account, Budget, Reservation, Scope, Short, Unit};
use crate::limit::period::Period;
use crate::metrics::names::Counter;
use crate::rfc3339;
use crate::route::pick::{Candidate, Candidates};
use crate::telemetry::record::Short as ShortText;
use crate::tokens;
use llm_wire::error::{Error, Kind};
use llm_wire::passthrough::peek;
use llm_wire::target::caps::UNLIMITED;

/// The tokens that a response is taken to have at most, if neither the request nor what is known of
/// the model says.
pub const ASSUMED_MOST: u64 = 32_768;
/// No smaller limit of a response is sent to a provider: the request is refused.
const LEAST_OUTPUT: u64 = 64;
/// How long a request waits for the store.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often it looks whether there is an answer.
const LOOK: Duration = Duration::from_millis(2);

/// `model` is the name by which the candidates were found.
fn plan_of(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    (candidates, model): (&Candidates, &str),
    output: peek::Output,
) -> Plan {
    let generates = req.route.operation == Operation::Generate;
    let by_bytes = tokens::most_of_short_prompt(req.body());
    // The estimate may be too low, and a provider adds tokens of its own.
    let estimated = || {
        let prompt = tokens::prompt(req.body());
        prompt.saturating_add(prompt / 2)
    };
    let prompt = by_bytes.unwrap_or_else(estimated);
    let limit = output.most(req.route.format).filter(|_| generates);
    let model_most = candidates.list.iter().map(|candidate| candidate.target.caps.max_output).max();
    let model_most = model_most.filter(|most| *most != UNLIMITED).unwrap_or(ASSUMED_MOST);
    let price = |candidate: &Candidate| {
        let provider = view.provider(candidate.provider);
        let sent = &*candidate.upstream_model;
        let price = req.core.price(provider, view.snapshot.generation, model, sent);
        PriceOf { provider: provider.id, sent: ShortText::new(sent), price }
    };
    let prices: Vec<PriceOf> = candidates.list.iter().map(price).collect();
    // The body is searched only for what has a price of its own.
    let is_priced = |of: fn(&Price) -> bool| prices.iter().any(|known| known.price.as_deref().is_some_and(of));
    let names = |word: &[u8]| memmem::find(req.body(), word).is_some();
    let may = May {
        tier: Tier::of(req.recorder.tier().as_bytes()),
        prompt,
        writes_cache: is_priced(Price::has_cache_writes) && names(b"cache_control"),
        has_media: is_priced(Price::has_media) && (names(b"audio") || names(b"image")),
        searches: is_priced(|price| price.per_search.is_some()) && names(b"web_search"),
    };
    Plan {
        prompt,
        is_by_bytes: by_bytes.is_some(),
        most: if generates { limit.unwrap_or(model_most) } else { 0 },
        answers: output.answers(req.route.format),
        is_limited: limit.is_some() || !generates,
        may,
        prices,
        needs_price: false,
    }
}

/// Reserves what the request may use from the budgets of its credential, groups and tags. Called when
/// there are budgets. Returns the candidates: those of another model if too little is left for the one
/// that was asked for, and the budget names one that costs less.
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
        let left = req.meta.spending.take().map_or_else(|| left_of(req, &budget), |left| (*left).clone());
        req.meta.spending = Some(Rc::new(BudgetLeft { downgraded_to: Some(Arc::from(&**model)), ..left }));
        return Ok(candidates);
    }
    req.core.metrics.inc(Counter::BudgetExceeded);
    req.meta.spending = Some(Rc::new(left_of(req, &budget)));
    Err(error.into())
}

/// The candidates of the model that a budget names instead of the one that was asked for. `None` if the
/// caller may not use it, nobody serves it, or the request continues a response that a provider keeps.
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
    let of_caller = caller.map(|caller| caller.budgets()).unwrap_or_default();
    let of_tags = of_tags(req, view)?;
    let all: Vec<Arc<Budget>>;
    let budgets = match of_tags.is_empty() {
        true => of_caller,
        false => {
            all = of_caller.iter().cloned().chain(of_tags).collect();
            &all
        }
    };
    let has_provider_budget = candidates.list.iter().any(|of| !view.provider(of.provider).budgets.is_empty());
    if budgets.is_empty() && !has_provider_budget {
        return Ok(Ok(()));
    }
    let mut plan = plan_of(req, view, (candidates, model), output);
    plan.needs_price = budgets.iter().any(|budget| budget.terms.unit == Unit::Dollars);
    if plan.needs_price && plan.prices.iter().all(|of| of.price.is_none()) {
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
    let tightest = budgets.iter().map(|budget| left_of(req, budget)).min_by_key(|left| {
        // In parts of a million.
        (i128::from(left.left) * 1_000_000) / i128::from(left.amount.max(1))
    });
    req.meta.spending = tightest.map(|left| Rc::new(BudgetLeft { cap: req.output_cap, ..left }));
    let prompt = tokens::of_short_prompt(req.body()).unwrap_or_else(|| tokens::prompt(req.body()));
    let need = Need { prompt, output: most.saturating_mul(plan.answers) };
    req.recorder.set_spending(Spending { own, provider: Vec::new(), need, plan });
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
    let price = spending.plan.price(provider.id, &ShortText::new(sent));
    let needs_price = spending.plan.needs_price || provider.budgets.iter().any(|of| of.terms.unit == Unit::Dollars);
    if needs_price && price.is_none() {
        req.recorder.set_spending(*spending);
        let note =
            format!("model `{sent}` has no price at provider `{}`, which a budget in dollars needs", provider.key);
        let failure = Failure::from(Error::gateway(Kind::Permission, note));
        return Err(Failure { try_next: true, ..failure }.into());
    }
    if provider.budgets.is_empty() {
        req.recorder.set_spending(*spending);
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
    req.recorder.set_spending(*spending);
    result
}

/// Reserves from all of these budgets or from none. The error is the first that has too little, and
/// what it has.
async fn reserve_all(
    req: &mut RequestContext<'_>,
    budgets: &[Arc<Budget>],
    amount: impl Fn(Unit) -> i64,
) -> Result<Result<Vec<Held>, (Arc<Budget>, i64)>, Interrupt> {
    let mut all = Vec::with_capacity(budgets.len());
    for budget in budgets {
        let unit = budget.terms.unit;
        match reserve_one(req, budget, amount(unit)).await? {
            Ok(Some(reservation)) => all.push(Held { unit, reservation }),
            Ok(None) => {}
            Err(available) => return Ok(Err((budget.clone(), available))),
        }
    }
    Ok(Ok(all))
}

/// Reserves from one budget, and waits for the store if this gateway holds too little. `Ok(None)` is a
/// budget that only warns, and of which nothing is known.
async fn reserve_one(
    req: &mut RequestContext<'_>,
    budget: &Budget,
    units: i64,
) -> Result<Result<Option<Reservation>, i64>, Interrupt> {
    let state = &budget.state;
    let began = req.core.timers.read();
    let (mut is_called, mut question) = (false, None::<(Arc<Account>, u64)>);
    loop {
        let now = req.core.timers.recent();
        let now_ms = now / 1_000_000;
        let unix = (req.core.timers.unix_us() / 1_000_000) as i64;
        match state.account(unix) {
            Some(account) if !budget.terms.is_hard => return Ok(Ok(Some(account.reserve_anyway(units, now_ms)))),
            Some(account) => {
                let asked = question.as_ref().filter(|(of, _)| Arc::ptr_eq(of, &account)).map(|(_, number)| *number);
                match account.reserve(units, now_ms, asked) {
                    Ok(reservation) => return Ok(Ok(Some(reservation))),
                    Err(Short::Empty { .. }) if state.is_down() => return Err(unreachable(budget).into()),
                    Err(Short::Empty { available }) => return Ok(Err(available)),
                    Err(Short::Ask(number)) => {
                        if asked.is_none() {
                            question = Some((account, number));
                            req.core.shared.budget_waker.wake();
                        }
                    }
                }
            }
            None if !is_called => {
                is_called = true;
                state.call();
                req.core.shared.budget_waker.wake();
            }
            None => {}
        }
        let waited = Duration::from_nanos(now.saturating_sub(began));
        if waited >= LONGEST_WAIT || (state.is_down() && waited >= LONGEST_WAIT / 4) {
            return if budget.terms.is_hard { Err(unreachable(budget).into()) } else { Ok(Ok(None)) };
        }
        pause(req).await?;
    }
}

async fn pause(req: &mut RequestContext<'_>) -> Result<(), Interrupt> {
    req.client.deadline.set(LOOK);
    match req.client.wait(pending::<()>()).await {
        Ok(()) | Err(WaitError::DeadlineExpired) if req.core.stopping() => Err(Error::stopping().into()),
        Ok(()) | Err(WaitError::DeadlineExpired) => Ok(()),
        Err(WaitError::ClientDisconnected) => Err(Interrupt::ClientDisconnected),
    }
}

/// The budgets of the tags that the request carries.
fn of_tags(req: &RequestContext<'_>, view: &WorkerSnapshot) -> Result<Vec<Arc<Budget>>, Error> {
    let Some(known) = &view.snapshot.tag_budgets else { return Ok(Vec::new()) };
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

/// What is left of a budget now.
fn left_of(req: &RequestContext<'_>, budget: &Budget) -> BudgetLeft {
    let unix = (req.core.timers.unix_us() / 1_000_000) as i64;
    let account = budget.state.account(unix);
    let extra = account.as_ref().map_or(0, |account| account.extra());
    BudgetLeft {
        name: budget.name.clone(),
        unit: budget.terms.unit,
        amount: budget.terms.amount.saturating_add(extra),
        left: account.as_ref().map_or(0, |account| account.available()),
        renews_at: account.map(|account| account.window.ends_at).filter(|_| budget.terms.period != Period::Total),
        cap: None,
        downgraded_to: None,
    }
}

/// The error of a request for which too little is left.
fn exceeded(core: &Core, budget: &Budget, needed: i64, available: i64) -> Error {
    let terms = &budget.terms;
    let unix = (core.timers.unix_us() / 1_000_000) as i64;
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

fn unpriced(req: &RequestContext<'_>, budgets: &[Arc<Budget>]) -> Error {
    let name = budgets.iter().find(|budget| budget.terms.unit == Unit::Dollars).map_or("", |budget| &*budget.name);
    let note = format!(
        "model `{}` has no price, which budget `{name}` in dollars needs; the operator can import one with \
         `llm-proxy import-prices`",
        req.model.name()
    );
    Error::client(Kind::Permission, note).param("model")
}

/// The store does not answer, and what this gateway holds is not enough.
fn unreachable(budget: &Budget) -> Error {
    let what = match budget.terms.scope {
        Scope::Provider => "provider",
        _ => "request",
    };
    let note = format!("budget `{}` of this {what} can't be read now; try again", budget.name);
    Error::gateway(Kind::Overloaded, note).retry_after(1)
}

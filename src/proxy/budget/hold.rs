//! Reserves from budgets: at once, or after a wait for the store.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::super::client::WaitError;
use super::super::interrupt::Interrupt;
use super::super::request_context::RequestContext;
use super::super::spending::Held;
use super::errors::unreachable;
use crate::limit::budget::{Account, Budget, Reservation, Short, Unit};
use llm_wire::error::Error;

/// How long a request waits for the store.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often it looks whether there is an answer.
const LOOK: Duration = Duration::from_millis(2);

/// Reserves from all of these budgets or from none. The error is the first that has too little, and
/// what it has.
pub(super) async fn reserve_all(
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

/// Reserves from one budget, and waits for the store if this gateway holds too little. `Ok(None)`
/// is a budget that only warns, and of which nothing is known.
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
        let unix = req.core.timers.unix_s();
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

//! Reserves from budgets: at once, or after a wait for the store.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use super::super::client::WaitError;
use super::super::interrupt::Interrupt;
use super::super::request_context::RequestContext;
use super::super::spending::Held;
use super::errors::unreachable;
use super::left::unix_s;
use crate::limit::budget::{Account, Budget, Reservation, Short, Unit};
use llm_wire::error::Error;

/// How long a request waits for the store.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often it looks whether there is an answer.
const LOOK: Duration = Duration::from_millis(2);

/// Reserves from all of these budgets out of what this gateway holds. `None` if it holds too little
/// of one; then nothing is reserved.
pub(super) fn reserve_held(
    req: &RequestContext<'_>,
    budgets: &[Arc<Budget>],
    amount: impl Fn(Unit) -> i64,
) -> Option<Vec<Held>> {
    reserve_held_at((unix_s(req), req.core.timers.recent() / 1_000_000), budgets, amount)
}

/// As [`reserve_held`], at these seconds since 1970 and milliseconds of the node's clock.
fn reserve_held_at(
    (unix, now_ms): (i64, u64),
    budgets: &[Arc<Budget>],
    amount: impl Fn(Unit) -> i64,
) -> Option<Vec<Held>> {
    let mut all = Vec::with_capacity(budgets.len());
    for budget in budgets {
        let unit = budget.terms.unit;
        let account = budget.state.account(unix)?;
        let reservation = match budget.terms.is_hard {
            true => account.reserve_held(amount(unit), now_ms)?,
            false => account.reserve_anyway(amount(unit), now_ms),
        };
        all.push(Held { unit, reservation });
    }
    Some(all)
}

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
        let unix = unix_s(req);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::budget::{Claim, Scope, State, Sums, Terms};
    use crate::limit::period::{Period, Window, Zone};

    /// A budget in dollars of which this node holds so much, and knows nothing if that is `None`.
    fn holding(units: Option<i64>, is_hard: bool) -> Arc<Budget> {
        let state = Arc::new(State::default());
        if let Some(want) = units {
            let grant = Sums::default().apply(&Claim { amount: 1_000, want, ..Claim::default() });
            let account = Arc::new(Account::new(Window::ALL, grant.sums.epoch));
            assert!(account.take(&grant, 0, 0));
            state.begin(account);
        }
        let terms = Terms {
            scope: Scope::Credential,
            subject: "a".into(),
            unit: Unit::Dollars,
            amount: 1_000,
            period: Period::Total,
            zone: Zone::parse("").unwrap(),
            is_hard,
            warn_at: Box::new([]),
            downgrade_to: None,
        };
        Arc::new(Budget::new(1, "b", terms, state))
    }

    /// Returns whether exactly `units` can be reserved.
    fn holds(budget: &Budget, units: i64) -> bool {
        let account = budget.state.account(1).unwrap();
        account.reserve_held(units + 1, 1).is_none() && account.reserve_held(units, 1).is_some()
    }

    /// What the first budgets had is free again if the last holds too little, or nothing is known
    /// of it: at once, and not when the request ends.
    #[test]
    fn a_budget_that_is_short_leaves_the_others_as_they_were() {
        for last in [holding(Some(49), true), holding(None, true)] {
            let budgets = [holding(Some(100), true), holding(Some(10), false), last];
            assert!(reserve_held_at((1, 1), &budgets, |_| 50).is_none());
            assert!(holds(&budgets[0], 100) && holds(&budgets[1], 10));
        }
        let budgets = [holding(Some(100), true), holding(Some(60), false), holding(Some(50), true)];
        let held = reserve_held_at((1, 1), &budgets, |_| 50).unwrap();
        assert_eq!(held.len(), 3);
        assert!(holds(&budgets[0], 50) && holds(&budgets[1], 10) && holds(&budgets[2], 0));
        drop(held);
        assert!(holds(&budgets[0], 100) && holds(&budgets[1], 60) && holds(&budgets[2], 50));
    }
}

//! The budgets of a caller with what this gateway holds of each, found once by a worker for many
//! requests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::left::{self, BudgetLeft};
use crate::config::prices::PriceTable;
use crate::limit::budget::{Account, Budget, Fields, Unit};

/// Callers whose budgets a worker remembers. A power of two.
const CALLERS: usize = 256;
/// How often a worker looks for those whose windows have ended, in seconds.
const SWEEP_SECS: i64 = 60;

/// The budgets of a caller, with the accounts of the windows that run.
#[derive(Debug)]
pub struct ResolvedBudgets {
    /// Whose they are.
    key: Key,
    /// The nanoseconds since 1970 that are in all the windows: from the first up to the second,
    /// which is in none.
    from: u64,
    until: u64,
    has_tokens: bool,
    has_dollars: bool,
    lines: Box<[Line]>,
}

/// What tells the lists of budgets of a configuration apart: the configuration's generation, and
/// the place of the list in the memory of its snapshot. Of a list that was put together for one
/// request the place is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    generation: u64,
    place: usize,
}

/// One budget, with what a request looks at beside each other.
#[derive(Debug)]
struct Line {
    account: Arc<Account>,
    unit: Unit,
    is_hard: bool,
    /// [`Account::changes`], as of when this was made, of an account in force.
    changes: u64,
    /// The amount with what was added to it: what is left of budgets is compared in proportion.
    amount: f64,
    fields: Arc<Fields>,
}

impl Line {
    fn new(budget: &Arc<Budget>, unix: i64) -> Option<Line> {
        let account = budget.state.account(unix)?;
        let changes = account.changes() & !Account::REPLACED;
        let extra = account.extra();
        let fields = left::fields_of(budget, Some(&account));
        let terms = &budget.terms;
        let amount = terms.amount.saturating_add(extra).max(1) as f64;
        Some(Line { account, unit: terms.unit, is_hard: terms.is_hard, changes, amount, fields })
    }

    #[inline]
    fn is_current(&self) -> bool {
        self.account.changes() == self.changes
    }
}

impl ResolvedBudgets {
    /// Finds the accounts of these budgets at a moment, in seconds since 1970. `None` if there is
    /// none yet of one of them.
    pub(super) fn of_request(budgets: &[Arc<Budget>], unix: i64) -> Option<Rc<ResolvedBudgets>> {
        ResolvedBudgets::new(Key { generation: 0, place: 0 }, budgets, unix)
    }

    fn new(key: Key, budgets: &[Arc<Budget>], unix: i64) -> Option<Rc<ResolvedBudgets>> {
        let lines = budgets.iter().map(|budget| Line::new(budget, unix)).collect::<Option<Box<[Line]>>>()?;
        let has = |unit: Unit| budgets.iter().any(|budget| budget.terms.unit == unit);
        let windows = || lines.iter().map(|line| line.account.window);
        let from = nanoseconds(windows().map(|window| window.starts_at).max().unwrap_or(0));
        let until = nanoseconds(windows().map(|window| window.ends_at).min().unwrap_or(i64::MAX));
        let (has_tokens, has_dollars) = (has(Unit::Tokens), has(Unit::Dollars));
        Some(Rc::new(ResolvedBudgets { key, from, until, has_tokens, has_dollars, lines }))
    }

    #[inline]
    fn is_current(&self, key: Key, unix_ns: u64) -> bool {
        self.key == key && self.is_in_force(unix_ns)
    }

    /// Returns whether a moment is in all the windows, and no account was replaced.
    #[inline]
    fn is_in_force(&self, unix_ns: u64) -> bool {
        (self.from..self.until).contains(&unix_ns) && self.lines.iter().all(Line::is_current)
    }

    /// Returns whether one of them is in dollars.
    pub(super) fn have_dollars(&self) -> bool {
        self.has_dollars
    }

    /// Reserves from all of them at `now_ms` of the node's clock. `None` if one has too little;
    /// then nothing is reserved.
    #[inline]
    pub(super) fn reserve(
        self: Rc<ResolvedBudgets>,
        now_ms: u64,
        amount: impl Fn(Unit) -> i64,
    ) -> Option<JointReservation> {
        let units = |unit: Unit, is_needed: bool| if is_needed { amount(unit).max(0) } else { 0 };
        let reserved =
            Amounts { tokens: units(Unit::Tokens, self.has_tokens), dollars: units(Unit::Dollars, self.has_dollars) };
        for (at, line) in self.lines.iter().enumerate() {
            let units = reserved.of(line.unit);
            if !line.is_hard {
                line.account.take_anyway(units, now_ms);
            } else if !line.account.take_held(units, now_ms) {
                give_back(&self.lines[..at], reserved);
                return None;
            }
        }
        Some(JointReservation { budgets: self, reserved })
    }
}

/// Returns the nanoseconds of a moment in seconds. What a word can't hold is a time that does not
/// come.
fn nanoseconds(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000)
}

/// An amount in each unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Amounts {
    tokens: i64,
    dollars: i64,
}

impl Amounts {
    const ZERO: Amounts = Amounts { tokens: 0, dollars: 0 };

    #[inline]
    fn of(&self, unit: Unit) -> i64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Dollars => self.dollars,
        }
    }
}

/// What a request has used, in both units.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    pub tokens: i64,
    /// `None` if a price is not known any more.
    pub dollars: Option<i64>,
}

impl Used {
    /// Returns the sum of both.
    pub fn plus(self, other: Used) -> Used {
        Used {
            tokens: self.tokens.saturating_add(other.tokens),
            dollars: self.dollars.zip(other.dollars).map(|(sum, one)| sum.saturating_add(one)),
        }
    }

    /// Returns what counts for a budget in this unit of which `reserved` was reserved: of a price
    /// that is not known any more, what was reserved.
    pub fn units(&self, unit: Unit, reserved: i64) -> i64 {
        match unit {
            Unit::Tokens => self.tokens,
            Unit::Dollars => self.dollars.unwrap_or(reserved),
        }
    }
}

/// What a request has reserved of several budgets: of each the same, in its unit. Dropped without
/// having been settled, it gives everything back.
#[derive(Debug)]
#[must_use]
pub struct JointReservation {
    budgets: Rc<ResolvedBudgets>,
    reserved: Amounts,
}

impl JointReservation {
    /// Returns what is left of the budget of which the least is, in proportion to its amount. `None`
    /// without any.
    #[inline]
    pub(super) fn left(&self) -> Option<BudgetLeft> {
        // Exact as far as it matters for which of two budgets is shown.
        let lines = self.budgets.lines.iter().map(|line| {
            let left = line.account.available();
            (line, left, left as f64 / line.amount)
        });
        let (line, left, _) = lines.reduce(|least, next| if next.2 < least.2 { next } else { least })?;
        Some(BudgetLeft::new(line.fields.clone(), line.unit, left))
    }

    /// Charges each budget for what the request has used, at its end. Nothing is reserved any more.
    #[inline]
    pub fn settle(&mut self, used: &Used) {
        let reserved = std::mem::replace(&mut self.reserved, Amounts::ZERO);
        let units = |unit: Unit| used.units(unit, reserved.of(unit));
        let used = Amounts { tokens: units(Unit::Tokens), dollars: units(Unit::Dollars) };
        for line in &self.budgets.lines {
            line.account.settle(reserved.of(line.unit), used.of(line.unit));
        }
    }
}

impl Drop for JointReservation {
    fn drop(&mut self) {
        if self.reserved != Amounts::ZERO {
            give_back(&self.budgets.lines, self.reserved);
        }
    }
}

/// Cold, since nearly every request is settled.
#[cold]
fn give_back(lines: &[Line], reserved: Amounts) {
    lines.iter().for_each(|line| line.account.give_back(reserved.of(line.unit)));
}

/// What a worker remembers for the budgets of its requests: a bounded number of callers, and the
/// table of prices. An account that has ended is kept for at most [`SWEEP_SECS`] while there are
/// requests of callers with budgets, since the control plane waits until nobody has it.
pub struct KnownBudgets {
    /// By [`slot_of`]. A caller takes the place of another one.
    callers: RefCell<[Option<Rc<ResolvedBudgets>>; CALLERS]>,
    /// When [`KnownBudgets::sweep`] is due, in nanoseconds since 1970.
    next_sweep: Cell<u64>,
    prices: RefCell<Cache<Arc<ArcSwap<PriceTable>>, Arc<PriceTable>>>,
}

impl KnownBudgets {
    /// Remembers nothing yet. `prices` is the table of the process.
    pub fn new(prices: Arc<ArcSwap<PriceTable>>) -> KnownBudgets {
        KnownBudgets {
            callers: RefCell::new([const { None }; CALLERS]),
            next_sweep: Cell::new(0),
            prices: RefCell::new(Cache::new(prices)),
        }
    }

    /// Calls `read` with the table of prices.
    #[inline]
    pub(super) fn with_prices<T>(&self, read: impl FnOnce(&Arc<PriceTable>) -> T) -> T {
        read(self.prices.borrow_mut().load())
    }

    /// Returns the budgets of a list that is part of the snapshot of this generation, at a moment
    /// in nanoseconds since 1970. `None` if this node knows nothing yet of one of them.
    #[inline]
    pub(super) fn of_caller(
        &self,
        generation: u64,
        budgets: &[Arc<Budget>],
        unix_ns: u64,
    ) -> Option<Rc<ResolvedBudgets>> {
        let key = Key { generation, place: budgets.as_ptr().addr() };
        if unix_ns >= self.next_sweep.get() {
            self.sweep(unix_ns);
        }
        let known =
            self.callers.borrow()[slot_of(key.place)].as_ref().filter(|known| known.is_current(key, unix_ns)).cloned();
        known.or_else(|| self.resolve(key, budgets, unix_ns))
    }

    /// Cold, since a caller is found again until something of its budgets has changed.
    #[cold]
    fn resolve(&self, key: Key, budgets: &[Arc<Budget>], unix_ns: u64) -> Option<Rc<ResolvedBudgets>> {
        let found = ResolvedBudgets::new(key, budgets, (unix_ns / 1_000_000_000) as i64);
        self.callers.borrow_mut()[slot_of(key.place)] = found.clone();
        found
    }

    /// Forgets all callers: those of another configuration have other lists.
    pub fn forget_callers(&self) {
        self.callers.borrow_mut().fill(None);
    }

    /// Forgets the callers of whom a window has ended, also those who do not come again. Cold, since
    /// it runs once in [`SWEEP_SECS`].
    #[cold]
    fn sweep(&self, unix_ns: u64) {
        self.next_sweep.set(unix_ns.saturating_add(nanoseconds(SWEEP_SECS)));
        for known in self.callers.borrow_mut().iter_mut() {
            known.take_if(|known| !known.is_in_force(unix_ns));
        }
    }
}

/// Spreads places in memory, which are multiples of eight.
fn slot_of(place: usize) -> usize {
    ((place >> 3) ^ (place >> 11) ^ (place >> 19)) % CALLERS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::budget::{Claim, Grant, Scope, State, Sums, Terms};
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

    fn reserve(budgets: &[Arc<Budget>], units: i64) -> Option<JointReservation> {
        ResolvedBudgets::of_request(budgets, 1)?.reserve(1, |_| units)
    }

    /// What the first budgets had is free again if the last holds too little, or nothing is known
    /// of it: at once, and not when the request ends.
    #[test]
    fn a_budget_that_is_short_leaves_the_others_as_they_were() {
        for last in [holding(Some(49), true), holding(None, true)] {
            let budgets = [holding(Some(100), true), holding(Some(10), false), last];
            assert!(reserve(&budgets, 50).is_none());
            assert!(holds(&budgets[0], 100) && holds(&budgets[1], 10));
        }
        let budgets = [holding(Some(100), true), holding(Some(60), false), holding(Some(50), true)];
        let held = reserve(&budgets, 50).unwrap();
        assert!(holds(&budgets[0], 50) && holds(&budgets[1], 10) && holds(&budgets[2], 0));
        drop(held);
        assert!(holds(&budgets[0], 100) && holds(&budgets[1], 60) && holds(&budgets[2], 50));
    }

    /// What a worker remembers is found again, and nothing of it is used after a reload, after the
    /// end of a window, or once the sums were reset or the amount was topped up.
    #[test]
    fn what_is_remembered_is_what_is_in_force() {
        let known = KnownBudgets::new(Arc::default());
        let budgets = [holding(Some(100), true), holding(Some(100), true)];
        let find = |generation, unix| known.of_caller(generation, &budgets, nanoseconds(unix));
        let is_found = |of: &Rc<ResolvedBudgets>| find(7, 1).is_some_and(|found| Rc::ptr_eq(&found, of));

        let first = find(7, 1).unwrap();
        assert!(is_found(&first));
        let reloaded = find(8, 1).unwrap();
        assert!(!Rc::ptr_eq(&first, &reloaded));

        let before = find(7, 1).unwrap();
        let topped_up = Grant { sums: Sums { extra: 5, ..Sums::default() }, ..Grant::default() };
        assert!(budgets[1].state.account(1).unwrap().take(&topped_up, 0, 0));
        assert!(!is_found(&before));

        let before = find(7, 1).unwrap();
        assert!(is_found(&before));
        let reset = Arc::new(Account::new(Window { starts_at: 0, ends_at: 10 }, 1));
        budgets[0].state.begin(reset.clone());
        let after = find(7, 1).unwrap();
        assert!(!Rc::ptr_eq(&before, &after) && Arc::ptr_eq(&after.lines[0].account, &reset));
        assert!(after.reserve(1, |_| 1).is_none(), "nothing is held after a reset");

        assert!(find(7, 9).is_some() && find(7, 10).is_none(), "the window of one has ended");
        let last = nanoseconds(10) - 1;
        assert!(known.of_caller(7, &budgets, last).is_some(), "and not before its last nanosecond");
    }

    /// The account of a caller who does not come again is free a minute after its end, once another
    /// caller has come, and that of any caller at once after a reload.
    #[test]
    fn accounts_that_have_ended_are_not_kept() {
        let known = KnownBudgets::new(Arc::default());
        let (gone, other) = ([holding(Some(100), true)], [holding(Some(100), true)]);
        let account = Arc::new(Account::new(Window { starts_at: 0, ends_at: 10 }, 0));
        gone[0].state.begin(account.clone());
        assert!(known.of_caller(7, &gone, nanoseconds(1)).is_some());
        gone[0].state.begin(Arc::new(Account::new(Window { starts_at: 10, ends_at: 20 }, 0)));
        assert_eq!(Arc::strong_count(&account), 2);
        assert!(known.of_caller(7, &other, nanoseconds(1 + SWEEP_SECS)).is_some());
        assert_eq!(Arc::strong_count(&account), 1);

        let account = other[0].state.account(1).unwrap();
        let count = Arc::strong_count(&account);
        known.forget_callers();
        assert_eq!(Arc::strong_count(&account), count - 1);
    }
}

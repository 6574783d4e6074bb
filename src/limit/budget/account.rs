//! What this node holds of a budget in one window: an atomic word that requests reserve from.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::sums::{Claim, Grant};
use crate::limit::period::Window;

/// A slice is this part of what is left.
const PART: i64 = 16;
/// How long a node keeps what nobody uses, in milliseconds.
pub(super) const IDLE_MS: u64 = 5000;
/// How long what was granted is left alone, in milliseconds: who asked for it looks every few of
/// them.
const GRANTED_MS: u64 = 100;
/// How long an answer that nothing is left counts, in milliseconds.
pub(super) const EMPTY_MS: u64 = 250;

/// What this node holds of a budget in one window.
#[derive(Debug)]
pub struct Account {
    pub window: Window,
    pub epoch: i64,
    /// What may be reserved. Below zero is what was used beyond what was reserved.
    balance: AtomicI64,
    /// What was used and not reported yet.
    spent: AtomicI64,
    /// What requests wait for.
    wanted: AtomicI64,
    /// Requests that have asked for more.
    asked: AtomicU64,
    /// How many of them the last answer was for.
    answered: AtomicU64,
    /// Until when there is no use in asking, in milliseconds on the node's clock.
    empty_until: AtomicU64,
    /// When it was last used, likewise.
    used_at: AtomicU64,
    /// When something was last granted, likewise.
    granted_at: AtomicU64,
    /// The largest reserve of late.
    largest: AtomicI64,
    /// What the store had left, as of the last answer.
    left: AtomicI64,
    /// [`Sums::spent`] and [`Sums::extra`], as of the last answer.
    spent_by_all: AtomicI64,
    extra: AtomicI64,
    /// [`Account::REPLACED`], and in the other bits how often `extra` has changed.
    changes: AtomicU64,
}

/// Why nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// The store has to be asked. The number is that of the question.
    Ask(u64),
    /// There is too little; so much could be reserved.
    Empty { available: i64 },
}

/// What a request has reserved. Dropped without having been settled, it gives everything back.
#[derive(Debug)]
#[must_use]
pub struct Reservation {
    account: Arc<Account>,
    pub units: i64,
}

impl Reservation {
    /// Returns the account that it is of.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The request has ended, and has used so much.
    pub fn settle(mut self, used: i64) {
        self.account.settle(std::mem::take(&mut self.units), used);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.give_back(self.units);
    }
}

impl Account {
    /// Makes an empty account for a window. `epoch` is that of the sums it takes from.
    pub fn new(window: Window, epoch: i64) -> Account {
        Account {
            window,
            epoch,
            balance: AtomicI64::new(0),
            spent: AtomicI64::new(0),
            wanted: AtomicI64::new(0),
            asked: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            empty_until: AtomicU64::new(0),
            used_at: AtomicU64::new(0),
            granted_at: AtomicU64::new(0),
            largest: AtomicI64::new(0),
            left: AtomicI64::new(0),
            spent_by_all: AtomicI64::new(0),
            extra: AtomicI64::new(0),
            changes: AtomicU64::new(0),
        }
    }

    /// Notes that another account takes its place.
    pub(super) fn replace(&self) {
        self.changes.fetch_or(Account::REPLACED, Ordering::Release);
    }

    /// The bit of [`Account::changes`] that says that another account has taken its place.
    pub const REPLACED: u64 = 1;

    /// Returns a number that is another one once another account has taken its place, that of the
    /// next window or of sums that were reset, or once [`Account::extra`] has changed. Who keeps
    /// the latter reads this before it.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Returns whether this second, since 1970, is in its window.
    pub fn holds(&self, now: i64) -> bool {
        (self.window.starts_at..self.window.ends_at).contains(&now)
    }

    /// Reserves `units` at `now` milliseconds of the node's clock out of what this node holds.
    /// `None` if that is too little; then nothing is changed.
    pub fn reserve_held(self: &Arc<Account>, units: i64, now: u64) -> Option<Reservation> {
        let units = units.max(0);
        self.take_held(units, now).then(|| Reservation { account: self.clone(), units })
    }

    /// Takes `units`, which are not negative, as [`Account::reserve_held`] does. The caller owes a
    /// call of [`Account::settle`] or of [`Account::give_back`].
    #[inline]
    pub fn take_held(&self, units: i64, now: u64) -> bool {
        self.used_at.store(now, Ordering::Relaxed);
        let mut seen = self.balance.load(Ordering::Relaxed);
        while seen >= units {
            match self.balance.compare_exchange_weak(seen, seen - units, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    if units > self.largest.load(Ordering::Relaxed) {
                        self.largest.store(units, Ordering::Relaxed);
                    }
                    return true;
                }
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Takes `units`, which are not negative, whether there is enough or not. The caller owes as
    /// after [`Account::take_held`].
    #[inline]
    pub fn take_anyway(&self, units: i64, now: u64) {
        self.used_at.store(now, Ordering::Relaxed);
        self.balance.fetch_sub(units, Ordering::Relaxed);
    }

    /// Charges a request that had taken `units` for what it has used.
    #[inline]
    pub fn settle(&self, units: i64, used: i64) {
        self.spent.fetch_add(used, Ordering::Relaxed);
        self.balance.fetch_add(units.saturating_sub(used), Ordering::Relaxed);
    }

    /// Gives back what a request had taken.
    pub fn give_back(&self, units: i64) {
        self.balance.fetch_add(units, Ordering::Relaxed);
    }

    /// Reserves `units` at `now` milliseconds of the node's clock. `question` is the last one that
    /// was answered with [`Short::Ask`] to the same request.
    pub fn reserve(self: &Arc<Account>, units: i64, now: u64, question: Option<u64>) -> Result<Reservation, Short> {
        let units = units.max(0);
        if let Some(reservation) = self.reserve_held(units, now) {
            return Ok(reservation);
        }
        let is_answered = question.is_some_and(|question| self.answered.load(Ordering::Acquire) >= question);
        if is_answered || self.empty_until.load(Ordering::Relaxed) > now {
            return Err(Short::Empty { available: self.available() });
        }
        if let Some(question) = question {
            return Err(Short::Ask(question));
        }
        self.wanted.fetch_add(units, Ordering::Relaxed);
        Err(Short::Ask(self.asked.fetch_add(1, Ordering::Release) + 1))
    }

    /// Reserves whether there is enough or not: a budget that only warns.
    pub fn reserve_anyway(self: &Arc<Account>, units: i64, now: u64) -> Reservation {
        let units = units.max(0);
        self.take_anyway(units, now);
        Reservation { account: self.clone(), units }
    }

    /// Returns what may be spent, as far as this node knows.
    #[inline]
    pub fn available(&self) -> i64 {
        let balance = self.balance.load(Ordering::Relaxed);
        balance.saturating_add(self.left.load(Ordering::Relaxed).max(0)).max(0)
    }

    /// Returns what was spent by all nodes, as far as this one knows.
    pub fn spent(&self) -> i64 {
        self.spent_by_all.load(Ordering::Relaxed).saturating_add(self.spent.load(Ordering::Relaxed))
    }

    /// Returns what was added to the amount for this window.
    #[inline]
    pub fn extra(&self) -> i64 {
        self.extra.load(Ordering::Relaxed)
    }

    /// Returns what is to be asked of the store, and how many questions that answers. `None` if
    /// there is nothing, or nothing but sums that can wait (`is_patient`).
    pub fn claim(&self, amount: i64, now: u64, is_patient: bool) -> Option<(Claim, u64)> {
        let asked = self.asked.load(Ordering::Acquire);
        let is_asked = asked > self.answered.load(Ordering::Relaxed);
        let is_idle = now.saturating_sub(self.used_at.load(Ordering::Relaxed)) >= IDLE_MS;
        let slice = self.slice();
        let want = match is_asked {
            true => self.wanted.swap(0, Ordering::Relaxed).max(slice),
            false => 0,
        };
        let is_fresh = now.saturating_sub(self.granted_at.load(Ordering::Relaxed)) < GRANTED_MS;
        let give = self.take_surplus(match () {
            () if is_fresh => i64::MAX,
            () if is_idle => 0,
            () => slice.saturating_mul(2),
        });
        let balance = self.balance.load(Ordering::Relaxed);
        let low = !is_idle && give == 0 && balance < slice / 2 && self.left.load(Ordering::Relaxed) > 0;
        let want = if low { want.max(slice - balance) } else { want };
        let has_spent = self.spent.load(Ordering::Relaxed) != 0;
        if want == 0 && give == 0 && (is_patient || !has_spent) && !is_asked {
            return None;
        }
        let spent = self.spent.swap(0, Ordering::Relaxed);
        Some((Claim { epoch: Some(self.epoch), amount, give, want, spent }, asked))
    }

    /// Returns a slice of what was left, and at least what the largest request needs.
    fn slice(&self) -> i64 {
        (self.left.load(Ordering::Relaxed).max(0) / PART).max(self.largest.load(Ordering::Relaxed))
    }

    /// Takes out of the balance what lies above `keep`, or what is owed.
    fn take_surplus(&self, keep: i64) -> i64 {
        let mut seen = self.balance.load(Ordering::Relaxed);
        loop {
            let rest = if seen < 0 { 0 } else { seen.min(keep) };
            if rest == seen {
                return 0;
            }
            match self.balance.compare_exchange_weak(seen, rest, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return seen - rest,
                Err(other) => seen = other,
            }
        }
    }

    /// Takes out everything, for the end of the window or of the process. `None` if there is
    /// nothing.
    pub fn close(&self, amount: i64) -> Option<Claim> {
        let give = self.take_surplus(0);
        let spent = self.spent.swap(0, Ordering::Relaxed);
        (give != 0 || spent != 0).then_some(Claim { epoch: Some(self.epoch), amount, give, want: 0, spent })
    }

    /// Returns whether nothing is held, and everything was reported.
    pub fn is_settled(&self) -> bool {
        self.balance.load(Ordering::Relaxed) == 0 && self.spent.load(Ordering::Relaxed) == 0
    }

    /// Takes an answer. False if the budget was reset since: then there must be another account.
    pub fn take(&self, grant: &Grant, asked: u64, now: u64) -> bool {
        let is_same = grant.sums.epoch == self.epoch;
        if is_same {
            self.balance.fetch_add(grant.units, Ordering::Relaxed);
            if grant.units > 0 {
                self.granted_at.store(now, Ordering::Relaxed);
                // One large request does not make slices large for ever.
                let largest = self.largest.load(Ordering::Relaxed);
                self.largest.store(largest - largest / 16, Ordering::Relaxed);
            }
            self.left.store(grant.left, Ordering::Relaxed);
            self.spent_by_all.store(grant.sums.spent, Ordering::Relaxed);
            if self.extra.swap(grant.sums.extra, Ordering::Relaxed) != grant.sums.extra {
                self.changes.fetch_add(2, Ordering::Release);
            }
            // Of a smaller amount than before a node keeps nothing that no request has reserved.
            if grant.left < 0 {
                self.largest.store(0, Ordering::Relaxed);
            }
            let is_empty = grant.left <= 0;
            self.empty_until.store(if is_empty { now + EMPTY_MS } else { 0 }, Ordering::Relaxed);
        }
        self.answered.fetch_max(asked, Ordering::Release);
        is_same
    }

    /// The store did not answer. What was owed is owed still; what was returned may have arrived,
    /// and what was wanted may have been granted, so that neither is here.
    pub fn fail(&self, claim: &Claim) {
        self.spent.fetch_add(claim.spent, Ordering::Relaxed);
        if claim.give < 0 {
            self.balance.fetch_add(claim.give, Ordering::Relaxed);
        }
    }

    /// Lets the next request ask the store, though it has just said that nothing is left: the sums
    /// or the amount have changed since.
    pub fn ask_again(&self) {
        self.empty_until.store(0, Ordering::Relaxed);
    }

    /// The store can't be asked: who waits is refused.
    pub fn give_up(&self) {
        self.answered.fetch_max(self.asked.load(Ordering::Acquire), Ordering::Release);
    }
}

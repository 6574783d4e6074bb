//! Budgets: an amount of money or tokens for a window of the calendar, which all gateways share.
//!
//! The sums are in the store ([`Sums`]). A node takes what it may spend out of them in slices
//! before anything is spent, and an [`Account`] holds what it has: one atomic word, from which
//! requests reserve and to which they give back what they have not used. So
//!
//! - what all nodes spend is never more than the amount and what requests in flight use beyond
//!   their own reserves, in any order of nodes and requests;
//! - a node that dies loses what it holds, which then counts as spent: at most two slices, of a
//!   sixteenth of what was left each, and the reserves of its requests.
//!
//! A request waits for the store only if its node holds too little for it.
//!
//! Amounts are whole numbers: billionths of a dollar, or tokens.

mod account;
#[cfg(test)]
mod simulation;
mod sums;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::period::{Period, Zone};
pub use account::{Account, Reservation, Short};
pub use sums::{Claim, Grant, Sums};

/// No amount is larger: nine million dollars. A thousand of these fit into a word.
pub const LARGEST: i64 = i64::MAX / 1000;

/// What an amount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Billionths of a dollar.
    Dollars,
    /// Of prompts and responses.
    Tokens,
}

impl Unit {
    /// Returns the word for the unit in rows and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Dollars => "usd",
            Unit::Tokens => "tokens",
        }
    }

    /// Returns the unit of this name. `None` for any other word.
    pub fn parse(text: &str) -> Option<Unit> {
        [Unit::Dollars, Unit::Tokens].into_iter().find(|unit| unit.name() == text)
    }
}

/// Whose spending a budget limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Credential,
    Group,
    Tag,
    Provider,
}

impl Scope {
    /// Every scope, in the order of the reference.
    pub const ALL: [Scope; 4] = [Scope::Credential, Scope::Group, Scope::Tag, Scope::Provider];

    /// Returns the word for the scope in rows and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Credential => "credential",
            Scope::Group => "group",
            Scope::Tag => "tag",
            Scope::Provider => "provider",
        }
    }

    /// Returns the scope of this name. `None` for any other word.
    pub fn parse(text: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.name() == text)
    }
}

/// The numbers of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    pub scope: Scope,
    /// The name of what it is of.
    pub subject: Box<str>,
    pub unit: Unit,
    pub amount: i64,
    pub period: Period,
    pub zone: Zone,
    /// Whether a request is refused for which too little is left.
    pub is_hard: bool,
    /// Per cent of the amount at which a warning is logged, in ascending order.
    pub warn_at: Box<[u8]>,
    /// The model by which requests are served for which too little is left.
    pub downgrade_to: Option<Box<str>>,
}

/// A row of `budgets`, ready for use.
#[derive(Debug)]
pub struct Budget {
    pub id: i64,
    pub name: Arc<str>,
    pub terms: Terms,
    /// Survives changes of everything but unit, period and zone.
    pub state: Arc<State>,
    /// The fields that were last made for a response.
    fields: ArcSwapOption<Fields>,
}

/// The fields of a response that describe a budget and are the same for many requests.
#[derive(Debug)]
pub struct Fields {
    /// What they depend on beside the row: the end of the window, if that is known, and what was
    /// added to the amount for it.
    key: (Option<i64>, i64),
    pub text: Box<[u8]>,
}

impl Budget {
    /// Makes a budget without fields yet.
    pub fn new(id: i64, name: &str, terms: Terms, state: Arc<State>) -> Budget {
        Budget { id, name: name.into(), terms, state, fields: ArcSwapOption::empty() }
    }

    /// Returns the fields for a window that ends at `ends_at` and to whose amount `extra` was
    /// added. They are made if those that were last made are others.
    pub fn fields(&self, ends_at: Option<i64>, extra: i64, make: impl FnOnce() -> Vec<u8>) -> Arc<Fields> {
        if let Some(known) = self.fields.load().as_ref().filter(|known| known.key == (ends_at, extra)) {
            return known.clone();
        }
        let made = Arc::new(Fields { key: (ends_at, extra), text: make().into() });
        self.fields.store(Some(made.clone()));
        made
    }

    /// Returns the first part of the key of its sums; the rest is its name and the begin of the
    /// window.
    pub fn kind(&self) -> String {
        format!("{}/{}", self.terms.unit.name(), self.terms.period.name())
    }
}

/// What this node holds of a budget.
#[derive(Debug, Default)]
pub struct State {
    /// Of the current window. `None` before the first request.
    current: ArcSwapOption<Account>,
    /// Requests that have found no account for their moment.
    calls: AtomicU64,
    /// Whether the store did not answer when it was last asked.
    is_down: AtomicBool,
}

impl State {
    /// Returns the account for this moment, in seconds since 1970.
    pub fn account(&self, now: i64) -> Option<Arc<Account>> {
        let account = self.current.load();
        let account = account.as_ref().filter(|account| account.holds(now))?;
        Some(account.clone())
    }

    /// Returns the account of the current window or of the last one. `None` before the first
    /// request.
    pub fn last(&self) -> Option<Arc<Account>> {
        self.current.load_full()
    }

    /// Lets the next request ask the store, whatever that has just said.
    pub fn ask_again(&self) {
        if let Some(account) = self.current.load().as_ref() {
            account.ask_again();
        }
    }

    /// Notes that a request needs an account for its moment.
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::Release);
    }

    /// Returns how many requests have found no account for their moment.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Acquire)
    }

    /// Returns whether the store did not respond to the last claim.
    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    /// Records whether the store has responded to a claim.
    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Begins another account. Requests that hold something of the last one settle it there.
    pub fn begin(&self, account: Arc<Account>) {
        if let Some(before) = self.current.swap(Some(account)) {
            before.replace();
        }
    }
}

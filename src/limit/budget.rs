//! Budgets: an amount of money or tokens for a window of the calendar, which all gateways share.
//!
//! The sums are in the store ([`Sums`]). A node takes what it may spend out of them in slices before
//! anything is spent, and an [`Account`] holds what it has: one atomic word, from which requests
//! reserve and to which they give back what they have not used. So
//!
//! - what all nodes spend is never more than the amount and what requests in flight use beyond their
//!   own reserves, in any order of nodes and requests;
//! - a node that dies loses what it holds, which then counts as spent: at most two slices, of a
//!   sixteenth of what was left each, and the reserves of its requests.
//!
//! A request waits for the store only if its node holds too little for it.
//!
//! Amounts are whole numbers: billionths of a dollar, or tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::period::{Period, Window, Zone};

/// A slice is this part of what is left.
const PART: i64 = 16;
/// How long a node keeps what nobody uses, in milliseconds.
pub const IDLE_MS: u64 = 5000;
/// How long what was granted is left alone, in milliseconds: who asked for it looks every few of them.
const GRANTED_MS: u64 = 100;
/// How long an answer that nothing is left counts, in milliseconds.
const EMPTY_MS: u64 = 250;
/// No amount is larger: a million of these fit into a word.
pub const LARGEST: i64 = i64::MAX / 1_000_000;

/// What an amount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Billionths of a dollar.
    Dollars,
    /// Of prompts and responses.
    Tokens,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Dollars => "usd",
            Unit::Tokens => "tokens",
        }
    }

    pub fn parse(text: &str) -> Option<Unit> {
        [Unit::Dollars, Unit::Tokens].into_iter().find(|unit| unit.name() == text)
    }
}

/// What a budget is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Credential,
    Group,
    Tag,
    Provider,
}

impl Of {
    pub const ALL: [Of; 4] = [Of::Credential, Of::Group, Of::Tag, Of::Provider];

    pub fn name(self) -> &'static str {
        match self {
            Of::Credential => "credential",
            Of::Group => "group",
            Of::Tag => "tag",
            Of::Provider => "provider",
        }
    }

    pub fn parse(text: &str) -> Option<Of> {
        Of::ALL.into_iter().find(|of| of.name() == text)
    }
}

/// The numbers of a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    pub of: Of,
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
}

/// A row of `budgets`, ready for use.
#[derive(Debug)]
pub struct Budget {
    pub id: i64,
    pub name: Arc<str>,
    pub terms: Terms,
    /// Survives changes of everything but unit, period and zone.
    pub state: Arc<State>,
}

impl Budget {
    /// The first part of the key of its sums; the rest is its name and the begin of the window.
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
    /// The account for this moment, in seconds since 1970.
    pub fn account(&self, now: i64) -> Option<Arc<Account>> {
        let account = self.current.load();
        let account = account.as_ref().filter(|account| account.holds(now))?;
        Some(account.clone())
    }

    pub fn last(&self) -> Option<Arc<Account>> {
        self.current.load_full()
    }

    /// Notes that a request needs an account for its moment.
    pub fn call(&self) {
        self.calls.fetch_add(1, Ordering::Release);
    }

    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Acquire)
    }

    pub fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Relaxed)
    }

    pub fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::Relaxed);
    }

    /// Begins another account. Requests that hold something of the last one settle it there.
    pub fn begin(&self, account: Arc<Account>) {
        self.current.store(Some(account));
    }
}

/// What a budget has come to in one window, over all nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// What was used, and what nodes hold.
    pub taken: i64,
    /// What was used, as far as it was reported.
    pub spent: i64,
    /// Added to the amount for this window alone.
    pub extra: i64,
    /// Counts resets.
    pub epoch: i64,
}

/// What a node asks of the sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claim {
    /// `None` if the node does not know it yet.
    pub epoch: Option<i64>,
    pub amount: i64,
    /// What it returns; below zero is what was used beyond all that was taken.
    pub give: i64,
    pub want: i64,
    /// What was used since the last claim.
    pub spent: i64,
}

/// The answer to a [`Claim`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grant {
    pub units: i64,
    /// What nobody has taken; below zero if the amount was exceeded or made smaller.
    pub left: i64,
    pub sums: Sums,
}

impl Sums {
    /// Does what a node asks. A claim of before a reset is void.
    pub fn apply(&mut self, claim: &Claim) -> Grant {
        if claim.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Grant { units: 0, left: self.left(claim.amount), sums: *self };
        }
        self.taken = self.taken.saturating_sub(claim.give).max(0);
        self.spent = self.spent.saturating_add(claim.spent).max(0);
        let units = claim.want.clamp(0, self.left(claim.amount).max(0));
        self.taken = self.taken.saturating_add(units);
        Grant { units, left: self.left(claim.amount), sums: *self }
    }

    pub fn left(&self, amount: i64) -> i64 {
        amount.saturating_add(self.extra).saturating_sub(self.taken)
    }
}

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
    /// The request has ended, and has used so much.
    pub fn settle(mut self, used: i64) {
        let units = std::mem::take(&mut self.units);
        self.account.spent.fetch_add(used, Ordering::Relaxed);
        self.account.balance.fetch_add(units.saturating_sub(used), Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.balance.fetch_add(self.units, Ordering::Relaxed);
    }
}

impl Account {
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
        }
    }

    /// Whether this second, since 1970, is in its window.
    pub fn holds(&self, now: i64) -> bool {
        (self.window.starts_at..self.window.ends_at).contains(&now)
    }

    /// Reserves `units` at `now` milliseconds of the node's clock. `question` is the last one that was
    /// answered with [`Short::Ask`] to the same request.
    pub fn reserve(self: &Arc<Account>, units: i64, now: u64, question: Option<u64>) -> Result<Reservation, Short> {
        let units = units.max(0);
        self.used_at.store(now, Ordering::Relaxed);
        let mut seen = self.balance.load(Ordering::Relaxed);
        while seen >= units {
            match self.balance.compare_exchange_weak(seen, seen - units, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    if units > self.largest.load(Ordering::Relaxed) {
                        self.largest.store(units, Ordering::Relaxed);
                    }
                    return Ok(Reservation { account: self.clone(), units });
                }
                Err(other) => seen = other,
            }
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
        self.used_at.store(now, Ordering::Relaxed);
        self.balance.fetch_sub(units.max(0), Ordering::Relaxed);
        Reservation { account: self.clone(), units: units.max(0) }
    }

    /// What may be spent, as far as this node knows.
    pub fn available(&self) -> i64 {
        let balance = self.balance.load(Ordering::Relaxed);
        balance.saturating_add(self.left.load(Ordering::Relaxed).max(0)).max(0)
    }

    /// What was spent by all nodes, as far as this one knows.
    pub fn spent(&self) -> i64 {
        self.spent_by_all.load(Ordering::Relaxed).saturating_add(self.spent.load(Ordering::Relaxed))
    }

    /// What was added to the amount for this window.
    pub fn extra(&self) -> i64 {
        self.extra.load(Ordering::Relaxed)
    }

    /// What is to be asked of the store, and how many questions that answers. `None` if there is
    /// nothing, or nothing but sums that can wait (`is_patient`).
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

    /// A slice of what was left, and at least what the largest request needs.
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

    /// Takes out everything, for the end of the window or of the process. `None` if there is nothing.
    pub fn close(&self, amount: i64) -> Option<Claim> {
        let give = self.take_surplus(0);
        let spent = self.spent.swap(0, Ordering::Relaxed);
        (give != 0 || spent != 0).then_some(Claim { epoch: Some(self.epoch), amount, give, want: 0, spent })
    }

    /// Whether nothing is held, and everything was reported.
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
            self.extra.store(grant.sums.extra, Ordering::Relaxed);
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

    /// The store did not answer. What was owed is owed still; what was returned may have arrived, and
    /// what was wanted may have been granted, so that neither is here.
    pub fn fail(&self, claim: &Claim) {
        self.spent.fetch_add(claim.spent, Ordering::Relaxed);
        if claim.give < 0 {
            self.balance.fetch_add(claim.give, Ordering::Relaxed);
        }
    }

    /// The store can't be asked: who waits is refused.
    pub fn give_up(&self) {
        self.answered.fetch_max(self.asked.load(Ordering::Acquire), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AMOUNT: i64 = 10_000;

    /// A node of a simulation, with its clock and the requests that it runs.
    struct Node {
        account: Option<Arc<Account>>,
        running: Vec<(Reservation, i64)>,
        /// A claim that is on its way, with its answer once the store has given one.
        flight: Option<(Claim, u64, Option<Grant>)>,
    }

    #[derive(Debug, Clone)]
    enum Event {
        /// A request reserves so much and will use so much of it, in per cent.
        Ask {
            node: usize,
            units: i64,
            percent: i64,
        },
        End {
            node: usize,
        },
        /// The client leaves or the provider fails: nothing was used.
        Drop {
            node: usize,
        },
        Claim {
            node: usize,
        },
        Store {
            node: usize,
        },
        /// The answer arrives, or is lost on its way.
        Answer {
            node: usize,
            is_lost: bool,
        },
        /// The process dies, with all that it holds, and starts again.
        Crash {
            node: usize,
        },
        /// It stops as it should, and starts again.
        Restart {
            node: usize,
        },
        Wait {
            ms: u64,
        },
        TopUp {
            units: i64,
        },
    }

    fn event() -> impl Strategy<Value = Event> {
        let node = 0..3usize;
        prop_oneof![
            6 => (node.clone(), 1..400i64, 0..=100i64).prop_map(|(node, units, percent)| Event::Ask { node, units, percent }),
            4 => node.clone().prop_map(|node| Event::End { node }),
            1 => node.clone().prop_map(|node| Event::Drop { node }),
            6 => node.clone().prop_map(|node| Event::Claim { node }),
            6 => node.clone().prop_map(|node| Event::Store { node }),
            6 => (node.clone(), prop::bool::weighted(0.1)).prop_map(|(node, is_lost)| Event::Answer { node, is_lost }),
            1 => node.clone().prop_map(|node| Event::Crash { node }),
            1 => node.prop_map(|node| Event::Restart { node }),
            2 => (1..8000u64).prop_map(|ms| Event::Wait { ms }),
            1 => (1..500i64).prop_map(|units| Event::TopUp { units }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        /// Over any order of requests, claims, lost answers, crashes and restarts on three nodes, no
        /// more is spent than the amount, as long as no request uses more than it has reserved.
        #[test]
        fn never_more_than_the_amount(events in prop::collection::vec(event(), 1..400)) {
            let mut sums = Sums::default();
            let node = |_| Node { account: None, running: Vec::new(), flight: None };
            let mut nodes: Vec<Node> = (0..3).map(node).collect();
            let (mut now, mut spent, mut amount) = (10_000, 0, AMOUNT);
            for event in events {
                match event {
                    Event::Wait { ms } => now += ms,
                    Event::TopUp { units } => {
                        sums.extra += units;
                        amount += units;
                    }
                    Event::Ask { node, units, percent } => {
                        if let Some(account) = &nodes[node].account
                            && let Ok(reservation) = account.reserve(units, now, None)
                        {
                            nodes[node].running.push((reservation, units * percent / 100));
                        }
                    }
                    Event::End { node } => {
                        if let Some((reservation, used)) = nodes[node].running.pop() {
                            spent += used;
                            reservation.settle(used);
                        }
                    }
                    Event::Drop { node } => drop(nodes[node].running.pop()),
                    Event::Claim { node } => {
                        let node = &mut nodes[node];
                        if node.flight.is_some() {
                            continue;
                        }
                        let claim = match &node.account {
                            None => Some((Claim { amount: AMOUNT, want: AMOUNT / 16, ..Claim::default() }, 0)),
                            Some(account) => account.claim(AMOUNT, now, false),
                        };
                        node.flight = claim.map(|(claim, asked)| (claim, asked, None));
                    }
                    Event::Store { node } => {
                        if let Some((claim, _, answer @ None)) = &mut nodes[node].flight {
                            *answer = Some(sums.apply(claim));
                        }
                    }
                    Event::Answer { node, is_lost } => {
                        let node = &mut nodes[node];
                        let Some((claim, asked, answer)) = node.flight.take() else { continue };
                        match (answer.filter(|_| !is_lost), &node.account) {
                            (Some(grant), Some(account)) => prop_assert!(account.take(&grant, asked, now)),
                            (Some(grant), None) => {
                                let account = Arc::new(Account::new(Window::ALL, grant.sums.epoch));
                                account.take(&grant, 0, now);
                                node.account = Some(account);
                            }
                            (None, Some(account)) => account.fail(&claim),
                            (None, None) => {}
                        }
                    }
                    Event::Crash { node } => {
                        // Its requests may have cost all that was reserved.
                        spent += nodes[node].running.iter().map(|(_, used)| used).sum::<i64>();
                        nodes[node] = Node { account: None, running: Vec::new(), flight: None };
                    }
                    Event::Restart { node } => {
                        let node = &mut nodes[node];
                        for (reservation, used) in node.running.drain(..) {
                            spent += used;
                            reservation.settle(used);
                        }
                        if let Some(account) = node.account.take()
                            && let Some(claim) = account.close(AMOUNT)
                        {
                            sums.apply(&claim);
                        }
                        node.flight = None;
                    }
                }
                prop_assert!(spent <= amount, "{spent} of {amount}");
                prop_assert!(sums.taken <= amount, "{sums:?}");
            }
        }
    }

    fn fresh(want: i64, sums: &mut Sums) -> Arc<Account> {
        let grant = sums.apply(&Claim { amount: AMOUNT, want, ..Claim::default() });
        let account = Arc::new(Account::new(Window::ALL, grant.sums.epoch));
        account.take(&grant, 0, 0);
        account
    }

    #[test]
    fn what_is_used_beyond_the_reserve_is_charged() {
        let mut sums = Sums::default();
        let account = fresh(100, &mut sums);
        account.reserve(80, 0, None).unwrap().settle(150);
        assert_eq!(account.spent(), 150);
        let (claim, asked) = account.claim(AMOUNT, 0, true).unwrap();
        assert_eq!((claim.give, claim.spent), (-50, 150));
        assert!(account.take(&sums.apply(&claim), asked, 0));
        assert_eq!((sums.spent, sums.left(AMOUNT)), (150, AMOUNT - sums.taken));
        assert!(sums.taken >= 150);
    }

    #[test]
    fn an_empty_budget_refuses_and_is_asked_again() {
        let mut sums = Sums { taken: AMOUNT - 10, ..Sums::default() };
        let account = fresh(10, &mut sums);
        assert_eq!(account.reserve(20, 0, None).unwrap_err(), Short::Empty { available: 10 }, "it is known");
        let question = match account.reserve(20, EMPTY_MS + 1, None).unwrap_err() {
            Short::Ask(question) => question,
            empty => panic!("{empty:?}"),
        };
        assert_eq!(account.reserve(20, 300, Some(question)).unwrap_err(), Short::Ask(question), "not answered yet");
        sums.extra = 100;
        let (claim, asked) = account.claim(AMOUNT, 300, true).unwrap();
        account.take(&sums.apply(&claim), asked, 300);
        account.reserve(20, 301, Some(question)).unwrap().settle(20);
    }

    #[test]
    fn a_reset_begins_anew() {
        let mut sums = Sums::default();
        let account = fresh(100, &mut sums);
        sums = Sums { epoch: sums.epoch + 1, ..Sums::default() };
        account.reserve(10, 0, None).unwrap().settle(10);
        let (claim, asked) = account.claim(AMOUNT, 0, false).unwrap();
        assert!(!account.take(&sums.apply(&claim), asked, 0));
        assert_eq!(sums, Sums { epoch: 1, ..Sums::default() }, "what was spent before does not count");
    }

    #[test]
    fn what_nobody_uses_goes_back() {
        let mut sums = Sums::default();
        let account = fresh(1000, &mut sums);
        let (claim, asked) = account.claim(AMOUNT, IDLE_MS, true).unwrap();
        assert_eq!((claim.give, claim.want), (1000, 0));
        account.take(&sums.apply(&claim), asked, IDLE_MS);
        assert_eq!(sums.taken, 0);
        assert!(account.is_settled() && account.close(AMOUNT).is_none());
    }
}

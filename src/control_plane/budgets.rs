//! What this node holds of budgets: takes slices from the store, gives back what nobody uses, and
//! reports what was spent.
//!
//! Nothing of this is on the path of a request, save for one whose node holds too little: it rings,
//! and waits for the round that answers it. A round is one transaction for all budgets that need
//! something, and one runs at a time.
//!
//! A window ends by the clock of this node; requests that are still running settle in the window
//! that they began in.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, sleep_until, timeout};

use crate::config::snapshot::Snapshot;
use crate::control_plane::store::{Error, Store, SumsKey, now};
use crate::control_plane::timing::every;
use crate::control_plane::webhook::{Event, Webhook};
use crate::limit::budget::{Account, Budget, Claim, Grant, Sums};
use crate::limit::period::{Period, Window};
use crate::metrics::names::Counter;
use crate::shared::ProcessState;

#[cfg(test)]
mod tests;

/// How often slices are looked after.
const TICK: Duration = Duration::from_millis(25);
/// How often what was spent is reported, if nothing else is to be asked.
const REPORT: Duration = Duration::from_secs(1);
/// How often accounts that have ended are looked at, which running requests may still hold.
const CLOSE: Duration = Duration::from_secs(1);
/// Claims of one round. Others wait for the next.
const ROUND_SIZE: usize = 256;
/// The longest time of a round.
const ROUND_TIMEOUT: Duration = Duration::from_secs(5);
/// The first and the longest pause between tries of a store that is down. Pauses double.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// The first slice of a window is this part of the amount.
const FIRST: i64 = 16;

/// Fetches slices of budgets from the store, and reports what was spent.
pub(crate) struct Budgets {
    shared: Arc<ProcessState>,
    store: Arc<dyn Store>,
    webhook: Webhook,
    requests: Arc<RequestNotifier>,
    entries: Vec<Entry>,
    closing: Closing,
    /// When they are looked at next.
    close_at: Instant,
    /// Where the next round begins.
    turn: usize,
    round: JoinSet<Round>,
    tick: Interval,
    reported: Instant,
    outage: Option<Outage>,
}

/// Accounts of windows that are over and of budgets that are gone, until nothing of them is in use,
/// with their sums and amounts. The key is the account's address.
type Closing = HashMap<usize, (SumsKey, i64, Arc<Account>)>;

/// A store that does not respond.
struct Outage {
    message: String,
    pause: Duration,
    until: Instant,
}

struct Entry {
    budget: Arc<Budget>,
    kind: String,
    /// Calls that were answered.
    calls: u64,
    warned: Warned,
}

/// The highest threshold of a window that was logged, in per cent.
#[derive(Debug, Clone, Copy, Default)]
struct Warned {
    starts_at: i64,
    percent: u8,
}

/// What a claim is for.
enum For {
    /// The first of a window.
    Begin {
        budget: Arc<Budget>,
        window: Window,
        calls: u64,
    },
    Go {
        budget: Arc<Budget>,
        account: Arc<Account>,
        asked: u64,
    },
    Close {
        account: Arc<Account>,
    },
}

/// The claims of one round, and what the store granted.
pub(crate) struct Round {
    claims: Vec<(SumsKey, Claim)>,
    purposes: Vec<For>,
    grants: Result<Vec<Grant>, Error>,
}

/// What has happened, for [`Budgets::take`].
pub(crate) enum Step {
    Due,
    Ended(Box<Round>),
    /// A round ended without a result, which only a panic can cause.
    Lost,
}

/// Notifies the control plane that a request waits for more of a budget.
#[derive(Default)]
struct RequestNotifier(Notify);

impl Wake for RequestNotifier {
    fn wake(self: Arc<RequestNotifier>) {
        self.0.notify_one();
    }
}

impl Budgets {
    /// Makes the part of the control plane for budgets, without any yet.
    pub(crate) fn new(shared: Arc<ProcessState>, store: Arc<dyn Store>, webhook: Webhook) -> Budgets {
        let requests = Arc::new(RequestNotifier::default());
        shared.budget_waker.set_waker(Waker::from(requests.clone()));
        Budgets {
            shared,
            store,
            webhook,
            requests,
            entries: Vec::new(),
            closing: Closing::new(),
            close_at: Instant::now(),
            turn: 0,
            round: JoinSet::new(),
            tick: every(TICK),
            reported: Instant::now(),
            outage: None,
        }
    }

    /// Notes that `snapshot` is current. What was held of its budgets is held still.
    pub(crate) fn adopt(&mut self, snapshot: &Snapshot) {
        let mut old: HashMap<i64, Entry> = self.entries.drain(..).map(|entry| (entry.budget.id, entry)).collect();
        for budget in &snapshot.budgets {
            let known = old.remove(&budget.id);
            let is_same = |known: &Entry| Arc::ptr_eq(&known.budget.state, &budget.state);
            let of_same = known.as_ref().filter(|known| is_same(known));
            let (calls, warned) = of_same.map_or_else(Default::default, |known| (known.calls, known.warned));
            if of_same.is_some_and(|known| known.budget.terms.amount != budget.terms.amount) {
                budget.state.ask_again();
            }
            if let Some(known) = known.filter(|known| !is_same(known)) {
                self.retire(&known);
            }
            self.entries.push(Entry { budget: budget.clone(), kind: budget.kind(), calls, warned });
        }
        old.values().for_each(|gone| self.retire(gone));
    }

    /// Gives up what is held of a budget that is gone.
    fn retire(&mut self, entry: &Entry) {
        if let Some(account) = entry.budget.state.last() {
            self.close(entry.key(&account), entry.budget.terms.amount, account);
        }
    }

    /// Begins to give up an account, unless that has begun.
    fn close(&mut self, key: SumsKey, amount: i64, account: Arc<Account>) {
        if let Slot::Vacant(slot) = self.closing.entry(Arc::as_ptr(&account).addr()) {
            slot.insert((key, amount, account));
            self.close_at = Instant::now();
        }
    }

    /// Waits for the next step. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Step {
        if self.entries.is_empty() && self.closing.is_empty() && self.round.is_empty() {
            return std::future::pending().await;
        }
        let is_free = self.round.is_empty();
        // Without a budget there is nothing to look after but accounts that have ended.
        let rest = self
            .entries
            .is_empty()
            .then(|| self.outage.as_ref().map_or(self.close_at, |of| of.until.max(self.close_at)));
        let due = async {
            match rest {
                Some(at) => sleep_until(at).await,
                None => _ = self.tick.tick().await,
            }
        };
        tokio::select! {
            Some(ended) = self.round.join_next() => ended.map_or(Step::Lost, |round| Step::Ended(Box::new(round))),
            () = self.requests.0.notified(), if is_free => Step::Due,
            () = due, if is_free => Step::Due,
        }
    }

    /// Does what a step requires. It does not wait.
    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Due => self.begin(),
            Step::Ended(round) => self.end(*round),
            Step::Lost => tracing::error!("gateway: a panic ended a round of budgets; the next one goes on"),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.shared.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Begins a round for the budgets that need something.
    fn begin(&mut self) {
        let instant = Instant::now();
        if let Some(outage) = self.outage.as_ref().filter(|outage| instant < outage.until) {
            tracing::trace!(message = outage.message, "gateway: the sums of budgets are not asked yet");
            return;
        }
        let is_patient = instant < self.reported + REPORT;
        let (claims, purposes) = self.claims(now(), is_patient);
        if claims.is_empty() {
            return;
        }
        if !is_patient {
            self.reported = instant;
        }
        let store = self.store.clone();
        self.round.spawn(async move {
            let asked = claims.clone();
            let grants = match timeout(ROUND_TIMEOUT, store.claim(asked)).await {
                Ok(grants) => grants,
                Err(_) => Err(Error::silent(&store.place(), ROUND_TIMEOUT)),
            };
            Round { claims, purposes, grants }
        });
    }

    fn claims(&mut self, unix: i64, is_patient: bool) -> (Vec<(SumsKey, Claim)>, Vec<For>) {
        let now = self.now_ms();
        let (mut claims, mut purposes) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        let count = self.entries.len();
        let turn = self.turn.min(count);
        for passed in 0..count {
            if claims.len() == ROUND_SIZE {
                self.turn = (turn + passed) % count;
                break;
            }
            let entry = &self.entries[(turn + passed) % count];
            let Budget { state, terms, .. } = &*entry.budget;
            if let Some(account) = state.account(unix) {
                if let Some((claim, asked)) = account.claim(terms.amount, now, is_patient) {
                    claims.push((entry.key(&account), claim));
                    purposes.push(For::Go { budget: entry.budget.clone(), account, asked });
                }
                continue;
            }
            let calls = state.calls();
            if calls == entry.calls {
                continue;
            }
            let window = Window::of(terms.period, &terms.zone, unix);
            let amount = terms.amount;
            let claim = Claim { amount, want: (amount / FIRST).max(1), ..Claim::default() };
            let key =
                SumsKey { name: entry.budget.name.to_string(), kind: entry.kind.clone(), starts_at: window.starts_at };
            claims.push((key, claim));
            purposes.push(For::Begin { budget: entry.budget.clone(), window, calls });
            ended.extend(state.last().map(|account| (entry.key(&account), amount, account)));
        }
        for (key, amount, account) in ended {
            self.close(key, amount, account);
        }
        if Instant::now() >= self.close_at {
            self.forget();
            for (key, amount, account) in self.closing.values() {
                if claims.len() == ROUND_SIZE {
                    // The rest goes with the next round.
                    return (claims, purposes);
                }
                if let Some(claim) = account.close(*amount) {
                    claims.push((key.clone(), claim));
                    purposes.push(For::Close { account: account.clone() });
                }
            }
            self.close_at = Instant::now() + CLOSE;
        }
        (claims, purposes)
    }

    fn end(&mut self, round: Round) {
        match round.grants {
            Ok(grants) => {
                if self.outage.take().is_some() {
                    tracing::info!("gateway: the sums of budgets can be read again");
                    self.entries.iter().for_each(|entry| entry.budget.state.set_down(false));
                }
                self.shared.background.add(Counter::BudgetClaims, grants.len() as u64);
                for (purpose, grant) in round.purposes.into_iter().zip(&grants) {
                    self.settle(purpose, grant);
                }
            }
            Err(error) => {
                self.shared.background.inc(Counter::BudgetStoreFailures);
                self.fail(&round.claims, round.purposes, error.message);
            }
        }
        self.forget();
    }

    fn settle(&mut self, purpose: For, grant: &Grant) {
        let now = self.now_ms();
        match purpose {
            For::Begin { budget, window, calls } => {
                let account = Arc::new(Account::new(window, grant.sums.epoch));
                account.take(grant, 0, now);
                self.warn(&budget, account.window, &grant.sums);
                budget.state.begin(account);
                if let Some(entry) = self.entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.budget, &budget)) {
                    entry.calls = calls;
                }
            }
            For::Go { budget, account, asked } => {
                self.warn(&budget, account.window, &grant.sums);
                // Reset: what is held is of before. The next request begins anew.
                if !account.take(grant, asked, now) {
                    let fresh = Arc::new(Account::new(account.window, grant.sums.epoch));
                    fresh.take(&Grant { units: 0, ..*grant }, 0, now);
                    budget.state.begin(fresh);
                }
            }
            For::Close { .. } => {}
        }
    }

    /// Reports a threshold that the sums of a window have come to: each once, unless the sums were
    /// reset.
    fn warn(&mut self, budget: &Arc<Budget>, window: Window, sums: &Sums) {
        let starts_at = window.starts_at;
        let Some(entry) = self.entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.budget, budget)) else { return };
        let before = if entry.warned.starts_at == starts_at { entry.warned.percent } else { 0 };
        let amount = budget.terms.amount.saturating_add(sums.extra);
        let is_reached = |percent: &&u8| i128::from(sums.spent) * 100 >= i128::from(amount) * i128::from(**percent);
        let percent = budget.terms.warn_at.iter().rfind(is_reached).copied().unwrap_or(0);
        entry.warned = Warned { starts_at, percent };
        if percent > before {
            tracing::warn!(budget = &*budget.name, percent, "budget: {percent} % of budget {} is used", budget.name);
            self.webhook.send(Event::BudgetThreshold {
                budget: budget.name.to_string(),
                scope: budget.terms.scope.name(),
                subject: budget.terms.subject.to_string(),
                percent,
                unit: budget.terms.unit,
                amount,
                spent: sums.spent,
                since: starts_at,
                renews_at: (budget.terms.period != Period::Total).then_some(window.ends_at),
            });
        }
    }

    /// Logs a failure. The same message is logged once until the store responds again. What nodes
    /// hold can be spent still.
    fn fail(&mut self, claims: &[(SumsKey, Claim)], purposes: Vec<For>, message: String) {
        for ((_, claim), purpose) in claims.iter().zip(purposes) {
            match purpose {
                For::Begin { .. } => {}
                For::Go { account, .. } => {
                    account.fail(claim);
                    account.give_up();
                }
                For::Close { account } => account.fail(claim),
            }
        }
        self.entries.iter().for_each(|entry| entry.budget.state.set_down(true));
        let pause = self.outage.as_ref().map_or(PAUSES.0, |outage| (outage.pause * 2).min(PAUSES.1));
        if self.outage.as_ref().is_none_or(|outage| outage.message != message) {
            tracing::error!(
                "gateway: the sums of budgets can't be read, and only what this gateway holds can be spent: {message}"
            );
        }
        self.outage = Some(Outage { message, pause, until: Instant::now() + pause });
    }

    /// Drops accounts that nobody uses any more and of which everything was reported.
    fn forget(&mut self) {
        self.closing.retain(|_, (.., account)| Arc::strong_count(account) > 1 || !account.is_settled());
    }

    /// Gives everything back, after the workers have ended.
    pub(crate) async fn finish(&mut self) {
        while let Some(ended) = self.round.join_next().await {
            if let Ok(round) = ended {
                self.end(round);
            }
        }
        let entries = std::mem::take(&mut self.entries);
        entries.iter().for_each(|entry| self.retire(entry));
        let closing =
            self.closing.values().filter_map(|(key, amount, account)| Some((key.clone(), account.close(*amount)?)));
        let claims: Vec<_> = closing.collect();
        if claims.is_empty() {
            return;
        }
        let failed = match timeout(ROUND_TIMEOUT, self.store.claim(claims)).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error,
            Err(_) => Error::silent(&self.store.place(), ROUND_TIMEOUT),
        };
        tracing::warn!("gateway: what this gateway held of budgets can't be given back, and counts as spent: {failed}");
    }
}

impl Entry {
    fn key(&self, account: &Account) -> SumsKey {
        SumsKey { name: self.budget.name.to_string(), kind: self.kind.clone(), starts_at: account.window.starts_at }
    }
}

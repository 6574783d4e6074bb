//! What a worker remembers for hedged requests: their budgets, and the times to their answers.

use std::collections::HashMap;
use std::time::Duration;

use crate::breaker::hedging::{AnswerTimes, HedgeBudget};
use crate::telemetry::record::Short;

/// What of an answer ends the wait of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Awaited {
    /// The first content of a stream.
    FirstContent,
    WholeAnswer,
}

/// Whose times these are: the provider's row, its name of the model, and what was awaited.
type Timed = (i64, Short<96>, Awaited);

/// The budgets and times of one worker. Both are few: what is configured bounds them.
#[derive(Default)]
pub struct Hedges {
    budgets: HashMap<i64, HedgeBudget, ahash::RandomState>,
    times: HashMap<Timed, AnswerTimes, ahash::RandomState>,
}

/// The most of either that is kept; beyond it all are forgotten.
const MAX_KEPT: usize = 1024;

impl Hedges {
    fn budget(&mut self, scope: i64) -> &mut HedgeBudget {
        if self.budgets.len() >= MAX_KEPT && !self.budgets.contains_key(&scope) {
            self.budgets.clear();
        }
        self.budgets.entry(scope).or_default()
    }

    /// Counts a request that may be hedged.
    pub fn deposit(&mut self, scope: i64, share: u32) {
        self.budget(scope).deposit(share);
    }

    /// Takes a hedge from a budget. Returns false if there is none.
    pub fn withdraw(&mut self, scope: i64) -> bool {
        self.budget(scope).withdraw()
    }

    /// Returns how long 95 of 100 answers take at most. `None` while too little is known.
    pub fn p95(&self, provider: i64, model: &str, awaited: Awaited) -> Option<Duration> {
        let times = self.times.get(&(provider, Short::new(model), awaited))?;
        times.p95().map(Duration::from_micros)
    }

    /// Records how long the answer of an attempt took, or how long it was awaited.
    pub fn record(&mut self, provider: i64, model: &str, awaited: Awaited, us: u64) {
        let key = (provider, Short::new(model), awaited);
        if self.times.len() >= MAX_KEPT && !self.times.contains_key(&key) {
            self.times.clear();
        }
        self.times.entry(key).or_default().record(us);
    }
}

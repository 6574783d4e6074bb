//! What an attempt does to the memory of its provider.

use std::mem::{Discriminant, discriminant};
use std::rc::Rc;
use std::time::Duration;

use super::core::{Core, WorkerSnapshot};
use crate::breaker::attribution::{Fault, Scope};
use crate::breaker::circuit::{Event, TICK};
use crate::breaker::memory::{Memory, Probes, Slot};
use crate::route::pick::Candidate;

/// The provider of the attempt that runs, as far as its memory is concerned. A probe ends when this
/// is dropped, on every way out: a client that disconnects leaves none behind.
pub struct CircuitGuard {
    core: Rc<Core>,
    view: Rc<WorkerSnapshot>,
    provider: usize,
    slot: Slot,
    probes: Option<Probes>,
    /// The wait that the provider's response has asked for.
    pub wait: Option<Duration>,
    /// For how long the account has nothing left, by the response's head.
    pub exhausted: Option<Duration>,
    /// Whether nothing was remembered when the attempt began. Its success says nothing of a bench
    /// that another request has caused since.
    began_healthy: bool,
}

impl CircuitGuard {
    /// Begins an attempt, as a probe if the provider is on trial.
    pub fn begin(core: &Rc<Core>, view: &Rc<WorkerSnapshot>, candidate: &Candidate) -> CircuitGuard {
        let memory = &view.provider(candidate.provider).memory;
        let policy = &core.boot().adaptive;
        let began_healthy = !policy.enabled || memory.is_healthy(candidate.slot);
        let probes = match began_healthy {
            true => None,
            false => memory.begin_probe(candidate.slot, core.ticks(), policy),
        };
        CircuitGuard {
            core: core.clone(),
            view: view.clone(),
            provider: candidate.provider,
            slot: candidate.slot,
            probes,
            wait: None,
            exhausted: None,
            began_healthy,
        }
    }

    fn memory(&self) -> &Memory {
        &self.view.provider(self.provider).memory
    }

    /// Records that the provider does its work.
    pub fn succeed(&mut self) {
        let memory = self.memory();
        if self.core.boot().adaptive.enabled && !memory.is_healthy(self.slot) {
            let now = self.core.ticks();
            let is_late = self.began_healthy && memory.wait(self.slot, now) > 0;
            if !is_late {
                memory.succeed(self.slot, now, &self.core.boot().adaptive);
            }
        }
        if let Some(wait) = self.exhausted.take() {
            self.record(Scope::Account, Event::Exhausted(ticks(wait)));
        }
        self.end_probe();
    }

    /// Records a failure where it belongs, if the request has not caused one of its kind there yet.
    /// Of a repeated 429 the wait that it asks for is kept all the same.
    pub fn fail(&mut self, fault: Fault, counted: &mut CountedFailures) {
        let row = fault.row();
        let wait = self.wait.map(ticks);
        let is_probe = self.probes.is_some_and(|probes| !probes.is_empty());
        match row.event {
            Some(event) if counted.insert(self.provider, self.slot, row.scope, event) || is_probe => {
                let event = match (event, wait) {
                    (Event::Throttled(_), Some(_)) => Event::Throttled(wait),
                    _ => event,
                };
                self.record(row.scope, event);
            }
            Some(Event::Throttled(_)) => {
                if let Some(wait) = wait {
                    self.record(row.scope, Event::Exhausted(wait));
                }
            }
            Some(_) | None => {}
        }
        self.end_probe();
    }

    fn record(&self, scope: Scope, event: Event) {
        let (now, policy, memory) = (self.core.ticks(), &self.core.boot().adaptive, self.memory());
        match scope {
            Scope::None => {}
            Scope::Account => memory.account.record(event, now, policy),
            Scope::Model => {
                if let Some(cell) = memory.model(self.slot) {
                    cell.record(event, now, policy);
                }
            }
        }
    }

    fn end_probe(&mut self) {
        if let Some(probes) = self.probes.take() {
            self.memory().end_probe(self.slot, probes);
        }
    }
}

impl Drop for CircuitGuard {
    fn drop(&mut self) {
        self.end_probe();
    }
}

/// The failures that one request has entered into the memory of providers. The attempts of one
/// request are one observation: three times 429 within a second say no more than one does.
#[derive(Debug, Default)]
pub struct CountedFailures(Vec<(usize, Slot, Discriminant<Event>)>);

impl CountedFailures {
    /// Returns whether this is the first failure of its kind, at this provider and for this model.
    fn insert(&mut self, provider: usize, slot: Slot, scope: Scope, event: Event) -> bool {
        let slot = if scope == Scope::Account { Slot::NONE } else { slot };
        let failure = (provider, slot, discriminant(&event));
        let is_new = !self.0.contains(&failure);
        if is_new {
            self.0.push(failure);
        }
        is_new
    }
}

/// Rounds up: a provider is not asked before its time.
fn ticks(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(u128::from(TICK))).unwrap_or(u32::MAX)
}

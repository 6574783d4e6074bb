//! The candidates for a model, and their order.
//!
//! Candidates are in the order of their tiers (`priority`), and within a tier of their [`Rank`].
//! Within a rank, smooth weighted round-robin, per worker and candidate set: after `k` times the
//! sum of the weights each provider was first exactly `k` times its weight, whatever the order of
//! requested models. Workers start at different offsets, so that a restart does not send the first
//! request of every worker to the same provider. A weight of 0 is standby: tried only when all
//! others of its tier failed. Those that may not have the model at all come last.
//!
//! Providers of which failures are remembered get a share of their weight, or none for a while. The
//! shares of the others among themselves stay exact.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::breaker::circuit::Admission;
use crate::breaker::memory::{Memory, Slot};
use crate::breaker::policy::{Policy, WHOLE};
use crate::config::prices::{ModelPrices, PriceTable};
use crate::config::snapshot::Provider;
use crate::config::virtual_models::VirtualModel;
use crate::route::affinity::{self, ConversationKey, Place};
use crate::route::rank::Rank;
use crate::route::target_format::TargetFormat;
use llm_http::write;

/// The most steps by which a new rotation is advanced.
const MAX_OFFSET: u64 = 1024;

/// One provider that serves a model, and its name of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index into `Snapshot::providers`.
    pub provider: usize,
    /// The provider's name of the model.
    pub upstream_model: Rc<str>,
    /// The fields of a response that name both, as far as the number of attempts ([`name_fields`]).
    pub name_fields: Rc<[u8]>,
    pub target: TargetFormat,
    pub rank: Rank,
    /// The tier: that of the provider, or behind a virtual model the one that it has there.
    pub priority: u32,
    /// The share of the requests of its tier and rank. 0 is a standby.
    pub weight: u32,
    /// Tokens that fit into the model, as far as that is known.
    pub context_window: u64,
    /// Where what is remembered of the provider for this model is.
    pub slot: Slot,
    /// Whether it stands behind a virtual model, and not under the name that the client asked for.
    pub is_member: bool,
}

/// Returns the fields of a response that name the provider and its model, and the beginning of the
/// one that has the number of attempts. A name that is not allowed in a header is left out.
pub fn name_fields(provider: &str, model: &str) -> Rc<[u8]> {
    let mut fields = Vec::new();
    for (name, value) in [("x-llm-proxy-provider", provider), ("x-llm-proxy-upstream-model", model)] {
        let _ = write::named_header(&mut fields, name, value.as_bytes());
    }
    fields.extend_from_slice(b"x-llm-proxy-attempts: ");
    fields.into()
}

/// All providers of one model for clients of one format, the best rank first.
#[derive(Debug)]
pub struct Candidates {
    pub list: Vec<Candidate>,
    /// How many providers serve the model, but not in the format of a request that is never
    /// translated.
    pub other_formats: usize,
    /// The virtual model that was named.
    pub virtual_model: Option<Arc<VirtualModel>>,
    groups: Vec<Group>,
    /// The groups in the order in which their members are tried, each once for its members with a
    /// weight and once for its standby.
    stages: Vec<Stage>,
    /// What the model costs at the candidates, once a budget has needed it.
    prices: RefCell<Option<Rc<ModelPrices>>>,
}

/// A part of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stage {
    group: usize,
    is_standby: bool,
}

/// Candidates that take turns, with the rotation that they share with other models of the same
/// providers.
#[derive(Debug)]
pub(super) struct Group {
    /// The place in [`Candidates::list`].
    pub range: Range<usize>,
    /// Whether it is unknown that they have the model.
    pub is_guess: bool,
    pub priority: u32,
    pub rotation: Rc<Rotation>,
}

/// A candidate in the order of attempts.
#[derive(Debug, Clone, Copy)]
pub struct Ranked<'a> {
    pub candidate: &'a Candidate,
    /// Whether it is out of service: it is tried when nobody else is left.
    pub is_benched: bool,
}

/// What the order of candidates depends on beside their weights.
struct Conditions<'a> {
    providers: &'a [Arc<Provider>],
    policy: &'a Policy,
    /// In ticks of the circuits.
    now: u32,
}

impl Conditions<'_> {
    fn memory(&self, candidate: &Candidate) -> &Memory {
        &self.providers[candidate.provider].memory
    }

    /// Returns the share of its weight that a candidate gets. 0 if it is out of service.
    fn share(&self, candidate: &Candidate) -> u32 {
        let memory = self.memory(candidate);
        match memory.admission(candidate.slot, self.now) {
            Admission::Benched => 0,
            Admission::Probe if !memory.has_room_for_probe(candidate.slot, self.policy) => 0,
            Admission::Free | Admission::Probe => memory.share(candidate.slot, self.now, self.policy),
        }
    }
}

impl Candidates {
    pub(super) fn new(list: Vec<Candidate>, other_formats: usize, groups: Vec<Group>) -> Candidates {
        let mut stages = Vec::new();
        for (group, members) in groups.iter().enumerate() {
            for is_standby in [false, true] {
                if members.rotation.weights.iter().any(|weight| (*weight == 0) == is_standby) {
                    stages.push(Stage { group, is_standby });
                }
            }
        }
        stages.sort_by_key(|Stage { group, is_standby }| {
            let Group { is_guess, priority, .. } = groups[*group];
            (is_guess, priority, *is_standby, *group)
        });
        Candidates { list, other_formats, virtual_model: None, groups, stages, prices: RefCell::default() }
    }

    /// Returns what the model costs at the candidates. `find` is called once for each price table.
    #[inline]
    pub fn prices(&self, table: &Arc<PriceTable>, find: impl FnOnce() -> ModelPrices) -> Rc<ModelPrices> {
        if let Some(known) = self.prices.borrow().as_ref().filter(|known| known.are_of(table)) {
            return known.clone();
        }
        let found = Rc::new(find());
        *self.prices.borrow_mut() = Some(found.clone());
        found
    }

    /// Returns the order of attempts for one request: the next in turn, then the others, standby
    /// last. Advances the rotation. While nothing is remembered of any candidate this allocates
    /// nothing and does not ask for the time.
    pub fn order<'a>(
        &'a self,
        providers: &[Arc<Provider>],
        policy: &Policy,
        now: impl FnOnce() -> u32,
    ) -> AnyOrder<'a> {
        let is_healthy = |candidate: &Candidate| providers[candidate.provider].memory.is_healthy(candidate.slot);
        if !policy.enabled || self.list.iter().all(is_healthy) {
            // One has each turn, and its rotation is then where it was.
            if let [only] = &self.list[..] {
                return AnyOrder::Only(Some(only));
            }
            return AnyOrder::Healthy(Order { candidates: self, stage: 0, step: 0, first: 0 });
        }
        AnyOrder::Adapted(self.adapted(&Conditions { providers, policy, now: now() }).into_iter())
    }

    /// Returns the order by what is remembered: those in service by their shares, then the others,
    /// the one that comes back first before the rest.
    fn adapted(&self, conditions: &Conditions<'_>) -> Vec<Ranked<'_>> {
        let shares: Vec<u32> = self.list.iter().map(|candidate| conditions.share(candidate)).collect();
        let mut order = Vec::with_capacity(self.list.len());
        let mut benched = Vec::new();
        for Stage { group, is_standby } in &self.stages {
            let Group { range, rotation, .. } = &self.groups[*group];
            let n = range.len();
            let first = if *is_standby { 0 } else { rotation.next_by(|at| shares[range.start + at]) };
            let members = (0..n).map(|step| (first + step) % n);
            for at in members.filter(|at| (rotation.weights[*at] == 0) == *is_standby) {
                let candidate = &self.list[range.start + at];
                match shares[range.start + at] {
                    0 => benched.push(candidate),
                    _ => order.push(Ranked { candidate, is_benched: false }),
                }
            }
        }
        let wait = |candidate: &Candidate| conditions.memory(candidate).wait(candidate.slot, conditions.now);
        benched.sort_by_key(|candidate| (candidate.rank == Rank::Unknown, wait(candidate)));
        order.extend(benched.into_iter().map(|candidate| Ranked { candidate, is_benched: true }));
        order
    }

    /// Returns the candidate that a conversation belongs to: of the first tier that has anybody in
    /// service, by its share of the weights. The other part says whether a better one was passed
    /// over because of its load. `None` if all are out of service.
    pub fn of_conversation(
        &self,
        key: ConversationKey,
        providers: &[Arc<Provider>],
        policy: &Policy,
        now: u32,
    ) -> Option<(&Candidate, bool)> {
        let conditions = Conditions { providers, policy, now };
        self.stages.iter().find_map(|stage| {
            let Group { range, rotation, .. } = &self.groups[stage.group];
            let members =
                range.clone().zip(&rotation.weights).filter(|(_, weight)| (**weight == 0) == stage.is_standby);
            let (at, places): (Vec<_>, Vec<_>) =
                members.filter_map(|(at, weight)| Some((at, self.place(at, *weight, &conditions)?))).unzip();
            let (chosen, is_passed_over) = affinity::choose(key, &places)?;
            Some((&self.list[at[chosen]], is_passed_over))
        })
    }

    /// Returns a candidate as a place for conversations. `None` if it is out of service. Those on
    /// standby share alike.
    fn place(&self, at: usize, weight: u32, conditions: &Conditions<'_>) -> Option<Place> {
        let candidate = &self.list[at];
        let memory = conditions.memory(candidate);
        let share = match !conditions.policy.enabled || memory.is_healthy(candidate.slot) {
            true => WHOLE,
            false => conditions.share(candidate),
        };
        // The members of a virtual model may be at one account.
        let model = if self.virtual_model.is_some() { &*candidate.upstream_model } else { "" };
        let account = conditions.providers[candidate.provider].id.to_le_bytes();
        let id = affinity::id_of(&account, model);
        let weight = f64::from(weight.max(1)) * f64::from(share);
        let load = memory.conversations.load(Ordering::Relaxed);
        (share > 0).then_some(Place { id, weight, load })
    }

    /// Returns whether several provider accounts serve this model. Headers about one account would
    /// mislead then.
    pub fn pooled(&self) -> bool {
        self.list.len() > 1
    }
}

/// The order by weights alone, or by what is remembered too.
pub enum AnyOrder<'a> {
    /// Of one candidate in service.
    Only(Option<&'a Candidate>),
    Healthy(Order<'a>),
    Adapted(std::vec::IntoIter<Ranked<'a>>),
}

impl<'a> Iterator for AnyOrder<'a> {
    type Item = Ranked<'a>;

    fn next(&mut self) -> Option<Ranked<'a>> {
        match self {
            AnyOrder::Only(candidate) => Some(Ranked { candidate: candidate.take()?, is_benched: false }),
            AnyOrder::Healthy(order) => Some(Ranked { candidate: order.next()?, is_benched: false }),
            AnyOrder::Adapted(order) => order.next(),
        }
    }
}

/// Iterator over the candidates of one request by their weights alone.
#[derive(Debug)]
pub struct Order<'a> {
    candidates: &'a Candidates,
    stage: usize,
    step: usize,
    /// The next in turn in the stage.
    first: usize,
}

impl<'a> Iterator for Order<'a> {
    type Item = &'a Candidate;

    fn next(&mut self) -> Option<&'a Candidate> {
        loop {
            let Stage { group, is_standby } = *self.candidates.stages.get(self.stage)?;
            let Group { range, rotation, .. } = self.candidates.groups.get(group)?;
            if self.step == 0 {
                self.first = if is_standby { 0 } else { rotation.next() };
            }
            let n = range.len();
            if self.step == n {
                self.stage += 1;
                self.step = 0;
                continue;
            }
            let at = (self.first + self.step) % n;
            self.step += 1;
            if (rotation.weights[at] == 0) == is_standby {
                return self.candidates.list.get(range.start + at);
            }
        }
    }
}

/// Smooth weighted round-robin over a fixed list of weights.
#[derive(Debug)]
pub(super) struct Rotation {
    weights: Vec<u32>,
    current: Vec<Cell<i64>>,
}

impl Rotation {
    pub(super) fn new(weights: Vec<u32>, worker: usize) -> Rotation {
        let current = weights.iter().map(|_| Cell::new(0)).collect();
        let rotation = Rotation { weights, current };
        let total: u64 = rotation.weights.iter().map(|w| u64::from(*w)).sum();
        if total > 0 {
            // Any odd stride spreads the workers; this one is far from small multiples of common
            // weight sums.
            for _ in 0..(worker as u64 * 7919 % total).min(MAX_OFFSET) {
                rotation.next();
            }
        }
        rotation
    }

    /// Returns the index of the next in turn, or 0 when all are on standby.
    fn next(&self) -> usize {
        self.next_by(|_| WHOLE)
    }

    /// Returns the index of the next in turn where each gets a share of its weight, of [`WHOLE`].
    /// Those without any lose no turn and take none.
    #[inline]
    fn next_by(&self, share: impl Fn(usize) -> u32) -> usize {
        let mut best = 0;
        let mut best_value = i64::MIN;
        let mut total = 0;
        for (index, (weight, current)) in self.weights.iter().zip(&self.current).enumerate() {
            let weight = i64::from(*weight) * i64::from(share(index));
            total += weight;
            current.set(current.get() + weight);
            if weight > 0 && current.get() > best_value {
                best = index;
                best_value = current.get();
            }
        }
        if let Some(current) = self.current.get(best) {
            current.set(current.get() - total);
        }
        best
    }
}

#[cfg(test)]
mod tests;

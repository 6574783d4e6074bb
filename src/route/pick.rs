//! The candidates for a model, and their order.
//!
//! Candidates are in the order of their tiers (`priority`), and within a tier of their [`Rank`].
//! Within a rank, smooth weighted round-robin, per
//! worker and candidate set: after `k` times the sum of the weights each provider was first exactly
//! `k` times its weight, whatever the order of requested models. Workers start at different offsets,
//! so that a restart does not send the first request of every worker to the same provider. A weight
//! of 0 is standby: tried only when all others of its tier failed. Those that may not have the model
//! at all come last.
//!
//! Providers of which failures are remembered get a share of their weight, or none for a while. The
//! shares of the others among themselves stay exact.

use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::breaker::circuit::Admission;
use crate::breaker::memory::{Memory, Slot};
use crate::breaker::policy::{Policy, WHOLE};
use crate::config::snapshot::Provider;
use crate::config::virtual_models::VirtualModel;
use crate::route::affinity::{self, ConversationKey, Place};
use crate::route::rank::Rank;
use crate::route::target_format::TargetFormat;

/// The most steps by which a new rotation is advanced.
const MAX_OFFSET: u64 = 1024;

/// One provider that serves a model, and its name of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index into `Snapshot::providers`.
    pub provider: usize,
    /// The provider's name of the model.
    pub upstream_model: Rc<str>,
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
        Candidates { list, other_formats, virtual_model: None, groups, stages }
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
    /// service, by its share of the weights. The other part says whether a better one was passed over
    /// because of its load. `None` if all are out of service.
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
    Healthy(Order<'a>),
    Adapted(std::vec::IntoIter<Ranked<'a>>),
}

impl<'a> Iterator for AnyOrder<'a> {
    type Item = Ranked<'a>;

    fn next(&mut self) -> Option<Ranked<'a>> {
        match self {
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
mod tests {
    use super::*;
    use crate::breaker::circuit::Event;
    use llm_wire::Format;

    fn turns(weights: &[u32], worker: usize, n: usize) -> Vec<usize> {
        let rotation = Rotation::new(weights.to_vec(), worker);
        (0..n).map(|_| rotation.next()).collect()
    }

    /// Groups of candidates, each with their weights and whether it is a guess.
    fn candidates(ranks: &[(&[u32], bool)]) -> Candidates {
        let (mut list, mut groups) = (Vec::new(), Vec::new());
        for (weights, is_guess) in ranks {
            let start = list.len();
            list.extend((start..start + weights.len()).map(|provider| Candidate {
                provider,
                upstream_model: "m".into(),
                target: TargetFormat::plain(
                    Format::Chat,
                    &crate::route::target_format::tests::provider("openai", "http://h/v1", "{}"),
                    "m",
                ),
                rank: Rank::Exact,
                priority: 0,
                weight: weights[provider - start],
                context_window: 0,
                slot: Slot::NONE,
            }));
            let rotation = Rc::new(Rotation::new(weights.to_vec(), 0));
            groups.push(Group { range: start..list.len(), is_guess: *is_guess, priority: 0, rotation });
        }
        Candidates::new(list, 0, groups)
    }

    fn order(candidates: &Candidates) -> Vec<usize> {
        ordered(candidates, &providers(candidates), 0)
    }

    fn providers(candidates: &Candidates) -> Vec<Arc<Provider>> {
        let stub = || crate::route::target_format::tests::provider("openai", "http://h/v1", "{}");
        candidates.list.iter().map(|_| Arc::new(stub())).collect()
    }

    fn ordered(candidates: &Candidates, providers: &[Arc<Provider>], now: u32) -> Vec<usize> {
        let policy = Policy::default();
        candidates.order(providers, &policy, || now).map(|ranked| ranked.candidate.provider).collect()
    }

    #[test]
    fn every_full_round_gives_each_exactly_its_weight_on_any_worker() {
        for weights in [&[1, 1][..], &[5, 1, 1], &[3, 2], &[10, 0, 1], &[7]] {
            let total: u32 = weights.iter().sum();
            for worker in 0..5 {
                for chunk in turns(weights, worker, total as usize * 4).chunks(total as usize) {
                    for (index, weight) in weights.iter().enumerate() {
                        let count = chunk.iter().filter(|i| **i == index).count();
                        assert_eq!(count, *weight as usize, "weights {weights:?} worker {worker} provider {index}");
                    }
                }
            }
        }
    }

    #[test]
    fn turns_are_smooth() {
        assert_eq!(turns(&[5, 1, 1], 0, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn workers_start_at_different_offsets() {
        let first: std::collections::HashSet<usize> = (0..8).map(|worker| turns(&[1, 1, 1], worker, 1)[0]).collect();
        assert!(first.len() > 1, "{first:?}");
    }

    #[test]
    fn each_candidate_is_tried_once_and_standby_last() {
        let set = candidates(&[(&[1, 0, 1], false)]);
        assert_eq!(order(&set), [0, 2, 1]);
        assert_eq!(order(&set), [2, 0, 1]);
        assert_eq!(order(&candidates(&[(&[0, 0], false)])), [0, 1]);
        assert_eq!(order(&candidates(&[(&[0, 1], true)])), [1, 0]);
        assert_eq!(order(&candidates(&[])), Vec::<usize>::new());
    }

    #[test]
    fn ranks_take_turns_within_and_follow_one_another() {
        let set = candidates(&[(&[1, 1], false), (&[1, 1, 0], false), (&[1, 0], true)]);
        assert_eq!(order(&set), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(order(&set), [1, 0, 3, 2, 4, 5, 6]);
        // A standby that has the model goes before one of which that is not known.
        assert_eq!(order(&candidates(&[(&[0], false), (&[1], true)])), [0, 1]);
        assert_eq!(order(&candidates(&[(&[0], false), (&[1], false)])), [1, 0]);
    }

    /// One of three is out of service: the others keep their shares, and it comes last.
    #[test]
    fn shares_of_the_others_stay_exact() {
        let set = candidates(&[(&[5, 2, 1], false)]);
        let providers = providers(&set);
        providers[0].memory.account.record(Event::KeyRefused, 0, &Policy::default());
        for _ in 0..20 {
            let mut first = [0; 3];
            for _ in 0..3 {
                let order = ordered(&set, &providers, 1);
                assert_eq!((order.len(), order[2]), (3, 0));
                first[order[0]] += 1;
            }
            assert_eq!(first, [0, 2, 1]);
        }
        providers[0].memory.account.record(Event::ClosedByHand, 0, &Policy::default());
        let mut first = [0; 3];
        (0..80).for_each(|_| first[ordered(&set, &providers, 2)[0]] += 1);
        assert_eq!(first, [50, 20, 10]);
    }

    /// When everybody is out of service the one that comes back first is asked.
    #[test]
    fn some_candidate_is_always_left() {
        let set = candidates(&[(&[1, 1], false)]);
        let providers = providers(&set);
        let policy = Policy::default();
        providers[0].memory.account.record(Event::Throttled(Some(500)), 0, &policy);
        providers[1].memory.account.record(Event::Throttled(Some(50)), 0, &policy);
        assert_eq!(ordered(&set, &providers, 1), [1, 0]);
        assert_eq!(ordered(&set, &providers, 51), [1, 0]);
    }
}

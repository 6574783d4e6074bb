//! The candidates for a model, and their order.
//!
//! Candidates are in the order of their [`Rank`]. Within a rank, smooth weighted round-robin, per
//! worker and candidate set: after `k` times the sum of the weights each provider was first exactly
//! `k` times its weight, whatever the order of requested models. Workers start at different offsets,
//! so that a restart does not send the first request of every worker to the same provider. A weight
//! of 0 is standby: tried only when all others failed, save those that may not have the model at
//! all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::boot::CatchAllRouting;
use crate::config::snapshot::Snapshot;
use crate::route::rank::Rank;
use crate::route::target_format::{TargetFormat, choose};
use crate::shared::catalog::Lists;
use llm_wire::Format;

/// Model names that a worker remembers per format. A client may invent any number of names; beyond
/// this they are resolved each time. Also the rotations that outlive a snapshot.
const REMEMBERED: usize = 4096;

/// The most steps by which a new rotation is advanced.
const MAX_OFFSET: u64 = 1024;

/// One provider that serves a model, and its name of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index into `Snapshot::providers`.
    pub provider: usize,
    /// `None` when the upstream model has the requested name.
    pub upstream_model: Option<Rc<str>>,
    pub target: TargetFormat,
    pub rank: Rank,
}

/// All providers of one model for clients of one format, the best rank first.
#[derive(Debug)]
pub struct Candidates {
    pub list: Vec<Candidate>,
    /// How many providers serve the model, but not in the format of a request that is never
    /// translated.
    pub other_formats: usize,
    groups: Vec<Group>,
}

/// Candidates that take turns, with the rotation that they share with other models of the same
/// providers.
#[derive(Debug)]
struct Group {
    /// The place in [`Candidates::list`].
    range: Range<usize>,
    /// Whether it is unknown that they have the model.
    is_guess: bool,
    rotation: Rc<Rotation>,
}

impl Candidates {
    /// Returns the order of attempts for one request: the next in turn, then the others, standby
    /// last. Advances the rotation.
    pub fn order(&self) -> Order<'_> {
        let first = self.groups.first().map_or(0, |group| group.rotation.next());
        Order { candidates: self, pass: Pass::Weighted, group: 0, step: 0, first }
    }

    /// Returns whether several provider accounts serve this model. Headers about one account would
    /// mislead then.
    pub fn pooled(&self) -> bool {
        self.list.len() > 1
    }
}

/// Which candidates are tried. The passes follow one another, each through all groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    Weighted,
    Standby,
    WeightedGuess,
    StandbyGuess,
}

impl Pass {
    fn after(self) -> Option<Pass> {
        match self {
            Pass::Weighted => Some(Pass::Standby),
            Pass::Standby => Some(Pass::WeightedGuess),
            Pass::WeightedGuess => Some(Pass::StandbyGuess),
            Pass::StandbyGuess => None,
        }
    }

    fn is_standby(self) -> bool {
        matches!(self, Pass::Standby | Pass::StandbyGuess)
    }

    fn is_guess(self) -> bool {
        matches!(self, Pass::WeightedGuess | Pass::StandbyGuess)
    }
}

/// Iterator over the candidates of one request.
#[derive(Debug)]
pub struct Order<'a> {
    candidates: &'a Candidates,
    pass: Pass,
    group: usize,
    step: usize,
    /// The next in turn in the group.
    first: usize,
}

impl Order<'_> {
    /// Moves to the next group, or to the next pass through all of them.
    fn advance(&mut self) -> Option<()> {
        let groups = &self.candidates.groups;
        self.group += 1;
        self.step = 0;
        if self.group >= groups.len() {
            self.pass = self.pass.after()?;
            self.group = 0;
        }
        // The turn of the first group was taken when the order was made.
        let group = groups.get(self.group)?;
        if self.group > 0 && !self.pass.is_standby() && self.pass.is_guess() == group.is_guess {
            self.first = group.rotation.next();
        }
        Some(())
    }
}

impl<'a> Iterator for Order<'a> {
    type Item = &'a Candidate;

    fn next(&mut self) -> Option<&'a Candidate> {
        loop {
            let group = self.candidates.groups.get(self.group)?;
            let n = group.range.len();
            if self.step == n || group.is_guess != self.pass.is_guess() {
                self.advance()?;
                continue;
            }
            let at = if self.pass.is_standby() { self.step } else { (self.first + self.step) % n };
            self.step += 1;
            if (group.rotation.weights[at] == 0) == self.pass.is_standby() {
                return self.candidates.list.get(group.range.start + at);
            }
        }
    }
}

/// Smooth weighted round-robin over a fixed list of weights.
#[derive(Debug)]
struct Rotation {
    weights: Vec<u32>,
    current: Vec<Cell<i64>>,
}

impl Rotation {
    fn new(weights: Vec<u32>, worker: usize) -> Rotation {
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
        let mut best = 0;
        let mut best_value = i64::MIN;
        let mut total = 0;
        for (index, (weight, current)) in self.weights.iter().zip(&self.current).enumerate() {
            let weight = i64::from(*weight);
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

type Remembered = HashMap<Box<str>, Rc<Candidates>, ahash::RandomState>;

/// Rotations by the ids and weights of their providers.
type Rotations = HashMap<Vec<(i64, u32)>, Rc<Rotation>, ahash::RandomState>;

/// One worker's choice of providers, for one snapshot and the model lists that are known.
#[derive(Debug, Default)]
pub struct Selector {
    worker: usize,
    routing: CatchAllRouting,
    lists: Arc<Lists>,
    /// By the client's format; requests that are never translated first.
    by_model: [[RefCell<Remembered>; 2]; 3],
    rotations: RefCell<Rotations>,
}

impl Selector {
    pub fn new(worker: usize, routing: CatchAllRouting, lists: Arc<Lists>) -> Selector {
        Selector { worker, routing, lists, ..Selector::default() }
    }

    /// Returns a selector for the next snapshot or the next lists. Rotations continue where the
    /// providers are the same: if each change began anew, a configuration that often changes would
    /// send everything to the first in turn.
    pub fn after(&self, snapshot: &Snapshot, lists: Arc<Lists>) -> Selector {
        let mut rotations = self.rotations.borrow().clone();
        let is_there = |(id, weight): &(i64, u32)| snapshot.provider(*id).is_some_and(|there| there.weight == *weight);
        rotations.retain(|providers, _| providers.iter().all(is_there));
        if rotations.len() > REMEMBERED {
            rotations.clear();
        }
        Selector { rotations: RefCell::new(rotations), ..Selector::new(self.worker, self.routing, lists) }
    }

    /// Returns who serves `model` (without prefix) to a client of `format`; without `translate` only in
    /// that very format.
    pub fn candidates(&self, snapshot: &Snapshot, format: Format, translate: bool, model: &str) -> Rc<Candidates> {
        let remembered = &self.by_model[format as usize][usize::from(translate)];
        if let Some(found) = remembered.borrow().get(model) {
            return found.clone();
        }
        let found = Rc::new(self.resolve(snapshot, format, translate, model));
        let mut remembered = remembered.borrow_mut();
        if remembered.len() < REMEMBERED && !(found.list.is_empty() && found.other_formats == 0) {
            remembered.insert(model.into(), found.clone());
        }
        found
    }

    fn resolve(&self, snapshot: &Snapshot, format: Format, translate: bool, model: &str) -> Candidates {
        let mut list = Vec::new();
        let mut other_formats = 0;
        for (index, provider) in snapshot.providers.iter().enumerate() {
            let Some(upstream) = provider.models.resolve(model) else { continue };
            let Some(rank) = Rank::of(provider, model, &self.lists) else { continue };
            let Some(target) = choose(format, translate, provider, &upstream) else {
                other_formats += 1;
                continue;
            };
            let upstream_model = (upstream != model).then(|| Rc::from(&*upstream));
            list.push(Candidate { provider: index, upstream_model, target, rank });
        }
        let groups = self.groups(snapshot, &mut list);
        Candidates { list, other_formats, groups }
    }

    /// Sorts the candidates by their ranks and gives each rank its rotation.
    fn groups(&self, snapshot: &Snapshot, list: &mut [Candidate]) -> Vec<Group> {
        let is_ranked = self.routing == CatchAllRouting::Ranked;
        if is_ranked {
            list.sort_by_key(|candidate| candidate.rank);
        }
        let mut groups = Vec::new();
        let mut start = 0;
        for group in list.chunk_by(|a, b| !is_ranked || a.rank == b.rank) {
            let providers = group.iter().map(|candidate| &snapshot.providers[candidate.provider]);
            let key: Vec<_> = providers.map(|provider| (provider.id, provider.weight)).collect();
            let begin = |key: &Vec<(i64, u32)>| {
                Rc::new(Rotation::new(key.iter().map(|(_, weight)| *weight).collect(), self.worker))
            };
            let rotation = self.rotations.borrow_mut().entry(key).or_insert_with_key(begin).clone();
            let range = start..start + group.len();
            start = range.end;
            let is_guess = is_ranked && group.iter().all(|candidate| candidate.rank == Rank::Unknown);
            groups.push(Group { range, is_guess, rotation });
        }
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], worker: usize, n: usize) -> Vec<usize> {
        let rotation = Rotation::new(weights.to_vec(), worker);
        (0..n).map(|_| rotation.next()).collect()
    }

    /// Groups of candidates, each with their weights and whether it is a guess.
    fn candidates(ranks: &[(&[u32], bool)]) -> Candidates {
        let mut all = Candidates { list: Vec::new(), other_formats: 0, groups: Vec::new() };
        for (weights, is_guess) in ranks {
            let start = all.list.len();
            all.list.extend((start..start + weights.len()).map(|provider| Candidate {
                provider,
                upstream_model: None,
                target: TargetFormat::plain(
                    Format::Chat,
                    &crate::route::target_format::tests::provider("openai", "http://h/v1", "{}"),
                    "m",
                ),
                rank: Rank::Exact,
            }));
            let rotation = Rc::new(Rotation::new(weights.to_vec(), 0));
            all.groups.push(Group { range: start..all.list.len(), is_guess: *is_guess, rotation });
        }
        all
    }

    fn order(candidates: &Candidates) -> Vec<usize> {
        candidates.order().map(|candidate| candidate.provider).collect()
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
}

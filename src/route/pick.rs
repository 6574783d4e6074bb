//! Candidates for a model, and whose turn it is.
//!
//! Smooth weighted round-robin, per core and candidate set: after `k` times the sum of the weights
//! each provider was first exactly `k` times its weight, whatever the order of models asked for.
//! Cores start at different offsets, so that a restart does not send the first request of every
//! core to the same provider. A weight of 0 is standby: tried only when all others failed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::config::snapshot::Snapshot;
use crate::route::target_format::{TargetFormat, reach};
use llm_wire::Format;

/// Model names that a core remembers per format. A client may invent any number of names; beyond
/// this they are resolved each time. Also the rotations that outlive a snapshot.
const REMEMBERED: usize = 4096;

/// Steps by which a rotation is advanced at most when it starts.
const MAX_OFFSET: u64 = 1024;

/// One provider that serves a model, and the name it knows the model by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Index into `Snapshot::providers`.
    pub provider: usize,
    /// `None` when the upstream's name is the name asked for.
    pub upstream_model: Option<Rc<str>>,
    pub reach: TargetFormat,
}

/// All providers of one model for clients of one format, with the rotation they share with other
/// models of the same providers.
#[derive(Debug)]
pub struct Candidates {
    pub list: Vec<Candidate>,
    /// Providers that serve the model, but not in the format that a request which is never
    /// translated must have.
    pub foreign: usize,
    rotation: Rc<Rotation>,
}

impl Candidates {
    /// The order of attempts for one request: whose turn it is, then the others, standby last.
    /// Advances the rotation.
    pub fn order(&self) -> Order<'_> {
        Order { candidates: self, first: self.rotation.next(), step: 0 }
    }

    /// Whether more than one provider account stands behind this model; per-account headers would
    /// mislead then.
    pub fn pooled(&self) -> bool {
        self.list.len() > 1
    }
}

/// Iterator over the candidates of one request.
#[derive(Debug)]
pub struct Order<'a> {
    candidates: &'a Candidates,
    first: usize,
    step: usize,
}

impl<'a> Iterator for Order<'a> {
    type Item = &'a Candidate;

    fn next(&mut self) -> Option<&'a Candidate> {
        let n = self.candidates.list.len();
        let weights = &self.candidates.rotation.weights;
        // Two rounds from `first` on: those with a weight, then those on standby. `first` itself is
        // taken in the first round.
        while self.step < 2 * n {
            let (round, at) = (self.step / n, (self.first + self.step % n) % n);
            let standby = weights[at] == 0 && at != self.first;
            self.step += 1;
            if standby == (round == 1) {
                return self.candidates.list.get(at);
            }
        }
        None
    }
}

/// Smooth weighted round-robin over a fixed list of weights.
#[derive(Debug)]
struct Rotation {
    weights: Vec<u32>,
    current: Vec<Cell<i64>>,
}

impl Rotation {
    fn new(weights: Vec<u32>, core: usize) -> Rotation {
        let current = weights.iter().map(|_| Cell::new(0)).collect();
        let rotation = Rotation { weights, current };
        let total: u64 = rotation.weights.iter().map(|w| u64::from(*w)).sum();
        if total > 0 {
            // Any odd stride spreads the cores; this one is far from small multiples of common
            // weight sums.
            for _ in 0..(core as u64 * 7919 % total).min(MAX_OFFSET) {
                rotation.next();
            }
        }
        rotation
    }

    /// Index of the next in turn; 0 when all are on standby.
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

/// By the ids and weights of the providers in them.
type Rotations = HashMap<Vec<(i64, u32)>, Rc<Rotation>, ahash::RandomState>;

/// One core's choice of providers, for one snapshot.
#[derive(Debug, Default)]
pub struct Selector {
    core: usize,
    /// By the client's format, untranslated requests first.
    by_model: [[RefCell<Remembered>; 2]; 3],
    rotations: RefCell<Rotations>,
}

impl Selector {
    pub fn new(core: usize) -> Selector {
        Selector { core, ..Selector::default() }
    }

    /// For the next snapshot: whose turn it is goes on where the providers are the same. If each
    /// change began anew, a configuration that often changes would leave all to those whose turn is
    /// first.
    pub fn after(&self, snapshot: &Snapshot) -> Selector {
        let mut rotations = self.rotations.borrow().clone();
        let is_there = |(id, weight): &(i64, u32)| snapshot.provider(*id).is_some_and(|there| there.weight == *weight);
        rotations.retain(|providers, _| providers.iter().all(is_there));
        if rotations.len() > REMEMBERED {
            rotations.clear();
        }
        Selector { rotations: RefCell::new(rotations), ..Selector::new(self.core) }
    }

    /// Who serves `model` (prefix stripped) to a client of `format`; without `translate` only in
    /// that very format.
    pub fn candidates(&self, snapshot: &Snapshot, format: Format, translate: bool, model: &str) -> Rc<Candidates> {
        let remembered = &self.by_model[format as usize][usize::from(translate)];
        if let Some(found) = remembered.borrow().get(model) {
            return found.clone();
        }
        let found = Rc::new(self.resolve(snapshot, format, translate, model));
        let mut remembered = remembered.borrow_mut();
        if remembered.len() < REMEMBERED && !(found.list.is_empty() && found.foreign == 0) {
            remembered.insert(model.into(), found.clone());
        }
        found
    }

    fn resolve(&self, snapshot: &Snapshot, format: Format, translate: bool, model: &str) -> Candidates {
        let mut list = Vec::new();
        let mut foreign = 0;
        for (index, provider) in snapshot.providers.iter().enumerate() {
            let Some(upstream) = provider.models.resolve(model) else { continue };
            let Some(reach) = reach(format, translate, provider, &upstream) else {
                foreign += 1;
                continue;
            };
            let upstream_model = (upstream != model).then(|| Rc::from(&*upstream));
            list.push(Candidate { provider: index, upstream_model, reach });
        }
        let providers = list.iter().map(|candidate| &snapshot.providers[candidate.provider]);
        let key: Vec<_> = providers.map(|provider| (provider.id, provider.weight)).collect();
        let begin =
            |key: &Vec<(i64, u32)>| Rc::new(Rotation::new(key.iter().map(|(_, weight)| *weight).collect(), self.core));
        let rotation = self.rotations.borrow_mut().entry(key).or_insert_with_key(begin).clone();
        Candidates { list, foreign, rotation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[u32], core: usize, n: usize) -> Vec<usize> {
        let rotation = Rotation::new(weights.to_vec(), core);
        (0..n).map(|_| rotation.next()).collect()
    }

    fn candidates(weights: &[u32]) -> Candidates {
        let list = (0..weights.len())
            .map(|provider| Candidate {
                provider,
                upstream_model: None,
                reach: TargetFormat::plain(
                    Format::Chat,
                    &crate::route::target_format::tests::provider("openai", "http://h/v1", "{}"),
                    "m",
                ),
            })
            .collect();
        Candidates { list, foreign: 0, rotation: Rc::new(Rotation::new(weights.to_vec(), 0)) }
    }

    fn order(candidates: &Candidates) -> Vec<usize> {
        candidates.order().map(|candidate| candidate.provider).collect()
    }

    #[test]
    fn every_full_round_gives_each_exactly_its_weight_on_any_core() {
        for weights in [&[1, 1][..], &[5, 1, 1], &[3, 2], &[10, 0, 1], &[7]] {
            let total: u32 = weights.iter().sum();
            for core in 0..5 {
                for chunk in turns(weights, core, total as usize * 4).chunks(total as usize) {
                    for (index, weight) in weights.iter().enumerate() {
                        let count = chunk.iter().filter(|i| **i == index).count();
                        assert_eq!(count, *weight as usize, "weights {weights:?} core {core} provider {index}");
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
    fn cores_start_at_different_offsets() {
        let first: std::collections::HashSet<usize> = (0..8).map(|core| turns(&[1, 1, 1], core, 1)[0]).collect();
        assert!(first.len() > 1, "{first:?}");
    }

    #[test]
    fn each_candidate_is_tried_once_and_standby_last() {
        let set = candidates(&[1, 0, 1]);
        assert_eq!(order(&set), [0, 2, 1]);
        assert_eq!(order(&set), [2, 0, 1]);
        assert_eq!(order(&candidates(&[0, 0])), [0, 1]);
        assert_eq!(order(&candidates(&[])), Vec::<usize>::new());
    }
}

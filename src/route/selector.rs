//! The candidates of each model that is asked for, which a worker looks up once for each snapshot.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::breaker::memory::Slot;
use crate::config::boot::CatchAllRouting;
use crate::config::snapshot::{Credential, Provider, Snapshot};
use crate::route::pick::{Candidate, Candidates, Group, Rotation, name_fields};
use crate::route::rank::Rank;
use crate::route::target_format::{TargetFormat, choose};
use crate::shared::catalog::Lists;
use llm_wire::Format;

/// Model names that a worker remembers per format. A client may invent any number of names; beyond
/// this they are resolved each time. Also the rotations that outlive a snapshot.
pub(super) const REMEMBERED: usize = 4096;

pub(super) type ByModel = HashMap<Box<str>, Rc<Candidates>, ahash::RandomState>;

/// What rotations are known by: the ids and weights of their providers, and behind a virtual model
/// also its id and the tier.
type RotationKey = (Option<(i64, u32)>, Vec<(i64, u32)>);

type Rotations = HashMap<RotationKey, Rc<Rotation>, ahash::RandomState>;

/// The model that providers are looked up for.
pub(super) struct Asked<'a> {
    /// The name that mappings know.
    pub model: &'a str,
    pub format: Format,
    pub translate: bool,
}

/// One worker's choice of providers, for one snapshot and the model lists that are known.
#[derive(Debug, Default)]
pub struct Selector {
    worker: usize,
    pub(super) routing: CatchAllRouting,
    lists: Arc<Lists>,
    /// By the client's format; requests that are never translated first.
    by_model: [[RefCell<ByModel>; 2]; 3],
    /// Of virtual models, for credentials that have members of their own or may not use all: by the
    /// id of the credential.
    pub(super) by_credential: [[RefCell<HashMap<i64, ByModel, ahash::RandomState>>; 2]; 3],
    rotations: RefCell<Rotations>,
    /// What was looked up last.
    last: RefCell<Last>,
}

/// A model that was looked up, and who serves it, whoever asks.
#[derive(Debug, Default)]
struct Last {
    format: Option<Format>,
    translate: bool,
    model: String,
    candidates: Option<Rc<Candidates>>,
}

impl Selector {
    /// Makes the selector of one worker.
    pub fn new(worker: usize, routing: CatchAllRouting, lists: Arc<Lists>) -> Selector {
        Selector { worker, routing, lists, ..Selector::default() }
    }

    /// Returns a selector for the next snapshot or the next lists. Rotations continue where the
    /// providers are the same: if each change began anew, a configuration that often changes would
    /// send everything to the first in turn.
    pub fn after(&self, snapshot: &Snapshot, lists: Arc<Lists>) -> Selector {
        let mut rotations = self.rotations.borrow().clone();
        rotations.retain(|(virtual_model, providers), _| {
            let is_there = |(id, weight): &(i64, u32)| {
                snapshot.provider(*id).is_some_and(|there| virtual_model.is_some() || there.weight == *weight)
            };
            providers.iter().all(is_there)
        });
        if rotations.len() > REMEMBERED {
            rotations.clear();
        }
        Selector { rotations: RefCell::new(rotations), ..Selector::new(self.worker, self.routing, lists) }
    }

    /// Returns who serves `model` (without prefix) to a client of `format`; without `translate`
    /// only in that very format. Of a virtual model those that `caller` may use.
    pub fn candidates(
        &self,
        snapshot: &Snapshot,
        format: Format,
        translate: bool,
        model: &str,
        caller: Option<&Credential>,
    ) -> Rc<Candidates> {
        let found = self.find(snapshot, format, translate, model);
        match (&found.virtual_model, caller) {
            (Some(virtual_model), Some(caller)) => {
                let is_restricted = !caller.allows_all() || virtual_model.has_overrides_for(&caller.name);
                if is_restricted { self.restricted(snapshot, format, translate, virtual_model, caller) } else { found }
            }
            _ => found,
        }
    }

    /// Returns who serves a model, whoever asks. Most requests name the model of the one before,
    /// which needs no look-up.
    fn find(&self, snapshot: &Snapshot, format: Format, translate: bool, model: &str) -> Rc<Candidates> {
        let last = self.last.borrow();
        if let Some(candidates) = &last.candidates
            && (last.format, last.translate) == (Some(format), translate)
            && last.model == model
        {
            return candidates.clone();
        }
        // What resolves a model may look for others.
        drop(last);
        let remembered = self.by_model[format as usize][usize::from(translate)].borrow().get(model).cloned();
        let Some(candidates) = remembered else {
            return self.resolve_and_remember(snapshot, format, translate, model);
        };
        let mut last = self.last.borrow_mut();
        (last.format, last.translate, last.candidates) = (Some(format), translate, Some(candidates.clone()));
        last.model.clear();
        last.model.push_str(model);
        candidates
    }

    /// Returns all providers that offer a format, whatever their models, in the order of their
    /// tiers. For what is asked of an account and not of a model.
    pub fn of_format(&self, snapshot: &Snapshot, format: Format) -> Candidates {
        let offers = snapshot.providers.iter().enumerate().filter(|(_, provider)| provider.formats.contains(&format));
        let mut list: Vec<Candidate> = offers
            .map(|(index, provider)| Candidate {
                provider: index,
                upstream_model: Rc::from(""),
                name_fields: name_fields(&provider.key, ""),
                target: TargetFormat::plain(format, provider, ""),
                rank: Rank::Exact,
                priority: provider.priority,
                weight: provider.weight,
                context_window: 0,
                slot: Slot::NONE,
                is_member: false,
            })
            .collect();
        list.sort_by_key(|candidate| candidate.priority);
        let groups = self.groups(snapshot, &list, None, |_| Rank::Exact);
        Candidates::new(list, 0, groups)
    }

    fn resolve_and_remember(
        &self,
        snapshot: &Snapshot,
        format: Format,
        translate: bool,
        model: &str,
    ) -> Rc<Candidates> {
        let found = Rc::new(match snapshot.virtual_models.get(model) {
            Some(found) => self.resolve_virtual(snapshot, format, translate, found, None),
            None => self.resolve(snapshot, format, translate, model),
        });
        let mut remembered = self.by_model[format as usize][usize::from(translate)].borrow_mut();
        if remembered.len() < REMEMBERED && !(found.list.is_empty() && found.other_formats == 0) {
            remembered.insert(model.into(), found.clone());
        }
        found
    }

    fn resolve(&self, snapshot: &Snapshot, format: Format, translate: bool, model: &str) -> Candidates {
        let mut other_formats = 0;
        let asked = Asked { model, format, translate };
        let mut list = self.serving(snapshot, &asked, |_| true, &mut other_formats);
        let is_ranked = self.routing == CatchAllRouting::Ranked;
        let rank = |candidate: &Candidate| if is_ranked { candidate.rank } else { Rank::Exact };
        list.sort_by_key(|candidate| (candidate.priority, rank(candidate)));
        let groups = self.groups(snapshot, &list, None, rank);
        Candidates::new(list, other_formats, groups)
    }

    /// Returns who serves a model, in the order of providers.
    pub(super) fn serving(
        &self,
        snapshot: &Snapshot,
        asked: &Asked<'_>,
        is_wanted: impl Fn(&Provider) -> bool,
        other_formats: &mut usize,
    ) -> Vec<Candidate> {
        let mut list = Vec::new();
        for (index, provider) in snapshot.providers.iter().enumerate().filter(|(_, provider)| is_wanted(provider)) {
            let Some(upstream) = provider.models.resolve(asked.model) else { continue };
            let Some(rank) = Rank::of(provider, asked.model, &self.lists) else { continue };
            let Some(target) = choose(asked.format, asked.translate, provider, &upstream) else {
                *other_formats += 1;
                continue;
            };
            list.push(Candidate {
                provider: index,
                name_fields: name_fields(&provider.key, &upstream),
                upstream_model: Rc::from(&*upstream),
                target,
                rank,
                priority: provider.priority,
                weight: provider.weight,
                context_window: target.caps.context_window,
                slot: provider.memory.slot(&upstream),
                is_member: false,
            });
        }
        list
    }

    /// Gives each tier and rank of the candidates, which are in their order, its rotation.
    pub(super) fn groups(
        &self,
        snapshot: &Snapshot,
        list: &[Candidate],
        virtual_model: Option<i64>,
        rank: impl Fn(&Candidate) -> Rank,
    ) -> Vec<Group> {
        let mut groups = Vec::new();
        let mut start = 0;
        for group in list.chunk_by(|a, b| a.priority == b.priority && rank(a) == rank(b)) {
            let provider = |candidate: &Candidate| snapshot.providers[candidate.provider].id;
            let providers = group.iter().map(|candidate| (provider(candidate), candidate.weight)).collect();
            let key: RotationKey = (virtual_model.map(|id| (id, group[0].priority)), providers);
            let begin = |(_, key): &RotationKey| {
                Rc::new(Rotation::new(key.iter().map(|(_, weight)| *weight).collect(), self.worker))
            };
            let rotation = self.rotations.borrow_mut().entry(key).or_insert_with_key(begin).clone();
            let range = start..start + group.len();
            start = range.end;
            let is_guess = group.iter().all(|candidate| rank(candidate) == Rank::Unknown);
            groups.push(Group { range, is_guess, priority: group[0].priority, rotation });
        }
        groups
    }
}

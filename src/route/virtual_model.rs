//! The candidates behind a virtual model ([`crate::config::virtual_models`]): those of all its
//! members.
//!
//! Their tiers are those of the members, then the tiers and ranks of each member's own candidates.
//! Within a tier they share by the weights of the members, and of the providers of each.

use std::rc::Rc;
use std::sync::Arc;

use crate::config::boot::CatchAllRouting;
use crate::config::share::{Share, weights};
use crate::config::snapshot::{Credential, Snapshot};
use crate::config::virtual_models::{Member, VirtualModel};
use crate::route::pick::{Candidate, Candidates};
use crate::route::rank::Rank;
use crate::route::selector::{Asked, REMEMBERED, Selector};
use llm_wire::Format;

/// A candidate of a member of a virtual model.
struct Placed<'m> {
    member: &'m Member,
    /// Among the candidates of the member: 0 is the first.
    level: usize,
    share: Share,
    candidate: Candidate,
}

impl Selector {
    /// Returns the candidates of a virtual model for a caller that has other members than the rest.
    pub(super) fn restricted(
        &self,
        snapshot: &Snapshot,
        format: Format,
        translate: bool,
        virtual_model: &Arc<VirtualModel>,
        caller: &Credential,
    ) -> Rc<Candidates> {
        let mut remembered = self.by_credential[format as usize][usize::from(translate)].borrow_mut();
        if let Some(found) = remembered.get(&caller.id).and_then(|models| models.get(&*virtual_model.name)) {
            return found.clone();
        }
        let found = Rc::new(self.resolve_virtual(snapshot, format, translate, virtual_model, Some(caller)));
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        // A credential has at most as many as there are virtual models.
        remembered.entry(caller.id).or_default().insert(Box::from(&*virtual_model.name), found.clone());
        found
    }

    /// Returns the candidates of all members that `caller` may use: a virtual model gives nobody a
    /// model that the credential does not allow by its own name.
    pub(super) fn resolve_virtual(
        &self,
        snapshot: &Snapshot,
        format: Format,
        translate: bool,
        virtual_model: &Arc<VirtualModel>,
        caller: Option<&Credential>,
    ) -> Candidates {
        let mut other_formats = 0;
        let mut placed: Vec<Placed<'_>> = Vec::new();
        for member in virtual_model.members_for(caller.map(|caller| &*caller.name)) {
            if caller.is_some_and(|caller| !caller.allows(&member.model)) {
                continue;
            }
            let asked = Asked { model: &member.model, format, translate };
            let found = self.serving(snapshot, &asked, |provider| member.is_served_by(provider), &mut other_formats);
            placed.extend(self.placed(member, found));
        }
        placed.sort_by_key(|placed| (placed.member.priority, placed.level));
        let mut list = Vec::with_capacity(placed.len());
        let is_same_tier =
            |a: &Placed<'_>, b: &Placed<'_>| (a.member.priority, a.level) == (b.member.priority, b.level);
        for (tier, group) in (0..).zip(placed.chunk_by(is_same_tier)) {
            let shares: Vec<_> = group.iter().map(|placed| placed.share).collect();
            let tiered = group.iter().zip(weights(&shares));
            list.extend(tiered.map(|(placed, weight)| Candidate {
                priority: tier,
                weight,
                is_member: true,
                ..placed.candidate.clone()
            }));
        }
        let groups = self.groups(snapshot, &list, Some(virtual_model.id), |_| Rank::Exact);
        let mut candidates = Candidates::new(list, other_formats, groups);
        candidates.virtual_model = Some(virtual_model.clone());
        candidates
    }

    /// Gives the candidates of one member their levels, those of their own tiers and ranks, and
    /// their parts of the member's share.
    fn placed<'m>(&self, member: &'m Member, found: Vec<Candidate>) -> Vec<Placed<'m>> {
        let is_ranked = self.routing == CatchAllRouting::Ranked;
        let level = |candidate: &Candidate| (candidate.priority, if is_ranked { candidate.rank } else { Rank::Exact });
        let mut levels: Vec<_> = found.iter().map(level).collect();
        levels.sort_unstable();
        levels.dedup();
        let total = |own| {
            let same = found.iter().filter(|candidate| level(candidate) == own);
            same.fold(Share::whole(0), |sum, candidate| sum.plus(Share::whole(candidate.weight)))
        };
        let totals: Vec<_> = levels.iter().map(|own| total(*own)).collect();
        let place = |candidate: &Candidate| {
            let at = levels.binary_search(&level(candidate)).unwrap_or_default();
            let share = member.share.part(Share::whole(candidate.weight), totals[at]);
            let context_window = member.context_window.unwrap_or(candidate.context_window);
            Placed { member, level: at, share, candidate: Candidate { context_window, ..candidate.clone() } }
        };
        found.iter().map(place).collect()
    }
}

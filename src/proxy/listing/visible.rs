//! The models that one caller may see.

use crate::config::snapshot::{Provider, Snapshot};
use crate::config::virtual_models::{Member, VirtualModel};
use crate::proxy::auth::Caller;
use crate::shared::catalog::Lists;

/// The models that can be listed, and the caller.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    pub snapshot: &'a Snapshot,
    pub lists: &'a Lists,
    pub caller: Caller<'a>,
    /// `MODEL_PREFIX`.
    pub prefix: Option<&'a str>,
}

impl<'a> Listing<'a> {
    /// Returns all names, sorted, each once.
    pub(super) fn names(&self) -> Vec<&'a str> {
        let mut names: Vec<&str> = Vec::new();
        for provider in &self.snapshot.providers {
            names.extend(provider.models.names().chain(self.own_list(provider)).filter(|name| self.allows(name)));
        }
        let virtual_models = self.snapshot.virtual_models.values();
        names.extend(virtual_models.filter(|model| self.shows(model)).map(|model| &*model.name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Returns the own list of a provider without a mapping.
    pub(super) fn own_list(&self, provider: &Provider) -> impl Iterator<Item = &'a str> + use<'a> {
        let list = if provider.models.serves_all() { self.lists.get(&provider.id) } else { None };
        list.into_iter().flat_map(|list| list.iter().map(String::as_str))
    }

    /// Returns the members of a virtual model that the caller may use.
    pub(super) fn members(&self, model: &'a VirtualModel) -> impl Iterator<Item = &'a Member> + use<'a> {
        let caller = self.caller;
        let members = model.members_for(caller.map(|credential| &*credential.name)).iter();
        members.filter(move |member| caller.is_none_or(|credential| credential.allows(&member.model)))
    }

    /// Returns whether a virtual model is served to the caller.
    pub(super) fn shows(&self, model: &'a VirtualModel) -> bool {
        let is_served = |member: &Member| self.snapshot.providers.iter().any(|provider| member.is_served_by(provider));
        self.allows(&model.name) && self.members(model).any(is_served)
    }

    pub(super) fn allows(&self, model: &str) -> bool {
        self.caller.is_none_or(|credential| credential.allows(model))
    }
}

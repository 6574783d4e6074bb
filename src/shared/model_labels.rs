//! The models that metrics have a label for: the names that providers were asked for and answered
//! under, up to a number.
//!
//! The names come from clients, where a provider serves every model or a pattern of them. A name
//! that no provider has answered is not kept, and after [`ModelLabels::most`] names the rest share
//! one label, so that nobody can make series without end.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

/// Longer names share the label of the rest.
const MAX_NAME: usize = 128;

/// Shared by all workers. A read is a look-up; a new name copies the set, at most `most` times.
#[derive(Debug)]
pub struct ModelLabels {
    names: ArcSwap<HashSet<Box<str>, ahash::RandomState>>,
    most: usize,
}

impl ModelLabels {
    /// Makes an empty set for at most `most` names.
    pub fn new(most: usize) -> ModelLabels {
        ModelLabels { names: ArcSwap::default(), most }
    }

    /// Returns whether `name` has a label of its own. One that is new gets it if the provider
    /// `answered` and there is room.
    pub fn has(&self, name: &str, answered: bool) -> bool {
        let names = self.names.load();
        if names.contains(name) {
            return true;
        }
        if !answered || names.len() >= self.most || name.len() > MAX_NAME {
            return false;
        }
        let mut is_in = false;
        self.names.rcu(|names| {
            let mut names = HashSet::clone(names);
            is_in = names.contains(name) || names.len() < self.most && names.insert(name.into());
            Arc::new(names)
        });
        is_in
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_up_to_a_number() {
        let labels = ModelLabels::new(2);
        assert!(!labels.has("invented", false), "no provider has answered");
        assert!(labels.has("a", true) && labels.has("b", true));
        assert!(!labels.has("c", true), "there is no room");
        assert!(labels.has("a", false), "it is known");
        assert!(!ModelLabels::new(0).has("a", true));
        assert!(!ModelLabels::new(9).has(&"x".repeat(MAX_NAME + 1), true));
    }
}

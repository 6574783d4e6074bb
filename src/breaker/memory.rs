//! The circuits of one provider: that of its account, and one for each of its models.
//!
//! A provider's memory is found through the snapshot and carried over from one snapshot to the next
//! by the id of its row.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use super::cell::Cell;
use super::circuit::{Admission, Event, Reason};
use super::policy::{Policy, WHOLE};

/// Models of one provider that have a circuit. A client may invent any number of names for a
/// provider that serves them all; beyond this they have none.
const MODELS: usize = 256;

/// Where the circuit of a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(Option<u16>);

impl Slot {
    /// The slot of a model without a circuit.
    pub const NONE: Slot = Slot(None);
}

/// The memory of one provider.
#[derive(Debug)]
pub struct Memory {
    pub account: Cell,
    /// Conversations that belong to this provider and of which a request runs.
    pub conversations: Arc<AtomicU32>,
    models: Box<[Model]>,
}

#[derive(Debug, Default)]
struct Model {
    name: OnceLock<Box<str>>,
    cell: Cell,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory {
            account: Cell::default(),
            conversations: Arc::default(),
            models: (0..MODELS).map(|_| Model::default()).collect(),
        }
    }
}

impl Memory {
    /// Finds the slot of a model, by the provider's name of it.
    pub fn slot(&self, model: &str) -> Slot {
        for (index, known) in self.models.iter().enumerate() {
            if &**known.name.get_or_init(|| model.into()) == model {
                return Slot(u16::try_from(index).ok());
            }
        }
        Slot::NONE
    }

    /// Returns the circuit of a model. `None` if it has none.
    pub fn model(&self, slot: Slot) -> Option<&Cell> {
        Some(&self.models.get(usize::from(slot.0?))?.cell)
    }

    /// Returns the circuits that are known, the account's first.
    pub fn circuits(&self) -> impl Iterator<Item = (Option<&str>, &Cell)> {
        let models = self.models.iter().map_while(|model| Some((Some(&**model.name.get()?), &model.cell)));
        std::iter::once((None, &self.account)).chain(models)
    }

    /// Returns whether neither the account nor the model has anything to consider.
    pub fn is_healthy(&self, slot: Slot) -> bool {
        self.account.is_healthy() && self.model(slot).is_none_or(Cell::is_healthy)
    }

    /// Returns whether a request for the model may go to this provider: the worse of both circuits.
    pub fn admission(&self, slot: Slot, now: u32) -> Admission {
        let account = self.account.circuit().admission(now);
        let model = self.model(slot).map_or(Admission::Free, |cell| cell.circuit().admission(now));
        match (account, model) {
            (Admission::Benched, _) | (_, Admission::Benched) => Admission::Benched,
            (Admission::Probe, _) | (_, Admission::Probe) => Admission::Probe,
            (Admission::Free, Admission::Free) => Admission::Free,
        }
    }

    /// Returns the ticks until a request for the model may go to this provider.
    pub fn wait(&self, slot: Slot, now: u32) -> u32 {
        let model = self.model(slot).map_or(0, |cell| cell.circuit().wait(now));
        self.account.circuit().wait(now).max(model)
    }

    /// Returns the share of its weight that the provider gets for the model, of [`WHOLE`].
    pub fn share(&self, slot: Slot, now: u32, policy: &Policy) -> u32 {
        let model = self.model(slot).map_or(WHOLE, |cell| cell.circuit().share(now, policy));
        (self.account.circuit().share(now, policy) * model / WHOLE).max(policy.min_multiplier.max(1))
    }

    /// Forgets refused keys and missing models: the provider's row was changed.
    pub fn row_changed(&self) {
        for (_, cell) in self.circuits() {
            if matches!(cell.circuit().reason, Reason::KeyRefused | Reason::ModelMissing) {
                cell.record(Event::ClosedByHand, 0, &Policy::default());
            }
        }
    }

    /// Records a success: of the model, and so of the account.
    pub fn succeed(&self, slot: Slot, now: u32, policy: &Policy) {
        self.account.record(Event::Success, now, policy);
        if let Some(cell) = self.model(slot) {
            cell.record(Event::Success, now, policy);
        }
    }

    /// Returns whether a probe would find room. It may be taken by another request meanwhile.
    pub fn has_room_for_probe(&self, slot: Slot, policy: &Policy) -> bool {
        let has_room = |cell: &Cell| cell.probes() < policy.half_open_probes.max(1);
        has_room(&self.account) && self.model(slot).is_none_or(has_room)
    }

    /// Begins probes of what is half open. `None` if no more may be on their way.
    pub fn begin_probe(&self, slot: Slot, now: u32, policy: &Policy) -> Option<Probes> {
        let mut probes = Probes::default();
        let needs = |cell: &Cell| cell.circuit().admission(now) == Admission::Probe;
        if needs(&self.account) {
            if !self.account.begin_probe(now, policy) {
                return None;
            }
            probes.account = true;
        }
        if let Some(cell) = self.model(slot).filter(|cell| needs(cell)) {
            if !cell.begin_probe(now, policy) {
                self.end_probe(slot, probes);
                return None;
            }
            probes.model = true;
        }
        Some(probes)
    }

    /// Ends the probes that [`Memory::begin_probe`] began.
    pub fn end_probe(&self, slot: Slot, probes: Probes) {
        if probes.account {
            self.account.end_probe();
        }
        if let Some(cell) = self.model(slot).filter(|_| probes.model) {
            cell.end_probe();
        }
    }
}

/// Which circuits a request probes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Probes {
    account: bool,
    model: bool,
}

impl Probes {
    /// Returns whether nothing was half open.
    pub fn is_empty(self) -> bool {
        !self.account && !self.model
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_slots_until_there_are_none() {
        let memory = Memory::default();
        let first = memory.slot("a");
        assert_eq!(memory.slot("a"), first);
        assert_ne!(memory.slot("b"), first);
        for n in 0..1000 {
            memory.slot(&n.to_string());
        }
        assert_eq!(memory.slot("late"), Slot::NONE);
        assert_eq!(memory.slot("a"), first);
        assert!(memory.is_healthy(Slot::NONE));
    }

    #[test]
    fn a_missing_model_benches_that_model_alone_and_a_key_the_account() {
        let (memory, policy) = (Memory::default(), Policy::default());
        let [one, other] = ["one", "other"].map(|name| memory.slot(name));
        memory.model(one).unwrap().record(Event::ModelMissing, 5, &policy);
        assert_eq!(memory.admission(one, 5), Admission::Benched);
        assert_eq!(memory.admission(other, 5), Admission::Free);
        memory.account.record(Event::KeyRefused, 5, &policy);
        assert_eq!(memory.admission(other, 5), Admission::Benched);
    }

    #[test]
    fn probes_are_counted_and_given_back() {
        let (memory, policy) = (Memory::default(), Policy::default());
        let slot = memory.slot("m");
        memory.account.record(Event::KeyRefused, 0, &policy);
        assert_eq!(memory.begin_probe(slot, 1000, &policy).map(|_| ()), Some(()), "its time has come");
        assert!(memory.begin_probe(slot, 1000, &policy).is_none(), "one is on its way");
        memory.end_probe(slot, Probes { account: true, model: false });
        assert!(memory.begin_probe(slot, 1000, &policy).is_some());
    }
}

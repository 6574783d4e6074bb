//! A [`Circuit`] that workers share: one atomic word, and a count of the probes on their way.

use super::circuit::{Admission, Circuit, Event};
use super::policy::Policy;
use super::word::{AtomicU32, AtomicU64, Ordering};

/// A shared circuit.
#[derive(Debug)]
pub struct Cell {
    /// [`Circuit::pack`]. 0 is a healthy one.
    word: AtomicU64,
    probes: AtomicU32,
}

impl Default for Cell {
    fn default() -> Cell {
        Cell { word: AtomicU64::new(0), probes: AtomicU32::new(0) }
    }
}

impl Cell {
    /// Returns whether there is nothing to consider: one load of a word that nobody writes.
    pub fn is_healthy(&self) -> bool {
        self.word.load(Ordering::Relaxed) == 0
    }

    /// Returns the circuit as it is now.
    pub fn circuit(&self) -> Circuit {
        Circuit::unpack(self.word.load(Ordering::Acquire))
    }

    /// Records an event. A success of a healthy provider writes nothing.
    pub fn record(&self, event: Event, now: u32, policy: &Policy) {
        if !policy.enabled || (event == Event::Success && self.is_healthy()) {
            return;
        }
        let step = |word| {
            let next = Circuit::unpack(word).after(event, now, policy).pack();
            (next != word).then_some(next)
        };
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, step);
    }

    /// Begins a probe, if the circuit admits one and not enough of them are on their way. Whoever
    /// began it must call [`Cell::end_probe`].
    pub fn begin_probe(&self, now: u32, policy: &Policy) -> bool {
        if self.circuit().admission(now) != Admission::Probe {
            return false;
        }
        let more = |probes| (probes < policy.half_open_probes.max(1)).then_some(probes + 1);
        if self.probes.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            return false;
        }
        let half_open = |word| Some(Circuit::unpack(word).probing(now).pack());
        let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, half_open);
        true
    }

    /// Ends a probe that [`Cell::begin_probe`] began.
    pub fn end_probe(&self) {
        self.probes.fetch_sub(1, Ordering::AcqRel);
    }

    /// Returns how many probes are on their way.
    pub fn probes(&self) -> u32 {
        self.probes.load(Ordering::Acquire)
    }
}

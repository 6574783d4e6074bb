//! The state of the store, which the control plane writes for the health checks of this process.

use std::sync::atomic::{AtomicU8, Ordering};

/// Whether the store responds, and where the current configuration is from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It responded to the last query.
    #[default]
    Up,
    /// It does not respond. Its last configuration is current.
    Down,
    /// It has not responded since the start. The copy on this node's disk is current.
    Snapshot,
}

impl State {
    /// Returns the text that `/health` shows.
    pub fn name(self) -> &'static str {
        match self {
            State::Up => "ok",
            State::Down => "unavailable",
            State::Snapshot => "unavailable, serving the copy on disk",
        }
    }
}

/// The state, which only the control plane writes.
#[derive(Debug, Default)]
pub struct Watch(AtomicU8);

impl Watch {
    /// Sets the state.
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    /// Returns the state.
    pub fn get(&self) -> State {
        match self.0.load(Ordering::Relaxed) {
            0 => State::Up,
            1 => State::Down,
            _ => State::Snapshot,
        }
    }
}

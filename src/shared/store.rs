//! How the store is, told by the background thread to whoever asks for the health of this process.

use std::sync::atomic::{AtomicU8, Ordering};

/// What is known of the store, and where the configuration in force is from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It answered when it was asked last.
    #[default]
    Up,
    /// It does not answer; what it said last is in force.
    Down,
    /// It has not answered since the start; the copy on this node's disk is in force.
    Snapshot,
}

impl State {
    /// As `/health` shows it.
    pub fn name(self) -> &'static str {
        match self {
            State::Up => "ok",
            State::Down => "unavailable",
            State::Snapshot => "unavailable, serving the copy on disk",
        }
    }
}

/// Written by the background thread alone.
#[derive(Debug, Default)]
pub struct Watch(AtomicU8);

impl Watch {
    pub fn set(&self, state: State) {
        self.0.store(state as u8, Ordering::Relaxed);
    }

    pub fn get(&self) -> State {
        match self.0.load(Ordering::Relaxed) {
            0 => State::Up,
            1 => State::Down,
            _ => State::Snapshot,
        }
    }
}

//! One finished request ([`entry::Record`]), what of it only some sinks want ([`detail`]), and the way it takes to the background thread
//! ([`ring`]).

pub mod client;
pub mod detail;
pub mod entry;
pub mod ring;
pub mod sample;
pub mod stage;
pub mod trace;

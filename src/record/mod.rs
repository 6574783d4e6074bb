//! One finished request ([`entry::Record`]) and the way it takes to the background thread ([`ring`]).

pub mod entry;
pub mod ring;

//! Reasoning state that a provider issues and expects back: sealed in envelopes that clients
//! carry, or kept in a cache.

pub mod cache;
pub mod envelope;
pub(crate) mod history;
pub(crate) mod memory;
pub mod strip;

//! Reasoning state that a provider hands out and wants back: sealed in envelopes that clients
//! carry, or kept in a cache.

pub mod cache;
pub mod envelope;
pub(crate) mod history;
pub mod strip;

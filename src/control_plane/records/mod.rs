//! Finished requests of all workers on their way to the sinks.

pub mod cost;
pub mod drain;
pub(crate) mod drain_thread;
pub mod exact_tokens;
pub mod token_counter;

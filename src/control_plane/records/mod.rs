//! Finished requests of all workers on their way to the sinks.

pub mod cost;
pub mod drain;
pub mod exact_tokens;
pub mod token_counter;

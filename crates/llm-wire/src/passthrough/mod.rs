//! Observation and small edits of bytes that pass unchanged between a client and a provider of the
//! same format.

pub mod event_template;
pub mod finish;
pub mod peek;
pub mod splice;
pub mod tap;

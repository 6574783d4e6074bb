//! What the gateway remembers of its providers: who is out of service, until when, and how much of
//! its weight each one gets.
//!
//! [`attribution`] says whose fault a failure is, [`circuit`] what follows from it, both without
//! clocks and atomics. [`cell`] shares a circuit among workers in one atomic word, and [`memory`]
//! keeps the circuits of a provider. [`budget`] bounds retries.

pub mod attribution;
pub mod backoff;
pub mod budget;
pub mod cell;
pub mod circuit;
pub mod hedging;
pub mod memory;
pub mod policy;
mod word;

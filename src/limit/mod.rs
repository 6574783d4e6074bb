//! Limits of a credential: requests per second, tokens per minute, requests at once. Atomic words
//! that all cores share, no lock.
//!
//! | file | what |
//! |---|---|
//! | [`gcra`] | the generic cell rate algorithm: one word, compare-exchange |
//! | [`lease`] | what this node may spend of a bucket that nodes share |
//! | [`bucket`] | both, with their numbers |
//! | [`limits`] | the limits of one credential or group, and what a request holds of them |
//! | [`provider`] | the limits of a provider, and who waits for it |
//! | [`running`] | how many requests run, and the guard that counts them down |
//! | [`budget`] | amounts of money or tokens that nodes share through the store |
//! | [`period`] | the windows of budgets: hours, days, weeks, months in a time zone |
//!
//! A request asks once, with [`Limits::admit`], and is refused by all of them or by none: what one
//! had granted before another refused is given back. What it holds is a [`Hold`], which is settled
//! at its end with the tokens that were truly used.

pub mod bucket;
pub mod budget;
pub mod gcra;
pub mod lease;
mod limits;
pub mod period;
pub mod provider;
pub mod running;
#[cfg(test)]
mod tests;
mod word;

pub use bucket::{Bucket, Level, Per, Refused, Taken};
pub use limits::{ConcurrencyLimit, Hold, Limits, Need, Refusal, Settings};
pub use running::{Running, Slot};

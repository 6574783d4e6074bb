//! Whole translations, from the bytes of one side to the bytes of the other: requests and answers
//! at the edges of what hosts and clients send.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod call_ids;
mod careless_answers;
mod foreign_errors;
mod held_finish;
mod item_events;
mod loose_answers;
mod outputs;
mod refusals;
mod requests;
mod support;

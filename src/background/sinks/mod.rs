//! Where finished requests go besides the access log.
//!
//! Each sink takes records off the background thread's loop at once and does its work elsewhere: [`jsonl`] on a thread of its own, since a
//! disk may block; [`langfuse`] in a task, since a network does. Between the two stands a queue with a bound in records and in bytes
//! ([`room`]): full means a counted loss, never a wait. What a request said passes through [`redact`] before it leaves the process.

mod cut;
mod head;
pub(super) mod jsonl;
pub(super) mod langfuse;
mod redact;
mod room;
mod told;
mod when;

#[cfg(test)]
mod tests;

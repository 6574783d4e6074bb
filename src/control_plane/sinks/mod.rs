//! Where finished requests go besides the access log.
//!
//! Each sink takes records off the background thread's loop at once and does its work elsewhere:
//! [`jsonl`] on a thread of its own, since a disk may block; [`langfuse`] in a task, since a
//! network does. Between the two stands a queue with a bound in records and in bytes
//! ([`queue_budget`]): full means a counted loss, never a wait. What a request said passes through
//! [`redact`] before it leaves the process.

pub(super) mod access_log;
mod headers;
pub(super) mod jsonl;
pub(super) mod langfuse;
pub(super) mod otlp;
mod outcome;
mod queue_budget;
mod redact;
pub(super) mod request_log;
mod timestamp;
mod truncate;

#[cfg(test)]
mod tests;

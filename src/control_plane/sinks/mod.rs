//! Where finished requests go.
//!
//! Each sink takes records from the control plane's loop at once and does its work elsewhere:
//! [`jsonl`] in a thread of its own, since a disk may block; [`langfuse`] in a task, since it waits
//! for a network. Between the two is a queue that is bounded in records and in bytes
//! ([`queue_budget`]): a record that finds it full is counted as lost, and nothing waits. Payloads
//! pass through [`redact`] before they leave the process.

pub(super) mod access_log;
mod headers;
pub(super) mod jsonl;
pub(super) mod langfuse;
pub(super) mod otlp;
mod outcome;
mod queue_budget;
mod redact;
pub(super) mod request_log;
pub(super) mod spend;
mod timestamp;
mod truncate;

#[cfg(test)]
mod tests;

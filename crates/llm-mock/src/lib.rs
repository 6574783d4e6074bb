//! An upstream to try things on: it speaks every format of this gateway from hand-written
//! templates, fails on request, and counts.
//!
//! `llm-proxy demo` puts it behind a gateway, the tests run it in-process, benchmarks measure
//! against it. How to make it slow, long or broken: [`knobs`].
//!
//! | module | duty |
//! |---|---|
//! | `kind` | which call a path is |
//! | `request` | the parsed body of a request |
//! | [`knobs`] | how the answer is to differ from the plain one |
//! | `answer`, `schema` | the content: text, tool calls with arguments, reasoning, usage |
//! | `chat`, `completions`, `messages`, `responses`, `other`, `errors` | how a format writes it down |
//! | `templates`, `event_script` | files with holes; a stream with a mark behind each event |
//! | `faults`, `wire_faults`, `gzip` | what may go wrong, and how it is made |
//! | `plan`, `timeline` | all of it: a request in, the bytes of its answer and their times out |
//! | `server`, `conn`, `shutdown`, `tls_faults` | threads and sockets |
//! | [`stamp`] | the times at which events were written, in their text |
//! | `counters` | what `/__count` and `/__last` tell |
//!
//! Everything but the last three rows is pure. Nothing here imports a codec of `wire`: if both
//! sides of a test shared a mistake, the test would pass.

#![warn(missing_docs, unreachable_pub)]

mod answer;
mod chat;
mod completions;
mod conn;
mod counters;
mod errors;
mod event_script;
mod faults;
mod gzip;
mod kind;
pub mod knobs;
mod messages;
mod other;
mod plan;
mod request;
mod responses;
mod schema;
mod server;
mod shutdown;
pub mod stamp;
mod templates;
mod timeline;
mod tls_faults;
mod wire_faults;

pub use counters::{Counts, Last};
pub use kind::Kind;
pub use knobs::{Fault, Knobs, Selector};
pub use server::{MockHandle, MockOptions, start};

/// The examples of the README, which are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;

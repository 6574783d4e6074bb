//! The format-neutral model that all formats are translated through: a request, the events of an
//! answer, and the ledger of what a translation lost.

pub mod args;
pub mod effort;
pub mod event;
pub mod loss;
pub mod request;
pub mod text;
pub mod tools;
pub mod usage;

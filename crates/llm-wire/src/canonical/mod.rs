//! The format-neutral model that all formats are translated through: a request, the events of an
//! answer, and the ledger of what a translation lost.

pub(crate) mod args;
pub(crate) mod cache;
pub mod codec;
pub(crate) mod effort;
pub mod event;
pub(crate) mod ext;
pub mod loss;
pub(crate) mod part;
pub(crate) mod request;
pub(crate) mod text;
pub(crate) mod tools;
pub mod usage;

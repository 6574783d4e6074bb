//! The errors of the gateway and of providers.
//!
//! An [`Error`] names whose fault it is ([`Side`]), what kind of fault ([`Kind`]), a `note` that
//! the client may read, and a `detail` for the log alone. [`Kind`] is one table: status towards
//! OpenAI-style and Anthropic-style clients, error `type` and `code` of each, whether another
//! attempt may help, and the metric label. The JSON body is written by `formats/<format>/error.rs`,
//! since a body is a matter of the client's format.
//!
//! Notes are lower case, without a full stop, and say the thing, the value, the limit and the next
//! step. They never hold a secret.

pub mod classify;
pub mod foreign;
mod kind;
mod read_error;

pub use kind::{Error, Kind, KindRow, Methods, Side};
pub use read_error::ReadError;
pub(crate) use read_error::openai_members;
#[cfg(test)]
pub(crate) use read_error::shown;

//! Where providers and credentials are kept, behind one trait.
//!
//! A store is used by one thread, which may wait for it; other processes (the command line beside a running server) may use the same
//! store at the same time. Every write moves `config_version` on, whoever makes it, so that [`Store::changed`] sees them all.

mod migrations;
pub mod sqlite;

use std::fmt;

use crate::config::rows::{CredentialRow, ProviderRow, Rows};

pub trait Store: Send {
    /// Everything, enabled or not, in the order of ids and as of one moment.
    fn load(&mut self) -> Result<Rows, Error>;

    /// `config_version.version` now.
    fn version(&mut self) -> Result<i64, Error>;

    /// Whether the rows may differ from what [`Store::load`] gave last. Cheap enough to ask several times a second.
    fn changed(&mut self) -> Result<bool, Error>;

    /// Gives the new row's id; that of `row` is not looked at. A `provider_key` that is taken is a [`Fault::Conflict`].
    fn add_provider(&mut self, row: &ProviderRow) -> Result<i64, Error>;

    fn remove_provider(&mut self, id: i64) -> Result<(), Error>;

    /// Gives the new row's id; that of `row` is not looked at. A key that exists is a [`Fault::Conflict`]; a name may stand twice.
    fn create_credential(&mut self, row: &CredentialRow) -> Result<i64, Error>;

    /// For good: the row goes.
    fn revoke_credential(&mut self, id: i64) -> Result<(), Error>;
}

/// What kind of trouble an [`Error`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A unique value is taken.
    Conflict,
    /// There is no row of that id.
    NotFound,
    /// The store was written by another version, or is none of ours.
    Version,
    /// The store cannot be read or written now: locked, full, read-only, damaged, not there.
    Unavailable,
}

/// A message for a person: which store, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub fault: Fault,
    pub message: String,
}

impl Error {
    fn new(fault: Fault, message: impl Into<String>) -> Error {
        Error { fault, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

//! The result of a call of a store: a future, and the error if it fails.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// The kind of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A unique value is taken.
    Conflict,
    /// The row was changed by somebody else.
    Stale,
    /// There is no row of that id.
    NotFound,
    /// The key of an [`IdempotencyKey`] belongs to another change.
    Reused,
    /// The store is a file that only its editor changes.
    ReadOnly,
    /// A value does not fit into its column, as this store has it.
    Invalid,
    /// The store was written by another version, or belongs to another program.
    Version,
    /// The store cannot be read or written now: it is locked, full, damaged or missing.
    Unavailable,
}

/// A message for a person: which store, what is wrong, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    pub fault: Fault,
    pub message: String,
}

impl Error {
    /// Makes an error. The message is a whole sentence without a final stop.
    pub(crate) fn new(fault: Fault, message: impl Into<String>) -> Error {
        Error { fault, message: message.into() }
    }
}

impl Error {
    /// Returns the error of a call that took too long.
    pub(crate) fn silent(place: &str, waited: std::time::Duration) -> Error {
        Error::new(Fault::Unavailable, format!("the store {place} gave no answer within {} s", waited.as_secs()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The future of a store's result. When it is dropped, a write may have happened all the same.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

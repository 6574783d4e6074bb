//! How a command fails: the one error of the command line.

use crate::config::boot::BadValue;
use crate::control_plane::store::Error as StoreError;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The arguments or settings make no sense; one line each.
    Usage(Vec<String>),
    /// They do, but it could not be done.
    Failed(String),
}

impl Failure {
    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::Failed(message.into())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Failed(error.message)
    }
}

impl From<Vec<BadValue>> for Failure {
    fn from(bad: Vec<BadValue>) -> Failure {
        Failure::Usage(bad.iter().map(BadValue::to_string).collect())
    }
}

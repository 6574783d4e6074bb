//! The error of every command.

use crate::config::boot::BadValue;
use crate::control_plane::store::Error as StoreError;

/// Why a command failed.
#[derive(Debug)]
pub enum Failure {
    /// The arguments or settings are invalid; one line for each problem. The exit code is 2.
    Usage(Vec<String>),
    /// They are valid, but the command could not be carried out. The exit code is 1.
    Failed(String),
}

impl Failure {
    /// Makes a failure that ends the command with exit code 1.
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

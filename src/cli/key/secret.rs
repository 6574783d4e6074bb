//! The secret of a new key.

use crate::cli::failure::Failure;
use crate::control_plane::admin::credentials;
pub use crate::control_plane::admin::credentials::hash;

/// Generates a new key.
pub fn generate() -> Result<String, Failure> {
    credentials::generate().map_err(Failure::failed)
}

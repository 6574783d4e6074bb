//! The identity of a store, as it is shown.

use sha2::{Digest, Sha256};

/// The form in which an identity is shown: sixteen hex digits that tell nothing of what they are
/// made of.
pub(super) fn digest(of: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(of.as_bytes()));
    digits.truncate(16);
    digits
}

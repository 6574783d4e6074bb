//! The identity of a store, as it is shown.

use sha2::{Digest, Sha256};

/// Returns an identity in the form that is shown: sixteen hex digits, a hash of `of`.
pub(super) fn digest(of: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(of.as_bytes()));
    digits.truncate(16);
    digits
}

//! Members of an object, by name.

use crate::canonical::loss::Ledger;
use crate::error::Error;
use crate::json::{RawStr, RawValue};
use crate::request::reader::{Path, some};

/// Returns the members of `object` that have one of these names, `null` left out, and the names of
/// all others.
pub(super) fn pick<'a, const N: usize>(
    object: RawValue<'a>,
    names: [&str; N],
) -> ([Option<RawValue<'a>>; N], Vec<RawStr<'a>>) {
    let mut found = [None; N];
    let mut others = Vec::new();
    for (key, value, _) in object.members() {
        match names.iter().position(|name| key.eq_str(name)) {
            Some(n) => found[n] = some(value),
            None if value.is_null() => {}
            None => others.push(key),
        }
    }
    (found, others)
}

/// Enters the names of unknown fields in the ledger.
pub(super) fn unknown(names: &[RawStr<'_>], path: &Path<'_>, ledger: &mut Ledger) -> Result<(), Error> {
    names.iter().try_for_each(|name| ledger.unknown(&path.key(&name.unescape()).to_string()))
}

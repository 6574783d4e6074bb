//! Members of an object, by name.

use crate::canonical::loss::Ledger;
use crate::error::Error;
use crate::json::{RawStr, RawValue};
use crate::request::reader;
use crate::request::reader::Path;

/// Returns a string member, or `None` if it is missing or `null`.
pub(super) fn optional<'a>(object: RawValue<'a>, key: &str, path: &Path<'_>) -> Result<Option<RawStr<'a>>, Error> {
    object.find(key).and_then(reader::some).map(|text| reader::string(text, &path.key(key))).transpose()
}

/// Enters every member that is not in `names` in the ledger, as unknown.
pub(super) fn known(object: RawValue<'_>, names: &[&str], path: &Path<'_>, ledger: &mut Ledger) -> Result<(), Error> {
    for (key, value, _) in object.members() {
        if !value.is_null() && !names.iter().any(|name| key.eq_str(name)) {
            ledger.unknown(&path.key(&key.unescape()).to_string())?;
        }
    }
    Ok(())
}

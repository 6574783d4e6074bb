//! The errors of changes that every store refuses, in the same words.

use super::change::{Change, ExpectedRow};
use super::error::{Error, Fault};

/// Refuses a row whose name, or whose key, another row has.
pub(super) fn taken(change: &Change) -> Error {
    let message = match change {
        Change::AddProvider(row) | Change::UpdateProvider(row) => {
            format!("a provider named `{}` exists; change that one, or choose another name", row.provider_key)
        }
        Change::AddBudget(row) | Change::UpdateBudget(row) => {
            format!("a budget named `{}` exists; change that one, or choose another name", row.name)
        }
        Change::AddGroup(row) | Change::UpdateGroup(row) => {
            format!("a group named `{}` exists; change that one, or choose another name", row.name)
        }
        Change::AddModel(row) | Change::UpdateModel(row) => {
            format!("a virtual model named `{}` exists; change that one, or choose another name", row.name)
        }
        _ => "a credential with this key exists".to_owned(),
    };
    Error::new(Fault::Conflict, message)
}

/// Checks the version of the row that a change needs. `found` is `None` if there is no such row.
pub(super) fn check(expected: ExpectedRow, found: Option<i64>) -> Result<(), Error> {
    let ExpectedRow { kind, id, version } = expected;
    let what = kind.noun();
    match (found, version) {
        (None, _) => Err(Error::new(Fault::NotFound, format!("there is no {what} with id {id}"))),
        (Some(found), Some(expected)) if found != expected => {
            let message = format!(
                "{what} {id} was changed meanwhile: its version is {found}, not {expected}; read it again and repeat \
                 the change"
            );
            Err(Error::new(Fault::Stale, message))
        }
        _ => Ok(()),
    }
}

/// Refuses a change of a price that is not there.
pub(super) fn no_price() -> Error {
    Error::new(Fault::NotFound, "there is no price with this id")
}

/// Refuses a change of a price that is another one by now.
pub(super) fn other_price() -> Error {
    Error::new(Fault::Stale, "the price was changed meanwhile; read it again and repeat the change")
}

/// Refuses an idempotency key that was seen with another change.
pub(super) fn reused() -> Error {
    Error::new(Fault::Reused, "this Idempotency-Key was used for another request; take a new key for each change")
}

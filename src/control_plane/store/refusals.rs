//! The errors of changes that every store refuses, in the same words.

use super::change::Change;
use super::error::{Error, Fault};

pub(super) fn taken(change: &Change) -> Error {
    let message = match change {
        Change::AddProvider(row) | Change::UpdateProvider(row) => {
            format!("a provider named `{}` exists; remove it first, or choose another name", row.provider_key)
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

/// The table with the rows of this kind.
pub(super) fn table_of(what: &str) -> &'static str {
    match what {
        "provider" => "providers",
        "group" => "credential_groups",
        "virtual model" => "virtual_models",
        "budget" => "budgets",
        _ => "credentials",
    }
}

pub(super) fn missing(what: &str, id: i64) -> Error {
    Error::new(Fault::NotFound, format!("there is no {what} with id {id}"))
}

pub(super) fn stale(what: &str, id: i64, expected: i64, found: i64) -> Error {
    let message = format!(
        "{what} {id} was changed meanwhile: its version is {found}, not {expected}; read it again and repeat the change"
    );
    Error::new(Fault::Stale, message)
}

pub(super) fn reused() -> Error {
    Error::new(Fault::Reused, "this Idempotency-Key was used for another request; take a new key for each change")
}

//! Whether a gateway would accept a key, before a command writes it.

use crate::cli::failure::Failure;
use crate::cli::store::StoreLocation;
use crate::config::compile::compile;
use crate::config::rows::{CredentialRow, Rows};

/// Compiles the row as a server does, and fails if it would have a problem: the person who typed it
/// can correct it. `done` is the participle of the error's sentence. Through a gateway the group is
/// not checked, since the gateway does so itself.
pub(super) fn check(row: &CredentialRow, place: &StoreLocation, done: &str) -> Result<(), Failure> {
    let mut row = CredentialRow { is_enabled: true, ..row.clone() };
    let mut rows = Rows::default();
    match place {
        StoreLocation::Local(store, _) if row.group_name.is_some() => rows.groups = store.load()?.groups,
        StoreLocation::Local(..) => {}
        StoreLocation::Remote(_) => row.group_name = None,
    }
    rows.credentials.push(row.clone());
    let (_, problems) = compile(&rows, None, &|_| None);
    let object = format!("credential {}", row.name);
    let problems: Vec<_> = problems.into_iter().filter(|problem| problem.object == object).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let messages: Vec<_> = problems.into_iter().map(|problem| problem.message).collect();
    Err(Failure::failed(format!(
        "key {} is not {done}, for it would have a problem: {}",
        row.name,
        messages.join("; also, ")
    )))
}

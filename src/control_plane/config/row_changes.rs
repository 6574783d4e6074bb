//! Merges changes of rows into the rows that are known, and counts changes for the log.

use std::collections::HashSet;

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows};
use crate::control_plane::store::Delta;

/// Replaces the rows that were written, in the order of ids, and removes the deleted ones.
pub(super) fn merge(rows: &mut Rows, delta: Delta) {
    rows.version = delta.version;
    replace(&mut rows.providers, delta.providers, &delta.removed_providers, |row: &ProviderRow| row.id);
    replace(&mut rows.credentials, delta.credentials, &delta.removed_credentials, |row: &CredentialRow| row.id);
    replace(&mut rows.budgets, delta.budgets, &delta.removed_budgets, |row: &BudgetRow| row.id);
    replace(&mut rows.groups, delta.groups, &delta.removed_groups, |row: &GroupRow| row.id);
    replace(&mut rows.models, delta.models, &delta.removed_models, |row: &ModelRow| row.id);
}

/// Does the same for the rows of one kind.
fn replace<T>(rows: &mut Vec<T>, written: Vec<T>, removed: &[i64], id: fn(&T) -> i64) {
    for row in written {
        match rows.binary_search_by_key(&id(&row), id) {
            Ok(at) => rows[at] = row,
            Err(at) => rows.insert(at, row),
        }
    }
    if !removed.is_empty() {
        let removed: HashSet<_> = removed.iter().collect();
        rows.retain(|row| !removed.contains(&id(row)));
    }
}

/// Formats the numbers of added, removed and changed rows as `+1 -0 ~2`. Both lists are in the
/// order of ids, and may be long.
pub(super) fn count_changes<T>(old: &[T], new: &[T], id: fn(&T) -> i64, same: fn(&T, &T) -> bool) -> String {
    let (mut came, mut changed, mut kept) = (0, 0, 0);
    let mut rest = old;
    for row in new {
        while let [first, others @ ..] = rest
            && id(first) < id(row)
        {
            rest = others;
        }
        match rest.first().filter(|first| id(first) == id(row)) {
            None => came += 1,
            Some(first) => {
                kept += 1;
                changed += usize::from(!same(first, row));
            }
        }
    }
    format!("+{came} -{} ~{changed}", old.len() - kept)
}

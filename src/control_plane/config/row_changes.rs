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

/// Formats a number of things, such as `1 provider` and `2 providers`.
pub(super) fn counted(number: usize, name: &str) -> String {
    format!("{number} {name}{}", if number == 1 { "" } else { "s" })
}

/// Formats the numbers of added, removed and changed rows as ` (1 added, 2 changed)`; without
/// changes the text is empty. Both lists are in the order of ids, and may be long.
pub(super) fn changes<T>(old: &[T], new: &[T], id: fn(&T) -> i64, same: fn(&T, &T) -> bool) -> String {
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
    let all = [(came, "added"), (old.len() - kept, "removed"), (changed, "changed")];
    let all: Vec<_> = all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if all.is_empty() { String::new() } else { format!(" ({})", all.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counting_changes() {
        let old = [(1, "a"), (2, "b"), (3, "c")];
        let new = [(2, "b"), (3, "d"), (4, "e"), (5, "f")];
        let summary = |old: &[(i64, &str)], new: &[(i64, &str)]| changes(old, new, |row| row.0, |a, b| a.1 == b.1);
        assert_eq!(summary(&old, &new), " (2 added, 1 removed, 1 changed)");
        assert_eq!(summary(&new, &new), "");
        assert_eq!((summary(&[], &new).as_str(), summary(&old, &[]).as_str()), (" (4 added)", " (3 removed)"));
        assert_eq!([0, 1, 2].map(|n| counted(n, "key")), ["0 keys", "1 key", "2 keys"]);
    }

    #[test]
    fn changes_are_put_in_place() {
        let row = |id, weight| ProviderRow { id, weight, ..ProviderRow::default() };
        let mut rows = Rows { version: 1, providers: vec![row(1, 0), row(3, 0), row(4, 0)], ..Rows::default() };
        let delta = Delta {
            version: 9,
            providers: vec![row(2, 5), row(3, 5), row(7, 5)],
            removed_providers: vec![1, 6, 7],
            ..Delta::default()
        };
        merge(&mut rows, delta);
        assert_eq!(rows, Rows { version: 9, providers: vec![row(2, 5), row(3, 5), row(4, 0)], ..Rows::default() });
    }
}

//! Rows of `credential_groups`. A group that cannot be used, or that belongs to one that cannot,
//! must not give its credentials more than it would: they are refused, and report it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::compile::budget::Budgets;
use crate::config::compile::credential::LimitColumns;
use crate::config::models::Allowed;
use crate::config::rows::{CredentialRow, GroupRow};
use crate::config::snapshot::{Group, Problem, Scope, Snapshot};
use crate::limit::Limits;
use crate::limit::budget::Scope as BudgetScope;

/// How deep groups may be nested. Each level costs every request of its credentials a little.
pub(crate) const MAX_DEPTH: usize = 8;

/// The groups by their names.
pub(super) struct Groups<'r> {
    budgets: &'r Budgets,
    rows: HashMap<&'r str, &'r GroupRow>,
    /// The limits and budgets of each group that can be used.
    scopes: HashMap<&'r str, Arc<Scope>>,
}

impl Groups<'_> {
    /// Returns the limits and budgets for a credential. The error is the reason why it must be
    /// refused; it is empty if the group is disabled, which is no problem.
    pub(super) fn scope(&self, row: &CredentialRow) -> Result<Option<Arc<Scope>>, Option<String>> {
        let scope = self.scope_of_group(row)?;
        let own = self.budgets.of(BudgetScope::Credential, &row.name).map_err(Some)?;
        if own.is_empty() {
            return Ok(scope);
        }
        let scope = scope.unwrap_or_default();
        let budgets = own.iter().chain(&scope.budgets).cloned().collect();
        Ok(Some(Arc::new(Scope { groups: scope.groups.clone(), budgets })))
    }

    fn scope_of_group(&self, row: &CredentialRow) -> Result<Option<Arc<Scope>>, Option<String>> {
        let Some(name) = row.group_name.as_deref() else { return Ok(None) };
        if let Some(scope) = self.scopes.get(name) {
            return Ok(Some(scope.clone()));
        }
        Err(match self.rows.contains_key(name) {
            false => Some(format!(
                "group_name names `{name}`, and there is no such group; the key is refused until that is corrected"
            )),
            true if self.is_disabled(name) => None,
            true => Some(format!(
                "group_name names `{name}`, a group that can't be used; the key is refused until that is corrected"
            )),
        })
    }

    /// Returns whether this group, or one that it belongs to, is disabled.
    fn is_disabled(&self, name: &str) -> bool {
        let mut next = self.rows.get(name);
        for _ in 0..=MAX_DEPTH {
            match next {
                Some(row) if !row.is_enabled => return true,
                Some(row) => next = row.parent.as_deref().and_then(|parent| self.rows.get(parent)),
                None => return false,
            }
        }
        false
    }
}

/// Compiles all groups. The limits of those that `previous` has are carried over where their
/// numbers stay, as with credentials.
pub(super) fn compile_all<'r>(
    rows: &'r [GroupRow],
    budgets: &'r Budgets,
    previous: Option<&Snapshot>,
    snapshot: &mut Snapshot,
    problems: &mut Vec<Problem>,
) -> Groups<'r> {
    let mut groups = Groups { budgets, rows: HashMap::new(), scopes: HashMap::new() };
    let mut usable = HashMap::new();
    for row in rows {
        groups.rows.entry(&row.name).or_insert(row);
    }
    for row in rows.iter().filter(|row| row.is_enabled) {
        let mut messages = Vec::new();
        if let Some(group) = compile(row, previous, &mut messages) {
            usable.insert(row.name.as_str(), group.clone());
            snapshot.groups.push(group);
        }
        let object = || format!("group {}", row.name);
        problems.extend(messages.into_iter().map(|message| Problem { object: object(), message }));
    }
    snapshot.groups.sort_by_key(|group| group.id);
    for row in rows.iter().filter(|row| usable.contains_key(row.name.as_str())) {
        let mut report = |message| problems.push(Problem { object: format!("group {}", row.name), message });
        let names = match chain(row, &groups.rows) {
            Ok(names) => names,
            Err(message) => {
                report(message);
                continue;
            }
        };
        let lists: Result<Vec<_>, String> = names.iter().map(|name| budgets.of(BudgetScope::Group, name)).collect();
        match (names.iter().map(|name| usable.get(name).cloned()).collect(), lists) {
            (Some(groups_of), Ok(lists)) => {
                let scope = Scope { groups: groups_of, budgets: lists.concat().into() };
                groups.scopes.insert(&row.name, Arc::new(scope));
            }
            // One that is disabled or has a problem of its own needs no other here.
            (None, _) => {}
            (_, Err(message)) => report(message),
        }
    }
    groups
}

fn compile(row: &GroupRow, previous: Option<&Snapshot>, messages: &mut Vec<String>) -> Option<Arc<Group>> {
    let (allowed, list_problems) = Allowed::parse(&row.allowed_models);
    messages.extend(list_problems);
    let columns = LimitColumns {
        rate_limit: row.rate_limit,
        burst: row.burst,
        tokens_per_minute: row.tokens_per_minute,
        max_concurrency: row.max_concurrency,
    };
    let settings = columns.settings("group", "the keys of the group are refused", messages)?;
    let known = previous.and_then(|previous| previous.group(row.id));
    if let Some(known) = known
        && *known.name == *row.name
        && known.allowed == allowed
        && known.limits.settings() == settings
    {
        return Some(known.clone());
    }
    let limits = Limits::new(settings, known.map(|known| &known.limits));
    Some(Arc::new(Group { id: row.id, name: row.name.as_str().into(), allowed, limits }))
}

/// The names of a group and of those that it belongs to, the innermost first.
fn chain<'r>(row: &'r GroupRow, rows: &HashMap<&'r str, &'r GroupRow>) -> Result<Vec<&'r str>, String> {
    const REFUSED: &str = "the keys of the group are refused until that is corrected";
    let mut names = vec![row.name.as_str()];
    let mut next = row.parent.as_deref();
    while let Some(parent) = next {
        if names.contains(&parent) {
            return Err(format!("parent leads back to `{parent}`, so that the groups are a circle; {REFUSED}"));
        }
        if names.len() == MAX_DEPTH {
            return Err(format!("parent leads through more than {MAX_DEPTH} groups, which is the most; {REFUSED}"));
        }
        let Some(row) = rows.get(parent) else {
            return Err(format!("parent names `{parent}`, and there is no such group; {REFUSED}"));
        };
        names.push(&row.name);
        next = row.parent.as_deref();
    }
    Ok(names)
}

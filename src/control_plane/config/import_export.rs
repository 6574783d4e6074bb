//! Exports a store as a configuration file, and plans the import of a file into a store. The
//! command line and the admin API both use it.

use std::collections::{HashMap, HashSet};

use crate::config::env::Env;
use crate::config::file;
use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows, Stamp};
use crate::config::vault;
use crate::control_plane::admin::view::{
    BudgetView, CredentialView, GroupView, ModelView, ProviderView, audit_text, hides_a_header, masked, unmasked,
};
use crate::control_plane::store::{Change, Plan, Step};

/// Returns the changes that turn the rows `there` into those of `file`. Credentials are matched by
/// their keys, all others by their names. With `prune`, rows that the file lacks are
/// removed. The error names a row of the file that can't be stored.
pub fn plan(there: &Rows, file: Rows, prune: bool, env: &Env<'_>) -> Result<Plan, String> {
    let mut plan = Plan::default();
    let known: HashMap<_, _> = there.providers.iter().map(|row| (row.provider_key.as_str(), row)).collect();
    let mut kept = HashSet::new();
    for row in file.providers {
        let old = known.get(row.provider_key.as_str()).copied();
        kept.extend(old.map(|old| old.id));
        match provider(old, row, env)? {
            Some(step) => plan.steps.push(step),
            None => plan.same += 1,
        }
    }
    let gone = |row: &&ProviderRow| prune && !kept.contains(&row.id);
    plan.steps.extend(there.providers.iter().filter(gone).map(|row| Step {
        action: "provider.delete",
        object: row.provider_key.clone(),
        before_and_after: [audit_text(&ProviderView::of(row)), None],
        change: Change::RemoveProvider { id: row.id, row_version: Some(row.stamp.version) },
    }));
    let known: HashMap<_, _> = there.credentials.iter().map(|row| (row.credential_key.as_str(), row)).collect();
    let mut kept = HashSet::new();
    for row in file.credentials {
        let old = known.get(row.credential_key.as_str()).copied();
        kept.extend(old.map(|old| old.id));
        match credential(old, row) {
            Some(step) => plan.steps.push(step),
            None => plan.same += 1,
        }
    }
    let gone = |row: &&CredentialRow| prune && !kept.contains(&row.id);
    plan.steps.extend(there.credentials.iter().filter(gone).map(|row| Step {
        action: "credential.delete",
        object: row.name.clone(),
        before_and_after: [audit_text(&CredentialView::of(row)), None],
        change: Change::RemoveCredential { id: row.id, row_version: Some(row.stamp.version) },
    }));
    groups(there, file.groups, prune, &mut plan);
    models(there, file.models, prune, &mut plan);
    budgets(there, file.budgets, prune, &mut plan);
    Ok(plan)
}

/// Adds the steps for virtual models, which are matched by their names.
fn models(there: &Rows, rows: Vec<ModelRow>, prune: bool, plan: &mut Plan) {
    let known: HashMap<_, _> = there.models.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut kept = HashSet::new();
    for row in rows {
        let old = known.get(row.name.as_str()).copied();
        kept.extend(old.map(|old| old.id));
        match model(old, row) {
            Some(step) => plan.steps.push(step),
            None => plan.same += 1,
        }
    }
    let gone = |row: &&ModelRow| prune && !kept.contains(&row.id);
    plan.steps.extend(there.models.iter().filter(gone).map(|row| Step {
        action: "model.delete",
        object: row.name.clone(),
        before_and_after: [audit_text(&ModelView::of(row)), None],
        change: Change::RemoveModel { id: row.id, row_version: Some(row.stamp.version) },
    }));
}

/// Returns the step that stores this row, or `None` if it is unchanged.
fn model(old: Option<&ModelRow>, row: ModelRow) -> Option<Step> {
    let object = row.name.clone();
    let before_and_after = [old.and_then(|old| audit_text(&ModelView::of(old))), audit_text(&ModelView::of(&row))];
    let Some(old) = old else {
        return Some(Step { action: "model.create", object, before_and_after, change: Change::AddModel(row) });
    };
    let plain = |row: &ModelRow| {
        (row.name.clone(), [&row.members, &row.overrides, &row.options].map(|json| tight(json)), row.is_enabled)
    };
    let row = ModelRow { id: old.id, stamp: old.stamp, ..row };
    let change = Change::UpdateModel(row.clone());
    (plain(&row) != plain(old)).then_some(Step { action: "model.update", object, before_and_after, change })
}

fn budgets(there: &Rows, rows: Vec<BudgetRow>, prune: bool, plan: &mut Plan) {
    let known: HashMap<_, _> = there.budgets.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut kept = HashSet::new();
    for row in rows {
        let old = known.get(row.name.as_str()).copied();
        kept.extend(old.map(|old| old.id));
        let object = row.name.clone();
        let before_and_after =
            [old.and_then(|old| audit_text(&BudgetView::of(old))), audit_text(&BudgetView::of(&row))];
        let Some(old) = old else {
            plan.steps.push(Step { action: "budget.create", object, before_and_after, change: Change::AddBudget(row) });
            continue;
        };
        let row = BudgetRow { id: old.id, stamp: old.stamp, ..row };
        let plain = |row: &BudgetRow| BudgetRow { warn_at: tight(&row.warn_at), ..row.clone() };
        let change = Change::UpdateBudget(row.clone());
        match plain(&row) == plain(old) {
            true => plan.same += 1,
            false => plan.steps.push(Step { action: "budget.update", object, before_and_after, change }),
        }
    }
    let gone = |row: &&BudgetRow| prune && !kept.contains(&row.id);
    plan.steps.extend(there.budgets.iter().filter(gone).map(|row| Step {
        action: "budget.delete",
        object: row.name.clone(),
        before_and_after: [audit_text(&BudgetView::of(row)), None],
        change: Change::RemoveBudget { id: row.id, row_version: Some(row.stamp.version) },
    }));
}

fn groups(there: &Rows, rows: Vec<GroupRow>, prune: bool, plan: &mut Plan) {
    let known: HashMap<_, _> = there.groups.iter().map(|row| (row.name.as_str(), row)).collect();
    let mut kept = HashSet::new();
    for row in rows {
        let old = known.get(row.name.as_str()).copied();
        kept.extend(old.map(|old| old.id));
        let object = row.name.clone();
        let before_and_after = [old.and_then(|old| audit_text(&GroupView::of(old))), audit_text(&GroupView::of(&row))];
        let Some(old) = old else {
            plan.steps.push(Step { action: "group.create", object, before_and_after, change: Change::AddGroup(row) });
            continue;
        };
        let row = GroupRow { id: old.id, stamp: old.stamp, ..row };
        let plain = |row: &GroupRow| GroupRow {
            allowed_models: tight(&row.allowed_models),
            metadata: tight(&row.metadata),
            ..row.clone()
        };
        match plain(&row) == plain(old) {
            true => plan.same += 1,
            false => plan.steps.push(Step {
                action: "group.update",
                object,
                before_and_after,
                change: Change::UpdateGroup(row),
            }),
        }
    }
    let gone = |row: &&GroupRow| prune && !kept.contains(&row.id);
    plan.steps.extend(there.groups.iter().filter(gone).map(|row| Step {
        action: "group.delete",
        object: row.name.clone(),
        before_and_after: [audit_text(&GroupView::of(row)), None],
        change: Change::RemoveGroup { id: row.id, row_version: Some(row.stamp.version) },
    }));
}

/// Returns the step that stores this row, or `None` if it is unchanged.
fn provider(old: Option<&ProviderRow>, row: ProviderRow, env: &Env<'_>) -> Result<Option<Step>, String> {
    let provider_params = match old {
        // Headers that an export has not shown stay as they are.
        Some(old) if tight(&row.provider_params) == tight(masked(&old.provider_params).get()) => {
            old.provider_params.clone()
        }
        old => unmasked(&row.provider_params, old.map_or("{}", |old| &old.provider_params)),
    };
    if hides_a_header(&provider_params) {
        let name = &row.provider_key;
        return Err(format!(
            "provider {name}: a header in provider_params is `***` and not known here; write its value"
        ));
    }
    let sealed = vault::seal(&row.api_key, env)?.into();
    let row = ProviderRow { provider_params, ..row };
    let object = row.provider_key.clone();
    let before_and_after = |row: &ProviderRow| {
        [old.and_then(|old| audit_text(&ProviderView::of(old))), audit_text(&ProviderView::of(row))]
    };
    let Some(old) = old else {
        let row = ProviderRow { api_key: sealed, ..row };
        return Ok(Some(Step {
            action: "provider.create",
            object,
            before_and_after: before_and_after(&row),
            change: Change::AddProvider(row),
        }));
    };
    let key = vault::open("api_key", &old.api_key, env).unwrap_or_default();
    let new = ProviderRow { id: old.id, stamp: old.stamp, ..row };
    if same_provider(&new, old) && key == *new.api_key {
        return Ok(None);
    }
    let row = ProviderRow { api_key: sealed, ..new };
    Ok(Some(Step {
        action: "provider.update",
        object,
        before_and_after: before_and_after(&row),
        change: Change::UpdateProvider(row),
    }))
}

/// Returns the step that stores this row, or `None` if it is unchanged.
fn credential(old: Option<&CredentialRow>, row: CredentialRow) -> Option<Step> {
    let object = row.name.clone();
    let before_and_after =
        [old.and_then(|old| audit_text(&CredentialView::of(old))), audit_text(&CredentialView::of(&row))];
    match old {
        None => {
            Some(Step { action: "credential.create", object, before_and_after, change: Change::AddCredential(row) })
        }
        Some(old) => {
            let row = CredentialRow { id: old.id, stamp: old.stamp, ..row };
            let step = |row| Step {
                action: "credential.update",
                object,
                before_and_after,
                change: Change::UpdateCredential(row),
            };
            (!same_credential(&row, old)).then(|| step(row))
        }
    }
}

/// Compares all but the API key, which may be encrypted, and the white space of JSON.
fn same_provider(new: &ProviderRow, old: &ProviderRow) -> bool {
    let plain = |row: &ProviderRow| {
        let json = (tight(&row.model_mapping), tight(&row.provider_params));
        let (model_mapping, provider_params) = json;
        ProviderRow { model_mapping, provider_params, api_key: "".into(), stamp: Stamp::default(), ..row.clone() }
    };
    plain(new) == plain(old)
}

fn same_credential(new: &CredentialRow, old: &CredentialRow) -> bool {
    let plain = |row: &CredentialRow| {
        let (allowed_models, metadata) = (tight(&row.allowed_models), tight(&row.metadata));
        CredentialRow { allowed_models, metadata, stamp: Stamp::default(), ..row.clone() }
    };
    plain(new) == plain(old)
}

/// Removes the white space between the tokens of a JSON text.
fn tight(json: &str) -> String {
    let mut out = Vec::with_capacity(json.len());
    let mut quoted = false;
    let mut escaped = false;
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b' ' | b'\n' | b'\r' | b'\t' if !quoted => continue,
            _ => {}
        }
        out.push(byte);
    }
    String::from_utf8(out).unwrap_or_default()
}

/// Writes the rows as a configuration file. Without `secrets` it refers to a variable of the
/// environment for each API key, which must be set where the file is read, and the values of
/// headers are masked.
pub fn write(rows: &Rows, secrets: bool) -> String {
    if secrets {
        return file::write(rows, &|_| None);
    }
    let mut rows = rows.clone();
    for row in rows.providers.iter_mut().filter(|row| row.provider_params.contains("custom_headers")) {
        row.provider_params = masked(&row.provider_params).get().to_owned();
    }
    file::write(&rows, &|row| {
        Some(variable(row)).filter(|_| !row.api_key.is_empty() && !row.api_key.starts_with("env:"))
    })
}

/// Returns a variable's name as `OPENAI_MAIN_3_API_KEY`; the id tells apart names that would be
/// equal.
fn variable(row: &ProviderRow) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    format!("{}_{}_API_KEY", row.provider_key.chars().map(upper).collect::<String>(), row.id)
}

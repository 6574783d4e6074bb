//! Changes of rows, in one transaction.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow};
use crate::control_plane::store::change::{Audit, Change, IdempotencyKey, Write, Written};
use crate::control_plane::store::clock::now;
use crate::control_plane::store::error::Error;
use crate::control_plane::store::refusals::{missing, reused, stale, table_of, taken};
use crate::control_plane::store::sqlite::file::{QueryError, is_unique_violation};
use crate::control_plane::store::sqlite::rows::{text, version};
use crate::control_plane::store::sqlite::sums;

/// Why a change is not made.
pub(super) enum Refused {
    /// For a reason that is the caller's.
    Reported(Error),
    Failed(rusqlite::Error),
}

impl Refused {
    pub(super) fn explain(self, path: &std::path::Path) -> Error {
        match self {
            Refused::Reported(error) => error,
            Refused::Failed(error) => QueryError::from(error).explain(path),
        }
    }
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Refused {
        Refused::Failed(error)
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Refused {
        Refused::Reported(error)
    }
}

pub(super) fn write_all(connection: &mut Connection, writes: &[Write]) -> Result<Vec<Written>, Refused> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let written = writes.iter().map(|one| write(&transaction, one)).collect::<Result<_, _>>()?;
    transaction.commit()?;
    Ok(written)
}

fn write(transaction: &Transaction<'_>, write: &Write) -> Result<Written, Refused> {
    if let Some(idempotency_key) = &write.idempotency_key
        && let Some(id) = find_repeat(transaction, idempotency_key)?
    {
        return Ok(Written { id, version: version(transaction)?, repeated: true });
    }
    let id = change(transaction, &write.change)?;
    if let Some(idempotency_key) = &write.idempotency_key {
        transaction.execute(
            "INSERT INTO idempotency_keys (key, fingerprint, row_id) VALUES (?1, ?2, ?3)",
            params![idempotency_key.key, idempotency_key.fingerprint, id],
        )?;
    }
    let version = version(transaction)?;
    audit(transaction, &write.audit.stored(id, version, now()), id)?;
    Ok(Written { id, version, repeated: false })
}

/// The row of the change that `idempotency_key` was seen with.
fn find_repeat(transaction: &Transaction<'_>, idempotency_key: &IdempotencyKey) -> Result<Option<i64>, Refused> {
    transaction
        .execute("DELETE FROM idempotency_keys WHERE created_at <= unixepoch() - ?1", [IdempotencyKey::KEPT_SECS])?;
    let sql = "SELECT row_id, fingerprint FROM idempotency_keys WHERE key = ?1";
    let row = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?, text(row, 1)?));
    match transaction.query_row(sql, [&idempotency_key.key], row).optional()? {
        None => Ok(None),
        Some((id, fingerprint)) if fingerprint == idempotency_key.fingerprint => Ok(Some(id)),
        Some(_) => Err(reused().into()),
    }
}

/// Gives the id of the row.
fn change(transaction: &Transaction<'_>, change: &Change) -> Result<i64, Refused> {
    let unique = |error: rusqlite::Error| match is_unique_violation(&error) {
        true => Refused::Reported(taken(change)),
        false => Refused::Failed(error),
    };
    match change {
        Change::AddProvider(row) => add_provider(transaction, row).map_err(unique),
        Change::AddCredential(row) => add_credential(transaction, row).map_err(unique),
        Change::AddGroup(row) => add_group(transaction, row).map_err(unique),
        Change::UpdateGroup(row) => {
            expect(transaction, "group", row.id, Some(row.stamp.version))?;
            update_group(transaction, row)?;
            Ok(row.id)
        }
        Change::AddBudget(row) => add_budget(transaction, row).map_err(unique),
        Change::UpdateBudget(row) => {
            expect(transaction, "budget", row.id, Some(row.stamp.version))?;
            update_budget(transaction, row)?;
            Ok(row.id)
        }
        Change::RemoveBudget { id, row_version } => {
            expect(transaction, "budget", *id, *row_version)?;
            let sums = "DELETE FROM budget_sums WHERE name = (SELECT name FROM budgets WHERE id = ?1)";
            transaction.execute(sums, [id])?;
            transaction.execute("DELETE FROM budgets WHERE id = ?1", [id])?;
            Ok(*id)
        }
        Change::ResetBudget { id, key } => {
            sums::reset(transaction, key)?;
            Ok(*id)
        }
        Change::TopUpBudget { id, key, units } => {
            sums::top_up(transaction, key, *units)?;
            Ok(*id)
        }
        Change::RemoveGroup { id, row_version } => {
            expect(transaction, "group", *id, *row_version)?;
            transaction.execute("DELETE FROM credential_groups WHERE id = ?1", [id])?;
            Ok(*id)
        }
        Change::AddModel(row) => add_model(transaction, row).map_err(unique),
        Change::UpdateModel(row) => {
            expect(transaction, "virtual model", row.id, Some(row.stamp.version))?;
            update_model(transaction, row).map_err(unique)?;
            Ok(row.id)
        }
        Change::RemoveModel { id, row_version } => {
            expect(transaction, "virtual model", *id, *row_version)?;
            transaction.execute("DELETE FROM virtual_models WHERE id = ?1", [id])?;
            Ok(*id)
        }
        Change::UpdateProvider(row) => {
            expect(transaction, "provider", row.id, Some(row.stamp.version))?;
            update_provider(transaction, row)?;
            Ok(row.id)
        }
        Change::UpdateCredential(row) => {
            expect(transaction, "credential", row.id, Some(row.stamp.version))?;
            update_credential(transaction, row).map_err(unique)?;
            Ok(row.id)
        }
        Change::RemoveProvider { id, row_version } => {
            expect(transaction, "provider", *id, *row_version)?;
            transaction.execute("DELETE FROM providers WHERE id = ?1", [id])?;
            Ok(*id)
        }
        Change::RemoveCredential { id, row_version } => {
            expect(transaction, "credential", *id, *row_version)?;
            transaction.execute("DELETE FROM credentials WHERE id = ?1", [id])?;
            Ok(*id)
        }
    }
}

/// Checks that there is a row of this id, and of this version if one is given. The transaction
/// holds the write lock, so it stays so.
fn expect(transaction: &Transaction<'_>, what: &str, id: i64, row_version: Option<i64>) -> Result<(), Refused> {
    let table = table_of(what);
    let sql = format!("SELECT row_version FROM {table} WHERE id = ?1");
    let found: Option<i64> = transaction.query_row(&sql, [id], |row| row.get(0)).optional()?;
    match (found, row_version) {
        (None, _) => Err(missing(what, id).into()),
        (Some(found), Some(expected)) if found != expected => Err(stale(what, id, expected, found).into()),
        _ => Ok(()),
    }
}

fn add_provider(transaction: &Transaction<'_>, row: &ProviderRow) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping, weight, provider_params, \
         lua_script, is_enabled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            row.provider_key,
            row.provider_type,
            row.api_base,
            &*row.api_key,
            row.model_mapping,
            row.weight,
            row.provider_params,
            row.lua_script,
            row.is_enabled,
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn update_provider(transaction: &Transaction<'_>, row: &ProviderRow) -> rusqlite::Result<usize> {
    transaction.execute(
        "UPDATE providers SET provider_type = ?2, api_base = ?3, api_key = ?4, model_mapping = ?5, weight = ?6, \
         provider_params = ?7, lua_script = ?8, is_enabled = ?9 WHERE id = ?1",
        params![
            row.id,
            row.provider_type,
            row.api_base,
            &*row.api_key,
            row.model_mapping,
            row.weight,
            row.provider_params,
            row.lua_script,
            row.is_enabled,
        ],
    )
}

fn add_credential(transaction: &Transaction<'_>, row: &CredentialRow) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO credentials (credential_key, name, allowed_models, rate_limit, burst, tokens_per_minute, max_concurrency, \
         expires_at, previous_key, previous_key_until, metadata, is_enabled, group_name) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            row.credential_key,
            row.name,
            row.allowed_models,
            row.rate_limit,
            row.burst,
            row.tokens_per_minute,
            row.max_concurrency,
            row.expires_at,
            row.previous_key,
            row.previous_key_until,
            object(&row.metadata),
            row.is_enabled,
            row.group_name,
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn add_group(transaction: &Transaction<'_>, row: &GroupRow) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO credential_groups (name, parent, allowed_models, rate_limit, burst, tokens_per_minute, max_concurrency, \
         metadata, is_enabled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            row.name,
            row.parent,
            list(&row.allowed_models),
            row.rate_limit,
            row.burst,
            row.tokens_per_minute,
            row.max_concurrency,
            object(&row.metadata),
            row.is_enabled,
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn update_group(transaction: &Transaction<'_>, row: &GroupRow) -> rusqlite::Result<usize> {
    transaction.execute(
        "UPDATE credential_groups SET parent = ?2, allowed_models = ?3, rate_limit = ?4, burst = ?5, tokens_per_minute = ?6, \
         max_concurrency = ?7, metadata = ?8, is_enabled = ?9 WHERE id = ?1",
        params![
            row.id,
            row.parent,
            list(&row.allowed_models),
            row.rate_limit,
            row.burst,
            row.tokens_per_minute,
            row.max_concurrency,
            object(&row.metadata),
            row.is_enabled,
        ],
    )
}

fn add_budget(transaction: &Transaction<'_>, row: &BudgetRow) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO budgets (name, scope, subject, unit, amount, period, time_zone, is_hard, warn_at, is_enabled, \
         downgrade_to) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            row.name,
            row.scope,
            row.subject,
            row.unit,
            row.amount,
            row.period,
            row.time_zone,
            row.is_hard,
            list(&row.warn_at),
            row.is_enabled,
            row.downgrade_to,
        ],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn update_budget(transaction: &Transaction<'_>, row: &BudgetRow) -> rusqlite::Result<usize> {
    transaction.execute(
        "UPDATE budgets SET scope = ?2, subject = ?3, unit = ?4, amount = ?5, period = ?6, time_zone = ?7, is_hard = ?8, \
         warn_at = ?9, is_enabled = ?10, downgrade_to = ?11 WHERE id = ?1",
        params![
            row.id,
            row.scope,
            row.subject,
            row.unit,
            row.amount,
            row.period,
            row.time_zone,
            row.is_hard,
            list(&row.warn_at),
            row.is_enabled,
            row.downgrade_to,
        ],
    )
}

fn update_credential(transaction: &Transaction<'_>, row: &CredentialRow) -> rusqlite::Result<usize> {
    transaction.execute(
        "UPDATE credentials SET credential_key = ?2, name = ?3, allowed_models = ?4, rate_limit = ?5, burst = ?6, \
         tokens_per_minute = ?7, max_concurrency = ?8, expires_at = ?9, previous_key = ?10, previous_key_until = ?11, metadata = ?12, \
         is_enabled = ?13, group_name = ?14 WHERE id = ?1",
        params![
            row.id,
            row.credential_key,
            row.name,
            row.allowed_models,
            row.rate_limit,
            row.burst,
            row.tokens_per_minute,
            row.max_concurrency,
            row.expires_at,
            row.previous_key,
            row.previous_key_until,
            object(&row.metadata),
            row.is_enabled,
            row.group_name,
        ],
    )
}

/// The column requires JSON.
fn object(json: &str) -> &str {
    if json.is_empty() { "{}" } else { json }
}

/// The same for a list.
fn list(json: &str) -> &str {
    if json.is_empty() { "[]" } else { json }
}

fn add_model(transaction: &Transaction<'_>, row: &ModelRow) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO virtual_models (name, members, overrides, options, is_enabled) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![row.name, row.members, row.overrides, row.options, row.is_enabled],
    )?;
    Ok(transaction.last_insert_rowid())
}

fn update_model(transaction: &Transaction<'_>, row: &ModelRow) -> rusqlite::Result<usize> {
    transaction.execute(
        "UPDATE virtual_models SET name = ?2, members = ?3, overrides = ?4, options = ?5, is_enabled = ?6 WHERE id = ?1",
        params![row.id, row.name, row.members, row.overrides, row.options, row.is_enabled],
    )
}

fn audit(transaction: &Transaction<'_>, audit: &Audit, id: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO audit_log (timestamp, actor, request_id, action, object, object_id, old, new) \
         VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![audit.actor, audit.request_id, audit.action, audit.object, id, audit.old, audit.new],
    )?;
    Ok(())
}

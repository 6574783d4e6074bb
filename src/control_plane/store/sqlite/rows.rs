//! Reads rows.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow, Rows, Stamp};
use crate::control_plane::store::change::{Audit, AuditFilter, AuditList, AuditRow, Changes, Delta};
use crate::control_plane::store::log_sql::containing;

/// `config_removed` holds the removals of this many versions.
const REMEMBERED: i64 = 100_000;

const PROVIDERS: &str = "SELECT id, row_version, created_at, updated_at, provider_key, provider_type, api_base, api_key, \
                         model_mapping, weight, provider_params, lua_script, is_enabled FROM providers";
const CREDENTIALS: &str = "SELECT id, row_version, created_at, updated_at, credential_key, name, allowed_models, rate_limit, burst, \
                           tokens_per_minute, max_concurrency, expires_at, previous_key, previous_key_until, metadata, is_enabled, \
                           group_name FROM credentials";
const GROUPS: &str = "SELECT id, row_version, created_at, updated_at, name, parent, allowed_models, rate_limit, burst, \
                      tokens_per_minute, max_concurrency, metadata, is_enabled FROM credential_groups";
const BUDGETS: &str = "SELECT id, row_version, created_at, updated_at, name, scope, subject, unit, amount, period, time_zone, \
                       is_hard, warn_at, is_enabled, downgrade_to FROM budgets";

const MODELS: &str = "SELECT id, row_version, created_at, updated_at, name, members, overrides, options, is_enabled \
                      FROM virtual_models";

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT version FROM config_version", [], |row| row.get(0))
}

pub(super) fn load(connection: &mut Connection) -> rusqlite::Result<Rows> {
    everything(&connection.transaction_with_behavior(TransactionBehavior::Deferred)?)
}

fn everything(snapshot: &Transaction<'_>) -> rusqlite::Result<Rows> {
    Ok(Rows {
        version: version(snapshot)?,
        providers: all(snapshot, &format!("{PROVIDERS} ORDER BY id"), [], provider)?,
        credentials: all(snapshot, &format!("{CREDENTIALS} ORDER BY id"), [], credential)?,
        groups: all(snapshot, &format!("{GROUPS} ORDER BY id"), [], group)?,
        models: all(snapshot, &format!("{MODELS} ORDER BY id"), [], model)?,
        budgets: all(snapshot, &format!("{BUDGETS} ORDER BY id"), [], budget)?,
    })
}

pub(super) fn changes(connection: &mut Connection, since: i64) -> rusqlite::Result<Changes> {
    let snapshot = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
    let version = version(&snapshot)?;
    // A version that decreases means that another store took the place of the one that was read.
    if since > version || version - since >= REMEMBERED {
        return everything(&snapshot).map(Changes::All);
    }
    let removed = |object: &str| {
        let sql = "SELECT row_id FROM config_removed WHERE version > ?1 AND object = ?2 ORDER BY row_id";
        all(&snapshot, sql, params![since, object], |row| row.get(0))
    };
    Ok(Changes::Some(Delta {
        version,
        providers: all(&snapshot, &format!("{PROVIDERS} WHERE row_version > ?1 ORDER BY id"), [since], provider)?,
        credentials: all(&snapshot, &format!("{CREDENTIALS} WHERE row_version > ?1 ORDER BY id"), [since], credential)?,
        groups: all(&snapshot, &format!("{GROUPS} WHERE row_version > ?1 ORDER BY id"), [since], group)?,
        models: all(&snapshot, &format!("{MODELS} WHERE row_version > ?1 ORDER BY id"), [since], model)?,
        removed_providers: removed("provider")?,
        removed_credentials: removed("credential")?,
        removed_groups: removed("group")?,
        removed_models: removed("virtual_model")?,
        budgets: all(&snapshot, &format!("{BUDGETS} WHERE row_version > ?1 ORDER BY id"), [since], budget)?,
        removed_budgets: removed("budget")?,
    }))
}

fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl rusqlite::Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare(sql)?.query_map(values, read)?.collect()
}

fn stamp(row: &Row<'_>) -> rusqlite::Result<Stamp> {
    Ok(Stamp { version: row.get(1)?, created_at: row.get(2)?, updated_at: row.get(3)? })
}

fn provider(row: &Row<'_>) -> rusqlite::Result<ProviderRow> {
    Ok(ProviderRow {
        id: row.get(0)?,
        stamp: stamp(row)?,
        provider_key: text(row, 4)?,
        provider_type: text(row, 5)?,
        api_base: text(row, 6)?,
        api_key: text(row, 7)?.into(),
        model_mapping: text(row, 8)?,
        weight: row.get(9)?,
        provider_params: text(row, 10)?,
        lua_script: Some(text(row, 11)?).filter(|script| !script.is_empty()),
        is_enabled: row.get(12)?,
    })
}

fn credential(row: &Row<'_>) -> rusqlite::Result<CredentialRow> {
    Ok(CredentialRow {
        id: row.get(0)?,
        stamp: stamp(row)?,
        credential_key: text(row, 4)?,
        name: text(row, 5)?,
        allowed_models: text(row, 6)?,
        rate_limit: row.get(7)?,
        burst: row.get(8)?,
        tokens_per_minute: row.get(9)?,
        max_concurrency: row.get(10)?,
        expires_at: row.get(11)?,
        previous_key: Some(text(row, 12)?).filter(|key| !key.is_empty()),
        previous_key_until: row.get(13)?,
        metadata: text(row, 14)?,
        is_enabled: row.get(15)?,
        group_name: name(row, 16)?,
    })
}

fn group(row: &Row<'_>) -> rusqlite::Result<GroupRow> {
    Ok(GroupRow {
        id: row.get(0)?,
        stamp: stamp(row)?,
        name: text(row, 4)?,
        parent: name(row, 5)?,
        allowed_models: text(row, 6)?,
        rate_limit: row.get(7)?,
        burst: row.get(8)?,
        tokens_per_minute: row.get(9)?,
        max_concurrency: row.get(10)?,
        metadata: text(row, 11)?,
        is_enabled: row.get(12)?,
    })
}

fn model(row: &Row<'_>) -> rusqlite::Result<ModelRow> {
    Ok(ModelRow {
        id: row.get(0)?,
        stamp: stamp(row)?,
        name: text(row, 4)?,
        members: text(row, 5)?,
        overrides: text(row, 6)?,
        options: text(row, 7)?,
        is_enabled: row.get(8)?,
    })
}

fn budget(row: &Row<'_>) -> rusqlite::Result<BudgetRow> {
    Ok(BudgetRow {
        id: row.get(0)?,
        stamp: stamp(row)?,
        name: text(row, 4)?,
        scope: text(row, 5)?,
        subject: text(row, 6)?,
        unit: text(row, 7)?,
        amount: row.get(8)?,
        period: text(row, 9)?,
        time_zone: text(row, 10)?,
        is_hard: row.get(11)?,
        warn_at: text(row, 12)?,
        is_enabled: row.get(13)?,
        downgrade_to: name(row, 14)?,
    })
}

/// The name of another row; null and empty are none.
fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<String>> {
    Ok(Some(text(row, column)?).filter(|name| !name.is_empty()))
}

/// Text that is not UTF-8 spoils its own row, not the whole reading.
pub(super) fn text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    })
}

/// The first line that a search by a text does not go through. `None` if it goes through all.
fn audit_edge(connection: &Connection, filter: &AuditFilter) -> rusqlite::Result<Option<i64>> {
    const SQL: &str = "SELECT id FROM audit_log INDEXED BY idx_audit_log_search \
        WHERE id < coalesce(?1, 9223372036854775807) AND (?2 IS NULL OR timestamp >= ?2) \
        AND (?3 IS NULL OR timestamp <= ?3) ORDER BY id DESC LIMIT 1 OFFSET ?4";
    if !filter.has_text() {
        return Ok(None);
    }
    let values = params![filter.before, filter.from, filter.to, AuditFilter::SEARCHED];
    connection.prepare(SQL)?.query_row(values, |row| row.get(0)).optional()
}

pub(super) fn audit_log(connection: &Connection, filter: &AuditFilter, limit: u32) -> rusqlite::Result<AuditList> {
    let edge = audit_edge(connection, filter)?;
    let AuditFilter { before, actor, action, object, from, to } = filter;
    let has_conditions = actor.is_some() || action.is_some() || object.is_some() || from.is_some() || to.is_some();
    // The index has what is looked at, without the values before and after, in the same order.
    let index = if has_conditions { "INDEXED BY idx_audit_log_search" } else { "" };
    let sql = format!(
        "SELECT id, timestamp, actor, request_id, action, object, object_id, old, new FROM audit_log WHERE id IN ( \
           SELECT id FROM audit_log {index} \
           WHERE id < coalesce(?1, 9223372036854775807) AND (?2 IS NULL OR actor LIKE ?2 ESCAPE '!') \
           AND (?3 IS NULL OR action = ?3 OR substr(action, 1, length(?3) + 1) = ?3 || '.') \
           AND (?4 IS NULL OR object LIKE ?4 ESCAPE '!') \
           AND (?5 IS NULL OR timestamp >= ?5) AND (?6 IS NULL OR timestamp <= ?6) AND id > coalesce(?8, -1) \
           ORDER BY id DESC LIMIT ?7 \
         ) ORDER BY id DESC"
    );
    let [actor, object] = [actor, object].map(|text| text.as_deref().map(containing));
    let lines = all(connection, &sql, params![before, actor, action, object, from, to, limit, edge], |row| {
        Ok(AuditRow {
            id: row.get(0)?,
            timestamp: row.get(1)?,
            object_id: row.get(6)?,
            audit: Audit {
                actor: row.get(2)?,
                request_id: row.get(3)?,
                action: row.get(4)?,
                object: row.get(5)?,
                old: row.get(7)?,
                new: row.get(8)?,
            },
        })
    })?;
    Ok(AuditList::of(lines, limit, edge))
}

//! Makes changes in one transaction. Writers take turns at `config_version`, so that what is
//! checked here stays so until the commit.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow};
use crate::control_plane::store::change::{Audit, AuditRow, Change, IdempotencyKey, Write, Written};
use crate::control_plane::store::clock::now;
use crate::control_plane::store::error::{Error, Fault};
use crate::control_plane::store::postgres::explain::QueryError;
use crate::control_plane::store::postgres::rows::Value;
use crate::control_plane::store::postgres::sums;
use crate::control_plane::store::refusals::{missing, reused, stale, table_of, taken};

pub(super) async fn write_all(client: &mut Client, writes: &[Write]) -> Result<Vec<Written>, QueryError> {
    let transaction = client.transaction().await?;
    transaction.query_typed("SELECT 1 FROM config_version WHERE id = 1 FOR UPDATE", &[]).await?;
    let mut written = Vec::with_capacity(writes.len());
    for one in writes {
        written.push(write(&transaction, one).await?);
    }
    transaction.commit().await?;
    Ok(written)
}

async fn write(transaction: &Transaction<'_>, write: &Write) -> Result<Written, QueryError> {
    if let Some(idempotency_key) = &write.idempotency_key
        && let Some(id) = find_repeat(transaction, idempotency_key).await?
    {
        return Ok(Written { id, version: version(transaction).await?, repeated: true });
    }
    let id = apply(transaction, &write.change).await?;
    if let Some(idempotency_key) = &write.idempotency_key {
        remember(transaction, idempotency_key, id).await?;
    }
    let version = version(transaction).await?;
    audit(transaction, &write.audit.stored(id, version, now()), id).await?;
    Ok(Written { id, version, repeated: false })
}

async fn version(transaction: &Transaction<'_>) -> Result<i64, QueryError> {
    let row = transaction.query_typed_opt("SELECT version FROM config_version WHERE id = 1", &[]).await?;
    match row {
        Some(row) => Ok(row.try_get(0)?),
        None => Err(no_version()),
    }
}

/// Without that row no change would ever be seen.
pub(super) fn no_version() -> QueryError {
    let message =
        "has lost the row of config_version; put it back: INSERT INTO config_version (id, version) VALUES (1, 1000000)";
    QueryError::Reported(Error::new(Fault::Unavailable, message))
}

async fn apply(transaction: &Transaction<'_>, change: &Change) -> Result<i64, QueryError> {
    let done = match change {
        Change::AddProvider(row) => insert(transaction, ADD_PROVIDER, &provider(row, &&*row.api_key)).await,
        Change::AddCredential(row) => insert(transaction, ADD_CREDENTIAL, &credential(row, &Times::of(row))).await,
        Change::AddGroup(row) => insert(transaction, ADD_GROUP, &group(row)).await,
        Change::UpdateGroup(row) => {
            check(transaction, "group", row.id, Some(row.stamp.version)).await?;
            let mut values = group(row);
            values.push((&row.id, Type::INT8));
            transaction.execute_typed(UPDATE_GROUP, &values).await.map(|_| row.id)
        }
        Change::RemoveGroup { id, row_version } => {
            check(transaction, "group", *id, *row_version).await?;
            let remove = "DELETE FROM credential_groups WHERE id = $1";
            transaction.execute_typed(remove, &[(id, Type::INT8)]).await.map(|_| *id)
        }
        Change::AddModel(row) => insert(transaction, ADD_MODEL, &model(row)).await,
        Change::UpdateModel(row) => {
            check(transaction, "virtual model", row.id, Some(row.stamp.version)).await?;
            let mut values = model(row);
            values.push((&row.id, Type::INT8));
            transaction.execute_typed(UPDATE_MODEL, &values).await.map(|_| row.id)
        }
        Change::RemoveModel { id, row_version } => {
            check(transaction, "virtual model", *id, *row_version).await?;
            let sql = "DELETE FROM virtual_models WHERE id = $1";
            transaction.execute_typed(sql, &[(id, Type::INT8)]).await.map(|_| *id)
        }
        Change::AddBudget(row) => insert(transaction, ADD_BUDGET, &budget(row)).await,
        Change::UpdateBudget(row) => {
            check(transaction, "budget", row.id, Some(row.stamp.version)).await?;
            let mut values = budget(row);
            values.push((&row.id, Type::INT8));
            transaction.execute_typed(UPDATE_BUDGET, &values).await.map(|_| row.id)
        }
        Change::RemoveBudget { id, row_version } => {
            check(transaction, "budget", *id, *row_version).await?;
            let sums = "DELETE FROM budget_sums WHERE name = (SELECT name FROM budgets WHERE id = $1)";
            transaction.execute_typed(sums, &[(id, Type::INT8)]).await?;
            transaction.execute_typed("DELETE FROM budgets WHERE id = $1", &[(id, Type::INT8)]).await.map(|_| *id)
        }
        Change::ResetBudget { id, key } => {
            sums::reset(transaction, key).await?;
            Ok(*id)
        }
        Change::TopUpBudget { id, key, units } => {
            sums::top_up(transaction, key, *units).await?;
            Ok(*id)
        }
        Change::UpdateProvider(row) => {
            check(transaction, "provider", row.id, Some(row.stamp.version)).await?;
            let key = &*row.api_key;
            let mut values = provider(row, &key);
            values.push((&row.id, Type::INT8));
            transaction.execute_typed(UPDATE_PROVIDER, &values).await.map(|_| row.id)
        }
        Change::UpdateCredential(row) => {
            check(transaction, "credential", row.id, Some(row.stamp.version)).await?;
            let times = Times::of(row);
            let mut values = credential(row, &times);
            values.push((&row.id, Type::INT8));
            transaction.execute_typed(UPDATE_CREDENTIAL, &values).await.map(|_| row.id)
        }
        Change::RemoveProvider { id, row_version } => {
            check(transaction, "provider", *id, *row_version).await?;
            transaction.execute_typed("DELETE FROM providers WHERE id = $1", &[(id, Type::INT8)]).await.map(|_| *id)
        }
        Change::RemoveCredential { id, row_version } => {
            check(transaction, "credential", *id, *row_version).await?;
            transaction.execute_typed("DELETE FROM credentials WHERE id = $1", &[(id, Type::INT8)]).await.map(|_| *id)
        }
    };
    match done {
        Ok(id) => Ok(id),
        Err(error) if error.code().is_some_and(|code| code.code() == "23505") => Err(QueryError::Row(taken(change))),
        Err(error) => Err(error.into()),
    }
}

async fn insert(transaction: &Transaction<'_>, sql: &str, values: &[Value<'_>]) -> Result<i64, tokio_postgres::Error> {
    transaction.query_typed_one(sql, values).await?.try_get(0)
}

/// Checks that the row exists, at the version that the caller knows.
async fn check(
    transaction: &Transaction<'_>,
    what: &'static str,
    id: i64,
    expected: Option<i64>,
) -> Result<(), QueryError> {
    let table = table_of(what);
    let sql = format!("SELECT row_version FROM {table} WHERE id = $1");
    let Some(row) = transaction.query_typed_opt(&sql, &[(&id, Type::INT8)]).await? else {
        return Err(QueryError::Row(missing(what, id)));
    };
    let found: i64 = row.try_get(0)?;
    match expected {
        Some(expected) if expected != found => Err(QueryError::Row(stale(what, id, expected, found))),
        _ => Ok(()),
    }
}

// Empty text, which is no JSON, becomes the default.

const ADD_PROVIDER: &str = "INSERT INTO providers (provider_key, provider_type, api_base, api_key, model_mapping, \
    model_mapping_written, weight, provider_params, lua_script, is_enabled) \
    VALUES ($1, $2, $3, $4, coalesce(nullif($5, ''), '{}')::jsonb, nullif($5, '')::json, $6, coalesce(nullif($7, ''), '{}')::jsonb, $8, $9) RETURNING id::bigint";

const UPDATE_PROVIDER: &str = "UPDATE providers SET provider_key = $1, provider_type = $2, api_base = $3, api_key = $4, \
    model_mapping = coalesce(nullif($5, ''), '{}')::jsonb, model_mapping_written = nullif($5, '')::json, weight = $6, provider_params = coalesce(nullif($7, ''), '{}')::jsonb, \
    lua_script = $8, is_enabled = $9 WHERE id = $10";

fn provider<'a>(row: &'a ProviderRow, key: &'a &'a str) -> Vec<Value<'a>> {
    vec![
        (&row.provider_key, Type::TEXT),
        (&row.provider_type, Type::TEXT),
        (&row.api_base, Type::TEXT),
        (key, Type::TEXT),
        (&row.model_mapping, Type::TEXT),
        (&row.weight, Type::INT8),
        (&row.provider_params, Type::TEXT),
        (&row.lua_script, Type::TEXT),
        (&row.is_enabled, Type::BOOL),
    ]
}

const ADD_MODEL: &str = "INSERT INTO virtual_models (name, members, overrides, options, is_enabled) \
    VALUES ($1, coalesce(nullif($2, ''), '[]')::json, coalesce(nullif($3, ''), '{}')::json, coalesce(nullif($4, ''), '{}')::json, $5) \
    RETURNING id";

const UPDATE_MODEL: &str = "UPDATE virtual_models SET name = $1, members = coalesce(nullif($2, ''), '[]')::json, \
    overrides = coalesce(nullif($3, ''), '{}')::json, options = coalesce(nullif($4, ''), '{}')::json, is_enabled = $5 WHERE id = $6";

fn model(row: &ModelRow) -> Vec<Value<'_>> {
    vec![
        (&row.name, Type::TEXT),
        (&row.members, Type::TEXT),
        (&row.overrides, Type::TEXT),
        (&row.options, Type::TEXT),
        (&row.is_enabled, Type::BOOL),
    ]
}

const ADD_CREDENTIAL: &str = "INSERT INTO credentials (credential_key, name, allowed_models, rate_limit, burst, tokens_per_minute, \
    max_concurrency, expires_at, previous_key, previous_key_until, metadata, is_enabled, group_name) \
    VALUES ($1, $2, coalesce(nullif($3, ''), '[]')::jsonb, $4, $5, $6, $7, to_timestamp($8), $9, to_timestamp($10), \
    coalesce(nullif($11, ''), '{}')::jsonb, $12, $13) RETURNING id::bigint";

const UPDATE_CREDENTIAL: &str = "UPDATE credentials SET credential_key = $1, name = $2, allowed_models = coalesce(nullif($3, ''), '[]')::jsonb, \
    rate_limit = $4, burst = $5, tokens_per_minute = $6, max_concurrency = $7, expires_at = to_timestamp($8), previous_key = $9, \
    previous_key_until = to_timestamp($10), metadata = coalesce(nullif($11, ''), '{}')::jsonb, is_enabled = $12, \
    group_name = $13 WHERE id = $14";

const ADD_GROUP: &str = "INSERT INTO credential_groups (name, parent, allowed_models, rate_limit, burst, tokens_per_minute, \
    max_concurrency, metadata, is_enabled) VALUES ($1, $2, coalesce(nullif($3, ''), '[]')::jsonb, $4, $5, $6, $7, \
    coalesce(nullif($8, ''), '{}')::jsonb, $9) RETURNING id";

const UPDATE_GROUP: &str = "UPDATE credential_groups SET name = $1, parent = $2, \
    allowed_models = coalesce(nullif($3, ''), '[]')::jsonb, rate_limit = $4, burst = $5, tokens_per_minute = $6, \
    max_concurrency = $7, metadata = coalesce(nullif($8, ''), '{}')::jsonb, is_enabled = $9 WHERE id = $10";

const ADD_BUDGET: &str = "INSERT INTO budgets (name, scope, subject, unit, amount, period, time_zone, is_hard, warn_at, \
    is_enabled, downgrade_to) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, coalesce(nullif($9, ''), '[]')::jsonb, $10, $11) RETURNING id";

const UPDATE_BUDGET: &str = "UPDATE budgets SET name = $1, scope = $2, subject = $3, unit = $4, amount = $5, period = $6, \
    time_zone = $7, is_hard = $8, warn_at = coalesce(nullif($9, ''), '[]')::jsonb, is_enabled = $10, downgrade_to = $11 \
    WHERE id = $12";

fn budget(row: &BudgetRow) -> Vec<Value<'_>> {
    vec![
        (&row.name, Type::TEXT),
        (&row.scope, Type::TEXT),
        (&row.subject, Type::TEXT),
        (&row.unit, Type::TEXT),
        (&row.amount, Type::INT8),
        (&row.period, Type::TEXT),
        (&row.time_zone, Type::TEXT),
        (&row.is_hard, Type::BOOL),
        (&row.warn_at, Type::TEXT),
        (&row.is_enabled, Type::BOOL),
        (&row.downgrade_to, Type::TEXT),
    ]
}

fn group(row: &GroupRow) -> Vec<Value<'_>> {
    vec![
        (&row.name, Type::TEXT),
        (&row.parent, Type::TEXT),
        (&row.allowed_models, Type::TEXT),
        (&row.rate_limit, Type::INT8),
        (&row.burst, Type::INT8),
        (&row.tokens_per_minute, Type::INT8),
        (&row.max_concurrency, Type::INT8),
        (&row.metadata, Type::TEXT),
        (&row.is_enabled, Type::BOOL),
    ]
}

fn credential<'a>(row: &'a CredentialRow, times: &'a Times) -> Vec<Value<'a>> {
    vec![
        (&row.credential_key, Type::TEXT),
        (&row.name, Type::TEXT),
        (&row.allowed_models, Type::TEXT),
        (&row.rate_limit, Type::INT8),
        (&row.burst, Type::INT8),
        (&row.tokens_per_minute, Type::INT8),
        (&row.max_concurrency, Type::INT8),
        (&times.expires_at, Type::FLOAT8),
        (&row.previous_key, Type::TEXT),
        (&times.previous_key_until, Type::FLOAT8),
        (&row.metadata, Type::TEXT),
        (&row.is_enabled, Type::BOOL),
        (&row.group_name, Type::TEXT),
    ]
}

/// Converts a time, in seconds since 1970, for PostgreSQL.
struct Times {
    expires_at: Option<f64>,
    previous_key_until: Option<f64>,
}

impl Times {
    fn of(row: &CredentialRow) -> Times {
        Times { expires_at: row.expires_at.map(moment), previous_key_until: row.previous_key_until.map(moment) }
    }
}

/// Times beyond the calendar become `infinity`, which is read as such a number again.
fn moment(seconds: i64) -> f64 {
    const YEAR_9999: i64 = 253_402_300_799;
    match seconds {
        ..0 => f64::NEG_INFINITY,
        0..=YEAR_9999 => seconds as f64,
        _ => f64::INFINITY,
    }
}

/// The row that a change with this key made before.
async fn find_repeat(
    transaction: &Transaction<'_>,
    idempotency_key: &IdempotencyKey,
) -> Result<Option<i64>, QueryError> {
    const DELETE_OLD_KEYS: &str = "DELETE FROM idempotency_keys WHERE created_at <= now() - make_interval(secs => $1)";
    transaction.execute_typed(DELETE_OLD_KEYS, &[(&(IdempotencyKey::KEPT_SECS as f64), Type::FLOAT8)]).await?;
    const FIND_REPEAT: &str = "SELECT fingerprint, row_id FROM idempotency_keys WHERE key = $1";
    match transaction.query_typed_opt(FIND_REPEAT, &[(&idempotency_key.key, Type::TEXT)]).await? {
        None => Ok(None),
        Some(row) if row.try_get::<_, &str>(0)? == idempotency_key.fingerprint => Ok(Some(row.try_get(1)?)),
        Some(_) => Err(QueryError::Row(reused())),
    }
}

async fn remember(transaction: &Transaction<'_>, idempotency_key: &IdempotencyKey, id: i64) -> Result<(), QueryError> {
    const SQL: &str = "INSERT INTO idempotency_keys (key, fingerprint, row_id) VALUES ($1, $2, $3)";
    let values: &[Value<'_>] =
        &[(&idempotency_key.key, Type::TEXT), (&idempotency_key.fingerprint, Type::TEXT), (&id, Type::INT8)];
    transaction.execute_typed(SQL, values).await?;
    Ok(())
}

async fn audit(transaction: &Transaction<'_>, audit: &Audit, id: i64) -> Result<(), QueryError> {
    const SQL: &str = "INSERT INTO audit_log (actor, request_id, action, object, object_id, old, new) \
        VALUES ($1, $2, $3, $4, $5, $6::text::json, $7::text::json)";
    let values: &[Value<'_>] = &[
        (&audit.actor, Type::TEXT),
        (&audit.request_id, Type::TEXT),
        (&audit.action, Type::TEXT),
        (&audit.object, Type::TEXT),
        (&id, Type::INT8),
        (&audit.old, Type::TEXT),
        (&audit.new, Type::TEXT),
    ];
    transaction.execute_typed(SQL, values).await?;
    Ok(())
}

pub(super) async fn audit_log(client: &Client, before: Option<i64>, limit: u32) -> Result<Vec<AuditRow>, QueryError> {
    const SQL: &str = "SELECT id, (extract(epoch FROM timestamp) * 1000000)::bigint, actor, request_id, action, object, object_id, \
        old::text, new::text FROM audit_log WHERE id < $1 ORDER BY id DESC LIMIT $2";
    let values: &[Value<'_>] = &[(&before.unwrap_or(i64::MAX), Type::INT8), (&i64::from(limit), Type::INT8)];
    let mut lines = Vec::new();
    for row in client.query_typed(SQL, values).await? {
        lines.push(AuditRow {
            id: row.try_get(0)?,
            timestamp: row.try_get(1)?,
            object_id: row.try_get(6)?,
            audit: Audit {
                actor: row.try_get(2)?,
                request_id: row.try_get(3)?,
                action: row.try_get(4)?,
                object: row.try_get(5)?,
                old: row.try_get(7)?,
                new: row.try_get(8)?,
            },
        });
    }
    Ok(lines)
}

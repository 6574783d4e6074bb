//! Makes changes in one transaction. Writers take turns at `config_version`, so that what is
//! checked here stays so until the commit.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Transaction};

use crate::control_plane::store::change::{
    Audit, AuditFilter, AuditList, AuditRow, Change, IdempotencyKey, Write, Written,
};
use crate::control_plane::store::clock::now;
use crate::control_plane::store::error::{Error, Fault};
use crate::control_plane::store::log_sql::{Dialect, Statement};
use crate::control_plane::store::postgres::explain::QueryError;
use crate::control_plane::store::postgres::rows::Value;
use crate::control_plane::store::postgres::statement::values;
use crate::control_plane::store::postgres::sums;
use crate::control_plane::store::refusals::{self, reused, taken};
use crate::control_plane::store::row_sql::{self, Step};

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

/// Makes a change, and returns the id of its row.
async fn apply(transaction: &Transaction<'_>, change: &Change) -> Result<i64, QueryError> {
    if let Some(expected) = change.expected_row() {
        let select = row_sql::row_version(Dialect::Postgres, expected.kind, expected.id);
        let row = transaction.query_typed_opt(&select.sql, &values(&select)).await?;
        let found = row.map(|row| row.try_get(0)).transpose()?;
        refusals::check(expected, found).map_err(QueryError::Row)?;
    }
    check_price(transaction, change).await?;
    let statement = match row_sql::step(Dialect::Postgres, change) {
        Step::Write(statement) => statement,
        Step::ChangeSums { budget, key, top_up } => {
            match top_up {
                Some(units) => sums::top_up(transaction, key, units).await?,
                None => sums::reset(transaction, key).await?,
            }
            return Ok(budget);
        }
    };
    if let Change::RemoveBudget { id, .. } = change {
        let remove = row_sql::remove_sums(Dialect::Postgres, *id);
        transaction.execute_typed(&remove.sql, &values(&remove)).await?;
    }
    match transaction.query_typed_one(&statement.sql, &values(&statement)).await {
        Ok(row) => Ok(row.try_get(0)?),
        Err(error) if error.code().is_some_and(|code| code.code() == "23505") => Err(QueryError::Row(taken(change))),
        Err(error) => Err(error.into()),
    }
}

/// Writes the default prices where there are none, and checks the price that a change needs.
async fn check_price(transaction: &Transaction<'_>, change: &Change) -> Result<(), QueryError> {
    let finds = async |statement: &Statement| -> Result<bool, QueryError> {
        Ok(transaction.query_typed_opt(&statement.sql, &values(statement)).await?.is_some())
    };
    let defaults = row_sql::default_prices(Dialect::Postgres, change);
    if !defaults.is_empty() && !finds(&row_sql::any_price()).await? {
        for statement in defaults {
            transaction.execute_typed(&statement.sql, &values(&statement)).await?;
        }
    }
    match row_sql::needed_price(Dialect::Postgres, change) {
        [Some(any), _] if !finds(&any).await? => Err(QueryError::Row(refusals::no_price())),
        [_, Some(same)] if !finds(&same).await? => Err(QueryError::Row(refusals::other_price())),
        _ => Ok(()),
    }
}

/// Returns the row that a change with this key made before.
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

/// The first line that a search by a text does not go through. `None` if it goes through all.
async fn audit_edge(client: &Client, filter: &AuditFilter) -> Result<Option<i64>, QueryError> {
    const SQL: &str = "SELECT id FROM audit_log WHERE id < coalesce($1, 9223372036854775807) \
        AND ($2 IS NULL OR timestamp >= to_timestamp($2::float8 / 1e6)) \
        AND ($3 IS NULL OR timestamp <= to_timestamp($3::float8 / 1e6)) ORDER BY id DESC LIMIT 1 OFFSET $4";
    if !filter.has_text() {
        return Ok(None);
    }
    let values: &[Value<'_>] = &[
        (&filter.before, Type::INT8),
        (&filter.from, Type::INT8),
        (&filter.to, Type::INT8),
        (&AuditFilter::SEARCHED, Type::INT8),
    ];
    Ok(client.query_typed(SQL, values).await?.first().map(|row| row.try_get(0)).transpose()?)
}

pub(super) async fn audit_log(client: &Client, filter: &AuditFilter, limit: u32) -> Result<AuditList, QueryError> {
    const SQL: &str = "SELECT id, (extract(epoch FROM timestamp) * 1000000)::bigint, actor, request_id, action, object, object_id, \
        old::text, new::text FROM audit_log \
        WHERE id < coalesce($1, 9223372036854775807) AND ($2 IS NULL OR strpos(lower(actor), lower($2)) > 0) \
        AND ($3 IS NULL OR action = $3 OR starts_with(action, $3 || '.')) \
        AND ($4 IS NULL OR strpos(lower(object), lower($4)) > 0) \
        AND ($5 IS NULL OR timestamp >= to_timestamp($5::float8 / 1e6)) \
        AND ($6 IS NULL OR timestamp <= to_timestamp($6::float8 / 1e6)) AND id > coalesce($8, -1) \
        ORDER BY id DESC LIMIT $7";
    let edge = audit_edge(client, filter).await?;
    let AuditFilter { before, actor, action, object, from, to } = filter;
    let values: &[Value<'_>] = &[
        (before, Type::INT8),
        (actor, Type::TEXT),
        (action, Type::TEXT),
        (object, Type::TEXT),
        (from, Type::INT8),
        (to, Type::INT8),
        (&i64::from(limit), Type::INT8),
        (&edge, Type::INT8),
    ];
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
    Ok(AuditList::of(lines, limit, edge))
}

//! Changes of rows, in one transaction.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use crate::control_plane::store::change::{Audit, Change, IdempotencyKey, Write, Written};
use crate::control_plane::store::clock::now;
use crate::control_plane::store::error::Error;
use crate::control_plane::store::log_sql::{Dialect, Statement};
use crate::control_plane::store::refusals::{self, reused, taken};
use crate::control_plane::store::row_sql::{self, Step};
use crate::control_plane::store::sqlite::file::{QueryError, is_unique_violation};
use crate::control_plane::store::sqlite::rows::{text, version};
use crate::control_plane::store::sqlite::statement::values;
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

/// Returns the row of the change that `idempotency_key` was seen with.
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

/// Makes a change, and returns the id of its row. The transaction holds the write lock, so that the
/// row that is checked stays as it is.
fn change(transaction: &Transaction<'_>, change: &Change) -> Result<i64, Refused> {
    if let Some(expected) = change.expected_row() {
        let select = row_sql::row_version(Dialect::Sqlite, expected.kind, expected.id);
        let found = transaction.query_row(&select.sql, values(&select), |row| row.get(0)).optional()?;
        refusals::check(expected, found)?;
    }
    check_price(transaction, change)?;
    let statement = match row_sql::step(Dialect::Sqlite, change) {
        Step::Write(statement) => statement,
        Step::ChangeSums { budget, key, top_up } => {
            match top_up {
                Some(units) => sums::top_up(transaction, key, units)?,
                None => sums::reset(transaction, key)?,
            }
            return Ok(budget);
        }
    };
    if let Change::RemoveBudget { id, .. } = change {
        let remove = row_sql::remove_sums(Dialect::Sqlite, *id);
        transaction.execute(&remove.sql, values(&remove))?;
    }
    let written = transaction.query_row(&statement.sql, values(&statement), |row| row.get(0));
    written.map_err(|error| match is_unique_violation(&error) {
        true => Refused::Reported(taken(change)),
        false => Refused::Failed(error),
    })
}

/// Writes the default prices where there are none, and checks the price that a change needs.
fn check_price(transaction: &Transaction<'_>, change: &Change) -> Result<(), Refused> {
    let finds = |statement: &Statement| transaction.prepare(&statement.sql)?.exists(values(statement));
    let defaults = row_sql::default_prices(Dialect::Sqlite, change);
    if !defaults.is_empty() && !finds(&row_sql::any_price())? {
        for statement in defaults {
            transaction.execute(&statement.sql, values(&statement))?;
        }
    }
    let [any, same] = row_sql::needed_price(Dialect::Sqlite, change);
    match (any, same) {
        (Some(any), _) if !finds(&any)? => Err(refusals::no_price().into()),
        (_, Some(same)) if !finds(&same)? => Err(refusals::other_price().into()),
        _ => Ok(()),
    }
}

fn audit(transaction: &Transaction<'_>, audit: &Audit, id: i64) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO audit_log (timestamp, actor, request_id, action, object, object_id, old, new) \
         VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![audit.actor, audit.request_id, audit.action, audit.object, id, audit.old, audit.new],
    )?;
    Ok(())
}

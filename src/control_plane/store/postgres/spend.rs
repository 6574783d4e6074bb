//! The sums of days.

use tokio_postgres::{Client, Row};

use crate::control_plane::store::log_sql::Dialect;
use crate::control_plane::store::logs::spend;
use crate::control_plane::store::logs::{LedgerRow, Recost, Spend, SpendKey, SpendQuery, SpendSums};
use crate::control_plane::store::postgres::explain::QueryError;
use crate::control_plane::store::postgres::statement::{AT_ONCE, values};
use crate::control_plane::store::spend_sql;

pub(super) async fn add(client: &mut Client, mut rows: Vec<(SpendKey, SpendSums)>) -> Result<(), QueryError> {
    // Rows are locked in one order, so that no two gateways wait for each other.
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let transaction = client.transaction().await?;
    for rows in rows.chunks(AT_ONCE) {
        let statement = spend_sql::add(Dialect::Postgres, rows);
        transaction.execute_typed(&statement.sql, &values(&statement)).await?;
    }
    Ok(transaction.commit().await?)
}

pub(super) async fn read(client: &Client, query: &SpendQuery) -> Result<Vec<Spend>, QueryError> {
    let select = spend_sql::select(Dialect::Postgres, query);
    let found = client.query_typed(&select.sql, &values(&select)).await?;
    let read = |row: &Row| -> Result<Spend, tokio_postgres::Error> {
        // Over no row there is no sum.
        let sums = SpendSums::read(|at| {
            Ok::<_, tokio_postgres::Error>(row.try_get::<_, Option<i64>>(at + 2)?.unwrap_or_default())
        })?;
        Ok(Spend { group: row.try_get(0)?, day: row.try_get(1)?, sums })
    };
    let rows = found.iter().map(read).collect::<Result<_, _>>()?;
    Ok(spend::arrange(query, rows))
}

pub(super) async fn ledger(client: &Client, from: i64, to: i64) -> Result<Vec<LedgerRow>, QueryError> {
    let mut all: Vec<LedgerRow> = Vec::new();
    loop {
        let after =
            all.last().map_or((from.saturating_sub(1), "~".to_owned()), |row| (row.key.day, row.digest.clone()));
        let select = spend_sql::ledger(Dialect::Postgres, (after.0, &after.1), to);
        let found = client.query_typed(&select.sql, &values(&select)).await?;
        for row in &found {
            all.push(spend::ledger_row(row.try_get(0)?, |at| row.try_get(at), |at| row.try_get(at))?);
        }
        if (found.len() as i64) < spend::LEDGER_PAGE {
            return Ok(all);
        }
    }
}

pub(super) async fn recost(client: &mut Client, changes: &[Recost]) -> Result<(), QueryError> {
    let transaction = client.transaction().await?;
    for change in changes {
        let statement = spend_sql::recost(Dialect::Postgres, change);
        transaction.execute_typed(&statement.sql, &values(&statement)).await?;
    }
    Ok(transaction.commit().await?)
}

pub(super) async fn forget(client: &Client, day: i64) -> Result<u64, QueryError> {
    let mut count = 0;
    for statement in spend_sql::forget(Dialect::Postgres, day) {
        count = client.execute_typed(&statement.sql, &values(&statement)).await?;
    }
    Ok(count)
}

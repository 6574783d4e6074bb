//! The sums of days.

use rusqlite::{Connection, Row, TransactionBehavior};

use crate::control_plane::store::log_sql::Dialect;
use crate::control_plane::store::logs::spend;
use crate::control_plane::store::logs::{LedgerRow, Recost, Spend, SpendKey, SpendQuery, SpendSums};
use crate::control_plane::store::spend_sql;
use crate::control_plane::store::sqlite::statement::values;

pub(super) fn add(connection: &mut Connection, rows: &[(SpendKey, SpendSums)]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(first) = rows.first() {
        // The same statement for each row.
        let sql = spend_sql::add(Dialect::Sqlite, std::slice::from_ref(first)).sql;
        let mut prepared = transaction.prepare(&sql)?;
        for row in rows {
            prepared.execute(values(&spend_sql::add(Dialect::Sqlite, std::slice::from_ref(row))))?;
        }
    }
    transaction.commit()
}

pub(super) fn read(connection: &Connection, query: &SpendQuery) -> rusqlite::Result<Vec<Spend>> {
    let select = spend_sql::select(Dialect::Sqlite, query);
    let mut prepared = connection.prepare(&select.sql)?;
    let read = |row: &Row<'_>| {
        // Over no row there is no sum.
        let column = |at: usize| row.get::<_, Option<i64>>(at + 2).map(Option::unwrap_or_default);
        let sums = SpendSums::read(column)?;
        Ok(Spend { group: row.get(0)?, day: row.get(1)?, sums })
    };
    let rows = prepared.query_map(values(&select), read)?.collect::<rusqlite::Result<_>>()?;
    Ok(spend::arrange(query, rows))
}

pub(super) fn ledger(connection: &Connection, from: i64, to: i64) -> rusqlite::Result<Vec<LedgerRow>> {
    let mut all: Vec<LedgerRow> = Vec::new();
    loop {
        let after =
            all.last().map_or((from.saturating_sub(1), "~".to_owned()), |row| (row.key.day, row.digest.clone()));
        let select = spend_sql::ledger(Dialect::Sqlite, (after.0, &after.1), to);
        let mut prepared = connection.prepare(&select.sql)?;
        let read = |row: &Row<'_>| spend::ledger_row(row.get(0)?, |at| row.get(at), |at| row.get(at));
        let before = all.len();
        for row in prepared.query_map(values(&select), read)? {
            all.push(row?);
        }
        if ((all.len() - before) as i64) < spend::LEDGER_PAGE {
            return Ok(all);
        }
    }
}

pub(super) fn recost(connection: &mut Connection, changes: &[Recost]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        let statement = spend_sql::recost(Dialect::Sqlite, change);
        transaction.execute(&statement.sql, values(&statement))?;
    }
    transaction.commit()
}

pub(super) fn forget(connection: &Connection, day: i64) -> rusqlite::Result<u64> {
    let mut count = 0;
    for statement in spend_sql::forget(Dialect::Sqlite, day) {
        count = connection.execute(&statement.sql, values(&statement))?;
    }
    Ok(count as u64)
}

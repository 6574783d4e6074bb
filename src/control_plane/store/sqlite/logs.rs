//! Logs and prices: on a thread and a connection of their own, so that a long look into the logs
//! holds up no change of the configuration.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params_from_iter};

use crate::control_plane::store::error::{Answer, Error};
use crate::control_plane::store::hours_sql;
use crate::control_plane::store::log_sql as sql;
use crate::control_plane::store::log_sql::Dialect;
use crate::control_plane::store::logs::{
    Column, Filter, Hour, Kind, LedgerRow, Line, Listing, Query, Recost, Spend, SpendKey, SpendQuery, SpendSums, Stats,
    Sum, Summary, Table, Tables, Value, Which,
};
use crate::control_plane::store::sqlite::changes::FileWatch;
use crate::control_plane::store::sqlite::statement::values;
use crate::control_plane::store::sqlite::thread::{Sqlite, Thread};
use crate::control_plane::store::sqlite::{file, spend};

/// Returns a row of `table`; a flag is a number there.
fn line(row: &Row<'_>, table: &Table) -> rusqlite::Result<Line> {
    let cell = |(at, column): (usize, &Column)| -> rusqlite::Result<Value> {
        let value: Value = row.get(at + 1)?;
        Ok(match (column.kind, value) {
            (Kind::Flag, Value::Number(number)) => Value::Flag(number != 0),
            (_, value) => value,
        })
    };
    Ok((row.get(0)?, table.columns.iter().enumerate().map(cell).collect::<rusqlite::Result<_>>()?))
}

fn insert(connection: &mut Connection, table: &'static Table, rows: &[Vec<Value>]) -> rusqlite::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        // The same statement for each row: values stand in the order of the columns.
        let statement = sql::insert(Dialect::Sqlite, table, std::slice::from_ref(first));
        let mut prepared = transaction.prepare(&statement.sql)?;
        for row in rows {
            prepared.execute(params_from_iter(row))?;
        }
    }
    for statement in hours_sql::add(Dialect::Sqlite, table, rows) {
        transaction.execute(&statement.sql, values(&statement))?;
    }
    transaction.commit()
}

fn list(connection: &Connection, query: &Query) -> rusqlite::Result<Listing> {
    let count = sql::count(Dialect::Sqlite, query);
    let total = connection.query_row(&count.sql, values(&count), |row| row.get(0))?;
    if query.is_behind(total) {
        return Ok(Listing { total, lines: Vec::new() });
    }
    let list = sql::list(Dialect::Sqlite, query, total);
    let mut prepared = connection.prepare(&list.sql)?;
    let lines = prepared.query_map(values(&list), |row| line(row, query.table))?.collect::<rusqlite::Result<_>>()?;
    Ok(Listing { total, lines })
}

fn stats(connection: &Connection, filter: &Filter) -> rusqlite::Result<Stats> {
    let totals = sql::totals(Dialect::Sqlite, filter);
    let groups = |column| -> rusqlite::Result<Vec<(String, i64)>> {
        let groups = sql::groups(Dialect::Sqlite, filter, column);
        let mut prepared = connection.prepare(&groups.sql)?;
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        prepared.query_map(values(&groups), read)?.collect()
    };
    let (by_provider, by_model, by_status) =
        (groups("provider_name")?, groups("model_requested")?, groups("status_code")?);
    let histogram = |column| -> rusqlite::Result<Vec<(i64, i64)>> {
        let histogram = sql::histogram(Dialect::Sqlite, filter, column);
        let mut prepared = connection.prepare(&histogram.sql)?;
        prepared.query_map(values(&histogram), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let (durations, ttfts) = (histogram("total_duration_ms")?, histogram("ttft_ms")?);
    connection.query_row(&totals.sql, values(&totals), |row| {
        Ok(Stats {
            durations,
            ttfts,
            requests: row.get(0)?,
            errors: row.get(1)?,
            input_tokens: row.get(2)?,
            output_tokens: row.get(3)?,
            cost: row.get(4)?,
            duration_ms: row.get(5)?,
            ttft_ms: row.get(6)?,
            by_provider,
            by_model,
            by_status,
        })
    })
}

fn hours(connection: &Connection, filter: &Filter) -> rusqlite::Result<Vec<Hour>> {
    let hours = sql::hours(Dialect::Sqlite, filter);
    let mut prepared = connection.prepare(&hours.sql)?;
    let read = |row: &Row<'_>| {
        Ok(Hour {
            begin: row.get(0)?,
            requests: row.get(1)?,
            errors: row.get(2)?,
            input_tokens: row.get(3)?,
            output_tokens: row.get(4)?,
            cost: row.get(5)?,
        })
    };
    prepared.query_map(values(&hours), read)?.collect()
}

fn summary(connection: &Connection, from: i64) -> rusqlite::Result<Summary> {
    let mut summary = Summary::default();
    let totals = hours_sql::totals(Dialect::Sqlite, from);
    let mut prepared = connection.prepare(&totals.sql)?;
    let mut rows = prepared.query(values(&totals))?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        summary.totals.extend(Sum::of(&name).map(|sum| row.get(1).map(|n| (sum, n))).transpose()?);
    }
    let by_hour = hours_sql::by_hour(Dialect::Sqlite, from);
    let mut prepared = connection.prepare(&by_hour.sql)?;
    let mut rows = prepared.query(values(&by_hour))?;
    while let Some(row) = rows.next()? {
        let (hour, name): (i64, String) = (row.get(0)?, row.get(1)?);
        summary.hours.extend(Sum::of(&name).map(|sum| row.get(2).map(|n| (hour, sum, n))).transpose()?);
    }
    Ok(summary)
}

impl Sqlite {
    /// The thread of this, which is started when it is first wanted.
    fn side(&self) -> Result<&Thread, Error> {
        if let Some(thread) = self.side.get() {
            return Ok(thread);
        }
        // A failure is not kept: the disk may have room by the next time.
        let thread = Thread::start(&self.path, "store-tables", file::side(&self.path))?;
        Ok(self.side.get_or_init(|| thread))
    }

    fn on_side<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer<'_, T> {
        match self.side() {
            Ok(thread) => thread.run(work),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}

impl Tables for Sqlite {
    fn insert(&self, table: &'static Table, rows: Vec<Vec<Value>>) -> Answer<'_, ()> {
        self.on_side(move |connection| insert(connection, table, &rows))
    }

    fn list(&self, query: Query) -> Answer<'_, Listing> {
        self.on_side(move |connection| list(connection, &query))
    }

    fn get(&self, table: &'static Table, id: i64) -> Answer<'_, Option<Line>> {
        self.on_side(move |connection| {
            let get = sql::get(Dialect::Sqlite, table, id);
            connection.query_row(&get.sql, values(&get), |row| line(row, table)).optional()
        })
    }

    fn remove(&self, table: &'static Table, which: Which) -> Answer<'_, u64> {
        self.on_side(move |connection| {
            let remove = sql::remove(Dialect::Sqlite, table, &which);
            if let Some(forget) = hours_sql::forget_with(Dialect::Sqlite, table, &which) {
                connection.execute(&forget.sql, values(&forget))?;
            }
            connection.execute(&remove.sql, values(&remove)).map(|count| count as u64)
        })
    }

    fn written(&self) -> Answer<'_, ()> {
        let mut files = FileWatch::new(&self.path);
        Box::pin(async move {
            files.written().await;
            Ok(())
        })
    }

    fn stats(&self, filter: Filter) -> Answer<'_, Stats> {
        self.on_side(move |connection| stats(connection, &filter))
    }

    fn summary(&self, from: i64) -> Answer<'_, Summary> {
        self.on_side(move |connection| summary(connection, from))
    }

    fn hours(&self, filter: Filter) -> Answer<'_, Vec<Hour>> {
        self.on_side(move |connection| hours(connection, &filter))
    }

    fn add_spend(&self, rows: Vec<(SpendKey, SpendSums)>) -> Answer<'_, ()> {
        self.on_side(move |connection| spend::add(connection, &rows))
    }

    fn spend(&self, query: SpendQuery) -> Answer<'_, Vec<Spend>> {
        self.on_side(move |connection| spend::read(connection, &query))
    }

    fn ledger(&self, from: i64, to: i64) -> Answer<'_, Vec<LedgerRow>> {
        self.on_side(move |connection| spend::ledger(connection, from, to))
    }

    fn recost(&self, changes: Vec<Recost>) -> Answer<'_, ()> {
        self.on_side(move |connection| spend::recost(connection, &changes))
    }

    fn forget_spend(&self, day: i64) -> Answer<'_, u64> {
        self.on_side(move |connection| spend::forget(connection, day))
    }
}

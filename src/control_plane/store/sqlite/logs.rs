//! Logs and prices: on a thread and a connection of their own, so that a long look into the logs
//! holds up no change of the configuration.

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params_from_iter};

use crate::control_plane::store::error::{Answer, Error};
use crate::control_plane::store::hours_sql;
use crate::control_plane::store::log_search::{self, SEARCHED, Search, parts};
use crate::control_plane::store::log_sql as sql;
use crate::control_plane::store::log_sql::{AccessPath, Dialect, Statement};
use crate::control_plane::store::logs::{
    COUNTED, Column, Cursor, Filter, Hour, Kind, LedgerRow, Line, Listing, Query, Recost, RequestRow, Row as _, Spend,
    SpendKey, SpendQuery, SpendSums, Stats, Sum, Summary, SummaryQuery, Table, Tables, Value, Which,
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

/// The rows that fit a part of a filter are counted up to this number. The ids of a part that this
/// many rows fit are not collected.
const COMPARED: i64 = 150_000;

/// How the rows of a list are found.
enum Access {
    /// By indexes that lead to few rows.
    Path(AccessPath),
    /// By a search through the times.
    Search,
}

/// Returns how the rows of a query are found. SQLite takes one index of several, and reads each row
/// that it leads to: of two conditions that many rows fit, and hardly any both, that would be many
/// for little. So the ids of each part that fewer than `compared` rows fit are collected, which is
/// what bounds the memory and the rows that are read; of a tag or a text, fewer rows must have any.
/// Where more rows fit each part, a list by time is searched in slices. In another order SQLite has
/// to find all rows that fit.
fn access(connection: &Connection, query: &Query, compared: i64) -> rusqlite::Result<Access> {
    let filter = &query.filter;
    let parts = parts(filter);
    let is_one = filter.conditions() == parts.len() && parts.len() < 2;
    let has_id = filter.equal.iter().any(|(column, _)| column.name == "request_id");
    // The indexes of tags and messages have more rows than those that fit.
    let is_exact = |part: &Filter| part.tag.is_none() && part.containing.is_empty();
    if (is_one && is_exact(filter)) || has_id || query.table.name != RequestRow::TABLE.name {
        return Ok(Access::Path(AccessPath::Default));
    }
    let count = |statement: Statement| connection.query_row(&statement.sql, values(&statement), |row| row.get(0));
    let has_others = parts.len() > 1;
    let mut few = Vec::new();
    for part in parts {
        if !is_exact(&part) {
            let read: i64 = count(sql::count_read(Dialect::Sqlite, query.table, &part, compared))?;
            if read >= compared {
                continue;
            }
            if is_one {
                return Ok(Access::Path(AccessPath::Default));
            }
        }
        match count(sql::count_part(Dialect::Sqlite, query.table, &part, compared))? {
            ..=COUNTED if has_others => return Ok(Access::Path(AccessPath::ByIds(part))),
            count if count < compared => few.push((count, part)),
            _ => {}
        }
    }
    // An index is walked through faster than its ids are collected.
    few.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    let mut few = few.into_iter().map(|(_, part)| part);
    Ok(match (few.next(), few.collect::<Vec<_>>()) {
        (None, _) if query.sort.kind == Kind::Time => Access::Search,
        (None, _) => Access::Path(AccessPath::Default),
        (Some(_), _) if !has_others => Access::Path(AccessPath::Default),
        (Some(part), others) if others.is_empty() => Access::Path(AccessPath::ByIds(part)),
        (Some(first), others) => Access::Path(AccessPath::Intersection(first, others)),
    })
}

fn list(connection: &Connection, query: &Query) -> rusqlite::Result<Listing> {
    match access(connection, query, COMPARED)? {
        Access::Path(path) => list_by(connection, query, &path),
        Access::Search => search(connection, query, SEARCHED),
    }
}

fn list_by(connection: &Connection, query: &Query, path: &AccessPath) -> rusqlite::Result<Listing> {
    let count = sql::count(Dialect::Sqlite, query, path);
    let total = connection.query_row(&count.sql, values(&count), |row| row.get(0))?;
    if query.is_behind(total) {
        return Ok(Listing::complete(total, Vec::new()));
    }
    let list = sql::list(Dialect::Sqlite, query, total, path);
    Ok(Listing::complete(total, lines(connection, query, &list)?))
}

fn lines(connection: &Connection, query: &Query, statement: &Statement) -> rusqlite::Result<Vec<Line>> {
    let mut prepared = connection.prepare(&statement.sql)?;
    prepared.query_map(values(statement), |row| line(row, query.table))?.collect()
}

/// Searches through `most` rows, about.
fn search(connection: &Connection, query: &Query, most: i64) -> rusqlite::Result<Listing> {
    let mut search = Search::new(Dialect::Sqlite, query, most);
    while let Some(statement) = search.next() {
        let mut prepared = connection.prepare(&statement.sql)?;
        let row = |row: &Row<'_>| Ok(Cursor { id: row.get(0)?, timestamp: row.get(1)? });
        let rows: Vec<Cursor> = prepared.query_map(values(&statement), row)?.collect::<rusqlite::Result<_>>()?;
        search.take(rows.into_iter());
    }
    let found = search.finish();
    let lines = match found.ids.is_empty() {
        true => Vec::new(),
        false => lines(connection, query, &log_search::rows_of(Dialect::Sqlite, query, &found.ids))?,
    };
    Ok(found.listing(query, lines))
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

fn summary(connection: &Connection, query: SummaryQuery) -> rusqlite::Result<Summary> {
    let mut summary = Summary::default();
    let totals = hours_sql::totals(Dialect::Sqlite, query.from);
    let mut prepared = connection.prepare(&totals.sql)?;
    let mut rows = prepared.query(values(&totals))?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        summary.totals.extend(Sum::of(&name).map(|sum| row.get(1).map(|n| (sum, n))).transpose()?);
    }
    let by_step = hours_sql::by_step(Dialect::Sqlite, query);
    let mut prepared = connection.prepare(&by_step.sql)?;
    let mut rows = prepared.query(values(&by_step))?;
    while let Some(row) = rows.next()? {
        let (hour, name): (i64, String) = (row.get(0)?, row.get(1)?);
        summary.steps.extend(Sum::of(&name).map(|sum| row.get(2).map(|n| (hour, sum, n))).transpose()?);
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

    fn summary(&self, query: SummaryQuery) -> Answer<'_, Summary> {
        self.on_side(move |connection| summary(connection, query))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::store::logs::Start;

    /// 60,000 requests: every second of key `a`, every third of model `m`, every fourth at provider
    /// `p`, and none of key `a` at provider `q`.
    fn filled() -> (tempfile::TempDir, Connection) {
        let dir = tempfile::tempdir().unwrap();
        let (connection, _) = file::open(dir.path()).unwrap();
        connection
            .execute_batch(
                "INSERT INTO request_logs (timestamp, request_id, endpoint, credential_name, model_requested,
                     model_mapped, provider_name, provider_type, client_protocol, provider_protocol, status_code,
                     error_message, session, tags, is_streaming)
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
                 SELECT i * 1000, 'r' || i, '/v1/chat/completions', iif(i % 2 = 0, 'a', 'b' || i),
                     iif(i % 3 = 0, 'm', 'other'), 'm', iif(i % 4 = 0, 'p', iif(i % 4 = 1, 'q', 'r')), 'openai', 'openai',
                     'openai', iif(i % 5 = 0, 500, 200), iif(i % 5 = 0, 'failure ' || (i % 100), NULL),
                     iif(i % 1000 = 0, 's', NULL), iif(i % 4 = 0, ',t,', NULL), i % 2
                 FROM n",
            )
            .unwrap();
        (dir, connection)
    }

    fn equal(pairs: &[(&str, &str)]) -> Filter {
        let value = |(name, value): &(&str, &str)| {
            let value = value.parse().map_or_else(|_| Value::Text((*value).to_owned()), Value::Number);
            (RequestRow::column(name).unwrap(), value)
        };
        Filter { equal: pairs.iter().map(value).collect(), ..Filter::default() }
    }

    /// Whatever is found by several indexes is what a walk through all rows finds.
    #[test]
    fn conditions_together_find_what_fits_them_all() {
        let (_dir, connection) = filled();
        let tag = Some("t".to_owned());
        let containing = vec![(RequestRow::column("error_message").unwrap(), "FAILURE 4".to_owned())];
        let (from, to) = (Some(20_000_000), Some(40_000_000));
        // Each with the number of rows above which the ids of a part are not collected.
        let rows = [
            (equal(&[("credential_name", "a")]), COMPARED, "i % 2 = 0", "default"),
            (equal(&[("credential_name", "a"), ("provider_name", "q")]), COMPARED, "false", "intersection of 2"),
            (equal(&[("credential_name", "a"), ("provider_name", "q")]), 16_000, "false", "by ids"),
            (equal(&[("credential_name", "a"), ("provider_name", "q")]), 15_000, "false", "search"),
            (equal(&[("credential_name", "a"), ("model_requested", "m")]), COMPARED, "i % 6 = 0", "intersection of 2"),
            (equal(&[("credential_name", "a"), ("model_requested", "m")]), 16_000, "i % 6 = 0", "search"),
            (equal(&[("credential_name", "a"), ("is_streaming", "1")]), 16_000, "false", "search"),
            (equal(&[("credential_name", "a"), ("is_streaming", "0")]), COMPARED, "i % 2 = 0", "default"),
            (equal(&[("is_streaming", "1")]), COMPARED, "i % 2 = 1", "search"),
            (equal(&[("is_streaming", "1"), ("request_id", "r7")]), COMPARED, "i = 7", "default"),
            (
                equal(&[("credential_name", "a"), ("model_requested", "m"), ("status_code", "500")]),
                COMPARED,
                "i % 30 = 0",
                "intersection of 3",
            ),
            (equal(&[("credential_name", "a"), ("session", "s")]), COMPARED, "i % 1000 = 0", "by ids"),
            (equal(&[("credential_name", "b7"), ("status_code", "200")]), COMPARED, "i = 7", "by ids"),
            (Filter { tag: tag.clone(), ..Filter::default() }, COMPARED, "i % 4 = 0", "default"),
            (Filter { tag: tag.clone(), ..Filter::default() }, 15_000, "i % 4 = 0", "search"),
            (Filter { tag: Some("none".to_owned()), ..Filter::default() }, 15_000, "false", "search"),
            (
                Filter { containing: containing.clone(), ..Filter::default() },
                COMPARED,
                "i % 100 IN (40, 45)",
                "default",
            ),
            (Filter { containing: containing.clone(), ..Filter::default() }, 12_000, "i % 100 IN (40, 45)", "search"),
            (
                Filter { tag: tag.clone(), containing: containing.clone(), ..Filter::default() },
                12_000,
                "i % 100 = 40",
                "search",
            ),
            (
                Filter { tag: tag.clone(), failed: true, ..Filter::default() },
                COMPARED,
                "i % 20 = 0",
                "intersection of 2",
            ),
            (
                Filter { tag: tag.clone(), ..equal(&[("model_requested", "m")]) },
                COMPARED,
                "i % 12 = 0",
                "intersection of 2",
            ),
            (Filter { tag, ..equal(&[("model_requested", "m")]) }, 16_000, "i % 12 = 0", "by ids"),
            (
                Filter { containing, ..equal(&[("model_requested", "m"), ("credential_name", "a")]) },
                COMPARED,
                "i % 30 = 0 AND i % 100 = 40",
                "by ids",
            ),
            (
                Filter { from, to, ..equal(&[("model_requested", "m"), ("status_code", "200")]) },
                COMPARED,
                "i % 3 = 0 AND i % 5 <> 0 AND i BETWEEN 20000 AND 40000",
                "by ids",
            ),
        ];
        for (filter, compared, expected, expected_path) in rows {
            let sql = format!("SELECT i FROM (SELECT id AS i FROM request_logs) WHERE {expected} ORDER BY i DESC");
            let ids: Vec<i64> = connection
                .prepare(&sql)
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .map(Result::unwrap)
                .collect();
            for (sort, start) in [("timestamp", 0), ("total_tokens", 30)] {
                let query = Query {
                    table: RequestRow::TABLE,
                    filter: filter.clone(),
                    sort: RequestRow::column(sort).unwrap(),
                    descending: true,
                    start: Start::Skip(start),
                    take: 20,
                };
                let access = access(&connection, &query, compared).unwrap();
                let name = match &access {
                    Access::Path(AccessPath::Default) => "default".to_owned(),
                    Access::Path(AccessPath::ByIds(_)) => "by ids".to_owned(),
                    Access::Path(AccessPath::Intersection(_, others)) => {
                        format!("intersection of {}", others.len() + 1)
                    }
                    Access::Search => "search".to_owned(),
                };
                let is_search = expected_path == "search" && sort == "timestamp";
                let expected_path = if expected_path == "search" && !is_search { "default" } else { expected_path };
                assert_eq!(name, expected_path, "{expected} up to {compared}");
                let found = match access {
                    Access::Path(path) => list_by(&connection, &query, &path),
                    Access::Search => search(&connection, &query, SEARCHED),
                }
                .unwrap();
                assert!(!found.is_partial && found.searched_to.is_none());
                assert_eq!(found.total, (ids.len() as i64).min(COUNTED + 1), "{expected}");
                let found: Vec<i64> = found.lines.iter().map(|(id, _)| *id).collect();
                let page: Vec<i64> = ids.iter().skip(start as usize).take(21).copied().collect();
                assert_eq!(found, page, "{expected} by {sort}");
            }
        }
    }

    /// A search that ends early leads on from where it ended: all parts together have each row
    /// once, in order, whatever the slices and the bound are.
    #[test]
    fn parts_of_a_search_are_the_whole() {
        let (_dir, connection) = filled();
        // Many rows of one moment, more than a slice has.
        connection
            .execute_batch("UPDATE request_logs SET timestamp = 30000000 WHERE id BETWEEN 25000 AND 33000")
            .unwrap();
        let rows = [
            (equal(&[("credential_name", "a"), ("provider_name", "q")]), "false"),
            (equal(&[("credential_name", "a"), ("session", "s")]), "i % 1000 = 0"),
            (
                Filter {
                    from: Some(9_000_000),
                    to: Some(51_000_000),
                    ..equal(&[("status_code", "500"), ("model_requested", "m")])
                },
                "i % 15 = 0 AND i BETWEEN 9000 AND 51000",
            ),
        ];
        for (filter, expected) in rows {
            for (descending, order) in [(true, "DESC"), (false, "ASC")] {
                let sql = format!(
                    "SELECT i FROM (SELECT id AS i, timestamp AS t FROM request_logs) WHERE {expected} ORDER BY t {order}, i {order}"
                );
                let mut prepared = connection.prepare(&sql).unwrap();
                let ids: Vec<i64> = prepared.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
                let (mut seen, mut start, mut stops) = (Vec::new(), Start::Skip(0), 0);
                loop {
                    let query = Query {
                        table: RequestRow::TABLE,
                        filter: filter.clone(),
                        sort: RequestRow::column("timestamp").unwrap(),
                        descending,
                        start,
                        take: 20,
                    };
                    let found = search(&connection, &query, 9_000).unwrap();
                    seen.extend(found.lines.iter().take(20).map(|(id, _)| *id));
                    start = match (found.next(&query), found.searched_to) {
                        (Some(cursor), searched_to) => {
                            stops += i32::from(searched_to.is_some());
                            Start::After(cursor)
                        }
                        (None, searched_to) => {
                            assert_eq!(searched_to, None);
                            break;
                        }
                    };
                }
                assert_eq!(seen, ids, "{expected} {order}");
                assert!(stops >= 2, "{expected} {order}: the bound has ended {stops} searches");
            }
        }
    }
}

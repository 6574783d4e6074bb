//! Logs and prices, on two connections of their own: one writes and one reads, since a query over
//! many rows takes long.

use tokio_postgres::{Client, Row};

use crate::control_plane::store::error::Answer;
use crate::control_plane::store::hours_sql;
use crate::control_plane::store::log_search::{self, Search};
use crate::control_plane::store::log_sql as sql;
use crate::control_plane::store::log_sql::{AccessPath, Dialect, Statement};
use crate::control_plane::store::logs::{
    Cursor, Filter, Hour, Kind, LedgerRow, Line, Listing, Query, Recost, RequestRow, Row as _, Spend, SpendKey,
    SpendQuery, SpendSums, Stats, Sum, Summary, SummaryQuery, Table, Tables, Value, Which,
};
use crate::control_plane::store::postgres::connection::{READ_TIMEOUT, with_timeout};
use crate::control_plane::store::postgres::explain::QueryError;
use crate::control_plane::store::postgres::sessions::Postgres;
use crate::control_plane::store::postgres::spend;
use crate::control_plane::store::postgres::statement::{AT_ONCE, values};

fn line(row: &Row, table: &Table) -> Result<Line, tokio_postgres::Error> {
    let mut cells = Vec::with_capacity(table.columns.len());
    for (at, column) in table.columns.iter().enumerate() {
        let at = at + 1;
        let cell = match column.kind {
            Kind::Number | Kind::Time => row.try_get::<_, Option<i64>>(at)?.map(Value::Number),
            Kind::Real => row.try_get::<_, Option<f64>>(at)?.map(Value::Real),
            Kind::Text | Kind::Body | Kind::Json => row.try_get::<_, Option<String>>(at)?.map(Value::Text),
            Kind::Flag => row.try_get::<_, Option<bool>>(at)?.map(Value::Flag),
        };
        cells.push(cell.unwrap_or(Value::Null));
    }
    Ok((row.try_get(0)?, cells))
}

async fn insert(client: &mut Client, table: &'static Table, rows: &[Vec<Value>]) -> Result<(), QueryError> {
    let transaction = client.transaction().await?;
    for rows in rows.chunks(AT_ONCE) {
        let statement = sql::insert(Dialect::Postgres, table, rows);
        transaction.execute_typed(&statement.sql, &values(&statement)).await?;
    }
    for statement in hours_sql::add(Dialect::Postgres, table, rows) {
        transaction.execute_typed(&statement.sql, &values(&statement)).await?;
    }
    Ok(transaction.commit().await?)
}

async fn lines(client: &Client, table: &Table, statement: &Statement) -> Result<Vec<Line>, QueryError> {
    let found = client.query_typed(&statement.sql, &values(statement)).await?;
    Ok(found.iter().map(|row| line(row, table)).collect::<Result<_, _>>()?)
}

/// Rows that fit a condition are counted up to this number. If fewer fit one, its index leads.
const COMPARED: i64 = 50_000;
/// Rows of the log that one search reads, and up to one slice more. With 150,000 a page took up to
/// 350 ms (`tests/perf/page.py`), and the aim is 300.
const SEARCHED: i64 = 100_000;

async fn count(client: &Client, statement: &Statement) -> Result<i64, QueryError> {
    Ok(client.query_typed_one(&statement.sql, &values(statement)).await?.try_get(0)?)
}

/// Returns whether the rows of a list are found by a search through the times: if no condition
/// leads to few rows. Tags have an index that has just the rows that fit.
async fn needs_search(client: &Client, query: &Query) -> Result<bool, QueryError> {
    let filter = &query.filter;
    let parts = log_search::parts(filter);
    let is_one = filter.conditions() == parts.len() && parts.len() < 2 && filter.containing.is_empty();
    let has_id = filter.equal.iter().any(|(column, _)| column.name == "request_id");
    if is_one || has_id || query.sort.kind != Kind::Time || query.table.name != RequestRow::TABLE.name {
        return Ok(false);
    }
    for part in parts {
        let read = match part.containing.is_empty() {
            true => sql::count_part(Dialect::Postgres, query.table, &part, COMPARED),
            false => sql::count_read(Dialect::Postgres, query.table, &part, COMPARED),
        };
        if count(client, &read).await? < COMPARED {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn search(client: &Client, query: &Query) -> Result<Listing, QueryError> {
    let mut search = Search::new(Dialect::Postgres, query, SEARCHED);
    while let Some(statement) = search.next() {
        let rows = client.query_typed(&statement.sql, &values(&statement)).await?;
        let cursor = |row: &Row| -> Result<Cursor, tokio_postgres::Error> {
            Ok(Cursor { id: row.try_get(0)?, timestamp: row.try_get(1)? })
        };
        let rows: Vec<Cursor> = rows.iter().map(cursor).collect::<Result<_, _>>()?;
        search.take(rows.into_iter());
    }
    let found = search.finish();
    let lines = match found.ids.is_empty() {
        true => Vec::new(),
        false => lines(client, query.table, &log_search::rows_of(Dialect::Postgres, query, &found.ids)).await?,
    };
    Ok(found.listing(query, lines))
}

async fn list(client: &Client, query: &Query) -> Result<Listing, QueryError> {
    if needs_search(client, query).await? {
        return search(client, query).await;
    }
    let total = count(client, &sql::count(Dialect::Postgres, query, &AccessPath::Default)).await?;
    if query.is_behind(total) {
        return Ok(Listing::complete(total, Vec::new()));
    }
    let list = sql::list(Dialect::Postgres, query, total, &AccessPath::Default);
    Ok(Listing::complete(total, lines(client, query.table, &list).await?))
}

async fn summary(client: &Client, query: SummaryQuery) -> Result<Summary, QueryError> {
    let mut summary = Summary::default();
    let totals = hours_sql::totals(Dialect::Postgres, query.from);
    for row in client.query_typed(&totals.sql, &values(&totals)).await? {
        let sum = Sum::of(row.try_get(0)?);
        summary.totals.extend(sum.map(|sum| row.try_get(1).map(|n| (sum, n))).transpose()?);
    }
    let by_step = hours_sql::by_step(Dialect::Postgres, query);
    for row in client.query_typed(&by_step.sql, &values(&by_step)).await? {
        let (hour, sum) = (row.try_get(0)?, Sum::of(row.try_get(1)?));
        summary.steps.extend(sum.map(|sum| row.try_get(2).map(|n| (hour, sum, n))).transpose()?);
    }
    Ok(summary)
}

async fn groups(client: &Client, filter: &Filter, column: &str) -> Result<Vec<(String, i64)>, QueryError> {
    let groups = sql::groups(Dialect::Postgres, filter, column);
    let found = client.query_typed(&groups.sql, &values(&groups)).await?;
    Ok(found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, tokio_postgres::Error>>()?)
}

async fn histogram(client: &Client, filter: &Filter, column: &str) -> Result<Vec<(i64, i64)>, QueryError> {
    let histogram = sql::histogram(Dialect::Postgres, filter, column);
    let found = client.query_typed(&histogram.sql, &values(&histogram)).await?;
    Ok(found.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, tokio_postgres::Error>>()?)
}

async fn hours(client: &Client, filter: &Filter) -> Result<Vec<Hour>, QueryError> {
    let hours = sql::hours(Dialect::Postgres, filter);
    let found = client.query_typed(&hours.sql, &values(&hours)).await?;
    let read = |row: &Row| -> Result<Hour, tokio_postgres::Error> {
        Ok(Hour {
            begin: row.try_get(0)?,
            requests: row.try_get(1)?,
            errors: row.try_get(2)?,
            input_tokens: row.try_get(3)?,
            output_tokens: row.try_get(4)?,
            cost: row.try_get(5)?,
        })
    };
    Ok(found.iter().map(read).collect::<Result<_, _>>()?)
}

async fn stats(client: &Client, filter: &Filter) -> Result<Stats, QueryError> {
    let totals = sql::totals(Dialect::Postgres, filter);
    let row = client.query_typed_one(&totals.sql, &values(&totals)).await?;
    Ok(Stats {
        requests: row.try_get(0)?,
        errors: row.try_get(1)?,
        input_tokens: row.try_get(2)?,
        output_tokens: row.try_get(3)?,
        cost: row.try_get(4)?,
        duration_ms: row.try_get(5)?,
        ttft_ms: row.try_get(6)?,
        durations: histogram(client, filter, "total_duration_ms").await?,
        ttfts: histogram(client, filter, "ttft_ms").await?,
        by_provider: groups(client, filter, "provider_name").await?,
        by_model: groups(client, filter, "model_requested").await?,
        by_status: groups(client, filter, "status_code").await?,
    })
}

impl Tables for Postgres {
    fn insert(&self, table: &'static Table, rows: Vec<Vec<Value>>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_writer).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, insert(&mut guarded.client, table, &rows)).await;
            guarded.settle(answer)
        })
    }

    fn list(&self, query: Query) -> Answer<'_, Listing> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_reader).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, list(&guarded.client, &query)).await;
            guarded.settle(answer)
        })
    }

    fn get(&self, table: &'static Table, id: i64) -> Answer<'_, Option<Line>> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_reader).await?;
            let get = sql::get(Dialect::Postgres, table, id);
            let answer = with_timeout(&self.access, READ_TIMEOUT, lines(&guarded.client, table, &get)).await;
            guarded.settle(answer).map(|mut lines| lines.pop())
        })
    }

    fn remove(&self, table: &'static Table, which: Which) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_writer).await?;
            let remove = sql::remove(Dialect::Postgres, table, &which);
            let forget = hours_sql::forget_with(Dialect::Postgres, table, &which);
            let work = async {
                if let Some(forget) = &forget {
                    guarded.client.execute_typed(&forget.sql, &values(forget)).await?;
                }
                Ok(guarded.client.execute_typed(&remove.sql, &values(&remove)).await?)
            };
            let answer = with_timeout(&self.access, READ_TIMEOUT, work).await;
            guarded.settle(answer)
        })
    }

    fn stats(&self, filter: Filter) -> Answer<'_, Stats> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_reader).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, stats(&guarded.client, &filter)).await;
            guarded.settle(answer)
        })
    }

    fn summary(&self, query: SummaryQuery) -> Answer<'_, Summary> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_reader).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, summary(&guarded.client, query)).await;
            guarded.settle(answer)
        })
    }

    fn hours(&self, filter: Filter) -> Answer<'_, Vec<Hour>> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_reader).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, hours(&guarded.client, &filter)).await;
            guarded.settle(answer)
        })
    }

    fn add_spend(&self, rows: Vec<(SpendKey, SpendSums)>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_writer).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, spend::add(&mut guarded.client, rows)).await;
            guarded.settle(answer)
        })
    }

    fn spend(&self, query: SpendQuery) -> Answer<'_, Vec<Spend>> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_reader).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, spend::read(&guarded.client, &query)).await;
            guarded.settle(answer)
        })
    }

    fn ledger(&self, from: i64, to: i64) -> Answer<'_, Vec<LedgerRow>> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_reader).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, spend::ledger(&guarded.client, from, to)).await;
            guarded.settle(answer)
        })
    }

    fn recost(&self, changes: Vec<Recost>) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_writer).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, spend::recost(&mut guarded.client, &changes)).await;
            guarded.settle(answer)
        })
    }

    fn forget_spend(&self, day: i64) -> Answer<'_, u64> {
        Box::pin(async move {
            let mut guarded = self.other(&self.log_writer).await?;
            let answer = with_timeout(&self.access, READ_TIMEOUT, spend::forget(&guarded.client, day)).await;
            guarded.settle(answer)
        })
    }
}

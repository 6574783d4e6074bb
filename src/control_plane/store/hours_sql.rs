//! The statements for the sums of finished requests by the hour.

use crate::control_plane::store::log_sql::{Dialect, Statement};
use crate::control_plane::store::logs::hours::{Sum, hour_of, sums};
use crate::control_plane::store::logs::{Kind, RequestRow, Row, Step, SummaryQuery, Table, Value, Which};

/// Rows in one statement.
const AT_ONCE: usize = 1000;

/// Returns the statements that add rows of a table to the sums; none for rows of another table.
pub(super) fn add(dialect: Dialect, table: &Table, rows: &[Vec<Value>]) -> Vec<Statement> {
    // In one order for every gateway, so that two of them never wait for each other's rows.
    let sums: Vec<_> = sums(table, rows).into_iter().collect();
    sums.chunks(AT_ONCE).map(|part| upsert(dialect, part)).collect()
}

fn upsert(dialect: Dialect, sums: &[((i64, Sum), i64)]) -> Statement {
    let mut statement = Statement::new("INSERT INTO log_hours (hour, name, n) VALUES ");
    for (at, ((hour, sum), n)) in sums.iter().enumerate() {
        statement.push(if at == 0 { "(" } else { ", (" });
        statement.value(dialect, Kind::Number, Value::Number(*hour));
        statement.push(", ");
        statement.value(dialect, Kind::Text, Value::Text(sum.name()));
        statement.push(", ");
        statement.value(dialect, Kind::Number, Value::Number(*n));
        statement.push(")");
    }
    statement.push(" ON CONFLICT (hour, name) DO UPDATE SET n = log_hours.n + excluded.n");
    statement
}

/// Name and sum since an hour, in seconds since 1970.
pub(super) fn totals(dialect: Dialect, from: i64) -> Statement {
    let mut statement = Statement::new("SELECT name, CAST(sum(n) AS BIGINT) FROM log_hours WHERE hour >= ");
    statement.value(dialect, Kind::Number, Value::Number(from));
    statement.push(" GROUP BY name");
    statement
}

/// Begin of an hour or day, name and sum, in order of time. [`Step::PlainHour`] has the sums of
/// [`Sum::in_hours`] alone.
pub(super) fn by_step(dialect: Dialect, query: SummaryQuery) -> Statement {
    let names: Vec<_> = Sum::in_hours().iter().map(|sum| format!("'{}'", sum.name())).collect();
    let classes = match query.step {
        Step::PlainHour => "",
        Step::Hour | Step::Day => " OR name LIKE 'duration_ms:%' OR name LIKE 'ttft_ms:%'",
    };
    let seconds = query.step.seconds();
    let columns = format!("hour / {seconds} * {seconds}, name, CAST(sum(n) AS BIGINT)");
    let mut statement = Statement::new(format!("SELECT {columns} FROM log_hours WHERE hour >= "));
    statement.value(dialect, Kind::Number, Value::Number(query.from));
    statement.push(&format!(" AND (name IN ({}){classes}) GROUP BY 1, 2 ORDER BY 1", names.join(", ")));
    statement
}

/// Removes the hours whose rows are removed since they are old.
pub(super) fn forget_with(dialect: Dialect, table: &Table, which: &Which) -> Option<Statement> {
    let Which::Before(moment, _) = which else { return None };
    if table.name != RequestRow::TABLE.name {
        return None;
    }
    let mut statement = Statement::new("DELETE FROM log_hours WHERE hour < ");
    statement.value(dialect, Kind::Number, Value::Number(hour_of(*moment)));
    Some(statement)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::store::logs::ErrorRow;

    #[test]
    fn sums_are_added_in_one_statement() {
        let rows = [RequestRow { timestamp: 5, input_tokens: 3, ..RequestRow::default() }.values()];
        let statements = add(Dialect::Postgres, RequestRow::TABLE, &rows);
        let [statement] = statements.as_slice() else { panic!("{statements:?}") };
        let end =
            "VALUES ($1, $2, $3), ($4, $5, $6) ON CONFLICT (hour, name) DO UPDATE SET n = log_hours.n + excluded.n";
        assert!(statement.sql.ends_with(end), "{}", statement.sql);
        assert_eq!(statement.values.len(), 6);
    }

    #[test]
    fn only_old_rows_take_their_sums_with_them() {
        let forget =
            |table, which: &Which| forget_with(Dialect::Sqlite, table, which).map(|statement| statement.values);
        let hour = vec![(Kind::Number, Value::Number(3600))];
        assert_eq!(forget(RequestRow::TABLE, &Which::Before(7_199_999_999, 10)), Some(hour));
        assert_eq!(forget(RequestRow::TABLE, &Which::Ids(vec![1])), None);
        assert_eq!(forget(ErrorRow::TABLE, &Which::Before(7_199_999_999, 10)), None);
    }
}

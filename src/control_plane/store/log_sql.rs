//! The statements for the tables of logs, in the dialect of either store. They differ in how times,
//! JSON and the widths of numbers are written, and in little else.
//!
//! Names of tables and columns come from `logs/rows.rs` alone; values are always parameters.

use std::fmt::Write;

use crate::control_plane::store::logs::hours::DURATION_BOUNDS;
use crate::control_plane::store::logs::{
    COUNTED, Column, Cursor, Filter, GROUPS, Kind, Query, Start, Table, Value, Which,
};

/// The database that a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// How the rows of a filter are found.
#[derive(Debug, Default)]
pub(crate) enum AccessPath {
    /// By the index that the database chooses.
    #[default]
    Default,
    /// By the ids that the index of this part of the filter has.
    ByIds(Filter),
    /// By the ids that the index of the first part of the filter has, and those of every other part
    /// too.
    Intersection(Filter, Vec<Filter>),
}

/// A statement with the values of its parameters.
#[derive(Debug, Default)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    pub(crate) values: Vec<(Kind, Value)>,
}

impl Statement {
    pub(super) fn new(sql: impl Into<String>) -> Statement {
        Statement { sql: sql.into(), values: Vec::new() }
    }

    pub(super) fn push(&mut self, sql: &str) {
        self.sql.push_str(sql);
    }

    /// A parameter of this kind, as an expression.
    pub(super) fn value(&mut self, dialect: Dialect, kind: Kind, value: Value) {
        self.values.push((kind, value));
        let at = self.values.len();
        // Writing to a String does not fail.
        let _ = match (dialect, kind) {
            (Dialect::Postgres, Kind::Time) => write!(self.sql, "to_timestamp(${at}::float8 / 1e6)"),
            (Dialect::Postgres, Kind::Json) => write!(self.sql, "${at}::jsonb"),
            _ => write!(self.sql, "${at}"),
        };
    }

    pub(super) fn filter(&mut self, dialect: Dialect, filter: &Filter) {
        self.filter_of(dialect, filter, false);
    }

    /// The table with the rows of a filter.
    pub(super) fn rows(&mut self, dialect: Dialect, table: &Table, filter: &Filter, path: &AccessPath) {
        let (first, others) = match path {
            AccessPath::Default => {
                self.push(table.name);
                return self.filter(dialect, filter);
            }
            AccessPath::ByIds(part) => (part, &[][..]),
            AccessPath::Intersection(first, others) => (first, &others[..]),
        };
        self.push(table.name);
        // In SQLite, ids lead to rows without an index, and the sign keeps it from looking up each
        // of the ids of the other parts. PostgreSQL has no such words, and plans by statistics.
        let (unindexed, sign) = if dialect == Dialect::Sqlite { (" NOT INDEXED", "+") } else { ("", "") };
        self.push(unindexed);
        self.filter(dialect, filter);
        self.push(&format!(" AND id IN (SELECT id FROM {}", table.name));
        self.filter(dialect, first);
        for part in others {
            self.push(&format!(" AND {sign}id IN (SELECT id FROM {}", table.name));
            self.filter(dialect, part);
            self.push(")");
        }
        self.push(")");
    }

    /// `is_dense`: many rows fit, so that they are read in their order and not looked up.
    fn filter_of(&mut self, dialect: Dialect, filter: &Filter, is_dense: bool) {
        self.push(" WHERE true");
        for (column, value) in &filter.equal {
            self.push(&format!(" AND {} = ", column.name));
            self.value(dialect, column.kind, value.clone());
        }
        for (comparison, moment) in [(">=", filter.from), ("<=", filter.to)] {
            if let Some(moment) = moment {
                self.push(&format!(" AND timestamp {comparison} "));
                self.value(dialect, Kind::Time, Value::Number(moment));
            }
        }
        for (column, text) in &filter.containing {
            // The first condition is that of a partial index.
            let like = if dialect == Dialect::Postgres { "ILIKE" } else { "LIKE" };
            self.push(&format!(" AND {0} IS NOT NULL AND {0} {like} ", column.name));
            self.value(dialect, Kind::Text, Value::Text(containing(text)));
            self.push(" ESCAPE '!'");
        }
        if let Some(tag) = &filter.tag {
            self.tag(dialect, tag, is_dense);
        }
        if filter.failed {
            self.push(&format!(" AND {FAILED}"));
        }
    }

    /// The condition of the partial index that has all rows which a filter may fit, if one has.
    pub(super) fn domain(&mut self, filter: &Filter) {
        if let Some((column, _)) = filter.containing.first() {
            self.push(&format!(" AND {} IS NOT NULL", column.name));
        } else if filter.failed {
            self.push(&format!(" AND {FAILED}"));
        } else if filter.tag.is_some() {
            self.push(" AND tags IS NOT NULL");
        }
    }

    /// PostgreSQL has an index over the tags themselves beside that of rows with tags, and takes
    /// the one whose expression stands here.
    fn tag(&mut self, dialect: Dialect, tag: &str, is_dense: bool) {
        self.push(" AND tags IS NOT NULL AND ");
        if dialect == Dialect::Postgres && !is_dense {
            self.push("string_to_array(tags, ',') @> ARRAY[");
            self.value(dialect, Kind::Text, Value::Text(tag.to_owned()));
            return self.push("]");
        }
        self.push(if dialect == Dialect::Postgres { "strpos(tags, " } else { "instr(tags, " });
        self.value(dialect, Kind::Text, Value::Text(format!(",{tag},")));
        self.push(") > 0");
    }

    /// Rows behind this one in a list that is sorted by time.
    pub(super) fn behind(&mut self, dialect: Dialect, descending: bool, cursor: Cursor) {
        let than = if descending { "<" } else { ">" };
        let moment = (Kind::Time, Value::Number(cursor.timestamp));
        // The first condition is one of an index by time alone.
        self.push(&format!(" AND timestamp {than}= "));
        self.value(dialect, moment.0, moment.1.clone());
        self.push(&format!(" AND (timestamp, id) {than} ("));
        self.value(dialect, moment.0, moment.1);
        self.push(", ");
        self.value(dialect, Kind::Number, Value::Number(cursor.id));
        self.push(")");
    }
}

/// Returns the pattern of `LIKE` for texts that contain this one, with `!` as its escape.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

const FAILED: &str = "(status_code >= 400 OR error_category IS NOT NULL)";

/// A column as it is read. `NULL` for what lists leave out.
pub(crate) fn read(dialect: Dialect, column: &Column, whole: bool) -> String {
    let name = column.name;
    if !whole && column.kind.is_long() {
        return "NULL".to_owned();
    }
    match (dialect, column.kind) {
        (Dialect::Sqlite, _) | (_, Kind::Flag) => name.to_owned(),
        (_, Kind::Number) => format!("{name}::bigint"),
        (_, Kind::Real) => format!("{name}::float8"),
        (_, Kind::Text | Kind::Body | Kind::Json) => format!("{name}::text"),
        (_, Kind::Time) => format!("(extract(epoch FROM {name}) * 1000000)::bigint"),
    }
}

pub(super) fn select(dialect: Dialect, table: &Table, whole: bool) -> Statement {
    let columns: Vec<_> = table.columns.iter().map(|column| read(dialect, column, whole)).collect();
    let id = if dialect == Dialect::Postgres { "id::bigint" } else { "id" };
    Statement::new(format!("SELECT {id}, {} FROM {}", columns.join(", "), table.name))
}

/// Rows of any number at once. Not more than 500: a statement has at most 65,535 parameters.
pub(crate) fn insert(dialect: Dialect, table: &Table, rows: &[Vec<Value>]) -> Statement {
    let mut statement = insert_all(dialect, table, rows);
    if let Some(key) = table.key {
        let names = table.columns.iter().map(|column| column.name).filter(|name| *name != key);
        let set: Vec<_> = names.map(|name| format!("{name} = excluded.{name}")).collect();
        statement.push(&format!(" ON CONFLICT ({key}) DO UPDATE SET {}", set.join(", ")));
    }
    statement
}

/// As [`insert`]; a row whose key is there stays as it is.
pub(crate) fn insert_new(dialect: Dialect, table: &Table, rows: &[Vec<Value>]) -> Statement {
    let mut statement = insert_all(dialect, table, rows);
    statement.push(" ON CONFLICT DO NOTHING");
    statement
}

fn insert_all(dialect: Dialect, table: &Table, rows: &[Vec<Value>]) -> Statement {
    let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
    let mut statement = Statement::new(format!("INSERT INTO {} ({}) VALUES ", table.name, names.join(", ")));
    for (at, row) in rows.iter().enumerate() {
        statement.push(if at == 0 { "(" } else { ", (" });
        for (at, (column, value)) in table.columns.iter().zip(row).enumerate() {
            statement.push(if at == 0 { "" } else { ", " });
            statement.value(dialect, column.kind, value.clone());
        }
        statement.push(")");
    }
    statement
}

/// Returns the statement for a part of a list of `total` rows, as [`count`] has counted them, and
/// the row behind it.
///
/// Few rows are found first and sorted then: for a filter that hardly any row fits, a walk along
/// the index by time would read the whole table. Of many, such a walk soon has enough. Either way
/// only the rows of the answer are read as a whole.
pub(crate) fn list(dialect: Dialect, query: &Query, total: i64, path: &AccessPath) -> Statement {
    let Query { table, filter, sort, .. } = query;
    let direction = if query.descending { "DESC" } else { "ASC" };
    // What is never null is read from its index in either direction; with the condition, PostgreSQL
    // would sort.
    let nulls = if sort.kind == Kind::Time { "" } else { " NULLS LAST" };
    let order = format!(" ORDER BY {} {direction}{nulls}, id {direction}", sort.name);
    let mut statement = Statement::default();
    let is_few = total <= COUNTED;
    if is_few {
        statement.push(&format!("WITH found AS MATERIALIZED (SELECT id, {} FROM ", sort.name));
        statement.rows(dialect, table, filter, path);
        statement.push(") ");
    }
    statement.push(&select(dialect, table, false).sql);
    statement.push(" WHERE id IN (SELECT id FROM ");
    if is_few {
        statement.push("found WHERE true");
    } else {
        statement.push(table.name);
        statement.filter_of(dialect, filter, true);
    }
    let skip = match query.start {
        Start::Skip(skip) => skip,
        Start::After(cursor) => {
            statement.behind(dialect, query.descending, cursor);
            0
        }
    };
    statement.push(&format!("{order} LIMIT "));
    statement.value(dialect, Kind::Number, Value::Number(query.take + 1));
    statement.push(" OFFSET ");
    statement.value(dialect, Kind::Number, Value::Number(skip));
    statement.push(&format!("){order}"));
    statement
}

/// Returns the statement that counts the rows of a query up to [`COUNTED`] and one more.
pub(crate) fn count(dialect: Dialect, query: &Query, path: &AccessPath) -> Statement {
    let mut statement = Statement::new("SELECT count(*) FROM (SELECT 1 FROM ");
    statement.rows(dialect, query.table, &query.filter, path);
    statement.push(&format!(" LIMIT {}) AS counted", COUNTED + 1));
    statement
}

/// Returns the statement that counts the rows of a part of a filter up to `most`.
pub(crate) fn count_part(dialect: Dialect, table: &Table, part: &Filter, most: i64) -> Statement {
    let mut statement = Statement::new(format!("SELECT count(*) FROM (SELECT 1 FROM {}", table.name));
    statement.filter(dialect, part);
    statement.push(&format!(" LIMIT {most}) AS counted"));
    statement
}

/// Returns the statement that counts, up to `most`, the rows that are read to find those of a part
/// of a filter by its index: all that have a tag, or a message, if the part asks for one.
pub(crate) fn count_read(dialect: Dialect, table: &Table, part: &Filter, most: i64) -> Statement {
    let times = Filter { from: part.from, to: part.to, ..Filter::default() };
    let mut statement = Statement::new(format!("SELECT count(*) FROM (SELECT 1 FROM {}", table.name));
    statement.filter(dialect, &times);
    statement.domain(part);
    statement.push(&format!(" LIMIT {most}) AS counted"));
    statement
}

/// Returns the statement for one row with all of its columns.
pub(crate) fn get(dialect: Dialect, table: &Table, id: i64) -> Statement {
    let mut statement = select(dialect, table, true);
    statement.push(" WHERE id = ");
    statement.value(dialect, Kind::Number, Value::Number(id));
    statement
}

/// Returns the statement that removes rows.
pub(crate) fn remove(dialect: Dialect, table: &Table, which: &Which) -> Statement {
    let mut statement = Statement::new(format!("DELETE FROM {} WHERE id IN (", table.name));
    match which {
        // Never matches, where an empty list would be no SQL.
        Which::Ids(ids) if ids.is_empty() => statement.push("0"),
        Which::Ids(ids) => {
            for (at, id) in ids.iter().enumerate() {
                statement.push(if at == 0 { "" } else { ", " });
                statement.value(dialect, Kind::Number, Value::Number(*id));
            }
        }
        Which::Before(moment, most) => {
            statement.push(&format!("SELECT id FROM {} WHERE timestamp < ", table.name));
            statement.value(dialect, Kind::Time, Value::Number(*moment));
            statement.push(" ORDER BY timestamp LIMIT ");
            statement.value(dialect, Kind::Number, Value::Number(*most));
        }
    }
    statement.push(")");
    statement
}

/// Seven cells: requests, errors, input, output, cost as whole numbers; duration and ttft as
/// fractions or nothing.
pub(crate) fn totals(dialect: Dialect, filter: &Filter) -> Statement {
    let sum = |column: &str| format!("CAST(coalesce(sum({column}), 0) AS BIGINT)");
    let average = |column: &str| format!("CAST(avg({column}) AS DOUBLE PRECISION)");
    let mut statement = Statement::new(format!(
        "SELECT count(*), count(*) FILTER (WHERE {FAILED}), {}, {}, {}, {}, {} FROM request_logs",
        sum("input_tokens"),
        sum("output_tokens"),
        sum("cost"),
        average("total_duration_ms"),
        average("ttft_ms"),
    ));
    statement.filter(dialect, filter);
    statement
}

/// Text and number.
pub(crate) fn groups(dialect: Dialect, filter: &Filter, column: &str) -> Statement {
    let mut statement = Statement::new(format!("SELECT CAST({column} AS TEXT), count(*) FROM request_logs"));
    statement.filter(dialect, filter);
    statement.push(&format!(" AND {column} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT {GROUPS}"));
    statement
}

/// The upper bound of a class and the number of requests in it.
pub(crate) fn histogram(dialect: Dialect, filter: &Filter, column: &str) -> Statement {
    let mut statement = Statement::new("SELECT CAST(CASE");
    for bound in DURATION_BOUNDS {
        statement.push(&format!(" WHEN {column} <= {bound} THEN {bound}"));
    }
    statement.push(&format!(" ELSE {} END AS BIGINT), count(*) FROM request_logs", i64::MAX));
    statement.filter(dialect, filter);
    statement.push(&format!(" AND {column} IS NOT NULL GROUP BY 1 ORDER BY 1"));
    statement
}

/// The begin of an hour in seconds since 1970, then five whole numbers, as in
/// [`Hour`](crate::control_plane::store::logs::Hour); the newest first.
pub(crate) fn hours(dialect: Dialect, filter: &Filter) -> Statement {
    let hour = match dialect {
        Dialect::Sqlite => "timestamp / 3600000000 * 3600",
        Dialect::Postgres => "CAST(floor(extract(epoch FROM timestamp) / 3600) * 3600 AS BIGINT)",
    };
    let sum = |column: &str| format!("CAST(coalesce(sum({column}), 0) AS BIGINT)");
    let mut statement = Statement::new(format!(
        "SELECT {hour}, count(*), count(*) FILTER (WHERE {FAILED}), {}, {}, {} FROM request_logs",
        sum("input_tokens"),
        sum("output_tokens"),
        sum("cost"),
    ));
    statement.filter(dialect, filter);
    statement.push(&format!(" GROUP BY 1 ORDER BY 1 DESC LIMIT {GROUPS}"));
    statement
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::store::logs::{PriceRow, RequestRow, Row};

    #[test]
    fn statements_of_either_dialect() {
        let equal = vec![(RequestRow::column("status_code").unwrap(), Value::Number(429))];
        let query = Query {
            table: RequestRow::TABLE,
            filter: Filter { equal, from: Some(1), failed: true, ..Filter::default() },
            sort: RequestRow::column("total_tokens").unwrap(),
            descending: true,
            start: Start::Skip(50),
            take: 25,
        };
        let sqlite = list(Dialect::Sqlite, &query, COUNTED + 1, &AccessPath::Default).sql;
        let end = "FROM request_logs WHERE id IN (SELECT id FROM request_logs WHERE true AND status_code = $1 AND timestamp >= $2 \
                   AND (status_code >= 400 OR error_category IS NOT NULL) \
                   ORDER BY total_tokens DESC NULLS LAST, id DESC LIMIT $3 OFFSET $4) \
                   ORDER BY total_tokens DESC NULLS LAST, id DESC";
        assert!(sqlite.starts_with("SELECT id, timestamp, request_id, ") && sqlite.ends_with(end), "{sqlite}");
        assert!(
            sqlite.contains("error_message, NULL, NULL, request_headers, cost, session, tags, NULL FROM"),
            "{sqlite}"
        );
        let few = list(Dialect::Sqlite, &query, COUNTED, &AccessPath::Default).sql;
        let begin =
            "WITH found AS MATERIALIZED (SELECT id, total_tokens FROM request_logs WHERE true AND status_code = $1 ";
        let end = "WHERE id IN (SELECT id FROM found WHERE true ORDER BY total_tokens DESC NULLS LAST, id DESC LIMIT $3 OFFSET $4) \
                   ORDER BY total_tokens DESC NULLS LAST, id DESC";
        assert!(few.starts_with(begin) && few.ends_with(end), "{few}");
        let postgres = list(Dialect::Postgres, &query, COUNTED + 1, &AccessPath::Default);
        assert!(postgres.sql.contains("AND timestamp >= to_timestamp($2::float8 / 1e6) AND"), "{}", postgres.sql);
        assert_eq!(postgres.values.len(), 4);

        let containing = vec![(RequestRow::column("error_message").unwrap(), "5%_!".to_owned())];
        let query = Query { filter: Filter { containing, ..Filter::default() }, ..query };
        let sqlite = count(Dialect::Sqlite, &query, &AccessPath::Default);
        let end =
            "WHERE true AND error_message IS NOT NULL AND error_message LIKE $1 ESCAPE '!' LIMIT 10001) AS counted";
        assert!(sqlite.sql.ends_with(end), "{}", sqlite.sql);
        assert_eq!(sqlite.values, [(Kind::Text, Value::Text("%5!%!_!!%".to_owned()))]);

        let cursor = Cursor { timestamp: 7, id: 3 };
        let query = Query {
            filter: Filter { tag: Some("t".into()), ..Filter::default() },
            start: Start::After(cursor),
            ..query
        };
        let query = Query { sort: RequestRow::column("timestamp").unwrap(), ..query };
        let sqlite = list(Dialect::Sqlite, &query, COUNTED + 1, &AccessPath::Default).sql;
        let end = "WHERE true AND tags IS NOT NULL AND instr(tags, $1) > 0 AND timestamp <= $2 AND (timestamp, id) < ($3, $4) \
                   ORDER BY timestamp DESC, id DESC LIMIT $5 OFFSET $6) ORDER BY timestamp DESC, id DESC";
        assert!(sqlite.ends_with(end), "{sqlite}");
        let postgres = count(Dialect::Postgres, &query, &AccessPath::Default).sql;
        assert!(postgres.contains("AND string_to_array(tags, ',') @> ARRAY[$1] LIMIT"), "{postgres}");

        let rows = [PriceRow::default().values(), PriceRow::default().values()];
        let prices = insert(Dialect::Postgres, PriceRow::TABLE, &rows);
        assert!(prices.sql.contains("VALUES ($1, $2, $3, $4, $5, $6, $7, $8), ($9, "), "{}", prices.sql);
        assert!(prices.sql.contains(" ON CONFLICT (model) DO UPDATE SET input = excluded.input, "), "{}", prices.sql);
        let removed = remove(Dialect::Sqlite, RequestRow::TABLE, &Which::Ids(vec![3, 4])).sql;
        assert_eq!(removed, "DELETE FROM request_logs WHERE id IN ($1, $2)");
    }

    /// What only SQLite understands is written for SQLite alone.
    #[test]
    fn ids_of_parts_in_either_dialect() {
        let part = |status| {
            let equal = vec![(RequestRow::column("status_code").unwrap(), Value::Number(status))];
            Filter { equal, ..Filter::default() }
        };
        let query = Query {
            table: RequestRow::TABLE,
            filter: Filter::default(),
            sort: RequestRow::column("timestamp").unwrap(),
            descending: true,
            start: Start::Skip(0),
            take: 25,
        };
        let path = AccessPath::Intersection(part(1), vec![part(2)]);
        let of = |dialect| count(dialect, &query, &path).sql;
        let sqlite = "request_logs NOT INDEXED WHERE true AND id IN (SELECT id FROM request_logs WHERE true AND status_code = $1 \
                      AND +id IN (SELECT id FROM request_logs WHERE true AND status_code = $2)) LIMIT";
        assert!(of(Dialect::Sqlite).contains(sqlite), "{}", of(Dialect::Sqlite));
        let postgres = sqlite.replace(" NOT INDEXED", "").replace('+', "");
        assert!(of(Dialect::Postgres).contains(&postgres), "{}", of(Dialect::Postgres));
    }
}

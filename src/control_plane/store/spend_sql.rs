//! The statements for the tables `spend_days` and `spend_sums`, in the dialect of either store.
//! Triggers keep `spend_sums`: what is added to a row of `spend_days` is added to its names there.

use crate::control_plane::store::log_sql::{Dialect, Statement};
use crate::control_plane::store::logs::spend::LEDGER_PAGE;
use crate::control_plane::store::logs::{Kind, Recost, SpendBy, SpendKey, SpendQuery, SpendSums, Value};

/// The columns of [`SpendKey::texts`].
const TEXTS: [&str; 7] = ["credential", "group_path", "tags", "model", "provider", "upstream_model", "tier"];
/// Rows that are read for one answer. Each has other texts in the column that sums are grouped by.
const MOST_READ: i64 = 200_000;

/// Rows as one statement writes them, each at its place in [`SpendKey`]'s order. Not more than 500.
pub(crate) fn add(dialect: Dialect, rows: &[(SpendKey, SpendSums)]) -> Statement {
    let columns = ["day", "key"].iter().chain(&TEXTS).chain(SpendSums::COLUMNS);
    let names: Vec<&str> = columns.copied().collect();
    let mut statement = Statement::new(format!("INSERT INTO spend_days ({}) VALUES ", names.join(", ")));
    for (at, (key, sums)) in rows.iter().enumerate() {
        statement.push(if at == 0 { "(" } else { ", (" });
        statement.value(dialect, Kind::Number, Value::Number(key.day));
        statement.push(", ");
        statement.value(dialect, Kind::Text, Value::Text(key.digest()));
        for text in key.texts() {
            statement.push(", ");
            // PostgreSQL takes no U+0000.
            statement.value(dialect, Kind::Text, Value::Text(text.replace('\0', "\u{fffd}")));
        }
        for number in sums.values() {
            statement.push(", ");
            statement.value(dialect, Kind::Number, Value::Number(number));
        }
        statement.push(")");
    }
    let more = SpendSums::COLUMNS.iter().map(|name| format!("{name} = spend_days.{name} + excluded.{name}"));
    let more: Vec<_> = more.collect();
    statement.push(&format!(" ON CONFLICT (day, key) DO UPDATE SET {}", more.join(", ")));
    statement
}

/// Text or nothing, a day or nothing, then the sums.
pub(crate) fn select(dialect: Dialect, query: &SpendQuery) -> Statement {
    let Some((by, name)) = query.summed() else { return select_days(dialect, query) };
    let sums = shown_sums();
    let column = if query.by == SpendBy::Day { "NULL" } else { "name" };
    let day = if query.has_day() { "day" } else { "NULL" };
    let mut statement = Statement::new(format!(
        "SELECT CAST({column} AS TEXT), CAST({day} AS BIGINT), {} FROM spend_sums WHERE dimension = ",
        sums.join(", ")
    ));
    statement.value(dialect, Kind::Text, Value::Text(by.name().to_owned()));
    days(&mut statement, dialect, query);
    if let Some(name) = name {
        statement.push(" AND name = ");
        statement.value(dialect, Kind::Text, Value::Text(name.replace('\0', "\u{fffd}")));
    }
    group(&mut statement, [column, day]);
    statement
}

/// Columns that no report shows.
const NOT_SHOWN: [&str; 5] =
    ["audio_input_tokens", "audio_output_tokens", "image_input_tokens", "image_output_tokens", "searches"];

fn shown_sums() -> Vec<String> {
    let sum = |name: &&str| match NOT_SHOWN.contains(name) {
        true => "CAST(0 AS BIGINT)".to_owned(),
        false => format!("CAST(sum({name}) AS BIGINT)"),
    };
    SpendSums::COLUMNS.iter().map(sum).collect()
}

fn days(statement: &mut Statement, dialect: Dialect, query: &SpendQuery) {
    statement.push(" AND day >= ");
    statement.value(dialect, Kind::Number, Value::Number(query.from));
    statement.push(" AND day <= ");
    statement.value(dialect, Kind::Number, Value::Number(query.to));
}

fn group(statement: &mut Statement, columns: [&str; 2]) {
    let groups: Vec<_> = columns.into_iter().filter(|name| *name != "NULL").collect();
    if !groups.is_empty() {
        statement.push(&format!(" GROUP BY {}", groups.join(", ")));
    }
    statement.push(&format!(" LIMIT {MOST_READ}"));
}

/// Returns the statement for a report that reads `spend_days`.
fn select_days(dialect: Dialect, query: &SpendQuery) -> Statement {
    let sums = shown_sums();
    let column = query.by.column();
    let day = if query.has_day() { "day" } else { "NULL" };
    let mut statement = Statement::new(format!(
        "SELECT CAST({column} AS TEXT), CAST({day} AS BIGINT), {} FROM spend_days",
        sums.join(", ")
    ));
    statement.push(" WHERE true");
    days(&mut statement, dialect, query);
    for (by, wanted) in &query.only {
        only(&mut statement, dialect, *by, wanted);
    }
    group(&mut statement, [column, day]);
    statement
}

fn only(statement: &mut Statement, dialect: Dialect, by: SpendBy, wanted: &str) {
    let wanted = wanted.replace('\0', "\u{fffd}");
    let Some(separator) = by.separator() else {
        statement.push(&format!(" AND {} = ", by.column()));
        return statement.value(dialect, Kind::Text, Value::Text(wanted));
    };
    // One of the parts of the text: with separators around both, it stands in it.
    let (find, separator) = match dialect {
        Dialect::Sqlite => ("instr", format!("char({})", u32::from(separator))),
        Dialect::Postgres => ("strpos", format!("chr({})", u32::from(separator))),
    };
    statement.push(&format!(" AND {find}({separator} || {} || {separator}, {separator} || ", by.column()));
    statement.value(dialect, Kind::Text, Value::Text(wanted));
    statement.push(&format!(" || {separator}) > 0"));
}

/// Removes days before `day` from both tables.
pub(crate) fn forget(dialect: Dialect, day: i64) -> [Statement; 2] {
    ["spend_sums", "spend_days"].map(|table| {
        let mut statement = Statement::new(format!("DELETE FROM {table} WHERE day < "));
        statement.value(dialect, Kind::Number, Value::Number(day));
        statement
    })
}

/// The next rows behind this day and digest: the day, the digest, the texts, then the sums.
pub(crate) fn ledger(dialect: Dialect, after: (i64, &str), to: i64) -> Statement {
    let columns: Vec<&str> = ["day", "key"].iter().chain(&TEXTS).chain(SpendSums::COLUMNS).copied().collect();
    let mut statement = Statement::new(format!("SELECT {} FROM spend_days WHERE (day, key) > (", columns.join(", ")));
    statement.value(dialect, Kind::Number, Value::Number(after.0));
    statement.push(", ");
    statement.value(dialect, Kind::Text, Value::Text(after.1.to_owned()));
    statement.push(") AND day <= ");
    statement.value(dialect, Kind::Number, Value::Number(to));
    statement.push(&format!(" ORDER BY day, key LIMIT {LEDGER_PAGE}"));
    statement
}

/// Adds to the cost of a row.
pub(crate) fn recost(dialect: Dialect, change: &Recost) -> Statement {
    let mut statement = Statement::new("UPDATE spend_days SET cost = cost + ");
    statement.value(dialect, Kind::Number, Value::Number(change.cost));
    statement.push(", unpriced = unpriced + ");
    statement.value(dialect, Kind::Number, Value::Number(change.unpriced));
    statement.push(" WHERE day = ");
    statement.value(dialect, Kind::Number, Value::Number(change.key.day));
    statement.push(" AND key = ");
    statement.value(dialect, Kind::Text, Value::Text(change.digest.clone()));
    statement
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::store::logs::spend::DAY;

    #[test]
    fn rows_of_a_day_are_told_apart_by_their_texts() {
        let key = |credential: &str, group: &str| SpendKey {
            credential: credential.into(),
            group_path: group.into(),
            ..SpendKey::default()
        };
        assert_ne!(key("ab", "c").digest(), key("a", "bc").digest());
        assert_eq!(key("ab", "c").digest(), key("ab", "c").digest());
        let statement = add(Dialect::Postgres, &[(key("a", ""), SpendSums::default())]);
        assert_eq!(statement.values.len(), 2 + TEXTS.len() + SpendSums::COLUMNS.len());
        assert!(statement.sql.contains("cost = spend_days.cost + excluded.cost"), "{}", statement.sql);
    }

    #[test]
    fn statements_of_either_dialect() {
        let only = vec![(SpendBy::Credential, "k".to_owned()), (SpendBy::Tag, "t".to_owned())];
        let query = SpendQuery { by: SpendBy::Model, per_day: false, from: 0, to: DAY, only };
        let sqlite = select(Dialect::Sqlite, &query).sql;
        let end = "WHERE true AND day >= $1 AND day <= $2 AND credential = $3 \
                   AND instr(char(44) || tags || char(44), char(44) || $4 || char(44)) > 0 GROUP BY model LIMIT 200000";
        assert!(sqlite.ends_with(end), "{sqlite}");
        let of_group = vec![(SpendBy::Group, "g".to_owned())];
        let day = select(Dialect::Sqlite, &SpendQuery { by: SpendBy::Day, only: of_group.clone(), ..query.clone() });
        assert!(
            day.sql
                .ends_with("WHERE dimension = $1 AND day >= $2 AND day <= $3 AND name = $4 GROUP BY day LIMIT 200000")
        );
        assert_eq!(day.values[0], (Kind::Text, Value::Text("group".into())));
        // Each group of the path has a sum.
        let group = select(Dialect::Sqlite, &SpendQuery { by: SpendBy::Group, only: of_group, ..query.clone() }).sql;
        assert!(group.contains("FROM spend_days WHERE"), "{group}");
        let query = SpendQuery { by: SpendBy::Day, only: Vec::new(), ..query };
        let postgres = select(Dialect::Postgres, &query).sql;
        assert!(postgres.starts_with("SELECT CAST(NULL AS TEXT), CAST(day AS BIGINT), CAST(sum(requests) AS BIGINT)"));
        assert!(postgres.ends_with("GROUP BY day LIMIT 200000"), "{postgres}");
    }
}

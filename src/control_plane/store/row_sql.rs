//! The statements that write rows of the configuration, in the dialect of either store.

use std::fmt::Write;

use crate::config::rows::{BudgetRow, CredentialRow, GroupRow, ModelRow, ProviderRow};
use crate::control_plane::store::change::{Change, RowKind, SumsKey};
use crate::control_plane::store::log_sql;
use crate::control_plane::store::log_sql::{Dialect, Statement};
use crate::control_plane::store::logs::{Kind, PriceRow, Row, Value};

/// A column with the value that is written to it.
struct Field {
    name: &'static str,
    form: Form,
    value: Value,
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain(Kind),
    /// As [`Form::Plain`], by an `INSERT` alone: the column names the row, and never changes.
    Name,
    /// JSON, whose members keep their order.
    Json,
    /// Seconds since 1970, or null.
    Moment,
}

/// What a store does to make a change.
pub(crate) enum Step<'a> {
    /// It runs this statement, which returns the id of the row.
    Write(Statement),
    /// It restarts the window of this key, or adds `top_up` to it.
    ChangeSums { budget: i64, key: &'a SumsKey, top_up: Option<i64> },
}

/// Returns how a change is made, once [`Change::expected_row`] was checked.
pub(crate) fn step(dialect: Dialect, change: &Change) -> Step<'_> {
    Step::Write(match change {
        Change::AddProvider(row) => insert(dialect, RowKind::Provider, provider(dialect, row)),
        Change::UpdateProvider(row) => update(dialect, RowKind::Provider, row.id, provider(dialect, row)),
        Change::AddCredential(row) => insert(dialect, RowKind::Credential, credential(row)),
        Change::UpdateCredential(row) => update(dialect, RowKind::Credential, row.id, credential(row)),
        Change::AddGroup(row) => insert(dialect, RowKind::Group, group(row)),
        Change::UpdateGroup(row) => update(dialect, RowKind::Group, row.id, group(row)),
        Change::AddModel(row) => insert(dialect, RowKind::Model, model(row)),
        Change::UpdateModel(row) => update(dialect, RowKind::Model, row.id, model(row)),
        Change::AddBudget(row) => insert(dialect, RowKind::Budget, budget(row)),
        Change::UpdateBudget(row) => update(dialect, RowKind::Budget, row.id, budget(row)),
        Change::RemoveProvider { id, .. } => remove(dialect, RowKind::Provider, *id),
        Change::RemoveCredential { id, .. } => remove(dialect, RowKind::Credential, *id),
        Change::RemoveGroup { id, .. } => remove(dialect, RowKind::Group, *id),
        Change::RemoveModel { id, .. } => remove(dialect, RowKind::Model, *id),
        Change::RemoveBudget { id, .. } => remove(dialect, RowKind::Budget, *id),
        Change::SetPrice(change) => {
            let mut statement = log_sql::insert(dialect, PriceRow::TABLE, &[change.row.clone().values()]);
            statement.push(RETURNING);
            statement
        }
        Change::RemovePrice { id, .. } => {
            let mut statement = Statement::new(format!("DELETE FROM {} WHERE id = ", PriceRow::TABLE.name));
            statement.value(dialect, Kind::Number, Value::Number(*id));
            statement.push(RETURNING);
            statement
        }
        Change::ResetBudget { id, key } => return Step::ChangeSums { budget: *id, key, top_up: None },
        Change::TopUpBudget { id, key, units } => {
            return Step::ChangeSums { budget: *id, key, top_up: Some(*units) };
        }
    })
}

/// Returns the statement that reads the version of a row.
pub(crate) fn row_version(dialect: Dialect, kind: RowKind, id: i64) -> Statement {
    let mut statement = Statement::new(format!("SELECT row_version FROM {} WHERE id = ", kind.table()));
    statement.value(dialect, Kind::Number, Value::Number(id));
    statement
}

/// Returns the statements that write the default prices if the table is empty, each of some rows.
/// PostgreSQL may have a price of another writer by then, which stays.
pub(crate) fn default_prices(dialect: Dialect, change: &Change) -> Vec<Statement> {
    let Change::SetPrice(change) = change else { return Vec::new() };
    let rows: Vec<_> = change.defaults.iter().cloned().map(PriceRow::values).collect();
    rows.chunks(500).map(|rows| log_sql::insert_new(dialect, PriceRow::TABLE, rows)).collect()
}

/// Returns whether there is any price, as a statement that gives a row if so.
pub(crate) fn any_price() -> Statement {
    Statement::new(format!("SELECT 1 FROM {} LIMIT 1", PriceRow::TABLE.name))
}

/// Returns the statements that give a row each if the price is there that a change needs: any with
/// its id, and the one that is expected. `None` where the change does not need it.
pub(crate) fn needed_price(dialect: Dialect, change: &Change) -> [Option<Statement>; 2] {
    let by_id = |id: i64| {
        let mut statement = Statement::new(format!("SELECT 1 FROM {} WHERE id = ", PriceRow::TABLE.name));
        statement.value(dialect, Kind::Number, Value::Number(id));
        statement
    };
    let same = |mut statement: Statement, row: &PriceRow| {
        for (column, value) in PriceRow::TABLE.columns.iter().zip(row.clone().values()) {
            statement.push(&format!(" AND {} IS NOT DISTINCT FROM ", log_sql::read(dialect, column, true)));
            statement.value(dialect, column.kind, value);
        }
        statement
    };
    match change {
        Change::SetPrice(change) => {
            let all = Statement::new(format!("SELECT 1 FROM {} WHERE true", PriceRow::TABLE.name));
            [None, change.expected.as_ref().map(|row| same(all, row))]
        }
        Change::RemovePrice { id, expected } => [Some(by_id(*id)), expected.as_ref().map(|row| same(by_id(*id), row))],
        _ => [None, None],
    }
}

/// Returns the statement that removes the sums of a budget.
pub(crate) fn remove_sums(dialect: Dialect, budget: i64) -> Statement {
    let mut statement = Statement::new("DELETE FROM budget_sums WHERE name = (SELECT name FROM budgets WHERE id = ");
    statement.value(dialect, Kind::Number, Value::Number(budget));
    statement.push(")");
    statement
}

/// Returns the id of a row, in 64 bits also where the table of llm-proxy v1 has fewer.
const RETURNING: &str = " RETURNING CAST(id AS bigint)";

fn insert(dialect: Dialect, kind: RowKind, fields: Vec<Field>) -> Statement {
    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
    let mut statement = Statement::new(format!("INSERT INTO {} ({}) VALUES (", kind.table(), names.join(", ")));
    for (at, field) in fields.into_iter().enumerate() {
        statement.push(if at == 0 { "" } else { ", " });
        push(&mut statement, dialect, field);
    }
    statement.push(")");
    statement.push(RETURNING);
    statement
}

fn update(dialect: Dialect, kind: RowKind, id: i64, fields: Vec<Field>) -> Statement {
    let mut statement = Statement::new(format!("UPDATE {} SET ", kind.table()));
    let changing = fields.into_iter().filter(|field| field.form != Form::Name);
    for (at, field) in changing.enumerate() {
        statement.push(if at == 0 { "" } else { ", " });
        // Writing to a String does not fail.
        let _ = write!(statement.sql, "{} = ", field.name);
        push(&mut statement, dialect, field);
    }
    statement.push(" WHERE id = ");
    statement.value(dialect, Kind::Number, Value::Number(id));
    statement.push(RETURNING);
    statement
}

fn remove(dialect: Dialect, kind: RowKind, id: i64) -> Statement {
    let mut statement = Statement::new(format!("DELETE FROM {} WHERE id = ", kind.table()));
    statement.value(dialect, Kind::Number, Value::Number(id));
    statement.push(RETURNING);
    statement
}

/// Appends the value of a field as an expression.
fn push(statement: &mut Statement, dialect: Dialect, field: Field) {
    match (dialect, field.form) {
        (_, Form::Plain(kind)) => statement.value(dialect, kind, field.value),
        (_, Form::Name) | (Dialect::Sqlite, Form::Json) => statement.value(dialect, Kind::Text, field.value),
        (Dialect::Sqlite, Form::Moment) => statement.value(dialect, Kind::Number, field.value),
        // In a column of the type `jsonb` the order of members is lost; `json` keeps it.
        (Dialect::Postgres, Form::Json) => {
            statement.value(dialect, Kind::Text, field.value);
            statement.push("::json");
        }
        (Dialect::Postgres, Form::Moment) => {
            statement.push("to_timestamp(");
            statement.value(dialect, Kind::Real, calendar_time(field.value));
            statement.push(")");
        }
    }
}

/// Times beyond PostgreSQL's calendar become `infinity`, which is read as such a number again.
fn calendar_time(seconds: Value) -> Value {
    const YEAR_9999: i64 = 253_402_300_799;
    match seconds {
        Value::Number(..0) => Value::Real(f64::NEG_INFINITY),
        Value::Number(seconds @ 0..=YEAR_9999) => Value::Real(seconds as f64),
        Value::Number(_) => Value::Real(f64::INFINITY),
        other => other,
    }
}

fn name(name: &'static str, value: &str) -> Field {
    Field { name, form: Form::Name, value: Value::Text(value.to_owned()) }
}

fn text(name: &'static str, value: &str) -> Field {
    Field { name, form: Form::Plain(Kind::Text), value: Value::Text(value.to_owned()) }
}

fn optional_text(name: &'static str, value: Option<&String>) -> Field {
    Field { name, form: Form::Plain(Kind::Text), value: value.cloned().map_or(Value::Null, Value::Text) }
}

fn number(name: &'static str, value: impl Into<Option<i64>>) -> Field {
    Field { name, form: Form::Plain(Kind::Number), value: value.into().map_or(Value::Null, Value::Number) }
}

fn flag(name: &'static str, value: bool) -> Field {
    Field { name, form: Form::Plain(Kind::Flag), value: Value::Flag(value) }
}

fn moment(name: &'static str, seconds: Option<i64>) -> Field {
    Field { name, form: Form::Moment, value: seconds.map_or(Value::Null, Value::Number) }
}

/// Returns a column that requires a JSON array. Empty text stands for an empty one.
fn list(name: &'static str, json: &str) -> Field {
    let json = if json.is_empty() { "[]" } else { json };
    Field { name, form: Form::Json, value: Value::Text(json.to_owned()) }
}

/// Returns a column that requires a JSON object. Empty text stands for an empty one.
fn object(name: &'static str, json: &str) -> Field {
    let json = if json.is_empty() { "{}" } else { json };
    Field { name, form: Form::Json, value: Value::Text(json.to_owned()) }
}

fn provider(dialect: Dialect, row: &ProviderRow) -> Vec<Field> {
    let mut fields = vec![
        name("provider_key", &row.provider_key),
        text("provider_type", &row.provider_type),
        text("api_base", &row.api_base),
        text("api_key", &row.api_key),
        object("model_mapping", &row.model_mapping),
        number("weight", row.weight),
        object("provider_params", &row.provider_params),
        optional_text("lua_script", row.lua_script.as_ref()),
        flag("is_enabled", row.is_enabled),
    ];
    if dialect == Dialect::Postgres {
        // The column of llm-proxy v1 is `jsonb`, and the order of a mapping matters.
        let written = Some(&row.model_mapping).filter(|mapping| !mapping.is_empty());
        fields.push(Field { form: Form::Json, ..optional_text("model_mapping_written", written) });
    }
    fields
}

fn credential(row: &CredentialRow) -> Vec<Field> {
    vec![
        text("credential_key", &row.credential_key),
        text("name", &row.name),
        list("allowed_models", &row.allowed_models),
        number("rate_limit", row.rate_limit),
        number("burst", row.burst),
        number("tokens_per_minute", row.tokens_per_minute),
        number("max_concurrency", row.max_concurrency),
        moment("expires_at", row.expires_at),
        optional_text("previous_key", row.previous_key.as_ref()),
        moment("previous_key_until", row.previous_key_until),
        object("metadata", &row.metadata),
        flag("is_enabled", row.is_enabled),
        optional_text("group_name", row.group_name.as_ref()),
    ]
}

fn group(row: &GroupRow) -> Vec<Field> {
    vec![
        name("name", &row.name),
        optional_text("parent", row.parent.as_ref()),
        list("allowed_models", &row.allowed_models),
        number("rate_limit", row.rate_limit),
        number("burst", row.burst),
        number("tokens_per_minute", row.tokens_per_minute),
        number("max_concurrency", row.max_concurrency),
        object("metadata", &row.metadata),
        flag("is_enabled", row.is_enabled),
    ]
}

fn model(row: &ModelRow) -> Vec<Field> {
    vec![
        text("name", &row.name),
        list("members", &row.members),
        object("overrides", &row.overrides),
        object("options", &row.options),
        flag("is_enabled", row.is_enabled),
    ]
}

fn budget(row: &BudgetRow) -> Vec<Field> {
    vec![
        name("name", &row.name),
        text("scope", &row.scope),
        text("subject", &row.subject),
        text("unit", &row.unit),
        number("amount", row.amount),
        text("period", &row.period),
        text("time_zone", &row.time_zone),
        flag("is_hard", row.is_hard),
        list("warn_at", &row.warn_at),
        flag("is_enabled", row.is_enabled),
        optional_text("downgrade_to", row.downgrade_to.as_ref()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(dialect: Dialect, change: &Change) -> String {
        match step(dialect, change) {
            Step::Write(statement) => statement.sql,
            Step::ChangeSums { .. } => String::new(),
        }
    }

    #[test]
    fn dialects_differ_in_json_and_times() {
        let model = Change::AddModel(ModelRow::default());
        assert_eq!(
            sql(Dialect::Sqlite, &model),
            "INSERT INTO virtual_models (name, members, overrides, options, is_enabled) \
             VALUES ($1, $2, $3, $4, $5) RETURNING CAST(id AS bigint)"
        );
        assert_eq!(
            sql(Dialect::Postgres, &model),
            "INSERT INTO virtual_models (name, members, overrides, options, is_enabled) \
             VALUES ($1, $2::json, $3::json, $4::json, $5) RETURNING CAST(id AS bigint)"
        );
        let credential = sql(Dialect::Postgres, &Change::UpdateCredential(CredentialRow::default()));
        assert!(credential.contains("expires_at = to_timestamp($8), previous_key = $9"), "{credential}");
    }

    #[test]
    fn updates_leave_names_as_they_are() {
        let group = sql(Dialect::Sqlite, &Change::UpdateGroup(GroupRow { id: 7, ..GroupRow::default() }));
        assert!(group.starts_with("UPDATE credential_groups SET parent = $1, allowed_models = $2,"), "{group}");
        assert!(group.ends_with("is_enabled = $8 WHERE id = $9 RETURNING CAST(id AS bigint)"), "{group}");
    }

    #[test]
    fn times_beyond_the_calendar_are_infinite() {
        let rows = [
            (Value::Null, Value::Null),
            (Value::Number(-1), Value::Real(f64::NEG_INFINITY)),
            (Value::Number(1_800_000_000), Value::Real(1.8e9)),
            (Value::Number(i64::MAX), Value::Real(f64::INFINITY)),
        ];
        for (seconds, expected) in rows {
            assert_eq!(calendar_time(seconds), expected);
        }
    }
}

//! The values of the statements for logs and sums, as SQLite has them.

use rusqlite::types::{FromSql, FromSqlResult, ToSqlOutput, ValueRef};
use rusqlite::{ToSql, params_from_iter};

use crate::control_plane::store::log_sql::Statement;
use crate::control_plane::store::logs::Value;

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
            Value::Number(number) => (*number).into(),
            Value::Real(number) => (*number).into(),
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Flag(flag) => (*flag).into(),
        })
    }
}

impl FromSql for Value {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Value> {
        Ok(match value {
            ValueRef::Null | ValueRef::Blob(_) => Value::Null,
            ValueRef::Integer(number) => Value::Number(number),
            ValueRef::Real(number) => Value::Real(number),
            ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        })
    }
}

pub(super) fn values(statement: &Statement) -> impl rusqlite::Params {
    params_from_iter(statement.values.iter().map(|(_, value)| value.clone()))
}

//! The values of the statements for logs and sums, as PostgreSQL has them.

use tokio_postgres::types::{ToSql, Type};

use crate::control_plane::store::log_sql::Statement;
use crate::control_plane::store::logs::{Kind, Value};
use crate::control_plane::store::postgres::rows;

/// Rows in one statement.
pub(super) const AT_ONCE: usize = 500;

/// With their types, as `query_typed` wants them.
pub(super) fn values(statement: &Statement) -> Vec<rows::Value<'_>> {
    statement.values.iter().map(|(kind, value)| typed(*kind, value)).collect()
}

fn typed(kind: Kind, value: &Value) -> rows::Value<'_> {
    let nothing: rows::Value<'static> = match kind {
        Kind::Number | Kind::Time => (&None::<i64>, Type::INT8),
        Kind::Real => (&None::<f64>, Type::FLOAT8),
        Kind::Text | Kind::Body | Kind::Json => (&None::<&str>, Type::TEXT),
        Kind::Flag => (&None::<bool>, Type::BOOL),
    };
    let given: &(dyn ToSql + Sync) = match value {
        Value::Null => return nothing,
        Value::Number(number) => number,
        Value::Real(number) => number,
        Value::Text(text) => text,
        Value::Flag(flag) => flag,
    };
    (given, nothing.1)
}

//! The tables as data: their columns, and the values of a row.

/// One cell of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Number(i64),
    Real(f64),
    Text(String),
    Flag(bool),
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Real,
    Text,
    Flag,
    /// Microseconds since 1970.
    Time,
    /// Text that may be long; not in lists.
    Body,
    /// JSON that may be long; not in lists.
    Json,
}

impl Kind {
    /// Left out of lists.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, Kind::Body | Kind::Json)
    }
}

/// Values of one column that an answer distinguishes.
pub const GROUPS: i64 = 1000;

/// A column of a table.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub kind: Kind,
}

/// One of the tables. Each also has an `id` of the store's choice.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [Column],
    /// A row replaces the one with the same value in this column.
    pub key: Option<&'static str>,
}

//! Parameters of queries, as the OpenAPI document describes them.

/// A parameter of a query.
#[derive(Clone, Copy)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) kind: Kind,
}

/// The values that a parameter takes.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Text,
    /// A whole number from the first to the second.
    Number(i64, i64),
    Flag,
    /// One of these.
    Choice(&'static [&'static str]),
    /// A time (RFC 3339).
    Moment,
}

//! Tables beside the configuration: finished requests, failures, prices, sums of what was spent. No
//! write to them changes the configuration, and none delays such a change: a store has connections
//! of its own for these tables.

pub mod hours;
mod rows;
pub mod spend;
mod table;

use crate::control_plane::store::error::Answer;

pub use hours::{Step, Sum, Summary, SummaryQuery};
pub use rows::{ErrorRow, PriceRow, RequestRow, Row};
pub use spend::{LedgerRow, Recost};
pub use spend::{Spend, SpendBy, SpendKey, SpendQuery, SpendSums};
pub use table::{Column, GROUPS, Kind, Table, Value};

/// A row as it was read: its id, then its cells in the order of the table's columns.
pub type Line = (i64, Vec<Value>);

/// Rows that are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Columns and the values that they must have.
    pub equal: Vec<(&'static Column, Value)>,
    /// Microseconds since 1970, both ends included.
    pub from: Option<i64>,
    pub to: Option<i64>,
    /// Of `request_logs`: those with a status from 400 on, or with an error category.
    pub failed: bool,
    /// Columns and a text that they contain, in upper or lower case.
    pub containing: Vec<(&'static Column, String)>,
    /// Of `request_logs`: those with this tag.
    pub tag: Option<String>,
}

/// Rows of a filter are counted up to this number, and pages begin within so many rows: counting
/// and skipping a million rows takes a second. What lies behind is reached with [`Start::After`].
pub const COUNTED: i64 = 10_000;

/// A place in a list that is sorted by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Microseconds since 1970.
    pub timestamp: i64,
    /// Tells rows of one moment apart.
    pub id: i64,
}

/// Where a part of a list begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Behind so many rows, less than [`COUNTED`].
    Skip(i64),
    /// Behind this row, which need not be there any more. The list is sorted by time.
    After(Cursor),
}

/// Which rows of a table are listed, and in which order.
#[derive(Debug, Clone)]
pub struct Query {
    pub table: &'static Table,
    pub filter: Filter,
    pub sort: &'static Column,
    pub descending: bool,
    pub start: Start,
    pub take: i64,
}

impl Filter {
    /// Returns how many conditions there are beside the times.
    pub(crate) fn conditions(&self) -> usize {
        self.equal.len() + self.containing.len() + usize::from(self.tag.is_some()) + usize::from(self.failed)
    }
}

impl Query {
    /// Whether it begins behind the last of `total` rows, or further behind than rows are skipped.
    pub(crate) fn is_behind(&self, total: i64) -> bool {
        matches!(self.start, Start::Skip(skip) if skip >= total.min(COUNTED)) || total == 0
    }
}

/// A part of a list.
#[derive(Debug)]
pub struct Listing {
    /// Rows that fit the filter; [`COUNTED`] + 1 for more than that.
    pub total: i64,
    /// Whether `total` leaves rows out: those that were not searched.
    pub is_partial: bool,
    /// The time as far as which was searched, in microseconds since 1970. `None` if that is all.
    pub searched_to: Option<i64>,
    /// With nothing in their long columns. One more than [`Query::take`] if others follow.
    pub lines: Vec<Line>,
}

impl Listing {
    /// Makes a part of a list that was searched completely.
    pub(crate) fn complete(total: i64, lines: Vec<Line>) -> Listing {
        Listing { total, is_partial: false, searched_to: None, lines }
    }

    /// Returns where the list goes on that this is a part of: behind its last line, or behind what
    /// was searched. `None` at the end, and of a list that is not sorted by time.
    pub fn next(&self, query: &Query) -> Option<Cursor> {
        if query.sort.kind != Kind::Time {
            return None;
        }
        let take = usize::try_from(query.take).unwrap_or(usize::MAX);
        if self.lines.len() > take {
            let (id, values) = self.lines.get(take.checked_sub(1)?)?;
            // The tables begin with the time.
            let Some(Value::Number(timestamp)) = values.first() else { return None };
            return Some(Cursor { timestamp: *timestamp, id: *id });
        }
        // All rows of this time were searched.
        let id = if query.descending { 0 } else { i64::MAX };
        self.searched_to.map(|timestamp| Cursor { timestamp, id })
    }
}

/// Rows to be removed.
#[derive(Debug, Clone)]
pub enum Which {
    Ids(Vec<i64>),
    /// Older than this, in microseconds since 1970; at most so many.
    Before(i64, i64),
}

/// Sums over `request_logs`.
#[derive(Debug, Default, PartialEq)]
pub struct Stats {
    pub requests: i64,
    pub errors: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub duration_ms: Option<f64>,
    pub ttft_ms: Option<f64>,
    /// Billionths of a dollar.
    pub cost: i64,
    /// How many requests took up to so many milliseconds and more than the bound before; the last
    /// bound is [`i64::MAX`]. In ascending order, without empty ones.
    pub durations: Vec<(i64, i64)>,
    /// The same of the times to the first token.
    pub ttfts: Vec<(i64, i64)>,
    /// The most frequent [`GROUPS`] of each.
    pub by_provider: Vec<(String, i64)>,
    pub by_model: Vec<(String, i64)>,
    pub by_status: Vec<(String, i64)>,
}

/// Sums over the requests of `request_logs` that began in one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hour {
    /// The first second, since 1970.
    pub begin: i64,
    pub requests: i64,
    pub errors: i64,
    pub input_tokens: i64,
    pub output_tokens: i64,
    /// Billionths of a dollar.
    pub cost: i64,
}

/// See [`crate::control_plane::store::Store::tables`].
pub trait Tables: Send + Sync {
    /// Writes rows, all or none. The cells are in the order of the table's columns.
    fn insert(&self, table: &'static Table, rows: Vec<Vec<Value>>) -> Answer<'_, ()>;

    fn list(&self, query: Query) -> Answer<'_, Listing>;

    fn get(&self, table: &'static Table, id: i64) -> Answer<'_, Option<Line>>;

    /// Gives how many there were.
    fn remove(&self, table: &'static Table, which: Which) -> Answer<'_, u64>;

    fn stats(&self, filter: Filter) -> Answer<'_, Stats>;

    /// Gives the sums since the begin of an hour.
    fn summary(&self, query: SummaryQuery) -> Answer<'_, Summary>;

    /// Gives at most [`GROUPS`] hours, the newest first.
    fn hours(&self, filter: Filter) -> Answer<'_, Vec<Hour>>;

    /// Adds to the sums of days, all or none. No key stands twice.
    fn add_spend(&self, rows: Vec<(SpendKey, SpendSums)>) -> Answer<'_, ()>;

    /// Gives sums of days, as [`spend::arrange`] leaves them.
    fn spend(&self, query: SpendQuery) -> Answer<'_, Vec<Spend>>;

    /// Gives the sums of days from one day to another as the table has them.
    fn ledger(&self, from: i64, to: i64) -> Answer<'_, Vec<LedgerRow>>;

    /// Corrects the cost of sums, all or none.
    fn recost(&self, changes: Vec<Recost>) -> Answer<'_, ()>;

    /// Removes the sums of days before this one. Gives how many rows there were.
    fn forget_spend(&self, day: i64) -> Answer<'_, u64>;

    /// Waits until rows may have been written since this call. A store that can't tell is ready at
    /// once. Must be called in a tokio runtime.
    fn written(&self) -> Answer<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}

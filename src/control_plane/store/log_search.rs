//! A search by conditions that many rows of the log fit each, and perhaps hardly any fits all: no
//! index leads to the few. Within a slice of time the rows lie side by side, so that looking at all
//! that fit one condition costs no more than to collect the ids of each. It goes from one end of
//! the time to the other in slices, and ends when enough was found or when it has gone through so
//! many rows, wherever that is: what it says is exact as far as it has come, and it says how far
//! that is. So its work has a bound, however long the log is.
//!
//! A tag, a text of an error and a failure have an index of the rows that have any. With one of
//! these in the filter, the rows of that index are gone through, and no others.
//!
//! It has no connection: a store asks for a statement, and gives it what that has found.

use crate::control_plane::store::log_sql::{AccessPath, Dialect, Statement, read, select};
use crate::control_plane::store::logs::{COUNTED, Cursor, Filter, Kind, Line, Listing, Query, Start, Value};

/// Rows of the log that one search goes through: up to a slice more.
pub(crate) const SEARCHED: i64 = 300_000;
/// Rows of the first slice, and the most of a later one. Slices double, since most searches have
/// enough soon.
const SLICES: (i64, i64) = (2_000, 50_000);

/// Columns of requests that have an index by their value and the time.
const INDEXED: [&str; 5] = ["provider_name", "model_requested", "credential_name", "status_code", "session"];

/// Splits a filter into a part for each condition that has an index, all with its times.
pub(crate) fn parts(filter: &Filter) -> Vec<Filter> {
    let times = Filter { from: filter.from, to: filter.to, ..Filter::default() };
    let indexed = filter.equal.iter().filter(|(column, _)| INDEXED.contains(&column.name));
    let mut parts: Vec<_> = indexed.map(|equal| Filter { equal: vec![equal.clone()], ..times.clone() }).collect();
    parts.extend(filter.tag.iter().map(|tag| Filter { tag: Some(tag.clone()), ..times.clone() }));
    parts.extend(filter.failed.then(|| Filter { failed: true, ..times.clone() }));
    parts.extend(filter.containing.iter().map(|text| Filter { containing: vec![text.clone()], ..times.clone() }));
    parts
}

/// A search that is on its way.
pub(crate) struct Search<'q> {
    dialect: Dialect,
    query: &'q Query,
    /// Rows to go through.
    most: i64,
    searched: i64,
    /// Rows of the next slice.
    slice: i64,
    /// The times that were not searched yet, in microseconds since 1970, both included.
    from: Option<i64>,
    to: Option<i64>,
    /// In the order of the list.
    found: Vec<Cursor>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The end of the next slice is to be found.
    Measuring,
    /// The rows of a slice are to be found, which ends at this time or with the last row.
    Reading(Option<i64>),
    /// It was searched as far as this time, or completely.
    Ended(Option<i64>),
}

/// What a search has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The ids of the part of the list that is wanted, and of one more row if one was found.
    pub(crate) ids: Vec<i64>,
    /// Rows that were found from where the search began; [`COUNTED`] + 1 for more than that.
    pub(crate) total: i64,
    /// How far was searched, if not to the end.
    pub(crate) searched_to: Option<i64>,
}

impl<'q> Search<'q> {
    /// Begins a search for a list that is sorted by time. It goes through `most` rows, about.
    pub(crate) fn new(dialect: Dialect, query: &'q Query, most: i64) -> Search<'q> {
        let (mut from, mut to) = (query.filter.from, query.filter.to);
        if let Start::After(cursor) = query.start {
            match query.descending {
                true => to = Some(to.map_or(cursor.timestamp, |to| to.min(cursor.timestamp))),
                false => from = Some(from.map_or(cursor.timestamp, |from| from.max(cursor.timestamp))),
            }
        }
        let (found, state) = (Vec::new(), State::Measuring);
        Search { dialect, query, most, searched: 0, slice: SLICES.0, from, to, found, state }
    }

    /// Returns the next statement: one row with a time at most, or rows with an id and a time. For
    /// its rows call [`Search::take`]. `None` if the search has ended.
    pub(crate) fn next(&self) -> Option<Statement> {
        match self.state {
            State::Measuring => Some(self.edge()),
            State::Reading(edge) => Some(self.rows(edge)),
            State::Ended(_) => None,
        }
    }

    /// The time of the last row of the next slice.
    fn edge(&self) -> Statement {
        let times = Filter { from: self.from, to: self.to, ..Filter::default() };
        let time = read(self.dialect, self.query.sort, true);
        let mut statement = Statement::new(format!("SELECT CAST(0 AS BIGINT), {time} FROM {}", self.query.table.name));
        statement.filter(self.dialect, &times);
        statement.domain(&self.query.filter);
        statement.push(&format!(" ORDER BY timestamp {} LIMIT 1 OFFSET {}", self.direction(), self.slice - 1));
        statement
    }

    fn rows(&self, edge: Option<i64>) -> Statement {
        let (from, to) = match self.query.descending {
            true => (edge.or(self.from), self.to),
            false => (self.from, edge.or(self.to)),
        };
        let within = Filter { from, to, ..self.query.filter.clone() };
        let time = read(self.dialect, self.query.sort, true);
        let id = if self.dialect == Dialect::Postgres { "id::bigint" } else { "id" };
        let mut statement = Statement::new(format!("SELECT {id}, {time} FROM "));
        statement.rows(self.dialect, self.query.table, &within, &AccessPath::Default);
        if let Start::After(cursor) = self.query.start {
            statement.behind(self.dialect, self.query.descending, cursor);
        }
        let direction = self.direction();
        let room = COUNTED + 1 - self.found.len() as i64;
        statement.push(&format!(" ORDER BY timestamp {direction}, id {direction} LIMIT {room}"));
        statement
    }

    fn direction(&self) -> &'static str {
        if self.query.descending { "DESC" } else { "ASC" }
    }

    /// Takes the rows of the last statement.
    pub(crate) fn take(&mut self, rows: impl Iterator<Item = Cursor>) {
        match self.state {
            State::Measuring => self.state = State::Reading(rows.last().map(|row| row.timestamp)),
            State::Reading(edge) => {
                self.found.extend(rows);
                self.state = self.behind(edge);
            }
            State::Ended(_) => {}
        }
    }

    /// What follows a slice that ends at `edge`.
    fn behind(&mut self, edge: Option<i64>) -> State {
        self.searched += self.slice;
        self.slice = (self.slice * 2).min(SLICES.1);
        let Some(edge) = edge.filter(|_| self.found.len() as i64 <= COUNTED) else { return State::Ended(None) };
        if self.searched >= self.most {
            return State::Ended(Some(edge));
        }
        match self.query.descending {
            true => self.to = Some(edge - 1),
            false => self.from = Some(edge + 1),
        }
        State::Measuring
    }

    /// Returns what was found, once the search has ended.
    pub(crate) fn finish(self) -> Found {
        let skip = match self.query.start {
            Start::Skip(skip) => usize::try_from(skip).unwrap_or(usize::MAX),
            Start::After(_) => 0,
        };
        let take = usize::try_from(self.query.take + 1).unwrap_or(0);
        let searched_to = match self.state {
            State::Ended(edge) => edge,
            State::Measuring | State::Reading(_) => None,
        };
        let ids = self.found.iter().skip(skip).take(take).map(|row| row.id).collect();
        Found { ids, total: self.found.len() as i64, searched_to }
    }
}

impl Found {
    /// Returns the part of the list with these lines, which are those of [`Found::ids`].
    pub(crate) fn listing(self, query: &Query, lines: Vec<Line>) -> Listing {
        let Found { total, searched_to, .. } = self;
        // Rows before a cursor are not counted.
        let is_partial = searched_to.is_some() || matches!(query.start, Start::After(_));
        Listing { total, is_partial, searched_to, lines }
    }
}

/// Returns the statement for the rows of a list of which these are the ids.
pub(crate) fn rows_of(dialect: Dialect, query: &Query, ids: &[i64]) -> Statement {
    let mut statement = select(dialect, query.table, false);
    statement.push(" WHERE id IN (");
    for (at, id) in ids.iter().enumerate() {
        statement.push(if at == 0 { "" } else { ", " });
        statement.value(dialect, Kind::Number, Value::Number(*id));
    }
    let direction = if query.descending { "DESC" } else { "ASC" };
    statement.push(&format!(") ORDER BY timestamp {direction}, id {direction}"));
    statement
}

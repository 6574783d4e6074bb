//! Sums of finished requests by the hour, which are kept beside the rows: an overview of a month
//! reads some thousand of them, and not a million rows.

use std::collections::BTreeMap;

use super::rows::{RequestRow, Row};
use super::table::{Table, Value};

/// Upper bounds of the classes of durations, in milliseconds: whole ones up to 3, then each about 1.4
/// times the one before.
pub(in crate::control_plane) const DURATION_BOUNDS: &[i64] = &[
    0, 1, 2, 3, 5, 7, 10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905, 1280, 1810, 2560, 3620, 5120,
    7241, 10_240, 14_482, 20_480, 28_963, 40_960, 57_926, 81_920, 115_852, 163_840, 231_705, 327_680, 463_410, 655_360,
];

/// Microseconds of an hour.
const HOUR: i64 = 3_600_000_000;
/// What is summed up. The names are those of the column `name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sum {
    Requests,
    Errors,
    InputTokens,
    OutputTokens,
    /// Billionths of a dollar.
    Cost,
    /// Requests that took up to so many milliseconds and more than the bound before.
    Duration(i64),
    /// The same of times to the first token.
    FirstToken(i64),
    ProviderRequests(String),
    ProviderErrors(String),
}

/// Which sums of hours are wanted.
#[derive(Debug, Clone, Copy)]
pub struct SummaryQuery {
    /// The begin of the first hour, in seconds since 1970.
    pub from: i64,
    pub step: Step,
}

/// The length of the times that sums are given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Hours, without the classes of durations: these are most of the rows.
    PlainHour,
    Hour,
    /// Days of UTC.
    Day,
}

impl Step {
    pub(in crate::control_plane::store) fn seconds(self) -> i64 {
        match self {
            Step::PlainHour | Step::Hour => 3600,
            Step::Day => 86_400,
        }
    }
}

/// Sums since an hour.
#[derive(Debug, Default, PartialEq)]
pub struct Summary {
    pub totals: Vec<(Sum, i64)>,
    /// The begin of an hour or day in seconds since 1970, and a sum of it, in order of time. Those
    /// of providers are not among them.
    pub steps: Vec<(i64, Sum, i64)>,
}

impl Sum {
    /// Whether it is given hour by hour.
    pub(in crate::control_plane::store) fn in_hours() -> [Sum; 5] {
        [Sum::Requests, Sum::Errors, Sum::InputTokens, Sum::OutputTokens, Sum::Cost]
    }

    pub(in crate::control_plane::store) fn name(&self) -> String {
        match self {
            Sum::Requests => "requests".to_owned(),
            Sum::Errors => "errors".to_owned(),
            Sum::InputTokens => "input_tokens".to_owned(),
            Sum::OutputTokens => "output_tokens".to_owned(),
            Sum::Cost => "cost".to_owned(),
            Sum::Duration(bound) => format!("duration_ms:{bound}"),
            Sum::FirstToken(bound) => format!("ttft_ms:{bound}"),
            Sum::ProviderRequests(provider) => format!("provider_requests:{provider}"),
            Sum::ProviderErrors(provider) => format!("provider_errors:{provider}"),
        }
    }

    /// `None` for a name of another version of the program.
    pub fn of(name: &str) -> Option<Sum> {
        if let Some(sum) = Sum::in_hours().into_iter().find(|sum| sum.name() == name) {
            return Some(sum);
        }
        let (kind, rest) = name.split_once(':')?;
        match kind {
            "duration_ms" => rest.parse().ok().map(Sum::Duration),
            "ttft_ms" => rest.parse().ok().map(Sum::FirstToken),
            "provider_requests" => Some(Sum::ProviderRequests(rest.to_owned())),
            "provider_errors" => Some(Sum::ProviderErrors(rest.to_owned())),
            _ => None,
        }
    }
}

/// Returns the sums of rows of a table by the begin of their hour; none for rows of another table.
pub(in crate::control_plane::store) fn sums(table: &Table, rows: &[Vec<Value>]) -> BTreeMap<(i64, Sum), i64> {
    let mut sums = BTreeMap::new();
    if table.name != RequestRow::TABLE.name {
        return sums;
    }
    for row in rows {
        let row = RequestRow::of(0, row.clone());
        let hour = hour_of(row.timestamp);
        of_row(&row, |sum, n| *sums.entry((hour, sum)).or_default() += n);
    }
    sums.retain(|_, n| *n != 0);
    sums
}

/// Returns the first second of the hour of a moment in microseconds.
pub(in crate::control_plane::store) fn hour_of(micros: i64) -> i64 {
    micros.div_euclid(HOUR) * 3600
}

fn of_row(row: &RequestRow, mut add: impl FnMut(Sum, i64)) {
    let is_error = row.status_code.is_some_and(|status| status >= 400) || row.error_category.is_some();
    add(Sum::Requests, 1);
    add(Sum::Errors, i64::from(is_error));
    add(Sum::InputTokens, row.input_tokens);
    add(Sum::OutputTokens, row.output_tokens);
    add(Sum::Cost, row.cost.unwrap_or_default());
    if let Some(ms) = row.total_duration_ms {
        add(Sum::Duration(bound(ms)), 1);
    }
    if let Some(ms) = row.ttft_ms {
        add(Sum::FirstToken(bound(ms)), 1);
    }
    if let Some(provider) = &row.provider_name {
        add(Sum::ProviderRequests(provider.clone()), 1);
        add(Sum::ProviderErrors(provider.clone()), i64::from(is_error));
    }
}

/// Returns the upper bound of the class of a duration.
fn bound(ms: i64) -> i64 {
    DURATION_BOUNDS.iter().copied().find(|bound| ms <= *bound).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control_plane::store::logs::PriceRow;

    #[test]
    fn rows_add_up_by_the_hour() {
        let row = |timestamp, status| RequestRow {
            timestamp,
            status_code: Some(status),
            input_tokens: 3,
            total_duration_ms: Some(8),
            provider_name: Some("a:b".to_owned()),
            ..RequestRow::default()
        };
        let rows = [row(HOUR, 200), row(2 * HOUR - 1, 500), row(2 * HOUR, 200)].map(Row::values);
        let provider = || "a:b".to_owned();
        let wanted = [
            ((3600, Sum::Requests), 2),
            ((3600, Sum::Errors), 1),
            ((3600, Sum::InputTokens), 6),
            ((3600, Sum::Duration(10)), 2),
            ((3600, Sum::ProviderRequests(provider())), 2),
            ((3600, Sum::ProviderErrors(provider())), 1),
            ((7200, Sum::Requests), 1),
            ((7200, Sum::InputTokens), 3),
            ((7200, Sum::Duration(10)), 1),
            ((7200, Sum::ProviderRequests(provider())), 1),
        ];
        assert_eq!(sums(RequestRow::TABLE, &rows), BTreeMap::from(wanted));
        assert!(sums(PriceRow::TABLE, &[PriceRow::default().values()]).is_empty());
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let all = Sum::in_hours().into_iter().chain([
            Sum::Duration(i64::MAX),
            Sum::FirstToken(5),
            Sum::ProviderRequests("a:b".to_owned()),
            Sum::ProviderErrors(String::new()),
        ]);
        for sum in all {
            assert_eq!(Sum::of(&sum.name()), Some(sum));
        }
        assert_eq!(Sum::of("later:1"), None);
    }
}

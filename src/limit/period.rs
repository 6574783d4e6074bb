//! The windows of budgets: hours, days, weeks and months of a calendar in a time zone.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ZonedDateTime};

/// How long an amount is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    Hour,
    Day,
    /// From Monday on.
    Week,
    Month,
    /// For ever: it never renews.
    Total,
}

impl Period {
    /// Every period, the shortest first.
    pub const ALL: [Period; 5] = [Period::Hour, Period::Day, Period::Week, Period::Month, Period::Total];

    /// Returns the word for the period in rows and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Period::Hour => "hour",
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
            Period::Total => "total",
        }
    }

    /// Returns the period of this name. `None` for any other word.
    pub fn parse(text: &str) -> Option<Period> {
        Period::ALL.into_iter().find(|period| period.name() == text)
    }
}

/// A time zone of the IANA database, which is part of the binary.
#[derive(Debug, Clone)]
pub struct Zone {
    pub name: Box<str>,
    zone: TimeZone,
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name == other.name
    }
}

impl Zone {
    /// Finds a zone by its name, such as `Europe/Berlin`. Empty is UTC.
    pub fn parse(name: &str) -> Option<Zone> {
        let zone = match name {
            "" | "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).ok()?,
        };
        Some(Zone { name: if name.is_empty() { "UTC" } else { name }.into(), zone })
    }
}

/// From the first second to the one after the last, both in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub starts_at: i64,
    pub ends_at: i64,
}

impl Window {
    /// Everything, for [`Period::Total`].
    pub const ALL: Window = Window { starts_at: 0, ends_at: i64::MAX };

    /// Returns the window that `now` is in. A time that no calendar has is in a window of its own.
    pub fn of(period: Period, zone: &Zone, now: i64) -> Window {
        let window = || -> Result<Window, jiff::Error> {
            if period == Period::Hour {
                return hour(&zone.zone, now);
            }
            let now = Timestamp::from_second(now)?.to_zoned_datetime(zone.zone.clone());
            let (start, end) = match period {
                Period::Total | Period::Hour => return Ok(Window::ALL),
                Period::Day => day(&now, Span::new().days(1))?,
                Period::Week => {
                    let since = now.weekday().to_monday_zero_offset();
                    day(&now.checked_sub(Span::new().days(since))?, Span::new().weeks(1))?
                }
                Period::Month => day(&now.first_of_month()?, Span::new().months(1))?,
            };
            Ok(Window { starts_at: start.timestamp().as_second(), ends_at: end.timestamp().as_second() })
        };
        window().unwrap_or(Window { starts_at: now, ends_at: now.saturating_add(1) })
    }
}

/// Returns the hour of `now` on the clock of a zone. Where the clock changes within an hour, as by
/// half of one on Lord Howe Island, a window ends at the change, and the next one begins there.
fn hour(zone: &TimeZone, now: i64) -> Result<Window, jiff::Error> {
    const HOUR: i64 = 3600;
    let moment = Timestamp::from_second(now)?;
    let offset = i64::from(zone.to_offset(moment).seconds());
    let start = now - (now + offset).rem_euclid(HOUR);
    let next = Timestamp::from_second(now + 1)?;
    let changed = zone.preceding(next).next().map_or(i64::MIN, |change| change.timestamp().as_second());
    let changes = zone.following(moment).next().map_or(i64::MAX, |change| change.timestamp().as_second());
    Ok(Window { starts_at: start.max(changed), ends_at: (start + HOUR).min(changes) })
}

/// The begin of the day of `time`, and that of the day which comes `span` later.
fn day(time: &ZonedDateTime, span: Span) -> Result<(ZonedDateTime, ZonedDateTime), jiff::Error> {
    let start = time.start_of_day()?;
    // Days are added to the date: one in which the clock changes has 23 or 25 hours.
    let end = start.date().checked_add(span)?.to_zoned_datetime(start.time_zone().clone())?.start_of_day()?;
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rfc3339;

    #[test]
    fn calendar_windows() {
        let rows = [
            ("UTC", Period::Hour, "2026-11-30T07:59:59Z", "2026-11-30T07:00:00Z", "2026-11-30T08:00:00Z"),
            ("Asia/Kolkata", Period::Hour, "2026-11-30T07:29:59Z", "2026-11-30T06:30:00Z", "2026-11-30T07:30:00Z"),
            ("UTC", Period::Day, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"),
            ("Europe/Berlin", Period::Day, "2026-11-30T22:59:59Z", "2026-11-29T23:00:00Z", "2026-11-30T23:00:00Z"),
            // The clock goes back by an hour, and two hours have the same number.
            ("Europe/Berlin", Period::Hour, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
            ("Europe/Berlin", Period::Hour, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
            // It goes back by half an hour, and forward.
            (
                "Australia/Lord_Howe",
                Period::Hour,
                "2026-04-04T14:45:00Z",
                "2026-04-04T14:00:00Z",
                "2026-04-04T15:00:00Z",
            ),
            (
                "Australia/Lord_Howe",
                Period::Hour,
                "2026-04-04T15:15:00Z",
                "2026-04-04T15:00:00Z",
                "2026-04-04T15:30:00Z",
            ),
            (
                "Australia/Lord_Howe",
                Period::Hour,
                "2026-10-03T15:45:00Z",
                "2026-10-03T15:30:00Z",
                "2026-10-03T16:00:00Z",
            ),
            // The clock goes forward and back: 23 and 25 hours.
            ("Europe/Berlin", Period::Day, "2026-03-29T12:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"),
            ("Europe/Berlin", Period::Day, "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
            // Midnight is left out there: the day begins at one o'clock.
            ("America/Sao_Paulo", Period::Day, "2018-11-04T12:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
            ("UTC", Period::Week, "2026-11-29T12:00:00Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"),
            ("UTC", Period::Month, "2026-02-28T23:59:59Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("Pacific/Auckland", Period::Month, "2026-12-31T11:00:00Z", "2026-12-31T11:00:00Z", "2027-01-31T11:00:00Z"),
        ];
        for (zone, period, now, start, end) in rows {
            let at = |text| rfc3339::parse(text).unwrap();
            let window = Window::of(period, &Zone::parse(zone).unwrap(), at(now));
            let found = (rfc3339::format(window.starts_at), rfc3339::format(window.ends_at));
            assert_eq!(found, (start.to_owned(), end.to_owned()), "{zone} {period:?} {now}");
            assert_eq!(Window::of(period, &Zone::parse(zone).unwrap(), window.ends_at).starts_at, window.ends_at);
        }
        assert_eq!(Window::of(Period::Total, &Zone::parse("").unwrap(), 7), Window::ALL);
        assert!(Zone::parse("Europe/Atlantis").is_none());
    }
}

//! Times as people, headers and JSON write them: RFC 3339, to and from seconds since 1970. No
//! clock.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The first and last second of the years 1 to 9999.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Formats seconds since 1970 as `2026-11-22T20:15:00Z`. Times outside of the years 1 to 9999
/// become the nearer end.
pub fn format(seconds: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(seconds.clamp(*RANGE.start(), *RANGE.end()));
    // Neither can fail within these years.
    at.ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Formats seconds since 1970 as `2026-11-22 20:15 UTC`. Times before 1970 and after the year 9999
/// stay numbers.
pub fn format_minutes(seconds: i64) -> String {
    if !(0..=*RANGE.end()).contains(&seconds) {
        return seconds.to_string();
    }
    let text = format(seconds);
    format!("{} {} UTC", &text[..10], &text[11..16])
}

/// Parses `2026-11-22T20:15:00Z` as seconds since 1970; an offset, a fraction of a second (which is
/// ignored), a space in place of the `T` and a date without a time, which is its first second in
/// UTC, are accepted too.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let whole = match text.as_bytes().get(10) {
        None => format!("{text}T00:00:00Z"),
        Some(b' ') => format!("{}T{}", text.get(..10)?, text.get(11..)?),
        Some(_) => text.to_owned(),
    };
    let at = OffsetDateTime::parse(&whole, &Rfc3339).ok()?;
    Some(at.unix_timestamp()).filter(|seconds| RANGE.contains(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let rows = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_378_530, "2026-11-22T20:15:30Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (*RANGE.end(), "9999-12-31T23:59:59Z"),
            (*RANGE.start(), "0001-01-01T00:00:00Z"),
        ];
        for (seconds, text) in rows {
            assert_eq!(format(seconds), text);
            assert_eq!(parse(text), Some(seconds), "{text}");
        }
        assert_eq!(format(i64::MAX), "9999-12-31T23:59:59Z");
        for step in 0..100_000 {
            let seconds = step * 3_000_017 - 60_000_000_000;
            assert_eq!(parse(&format(seconds)), Some(seconds));
        }
    }

    #[test]
    fn other_notations() {
        let rows = [
            ("2026-11-22T20:15:30.999Z", Some(1_795_378_530)),
            ("2026-11-22 21:15:30+01:00", Some(1_795_378_530)),
            ("2026-11-22T15:45:30-04:30", Some(1_795_378_530)),
            ("1970-01-02", Some(86_400)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-1-1", None),
            ("2026-11-22T24:00:00Z", None),
            ("2026-11-22T20:15:30", None),
            ("2026-11-22T20:15:30.Z", None),
            ("2026-11-22T20:15:30+1", None),
            ("2026-11-22T20:15:30é", None),
            ("é", None),
            ("", None),
        ];
        for (text, seconds) in rows {
            assert_eq!(parse(text), seconds, "{text}");
        }
    }

    #[test]
    fn minutes() {
        let rows = [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_377_480, "2026-11-22 19:58 UTC"),
            (4_102_444_799, "2099-12-31 23:59 UTC"),
            (13_569_465_600, "2400-01-01 00:00 UTC"),
            (-1, "-1"),
            (i64::MAX, "9223372036854775807"),
        ];
        for (seconds, text) in rows {
            assert_eq!(format_minutes(seconds), text);
        }
    }
}

//! Times in the formats of headers.

use std::time::{Duration, SystemTime};

use crate::rfc3339;

/// Formats a time as `2026-11-22T20:15:00Z` (RFC 3339), in whole seconds.
pub(super) fn rfc3339(at: SystemTime) -> String {
    rfc3339::format(
        at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(i64::MAX)),
    )
}

/// Parses a time of RFC 3339. Fractions of a second are ignored. `None` for times before 1970.
pub(super) fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let seconds = u64::try_from(rfc3339::parse(text)?).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Parses a span as OpenAI writes it: `1s`, `6m0s`, `1h2m3.5s`, `20ms`.
pub(super) fn span(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number * unit).ok()?)?;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let rows = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_378_530, "2026-11-22T20:15:30Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ];
        for (seconds, text) in rows {
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(rfc3339(at), text);
            assert_eq!(parse_rfc3339(text), Some(at), "{text}");
        }
        assert_eq!(parse_rfc3339("1970-01-01T00:00:01.75Z"), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
        for text in ["", "soon", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00Z"] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn spans() {
        let rows = [("1s", 1000), ("6m0s", 360_000), ("20ms", 20), ("1h2m3.5s", 3_723_500), ("1d", 86_400_000)];
        for (text, ms) in rows {
            assert_eq!(span(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "1w", "1e999s", "1..2s"] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}

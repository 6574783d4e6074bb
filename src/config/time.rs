//! Moments as people and JSON write them: RFC 3339, to and from seconds since 1970. No clock here.

const DAY: i64 = 86_400;

/// The first and last moment that has four digits of a year.
const RANGE: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// `2026-11-22T20:15:00Z`. Moments outside of the years 1 to 9999 are moved to their nearer end.
pub fn format(seconds: i64) -> String {
    let seconds = seconds.clamp(*RANGE.start(), *RANGE.end());
    let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    // Civil date from days since 1970, in eras of 400 years that begin on 1 March 0000.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Reads `2026-11-22T20:15:00Z`, also with an offset, a fraction (which is cut off), a space for
/// the `T`, or the date alone.
pub fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let (date, time) = text.split_at_checked(10)?;
    let days = days(date)?;
    if time.is_empty() {
        return Some(days * DAY);
    }
    let time = time.strip_prefix(['T', 't', ' '])?;
    let (clock, zone) = time.split_at_checked(8)?;
    let mut parts = clock.split(':');
    let mut part = |most| digits(parts.next()?, 2).filter(|n| *n <= most);
    // A leap second is the next one's first.
    let (hour, minute, second) = (part(23)?, part(59)?, part(60)?);
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => {
            let rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            (rest.len() < fraction.len()).then_some(rest)?
        }
        None => zone,
    };
    Some(days * DAY + hour * 3600 + minute * 60 + second - offset(zone)?)
}

/// Days since 1970 of `2026-11-22`.
fn days(date: &str) -> Option<i64> {
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?, 4)?, digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if year == 0 || !(1..=length).contains(&day) || parts.next().is_some() {
        return None;
    }
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468)
}

/// Seconds east of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone[1..].split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
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
            (*RANGE.start(), "0001-01-01T00:00:00Z"),
            (*RANGE.end(), "9999-12-31T23:59:59Z"),
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
    fn other_ways_of_writing_it() {
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
}

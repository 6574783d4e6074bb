//! What commands say: results to stdout, notes to stderr, tables in columns.

use std::io::{self, ErrorKind, Write};

use super::{Failure, terminal};

/// Writes `text` and a line break to stdout. A reader that has gone wants no more: that is no
/// failure.
pub fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes `kind: text` to stderr, as the parser of arguments does with its errors.
pub fn note(kind: &str, text: &str) {
    // There is nowhere left to say that this failed.
    let _ = writeln!(io::stderr(), "{kind}: {text}");
}

/// Writes rows under their headings, each column as wide as it must be. On a terminal that is
/// narrower than that, a row is a block of lines instead, each a heading and its cell.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let widths: [usize; N] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headings[column].len()]).max().unwrap_or_default()
    });
    if terminal::width().is_some_and(|width| widths.iter().sum::<usize>() + 2 * (N - 1) > width) {
        return blocks(headings, rows);
    }
    let row = |cells: [&str; N]| {
        let mut text = String::new();
        for (cell, width) in cells.into_iter().zip(widths) {
            text.push_str(&format!("{cell:width$}  "));
        }
        line(text.trim_end())
    };
    row(headings)?;
    rows.iter().try_for_each(|cells| row(std::array::from_fn(|column| cells[column].as_str())))
}

fn blocks<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    let width = headings.iter().map(|heading| heading.len()).max().unwrap_or_default();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            line("")?;
        }
        for (heading, cell) in headings.iter().zip(row) {
            line(&format!("{heading:width$}  {cell}"))?;
        }
    }
    Ok(())
}

/// A list as one cell.
pub fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let items: Vec<_> = items.collect();
    let mut text = items[..items.len().min(SHOWN)].join(", ");
    if items.len() > SHOWN {
        text.push_str(&format!(" and {} more", items.len() - SHOWN));
    }
    text
}

/// `2026-11-22 19:58 UTC`, from seconds since 1970. Times that no calendar needs stay numbers.
pub fn time(seconds: i64) -> String {
    const DAY: i64 = 86_400;
    let (mut days, second) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
    if !(0..DAY * 100).contains(&days) {
        return seconds.to_string();
    }
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    // Whole spans of 400 years are alike, so the loops below are short.
    let mut year = 1970 + 400 * (days / 146_097);
    days %= 146_097;
    while days >= 365 + i64::from(leap(year)) {
        days -= 365 + i64::from(leap(year));
        year += 1;
    }
    let february = 28 + i64::from(leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02} {:02}:{:02} UTC", days + 1, second / 3600, second / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
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
            assert_eq!(time(seconds), text);
        }
    }

    #[test]
    fn lists_are_cut() {
        assert_eq!(list(["a", "b"].into_iter()), "a, b");
        assert_eq!(list(["a", "b", "c", "d", "e", "f"].into_iter()), "a, b, c, d and 2 more");
    }
}

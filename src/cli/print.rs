//! The output of commands: results to stdout, notes to stderr, tables in columns.

use std::io::{self, ErrorKind, Write};

use super::failure::Failure;
use super::terminal;

/// Writes `text` and a line break to stdout. A closed pipe is no failure.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes `kind: text` to stderr, as the parser of arguments does with its errors.
pub(super) fn note(kind: &str, text: &str) {
    // A failure of stderr cannot be reported.
    let _ = writeln!(io::stderr(), "{kind}: {text}");
}

/// Writes rows under their headings, each column as wide as it must be. On a terminal that is
/// narrower than that, a row is a block of lines instead, each a heading and its cell.
pub(super) fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
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

/// Writes a list as one cell.
pub(super) fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 4;
    let items: Vec<_> = items.collect();
    let mut text = items[..items.len().min(SHOWN)].join(", ");
    if items.len() > SHOWN {
        text.push_str(&format!(" and {} more", items.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut() {
        assert_eq!(list(["a", "b"].into_iter()), "a, b");
        assert_eq!(list(["a", "b", "c", "d", "e", "f"].into_iter()), "a, b, c, d and 2 more");
    }
}

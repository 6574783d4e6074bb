//! Times with milliseconds.

use crate::rfc3339;

/// Formats microseconds since 1970 as `2026-01-23T19:30:00.000Z`.
pub(crate) fn iso(us: u64) -> String {
    let mut text = rfc3339::format((us / 1_000_000) as i64);
    text.truncate(text.len() - 1);
    text + &format!(".{:03}Z", us / 1000 % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments() {
        let rows = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_769_196_600_000_999, "2026-01-23T19:30:00.000Z"),
            (1_769_196_600_045_000, "2026-01-23T19:30:00.045Z"),
        ];
        for (us, text) in rows {
            assert_eq!(iso(us), text);
        }
    }
}

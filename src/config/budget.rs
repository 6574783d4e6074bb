//! Amounts of budgets as people write them.

pub use crate::limit::budget::{Claim, Unit};

/// A dollar in the unit of sums.
pub const DOLLAR: i64 = 1_000_000_000;

/// The digits behind the point, and the place of the point in the text of an amount: behind a sign
/// and ten digits, which are as many as the dollars of an `i64` have.
const DECIMALS: usize = 9;
const POINT: usize = 11;

/// Reads an amount: dollars with up to nine decimals, or whole tokens.
pub fn parse(unit: Unit, text: &str) -> Option<i64> {
    if unit == Unit::Tokens {
        return text.parse().ok().filter(|tokens| *tokens >= 0);
    }
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(rest) || rest.len() > 9 || (whole.is_empty() && rest.is_empty()) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: i64 = format!("{rest:0<9}").parse().ok()?;
    whole.checked_mul(DOLLAR)?.checked_add(nanos)
}

/// Returns an amount as text: dollars with at least two decimals, or whole tokens.
pub fn show(unit: Unit, amount: i64) -> String {
    let mut text = Vec::new();
    write(&mut text, unit, amount);
    String::from_utf8(text).unwrap_or_default()
}

/// Appends an amount to `out`, as [`show`] returns it.
pub fn write(out: &mut Vec<u8>, unit: Unit, amount: i64) {
    if unit == Unit::Tokens {
        return out.extend_from_slice(itoa::Buffer::new().format(amount).as_bytes());
    }
    // It is put together in one piece, since headers have it: a sign, ten digits, the point, nine
    // digits.
    let mut text = [b'0'; POINT + 1 + DECIMALS];
    let magnitude = amount.unsigned_abs();
    let mut whole = magnitude / DOLLAR.unsigned_abs();
    // Less than a billion.
    let mut rest = (magnitude % DOLLAR.unsigned_abs()) as u32;
    for digit in text[POINT + 1..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    text[POINT] = b'.';
    let mut begin = POINT;
    for digit in text[1..POINT].iter_mut().rev() {
        *digit += (whole % 10) as u8;
        whole /= 10;
        begin -= 1;
        if whole == 0 {
            break;
        }
    }
    if amount < 0 {
        begin -= 1;
        text[begin] = b'-';
    }
    let mut end = text.len();
    while end > POINT + 3 && text[end - 1] == b'0' {
        end -= 1;
    }
    out.extend_from_slice(&text[begin..end]);
}

/// Writes an amount with the name of its unit, for sentences.
pub fn words(unit: Unit, amount: i64) -> String {
    match unit {
        Unit::Dollars => format!("{} dollars", show(unit, amount)),
        Unit::Tokens => format!("{amount} tokens"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let rows = [
            ("25", Some(25 * DOLLAR), "25.00"),
            ("0.5", Some(DOLLAR / 2), "0.50"),
            (".000000001", Some(1), "0.000000001"),
            ("1.0000000001", None, ""),
            ("", None, ""),
            (".", None, ""),
            ("-1", None, ""),
            ("1e3", None, ""),
            ("99999999999", None, ""),
        ];
        for (text, amount, shown) in rows {
            assert_eq!(parse(Unit::Dollars, text), amount, "{text}");
            assert_eq!(amount.map(|amount| show(Unit::Dollars, amount)).unwrap_or_default(), shown);
        }
        assert_eq!(show(Unit::Dollars, -1_234_567_890_123), "-1234.567890123");
        assert_eq!(show(Unit::Dollars, i64::MIN), "-9223372036.854775808");
        assert_eq!(show(Unit::Dollars, i64::MAX), "9223372036.854775807");
        assert_eq!(show(Unit::Dollars, 10 * DOLLAR), "10.00");
        assert_eq!(show(Unit::Tokens, -1_500), "-1500");
        assert_eq!(parse(Unit::Tokens, "7"), Some(7));
        assert_eq!((parse(Unit::Tokens, "7.5"), parse(Unit::Tokens, "-7")), (None, None));
        assert_eq!(words(Unit::Dollars, -1_500_000_000), "-1.50 dollars");
    }
}

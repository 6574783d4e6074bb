//! Parses the query strings of the listings, which have a few short parameters.

use std::ops::RangeInclusive;

use llm_wire::error::{Error, Kind};
use percent_encoding::percent_decode_str;

/// Name and value of each parameter, decoded. The first of equal names counts. An empty value
/// counts as none.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: &str) -> Query {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let decode = |text: &str| decode(&text.replace('+', " "));
            (!value.is_empty()).then(|| (decode(name), decode(value)))
        };
        Query(query.split('&').filter_map(pair).collect())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Returns a whole number, moved to the nearer end of `range` if it is outside.
    pub(super) fn number(&self, name: &str, default: usize, range: RangeInclusive<usize>) -> Result<usize, Error> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let (low, high) = range.into_inner();
        match text.parse::<i64>() {
            Ok(number) => Ok(usize::try_from(number.max(0)).unwrap_or(high).clamp(low, high)),
            Err(_) => Err(invalid(name, text, &format!("a whole number from {low} to {high}"))),
        }
    }

    /// Returns the value of one of the words in `choices`.
    pub(super) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(text) = self.get(name) else { return Ok(None) };
        match choices.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Ok(Some(*value)),
            None => {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                Err(invalid(name, text, &format!("one of {}", words.join(", "))))
            }
        }
    }
}

fn invalid(name: &str, text: &str, expected: &str) -> Error {
    let shown: String = text.chars().take(100).collect();
    Error::client(Kind::InvalidRequest, format!("query parameter `{name}` is `{shown}`; it must be {expected}"))
        .param(name)
}

/// Decodes percent-encoding. A `%` that begins no escape stays, and invalid UTF-8 becomes U+FFFD.
pub(super) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding() {
        let rows = [
            ("a%2Fb", "a/b"),
            ("a%2fb%", "a/b%"),
            ("%zz%4", "%zz%4"),
            ("%C3%A9", "é"),
            ("%ff", "\u{fffd}"),
            ("a+b", "a+b"),
            ("", ""),
        ];
        for (text, decoded) in rows {
            assert_eq!(decode(text), decoded, "{text}");
        }
        let query = Query::parse("a=1+2%2B&b=&&c&=x&a=3");
        assert_eq!((query.get("a"), query.get("b"), query.get("c")), (Some("1 2+"), None, None));
    }
}

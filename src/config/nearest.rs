//! Finds the known name that a misspelt one probably means.

/// Returns how many characters must be inserted, removed or changed to make `b` of `a`; case does
/// not matter. It takes time in proportion to the product of their lengths: both must be short.
pub fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let changed = diagonal + usize::from(!x.eq_ignore_ascii_case(&y));
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Returns the one of `known` that is nearest to `name`, if it is near.
pub fn nearest<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    const LONGEST: usize = 64;
    if name.len() > LONGEST {
        return None;
    }
    let (distance, found) = known.into_iter().map(|known| (distance(name, known), known)).min()?;
    (distance <= (found.len().max(name.len()) / 3).min(4)).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let known = ["rate_limit", "name", "burst", "is_enabled"];
        let rows = [
            ("rate_limt", Some("rate_limit")),
            ("Rate_Limit", Some("rate_limit")),
            ("ratelimit", Some("rate_limit")),
            ("enabled", Some("is_enabled")),
            ("nam", Some("name")),
            ("colour", None),
            ("", None),
        ];
        for (name, expected) in rows {
            assert_eq!(nearest(name, known), expected, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(1000), known), None);
        assert_eq!((distance("", "abc"), distance("abc", ""), distance("kitten", "sitting")), (3, 3, 3));
    }
}

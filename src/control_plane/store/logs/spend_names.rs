//! The sums of days for each name of one dimension: the table `spend_sums`.

use std::collections::BTreeMap;

use crate::control_plane::store::logs::spend::{Recost, SpendBy, SpendKey, SpendSums};

/// The key of a row of `spend_sums`: day, dimension and name.
pub type NameKey = (i64, SpendBy, String);

/// Returns what these rows of `spend_days` add to `spend_sums`. A row counts under each of its names.
pub fn sums_by_name<'r>(rows: impl Iterator<Item = (&'r SpendKey, SpendSums)>) -> BTreeMap<NameKey, SpendSums> {
    let mut all: BTreeMap<NameKey, SpendSums> = BTreeMap::new();
    for (key, sums) in rows {
        for by in SpendBy::SUMMED {
            // PostgreSQL takes no U+0000.
            let text = key.text(by).replace('\0', "\u{fffd}");
            let parts: Vec<&str> = match by.separator() {
                Some(separator) => text.split(separator).collect(),
                None => vec![&text],
            };
            for part in parts {
                all.entry((key.day, by, part.to_owned())).or_default().add(&sums);
            }
        }
    }
    all
}

/// Returns what corrections add to `spend_sums`.
pub fn recosts_by_name(changes: &[Recost]) -> BTreeMap<NameKey, SpendSums> {
    let added = |change: &Recost| SpendSums { cost: change.cost, unpriced: change.unpriced, ..SpendSums::default() };
    sums_by_name(changes.iter().map(|change| (&change.key, added(change))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_under_each_of_its_names() {
        let key = SpendKey {
            credential: "c".into(),
            group_path: "team\norg".into(),
            tags: "a,b".into(),
            model: "m\0".into(),
            ..SpendKey::default()
        };
        let sums = SpendSums { requests: 2, cost: 5, ..SpendSums::default() };
        let all = sums_by_name([(&key, sums), (&key, sums)].into_iter());
        let names: Vec<_> = all.keys().map(|(_, by, name)| (by.name(), name.as_str())).collect();
        let expected = [
            ("credential", "c"),
            ("group", "org"),
            ("group", "team"),
            ("tag", "a"),
            ("tag", "b"),
            ("model", "m\u{fffd}"),
            ("provider", ""),
        ];
        assert_eq!(names, expected);
        assert!(all.values().all(|sums| (sums.requests, sums.cost) == (4, 10)));
    }
}

//! What was spent, summed by day in the table `spend_days`, whatever becomes of the rows of single
//! requests.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::control_plane::store::logs::table::GROUPS;

/// Seconds of a day.
pub const DAY: i64 = 86_400;
/// Stands between the groups of [`SpendKey::group_path`].
pub const GROUP_SEPARATOR: char = '\n';
/// Stands between the tags of [`SpendKey::tags`].
pub const TAG_SEPARATOR: char = ',';
/// Rows of an answer that is grouped by day.
pub const MOST_ROWS: usize = 10_000;

/// What the requests of one row have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SpendKey {
    /// The first second of a day in UTC, since 1970.
    pub day: i64,
    pub credential: String,
    /// The group of the credential, then the one that this belongs to, and so on.
    pub group_path: String,
    /// In alphabetical order.
    pub tags: String,
    /// As the client named it. Empty for a request that no provider got.
    pub model: String,
    pub provider: String,
    pub upstream_model: String,
    /// The tier of prices that was applied.
    pub tier: String,
}

impl SpendKey {
    /// Returns the texts of the key, in the order of the columns.
    pub(crate) fn texts(&self) -> [&str; 7] {
        let SpendKey { day: _, credential, group_path, tags, model, provider, upstream_model, tier } = self;
        [credential, group_path, tags, model, provider, upstream_model, tier].map(String::as_str)
    }

    /// A short text that tells the rows of a day apart.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for text in self.texts() {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        let mut digits = hex::encode(hash.finalize());
        digits.truncate(32);
        digits
    }
}

/// The texts of a key.
const TEXTS: usize = 7;

/// The tier of prices that was applied, as [`SpendKey::tier`] has it: `flex`, `>200000`, `flex
/// >200000`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TierOfPrices<'t> {
    /// The tier of service; empty is the standard one.
    pub tier: &'t str,
    /// The length of a prompt from which the prices apply; 0 for every prompt.
    pub above: u64,
}

impl fmt::Display for TierOfPrices<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tier)?;
        let space = if self.tier.is_empty() { "" } else { " " };
        if self.above > 0 { write!(f, "{space}>{}", self.above) } else { Ok(()) }
    }
}

impl TierOfPrices<'_> {
    /// Reads the column `tier`.
    pub fn parse(text: &str) -> TierOfPrices<'_> {
        let (tier, above) = text.split_once('>').unwrap_or((text, "0"));
        TierOfPrices { tier: tier.trim_end(), above: above.parse().unwrap_or(0) }
    }
}

/// A row of the table.
#[derive(Debug, Clone)]
pub struct LedgerRow {
    pub key: SpendKey,
    /// What tells it apart from the others of its day.
    pub digest: String,
    pub sums: SpendSums,
}

impl LedgerRow {
    /// Whether it was made of rows of the request log, so that groups, tags and the kinds of tokens
    /// are not known.
    pub fn is_from_log(&self) -> bool {
        self.digest.starts_with("log-")
    }
}

/// What is added to a row whose cost is corrected.
#[derive(Debug, Clone)]
pub struct Recost {
    pub key: SpendKey,
    /// [`LedgerRow::digest`].
    pub digest: String,
    pub cost: i64,
    pub unpriced: i64,
}

/// Rows that are read at once.
pub const LEDGER_PAGE: i64 = 5000;

/// Makes a row of what `spend_sql::ledger` selects.
pub fn ledger_row<E>(
    day: i64,
    mut text: impl FnMut(usize) -> Result<String, E>,
    mut number: impl FnMut(usize) -> Result<i64, E>,
) -> Result<LedgerRow, E> {
    let key = SpendKey {
        day,
        credential: text(2)?,
        group_path: text(3)?,
        tags: text(4)?,
        model: text(5)?,
        provider: text(6)?,
        upstream_model: text(7)?,
        tier: text(8)?,
    };
    let digest = text(1)?;
    Ok(LedgerRow { key, digest, sums: SpendSums::read(|at| number(at + 2 + TEXTS))? })
}

macro_rules! sums {
    ($($(#[$doc:meta])* $field:ident)*) => {
        /// Sums over requests.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct SpendSums { $($(#[$doc])* pub $field: i64,)* }

        impl SpendSums {
            /// The names of the columns.
            pub const COLUMNS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// In the order of the columns.
            pub fn values(&self) -> Vec<i64> {
                vec![$(self.$field),*]
            }

            /// Reads the sums, which `column` gives by their place in [`SpendSums::COLUMNS`].
            pub fn read<E>(mut column: impl FnMut(usize) -> Result<i64, E>) -> Result<SpendSums, E> {
                let mut at = 0..;
                let mut next = || column(at.next().unwrap_or_default());
                Ok(SpendSums { $($field: next()?),* })
            }

            /// Adds other sums to these. Each saturates.
            pub fn add(&mut self, more: &SpendSums) {
                $(self.$field = self.$field.saturating_add(more.$field);)*
            }
        }
    };
}

sums! {
    requests
    /// A status from 400 on, or an error category.
    errors
    /// Requests with tokens of which no price was known.
    unpriced
    input_tokens
    output_tokens
    /// Of the input.
    cache_read_tokens
    cache_write_5m_tokens
    cache_write_1h_tokens
    /// Of the output.
    reasoning_tokens
    audio_input_tokens
    audio_output_tokens
    image_input_tokens
    image_output_tokens
    /// Searches and other calls of tools at the provider.
    searches
    /// Billionths of a dollar.
    cost
}

/// What sums are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SpendBy {
    Credential,
    /// A request counts in its group and in those that it belongs to.
    Group,
    /// A request counts under each of its tags.
    Tag,
    Model,
    Provider,
    /// Days in UTC.
    Day,
}

impl SpendBy {
    /// Returns the name of the dimension in the table `spend_sums`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SpendBy::Credential => "credential",
            SpendBy::Group => "group",
            SpendBy::Tag => "tag",
            SpendBy::Model => "model",
            SpendBy::Provider => "provider",
            SpendBy::Day => "day",
        }
    }

    /// Returns the column that the rows are grouped by.
    pub(crate) fn column(self) -> &'static str {
        match self {
            SpendBy::Credential => "credential",
            SpendBy::Group => "group_path",
            SpendBy::Tag => "tags",
            SpendBy::Model => "model",
            SpendBy::Provider => "provider",
            SpendBy::Day => "NULL",
        }
    }

    /// What stands between the parts of a text in its column.
    pub(crate) fn separator(self) -> Option<char> {
        match self {
            SpendBy::Group => Some(GROUP_SEPARATOR),
            SpendBy::Tag => Some(TAG_SEPARATOR),
            _ => None,
        }
    }
}

/// Sums that are wanted.
#[derive(Debug, Clone)]
pub struct SpendQuery {
    pub by: SpendBy,
    /// Whether they are also grouped by day.
    pub per_day: bool,
    /// The first and the last day, as in [`SpendKey::day`].
    pub from: i64,
    pub to: i64,
    /// What requests must have in common. A group counts with the groups in it.
    pub only: Vec<(SpendBy, String)>,
}

impl SpendQuery {
    /// Returns whether the rows are of single days.
    pub(crate) fn has_day(&self) -> bool {
        self.per_day || self.by == SpendBy::Day
    }

    /// The dimension of `spend_sums` that has what is wanted, and the one name that is. `None` if
    /// only `spend_days` tells the requests apart.
    pub(crate) fn summed(&self) -> Option<(SpendBy, Option<&str>)> {
        match (self.by, self.only.as_slice()) {
            // Every request has one provider or none.
            (SpendBy::Day, []) => Some((SpendBy::Provider, None)),
            (by, []) => Some((by, None)),
            (SpendBy::Day, [(of, name)]) => Some((*of, Some(name))),
            // Requests of a group or with a tag count in others too.
            (by, [(of, name)]) if by == *of && by.separator().is_none() => Some((by, Some(name))),
            _ => None,
        }
    }
}

/// Sums over the requests that have `group` and `day` in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spend {
    /// `None`: the requests have none.
    pub group: Option<String>,
    /// `None` if sums are not grouped by day.
    pub day: Option<i64>,
    pub sums: SpendSums,
}

/// Takes the texts of a column apart, so that each group and each tag has its sums, and sorts: the
/// newest day first, then the highest cost. Gives at most [`GROUPS`] rows, or [`MOST_ROWS`] by day.
pub fn arrange(query: &SpendQuery, read: Vec<Spend>) -> Vec<Spend> {
    let mut rows = match query.by.separator() {
        None => read,
        Some(separator) => {
            let mut merged = std::collections::HashMap::new();
            for Spend { group, day, sums } in &read {
                for part in group.as_deref().unwrap_or_default().split(separator) {
                    merged.entry((part, *day)).or_insert_with(SpendSums::default).add(sums);
                }
            }
            merged.into_iter().map(|((group, day), sums)| Spend { group: Some(group.to_owned()), day, sums }).collect()
        }
    };
    for row in &mut rows {
        row.group = row.group.take().filter(|group| !group.is_empty());
    }
    // Sums over nothing.
    rows.retain(|row| row.sums != SpendSums::default());
    rows.sort_by(|a, b| {
        let order = |row: &Spend| (std::cmp::Reverse(row.day), -row.sums.cost, -row.sums.requests);
        order(a).cmp(&order(b)).then_with(|| a.group.cmp(&b.group))
    });
    rows.truncate(if query.per_day { MOST_ROWS } else { GROUPS as usize });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spend(group: &str, day: i64, cost: i64) -> Spend {
        Spend {
            group: Some(group.into()),
            day: Some(day),
            sums: SpendSums { requests: 1, cost, ..SpendSums::default() },
        }
    }

    #[test]
    fn each_tag_of_a_row_has_its_sums() {
        let query = SpendQuery { by: SpendBy::Tag, per_day: true, from: 0, to: 9, only: Vec::new() };
        let rows = arrange(&query, vec![spend("a,b", 0, 5), spend("b", 0, 2), spend("", DAY, 1), spend("a", DAY, 3)]);
        let seen: Vec<_> =
            rows.iter().map(|row| (row.group.as_deref(), row.day.unwrap(), row.sums.cost, row.sums.requests)).collect();
        let expected = [(Some("a"), DAY, 3, 1), (None, DAY, 1, 1), (Some("b"), 0, 7, 2), (Some("a"), 0, 5, 1)];
        assert_eq!(seen, expected);
    }

    #[test]
    fn tiers_there_and_back() {
        for (tier, above, text) in [("", 0, ""), ("flex", 0, "flex"), ("", 200_000, ">200000"), ("flex", 9, "flex >9")]
        {
            let of = TierOfPrices { tier, above };
            assert_eq!(of.to_string(), text);
            assert_eq!(TierOfPrices::parse(text), of);
        }
    }
}

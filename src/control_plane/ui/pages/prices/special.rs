//! The columns of a price, and the names and order of its special prices.

use crate::config::prices::{Price, Special, Tier};
use crate::control_plane::ui::html::grouped;

/// The columns of a row: name, title.
pub(super) const COLUMNS: &[(&str, &str)] = &[
    ("input", "Input"),
    ("output", "Output"),
    ("cache_read", "Cached input"),
    ("cache_write_5m", "Cache write, 5 min"),
    ("cache_write_1h", "Cache write, 1 h"),
    ("reasoning", "Reasoning"),
];

/// Returns the special prices by length of the prompt, then by tier.
pub(super) fn sorted(price: &Price) -> Vec<&Special> {
    let mut special: Vec<_> = price.special.iter().collect();
    special.sort_by_key(|special| (special.above, special.tier.name()));
    special
}

/// Returns the title of prices for longer prompts at a tier of service.
pub(super) fn title(tier: Tier, above: u64) -> String {
    let above = i64::try_from(above).unwrap_or(i64::MAX);
    match (tier.name(), above) {
        ("", above) => format!("over {}", grouped(above)),
        (tier, 0) => tier.to_owned(),
        (tier, above) => format!("{tier} over {}", grouped(above)),
    }
}

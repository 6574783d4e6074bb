//! Prices by names and patterns.

use std::collections::HashMap;
use std::sync::Arc;

use super::price::Price;
use crate::config::models::{Entry, Mapping};
use crate::config::pattern::Pattern;

/// Prices by names and patterns.
#[derive(Debug, Default)]
pub struct PriceTable {
    exact: HashMap<String, Arc<Price>>,
    /// In their given order.
    patterns: Vec<(Pattern, Arc<Price>)>,
}

impl PriceTable {
    /// Makes a table. A text that is no pattern is a name.
    pub fn new(rows: impl Iterator<Item = (String, Price)>) -> PriceTable {
        let mut prices = PriceTable::default();
        for (model, price) in rows {
            let price = Arc::new(price);
            if let Ok(Some(pattern)) = Pattern::parse(&model) {
                prices.patterns.push((pattern, price.clone()));
            }
            prices.exact.insert(model, price);
        }
        prices
    }

    /// Returns the price of a model at a provider of this name and type: of its mapping, or else of
    /// the table. `requested` is the client's name of the model, without prefix, and `sent` the
    /// provider's.
    pub fn of(&self, models: &Mapping, key: &str, kind: &str, requested: &str, sent: &str) -> Option<Arc<Price>> {
        // The entry that was used: of what the client named, or of a member of a virtual model.
        let is_used = |entry: &&Entry| !entry.is_pattern() && entry.mapped_name() == sent;
        let named = models.entry(requested).filter(|_| models.resolve(requested).is_some_and(|name| name == sent));
        let other = || models.entries().iter().find(|entry| is_used(entry) && entry.metadata().is_some());
        let metadata = named.or_else(other).or_else(|| models.entry(sent)).and_then(Entry::metadata);
        let of_mapping = metadata.and_then(|text| Price::of(&serde_json::from_str(text).ok()?)).map(Arc::new);
        let [by_key, by_type] = [key, kind].map(|before| format!("{before}/{sent}"));
        of_mapping.or_else(|| self.find(&[&by_key, &by_type, sent, requested]))
    }

    /// Returns the price of the first of `names` that is a name in the table, or else of the first
    /// that matches a pattern.
    pub fn find(&self, names: &[&str]) -> Option<Arc<Price>> {
        let exact = names.iter().find_map(|name| self.exact.get(*name));
        let by_pattern = |name: &&str| self.patterns.iter().find(|(pattern, _)| pattern.matches(name));
        let by_pattern = || names.iter().find_map(by_pattern).map(|(_, price)| price);
        exact.or_else(by_pattern).cloned()
    }
}

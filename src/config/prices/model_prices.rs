//! The prices of one model at the providers that serve it.

use std::sync::Arc;

use super::cost::{May, Most};
use super::price::Price;
use super::table::PriceTable;
use crate::telemetry::record::Short;

/// The prices of a model at the providers that serve it, as one table and their mappings have them.
#[derive(Debug)]
pub struct ModelPrices {
    table: Arc<PriceTable>,
    list: Box<[ProviderPrice]>,
}

/// The price of a model at one provider.
#[derive(Debug)]
pub struct ProviderPrice {
    /// The id of the provider.
    provider: i64,
    /// The provider's name of the model.
    sent: Short<96>,
    price: Option<Arc<Price>>,
    /// The most that a request may cost that has nothing with a price of its own. `None` if that
    /// depends on the length of the prompt or on the tier of service.
    plain: Option<Most>,
}

impl ProviderPrice {
    /// Makes it of a price, which may be unknown. `sent` is the provider's name of the model.
    pub fn new(provider: i64, sent: &str, price: Option<Arc<Price>>) -> ProviderPrice {
        let plain = price.as_deref().filter(|price| price.special.is_empty()).map(|price| price.most(&May::default()));
        ProviderPrice { provider, sent: Short::new(sent), price, plain }
    }

    fn most(&self, may: &May) -> Option<Most> {
        let has_extras = may.writes_cache || may.has_media || may.searches;
        self.plain.filter(|_| !has_extras).or_else(|| Some(self.price.as_deref()?.most(may)))
    }
}

impl ModelPrices {
    /// Collects prices that were found in `table` and in the mappings of the providers.
    pub fn new(table: Arc<PriceTable>, list: impl Iterator<Item = ProviderPrice>) -> ModelPrices {
        ModelPrices { table, list: list.collect() }
    }

    /// Returns whether the prices are those of this table.
    pub fn are_of(&self, table: &Arc<PriceTable>) -> bool {
        Arc::ptr_eq(&self.table, table)
    }

    /// Returns whether the price at every provider is known.
    pub fn are_complete(&self) -> bool {
        self.list.iter().all(|of| of.price.is_some())
    }

    /// Returns whether no price is known.
    pub fn are_unknown(&self) -> bool {
        self.list.iter().all(|of| of.price.is_none())
    }

    /// Returns whether some price fulfils a condition.
    pub fn any(&self, condition: impl Fn(&Price) -> bool) -> bool {
        self.list.iter().filter_map(|of| of.price.as_deref()).any(condition)
    }

    /// Returns the price of the model that was sent to a provider, or else of any that may be sent
    /// there.
    pub fn of(&self, provider: i64, sent: &Short<96>) -> Option<&Price> {
        let of_provider = || self.list.iter().filter(|of| of.provider == provider);
        let exact = of_provider().find(|of| of.sent == *sent);
        exact.or_else(|| of_provider().next()).and_then(|found| found.price.as_deref())
    }

    /// Returns the most that a request may cost at each provider of which the price is known, or at
    /// one provider.
    pub fn most<'a>(&'a self, may: &'a May, provider: Option<i64>) -> impl Iterator<Item = Most> + 'a {
        let asked = self.list.iter().filter(move |of| provider.is_none_or(|provider| of.provider == provider));
        asked.filter_map(|of| of.most(may))
    }
}

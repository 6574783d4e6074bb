//! The prices of one model at the providers that serve it.

use std::sync::Arc;

use super::cost::{May, Most, Rates};
use super::price::{Price, Tier};
use super::table::PriceTable;
use crate::telemetry::record::{Short, Tokens};

/// The prices of a model at the providers that serve it, as one table and their mappings have them.
#[derive(Debug)]
pub struct ModelPrices {
    table: Arc<PriceTable>,
    list: Box<[ProviderPrice]>,
    has_unknown: bool,
    has_known: bool,
    extras: Extras,
    /// The price that is at least any other one of them in each of its parts, so that no request
    /// costs more elsewhere. `None` if there is none, or one depends on the request.
    highest: Option<Most>,
}

/// What of a request has a price of its own at some provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extras {
    pub hour_writes: bool,
    pub media: bool,
    pub searches: bool,
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
    /// What is in force for every request. `None` if that depends on the same.
    rates: Option<Rates>,
}

impl ProviderPrice {
    /// Makes it of a price, which may be unknown. `sent` is the provider's name of the model.
    pub fn new(provider: i64, sent: &str, price: Option<Arc<Price>>) -> ProviderPrice {
        let simple = price.as_deref().filter(|price| price.special.is_empty());
        let plain = simple.map(|price| price.most(&May::default()));
        let rates = simple.map(|price| price.rates(Tier::Standard, 0));
        ProviderPrice { provider, sent: Short::new(sent), price, plain, rates }
    }

    #[inline]
    fn most(&self, may: &May) -> Option<Most> {
        self.plain.filter(|_| !may.has_extras()).or_else(|| Some(self.price.as_deref()?.most(may)))
    }
}

impl ModelPrices {
    /// Collects prices that were found in `table` and in the mappings of the providers.
    pub fn new(table: Arc<PriceTable>, list: impl Iterator<Item = ProviderPrice>) -> ModelPrices {
        let list: Box<[ProviderPrice]> = list.collect();
        let any = |condition: fn(&Price) -> bool| list.iter().filter_map(|of| of.price.as_deref()).any(condition);
        let extras = Extras {
            hour_writes: any(Price::has_hour_writes),
            media: any(Price::has_media),
            searches: any(|price| price.per_search.is_some()),
        };
        let has_unknown = list.iter().any(|of| of.price.is_none());
        let has_known = list.iter().any(|of| of.price.is_some());
        let highest = highest(&list);
        ModelPrices { table, list, has_unknown, has_known, extras, highest }
    }

    /// Returns the price that is the highest for every request, if there is such a one for requests
    /// as this one.
    #[inline]
    pub fn highest(&self, may: &May) -> Option<Most> {
        self.highest.filter(|_| !may.has_extras())
    }

    /// Returns whether the prices are those of this table.
    pub fn are_of(&self, table: &Arc<PriceTable>) -> bool {
        Arc::ptr_eq(&self.table, table)
    }

    /// Returns whether the price at every provider is known.
    pub fn are_complete(&self) -> bool {
        !self.has_unknown
    }

    /// Returns whether no price is known.
    pub fn are_unknown(&self) -> bool {
        !self.has_known
    }

    /// Returns what has a price of its own at some provider.
    pub fn extras(&self) -> Extras {
        self.extras
    }

    /// Returns the price of the model that was sent to a provider, or else of any that may be sent
    /// there.
    pub fn of(&self, provider: i64, sent: &Short<96>) -> Option<&Price> {
        self.find(provider, sent)?.price.as_deref()
    }

    #[inline]
    fn find(&self, provider: i64, sent: &Short<96>) -> Option<&ProviderPrice> {
        if let [only] = &*self.list {
            return (only.provider == provider).then_some(only);
        }
        self.find_among_many(provider, sent)
    }

    /// It is no part of what is inlined into the request path.
    #[inline(never)]
    fn find_among_many(&self, provider: i64, sent: &Short<96>) -> Option<&ProviderPrice> {
        let of_provider = || self.list.iter().filter(|of| of.provider == provider);
        of_provider().find(|of| of.sent == *sent).or_else(|| of_provider().next())
    }

    /// Returns what one request has cost that used these tokens at a tier of service, in billionths
    /// of a dollar. `requests` is how often its fee counts. `None` if the price is not known.
    #[inline]
    pub fn cost(&self, (provider, sent): (i64, &Short<96>), tier: &str, used: &Tokens, requests: u64) -> Option<u64> {
        let found = self.find(provider, sent)?;
        let price = found.price.as_deref()?;
        match &found.rates {
            Some(rates) => Some(price.cost_at(rates, used, requests)),
            None => Some(price.cost_at(&price.rates(Tier::of(tier.as_bytes()), used.input), used, requests)),
        }
    }

    /// Returns the most that a request may cost at each provider of which the price is known, or at
    /// one provider.
    #[inline]
    pub fn most<'a>(&'a self, may: &'a May, provider: Option<i64>) -> impl Iterator<Item = Most> + 'a {
        let asked = self.list.iter().filter(move |of| provider.is_none_or(|provider| of.provider == provider));
        asked.filter_map(|of| of.most(may))
    }
}

/// Finds the price that is the highest in each of its parts among those that are known.
fn highest(list: &[ProviderPrice]) -> Option<Most> {
    let known = || list.iter().filter(|of| of.price.is_some());
    let is_above =
        |one: &Most, other: &Most| one.input >= other.input && one.output >= other.output && one.fees >= other.fees;
    let is_highest = |one: &Most| known().all(|of| of.plain.as_ref().is_some_and(|other| is_above(one, other)));
    known().filter_map(|of| of.plain).find(is_highest)
}

//! Prices of models, from the metadata of a mapping or from the common JSON form of published price
//! lists.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::pattern::Pattern;
use super::snapshot::Provider;

/// The price of a model, in dollars per million tokens. `None` is unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Price {
    pub input: Option<f64>,
    pub output: Option<f64>,
    pub cache_read: Option<f64>,
    /// Tokens written to a cache for five minutes, or for an unknown time.
    pub cache_write_5m: Option<f64>,
    /// Tokens written to a cache for an hour.
    pub cache_write_1h: Option<f64>,
    pub reasoning: Option<f64>,
}

/// A field of the metadata, its factor to dollars per million tokens, and what it sets. Of two rows
/// for the same price the later one counts.
type Field = (&'static str, f64, fn(&mut Price) -> &mut Option<f64>);

const FIELDS: &[Field] = &[
    ("input_cost_per_1k_tokens", 1e3, |price| &mut price.input),
    ("output_cost_per_1k_tokens", 1e3, |price| &mut price.output),
    ("input_cost_per_token", 1e6, |price| &mut price.input),
    ("output_cost_per_token", 1e6, |price| &mut price.output),
    ("cache_read_input_token_cost", 1e6, |price| &mut price.cache_read),
    ("cache_creation_input_token_cost", 1e6, |price| &mut price.cache_write_5m),
    ("cache_creation_input_token_cost_above_1hr", 1e6, |price| &mut price.cache_write_1h),
    ("output_cost_per_reasoning_token", 1e6, |price| &mut price.reasoning),
];

impl Price {
    /// Reads the price in `metadata`. `None` if it has no price per token.
    pub fn of(metadata: &Value) -> Option<Price> {
        let mut price = Price::default();
        for (name, factor, field) in FIELDS {
            // Some lists have numbers as text, to keep every digit.
            let value = match metadata.get(name) {
                Some(Value::Number(number)) => number.as_f64(),
                Some(Value::String(text)) => text.trim().parse().ok(),
                _ => None,
            };
            if let Some(value) = value.filter(|value: &f64| value.is_finite() && *value >= 0.0) {
                // Rounded to a millionth of a dollar: the rest is noise of the factor.
                *field(&mut price) = Some((value * factor * 1e6).round() / 1e6);
            }
        }
        (price.input.is_some() || price.output.is_some()).then_some(price)
    }
}

/// Tokens of a request, by what they cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// All input, cached or not.
    pub input: u64,
    /// All output, reasoning included.
    pub output: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub reasoning: u64,
}

impl Price {
    /// Returns the cost in billionths of a dollar. Tokens without a price of their own cost what their
    /// kind does: cached tokens cost as input, reasoning tokens as output.
    pub fn cost(&self, tokens: &Used) -> u64 {
        let (input, output) = (self.input.unwrap_or(0.0), self.output.unwrap_or(0.0));
        let writes = tokens.cache_write_5m.saturating_add(tokens.cache_write_1h);
        let plain = tokens.input.saturating_sub(tokens.cache_read).saturating_sub(writes);
        let visible = tokens.output.saturating_sub(tokens.reasoning);
        let write_5m = self.cache_write_5m.unwrap_or(input);
        let parts = [
            (plain, input),
            (tokens.cache_read, self.cache_read.unwrap_or(input)),
            (tokens.cache_write_5m, write_5m),
            (tokens.cache_write_1h, self.cache_write_1h.unwrap_or(write_5m)),
            (visible, output),
            (tokens.reasoning.min(tokens.output), self.reasoning.unwrap_or(output)),
        ];
        // A dollar for a million tokens is a thousand billionths for one.
        parts.iter().map(|(count, dollars)| *count as f64 * dollars * 1000.0).sum::<f64>().round() as u64
    }

    /// The most that a token of a prompt may cost, and the most that one of a response may, in
    /// billionths of a dollar. `writes_cache` is whether the prompt may be written to a cache.
    pub fn most(&self, writes_cache: bool) -> (f64, f64) {
        let input = self.input.unwrap_or(0.0);
        let writes = [self.cache_write_5m, self.cache_write_1h].into_iter().flatten().filter(|_| writes_cache);
        let input = writes.fold(input, f64::max);
        let output = self.reasoning.into_iter().fold(self.output.unwrap_or(0.0), f64::max);
        (input * 1000.0, output * 1000.0)
    }
}

/// Prices by names and patterns.
#[derive(Debug, Default)]
pub struct PriceTable {
    exact: HashMap<String, Price>,
    /// In their given order.
    patterns: Vec<(Pattern, Price)>,
}

impl PriceTable {
    /// Makes a table. A text that is no pattern is a name.
    pub fn new(rows: impl Iterator<Item = (String, Price)>) -> PriceTable {
        let mut prices = PriceTable::default();
        for (model, price) in rows {
            if let Ok(Some(pattern)) = Pattern::parse(&model) {
                prices.patterns.push((pattern, price));
            }
            prices.exact.insert(model, price);
        }
        prices
    }

    /// Returns the price of a model at a provider: of the mapping, or else of the table. `requested` is
    /// the client's name of the model, without prefix, and `sent` the provider's.
    pub fn of(&self, provider: &Provider, requested: &str, sent: &str) -> Option<Price> {
        let metadata = provider.models.entry(requested).and_then(|entry| entry.metadata());
        let of_mapping = metadata.and_then(|text| Price::of(&serde_json::from_str(text).ok()?));
        let [by_key, by_type] = [&provider.key, &provider.provider_type].map(|before| format!("{before}/{sent}"));
        of_mapping.or_else(|| self.find(&[&by_key, &by_type, sent, requested]))
    }

    /// Returns the price of the first of `names` that is a name in the table, or else of the first that
    /// matches a pattern.
    pub fn find(&self, names: &[&str]) -> Option<Price> {
        let exact = names.iter().find_map(|name| self.exact.get(*name));
        let by_pattern = |name: &&str| self.patterns.iter().find(|(pattern, _)| pattern.matches(name));
        exact.copied().or_else(|| names.iter().find_map(by_pattern).map(|(_, price)| *price))
    }
}

/// The content of a price list.
#[derive(Debug, Default, PartialEq)]
pub struct Published {
    pub prices: BTreeMap<String, Price>,
    /// The number of entries without a price per token: they are paid by image, second or page.
    pub without: usize,
}

/// Bounds the name of a model, in bytes.
const MAX_NAME: usize = 512;

/// Reads `{"MODEL": {"input_cost_per_token": 1e-6, ...}, ...}`. The error says what is wrong with
/// `file`, which `json` is from.
pub fn published(file: &str, json: &str) -> Result<Published, String> {
    let list: BTreeMap<String, Value> = serde_json::from_str(json)
        .map_err(|error| format!("{file} is no list of prices, which is a JSON object by model: {error}"))?;
    let mut found = Published::default();
    for (model, entry) in list {
        // This entry describes the fields of such lists, and is no model.
        if model == "sample_spec" {
            continue;
        }
        match Price::of(&entry) {
            Some(price) if !model.is_empty() && model.len() <= MAX_NAME && !model.contains('\0') => {
                found.prices.insert(model, price);
            }
            _ => found.without += 1,
        }
    }
    if found.prices.is_empty() {
        return Err(format!("{file} has no model with input_cost_per_token or output_cost_per_token"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prices_in_metadata() {
        let full = json!({
            "input_cost_per_token": 3e-6, "output_cost_per_token": 1.5e-5, "cache_read_input_token_cost": "3e-07",
            "cache_creation_input_token_cost": 3.75e-6, "cache_creation_input_token_cost_above_1hr": 6e-6,
            "output_cost_per_reasoning_token": 2e-5, "mode": "chat",
        });
        let price = Price {
            input: Some(3.0),
            output: Some(15.0),
            cache_read: Some(0.3),
            cache_write_5m: Some(3.75),
            cache_write_1h: Some(6.0),
            reasoning: Some(20.0),
        };
        assert_eq!(Price::of(&full), Some(price));
        let old = json!({ "input_cost_per_1k_tokens": 0.00015, "output_cost_per_1k_tokens": 0.0006 });
        assert_eq!(Price::of(&old), Some(Price { input: Some(0.15), output: Some(0.6), ..Price::default() }));
        for nothing in
            [json!({}), json!(null), json!({ "input_cost_per_token": -1 }), json!({ "input_cost_per_token": "free" })]
        {
            assert_eq!(Price::of(&nothing), None, "{nothing}");
        }
    }

    #[test]
    fn names_go_before_patterns() {
        let price = |dollars| Price { input: Some(dollars), ..Price::default() };
        let rows = [("gpt-*", 1.0), ("gpt-4", 2.0), ("azure/gpt-4", 3.0), ("re:(", 4.0)];
        let prices = PriceTable::new(rows.into_iter().map(|(model, dollars)| (model.to_owned(), price(dollars))));
        let find = |names: &[&str]| prices.find(names).and_then(|price| price.input);
        assert_eq!(find(&["openai/gpt-4", "gpt-4"]), Some(2.0));
        assert_eq!(find(&["azure/gpt-4", "gpt-4"]), Some(3.0));
        assert_eq!(find(&["openai/gpt-5", "gpt-5"]), Some(1.0));
        assert_eq!((find(&["claude"]), find(&["re:("])), (None, Some(4.0)));
    }

    #[test]
    fn price_lists() {
        let list = r#"{"sample_spec":{"input_cost_per_token":0.0},"m":{"input_cost_per_token":1e-6},"image":{"input_cost_per_image":1}}"#;
        let found = published("x.json", list).unwrap();
        assert_eq!((found.prices.len(), found.without, found.prices["m"].input), (1, 1, Some(1.0)));
        assert!(published("x.json", "[]").unwrap_err().starts_with("x.json is no list of prices"));
        assert!(published("x.json", "{}").unwrap_err().starts_with("x.json has no model with"));
    }

    #[test]
    fn what_a_request_costs() {
        let price = Price {
            input: Some(3.0),
            output: Some(15.0),
            cache_read: Some(0.3),
            cache_write_5m: Some(3.75),
            cache_write_1h: Some(6.0),
            reasoning: Some(20.0),
        };
        let few = Price { input: Some(3.0), output: Some(15.0), ..Price::default() };
        let plain = Used { input: 1000, output: 100, ..Used::default() };
        let full = Used { cache_read: 500, cache_write_5m: 200, cache_write_1h: 100, reasoning: 40, ..plain };
        // Reported beside the input where it should be within.
        let odd = Used { cache_read: 5000, ..plain };
        let rows = [
            (price, plain, 3_000_000 + 1_500_000),
            (price, full, 600_000 + 150_000 + 750_000 + 600_000 + 900_000 + 800_000),
            (few, full, 3_000_000 + 1_500_000),
            (price, odd, 1_500_000 + 1_500_000),
            (Price { output: None, ..few }, plain, 3_000_000),
            (Price { input: Some(0.02), ..Price::default() }, Used { input: 7, ..Used::default() }, 140),
        ];
        for (price, tokens, expected) in rows {
            assert_eq!(price.cost(&tokens), expected, "{tokens:?}");
        }
    }
}

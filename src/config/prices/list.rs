//! A list of prices in its common form, and the one that comes with the program.

use std::collections::BTreeMap;

use serde_json::Value;

use super::price::Price;

/// Prices of common models with the page that each was read on and the day. They are used while the
/// table `prices` has no row.
const COMMON: &str = include_str!("common.json");

/// Returns the prices that come with the program. A test reads them.
pub fn common() -> BTreeMap<String, Price> {
    published("the list of this program", COMMON).map(|found| found.prices).unwrap_or_default()
}

/// The content of a price list.
#[derive(Debug, Default, PartialEq)]
pub struct Published {
    pub prices: BTreeMap<String, Price>,
    /// The number of entries without a price that is known here: they are paid by image, second or
    /// page.
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
        return Err(format!("{file} has no model with a price, such as input_cost_per_token or output_cost_per_token"));
    }
    Ok(found)
}

//! Prices of models, from the metadata of a mapping or from the common JSON form of published price
//! lists.
//!
//! | file | what |
//! |---|---|
//! | [`price`] | the price of a model |
//! | [`fields`] | the names of such lists, and what each sets |
//! | [`cost`] | what tokens cost: by kind, by the length of the prompt, by the tier of service |
//! | [`table`] | prices by names and patterns |
//! | [`model_prices`] | the prices of one model at the providers that serve it |
//! | [`list`] | a published list, and the one that comes with the program |

pub mod cost;
pub mod fields;
pub mod list;
pub mod model_prices;
pub mod price;
pub mod table;

pub use cost::Rates;
pub use list::{Published, common, published};
pub use model_prices::{ModelPrices, ProviderPrice};
pub use price::{Part, Price, Special, Tier, TierReader};
pub use table::PriceTable;

#[cfg(test)]
mod tests;

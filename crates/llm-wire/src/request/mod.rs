//! Steps of request translation that all formats share: reading fields, settling parameters,
//! pairing turns, offering tools.

pub(crate) mod cache_points;
pub(crate) mod data_url;
pub(crate) mod fields;
pub(crate) mod nested;
pub(crate) mod pairing;
pub(crate) mod params;
pub(crate) mod reader;
pub mod retry_without;
pub(crate) mod root_choice;
pub(crate) mod schema;
pub(crate) mod thinking;
pub(crate) mod tool_choice;
pub(crate) mod tools;
pub(crate) mod turns;

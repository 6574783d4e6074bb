//! Steps of request translation that all formats share: reading fields, settling parameters,
//! pairing turns, offering tools.

pub mod data_url;
pub mod fields;
pub mod params;
pub mod reader;
pub mod retry_without;
pub mod schema;
pub mod thinking;
pub mod tool_choice;
pub mod tools;
pub mod turns;

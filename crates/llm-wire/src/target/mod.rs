//! What is known of the provider that a request is translated for: its format, the capabilities of
//! its model, and the deviations of its host.

pub mod caps;
pub mod models;
pub mod plan;
pub mod quirks;
pub mod tool_names;

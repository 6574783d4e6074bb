//! What is known of the provider that a request is translated for: its format, the capabilities of
//! its model, and the deviations of its host.

pub mod caps;
pub(crate) mod echo;
pub mod facts;
pub mod overrides;
pub mod plan;
pub mod quirks;
mod setting;
pub(crate) mod tool_names;

//! Metrics of the control plane, and the text of a scrape.

pub mod meter;
pub mod scrape;

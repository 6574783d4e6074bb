//! Metrics of the control plane, and the text of a scrape.

pub(super) mod meter;
pub(super) mod scrape;

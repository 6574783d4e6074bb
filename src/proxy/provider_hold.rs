//! What a request holds of the limits of its provider.

use std::sync::Arc;

use crate::limit::provider::ProviderLimits;
use crate::limit::{Hold, Need};

/// What a request holds of the limits of its provider.
pub struct ProviderHold {
    hold: Hold,
    limits: Arc<ProviderLimits>,
    /// When it began, in nanoseconds on the worker's clock.
    began: u64,
}

impl ProviderHold {
    /// Keeps `hold` for a request that began at `began`, in nanoseconds on the worker's clock.
    pub fn new(hold: Hold, limits: Arc<ProviderLimits>, began: u64) -> ProviderHold {
        ProviderHold { hold, limits, began }
    }

    /// Returns what was estimated when the request was admitted.
    pub fn need(&self) -> Need {
        self.hold.need()
    }

    /// The request has ended at `now`, and used this many tokens.
    pub fn settle(self, now: u64, used: u64) {
        self.limits.record_duration(now.saturating_sub(self.began) / 1_000_000);
        self.hold.settle(now, used);
    }
}

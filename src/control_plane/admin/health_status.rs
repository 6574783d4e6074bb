//! The health of providers as the metrics show it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::snapshot::{Provider, Snapshot};
use crate::control_plane::metrics::meter::ControlPlaneMetrics;
use crate::metrics::gather::Facts;
use crate::metrics::names::Family;

/// The results of the last checks, for the metrics.
pub(super) struct HealthStatus {
    meter: Arc<ControlPlaneMetrics>,
    /// Whether the provider with this id was healthy.
    well: Mutex<HashMap<i64, bool>>,
}

impl HealthStatus {
    pub(super) fn new(meter: Arc<ControlPlaneMetrics>) -> HealthStatus {
        HealthStatus { meter, well: Mutex::default() }
    }

    /// Notes the result of a check.
    pub(super) fn set(&self, provider_id: i64, is_healthy: bool) {
        self.well.lock().unwrap_or_else(PoisonError::into_inner).insert(provider_id, is_healthy);
    }

    /// Observes how long a successful call took.
    pub(super) fn latency(&self, provider: &Provider, elapsed: Duration) {
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        self.meter.with(Family::Latency, &[&provider.key], |series| series.observe(us));
    }

    /// Returns the health of the providers that are served: what traffic tells, and the last check
    /// if there was one.
    pub(super) fn facts(&self, snapshot: &Snapshot, now: u32) -> Facts {
        let well = self.well.lock().unwrap_or_else(PoisonError::into_inner);
        let is_well = |provider: &Provider| {
            let is_served = provider.memory.account.circuit().state(now) != "open";
            is_served && well.get(&provider.id).copied().unwrap_or(true)
        };
        let fact = |provider: &Arc<Provider>| {
            (Family::Health, vec![provider.key.to_string()], f64::from(u8::from(is_well(provider))))
        };
        snapshot.providers.iter().map(fact).collect()
    }
}

//! Gives memory back to the system while nobody uses the gateway: pages of code that the start and
//! earlier requests have run stay mapped otherwise, some megabytes that are not in use.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::metrics::names::Counter;
use crate::shared::{ProcessState, unused_memory};

/// When the first look is: by then providers were asked for their models.
const FIRST: Duration = Duration::from_secs(3);
/// How long no request may have been sent to a provider. The next one maps what it needs again.
const IDLE: Duration = Duration::from_secs(60);

/// Looks whether the gateway is idle.
pub(super) struct IdleMemory {
    shared: Arc<ProcessState>,
    due: Instant,
    /// Attempts at providers until the last look.
    attempts: u64,
    /// Whether everything was given back since.
    is_released: bool,
}

impl IdleMemory {
    /// Looks for the first time after some seconds.
    pub(super) fn new(shared: Arc<ProcessState>) -> IdleMemory {
        IdleMemory { shared, due: Instant::now() + FIRST, attempts: 0, is_released: false }
    }

    /// Waits for the next look. Nothing is lost when the future is dropped.
    pub(super) async fn next(&self) {
        sleep_until(self.due).await;
    }

    /// Gives memory back if no request came since the last look.
    pub(super) fn look(&mut self) {
        let attempts = self.shared.shards.iter().map(|shard| shard.get(Counter::Attempts)).sum();
        let is_idle = attempts == self.attempts;
        if is_idle && !self.is_released {
            unused_memory::release();
        }
        self.is_released = is_idle;
        (self.attempts, self.due) = (attempts, Instant::now() + IDLE);
    }
}

//! How workers call the control plane when a request waits for more of a budget, and how tokens are
//! counted by their price.

use std::sync::OnceLock;
use std::task::Waker;

use crate::config::prices::Used;
use crate::telemetry::record::Tokens;

/// Returns the tokens of a record as prices know them.
pub fn used(tokens: &Tokens) -> Used {
    Used {
        input: tokens.input,
        output: tokens.output,
        cache_read: tokens.cache_read,
        cache_write_5m: tokens.cache_write_5m,
        cache_write_1h: tokens.cache_write_1h,
        reasoning: tokens.reasoning,
        audio_input: tokens.audio_input,
        image_input: tokens.image_input,
        audio_output: tokens.audio_output,
        image_output: tokens.image_output,
        searches: tokens.server_tools,
        requests: 1,
    }
}

#[derive(Debug, Default)]
pub struct BudgetBell(OnceLock<Waker>);

impl BudgetBell {
    /// Sets what is woken. The first one counts.
    pub fn set_waker(&self, waker: Waker) {
        let _ = self.0.set(waker);
    }

    pub fn ring(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake_by_ref();
        }
    }
}

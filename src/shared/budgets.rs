//! How workers wake the control plane when a request waits for more of a budget.

use std::sync::OnceLock;
use std::task::Waker;

/// Wakes the part of the control plane that fetches slices of budgets. Its waker is set once.
#[derive(Debug, Default)]
pub struct BudgetWaker(OnceLock<Waker>);

impl BudgetWaker {
    /// Sets the waker. Only the first call has an effect.
    pub fn set_waker(&self, waker: Waker) {
        let _ = self.0.set(waker);
    }

    /// Wakes the control plane. Does nothing before it has set its waker.
    pub fn wake(&self) {
        if let Some(waker) = self.0.get() {
            waker.wake_by_ref();
        }
    }
}

//! What a request takes of the limits of its credential before a provider is tried.

use super::auth::{self, Caller};
use super::core::WorkerSnapshot;
use super::request_context::RequestContext;
use crate::limit::Need;
use crate::metrics::names::Counter;
use llm_wire::error::Error;

/// Takes what the request needs from the limits of its credential. `need` is asked if one of them
/// counts tokens.
pub fn reserve(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    caller: Caller<'_>,
    need: impl FnOnce(&RequestContext<'_>) -> Need,
) -> Result<(), Error> {
    match auth::admit(req.core, caller, || need(req)) {
        Ok(None) => Ok(()),
        Ok(Some((hold, budget))) => {
            req.recorder.set_limit_hold(hold);
            req.meta.budget = Some(budget);
            Ok(())
        }
        Err(denied) => {
            let auth::Denied { error, budget, limit } = *denied;
            req.core.metrics.inc(Counter::RateLimited);
            if let Some(credential) = caller {
                let max = req.core.boot().observe.metrics_max_credentials;
                req.core.request_metrics.borrow_mut().record_rejection(limit, credential, &view.snapshot, max);
            }
            req.meta.budget = Some(budget);
            Err(error)
        }
    }
}

//! What is recorded and counted of a translation.

use super::Relay;
use crate::metrics::names::{Counter, Grid};
use crate::proxy::prepare::Translated;
use crate::proxy::request_context::RequestContext;
use crate::telemetry::record::{Source as TokenSource, Tokens};
use llm_wire::canonical::event::{Note, Reason};

impl Relay<'_> {
    /// Records usage, finish reason and model, as far as the response had them.
    pub(super) fn record_summary(&self, req: &mut RequestContext<'_>) {
        if let Some(usage) = self.translator.usage() {
            let is_reported = self.translator.notes().all(|(note, _)| note != Note::EstimatedUsage);
            let source = if is_reported { TokenSource::Provider } else { TokenSource::Estimate };
            req.recorder.record_mut().tokens = Some(Tokens { source, ..Tokens::reported(&usage) });
        }
        req.recorder.record_mut().finish = self.translator.reason().map(Reason::label);
        if let Some(model) = self.translator.model() {
            req.recorder.set_responding_model(|| Some(model.into()));
        }
        let plan = &self.translator.reply.plan;
        let sides = (plan.client as usize, plan.provider as usize);
        for (note, n) in self.translator.notes() {
            req.core.metrics.add(Counter::TranslationOddities, u64::from(n));
            let _ = note.loss().map(|loss| req.core.metrics.add_to(Grid::Dropped, loss as usize, sides, u64::from(n)));
        }
    }
}

/// Counts the translation with its losses and repairs.
pub(in crate::proxy::relay) fn count_losses(req: &RequestContext<'_>, translated: &Translated) {
    let metrics = &req.core.metrics;
    metrics.inc(Counter::Translated);
    let sides = (translated.plan.client as usize, translated.plan.provider as usize);
    for (loss, _) in translated.ledger.losses() {
        metrics.add_to(Grid::Dropped, loss as usize, sides, 1);
    }
    for (repair, n) in translated.ledger.repairs() {
        metrics.add_to(Grid::Repaired, repair as usize, sides, u64::from(n));
    }
}

//! What the record and the metrics get of a translation.

use super::super::prepare::Translated;
use super::super::request_context::RequestContext;
use crate::metrics::names::{Counter, Grid};
use crate::telemetry::record::{Source as TokenSource, Tokens};
use llm_wire::canonical::event::{Note, Reason};
use llm_wire::translate::Translator;

/// Records usage, finish reason and model, as far as the response had them.
pub(super) fn record_summary(req: &mut RequestContext<'_>, translator: &Translator) {
    if let Some(usage) = translator.usage() {
        let is_reported = translator.notes().all(|(note, _)| note != Note::EstimatedUsage);
        let source = if is_reported { TokenSource::Provider } else { TokenSource::Estimate };
        req.recorder.record_mut().tokens = Some(Tokens { source, ..Tokens::reported(&usage) });
    }
    req.recorder.record_mut().finish = translator.reason().map(Reason::label);
    if let Some(model) = translator.model() {
        req.recorder.set_responding_model(|| Some(model.into()));
    }
    let plan = &translator.reply.plan;
    let sides = (plan.client as usize, plan.provider as usize);
    for (note, n) in translator.notes() {
        req.core.metrics.add(Counter::TranslationOddities, u64::from(n));
        let _ = note.loss().map(|loss| req.core.metrics.add_to(Grid::Dropped, loss as usize, sides, u64::from(n)));
    }
}

/// Counts the translation with its losses and repairs.
pub(super) fn count_losses(req: &RequestContext<'_>, translated: &Translated) {
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

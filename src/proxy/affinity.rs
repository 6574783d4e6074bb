//! The provider that a conversation belongs to, by what it has sealed for it, or else by the key of
//! the conversation (`route::affinity`).
//!
//! Opaque reasoning can be read by the account that made it alone
//! (`docs/internals/translation/reasoning.md`, "Account affinity"). A history with such reasoning
//! goes to that account first, whichever candidate is next in turn. If it fails, the next one gets
//! the conversation without the reasoning.

use crate::config::boot::Affinity;
use crate::metrics::names::Counter;
use crate::proxy::core::WorkerSnapshot;
use crate::proxy::endpoint::Operation;
use crate::proxy::request_context::RequestContext;
use crate::route::affinity::{ConversationKey, Load};
use crate::route::pick::{Candidate, Candidates};
use llm_wire::json::RawStr;
use llm_wire::reasoning::envelope;
use llm_wire::reasoning::envelope::{Family, Scope, model_family};

/// Returns the candidate that made the last reasoning in the history, if there is a choice.
pub fn find<'c>(req: &RequestContext<'_>, view: &WorkerSnapshot, candidates: &'c Candidates) -> Option<&'c Candidate> {
    if candidates.list.len() < 2 || !req.has_envelope || req.route.operation != Operation::Generate {
        return None;
    }
    let body = req.body();
    let (family, scope) = envelope::owner(RawStr::new(&body[envelope::find(body).last()?]))?;
    candidates.list.iter().find(|candidate| {
        let dialect = &view.provider(candidate.provider).dialect;
        let model = &candidate.upstream_model;
        Family::of(candidate.target.format, dialect.host) == family
            && Scope::new(&dialect.account, model_family(model)) == scope
    })
}

/// Returns the candidate that the conversation of a request belongs to, if there is a choice, and
/// counts the request there while the other part is kept.
pub fn of_conversation<'c>(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    candidates: &'c Candidates,
) -> Option<(&'c Candidate, Load)> {
    let setting = req.core.boot().affinity;
    if candidates.list.len() < 2 || setting == Affinity::Off || req.route.operation != Operation::Generate {
        return None;
    }
    let prefix = || (setting == Affinity::Prefix).then(|| ConversationKey::of_prefix(req.body()))?;
    let key = req.session.or_else(prefix)?;
    let (providers, policy) = (&view.snapshot.providers, &req.core.boot().adaptive);
    let (candidate, is_passed_over) = candidates.of_conversation(key, providers, policy, req.core.ticks())?;
    req.core.metrics.inc(if is_passed_over { Counter::AffinityPassedOver } else { Counter::AffinityKept });
    Some((candidate, Load::begin(view.provider(candidate.provider).memory.conversations.clone())))
}

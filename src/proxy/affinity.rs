//! The provider that a conversation belongs to.
//!
//! Reasoning that one account has sealed can be read by that account only
//! (`docs/internals/translation/reasoning.md`, "Account affinity"). A history that carries it goes
//! there first, whoever's turn it is; if that provider fails, the next one gets the conversation
//! without.

use crate::proxy::core::WorkerSnapshot;
use crate::proxy::endpoint::Operation;
use crate::proxy::request_context::RequestContext;
use crate::route::pick::{Candidate, Candidates};
use llm_wire::json::RawStr;
use llm_wire::reasoning::envelope;
use llm_wire::reasoning::envelope::{Family, Scope, model_family};

/// The candidate that sealed the last reasoning in the history, if there is a choice at all.
pub fn find<'c>(req: &RequestContext<'_>, view: &WorkerSnapshot, candidates: &'c Candidates) -> Option<&'c Candidate> {
    if candidates.list.len() < 2 || req.route.operation != Operation::Generate {
        return None;
    }
    let body = req.body();
    let (family, scope) = envelope::owner(RawStr::new(&body[envelope::find(body).last()?]))?;
    candidates.list.iter().find(|candidate| {
        let dialect = &view.provider(candidate.provider).dialect;
        let model = candidate.upstream_model.as_deref().unwrap_or(req.model.stripped());
        Family::of(candidate.reach.format, dialect.host) == family
            && Scope::new(&dialect.account, model_family(model)) == scope
    })
}

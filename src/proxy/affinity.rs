//! The provider that a conversation belongs to.
//!
//! Opaque reasoning can be read by the account that made it alone
//! (`docs/internals/translation/reasoning.md`, "Account affinity"). A history with such reasoning
//! goes to that account first, whichever candidate is next in turn. If it fails, the next
//! one gets the conversation without the reasoning.

use crate::proxy::core::WorkerSnapshot;
use crate::proxy::endpoint::Operation;
use crate::proxy::request_context::RequestContext;
use crate::route::pick::{Candidate, Candidates};
use llm_wire::json::RawStr;
use llm_wire::reasoning::envelope;
use llm_wire::reasoning::envelope::{Family, Scope, model_family};

/// Returns the candidate that made the last reasoning in the history, if there is a choice.
pub fn find<'c>(req: &RequestContext<'_>, view: &WorkerSnapshot, candidates: &'c Candidates) -> Option<&'c Candidate> {
    if candidates.list.len() < 2 || req.route.operation != Operation::Generate {
        return None;
    }
    let body = req.body();
    let (family, scope) = envelope::owner(RawStr::new(&body[envelope::find(body).last()?]))?;
    candidates.list.iter().find(|candidate| {
        let dialect = &view.provider(candidate.provider).dialect;
        let model = candidate.upstream_model.as_deref().unwrap_or(req.model.name());
        Family::of(candidate.target.format, dialect.host) == family
            && Scope::new(&dialect.account, model_family(model)) == scope
    })
}

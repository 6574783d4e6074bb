//! The provider that a conversation belongs to.
//!
//! Reasoning that one account has sealed can be read by that account only (`translation.md` 1.9.1). A history that carries it goes there
//! first, whoever's turn it is; if that provider fails, the next one gets the conversation without.

use super::core::View;
use super::endpoint::Operation;
use super::request::Exchange;
use crate::json::RawStr;
use crate::route::pick::{Candidate, Candidates};
use crate::wire::envelope::{self, Family, Scope, model_family};

/// The candidate that sealed the last reasoning in the history, if there is a choice at all.
pub fn find<'c>(x: &Exchange<'_>, view: &View, candidates: &'c Candidates) -> Option<&'c Candidate> {
    if candidates.list.len() < 2 || x.relay.operation != Operation::Generate {
        return None;
    }
    let body = x.body();
    let (family, scope) = envelope::owner(RawStr::new(&body[envelope::find(body).last()?]))?;
    candidates.list.iter().find(|candidate| {
        let dialect = &view.provider(candidate.provider).dialect;
        let model = candidate.upstream_model.as_deref().unwrap_or(x.model.stripped());
        Family::of(candidate.reach.format, dialect.host) == family
            && Scope::new(&dialect.account, model_family(model)) == scope
    })
}

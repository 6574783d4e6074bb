//! Who has issued the response that a request names. A provider that keeps responses knows its own
//! alone, so what names one goes to the account that has issued it.
//!
//! The ids are learned from the responses that pass (`shared::issued_ids`). A response belongs to
//! the credential that asked for it, and to the others of its group: for every other it does not
//! exist. Of an id that is not known the providers are asked in turn.

use super::core::{Core, WorkerSnapshot};
use super::endpoint::Operation;
use super::files;
use super::request_context::{Issuer, RequestContext};
use crate::metrics::names::Counter;
use crate::route::pick::{Candidate, Candidates};
use crate::shared::issued_ids::{ANY_OWNER, Issued};
use llm_wire::error::Error;
use llm_wire::json::RawStr;
use llm_wire::passthrough::tap;
use llm_wire::sse::Block;

/// Finds who has issued the response `id`. `forbidden` is the error for a caller that it does not
/// belong to.
pub fn find(req: &RequestContext<'_>, id: &[u8], forbidden: impl FnOnce() -> Error) -> Result<Issuer, Error> {
    let issued = &req.core.shared.issued;
    let hash = issued.hash(id);
    match issued.find(hash) {
        None => Ok(Issuer::Unknown(hash)),
        Some(Issued { provider, owner }) if owner == req.owner || owner == ANY_OWNER => Ok(Issuer::Known(provider)),
        Some(_) => {
            req.core.metrics.inc(Counter::IssuerOther);
            Err(forbidden())
        }
    }
}

/// Returns the candidate that has issued the response which a request names, and the only one that
/// can serve it. `None` if that is not known, or if the issuer is no candidate any more.
pub fn candidate<'c>(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    candidates: &'c Candidates,
) -> Option<&'c Candidate> {
    let found = match req.issuer {
        Issuer::NotNamed => return None,
        Issuer::Unknown(_) => None,
        Issuer::Known(id) => candidates.list.iter().find(|candidate| {
            candidate.target.format.profile().request.has_state && view.provider(candidate.provider).id == id
        }),
    };
    req.core.metrics.inc(if found.is_some() { Counter::IssuerKnown } else { Counter::IssuerUnknown });
    found
}

/// Returns whether the response of a provider has an id that it may be named by later.
pub fn issues_ids(req: &RequestContext<'_>) -> bool {
    req.route.format.profile().request.has_state
        && req.route.operation == Operation::Generate
        && !is_unstored(req.body())
}

/// Remembers which provider has issued a response, and for whom.
pub fn remember(core: &Core, id: RawStr<'_>, provider: i64, owner: u64) {
    let issued = &core.shared.issued;
    issued.remember(issued.hash(id.unescape().as_bytes()), Issued { provider, owner });
}

/// What is learned from the events of a stream: who has issued the response, and which files it
/// names.
pub struct IdWatch {
    /// Who owns the response, until its id is known. `None` if it is not kept.
    owner: Option<u64>,
    /// For whom files are learned. `None` if no other account serves the model, so that it does not
    /// matter which one has a file.
    owner_of_files: Option<u64>,
}

impl IdWatch {
    /// Begins with a response of which nothing has come.
    pub fn begin(req: &RequestContext<'_>) -> IdWatch {
        let matters = req.pooled && req.route.operation == Operation::Generate;
        IdWatch { owner: issues_ids(req).then_some(req.owner), owner_of_files: matters.then_some(req.owner) }
    }

    /// Takes an event of `provider` in.
    pub fn note_event(&mut self, core: &Core, provider: i64, block: &Block<'_>) {
        let Some(frame) = &block.frame else { return };
        if let Some(owner) = self.owner
            && let Some(id) = tap::response_id(frame.data)
        {
            remember(core, id, provider, owner);
            self.owner = None;
        }
        if let Some(owner) = self.owner_of_files {
            files::learn_from_answer(core, owner, provider, frame.data);
        }
    }

    /// Returns whether the id of the response is still to come.
    pub fn awaits_id(&self) -> bool {
        self.owner.is_some()
    }

    /// Notes that the response has begun: its id would have come before.
    pub fn end_wait(&mut self) {
        self.owner = None;
    }
}

/// Remembers who has issued the response that a request names, now that this provider has served
/// the request. Who asked for the response is not known.
pub fn confirm(req: &mut RequestContext<'_>) {
    if let Issuer::Unknown(hash) = req.issuer
        && (200..300).contains(&req.recorder.outcome().0)
    {
        let provider = req.recorder.provider();
        req.core.shared.issued.remember(hash, Issued { provider, owner: ANY_OWNER });
        req.issuer = Issuer::Known(provider);
    }
}

/// Returns whether a request says that its response is not to be kept (`"store": false`). Looks at
/// the places that may say so, since bodies are large: in a text the quotes are escaped.
fn is_unstored(body: &[u8]) -> bool {
    memchr::memmem::find_iter(body, b"\"store\"").any(|at| {
        let rest = body[at + b"\"store\"".len()..].trim_ascii_start();
        rest.strip_prefix(b":").is_some_and(|value| value.trim_ascii_start().starts_with(b"false"))
    })
}

#[cfg(test)]
mod tests {
    use super::is_unstored;

    #[test]
    fn responses_that_are_not_kept() {
        let rows = [
            (r#"{"model":"m","store":false}"#, true),
            (r#"{"store" : false,"model":"m"}"#, true),
            (r#"{"model":"m"}"#, false),
            (r#"{"model":"m","store":true}"#, false),
            (r#"{"model":"m","store":null}"#, false),
            (r#"{"model":"m","input":"\"store\":false"}"#, false),
            (r#"{"model":"m","input":"store"}"#, false),
        ];
        for (body, expected) in rows {
            assert_eq!(is_unstored(body.as_bytes()), expected, "{body}");
        }
    }
}

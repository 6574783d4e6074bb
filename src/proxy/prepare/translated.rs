//! The body for a provider of another format.

use super::super::request_context::RequestContext;
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::proxy::reasoning_cache::Remembered;
use crate::route::target_format::TargetFormat;
use crate::tokens;
use llm_wire::canonical::loss::Ledger;
use llm_wire::error::Error;
use llm_wire::reasoning::envelope::{Family, Scope, model_family};
use llm_wire::request::retry_without::RetryWithout;
use llm_wire::target::plan::{Context, Plan, Policy, Target};
use llm_wire::translate;

/// What a translation means for the answer.
#[derive(Debug)]
pub struct Translated {
    pub plan: Plan,
    pub ledger: Ledger,
    pub mend: RetryWithout,
    /// Tokens of the request, about.
    pub input_estimate: u64,
}

/// The endpoint of a provider that is asked for `model` in the format of `reach`.
pub fn target<'m>(provider: &Provider, reach: &TargetFormat, model: &'m str) -> Target<'m> {
    let dialect = &provider.dialect;
    Target {
        format: reach.format,
        host: dialect.host,
        quirks: dialect.quirks,
        caps: reach.caps,
        model,
        family: Family::of(reach.format, dialect.host),
        scope: Scope::new(&dialect.account, model_family(model)),
    }
}

/// Errors are the client's: what it asks for cannot be said in the provider's format.
pub fn body(
    req: &RequestContext<'_>,
    provider: &Provider,
    reach: &TargetFormat,
    model: &str,
    mend: RetryWithout,
) -> Result<(Translated, Vec<u8>), Error> {
    let session = req.head.get(req.bytes(), "x-claude-code-session-id").and_then(|id| std::str::from_utf8(id).ok());
    let policy = Policy {
        strict: provider.dialect.strict.unwrap_or(req.core.boot().strict_translation),
        summaries: provider.dialect.policy.summaries && mend != RetryWithout::Summary,
        ..provider.dialect.policy
    };
    let input_estimate = tokens::prompt(req.body());
    let memory = Remembered { core: req.core, credential: req.recorder.credential() };
    let context = Context {
        target: target(provider, reach, model),
        policy,
        client_model: &req.model.asked,
        session,
        input_estimate: Some(input_estimate),
        mend,
        memory: Some(&memory),
    };
    let encoded = translate::request(req.route.format, req.body(), &context)?;
    req.core.metrics.add(Counter::ReasoningRestored, encoded.restored as u64);
    let translated = Translated { plan: encoded.plan, ledger: encoded.ledger, mend, input_estimate };
    Ok((translated, encoded.body))
}

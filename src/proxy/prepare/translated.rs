//! The body for a provider of another format.

use super::super::replay::Remembered;
use super::super::request::Exchange;
use crate::config::snapshot::Provider;
use crate::error::Error;
use crate::metrics::names::Counter;
use crate::route::reach::Reach;
use crate::wire::envelope::{Family, Scope, model_family};
use crate::wire::loss::Ledger;
use crate::wire::mend::Mend;
use crate::wire::plan::{Context, Plan, Policy, Target};
use crate::wire::translate;

/// What a translation means for the answer.
#[derive(Debug)]
pub struct Translated {
    pub plan: Plan,
    pub ledger: Ledger,
    pub mend: Mend,
    /// Tokens of the request, as far as its size tells.
    pub input_estimate: u64,
}

/// The endpoint of a provider that is asked for `model` in the format of `reach`.
pub fn target<'m>(provider: &Provider, reach: &Reach, model: &'m str) -> Target<'m> {
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
    x: &Exchange<'_>,
    provider: &Provider,
    reach: &Reach,
    model: &str,
    mend: Mend,
) -> Result<(Translated, Vec<u8>), Error> {
    let session = x.head.get(x.bytes(), "x-claude-code-session-id").and_then(|id| std::str::from_utf8(id).ok());
    let policy = Policy {
        strict: provider.dialect.strict.unwrap_or(x.core.boot().strict_translation),
        summaries: provider.dialect.policy.summaries && mend != Mend::Summary,
        ..provider.dialect.policy
    };
    let input_estimate = estimate(x.body());
    let memory = Remembered { core: x.core, credential: x.ticket.credential() };
    let context = Context {
        target: target(provider, reach, model),
        policy,
        client_model: &x.model.asked,
        session,
        input_estimate: Some(input_estimate),
        mend,
        memory: Some(&memory),
    };
    let encoded = translate::request(x.relay.format, x.body(), &context)?;
    x.core.metrics.add(Counter::ReasoningRestored, encoded.restored as u64);
    let translated = Translated { plan: encoded.plan, ledger: encoded.ledger, mend, input_estimate };
    Ok((translated, encoded.body))
}

/// Some four bytes make a token of JSON with English in it.
fn estimate(body: &[u8]) -> u64 {
    (body.len() as u64).div_ceil(4)
}

//! Prepares the body for a provider of another format.

use std::cell::Cell;
use std::rc::Rc;

use super::super::core::WorkerSnapshot;
use super::super::request_context::RequestContext;
use super::super::translation_key::TranslationOf;
use super::bypass::{limit_field, set_limit};
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::proxy::reasoning_cache::CredentialMemory;
use crate::route::target_format::TargetFormat;
use crate::tokens;
use llm_wire::Format;
use llm_wire::canonical::loss::Ledger;
use llm_wire::error::Error;
use llm_wire::json::{RawValue, write};
use llm_wire::passthrough::splice::Splice;
use llm_wire::reasoning::envelope::{Family, Scope, model_family};
use llm_wire::request::retry_without::RetryWithout;
use llm_wire::target::plan::{Context, Plan, Policy, Target};
use llm_wire::translate;
use llm_wire::translate::Encoded;

/// What the relay needs to translate the response.
#[derive(Debug)]
pub struct Translated {
    pub plan: Plan,
    pub ledger: Ledger,
    pub retry_without: RetryWithout,
}

/// Describes the endpoint of a provider for `model`, as the encoder needs it.
fn target<'m>(provider: &Provider, target: &TargetFormat, model: &'m str, scope: Scope) -> Target<'m> {
    let dialect = &provider.dialect;
    Target {
        format: target.format,
        host: dialect.host,
        quirks: dialect.quirks,
        caps: target.caps,
        model,
        family: Family::of(target.format, dialect.host),
        scope,
    }
}

/// Returns the plan by which a response of the client's own format is converted: from a stream to a
/// whole response, or back.
pub fn conversion(
    req: &RequestContext<'_>,
    provider: &Provider,
    target_format: &TargetFormat,
    model: &str,
) -> Translated {
    let scope = Scope::new(&provider.dialect.account, model_family(model));
    let context = Context::new(target(provider, target_format, model, scope), &req.model.requested);
    let plan = Plan {
        stream: req.stream,
        upstream_stream: !req.stream,
        include_usage: req.stream_options.include_usage,
        ..Plan::new(req.route.format, RawValue::new(req.body()), &context)
    };
    Translated { plan, ledger: Ledger::default(), retry_without: RetryWithout::Nothing }
}

/// Translates the body. Errors are the client's: its request cannot be expressed in the provider's
/// format.
pub fn body(
    req: &RequestContext<'_>,
    view: &WorkerSnapshot,
    (provider, scope): (&Provider, Scope),
    target_format: &TargetFormat,
    model: &Rc<str>,
    retry_without: RetryWithout,
) -> Result<(Translated, Vec<u8>), Error> {
    let session = req.head.get(req.bytes(), "x-claude-code-session-id").and_then(|id| std::str::from_utf8(id).ok());
    let policy = Policy {
        strict: provider.dialect.strict.unwrap_or(req.core.boot().strict_translation),
        summaries: provider.dialect.policy.summaries && retry_without != RetryWithout::Summary,
        ..provider.dialect.policy
    };
    let of = TranslationOf {
        generation: view.snapshot.generation,
        provider,
        client: req.route.format,
        target: target_format.format,
        model,
        requested: &req.model.requested,
    };
    let may_repeat = session.is_none() && req.output_cap.is_none() && retry_without == RetryWithout::Nothing;
    let known = &req.core.templates.translations;
    let found = if may_repeat { known.borrow_mut().find(|key| of.has(key), req.body()) } else { None };
    if let Some(Encoded { body, plan, ledger, .. }) = found {
        return Ok((Translated { plan, ledger, retry_without }, body));
    }
    // What depends on the length of the prompt is not that of another.
    let is_estimated = Cell::new(false);
    let input_estimate = || {
        is_estimated.set(true);
        tokens::prompt(req.body())
    };
    let memory = CredentialMemory { cache: &req.core.reasoning_cache, credential: req.recorder.credential() };
    let context = Context {
        target: target(provider, target_format, model, scope),
        policy,
        client_model: &req.model.requested,
        session,
        input_estimate: Some(&input_estimate),
        without: retry_without,
        memory: Some(&memory),
    };
    let capped = req.output_cap.map(|cap| capped(req, cap));
    let client_body = capped.as_deref().unwrap_or(req.body());
    let encoded = translate::request(req.route.format, client_body, &context)?;
    if may_repeat && !is_estimated.get() {
        let translate = |body: &[u8]| translate::request(req.route.format, body, &context).ok();
        known.borrow_mut().learn(of.key(), req.route.format, (req.body(), &encoded), translate);
    }
    req.core.metrics.add(Counter::ReasoningRestored, encoded.restored as u64);
    let translated = Translated { plan: encoded.plan, ledger: encoded.ledger, retry_without };
    Ok((translated, encoded.body))
}

/// The client's body with a limit of the response.
fn capped(req: &RequestContext<'_>, cap: u64) -> Vec<u8> {
    let mut splice = Splice::new();
    set_limit(&mut splice, req.body(), limit_field(req.route.format, true), cap);
    let mut body = Vec::new();
    splice.apply(req.body(), &mut body);
    body
}

/// Reduces a translated request to what a counter accepts.
pub fn counted(format: Format, request: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(request.len());
    write::object(&mut out, |o| {
        for (key, value, _) in RawValue::new(request).members() {
            if let Some(name) = format.profile().http.counted_members.iter().find(|name| key.eq_str(name)) {
                o.value(name, value);
            }
        }
    });
    out
}

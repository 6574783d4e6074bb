//! Limits on what runs at once: of the process (`MAX_CONCURRENT_REQUESTS`) and of each provider
//! (`provider_params.limits`).
//!
//! A request that finds its provider full goes to the next candidate in service. When all of them
//! are full it waits in a short queue, by the priority of its credential, and is then refused with
//! the time after which it may come again.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use super::auth::Wait;
use super::client::WaitError;
use super::core::WorkerSnapshot;
use super::endpoint::Operation;
use super::interrupt::Interrupt;
use super::provider_hold::ProviderHold;
use super::request_context::RequestContext;
use super::wait_queue::{self, Grant, Wanted};
use crate::config::snapshot::Provider;
use crate::limit::provider::ProviderLimits;
use crate::limit::{Hold, Need, Refusal, Running, Slot};
use crate::metrics::names::Counter;
use crate::tokens;
use llm_wire::error::{Error, Kind};
use llm_wire::passthrough::peek;

/// An attempt at a candidate that is at a limit.
struct Full<T> {
    this: T,
    limits: Arc<ProviderLimits>,
    refusal: Refusal,
}

/// Returns whether a request needs room in the process.
pub fn limits_process(req: &RequestContext<'_>) -> bool {
    req.core.boot().max_concurrent_requests > 0 && req.route.operation != Operation::Count
}

/// Waits for room in the process.
pub async fn enter_process(req: &mut RequestContext<'_>) -> Result<Option<Slot>, Interrupt> {
    if !limits_process(req) {
        return Ok(None);
    }
    let most = req.core.boot().max_concurrent_requests;
    let running = req.core.shared.running.clone();
    let level = req.level;
    if !req.core.wait_queue.has_ahead(level)
        && let Some(slot) = Running::enter(&running, most)
    {
        return Ok(Some(slot));
    }
    match Box::pin(wait(req, vec![Wanted::Process(running, most)])).await? {
        Some(Grant::Process(slot)) => Ok(Some(slot)),
        _ => {
            let note =
                format!("this gateway has {most} requests in progress (MAX_CONCURRENT_REQUESTS); try again in 1s");
            Err(Error::gateway(Kind::Overloaded, note).retry_after(1).into())
        }
    }
}

/// Returns whether an attempt at the provider in this place needs room there.
pub fn limits_provider(view: &WorkerSnapshot, provider: usize) -> bool {
    view.provider(provider).limits.is_some()
}

/// Takes what an attempt needs of the limits of its provider. If that is full, returns another
/// attempt that has what it needs. `provider` is the place of an attempt's provider, and `next` is
/// the next attempt.
pub async fn enter_provider<T>(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    this: T,
    provider: impl Fn(&T) -> usize,
    next: impl FnMut() -> Option<T>,
) -> Result<T, Interrupt> {
    if !limits_provider(view, provider(&this)) {
        return Ok(this);
    }
    Box::pin(find_room(req, view, this, provider, next)).await
}

async fn find_room<T>(
    req: &mut RequestContext<'_>,
    view: &WorkerSnapshot,
    first: T,
    provider: impl Fn(&T) -> usize,
    mut next: impl FnMut() -> Option<T>,
) -> Result<T, Interrupt> {
    let mut full = Vec::new();
    let mut attempt = Some(first);
    while let Some(this) = attempt {
        let provider = view.provider(provider(&this));
        let Some(limits) = &provider.limits else { return Ok(this) };
        match take(req, limits) {
            Ok(hold) => {
                keep(req, limits, hold);
                return Ok(this);
            }
            Err(refusal) => {
                note_full(req, provider, refusal);
                full.push(Full { this, limits: limits.clone(), refusal });
            }
        }
        attempt = next();
    }
    wait_for_one(req, full).await
}

/// Takes what a request needs, unless others wait that came before it.
fn take(req: &RequestContext<'_>, limits: &ProviderLimits) -> Result<Hold, Refusal> {
    if limits.ahead(req.level) > 0
        && let Some(most) = limits.settings().max_concurrency
    {
        return Err(Refusal::Concurrency { most });
    }
    limits.admit(req.core.now_ns(), need(req, limits))
}

/// Returns what a request needs of the limits of a provider.
pub fn need(req: &RequestContext<'_>, limits: &ProviderLimits) -> Need {
    if !limits.counts_tokens() {
        return Need::default();
    }
    let Ok(peeked) = peek::peek(req.body()) else { return Need::default() };
    let (max_output, answers) = (peeked.output.most(req.route.format), peeked.output.answers(req.route.format));
    let generates = req.route.operation == Operation::Generate;
    tokens::estimate(&tokens::Request { body: req.body(), max_output, answers, generates })
}

fn keep(req: &mut RequestContext<'_>, limits: &Arc<ProviderLimits>, hold: Hold) {
    req.recorder.set_provider_hold(ProviderHold::new(hold, limits.clone(), req.core.now_ns()));
}

fn note_full(req: &RequestContext<'_>, provider: &Provider, refusal: Refusal) {
    req.core.metrics.inc(Counter::ProviderFull);
    let request_id = req.recorder.request_id();
    tracing::debug!(request_id, provider = &*provider.key, ?refusal, "gateway: a provider is at a limit of its own");
}

/// Waits until one of these has room, if that can be before the deadline of the queue.
async fn wait_for_one<T>(req: &mut RequestContext<'_>, mut full: Vec<Full<T>>) -> Result<T, Interrupt> {
    let level = req.level;
    let most = longest_wait(req);
    let is_in_time = |full: &Full<T>| match full.refusal {
        // It is not known when one ends.
        Refusal::Concurrency { most } => most > 0,
        refusal => full.limits.retry_ms(refusal, level).is_some_and(|ms| Duration::from_millis(ms) <= most),
    };
    let mut hopeful = Vec::new();
    let mut wanted = Vec::new();
    for (at, one) in full.iter().enumerate().filter(|(_, one)| is_in_time(one)) {
        let (limits, need) = (one.limits.clone(), need(req, &one.limits));
        let waiter = limits.wait(level);
        hopeful.push(at);
        wanted.push(Wanted::Provider { limits, need, waiter });
    }
    let granted = if wanted.is_empty() { None } else { wait(req, wanted).await? };
    if let Some(Grant::Provider(at, hold)) = granted {
        let Full { this, limits, .. } = full.swap_remove(hopeful[at]);
        keep(req, &limits, hold);
        return Ok(this);
    }
    Err(refused(req, &full).into())
}

/// Waits in the queue. `None` if there was no room in time, or the queue is full.
async fn wait(req: &mut RequestContext<'_>, wanted: Vec<Wanted>) -> Result<Option<Grant>, Interrupt> {
    let core = req.core.clone();
    let most = longest_wait(req);
    let queued = match most.is_zero() {
        true => None,
        false => Running::enter(&core.shared.queued, core.boot().queue_max_requests),
    };
    let Some(_queued) = queued else {
        core.metrics.inc(Counter::QueueRefused);
        return Ok(None);
    };
    core.metrics.inc(Counter::Queued);
    let mut place = wait_queue::join(&core.wait_queue, &core.timers, req.level, wanted);
    req.client.deadline.set(most);
    match req.client.wait(poll_fn(|cx| place.poll(cx))).await {
        Ok(grant) => Ok(Some(grant)),
        Err(WaitError::ClientDisconnected) => Err(Interrupt::ClientDisconnected),
        Err(WaitError::DeadlineExpired) if core.stopping() => Err(Error::stopping().into()),
        Err(WaitError::DeadlineExpired) => {
            core.metrics.inc(Counter::QueueTimeouts);
            Ok(None)
        }
    }
}

fn longest_wait(req: &RequestContext<'_>) -> Duration {
    let most = req.core.boot().queue_max_wait;
    req.time_left().map_or(most, |left| left.min(most))
}

/// Returns the error of a request for which no candidate has room. It may come again when the first
/// of them has.
fn refused<T>(req: &RequestContext<'_>, full: &[Full<T>]) -> Error {
    let ms = full.iter().filter_map(|one| one.limits.retry_ms(one.refusal, req.level)).min();
    let is_busy = full.iter().any(|one| matches!(one.refusal, Refusal::Concurrency { .. }));
    let kind = if is_busy { Kind::Overloaded } else { Kind::RateLimit };
    let model = req.model.name();
    let limit = if is_busy { "of requests at once" } else { "of requests or tokens per minute" };
    let again = ms.map_or_else(|| "; shorten the request".to_owned(), |ms| format!("; try again in {}", Wait(ms)));
    let note = format!("every provider of model `{model}` is at a limit {limit} that this gateway keeps{again}");
    let seconds = ms.map_or(60, |ms| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX).max(1));
    Error::gateway(kind, note).retry_after(seconds)
}

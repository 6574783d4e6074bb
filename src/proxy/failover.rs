//! The attempts of one request: which candidate is next, after which wait, and when there is none.
//!
//! Another candidate in service is tried at once. When there is none, one that was tried may get the
//! request again, after a wait, if its failure allows that and the budget for retries has room. Those
//! that are out of service come last.

use std::future::pending;
use std::iter::Peekable;
use std::rc::Rc;
use std::time::Duration;

use super::affinity;
use super::attempt::{self, Attempt};
use super::client::WaitError;
use super::core::WorkerSnapshot;
use super::hedge::{self, Hedge, Hedged};
use super::interrupt::{Failure, Interrupt};
use super::issuer;
use super::overload;
use super::request_context::{Next, RequestContext};
use crate::breaker::attribution::{Fault, RetryRule};
use crate::breaker::backoff::full_jitter;
use crate::breaker::circuit::Admission;
use crate::config::rescue::Rescue;
use crate::config::retries::RetryLimits;
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::route::pick::{AnyOrder, Candidate, Candidates, Ranked};
use crate::route::target_format::ThinkingTools;
use llm_wire::error::{Error, Kind};
use llm_wire::passthrough::continuation::Continuation;
use llm_wire::request::retry_without::RetryWithout;

/// A candidate that failed and may be tried again.
struct Failed<'c> {
    candidate: &'c Candidate,
    retries: u32,
    /// When it may be tried again, in microseconds on the request's clock.
    from_us: u64,
    limits: RetryLimits,
}

/// What is left to be tried.
struct Attempts<'c> {
    order: Peekable<AnyOrder<'c>>,
    /// Has its turn already, and is left out of the order.
    pinned: Option<&'c Candidate>,
    /// Whether no other than the pinned one can serve the request.
    is_bound: bool,
    /// The next in service, if it was taken out of the order for an attempt beside another, and not used.
    reserved: Option<Try<'c>>,
    /// Who may be tried again.
    failed: Vec<Failed<'c>>,
    /// The window that the request did not fit into, in tokens: only those with a longer one are left.
    window_exceeded: Option<u64>,
}

/// The next attempt.
struct Try<'c> {
    ranked: Ranked<'c>,
    wait: Duration,
    retries: u32,
    without: RetryWithout,
}

/// Tries the candidates until one responds or something has reached the client.
pub(super) async fn run(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    candidates: &Candidates,
) -> Result<Next, Interrupt> {
    let core = req.core.clone();
    let (boot, most) = (core.boot(), max_attempts(req, candidates));
    let order = candidates.order(&view.snapshot.providers, &boot.adaptive, || core.ticks()).peekable();
    let issuer = issuer::candidate(req, view, candidates);
    let pinned = affinity::find(req, view, candidates).filter(|pinned| {
        let memory = &view.provider(pinned.provider).memory;
        memory.is_healthy(pinned.slot) || memory.admission(pinned.slot, core.ticks()) != Admission::Benched
    });
    let pinned = issuer.or(pinned);
    let of_conversation = if pinned.is_none() { affinity::of_conversation(req, view, candidates) } else { None };
    let (in_conversation, _load) = of_conversation.unzip();
    let pinned = pinned.or(in_conversation);
    let is_bound = issuer.is_some();
    let mut attempts = Attempts { order, pinned, is_bound, reserved: None, failed: Vec::new(), window_exceeded: None };
    let count = if is_bound { 1 } else { candidates.list.len() };
    let first = pinned.map(|candidate| Ranked { candidate, is_benched: false });
    let first = first.or_else(|| attempts.order.next());
    let mut next = first.map(|ranked| Try { ranked, wait: Duration::ZERO, retries: 0, without: RetryWithout::Nothing });
    let mut failure: Option<Box<Failure>> = None;
    let (mut tried, mut n) = (0, 0);
    while n < most {
        let Some(this) = next.take() else { break };
        n += 1;
        if !this.wait.is_zero() {
            pause(req, this.wait).await?;
        }
        let (provider, mut others) = (|this: &Try<'_>| this.ranked.candidate.provider, || attempts.next_in_service());
        let mut this = match overload::enter_provider(req, view, this, provider, &mut others).await {
            Ok(this) => this,
            Err(Interrupt::Failed(full)) => {
                failure = Some(match failure {
                    Some(old) => old.more_useful(full),
                    None => full,
                });
                break;
            }
            Err(gone) => return Err(gone),
        };
        let Ranked { candidate, is_benched } = this.ranked;
        let provider = view.provider(candidate.provider);
        match this.retries {
            0 => core.deposit_retry(provider.id),
            _ => core.metrics.inc(Counter::Retries),
        }
        tried += usize::from(this.retries == 0 && this.without == RetryWithout::Nothing);
        let limits = retry_limits(req, provider, candidate);
        let may_repeat = boot.retry_budget > 0 && limits.allows_after(this.retries + 1) && !is_benched;
        let is_last = n == most || (tried >= count && !may_repeat);
        let is_only = most == 1 || count == 1;
        let attempt = Attempt { view, candidate, provider, is_last, is_only, has_failure: failure.is_some() };
        let hedge = if n == 1 { plan_hedge(req, view, candidates, &mut attempts, candidate) } else { None };
        let mut result = attempt::run(req, &attempt, this.without).await;
        if req.hedging.is_some() && n == 1 {
            hedge::record_time(req, provider.id, &candidate.upstream_model);
        }
        if let Some((hedge, second)) = hedge {
            let is_superseded = req.client.is_superseded;
            match Box::pin(hedge.conclude(req, matches!(result, Err(Interrupt::Failed(_))))).await? {
                Hedged::Unused => attempts.reserved = Some(second),
                Hedged::Lost => n += 1,
                Hedged::Won(won) => {
                    (n, tried) = (n + 1, tried + 1);
                    this = second;
                    let candidate = this.ranked.candidate;
                    let provider = view.provider(candidate.provider);
                    let attempt = Attempt { candidate, provider, has_failure: true, ..attempt };
                    if let Err(Interrupt::Failed(first)) = result
                        && !is_superseded
                    {
                        failure = Some(first);
                    }
                    result = Box::pin(attempt::adopt(req, &attempt, *won)).await;
                }
            }
        }
        let candidate = this.ranked.candidate;
        let mut new = match result {
            Err(Interrupt::Failed(new)) => new,
            result => {
                issuer::confirm(req);
                return result;
            }
        };
        core.metrics.inc(Counter::AttemptsFailed);
        req.recorder.release_provider_hold();
        if let Some(continuation) = new.continuation.take() {
            return Box::pin(rescue(req, view, &mut attempts, most.saturating_sub(n), (new, continuation))).await;
        }
        if may_repeat && may_retry_at_same_provider(&new) {
            attempts.put_back(req, &this, &new, limits);
        }
        if n < most && !core.stopping() && !req.is_past_client_limit() {
            next = match new.retry_without {
                RetryWithout::Nothing => {
                    let may_go_on = new.try_next || attempts.falls_back(req, candidates, candidate, &new);
                    attempts.next(req, view, may_go_on)
                }
                without if this.without == RetryWithout::Nothing => {
                    core.metrics.inc(Counter::Mended);
                    Some(Try { wait: Duration::ZERO, without, ..this })
                }
                _ => None,
            };
        }
        failure = Some(match failure {
            Some(old) => old.more_useful(new),
            None => new,
        });
    }
    Err(match failure {
        Some(failure) => Interrupt::Failed(failure),
        None => {
            let note = format!("every provider of model `{}` is out of service", req.model.name());
            Error::gateway(Kind::NoUpstream, note).into()
        }
    })
}

/// Lets other providers go on with a stream that broke off, with at most `left` attempts. If none can,
/// the client learns how the stream broke off: what others say of the request for the rest is not about
/// its own.
async fn rescue(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    attempts: &mut Attempts<'_>,
    mut left: usize,
    (broken, continuation): (Box<Failure>, Box<Continuation>),
) -> Result<Next, Interrupt> {
    let core = req.core.clone();
    let is_possible = match req.rescue {
        Rescue::By(manner) => req.continue_stream(continuation, manner),
        Rescue::Off => false,
    };
    while is_possible && left > 0 && !core.stopping() && !req.is_past_client_limit() {
        let Some(this) = attempts.next_in_service() else { break };
        let Candidate { target, provider, .. } = *this.ranked.candidate;
        // The rest must be in the client's own format.
        if target.format != req.route.format || target.thinking_tools == ThinkingTools::ViaResponses {
            continue;
        }
        left -= 1;
        let this = match overload::enter_provider(req, view, this, |_| provider, || None).await {
            Ok(this) => this,
            Err(Interrupt::Failed(_)) => continue,
            Err(gone) => return Err(gone),
        };
        core.metrics.inc(Counter::Rescues);
        let (candidate, provider) = (this.ranked.candidate, &**view.provider(provider));
        let attempt = Attempt { view, candidate, provider, is_last: false, is_only: false, has_failure: true };
        match attempt::run(req, &attempt, RetryWithout::Nothing).await {
            Err(Interrupt::Failed(_)) => {
                core.metrics.inc(Counter::AttemptsFailed);
                req.recorder.release_provider_hold();
            }
            result => return result,
        }
    }
    core.metrics.inc(Counter::RescuesFailed);
    Err(Interrupt::Failed(broken))
}

/// Plans an attempt at the next candidate beside the first one, if the request is to have one.
fn plan_hedge<'c>(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    candidates: &Candidates,
    attempts: &mut Attempts<'c>,
    first: &'c Candidate,
) -> Option<(Hedge<'c>, Try<'c>)> {
    let hedging = hedge::applies(req, candidates)?;
    let second = attempts.next_in_service()?;
    match hedge::plan(req, view, hedging, candidates, (first, second.ranked.candidate)) {
        Some(hedge) => Some((hedge, second)),
        None => {
            attempts.reserved = Some(second);
            None
        }
    }
}

/// Returns how many attempts a request may make. Of a stored response of which the issuer is not known
/// each candidate is asked once.
fn max_attempts(req: &RequestContext<'_>, candidates: &Candidates) -> usize {
    /// Bounds the accounts that are asked for one response.
    const MAX_ASKED: usize = 16;
    let most = req.core.boot().max_attempts.max(1);
    match req.stored {
        Some(_) => most.max(candidates.list.len().min(MAX_ASKED)),
        None => most,
    }
}

/// Returns how often, and after which wait at most, a candidate may get the request again.
fn retry_limits(req: &RequestContext<'_>, provider: &Provider, candidate: &Candidate) -> RetryLimits {
    let boot = req.core.boot();
    let max_attempts = u32::try_from(boot.max_attempts).unwrap_or(u32::MAX);
    let of_process = RetryLimits { max_attempts, max_wait: boot.retry_max_wait };
    provider.retries.of_model(&candidate.upstream_model, of_process)
}

/// Returns whether the same provider may get the request again.
fn may_retry_at_same_provider(failure: &Failure) -> bool {
    match failure.fault().row().retry {
        RetryRule::Never => false,
        RetryRule::OnRequest => failure.hint.should_retry == Some(true),
        RetryRule::Allowed => failure.hint.should_retry != Some(false),
    }
}

/// Returns whether a candidate is not the one that had its turn already, and has a longer window than
/// those that the request did not fit into.
fn is_other(pinned: Option<&Candidate>, window_exceeded: Option<u64>, ranked: &Ranked<'_>) -> bool {
    pinned.is_none_or(|pinned| !std::ptr::eq(pinned, ranked.candidate))
        && window_exceeded.is_none_or(|exceeded| ranked.candidate.context_window > exceeded)
}

impl<'c> Attempts<'c> {
    /// Notes that a candidate may be tried again, and when.
    fn put_back(&mut self, req: &RequestContext<'_>, this: &Try<'c>, failure: &Failure, limits: RetryLimits) {
        let retries = this.retries + 1;
        let wait = full_jitter(retries, limits.max_wait, req.core.random());
        let wait = wait.max(failure.hint.wait.unwrap_or_default());
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let from_us = req.recorder.elapsed_us().saturating_add(us);
        self.failed.push(Failed { candidate: this.ranked.candidate, retries, from_us, limits });
    }

    /// Returns whether a failure of the request itself leads to another member of its virtual model: one
    /// with a longer window, or any where a content filter refused it.
    fn falls_back(
        &mut self,
        req: &RequestContext<'_>,
        candidates: &Candidates,
        failed: &Candidate,
        failure: &Failure,
    ) -> bool {
        let Some(virtual_model) = &candidates.virtual_model else { return false };
        let falls_back = match failure.fault() {
            Fault::ContextLength if virtual_model.options.on_context_length => {
                let exceeded = self.window_exceeded.unwrap_or(0).max(failed.context_window);
                self.window_exceeded = Some(exceeded);
                self.failed.retain(|failed| failed.candidate.context_window > exceeded);
                true
            }
            Fault::ContentFilter => virtual_model.options.on_content_filter,
            _ => false,
        };
        if falls_back {
            req.core.metrics.inc(Counter::Fallbacks);
        }
        falls_back
    }

    /// Returns what is tried next. `try_next` says whether another provider may do better.
    fn next(&mut self, req: &RequestContext<'_>, view: &WorkerSnapshot, try_next: bool) -> Option<Try<'c>> {
        if try_next && let Some(new) = self.next_in_service() {
            return Some(new);
        }
        if let Some(retry) = self.next_retry(req, view) {
            return Some(retry);
        }
        let (pinned, exceeded) = (self.pinned, self.window_exceeded);
        let is_new = |ranked: &Ranked<'_>| is_other(pinned, exceeded, ranked);
        let ranked = self.order.find(is_new).filter(|_| try_next && !self.is_bound)?;
        Some(Try { ranked, wait: Duration::ZERO, retries: 0, without: RetryWithout::Nothing })
    }

    /// Returns the next candidate that was not tried and is in service.
    fn next_in_service(&mut self) -> Option<Try<'c>> {
        let (pinned, exceeded) = (self.pinned, self.window_exceeded);
        if self.is_bound {
            return None;
        }
        if let Some(reserved) = self.reserved.take().filter(|this| is_other(pinned, exceeded, &this.ranked)) {
            return Some(reserved);
        }
        while self.order.next_if(|ranked| !is_other(pinned, exceeded, ranked)).is_some() {}
        let ranked = self.order.next_if(|ranked| !ranked.is_benched)?;
        Some(Try { ranked, wait: Duration::ZERO, retries: 0, without: RetryWithout::Nothing })
    }

    /// Returns the candidate that may be tried again first, if the wait is short enough and the
    /// budget has room.
    fn next_retry(&mut self, req: &RequestContext<'_>, view: &WorkerSnapshot) -> Option<Try<'c>> {
        let (now, left) = (req.recorder.elapsed_us(), req.time_left().unwrap_or(Duration::MAX));
        let wait_of = |failed: &Failed<'_>| Duration::from_micros(failed.from_us.saturating_sub(now));
        let is_soon = |failed: &Failed<'_>| wait_of(failed) <= left.min(failed.limits.max_wait);
        let soon = self.failed.iter().enumerate().filter(|(_, failed)| is_soon(failed));
        let (at, failed) = soon.min_by_key(|(_, failed)| failed.from_us)?;
        let wait = wait_of(failed);
        if !req.core.withdraw_retry(view.provider(failed.candidate.provider).id) {
            return None;
        }
        let Failed { candidate, retries, .. } = self.failed.swap_remove(at);
        let ranked = Ranked { candidate, is_benched: false };
        Some(Try { ranked, wait, retries, without: RetryWithout::Nothing })
    }
}

/// Waits before a provider is tried again.
async fn pause(req: &mut RequestContext<'_>, wait: Duration) -> Result<(), Interrupt> {
    req.client.deadline.set(wait);
    match req.client.wait(pending::<()>()).await {
        Ok(()) | Err(WaitError::DeadlineExpired) if req.core.stopping() => Err(Error::stopping().into()),
        Ok(()) | Err(WaitError::DeadlineExpired) => Ok(()),
        Err(WaitError::ClientDisconnected) => Err(Interrupt::ClientDisconnected),
    }
}

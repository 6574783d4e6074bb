//! The attempts of one request: which candidate is next, after which wait, and when there is none.
//!
//! Another candidate in service is tried at once. When there is none, one that was tried may get
//! the request again, after a wait, if its failure allows that and the budget for retries has room.
//! Those that are out of service come last (`proxy::attempts`).

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::attempt::{self, Attempt};
use super::attempts::{Attempts, Terms, Try};
use super::client::WaitError;
use super::core::WorkerSnapshot;
use super::files;
use super::hedge::{self, Hedge, Hedged};
use super::interrupt::{Failure, Interrupt};
use super::issuer;
use super::overload;
use super::request_context::{Next, RequestContext};
use super::stream_rest::StreamRest;
use crate::breaker::attribution::RetryRule;
use crate::config::rescue::Rescue;
use crate::metrics::names::Counter;
use crate::route::pick::{Candidate, Candidates};
use llm_wire::error::{Error, Kind};
use llm_wire::request::retry_without::RetryWithout;

/// Tries the candidates until one responds or something has reached the client.
pub(super) async fn run(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    candidates: &Candidates,
) -> Result<Next, Interrupt> {
    let core = req.core;
    let mut attempts = Attempts::new(req, view, candidates);
    let mut next = attempts.first();
    let mut failure: Option<Box<Failure>> = None;
    while let Some(this) = next.take() {
        attempts.made += 1;
        if !this.wait.is_zero() {
            pause(req, this.wait).await?;
        }
        let mut this = this;
        // Most requests go to a provider without limits, and do not await their place.
        if overload::limits_provider(view, this.ranked.candidate.provider) {
            let mut others = || attempts.next_in_service();
            let entered = overload::enter_provider(req, view, this, |this| this.ranked.candidate.provider, &mut others);
            this = match entered.await {
                Ok(this) => this,
                Err(Interrupt::Failed(full)) => {
                    failure = Some(more_useful(failure, full));
                    break;
                }
                Err(gone) => return Err(gone),
            };
        }
        let terms = attempts.begin(req, view, &this);
        let result = if attempts.made == 1 && req.hedging.is_some() {
            let first = HedgedTry { attempts: &mut attempts, this: &mut this, terms: &terms, failure: &mut failure };
            // Boxed, as all that is rare: a future has room for everything that it may wait for.
            Box::pin(run_hedged(req, view, candidates, first)).await
        } else {
            attempt::run(req, &terms.attempt(view, &this, failure.is_some()), this.without).await
        };
        let mut new = match result {
            Err(Interrupt::Failed(new)) => new,
            result => {
                issuer::confirm(req);
                files::learn(req);
                return result;
            }
        };
        core.metrics.inc(Counter::AttemptsFailed);
        new.context_window = this.ranked.candidate.context_window;
        if let Some(rest) = new.rest.take() {
            return Box::pin(rescue(req, view, &mut attempts, BrokenOff { failure: new, rest })).await;
        }
        req.recorder.release_provider_hold();
        if terms.may_repeat && may_retry_at_same_provider(&new) {
            attempts.put_back(req, &this, &new, terms.limits);
        }
        next = attempts.after(req, view, candidates, this, &new);
        failure = Some(more_useful(failure, new));
    }
    Err(failure.map_or_else(|| out_of_service(req).into(), Interrupt::Failed))
}

/// Returns the failure that the client should learn of.
fn more_useful(old: Option<Box<Failure>>, new: Box<Failure>) -> Box<Failure> {
    match old {
        Some(old) => old.more_useful(new),
        None => new,
    }
}

fn out_of_service(req: &RequestContext<'_>) -> Error {
    Error::gateway(Kind::NoUpstream, format!("every provider of model `{}` is out of service", req.model.name()))
}

/// The first attempt of a request that may have a second one beside it.
struct HedgedTry<'a, 'c> {
    attempts: &'a mut Attempts<'c>,
    /// The attempt whose result is returned: the second one if that has won.
    this: &'a mut Try<'c>,
    terms: &'a Terms,
    /// The failure of the first attempt, if the second has won after it.
    failure: &'a mut Option<Box<Failure>>,
}

/// A second attempt that is planned, and what it takes out of the order of candidates.
struct PlannedHedge<'c> {
    hedge: Hedge<'c>,
    second: Try<'c>,
}

/// A stream that broke off behind its first content.
struct BrokenOff {
    failure: Box<Failure>,
    rest: StreamRest,
}

/// Makes the first attempt, and a second one beside it when it is slow.
async fn run_hedged(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    candidates: &Candidates,
    first: HedgedTry<'_, '_>,
) -> Result<Next, Interrupt> {
    let HedgedTry { attempts, this, terms, failure } = first;
    let candidate = this.ranked.candidate;
    let attempt = terms.attempt(view, this, failure.is_some());
    let planned = plan_hedge(req, view, candidates, attempts, candidate);
    let result = attempt::run(req, &attempt, this.without).await;
    hedge::record_time(req, attempt.provider.id, &candidate.upstream_model);
    let Some(PlannedHedge { hedge, second }) = planned else { return result };
    let is_superseded = req.client.is_superseded;
    match Box::pin(hedge.conclude(req, matches!(result, Err(Interrupt::Failed(_))))).await? {
        Hedged::Unused => {
            attempts.reserved = Some(second);
            result
        }
        Hedged::Lost => {
            attempts.made += 1;
            result
        }
        Hedged::Won(won) => {
            attempts.made += 1;
            attempts.tried += 1;
            *this = second;
            if let Err(Interrupt::Failed(of_first)) = result
                && !is_superseded
            {
                *failure = Some(of_first);
            }
            Box::pin(attempt::adopt(req, &terms.attempt(view, this, true), *won)).await
        }
    }
}

/// Lets other providers go on with a stream that broke off, with the attempts that are left. If
/// none can, the client learns how the stream broke off: what others say of the request for the
/// rest is not about its own.
async fn rescue(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    attempts: &mut Attempts<'_>,
    broken: BrokenOff,
) -> Result<Next, Interrupt> {
    let BrokenOff { failure: broken, rest } = broken;
    let core = req.core;
    let mut left = attempts.left();
    let is_possible = match req.rescue {
        Rescue::By(manner) => req.continue_stream(rest, manner),
        Rescue::Off => false,
    };
    if is_possible {
        req.recorder.begin_continuation();
    }
    while is_possible && req.rest.is_some() && left > 0 && !core.stopping() && !req.is_past_client_limit() {
        let Some(this) = attempts.next_in_service() else { break };
        let provider = this.ranked.candidate.provider;
        left -= 1;
        let this = match overload::enter_provider(req, view, this, |_| provider, || None).await {
            Ok(this) => this,
            Err(Interrupt::Failed(_)) => continue,
            Err(gone) => {
                req.recorder.cancel_continuation();
                return Err(gone);
            }
        };
        core.metrics.inc(Counter::Rescues);
        let (candidate, provider) = (this.ranked.candidate, &**view.provider(provider));
        let attempt = Attempt { view, candidate, provider, is_last: false, is_only: false, has_failure: true };
        match attempt::run(req, &attempt, RetryWithout::Nothing).await {
            Err(Interrupt::Failed(mut failure)) => {
                core.metrics.inc(Counter::AttemptsFailed);
                req.rest = failure.rest.take().or(req.rest.take());
                req.recorder.release_provider_hold();
            }
            result => return result,
        }
    }
    core.metrics.inc(Counter::RescuesFailed);
    req.recorder.cancel_continuation();
    Err(Interrupt::Failed(broken))
}

/// Plans an attempt at the next candidate beside the first one, if the request is to have one.
fn plan_hedge<'c>(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    candidates: &Candidates,
    attempts: &mut Attempts<'c>,
    first: &'c Candidate,
) -> Option<PlannedHedge<'c>> {
    let hedging = hedge::begin_hedging(req, candidates)?;
    let second = attempts.next_in_service()?;
    match hedge::plan(req, view, hedging, candidates, (first, second.ranked.candidate)) {
        Some(hedge) => Some(PlannedHedge { hedge, second }),
        None => {
            attempts.reserved = Some(second);
            None
        }
    }
}

/// Returns whether the same provider may get the request again.
fn may_retry_at_same_provider(failure: &Failure) -> bool {
    match failure.fault().row().retry {
        RetryRule::Never => false,
        RetryRule::OnRequest => failure.hint.should_retry == Some(true),
        RetryRule::Allowed => failure.hint.should_retry != Some(false),
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

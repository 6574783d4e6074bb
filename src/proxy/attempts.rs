//! What is left to be tried for one request, and on which terms.

use std::iter::Peekable;
use std::rc::Rc;
use std::time::Duration;

use super::affinity;
use super::attempt::Attempt;
use super::core::WorkerSnapshot;
use super::files;
use super::interrupt::Failure;
use super::issuer;
use super::request_context::RequestContext;
use crate::breaker::attribution::Fault;
use crate::breaker::backoff::full_jitter;
use crate::breaker::circuit::Admission;
use crate::config::retries::RetryLimits;
use crate::config::snapshot::Provider;
use crate::metrics::names::Counter;
use crate::route::affinity::Load;
use crate::route::pick::{AnyOrder, Candidate, Candidates, Ranked};
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
pub(super) struct Attempts<'c> {
    order: Peekable<AnyOrder<'c>>,
    /// The candidate that is tried first; the order skips it.
    pinned: Option<&'c Candidate>,
    /// Whether no other than the pinned one can serve the request.
    is_bound: bool,
    /// The next in service, if it was taken out of the order for an attempt beside another, and not
    /// used.
    pub(super) reserved: Option<Try<'c>>,
    /// Who may be tried again.
    failed: Vec<Failed<'c>>,
    /// The window that the request did not fit into, in tokens: only those with a longer one are
    /// left.
    window_exceeded: Option<u64>,
    /// Attempts so far, and how many there may be.
    pub(super) made: usize,
    most: usize,
    /// Candidates that were tried, and how many there are.
    pub(super) tried: usize,
    count: usize,
    /// Counts the conversation at its provider while the request runs.
    _load: Option<Load>,
}

/// The next attempt.
pub(super) struct Try<'c> {
    pub(super) ranked: Ranked<'c>,
    pub(super) wait: Duration,
    retries: u32,
    pub(super) without: RetryWithout,
}

/// On which terms an attempt is made.
pub(super) struct Terms {
    pub(super) limits: RetryLimits,
    /// Whether the candidate may get the request again if it fails.
    pub(super) may_repeat: bool,
    is_last: bool,
    is_only: bool,
}

impl Terms {
    pub(super) fn attempt<'a>(&self, view: &'a Rc<WorkerSnapshot>, this: &Try<'a>, has_failure: bool) -> Attempt<'a> {
        let candidate = this.ranked.candidate;
        let (is_last, is_only) = (self.is_last, self.is_only);
        Attempt { view, candidate, provider: view.provider(candidate.provider), is_last, is_only, has_failure }
    }
}

impl<'c> Try<'c> {
    /// Makes the first attempt at a candidate.
    fn new(ranked: Ranked<'c>) -> Try<'c> {
        Try { ranked, wait: Duration::ZERO, retries: 0, without: RetryWithout::Nothing }
    }
}

/// Returns how many attempts a request may make. Of a stored response of which the issuer is not
/// known each candidate is asked once.
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

/// Returns whether a candidate is not the one that had its turn already, and has a longer window
/// than those that the request did not fit into.
fn is_other(pinned: Option<&Candidate>, window_exceeded: Option<u64>, ranked: &Ranked<'_>) -> bool {
    pinned.is_none_or(|pinned| !std::ptr::eq(pinned, ranked.candidate))
        && window_exceeded.is_none_or(|exceeded| ranked.candidate.context_window > exceeded)
}

impl<'c> Attempts<'c> {
    /// Finds out in which order the candidates are tried: the one that the request belongs to is
    /// the first.
    pub(super) fn new(req: &mut RequestContext<'_>, view: &WorkerSnapshot, candidates: &'c Candidates) -> Attempts<'c> {
        let core = req.core;
        let order = candidates.order(&view.snapshot.providers, &core.boot().adaptive, || core.ticks()).peekable();
        let issuer = issuer::candidate(req, view, candidates);
        let is_bound = issuer.is_some();
        // Without a choice nothing below prefers a candidate.
        if candidates.list.len() < 2 {
            return Attempts::in_order(req, candidates, order, issuer);
        }
        // An account that has a file is tried first and not alone: where several rows are keys of
        // one organisation, all have it.
        let of_files = if is_bound { None } else { files::candidate(req, view, candidates) };
        let pinned = of_files.or_else(|| affinity::find(req, view, candidates)).filter(|pinned| {
            let memory = &view.provider(pinned.provider).memory;
            memory.is_healthy(pinned.slot) || memory.admission(pinned.slot, core.ticks()) != Admission::Benched
        });
        let pinned = issuer.or(pinned);
        let of_conversation = if pinned.is_none() { affinity::of_conversation(req, view, candidates) } else { None };
        let (in_conversation, load) = of_conversation.unzip();
        let pinned = pinned.or(in_conversation);
        Attempts { pinned, _load: load, ..Attempts::in_order(req, candidates, order, issuer) }
    }

    /// Tries the candidates in `order`, or the issuer of the response that the request names alone.
    fn in_order(
        req: &RequestContext<'_>,
        candidates: &Candidates,
        order: Peekable<AnyOrder<'c>>,
        issuer: Option<&'c Candidate>,
    ) -> Attempts<'c> {
        Attempts {
            order,
            pinned: issuer,
            is_bound: issuer.is_some(),
            reserved: None,
            failed: Vec::new(),
            window_exceeded: None,
            made: 0,
            most: max_attempts(req, candidates),
            tried: 0,
            count: if issuer.is_some() { 1 } else { candidates.list.len() },
            _load: None,
        }
    }

    /// Returns the first attempt. `None` if there is no candidate.
    pub(super) fn first(&mut self) -> Option<Try<'c>> {
        let pinned = self.pinned.map(|candidate| Ranked { candidate, is_benched: false });
        pinned.or_else(|| self.order.next()).map(Try::new)
    }

    /// Returns how many attempts may still be made.
    pub(super) fn left(&self) -> usize {
        self.most.saturating_sub(self.made)
    }

    /// Counts an attempt that begins, and returns its terms.
    pub(super) fn begin(&mut self, req: &RequestContext<'_>, view: &WorkerSnapshot, this: &Try<'_>) -> Terms {
        let Ranked { candidate, is_benched } = this.ranked;
        let provider = view.provider(candidate.provider);
        match this.retries {
            0 => req.core.deposit_retry(provider.id),
            _ => req.core.metrics.inc(Counter::Retries),
        }
        self.tried += usize::from(this.retries == 0 && this.without == RetryWithout::Nothing);
        let limits = retry_limits(req, provider, candidate);
        let may_repeat = req.core.boot().retry_budget > 0 && limits.allows_after(this.retries + 1) && !is_benched;
        let is_last = self.made == self.most || (self.tried >= self.count && !may_repeat);
        Terms { limits, may_repeat, is_last, is_only: self.most == 1 || self.count == 1 }
    }

    /// Returns what is tried after a failure.
    pub(super) fn after(
        &mut self,
        req: &RequestContext<'_>,
        view: &WorkerSnapshot,
        candidates: &Candidates,
        this: Try<'c>,
        failure: &Failure,
    ) -> Option<Try<'c>> {
        if self.made >= self.most || req.core.stopping() || req.is_past_client_limit() {
            return None;
        }
        match failure.retry_without {
            RetryWithout::Nothing => {
                let may_go_on = failure.try_next || self.falls_back(req, candidates, this.ranked.candidate, failure);
                self.next(req, view, may_go_on)
            }
            without if this.without == RetryWithout::Nothing => {
                req.core.metrics.inc(Counter::Mended);
                Some(Try { wait: Duration::ZERO, without, ..this })
            }
            _ => None,
        }
    }

    /// Notes that a candidate may be tried again, and when.
    pub(super) fn put_back(
        &mut self,
        req: &RequestContext<'_>,
        this: &Try<'c>,
        failure: &Failure,
        limits: RetryLimits,
    ) {
        let retries = this.retries + 1;
        let wait = full_jitter(retries, limits.max_wait, req.core.random());
        let wait = wait.max(failure.hint.wait.unwrap_or_default());
        let us = u64::try_from(wait.as_micros()).unwrap_or(u64::MAX);
        let from_us = req.recorder.elapsed_us().saturating_add(us);
        self.failed.push(Failed { candidate: this.ranked.candidate, retries, from_us, limits });
    }

    /// Returns whether a failure of the request itself leads to another member of its virtual
    /// model: one with a longer window, or any where a content filter refused it.
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
        Some(Try::new(ranked))
    }

    /// Returns the next candidate that was not tried and is in service.
    pub(super) fn next_in_service(&mut self) -> Option<Try<'c>> {
        let (pinned, exceeded) = (self.pinned, self.window_exceeded);
        if self.is_bound {
            return None;
        }
        if let Some(reserved) = self.reserved.take().filter(|this| is_other(pinned, exceeded, &this.ranked)) {
            return Some(reserved);
        }
        while self.order.next_if(|ranked| !is_other(pinned, exceeded, ranked)).is_some() {}
        let ranked = self.order.next_if(|ranked| !ranked.is_benched)?;
        Some(Try::new(ranked))
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

//! A second attempt beside a first one whose stream is slow to begin, or whose whole answer is slow
//! to end (`hedge` of a virtual model or a credential).
//!
//! When the first content of a stream, or a whole answer, takes longer than it does for 95 of 100
//! requests, the next candidate gets the request too. Whoever sends content first, or is first with
//! a complete answer where the client gets it whole, is the answer, and the other connection is
//! closed at once. The second attempt is a future of the client's task ([`Client::beside`]): it
//! needs no task of its own, and is cancelled by being dropped. A budget keeps the extra load
//! within a share of the requests ([`Hedges`](super::hedge_memory::Hedges)).
//!
//! [`Client::beside`]: super::client::Client::beside

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::circuit_guard::CircuitGuard;
use super::client::WaitError;
use super::core::{Core, WorkerSnapshot};
use super::deadlines::Deadlines;
use super::endpoint::Operation;
use super::hedge_memory::Awaited;
use super::hedge_read::Reading;
use super::interrupt::{Failure, Interrupt};
use super::overload;
use super::prepare::{self, Prepared};
use super::provider_hold::ProviderHold;
use super::request_context::RequestContext;
use super::retry_hint::RetryHint;
use super::upstream::{self, UpstreamResponse};
use crate::config::hedging::Hedging;
use crate::limit::Need;
use crate::limit::provider::ProviderLimits;
use crate::metrics::names::Counter;
use crate::net::pool::Origin;
use crate::proxy::recorder::{LoserUsed, LostAttempt, Progress};
use crate::route::pick::{Candidate, Candidates};
use crate::shared::body_memory::HeldMemory;
use crate::telemetry::record::Outcome;
use llm_wire::error::{Error, Kind};
use llm_wire::request::retry_without::RetryWithout;

/// How long a second attempt may take to the first content of a stream where no deadline says so.
const LONGEST: Duration = Duration::from_secs(60);

/// What records say of an attempt that was given up because another won the race.
pub(super) const LOST: &str = "another attempt was first with its answer";

/// A second attempt that has won the race: it has the first content of a stream, or a complete
/// answer.
pub struct Won {
    pub prepared: Prepared,
    /// Its bytes reach as far as the first content, or to the end of a whole answer.
    pub response: UpstreamResponse,
    /// What these bytes take of the memory for bodies.
    pub held: HeldMemory,
    /// On the request's clock, in microseconds.
    pub began_us: u64,
    pub first_byte_us: u64,
    pub circuit_guard: CircuitGuard,
    /// What it holds of the limits of its provider.
    pub hold: Option<ProviderHold>,
}

/// What became of a second attempt.
pub enum Hedged {
    /// It was not made.
    Unused,
    /// It was given up, or has failed.
    Lost,
    Won(Box<Won>),
}

/// A second attempt that is planned or runs.
pub struct Hedge<'c> {
    pub candidate: &'c Candidate,
    view: Rc<WorkerSnapshot>,
    race: Rc<Race>,
}

/// What the future and the one who waits for it both know.
#[derive(Default)]
struct Race {
    /// When the attempt began, on the request's clock.
    began_us: Cell<Option<u64>>,
    outcome: RefCell<Option<Result<Box<Won>, Error>>>,
    progress: Rc<Cell<Progress>>,
    /// Whether nothing else is awaited, so that a failure ends the wait too.
    is_alone: Cell<bool>,
}

/// What the future owns.
struct Second {
    core: Rc<Core>,
    view: Rc<WorkerSnapshot>,
    candidate: Candidate,
    origin: Rc<Origin>,
    prepared: Prepared,
    scope: i64,
    delay: Duration,
    connect: Option<Duration>,
    /// How long the attempt may take to what decides the race.
    limit: Duration,
    awaited: Awaited,
    limits: Option<(Arc<ProviderLimits>, Need)>,
    /// The zero of the request's clock, in nanoseconds on the worker's clock.
    zero_ns: u64,
}

/// Whose budget a hedge is taken from: the virtual model's, or the credential's.
pub fn scope(req: &RequestContext<'_>, candidates: &Candidates) -> i64 {
    match &candidates.virtual_model {
        Some(virtual_model) if virtual_model.options.hedge.is_some() => virtual_model.id,
        _ => !req.recorder.credential(),
    }
}

/// Counts a request that may be hedged, and returns how. `None` if it may not be.
pub fn begin_hedging(req: &RequestContext<'_>, candidates: &Candidates) -> Option<Hedging> {
    // What a budget reserves is for one attempt.
    let is_allowed = req.route.operation == Operation::Generate && !req.recorder.has_spending();
    let hedging = req.hedging.filter(|_| is_allowed)?;
    req.core.hedges.borrow_mut().deposit(scope(req, candidates), hedging.share);
    Some(hedging)
}

fn awaited(req: &RequestContext<'_>) -> Awaited {
    if req.stream { Awaited::FirstContent } else { Awaited::WholeAnswer }
}

/// Records how long the first content or the whole answer of a first attempt took, or how long it
/// was awaited if another attempt was first.
pub fn record_time(req: &RequestContext<'_>, provider: i64, model: &str) {
    let awaited = awaited(req);
    let until = match (awaited, req.recorder.first_content_us(), req.recorder.outcome()) {
        _ if req.client.is_superseded => req.recorder.elapsed_us(),
        (Awaited::FirstContent, 1.., _) => req.recorder.first_content_us(),
        (Awaited::WholeAnswer, _, (200..300, Outcome::Complete)) => req.recorder.elapsed_us(),
        _ => return,
    };
    req.core.hedges.borrow_mut().record(provider, model, awaited, until.saturating_sub(req.attempt_began_us));
}

/// Plans a second attempt at `second`, beside the first at `first`. `None` if it is not known yet
/// how long an answer takes there.
pub fn plan<'c>(
    req: &mut RequestContext<'_>,
    view: &Rc<WorkerSnapshot>,
    hedging: Hedging,
    candidates: &Candidates,
    (first, second): (&Candidate, &'c Candidate),
) -> Option<Hedge<'c>> {
    let (core, awaited) = (req.core.clone(), awaited(req));
    let fixed = match awaited {
        Awaited::FirstContent => hedging.after,
        Awaited::WholeAnswer => hedging.whole_after,
    };
    let p95 = || core.hedges.borrow().p95(view.provider(first.provider).id, &first.upstream_model, awaited);
    let delay = fixed.or_else(p95)?;
    let provider = view.provider(second.provider);
    let prepared = prepare::request(req, view, second, RetryWithout::Nothing).ok()?;
    let deadlines = Deadlines::of(core.boot(), provider, second, &second.upstream_model, req.body().len());
    let limit = match (awaited, req.time_left()) {
        (Awaited::FirstContent, _) => deadlines.first_content.unwrap_or(LONGEST),
        (Awaited::WholeAnswer, None) => deadlines.silence,
        (Awaited::WholeAnswer, Some(left)) => deadlines.silence.min(left.checked_sub(delay)?),
    };
    let limits = provider.limits.as_ref().map(|limits| (limits.clone(), overload::need(req, limits)));
    let second_attempt = Second {
        origin: view.origin(second.provider).clone(),
        view: view.clone(),
        candidate: second.clone(),
        prepared,
        scope: scope(req, candidates),
        delay,
        connect: deadlines.connect,
        limit,
        awaited,
        limits,
        zero_ns: core.now_ns().saturating_sub(req.recorder.elapsed_us().saturating_mul(1000)),
        core,
    };
    let race = Rc::new(Race::default());
    req.client.is_superseded = false;
    req.client.beside = Some(Box::pin(second_attempt.run(race.clone())));
    Some(Hedge { candidate: second, view: view.clone(), race })
}

impl Hedge<'_> {
    /// Ends the race when the first attempt has ended. If that has failed and the second runs, its
    /// outcome is awaited.
    pub async fn conclude(self, req: &mut RequestContext<'_>, has_failed: bool) -> Result<Hedged, Interrupt> {
        let Hedge { race, candidate, view } = self;
        let is_running = race.began_us.get().is_some() && race.outcome.borrow().is_none();
        let mut has_client_left = false;
        if has_failed && is_running && req.client.beside.is_some() {
            race.is_alone.set(true);
            req.client.deadline.clear();
            match req.client.wait(pending::<()>()).await {
                Err(WaitError::ClientDisconnected) => has_client_left = true,
                Ok(()) | Err(WaitError::DeadlineExpired) => {}
            }
        }
        req.client.beside = None;
        req.client.is_superseded = false;
        let Some(began_us) = race.began_us.get() else { return Ok(Hedged::Unused) };
        let (mut hold, mut failure) = (None, None);
        match race.outcome.take() {
            Some(Ok(won)) if has_failed && !has_client_left => {
                req.core.metrics.inc(Counter::HedgesWon);
                return Ok(Hedged::Won(won));
            }
            // The first attempt has come to its end in the same moment.
            Some(Ok(won)) => hold = won.hold,
            Some(Err(error)) => failure = Some(error),
            None => {}
        }
        let provider = view.provider(candidate.provider);
        let attempt = LostAttempt {
            provider: provider.id,
            name: &provider.key,
            format: candidate.target.format,
            model: &candidate.upstream_model,
            began_us,
        };
        if has_client_left {
            req.recorder.record_abandoned_attempt(&attempt, LoserUsed { progress: race.progress.get(), hold });
            return Err(Interrupt::ClientDisconnected);
        }
        // A failure is free.
        let used = failure.is_none().then(|| LoserUsed { progress: race.progress.get(), hold });
        let reason = failure.map_or_else(|| LOST.into(), |error| error.to_string().into());
        req.recorder.record_lost_attempt(&attempt, reason, used);
        Ok(Hedged::Lost)
    }
}

/// What a second attempt holds of the limits of its provider. If it is dropped before it has an
/// outcome, it has lost the race, and the provider is charged.
struct SecondHold {
    hold: Option<ProviderHold>,
    core: Rc<Core>,
    progress: Rc<Cell<Progress>>,
}

impl Drop for SecondHold {
    fn drop(&mut self) {
        if let Some(hold) = self.hold.take() {
            let used = self.progress.get().used(hold.need().prompt).total();
            hold.settle(self.core.now_ns(), used);
        }
    }
}

impl Second {
    /// Runs the second attempt once it is due. Ends when it has what decides the race, or when it
    /// has failed and nothing else is awaited.
    async fn run(self, race: Rc<Race>) {
        let deadline = self.core.timers.deadline();
        deadline.set(self.delay);
        deadline.limit(pending::<()>()).await;
        if self.core.stopping() || !self.core.hedges.borrow_mut().withdraw(self.scope) {
            self.core.metrics.inc(Counter::HedgesDenied);
            return pending().await;
        }
        let hold = match &self.limits {
            None => None,
            Some((limits, need)) => match limits.admit(self.core.now_ns(), *need) {
                Ok(hold) => Some(ProviderHold::new(hold, limits.clone(), self.core.now_ns())),
                Err(_) => return pending().await,
            },
        };
        let mut of_provider = SecondHold { hold, core: self.core.clone(), progress: race.progress.clone() };
        let began_us = self.now_us();
        race.began_us.set(Some(began_us));
        self.core.metrics.inc(Counter::Hedges);
        self.core.metrics.inc(Counter::Attempts);
        let mut circuit_guard = CircuitGuard::begin(&self.core, &self.view, &self.candidate);
        deadline.set(self.limit);
        let first_byte_us = Cell::new(0);
        let outcome = deadline.limit(self.answer(&mut circuit_guard, &first_byte_us, &race.progress)).await;
        let outcome = outcome.unwrap_or_else(|| Err(self.failure(Kind::UpstreamTimeout, "sent no answer in time")));
        let hold = of_provider.hold.take();
        let outcome = match outcome {
            Ok((response, held)) => {
                let (prepared, first_byte_us) = (self.prepared, first_byte_us.get());
                Ok(Box::new(Won { prepared, response, held, began_us, first_byte_us, circuit_guard, hold }))
            }
            Err(failure) => {
                drop(hold);
                circuit_guard.fail(failure.fault(), &mut Default::default());
                self.core.metrics.inc(Counter::AttemptsFailed);
                Err(failure.error)
            }
        };
        let has_won = outcome.is_ok();
        *race.outcome.borrow_mut() = Some(outcome);
        if !has_won && !race.is_alone.get() {
            pending::<()>().await;
        }
    }

    /// Returns the time of the request's clock, in microseconds.
    fn now_us(&self) -> u64 {
        self.core.now_ns().saturating_sub(self.zero_ns) / 1000
    }

    fn failure(&self, kind: Kind, what: &str) -> Box<Failure> {
        let provider = &self.view.provider(self.candidate.provider).key;
        Box::new(Failure::from(Error::upstream(kind, format!("provider `{provider}` {what}"))))
    }

    /// Sends the request, and reads the response as far as it decides the race.
    async fn answer(
        &self,
        circuit_guard: &mut CircuitGuard,
        first_byte_us: &Cell<u64>,
        progress: &Rc<Cell<Progress>>,
    ) -> Result<(UpstreamResponse, HeldMemory), Box<Failure>> {
        let response = self.exchange(progress).await?;
        first_byte_us.set(self.now_us());
        let status = response.head.status;
        if !response.is_success() {
            circuit_guard.wait = RetryHint::of(&response.head, &response.bytes).wait;
            let kind = if status == 429 { Kind::RateLimit } else { Kind::UpstreamFault };
            let mut failure = self.failure(kind, &format!("responded with status {status}"));
            failure.status = Some(status);
            return Err(failure);
        }
        let held = self.core.shared.body_memory.hold();
        let most = self.core.boot().hold_answer_bytes;
        let reading = Reading::new(self.awaited, &self.prepared, (most, held), progress.clone());
        reading.run(response).await.map_err(|unfit| self.failure(unfit.kind, unfit.what))
    }

    /// Sends the request on a connection, and on a new one if the pooled one was closed before the
    /// provider can have seen anything of the request.
    async fn exchange(&self, progress: &Cell<Progress>) -> Result<UpstreamResponse, Box<Failure>> {
        // What is given to the socket is so in the first poll of an exchange, with nothing awaited
        // between.
        let set_sent = |is_sent| progress.update(|progress| Progress { is_sent, ..progress });
        let invalid = |reason| self.failure(Kind::UpstreamFault, &format!("sent no valid response: {reason}"));
        if let Some(connection) = self.core.pool.checkout(&self.origin) {
            set_sent(true);
            match upstream::exchange_apart(connection, &self.origin, &self.prepared).await {
                Ok(response) => return Ok(response),
                Err(no_answer) if !no_answer.stale_connection => return Err(invalid(no_answer.reason)),
                Err(_) => self.core.metrics.inc(Counter::StaleRetries),
            }
            set_sent(false);
        }
        let connected = self.core.pool.connect(&self.origin, self.connect).await;
        let connection = connected.map_err(|_| self.failure(Kind::UpstreamConnect, "could not be reached"))?;
        set_sent(true);
        let exchanged = upstream::exchange_apart(connection, &self.origin, &self.prepared).await;
        exchanged.map_err(|no_answer| invalid(no_answer.reason))
    }
}

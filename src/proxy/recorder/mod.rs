//! Gathers the facts of one request along its path. The record is queued when the recorder is
//! dropped, on every way out: a response, a failure, a client that disconnected.
//!
//! Each duty has a file of its own: times ([`stage_clock`]), attempts ([`attempt_log`]), copies of
//! heads and bodies ([`payload_capture`]), tokens and limits ([`usage`], [`other_usage`]).

mod attempt_log;
mod other_usage;
mod payload_capture;
mod stage_clock;
mod usage;

use std::borrow::Cow;
use std::mem::ManuallyDrop;
use std::rc::Rc;

use crate::config::prices::{Tier, TierReader};
use crate::config::snapshot::Provider;
use crate::limit::Hold;
use crate::metrics::names::Counter;
use crate::proxy::core::Core;
use crate::proxy::provider_hold::ProviderHold;
use crate::proxy::request_metrics::Measured;
use crate::proxy::spending::Spending;
use crate::telemetry::capture::Attempt;
use crate::telemetry::record::{AttemptUsage, Outcome, Record, Short};
use crate::telemetry::stages::{Stage, Stages};
use crate::telemetry::trace::{Context, Parent};
use crate::telemetry::user_agent::UserAgent;
use attempt_log::AttemptLog;
pub use attempt_log::{LostAttempt, UpstreamRequest};
use llm_wire::error::{Error, Kind};
use other_usage::OtherUsage;
pub use other_usage::{LoserUsed, Progress};
use payload_capture::PayloadCapture;
use stage_clock::StageClock;

/// The outcome of an attempt beside which another one was first with its answer: a metric label.
const SUPERSEDED: &str = "superseded";
/// The outcome of an attempt whose client disconnected: a metric label.
const CLIENT_GONE: &str = "client_gone";

/// Gathers the record of one request, and queues it when it is dropped.
pub struct RequestRecorder {
    core: Rc<Core>,
    /// In nanoseconds on the worker's clock, as all times here.
    started: u64,
    /// Taken when this is dropped: it is queued where it lies.
    record: ManuallyDrop<Box<Record>>,
    /// What the request holds of its credential's limits.
    hold: Option<Hold>,
    /// What it holds of the limits of the provider that is tried.
    provider_hold: Option<Box<ProviderHold>>,
    /// What it holds of its budgets.
    spending: Option<Spending>,
    /// Whether a model generates the response, which costs tokens.
    generates: bool,
    /// The tier of service that the request names, if it does.
    tier_named: Option<Tier>,
    tier_reader: TierReader,
    /// What attempts have used that are not the answer.
    other_usage: OtherUsage,
    /// Whether the client disconnected while a second attempt ran alone, so that there is no
    /// answer.
    is_abandoned: bool,
    clock: StageClock,
    attempt: AttemptLog,
    pub capture: PayloadCapture,
}

impl RequestRecorder {
    /// Begins when the head of a request is complete. Its first bytes came at `head_began`. Boxed,
    /// since it changes hands and a record is large.
    pub fn new(core: &Rc<Core>, request_id: Short<64>, head: &[u8], head_began: Option<u64>) -> Box<RequestRecorder> {
        core.metrics.inc(Counter::Requests);
        let started_us = core.timers.unix_us();
        let config = core.shared.capture;
        let second = started_us / 1_000_000;
        let is_sampled = config.per_second.is_none_or(|max| core.sampler.admit(second, max));
        let started = core.timers.recent();
        // Both are written to their places on the heap, since these are there before.
        let (place, record) = (Box::new_uninit(), Box::new_uninit());
        let record = Box::write(record, Record::of(request_id, started_us));
        let recorder = RequestRecorder {
            core: core.clone(),
            started,
            record: ManuallyDrop::new(record),
            hold: None,
            provider_hold: None,
            spending: None,
            generates: false,
            tier_named: None,
            tier_reader: TierReader::default(),
            other_usage: OtherUsage::default(),
            is_abandoned: false,
            clock: StageClock::start(core.boot().observe.stage_clock, head_began, started),
            attempt: AttemptLog::default(),
            capture: PayloadCapture::start(config, head, is_sampled),
        };
        Box::write(place, recorder)
    }

    /// Sets the route template of the request.
    pub fn set_route(&mut self, template: &'static str) {
        self.record.endpoint = template;
        self.core.request_metrics.borrow_mut().begin_request(template);
    }

    /// Marks a request whose response a model generates.
    pub fn mark_generation(&mut self) {
        self.generates = true;
    }

    /// Sets the program that the client names.
    pub fn set_user_agent(&mut self, user_agent: UserAgent) {
        self.record.user_agent = user_agent;
    }

    /// Keeps what the request got of its credential's limits until it ends.
    pub fn set_limit_hold(&mut self, hold: Hold) {
        self.hold = Some(hold);
    }

    /// Keeps what an attempt got of its provider's limits until it fails or the request ends.
    pub fn set_provider_hold(&mut self, hold: ProviderHold) {
        self.provider_hold = Some(Box::new(hold));
    }

    /// Gives back what a failed attempt held of its provider's limits.
    pub fn release_provider_hold(&mut self) {
        self.provider_hold = None;
    }

    /// Keeps what the request holds of its budgets until it ends.
    pub fn set_spending(&mut self, spending: Spending) {
        self.spending = Some(spending);
    }

    /// Hands it out, to be changed and set again.
    pub fn take_spending(&mut self) -> Option<Spending> {
        self.spending.take()
    }

    /// Returns whether the request holds something of a budget.
    pub fn has_spending(&self) -> bool {
        self.spending.is_some()
    }

    /// Returns whether the request holds something of a budget that depends on the provider which
    /// is asked next.
    pub fn spending_depends_on(&self, provider: &Provider) -> bool {
        self.spending.as_ref().is_some_and(|spending| spending.depends_on(provider))
    }

    /// Returns the record for changes.
    pub fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    /// Returns the known tags of the request, with commas.
    pub fn tags(&self) -> Option<&str> {
        self.record.tags.as_deref()
    }

    /// Sets the tier of service that the request names, if it does. Then that of its answer counts.
    pub fn set_tier(&mut self, named: Option<Tier>) {
        self.record.tier = named.unwrap_or_default().name();
        self.tier_named = named;
    }

    /// Returns the tier of service that the request names, or the standard one.
    pub fn tier_named(&self) -> Tier {
        self.tier_named.unwrap_or_default()
    }

    /// Returns whether the tier of service is read out of the answer: if the request has named one.
    pub fn reads_tier(&self) -> bool {
        self.tier_named.is_some()
    }

    /// Takes the tier of service out of a piece of the answer, which is free of its framing.
    pub fn note_tier(&mut self, piece: &[u8]) {
        if self.reads_tier()
            && let Some(tier) = self.tier_reader.read(piece)
        {
            self.record.tier = tier.name();
        }
    }

    /// Returns the id of the credential, or 0.
    pub fn credential(&self) -> i64 {
        self.record.credential
    }

    /// Returns the id of the provider that was tried last, or 0.
    pub fn provider(&self) -> i64 {
        self.record.provider
    }

    /// Returns whether the last attempt was at a provider of another format.
    pub fn is_translated(&self) -> bool {
        self.record.is_translated()
    }

    /// Returns the id of the request.
    pub fn request_id(&self) -> &str {
        self.record.request_id.as_str()
    }

    /// Returns the id of the request as bytes.
    pub fn request_id_bytes(&self) -> &[u8] {
        self.record.request_id.as_bytes()
    }

    /// Returns the time of the request's clock, as of the last reading.
    pub fn elapsed_us(&self) -> u64 {
        microseconds(self.started, self.core.timers.recent())
    }

    /// Returns when the request came, in seconds since 1970.
    pub fn started_s(&self) -> i64 {
        (self.record.started_us / 1_000_000) as i64
    }

    /// Captures a request that was sampled out, because it fails. `head` is its head.
    pub fn capture_after_all(&mut self, head: &[u8]) {
        if self.capture.start_after_all(self.core.shared.capture, head) {
            self.attempt.capture(&self.record, &mut self.capture);
        }
    }

    /// Returns whether the request has ended otherwise than well.
    pub fn has_failed(&self) -> bool {
        self.record.outcome != Outcome::Complete || self.record.status >= 400
    }

    /// Gives the request its place in a trace. `parent` is the client's span.
    pub fn start_trace(&mut self, parent: Option<Parent>) {
        let otlp = &self.core.boot().observe.otlp;
        if otlp.is_on() {
            let samples = |trace, parent| otlp.samples(trace, parent);
            let record = &self.record;
            let context = || Context::new(record.request_id.as_str(), record.started_us, parent, samples);
            self.capture.set_trace(context);
        }
    }

    /// Returns the trace, and the number that the span of the next attempt will have in it.
    pub fn trace(&self) -> Option<(Context, u64)> {
        self.capture.trace()
    }
}

// The clock.
impl RequestRecorder {
    /// Ends a stage: the time since the last one ended was its own.
    pub fn end_stage(&mut self, stage: Stage) {
        if self.clock.is_on() {
            self.clock.end_stage(stage, self.core.timers.read());
        }
    }

    /// Notes that `count` bytes of a response's body have arrived.
    pub fn upstream_bytes_arrived(&mut self, count: usize) {
        self.attempt.add_received(count);
        self.clock.upstream_bytes_arrived(self.record.first_content_us > 0, self.core.timers.recent());
    }

    /// Notes that bytes go to the client. Returns the time for [`RequestRecorder::write_waited`].
    pub fn write_started(&mut self) -> Option<u64> {
        self.clock.is_on().then(|| self.clock.write_started(self.core.timers.read()))
    }

    /// Notes that the client has taken the bytes, or has disconnected, after a wait.
    pub fn write_waited(&mut self, started: Option<u64>) {
        if let Some(started) = started {
            self.clock.write_waited(started, self.core.timers.recent());
        }
    }

    /// Returns the stages so far. `None` with STAGE_CLOCK off.
    pub fn stages(&self) -> Option<&Stages> {
        self.clock.stages()
    }

    /// Notes the first content of a stream. The first call counts.
    pub fn first_content(&mut self) {
        if self.record.first_content_us == 0 {
            self.record.first_content_us = self.elapsed_us().max(1);
            self.end_stage(Stage::FirstContent);
        }
    }
}

// Attempts.
impl RequestRecorder {
    /// Begins an attempt at a provider.
    pub fn begin_attempt(&mut self, provider: i64) {
        // The first one begins where the last stage has just ended.
        let stage_end = self.clock.last_stage_end().filter(|_| self.record.attempts == 0);
        let began_us = stage_end.map_or_else(|| self.elapsed_us(), |end| microseconds(self.started, end));
        self.reset_usage();
        self.attempt = AttemptLog::begin(&mut self.record, provider, began_us);
    }

    /// Begins an attempt that ran beside another one since `began_us`, and goes on alone.
    pub fn adopt_attempt(&mut self, provider: i64, began_us: u64) {
        self.reset_usage();
        self.attempt = AttemptLog::begin(&mut self.record, provider, began_us);
    }

    /// Notes that the provider has got the request.
    pub fn request_sent(&mut self) {
        self.attempt.set_sent();
    }

    /// Records an attempt that ran beside the last one and came to nothing. `used` is what it has
    /// used, if it has lost the race and not failed.
    pub fn record_lost_attempt(&mut self, attempt: &LostAttempt<'_>, reason: Box<str>, used: Option<LoserUsed>) {
        self.record_second_attempt(attempt, reason, used, SUPERSEDED);
    }

    /// Records an attempt that ran on alone after the last one had failed, until the client
    /// disconnected. Nothing else of the request is paid for.
    pub fn record_abandoned_attempt(&mut self, attempt: &LostAttempt<'_>, used: LoserUsed) {
        self.is_abandoned = true;
        self.record_second_attempt(attempt, "the client disconnected".into(), Some(used), CLIENT_GONE);
    }

    fn record_second_attempt(
        &mut self,
        attempt: &LostAttempt<'_>,
        reason: Box<str>,
        used: Option<LoserUsed>,
        outcome: &'static str,
    ) {
        self.record.attempts = self.record.attempts.saturating_add(1);
        let now_us = self.elapsed_us();
        let LostAttempt { provider, name, format, model, began_us } = *attempt;
        self.capture.insert_before_last(|| {
            let lost = Attempt::new(provider, format, Short::new(model), "", began_us);
            Attempt { ended_us: now_us, failure: Some((Kind::UpstreamTimeout, reason)), ..lost }
        });
        if let Some(used) = used {
            self.charge_lost((provider, model), used);
        }
        let mut metrics = self.core.request_metrics.borrow_mut();
        metrics.record_attempt(provider, name, outcome, 0);
    }

    /// Ends the attempt, since another one was first with its answer.
    pub fn end_superseded_attempt(&mut self, provider: &str, reason: &Error) {
        let (started, now) = (self.started, self.core.timers.recent());
        self.attempt.end(&self.record, &mut self.capture, || microseconds(started, now), Some(reason));
        let latency_us = self.attempt.latency_us();
        self.core.request_metrics.borrow_mut().record_attempt(self.record.provider, provider, SUPERSEDED, latency_us);
        self.charge_superseded();
    }

    /// Returns when the current attempt began, in microseconds on the request's clock.
    pub fn attempt_began_us(&self) -> u64 {
        self.attempt.began_us
    }

    /// Returns the status and the outcome so far.
    pub fn outcome(&self) -> (u16, Outcome) {
        (self.record.status, self.record.outcome)
    }

    /// Returns how many attempts were made.
    pub fn attempts(&self) -> u32 {
        u32::from(self.record.attempts)
    }

    /// Returns the time to the first content of the stream, on the request's clock; 0 without one.
    pub fn first_content_us(&self) -> u64 {
        self.record.first_content_us
    }

    /// Notes when the head of a response came, of an attempt that ran beside another one.
    pub fn first_byte_at(&mut self, us: u64, status: u16) {
        self.attempt.set_first_byte(&mut self.record, &mut self.capture, us, status);
        self.clock.response_began(self.core.timers.recent());
    }

    /// Sets the request that goes to the provider.
    pub fn set_upstream_request(&mut self, request: &UpstreamRequest<'_>) {
        self.attempt.set_request(&mut self.record, &mut self.capture, request);
    }

    /// Sets whether the response of the provider is a stream of events, and how many bytes of its
    /// body have come with its head.
    pub fn set_body(&mut self, is_event_stream: bool, with_head: usize) {
        self.attempt.set_body(is_event_stream, with_head);
    }

    /// Notes the head of a response.
    pub fn first_byte(&mut self, status: u16) {
        let now = self.core.timers.recent();
        let us = microseconds(self.started, now);
        self.attempt.set_first_byte(&mut self.record, &mut self.capture, us, status);
        self.clock.response_began(now);
    }

    /// Notes which model responds, as `name` finds out if something is captured. The first call
    /// with a name counts.
    pub fn set_responding_model<'n>(&mut self, name: impl FnOnce() -> Option<Cow<'n, str>>) {
        self.capture.set_responding_model(name);
    }

    /// Charges the provider of an attempt that failed for the usage that it has reported.
    pub fn charge_failed_attempt(&mut self) {
        let Some(tokens) = self.record.tokens else { return };
        if let Some(hold) = self.provider_hold.take() {
            hold.settle(self.core.now_ns(), tokens.total());
        }
        if let Some(spending) = &mut self.spending {
            spending.settle_provider(&other_usage::of_attempt(&self.record, tokens));
        }
    }

    /// Ends the attempt.
    pub fn end_attempt(&mut self, provider: &str, failure: Option<&Error>) {
        let (started, now) = (self.started, self.core.timers.recent());
        let now_us = || microseconds(started, now);
        let outcome = self.attempt.end(&self.record, &mut self.capture, now_us, failure);
        let latency_us = self.attempt.latency_us();
        let mut metrics = self.core.request_metrics.borrow_mut();
        metrics.record_attempt(self.record.provider, provider, outcome, latency_us);
    }
}

// Attempts that are not the answer.
impl RequestRecorder {
    /// Begins the accounts of an attempt: what the one before it has reported, and its tier of
    /// service, are not of this one.
    fn reset_usage(&mut self) {
        self.set_usage_aside();
        if let Some(tier) = self.tier_named {
            self.record.tier = tier.name();
            self.tier_reader = TierReader::default();
        }
    }

    /// Takes the usage that a failed attempt has reported out of that of the answer. It is paid for.
    fn set_usage_aside(&mut self) {
        if let Some(tokens) = self.record.tokens.take() {
            self.other_usage.add(other_usage::of_attempt(&self.record, tokens));
        }
    }

    /// Charges the provider of a stream that broke off for what it has sent, as another one is to
    /// go on with it.
    pub fn begin_continuation(&mut self) {
        let prompt = self.prompt();
        let usage = self.other_usage.begin_continuation(&mut self.record, prompt);
        if let Some(hold) = self.provider_hold.take() {
            hold.settle(self.core.now_ns(), usage.tokens.total());
        }
        if let Some(spending) = &mut self.spending {
            spending.settle_provider(&usage);
        }
    }

    /// Makes the stream that broke off the answer again, since nobody could go on with it.
    pub fn cancel_continuation(&mut self) {
        if self.other_usage.is_continued() {
            self.set_usage_aside();
        }
        // What the last provider was to get is free again, and the first was charged.
        if self.other_usage.cancel_continuation(&mut self.record)
            && let Some(spending) = &mut self.spending
        {
            spending.provider.clear();
        }
    }

    /// Charges the provider of the attempt that ran first, and lost the race.
    fn charge_superseded(&mut self) {
        let (reported, hold) = (self.record.tokens.take(), self.provider_hold.take());
        if !self.attempt.is_sent() {
            return;
        }
        // What has come for a client of a stream carried no content.
        let bytes = if self.record.stream { 0 } else { self.attempt.received() };
        let estimate = other_usage::estimated(self.prompt(), bytes, self.attempt.is_event_stream());
        let tokens = other_usage::at_least(reported, estimate);
        let usage = other_usage::of_attempt(&self.record, tokens);
        self.charge_loser(usage, hold.map(|hold| *hold));
    }

    /// Charges for an attempt that ran beside the answer, and lost the race.
    fn charge_lost(&mut self, (provider, model): (i64, &str), used: LoserUsed) {
        let tokens = used.progress.used(self.prompt());
        let (sent_model, tier) = (Short::new(model), self.tier_named.unwrap_or_default().name());
        let usage = AttemptUsage { provider, sent_model, tier, tokens, cost: None, priced_above: 0 };
        self.charge_loser(usage, used.hold);
    }

    fn charge_loser(&mut self, usage: AttemptUsage, hold: Option<ProviderHold>) {
        if let Some(hold) = hold {
            hold.settle(self.core.now_ns(), usage.tokens.total());
        }
        self.other_usage.add(usage);
    }

    /// Returns the tokens of the prompt, as they are estimated.
    fn prompt(&self) -> u64 {
        let need = self.hold.as_ref().map(|hold| hold.need().prompt).filter(|prompt| *prompt > 0);
        let need = need.or_else(|| self.spending.as_ref().map(|spending| spending.need.prompt));
        need.unwrap_or_else(|| usage::prompt_by_bytes(&self.record))
    }
}

// The end.
impl RequestRecorder {
    /// Adds bytes that go to the client.
    pub fn add_response_bytes(&mut self, bytes: usize) {
        self.record.response_bytes += bytes as u64;
    }

    /// Records that the response with this status was sent completely.
    pub fn set_complete(&mut self, status: u16) {
        self.record.status = status;
        self.record.outcome = Outcome::Complete;
    }

    /// Records that the request failed with `error` before anything of a response was sent.
    pub fn set_failed(&mut self, status: u16, error: &Error) {
        self.record.status = status;
        self.record.outcome = Outcome::Failed(error.kind);
        self.capture.set_error(error);
    }

    /// Notes that the response broke off after its head was sent, and that the client was told why.
    pub fn set_truncated(&mut self, error: &Error) {
        self.record.outcome = Outcome::Truncated(error.kind);
        self.capture.set_error(error);
    }

    /// Notes that the provider sent an incomplete response, which went to the client as it was.
    pub fn set_cut(&mut self, kind: Kind) {
        self.record.outcome = Outcome::Truncated(kind);
    }

    /// Records that the client has disconnected.
    pub fn set_client_disconnected(&mut self) {
        self.record.outcome = Outcome::ClientDisconnected;
    }

    /// Completes the record.
    fn finish(&mut self) {
        let measured = self.stop_clock();
        self.capture.finish(&mut self.record);
        self.count_outcome();
        let bytes = self.other_usage.answer_bytes(&self.record);
        let others = self.other_usage.finish();
        // The limits are charged by what the provider reported, so before the estimates.
        let prompt = self.settle_limits(bytes, &others);
        if let Some(spending) = &mut self.spending {
            match usage::reported(&self.record) {
                Some(tokens) => spending.settle(&self.record, &others, tokens),
                None => spending.settle(&self.record, &others, &usage::spent(&self.record, spending.need, bytes)),
            }
        }
        if self.generates && !self.is_abandoned {
            usage::complete(&mut self.record, prompt, bytes);
        }
        usage::complete_interrupted(&mut self.record, bytes);
        self.record.other_usage = (!others.is_empty()).then(|| others.into());
        self.count_labelled(&measured);
    }

    fn stop_clock(&mut self) -> Measured {
        let now = self.core.timers.read();
        self.record.total_us = microseconds(self.started, now);
        let (stages, measured) = self.clock.finish(now);
        self.record.stages = stages;
        measured
    }

    fn count_outcome(&mut self) {
        let metrics = &self.core.metrics;
        metrics.add(Counter::BytesOut, self.record.response_bytes);
        metrics.add(Counter::BytesIn, self.record.request_bytes);
        match self.record.outcome {
            Outcome::ClientDisconnected => {
                self.record.status = 499;
                metrics.inc(Counter::ClientsGone);
            }
            Outcome::Truncated(_) => metrics.inc(Counter::Truncated),
            Outcome::Complete | Outcome::Failed(_) => {}
        }
    }

    /// Charges the limits of the credential, and of the provider of the answer, of which the client
    /// has got `bytes`. Returns the tokens of the prompt as they were estimated.
    fn settle_limits(&mut self, bytes: u64, others: &[AttemptUsage]) -> Option<u64> {
        if let Some(hold) = self.provider_hold.take() {
            let used = usage::charged(&self.record, hold.need(), bytes);
            hold.settle(self.started + self.record.total_us * 1000, used);
        }
        let hold = self.hold.take()?;
        let need = hold.need();
        let of_answer = if self.is_abandoned { 0 } else { usage::charged(&self.record, need, bytes) };
        let used = others.iter().fold(of_answer, |sum, other| sum.saturating_add(other.tokens.total()));
        // The clock of the limits, as the record's clock shows it.
        hold.settle(self.started + self.record.total_us * 1000, used);
        Some(need.prompt)
    }

    fn count_labelled(&self, measured: &Measured) {
        // The metrics are borrowed if this is the unwinding of a panic in them.
        if let Ok(mut metrics) = self.core.request_metrics.try_borrow_mut() {
            metrics.end_request(&self.record, measured, &self.core.view().snapshot, &self.core.shared);
        }
    }
}

impl Drop for RequestRecorder {
    fn drop(&mut self) {
        self.finish();
        // SAFETY: nothing takes it but this, once, and nothing uses it afterwards. If `finish` panics,
        // this is not reached: the record is neither queued nor freed.
        #[allow(unsafe_code)]
        let record = unsafe { ManuallyDrop::take(&mut self.record) };
        self.core.ring.push(record);
        self.core.shared.drain_waker.wake();
    }
}

fn microseconds(from: u64, to: u64) -> u64 {
    to.saturating_sub(from) / 1000
}
